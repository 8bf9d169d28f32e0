/*
 * idempotency.h
 *		The table idempotency_key: who used which key for what.
 *
 * All functions run within SPI. Keys were checked by rules_key_valid().
 */
#ifndef IDEMPOTENCY_H
#define IDEMPOTENCY_H

#include "postgres.h"

#include "rules.h"

typedef struct KeyClaim
{
	int64 account_id;
	const char *key; /* not terminated */
	Size key_length;
	int position;   /* of the item in its batch */
	int64 order_id; /* what the key is to stand for */
	bool is_claimed;

	/* Where the key is in use: for what. */
	bool is_found;
	bool is_expired; /* in the table, but past its retention: as good as not found */
	Command found_command;
	int64 found_order_id;
} KeyClaim;

/*
 * Order of claims: by bytes of the key, then by account, then by position. For qsort() over an
 * array of pointers to KeyClaim, or to structs that begin with one.
 */
extern int idempotency_compare(const void *left, const void *right);

/* Whether two claims are for the same key of the same account. */
extern bool idempotency_is_same(const KeyClaim *left, const KeyClaim *right);

/*
 * Claims keys that nobody uses, or whose retention has passed: sets is_claimed, or is_found with
 * what the key stands for. |claims| is sorted and without duplicates, so that two batches cannot
 * deadlock. Waits for a transaction that holds the same key, and claims it when that one rolls
 * back.
 */
extern void idempotency_claim(KeyClaim **claims, int count, Command command);

/*
 * Looks keys up, in any order: sets is_found and what was found. Sees all that is committed by now.
 */
extern void idempotency_find(KeyClaim **claims, int count);

#endif /* IDEMPOTENCY_H */
