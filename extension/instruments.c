/*
 * instruments.c
 *		The table instrument.
 *
 * DESIGN	Every order looks for one of few rows that hardly ever change. So a backend remembers
 *			where it found a symbol, and looks there first: if the snapshot shows a row at that
 *			place, and it has the symbol, it is the row, however old the memory is. All else (the
 *			row was changed, the place was used again, another symbol took the slot) costs a look
 *			into the index, and the place is noted anew.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"

#include "bounds.h"
#include "compat.h"
#include "instruments.h"

/* The columns of the table that count here; in this order below. */
enum
{
	SYMBOL,
	CURRENCY,
	TICK,
	LOT,
	PRICE_FLOOR,
	PRICE_CEILING,
	HALTED,
	COLUMN_COUNT
};

static HotColumns instrument_columns = {
	.table = "instrument",
	.key = HOT_KEY_TEXT,
	.count = COLUMN_COUNT,
	.names = {"symbol", "currency", "tick", "lot", "price_floor", "price_ceiling", "halted"},
};

/* Where a symbol of this hash value was found last; a place that is not valid: nowhere yet. */
typedef struct SymbolPlace
{
	uint32 hash;
	ItemPointerData place;
} SymbolPlace;

/* Where symbols may be remembered whose hash values lead to the same set. */
typedef struct PlaceSet
{
	SymbolPlace places[INSTRUMENT_PLACES_PER_SET];
	uint32 next; /* counts up; which is given away next */
} PlaceSet;

static PlaceSet sets[INSTRUMENT_PLACES / INSTRUMENT_PLACES_PER_SET];

HotTable *
instruments_open(void)
{
	return hot_table_open(&instrument_columns, AccessShareLock);
}

static Datum
cell(HotTable *table, int column)
{
	bool is_null;

	return hot_table_get(table, column, &is_null);
}

static bool
is_at(HotTable *table, ItemPointerData place, const char *symbol, Size length)
{
	text *found;

	if (!ItemPointerIsValid(&place) || !hot_table_find_at(table, place))
		return false;
	found = DatumGetTextPP(cell(table, SYMBOL));
	return VARSIZE_ANY_EXHDR(found) == length && memcmp(VARDATA_ANY(found), symbol, length) == 0;
}

/* Finds the row where one of its hash value was; false if it is not there. */
static bool
find_remembered(HotTable *table, PlaceSet *set, uint32 hash, const char *symbol, Size length)
{
	for (int i = 0; i < INSTRUMENT_PLACES_PER_SET; i++)
	{
		const SymbolPlace *found = &set->places[i];

		if (found->hash == hash && is_at(table, found->place, symbol, length))
			return true;
	}
	return false;
}

/* Where a hash value is remembered: where it was before, if it was. */
static SymbolPlace *
place_for(PlaceSet *set, uint32 hash)
{
	for (int i = 0; i < INSTRUMENT_PLACES_PER_SET; i++)
	{
		if (set->places[i].hash == hash)
			return &set->places[i];
	}
	return &set->places[set->next++ % INSTRUMENT_PLACES_PER_SET];
}

static InstrumentRow *
read_row(HotTable *table, const char *symbol, Size length)
{
	InstrumentRow *row = palloc(sizeof(InstrumentRow));

	row->symbol = pnstrdup(symbol, length);
	strlcpy(row->instrument.currency, TextDatumGetCString(cell(table, CURRENCY)),
			sizeof(row->instrument.currency));
	row->instrument.tick = DatumGetInt64(cell(table, TICK));
	row->instrument.lot = DatumGetInt64(cell(table, LOT));
	row->instrument.price_floor = DatumGetInt64(cell(table, PRICE_FLOOR));
	row->instrument.price_ceiling = DatumGetInt64(cell(table, PRICE_CEILING));
	row->instrument.halted = DatumGetBool(cell(table, HALTED));
	return row;
}

InstrumentRow *
instruments_find(HotTable *table, const char *symbol, Size length)
{
	uint32 hash = hash_bytes((const unsigned char *) symbol, (int) length);
	PlaceSet *set = &sets[hash % lengthof(sets)];

	if (!find_remembered(table, set, hash, symbol, length))
	{
		if (!hot_table_find(table, PointerGetDatum(cstring_to_text_with_len(symbol, (int) length))))
			return NULL;
		*place_for(set, hash) = (SymbolPlace){.hash = hash, .place = hot_table_place(table)};
	}
	return read_row(table, symbol, length);
}
