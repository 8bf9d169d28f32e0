/*
 * statement.c
 *		SQL statements with kept plans.
 *
 * DESIGN	Generic plans only: the array parameters would make every custom plan look different,
 *			and planning costs more than running. The planner must not choose by the size a table
 *			had when the plan was made (a new table is empty): everything is reached by its key. Any
 *			run may plan anew, so every run has the settings that make sure of it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "statement.h"

static void
prepare(Statement *statement)
{
	SPIPlanPtr plan;

	Assert(statement->parameter_count <= STATEMENT_PARAMETERS_MAX);
	plan = SPI_prepare_cursor(statement->sql, statement->parameter_count,
							  statement->parameter_types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep the plan of \"%s\"", statement->sql);
	statement->plan = plan;
}

/* Returns the level of settings to go back to; an error goes back by itself. */
static int
set_planner(void)
{
	/* JIT would only cost. */
	static const char *const names[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin",
										"jit"};
	int level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(names); i++)
		(void) set_config_option(names[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
								 0, false);
	return level;
}

uint64
statement_run(Statement *statement, const Datum *values)
{
	int level = set_planner();
	int result;

	if (statement->plan == NULL)
		prepare(statement);
	result = SPI_execute_plan(statement->plan, unconstify(Datum *, values), NULL, false, 0);
	AtEOXact_GUC(true, level);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", statement->sql, SPI_result_code_string(result));
	return SPI_processed;
}

Datum
statement_array(Datum *values, int count, Oid type)
{
	int16 type_length;
	bool type_by_value;
	char type_alignment;

	get_typlenbyvalalign(type, &type_length, &type_by_value, &type_alignment);
	return PointerGetDatum(
		construct_array(values, count, type, type_length, type_by_value, type_alignment));
}

Datum
statement_int64_array(const int64 *values, int count)
{
	Datum *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return statement_array(datums, count, INT8OID);
}

static Datum
column(uint64 row, int number)
{
	bool is_null;
	Datum value;

	Assert(row < SPI_processed);
	value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &is_null);
	if (is_null)
		elog(ERROR, "column %d of a result is null", number);
	return value;
}

int64
statement_int64(uint64 row, int number)
{
	return DatumGetInt64(column(row, number));
}

int32
statement_int32(uint64 row, int number)
{
	return DatumGetInt32(column(row, number));
}

int16
statement_int16(uint64 row, int number)
{
	return DatumGetInt16(column(row, number));
}

char *
statement_text(uint64 row, int number, MemoryContext context)
{
	bool is_null;
	Datum value;
	MemoryContext caller;
	char *copy;

	Assert(row < SPI_processed);
	value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &is_null);
	if (is_null)
		return NULL;
	caller = MemoryContextSwitchTo(context);
	copy = TextDatumGetCString(value);
	MemoryContextSwitchTo(caller);
	return copy;
}
