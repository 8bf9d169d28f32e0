/*
 * batch_test.c
 *		Arguments and rows of the functions, byte by byte.
 */
#include "order/batch.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/pg_array.h"
#include "packed_rows.h"

static PgArguments arguments;
static PGresult *rows;
static BatchAnswer answer;

static int
clear(void **state)
{
	(void) state;
	for (int i = 0; i < PG_PARAMETERS_MAX; i++)
		bytes_free(&arguments.values[i]);
	PQclear(rows);
	rows = NULL;
	batch_answer_free(&answer);
	return 0;
}

static Batch *
batch_of(StoreItem *items, int count)
{
	Batch *batch = batch_new(items[0].kind, count);

	for (int i = 0; i < count; i++)
		batch->items[i] = &items[i];
	return batch;
}

static void
encode(StoreItem *items, int count)
{
	Batch *batch = batch_of(items, count);

	batch_encode(batch, &arguments);
	assert_int_equal(arguments.count, batch_statements[batch->kind].parameter_count);
	batch_free(batch);
}

static void
assert_argument(int number, const void *bytes, size_t size)
{
	assert_int_equal(arguments.values[number].size, size);
	assert_memory_equal(arguments.values[number].data, bytes, size);
}

#define ASSERT_ARGUMENT(number, literal) assert_argument((number), (literal), sizeof(literal) - 1)

static void
start_rows(int row_count, int column_count)
{
	PGresAttDesc columns[18];

	rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	for (int i = 0; i < column_count; i++)
		columns[i] = (PGresAttDesc){.name = "column", .format = 1};
	assert_int_equal(PQsetResultAttrs(rows, column_count, columns), 1);
	/* A row begins to exist with its first cell: NULL. */
	for (int row = 0; row < row_count; row++)
		assert_int_equal(PQsetvalue(rows, row, 0, NULL, -1), 1);
}

static void
put(int row, int column, const char *bytes, int size)
{
	assert_int_equal(PQsetvalue(rows, row, column, (char *) bytes, size), 1);
}

static void
put_number(int row, int column, int size, int64_t value)
{
	char bytes[8];

	for (int i = 0; i < size; i++)
		bytes[i] = (char) (value >> 8 * (size - 1 - i));
	put(row, column, bytes, size);
}

static void
put_text(int row, int column, const char *text)
{
	put(row, column, text, (int) strlen(text));
}

/* Arguments ----------------------------------------------------------------------------------- */

static void
arrays_are_as_the_server_reads_them(void **state)
{
	StoreItem items[] = {
		{.kind = STORE_CANCEL, .account_id = 7, .key = "k1", .order_id = 258},
		{.kind = STORE_CANCEL, .account_id = -1, .key = "", .order_id = INT64_MAX},
	};

	(void) state;
	encode(items, 2);
	ASSERT_ARGUMENT(0, "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\2\0\0\0\1"
					   "\0\0\0\x08\0\0\0\0\0\0\0\7"
					   "\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff");
	ASSERT_ARGUMENT(1, "\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\2\0\0\0\1"
					   "\0\0\0\2k1\0\0\0\0");
	ASSERT_ARGUMENT(2, "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\2\0\0\0\1"
					   "\0\0\0\x08\0\0\0\0\0\0\1\2"
					   "\0\0\0\x08\x7f\xff\xff\xff\xff\xff\xff\xff");
}

static void
small_numbers_have_small_elements(void **state)
{
	StoreItem settle = {.kind = STORE_SETTLE, .order_id = 1, .reason = 20, .hold = 2};
	StoreItem hold = {.kind = STORE_RECORD_HOLD, .order_id = 1, .hold = 3, .retry_after_ms = 60000};

	(void) state;
	encode(&settle, 1);
	ASSERT_ARGUMENT(1, "\0\0\0\1\0\0\0\0\0\0\0\x15\0\0\0\1\0\0\0\1\0\0\0\2\0\x14");
	ASSERT_ARGUMENT(2, "\0\0\0\1\0\0\0\0\0\0\0\x15\0\0\0\1\0\0\0\1\0\0\0\2\0\2");
	encode(&hold, 1);
	ASSERT_ARGUMENT(2, "\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\4\0\0\xea\x60");
}

static void
a_code_that_does_not_fit_becomes_no_valid_one(void **state)
{
	StoreItem item = {.kind = STORE_RECEIVE,
					  .key = "k",
					  .symbol = "ABC",
					  .side = 65537,
					  .order_type = -65535,
					  .time_in_force = 32767};

	(void) state;
	encode(&item, 1);
	assert_memory_equal(arguments.values[3].data + 20, "\0\0\0\2\xff\xff", 6);
	assert_memory_equal(arguments.values[4].data + 20, "\0\0\0\2\xff\xff", 6);
	assert_memory_equal(arguments.values[7].data + 20, "\0\0\0\2\x7f\xff", 6);
}

static void
single_calls_have_plain_arguments(void **state)
{
	StoreItem list = {
		.kind = STORE_LIST, .account_id = 7, .open_only = true, .order_id = 9, .limit = 501};
	StoreItem session = {.kind = STORE_CLOSE_SESSION, .key = "abc"};
	StoreItem claim = {.kind = STORE_CLAIM, .limit = 100, .lease_ms = 7000};

	(void) state;
	encode(&list, 1);
	ASSERT_ARGUMENT(0, "\0\0\0\0\0\0\0\7");
	ASSERT_ARGUMENT(1, "\1");
	ASSERT_ARGUMENT(2, "\0\0\0\0\0\0\0\x09");
	ASSERT_ARGUMENT(3, "\0\0\1\xf5");
	encode(&session, 1);
	ASSERT_ARGUMENT(0, "abc");
	encode(&claim, 1);
	ASSERT_ARGUMENT(0, "\0\0\0\x64");
	ASSERT_ARGUMENT(1, "\0\0\x1b\x58");
}

static void
every_kind_has_a_statement(void **state)
{
	(void) state;
	for (int i = 0; i < STORE_KIND_COUNT; i++)
	{
		assert_non_null(batch_statements[i].name);
		assert_non_null(strstr(batch_statements[i].sql, batch_statements[i].name));
		assert_true(batch_statements[i].parameter_count > 0);
		for (int j = 0; j < PG_PARAMETERS_MAX; j++)
			assert_int_equal(batch_statements[i].parameter_types[j] != 0,
							 j < batch_statements[i].parameter_count);
	}
}

/* Rows ---------------------------------------------------------------------------------------- */

static void
put_received(int row, int item)
{
	put_number(row, 0, 4, item);
	put_number(row, 1, 2, CODE_OK);
	put_number(row, 2, 2, 0);
	put_number(row, 4, 8, 1234567890123);
	put_number(row, 5, 2, 0);
	put_number(row, 6, 1, 0);
	put_number(row, 7, 8, 0);
	put_number(row, 8, 8, 1500);
	put_text(row, 9, "abc-1");
	put_text(row, 10, "KRW");
	put_number(row, 11, 8, 5000000);
}

static void
a_received_order_is_read(void **state)
{
	StoreItem item = {.kind = STORE_RECEIVE};
	Batch *batch = batch_of(&item, 1);

	(void) state;
	start_rows(1, 12);
	put_received(0, 1);
	rows = pack_rows(rows);
	assert_true(batch_decode(batch, rows, 0, &answer));
	assert_int_equal(answer.result.code, 200);
	assert_null(answer.result.detail);
	assert_int_equal(answer.result.order_id, 1234567890123);
	assert_int_equal(answer.result.updated_at_ms, 946684800001);
	assert_string_equal(answer.result.reserve_id, "abc-1");
	assert_string_equal(answer.result.currency, "KRW");
	assert_int_equal(answer.result.reserve_amount, 5000000);
	batch_free(batch);
}

static void
a_refused_item_is_read(void **state)
{
	StoreItem item = {.kind = STORE_CANCEL};
	Batch *batch = batch_of(&item, 1);

	(void) state;
	start_rows(1, 9);
	put_number(0, 0, 4, 1);
	put_number(0, 1, 2, CODE_NOT_FOUND);
	put_number(0, 2, 2, REASON_UNKNOWN_ORDER);
	put_text(0, 3, "Order id is 5.");
	put_number(0, 6, 1, 0);
	assert_true(batch_decode(batch, rows, 0, &answer));
	assert_int_equal(answer.result.code, CODE_NOT_FOUND);
	assert_int_equal(answer.result.reason, REASON_UNKNOWN_ORDER);
	assert_string_equal(answer.result.detail, "Order id is 5.");
	assert_int_equal(answer.result.order_id, 0);
	batch_free(batch);
}

/* What is read of item |index| of an answer that begins with it. */
static bool
is_first_read(const Batch *batch, int index)
{
	batch_answer_free(&answer);
	return batch_decode(batch, rows, index, &answer);
}

static void
put_canceled(int row, int item)
{
	put_number(row, 0, 4, item);
	put_number(row, 1, 2, CODE_OK);
}

static void
rows_of_another_shape_are_not_taken(void **state)
{
	StoreItem items[2] = {{.kind = STORE_CANCEL}, {.kind = STORE_CANCEL}};
	Batch *batch = batch_of(items, 2);

	(void) state;
	/* One row for two items. */
	start_rows(1, 9);
	put_canceled(0, 1);
	assert_false(batch_decode(batch, rows, 0, &answer));
	PQclear(rows);
	/* Another order of the items. */
	start_rows(2, 9);
	put_canceled(0, 2);
	put_canceled(1, 1);
	assert_false(batch_decode(batch, rows, 0, &answer));
	PQclear(rows);
	/* A column of another type, a column missing, a code missing. */
	start_rows(2, 9);
	put_canceled(0, 1);
	put_canceled(1, 2);
	put_number(0, 4, 4, 1);
	assert_false(batch_decode(batch, rows, 0, &answer));
	assert_true(batch_decode(batch, rows, 1, &answer));
	put(1, 1, NULL, -1);
	assert_false(batch_decode(batch, rows, 1, &answer));
	PQclear(rows);
	start_rows(2, 5);
	put_number(0, 0, 4, 1);
	assert_false(batch_decode(batch, rows, 0, &answer));
	batch_free(batch);
}

/* Packed rows --------------------------------------------------------------------------------- */

/* So many rows of receive_orders() as one value, with some columns behind the known ones. */
static void
start_packed(int row_count, int further_columns)
{
	PQclear(rows);
	start_rows(row_count, 12 + further_columns);
	for (int i = 0; i < row_count; i++)
	{
		put_received(i, i + 1);
		put_number(i, 4, 8, 100 + i);
		for (int j = 0; j < further_columns; j++)
			put_text(i, 12 + j, "of a later version");
	}
	rows = pack_rows(rows);
}

/* Leaves |size| bytes of the packed value. */
static void
cut_packed(int size)
{
	char *value = malloc((size_t) size + 1);

	memcpy(value, PQgetvalue(rows, 0, 0), (size_t) size);
	put(0, 0, value, size);
	free(value);
}

static void
set_packed(int offset, char byte)
{
	assert_true(offset < PQgetlength(rows, 0, 0));
	PQgetvalue(rows, 0, 0)[offset] = byte;
}

static void
packed_rows_are_read_one_after_the_other(void **state)
{
	StoreItem items[3] = {
		{.kind = STORE_RECEIVE}, {.kind = STORE_RECEIVE}, {.kind = STORE_RECEIVE}};
	Batch *batch = batch_of(items, 3);

	(void) state;
	start_packed(3, 0);
	for (int i = 0; i < 3; i++)
	{
		assert_true(batch_decode(batch, rows, i, &answer));
		assert_int_equal(answer.result.order_id, 100 + i);
		assert_string_equal(answer.result.reserve_id, "abc-1");
		assert_string_equal(answer.result.currency, "KRW");
	}
	/* Items that have been answered meanwhile are passed over. */
	assert_true(is_first_read(batch, 2));
	assert_int_equal(answer.result.order_id, 102);
	batch_free(batch);
}

static void
packed_rows_may_have_more_cells(void **state)
{
	StoreItem items[2] = {{.kind = STORE_RECEIVE}, {.kind = STORE_RECEIVE}};
	Batch *batch = batch_of(items, 2);

	(void) state;
	for (int further_columns = 1; further_columns <= 6; further_columns++)
	{
		start_packed(2, further_columns);
		assert_true(is_first_read(batch, 0) && batch_decode(batch, rows, 1, &answer));
	}
	batch_free(batch);
}

static void
packed_rows_that_are_cut_are_not_taken(void **state)
{
	StoreItem items[2] = {{.kind = STORE_RECEIVE}, {.kind = STORE_RECEIVE}};
	Batch *batch = batch_of(items, 2);
	int whole;

	(void) state;
	start_packed(2, 0);
	whole = PQgetlength(rows, 0, 0);
	for (int size = 0; size < whole; size++)
	{
		start_packed(2, 0);
		cut_packed(size);
		assert_int_equal(is_first_read(batch, 0), size >= (whole - 4) / 2 + 4);
		assert_false(batch_decode(batch, rows, 1, &answer));
	}
	batch_free(batch);
}

static void
packed_rows_of_another_shape_are_not_taken(void **state)
{
	StoreItem items[2] = {{.kind = STORE_RECEIVE}, {.kind = STORE_RECEIVE}};
	Batch *batch = batch_of(items, 2);

	(void) state;
	/* One row for two items, or three. */
	start_packed(1, 0);
	assert_false(is_first_read(batch, 0));
	start_packed(3, 0);
	assert_false(is_first_read(batch, 0));
	/* Another's row. */
	start_packed(2, 0);
	set_packed(13, 2);
	assert_false(is_first_read(batch, 0));
	/* A size below -1, and one beyond all. */
	start_packed(2, 0);
	set_packed(9, (char) 0xfe);
	set_packed(6, (char) 0xff);
	assert_false(is_first_read(batch, 0));
	start_packed(2, 0);
	set_packed(6, 0x7f);
	assert_false(is_first_read(batch, 0));
	/* A text without its zero byte: that of "abc-1". */
	start_packed(2, 0);
	for (int i = 0; i < PQgetlength(rows, 0, 0) - 6; i++)
	{
		if (memcmp(PQgetvalue(rows, 0, 0) + i, "abc-1", 6) == 0)
			set_packed(i + 5, '!');
	}
	assert_false(is_first_read(batch, 0));
	/* Plain rows, NULL, nothing. */
	PQclear(rows);
	start_rows(2, 12);
	put_received(0, 1);
	put_received(1, 2);
	assert_false(is_first_read(batch, 0));
	PQclear(rows);
	start_rows(1, 1);
	assert_false(is_first_read(batch, 0));
	batch_free(batch);
}

/* Orders, sessions, claims -------------------------------------------------------------------- */

static void
put_order(int row)
{
	put_number(row, 0, 8, 100 + row);
	put_number(row, 1, 8, 7);
	put_text(row, 2, "ABC");
	put_text(row, 3, "SELL");
	put_text(row, 4, "LIMIT");
	put_number(row, 5, 8, 10);
	put_number(row, 6, 8, 1000000);
	put_text(row, 7, "FOK");
	put_text(row, 8, "PARTIALLY_FILLED");
	put_number(row, 9, 8, 3);
	put_number(row, 11, 8, -1);
	put_number(row, 12, 8, 0);
}

static void
orders_are_read_with_their_names_as_numbers(void **state)
{
	StoreItem item = {.kind = STORE_LIST};
	Batch *batch = batch_of(&item, 1);
	const StoreOrder *order;

	(void) state;
	start_rows(3, 13);
	for (int i = 0; i < 3; i++)
		put_order(i);
	put_text(1, 10, "EXCHANGE_CANCELED");
	assert_true(batch_decode(batch, rows, 0, &answer));
	assert_int_equal(answer.result.order_count, 3);
	order = &answer.result.orders[1];
	assert_int_equal(order->order_id, 101);
	assert_int_equal(order->account_id, 7);
	assert_string_equal(order->symbol, "ABC");
	assert_int_equal(order->side, 2);
	assert_int_equal(order->order_type, 1);
	assert_int_equal(order->time_in_force, 3);
	assert_int_equal(order->status, 3);
	assert_int_equal(order->quantity, 10);
	assert_int_equal(order->price, 1000000);
	assert_int_equal(order->filled_quantity, 3);
	assert_string_equal(order->reason, "EXCHANGE_CANCELED");
	assert_int_equal(order->created_at_ms, 946684799999);
	assert_int_equal(order->updated_at_ms, 946684800000);
	assert_string_equal(answer.result.orders[0].reason, "");
	put_text(2, 8, "SOMETHING_NEW");
	assert_false(batch_decode(batch, rows, 0, &answer));
	batch_free(batch);
}

static void
a_list_may_be_empty_but_one_order_may_not(void **state)
{
	StoreItem list = {.kind = STORE_LIST};
	StoreItem get = {.kind = STORE_GET};
	Batch *lists = batch_of(&list, 1);
	Batch *gets = batch_of(&get, 1);

	(void) state;
	start_rows(0, 13);
	assert_true(batch_decode(lists, rows, 0, &answer));
	assert_int_equal(answer.result.order_count, 0);
	assert_false(batch_decode(gets, rows, 0, &answer));
	batch_free(lists);
	batch_free(gets);
}

static void
sessions_are_asked_for_and_found_together(void **state)
{
	StoreItem items[] = {{.kind = STORE_FIND_SESSION, .key = "abc"},
						 {.kind = STORE_FIND_SESSION, .key = "d"}};
	Batch *sessions = batch_of(items, 2);

	(void) state;
	encode(items, 2);
	ASSERT_ARGUMENT(0, "\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\2\0\0\0\1"
					   "\0\0\0\3abc\0\0\0\1d");
	/* The first one is not known: NULL. */
	start_rows(2, 3);
	put_number(0, 0, 4, 1);
	put_number(1, 0, 4, 2);
	put_number(1, 1, 8, 42);
	put_number(1, 2, 8, 5000);
	assert_true(batch_decode(sessions, rows, 0, &answer));
	assert_int_equal(answer.result.code, CODE_NO_SESSION);
	assert_int_equal(answer.result.reason, REASON_NO_SESSION);
	assert_true(batch_decode(sessions, rows, 1, &answer));
	assert_int_equal(answer.result.code, CODE_OK);
	assert_int_equal(answer.result.account_id, 42);
	assert_int_equal(answer.result.expires_at_ms, 946684800005);
	/* A row that is another's, or one too few. */
	put_number(1, 0, 4, 1);
	assert_false(batch_decode(sessions, rows, 1, &answer));
	PQclear(rows);
	start_rows(1, 3);
	put_number(0, 0, 4, 1);
	put_number(0, 1, 8, 42);
	assert_false(batch_decode(sessions, rows, 0, &answer));
	batch_free(sessions);
}

static void
claims_are_read(void **state)
{
	StoreItem claim = {.kind = STORE_CLAIM};
	Batch *claims = batch_of(&claim, 1);

	(void) state;
	start_rows(1, 9);
	put_number(0, 0, 8, 5);
	put_number(0, 1, 8, 42);
	put_number(0, 2, 2, 1);
	put_text(0, 3, "ABC");
	put_number(0, 4, 2, 3);
	put_text(0, 6, "KRW");
	put_number(0, 7, 8, 77);
	put_number(0, 8, 4, 2);
	assert_true(batch_decode(claims, rows, 0, &answer));
	assert_int_equal(answer.result.claim_count, 1);
	assert_int_equal(answer.result.claims[0].hold, 3);
	assert_null(answer.result.claims[0].reserve_id);
	assert_int_equal(answer.result.claims[0].reserve_amount, 77);
	assert_int_equal(answer.result.claims[0].attempts, 2);
	batch_free(claims);
}

static void
refusals_are_told_by_their_sqlstate(void **state)
{
	(void) state;
	assert_int_equal(batch_refusal("OS404"), REASON_UNKNOWN_ORDER);
	assert_int_equal(batch_refusal("OS403"), REASON_NOT_YOURS);
	assert_int_equal(batch_refusal("OS400"), REASON_NONE);
	assert_int_equal(batch_refusal("42P01"), REASON_NONE);
	assert_int_equal(batch_refusal(""), REASON_NONE);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(arrays_are_as_the_server_reads_them),
		TEST(small_numbers_have_small_elements),
		TEST(a_code_that_does_not_fit_becomes_no_valid_one),
		TEST(single_calls_have_plain_arguments),
		TEST(every_kind_has_a_statement),
		TEST(a_received_order_is_read),
		TEST(a_refused_item_is_read),
		TEST(rows_of_another_shape_are_not_taken),
		TEST(packed_rows_are_read_one_after_the_other),
		TEST(packed_rows_may_have_more_cells),
		TEST(packed_rows_that_are_cut_are_not_taken),
		TEST(packed_rows_of_another_shape_are_not_taken),
		TEST(orders_are_read_with_their_names_as_numbers),
		TEST(a_list_may_be_empty_but_one_order_may_not),
		TEST(sessions_are_asked_for_and_found_together),
		TEST(claims_are_read),
		TEST(refusals_are_told_by_their_sqlstate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
