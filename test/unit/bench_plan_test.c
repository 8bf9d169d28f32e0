/*
 * bench_plan_test.c
 *		What order-bench sends is what its options say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "bench_plan.h"

#define REQUESTS 10000

static char *symbols[] = {"AAA", "BBB"};
static char *sessions[] = {"session-0", "session-1", "session-2"};

static BenchOptions
options_for(int connections)
{
	return (BenchOptions){.sessions = sessions,
						  .session_count = 3,
						  .connection_count = connections,
						  .symbols = symbols,
						  .symbol_count = 2,
						  .is_buying = true,
						  .is_selling = true,
						  .quantity = 7,
						  .price = 101500000,
						  .seed = 1};
}

static OrderService__V1__PlaceOrderRequest *
unpack_place(const BenchPlan *plan, const BenchRequest *request)
{
	uint8_t payload[BENCH_PAYLOAD_SIZE];
	size_t size = bench_plan_pack(plan, request, payload);
	OrderService__V1__PlaceOrderRequest *message =
		order_service__v1__place_order_request__unpack(NULL, size, payload);

	assert_non_null(message);
	return message;
}

static void
packs_new_orders_of_every_symbol_and_side_with_their_key(void **state)
{
	BenchOptions options = options_for(3);
	BenchPlan *plan = bench_plan_new(&options);
	BenchHistory history = {0};
	BenchRequest request = {0};
	int seen[2][3] = {{0}};

	(void) state;
	for (int i = 0; i < 1000; i++)
	{
		OrderService__V1__PlaceOrderRequest *message;

		bench_plan_next(plan, &history, &request);
		assert_int_equal(request.kind, BENCH_PLACE);
		message = unpack_place(plan, &request);
		assert_string_equal(message->idempotency_key, request.key);
		assert_string_equal(message->session_id, "");
		assert_int_equal(message->quantity, 7);
		assert_int_equal(message->price, 101500000);
		assert_int_equal(message->order_type, ORDER_SERVICE__V1__ORDER_TYPE__LIMIT);
		seen[strcmp(message->symbol, "BBB") == 0][message->side]++;
		order_service__v1__place_order_request__free_unpacked(message, NULL);
	}
	for (int symbol = 0; symbol < 2; symbol++)
	{
		assert_true(seen[symbol][ORDER_SERVICE__V1__SIDE__BUY] > 150);
		assert_true(seen[symbol][ORDER_SERVICE__V1__SIDE__SELL] > 150);
	}
	bench_plan_free(plan);
}

static void
logs_in_with_few_sessions_and_names_many_in_turn(void **state)
{
	BenchOptions few = options_for(4);
	BenchOptions many = options_for(2);
	BenchPlan *plan = bench_plan_new(&few);
	BenchHistory history = {0};
	BenchRequest request = {0};

	(void) state;
	assert_int_equal(bench_plan_login(plan, 2), 2);
	assert_int_equal(bench_plan_login(plan, 3), 0);
	bench_plan_free(plan);

	plan = bench_plan_new(&many);
	assert_int_equal(bench_plan_login(plan, 0), -1);
	for (int i = 0; i < 6; i++)
	{
		OrderService__V1__PlaceOrderRequest *message;

		bench_plan_next(plan, &history, &request);
		message = unpack_place(plan, &request);
		assert_string_equal(message->session_id, sessions[i % 3]);
		assert_string_equal(message->idempotency_key, request.key);
		order_service__v1__place_order_request__free_unpacked(message, NULL);
	}
	bench_plan_free(plan);
}

static void
mixes_repeats_and_cancels_as_it_is_told(void **state)
{
	BenchOptions options = options_for(1);
	BenchPlan *plan;
	BenchHistory history;
	BenchRequest request = {0};
	int counts[BENCH_KIND_COUNT] = {0};

	(void) state;
	options.repeat_percent = 20;
	options.cancel_percent = 10;
	plan = bench_plan_new(&options);
	bench_history_init(&history, &options);
	for (int64_t i = 1; i <= REQUESTS; i++)
	{
		bench_plan_next(plan, &history, &request);
		counts[request.kind]++;
		if (request.kind == BENCH_PLACE)
			bench_history_add(&history, &request, i, true);
	}
	assert_in_range(counts[BENCH_REPEAT], REQUESTS * 18 / 100, REQUESTS * 22 / 100);
	assert_in_range(counts[BENCH_CANCEL], REQUESTS * 8 / 100, REQUESTS * 12 / 100);
	bench_history_free(&history);
	bench_plan_free(plan);
}

static void
repeats_the_same_payload_and_cancels_an_order_once(void **state)
{
	BenchOptions options = options_for(1);
	BenchPlan *plan;
	BenchHistory history;
	BenchRequest first = {0};
	BenchRequest next = {0};
	uint8_t payloads[2][BENCH_PAYLOAD_SIZE];
	OrderService__V1__CancelOrderRequest *message;
	size_t size;

	(void) state;
	options.repeat_percent = 100;
	plan = bench_plan_new(&options);
	bench_history_init(&history, &options);
	bench_plan_next(plan, &history, &first);
	assert_int_equal(first.kind, BENCH_PLACE);
	bench_history_add(&history, &first, 17, true);
	bench_plan_next(plan, &history, &next);
	assert_int_equal(next.kind, BENCH_REPEAT);
	assert_int_equal(next.order_id, 17);
	size = bench_plan_pack(plan, &first, payloads[0]);
	assert_int_equal(bench_plan_pack(plan, &next, payloads[1]), size);
	assert_memory_equal(payloads[0], payloads[1], size);

	options.repeat_percent = 0;
	options.cancel_percent = 100;
	bench_plan_next(plan, &history, &next);
	assert_int_equal(next.kind, BENCH_CANCEL);
	size = bench_plan_pack(plan, &next, payloads[0]);
	message = order_service__v1__cancel_order_request__unpack(NULL, size, payloads[0]);
	assert_non_null(message);
	assert_int_equal(message->order_id, 17);
	assert_string_equal(message->idempotency_key, next.key);
	assert_string_not_equal(next.key, first.key);
	assert_string_equal(message->session_id, sessions[first.session]);
	order_service__v1__cancel_order_request__free_unpacked(message, NULL);
	bench_plan_next(plan, &history, &next);
	assert_int_equal(next.kind, BENCH_PLACE);
	bench_history_free(&history);
	bench_plan_free(plan);
}

static void
forgets_the_oldest_orders_and_never_cancels_a_rejected_one(void **state)
{
	BenchOptions options = options_for(1);
	BenchPlan *plan;
	BenchHistory history;
	BenchRequest request = {0};

	(void) state;
	options.cancel_percent = 100;
	plan = bench_plan_new(&options);
	bench_history_init(&history, &options);
	for (int64_t i = 1; i <= 3 * BENCH_HISTORY_OF_CONNECTION_MAX; i++)
		bench_history_add(&history, &request, i, false);
	assert_int_equal(history.count, BENCH_HISTORY_OF_CONNECTION_MAX);
	for (int i = 0; i < history.count; i++)
		assert_true(history.placed[i].order_id > 2 * BENCH_HISTORY_OF_CONNECTION_MAX);
	for (int i = 0; i < 100; i++)
	{
		bench_plan_next(plan, &history, &request);
		assert_int_equal(request.kind, BENCH_PLACE);
	}
	bench_history_free(&history);
	bench_plan_free(plan);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packs_new_orders_of_every_symbol_and_side_with_their_key),
		cmocka_unit_test(logs_in_with_few_sessions_and_names_many_in_turn),
		cmocka_unit_test(mixes_repeats_and_cancels_as_it_is_told),
		cmocka_unit_test(repeats_the_same_payload_and_cancels_an_order_once),
		cmocka_unit_test(forgets_the_oldest_orders_and_never_cancels_a_rejected_one),
	};

	return cmocka_run_group_tests_name("bench_plan", tests, NULL, NULL);
}
