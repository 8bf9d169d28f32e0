/*
 * pg_conn.c
 *		One asynchronous connection to PostgreSQL.
 *
 * DESIGN	State        waits for                             goes on to
 *			SEARCHING    the addresses of a host               LOGGING_IN
 *			LOGGING_IN   what PQconnectPoll() asks for         PREPARING
 *			PREPARING    SET, Prepare, a writer's history      IDLE
 *			IDLE         nothing; reads what the server says   CALLING, CLOSED
 *			CALLING      the result and ReadyForQuery          IDLE, CLOSED
 *
 *			Until it is IDLE, a failure leads back to SEARCHING, for the next address. The caller is
 *			never called back from within its call: what it must be told goes through a task.
 *
 *			A call has taken effect only when ReadyForQuery is there: the commit comes after the
 *			rows, and may still fail.
 *
 * FAILURE	A FATAL error ends the connection at once, though libpq would go on waiting for the end
 *			of the stream.
 */
#include "net/pg_conn.h"

#include <assert.h>
#include <stdlib.h>

#include "net/pg_route.h"

typedef enum PgConnState
{
	CONN_SEARCHING,
	CONN_LOGGING_IN,
	CONN_PREPARING,
	CONN_IDLE,
	CONN_CALLING,
	CONN_CLOSED,
} PgConnState;

struct PgConn
{
	Loop *loop;
	PgConnOptions options;
	PgConnState state;
	PgRoute route;    /* to the server */
	PGconn *pg;       /* NULL in SEARCHING and CLOSED */
	LoopEvent input;  /* during a login: for whatever libpq asks */
	LoopEvent output; /* while libpq has something left to send */
	LoopEvent timer;  /* the end of this attempt or call */
	LoopTask task;
	int step_count; /* PREPARING: those that are done */
	PgHistory history;
	PGresult *result; /* of the statement under way: its rows, or its error */
	PgCallback callback;
	void *context;
	PgFailure failure; /* the last one */
};

static void take_input(void *context, short what);
static void take_output(void *context, short what);

/* Between two calls an error comes as a notice: the server says why it closes the connection. */
static void
receive_notice(void *context, const PGresult *notice)
{
	PgConn *conn = context;
	PgFailure failure;

	pg_failure_of_result(&failure, notice);
	if (failure.is_fatal)
		conn->failure = failure;
}

static void
note_failure(PgConn *conn, const char *sqlstate, const char *message)
{
	pg_failure_set(&conn->failure, sqlstate, message);
}

/* What libpq says: it has no SQLSTATE. */
static void
note_own_failure(PgConn *conn)
{
	note_failure(conn, NULL, PQerrorMessage(conn->pg));
}

/* The end of an attempt, a call, the connection ----------------------------------------------- */

static void
disconnect(PgConn *conn)
{
	loop_event_remove(&conn->input);
	loop_event_remove(&conn->output);
	loop_event_remove(&conn->timer);
	loop_task_cancel(&conn->task);
	pg_route_cancel(&conn->route);
	PQclear(conn->result);
	conn->result = NULL;
	PQfinish(conn->pg);
	conn->pg = NULL;
}

/* This address will not do; the next one is tried at the end of the turn. */
static void
fail_attempt(PgConn *conn)
{
	assert(conn->state < CONN_IDLE);
	disconnect(conn);
	conn->state = CONN_SEARCHING;
	loop_defer(&conn->task);
}

/* Tells whom it concerns how it ended. The connection may be gone behind this. */
static void
finish(PgConn *conn, PgOutcome outcome)
{
	PgFailure failure = conn->failure;
	PGresult *result = conn->result;
	PgReply reply = {.outcome = outcome,
					 .sqlstate = failure.sqlstate,
					 .message = failure.message,
					 .is_failover = pg_failure_is_failover(&failure, outcome)};
	PgCallback callback = conn->callback;
	void *context = conn->context;

	assert(conn->state != CONN_CLOSED);
	if (conn->state != CONN_CALLING)
	{
		callback = conn->state == CONN_IDLE ? conn->options.closed : conn->options.opened;
		context = conn->options.context;
	}
	conn->result = NULL;
	if (outcome == PG_OK)
		reply.result = result;
	else if (result != NULL)
		reply.detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	loop_event_remove(&conn->timer);
	conn->state = CONN_IDLE;
	if (outcome == PG_UNUSABLE || outcome == PG_LOST)
	{
		disconnect(conn);
		conn->state = CONN_CLOSED;
	}
	callback(context, &reply);
	PQclear(result);
}

/* The connection broke, or is of no use any more, for the noted reason. */
static void
lose(PgConn *conn, PgOutcome outcome)
{
	if (conn->state < CONN_IDLE)
		fail_attempt(conn);
	else
		finish(conn, outcome);
}

static void
time_out(void *context, short what)
{
	PgConn *conn = context;

	(void) what;
	note_failure(conn, NULL,
				 conn->state == CONN_CALLING ? "no answer to a call in time"
											 : "no connection in time");
	lose(conn, PG_LOST);
}

/* Connecting ---------------------------------------------------------------------------------- */

/* Sends what libpq holds. False when the connection is lost. */
static bool
flush(PgConn *conn)
{
	int rest = PQflush(conn->pg);

	if (rest == 1)
		loop_event_add(&conn->output, LOOP_FOREVER);
	return rest >= 0;
}

/* Sends what a session begins with: settings, then each statement, then the question who it is. */
static bool
send_step(PgConn *conn)
{
	const PgStatement *statement;

	if (conn->step_count == 0)
		return PQsendQuery(conn->pg, pg_server_session_settings) == 1 && flush(conn);
	if (conn->step_count > conn->options.statement_count)
		return PQsendQuery(conn->pg, pg_server_history_query) == 1 && flush(conn);
	statement = &conn->options.statements[conn->step_count - 1];
	return PQsendPrepare(conn->pg, statement->name, statement->sql, statement->parameter_count,
						 statement->parameter_types) == 1 &&
		   flush(conn);
}

static void
take_step(PgConn *conn)
{
	if (send_step(conn))
		return;
	note_own_failure(conn);
	fail_attempt(conn);
}

/* A step of PREPARING has succeeded. */
static void
end_step(PgConn *conn)
{
	int step_count = 1 + conn->options.statement_count + (conn->options.is_writer ? 1 : 0);
	bool is_last = ++conn->step_count == step_count;
	const char *objection = NULL;

	if (is_last && conn->options.is_writer)
		objection = pg_server_check_history(conn->result, conn->options.known, &conn->history);
	PQclear(conn->result);
	conn->result = NULL;
	if (objection != NULL)
	{
		note_failure(conn, NULL, objection);
		fail_attempt(conn);
	}
	else if (is_last)
	{
		conn->failure = (PgFailure){0};
		finish(conn, PG_OK);
	}
	else
		take_step(conn);
}

static void
log_in_done(PgConn *conn)
{
	int descriptor = PQsocket(conn->pg);

	loop_event_init(&conn->input, conn->loop, descriptor, EV_READ | EV_PERSIST, take_input, conn);
	loop_event_init(&conn->output, conn->loop, descriptor, EV_WRITE, take_output, conn);
	if (!pg_conn_is_fit(conn))
	{
		note_failure(conn, PG_SQLSTATE_READ_ONLY, "server takes no writes");
		fail_attempt(conn);
		return;
	}
	if (PQsetnonblocking(conn->pg, 1) != 0)
	{
		note_own_failure(conn);
		fail_attempt(conn);
		return;
	}
	conn->state = CONN_PREPARING;
	conn->step_count = 0;
	loop_event_add(&conn->input, LOOP_FOREVER);
	take_step(conn);
}

static void poll_login(void *context, short what);

/* The socket may be another one each time. */
static void
wait_for(PgConn *conn, short what)
{
	loop_event_init(&conn->input, conn->loop, PQsocket(conn->pg), what, poll_login, conn);
	loop_event_add(&conn->input, LOOP_FOREVER);
}

static void
poll_login(void *context, short what)
{
	PgConn *conn = context;

	(void) what;
	switch (PQconnectPoll(conn->pg))
	{
		case PGRES_POLLING_READING:
			wait_for(conn, EV_READ);
			break;
		case PGRES_POLLING_WRITING:
			wait_for(conn, EV_WRITE);
			break;
		case PGRES_POLLING_OK:
			log_in_done(conn);
			break;
		default:
			note_own_failure(conn);
			fail_attempt(conn);
			break;
	}
}

static void
log_in(PgConn *conn)
{
	const char *error;

	conn->failure.is_fatal = false;
	loop_event_add(&conn->timer, conn->options.connect_timeout_us);
	conn->pg = pg_route_connect(&conn->route, &error);
	if (conn->pg == NULL)
	{
		note_failure(conn, NULL, error);
		fail_attempt(conn);
		return;
	}
	if (PQstatus(conn->pg) == CONNECTION_BAD)
	{
		note_own_failure(conn);
		fail_attempt(conn);
		return;
	}
	PQsetNoticeReceiver(conn->pg, receive_notice, conn);
	conn->state = CONN_LOGGING_IN;
	wait_for(conn, EV_WRITE);
}

static void
found(void *context, const char *error)
{
	PgConn *conn = context;

	if (error == NULL)
	{
		log_in(conn);
		return;
	}
	note_failure(conn, NULL, error);
	fail_attempt(conn);
}

static void
try_next(PgConn *conn)
{
	switch (pg_route_next(&conn->route))
	{
		case PG_ROUTE_THERE:
			log_in(conn);
			break;
		case PG_ROUTE_ASKING:
			loop_event_add(&conn->timer, conn->options.connect_timeout_us);
			break;
		case PG_ROUTE_END:
			finish(conn, PG_UNUSABLE);
			break;
	}
}

static void
run_task(void *context)
{
	PgConn *conn = context;

	if (conn->state == CONN_SEARCHING)
		try_next(conn);
	else
		lose(conn, PG_LOST);
}

/* Answers ------------------------------------------------------------------------------------- */

/* How the statement under way ended, with its failure noted. */
static PgOutcome
judge(PgConn *conn)
{
	ExecStatusType status = PQresultStatus(conn->result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
	{
		if (conn->result != NULL)
			pg_failure_of_result(&conn->failure, conn->result);
		else
			note_own_failure(conn);
		return PQstatus(conn->pg) == CONNECTION_BAD ? PG_LOST : pg_failure_outcome(&conn->failure);
	}
	if (PQstatus(conn->pg) != CONNECTION_BAD)
		return PG_OK;
	note_own_failure(conn);
	return PG_LOST;
}

static void
end_statement(PgConn *conn)
{
	PgOutcome outcome = judge(conn);

	if (conn->state == CONN_CALLING)
		finish(conn, outcome);
	else if (outcome != PG_OK)
		fail_attempt(conn);
	else
		end_step(conn);
}

static void
take_results(PgConn *conn)
{
	while (PQisBusy(conn->pg) == 0)
	{
		PGresult *result = PQgetResult(conn->pg);
		bool is_error = PQresultStatus(result) == PGRES_FATAL_ERROR;

		if (result == NULL)
		{
			end_statement(conn);
			return;
		}
		/* An error behind rows is that of the commit. */
		if (conn->result == NULL || is_error)
		{
			PQclear(conn->result);
			conn->result = result;
		}
		else
			PQclear(result);
		if (is_error)
			pg_failure_of_result(&conn->failure, result);
		if (conn->failure.is_fatal)
		{
			end_statement(conn);
			return;
		}
	}
}

/* What a server says that was not asked: that it goes, or that it is no longer the leader. */
static void
take_news(PgConn *conn)
{
	/* Only PQisBusy() parses what PQconsumeInput() has read. */
	(void) PQisBusy(conn->pg);
	if (conn->failure.is_fatal)
		finish(conn, PG_LOST);
	else if (PQstatus(conn->pg) == CONNECTION_BAD)
	{
		note_own_failure(conn);
		finish(conn, PG_LOST);
	}
	else if (!pg_conn_is_fit(conn))
	{
		note_failure(conn, PG_SQLSTATE_READ_ONLY, "server takes no writes any more");
		finish(conn, PG_UNUSABLE);
	}
}

static void
take_input(void *context, short what)
{
	PgConn *conn = context;

	(void) what;
	if (PQconsumeInput(conn->pg) == 0 || !flush(conn))
	{
		if (!conn->failure.is_fatal)
			note_own_failure(conn);
		lose(conn, PG_LOST);
	}
	else if (conn->state == CONN_IDLE)
		take_news(conn);
	else
		take_results(conn);
}

static void
take_output(void *context, short what)
{
	PgConn *conn = context;

	(void) what;
	if (flush(conn))
		return;
	note_own_failure(conn);
	lose(conn, PG_LOST);
}

/* The connection ------------------------------------------------------------------------------ */

PgConn *
pg_conn_open(Loop *loop, Dns *dns, const PgConnOptions *options)
{
	PgConn *conn = bytes_new_zeroed(1, sizeof(PgConn));

	assert(options->connect_timeout_us > 0);
	conn->loop = loop;
	conn->options = *options;
	conn->state = CONN_SEARCHING;
	pg_route_init(&conn->route, dns, options->target, options->first_host, found, conn);
	loop_event_init(&conn->timer, loop, -1, 0, time_out, conn);
	loop_task_init(&conn->task, loop, run_task, conn);
	loop_defer(&conn->task);
	return conn;
}

void
pg_conn_free(PgConn *conn)
{
	disconnect(conn);
	free(conn);
}

void
pg_conn_call(PgConn *conn, int statement, const PgArguments *arguments, PgCallback callback,
			 void *context)
{
	const char *values[PG_PARAMETERS_MAX];
	int lengths[PG_PARAMETERS_MAX];
	int formats[PG_PARAMETERS_MAX];

	assert(conn->state == CONN_IDLE);
	assert(statement >= 0 && statement < conn->options.statement_count);
	assert(arguments->count == conn->options.statements[statement].parameter_count);
	for (int i = 0; i < arguments->count; i++)
	{
		const Bytes *value = &arguments->values[i];

		/* A NULL pointer would be NULL; an empty text is none. */
		values[i] = value->data != NULL ? (const void *) value->data : "";
		lengths[i] = (int) value->size;
		formats[i] = 1;
	}
	conn->state = CONN_CALLING;
	conn->callback = callback;
	conn->context = context;
	conn->failure = (PgFailure){0};
	loop_event_add(&conn->timer, conn->options.call_timeout_us);
	if (PQsendQueryPrepared(conn->pg, conn->options.statements[statement].name, arguments->count,
							values, lengths, formats, 1) == 1 &&
		flush(conn))
		return;
	note_own_failure(conn);
	loop_defer(&conn->task);
}

bool
pg_conn_is_fit(const PgConn *conn)
{
	return !conn->options.is_writer || pg_server_takes_writes(conn->pg);
}

const char *
pg_conn_peer(const PgConn *conn)
{
	return pg_route_peer(&conn->route);
}

int
pg_conn_host(const PgConn *conn)
{
	return pg_route_host(&conn->route);
}

const PgHistory *
pg_conn_history(const PgConn *conn)
{
	return &conn->history;
}
