/*
 * client.c
 *		Client connections.
 *
 * DESIGN	A client is OPEN while requests are read, ENDING while it is still owed answers,
 *			LINGERING once all were written, until the peer has closed too, and then CLOSED. It is
 *			freed at the end of the turn: whoever is at work on it may find it closed, but finds it.
 *
 *			All clients read into one buffer of the group, and frames are handed on out of it. The
 *			answers of a turn gather and go out as one system call at its end.
 *
 * LIMITS	READS_PER_TURN_MAX reads a turn, so that one busy client does not keep others waiting.
 *			Answers of at most output_bytes_max wait, though a single one always may: beyond, the
 *			client is reset. From half of it on nothing is read, and what is read at once is small
 *			enough that its refusals fit into the other half: only answers to requests under way
 *			can take a client there. One that stays between the two and takes nothing is reset too.
 *			At most connection_in_flight_max requests under way, in_flight_max of all clients.
 *
 * FAILURE	A client that is gone takes its answers with it, nothing else: its requests run to their
 *			end. A broken frame is answered, and what follows it is not looked at, but taken from
 *			the socket: closing a socket with unread input resets the connection, and the peer
 *			would lose the answer.
 */
#include "front/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "front/correlation.h"
#include "front/output.h"
#include "front/port.h"
#include "front/reader.h"
#include "front/traffic.h"
#include "order/message.h"

struct ClientGroup
{
	Loop *loop;
	Flow *flow;
	const Config *config;
	Correlation *correlation;
	uint8_t *input; /* for whoever reads */
	size_t input_size;
	bool is_draining;
	int count;         /* not CLOSED */
	int writing_count; /* of them, with output */
	LIST_HEAD(, Client) clients;
};

typedef enum ClientState
{
	CLIENT_OPEN,
	CLIENT_ENDING,
	CLIENT_LINGERING,
	CLIENT_CLOSED,
} ClientState;

typedef struct Client
{
	LIST_ENTRY(Client) link;
	ClientGroup *group;
	Session *session;
	CorrelationOwner requests;
	Reader reader;
	Output output;
	LoopEvent readable;
	LoopEvent writable;
	LoopEvent timer;
	LoopTask task; /* writes the answers of the turn, or frees a client that is CLOSED */
	int descriptor;
	ClientState state;
	TrafficEnd end;            /* once it is not OPEN */
	bool is_peer_done;         /* nothing more will come from it */
	bool is_paused;            /* not read because its answers wait */
	int64_t frame_started_us;  /* when the incomplete frame began to come */
	int64_t written_us;        /* when output last moved, or began to wait */
	int64_t end_deadline_us;   /* ENDING and LINGERING end by then */
	int64_t timer_deadline_us; /* of |timer|, 0 when it does not run */
	char peer[PORT_TEXT_SIZE];
} Client;

static void settle(Client *client);

/* Beginning and end ---------------------------------------------------------------------------- */

/* Closes the connection now, whatever it is owed. */
static void
close_now(Client *client, TrafficEnd end, const char *detail)
{
	bool is_usual = end == TRAFFIC_END_CLIENT || end == TRAFFIC_END_SHUTDOWN;
	struct linger reset = {.l_onoff = 1, .l_linger = 0};

	assert(client->state != CLIENT_CLOSED);
	client->end = end;
	log_event(is_usual ? LOG_DEBUG : LOG_INFO, "client disconnected",
			  LOG_TEXT("peer", client->peer), LOG_TEXT("reason", traffic_end_name(end)),
			  LOG_TEXT("detail", detail), LOG_NUMBER("in_flight", client->requests.count),
			  LOG_NUMBER("unsent_bytes", (int64_t) output_size(&client->output)));
	traffic_disconnect(end);
	client->group->count--;
	if (output_size(&client->output) > 0)
	{
		client->group->writing_count--;
		output_clear(&client->output);
	}
	correlation_detach(&client->requests);
	loop_event_remove(&client->readable);
	loop_event_remove(&client->writable);
	loop_event_remove(&client->timer);

	/* What the peer does not take must not stay with the system either. */
	if (end == TRAFFIC_END_OUTPUT_LIMIT || end == TRAFFIC_END_OUTPUT_STALLED)
		setsockopt(client->descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(client->descriptor);
	client->state = CLIENT_CLOSED;
	loop_defer(&client->task);
}

static void
free_client(Client *client)
{
	assert(client->state == CLIENT_CLOSED);
	loop_task_cancel(&client->task);
	LIST_REMOVE(client, link);
	flow_session_close(client->session);
	reader_free(&client->reader);
	output_free(&client->output);
	free(client);
}

/* Nothing more is read as a request; the connection closes when all answers are given. */
static void
begin_end(Client *client, TrafficEnd end, int64_t deadline_us)
{
	assert(client->state == CLIENT_OPEN);
	client->state = CLIENT_ENDING;
	client->end = end;
	client->end_deadline_us = deadline_us;
	loop_event_remove(&client->readable);
}

/* Everything was written: says so to the peer and waits until it closes too. */
static void
begin_linger(Client *client)
{
	assert(client->state == CLIENT_ENDING);
	if (shutdown(client->descriptor, SHUT_WR) < 0)
	{
		close_now(client, client->end, strerror(errno));
		return;
	}
	client->state = CLIENT_LINGERING;
	client->end_deadline_us = loop_now_us(client->group->loop) + CLOSE_LINGER_MS * CLOCK_MS;
	loop_event_add(&client->readable, LOOP_FOREVER);
}

/* Answers -------------------------------------------------------------------------------------- */

/* Queues the answer to a request; it is written at the end of the turn. */
static void
send_answer(Client *client, const FrameHeader *request, const FlowAnswer *answer)
{
	FrameHeader header = {.type = FRAME_RESPONSE,
						  .service = request->service,
						  .method = request->method,
						  .flags = answer->is_error ? FRAME_FLAG_ERROR : 0,
						  .correlation_id = request->correlation_id,
						  .payload_length = (uint32_t) answer->size};
	uint8_t bytes[FRAME_HEADER_SIZE];
	size_t waiting = output_size(&client->output);
	size_t limit = (size_t) client->group->config->output_bytes_max;

	assert(answer->size <= FRAME_PAYLOAD_MAX);
	if (waiting > 0 && (waiting > limit || FRAME_HEADER_SIZE + answer->size > limit - waiting))
	{
		close_now(client, TRAFFIC_END_OUTPUT_LIMIT, "answers are not read");
		return;
	}
	frame_encode(&header, bytes);
	output_append(&client->output, bytes, sizeof(bytes));
	output_append(&client->output, answer->payload, answer->size);
	if (waiting == 0)
	{
		client->group->writing_count++;
		client->written_us = loop_now_us(client->group->loop);
	}
	if (!loop_event_is_added(&client->writable))
		loop_defer(&client->task);
}

/* The flow has the answer to a request, perhaps from within flow_submit(). */
static void
on_answer(void *ticket, const FlowAnswer *answer)
{
	CorrelationRequest request = correlation_close(ticket);
	FrameHeader header = {.service = request.service,
						  .method = request.method,
						  .correlation_id = request.correlation_id};

	traffic_answer(request.service, request.method, answer->code,
				   clock_now_us() - request.started_us);
	if (request.owner != NULL)
		send_answer(request.owner->context, &header, answer);
}

/* Writes what the socket takes. */
static void
flush(Client *client)
{
	ssize_t written = 0;

	if (output_size(&client->output) > 0)
		written = output_write(&client->output, client->descriptor);
	if (written < 0)
	{
		close_now(client, client->is_peer_done ? client->end : TRAFFIC_END_LOST, strerror(errno));
		return;
	}
	if (written > 0)
	{
		client->written_us = loop_now_us(client->group->loop);
		client->group->writing_count -= output_size(&client->output) == 0;
	}
	if (output_size(&client->output) > 0)
		loop_event_add(&client->writable, LOOP_FOREVER);
	else
		loop_event_remove(&client->writable);
	settle(client);
}

static void
on_writable(void *context, short what)
{
	(void) what;
	flush(context);
}

static void
at_end_of_turn(void *context)
{
	Client *client = context;

	if (client->state == CLIENT_CLOSED)
		free_client(client);
	else
		flush(client);
}

/* Requests ------------------------------------------------------------------------------------- */

static void
refuse(Client *client, const FrameHeader *request, Reason reason)
{
	uint8_t payload[FLOW_REFUSAL_SIZE];
	FlowAnswer answer = flow_refusal(reason, payload);

	traffic_refuse(request->service, request->method, reason);
	send_answer(client, request, &answer);
}

static void
take_request(Client *client, const ReaderFrame *frame)
{
	ClientGroup *group = client->group;
	FlowRequest request = {.session = client->session,
						   .service = frame->header.service,
						   .method = frame->header.method,
						   .correlation_id = frame->header.correlation_id,
						   .payload = frame->payload,
						   .size = frame->header.payload_length};
	void *ticket;

	if (group->is_draining)
	{
		refuse(client, &frame->header, REASON_SHUTTING_DOWN);
		return;
	}
	if (client->requests.count >= group->config->connection_in_flight_max)
	{
		refuse(client, &frame->header, REASON_TOO_MANY_IN_FLIGHT);
		return;
	}
	ticket =
		correlation_open(group->correlation, &client->requests, &frame->header, clock_now_us());
	if (ticket == NULL)
	{
		refuse(client, &frame->header, REASON_OVERLOADED);
		return;
	}
	traffic_begin();
	flow_submit(group->flow, &request, on_answer, ticket);
}

/* Answers a broken frame, the last thing this client is told unless answers are owed. */
static void
refuse_frame(Client *client, const ReaderFrame *frame)
{
	Bytes payload = {0};
	FlowAnswer answer = {.is_error = true};

	traffic_refuse_frame(frame->error);
	message_encode_frame_error(&payload, frame->error);
	answer.payload = payload.data;
	answer.size = payload.size;
	send_answer(client, &frame->header, &answer);
	bytes_free(&payload);
	if (client->state == CLIENT_OPEN)
		begin_end(client, TRAFFIC_END_BAD_FRAME,
				  loop_now_us(client->group->loop) + CLOSE_ANSWERS_MS * CLOCK_MS);
}

/* Hands on all requests that are complete with these bytes. Stops when the client was closed. */
static void
take_input(Client *client, const uint8_t *data, size_t size)
{
	bool was_empty = reader_is_empty(&client->reader);
	ReaderFrame frame;

	while (client->state == CLIENT_OPEN)
	{
		ReaderResult result = reader_next(&client->reader, &data, &size, &frame);

		if (result == READER_IS_BROKEN)
			refuse_frame(client, &frame);
		if (result != READER_HAS_FRAME)
			break;
		take_request(client, &frame);
		was_empty = true;
	}
	if (was_empty)
		client->frame_started_us = loop_now_us(client->group->loop);
}

/* The peer will send nothing more; it may still read. */
static void
take_end_of_input(Client *client)
{
	client->is_peer_done = true;
	if (client->state == CLIENT_LINGERING)
		close_now(client, client->end, "end of input");
	else
		begin_end(client, TRAFFIC_END_CLIENT, 0);
}

/* Reads once; returns whether there may be more. */
static bool
read_input(Client *client)
{
	uint8_t *input = client->group->input;
	ssize_t size = recv(client->descriptor, input, client->group->input_size, 0);

	if (size < 0 && errno != EAGAIN && errno != EINTR)
		close_now(client, client->state == CLIENT_OPEN ? TRAFFIC_END_LOST : client->end,
				  strerror(errno));
	else if (size == 0)
		take_end_of_input(client);
	else if (size > 0 && client->state == CLIENT_OPEN)
		take_input(client, input, (size_t) size);
	return size == (ssize_t) client->group->input_size &&
		   (client->state == CLIENT_OPEN || client->state == CLIENT_LINGERING);
}

/* Whether so many answers wait that no further request should be taken. */
static bool
is_congested(const Client *client)
{
	return output_size(&client->output) > (size_t) client->group->config->output_bytes_max / 2;
}

static void
read_all(Client *client)
{
	for (int i = 0; i < READS_PER_TURN_MAX; i++)
	{
		if (is_congested(client) || !read_input(client))
			break;
	}
	if (client->state != CLIENT_CLOSED)
		settle(client);
}

static void
on_readable(void *context, short what)
{
	(void) what;
	read_all(context);
}

/* What follows from the state ------------------------------------------------------------------ */

static void
pause_or_resume(Client *client)
{
	bool is_paused = is_congested(client);

	if (client->state != CLIENT_OPEN || is_paused == client->is_paused)
		return;
	client->is_paused = is_paused;
	if (is_paused)
	{
		traffic_pause();
		loop_event_remove(&client->readable);
		return;
	}

	/* An incomplete frame could not go on meanwhile: its time begins anew. */
	client->frame_started_us = loop_now_us(client->group->loop);
	loop_event_add(&client->readable, LOOP_FOREVER);
}

/* How long a client may take nothing of its answers. */
static int64_t
stall_limit_us(const Client *client)
{
	int64_t limit_us = client->group->config->frame_timeout_us;

	return is_congested(client) && limit_us > OUTPUT_STALL_MS * CLOCK_MS
			   ? OUTPUT_STALL_MS * CLOCK_MS
			   : limit_us;
}

/* When the client will have to be closed if nothing happens, and as what; 0: never. */
static int64_t
next_deadline(const Client *client, TrafficEnd *end)
{
	int64_t deadline_us = 0;

	if (client->state == CLIENT_OPEN && !client->is_paused && !reader_is_empty(&client->reader))
	{
		deadline_us = client->frame_started_us + client->group->config->frame_timeout_us;
		*end = TRAFFIC_END_FRAME_TIMEOUT;
	}
	if (client->state != CLIENT_OPEN && client->end_deadline_us != 0)
	{
		deadline_us = client->end_deadline_us;
		*end = client->end;
	}
	if (output_size(&client->output) > 0)
	{
		int64_t stalled_us = client->written_us + stall_limit_us(client);

		if (deadline_us == 0 || stalled_us < deadline_us)
		{
			deadline_us = stalled_us;
			*end = is_congested(client) ? TRAFFIC_END_OUTPUT_LIMIT : TRAFFIC_END_OUTPUT_STALLED;
		}
	}
	return deadline_us;
}

/* A timer that runs is left alone when it ends early enough: most deadlines pass away unmet. */
static void
set_timer(Client *client)
{
	TrafficEnd end;
	int64_t now_us = loop_now_us(client->group->loop);
	int64_t deadline_us = next_deadline(client, &end);

	if (deadline_us == 0 ||
		(client->timer_deadline_us != 0 && client->timer_deadline_us <= deadline_us))
		return;
	client->timer_deadline_us = deadline_us;
	loop_event_add(&client->timer, deadline_us > now_us ? deadline_us - now_us : 0);
}

static void
on_timer(void *context, short what)
{
	Client *client = context;
	TrafficEnd end;
	int64_t deadline_us = next_deadline(client, &end);

	(void) what;
	client->timer_deadline_us = 0;
	if (deadline_us != 0 && deadline_us <= loop_now_us(client->group->loop))
		close_now(client, end, "time is over");
	else
		set_timer(client);
}

/* Called whenever something was read or written: takes the step that is due, if any. */
static void
settle(Client *client)
{
	bool is_owed = client->requests.count > 0 || output_size(&client->output) > 0;

	if (client->state == CLIENT_OPEN && client->group->is_draining && !is_owed &&
		reader_is_empty(&client->reader))
		begin_end(client, TRAFFIC_END_SHUTDOWN, 0);
	if (client->state == CLIENT_ENDING && !is_owed)
	{
		if (client->is_peer_done)
			close_now(client, client->end, "end of input");
		else
			begin_linger(client);
	}
	if (client->state == CLIENT_CLOSED)
		return;
	pause_or_resume(client);
	set_timer(client);
}

/* The group ------------------------------------------------------------------------------------ */

void
client_open(ClientGroup *group, int descriptor, const char *peer)
{
	Client *client = bytes_new_zeroed(1, sizeof(*client));

	client->group = group;
	client->descriptor = descriptor;
	client->state = CLIENT_OPEN;
	client->session = flow_session_open(group->flow);
	output_init(&client->output);
	snprintf(client->peer, sizeof(client->peer), "%s", peer);
	correlation_owner_init(&client->requests, client);
	reader_init(&client->reader);
	loop_event_init(&client->readable, group->loop, descriptor, EV_READ | EV_PERSIST, on_readable,
					client);
	loop_event_init(&client->writable, group->loop, descriptor, EV_WRITE | EV_PERSIST, on_writable,
					client);
	loop_event_init(&client->timer, group->loop, -1, 0, on_timer, client);
	loop_task_init(&client->task, group->loop, at_end_of_turn, client);
	loop_event_add(&client->readable, LOOP_FOREVER);
	LIST_INSERT_HEAD(&group->clients, client, link);
	group->count++;
	traffic_connect();
	log_event(LOG_DEBUG, "client connected", LOG_TEXT("peer", peer));
}

ClientGroup *
client_group_new(Loop *loop, Flow *flow, const Config *config)
{
	ClientGroup *group = bytes_new_zeroed(1, sizeof(*group));

	traffic_init();
	group->loop = loop;
	group->flow = flow;
	group->config = config;
	group->correlation = correlation_new(config->in_flight_max);
	group->input_size = (size_t) config->output_bytes_max / 2 / ANSWER_BYTES_PER_BYTE_MAX;
	if (group->input_size > READ_BYTES_MAX)
		group->input_size = READ_BYTES_MAX;
	group->input = bytes_new(group->input_size);
	LIST_INIT(&group->clients);
	return group;
}

void
client_group_free(ClientGroup *group)
{
	Client *client;

	while ((client = LIST_FIRST(&group->clients)) != NULL)
	{
		if (client->state != CLIENT_CLOSED)
			close_now(client, TRAFFIC_END_SHUTDOWN, "end of the process");
		free_client(client);
	}
	correlation_free(group->correlation);
	free(group->input);
	free(group);
}

void
client_group_drain(ClientGroup *group)
{
	Client *client;

	if (group->is_draining)
		return;
	group->is_draining = true;

	/* Requests that have arrived by now are refused in words, not by a closed connection. */
	LIST_FOREACH(client, &group->clients, link)
	{
		if (client->state == CLIENT_OPEN && !client->is_paused)
			read_all(client);
	}
}

ClientFigures
client_group_figures(const ClientGroup *group)
{
	return (ClientFigures){.is_draining = group->is_draining,
						   .connections = group->count,
						   .in_flight = correlation_count(group->correlation),
						   .writing = group->writing_count};
}
