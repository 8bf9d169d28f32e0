/*
 * client_library_test.c
 *		The clients' library against a server that the test plays itself, in the same loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "client.h"

#define DEADLINE_US (20 * CLOCK_SECOND)
#define IN_FLIGHT 4

/* What one test has, and what the callbacks left behind. */
typedef struct Fixture
{
	Loop *loop;
	Dns *dns;
	Client *client;
	int listener;
	int peer;
	bool is_connected;
	char lost[256]; /* why; "" while it is not */
	int ended;      /* requests */
	ClientOutcome outcomes[16];
	char texts[16][64]; /* payload, message or reason of each, in the order of their ends */
} Fixture;

static void
on_connected(void *context)
{
	((Fixture *) context)->is_connected = true;
}

static void
on_lost(void *context, const char *reason)
{
	snprintf(((Fixture *) context)->lost, sizeof(((Fixture *) context)->lost), "%s", reason);
}

static void
on_answer(void *context, const ClientAnswer *answer)
{
	Fixture *fixture = context;
	char *text = fixture->texts[fixture->ended];

	assert_true(fixture->ended < 16);
	fixture->outcomes[fixture->ended++] = answer->outcome;
	if (answer->outcome == CLIENT_ANSWERED)
		snprintf(text, 64, "%.*s", (int) answer->size, (const char *) answer->payload);
	else if (answer->outcome == CLIENT_REFUSED)
		snprintf(text, 64, "%d %s", answer->error->code, answer->error->message);
	else
		snprintf(text, 64, "%s", answer->reason);
}

static void
turn(Fixture *fixture)
{
	static int64_t deadline_us;

	if (fixture == NULL)
	{
		deadline_us = clock_now_us() + DEADLINE_US;
		return;
	}
	assert_true(clock_now_us() < deadline_us);
	loop_turn(fixture->loop);
}

/* Turns the loop until |condition| holds. */
#define TURN_UNTIL(fixture, condition) \
	do \
		turn(fixture); \
	while (!(condition))

static bool
accepts(Fixture *fixture)
{
	if (fixture->peer == -1)
		fixture->peer = accept4(fixture->listener, NULL, NULL, SOCK_NONBLOCK);
	return fixture->peer != -1;
}

static int
setup_listener(void **state)
{
	static Fixture fixture;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	char server[64];
	ClientOwner owner = {.context = &fixture, .connected = on_connected, .lost = on_lost};

	fixture = (Fixture){.peer = -1, .loop = loop_new()};
	fixture.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fixture.listener, (struct sockaddr *) &address, size), 0);
	assert_int_equal(getsockname(fixture.listener, (struct sockaddr *) &address, &size), 0);
	snprintf(server, sizeof(server), "127.0.0.1:%d", ntohs(address.sin_port));
	fixture.dns = dns_new(fixture.loop);
	fixture.client = client_new(fixture.loop, fixture.dns, server, IN_FLIGHT, &owner);
	turn(NULL);
	*state = &fixture;
	return 0;
}

static int
setup(void **state)
{
	Fixture *fixture;

	setup_listener(state);
	fixture = *state;
	assert_int_equal(listen(fixture->listener, 1), 0);
	client_connect(fixture->client, CLOCK_SECOND);
	TURN_UNTIL(fixture, fixture->is_connected && accepts(fixture));
	return 0;
}

static int
teardown(void **state)
{
	Fixture *fixture = *state;

	client_free(fixture->client);
	dns_free(fixture->dns);
	loop_free(fixture->loop);
	metrics_reset();
	close(fixture->listener);
	if (fixture->peer != -1)
		close(fixture->peer);
	return 0;
}

/* The server reads |size| bytes. */
static void
receive(Fixture *fixture, uint8_t *bytes, size_t size)
{
	size_t had = 0;

	while (had < size)
	{
		ssize_t got = recv(fixture->peer, bytes + had, size - had, 0);

		assert_true(got > 0 || (got == -1 && errno == EAGAIN));
		if (got > 0)
			had += (size_t) got;
		else
			turn(fixture);
	}
}

/* The server answers a request. */
static void
respond(Fixture *fixture, FrameHeader header, uint16_t flags, const void *payload, size_t size)
{
	uint8_t bytes[FRAME_HEADER_SIZE + 256];

	header.type = FRAME_RESPONSE;
	header.flags = flags;
	header.payload_length = (uint32_t) size;
	frame_encode(&header, bytes);
	memcpy(bytes + FRAME_HEADER_SIZE, payload, size);
	assert_int_equal(send(fixture->peer, bytes, FRAME_HEADER_SIZE + size, 0),
					 FRAME_HEADER_SIZE + size);
}

/* Sends a request with an empty payload; the server reads it. */
static FrameHeader
send_ping(Fixture *fixture)
{
	uint8_t bytes[FRAME_HEADER_SIZE];
	FrameHeader header;

	assert_true(
		client_send(fixture->client, SERVICE_CONTROL, CONTROL_PING, NULL, 0, on_answer, fixture));
	receive(fixture, bytes, sizeof(bytes));
	assert_int_equal(frame_decode(bytes, &header), FRAME_OK);
	return header;
}

static void
takes_answers_in_any_order(void **state)
{
	Fixture *fixture = *state;
	FrameHeader first = send_ping(fixture);
	FrameHeader second = send_ping(fixture);

	assert_int_equal(client_in_flight_count(fixture->client), 2);
	respond(fixture, second, 0, "two", 3);
	respond(fixture, first, 0, "one", 3);
	TURN_UNTIL(fixture, fixture->ended == 2);
	assert_string_equal(fixture->texts[0], "two");
	assert_string_equal(fixture->texts[1], "one");
	assert_int_equal(client_in_flight_count(fixture->client), 0);
}

static void
takes_an_answer_that_comes_byte_by_byte(void **state)
{
	Fixture *fixture = *state;
	FrameHeader header = send_ping(fixture);
	uint8_t bytes[FRAME_HEADER_SIZE + 3];

	header.type = FRAME_RESPONSE;
	header.payload_length = 3;
	frame_encode(&header, bytes);
	memcpy(bytes + FRAME_HEADER_SIZE, "abc", 3);
	for (size_t i = 0; i < sizeof(bytes); i++)
	{
		assert_int_equal(fixture->ended, 0);
		assert_int_equal(send(fixture->peer, bytes + i, 1, 0), 1);
		turn(fixture);
		turn(fixture);
	}
	TURN_UNTIL(fixture, fixture->ended == 1);
	assert_string_equal(fixture->texts[0], "abc");
}

static void
unpacks_errors_and_passes_over_events(void **state)
{
	Fixture *fixture = *state;
	OrderService__V1__ErrorMessage error = ORDER_SERVICE__V1__ERROR_MESSAGE__INIT;
	FrameHeader request = send_ping(fixture);
	FrameHeader event = {.type = FRAME_EVENT, .sequence = 1};
	uint8_t bytes[FRAME_HEADER_SIZE];
	uint8_t payload[256];

	frame_encode(&event, bytes);
	assert_int_equal(send(fixture->peer, bytes, sizeof(bytes), 0), sizeof(bytes));
	error.code = 503;
	error.message = "not now";
	respond(fixture, request, FRAME_FLAG_ERROR, payload,
			order_service__v1__error_message__pack(&error, payload));
	TURN_UNTIL(fixture, fixture->ended == 1);
	assert_int_equal(fixture->outcomes[0], CLIENT_REFUSED);
	assert_string_equal(fixture->texts[0], "503 not now");
}

static void
says_no_at_the_limit_of_requests_in_flight(void **state)
{
	Fixture *fixture = *state;
	FrameHeader header = {0};

	for (int i = 0; i < IN_FLIGHT; i++)
		header = send_ping(fixture);
	assert_false(
		client_send(fixture->client, SERVICE_CONTROL, CONTROL_PING, NULL, 0, on_answer, fixture));
	respond(fixture, header, 0, "", 0);
	TURN_UNTIL(fixture, fixture->ended == 1);
	send_ping(fixture);
}

static void
says_no_when_too_many_bytes_wait_to_be_written(void **state)
{
	Fixture *fixture = *state;
	uint8_t *payload = calloc(1, FRAME_PAYLOAD_MAX);
	int count = 0;

	while (client_send(fixture->client, SERVICE_ORDER, ORDER_PLACE, payload, FRAME_PAYLOAD_MAX,
					   on_answer, fixture))
		count++;
	assert_int_equal(count, CLIENT_OUTPUT_BYTES_MAX / (FRAME_PAYLOAD_MAX + FRAME_HEADER_SIZE));
	assert_true(count < IN_FLIGHT);
	free(payload);
}

static void
tells_a_request_that_was_sent_from_one_that_was_not(void **state)
{
	Fixture *fixture = *state;

	send_ping(fixture);
	close(fixture->peer);
	fixture->peer = -1;
	/* In the turn that finds the connection closed, this one is still waiting to be written. */
	assert_true(
		client_send(fixture->client, SERVICE_CONTROL, CONTROL_PING, NULL, 0, on_answer, fixture));
	TURN_UNTIL(fixture, fixture->lost[0] != '\0');
	assert_int_equal(fixture->ended, 2);
	assert_int_equal(fixture->outcomes[0], CLIENT_LOST);
	assert_int_equal(fixture->outcomes[1], CLIENT_UNSENT);
	assert_non_null(strstr(fixture->texts[0], "connection closed by 127.0.0.1:"));
	assert_false(client_is_connected(fixture->client));
	assert_false(
		client_send(fixture->client, SERVICE_CONTROL, CONTROL_PING, NULL, 0, on_answer, fixture));
}

static void
can_connect_again_and_ignores_late_answers_to_earlier_requests(void **state)
{
	Fixture *fixture = *state;
	FrameHeader early = send_ping(fixture);
	FrameHeader late;

	close(fixture->peer);
	fixture->peer = -1;
	TURN_UNTIL(fixture, fixture->lost[0] != '\0');
	fixture->is_connected = false;
	client_connect(fixture->client, CLOCK_SECOND);
	TURN_UNTIL(fixture, fixture->is_connected && accepts(fixture));
	late = send_ping(fixture);
	respond(fixture, early, 0, "early", 5);
	respond(fixture, late, 0, "late", 4);
	TURN_UNTIL(fixture, fixture->ended == 2);
	assert_string_equal(fixture->texts[1], "late");
}

static void
ends_a_connection_that_does_not_speak_the_protocol(void **state)
{
	Fixture *fixture = *state;

	send_ping(fixture);
	assert_true(send(fixture->peer, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 0) == 28);
	TURN_UNTIL(fixture, fixture->lost[0] != '\0');
	assert_int_equal(fixture->outcomes[0], CLIENT_LOST);
	assert_non_null(strstr(fixture->lost, "not the protocol"));
}

static void
ends_a_connection_whose_answer_is_of_another_method(void **state)
{
	Fixture *fixture = *state;
	FrameHeader header = send_ping(fixture);

	header.service = SERVICE_ORDER;
	respond(fixture, header, 0, "", 0);
	TURN_UNTIL(fixture, fixture->lost[0] != '\0');
	assert_non_null(strstr(fixture->lost, "another method"));
}

static void
gives_the_server_s_reason_for_a_close(void **state)
{
	Fixture *fixture = *state;
	OrderService__V1__ErrorMessage error = ORDER_SERVICE__V1__ERROR_MESSAGE__INIT;
	FrameHeader header = {.service = SERVICE_ORDER, .method = ORDER_PLACE, .correlation_id = 999};
	uint8_t payload[256];

	error.code = FRAME_ERROR_VERSION;
	error.message = "version is not 1";
	respond(fixture, header, FRAME_FLAG_ERROR, payload,
			order_service__v1__error_message__pack(&error, payload));
	TURN_UNTIL(fixture, fixture->lost[0] != '\0');
	assert_string_equal(fixture->lost, "version is not 1");
}

static void
tells_that_nobody_listens(void **state)
{
	Fixture *fixture = *state;

	client_connect(fixture->client, CLOCK_SECOND);
	TURN_UNTIL(fixture, fixture->lost[0] != '\0');
	assert_non_null(strstr(fixture->lost, "Connection refused"));
	assert_false(fixture->is_connected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(takes_answers_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_an_answer_that_comes_byte_by_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(unpacks_errors_and_passes_over_events, setup, teardown),
		cmocka_unit_test_setup_teardown(says_no_at_the_limit_of_requests_in_flight, setup,
										teardown),
		cmocka_unit_test_setup_teardown(says_no_when_too_many_bytes_wait_to_be_written, setup,
										teardown),
		cmocka_unit_test_setup_teardown(tells_a_request_that_was_sent_from_one_that_was_not, setup,
										teardown),
		cmocka_unit_test_setup_teardown(
			can_connect_again_and_ignores_late_answers_to_earlier_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_a_connection_that_does_not_speak_the_protocol, setup,
										teardown),
		cmocka_unit_test_setup_teardown(ends_a_connection_whose_answer_is_of_another_method, setup,
										teardown),
		cmocka_unit_test_setup_teardown(gives_the_server_s_reason_for_a_close, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_that_nobody_listens, setup_listener, teardown),
	};

	return cmocka_run_group_tests_name("client library", tests, NULL, NULL);
}
