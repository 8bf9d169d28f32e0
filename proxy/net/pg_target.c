/*
 * pg_target.c
 *		A libpq connection string, taken apart.
 */
#include "net/pg_target.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "base/bytes.h"

#define DEFAULT_PORT "5432"

typedef struct Setting
{
	const char *keyword;
	const char *value;
} Setting;

/*
 * What counts unless the connection string has it. A server behind a cut cable is noticed within
 * 5 s while something is sent, within 25 s else; the kernel alone would take a quarter of an hour.
 */
static const Setting defaults[] = {
	{"fallback_application_name", "order-proxy"},
	{"gssencmode", "disable"},
	{"tcp_user_timeout", "5000"},
	{"keepalives_idle", "10"},
	{"keepalives_interval", "5"},
	{"keepalives_count", "3"},
};

#define DEFAULT_COUNT ((int) (sizeof(defaults) / sizeof(defaults[0])))

struct PgTarget
{
	PQconninfoOption *options;
	char *names; /* the lists, cut into items, which |hosts| points to */
	char *addresses;
	char *ports;
	PgHost hosts[PG_HOSTS_MAX];
	int host_count;
};

static const char *
option_value(const PgTarget *target, const char *keyword)
{
	for (const PQconninfoOption *option = target->options; option->keyword != NULL; option++)
	{
		if (strcmp(option->keyword, keyword) == 0)
			return option->val;
	}
	return NULL;
}

/* The value of an option, or of the environment, in memory of its own; NULL when there is none. */
static char *
copy_setting(const PgTarget *target, const char *keyword, const char *variable)
{
	const char *value = option_value(target, keyword);

	if (value == NULL)
		value = getenv(variable);
	return value != NULL && value[0] != '\0' ? bytes_copy_text(value) : NULL;
}

/* Cuts a list at its commas. Returns how many items there are, also when they are too many. */
static int
cut_list(char *list, const char *items[PG_HOSTS_MAX])
{
	int count = 0;

	for (char *item = list; item != NULL; count++)
	{
		char *comma = strchr(item, ',');

		if (comma != NULL)
			*comma = '\0';
		if (count < PG_HOSTS_MAX)
			items[count] = item;
		item = comma != NULL ? comma + 1 : NULL;
	}
	return count;
}

/* The number of a port; 0 when it is none. An empty item is the usual one, as with libpq. */
static int
parse_port(const char *text)
{
	char *end;
	long port;

	if (text[0] == '\0')
		text = DEFAULT_PORT;
	port = strtol(text, &end, 10);
	return *end == '\0' && port > 0 && port <= 65535 ? (int) port : 0;
}

static void
set_host(PgHost *host, const char *name, const char *address, int port)
{
	*host = (PgHost){.name = name, .address = address, .port = port};
	if (address != NULL && address[0] == '\0')
		host->address = NULL;
	if (name != NULL && name[0] == '\0')
		host->name = NULL;
	host->is_local = host->address == NULL &&
					 (host->name == NULL || host->name[0] == '/' || host->name[0] == '@');
}

/* Fills the hosts; NULL, or what is wrong. */
static const char *
find_hosts(PgTarget *target)
{
	const char *names[PG_HOSTS_MAX];
	const char *addresses[PG_HOSTS_MAX];
	const char *ports[PG_HOSTS_MAX];
	int name_count;
	int address_count;
	int port_count;

	target->names = copy_setting(target, "host", "PGHOST");
	target->addresses = copy_setting(target, "hostaddr", "PGHOSTADDR");
	target->ports = copy_setting(target, "port", "PGPORT");
	if (target->names == NULL && target->addresses == NULL)
		target->names = bytes_copy_text("");
	if (target->ports == NULL)
		target->ports = bytes_copy_text(DEFAULT_PORT);
	name_count = cut_list(target->names, names);
	address_count = cut_list(target->addresses, addresses);
	port_count = cut_list(target->ports, ports);

	if (name_count != 0 && address_count != 0 && name_count != address_count)
		return "host and hostaddr have not the same number of items";
	target->host_count = name_count != 0 ? name_count : address_count;
	if (target->host_count > PG_HOSTS_MAX)
		return "too many hosts";
	if (port_count != 1 && port_count != target->host_count)
		return "host and port have not the same number of items";
	for (int i = 0; i < target->host_count; i++)
	{
		int port = parse_port(ports[port_count == 1 ? 0 : i]);

		if (port == 0)
			return "port is not a number from 1 to 65535";
		set_host(&target->hosts[i], name_count != 0 ? names[i] : NULL,
				 address_count != 0 ? addresses[i] : NULL, port);
	}
	return NULL;
}

PgTarget *
pg_target_new(const char *conninfo, char *error, size_t error_size)
{
	PgTarget *target = bytes_new_zeroed(1, sizeof(PgTarget));
	char *parse_error = NULL;
	const char *host_error;

	target->options = PQconninfoParse(conninfo, &parse_error);
	if (target->options == NULL)
	{
		/* libpq's text may show what stands where a password was meant. */
		snprintf(error, error_size, "not a connection string as libpq reads it");
		PQfreemem(parse_error);
		free(target);
		return NULL;
	}
	host_error = find_hosts(target);
	if (host_error == NULL)
		return target;
	snprintf(error, error_size, "%s", host_error);
	pg_target_free(target);
	return NULL;
}

void
pg_target_free(PgTarget *target)
{
	if (target == NULL)
		return;
	PQconninfoFree(target->options);
	free(target->names);
	free(target->addresses);
	free(target->ports);
	free(target);
}

int
pg_target_host_count(const PgTarget *target)
{
	return target->host_count;
}

const PgHost *
pg_target_host(const PgTarget *target, int index)
{
	assert(index >= 0 && index < target->host_count);
	return &target->hosts[index];
}

/* Whether pg_target_connect() says this itself. Answers come in UTF-8 whatever the string says. */
static bool
is_own(const char *keyword)
{
	return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
		   strcmp(keyword, "port") == 0 || strcmp(keyword, "client_encoding") == 0;
}

PGconn *
pg_target_connect(const PgTarget *target, int index, const char *address)
{
	const PgHost *host = pg_target_host(target, index);
	char port[8];
	const Setting own[] = {{"host", host->name},
						   {"hostaddr", address != NULL ? address : host->address},
						   {"port", port},
						   {"client_encoding", "UTF8"}};
	const int own_count = sizeof(own) / sizeof(own[0]);
	const char *keywords[PG_OPTIONS_MAX + 1];
	const char *values[PG_OPTIONS_MAX + 1];
	int count = 0;

	assert(host->is_local || own[1].value != NULL);
	snprintf(port, sizeof(port), "%d", host->port);
	/* libpq takes the last of several values for a keyword, and passes over those that are NULL. */
	for (int i = 0; i < DEFAULT_COUNT; i++, count++)
	{
		keywords[count] = defaults[i].keyword;
		values[count] = defaults[i].value;
	}
	for (const PQconninfoOption *option = target->options; option->keyword != NULL; option++)
	{
		if (option->val == NULL || is_own(option->keyword))
			continue;
		assert(count < PG_OPTIONS_MAX - own_count);
		keywords[count] = option->keyword;
		values[count++] = option->val;
	}
	for (int i = 0; i < own_count; i++, count++)
	{
		keywords[count] = own[i].keyword;
		values[count] = own[i].value;
	}
	keywords[count] = values[count] = NULL;
	return PQconnectStartParams(keywords, values, 0);
}
