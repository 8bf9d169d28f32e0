/*
 * batch.c
 *		Items that go to the database as one call.
 *
 * DESIGN	The statements name the columns they take, so that a later version of the extension may
 *			add some; packed rows may get more at their end. The array functions return a row per
 *			item, in the order of the input; the column |item| is checked all the same: an answer
 *			must never reach another's client.
 *
 *			What every order passes, receiving and settling, comes packed: to take a dozen cells of
 *			each row through libpq costs more than all else that is done with them.
 */
#include "order/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/pg_array.h"
#include "order_event.pb-c.h"

/* The columns of order_service.order_detail that an order is read from. */
#define ORDER_COLUMNS \
	"order_id, account_id, symbol, side, order_type, quantity, price, time_in_force, status," \
	" filled_quantity, reason, created_at, updated_at"

const PgStatement batch_statements[STORE_KIND_COUNT] = {
	[STORE_RECEIVE] = {"receive_orders",
					   "SELECT order_service.receive_orders_packed($1, $2, $3, $4, $5, $6, $7, $8)",
					   8,
					   {PG_TYPE_INT8_ARRAY, PG_TYPE_TEXT_ARRAY, PG_TYPE_TEXT_ARRAY,
						PG_TYPE_INT2_ARRAY, PG_TYPE_INT2_ARRAY, PG_TYPE_INT8_ARRAY,
						PG_TYPE_INT8_ARRAY, PG_TYPE_INT2_ARRAY}},
	[STORE_SETTLE] = {"settle_orders",
					  "SELECT order_service.settle_orders_packed($1, $2, $3)",
					  3,
					  {PG_TYPE_INT8_ARRAY, PG_TYPE_INT2_ARRAY, PG_TYPE_INT2_ARRAY}},
	[STORE_CANCEL] = {"cancel_orders",
					  "SELECT item, code, reason, detail, order_id, status, replayed,"
					  " filled_quantity, updated_at"
					  " FROM order_service.cancel_orders($1, $2, $3)",
					  3,
					  {PG_TYPE_INT8_ARRAY, PG_TYPE_TEXT_ARRAY, PG_TYPE_INT8_ARRAY}},
	[STORE_GET] = {"get_order",
				   "SELECT " ORDER_COLUMNS " FROM order_service.get_order($1, $2)",
				   2,
				   {PG_TYPE_INT8, PG_TYPE_INT8}},
	[STORE_FIND] = {"find_order",
					"SELECT " ORDER_COLUMNS " FROM order_service.find_order($1, $2)",
					2,
					{PG_TYPE_INT8, PG_TYPE_TEXT}},
	[STORE_LIST] = {"list_orders",
					"SELECT " ORDER_COLUMNS " FROM order_service.list_orders($1, $2, $3, $4)",
					4,
					{PG_TYPE_INT8, PG_TYPE_BOOL, PG_TYPE_INT8, PG_TYPE_INT4}},
	[STORE_FIND_SESSION] = {"find_sessions",
							"SELECT item, account_id, expires_at"
							" FROM order_service.find_sessions($1)",
							1,
							{PG_TYPE_TEXT_ARRAY}},
	[STORE_CLOSE_SESSION] = {"close_session",
							 "SELECT order_service.close_session($1)",
							 1,
							 {PG_TYPE_TEXT}},
	[STORE_CLAIM] = {"claim_unsettled",
					 "SELECT order_id, account_id, side, symbol, hold, reserve_id, currency,"
					 " reserve_amount, attempts"
					 " FROM order_service.claim_unsettled($1, $2 * interval '1 ms')",
					 2,
					 {PG_TYPE_INT4, PG_TYPE_INT4}},
	[STORE_RECORD_HOLD] = {"record_hold",
						   "SELECT item, code, reason, detail, order_id"
						   " FROM order_service.record_hold($1, $2, $3)",
						   3,
						   {PG_TYPE_INT8_ARRAY, PG_TYPE_INT2_ARRAY, PG_TYPE_INT4_ARRAY}},
};

bool
batch_is_gathered(StoreKind kind)
{
	return kind == STORE_RECEIVE || kind == STORE_SETTLE || kind == STORE_CANCEL ||
		   kind == STORE_FIND_SESSION || kind == STORE_RECORD_HOLD;
}

bool
batch_is_read(StoreKind kind)
{
	return kind == STORE_GET || kind == STORE_FIND || kind == STORE_LIST ||
		   kind == STORE_FIND_SESSION;
}

Batch *
batch_new(StoreKind kind, int count)
{
	Batch *batch = bytes_new_zeroed(1, sizeof(Batch) + sizeof(StoreItem *) * (size_t) count);

	assert(count > 0);
	assert(count == 1 || batch_is_gathered(kind));
	batch->kind = kind;
	batch->count = count;
	return batch;
}

void
batch_free(Batch *batch)
{
	free(batch);
}

/* Arguments out ------------------------------------------------------------------------------- */

/* The type of an array's elements; 0 for a type that is no array. */
static uint32_t
element_type(Oid type)
{
	switch (type)
	{
		case PG_TYPE_INT2_ARRAY:
			return PG_TYPE_INT2;
		case PG_TYPE_INT4_ARRAY:
			return PG_TYPE_INT4;
		case PG_TYPE_INT8_ARRAY:
			return PG_TYPE_INT8;
		case PG_TYPE_TEXT_ARRAY:
			return PG_TYPE_TEXT;
		default:
			return 0;
	}
}

/* A code as the database has it. One that does not fit must not become another, valid one. */
static int16_t
to_int2(int code)
{
	return code >= 0 && code <= INT16_MAX ? (int16_t) code : -1;
}

static void
add_received(Bytes *values, const StoreItem *item)
{
	pg_array_add_int8(&values[0], item->account_id);
	pg_array_add_text(&values[1], item->key);
	pg_array_add_text(&values[2], item->symbol);
	pg_array_add_int2(&values[3], to_int2(item->side));
	pg_array_add_int2(&values[4], to_int2(item->order_type));
	pg_array_add_int8(&values[5], item->quantity);
	pg_array_add_int8(&values[6], item->price);
	pg_array_add_int2(&values[7], to_int2(item->time_in_force));
}

static void
append_text(Bytes *value, const char *text)
{
	bytes_append(value, text, strlen(text));
}

static void
add_item(Bytes *values, const StoreItem *item)
{
	switch (item->kind)
	{
		case STORE_RECEIVE:
			add_received(values, item);
			break;
		case STORE_SETTLE:
			pg_array_add_int8(&values[0], item->order_id);
			pg_array_add_int2(&values[1], to_int2(item->reason));
			pg_array_add_int2(&values[2], to_int2(item->hold));
			break;
		case STORE_CANCEL:
			pg_array_add_int8(&values[0], item->account_id);
			pg_array_add_text(&values[1], item->key);
			pg_array_add_int8(&values[2], item->order_id);
			break;
		case STORE_RECORD_HOLD:
			pg_array_add_int8(&values[0], item->order_id);
			pg_array_add_int2(&values[1], to_int2(item->hold));
			pg_array_add_int4(&values[2], item->retry_after_ms);
			break;
		case STORE_GET:
			bytes_append_u64(&values[0], (uint64_t) item->account_id);
			bytes_append_u64(&values[1], (uint64_t) item->order_id);
			break;
		case STORE_FIND:
			bytes_append_u64(&values[0], (uint64_t) item->account_id);
			append_text(&values[1], item->key);
			break;
		case STORE_LIST:
			bytes_append_u64(&values[0], (uint64_t) item->account_id);
			bytes_append_u8(&values[1], item->open_only);
			bytes_append_u64(&values[2], (uint64_t) item->order_id);
			bytes_append_u32(&values[3], (uint32_t) item->limit);
			break;
		case STORE_FIND_SESSION:
			pg_array_add_text(&values[0], item->key);
			break;
		case STORE_CLOSE_SESSION:
			append_text(&values[0], item->key);
			break;
		case STORE_CLAIM:
			bytes_append_u32(&values[0], (uint32_t) item->limit);
			bytes_append_u32(&values[1], (uint32_t) item->lease_ms);
			break;
	}
}

void
batch_encode(const Batch *batch, PgArguments *arguments)
{
	const PgStatement *statement = &batch_statements[batch->kind];

	assert(batch->answered_count == 0);
	arguments->count = statement->parameter_count;
	for (int i = 0; i < arguments->count; i++)
	{
		uint32_t element = element_type(statement->parameter_types[i]);

		bytes_clear(&arguments->values[i]);
		if (element != 0)
			pg_array_begin(&arguments->values[i], element, batch->count);
	}
	for (int i = 0; i < batch->count; i++)
	{
		assert(batch->items[i]->kind == batch->kind);
		add_item(arguments->values, batch->items[i]);
	}
}

/* Rows in ------------------------------------------------------------------------------------- */

static bool
is_packed(StoreKind kind)
{
	return kind == STORE_RECEIVE || kind == STORE_SETTLE;
}

/* The row of an item, if an array function has answered with one for each. */
static bool
find_row(const Batch *batch, const PGresult *rows, int index, BatchAnswer *answer, PgRow *row)
{
	PgPackedRows *packed = &answer->packed;

	if (!is_packed(batch->kind))
	{
		if (PQntuples(rows) != batch->count)
			return false;
		pg_row_get(row, rows, index);
		return pg_row_int4(row, 0) == index + 1;
	}
	if (packed->at == NULL)
		*packed = pg_row_unpack(rows);
	if (packed->count != batch->count)
		return false;
	/* Those of items that were answered before are passed over. */
	do
		pg_row_next(row, packed);
	while (!row->is_broken && packed->taken <= index);
	return pg_row_int4(row, 0) == index + 1;
}

/* A row of an array function of commands. */
static bool
decode_item(const Batch *batch, PgRow *row, StoreResult *result)
{
	result->code = pg_row_int2(row, 1);
	result->reason = (Reason) pg_row_int2(row, 2);
	result->detail = pg_row_text(row, 3);
	result->order_id = pg_row_int8(row, 4);
	if (batch->kind != STORE_RECORD_HOLD)
	{
		result->status = pg_row_int2(row, 5);
		result->is_replayed = pg_row_bool(row, 6);
		result->filled_quantity = pg_row_int8(row, 7);
		result->updated_at_ms = pg_row_time_ms(row, 8);
	}
	if (batch->kind == STORE_RECEIVE)
	{
		result->reserve_id = pg_row_text(row, 9);
		result->currency = pg_row_text(row, 10);
		result->reserve_amount = pg_row_int8(row, 11);
	}
	return !row->is_broken && result->code != 0;
}

/* The number of a name on the wire; the row is broken when there is none. */
static int
number_of(PgRow *row, int column, const ProtobufCEnumDescriptor *numbers)
{
	const char *name = pg_row_text(row, column);
	const ProtobufCEnumValue *value =
		name != NULL ? protobuf_c_enum_descriptor_get_value_by_name(numbers, name) : NULL;

	if (value == NULL)
		row->is_broken = true;
	return value != NULL ? value->value : 0;
}

static bool
decode_order(const PGresult *rows, int index, StoreOrder *order)
{
	PgRow row;

	pg_row_get(&row, rows, index);
	order->order_id = pg_row_int8(&row, 0);
	order->account_id = pg_row_int8(&row, 1);
	order->symbol = pg_row_text(&row, 2);
	order->side = number_of(&row, 3, &order_service__v1__side__descriptor);
	order->order_type = number_of(&row, 4, &order_service__v1__order_type__descriptor);
	order->quantity = pg_row_int8(&row, 5);
	order->price = pg_row_int8(&row, 6);
	order->time_in_force = number_of(&row, 7, &order_service__v1__time_in_force__descriptor);
	order->status = number_of(&row, 8, &order_service__v1__order_status__descriptor);
	order->filled_quantity = pg_row_int8(&row, 9);
	order->reason = pg_row_text(&row, 10);
	order->created_at_ms = pg_row_time_ms(&row, 11);
	order->updated_at_ms = pg_row_time_ms(&row, 12);
	if (order->reason == NULL)
		order->reason = "";
	return !row.is_broken && order->symbol != NULL;
}

static bool
decode_orders(const Batch *batch, const PGresult *rows, BatchAnswer *answer)
{
	int count = PQntuples(rows);

	if (batch->kind != STORE_LIST && count != 1)
		return false;
	answer->orders = bytes_resize(answer->orders, sizeof(StoreOrder) * (size_t) (count + 1));
	for (int i = 0; i < count; i++)
	{
		if (!decode_order(rows, i, &answer->orders[i]))
			return false;
	}
	answer->result.orders = answer->orders;
	answer->result.order_count = count;
	return true;
}

static bool
decode_claims(const PGresult *rows, BatchAnswer *answer)
{
	int count = PQntuples(rows);

	answer->claims = bytes_resize(answer->claims, sizeof(StoreClaim) * (size_t) (count + 1));
	for (int i = 0; i < count; i++)
	{
		PgRow row;
		StoreClaim *claim = &answer->claims[i];

		pg_row_get(&row, rows, i);
		claim->order_id = pg_row_int8(&row, 0);
		claim->account_id = pg_row_int8(&row, 1);
		claim->side = pg_row_int2(&row, 2);
		claim->symbol = pg_row_text(&row, 3);
		claim->hold = pg_row_int2(&row, 4);
		claim->reserve_id = pg_row_text(&row, 5);
		claim->currency = pg_row_text(&row, 6);
		claim->reserve_amount = pg_row_int8(&row, 7);
		claim->attempts = pg_row_int4(&row, 8);
		if (row.is_broken || claim->symbol == NULL || claim->currency == NULL)
			return false;
	}
	answer->result.claims = answer->claims;
	answer->result.claim_count = count;
	return true;
}

static bool
decode_session(PgRow *row, StoreResult *result)
{
	result->account_id = pg_row_int8(row, 1);
	result->expires_at_ms = pg_row_time_ms(row, 2);
	if (result->account_id == 0)
	{
		result->code = CODE_NO_SESSION;
		result->reason = REASON_NO_SESSION;
	}
	return !row->is_broken && result->account_id >= 0;
}

void
batch_answer_free(BatchAnswer *answer)
{
	free(answer->orders);
	free(answer->claims);
	*answer = (BatchAnswer){0};
}

bool
batch_decode(const Batch *batch, const PGresult *rows, int index, BatchAnswer *answer)
{
	StoreResult *result = &answer->result;
	PgRow row;

	assert(index >= 0 && index < batch->count);
	*result = (StoreResult){.code = CODE_OK, .reason = REASON_NONE};
	switch (batch->kind)
	{
		case STORE_RECEIVE:
		case STORE_SETTLE:
		case STORE_CANCEL:
		case STORE_RECORD_HOLD:
			return find_row(batch, rows, index, answer, &row) && decode_item(batch, &row, result);
		case STORE_GET:
		case STORE_FIND:
		case STORE_LIST:
			return decode_orders(batch, rows, answer);
		case STORE_FIND_SESSION:
			return find_row(batch, rows, index, answer, &row) && decode_session(&row, result);
		case STORE_CLOSE_SESSION:
			return PQntuples(rows) == 1;
		case STORE_CLAIM:
			return decode_claims(rows, answer);
	}
	return false;
}

Reason
batch_refusal(const char *sqlstate)
{
	switch (reason_code_of_sqlstate(sqlstate))
	{
		case CODE_NOT_FOUND:
			return REASON_UNKNOWN_ORDER;
		case CODE_FORBIDDEN:
			return REASON_NOT_YOURS;
		default:
			return REASON_NONE;
	}
}
