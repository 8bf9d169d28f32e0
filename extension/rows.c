/*
 * rows.c
 *		Statements that take many rows at once.
 *
 * DESIGN	Many rows are one array per column and a function scan over unnest(). To set that up for
 *			a dozen columns costs more than to insert a row, so a single row has a statement of its
 *			own, with plain parameters. Both are made from one text.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "rows.h"

/* unnest($1, $2) AS u (a, b); or for one row, (SELECT $1 AS a, $2 AS b) AS u. */
static char *
row_source(const RowStatement *statement, bool is_one)
{
	StringInfoData source;
	char *names = pstrdup(statement->columns);
	char *rest = names;
	char *name;
	int count = 0;

	initStringInfo(&source);
	appendStringInfoString(&source, is_one ? "(SELECT " : "unnest(");
	while ((name = strsep(&rest, ",")) != NULL)
	{
		appendStringInfo(&source, "%s$%d", count > 0 ? ", " : "", count + 1);
		if (is_one)
			appendStringInfo(&source, " AS %s", name);
		count++;
	}
	if (count != statement->column_count)
		elog(ERROR, "%d types for columns \"%s\"", statement->column_count, statement->columns);
	if (is_one)
		appendStringInfoString(&source, ") AS u");
	else
		appendStringInfo(&source, ") AS u (%s)", statement->columns);
	pfree(names);
	return source.data;
}

static void
make_statement(const RowStatement *from, bool is_one, Statement *statement)
{
	const char *mark = strstr(from->sql, "%s");
	StringInfoData sql;

	if (mark == NULL)
		elog(ERROR, "statement has no place for its rows: \"%s\"", from->sql);
	initStringInfo(&sql);
	appendBinaryStringInfo(&sql, from->sql, (int) (mark - from->sql));
	appendStringInfoString(&sql, row_source(from, is_one));
	appendStringInfoString(&sql, mark + strlen("%s"));
	statement->parameter_count = from->column_count + from->further_count;
	for (int i = 0; i < from->column_count; i++)
		statement->parameter_types[i] =
			is_one ? from->column_types[i] : get_array_type(from->column_types[i]);
	for (int i = 0; i < from->further_count; i++)
		statement->parameter_types[from->column_count + i] = from->further_types[i];
	/* As long-lived as the plan that is made from it. */
	statement->sql = MemoryContextStrdup(TopMemoryContext, sql.data);
}

Rows
rows_new(RowStatement *statement, int count)
{
	Assert(count > 0);
	return (Rows){.statement = statement,
				  .count = count,
				  .cells = palloc(sizeof(Datum) * statement->column_count * count)};
}

static Datum
column_array(const Rows *rows, int column)
{
	return statement_array(&rows->cells[column * rows->count], rows->count,
						   rows->statement->column_types[column]);
}

uint64
rows_run(const Rows *rows, const Datum *further)
{
	RowStatement *from = rows->statement;
	bool is_one = rows->count == 1;
	Statement *statement = is_one ? &from->one : &from->many;
	Datum values[STATEMENT_PARAMETERS_MAX];

	if (statement->sql == NULL)
		make_statement(from, is_one, statement);
	for (int column = 0; column < from->column_count; column++)
		values[column] = is_one ? rows->cells[column] : column_array(rows, column);
	for (int i = 0; i < from->further_count; i++)
		values[from->column_count + i] = further[i];
	return statement_run(statement, values);
}
