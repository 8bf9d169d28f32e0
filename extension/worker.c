/*
 * worker.c
 *		What every turn of the background worker needs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "outbox.h"
#include "worker.h"

/* Where the caller of worker_begin() allocates, and goes on to after worker_commit(). */
static MemoryContext caller_context = NULL;

static TimeoutId transaction_timeout;

static void
on_terminate(SIGNAL_ARGS)
{
	if (ShutdownRequestPending)
		die(postgres_signal_arg);
	else
		SignalHandlerForShutdownRequest(postgres_signal_arg);
}

/*
 * A transaction may wait for a lock, and who holds it need not be a session that a shutdown ends: a
 * prepared transaction stays. Then nobody would look at ShutdownRequestPending.
 */
static void
on_long_transaction(void)
{
	if (ShutdownRequestPending)
		die(SIGTERM);
}

void
worker_take_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, on_terminate);
	transaction_timeout = RegisterTimeout(USER_TIMEOUT, on_long_transaction);
	BackgroundWorkerUnblockSignals();
}

void
worker_end_if_asked(void)
{
	if (ShutdownRequestPending)
		ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN),
						errmsg("terminating background worker \"%s\" due to administrator command",
							   MyBgworkerEntry->bgw_type)));
}

void
worker_set_session(void)
{
	static const char *const settings[][2] = {
		/* What a crash can lose is a mark, and that costs a duplicate. */
		{"synchronous_commit", "off"},
		{"search_path", "pg_catalog, pg_temp"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

void
worker_begin(void)
{
	caller_context = CurrentMemoryContext;
	enable_timeout_every(transaction_timeout,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TRANSACTION_GRACE_MS),
						 TRANSACTION_GRACE_MS);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
worker_begin_on(Oid outbox)
{
	worker_begin();
	if (outbox_relation() != outbox)
		worker_start_anew("the extension was dropped or created again");
}

void
worker_commit(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not finish SPI");
	PopActiveSnapshot();
	CommitTransactionCommand();
	disable_timeout(transaction_timeout, false);
	/* Without this, autovacuum would never learn how many rows were deleted or updated here. */
	pgstat_report_stat(false);
	MemoryContextSwitchTo(caller_context);
}

void
worker_start_anew(const char *why)
{
	ereport(LOG, (errmsg("order_service publisher starts anew: %s", why)));
	proc_exit(1);
}
