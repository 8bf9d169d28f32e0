/*
 * worker.h
 *		What every turn of the background worker needs: its session and short transactions.
 */
#ifndef WORKER_H
#define WORKER_H

#include "postgres.h"

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
