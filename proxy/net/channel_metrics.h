/*
 * channel_metrics.h
 *		What channels and their endpoints count.
 */
#ifndef CHANNEL_METRICS_H
#define CHANNEL_METRICS_H

#include "base/metrics.h"
#include "net/grpc.h"
#include "net/link.h"

typedef struct ChannelMetrics
{
	MetricsCounter attempts_started;
	MetricsCounter attempts[GRPC_STATUS_COUNT]; /* by status */
	MetricsCounter unprocessed;
	MetricsCounter waiting_refused; /* CHANNEL_WAITING_MAX */
	MetricsCounter too_large;       /* GRPC_MESSAGE_BYTES_MAX, GRPC_HEADER_BYTES_MAX */
	MetricsHistogram attempt_seconds;
	MetricsCounter doubts;
	MetricsCounter connections;
	MetricsCounter connect_failures;
	MetricsCounter losses[LINK_LOSS_COUNT];       /* by reason */
	MetricsCounter tls_failures[TLS_CAUSE_COUNT]; /* by cause */
	MetricsCounter tls_files_refused;             /* replaced by some that cannot be used */
	MetricsCounter goaways;
	MetricsCounter pings;
	MetricsCounter too_many_pings;    /* GOAWAYs for them */
	MetricsCounter used_up;           /* HTTP2_STREAM_ID_MAX */
	MetricsCounter endpoints_refused; /* ENDPOINTS_MAX */
	MetricsGauge endpoints;
	MetricsGauge endpoints_ready;
} ChannelMetrics;

extern ChannelMetrics channel_metrics;

/* Registers them; again is harmless. */
extern void channel_metrics_init(void);

#endif /* CHANNEL_METRICS_H */
