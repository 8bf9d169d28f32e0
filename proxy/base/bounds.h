/*
 * bounds.h
 *		Every limit of the proxy and its clients, with the arithmetic behind it. What is a setting
 *		has its default and its range here; config.c reads them.
 */
#ifndef PROXY_BOUNDS_H
#define PROXY_BOUNDS_H

/* Client connections: 10,000 idle ones cost about 1 KB each. */
#define CONNECTIONS_DEFAULT 16384
#define CONNECTIONS_MIN 1
#define CONNECTIONS_MAX 1000000

/* Descriptors besides: the database, the Account service's endpoints, operators, name servers. */
#define DESCRIPTORS_BESIDE_CLIENTS 512

/* Requests read and not answered, of one connection and in all. */
#define CONNECTION_IN_FLIGHT_DEFAULT 1024
#define CONNECTION_IN_FLIGHT_MIN 1
#define CONNECTION_IN_FLIGHT_MAX 65536
#define IN_FLIGHT_DEFAULT 16384
#define IN_FLIGHT_MIN 1
#define IN_FLIGHT_MAX 1000000

/*
 * Answers a client has not read yet. Two frames of the largest size fit, so that a client that
 * reads slowly, but does read, is not cut off.
 */
#define OUTPUT_BYTES_DEFAULT (4 * 1024 * 1024)
#define OUTPUT_BYTES_MIN (64 * 1024)
#define OUTPUT_BYTES_MAX (256 * 1024 * 1024)

/* From a request's last byte to its answer, whatever happens (SPEC 6: 5 s to get a connection). */
#define REQUEST_TIMEOUT_MS_DEFAULT 5000
#define REQUEST_TIMEOUT_MS_MIN 100
#define REQUEST_TIMEOUT_MS_MAX 60000

/*
 * From a frame's first byte to its last: a sender that trickles is cut off (slow loris). So is a
 * client that takes not one byte of its answers for this long: it would hold their memory for as
 * long as it lives.
 */
#define FRAME_TIMEOUT_MS_DEFAULT 30000
#define FRAME_TIMEOUT_MS_MIN 100
#define FRAME_TIMEOUT_MS_MAX 600000

/*
 * What the callbacks of a turn of the event loop may take, and then its tasks, before the rest is
 * left to the next turn: some hundred requests, whose answers go out before more are read.
 */
#define TURN_MS_MAX 1

/*
 * One client's share of a turn. All clients share one buffer for reading: a client owns memory for
 * input only while a frame is incomplete.
 */
#define READ_BYTES_MAX (64 * 1024)
#define READS_PER_TURN_MAX 4

/*
 * From half of OUTPUT_BYTES on, a client is not read from until it has taken answers. If it takes
 * not one byte for this long, it will not, and is cut off.
 */
#define OUTPUT_STALL_MS 5000

/*
 * What one byte of requests can make us answer at once: a header of 24 bytes, an ErrorMessage of
 * some 600. Half of the default output, divided by this, is READ_BYTES_MAX.
 */
#define ANSWER_BYTES_PER_BYTE_MAX 32

/* Pieces of memory that one system call writes. */
#define WRITE_CHUNKS_MAX 64

/* A client that vanished without a word is noticed after two minutes. */
#define KEEPALIVE_IDLE_SECONDS 60
#define KEEPALIVE_INTERVAL_SECONDS 15
#define KEEPALIVE_COUNT 4

/* Waiting connections taken in one turn, and the pause when no descriptor or memory is left. */
#define ACCEPTS_PER_TURN_MAX 64
#define ACCEPT_PAUSE_MS 100

/* How long a connection that is to close may take to get its last answers, and then to read them:
 * closed with unread input, it would be reset, and they would be lost. */
#define CLOSE_ANSWERS_MS 5000
#define CLOSE_LINGER_MS 2000

/* Requests to the admin port: few and without a body, so this is for the headers. */
#define ADMIN_HEADER_BYTES_MAX 8192
#define ADMIN_BODY_BYTES_MAX 1024
#define ADMIN_TIMEOUT_SECONDS 5

/* How long SIGTERM says "not ready" before it refuses anything, and then waits for the rest. */
#define SHUTDOWN_NOTICE_MS_DEFAULT 0
#define SHUTDOWN_NOTICE_MS_MIN 0
#define SHUTDOWN_NOTICE_MS_MAX 600000
#define SHUTDOWN_GRACE_MS_DEFAULT 10000
#define SHUTDOWN_GRACE_MS_MIN 0
#define SHUTDOWN_GRACE_MS_MAX 600000
#define SHUTDOWN_LOOK_MS 10

/* Database connections of one proxy: few, because a batch shares one (SPEC 6 has 40 unbatched). */
#define POOL_CONNECTIONS_DEFAULT 4
#define POOL_CONNECTIONS_MIN 1
#define POOL_CONNECTIONS_MAX 200

/* Hosts of a connection string, and the options libpq knows (43 in version 15) with our own. */
#define PG_HOSTS_MAX 16
#define PG_OPTIONS_MAX 96

/* Parameters of a statement: receive_orders() has 8. */
#define PG_PARAMETERS_MAX 8

/* What is kept of a server's message, for the log. */
#define PG_MESSAGE_BYTES_MAX 256

/* Logins of a pool at the same time, and its pause after one that failed: it grows each time. */
#define PG_LOGINS_MAX 2
#define PG_PAUSE_MS_MIN 100
#define PG_PAUSE_MS_MAX 5000

/*
 * A call that is not answered by then is given up with its connection: twelve times what its
 * requests wait by default, so that a server that is merely slow is not asked twice. A read has the
 * writer to go to.
 */
#define PG_CALL_MS_MAX 60000
#define PG_READ_MS_MAX 1000

/*
 * While a call of the writer takes longer than this, another leader is looked for, as often: less
 * than half of what a request waits by default, so that it can still be carried out there.
 */
#define PG_DOUBT_MS 2000

/* Calls for which a lane of the backlog is passed over in favour of more urgent ones. */
#define BACKLOG_PASSES_MAX 4

/*
 * What all proxies together may open: SPEC 6 leaves 40 of the server's connections for operation,
 * backup and monitoring; most of the rest is the default.
 */
#define SERVER_CONNECTIONS_DEFAULT 100
#define SERVER_CONNECTIONS_MAX 100000
#define INSTANCES_DEFAULT 1
#define INSTANCES_MAX 1000

/* Life of a database connection (SPEC 6). */
#define CONNECT_TIMEOUT_MS_DEFAULT 5000
#define CONNECT_TIMEOUT_MS_MIN 100
#define CONNECT_TIMEOUT_MS_MAX 60000
#define IDLE_TIMEOUT_MS_DEFAULT (5 * 60000)
#define LIFETIME_MS_DEFAULT (30 * 60000)
#define CONNECTION_AGE_MS_MIN 1000
#define CONNECTION_AGE_MS_MAX (24 * 60 * 60000)

/* Items of one array call (the extension takes 4096). */
#define BATCH_ITEMS_DEFAULT 256
#define BATCH_ITEMS_MIN 1
#define BATCH_ITEMS_MAX 4096

/* Texts of a request; longer ones are refused before anything is asked (rules.c has the rest). */
#define KEY_BYTES_MAX 128
#define SYMBOL_BYTES_MAX 32
#define SESSION_ID_BYTES_MAX 256

/* One page of a list; the database is asked for one more, and gives at most 1000. */
#define LIST_ORDERS_DEFAULT 100
#define LIST_ORDERS_MAX 500

/*
 * How long a session is believed before the database is asked again: what a closed or expired one
 * may still do. And how many are kept, at about 150 bytes each.
 */
#define SESSION_TRUST_MS 10000
#define SESSION_CACHE_MAX 65536

/*
 * A reservation is settled even if its client has been answered: in attempts of so long, for so
 * long after the reservation. Then a resolver has taken the order.
 */
#define SETTLE_LATE_MS 1000
#define SETTLE_LATE_MS_MAX 30000

/* What a server without room was asked to settle is asked again after this. */
#define STORE_REST_MS 200

/*
 * Calls of orders that the writer has at a time as long as it answers each of them within this:
 * more would be smaller ones, and what waits goes together. Others go beside slower ones.
 */
#define STORE_PROMPT_CALLS 2
#define STORE_PROMPT_MS 20

/*
 * Connections of each pool that calls which go alone, reads above all, leave to those that gather;
 * one such call goes in any case, the others wait.
 */
#define STORE_KEPT_CONNECTIONS 2

/* The Account call (SPEC 3). */
#define ACCOUNT_ATTEMPT_MS_DEFAULT 50
#define ACCOUNT_OVERALL_MS_DEFAULT 90
#define ACCOUNT_RETRY_DELAY_MS_DEFAULT 10
#define ACCOUNT_RETRIES_DEFAULT 1
#define ACCOUNT_MS_MAX 60000
#define ACCOUNT_RETRIES_MAX 5

/*
 * Account's circuit breaker (SPEC 3): of the last 50 attempts 20 % have failed, so 30 s without a
 * call. The window is a set of bits, in words of 64.
 */
#define BREAKER_WINDOW_DEFAULT 50
#define BREAKER_WINDOW_MAX 16384
#define BREAKER_FAILURES_PERCENT_DEFAULT 20
#define BREAKER_OPEN_MS_DEFAULT 30000
#define BREAKER_OPEN_MS_MAX 3600000

/*
 * Attempts at Account under way at a time (SPEC 3): more would only wait there. Those that wait
 * here come in bursts of up to a batch from each connection of the database (4 * 256).
 */
#define ACCOUNT_CALLS_DEFAULT 128
#define ACCOUNT_CALLS_MAX 65536
#define ACCOUNT_WAITING_DEFAULT 1024
#define ACCOUNT_WAITING_MAX 1000000

/* For so long after an order's attempt has failed, calls for debts are paid from the budget. */
#define ACCOUNT_TROUBLE_MS 1000

/*
 * Retries (SPEC 3): 10 % of the calls of the last 10 s, seen in buckets of 1 s. Where this is less
 * than 3, three: else a proxy with few orders could never retry.
 */
#define RETRY_BUDGET_PERCENT_DEFAULT 10
#define BUDGET_WINDOW_MS 10000
#define BUDGET_BUCKETS 10
#define BUDGET_FLOOR 3

/*
 * A hedge: after the time that 95 % of the last calls did not exceed, which is known from the 96th
 * one on and looked for with every 32nd; but not sooner than a timer is exact, and not later than
 * half of an attempt's limit.
 */
#define HEDGE_PERCENT 95
#define HEDGE_MS_MIN 1
#define QUANTILE_SAMPLES 1024
#define QUANTILE_SAMPLES_MIN 96
#define QUANTILE_REFRESH 32

/*
 * The resolver looks for debts every second and works at 64 at a time; a call of the database may
 * take as long as an acquisition (SPEC 6). A lease is enough for two calls of Account and one of
 * the database, and short enough that what a dead proxy had taken on is done within 10 s.
 */
#define RESOLVER_INTERVAL_MS 1000
#define RESOLVER_DEBTS_MAX 64
#define RESOLVER_STORE_MS_MAX 5000
#define RESOLVER_LEASE_MS_DEFAULT 7000
#define RESOLVER_LEASE_MS_MIN 1000
#define RESOLVER_SECOND_RELEASE_MS_DEFAULT 60000
#define RESOLVER_MS_MAX (24 * 3600000)

/* Addresses behind one name, the time to find them, and endpoints in all. */
#define DNS_ADDRESSES_MAX 16
#define DNS_TIMEOUT_MS 5000
#define ENDPOINTS_MAX 64

/* An inbound gRPC message (SPEC 3), and a response's headers. */
#define GRPC_MESSAGE_BYTES_MAX 1048576
#define GRPC_HEADER_BYTES_MAX 8192

/*
 * An HTTP/2 connection. A message of the largest size fits a stream's window with its prefix, so
 * that it never waits for an update of the window; a connection's window has room for 16 of them.
 */
#define HTTP2_STREAM_WINDOW_BYTES (GRPC_MESSAGE_BYTES_MAX + 5)
#define HTTP2_CONNECTION_WINDOW_BYTES (16 * HTTP2_STREAM_WINDOW_BYTES)

/* Requests at a time, also where the peer would take more. */
#define HTTP2_STREAMS_MAX 1000

/* Ids are not used twice. At three quarters of them a connection makes room for a new one. */
#define HTTP2_STREAM_ID_MAX (INT32_MAX / 4 * 3)

/* What the socket does not take yet: above this no more frames are made. */
#define HTTP2_OUTPUT_BYTES_MAX (256 * 1024)

/*
 * A call may take 50 ms; a network that acknowledges nothing for so long is dead. That leaves room
 * for two repetitions (TCP's probe, and after 200 ms), and an endpoint is left within a second.
 */
#define HTTP2_SILENCE_MS_MAX 500

/*
 * A PING goes before the first request after so long a silence (SPEC 3), and must be answered in
 * time. gRPC's servers take one every 2 h from a connection without calls.
 */
#define HTTP2_PING_IDLE_MS_DEFAULT 15000
#define HTTP2_PING_IDLE_MS_MIN 1000
#define HTTP2_PING_IDLE_MS_MAX 7200000
#define HTTP2_PING_ANSWER_MS_MAX 1000

/*
 * To connect, with TLS's handshake and the first words of HTTP/2; then the pause after a failure,
 * which grows by 1.6, give or take a fifth. A server that accepts and closes gets at most 10
 * connections a second.
 */
#define ENDPOINT_CONNECT_MS_MAX 1000
#define ENDPOINT_BACKOFF_MS_MIN 1000
#define ENDPOINT_BACKOFF_MS_MAX 120000
#define ENDPOINT_RECONNECT_MS_MIN 100

/* A file of certificates: Debian's list of all public authorities has 220 KB. */
#define TLS_FILE_BYTES_MAX (4 * 1024 * 1024)

/* How long an endpoint that did not answer a call is passed over, unless it says something. */
#define ENDPOINT_DOUBT_MS 1000

/* A name is asked for again after a failure, but not more often than this; and without one so. */
#define TARGET_RESOLVE_MS_MIN 5000
#define DNS_REFRESH_MS_DEFAULT 30000
#define DNS_REFRESH_MS_MIN 1000
#define DNS_REFRESH_MS_MAX 3600000

/* Calls that wait for an endpoint. */
#define CHANNEL_WAITING_MAX 1024

/*
 * The clients' side of a connection: bytes not yet written, and the size of an unpacked answer (the
 * longest list needs about 150 KB).
 */
#define CLIENT_OUTPUT_BYTES_MAX (4 * 1024 * 1024)
#define UNPACK_BYTES_MAX (8 * 1024 * 1024)
#define CLIENT_TIMEOUT_SECONDS_MAX 3600
#define PINGS_MAX 1000000
#define DATABASE_BYTES_MAX 4096
#define STATUS_BYTES_MAX (1024 * 1024)

/* order-bench: 65,536 requests under way take 8 MB, the orders it remembers 20 MB. */
#define BENCH_CONNECTIONS_MAX 50000
#define BENCH_REQUESTS_MAX 65536
#define BENCH_RATE_MAX 1000000
#define BENCH_SECONDS_MAX 604800
#define BENCH_SESSIONS_MAX 100000
#define BENCH_SYMBOLS_MAX 1000
#define BENCH_HISTORY_MAX 262144
#define BENCH_HISTORY_OF_CONNECTION_MAX 1024

/* Connections that order-bench makes at once: fewer than a listener queues. */
#define BENCH_CONNECTS_MAX 64

#define LOG_LINES_PER_SECOND_MAX 200
#define LOG_VALUE_BYTES_MAX 1024

/* A line of the configuration; a libpq connection string has to fit. */
#define CONFIG_LINE_BYTES_MAX 4096
#define CONFIG_TEXT_BYTES_MAX 4000

#endif /* PROXY_BOUNDS_H */
