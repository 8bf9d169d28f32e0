/*
 * traffic.c
 *		What is counted about clients and their requests.
 */
#include "front/traffic.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"

/* The longest label is that of a method and a code. */
#define LABEL_SIZE 48

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

typedef struct MethodTraffic
{
	uint16_t service;
	uint16_t method;
	const char *name;
} MethodTraffic;

static const MethodTraffic methods[] = {
	{SERVICE_ORDER, ORDER_PLACE, "place"},   {SERVICE_ORDER, ORDER_CANCEL, "cancel"},
	{SERVICE_ORDER, ORDER_GET, "get"},       {SERVICE_ORDER, ORDER_LIST, "list"},
	{SERVICE_AUTH, AUTH_LOGIN, "login"},     {SERVICE_AUTH, AUTH_LOGOUT, "logout"},
	{SERVICE_CONTROL, CONTROL_PING, "ping"},
};

/* The methods, and one for all that do not exist. */
#define METHOD_COUNT (COUNT_OF(methods) + 1)

static const int codes[] = {
#define CODE_NUMBER(code, name, grpc, repeat) (code),
	CODE_TABLE(CODE_NUMBER)
#undef CODE_NUMBER
};

static const char *const end_names[] = {
#define END_NAME(name, label) label,
	END_TABLE(END_NAME)
#undef END_NAME
};

static const char *const turn_away_names[] = {
#define TURN_AWAY_NAME(name, label) label,
	TURN_AWAY_TABLE(TURN_AWAY_NAME)
#undef TURN_AWAY_NAME
};

static const Reason refusals[] = {REASON_TOO_MANY_IN_FLIGHT, REASON_OVERLOADED,
								  REASON_SHUTTING_DOWN};

static const FrameError frame_errors[] = {FRAME_ERROR_DECODE, FRAME_ERROR_VERSION,
										  FRAME_ERROR_LENGTH};

static MetricsGauge connections;
static MetricsGauge requests_in_flight;
static MetricsCounter connects;
static MetricsCounter pauses;
static MetricsCounter disconnects[COUNT_OF(end_names)];
static MetricsCounter turned_away[COUNT_OF(turn_away_names)];
static MetricsCounter requests[METHOD_COUNT][COUNT_OF(codes)];
static MetricsHistogram request_seconds[METHOD_COUNT];
static MetricsCounter refused[COUNT_OF(refusals)];
static MetricsCounter refused_frames[COUNT_OF(frame_errors)];

/* Metrics keep their labels, so these live as long as the process. */
static char disconnect_labels[COUNT_OF(end_names)][LABEL_SIZE];
static char turned_away_labels[COUNT_OF(turn_away_names)][LABEL_SIZE];
static char request_labels[METHOD_COUNT][COUNT_OF(codes)][LABEL_SIZE];
static char method_labels[METHOD_COUNT][LABEL_SIZE];
static char refused_labels[COUNT_OF(refusals)][LABEL_SIZE];
static char refused_frame_labels[COUNT_OF(frame_errors)][LABEL_SIZE];

static void
init_connections(void)
{
	metrics_gauge_init(&connections, "client_connections", NULL, "Open client connections.");
	metrics_counter_init(&connects, "client_connects_total", NULL, "Client connections accepted.");
	for (size_t i = 0; i < COUNT_OF(end_names); i++)
	{
		snprintf(disconnect_labels[i], LABEL_SIZE, "reason=\"%s\"", end_names[i]);
		metrics_counter_init(&disconnects[i], "client_disconnects_total", disconnect_labels[i],
							 "Client connections closed.");
	}
	for (size_t i = 0; i < COUNT_OF(turn_away_names); i++)
	{
		snprintf(turned_away_labels[i], LABEL_SIZE, "reason=\"%s\"", turn_away_names[i]);
		metrics_counter_init(&turned_away[i], "client_connections_refused_total",
							 turned_away_labels[i], "Client connections closed when they came.");
	}
	metrics_counter_init(&pauses, "client_pauses_total", NULL,
						 "Times reading from a client stopped because its answers waited.");
}

static void
init_requests(void)
{
	metrics_gauge_init(&requests_in_flight, "requests_in_flight", NULL,
					   "Requests read and not answered.");
	for (size_t i = 0; i < METHOD_COUNT; i++)
	{
		const char *name = i < COUNT_OF(methods) ? methods[i].name : "unknown";

		snprintf(method_labels[i], LABEL_SIZE, "method=\"%s\"", name);
		metrics_histogram_init(&request_seconds[i], "request_seconds", method_labels[i],
							   "Time from a request's last byte to its answer, in seconds.",
							   metrics_latency_bounds, metrics_latency_bound_count);
		for (size_t j = 0; j < COUNT_OF(codes); j++)
		{
			snprintf(request_labels[i][j], LABEL_SIZE, "method=\"%s\",code=\"%d\"", name, codes[j]);
			metrics_counter_init(&requests[i][j], "requests_total", request_labels[i][j],
								 "Requests answered.");
		}
	}
	for (size_t i = 0; i < COUNT_OF(refusals); i++)
	{
		snprintf(refused_labels[i], LABEL_SIZE, "reason=\"%s\"", reason_name(refusals[i]));
		metrics_counter_init(&refused[i], "requests_refused_total", refused_labels[i],
							 "Requests refused at a limit, before they were looked at.");
	}
	for (size_t i = 0; i < COUNT_OF(frame_errors); i++)
	{
		snprintf(refused_frame_labels[i], LABEL_SIZE, "code=\"%d\"", (int) frame_errors[i]);
		metrics_counter_init(&refused_frames[i], "frames_refused_total", refused_frame_labels[i],
							 "Frames that could not be understood.");
	}
}

void
traffic_init(void)
{
	init_connections();
	init_requests();
}

const char *
traffic_end_name(TrafficEnd end)
{
	return end_names[end];
}

void
traffic_connect(void)
{
	metrics_count(&connects);
	connections.value++;
}

void
traffic_disconnect(TrafficEnd end)
{
	metrics_count(&disconnects[end]);
	connections.value--;
}

void
traffic_turn_away(TrafficTurnAway why)
{
	metrics_count(&turned_away[why]);
}

void
traffic_begin(void)
{
	requests_in_flight.value++;
}

/* The place of a method in the tables; the last one when there is no such method. */
static size_t
method_index(uint16_t service, uint16_t method)
{
	size_t i = 0;

	while (i < COUNT_OF(methods) && (methods[i].service != service || methods[i].method != method))
		i++;
	return i;
}

/* A code that is not in the table can only come from a newer extension: it counts as internal. */
static void
count_request(size_t method, int code)
{
	int known = reason_code_name(code) != NULL ? code : CODE_INTERNAL;
	size_t i = 0;

	while (codes[i] != known)
		i++;
	metrics_count(&requests[method][i]);
}

void
traffic_answer(uint16_t service, uint16_t method, int code, int64_t elapsed_us)
{
	size_t i = method_index(service, method);

	requests_in_flight.value--;
	count_request(i, code);
	metrics_observe(&request_seconds[i], (double) elapsed_us / CLOCK_SECOND);
}

void
traffic_refuse(uint16_t service, uint16_t method, Reason reason)
{
	size_t i = 0;

	while (i < COUNT_OF(refusals) && refusals[i] != reason)
		i++;
	assert(i < COUNT_OF(refusals));
	metrics_count(&refused[i]);
	count_request(method_index(service, method), (int) reason_code(reason));
}

void
traffic_refuse_frame(FrameError error)
{
	size_t i = 0;

	while (i < COUNT_OF(frame_errors) && frame_errors[i] != error)
		i++;
	assert(i < COUNT_OF(frame_errors));
	metrics_count(&refused_frames[i]);
}

void
traffic_pause(void)
{
	metrics_count(&pauses);
}
