/*
 * reason_test.c
 *		Business codes and reasons: the tables are total, and nothing in them changes its meaning.
 *
 * DESIGN	The tables here were written from the design, not from reason.h: numbers, names are on
 *			the wire and in the database, so that a change of one must be made twice.
 */
#include "reason.h" /* first: it must need nothing that is included below */

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* Every reason there is, by number. */
static const struct
{
	int number;
	int code;
	const char *name;
} reasons[] = {
	{0, 200, "NONE"},
	{1, 400, "FIELD_MISSING"},
	{2, 400, "KEY_INVALID"},
	{3, 400, "ACCOUNT_INVALID"},
	{4, 400, "SYMBOL_INVALID"},
	{5, 400, "SIDE_INVALID"},
	{6, 400, "ORDER_TYPE_INVALID"},
	{7, 400, "TIME_IN_FORCE_INVALID"},
	{8, 400, "QUANTITY_INVALID"},
	{9, 400, "PRICE_INVALID"},
	{10, 400, "AMOUNT_OVERFLOW"},
	{11, 400, "PRICE_OFF_TICK"},
	{12, 400, "QUANTITY_OFF_LOT"},
	{13, 400, "PRICE_OUTSIDE_LIMITS"},
	{14, 400, "ORDER_ID_INVALID"},
	{15, 400, "OUTCOME_INVALID"},
	{16, 400, "EXECUTION_INVALID"},
	{17, 400, "TIME_TO_LIVE_INVALID"},
	{20, 402, "INSUFFICIENT_FUNDS"},
	{21, 402, "INSUFFICIENT_POSITION"},
	{22, 404, "ACCOUNT_NOT_FOUND"},
	{23, 403, "ACCOUNT_SUSPENDED"},
	{24, 400, "ACCOUNT_REFUSED"},
	{25, 503, "ACCOUNT_UNAVAILABLE"},
	{26, 503, "ACCOUNT_OUTCOME_UNKNOWN"},
	{27, 503, "EXPIRED_BEFORE_ACCEPTANCE"},
	{30, 404, "UNKNOWN_SYMBOL"},
	{31, 409, "SYMBOL_HALTED"},
	{32, 404, "UNKNOWN_ORDER"},
	{33, 403, "NOT_YOURS"},
	{34, 409, "IN_PROGRESS"},
	{35, 409, "WRONG_STATE"},
	{36, 422, "KEY_REUSED"},
	{37, 401, "NO_SESSION"},
	{40, 200, "EXCHANGE_REJECTED"},
	{41, 200, "EXCHANGE_CANCELED"},
	{42, 200, "EXCHANGE_EXPIRED"},
	{60, 429, "TOO_MANY_IN_FLIGHT"},
	{61, 503, "OVERLOADED"},
	{62, 503, "SHUTTING_DOWN"},
	{63, 503, "DATABASE_UNAVAILABLE"},
	{64, 504, "OUTCOME_UNKNOWN"},
	{65, 500, "INTERNAL_ERROR"},
	{66, 400, "PAYLOAD_INVALID"},
	{67, 404, "UNKNOWN_METHOD"},
	{68, 400, "LIMIT_INVALID"},
	{69, 503, "ACCOUNT_RESTING"},
	{70, 503, "ACCOUNT_BUSY"},
};

/* The numbers as the header has them, to see what a look-up by number would hide. */
static const int header_numbers[] = {
#define NUMBER(number, name, code, message) (number),
	REASON_TABLE(NUMBER)
#undef NUMBER
};

static void
reason_numbers_names_and_codes_never_change(void **state)
{
	int row = 0;

	(void) state;
	assert_int_equal(LENGTH_OF(header_numbers), LENGTH_OF(reasons));
	for (int number = -10; number < 1000; number++)
	{
		if (row < LENGTH_OF(reasons) && reasons[row].number == number)
		{
			assert_string_equal(reason_name(number), reasons[row].name);
			assert_int_equal(reason_number(reasons[row].name), number);
			assert_int_equal(reason_code(number), reasons[row].code);
			assert_non_null(reason_message(number));
			row++;
		}
		else
		{
			assert_null(reason_name(number));
			assert_null(reason_message(number));
			assert_int_equal(reason_code(number), 500);
		}
	}
	assert_int_equal(row, LENGTH_OF(reasons));
	assert_int_equal(reason_number(""), -1);
	assert_int_equal(reason_number("none"), -1);
	assert_int_equal(reason_number("KEY_INVALID "), -1);
	assert_null(reason_name(INT_MIN));
	assert_null(reason_name(INT_MAX));
}

static void
no_two_reasons_share_a_number_a_name_or_a_message(void **state)
{
	(void) state;
	for (int i = 0; i < LENGTH_OF(header_numbers); i++)
	{
		for (int j = 0; j < i; j++)
		{
			int a = header_numbers[i];
			int b = header_numbers[j];

			assert_int_not_equal(a, b);
			assert_string_not_equal(reason_name(a), reason_name(b));
			assert_string_not_equal(reason_message(a), reason_message(b));
		}
	}
}

static void
messages_are_in_the_style_of_postgresql(void **state)
{
	(void) state;
	for (int i = 0; i < LENGTH_OF(reasons); i++)
	{
		const char *message = reason_message(reasons[i].number);
		size_t length = strlen(message);

		assert_in_range(length, 1, DETAIL_SIZE - 1);
		assert_in_range(message[0], 'a', 'z');
		assert_in_range(message[length - 1], 'a', 'z');
		for (size_t c = 0; c < length; c++)
			assert_in_range(message[c], ' ', '~');
	}
}

/* Every business code: name, gRPC status, what a client may do. */
static const struct
{
	int code;
	const char *name;
	int grpc_status;
	Repeat repeat;
} codes[] = {
	{200, "OK", 0, REPEAT_NOT},
	{400, "INVALID", 3, REPEAT_NOT},
	{401, "NO_SESSION", 16, REPEAT_NOT},
	{402, "INSUFFICIENT", 9, REPEAT_WITH_NEW_KEY},
	{403, "FORBIDDEN", 7, REPEAT_NOT},
	{404, "NOT_FOUND", 5, REPEAT_NOT},
	{409, "CONFLICT", 10, REPEAT_LATER},
	{422, "KEY_REUSED", 6, REPEAT_WITH_NEW_KEY},
	{429, "TOO_MANY", 8, REPEAT_LATER},
	{500, "INTERNAL", 13, REPEAT_LATER},
	{503, "UNAVAILABLE", 14, REPEAT_LATER},
	{504, "OUTCOME_UNKNOWN", 4, REPEAT_LATER},
};

static void
every_code_has_its_name_status_and_advice(void **state)
{
	int row = 0;

	(void) state;
	for (int code = -1; code < 1100; code++)
	{
		if (row < LENGTH_OF(codes) && codes[row].code == code)
		{
			assert_string_equal(reason_code_name(code), codes[row].name);
			assert_int_equal(reason_grpc_status(code), codes[row].grpc_status);
			assert_int_equal(reason_repeat(code), codes[row].repeat);
			row++;
		}
		else
		{
			assert_null(reason_code_name(code));
			assert_int_equal(reason_grpc_status(code), 2);
			assert_int_equal(reason_repeat(code), REPEAT_NOT);
		}
	}
	assert_int_equal(row, LENGTH_OF(codes));
}

static void
every_reason_answers_with_a_code_of_the_table(void **state)
{
	(void) state;
	for (int i = 0; i < LENGTH_OF(header_numbers); i++)
		assert_non_null(reason_code_name((int) reason_code(header_numbers[i])));
}

static void
an_sqlstate_gives_its_code_and_any_other_text_none(void **state)
{
	static const char *const strange[] = {"",      "OS",    "OS40",  "OS4040", "OS999",
										  "os404", "OS4x4", "40404", "XX000",  "OS-04"};

	(void) state;
	for (int i = 0; i < LENGTH_OF(codes); i++)
	{
		char sqlstate[16];

		snprintf(sqlstate, sizeof(sqlstate), "OS%d", codes[i].code);
		assert_int_equal(reason_code_of_sqlstate(sqlstate), codes[i].code);
	}
	for (int i = 0; i < LENGTH_OF(strange); i++)
		assert_int_equal(reason_code_of_sqlstate(strange[i]), 0);
	assert_int_equal(reason_code_of_sqlstate(NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reason_numbers_names_and_codes_never_change),
		cmocka_unit_test(no_two_reasons_share_a_number_a_name_or_a_message),
		cmocka_unit_test(messages_are_in_the_style_of_postgresql),
		cmocka_unit_test(every_code_has_its_name_status_and_advice),
		cmocka_unit_test(every_reason_answers_with_a_code_of_the_table),
		cmocka_unit_test(an_sqlstate_gives_its_code_and_any_other_text_none),
	};

	return cmocka_run_group_tests_name("reason", tests, NULL, NULL);
}
