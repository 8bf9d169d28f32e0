/*
 * pg_failure.c
 *		What went wrong with a call or a connection.
 */
#include "net/pg_failure.h"

#include <stdio.h>
#include <string.h>

/* SQLSTATEs, or their classes, after which a connection is of no use; all others are FAILED. */
static const struct
{
	const char *prefix;
	PgOutcome outcome;
} unusual_errors[] = {
	{PG_SQLSTATE_READ_ONLY, PG_UNUSABLE},
	{"0A000", PG_UNUSABLE}, /* the result type of a prepared statement has changed */
	{"26000", PG_UNUSABLE}, /* somebody has dropped our prepared statements */
	{"40003", PG_LOST},     /* the server itself does not know */
	{"57P0", PG_LOST},      /* it shuts down, crashes, starts, or ends an idle session */
	{"08", PG_LOST},
};

void
pg_failure_set(PgFailure *failure, const char *sqlstate, const char *message)
{
	int size = (int) strcspn(message, "\r\n");

	snprintf(failure->sqlstate, sizeof(failure->sqlstate), "%s", sqlstate != NULL ? sqlstate : "");
	snprintf(failure->message, sizeof(failure->message), "%.*s", size, message);
	failure->is_fatal = false;
}

void
pg_failure_of_result(PgFailure *failure, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	pg_failure_set(failure, PQresultErrorField(result, PG_DIAG_SQLSTATE),
				   message != NULL ? message : PQresultErrorMessage(result));
	failure->is_fatal =
		severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

PgOutcome
pg_failure_outcome(const PgFailure *failure)
{
	if (failure->is_fatal || failure->sqlstate[0] == '\0')
		return PG_LOST;
	for (size_t i = 0; i < sizeof(unusual_errors) / sizeof(unusual_errors[0]); i++)
	{
		const char *prefix = unusual_errors[i].prefix;

		if (strncmp(failure->sqlstate, prefix, strlen(prefix)) == 0)
			return unusual_errors[i].outcome;
	}
	return PG_FAILED;
}

bool
pg_failure_is_failover(const PgFailure *failure, PgOutcome outcome)
{
	if (outcome == PG_UNUSABLE)
		return strcmp(failure->sqlstate, PG_SQLSTATE_READ_ONLY) == 0;
	return outcome == PG_LOST &&
		   (failure->sqlstate[0] == '\0' || strcmp(failure->sqlstate, "57P01") == 0 ||
			strcmp(failure->sqlstate, "57P02") == 0);
}
