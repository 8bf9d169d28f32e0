/*
 * tls_stream_test.c
 *		TLS on one connection: what ends a handshake, and data.
 */
#include "tls_peer.h"

#define LARGE_SIZE (1024 * 1024)

static uint8_t large[LARGE_SIZE];

/* Tests: what else ends a handshake ------------------------------------------------------------ */

static void
without_h2_there_is_no_connection(void **state)
{
	Identity identity = issue(&ca, "x", "DNS:account.example", -DAY, DAY);

	(void) state;
	server_protocol = NULL;
	open_both(&identity, "account.example");
	assert_false(shake_hands());
	assert_failed(TLS_NO_HTTP2, "by ALPN it chose nothing");
	assert_false(tls_stream_is_ready(stream));
	close_both();
	server_protocol = "\x8http/1.1";
	open_both(&identity, "account.example");
	assert_false(shake_hands());
	assert_failed(TLS_NO_HTTP2, "alert no application protocol");
	free_identity(&identity);
}

static void
an_old_version_is_refused(void **state)
{
	Identity identity = issue(&ca, "x", "DNS:account.example", -DAY, DAY);

	(void) state;
	server_context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(server_context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(server_context, TLS1_1_VERSION);
	SSL_CTX_set_cipher_list(server_context, "DEFAULT@SECLEVEL=0");
	open_both(&identity, "account.example");
	assert_false(shake_hands());
	assert_failed(TLS_BROKEN, "protocol version");
	free_identity(&identity);
}

static void
what_is_no_tls_is_called_so(void **state)
{
	static const struct
	{
		const char *bytes;
		size_t size;
	} words[] = {
		{"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\0\xff\xff\0\5\0\0\x40\0", 27},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", 28},
		{"220 ready\r\n", 11},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		open_both(NULL, "account.example");
		assert_int_equal(tls_stream_handshake(stream), -1);
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(write(sockets[1], words[i].bytes, words[i].size), words[i].size);
		assert_int_equal(tls_stream_handshake(stream), -1);
		assert_int_equal(errno, EPROTO);
		assert_failed(TLS_PLAINTEXT, "does not speak TLS");
		/* And so it stays. */
		assert_int_equal(tls_stream_handshake(stream), -1);
		assert_int_equal(errno, EPROTO);
		close_both();
	}
}

static void
a_server_that_vanishes_ends_the_handshake(void **state)
{
	Identity identity = issue(&ca, "x", "DNS:account.example", -DAY, DAY);

	(void) state;
	/* At once, and when it has said a part. */
	for (int step = 0; step < 2; step++)
	{
		open_both(&identity, "account.example");
		assert_int_equal(tls_stream_handshake(stream), -1);
		if (step == 1)
		{
			uint8_t hello[200];

			assert_int_equal(read(sockets[1], hello, 5), 5);
			assert_int_equal(hello[0], 22);
			assert_int_equal(write(sockets[1], "\x16\3\3\0\x7a\2\0", 7), 7);
		}
		/* What is read to the end makes the end a clean one. */
		while (read(sockets[1], large, sizeof(large)) > 0)
			;
		assert_int_equal(shutdown(sockets[1], SHUT_RDWR), 0);
		assert_int_equal(tls_stream_handshake(stream), -1);
		assert_int_equal(errno, EPROTO);
		assert_failed(TLS_INTERRUPTED, "within the TLS handshake");
		close_both();
	}
	free_identity(&identity);
}

/* Tests: data ---------------------------------------------------------------------------------- */

/* What the socket takes of |large|, from |sent| on; out of memory that moves, as a buffer does that
 * is compacted. */
static size_t
write_large(size_t sent)
{
	size_t left = sizeof(large) - sent;
	uint8_t *copy = malloc(left + 1);
	ssize_t written;

	memcpy(copy, large + sent, left);
	written = left == 0 ? 0 : tls_stream_write(stream, copy, left);
	free(copy);
	if (written >= 0)
		return (size_t) written;
	assert_int_equal(errno, EAGAIN);
	assert_true(tls_stream_is_blocked(stream));
	return 0;
}

static void
much_is_written_in_parts_that_follow_each_other(void **state)
{
	static uint8_t received[LARGE_SIZE];
	size_t sent = 0;
	size_t taken = 0;
	int blocked_count = 0;

	(void) state;
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (uint8_t) (i * 7 + i / 251);
	connect_both();
	while (taken < sizeof(large))
	{
		size_t size;

		while ((size = write_large(sent)) > 0)
			sent += size;
		blocked_count += sent < sizeof(large);
		while (SSL_read_ex(server, received + taken, sizeof(received) - taken, &size) == 1)
			taken += size;
	}
	assert_int_equal(sent, sizeof(large));
	assert_true(blocked_count > 0);
	assert_memory_equal(received, large, sizeof(large));
}

/* The peer wants new keys while it takes nothing: its data can be read, and ours goes on later. */
static void
keys_are_renewed_while_nothing_can_be_written(void **state)
{
	static uint8_t data[2 * TLS_STREAM_RECORD_SIZE];
	size_t sent = 0;
	size_t taken = 0;
	size_t size;

	(void) state;
	connect_both();
	while ((size = write_large(sent)) > 0)
		sent += size;
	assert_true(sent < sizeof(large));
	assert_int_equal(SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_write_ex(server, "one", 3, &size), 1);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), 3);
	while (taken < sizeof(large))
	{
		while ((size = write_large(sent)) > 0)
			sent += size;
		while (SSL_read_ex(server, data, sizeof(data), &size) == 1)
			taken += size;
	}
	assert_int_equal(taken, sizeof(large));
	assert_int_equal(SSL_write_ex(server, "two", 3, &size), 1);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), 3);
}

static void
everything_of_a_record_is_read_at_once(void **state)
{
	static uint8_t data[2 * TLS_STREAM_RECORD_SIZE];
	size_t written;

	(void) state;
	connect_both();
	assert_int_equal(SSL_write_ex(server, large, TLS_STREAM_RECORD_SIZE, &written), 1);
	assert_int_equal(SSL_write_ex(server, "next", 4, &written), 1);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), TLS_STREAM_RECORD_SIZE);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), 4);
	assert_memory_equal(data, "next", 4);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(tls_stream_is_blocked(stream));
}

static void
keys_are_renewed_on_request_and_renegotiation_is_refused(void **state)
{
	uint8_t data[16];
	size_t size;

	(void) state;
	connect_both();
	assert_int_equal(SSL_version(server), TLS1_3_VERSION);
	assert_int_equal(SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_write_ex(server, "one", 3, &size), 1);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), 3);
	assert_int_equal(tls_stream_write(stream, (const uint8_t *) "two", 3), 3);
	assert_int_equal(SSL_read_ex(server, data, sizeof(data), &size), 1);
	assert_memory_equal(data, "two", 3);
	close_both();

	server_context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_max_proto_version(server_context, TLS1_2_VERSION);
	connect_both();
	assert_int_equal(SSL_renegotiate(server), 1);
	assert_int_equal(SSL_do_handshake(server), 1);
	assert_int_equal(tls_stream_read(stream, data, sizeof(data)), -1);
	assert_int_equal(errno, EAGAIN);
	ERR_clear_error();
	assert_int_equal(SSL_read_ex(server, data, sizeof(data), &size), 0);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
}

static void
the_end_is_told_and_heard_with_or_without_a_word(void **state)
{
	uint8_t byte;
	size_t size;

	(void) state;
	connect_both();
	tls_stream_close(stream);
	assert_int_equal(SSL_read_ex(server, &byte, 1, &size), 0);
	assert_int_equal(SSL_get_error(server, 0), SSL_ERROR_ZERO_RETURN);
	close_both();

	connect_both();
	(void) SSL_shutdown(server);
	assert_int_equal(tls_stream_read(stream, &byte, 1), 0);
	close_both();

	connect_both();
	assert_int_equal(shutdown(sockets[1], SHUT_RDWR), 0);
	assert_int_equal(tls_stream_read(stream, &byte, 1), 0);
	tls_stream_close(stream);
}

static void
what_was_forged_ends_the_connection(void **state)
{
	static const uint8_t record[] = {23, 3,  3,  0,  32, 1,  2,  3,  4,  5,  6,  7,  8,
									 9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
									 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
	uint8_t byte;

	(void) state;
	connect_both();
	assert_int_equal(write(sockets[1], record, sizeof(record)), sizeof(record));
	assert_int_equal(tls_stream_read(stream, &byte, 1), -1);
	assert_int_equal(errno, EPROTO);
	assert_failed(TLS_BROKEN, "bad record mac");
	assert_int_equal(tls_stream_read(stream, &byte, 1), -1);
	assert_int_equal(errno, EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_h2_there_is_no_connection),
		TEST(an_old_version_is_refused),
		TEST(what_is_no_tls_is_called_so),
		TEST(a_server_that_vanishes_ends_the_handshake),
		TEST(much_is_written_in_parts_that_follow_each_other),
		TEST(keys_are_renewed_while_nothing_can_be_written),
		TEST(everything_of_a_record_is_read_at_once),
		TEST(keys_are_renewed_on_request_and_renegotiation_is_refused),
		TEST(the_end_is_told_and_heard_with_or_without_a_word),
		TEST(what_was_forged_ends_the_connection),
	};

	return cmocka_run_group_tests_name("tls_stream", tests, NULL, NULL);
}
