/*
 * worker.c
 *		What every turn of the background worker needs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "outbox.h"
#include "worker.h"

/* Where the caller of worker_begin() allocates, and goes on to after worker_commit(). */
static MemoryContext caller_context = NULL;

void
worker_set_session(void)
{
	/* Those of the functions' statements (order_service--*.sql), and no wait at commit. */
	static const char *const settings[][2] = {
		/* What a crash can lose is a mark, and that costs a duplicate. */
		{"synchronous_commit", "off"}, {"search_path", "pg_catalog, pg_temp"},
		{"enable_seqscan", "off"},     {"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},   {"jit", "off"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

void
worker_begin(void)
{
	caller_context = CurrentMemoryContext;
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
	/* Without this, autovacuum would never learn how many rows were updated here. */
	pgstat_report_stat(false);
	MemoryContextSwitchTo(caller_context);
}

void
worker_start_anew(const char *why)
{
	ereport(LOG, (errmsg("order_service publisher starts anew: %s", why)));
	proc_exit(1);
}
