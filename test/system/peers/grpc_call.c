/*
 * grpc_call.c
 *		The proxy's gRPC client as a program, for gRPC's interoperability tests: any method, any
 *		message.
 *
 *	grpc-call HOST:PORT
 *
 * A line of standard input is a call: path, timeout in ms, after how many ms to give it up (0:
 * not), and the message in hexadecimal ("-": empty). They go over one channel, one after the other.
 * Each makes a line of output: status, its text and the reply in hexadecimal; "GIVEN_UP - -" for
 * one that was given up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/channel.h"

typedef struct CallProgram
{
	Loop *loop;
	Channel *channel;
	ChannelCall *call;
	LoopEvent give_up;
} CallProgram;

static void
print_hex(const char *separator, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	fputs(separator, stdout);
	if (size == 0)
		putchar('-');
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
}

static void
on_result(void *context, const ChannelResult *result)
{
	CallProgram *program = context;

	loop_event_remove(&program->give_up);
	fputs(grpc_status_name((int) result->status), stdout);
	print_hex(" ", result->text, strlen(result->text));
	print_hex(" ", result->reply, result->reply_size);
	putchar('\n');
	loop_stop(program->loop);
}

static void
on_give_up(void *context, short what)
{
	CallProgram *program = context;

	(void) what;
	channel_cancel(program->call);
	puts("GIVEN_UP - -");
	loop_stop(program->loop);
}

/* The message of a line; false when it is not hexadecimal. */
static bool
read_hex(const char *text, Bytes *message)
{
	if (strcmp(text, "-") == 0)
		return true;
	for (; text[0] != '\0'; text += 2)
	{
		char digits[3] = {text[0], text[1], '\0'};
		char *end;

		bytes_append_u8(message, (uint8_t) strtoul(digits, &end, 16));
		if (end != digits + 2)
			return false;
	}
	return true;
}

/* False when the line is none. */
static bool
run(CallProgram *program, char *line)
{
	const char *path = strtok(line, " \n");
	const char *timeout = strtok(NULL, " \n");
	const char *give_up = strtok(NULL, " \n");
	const char *hex = strtok(NULL, " \n");
	Bytes message = {0};
	ChannelRequest request = {.path = path, .avoid = -1};

	if (hex == NULL || !read_hex(hex, &message))
	{
		bytes_free(&message);
		return false;
	}
	request.message = message.data;
	request.size = message.size;
	request.timeout_us = strtoll(timeout, NULL, 10) * CLOCK_MS;
	program->call = channel_call(program->channel, &request, on_result, program);
	if (strcmp(give_up, "0") != 0)
		loop_event_add(&program->give_up, strtoll(give_up, NULL, 10) * CLOCK_MS);
	loop_run(program->loop);
	fflush(stdout);
	bytes_free(&message);
	return true;
}

int
main(int argc, char **argv)
{
	CallProgram program = {.loop = loop_new()};
	Dns *dns = dns_new(program.loop);
	ChannelOptions options = {.endpoints = argc == 2 ? argv[1] : ""};
	bool is_good;
	char *line = NULL;
	size_t size = 0;

	log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
	loop_event_init(&program.give_up, program.loop, -1, 0, on_give_up, &program);
	program.channel = channel_new(program.loop, dns, &options);
	is_good = program.channel != NULL;
	while (is_good && getline(&line, &size, stdin) != -1)
		is_good = run(&program, line);
	if (!is_good)
		fputs("usage: grpc-call HOST:PORT, and calls on standard input\n", stderr);
	free(line);
	if (program.channel != NULL)
		channel_free(program.channel);
	dns_free(dns);
	loop_free(program.loop);
	return is_good ? 0 : 1;
}
