/*
 * orderctl_outbox.c
 *		Carries out the commands of orderctl that ask the database.
 *
 * DESIGN	Only views and functions of the extension are asked, those that grant_operator() grants.
 *			All reads of one event or one order are by key; a list by status reads the outbox from
 *			its beginning, which is as long as its retention.
 *
 *			`tail` asks again and again, for events that were not shown yet: first where the ids
 *			are, then in one statement for the events and for the oldest transaction that runs.
 *			orderctl_window.h says what can be told from that.
 */
#include "orderctl_outbox.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "orderctl_database.h"
#include "orderctl_window.h"
#include "reason.h"

#define NUMBER_SIZE 24
#define MESSAGE_SIZE 128

#define TAIL_INTERVAL_MS 250
#define TAIL_PAGE 1000

/* Milliseconds since 1970, as the protocol has times. */
#define MILLIS(column) "coalesce(floor(extract(epoch FROM " column ") * 1000)::bigint, 0)"

/* The columns of an event, in the order of read_event(). */
#define EVENT_COLUMNS \
	"e.event_id, e.order_id, e.order_version, e.event_type, e.status, e.retry_count," \
	" coalesce(e.last_error, ''), " MILLIS("e.created_at") ", " MILLIS("e.sent_at") ", " MILLIS( \
		"e.next_attempt_at")

/* The same of a row of dlq, and what it has more. */
#define DLQ_COLUMNS \
	"e.event_id, e.order_id, e.order_version, e.event_type, e.status, e.attempts," \
	" coalesce(e.error, ''), " MILLIS("e.created_at") ", 0, 0, " MILLIS( \
		"e.failed_at") ", e.waiting"

typedef struct OutboxCall
{
	const OrderctlOptions *options;
	const OrderctlPrinter *printer;
	OrderctlDatabase *database;
} OutboxCall;

/* ----- Failures ---------------------------------------------------------------------------- */

/* Prints what cannot be done, as the proxy's refusals are printed. */
static OrderctlExit
refuse(const OutboxCall *call, int code, const char *message)
{
	OrderService__V1__ErrorMessage error = ORDER_SERVICE__V1__ERROR_MESSAGE__INIT;

	error.code = code;
	error.reason = (char *) reason_code_name(code);
	error.message = (char *) message;
	call->printer->refusal(call->options, &error);
	return orderctl_exit_of_code(code);
}

static bool
is_requeue(const OrderctlOptions *options)
{
	return options->command == ORDERCTL_OUTBOX_REQUEUE || options->command == ORDERCTL_DLQ_REQUEUE;
}

/* Prints why the last query failed. */
static OrderctlExit
fail(const OutboxCall *call)
{
	static const struct
	{
		const char *sqlstate;
		int code;
	} codes[] = {
		{"42501", CODE_FORBIDDEN},   /* the role may not */
		{"57014", CODE_UNAVAILABLE}, /* the time limit */
		{"55000", CODE_UNAVAILABLE}, /* a standby */
		{"25006", CODE_UNAVAILABLE}, /* likewise */
		{"3F000", CODE_NOT_FOUND},   /* the extension is not in this database: no schema, */
		{"42P01", CODE_NOT_FOUND},   /* no table, */
		{"42883", CODE_NOT_FOUND},   /* no function */
	};
	const char *message = orderctl_database_error(call->database);

	if (orderctl_database_is_lost(call->database))
	{
		call->printer->failure(call->options, true, message);
		return is_requeue(call->options) ? ORDERCTL_EXIT_OUTCOME_UNKNOWN : ORDERCTL_EXIT_FAILED;
	}
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
	{
		if (strcmp(orderctl_database_sqlstate(call->database), codes[i].sqlstate) == 0)
			return refuse(call, codes[i].code, message);
	}
	return refuse(call, CODE_INTERNAL, message);
}

/* ----- Rows -------------------------------------------------------------------------------- */

/* A number as a parameter; NULL for |none|. */
static const char *
parameter(int64_t number, int64_t none, char text[NUMBER_SIZE])
{
	snprintf(text, NUMBER_SIZE, "%" PRId64, number);
	return number != none ? text : NULL;
}

/* An event whose columns begin at |first|; its texts are those of the rows. */
static OrderctlEvent
read_event(const OrderctlRows *rows, int row, int first)
{
	return (OrderctlEvent){
		.event_id = orderctl_rows_number(rows, row, first),
		.order_id = orderctl_rows_number(rows, row, first + 1),
		.order_version = orderctl_rows_number(rows, row, first + 2),
		.type = orderctl_rows_text(rows, row, first + 3),
		.status = orderctl_rows_text(rows, row, first + 4),
		.attempts = orderctl_rows_number(rows, row, first + 5),
		.error = orderctl_rows_text(rows, row, first + 6),
		.created_at = orderctl_rows_number(rows, row, first + 7),
		.sent_at = orderctl_rows_number(rows, row, first + 8),
		.next_attempt_at = orderctl_rows_number(rows, row, first + 9),
	};
}

/* ----- list -------------------------------------------------------------------------------- */

static const char outbox_list_sql[] =
	"SELECT " EVENT_COLUMNS " FROM order_service.outbox_detail e WHERE e.event_id > $1"
	" AND CASE WHEN $2::text IS NULL THEN e.status <> 'SENT' ELSE $2 IN ('" ORDERCTL_STATUS_ALL
	"', e.status) END AND $3::bigint IS NULL AND $4::text IS NULL"
	" ORDER BY e.event_id LIMIT $5";

static const char order_list_sql[] =
	"SELECT " EVENT_COLUMNS " FROM order_service.order_events($3) e WHERE e.event_id > $1"
	" AND coalesce($2::text, '" ORDERCTL_STATUS_ALL "') IN ('" ORDERCTL_STATUS_ALL "', e.status)"
	" AND $4::text IS NULL ORDER BY e.event_id LIMIT $5";

static const char dlq_list_sql[] =
	"SELECT " DLQ_COLUMNS " FROM order_service.dlq e WHERE e.event_id > $1"
	" AND coalesce($2::text, '" ORDERCTL_STATUS_ALL "') IN ('" ORDERCTL_STATUS_ALL "', e.status)"
	" AND ($3::bigint IS NULL OR e.order_id = $3) AND ($4::text IS NULL OR e.error LIKE $4)"
	" ORDER BY e.event_id LIMIT $5";

/* One page behind |*after|, which becomes its last event; |*is_more|: there is another page. */
static bool
list_page(const OutboxCall *call, const char *sql, int limit, int64_t *after, bool *is_more)
{
	const OrderctlOptions *options = call->options;
	char numbers[3][NUMBER_SIZE];
	const char *parameters[] = {parameter(*after, -1, numbers[0]), options->event_status,
								parameter(options->order_id, 0, numbers[1]), options->event_error,
								parameter(limit + 1, 0, numbers[2])};
	OrderctlRows *rows = orderctl_database_query(call->database, sql, 5, parameters);
	OrderctlEvent events[LIST_ORDERS_MAX + 1];
	int count;

	if (rows == NULL)
		return false;
	count = orderctl_rows_count(rows);
	*is_more = count > limit;
	count -= *is_more;
	for (int i = 0; i < count; i++)
	{
		events[i] = read_event(rows, i, 0);
		if (options->command != ORDERCTL_DLQ_LIST)
			continue;
		events[i].failed_at = orderctl_rows_number(rows, i, 10);
		events[i].waiting = orderctl_rows_number(rows, i, 11);
	}
	call->printer->events(options, events, count, *is_more);
	if (count > 0)
		*after = events[count - 1].event_id;
	orderctl_rows_free(rows);
	return true;
}

static OrderctlExit
list(const OutboxCall *call)
{
	const OrderctlOptions *options = call->options;
	int limit = options->limit != 0 ? options->limit : LIST_ORDERS_DEFAULT;
	int64_t after = options->after_event_id != -1 ? options->after_event_id : 0;
	const char *sql = outbox_list_sql;
	bool is_more;

	if (options->command == ORDERCTL_DLQ_LIST)
		sql = dlq_list_sql;
	else if (options->order_id != 0)
		sql = order_list_sql;
	do
	{
		if (!list_page(call, sql, limit, &after, &is_more))
			return fail(call);
	} while (is_more && options->is_all);
	return ORDERCTL_EXIT_OK;
}

/* ----- show -------------------------------------------------------------------------------- */

/* An event, and the one that its order is parked behind, if that comes before it. */
#define SHOW_SQL(source) \
	"SELECT " EVENT_COLUMNS \
	", " MILLIS("d.failed_at") ", d.waiting, d.event_id, d.order_version," \
							   " d.status FROM " source " e LEFT JOIN order_service.dlq d" \
							   " ON d.order_id = e.order_id AND d.event_id <= e.event_id"

static const char show_by_id_sql[] =
	SHOW_SQL("order_service.outbox_detail") " WHERE e.event_id = $1";
static const char show_by_version_sql[] =
	SHOW_SQL("order_service.order_events($1)") " WHERE e.order_version = $2";

/* The row of the event that is meant; NULL, with |*exit_code|, after it was said why not. */
static OrderctlRows *
find_event(const OutboxCall *call, OrderctlExit *exit_code)
{
	const OrderctlOptions *options = call->options;
	bool is_by_id = options->event_id != 0;
	char numbers[2][NUMBER_SIZE];
	const char *parameters[] = {
		parameter(is_by_id ? options->event_id : options->order_id, 0, numbers[0]),
		parameter(options->order_version, 0, numbers[1])};
	OrderctlRows *rows =
		orderctl_database_query(call->database, is_by_id ? show_by_id_sql : show_by_version_sql,
								is_by_id ? 1 : 2, parameters);
	char message[MESSAGE_SIZE];

	if (rows == NULL)
	{
		*exit_code = fail(call);
		return NULL;
	}
	if (orderctl_rows_count(rows) == 1)
		return rows;
	orderctl_rows_free(rows);
	if (is_by_id)
		snprintf(message, sizeof(message), "there is no event %" PRId64 " in the outbox",
				 options->event_id);
	else
		snprintf(message, sizeof(message),
				 "there is no event %" PRId64 ".%" PRId32 " in the outbox", options->order_id,
				 options->order_version);
	*exit_code = refuse(call, CODE_NOT_FOUND, message);
	return NULL;
}

/* The payload of an event; NULL when it is not one. False when the query fails. */
static bool
read_payload(const OutboxCall *call, int64_t event_id, json_t **payload)
{
	char number[NUMBER_SIZE];
	const char *parameters[] = {parameter(event_id, 0, number)};
	OrderctlRows *rows = orderctl_database_query(
		call->database,
		"SELECT order_service.event_json(b.payload) FROM order_service.outbox b"
		" WHERE b.event_id = $1",
		1, parameters);

	*payload = NULL;
	if (rows == NULL)
		return strcmp(orderctl_database_sqlstate(call->database), "22P03") == 0;
	if (orderctl_rows_count(rows) == 1)
		*payload = json_loads(orderctl_rows_text(rows, 0, 0), 0, NULL);
	orderctl_rows_free(rows);
	return true;
}

static OrderctlExit
show_rows(const OutboxCall *call, const OrderctlRows *rows)
{
	OrderctlEvent event = read_event(rows, 0, 0);
	int64_t parked_id = orderctl_rows_number(rows, 0, 12);
	json_t *payload;

	if (parked_id == event.event_id)
	{
		event.failed_at = orderctl_rows_number(rows, 0, 10);
		event.waiting = orderctl_rows_number(rows, 0, 11);
	}
	else if (call->options->command == ORDERCTL_DLQ_SHOW)
		return refuse(call, CODE_NOT_FOUND, "the event is neither FAILED nor DLQ");
	else if (parked_id != 0)
	{
		event.blocker_id = parked_id;
		event.blocker_version = orderctl_rows_number(rows, 0, 13);
		event.blocker_status = orderctl_rows_text(rows, 0, 14);
	}
	if (!read_payload(call, event.event_id, &payload))
		return fail(call);
	call->printer->event(call->options, &event, payload);
	json_decref(payload);
	return ORDERCTL_EXIT_OK;
}

static OrderctlExit
show(const OutboxCall *call)
{
	OrderctlExit exit_code;
	OrderctlRows *rows = find_event(call, &exit_code);

	if (rows == NULL)
		return exit_code;
	exit_code = show_rows(call, rows);
	orderctl_rows_free(rows);
	return exit_code;
}

/* ----- requeue ----------------------------------------------------------------------------- */

static const char requeue_sql[] = "SELECT order_service.requeue($1)";
static const char requeue_matching_sql[] =
	"SELECT order_service.requeue_matching(p_order_id => $1, p_error => $2, p_status => $3)";

/* Runs one of the two; 0 rows cannot be. */
static OrderctlExit
requeue_by(const OutboxCall *call, const char *sql, int parameter_count,
		   const char *const *parameters)
{
	OrderctlRows *rows = orderctl_database_query(call->database, sql, parameter_count, parameters);
	int64_t count;

	if (rows == NULL)
		return fail(call);
	count = orderctl_rows_number(rows, 0, 0);
	orderctl_rows_free(rows);
	if (count == 0)
		return refuse(call, CODE_NOT_FOUND, "no such event is FAILED or DLQ");
	call->printer->requeued(call->options, count);
	return ORDERCTL_EXIT_OK;
}

static OrderctlExit
requeue(const OutboxCall *call)
{
	const OrderctlOptions *options = call->options;
	char number[NUMBER_SIZE];
	const char *parameters[] = {parameter(options->order_id, 0, number), options->event_error,
								options->event_status};
	OrderctlExit exit_code;
	OrderctlRows *rows;

	if (options->event_id == 0 && options->order_version == 0)
		return requeue_by(call, requeue_matching_sql, 3, parameters);
	rows = find_event(call, &exit_code);
	if (rows == NULL)
		return exit_code;
	parameters[0] = parameter(orderctl_rows_number(rows, 0, 0), 0, number);
	orderctl_rows_free(rows);
	return requeue_by(call, requeue_sql, 1, parameters);
}

/* ----- tail -------------------------------------------------------------------------------- */

typedef struct Tail
{
	const OutboxCall *call;
	OrderctlWindow window;
	int64_t left; /* events to show; of no meaning when they are not counted */
	bool is_started;
} Tail;

static const char tail_sql[] =
	"SELECT x.xmin, " EVENT_COLUMNS
	" FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) x LEFT JOIN LATERAL"
	" (SELECT * FROM order_service.outbox_detail d WHERE d.event_id >= $1"
	" AND d.event_id <> ALL ($2::bigint[]) AND ($3::bigint IS NULL OR d.order_id = $3)"
	" ORDER BY d.event_id LIMIT $4) e ON true";

/* The events in the window, as an array of SQL. */
static char *
shown_array(const OrderctlWindow *window)
{
	char *text = bytes_new((size_t) window->count * NUMBER_SIZE + 3);
	char *end = text;

	*end++ = '{';
	for (int i = 0; i < window->count; i++)
		end += sprintf(end, "%s%" PRId64, i > 0 ? "," : "", window->shown[i]);
	strcpy(end, "}");
	return text;
}

/* Shows what is new in |rows|; the last column tells of no event where there is none. */
static int
show_new(Tail *tail, const OrderctlRows *rows)
{
	const OrderctlOptions *options = tail->call->options;
	OrderctlEvent events[TAIL_PAGE];
	int count = orderctl_rows_count(rows);
	bool is_missed = false;

	if (orderctl_rows_number(rows, 0, 1) == 0)
		return 0;
	if (options->count != 0 && count > tail->left)
		count = (int) tail->left;
	for (int i = 0; i < count; i++)
	{
		events[i] = read_event(rows, i, 1);
		is_missed |= !orderctl_window_add(&tail->window, events[i].event_id);
	}
	tail->call->printer->events(options, events, count, false);
	tail->left -= count;
	if (is_missed)
		fprintf(stderr,
				"orderctl: a transaction stays open; what it commits below event %" PRId64
				" is not shown\n",
				tail->window.low);
	return count;
}

/* Asks once; |*is_full| when there is probably more to show at once. False when a query fails. */
static bool
tail_turn(Tail *tail, bool *is_full)
{
	const OutboxCall *call = tail->call;
	char numbers[3][NUMBER_SIZE];
	const char *parameters[4];
	OrderctlRows *position;
	OrderctlRows *rows;
	int64_t end_id;
	uint64_t horizon;
	char *shown;

	position = orderctl_database_query(
		call->database, "SELECT end_id, horizon FROM order_service.outbox_position()", 0, NULL);
	if (position == NULL)
		return false;
	end_id = orderctl_rows_number(position, 0, 0);
	horizon = (uint64_t) orderctl_rows_number(position, 0, 1);
	orderctl_rows_free(position);
	if (!tail->is_started)
		orderctl_window_start(&tail->window, call->options->after_event_id != -1
												 ? call->options->after_event_id + 1
												 : end_id);
	tail->is_started = true;

	shown = shown_array(&tail->window);
	parameters[0] = parameter(tail->window.low, -1, numbers[0]);
	parameters[1] = shown;
	parameters[2] = parameter(call->options->order_id, 0, numbers[1]);
	parameters[3] = parameter(TAIL_PAGE, 0, numbers[2]);
	rows = orderctl_database_query(call->database, tail_sql, 4, parameters);
	free(shown);
	if (rows == NULL)
		return false;
	*is_full = show_new(tail, rows) == TAIL_PAGE;
	if (!*is_full)
		orderctl_window_advance(&tail->window, end_id, horizon,
								(uint64_t) orderctl_rows_number(rows, 0, 0));
	orderctl_rows_free(rows);
	return true;
}

static OrderctlExit
tail_events(const OutboxCall *call)
{
	static const struct timespec pause = {.tv_nsec = TAIL_INTERVAL_MS * 1000000L};
	Tail *tail = bytes_new_zeroed(1, sizeof(Tail));
	OrderctlExit exit_code = ORDERCTL_EXIT_OK;
	bool is_full;

	tail->call = call;
	tail->left = call->options->count;
	do
	{
		is_full = false;
		if (!tail_turn(tail, &is_full))
			exit_code = fail(call);
		else if (!is_full && (call->options->count == 0 || tail->left > 0))
			(void) nanosleep(&pause, NULL);
	} while (exit_code == ORDERCTL_EXIT_OK && (call->options->count == 0 || tail->left > 0));
	free(tail);
	return exit_code;
}

/* ----- All together ------------------------------------------------------------------------ */

static OrderctlExit
run(const OutboxCall *call)
{
	switch (call->options->command)
	{
		case ORDERCTL_OUTBOX_LIST:
		case ORDERCTL_DLQ_LIST:
			return list(call);
		case ORDERCTL_OUTBOX_SHOW:
		case ORDERCTL_DLQ_SHOW:
			return show(call);
		case ORDERCTL_OUTBOX_REQUEUE:
		case ORDERCTL_DLQ_REQUEUE:
			return requeue(call);
		default:
			assert(call->options->command == ORDERCTL_OUTBOX_TAIL);
			return tail_events(call);
	}
}

OrderctlExit
orderctl_outbox(const OrderctlOptions *options, const OrderctlPrinter *printer)
{
	char error[ORDERCTL_DATABASE_ERROR_SIZE];
	OutboxCall call = {.options = options, .printer = printer};
	OrderctlExit exit_code;

	call.database = orderctl_database_open(options->database, options->timeout_us, error);
	if (call.database == NULL)
	{
		printer->failure(options, false, error);
		return ORDERCTL_EXIT_FAILED;
	}
	exit_code = run(&call);
	orderctl_database_close(call.database);
	return exit_code;
}
