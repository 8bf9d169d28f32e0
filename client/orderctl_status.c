/*
 * orderctl_status.c
 *		Asks the proxy's port for operators how it is.
 *
 * DESIGN	Two requests with libevent's HTTP client, which opens a connection for each. Its look-up
 *			of names would block, so net/dns.h resolves the host first.
 */
#include "orderctl_status.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/bounds.h"
#include "base/bytes.h"
#include "net/dns.h"

#define HTTP_OK 200
#define HTTP_UNAVAILABLE 503

typedef struct OrderctlStatus
{
	const OrderctlOptions *options;
	const OrderctlPrinter *printer;
	Loop *loop;
	LoopEvent timer;
	OrderctlExit exit_code;

	DnsQuery *query; /* NULL: answered */
	DnsAddress addresses[DNS_ADDRESSES_MAX];
	int address_count;
	int address_next;
	LoopTask connect_task;
	struct evhttp_connection *connection;

	int ready_code; /* of HTTP; 0 until it came */
	char *readiness;
} OrderctlStatus;

static void
fail(OrderctlStatus *status, const char *reason)
{
	status->printer->failure(status->options, true, reason);
	status->exit_code = ORDERCTL_EXIT_FAILED;
	loop_stop(status->loop);
}

/* The body of an answer, without the white space at its end. The caller frees it. */
static char *
body_of(struct evhttp_request *request)
{
	struct evbuffer *buffer = evhttp_request_get_input_buffer(request);
	size_t size = evbuffer_get_length(buffer);
	char *text = bytes_new(size + 1);

	evbuffer_copyout(buffer, text, size);
	while (size > 0 && strchr(" \r\n\t", text[size - 1]) != NULL)
		size--;
	text[size] = '\0';
	return text;
}

/* libevent calls back without a request or without a code when there was no answer. */
static bool
has_answer(struct evhttp_request *request)
{
	return request != NULL && evhttp_request_get_response_code(request) != 0;
}

static void
fail_without_answer(OrderctlStatus *status)
{
	char reason[ADDRESS_TEXT_SIZE + 64];

	snprintf(reason, sizeof(reason), "no answer from %.255s", status->options->admin);
	fail(status, reason);
}

static void
on_status(struct evhttp_request *request, void *context)
{
	OrderctlStatus *status = context;
	OrderctlHealth health;
	json_t *json = NULL;
	char *body;

	if (!has_answer(request))
	{
		fail_without_answer(status);
		return;
	}
	body = body_of(request);
	if (evhttp_request_get_response_code(request) == HTTP_OK)
		json = json_loads(body, 0, NULL);
	free(body);

	health = (OrderctlHealth){
		.is_ready = status->ready_code == HTTP_OK, .readiness = status->readiness, .status = json};
	status->printer->health(status->options, &health);
	json_decref(json);
	status->exit_code = health.is_ready ? ORDERCTL_EXIT_OK : ORDERCTL_EXIT_UNAVAILABLE;
	loop_stop(status->loop);
}

static void
ask(OrderctlStatus *status, const char *path, void (*callback)(struct evhttp_request *, void *))
{
	struct evhttp_request *request = evhttp_request_new(callback, status);

	evhttp_add_header(evhttp_request_get_output_headers(request), "Host", status->options->admin);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
	/* When it fails, libevent has freed the request. */
	if (evhttp_make_request(status->connection, request, EVHTTP_REQ_GET, path) == -1)
		fail(status, "the request cannot be made");
}

static void
on_ready(struct evhttp_request *request, void *context)
{
	OrderctlStatus *status = context;

	if (!has_answer(request))
	{
		/* From a task, because libevent still uses the connection that failed. */
		loop_defer(&status->connect_task);
		return;
	}
	status->ready_code = evhttp_request_get_response_code(request);
	status->readiness = body_of(request);
	if (status->ready_code != HTTP_OK && status->ready_code != HTTP_UNAVAILABLE)
		fail(status, "this is not the port for operators of an order-proxy: it has no /readyz");
	else
		ask(status, "/status", on_status);
}

static void
connect_next(void *context)
{
	OrderctlStatus *status = context;
	char text[ADDRESS_TEXT_SIZE];
	char host[ADDRESS_HOST_SIZE];
	const struct sockaddr *address;
	bool is_address;
	int port;

	if (status->connection != NULL)
		evhttp_connection_free(status->connection);
	status->connection = NULL;
	if (status->address_next == status->address_count)
	{
		fail_without_answer(status);
		return;
	}
	address = (const struct sockaddr *) &status->addresses[status->address_next++].address;
	dns_format(address, text, sizeof(text));
	is_address = address_split(text, host, sizeof(host), &port);
	assert(is_address);
	status->connection =
		evhttp_connection_base_new(loop_base(status->loop), NULL, host, (uint16_t) port);
	evhttp_connection_set_max_body_size(status->connection, STATUS_BYTES_MAX);
	evhttp_connection_set_retries(status->connection, 0);
	ask(status, "/readyz", on_ready);
}

static void
on_resolved(void *context, const DnsAddress *addresses, int count, const char *error)
{
	OrderctlStatus *status = context;

	status->query = NULL;
	if (count == 0)
	{
		fail(status, error);
		return;
	}
	memcpy(status->addresses, addresses, (size_t) count * sizeof(DnsAddress));
	status->address_count = count;
	connect_next(status);
}

static void
on_timeout(void *context, short what)
{
	(void) what;
	fail(context, "no answer in time");
}

OrderctlExit
orderctl_status(Loop *loop, const OrderctlOptions *options, const OrderctlPrinter *printer)
{
	OrderctlStatus status = {.options = options, .printer = printer, .loop = loop};
	Dns *dns = dns_new(loop);
	char host[ADDRESS_HOST_SIZE];
	int port;
	bool is_address = address_split(options->admin, host, sizeof(host), &port);

	/* orderctl_options_read() has checked it. */
	assert(is_address);
	loop_event_init(&status.timer, loop, -1, 0, on_timeout, &status);
	loop_event_add(&status.timer, options->timeout_us);
	loop_task_init(&status.connect_task, loop, connect_next, &status);
	status.query = dns_resolve(dns, host, port, on_resolved, &status);
	loop_run(loop);

	loop_event_remove(&status.timer);
	loop_task_cancel(&status.connect_task);
	if (status.query != NULL)
		dns_cancel(status.query);
	if (status.connection != NULL)
		evhttp_connection_free(status.connection);
	/* libevent lets go of a connection in the next turn only. */
	loop_turn(loop);
	free(status.readiness);
	dns_free(dns);
	return status.exit_code;
}
