/*
 * quantile.h
 *		A quantile of the last values, such as the time that 95 % of the calls do not exceed.
 *
 * Pure: no allocation, about 3 KB each.
 */
#ifndef QUANTILE_H
#define QUANTILE_H

#include <stdint.h>

#include "base/bounds.h"

/*
 * Values below 16 have a count each; above, every doubling is cut into 16, so what is read back is
 * at most a sixteenth above what was added. The largest value has 32 bits.
 */
#define QUANTILE_STEPS 16
#define QUANTILE_VALUE_MAX INT64_C(4294967295)
#define QUANTILE_COUNTS ((32 - 4 + 1) * QUANTILE_STEPS)

typedef struct Quantile
{
	int percent;
	int count;      /* values that are looked at */
	int next;       /* where the next one goes */
	int fresh;      /* added since the quantile was computed */
	int64_t result; /* -1: none yet */
	uint16_t positions[QUANTILE_SAMPLES];
	uint16_t counts[QUANTILE_COUNTS];
} Quantile;

/* No value yet. |percent| is within 1 to 99. */
extern void quantile_init(Quantile *quantile, int percent);

/*
 * Adds a value, >= 0; larger ones than QUANTILE_VALUE_MAX count as that. It takes the place of the
 * oldest of QUANTILE_SAMPLES. Of something that was broken off, add what is known: the quantile is
 * right as long as that is not below it.
 */
extern void quantile_add(Quantile *quantile, int64_t value);

/*
 * What |percent| of the values do not exceed; -1 while there are fewer than QUANTILE_SAMPLES_MIN.
 * It follows what is added within QUANTILE_REFRESH values.
 */
extern int64_t quantile_get(const Quantile *quantile);

#endif /* QUANTILE_H */
