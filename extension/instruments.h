/*
 * instruments.h
 *		The table instrument.
 */
#ifndef INSTRUMENTS_H
#define INSTRUMENTS_H

#include "postgres.h"

#include "hot_table.h"
#include "rules.h"

typedef struct InstrumentRow
{
	char *symbol;
	Instrument instrument;
} InstrumentRow;

/* Opens the table to find rows; hot_table_close() ends it. */
extern HotTable *instruments_open(void);

/*
 * The instrument of a symbol of 1 to SYMBOL_LENGTH_MAX bytes, in the current memory context; NULL
 * when there is none.
 */
extern InstrumentRow *instruments_find(HotTable *table, const char *symbol, Size length);

#endif /* INSTRUMENTS_H */
