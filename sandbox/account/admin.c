/*
 * admin.c
 *		The HTTP interface.
 *
 * DESIGN	A request is answered within its callback. Reading all holds of a large ledger takes the
 *			loop a second; this is for tests, which read when the work is done.
 *
 * LIMITS	Sizes and idle time of requests: ACCOUNT_ADMIN_... in account_bounds.h.
 */
#include "admin.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/log.h"
#include "document.h"
#include "fault_document.h"

#define ALLOWED_METHODS (EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE)

#define ACCOUNT_PATH "/accounts/"

struct Admin
{
	Ledger *ledger;
	Faults *faults;
	Service *service;
	struct evhttp *http;
	int port;
};

static int
append_json(const char *text, size_t size, void *buffer)
{
	return evbuffer_add(buffer, text, size);
}

/* Answers with a document and frees it. */
static void
send_document(struct evhttp_request *request, int code, json_t *document)
{
	struct evbuffer *body = evbuffer_new();

	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
					  "application/json");
	json_dump_callback(document, append_json, body, JSON_COMPACT);
	evbuffer_add(body, "\n", 1);
	json_decref(document);
	evhttp_send_reply(request, code, NULL, body);
	evbuffer_free(body);
}

static void
send_error(struct evhttp_request *request, int code, const char *error)
{
	send_document(request, code, json_pack("{s:s}", "error", error));
}

static void
send_database_error(struct evhttp_request *request)
{
	send_error(request, HTTP_INTERNAL, "the database failed; the log has more");
}

/* The document of a request's body; NULL when there is none, and an answer has been sent. */
static json_t *
read_document(struct evhttp_request *request)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t size = evbuffer_get_length(body);
	const char *text = size > 0 ? (const char *) evbuffer_pullup(body, -1) : "";
	char error[FIELDS_ERROR_SIZE];
	json_error_t json_error;
	json_t *document = json_loadb(text, size, JSON_REJECT_DUPLICATES, &json_error);

	if (document != NULL)
		return document;
	fields_fail(error, "this is not JSON: line %d, column %d: %s", json_error.line,
				json_error.column, json_error.text);
	send_error(request, HTTP_BADREQUEST, error);
	return NULL;
}

/* A decimal number within |min| to |max|; false for anything else. */
static bool
read_number(const char *text, int64_t min, int64_t max, int64_t *number)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && *number >= min && *number <= max;
}

static void
get_health(Admin *admin, struct evhttp_request *request, const char *path)
{
	(void) path;
	send_document(
		request, HTTP_OK,
		json_pack("{s:s, s:i}", "status", "ok", "pending", service_pending_count(admin->service)));
}

static void
post_accounts(Admin *admin, struct evhttp_request *request, const char *path)
{
	json_t *document = read_document(request);
	char error[FIELDS_ERROR_SIZE];
	int count;

	(void) path;
	if (document == NULL)
		return;
	ledger_begin(admin->ledger);
	count = document_put_accounts(document, admin->ledger, error);
	json_decref(document);
	if (count < 0)
	{
		ledger_rollback(admin->ledger);
		send_error(request, HTTP_BADREQUEST, error);
	}
	else if (!ledger_commit(admin->ledger))
		send_database_error(request);
	else
		send_document(request, HTTP_OK, json_pack("{s:i}", "accounts", count));
}

static void
get_account(Admin *admin, struct evhttp_request *request, const char *path)
{
	json_t *document = NULL;
	int64_t account_id;

	if (read_number(path + strlen(ACCOUNT_PATH), 1, INT64_MAX, &account_id))
		document = document_account(admin->ledger, account_id);
	if (document != NULL)
		send_document(request, HTTP_OK, document);
	else
		send_error(request, HTTP_NOTFOUND, "there is no such account");
}

static void
get_holds(Admin *admin, struct evhttp_request *request, const char *path)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
	int64_t limit = ACCOUNT_HOLDS_MAX;
	struct evkeyvalq parameters;
	const char *after;
	const char *limit_text;
	json_t *document;

	(void) path;
	if (evhttp_parse_query_str(query != NULL ? query : "", &parameters) != 0)
	{
		send_error(request, HTTP_BADREQUEST, "the query cannot be read");
		return;
	}
	after = evhttp_find_header(&parameters, "after");
	limit_text = evhttp_find_header(&parameters, "limit");
	if (limit_text != NULL && !read_number(limit_text, 1, ACCOUNT_HOLDS_MAX, &limit))
	{
		char error[FIELDS_ERROR_SIZE];

		fields_fail(error, "\"limit\" must be 1 to %d", ACCOUNT_HOLDS_MAX);
		send_error(request, HTTP_BADREQUEST, error);
	}
	else
	{
		document = document_holds(admin->ledger, after != NULL ? after : "", (int) limit);
		if (document != NULL)
			send_document(request, HTTP_OK, document);
		else
			send_database_error(request);
	}
	evhttp_clear_headers(&parameters);
}

static void
get_totals(Admin *admin, struct evhttp_request *request, const char *path)
{
	json_t *document =
		document_totals(admin->ledger, admin->faults, service_totals(admin->service));

	(void) path;
	if (document != NULL)
		send_document(request, HTTP_OK, document);
	else
		send_error(request, HTTP_INTERNAL,
				   "a sum does not fit into 64 bits, or the database failed");
}

static void
get_faults(Admin *admin, struct evhttp_request *request, const char *path)
{
	(void) path;
	send_document(request, HTTP_OK, fault_document_list(admin->faults));
}

static void
put_faults(Admin *admin, struct evhttp_request *request, const char *path)
{
	json_t *document = read_document(request);
	Fault list[ACCOUNT_FAULTS_MAX];
	char error[FIELDS_ERROR_SIZE];
	int count;

	(void) path;
	if (document == NULL)
		return;
	count = fault_document_read(document, list, error);
	json_decref(document);
	if (count < 0)
	{
		send_error(request, HTTP_BADREQUEST, error);
		return;
	}
	faults_replace(admin->faults, list, count);
	log_event(LOG_INFO, "faults set", LOG_NUMBER("count", count));
	send_document(request, HTTP_OK, json_pack("{s:i}", "faults", count));
}

static void
delete_faults(Admin *admin, struct evhttp_request *request, const char *path)
{
	(void) path;
	faults_replace(admin->faults, NULL, 0);
	log_event(LOG_INFO, "faults set", LOG_NUMBER("count", 0));
	send_document(request, HTTP_OK, json_pack("{s:i}", "faults", 0));
}

typedef struct Route
{
	enum evhttp_cmd_type method;
	const char *path; /* one that ends with a slash stands for all that begin so */
	void (*handle)(Admin *admin, struct evhttp_request *request, const char *path);
} Route;

static const Route routes[] = {
	{EVHTTP_REQ_GET, "/healthz", get_health},    {EVHTTP_REQ_POST, "/accounts", post_accounts},
	{EVHTTP_REQ_GET, ACCOUNT_PATH, get_account}, {EVHTTP_REQ_GET, "/holds", get_holds},
	{EVHTTP_REQ_GET, "/totals", get_totals},     {EVHTTP_REQ_GET, "/faults", get_faults},
	{EVHTTP_REQ_PUT, "/faults", put_faults},     {EVHTTP_REQ_DELETE, "/faults", delete_faults},
};

static bool
route_fits(const Route *route, const char *path)
{
	size_t size = strlen(route->path);

	if (route->path[size - 1] == '/')
		return strncmp(path, route->path, size) == 0;
	return strcmp(path, route->path) == 0;
}

static void
admin_take(struct evhttp_request *request, void *context)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
	bool is_known = false;

	for (size_t i = 0; path != NULL && i < sizeof(routes) / sizeof(routes[0]); i++)
	{
		if (!route_fits(&routes[i], path))
			continue;
		is_known = true;
		if (routes[i].method == evhttp_request_get_command(request))
		{
			routes[i].handle(context, request, path);
			return;
		}
	}
	if (is_known)
		send_error(request, HTTP_BADMETHOD, "this path does not take this method");
	else
		send_error(request, HTTP_NOTFOUND, "there is no such path");
}

static int
port_of(evutil_socket_t descriptor)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	int code = getsockname(descriptor, (struct sockaddr *) &address, &size);

	assert(code == 0);
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *) &address)->sin6_port);
	return ntohs(((struct sockaddr_in *) &address)->sin_port);
}

Admin *
admin_new(Loop *loop, Ledger *ledger, Faults *faults, Service *service, const char *address)
{
	struct evhttp_bound_socket *socket = NULL;
	char host[ADDRESS_HOST_SIZE];
	Admin *admin;
	int port;

	if (!address_split(address, host, sizeof(host), &port))
	{
		log_event(LOG_ERROR, "not an address", LOG_TEXT("admin", address));
		return NULL;
	}
	json_set_alloc_funcs(bytes_new, free);
	admin = bytes_new_zeroed(1, sizeof(*admin));
	admin->ledger = ledger;
	admin->faults = faults;
	admin->service = service;
	admin->http = evhttp_new(loop_base(loop));
	if (admin->http != NULL)
		socket = evhttp_bind_socket_with_handle(admin->http, host, (uint16_t) port);
	if (socket == NULL)
	{
		log_event(LOG_ERROR, "cannot listen", LOG_TEXT("admin", address),
				  LOG_TEXT("error", strerror(errno)));
		admin_free(admin);
		return NULL;
	}
	evhttp_set_allowed_methods(admin->http, ALLOWED_METHODS);
	evhttp_set_max_headers_size(admin->http, ACCOUNT_ADMIN_HEADER_BYTES_MAX);
	evhttp_set_max_body_size(admin->http, ACCOUNT_ADMIN_BODY_BYTES_MAX);
	evhttp_set_timeout(admin->http, ACCOUNT_ADMIN_IDLE_SECONDS);
	evhttp_set_gencb(admin->http, admin_take, admin);
	admin->port = port_of(evhttp_bound_socket_get_fd(socket));
	return admin;
}

int
admin_port(const Admin *admin)
{
	return admin->port;
}

void
admin_free(Admin *admin)
{
	if (admin->http != NULL)
		evhttp_free(admin->http);
	free(admin);
}
