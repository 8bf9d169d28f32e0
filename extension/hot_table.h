/*
 * hot_table.h
 *		The tables on the path of every order, searched and written without the executor.
 *
 * A row is a set of cells, addressed by the position of the column in HotColumns. Between
 * hot_table_open() and hot_table_close() a table is like one statement: it either inserts or
 * updates, a row once, and sees nothing of what it writes. All functions allocate in the current
 * memory context, and raise the server's errors.
 */
#ifndef HOT_TABLE_H
#define HOT_TABLE_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "storage/lockdefs.h"

#include "hot_columns.h"

typedef struct HotTable HotTable;

/*
 * Opens a table, locked until the end of the transaction: AccessShareLock to find, RowShareLock to
 * lock rows, RowExclusiveLock to write. What was committed before this call is what is found now.
 */
extern HotTable *hot_table_open(HotColumns *columns, LOCKMODE lock_mode);

/* Ends it: triggers fire, and the next statement sees what was written. */
extern void hot_table_close(HotTable *table);

/* Begins one more row to be inserted; all cells are NULL. It becomes the row that is set. */
extern void hot_table_add(HotTable *table);

/* Sets a cell of the row begun last. A value by reference must stay until it is written. */
extern void hot_table_set(HotTable *table, int column, Datum value);

/* Has the place of each row that is inserted written there, in the order they were added. */
extern void hot_table_tell_places(HotTable *table, ItemPointerData *places);

/*
 * Has rows inserted unless their primary keys are there already, as hot_insert_missing() does, and
 * has it written there of each whether it was. Rows are added in ascending order of their keys.
 */
extern void hot_table_tell_inserted(HotTable *table, bool *is_inserted);

/* Inserts the rows that were added, as far as that was not done when there were many. */
extern void hot_table_insert(HotTable *table);

/* Finds a row by its key; false if there is none. It becomes the row that is read. */
extern bool hot_table_find(HotTable *table, Datum key);

/* The same for one key after the other, each above the one before it, of a key that is a bigint. */
extern bool hot_table_find_ascending(HotTable *table, Datum key);

/*
 * Locks the row found last FOR UPDATE until the end of the transaction, waiting for whoever has it;
 * what is read then is its latest version, as for a statement. False if it is gone.
 */
extern bool hot_table_lock(HotTable *table);

/* Where the row found last is, for hot_table_find_at(). */
extern ItemPointerData hot_table_place(HotTable *table);

/*
 * Finds the row that is at a place, of whatever key; false if there is none to be seen. Cheaper
 * than to look for a key. A row that this transaction has locked is where it was until it is
 * changed; any other may have gone, and the place be another one's.
 */
extern bool hot_table_find_at(HotTable *table, ItemPointerData place);

/* A cell of the row found last, valid until the next one is looked for. */
extern Datum hot_table_get(HotTable *table, int column, bool *is_null);

/* Begins a new version of the row found last, which is locked. It becomes the row that is set. */
extern void hot_table_change(HotTable *table);

/* Writes the new version. */
extern void hot_table_update(HotTable *table);

#endif /* HOT_TABLE_H */
