/*
 * hot_insert.h
 *		The rows of a command that inserts, into a table on the path of every order.
 *
 * The command was begun with CMD_INSERT. Slots are virtual tuples, and have the places of their
 * rows afterwards.
 */
#ifndef HOT_INSERT_H
#define HOT_INSERT_H

#include "postgres.h"

#include "executor/tuptable.h"

#include "hot_command.h"

/*
 * Of a table, when a row was there: so many of the next ones are looked for before they are
 * written.
 */
#define HOT_INSERT_CAREFUL_ROWS 1000

/* Inserts rows. */
extern void hot_insert_all(HotCommand *command, TupleTableSlot **slots, int count);

/*
 * Inserts rows unless their primary keys are there, and says of each whether it did: what ON
 * CONFLICT DO NOTHING does. Waits for a transaction that inserts the same key. Keys rise from row
 * to row and from call to call, so that two commands cannot deadlock; the command is_arbitrated.
 */
extern void hot_insert_missing(HotCommand *command, TupleTableSlot **slots, int count,
							   bool *is_inserted);

#endif /* HOT_INSERT_H */
