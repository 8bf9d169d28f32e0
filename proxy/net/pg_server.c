/*
 * pg_server.c
 *		What a server is told, and says of itself.
 */
#include "net/pg_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMELINE_DIGITS 8

const char pg_server_session_settings[] =
	"SET tcp_user_timeout = '15s'; SET tcp_keepalives_idle = 10;"
	" SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/*
 * The name of a WAL file begins with the timeline. (The control file has it, too, but learns of a
 * promotion only with the next checkpoint.)
 */
const char pg_server_history_query[] =
	"SELECT system_identifier, pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())"
	" FROM pg_catalog.pg_control_system()";

static bool
read_history(const PGresult *answer, PgHistory *history)
{
	char timeline[TIMELINE_DIGITS + 1] = "";
	const char *cluster;
	char *cluster_end;
	char *timeline_end;

	if (PQresultStatus(answer) != PGRES_TUPLES_OK || PQntuples(answer) != 1 ||
		PQnfields(answer) != 2)
		return false;
	cluster = PQgetvalue(answer, 0, 0);
	strncpy(timeline, PQgetvalue(answer, 0, 1), TIMELINE_DIGITS);
	errno = 0;
	/* A number with a sign in SQL, which strtoull() takes, too. */
	history->cluster = strtoull(cluster, &cluster_end, 10);
	history->timeline = (uint32_t) strtoul(timeline, &timeline_end, 16);
	return errno == 0 && cluster_end != cluster && *cluster_end == '\0' &&
		   timeline_end == timeline + TIMELINE_DIGITS && history->timeline != 0;
}

const char *
pg_server_check_history(const PGresult *answer, const PgHistory *known, PgHistory *own)
{
	if (!read_history(answer, own))
		return "server does not tell its timeline";
	if (own->cluster == known->cluster && own->timeline < known->timeline)
		return "server was left behind: another one is on a later timeline";
	return NULL;
}

bool
pg_server_takes_writes(const PGconn *pg)
{
	static const char *const flags[] = {"in_hot_standby", "default_transaction_read_only"};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
	{
		const char *value = PQparameterStatus(pg, flags[i]);

		if (value != NULL && strcmp(value, "on") == 0)
			return false;
	}
	return true;
}
