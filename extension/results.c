/*
 * results.c
 *		What an array function returns: a set of rows, or the same rows packed into one value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "results.h"

void
results_begin(Results *results, FunctionCallInfo fcinfo, const Oid *types, int column_count)
{
	*results = (Results){.types = types, .column_count = column_count};
	if (fcinfo->flinfo->fn_retset)
	{
		InitMaterializedSRF(fcinfo, 0);
		results->set = (ReturnSetInfo *) fcinfo->resultinfo;
		return;
	}
	if (types == NULL)
		elog(ERROR, "function has no packed form");
	pq_begintypsend(&results->packed);
	/* The number of rows, when it is known. */
	pq_sendint32(&results->packed, 0);
}

static void
pack_text(StringInfo out, Datum value)
{
	text *own = DatumGetTextPP(value);
	int own_size = VARSIZE_ANY_EXHDR(own);
	char *sent = pg_server_to_client(VARDATA_ANY(own), own_size);
	int size = sent == VARDATA_ANY(own) ? own_size : (int) strlen(sent);

	pq_sendint32(out, size + 1);
	pq_sendbytes(out, sent, size);
	pq_sendbyte(out, 0);
}

static void
pack_cell(StringInfo out, Oid type, Datum value)
{
	switch (type)
	{
		case BOOLOID:
			pq_sendint32(out, 1);
			pq_sendbyte(out, DatumGetBool(value));
			break;
		case INT2OID:
			pq_sendint32(out, sizeof(int16));
			pq_sendint16(out, DatumGetInt16(value));
			break;
		case INT4OID:
			pq_sendint32(out, sizeof(int32));
			pq_sendint32(out, DatumGetInt32(value));
			break;
		case INT8OID:
		case TIMESTAMPTZOID:
			pq_sendint32(out, sizeof(int64));
			pq_sendint64(out, DatumGetInt64(value));
			break;
		case TEXTOID:
			pack_text(out, value);
			break;
		default:
			elog(ERROR, "values of type %u cannot be packed", type);
	}
}

void
results_put(Results *results, Datum *values, bool *is_null)
{
	StringInfo out = &results->packed;

	if (results->set != NULL)
	{
		tuplestore_putvalues(results->set->setResult, results->set->setDesc, values, is_null);
		return;
	}
	results->row_count++;
	pq_sendint16(out, results->column_count);
	for (int i = 0; i < results->column_count; i++)
	{
		if (is_null[i])
			pq_sendint32(out, -1);
		else
			pack_cell(out, results->types[i], values[i]);
	}
}

Datum
results_end(Results *results)
{
	uint32 row_count = pg_hton32(results->row_count);

	if (results->set != NULL)
		return (Datum) 0;
	memcpy(results->packed.data + VARHDRSZ, &row_count, sizeof(row_count));
	return PointerGetDatum(pq_endtypsend(&results->packed));
}
