/*
 * hot_columns.h
 *		The columns of a table on the path of every order, found by their names.
 *
 * Both functions raise an error when the table is not as it is known.
 */
#ifndef HOT_COLUMNS_H
#define HOT_COLUMNS_H

#include "postgres.h"

#include "utils/relcache.h"

#define HOT_COLUMNS_MAX 20

typedef enum HotKey
{
	HOT_KEY_BIGINT,
	HOT_KEY_TEXT,
} HotKey;

/*
 * A table of the extension: its columns, all of them if rows are to be inserted; the first is that
 * of its primary key, or the first of these. Define it static with table, count, names and key.
 */
typedef struct HotColumns
{
	const char *table; /* in the schema of the extension */
	HotKey key;        /* type of the first column */
	int count;
	const char *names[HOT_COLUMNS_MAX];
	int16 numbers[HOT_COLUMNS_MAX]; /* where they were found last; 0: not yet */
	int careful_count; /* of rows that hot_insert_missing() looks for before it writes */
	bool is_warm;      /* the rows that were inserted last had to wait for no page to be read */
} HotColumns;

/* Sets |columns->numbers|: where they are in the table as it is now. */
extern void hot_columns_locate(HotColumns *columns, Relation relation);

/* A column of the table that is not among them would be NULL, whatever its default says. */
extern void hot_columns_check_all(const HotColumns *columns, Relation relation);

#endif /* HOT_COLUMNS_H */
