/*
 * document.h
 *		What the admin interface reads and writes as JSON: accounts, holds, totals.
 *
 * Reading is strict: an unknown field is an error, so that a mistyped one is not taken for one left
 * out.
 */
#ifndef DOCUMENT_H
#define DOCUMENT_H

#include <jansson.h>
#include <stdint.h>

#include "faults.h"
#include "fields.h"
#include "ledger.h"
#include "service.h"

/*
 * Creates or adds to an account, or each of an array, inside the ledger's open transaction. Returns
 * how many, or -1 with the error: then the transaction is to be rolled back.
 */
extern int document_put_accounts(const json_t *document, Ledger *ledger,
								 char error[FIELDS_ERROR_SIZE]);

/* An account with its balances; NULL when there is none. The caller owns what these return. */
extern json_t *document_account(Ledger *ledger, int64_t account_id);

/*
 * A page of at most |limit| reservations that hold, with ids above |after|; NULL when the database
 * fails. Reads them all at once.
 */
extern json_t *document_holds(Ledger *ledger, const char *after, int limit);

/* Sums and counts; NULL when the database fails, or a sum is above INT64_MAX. */
extern json_t *document_totals(Ledger *ledger, const Faults *faults, const ServiceTotals *totals);

#endif /* DOCUMENT_H */
