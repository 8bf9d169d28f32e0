/*
 * functions.c
 *		The SQL functions: arguments in, the modules that do the work, results out.
 *
 * DESIGN	No rule lives here. Single forms are batches of one whose refusals are raised as errors;
 *			array forms return a row per item and raise only what is the caller's mistake or not
 *			foreseen.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "admission.h"
#include "after_commit.h"
#include "arguments.h"
#include "bounds.h"
#include "cancellation.h"
#include "compat.h"
#include "event_json.h"
#include "execution.h"
#include "outbox.h"
#include "resolution.h"
#include "results.h"
#include "settlement.h"

PG_FUNCTION_INFO_V1(functions_place_order);
PG_FUNCTION_INFO_V1(functions_cancel_order);
PG_FUNCTION_INFO_V1(functions_apply_execution);
PG_FUNCTION_INFO_V1(functions_place_orders);
PG_FUNCTION_INFO_V1(functions_receive_orders);
PG_FUNCTION_INFO_V1(functions_settle_orders);
PG_FUNCTION_INFO_V1(functions_cancel_orders);
PG_FUNCTION_INFO_V1(functions_claim_unsettled);
PG_FUNCTION_INFO_V1(functions_record_hold);
PG_FUNCTION_INFO_V1(functions_event_json);
PG_FUNCTION_INFO_V1(functions_wake_publisher);
PG_FUNCTION_INFO_V1(functions_outbox_position);

/* Columns of the result rows; the widest has those of receive_orders(). */
#define SINGLE_COLUMNS 7
#define BATCH_COLUMNS 9
#define RECEIVE_COLUMNS 12
#define CLAIM_COLUMNS 9
#define HOLD_COLUMNS 6

/* The types of those that are packed: the first BATCH_COLUMNS of them, or all. */
static const Oid packed_types[RECEIVE_COLUMNS] = {INT4OID,        INT2OID, INT2OID, TEXTOID,
												  INT8OID,        INT2OID, BOOLOID, INT8OID,
												  TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID};

/*
 * Names of the arguments, or of their items, in the order of the signatures: for who left one out.
 */
static const char *const place_fields[] = {"account_id", "idempotency_key", "symbol",
										   "side",       "order_type",      "quantity",
										   "price",      "time_in_force"};
static const char *const cancel_fields[] = {"account_id", "idempotency_key", "order_id"};
static const char *const execution_fields[] = {"execution_id", "order_id", "execution_type",
											   "last_quantity", "last_price"};
static const char *const settle_fields[] = {"order_id", "reason", "hold"};
static const char *const hold_fields[] = {"order_id", "hold", "retry_after_ms"};

static void
connect(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

static void
finish(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not finish SPI");
}

/* The row type of a function that returns one record, looked up once per query. */
static TupleDesc
result_type(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc type;

		if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "function does not return a row");
		fcinfo->flinfo->fn_extra = BlessTupleDesc(type);
		MemoryContextSwitchTo(caller);
	}
	return fcinfo->flinfo->fn_extra;
}

/*
 * Ends a single form: raises a refusal, else returns the row. What the outcome points to lives in
 * SPI's memory, so it is copied out before SPI ends.
 */
static Datum
return_single(FunctionCallInfo fcinfo, const Outcome *outcome)
{
	Datum values[SINGLE_COLUMNS];
	bool is_null[SINGLE_COLUMNS] = {false};
	const Order *order = outcome->order;
	const char *status;
	const char *reason = NULL;

	if (!outcome->is_recorded)
		outcome_raise(outcome);
	status = rules_status_name(order->status);
	if (order->reason != REASON_NONE)
		reason = reason_name(order->reason);
	values[0] = Int64GetDatum(order->order_id);
	values[2] = Int16GetDatum(outcome->code);
	values[4] = BoolGetDatum(outcome->is_replayed);
	values[5] = Int64GetDatum(order->filled_quantity);
	values[6] = TimestampTzGetDatum(order->updated_at);
	finish();

	values[1] = CStringGetTextDatum(status);
	is_null[3] = reason == NULL;
	values[3] = reason != NULL ? CStringGetTextDatum(reason) : (Datum) 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_type(fcinfo), values, is_null)));
}

/* The code of a name argument; -1, which no check accepts, for an unknown one. */
static int
name_argument(FunctionCallInfo fcinfo, int number, int (*code_of)(const char *))
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(number));
	int code = code_of(name);

	pfree(name);
	return code;
}

/* The name, of |names|, of the first argument that is NULL; NULL when none is. */
static const char *
missing_argument(FunctionCallInfo fcinfo, const char *const *names)
{
	for (int i = 0; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			return names[i];
	}
	return NULL;
}

Datum
functions_place_order(PG_FUNCTION_ARGS)
{
	AdmissionItem item = {.missing = missing_argument(fcinfo, place_fields)};
	Outcome outcome = {0};

	if (item.missing == NULL)
	{
		OrderRequest *request = &item.request;

		request->account_id = PG_GETARG_INT64(0);
		request->key = arguments_text(PG_GETARG_DATUM(1), &request->key_length);
		request->symbol = arguments_text(PG_GETARG_DATUM(2), &request->symbol_length);
		request->side = name_argument(fcinfo, 3, rules_side_code);
		request->order_type = name_argument(fcinfo, 4, rules_order_type_code);
		request->quantity = PG_GETARG_INT64(5);
		request->price = PG_GETARG_INT64(6);
		request->time_in_force = name_argument(fcinfo, 7, rules_time_in_force_code);
	}
	connect();
	admission_run(&item, 1, ADMISSION_ACCEPT, &outcome);
	return return_single(fcinfo, &outcome);
}

Datum
functions_cancel_order(PG_FUNCTION_ARGS)
{
	CancellationItem item = {.missing = missing_argument(fcinfo, cancel_fields)};
	Outcome outcome = {0};

	if (item.missing == NULL)
	{
		item.account_id = PG_GETARG_INT64(0);
		item.key = arguments_text(PG_GETARG_DATUM(1), &item.key_length);
		item.order_id = PG_GETARG_INT64(2);
	}
	connect();
	cancellation_run(&item, 1, &outcome);
	return return_single(fcinfo, &outcome);
}

Datum
functions_apply_execution(PG_FUNCTION_ARGS)
{
	Execution execution = {.missing = missing_argument(fcinfo, execution_fields)};
	Outcome outcome = {0};

	if (execution.missing == NULL)
	{
		execution.execution_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
		execution.order_id = PG_GETARG_INT64(1);
		execution.type = name_argument(fcinfo, 2, rules_execution_type_code);
		execution.last_quantity = PG_GETARG_INT64(3);
		execution.last_price = PG_GETARG_INT64(4);
	}
	connect();
	execution_apply(&execution, &outcome);
	return return_single(fcinfo, &outcome);
}

/* The columns that all array forms about orders return, from item to updated_at. */
static void
fill_batch_columns(const Outcome *outcome, int item, Datum *values, bool *is_null)
{
	const Order *order = outcome->order;

	values[0] = Int32GetDatum(item + 1);
	values[1] = Int16GetDatum(outcome->code);
	values[2] = Int16GetDatum((int16) outcome->reason);
	is_null[3] = outcome->detail == NULL;
	if (outcome->detail != NULL)
		values[3] = CStringGetTextDatum(outcome->detail);
	is_null[4] = is_null[5] = is_null[7] = is_null[8] = order == NULL;
	values[6] = BoolGetDatum(outcome->is_replayed);
	if (order == NULL)
		return;
	values[4] = Int64GetDatum(order->order_id);
	values[5] = Int16GetDatum(order->status);
	values[7] = Int64GetDatum(order->filled_quantity);
	values[8] = TimestampTzGetDatum(order->updated_at);
}

static void
return_batch(Results *results, const Outcome *outcomes, int count)
{
	for (int i = 0; i < count; i++)
	{
		Datum values[BATCH_COLUMNS] = {0};
		bool is_null[BATCH_COLUMNS] = {false};

		fill_batch_columns(&outcomes[i], i, values, is_null);
		results_put(results, values, is_null);
	}
}

/*
 * The same and what the caller needs to reserve; those columns are NULL unless the order waits for
 * its reservation: it is new, or was recorded by an earlier call whose answer the caller may have
 * lost.
 */
static void
return_received(Results *results, const Outcome *outcomes, int count)
{
	for (int i = 0; i < count; i++)
	{
		const Outcome *outcome = &outcomes[i];
		bool is_waiting = outcome->order != NULL && outcome->order->status == STATUS_RECEIVED &&
						  (outcome->is_recorded || outcome->reason == REASON_IN_PROGRESS);
		Datum values[RECEIVE_COLUMNS] = {0};
		bool is_null[RECEIVE_COLUMNS] = {false};

		fill_batch_columns(outcome, i, values, is_null);
		is_null[9] = is_null[10] = is_null[11] = !is_waiting;
		if (is_waiting)
		{
			values[9] = CStringGetTextDatum(outcome->order->reserve_id);
			values[10] = CStringGetTextDatum(outcome->order->currency);
			values[11] = Int64GetDatum(outcome->order->reserve_amount);
		}
		results_put(results, values, is_null);
	}
}

/* The requests of place_orders() and receive_orders(). */
static AdmissionItem *
order_requests(FunctionCallInfo fcinfo, int *count)
{
	static const Oid types[8] = {INT8OID, TEXTOID, TEXTOID, INT2OID,
								 INT2OID, INT8OID, INT8OID, INT2OID};
	ArgumentArray arrays[8];
	AdmissionItem *items;

	*count = arguments_arrays(fcinfo, types, lengthof(types), arrays);
	items = palloc0(sizeof(AdmissionItem) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		OrderRequest *request = &items[i].request;

		items[i].missing = arguments_missing(arrays, lengthof(types), i, place_fields);
		if (items[i].missing != NULL)
			continue;
		request->account_id = DatumGetInt64(arrays[0].values[i]);
		request->key = arguments_text(arrays[1].values[i], &request->key_length);
		request->symbol = arguments_text(arrays[2].values[i], &request->symbol_length);
		request->side = DatumGetInt16(arrays[3].values[i]);
		request->order_type = DatumGetInt16(arrays[4].values[i]);
		request->quantity = DatumGetInt64(arrays[5].values[i]);
		request->price = DatumGetInt64(arrays[6].values[i]);
		request->time_in_force = DatumGetInt16(arrays[7].values[i]);
	}
	return items;
}

static Datum
admit(FunctionCallInfo fcinfo, AdmissionMode mode)
{
	int count;
	AdmissionItem *items = order_requests(fcinfo, &count);
	Outcome *outcomes = palloc0(sizeof(Outcome) * Max(count, 1));
	Results results;

	results_begin(&results, fcinfo, packed_types,
				  mode == ADMISSION_ACCEPT ? BATCH_COLUMNS : RECEIVE_COLUMNS);
	connect();
	admission_run(items, count, mode, outcomes);
	if (mode == ADMISSION_ACCEPT)
		return_batch(&results, outcomes, count);
	else
		return_received(&results, outcomes, count);
	finish();
	return results_end(&results);
}

Datum
functions_place_orders(PG_FUNCTION_ARGS)
{
	return admit(fcinfo, ADMISSION_ACCEPT);
}

Datum
functions_receive_orders(PG_FUNCTION_ARGS)
{
	return admit(fcinfo, ADMISSION_RECEIVE);
}

Datum
functions_settle_orders(PG_FUNCTION_ARGS)
{
	static const Oid types[3] = {INT8OID, INT2OID, INT2OID};
	ArgumentArray arrays[3];
	int count = arguments_arrays(fcinfo, types, lengthof(types), arrays);
	SettlementItem *items = palloc0(sizeof(SettlementItem) * Max(count, 1));
	Outcome *outcomes = palloc0(sizeof(Outcome) * Max(count, 1));
	Results results;

	for (int i = 0; i < count; i++)
	{
		items[i].missing = arguments_missing(arrays, lengthof(types), i, settle_fields);
		if (items[i].missing != NULL)
			continue;
		items[i].order_id = DatumGetInt64(arrays[0].values[i]);
		items[i].reason = DatumGetInt16(arrays[1].values[i]);
		items[i].hold = DatumGetInt16(arrays[2].values[i]);
	}
	results_begin(&results, fcinfo, packed_types, BATCH_COLUMNS);
	connect();
	settlement_run(items, count, outcomes);
	return_batch(&results, outcomes, count);
	finish();
	return results_end(&results);
}

Datum
functions_cancel_orders(PG_FUNCTION_ARGS)
{
	static const Oid types[3] = {INT8OID, TEXTOID, INT8OID};
	ArgumentArray arrays[3];
	int count = arguments_arrays(fcinfo, types, lengthof(types), arrays);
	CancellationItem *items = palloc0(sizeof(CancellationItem) * Max(count, 1));
	Outcome *outcomes = palloc0(sizeof(Outcome) * Max(count, 1));
	Results results;

	for (int i = 0; i < count; i++)
	{
		items[i].missing = arguments_missing(arrays, lengthof(types), i, cancel_fields);
		if (items[i].missing != NULL)
			continue;
		items[i].account_id = DatumGetInt64(arrays[0].values[i]);
		items[i].key = arguments_text(arrays[1].values[i], &items[i].key_length);
		items[i].order_id = DatumGetInt64(arrays[2].values[i]);
	}
	results_begin(&results, fcinfo, NULL, BATCH_COLUMNS);
	connect();
	cancellation_run(items, count, outcomes);
	return_batch(&results, outcomes, count);
	finish();
	return results_end(&results);
}

/* An interval in milliseconds, a month being 30 days as everywhere in PostgreSQL. */
static int64
to_milliseconds(const Interval *interval)
{
	int64 days = (int64) interval->month * DAYS_PER_MONTH + interval->day;

	return interval->time / 1000 + days * SECS_PER_DAY * 1000;
}

Datum
functions_claim_unsettled(PG_FUNCTION_ARGS)
{
	ResolutionTask *tasks;
	int count;
	Results results;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_GETARG_INT32(0) < 0 ||
		PG_GETARG_INT32(0) > BATCH_ITEMS_MAX || to_milliseconds(PG_GETARG_INTERVAL_P(1)) <= 0)
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE('O', 'S', '4', '0', '0')),
				 errmsg("limit must be within 0 to %d and the lease positive", BATCH_ITEMS_MAX)));
	results_begin(&results, fcinfo, NULL, CLAIM_COLUMNS);
	connect();
	count = resolution_claim(PG_GETARG_INT32(0), to_milliseconds(PG_GETARG_INTERVAL_P(1)), &tasks);
	for (int i = 0; i < count; i++)
	{
		const Order *order = tasks[i].order;
		bool has_reservation = order->reserve_id != NULL;
		Datum values[CLAIM_COLUMNS] = {0};
		bool is_null[CLAIM_COLUMNS] = {false};

		values[0] = Int64GetDatum(order->order_id);
		values[1] = Int64GetDatum(order->account_id);
		values[2] = Int16GetDatum(order->side);
		values[3] = CStringGetTextDatum(order->symbol);
		values[4] = Int16GetDatum(order->hold);
		is_null[5] = !has_reservation;
		if (has_reservation)
			values[5] = CStringGetTextDatum(order->reserve_id);
		values[6] = CStringGetTextDatum(order->currency);
		values[7] = Int64GetDatum(order->reserve_amount);
		values[8] = Int32GetDatum(tasks[i].attempts);
		results_put(&results, values, is_null);
	}
	finish();
	return results_end(&results);
}

static void
return_holds(Results *results, const Outcome *outcomes, int count)
{
	for (int i = 0; i < count; i++)
	{
		const Outcome *outcome = &outcomes[i];
		Datum values[HOLD_COLUMNS] = {0};
		bool is_null[HOLD_COLUMNS] = {false};

		values[0] = Int32GetDatum(i + 1);
		values[1] = Int16GetDatum(outcome->code);
		/* The reason is that of this call, not why the order ended. */
		values[2] = Int16GetDatum(outcome->is_recorded ? REASON_NONE : (int16) outcome->reason);
		is_null[3] = outcome->detail == NULL;
		if (outcome->detail != NULL)
			values[3] = CStringGetTextDatum(outcome->detail);
		is_null[4] = is_null[5] = outcome->order == NULL;
		if (outcome->order != NULL)
		{
			values[4] = Int64GetDatum(outcome->order->order_id);
			values[5] = Int16GetDatum(outcome->order->hold);
		}
		results_put(results, values, is_null);
	}
}

Datum
functions_record_hold(PG_FUNCTION_ARGS)
{
	static const Oid types[3] = {INT8OID, INT2OID, INT4OID};
	ArgumentArray arrays[3];
	int count = arguments_arrays(fcinfo, types, lengthof(types), arrays);
	ResolutionItem *items = palloc0(sizeof(ResolutionItem) * Max(count, 1));
	Outcome *outcomes = palloc0(sizeof(Outcome) * Max(count, 1));
	Results results;

	for (int i = 0; i < count; i++)
	{
		items[i].missing = arguments_missing(arrays, lengthof(types), i, hold_fields);
		if (items[i].missing != NULL)
			continue;
		items[i].order_id = DatumGetInt64(arrays[0].values[i]);
		items[i].hold = DatumGetInt16(arrays[1].values[i]);
		items[i].retry_after_ms = DatumGetInt32(arrays[2].values[i]);
	}
	results_begin(&results, fcinfo, NULL, HOLD_COLUMNS);
	connect();
	resolution_record(items, count, outcomes);
	return_holds(&results, outcomes, count);
	finish();
	return results_end(&results);
}

Datum
functions_event_json(PG_FUNCTION_ARGS)
{
	bytea *payload = PG_GETARG_BYTEA_PP(0);
	Event event;
	EventTexts texts;
	StringInfoData json;

	if (!event_decode((const uint8_t *) VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload), &event,
					  &texts))
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("the payload is not an OrderEvent")));
	initStringInfo(&json);
	event_json_append(&json, &event);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(json.data, json.len));
}

Datum
functions_wake_publisher(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	after_commit_request_catch_up(outbox_relation());
	PG_RETURN_VOID();
}

Datum
functions_outbox_position(PG_FUNCTION_ARGS)
{
	bool is_null[2] = {false, false};
	Datum values[2];

	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("recovery is in progress"),
						errhint("Event ids are handed out by the primary server only.")));
	connect();
	/* In this order: who took an id below the end has a transaction id below the horizon. */
	values[0] = Int64GetDatum(outbox_end());
	values[1] = UInt64GetDatum(outbox_next_transaction());
	finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_type(fcinfo), values, is_null)));
}
