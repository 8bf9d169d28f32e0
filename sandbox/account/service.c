/*
 * service.c
 *		The gRPC service.
 *
 * DESIGN	Calls of a turn of the loop gather and go to the ledger as one transaction; answers are
 *			given after its commit. So a commit is shared by all that came while the last one ran.
 *
 *			            fault "before"                        fault "after"
 *			              |                                      |
 *			    call -> [delay] -> turn's list -> transaction -> [delay] -> answer
 *
 *			A call that its client has given up is carried out all the same: that is what makes the
 *			client's outcome unknown, which this service is there to provoke.
 *
 * LIMITS	Calls at a time (|calls_max|).
 *
 * FAILURE	A transaction that fails is answered with INTERNAL_ERROR, for all its calls. The crash
 *			of a fault is an _exit() in the midst of a turn.
 */
#include "service.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "grpc_server.h"

/* What tests see of a crash on purpose. */
#define CRASH_EXIT_CODE 86

/* A CommonReply: a tag and a number below 128. */
#define REPLY_BYTES_MAX 16

typedef struct Call
{
	LIST_ENTRY(Call) link;        /* all calls */
	STAILQ_ENTRY(Call) turn_link; /* those of this turn */
	Service *service;
	GrpcCall *grpc;
	ProtobufCMessage *message;
	LedgerReservation reservation; /* points into |message| */
	Method method;
	LedgerResult result;
	bool has_fault;
	Fault fault;
	LoopEvent timer; /* of the fault's delay */
} Call;

LIST_HEAD(CallList, Call);
STAILQ_HEAD(CallQueue, Call);

struct Service
{
	Loop *loop;
	Ledger *ledger;
	Faults *faults;
	GrpcServer *server;
	LoopTask turn;
	struct CallList calls;
	struct CallQueue turn_calls;
	int call_count;
	int calls_max;
	ServiceTotals totals;
};

/* Forgets a call that has been answered. */
static void
call_free(Call *call)
{
	loop_event_remove(&call->timer);
	LIST_REMOVE(call, link);
	call->service->call_count--;
	method_free(call->message);
	free(call);
}

static void
call_reply(Call *call, int result)
{
	Account__Order__V1__CommonReply reply = ACCOUNT__ORDER__V1__COMMON_REPLY__INIT;
	uint8_t bytes[REPLY_BYTES_MAX];
	size_t size;

	reply.code = (Account__Order__V1__ResultCode) result;
	assert(account__order__v1__common_reply__get_packed_size(&reply) <= sizeof(bytes));
	size = account__order__v1__common_reply__pack(&reply, bytes);
	grpc_call_reply(call->grpc, bytes, size);
	call_free(call);
}

static void
call_enqueue(Call *call)
{
	STAILQ_INSERT_TAIL(&call->service->turn_calls, call, turn_link);
	loop_defer(&call->service->turn);
}

/* Does what the fault of the call says; ends the call, unless it was only late. */
static void
call_fault(Call *call)
{
	const Fault *fault = &call->fault;

	switch (fault->kind)
	{
		case FAULT_DELAY:
			if (fault->is_after)
				call_reply(call, call->result);
			else
				call_enqueue(call);
			return;
		case FAULT_RESULT:
			call_reply(call, fault->code);
			return;
		case FAULT_STATUS:
			grpc_call_fail(call->grpc, (GrpcStatus) fault->code, "fault on purpose");
			break;
		case FAULT_DROP:
			grpc_call_drop(call->grpc);
			break;
		case FAULT_HANG:
			grpc_call_hang(call->grpc);
			break;
		case FAULT_RESET:
			grpc_call_reset(call->grpc, (uint32_t) fault->code);
			break;
		case FAULT_CRASH:
			log_event(LOG_WARNING, "crash on purpose",
					  LOG_TEXT("method", method_name(call->method)),
					  LOG_TEXT("when", fault->is_after ? "after" : "before"));
			_exit(CRASH_EXIT_CODE);
	}
	call_free(call);
}

static void
call_timer_fired(void *context, short what)
{
	(void) what;
	call_fault(context);
}

/* Lets the fault of a call take its course. */
static void
call_start_fault(Call *call)
{
	if (call->fault.delay_ms > 0)
		loop_event_add(&call->timer, call->fault.delay_ms * CLOCK_MS);
	else
		call_fault(call);
}

static void
call_log(const Call *call)
{
	const char *correlation_id = grpc_call_header(call->grpc, "x-correlation-id");

	log_event(LOG_DEBUG, "call", LOG_TEXT("method", method_name(call->method)),
			  LOG_NUMBER("account", call->reservation.account_id),
			  LOG_TEXT("reserve", call->reservation.reserve_id),
			  LOG_TEXT("order", call->reservation.order_id),
			  LOG_TEXT("item", call->reservation.item),
			  LOG_NUMBER("amount", call->reservation.amount),
			  LOG_TEXT("result", method_result_name(call->result)),
			  LOG_TEXT("fault", call->has_fault ? fault_kind_name(call->fault.kind) : "none"),
			  LOG_TEXT("correlation", correlation_id != NULL ? correlation_id : ""));
}

/* The end of a turn: one transaction for all calls that came in it. */
static void
service_run_turn(void *context)
{
	Service *service = context;
	struct CallQueue calls = STAILQ_HEAD_INITIALIZER(calls);
	bool is_committed;
	Call *call;
	Call *next;

	STAILQ_CONCAT(&calls, &service->turn_calls);
	ledger_begin(service->ledger);
	STAILQ_FOREACH(call, &calls, turn_link)
		call->result = method_apply(call->method, service->ledger, &call->reservation);
	is_committed = ledger_commit(service->ledger);

	for (call = STAILQ_FIRST(&calls); call != NULL; call = next)
	{
		next = STAILQ_NEXT(call, turn_link);
		if (!is_committed)
			call->result = LEDGER_INTERNAL_ERROR;
		service->totals.results[call->method][call->result]++;
		if (log_is_on(LOG_DEBUG))
			call_log(call);
		if (call->has_fault && call->fault.is_after)
			call_start_fault(call);
		else
			call_reply(call, call->result);
	}
}

static void
service_take(void *context, GrpcCall *grpc, const char *path, const uint8_t *bytes, size_t size)
{
	Service *service = context;
	LedgerReservation reservation;
	ProtobufCMessage *message;
	const Fault *fault;
	Method method;
	Call *call;

	if (!method_of_path(path, &method))
	{
		service->totals.unknown_method++;
		grpc_call_fail(grpc, GRPC_UNIMPLEMENTED, "there is no such method");
		return;
	}
	if (service->call_count >= service->calls_max)
	{
		service->totals.overloaded++;
		grpc_call_fail(grpc, GRPC_RESOURCE_EXHAUSTED, "too many calls are under way");
		return;
	}
	message = method_unpack(method, bytes, size, &reservation);
	if (message == NULL)
	{
		service->totals.unreadable++;
		grpc_call_fail(grpc, GRPC_INVALID_ARGUMENT, "the message cannot be read");
		return;
	}

	service->totals.seen[method]++;
	call = bytes_new_zeroed(1, sizeof(*call));
	call->service = service;
	call->grpc = grpc;
	call->method = method;
	call->message = message;
	call->reservation = reservation;
	loop_event_init(&call->timer, service->loop, -1, 0, call_timer_fired, call);
	LIST_INSERT_HEAD(&service->calls, call, link);
	service->call_count++;

	fault = faults_choose(service->faults, method, reservation.account_id);
	call->has_fault = fault != NULL;
	if (call->has_fault)
		call->fault = *fault;
	if (call->has_fault && !fault->is_after)
		call_start_fault(call);
	else
		call_enqueue(call);
}

Service *
service_new(Loop *loop, Ledger *ledger, Faults *faults, const char *address, int calls_max)
{
	Service *service = bytes_new_zeroed(1, sizeof(*service));

	assert(calls_max > 0);
	service->calls_max = calls_max;
	service->loop = loop;
	service->ledger = ledger;
	service->faults = faults;
	LIST_INIT(&service->calls);
	STAILQ_INIT(&service->turn_calls);
	loop_task_init(&service->turn, loop, service_run_turn, service);
	service->server = grpc_server_new(loop, address, service_take, service);
	if (service->server != NULL)
		return service;
	free(service);
	return NULL;
}

int
service_port(const Service *service)
{
	return grpc_server_port(service->server);
}

void
service_drain(Service *service)
{
	grpc_server_drain(service->server);
}

int
service_pending_count(const Service *service)
{
	return service->call_count;
}

void
service_free(Service *service)
{
	Call *call;

	loop_task_cancel(&service->turn);
	while ((call = LIST_FIRST(&service->calls)) != NULL)
	{
		grpc_call_fail(call->grpc, GRPC_UNAVAILABLE, "the service ends");
		call_free(call);
	}
	grpc_server_free(service->server);
	free(service);
}

const ServiceTotals *
service_totals(const Service *service)
{
	return &service->totals;
}
