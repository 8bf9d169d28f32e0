/*
 * after_commit.c
 *		Hints: from the transaction that wrote events, after its commit, to the publisher.
 *
 * DESIGN	Events are collected in the transaction's memory. When it has committed, the server
 *			calls back at a point where nothing may fail: an error there takes the whole server
 *			down. So the callback only copies what is ready into the ring and sets a latch, once; it
 *			allocates nothing and waits for nobody. Where that cannot be done (ring full, too many
 *			events, no publisher yet) a flag tells the publisher to read the table.
 *
 *			PREPARE TRANSACTION drops the hints: the transaction may be committed by another
 *			backend, after a restart, or never. COMMIT PREPARED has no callback of its own, so a
 *			utility hook sets the flag.
 *
 * FAILURE	A backend that dies between commit and callback leaves a gap in the event ids; the
 *			publisher asks the table about gaps (gaps.h).
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "lib/stringinfo.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "after_commit.h"
#include "bounds.h"
#include "ring.h"
#include "shared.h"

/*
 * Where the events of a subtransaction begin in the buffer. Subtransaction ids rise as they start.
 */
typedef struct Mark
{
	SubTransactionId subtransaction;
	int length;
	uint32 event_count;
} Mark;

/*
 * What the running transaction has collected; in TopTransactionContext, so it goes with the
 * transaction.
 */
typedef struct Collection
{
	StringInfoData bytes;
	Oid outbox;
	uint32 event_count;
	bool is_incomplete; /* some events are not in here: the table must be read */
	Mark *marks;
	int mark_count;
	int mark_capacity;
} Collection;

static Collection *collection = NULL;
static ProcessUtility_hook_type prev_process_utility = NULL;

static Collection *
start_collection(Oid outbox)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	Collection *result = palloc0(sizeof(Collection));

	initStringInfo(&result->bytes);
	result->outbox = outbox;
	result->mark_capacity = 8;
	result->marks = palloc(sizeof(Mark) * result->mark_capacity);
	MemoryContextSwitchTo(caller);
	return result;
}

/* Remembers where the events of the present subtransaction begin, unless that is known. */
static void
mark_subtransaction(void)
{
	SubTransactionId current = GetCurrentSubTransactionId();
	int count = collection->mark_count;

	if (count > 0 && collection->marks[count - 1].subtransaction == current)
		return;
	if (count == collection->mark_capacity)
	{
		collection->mark_capacity *= 2;
		collection->marks = repalloc(collection->marks, sizeof(Mark) * collection->mark_capacity);
	}
	collection->marks[count] = (Mark){.subtransaction = current,
									  .length = collection->bytes.len,
									  .event_count = collection->event_count};
	collection->mark_count++;
}

void
after_commit_add(Oid outbox, const HintEvent *event, const void *payload)
{
	static const char padding[8] = {0};
	Size size = HINT_EVENT_SIZE(event->payload_size);

	if (collection == NULL)
		collection = start_collection(outbox);
	if (shared_own_channel() == NULL || collection->outbox != outbox ||
		size > COLLECT_BYTES_MAX - (Size) collection->bytes.len)
	{
		collection->is_incomplete = true;
		return;
	}
	mark_subtransaction();
	appendBinaryStringInfo(&collection->bytes, (const char *) event, sizeof(HintEvent));
	appendBinaryStringInfo(&collection->bytes, payload, event->payload_size);
	appendBinaryStringInfo(&collection->bytes, padding,
						   (int) (size - sizeof(HintEvent) - event->payload_size));
	collection->event_count++;
}

void
after_commit_request_catch_up(Oid outbox)
{
	if (collection == NULL)
		collection = start_collection(outbox);
	collection->is_incomplete = true;
}

/* Runs after the commit: no allocation, no wait, no error. */
static void
send_hints(const Collection *collected)
{
	Channel *channel = shared_own_channel();
	HintHead head = {.commit_end = XactLastCommitEnd,
					 .committed_at = GetCurrentTimestamp(),
					 .outbox = collected->outbox,
					 .event_count = collected->event_count};

	if (channel == NULL)
		return;
	if (collected->is_incomplete ||
		(collected->event_count > 0 &&
		 ring_push(channel->ring, &head, sizeof(head), collected->bytes.data,
				   (uint32) collected->bytes.len) != RING_OK))
		shared_request_catch_up(channel);
	else if (collected->event_count > 0)
		shared_wake(channel);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	Collection *collected = collection;

	(void) arg;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			collection = NULL;
			if (collected != NULL)
				send_hints(collected);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			collection = NULL;
			break;
		default:
			break;
	}
}

/* A subtransaction rolled back: what it and those within it collected is the tail of the buffer. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subtransaction, SubTransactionId parent,
					  void *arg)
{
	(void) parent;
	(void) arg;
	if (event != SUBXACT_EVENT_ABORT_SUB || collection == NULL)
		return;
	while (collection->mark_count > 0 &&
		   collection->marks[collection->mark_count - 1].subtransaction >= subtransaction)
	{
		const Mark *mark = &collection->marks[collection->mark_count - 1];

		collection->bytes.len = mark->length;
		collection->event_count = mark->event_count;
		collection->mark_count--;
	}
}

static void
process_utility(PlannedStmt *statement, const char *query, bool is_read_only_tree,
				ProcessUtilityContext context, ParamListInfo parameters,
				QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	bool is_commit_prepared =
		IsA(statement->utilityStmt, TransactionStmt) &&
		castNode(TransactionStmt, statement->utilityStmt)->kind == TRANS_STMT_COMMIT_PREPARED;

	(prev_process_utility != NULL ? prev_process_utility : standard_ProcessUtility)(
		statement, query, is_read_only_tree, context, parameters, environment, destination,
		completion);
	if (is_commit_prepared)
	{
		Channel *channel = shared_own_channel();

		if (channel != NULL)
			shared_request_catch_up(channel);
	}
}

void
after_commit_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
