/*
 * main.c
 *		order-proxy: command line, start, signals and end.
 *
 * DESIGN	The parts are made from the bottom to the top and freed the other way round. The ports
 *			are opened when everything that serves a request is there, and the resolver begins last:
 *			what it has under way could not be freed after a failed start.
 *
 *			SIGTERM and SIGINT end it: not ready, no new clients, no new requests, and the end when
 *			nothing is under way or the grace is over. A second one ends it at once. SIGHUP reads
 *			the configuration again.
 *
 * FAILURE	Exit status 2: wrong usage or configuration. 1: a port cannot be had, or requests were
 *			unfinished at the end. Their orders are recorded, and a resolver takes care of them.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "front/admin.h"
#include "front/listener.h"
#include "net/channel.h"
#include "net/dns.h"
#include "net/loop.h"
#include "net/pg_target.h"
#include "net/tls.h"
#include "order/account.h"
#include "order/flow.h"
#include "order/resolver.h"
#include "order/store.h"

#define EXIT_USAGE 2

typedef struct Proxy
{
	const char *config_path; /* NULL: none was given */
	Config *config;
	Loop *loop;
	Dns *dns;
	Tls *tls; /* NULL: Account is called without */
	Channel *channel;
	Account *account;
	Store *store;
	Flow *flow;
	Resolver *resolver;
	Listener *listener;
	Admin *admin;
	LoopEvent terminate;
	LoopEvent interrupt;
	LoopEvent hang_up;
	LoopEvent look;       /* while it ends: whether anything is left */
	int64_t grace_end_us; /* 0: it does not end yet */
	bool is_abandoned;    /* it ended with work under way, which cannot be freed */
	int exit_status;
} Proxy;

/* Not on the stack: what an abandoned proxy leaves unfreed stays reachable. */
static Proxy proxy;

static const char help[] =
	"order-proxy " VERSION " takes orders over TCP, reserves their balance at the Account service\n"
	"and records them in PostgreSQL through the extension order_service.\n"
	"\n"
	"Usage: order-proxy [--config FILE]\n"
	"\n"
	"  -c, --config FILE   read this configuration; without it the defaults count\n"
	"      --check-config  say whether the configuration is right, and what is wrong, and end\n"
	"      --print-config  write a configuration with every setting, explained, and end\n"
	"      --version       write the version and end\n"
	"      --help          write this and end\n"
	"\n"
	"To begin:\n"
	"\n"
	"  order-proxy --print-config > order-proxy.ini\n"
	"  $EDITOR order-proxy.ini\n"
	"  order-proxy --check-config --config order-proxy.ini\n"
	"  order-proxy --config order-proxy.ini\n"
	"\n"
	"The environment overrides the file: ORDER_PROXY_LOG_LEVEL=debug is `level` in [log].\n"
	"The database role needs: SELECT order_service.grant_proxy('ROLE');\n"
	"\n"
	"Signals:\n"
	"  TERM, INT   refuse new requests, finish those under way, end; again: end at once\n"
	"  HUP         read the configuration again; a wrong one is refused and the old one stays\n"
	"\n"
	"Exit status: 0 ended as asked; 1 could not start, or ended with requests unfinished;\n"
	"2 wrong usage or configuration.\n";

/* What libpq makes of a connection string. */
static bool
check_target(const char *conninfo, char *error, size_t size)
{
	PgTarget *target = pg_target_new(conninfo, error, size);

	if (target == NULL)
		return false;
	pg_target_free(target);
	return true;
}

static Tls *
new_tls(const Config *config, TlsError *error)
{
	const TlsOptions options = {.ca = config->account_tls_ca,
								.certificate = config->account_tls_certificate,
								.key = config->account_tls_key,
								.server_name = config->account_tls_server_name};

	return tls_new(&options, error);
}

/* Reads what TLS would begin with. */
static bool
check_tls(const Config *config, size_t *field, char *text, size_t size)
{
	static const struct
	{
		size_t field;
		const char *name;
		const char *allowed;
	} parts[] = {
		[TLS_CA] = {offsetof(Config, account_tls_ca), "tls_ca", "a file of PEM certificates"},
		[TLS_CERTIFICATE] = {offsetof(Config, account_tls_certificate), "tls_certificate",
							 "a file of a PEM certificate and its chain"},
		[TLS_KEY] = {offsetof(Config, account_tls_key), "tls_key",
					 "a file of the PEM key of tls_certificate, not encrypted"},
		[TLS_LIBRARY] = {offsetof(Config, account_tls), "tls",
						 "off, or with OpenSSL as it should be"},
	};
	TlsError error;
	Tls *tls = new_tls(config, &error);

	if (tls != NULL)
	{
		tls_free(tls);
		return true;
	}
	*field = parts[error.part].field;
	(void) snprintf(text, size, "account.%s: %s; allowed: %s", parts[error.part].name, error.text,
					parts[error.part].allowed);
	return false;
}

static const ConfigChecks checks = {.conninfo = check_target, .tls = check_tls};

/* Every client needs a descriptor. */
static void
raise_descriptor_limit(const Config *config)
{
	rlim_t wanted = (rlim_t) config->connections_max + DESCRIPTORS_BESIDE_CLIENTS +
					(rlim_t) config->writer_connections + (rlim_t) config->reader_connections;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
		log_event(LOG_WARNING, "open files are limited below listen.connections_max",
				  LOG_NUMBER("limit", (int64_t) limit.rlim_cur),
				  LOG_NUMBER("needed", (int64_t) wanted));
}

static void
tell_change(const char *setting, bool is_applied)
{
	if (is_applied)
		log_event(LOG_INFO, "setting changed", LOG_TEXT("setting", setting));
	else
		log_event(LOG_WARNING, "setting changes at the next start", LOG_TEXT("setting", setting));
}

static void
reload(void *context, short what)
{
	char *errors;
	size_t size;
	FILE *out = open_memstream(&errors, &size);
	Config *fresh;

	(void) context;
	(void) what;
	if (out == NULL)
	{
		log_event(LOG_ERROR, "configuration cannot be read again: out of memory");
		return;
	}
	fresh = config_load(proxy.config_path, &checks, out);
	fclose(out);
	if (fresh == NULL)
	{
		for (char *next, *line = strtok_r(errors, "\n", &next); line != NULL;
			 line = strtok_r(NULL, "\n", &next))
			log_event(LOG_ERROR, "configuration is wrong, the old one stays",
					  LOG_TEXT("error", line));
	}
	else
	{
		config_apply(proxy.config, fresh, tell_change);
		config_free(fresh);
		log_configure(proxy.config->log_level, proxy.config->log_format);
		raise_descriptor_limit(proxy.config);
		log_event(LOG_INFO, "configuration was read again");
	}
	free(errors);
}

/*
 * Requests that are not finished: most are known to both, but an answer may still be unwritten, and
 * an order unsettled behind its answer.
 */
static int
count_requests(void)
{
	int answers = listener_pending_count(proxy.listener);
	int orders = flow_pending_count(proxy.flow);

	return answers > orders ? answers : orders;
}

static void
stop(int exit_status)
{
	proxy.exit_status = exit_status;
	loop_stop(proxy.loop);
}

/* Ends the proxy when nothing is under way any more, or it has taken too long. */
static void
look_for_the_end(void *context, short what)
{
	int requests = count_requests();
	int debts = resolver_pending_count(proxy.resolver);

	(void) context;
	(void) what;
	if (requests + debts == 0)
	{
		log_event(LOG_INFO, "ended");
		stop(EXIT_SUCCESS);
	}
	else if (loop_now_us(proxy.loop) >= proxy.grace_end_us)
	{
		log_event(LOG_WARNING, "ended with work unfinished", LOG_NUMBER("requests", requests),
				  LOG_NUMBER("debts", debts));
		proxy.is_abandoned = true;
		stop(requests > 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	else
		loop_event_add(&proxy.look, SHUTDOWN_LOOK_MS * CLOCK_MS);
}

/* Balancers have had their notice: refuse what is new, finish what runs. */
static void
drain(void *context, short what)
{
	(void) context;
	(void) what;
	listener_drain(proxy.listener);
	resolver_stop(proxy.resolver);
	loop_event_init(&proxy.look, proxy.loop, -1, 0, look_for_the_end, NULL);
	loop_event_add(&proxy.look, 0);
}

static void
shut_down(void *context, short what)
{
	const Config *config = proxy.config;

	(void) context;
	(void) what;
	if (proxy.grace_end_us != 0)
	{
		log_event(LOG_WARNING, "ended by a second signal",
				  LOG_NUMBER("requests", count_requests()));
		proxy.is_abandoned = true;
		stop(EXIT_FAILURE);
		return;
	}
	log_event(LOG_INFO, "ending", LOG_NUMBER("requests", count_requests()),
			  LOG_NUMBER("notice_ms", config->shutdown_notice_us / CLOCK_MS),
			  LOG_NUMBER("grace_ms", config->shutdown_grace_us / CLOCK_MS));
	proxy.grace_end_us =
		loop_now_us(proxy.loop) + config->shutdown_notice_us + config->shutdown_grace_us;
	admin_set_ready(proxy.admin, false);
	loop_event_add(&proxy.look, config->shutdown_notice_us);
}

static bool
start(void)
{
	const Config *config = proxy.config;
	const DnsOptions names = {.resolv_conf = config->dns_resolv_conf,
							  .refresh_us = config->dns_refresh_us};
	ChannelOptions options = {.endpoints = config->account_endpoints};
	AdminSources sources;
	TlsError error;

	proxy.loop = loop_new();
	proxy.dns = dns_new_from(proxy.loop, &names);
	if (config->account_tls && (proxy.tls = new_tls(config, &error)) == NULL)
	{
		log_event(LOG_ERROR, "TLS cannot begin", LOG_TEXT("error", error.text));
		return false;
	}
	options.policy = (EndpointPolicy){.tls = proxy.tls,
									  .ping_idle_us = config->keepalive_idle_us,
									  .pings_always = config->keepalive_without_calls};
	if (config->account_tls_server_name[0] != '\0')
		options.authority = config->account_tls_server_name;
	if ((proxy.channel = channel_new(proxy.loop, proxy.dns, &options)) == NULL)
		return false;
	proxy.account = account_new(proxy.loop, proxy.channel, config);
	proxy.store = store_new(proxy.loop, proxy.dns, config);
	proxy.flow = flow_new(proxy.loop, proxy.store, proxy.account, config);
	if ((proxy.listener = listener_new(proxy.loop, proxy.flow, config)) == NULL)
		return false;
	sources = (AdminSources){.listener = proxy.listener,
							 .flow = proxy.flow,
							 .store = proxy.store,
							 .channel = proxy.channel,
							 .account = proxy.account};
	if ((proxy.admin = admin_new(proxy.loop, config, &sources)) == NULL)
		return false;
	proxy.resolver = resolver_new(proxy.loop, proxy.store, proxy.account, config);

	loop_event_init(&proxy.look, proxy.loop, -1, 0, drain, NULL);
	loop_event_init(&proxy.terminate, proxy.loop, SIGTERM, EV_SIGNAL | EV_PERSIST, shut_down, NULL);
	loop_event_init(&proxy.interrupt, proxy.loop, SIGINT, EV_SIGNAL | EV_PERSIST, shut_down, NULL);
	loop_event_init(&proxy.hang_up, proxy.loop, SIGHUP, EV_SIGNAL | EV_PERSIST, reload, NULL);
	loop_event_add(&proxy.terminate, LOOP_FOREVER);
	loop_event_add(&proxy.interrupt, LOOP_FOREVER);
	loop_event_add(&proxy.hang_up, LOOP_FOREVER);
	return true;
}

/* Frees what start() has made, however far it came. */
static void
tear_down(void)
{
	if (proxy.admin != NULL)
		admin_free(proxy.admin);
	if (proxy.listener != NULL)
		listener_free(proxy.listener);
	if (proxy.is_abandoned)
		return;

	/* Some metrics go with their modules. */
	metrics_reset();
	if (proxy.resolver != NULL)
	{
		resolver_stop(proxy.resolver);
		resolver_free(proxy.resolver);
	}
	if (proxy.flow != NULL)
		flow_free(proxy.flow);
	if (proxy.store != NULL)
		store_free(proxy.store);
	if (proxy.account != NULL)
		account_free(proxy.account);
	if (proxy.channel != NULL)
		channel_free(proxy.channel);
	if (proxy.tls != NULL)
		tls_free(proxy.tls);
	loop_event_remove(&proxy.terminate);
	loop_event_remove(&proxy.interrupt);
	loop_event_remove(&proxy.hang_up);
	loop_event_remove(&proxy.look);
	dns_free(proxy.dns);
	loop_free(proxy.loop);
	config_free(proxy.config);
	libevent_global_shutdown();
}

static int
run(void)
{
	log_configure(proxy.config->log_level, proxy.config->log_format);
	raise_descriptor_limit(proxy.config);
	if (start())
	{
		log_event(LOG_INFO, "ready", LOG_TEXT("listen", listener_address(proxy.listener)),
				  LOG_TEXT("admin", admin_address(proxy.admin)), LOG_TEXT("version", VERSION),
				  LOG_NUMBER("pid", getpid()));
		loop_run(proxy.loop);
	}
	else
		proxy.exit_status = EXIT_FAILURE;
	tear_down();
	return proxy.exit_status;
}

static int
refuse_usage(void)
{
	fputs("order-proxy --help tells what there is\n", stderr);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	enum
	{
		OPTION_CHECK = 256,
		OPTION_PRINT,
		OPTION_VERSION,
		OPTION_HELP,
	};
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, OPTION_CHECK},
		{"print-config", no_argument, NULL, OPTION_PRINT},
		{"version", no_argument, NULL, OPTION_VERSION},
		{"help", no_argument, NULL, OPTION_HELP},
		{NULL, 0, NULL, 0},
	};
	bool is_check = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1)
	{
		switch (option)
		{
			case 'c':
				proxy.config_path = optarg;
				break;
			case OPTION_CHECK:
				is_check = true;
				break;
			case OPTION_PRINT:
				config_print(stdout);
				return EXIT_SUCCESS;
			case OPTION_VERSION:
				puts("order-proxy " VERSION);
				return EXIT_SUCCESS;
			case OPTION_HELP:
				fputs(help, stdout);
				return EXIT_SUCCESS;
			default:
				return refuse_usage();
		}
	}
	if (optind < argc)
	{
		fprintf(stderr, "%s: unexpected argument \"%s\"\n", argv[0], argv[optind]);
		return refuse_usage();
	}

	proxy.config = config_load(proxy.config_path, &checks, stderr);
	if (proxy.config == NULL)
		return EXIT_USAGE;
	if (!is_check)
		return run();
	puts("configuration is valid");
	config_free(proxy.config);
	return EXIT_SUCCESS;
}
