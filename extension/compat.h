/*
 * compat.h
 *		What differs between PostgreSQL 15, 16, 17 and 18: the only file that asks for the version.
 */
#ifndef COMPAT_H
#define COMPAT_H

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "replication/message.h"
#include "storage/proc.h"

#if PG_VERSION_NUM < 150000
#error "order_service needs PostgreSQL 15 or later"
#endif

/* 17 lets the caller ask for the flush; before, the message is flushed by XLogFlush() as usual. */
#if PG_VERSION_NUM >= 170000
#define compat_log_message(prefix) LogLogicalMessage((prefix), "", 0, false, false)
#else
#define compat_log_message(prefix) LogLogicalMessage((prefix), "", 0, false)
#endif

/* 17 names processes by ProcNumber; before, by their index in the same array. */
#if PG_VERSION_NUM >= 170000
#define compat_proc_number() ((uint32) MyProcNumber)
#else
#define compat_proc_number() ((uint32) MyProc->pgprocno)
#endif
#define compat_proc_latch(number) (&ProcGlobal->allProcs[(number)].procLatch)

#endif /* COMPAT_H */
