/*
 * results.h
 *		What an array function returns: a set of rows, or the same rows packed into one value.
 *
 * A packed value is for a program that wants many small rows at little cost: the server passes on
 * one value instead of each cell, and so does the client's library. All integers are big-endian:
 *
 *		number of rows (4 bytes), then of each row
 *			number of cells (2), then of each cell
 *				its size (4), -1 for NULL, and so many bytes
 *
 * A cell is what the type's send function makes of it, in the client's encoding, but that a text
 * ends with a zero byte, which its size counts.
 */
#ifndef RESULTS_H
#define RESULTS_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"

typedef struct Results
{
	ReturnSetInfo *set; /* NULL: they are packed */
	const Oid *types;
	int column_count;
	uint32 row_count; /* that are packed */
	StringInfoData packed;
} Results;

/*
 * Begins the results of a function: packed if it is declared to return one value, else a set.
 * |types| are those of the columns: int2, int4, int8, bool, text, timestamptz; NULL for a function
 * that has no packed form. Both forms live in the memory that is current now.
 */
extern void results_begin(Results *results, FunctionCallInfo fcinfo, const Oid *types,
						  int column_count);

/* Adds a row. */
extern void results_put(Results *results, Datum *values, bool *is_null);

/* Ends them: what the function returns. */
extern Datum results_end(Results *results);

#endif /* RESULTS_H */
