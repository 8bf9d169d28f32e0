/*
 * hot_columns.c
 *		The columns of a table on the path of every order, found by their names.
 *
 * DESIGN	Where a column was is remembered, and its name compared each time: a table that was
 *			restored or altered may have it elsewhere.
 */
#include "postgres.h"

#include "utils/rel.h"

#include "hot_columns.h"

static bool
is_column(TupleDesc description, int16 number, const char *name)
{
	Form_pg_attribute attribute;

	if (number < 1 || number > description->natts)
		return false;
	attribute = TupleDescAttr(description, number - 1);
	return !attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0;
}

void
hot_columns_locate(HotColumns *columns, Relation relation)
{
	TupleDesc description = RelationGetDescr(relation);

	for (int i = 0; i < columns->count; i++)
	{
		if (is_column(description, columns->numbers[i], columns->names[i]))
			continue;
		columns->numbers[i] = 1;
		while (!is_column(description, columns->numbers[i], columns->names[i]))
		{
			if (columns->numbers[i]++ > description->natts)
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
								errmsg("column \"%s\" of \"order_service.%s\" does not exist",
									   columns->names[i], columns->table)));
		}
	}
}

void
hot_columns_check_all(const HotColumns *columns, Relation relation)
{
	TupleDesc description = RelationGetDescr(relation);
	int count = 0;

	for (int i = 0; i < description->natts; i++)
		count += !TupleDescAttr(description, i)->attisdropped;
	if (count != columns->count)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("\"order_service.%s\" has %d columns where %d are known",
							   columns->table, count, columns->count),
						errhint("Columns of this table cannot be added or dropped.")));
}
