/*
 * rules_request_test.c
 *		The checks of a request, what is said of its faults, and its comparison with the recorded
 *		order.
 *
 * DESIGN	Texts stand in memory of their exact size, so that the address sanitizer sees what is
 *			read or written beyond it.
 */
#include "rules.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

static OrderRequest
valid_request(void)
{
	return (OrderRequest){.account_id = 1001,
						  .key = "key-1",
						  .key_length = 5,
						  .symbol = "ACME",
						  .symbol_length = 4,
						  .side = SIDE_BUY,
						  .order_type = ORDER_TYPE_LIMIT,
						  .time_in_force = TIME_IN_FORCE_DAY,
						  .quantity = 10,
						  .price = 100};
}

/* The fields that can be at fault, in the order in which they are checked. */
static const Reason request_faults[] = {
	REASON_ACCOUNT_INVALID, REASON_KEY_INVALID,           REASON_SYMBOL_INVALID,
	REASON_SIDE_INVALID,    REASON_ORDER_TYPE_INVALID,    REASON_QUANTITY_INVALID,
	REASON_PRICE_INVALID,   REASON_TIME_IN_FORCE_INVALID,
};

static void
break_field(OrderRequest *request, Reason fault)
{
	switch (fault)
	{
		case REASON_ACCOUNT_INVALID:
			request->account_id = 0;
			break;
		case REASON_KEY_INVALID:
			request->key_length = 0;
			break;
		case REASON_SYMBOL_INVALID:
			request->symbol = "acme";
			break;
		case REASON_SIDE_INVALID:
			request->side = 0;
			break;
		case REASON_ORDER_TYPE_INVALID:
			request->order_type = 2;
			break;
		case REASON_QUANTITY_INVALID:
			request->quantity = 0;
			break;
		case REASON_PRICE_INVALID:
			request->price = -1;
			break;
		default:
			request->time_in_force = 4;
			break;
	}
}

static void
first_fault_in_the_order_of_the_fields_is_reported(void **state)
{
	(void) state;
	for (unsigned int set = 0; set < 1u << LENGTH_OF(request_faults); set++)
	{
		OrderRequest request = valid_request();
		Reason expected = REASON_NONE;

		for (int i = LENGTH_OF(request_faults) - 1; i >= 0; i--)
		{
			if ((set & 1u << i) == 0)
				continue;
			expected = request_faults[i];
			break_field(&request, expected);
		}
		assert_int_equal(rules_check_request(&request), expected);
	}
}

static void
numbers_of_a_request_are_checked_at_their_limits(void **state)
{
	static const int64_t values[] = {INT64_MIN, -1, 0, 1, INT64_MAX};

	(void) state;
	for (int i = 0; i < LENGTH_OF(values); i++)
	{
		OrderRequest request = valid_request();
		bool is_positive = values[i] > 0;

		request.account_id = values[i];
		assert_int_equal(rules_check_request(&request), is_positive ? 0 : REASON_ACCOUNT_INVALID);
		request = valid_request();
		request.quantity = values[i];
		assert_int_equal(rules_check_request(&request), is_positive ? 0 : REASON_QUANTITY_INVALID);
		request = valid_request();
		request.price = values[i];
		assert_int_equal(rules_check_request(&request), is_positive ? 0 : REASON_PRICE_INVALID);
		request.order_type = ORDER_TYPE_MARKET;
		assert_int_equal(rules_check_request(&request), values[i] == 0 ? 0 : REASON_PRICE_INVALID);
	}
	for (int code = -2; code < 6; code++)
	{
		OrderRequest request = valid_request();

		request.side = code;
		assert_int_equal(rules_check_request(&request),
						 code == 1 || code == 2 ? 0 : REASON_SIDE_INVALID);
		request = valid_request();
		request.time_in_force = code;
		assert_int_equal(rules_check_request(&request),
						 code >= 0 && code <= 3 ? 0 : REASON_TIME_IN_FORCE_INVALID);
	}
}

/* Checks a request with |length| times |byte| as its key or symbol, or with NULL. */
static Reason
check_text(bool is_key, unsigned char byte, size_t length)
{
	OrderRequest request = valid_request();
	char *text = malloc(length + (length == 0));
	Reason reason;

	assert_non_null(text);
	memset(text, byte, length);
	*(is_key ? &request.key : &request.symbol) = text;
	*(is_key ? &request.key_length : &request.symbol_length) = length;
	reason = rules_check_request(&request);
	if (is_key)
		assert_int_equal(rules_key_valid(text, length), reason == REASON_NONE);
	free(text);
	return reason;
}

static void
key_has_1_to_128_printable_characters(void **state)
{
	char key[128];
	OrderRequest request = valid_request();

	(void) state;
	assert_int_equal(KEY_LENGTH_MAX, 128);
	assert_int_equal(check_text(true, 'k', 0), REASON_KEY_INVALID);
	assert_int_equal(check_text(true, 'k', 1), REASON_NONE);
	assert_int_equal(check_text(true, 'k', 128), REASON_NONE);
	assert_int_equal(check_text(true, 'k', 129), REASON_KEY_INVALID);
	for (int byte = 0; byte < 256; byte++)
	{
		bool is_printable = byte >= 0x20 && byte <= 0x7e;

		assert_int_equal(check_text(true, (unsigned char) byte, 1),
						 is_printable ? REASON_NONE : REASON_KEY_INVALID);
		for (size_t at = 0; at < sizeof(key); at += 127)
		{
			memset(key, 'k', sizeof(key));
			key[at] = (char) byte;
			assert_int_equal(rules_key_valid(key, sizeof(key)), is_printable);
		}
	}
	request.key = NULL;
	assert_int_equal(rules_check_request(&request), REASON_KEY_INVALID);
	assert_false(rules_key_valid(NULL, 0));
}

static void
symbol_has_1_to_32_characters_of_its_alphabet(void **state)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	OrderRequest request = valid_request();

	(void) state;
	assert_int_equal(SYMBOL_LENGTH_MAX, 32);
	assert_int_equal(check_text(false, 'A', 0), REASON_SYMBOL_INVALID);
	assert_int_equal(check_text(false, 'A', 1), REASON_NONE);
	assert_int_equal(check_text(false, 'A', 32), REASON_NONE);
	assert_int_equal(check_text(false, 'A', 33), REASON_SYMBOL_INVALID);
	for (int byte = 0; byte < 256; byte++)
	{
		bool is_allowed = byte != 0 && strchr(alphabet, byte) != NULL;
		char symbol[3] = {'A', 'B', (char) byte};

		assert_int_equal(check_text(false, (unsigned char) byte, 1),
						 is_allowed ? REASON_NONE : REASON_SYMBOL_INVALID);
		request.symbol = symbol;
		request.symbol_length = sizeof(symbol);
		assert_int_equal(rules_check_request(&request),
						 is_allowed ? REASON_NONE : REASON_SYMBOL_INVALID);
	}
	request.symbol = NULL;
	assert_int_equal(rules_check_request(&request), REASON_SYMBOL_INVALID);
}

static const Instrument wide_instrument = {
	.tick = 1, .lot = 1, .price_floor = 1, .price_ceiling = INT64_MAX, .currency = "USD"};

/* Checks quantity and price against an instrument, for BUY and SELL. */
static Reason
check_price(OrderType order_type, int64_t quantity, int64_t price, const Instrument *instrument,
			int64_t expected_amount)
{
	OrderRequest request = valid_request();
	int64_t buy_amount = -77;
	int64_t sell_amount = -77;
	Reason reason;

	request.order_type = order_type;
	request.quantity = quantity;
	request.price = price;
	reason = rules_check_instrument(&request, instrument, &buy_amount);
	request.side = SIDE_SELL;
	assert_int_equal(rules_check_instrument(&request, instrument, &sell_amount), reason);
	if (reason == REASON_NONE)
	{
		assert_true(buy_amount == expected_amount);
		assert_true(sell_amount == expected_amount);
	}
	return reason;
}

/* The fault of an order where the day goes from 95 to 105 in ticks of 5, and a lot is 10. */
static Reason
fault_of_the_day(int64_t quantity, int64_t price)
{
	if (quantity != 10 && quantity != 20 && quantity != 30)
		return REASON_QUANTITY_OFF_LOT;
	if (price < 95 || price > 105)
		return REASON_PRICE_OUTSIDE_LIMITS;
	return price == 95 || price == 100 || price == 105 ? REASON_NONE : REASON_PRICE_OFF_TICK;
}

static void
instrument_limits_tick_and_lot_are_exact(void **state)
{
	Instrument daily = {.tick = 5, .lot = 10, .price_floor = 95, .price_ceiling = 105};

	(void) state;
	for (int64_t price = 90; price <= 110; price++)
	{
		for (int64_t quantity = 1; quantity <= 30; quantity++)
			assert_int_equal(
				check_price(ORDER_TYPE_LIMIT, quantity, price, &daily, quantity * price),
				fault_of_the_day(quantity, price));
	}
}

static void
market_order_reserves_the_ceiling_whatever_the_tick(void **state)
{
	Instrument daily = {.tick = 7, .lot = 10, .price_floor = 95, .price_ceiling = 105};

	(void) state;
	assert_int_equal(check_price(ORDER_TYPE_MARKET, 10, 0, &daily, 1050), REASON_NONE);
	assert_int_equal(check_price(ORDER_TYPE_MARKET, 11, 0, &daily, 0), REASON_QUANTITY_OFF_LOT);
}

static void
halted_comes_before_every_other_fault_of_the_instrument(void **state)
{
	Instrument halted = {
		.tick = 5, .lot = 10, .price_floor = 95, .price_ceiling = 105, .halted = true};

	(void) state;
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, 10, 100, &halted, 0), REASON_SYMBOL_HALTED);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, 3, 200, &halted, 0), REASON_SYMBOL_HALTED);
	assert_int_equal(check_price(ORDER_TYPE_MARKET, 3, 0, &halted, 0), REASON_SYMBOL_HALTED);
}

static void
amount_may_be_as_large_as_64_bits_allow(void **state)
{
	/* 2^63 - 1 = 7 * seventh. */
	const int64_t seventh = INT64_C(1317624576693539401);
	Instrument instrument = wide_instrument;

	(void) state;
	assert_true(7 * seventh == INT64_MAX);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, 7, seventh, &instrument, INT64_MAX), 0);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, seventh, 7, &instrument, INT64_MAX), 0);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, 1, INT64_MAX, &instrument, INT64_MAX), 0);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, INT64_MAX, 1, &instrument, INT64_MAX), 0);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, 7, seventh + 1, &instrument, 0),
					 REASON_AMOUNT_OVERFLOW);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, 8, seventh, &instrument, 0),
					 REASON_AMOUNT_OVERFLOW);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, INT64_MAX, 2, &instrument, 0),
					 REASON_AMOUNT_OVERFLOW);
	/* These wrap around to a small positive number. */
	assert_int_equal(
		check_price(ORDER_TYPE_LIMIT, INT64_C(1) << 32, INT64_C(1) << 32, &instrument, 0),
		REASON_AMOUNT_OVERFLOW);
	assert_int_equal(check_price(ORDER_TYPE_LIMIT, INT64_MAX, INT64_MAX, &instrument, 0),
					 REASON_AMOUNT_OVERFLOW);
	instrument.price_ceiling = seventh;
	assert_int_equal(check_price(ORDER_TYPE_MARKET, 7, 0, &instrument, INT64_MAX), 0);
	assert_int_equal(check_price(ORDER_TYPE_MARKET, 8, 0, &instrument, 0), REASON_AMOUNT_OVERFLOW);
}

/*
 * What is said of a fault of the request below, and of the same request as a MARKET order where
 * that differs.
 */
static const struct
{
	Reason reason;
	const char *text;
} explanations[] = {
	{REASON_ACCOUNT_INVALID, "Account id -1001 is not positive."},
	{REASON_KEY_INVALID, "A key has 1 to 128 printable ASCII characters."},
	{REASON_SYMBOL_INVALID, "A symbol has 1 to 32 of the characters A-Z 0-9 . _ -"},
	{REASON_SIDE_INVALID, "Side is BUY (1) or SELL (2)."},
	{REASON_ORDER_TYPE_INVALID, "Order type is MARKET (0) or LIMIT (1)."},
	{REASON_TIME_IN_FORCE_INVALID, "Time in force is DAY (0), GTC (1), IOC (2) or FOK (3)."},
	{REASON_QUANTITY_INVALID, "Quantity -7 is not positive."},
	{REASON_PRICE_INVALID, "Price -100 is not positive, as LIMIT requires."},
	{REASON_UNKNOWN_SYMBOL, "Symbol is \"ACME\"."},
	{REASON_SYMBOL_HALTED, "Symbol is \"ACME\"."},
	{REASON_PRICE_OFF_TICK, "Price -100 is not a multiple of the tick 3."},
	{REASON_QUANTITY_OFF_LOT, "Quantity -7 is not a multiple of the lot 4."},
	{REASON_PRICE_OUTSIDE_LIMITS, "Price -100 is not within 95 to 105."},
	{REASON_AMOUNT_OVERFLOW,
	 "Quantity -7 times price -100 micro-units exceeds the range of a 64-bit integer."},
	{REASON_NONE, ""},
	{REASON_FIELD_MISSING, ""},
	{REASON_IN_PROGRESS, ""},
	{REASON_EXCHANGE_EXPIRED, ""},
};

static const Instrument explained_instrument = {
	.tick = 3, .lot = 4, .price_floor = 95, .price_ceiling = 105};

/* A request whose symbol is not terminated. */
static OrderRequest
faulty_request(char *symbol)
{
	OrderRequest request = valid_request();

	memcpy(symbol, "ACME", 4);
	request.symbol = symbol;
	request.account_id = -1001;
	request.quantity = -7;
	request.price = -100;
	return request;
}

static void
faults_are_explained_with_their_numbers(void **state)
{
	char *symbol = malloc(4);
	OrderRequest request = faulty_request(symbol);
	char text[DETAIL_SIZE];

	(void) state;
	for (int i = 0; i < LENGTH_OF(explanations); i++)
	{
		memset(text, 'x', sizeof(text));
		rules_explain(explanations[i].reason, &request, &explained_instrument, text, sizeof(text));
		assert_string_equal(text, explanations[i].text);
	}
	request.order_type = ORDER_TYPE_MARKET;
	rules_explain(REASON_PRICE_INVALID, &request, NULL, text, sizeof(text));
	assert_string_equal(text, "Price -100 is not 0, as MARKET requires.");
	rules_explain(REASON_AMOUNT_OVERFLOW, &request, &explained_instrument, text, sizeof(text));
	assert_string_equal(
		text, "Quantity -7 times price 105 micro-units exceeds the range of a 64-bit integer.");
	free(symbol);
}

static void
explanation_is_cut_to_any_size_and_always_terminated(void **state)
{
	char *symbol = malloc(4);
	OrderRequest request = faulty_request(symbol);

	(void) state;
	for (int i = 0; i < LENGTH_OF(explanations); i++)
	{
		size_t length = strlen(explanations[i].text);

		for (size_t size = 1; size <= length + 2; size++)
		{
			char *text = malloc(size);
			size_t expected = length < size ? length : size - 1;

			assert_non_null(text);
			memset(text, 'x', size);
			rules_explain(explanations[i].reason, &request, &explained_instrument, text, size);
			assert_int_equal(strlen(text), expected);
			assert_memory_equal(text, explanations[i].text, expected);
			free(text);
		}
	}
	free(symbol);
}

static void
fault_of_an_instrument_that_was_not_read_is_not_explained(void **state)
{
	static const Reason reasons[] = {REASON_PRICE_OFF_TICK, REASON_QUANTITY_OFF_LOT,
									 REASON_PRICE_OUTSIDE_LIMITS, REASON_AMOUNT_OVERFLOW};
	OrderRequest request = valid_request();

	(void) state;
	for (int i = 0; i < LENGTH_OF(reasons); i++)
	{
		char text[DETAIL_SIZE] = "before";

		rules_explain(reasons[i], &request, NULL, text, sizeof(text));
		assert_string_equal(text, "");
	}
}

static void
longest_explanation_fits(void **state)
{
	char symbol[SYMBOL_LENGTH_MAX];
	OrderRequest request = valid_request();
	Instrument instrument = {
		.tick = INT64_MIN, .lot = INT64_MIN, .price_floor = INT64_MIN, .price_ceiling = INT64_MIN};

	(void) state;
	memset(symbol, 'W', sizeof(symbol));
	request.symbol = symbol;
	request.symbol_length = sizeof(symbol);
	request.account_id = request.quantity = request.price = INT64_MIN;
	for (int reason = 0; reason < 100; reason++)
	{
		char text[2 * DETAIL_SIZE];

		rules_explain((Reason) reason, &request, &instrument, text, sizeof(text));
		assert_in_range(strlen(text), 0, DETAIL_SIZE - 1);
	}
}

static const OrderTerms recorded_terms = {.symbol = "ACME",
										  .side = SIDE_BUY,
										  .order_type = ORDER_TYPE_LIMIT,
										  .time_in_force = TIME_IN_FORCE_DAY,
										  .quantity = 10,
										  .price = 100};

static void
first_difference_is_named_in_the_order_of_the_message(void **state)
{
	static const char *const names[] = {"symbol",   "side",  "order_type",
										"quantity", "price", "time_in_force"};

	(void) state;
	for (unsigned int set = 0; set < 1u << LENGTH_OF(names); set++)
	{
		OrderRequest request = valid_request();
		const char *difference;
		int first = 0;

		request.symbol = (set & 1) != 0 ? "ACMF" : "ACME";
		request.side = (set & 2) != 0 ? SIDE_SELL : SIDE_BUY;
		request.order_type = (set & 4) != 0 ? ORDER_TYPE_MARKET : ORDER_TYPE_LIMIT;
		request.quantity += (set & 8) != 0 ? INT64_C(1) << 32 : 0;
		request.price += (set & 16) != 0 ? INT64_C(1) << 32 : 0;
		request.time_in_force = (set & 32) != 0 ? TIME_IN_FORCE_FOK : TIME_IN_FORCE_DAY;
		difference = rules_first_difference(&request, &recorded_terms);
		if (set == 0)
		{
			assert_null(difference);
			continue;
		}
		while ((set & 1u << first) == 0)
			first++;
		assert_string_equal(difference, names[first]);
	}
}

static void
account_and_key_are_no_part_of_the_fingerprint(void **state)
{
	OrderRequest request = valid_request();

	(void) state;
	request.account_id = 7;
	request.key = "another";
	request.key_length = 7;
	assert_null(rules_first_difference(&request, &recorded_terms));
}

/* Each symbol in memory of its own, neither terminated nor longer. */
static void
symbols_differ_in_length_and_in_every_character(void **state)
{
	static const char *const others[] = {"ACM", "ACMEX", "A", "XCME", "AXME", "ACMX", "BCME"};

	(void) state;
	for (int i = 0; i < LENGTH_OF(others); i++)
	{
		OrderRequest request = valid_request();
		char *symbol = malloc(strlen(others[i]));

		assert_non_null(symbol);
		memcpy(symbol, others[i], strlen(others[i]));
		request.symbol = symbol;
		request.symbol_length = strlen(others[i]);
		assert_string_equal(rules_first_difference(&request, &recorded_terms), "symbol");
		free(symbol);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_fault_in_the_order_of_the_fields_is_reported),
		cmocka_unit_test(numbers_of_a_request_are_checked_at_their_limits),
		cmocka_unit_test(key_has_1_to_128_printable_characters),
		cmocka_unit_test(symbol_has_1_to_32_characters_of_its_alphabet),
		cmocka_unit_test(instrument_limits_tick_and_lot_are_exact),
		cmocka_unit_test(market_order_reserves_the_ceiling_whatever_the_tick),
		cmocka_unit_test(halted_comes_before_every_other_fault_of_the_instrument),
		cmocka_unit_test(amount_may_be_as_large_as_64_bits_allow),
		cmocka_unit_test(faults_are_explained_with_their_numbers),
		cmocka_unit_test(explanation_is_cut_to_any_size_and_always_terminated),
		cmocka_unit_test(fault_of_an_instrument_that_was_not_read_is_not_explained),
		cmocka_unit_test(longest_explanation_fits),
		cmocka_unit_test(first_difference_is_named_in_the_order_of_the_message),
		cmocka_unit_test(account_and_key_are_no_part_of_the_fingerprint),
		cmocka_unit_test(symbols_differ_in_length_and_in_every_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
