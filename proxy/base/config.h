/*
 * config.h
 *		The configuration: an INI file (inih), overridden by the environment.
 *
 * A setting is `name` in `[section]`; the environment variable ORDER_PROXY_SECTION_NAME overrides
 * it. Durations are written with a unit (us, ms, s, min), sizes in bytes or with KiB, MiB. An
 * unknown section or name, and a value out of its range, is an error that tells the file, the line
 * and what is allowed. Environment variables that are no setting's are not looked at.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"

typedef struct Config
{
	/* [listen] */
	char *listen_address; /* host:port; port 0 lets the system choose */
	int connections_max;
	int connection_in_flight_max;
	int in_flight_max;
	int64_t output_bytes_max;
	int64_t request_timeout_us;
	int64_t frame_timeout_us; /* for a request to come in whole, and for answers to move */

	/* [admin] */
	char *admin_address;

	/* [database]: libpq connection strings; the reader may be empty, then the writer reads */
	char *writer;
	char *reader;
	int writer_connections;
	int reader_connections;
	int64_t connect_timeout_us;
	int64_t idle_timeout_us; /* connections above the first are closed after this */
	int64_t lifetime_us;
	int batch_max;
	int instances;          /* proxies that share the database ... */
	int server_connections; /* ... and the connections it gives to all of them */

	/* [account] */
	char *account_endpoints; /* host:port, host:port; every address of a host is an endpoint */
	int64_t attempt_timeout_us;
	int64_t overall_timeout_us;
	int64_t retry_delay_us;
	int retries_max;
	int retry_budget_percent;
	int breaker_window;
	int breaker_failures_percent;
	int64_t breaker_open_us;
	int account_calls_max;
	int account_waiting_max;
	int64_t hedge_us; /* SETTING_OFF, SETTING_AUTO, or after so long */
	bool account_tls;
	char *account_tls_ca; /* these may be empty: see TlsOptions */
	char *account_tls_certificate;
	char *account_tls_key;
	char *account_tls_server_name;
	int64_t keepalive_idle_us;
	bool keepalive_without_calls;

	/* [resolver] */
	int64_t resolver_lease_us;
	int64_t second_release_us;

	/* [dns] */
	char *dns_resolv_conf;
	int64_t dns_refresh_us;

	/* [log] */
	LogLevel log_level;
	LogFormat log_format;

	/* [shutdown] */
	int64_t shutdown_notice_us;
	int64_t shutdown_grace_us;
} Config;

/*
 * What only libraries know that this file does not use: whether a database connection string is
 * one, and whether TLS could begin, asked if it is on. If not, they say in |error| (terminated)
 * why, and the second one in |field| the offset of the wrong one. NULL: anything is right.
 */
typedef struct ConfigChecks
{
	bool (*conninfo)(const char *conninfo, char *error, size_t size);
	bool (*tls)(const Config *config, size_t *field, char *error, size_t size);
} ConfigChecks;

/*
 * Reads a configuration. |path| NULL: defaults and environment only. |checks| NULL: none.
 * With errors, writes all of them to |errors|, a line each, as
 * `file:line: what is wrong` with what is allowed, and returns NULL. Free with config_free().
 */
extern Config *config_load(const char *path, const ConfigChecks *checks, FILE *errors);

/* Tells of a setting, "section.name", that differs: |is_applied|, or only a restart changes it. */
typedef void (*ConfigChange)(const char *setting, bool is_applied);

/*
 * Takes over from |fresh| what can change while the proxy runs, and tells of every difference.
 * Texts stay where they are.
 */
extern void config_apply(Config *config, const Config *fresh, ConfigChange change);

/* Frees a configuration with its texts. */
extern void config_free(Config *config);

/* Writes a file with every setting, explained, and its default: `order-proxy --print-config`. */
extern void config_print(FILE *out);

#endif /* CONFIG_H */
