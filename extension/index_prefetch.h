/*
 * index_prefetch.h
 *		The pages of indexes that rows will be entered on, asked for all at once.
 */
#ifndef INDEX_PREFETCH_H
#define INDEX_PREFETCH_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

/*
 * Asks the kernel for those leaf pages of the B-tree indexes of |target| that are not in the
 * buffers and on which the rows of |slots|, virtual tuples, are likely to be entered; waits for
 * none of them. Returns how many it asked for. Asks for nothing where maintenance_io_concurrency is
 * 0. The indexes are open.
 */
extern int index_prefetch(ResultRelInfo *target, TupleTableSlot **slots, int count);

#endif /* INDEX_PREFETCH_H */
