/*
 * statement.c
 *		SQL statements with kept plans.
 *
 * DESIGN	Generic plans only: the array parameters would make every custom plan look different,
 *			and planning costs more than running. What the planner must not decide by statistics is
 *			fixed by the settings of the SQL functions (order_service--*.sql) and of the publisher's
 *			session.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "statement.h"

static SPIPlanPtr
prepare(Statement *statement, const char *sql)
{
	SPIPlanPtr plan;

	Assert(statement->parameter_count <= STATEMENT_PARAMETERS_MAX);
	plan = SPI_prepare_cursor(sql, statement->parameter_count, statement->parameter_types,
							  CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep the plan of \"%s\"", sql);
	return plan;
}

/* The rows of the array parameters: a function scan, or for one row, plain expressions. */
static char *
row_source(const Statement *statement, bool is_one)
{
	StringInfoData source;
	char *names = pstrdup(statement->columns);
	char *rest = names;
	char *name;
	int number = 1;

	initStringInfo(&source);
	appendStringInfoString(&source, is_one ? "(SELECT " : "unnest(");
	while ((name = strsep(&rest, ",")) != NULL)
	{
		if (is_one)
			appendStringInfo(&source, "%s($%d)[1] AS %s", number > 1 ? ", " : "", number, name);
		else
			appendStringInfo(&source, "%s$%d", number > 1 ? ", " : "", number);
		number++;
	}
	if (is_one)
		appendStringInfoString(&source, ") AS u");
	else
		appendStringInfo(&source, ") AS u (%s)", statement->columns);
	pfree(names);
	return source.data;
}

static SPIPlanPtr
prepare_rows(Statement *statement, bool is_one)
{
	/* The text is ours and has one %s. */
	char *source = row_source(statement, is_one);
	const char *mark = strstr(statement->sql, "%s");
	StringInfoData sql;

	if (mark == NULL)
		elog(ERROR, "statement has no place for its rows: \"%s\"", statement->sql);
	initStringInfo(&sql);
	appendBinaryStringInfo(&sql, statement->sql, (int) (mark - statement->sql));
	appendStringInfoString(&sql, source);
	appendStringInfoString(&sql, mark + strlen("%s"));
	return prepare(statement, sql.data);
}

static uint64
run(SPIPlanPtr plan, const Statement *statement, const Datum *values)
{
	int result = SPI_execute_plan(plan, unconstify(Datum *, values), NULL, false, 0);

	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", statement->sql, SPI_result_code_string(result));
	return SPI_processed;
}

uint64
statement_run(Statement *statement, const Datum *values)
{
	Assert(statement->columns == NULL);
	if (statement->plan == NULL)
		statement->plan = prepare(statement, statement->sql);
	return run(statement->plan, statement, values);
}

uint64
statement_run_rows(Statement *statement, const Datum *values, int row_count)
{
	SPIPlanPtr *plan = row_count == 1 ? &statement->row_plan : &statement->plan;

	Assert(statement->columns != NULL);
	Assert(row_count > 0);
	if (*plan == NULL)
		*plan = prepare_rows(statement, row_count == 1);
	return run(*plan, statement, values);
}

Datum
statement_int64_array(const int64 *values, int count)
{
	Datum *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return statement_datum_array(datums, count, INT8OID);
}

Datum
statement_int32_array(const int32 *values, int count)
{
	Datum *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int32GetDatum(values[i]);
	return statement_datum_array(datums, count, INT4OID);
}

Datum
statement_int16_array(const int16 *values, int count)
{
	Datum *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int16GetDatum(values[i]);
	return statement_datum_array(datums, count, INT2OID);
}

Datum
statement_datum_array(Datum *values, int count, Oid type)
{
	int16 type_length;
	bool type_by_value;
	char type_alignment;

	get_typlenbyvalalign(type, &type_length, &type_by_value, &type_alignment);
	return PointerGetDatum(
		construct_array(values, count, type, type_length, type_by_value, type_alignment));
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
