/*
 * bench_connection.c
 *		A connection of order-bench.
 *
 * FAILURE	A request whose connection was lost is sent again with its key until it is answered. Its
 *			first attempt may still be under way in the server: then the answer is 409 IN_PROGRESS,
 *			and it is asked once more a little later. What is measured is the time to the final
 *			answer.
 */
#include "bench_connection.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/bounds.h"
#include "base/clock.h"

#define CONNECT_TIMEOUT_US (10 * CLOCK_SECOND)
#define PAUSE_FIRST_US (20 * CLOCK_MS)
#define PAUSE_MAX_US CLOCK_SECOND
#define LATER_US (20 * CLOCK_MS)

/* Connections lost together must not come back together. */
#define PAUSE_SPREAD 16

static void on_connected(void *context);
static void on_lost(void *context, const char *reason);
static void on_connect_timer(void *context, short what);
static void on_later(void *context, short what);

void
bench_connection_init(BenchConnection *connection, BenchTeam *team, int index)
{
	ClientOwner owner = {.context = connection, .connected = on_connected, .lost = on_lost};

	*connection = (BenchConnection){.team = team, .index = index, .pause_us = PAUSE_FIRST_US};
	connection->client = client_new(team->loop, team->dns, team->options->server,
									team->options->in_flight_max, &owner);
	STAILQ_INIT(&connection->waiting);
	STAILQ_INIT(&connection->later);
	loop_event_init(&connection->connect_timer, team->loop, -1, 0, on_connect_timer, connection);
	loop_event_init(&connection->later_timer, team->loop, -1, 0, on_later, connection);
	bench_history_init(&connection->history, team->options);
}

void
bench_connection_close(BenchConnection *connection)
{
	loop_event_remove(&connection->connect_timer);
	loop_event_remove(&connection->later_timer);
	client_free(connection->client);
	connection->client = NULL;
	bench_history_free(&connection->history);
}

void
bench_connection_open(BenchConnection *connection)
{
	client_connect(connection->client, CONNECT_TIMEOUT_US);
}

bool
bench_connection_has_room(const BenchConnection *connection)
{
	return connection->is_ready && STAILQ_EMPTY(&connection->waiting) &&
		   connection->in_flight_count < connection->team->options->in_flight_max;
}

/* ----- Requests ---------------------------------------------------------------------------- */

static void on_answer(void *context, const ClientAnswer *answer);

/* False when the client takes no more until something was answered. */
static bool
try_to_send(BenchConnection *connection, BenchRequest *request)
{
	uint8_t payload[BENCH_PAYLOAD_SIZE];
	size_t size = bench_plan_pack(connection->team->plan, request, payload);
	uint16_t method = request->kind == BENCH_CANCEL ? ORDER_CANCEL : ORDER_PLACE;

	request->owner = connection;
	if (!client_send(connection->client, SERVICE_ORDER, method, payload, size, on_answer, request))
		return false;
	connection->in_flight_count++;
	return true;
}

void
bench_connection_send(BenchConnection *connection, BenchRequest *request)
{
	assert(bench_connection_has_room(connection));
	if (!try_to_send(connection, request))
		STAILQ_INSERT_TAIL(&connection->waiting, request, link);
}

/* Sends what waits, then asks for more. */
static void
fill(BenchConnection *connection)
{
	BenchRequest *request;

	while (connection->is_ready && (request = STAILQ_FIRST(&connection->waiting)) != NULL &&
		   connection->in_flight_count < connection->team->options->in_flight_max &&
		   try_to_send(connection, request))
	{
		STAILQ_REMOVE_HEAD(&connection->waiting, link);
		connection->team->tally->resent += request->is_resent;
	}
	if (bench_connection_has_room(connection))
		connection->team->room(connection->team->context, connection);
}

static void
on_later(void *context, short what)
{
	BenchConnection *connection = context;

	(void) what;
	STAILQ_CONCAT(&connection->waiting, &connection->later);
	fill(connection);
}

/* The connection is lost, and with it the answer. */
static void
keep_or_end(BenchConnection *connection, BenchRequest *request)
{
	BenchTeam *team = connection->team;

	if (team->options->is_reconnecting)
	{
		request->is_resent = true;
		STAILQ_INSERT_TAIL(&connection->waiting, request, link);
		return;
	}
	team->tally->unanswered++;
	team->ended(team->context, request);
}

static bool
is_still_in_progress(const BenchRequest *request, const ClientAnswer *answer)
{
	return request->is_resent && answer->outcome == CLIENT_REFUSED &&
		   answer->error->code == CODE_CONFLICT &&
		   strcmp(answer->error->reason, reason_name(REASON_IN_PROGRESS)) == 0;
}

static BenchAnswer
read_answer(const ClientAnswer *answer, int64_t now_us)
{
	const OrderService__V1__OrderResponse *response;

	if (answer->outcome == CLIENT_REFUSED)
		return (BenchAnswer){.code = answer->error->code, .now_us = now_us};
	response = client_unpack(answer, &order_service__v1__order_response__descriptor);
	if (response == NULL)
		return (BenchAnswer){.is_broken = true, .now_us = now_us};
	return (BenchAnswer){.code = response->code,
						 .order_id = response->order_id,
						 .is_replayed = response->replayed,
						 .now_us = now_us};
}

static void
on_answer(void *context, const ClientAnswer *answer)
{
	BenchRequest *request = context;
	BenchConnection *connection = request->owner;
	BenchTeam *team = connection->team;
	BenchAnswer taken;

	connection->in_flight_count--;
	if (answer->outcome == CLIENT_LOST || answer->outcome == CLIENT_UNSENT)
	{
		keep_or_end(connection, request);
		return;
	}
	if (is_still_in_progress(request, answer))
	{
		STAILQ_INSERT_TAIL(&connection->later, request, link);
		loop_event_add(&connection->later_timer, LATER_US);
		return;
	}
	taken = read_answer(answer, loop_now_us(team->loop));
	bench_tally_answered(team->tally, request, &taken);
	if (request->kind == BENCH_PLACE)
		bench_history_add(&connection->history, request, taken.order_id, taken.code == CODE_OK);
	team->ended(team->context, request);
	fill(connection);
}

/* ----- Connecting and logging in ----------------------------------------------------------- */

static void
try_again_later(BenchConnection *connection)
{
	int64_t spread = connection->pause_us * (connection->index % PAUSE_SPREAD) / PAUSE_SPREAD;

	loop_event_add(&connection->connect_timer, connection->pause_us + spread);
	connection->pause_us *= 2;
	if (connection->pause_us > PAUSE_MAX_US)
		connection->pause_us = PAUSE_MAX_US;
}

static void
become_ready(BenchConnection *connection)
{
	BenchTeam *team = connection->team;
	bool is_first = !connection->was_ready;

	connection->is_ready = true;
	connection->was_ready = true;
	connection->pause_us = PAUSE_FIRST_US;
	if (is_first)
		team->opened(team->context, connection);
	else
		team->tally->reconnects++;
	fill(connection);
}

static void
on_login(void *context, const ClientAnswer *answer)
{
	BenchConnection *connection = context;
	BenchTeam *team = connection->team;
	char reason[512];

	switch (answer->outcome)
	{
		case CLIENT_ANSWERED:
			become_ready(connection);
			break;
		case CLIENT_REFUSED:
			if (connection->was_ready && reason_repeat(answer->error->code) == REPEAT_LATER)
			{
				try_again_later(connection);
				break;
			}
			snprintf(reason, sizeof(reason), "session %d cannot log in: %d, %s",
					 bench_plan_login(team->plan, connection->index) + 1, answer->error->code,
					 answer->error->message);
			team->failed(team->context, reason);
			break;
		case CLIENT_UNSENT:
		case CLIENT_LOST:
			/* on_lost() follows. */
			break;
	}
}

static void
log_in(BenchConnection *connection)
{
	BenchTeam *team = connection->team;
	int session = bench_plan_login(team->plan, connection->index);
	OrderService__V1__LoginRequest request = ORDER_SERVICE__V1__LOGIN_REQUEST__INIT;
	bool is_sent;

	if (session < 0)
	{
		become_ready(connection);
		return;
	}
	request.session_id = team->options->sessions[session];
	is_sent = client_send_message(connection->client, SERVICE_AUTH, AUTH_LOGIN, &request.base,
								  on_login, connection);
	assert(is_sent);
}

static void
on_connected(void *context)
{
	log_in(context);
}

static void
on_connect_timer(void *context, short what)
{
	BenchConnection *connection = context;

	(void) what;
	if (client_is_connected(connection->client))
		log_in(connection);
	else
		bench_connection_open(connection);
}

/* Ends everything that waits for a connection that does not come back. */
static void
give_up(BenchConnection *connection)
{
	BenchTeam *team = connection->team;
	BenchRequest *request;

	STAILQ_CONCAT(&connection->waiting, &connection->later);
	while ((request = STAILQ_FIRST(&connection->waiting)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&connection->waiting, link);
		team->tally->unanswered++;
		team->ended(team->context, request);
	}
	team->gone(team->context, connection);
}

static void
on_lost(void *context, const char *reason)
{
	BenchConnection *connection = context;
	BenchTeam *team = connection->team;

	loop_event_remove(&connection->connect_timer);
	if (!connection->was_ready)
	{
		team->failed(team->context, reason);
		return;
	}
	team->tally->connections_lost += connection->is_ready;
	connection->is_ready = false;
	if (team->options->is_reconnecting && !team->is_closing)
		try_again_later(connection);
	else
		give_up(connection);
}
