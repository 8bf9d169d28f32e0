/*
 * channel_fake.h
 *		A channel for tests of what calls through it: it keeps what it was asked to send, and an
 *		attempt ends when the test says so.
 *
 * It replaces net/channel: a test that includes this is linked without it. Include it after the
 * module under test.
 */
#ifndef CHANNEL_FAKE_H
#define CHANNEL_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "net/channel.h"

#define SENT_MAX 512
#define WAIT_US (5 * CLOCK_SECOND)

/* Attempts, in the order in which they were made. */
static struct
{
	ChannelCallback callback; /* NULL: it has ended */
	void *context;
	char path[80];
	char correlation_id[32];
	uint8_t message[256];
	size_t size;
	int64_t timeout_us;
	int avoid;
	bool is_cancelled;
} sent[SENT_MAX];
static int sent_count;

/* Set by the test: whether there is a second endpoint, and whether no endpoint takes calls yet. */
static bool has_other;
static bool is_waiting;

/* Nothing was sent; one endpoint, which takes calls. */
static void
channel_fake_reset(void)
{
	memset(sent, 0, sizeof(sent));
	sent_count = 0;
	has_other = false;
	is_waiting = false;
}

/* Notes the attempt. */
ChannelCall *
channel_call(Channel *channel, const ChannelRequest *request, ChannelCallback callback,
			 void *context)
{
	(void) channel;
	assert_true(sent_count < SENT_MAX);
	assert_true(request->timeout_us > 0);
	assert_true(request->size <= sizeof(sent[0].message));
	assert_true(strlen(request->path) < sizeof(sent[0].path));
	assert_true(strlen(request->correlation_id) < sizeof(sent[0].correlation_id));
	memset(&sent[sent_count], 0, sizeof(sent[0]));
	sent[sent_count].callback = callback;
	sent[sent_count].context = context;
	strcpy(sent[sent_count].path, request->path);
	strcpy(sent[sent_count].correlation_id, request->correlation_id);
	memcpy(sent[sent_count].message, request->message, request->size);
	sent[sent_count].size = request->size;
	sent[sent_count].timeout_us = request->timeout_us;
	sent[sent_count].avoid = request->avoid;
	return (ChannelCall *) &sent[sent_count++];
}

/* The number of an attempt that is under way. */
static int
number_of(const ChannelCall *call)
{
	int number = 0;

	while (number < sent_count && (const ChannelCall *) &sent[number] != call)
		number++;
	assert_true(number < sent_count);
	assert_non_null(sent[number].callback);
	return number;
}

/* Ends an attempt that must be under way; no callback. */
void
channel_cancel(ChannelCall *call)
{
	int number = number_of(call);

	sent[number].callback = NULL;
	sent[number].is_cancelled = true;
}

/* First attempts go to endpoint 0. */
int
channel_call_endpoint(const ChannelCall *call)
{
	(void) number_of(call);
	return is_waiting ? -1 : 0;
}

/* As the test has set it. */
bool
channel_has_other(const Channel *channel, int avoid)
{
	(void) channel;
	assert_int_equal(avoid, 0);
	return has_other;
}

/* Ends an attempt. */
static void
end_attempt(int number, ChannelResult result)
{
	ChannelCallback callback = sent[number].callback;

	assert_true(number < sent_count);
	assert_non_null(callback);
	sent[number].callback = NULL;
	if (result.text == NULL)
		result.text = "";
	callback(sent[number].context, &result);
}

/* Nothing happens for so long, the loop included. */
static inline void
hold_up(int64_t for_us)
{
	int64_t end_us = clock_now_us() + for_us;

	while (clock_now_us() < end_us)
		;
}

/* Turns the loop until |*count| has reached |wanted|. */
static void
wait_for(Loop *loop, const int *count, int wanted)
{
	int64_t end_us = clock_now_us() + WAIT_US;

	while (*count < wanted && clock_now_us() < end_us)
		loop_turn(loop);
	assert_int_equal(*count, wanted);
}

#endif /* CHANNEL_FAKE_H */
