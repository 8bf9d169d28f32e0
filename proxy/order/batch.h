/*
 * batch.h
 *		Items that go to the database as one call: the functions' signatures, arguments out, result
 *		rows in.
 *
 * Pure. The only place that knows the SQL side of the contract.
 */
#ifndef BATCH_H
#define BATCH_H

#include "net/pg_conn.h"
#include "net/pg_row.h"
#include "order/store_item.h"

/*
 * One call. An item whose owner has been answered before the call was (its deadline passed) belongs
 * to nobody here any more: the items are in the order of their deadlines, and the first
 * |answered_count| of them are not to be touched.
 */
typedef struct Batch
{
	StoreKind kind;
	int count; /* at least 1, and 1 for kinds that are not gathered */
	int answered_count;

	/* its holder's */
	TAILQ_ENTRY(Batch) link;
	void *holder;
	int64_t sent_us;
	bool is_on_reader;

	StoreItem *items[];
} Batch;

TAILQ_HEAD(BatchList, Batch);

/* The statement of each kind, prepared on every connection: its number is the kind. */
extern const PgStatement batch_statements[STORE_KIND_COUNT];

/* Whether many items of a kind go as one call of an array function. */
extern bool batch_is_gathered(StoreKind kind);

/* Whether a kind only reads: a reader can serve it, and an answer that is lost is no harm. */
extern bool batch_is_read(StoreKind kind);

/* Room for |count| items, which the caller sets. */
extern Batch *batch_new(StoreKind kind, int count);

/* Frees the batch, not its items. */
extern void batch_free(Batch *batch);

/* Writes the arguments of all items, over what |arguments| held. No item may have been answered. */
extern void batch_encode(const Batch *batch, PgArguments *arguments);

/* What the rows of an answer are taken apart into: zeroed before the first batch_decode(). */
typedef struct BatchAnswer
{
	StoreResult result;
	PgPackedRows packed; /* the rows that are left */
	StoreOrder *orders;
	StoreClaim *claims;
} BatchAnswer;

/* Frees the answer's memory, after the last batch_decode(). */
extern void batch_answer_free(BatchAnswer *answer);

/*
 * The result of item |index|, which is above that of the call before, into |answer->result|; its
 * texts live as long as |rows|. False when the rows are not what the function should return.
 */
extern bool batch_decode(const Batch *batch, const PGresult *rows, int index, BatchAnswer *answer);

/*
 * The refusal that an error of a single form stands for, by its SQLSTATE: REASON_UNKNOWN_ORDER,
 * REASON_NOT_YOURS; REASON_NONE when it is no refusal.
 */
extern Reason batch_refusal(const char *sqlstate);

#endif /* BATCH_H */
