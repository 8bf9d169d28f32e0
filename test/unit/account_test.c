/*
 * account_test.c
 *		A call of Account with its attempts: what each answer, or the lack of one, means for the
 *		order.
 *
 * The channel is replaced: each attempt ends as a script says.
 */
#include "order/account.h" /* first: it must need nothing that is included below */

#include "account.pb-c.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/setting.h"
#include "channel_fake.h"

/* How an attempt ends. |code| >= 0: GRPC_OK with that result code; -2: with bytes that are none. */
typedef struct Step
{
	GrpcStatus status;
	bool is_unprocessed;
	int code;
} Step;

#define REPLY(result) \
	{ \
		.status = GRPC_OK, .code = ACCOUNT__ORDER__V1__RESULT_CODE__##result \
	}
#define STATUS(name) \
	{ \
		.status = GRPC_##name \
	}
#define UNPROCESSED \
	{ \
		.status = GRPC_UNAVAILABLE, .is_unprocessed = true \
	}

static Loop *loop;
static AccountResult outcome;
static int outcome_count;
static int budget_percent = 10;

/* The attempt ends as the step says; it went to an endpoint of its own. */
static void
answer(int number, const Step *step)
{
	uint8_t reply[] = {0x08, (uint8_t) step->code};
	size_t size = step->code > 0 ? 2 : 0;

	if (step->code == -2)
		size = 1; /* a tag without its value */
	end_attempt(number, (ChannelResult){.status = step->status,
										.reply = reply,
										.reply_size = size,
										.is_unprocessed = step->is_unprocessed,
										.endpoint = number + 1});
}

static void
ended(void *context, const AccountResult *result)
{
	(void) context;
	outcome = *result;
	outcome_count++;
}

static const AccountReservation cash = {.account_id = 7,
										.order_id = 18,
										.correlation_id = 0xabc,
										.reserve_id = "r-18",
										.is_cash = true,
										.currency = "USD",
										.symbol = "ACME",
										.amount = 1000};

/* A call whose attempts end as the steps say, as many as there are. */
static void
run(const AccountReservation *reservation, bool is_release, const Step *steps, int count)
{
	Config config = {.attempt_timeout_us = 50 * CLOCK_MS,
					 .overall_timeout_us = 10 * CLOCK_SECOND,
					 .retry_delay_us = 1 * CLOCK_MS,
					 .retries_max = 1,
					 .retry_budget_percent = budget_percent,
					 .breaker_window = 50,
					 .breaker_failures_percent = 20,
					 .breaker_open_us = 30 * CLOCK_SECOND,
					 .account_calls_max = 128,
					 .account_waiting_max = 1024,
					 .hedge_us = SETTING_OFF};
	Account *account;

	loop = loop_new();
	account = account_new(loop, NULL, &config);
	channel_fake_reset();
	outcome_count = 0;
	if (is_release)
		account_release(account, reservation, ended, NULL);
	else
		account_reserve(account, reservation, ended, NULL);
	assert_int_equal(account_pending_count(account), 1);
	for (int number = 0; number < count; number++)
	{
		wait_for(loop, &sent_count, number + 1);
		answer(number, &steps[number]);
	}
	wait_for(loop, &outcome_count, 1);
	assert_int_equal(sent_count, count);
	assert_int_equal(account_pending_count(account), 0);
	metrics_reset();
	account_free(account);
	loop_free(loop);
}

static void
expect(const Step *steps, int count, Reason reason, int hold)
{
	run(&cash, false, steps, count);
	assert_int_equal(outcome.reason, reason);
	assert_int_equal(outcome.hold, hold);
}

static void
every_result_code_has_its_reason_and_is_not_asked_again(void **state)
{
	static const struct
	{
		Step step;
		Reason reason;
		int hold;
	} rows[] = {
		{REPLY(SUCCESS), REASON_NONE, HOLD_HELD},
		{REPLY(DUPLICATE_REQUEST), REASON_NONE, HOLD_HELD},
		{REPLY(INSUFFICIENT_FUNDS), REASON_INSUFFICIENT_FUNDS, HOLD_NONE},
		{REPLY(INSUFFICIENT_POSITION), REASON_INSUFFICIENT_POSITION, HOLD_NONE},
		{REPLY(POSITION_NOT_FOUND), REASON_INSUFFICIENT_POSITION, HOLD_NONE},
		{REPLY(ACCOUNT_NOT_FOUND), REASON_ACCOUNT_NOT_FOUND, HOLD_NONE},
		{REPLY(ACCOUNT_SUSPENDED), REASON_ACCOUNT_SUSPENDED, HOLD_NONE},
		{REPLY(INVALID_REQUEST), REASON_ACCOUNT_REFUSED, HOLD_NONE},
		{REPLY(INVALID_AMOUNT), REASON_ACCOUNT_REFUSED, HOLD_NONE},
		{REPLY(NOT_IMPLEMENTED), REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE},
		{REPLY(INTERNAL_ERROR), REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
		{{.status = GRPC_OK, .code = 11}, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
		{{.status = GRPC_OK, .code = -2}, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i].step, 1, rows[i].reason, rows[i].hold);
}

static void
every_status_is_certain_or_a_doubt(void **state)
{
	static const GrpcStatus certain[] = {
		GRPC_INVALID_ARGUMENT, GRPC_NOT_FOUND,    GRPC_PERMISSION_DENIED,  GRPC_UNAUTHENTICATED,
		GRPC_UNIMPLEMENTED,    GRPC_OUT_OF_RANGE, GRPC_FAILED_PRECONDITION};

	(void) state;
	for (int status = 1; status < GRPC_STATUS_COUNT; status++)
	{
		bool is_retried = status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED;
		const Step steps[] = {{.status = (GrpcStatus) status}, {.status = (GrpcStatus) status}};
		bool is_certain = false;

		for (size_t i = 0; i < sizeof(certain) / sizeof(certain[0]); i++)
			is_certain = is_certain || certain[i] == (GrpcStatus) status;
		expect(steps, is_retried ? 2 : 1,
			   is_certain ? REASON_ACCOUNT_UNAVAILABLE : REASON_ACCOUNT_OUTCOME_UNKNOWN,
			   is_certain ? HOLD_NONE : HOLD_UNKNOWN);
	}
}

static void
a_retry_that_succeeds_holds(void **state)
{
	static const Step steps[] = {STATUS(DEADLINE_EXCEEDED), REPLY(SUCCESS)};

	(void) state;
	expect(steps, 2, REASON_NONE, HOLD_HELD);
	assert_int_equal(sent[0].avoid, -1);
	assert_int_equal(sent[1].avoid, 1);
	assert_int_equal(sent[0].size, sent[1].size);
	assert_memory_equal(sent[0].message, sent[1].message, sent[0].size);
}

static void
a_refusal_after_a_doubt_leaves_the_doubt(void **state)
{
	static const Step steps[] = {STATUS(DEADLINE_EXCEEDED), REPLY(INSUFFICIENT_FUNDS)};

	(void) state;
	expect(steps, 2, REASON_INSUFFICIENT_FUNDS, HOLD_UNKNOWN);
}

static void
an_unprocessed_attempt_after_a_doubt_leaves_the_doubt(void **state)
{
	static const Step steps[] = {STATUS(UNAVAILABLE), UNPROCESSED, UNPROCESSED};

	(void) state;
	expect(steps, 3, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
}

static void
attempts_that_nobody_processed_hold_nothing(void **state)
{
	static const Step steps[] = {UNPROCESSED, UNPROCESSED, UNPROCESSED};

	(void) state;
	expect(steps, 3, REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
}

static void
a_refusal_after_an_unprocessed_attempt_is_certain(void **state)
{
	static const Step steps[] = {UNPROCESSED, REPLY(ACCOUNT_SUSPENDED)};

	(void) state;
	expect(steps, 2, REASON_ACCOUNT_SUSPENDED, HOLD_NONE);
}

static void
a_retry_without_budget_is_not_made_but_a_free_one_is(void **state)
{
	static const Step steps[] = {UNPROCESSED, STATUS(UNAVAILABLE)};

	(void) state;
	budget_percent = 0;
	expect(steps, 2, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
	budget_percent = 10;
}

static void
each_of_the_four_calls_has_its_path_and_fields(void **state)
{
	static const Step success = REPLY(SUCCESS);
	AccountReservation position = cash;
	Account__Order__V1__ReserveCashRequest *reserve_cash;
	Account__Order__V1__ReservePositionRequest *reserve_position;
	Account__Order__V1__ReleasePositionRequest *release;

	(void) state;
	position.is_cash = false;
	run(&cash, false, &success, 1);
	assert_string_equal(sent[0].path, "/account.order.v1.AccountOrderService/ReserveCash");
	assert_string_equal(sent[0].correlation_id, "0000000000000abc");
	reserve_cash =
		account__order__v1__reserve_cash_request__unpack(NULL, sent[0].size, sent[0].message);
	assert_int_equal(reserve_cash->account_id, 7);
	assert_int_equal(reserve_cash->amount_micro_units, 1000);
	assert_string_equal(reserve_cash->currency, "USD");
	assert_string_equal(reserve_cash->reserve_id, "r-18");
	assert_string_equal(reserve_cash->order_id, "18");
	account__order__v1__reserve_cash_request__free_unpacked(reserve_cash, NULL);

	run(&position, false, &success, 1);
	assert_string_equal(sent[0].path, "/account.order.v1.AccountOrderService/ReservePosition");
	reserve_position =
		account__order__v1__reserve_position_request__unpack(NULL, sent[0].size, sent[0].message);
	assert_string_equal(reserve_position->symbol, "ACME");
	assert_int_equal(reserve_position->quantity, 1000);
	account__order__v1__reserve_position_request__free_unpacked(reserve_position, NULL);

	run(&cash, true, &success, 1);
	assert_string_equal(sent[0].path, "/account.order.v1.AccountOrderService/ReleaseCash");
	assert_int_equal(outcome.hold, HOLD_NONE);
	run(&position, true, &success, 1);
	assert_string_equal(sent[0].path, "/account.order.v1.AccountOrderService/ReleasePosition");
	release =
		account__order__v1__release_position_request__unpack(NULL, sent[0].size, sent[0].message);
	assert_int_equal(release->account_id, 7);
	assert_string_equal(release->reserve_id, "r-18");
	account__order__v1__release_position_request__free_unpacked(release, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_result_code_has_its_reason_and_is_not_asked_again),
		cmocka_unit_test(every_status_is_certain_or_a_doubt),
		cmocka_unit_test(a_retry_that_succeeds_holds),
		cmocka_unit_test(a_refusal_after_a_doubt_leaves_the_doubt),
		cmocka_unit_test(an_unprocessed_attempt_after_a_doubt_leaves_the_doubt),
		cmocka_unit_test(attempts_that_nobody_processed_hold_nothing),
		cmocka_unit_test(a_refusal_after_an_unprocessed_attempt_is_certain),
		cmocka_unit_test(a_retry_without_budget_is_not_made_but_a_free_one_is),
		cmocka_unit_test(each_of_the_four_calls_has_its_path_and_fields),
	};

	return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
