/*
 * unpack_test.c
 *		Messages of the proxy are unpacked within bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "client.pb-c.h"
#include "frame.h"
#include "unpack.h"

#define LIST &order_service__v1__list_orders_response__descriptor

static void
unpacks_small_messages_and_large_ones(void **state)
{
	OrderService__V1__Order order = ORDER_SERVICE__V1__ORDER__INIT;
	OrderService__V1__Order *orders[LIST_ORDERS_MAX];
	OrderService__V1__ListOrdersResponse list = ORDER_SERVICE__V1__LIST_ORDERS_RESPONSE__INIT;
	uint8_t *payload = malloc(FRAME_PAYLOAD_MAX);

	(void) state;
	order.symbol = "SYMBOL-OF-THIRTY-TWO-CHARACTERS.";
	order.reason = "INSUFFICIENT_FUNDS";
	for (int i = 0; i < LIST_ORDERS_MAX; i++)
		orders[i] = &order;
	list.orders = orders;
	for (list.n_orders = 0; list.n_orders <= LIST_ORDERS_MAX; list.n_orders += LIST_ORDERS_MAX / 10)
	{
		size_t size = order_service__v1__list_orders_response__pack(&list, payload);
		const OrderService__V1__ListOrdersResponse *taken =
			(const OrderService__V1__ListOrdersResponse *) unpack_message(LIST, payload, size);

		assert_non_null(taken);
		assert_int_equal(taken->n_orders, list.n_orders);
		for (size_t i = 0; i < taken->n_orders; i++)
			assert_string_equal(taken->orders[i]->symbol, order.symbol);
		unpack_forget();
	}
	free(payload);
}

static void
refuses_what_is_no_message(void **state)
{
	(void) state;
	assert_null(unpack_message(LIST, (const uint8_t *) "\x0a\x7f", 2));
	assert_null(unpack_message(LIST, (const uint8_t *) "\xff\xff\xff", 3));
	unpack_forget();
}

static void
refuses_a_message_that_would_grow_beyond_its_limit(void **state)
{
	/* Half a million empty orders in a payload of one mebibyte. */
	uint8_t *payload = malloc(FRAME_PAYLOAD_MAX);

	(void) state;
	for (int i = 0; i < FRAME_PAYLOAD_MAX; i += 2)
		memcpy(payload + i, "\x0a\x00", 2);
	assert_null(unpack_message(LIST, payload, FRAME_PAYLOAD_MAX));
	unpack_forget();
	assert_non_null(unpack_message(LIST, payload, 2 * LIST_ORDERS_MAX));
	unpack_forget();
	free(payload);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unpacks_small_messages_and_large_ones),
		cmocka_unit_test(refuses_what_is_no_message),
		cmocka_unit_test(refuses_a_message_that_would_grow_beyond_its_limit),
	};

	return cmocka_run_group_tests_name("unpack", tests, NULL, NULL);
}
