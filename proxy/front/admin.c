/*
 * admin.c
 *		The port for operators.
 *
 * DESIGN	libevent's HTTP server on the proxy's own loop: an answer to /healthz proves that the
 *			loop turns.
 *
 * LIMITS	ADMIN_HEADER_BYTES_MAX, ADMIN_BODY_BYTES_MAX and ADMIN_TIMEOUT_SECONDS of a request. The
 *			server does not limit connections: the port belongs on the loopback address or into a
 *			network of its own.
 *
 * FAILURE	Without a free descriptor the port rests for ACCEPT_PAUSE_MS.
 */
#include "front/admin.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "front/port.h"

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_JSON "application/json"

struct Admin
{
	Loop *loop;
	AdminSources sources;
	struct evhttp *server;
	struct evconnlistener *port;
	LoopEvent pause;
	bool is_ready;
	int64_t started_us;
	char address[PORT_TEXT_SIZE];
};

/* The one of this process: libevent tells of a failed accept() without our context. */
static Admin *current;

/* Whether a request has a method that its page takes; else it has been answered. */
static bool
is_allowed(struct evhttp_request *request, enum evhttp_cmd_type methods, const char *names)
{
	if ((evhttp_request_get_command(request) & methods) != 0)
		return true;
	evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", names);
	evhttp_send_error(request, HTTP_BADMETHOD, NULL);
	return false;
}

/* Answers with what |write| makes of the admin. */
static void
answer_with(struct evhttp_request *request, Admin *admin, int status, const char *type,
			void (*write)(const Admin *admin, FILE *out))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

	if (out == NULL)
	{
		evhttp_send_error(request, HTTP_INTERNAL, NULL);
		return;
	}
	write(admin, out);
	if (fclose(out) != 0 || evbuffer_add(evhttp_request_get_output_buffer(request), text, size) < 0)
		status = HTTP_INTERNAL;
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_send_reply(request, status, NULL, NULL);
	free(text);
}

/* The same, for pages that change nothing. */
static void
answer(struct evhttp_request *request, Admin *admin, int status, const char *type,
	   void (*write)(const Admin *admin, FILE *out))
{
	if (is_allowed(request, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD, "GET, HEAD"))
		answer_with(request, admin, status, type, write);
}

/* The pages ------------------------------------------------------------------------------------ */

static void
write_metrics(const Admin *admin, FILE *out)
{
	if (admin->sources.account != NULL)
		(void) account_measure(admin->sources.account);
	metrics_write(out);
}

static void
on_metrics(struct evhttp_request *request, void *context)
{
	answer(request, context, HTTP_OK, TYPE_METRICS, write_metrics);
}

static void
write_health(const Admin *admin, FILE *out)
{
	(void) admin;
	fputs("ok\n", out);
}

static void
on_health(struct evhttp_request *request, void *context)
{
	answer(request, context, HTTP_OK, TYPE_TEXT, write_health);
}

/* Why the proxy should get no traffic; NULL when it should. */
static const char *
not_ready_reason(const Admin *admin)
{
	if (!admin->is_ready || listener_is_draining(admin->sources.listener))
		return "draining";
	if (admin->sources.store != NULL && !store_is_ready(admin->sources.store))
		return "database is not reachable";
	return NULL;
}

static void
write_readiness(const Admin *admin, FILE *out)
{
	const char *reason = not_ready_reason(admin);

	fprintf(out, "%s\n", reason != NULL ? reason : "ready");
}

static void
on_readiness(struct evhttp_request *request, void *context)
{
	int status = not_ready_reason(context) != NULL ? HTTP_SERVUNAVAIL : HTTP_OK;

	answer(request, context, status, TYPE_TEXT, write_readiness);
}

static void
write_account(Account *account, FILE *out)
{
	AccountState state = account_measure(account);

	fprintf(out, "  \"account_calls_running\": %d,\n", state.running);
	fprintf(out, "  \"account_calls_waiting\": %d,\n", state.waiting);
	fprintf(out, "  \"account_retry_budget\": %" PRId64 ",\n", state.retry_budget);
	fprintf(out, "  \"account_hedge_delay_us\": %" PRId64 ",\n", state.hedge_delay_us);
	fprintf(out, "  \"account_hedges\": %" PRIu64 ",\n", state.hedges);
	fprintf(out, "  \"account_breaker\": \"%s\",\n", state.breaker);
	fprintf(out, "  \"account_breaker_results\": %d,\n", state.breaker_results);
	fprintf(out, "  \"account_breaker_failures\": %d,\n", state.breaker_failures);
	fprintf(out, "  \"account_breaker_opened\": %" PRIu64 ",\n", state.breaker_opened);
}

static void
write_status(const Admin *admin, FILE *out)
{
	const AdminSources *sources = &admin->sources;
	const char *reason = not_ready_reason(admin);

	/* None of the texts has a character that JSON would have to escape. */
	fprintf(out, "{\n");
	fprintf(out, "  \"ready\": %s,\n", reason == NULL ? "true" : "false");
	fprintf(out, "  \"reason\": \"%s\",\n", reason == NULL ? "" : reason);
	fprintf(out, "  \"draining\": %s,\n",
			listener_is_draining(sources->listener) ? "true" : "false");
	fprintf(out, "  \"listen_address\": \"%s\",\n", listener_address(sources->listener));
	fprintf(out, "  \"admin_address\": \"%s\",\n", admin->address);
	fprintf(out, "  \"process_id\": %d,\n", (int) getpid());
	fprintf(out, "  \"uptime_seconds\": %" PRId64 ",\n",
			(clock_now_us() - admin->started_us) / CLOCK_SECOND);
	fprintf(out, "  \"connections\": %d,\n", listener_connection_count(sources->listener));
	fprintf(out, "  \"requests_in_flight\": %d,\n", listener_in_flight_count(sources->listener));
	if (sources->flow != NULL)
		fprintf(out, "  \"flow_pending\": %d,\n", flow_pending_count(sources->flow));
	if (sources->store != NULL)
	{
		fprintf(out, "  \"database_ready\": %s,\n",
				store_is_ready(sources->store) ? "true" : "false");
		fprintf(out, "  \"database_pending\": %d,\n", store_pending_count(sources->store));
	}
	if (sources->channel != NULL)
	{
		fprintf(out, "  \"account_endpoints\": %d,\n", channel_endpoint_count(sources->channel));
		fprintf(out, "  \"account_endpoints_ready\": %d,\n", channel_ready_count(sources->channel));
	}
	if (sources->account != NULL)
		write_account(sources->account, out);
	fprintf(out, "  \"longest_turn_us\": %" PRId64 ",\n", loop_longest_turn_us(admin->loop));
	fprintf(out, "  \"longest_own_turn_us\": %" PRId64 "\n", loop_longest_own_us(admin->loop));
	fprintf(out, "}\n");
}

static void
on_status(struct evhttp_request *request, void *context)
{
	answer(request, context, HTTP_OK, TYPE_JSON, write_status);
}

static void
write_reset(const Admin *admin, FILE *out)
{
	account_reset_breaker(admin->sources.account);
	fputs("closed\n", out);
}

static void
on_breaker_reset(struct evhttp_request *request, void *context)
{
	if (is_allowed(request, EVHTTP_REQ_POST, "POST"))
		answer_with(request, context, HTTP_OK, TYPE_TEXT, write_reset);
}

static void
write_contents(const Admin *admin, FILE *out)
{
	(void) admin;
	fputs("there are /metrics /healthz /readyz /status, and POST /breaker/reset\n", out);
}

static void
on_other(struct evhttp_request *request, void *context)
{
	answer(request, context, HTTP_NOTFOUND, TYPE_TEXT, write_contents);
}

/* The port ------------------------------------------------------------------------------------- */

/* accept() failed. The port stays readable, so going on would spin. */
static void
on_accept_error(struct evconnlistener *port, void *context)
{
	(void) context;
	log_event(LOG_WARNING, "admin port cannot accept", LOG_TEXT("why", strerror(errno)));
	evconnlistener_disable(port);
	loop_event_add(&current->pause, ACCEPT_PAUSE_MS * CLOCK_MS);
}

static void
on_pause_over(void *context, short what)
{
	Admin *admin = context;

	(void) what;
	evconnlistener_enable(admin->port);
}

static struct evhttp *
make_server(Admin *admin)
{
	struct evhttp *server = evhttp_new(loop_base(admin->loop));

	if (server == NULL)
		return NULL;
	evhttp_set_allowed_methods(server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST);
	evhttp_set_max_headers_size(server, ADMIN_HEADER_BYTES_MAX);
	evhttp_set_max_body_size(server, ADMIN_BODY_BYTES_MAX);
	evhttp_set_timeout(server, ADMIN_TIMEOUT_SECONDS);
	evhttp_set_gencb(server, on_other, admin);
	if (evhttp_set_cb(server, "/metrics", on_metrics, admin) == 0 &&
		evhttp_set_cb(server, "/healthz", on_health, admin) == 0 &&
		evhttp_set_cb(server, "/readyz", on_readiness, admin) == 0 &&
		evhttp_set_cb(server, "/status", on_status, admin) == 0 &&
		(admin->sources.account == NULL ||
		 evhttp_set_cb(server, "/breaker/reset", on_breaker_reset, admin) == 0))
		return server;
	evhttp_free(server);
	return NULL;
}

Admin *
admin_new(Loop *loop, const Config *config, const AdminSources *sources)
{
	Admin *admin = bytes_new_zeroed(1, sizeof(*admin));
	struct evhttp_bound_socket *bound = NULL;
	int descriptor = port_open(config->admin_address, false, admin->address);

	assert(current == NULL);
	admin->loop = loop;
	admin->sources = *sources;
	admin->is_ready = true;
	admin->started_us = clock_now_us();
	loop_event_init(&admin->pause, loop, -1, 0, on_pause_over, admin);
	if (descriptor >= 0)
		admin->server = make_server(admin);
	if (admin->server != NULL)
		bound = evhttp_accept_socket_with_handle(admin->server, descriptor);
	if (bound == NULL)
	{
		if (descriptor >= 0)
		{
			log_event(LOG_ERROR, "admin port cannot be served",
					  LOG_TEXT("address", admin->address));
			close(descriptor);
		}
		if (admin->server != NULL)
			evhttp_free(admin->server);
		free(admin);
		return NULL;
	}
	current = admin;
	admin->port = evhttp_bound_socket_get_listener(bound);
	evconnlistener_set_error_cb(admin->port, on_accept_error);
	return admin;
}

void
admin_free(Admin *admin)
{
	current = NULL;
	loop_event_remove(&admin->pause);
	evhttp_free(admin->server);
	/* Connections that were open leave events behind, which go with the next turn. */
	(void) event_base_loop(loop_base(admin->loop), EVLOOP_NONBLOCK);
	free(admin);
}

const char *
admin_address(const Admin *admin)
{
	return admin->address;
}

void
admin_set_ready(Admin *admin, bool is_ready)
{
	admin->is_ready = is_ready;
}
