/*
 * worker.h
 *		What every turn of the background worker needs: its session and short transactions.
 */
#ifndef WORKER_H
#define WORKER_H

#include "postgres.h"

/*
 * Takes the signals: SIGHUP sets ConfigReloadPending; the first SIGTERM sets
 * ShutdownRequestPending, so that what is in hand can be seen through, the second one ends the
 * process wherever it is. So does the first, after TRANSACTION_GRACE_MS, in a transaction that does
 * not end. To be called first of all.
 */
extern void worker_take_signals(void);

/* Ends the process if a SIGTERM asked for it. */
extern void worker_end_if_asked(void);

/* Sets the session up; to be called once, after the process has connected to its database. */
extern void worker_set_session(void);

/*
 * Begins a transaction with a snapshot, within SPI. What is allocated until worker_commit() is
 * freed by it; afterwards the caller's memory context is the current one again.
 */
extern void worker_begin(void);

/* The same on the outbox table |outbox|; when that is no longer the one there, starts anew. */
extern void worker_begin_on(Oid outbox);

/* Ends it. Does not wait for the disk. */
extern void worker_commit(void);

/* Ends the process with this line in the log; the postmaster starts another one. */
extern _Noreturn void worker_start_anew(const char *why);

#endif /* WORKER_H */
