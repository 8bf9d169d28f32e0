/*
 * channel_metrics.c
 *		What channels and their endpoints count.
 */
#include "net/channel_metrics.h"

ChannelMetrics channel_metrics;

static const char *const status_labels[] = {
	"status=\"OK\"",
	"status=\"CANCELLED\"",
	"status=\"UNKNOWN\"",
	"status=\"INVALID_ARGUMENT\"",
	"status=\"DEADLINE_EXCEEDED\"",
	"status=\"NOT_FOUND\"",
	"status=\"ALREADY_EXISTS\"",
	"status=\"PERMISSION_DENIED\"",
	"status=\"RESOURCE_EXHAUSTED\"",
	"status=\"FAILED_PRECONDITION\"",
	"status=\"ABORTED\"",
	"status=\"OUT_OF_RANGE\"",
	"status=\"UNIMPLEMENTED\"",
	"status=\"INTERNAL\"",
	"status=\"UNAVAILABLE\"",
	"status=\"DATA_LOSS\"",
	"status=\"UNAUTHENTICATED\"",
};

_Static_assert(sizeof(status_labels) / sizeof(status_labels[0]) == GRPC_STATUS_COUNT,
			   "every status has a label");

static const char *const loss_labels[] = {
	[LINK_CLOSED] = "reason=\"closed\"",   [LINK_SOCKET] = "reason=\"network\"",
	[LINK_BROKEN] = "reason=\"protocol\"", [LINK_SILENT] = "reason=\"silence\"",
	[LINK_DRAINED] = "reason=\"drained\"", [LINK_ABORTED] = "reason=\"aborted\"",
	[LINK_TLS] = "reason=\"tls\"",
};

_Static_assert(sizeof(loss_labels) / sizeof(loss_labels[0]) == LINK_LOSS_COUNT,
			   "every reason has a label");

static const char *const tls_labels[] = {
	[TLS_UNTRUSTED] = "cause=\"untrusted\"",
	[TLS_EXPIRED] = "cause=\"expired\"",
	[TLS_OTHER_NAME] = "cause=\"other_name\"",
	[TLS_UNFIT] = "cause=\"unfit\"",
	[TLS_NO_HTTP2] = "cause=\"no_http2\"",
	[TLS_REFUSED] = "cause=\"refused\"",
	[TLS_PLAINTEXT] = "cause=\"plaintext\"",
	[TLS_INTERRUPTED] = "cause=\"interrupted\"",
	[TLS_LATE] = "cause=\"late\"",
	[TLS_BROKEN] = "cause=\"broken\"",
};

_Static_assert(sizeof(tls_labels) / sizeof(tls_labels[0]) == TLS_CAUSE_COUNT,
			   "every cause has a label");

static void
init_calls(ChannelMetrics *metrics)
{
	metrics_counter_init(&metrics->attempts_started, "grpc_client_attempts_started_total", NULL,
						 "Calls handed to a channel.");
	for (int i = 0; i < GRPC_STATUS_COUNT; i++)
		metrics_counter_init(&metrics->attempts[i], "grpc_client_attempts_total", status_labels[i],
							 "Calls that ended, by status.");
	metrics_counter_init(&metrics->unprocessed, "grpc_client_attempts_unprocessed_total", NULL,
						 "Calls of them that certainly no server has acted on.");
	metrics_counter_init(&metrics->waiting_refused, "grpc_client_waiting_refused_total", NULL,
						 "Calls refused because too many waited for an endpoint.");
	metrics_counter_init(&metrics->too_large, "grpc_client_responses_too_large_total", NULL,
						 "Responses refused for the size of their message or headers.");
	metrics_histogram_init(&metrics->attempt_seconds, "grpc_client_attempt_seconds", NULL,
						   "Time from the call to its end, in seconds.", metrics_latency_bounds,
						   metrics_latency_bound_count);
}

static void
init_connections(ChannelMetrics *metrics)
{
	metrics_counter_init(&metrics->doubts, "grpc_client_endpoints_doubted_total", NULL,
						 "Times that an endpoint was passed over because it did not answer.");
	metrics_counter_init(&metrics->connections, "grpc_client_connections_opened_total", NULL,
						 "Connections that became ready for calls.");
	metrics_counter_init(&metrics->connect_failures, "grpc_client_connect_failures_total", NULL,
						 "Attempts to connect that failed.");
	for (int i = 0; i < LINK_LOSS_COUNT; i++)
		metrics_counter_init(&metrics->losses[i], "grpc_client_connections_lost_total",
							 loss_labels[i], "Connections that ended, by reason.");
	for (int i = 0; i < TLS_CAUSE_COUNT; i++)
		metrics_counter_init(&metrics->tls_failures[i], "grpc_client_tls_failures_total",
							 tls_labels[i], "Connections that TLS refused, by cause.");
	metrics_counter_init(&metrics->tls_files_refused, "grpc_client_tls_files_refused_total", NULL,
						 "Times that certificates were replaced by files that cannot be used.");
	metrics_counter_init(&metrics->goaways, "grpc_client_goaways_received_total", NULL,
						 "Connections that the server asked to leave.");
	metrics_counter_init(&metrics->pings, "grpc_client_pings_total", NULL,
						 "PINGs sent over a connection that was silent.");
	metrics_counter_init(&metrics->too_many_pings, "grpc_client_too_many_pings_total", NULL,
						 "Connections that a server ended because of PINGs.");
	metrics_counter_init(&metrics->used_up, "grpc_client_connections_used_up_total", NULL,
						 "Connections left because their stream ids were used up.");
	metrics_counter_init(&metrics->endpoints_refused, "grpc_client_endpoints_refused_total", NULL,
						 "Addresses not used because there were too many.");
	metrics_gauge_init(&metrics->endpoints, "grpc_client_endpoints", NULL,
					   "Addresses that are connected to, or tried to.");
	metrics_gauge_init(&metrics->endpoints_ready, "grpc_client_endpoints_ready", NULL,
					   "Addresses of them that take calls.");
}

void
channel_metrics_init(void)
{
	init_calls(&channel_metrics);
	init_connections(&channel_metrics);
}
