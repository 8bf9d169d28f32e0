/*
 * orderctl_database.c
 *		One connection to PostgreSQL.
 *
 * DESIGN	libpq without blocking: it is told to begin, and poll() waits for its socket up to the
 *			time limit. Its own limits would not do: they end neither a query that the server
 *			never answers nor a connection that is accepted and then silent. Only the look-up of a
 *			name blocks.
 *
 *			No loop of events: the commands ask one thing after another.
 */
#include "orderctl_database.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

#define SQLSTATE_SIZE 6

struct OrderctlDatabase
{
	PGconn *connection;
	int64_t timeout_us;
	bool is_lost;
	char error[ORDERCTL_DATABASE_ERROR_SIZE];
	char sqlstate[SQLSTATE_SIZE];
};

/* libpq's result under a name of ours, so that nobody else needs libpq's header. */
struct OrderctlRows
{
	PGresult *result;
};

/* Copies a message of libpq, which has a line for each thing it tried, as one line. */
static void
set_error(char error[ORDERCTL_DATABASE_ERROR_SIZE], const char *message)
{
	size_t length = 0;

	while (*message != '\0' && length < ORDERCTL_DATABASE_ERROR_SIZE - 3)
	{
		size_t blanks = strspn(message, "\n\t");

		if (blanks == 0)
			error[length++] = *message++;
		message += blanks;
		if (blanks > 0 && *message != '\0')
		{
			error[length++] = ';';
			error[length++] = ' ';
		}
	}
	error[length] = '\0';
}

/* Waits for the socket; false when that took until |deadline_us|. */
static bool
wait_for_socket(PGconn *connection, short events, int64_t deadline_us)
{
	struct pollfd descriptor = {.fd = PQsocket(connection), .events = events};
	int64_t left_us;
	int ready;

	do
	{
		left_us = deadline_us - clock_now_us();
		if (left_us <= 0)
			return false;
		ready = poll(&descriptor, 1, (int) (left_us / CLOCK_MS) + 1);
	} while (ready == 0 || (ready == -1 && errno == EINTR));
	return true;
}

static void
set_timeout_error(char error[ORDERCTL_DATABASE_ERROR_SIZE], int64_t timeout_us)
{
	snprintf(error, ORDERCTL_DATABASE_ERROR_SIZE, "no answer from the database within %.3g s",
			 (double) timeout_us / CLOCK_SECOND);
}

/* Until the connection stands or has failed. */
static bool
finish_connecting(PGconn *connection, int64_t timeout_us, char error[ORDERCTL_DATABASE_ERROR_SIZE])
{
	int64_t deadline_us = clock_now_us() + timeout_us;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	while (PQstatus(connection) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
		   state != PGRES_POLLING_FAILED)
	{
		if (!wait_for_socket(connection, state == PGRES_POLLING_READING ? POLLIN : POLLOUT,
							 deadline_us))
		{
			set_timeout_error(error, timeout_us);
			return false;
		}
		state = PQconnectPoll(connection);
	}
	if (state == PGRES_POLLING_OK)
		return true;
	set_error(error, PQerrorMessage(connection));
	return false;
}

/*
 * Names mean what they mean to us, whatever the role has in its path; and the server does not go on
 * with a query that nobody waits for any more.
 */
static bool
configure(OrderctlDatabase *database)
{
	char timeout_ms[24];
	const char *parameters[] = {timeout_ms};
	OrderctlRows *rows;

	snprintf(timeout_ms, sizeof(timeout_ms), "%lld",
			 (long long) (database->timeout_us / CLOCK_MS + 1));
	rows =
		orderctl_database_query(database,
								"SELECT pg_catalog.set_config('search_path', 'pg_catalog', false),"
								" pg_catalog.set_config('statement_timeout', $1, false)",
								1, parameters);
	if (rows == NULL)
		return false;
	orderctl_rows_free(rows);
	return true;
}

OrderctlDatabase *
orderctl_database_open(const char *conninfo, int64_t timeout_us,
					   char error[ORDERCTL_DATABASE_ERROR_SIZE])
{
	/* A name of a database that is a connection string is taken for one; later words win. */
	static const char *const names[] = {"fallback_application_name", "client_encoding", "dbname",
										NULL};
	const char *const values[] = {"orderctl", "UTF8", conninfo, NULL};
	PGconn *connection = PQconnectStartParams(names, values, 1);
	OrderctlDatabase *database;

	if (connection == NULL)
		abort();
	if (!finish_connecting(connection, timeout_us, error))
	{
		PQfinish(connection);
		return NULL;
	}
	PQsetnonblocking(connection, 1);
	database = bytes_new_zeroed(1, sizeof(OrderctlDatabase));
	database->connection = connection;
	database->timeout_us = timeout_us;
	if (!configure(database))
	{
		snprintf(error, ORDERCTL_DATABASE_ERROR_SIZE, "%s", database->error);
		orderctl_database_close(database);
		return NULL;
	}
	return database;
}

void
orderctl_database_close(OrderctlDatabase *database)
{
	PQfinish(database->connection);
	free(database);
}

static void
lose(OrderctlDatabase *database)
{
	database->is_lost = true;
	database->sqlstate[0] = '\0';
}

/* Message, detail and hint of a statement that failed, a line each. */
static void
take_failure(OrderctlDatabase *database, const PGresult *result)
{
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	snprintf(database->sqlstate, SQLSTATE_SIZE, "%s", sqlstate != NULL ? sqlstate : "");
	if (primary == NULL)
		set_error(database->error, PQresultErrorMessage(result));
	else
		snprintf(database->error, ORDERCTL_DATABASE_ERROR_SIZE, "%s%s%s%s%s", primary,
				 detail != NULL ? "; " : "", detail != NULL ? detail : "", hint != NULL ? "; " : "",
				 hint != NULL ? hint : "");
	database->is_lost = PQstatus(database->connection) == CONNECTION_BAD;
}

/* Sends what libpq still holds and reads until a result is there; false when that fails. */
static bool
wait_for_result(OrderctlDatabase *database)
{
	int64_t deadline_us = clock_now_us() + database->timeout_us;

	for (;;)
	{
		int unsent = PQflush(database->connection);

		if (unsent == 0 && !PQisBusy(database->connection))
			return true;
		if (unsent == -1)
			break;
		if (!wait_for_socket(database->connection, (short) (unsent ? POLLIN | POLLOUT : POLLIN),
							 deadline_us))
		{
			set_timeout_error(database->error, database->timeout_us);
			lose(database);
			return false;
		}
		if (!PQconsumeInput(database->connection))
			break;
	}
	set_error(database->error, PQerrorMessage(database->connection));
	lose(database);
	return false;
}

OrderctlRows *
orderctl_database_query(OrderctlDatabase *database, const char *sql, int count,
						const char *const *parameters)
{
	PGresult *result = NULL;
	OrderctlRows *rows;

	if (!PQsendQueryParams(database->connection, sql, count, NULL, parameters, NULL, NULL, 0))
	{
		set_error(database->error, PQerrorMessage(database->connection));
		lose(database);
		return NULL;
	}
	/* One statement has one result, and NULL behind it. */
	for (;;)
	{
		PGresult *next;

		if (!wait_for_result(database))
		{
			PQclear(result);
			return NULL;
		}
		next = PQgetResult(database->connection);
		if (next == NULL)
			break;
		PQclear(result);
		result = next;
	}
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		take_failure(database, result);
		PQclear(result);
		return NULL;
	}
	rows = bytes_new(sizeof(OrderctlRows));
	rows->result = result;
	return rows;
}

const char *
orderctl_database_error(const OrderctlDatabase *database)
{
	return database->error;
}

const char *
orderctl_database_sqlstate(const OrderctlDatabase *database)
{
	return database->sqlstate;
}

bool
orderctl_database_is_lost(const OrderctlDatabase *database)
{
	return database->is_lost;
}

int
orderctl_rows_count(const OrderctlRows *rows)
{
	return PQntuples(rows->result);
}

const char *
orderctl_rows_text(const OrderctlRows *rows, int row, int column)
{
	return PQgetvalue(rows->result, row, column);
}

int64_t
orderctl_rows_number(const OrderctlRows *rows, int row, int column)
{
	return strtoll(orderctl_rows_text(rows, row, column), NULL, 10);
}

void
orderctl_rows_free(OrderctlRows *rows)
{
	PQclear(rows->result);
	free(rows);
}
