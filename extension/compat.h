/*
 * compat.h
 *		What differs between PostgreSQL 15, 16, 17 and 18: the only file that asks for the version.
 */
#ifndef COMPAT_H
#define COMPAT_H

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "replication/message.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM < 150000
#error "order_service needs PostgreSQL 15 or later"
#endif

/* 16 moved out of postgres.h what looks into values of varying length. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 says it before a declaration, as C11 does. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
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

/* 17 has such a set end with a resource owner, or with the process; before, with its memory. */
#if PG_VERSION_NUM >= 170000
#define compat_create_wait_set(count) CreateWaitEventSet(NULL, (count))
#else
#define compat_create_wait_set(count) CreateWaitEventSet(TopMemoryContext, (count))
#endif

/* 16 wants to know which tables are written, where there are several. */
#if PG_VERSION_NUM >= 160000
#define compat_begin_recheck(recheck, executor) \
	EvalPlanQualInit((recheck), (executor), NULL, NIL, -1, NIL)
#else
#define compat_begin_recheck(recheck, executor) \
	EvalPlanQualInit((recheck), (executor), NULL, NIL, -1)
#endif

/* 16 knows indexes that hold summaries only (BRIN), and what an update means for them. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes CompatUpdateIndexes;
#define compat_is_index_update(indexes) ((indexes) != TU_None)
#define compat_is_summarizing_only(indexes) ((indexes) == TU_Summarizing)
#define compat_insert_index_tuples(target, slot, executor, is_update, is_summarizing_only) \
	ExecInsertIndexTuples((target), (slot), (executor), (is_update), false, NULL, NIL, \
						  (is_summarizing_only))
#define compat_insert_index_tuples_unless(target, slot, executor, is_conflict, arbiters) \
	ExecInsertIndexTuples((target), (slot), (executor), false, true, (is_conflict), (arbiters), \
						  false)
#else
typedef bool CompatUpdateIndexes;
#define compat_is_index_update(indexes) (indexes)
#define compat_is_summarizing_only(indexes) false
#define compat_insert_index_tuples(target, slot, executor, is_update, is_summarizing_only) \
	ExecInsertIndexTuples((target), (slot), (executor), (is_update), false, NULL, NIL)
#define compat_insert_index_tuples_unless(target, slot, executor, is_conflict, arbiters) \
	ExecInsertIndexTuples((target), (slot), (executor), false, true, (is_conflict), (arbiters))
#endif

/* 16 wants to know the table of an index, for its recovery conflicts. */
#if PG_VERSION_NUM >= 160000
#define compat_index_root(index, table) _bt_getroot((index), (table), BT_READ)
#else
#define compat_index_root(index, table) ((void) (table), _bt_getroot((index), BT_READ))
#endif

/* 16 renamed what says in which file a relation is. */
#if PG_VERSION_NUM >= 160000
#define compat_sequence_record(sequence) ((xl_seq_rec){.locator = (sequence)->rd_locator})
#else
#define compat_sequence_record(sequence) ((xl_seq_rec){.node = (sequence)->rd_node})
#endif

/*
 * 18 counts what index scans read, knows primary keys that are checked late, and may look for
 * conflicts of a row that is there already.
 */
#if PG_VERSION_NUM >= 180000
#define compat_check_index_constraints(target, slot, executor, in_the_way, arbiters) \
	ExecCheckIndexConstraints((target), (slot), (executor), (in_the_way), NULL, (arbiters))
#define compat_index_beginscan(table, index, snapshot, keys) \
	index_beginscan((table), (index), (snapshot), NULL, (keys), 0)
#define compat_primary_key(table) RelationGetPrimaryKeyIndex((table), false)
#else
#define compat_check_index_constraints(target, slot, executor, in_the_way, arbiters) \
	ExecCheckIndexConstraints((target), (slot), (executor), (in_the_way), (arbiters))
#define compat_index_beginscan(table, index, snapshot, keys) \
	index_beginscan((table), (index), (snapshot), (keys), 0)
#define compat_primary_key(table) RelationGetPrimaryKeyIndex(table)
#endif

/* 16 has one function for all kinds of objects. */
#if PG_VERSION_NUM >= 160000
#define compat_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, (database), (role))
#else
#define compat_owns_database(database, role) pg_database_ownercheck((database), (role))
#endif

#endif /* COMPAT_H */
