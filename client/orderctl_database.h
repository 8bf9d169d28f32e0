/*
 * orderctl_database.h
 *		One connection to PostgreSQL, for the commands of orderctl that operators use.
 *
 * Connecting and every query have a time limit, also where the server or the network does not
 * answer at all.
 */
#ifndef ORDERCTL_DATABASE_H
#define ORDERCTL_DATABASE_H

#include <stdbool.h>
#include <stdint.h>

#define ORDERCTL_DATABASE_ERROR_SIZE 1024
#define ORDERCTL_PARAMETERS_MAX 6

typedef struct OrderctlDatabase OrderctlDatabase;
typedef struct OrderctlRows OrderctlRows;

/*
 * Connects, by a connection string or URI of libpq; what it leaves open (NULL: all) is taken from
 * libpq's environment variables. NULL when that fails: |error| then says why. |timeout_us| is for
 * this and for each query. End it with orderctl_database_close().
 */
extern OrderctlDatabase *orderctl_database_open(const char *conninfo, int64_t timeout_us,
												char error[ORDERCTL_DATABASE_ERROR_SIZE]);

/* Ends the connection. */
extern void orderctl_database_close(OrderctlDatabase *database);

/*
 * Runs one statement with |count| parameters as texts, NULL for NULL. NULL when it fails; what went
 * wrong is then in the three functions below. Free the result with orderctl_rows_free().
 */
extern OrderctlRows *orderctl_database_query(OrderctlDatabase *database, const char *sql, int count,
											 const char *const *parameters);

/* Of the last query that failed: the message, with its detail and hint. */
extern const char *orderctl_database_error(const OrderctlDatabase *database);

/* The same query's SQLSTATE, "" where libpq itself failed. */
extern const char *orderctl_database_sqlstate(const OrderctlDatabase *database);

/* Whether there is no connection any more, or no answer came in time: the query may have run. */
extern bool orderctl_database_is_lost(const OrderctlDatabase *database);

/* How many there are. */
extern int orderctl_rows_count(const OrderctlRows *rows);

/* A value by row and column, both from 0, as text; "" for NULL. Valid as long as the rows. */
extern const char *orderctl_rows_text(const OrderctlRows *rows, int row, int column);

/* The same as a number; 0 for NULL. */
extern int64_t orderctl_rows_number(const OrderctlRows *rows, int row, int column);

/* Frees them, with the texts in them. */
extern void orderctl_rows_free(OrderctlRows *rows);

#endif /* ORDERCTL_DATABASE_H */
