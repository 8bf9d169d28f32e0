/*
 * rules_test.c
 *		What an order may be and become: every name, transition and report of the exchange.
 *
 * DESIGN	The tables here were written from the design, not from rules.c: numbers and names are on
 *			the wire and in the database, so that a change of one must be made twice. Requests:
 *			rules_request_test.c.
 */
#include "rules.h" /* first: it must need nothing that is included below */

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

static void
only_what_account_can_answer_rejects_an_order(void **state)
{
	(void) state;
	for (int reason = -1; reason < 100; reason++)
		assert_int_equal(rules_reason_rejects(reason), reason >= 20 && reason <= 27);
}

/* |names| are those of 0, 1, 2, ...; "" where a number has none. */
static void
expect_names(const char *(*name_of)(int), int (*code_of)(const char *), const char *const *names,
			 int count)
{
	for (int code = 0; code < count; code++)
	{
		if (names[code][0] == '\0')
			assert_null(name_of(code));
		else
			assert_string_equal(name_of(code), names[code]);
		if (code_of != NULL)
			assert_int_equal(code_of(names[code]), names[code][0] != '\0' ? code : -1);
	}
	assert_null(name_of(-1));
	assert_null(name_of(count));
	assert_null(name_of(INT_MIN));
	assert_null(name_of(INT_MAX));
	if (code_of == NULL)
		return;
	assert_int_equal(code_of(""), -1);
	assert_int_equal(code_of("buy"), -1);
	assert_int_equal(code_of("LIMIT "), -1);
	assert_int_equal(code_of(" GTC"), -1);
	assert_int_equal(code_of("NE"), -1);
	assert_int_equal(code_of("NEWS"), -1);
}

#define EXPECT_NAMES(name_of, code_of, ...) \
	do \
	{ \
		static const char *const names[] = {__VA_ARGS__}; \
		expect_names(name_of, code_of, names, LENGTH_OF(names)); \
	} while (0)

static void
names_and_codes_never_change(void **state)
{
	(void) state;
	EXPECT_NAMES(rules_side_name, rules_side_code, "", "BUY", "SELL");
	EXPECT_NAMES(rules_order_type_name, rules_order_type_code, "MARKET", "LIMIT");
	EXPECT_NAMES(rules_time_in_force_name, rules_time_in_force_code, "DAY", "GTC", "IOC", "FOK");
	EXPECT_NAMES(rules_execution_type_name, rules_execution_type_code, "NEW", "TRADE", "CANCELED",
				 "REJECTED", "EXPIRED", "CANCEL_REJECTED");
	EXPECT_NAMES(rules_status_name, NULL, "RECEIVED", "ACCEPTED", "SENT", "PARTIALLY_FILLED",
				 "FILLED", "CANCEL_REQUESTED", "CANCELED", "REJECTED");
	EXPECT_NAMES(rules_hold_name, NULL, "NONE", "HELD", "UNKNOWN", "RELEASE_DUE");
	EXPECT_NAMES(rules_event_type_name, NULL, "", "ORDER_ACCEPTED", "ORDER_REJECTED",
				 "ORDER_CANCEL_REQUESTED", "ORDER_SENT", "ORDER_PARTIALLY_FILLED", "ORDER_FILLED",
				 "ORDER_CANCELED", "ORDER_CANCEL_REJECTED");
}

/*
 * Statuses by letter: Received, Accepted, Sent, Partially filled, Filled, cancel reQuested,
 * Canceled, rejected X.
 */
static const char status_letters[] = "RASPFQCX";

static const char *const transitions[] = {
	/* to RASPFQCX    from */
	/* */ "-x-----x", /* R */
	/* */ "--xxxxxx", /* A */
	/* */ "---xxxxx", /* S */
	/* */ "---xxxx-", /* P */
	/* */ "--------", /* F */
	/* */ "--xxxxxx", /* Q */
	/* */ "--------", /* C */
	/* */ "--------", /* X */
};

static void
all_64_transitions_are_those_of_the_table(void **state)
{
	(void) state;
	for (int from = 0; from < STATUS_COUNT; from++)
	{
		for (int to = 0; to < STATUS_COUNT; to++)
			assert_int_equal(rules_transition_allowed(from, to), transitions[from][to] == 'x');
		assert_int_equal(rules_status_final(from), strchr(transitions[from], 'x') == NULL);
	}
}

static void
codes_out_of_range_have_no_transition(void **state)
{
	static const int outside[] = {INT_MIN, -1, 8, 31, 32, 33, 64, INT_MAX};

	(void) state;
	for (int i = 0; i < LENGTH_OF(outside); i++)
	{
		for (int status = 0; status < STATUS_COUNT; status++)
		{
			assert_false(rules_transition_allowed(outside[i], status));
			assert_false(rules_transition_allowed(status, outside[i]));
		}
		assert_false(rules_cancel_allowed(outside[i]));
	}
}

static void
cancel_is_allowed_while_an_order_trades_and_once(void **state)
{
	(void) state;
	for (int status = 0; status < STATUS_COUNT; status++)
		assert_int_equal(rules_cancel_allowed(status),
						 strchr("ASP", status_letters[status]) != NULL);
}

static void
all_16_changes_of_a_hold_are_those_of_the_table(void **state)
{
	/* To NONE, HELD, UNKNOWN, RELEASE_DUE. */
	static const char *const allowed[HOLD_COUNT] = {"x---", "----", "x-xx", "x--x"};

	(void) state;
	for (int from = 0; from < HOLD_COUNT; from++)
	{
		for (int to = 0; to < HOLD_COUNT; to++)
			assert_int_equal(rules_hold_allowed(from, to), allowed[from][to] == 'x');
		assert_false(rules_hold_allowed(from, -1));
		assert_false(rules_hold_allowed(from, HOLD_COUNT));
		assert_false(rules_hold_allowed(-1, from));
		assert_false(rules_hold_allowed(HOLD_COUNT, from));
	}
}

/*
 * What a report makes of an order, by its status: a letter as above, '-' where it does not apply. A
 * trade completes the order or does not; a rejection and a refused cancel come twice, for an order
 * without fills and with some.
 */
static const char *const effects[] = {
	/* New Part Full Canceled Rejected, with fills, Expired Cancel-rejected, with fills */
	/* R */ "---------",
	/* A */ "SPFCX-C--",
	/* S */ "-PFCX-C--",
	/* P */ "-PFC--C--",
	/* F */ "---------",
	/* Q */ "QQFCX-CSP",
	/* C */ "---------",
	/* X */ "---------",
};

typedef struct Report
{
	OrderStatus status;
	int64_t quantity;
	int64_t filled_quantity;
	int type;
	int64_t last_quantity;
} Report;

/* The column of |effects|; -1 for a report that no state of the order makes valid. */
static int
column_of(const Report *report)
{
	bool is_trade = report->type == EXECUTION_TRADE;

	if (is_trade ? report->last_quantity <= 0 : report->last_quantity != 0)
		return -1;
	switch (report->type)
	{
		case EXECUTION_NEW:
			return 0;
		case EXECUTION_TRADE:
			if (report->last_quantity > report->quantity - report->filled_quantity)
				return -1;
			return report->last_quantity < report->quantity - report->filled_quantity ? 1 : 2;
		case EXECUTION_CANCELED:
			return 3;
		case EXECUTION_REJECTED:
			return report->filled_quantity == 0 ? 4 : 5;
		case EXECUTION_EXPIRED:
			return 6;
		case EXECUTION_CANCEL_REJECTED:
			return report->filled_quantity == 0 ? 7 : 8;
		default:
			return -1;
	}
}

/* Why the order ended, by the type of the report. */
static Reason
end_reason(const Report *report)
{
	if (report->type == EXECUTION_REJECTED)
		return REASON_EXCHANGE_REJECTED;
	if (report->type == EXECUTION_EXPIRED)
		return REASON_EXCHANGE_EXPIRED;
	/* A cancel that the owner asked for needs no reason. */
	if (report->type == EXECUTION_CANCELED && report->status != STATUS_CANCEL_REQUESTED)
		return REASON_EXCHANGE_CANCELED;
	return REASON_NONE;
}

static void
expect_refusal(const Report *report, int column, Reason reason)
{
	bool is_ended = strchr("RFCX", status_letters[report->status]) != NULL;

	if (reason == REASON_EXECUTION_INVALID)
		assert_int_equal(column, -1);
	else
	{
		assert_int_equal(reason, REASON_WRONG_STATE);
		assert_true(is_ended || effects[report->status][column] == '-');
	}
}

static void
expect_effect(const Report *report)
{
	static const EventType events[] = {
		EVENT_ORDER_SENT,     EVENT_ORDER_PARTIALLY_FILLED, EVENT_ORDER_FILLED,
		EVENT_ORDER_CANCELED, EVENT_ORDER_REJECTED,         EVENT_ORDER_REJECTED,
		EVENT_ORDER_CANCELED, EVENT_ORDER_CANCEL_REJECTED,  EVENT_ORDER_CANCEL_REJECTED,
	};
	int column = column_of(report);
	ExecutionEffect effect;
	ExecutionEffect untouched;
	Reason reason;
	char letter;

	memset(&effect, 0xa5, sizeof(effect));
	memset(&untouched, 0xa5, sizeof(untouched));
	reason = rules_apply_execution(report->status, report->quantity, report->filled_quantity,
								   (ExecutionType) report->type, report->last_quantity, &effect);
	letter = column >= 0 ? effects[report->status][column] : '-';
	if (letter == '-')
	{
		expect_refusal(report, column, reason);
		assert_memory_equal(&effect, &untouched, sizeof(effect));
		return;
	}
	assert_int_equal(reason, REASON_NONE);
	assert_int_equal(status_letters[effect.status], letter);
	assert_int_equal(effect.event_type, events[column]);
	assert_int_equal(effect.reason, end_reason(report));
	assert_true(effect.filled_quantity == report->filled_quantity + report->last_quantity);
	assert_int_equal(effect.ends_order, strchr("FCX", letter) != NULL);
}

static void
every_report_has_its_effect_in_every_state_and_at_every_quantity(void **state)
{
	static const int64_t quantities[] = {1, 2, 10, INT64_MAX};
	static const int64_t steps[] = {INT64_MIN, -1, 0, 1, 2, 5, 9, 10, 11, INT64_MAX - 1, INT64_MAX};
	static const int types[] = {INT_MIN, -1, 0, 1, 2, 3, 4, 5, 6, INT_MAX};

	(void) state;
	for (int i = 0; i < STATUS_COUNT * LENGTH_OF(quantities) * LENGTH_OF(types); i++)
	{
		Report report = {.status = (OrderStatus) (i % STATUS_COUNT),
						 .quantity = quantities[i / STATUS_COUNT % LENGTH_OF(quantities)],
						 .type = types[i / STATUS_COUNT / LENGTH_OF(quantities)]};

		for (int filled = 0; filled < LENGTH_OF(steps); filled++)
		{
			report.filled_quantity = steps[filled];
			if (report.filled_quantity < 0 || report.filled_quantity > report.quantity)
				continue;
			for (int last = 0; last < LENGTH_OF(steps); last++)
			{
				report.last_quantity = steps[last];
				expect_effect(&report);
			}
		}
	}
}

static void
effects_stay_within_the_transition_table(void **state)
{
	(void) state;
	for (int from = 0; from < STATUS_COUNT; from++)
	{
		for (const char *to = effects[from]; *to != '\0'; to++)
		{
			if (*to != '-')
				assert_int_equal(transitions[from][strchr(status_letters, *to) - status_letters],
								 'x');
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_account_can_answer_rejects_an_order),
		cmocka_unit_test(names_and_codes_never_change),
		cmocka_unit_test(all_64_transitions_are_those_of_the_table),
		cmocka_unit_test(codes_out_of_range_have_no_transition),
		cmocka_unit_test(cancel_is_allowed_while_an_order_trades_and_once),
		cmocka_unit_test(all_16_changes_of_a_hold_are_those_of_the_table),
		cmocka_unit_test(every_report_has_its_effect_in_every_state_and_at_every_quantity),
		cmocka_unit_test(effects_stay_within_the_transition_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
