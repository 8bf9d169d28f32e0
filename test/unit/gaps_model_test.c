/*
 * gaps_model_test.c
 *		The set of undecided ids in long random runs, against an array of all ids.
 *
 * DESIGN	The array holds for each id what is known of it, and which call made it a gap, so that
 *			it tells exactly which gaps there are. A set with room must equal it. A set that is full
 *			may call known ids undecided, may wait longer than it must, and may look into the table
 *			too early; it must never forget an id that is undecided, nor take its horizon to be
 *			lower than it is, which would decide it while a transaction may still commit it.
 *
 *			The gaps stand in memory of their exact size, whose end the address sanitizer watches.
 *			GAPS_TEST_SEED replaces the start of the random numbers, which is printed.
 */
#include "gaps.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

#define IDS 2000
#define OPERATIONS 100000
#define SEED_DEFAULT 20261123u

/* Horizons and times are small, so that they often meet. */
#define VALUES 50

/* What is known of an id; |piece| is 0, or says which call made it a gap. */
typedef struct Cell
{
	uint32_t piece;
	uint64_t horizon;
	int64_t not_before;
} Cell;

/* Ids are |base| and a place in |cells|. */
typedef struct Model
{
	int64_t base;
	int head;
	uint32_t last_piece;
	Cell cells[IDS];
} Model;

static int
random_below(int limit)
{
	return (int) (random() % limit);
}

static void
start_random_numbers(void)
{
	const char *text = getenv("GAPS_TEST_SEED");
	unsigned int seed = text != NULL ? (unsigned int) strtoul(text, NULL, 10) : SEED_DEFAULT;

	print_message("GAPS_TEST_SEED=%u\n", seed);
	srandom(seed);
}

/* Makes the places from |from| to |to| a gap of their own. */
static void
model_put(Model *model, int from, int to, uint64_t horizon, int64_t not_before)
{
	model->last_piece++;
	for (int i = from; i < to; i++)
		model->cells[i] =
			(Cell){.piece = model->last_piece, .horizon = horizon, .not_before = not_before};
}

static void
model_close(Model *model, int from, int to)
{
	for (int i = from; i < to; i++)
		model->cells[i].piece = 0;
}

static void
model_extend(Model *model, int head, uint64_t horizon)
{
	if (head <= model->head)
		return;
	model_put(model, model->head, head, horizon, 0);
	model->head = head;
}

static void
model_take(Model *model, int place, uint64_t horizon)
{
	model_extend(model, place, horizon);
	if (place == model->head)
		model->head++;
	model_close(model, place, place + 1);
}

/* The gap of a place or the first one above it; false when there is none. */
static bool
model_find(const Model *model, int place, Gap *gap)
{
	int from = place;
	int to;

	while (from < model->head && model->cells[from].piece == 0)
		from++;
	if (from >= model->head)
		return false;
	for (to = from; to < model->head && model->cells[to].piece == model->cells[from].piece; to++)
		continue;
	while (from > 0 && model->cells[from - 1].piece == model->cells[from].piece)
		from--;
	*gap = (Gap){.from = model->base + from,
				 .to = model->base + to,
				 .horizon = model->cells[from].horizon,
				 .not_before = model->cells[from].not_before};
	return true;
}

static bool
model_next_due(const Model *model, int place, uint64_t oldest_running, int64_t now, bool eager,
			   Gap *gap)
{
	while (model_find(model, place, gap))
	{
		if (gap->not_before <= now && (eager || gap->horizon <= oldest_running))
			return true;
		place = (int) (gap->to - model->base);
	}
	return false;
}

static int64_t
model_low_water(const Model *model)
{
	Gap gap;

	return model_find(model, 0, &gap) ? gap.from : model->base + model->head;
}

static void
expect_same_gap(const Gap *gap, bool is_expected, const Gap *expected)
{
	if (!is_expected)
	{
		assert_null(gap);
		return;
	}
	assert_non_null(gap);
	assert_true(gap->from == expected->from);
	assert_true(gap->to == expected->to);
	assert_true(gap->horizon == expected->horizon);
	assert_true(gap->not_before == expected->not_before);
}

/*
 * One change of both.
 */
static void
change(Gaps *gaps, Model *model)
{
	int kind = random_below(100);
	int from = random_below(model->head);
	int to = from + 1 + random_below(random_below(8) == 0 ? IDS / 4 : 12);
	uint64_t horizon = (uint64_t) random_below(VALUES);
	int64_t not_before = random_below(VALUES);

	if (to > model->head)
		to = model->head;
	if (kind < 45)
	{
		int place = kind < 15 ? model->head + random_below(5) : from;

		if (place >= IDS)
			return;
		gaps_take(gaps, model->base + place, horizon);
		model_take(model, place, horizon);
	}
	else if (kind < 50)
	{
		int head = model->head + random_below(10) - 4;

		if (head > IDS)
			return;
		gaps_extend(gaps, model->base + head, horizon);
		model_extend(model, head, horizon);
	}
	else if (kind < 75)
	{
		gaps_close(gaps, model->base + from, model->base + to);
		model_close(model, from, to);
	}
	else
	{
		Gap gap = {.from = model->base + from,
				   .to = model->base + to,
				   .horizon = horizon,
				   .not_before = not_before};

		gaps_put(gaps, &gap);
		model_put(model, from, to, gap.horizon, not_before);
	}
}

/* What no change may ever break. */
static void
expect_order(const Gaps *gaps, const Model *model)
{
	int64_t end = model->base;

	assert_true(gaps->head == model->base + model->head);
	assert_in_range(gaps->count, 0, gaps->capacity);
	for (int i = 0; i < gaps->count; i++)
	{
		assert_true(gaps->items[i].from >= end);
		assert_true(gaps->items[i].to > gaps->items[i].from);
		end = gaps->items[i].to;
	}
	assert_true(end <= gaps->head);
}

static void
expect_equal_answers(const Gaps *gaps, const Model *model)
{
	int place = random_below(model->head);
	uint64_t oldest_running = (uint64_t) random_below(VALUES);
	int64_t now = random_below(VALUES);
	bool eager = random_below(2) == 0;
	Gap expected;
	bool is_expected = model_find(model, place, &expected);

	expect_same_gap(gaps_find(gaps, model->base + place), is_expected, &expected);
	assert_int_equal(gaps_contain(gaps, model->base + place), model->cells[place].piece != 0);
	is_expected = model_next_due(model, place, oldest_running, now, eager, &expected);
	expect_same_gap(gaps_next_due(gaps, model->base + place, oldest_running, now, eager),
					is_expected, &expected);
	assert_true(gaps_contain(gaps, model->base + model->head + random_below(10)));
}

static void
expect_equal_gaps(const Gaps *gaps, const Model *model)
{
	int64_t id = model->base;
	Gap expected;
	int count = 0;

	while (model_find(model, (int) (id - model->base), &expected))
	{
		expect_same_gap(gaps_find(gaps, id), true, &expected);
		id = expected.to;
		count++;
	}
	assert_int_equal(gaps->count, count);
	assert_true(gaps_low_water(gaps) == model_low_water(model));
}

static void
expect_equal(const Gaps *gaps, const Model *model, int operation)
{
	expect_order(gaps, model);
	expect_equal_answers(gaps, model);
	if (operation % 16 == 0)
		expect_equal_gaps(gaps, model);
}

/* A gap that is due must hold nothing that a running transaction may commit. */
static void
expect_safe_answers(const Gaps *gaps, const Model *model)
{
	uint64_t oldest_running = (uint64_t) random_below(VALUES);
	const Gap *due =
		gaps_next_due(gaps, model->base + random_below(model->head), oldest_running, VALUES, false);

	if (due == NULL)
		return;
	for (int place = (int) (due->from - model->base); place < due->to - model->base; place++)
	{
		if (model->cells[place].piece != 0)
			assert_true(model->cells[place].horizon <= oldest_running);
	}
}

static void
expect_safe(const Gaps *gaps, const Model *model, int operation)
{
	expect_order(gaps, model);
	expect_safe_answers(gaps, model);
	assert_true(gaps_low_water(gaps) <= model_low_water(model));
	if (operation % 16 != 0)
		return;
	for (int place = 0; place < model->head; place++)
	{
		const Cell *cell = &model->cells[place];
		const Gap *gap = gaps_find(gaps, model->base + place);

		assert_int_equal(gaps_contain(gaps, model->base + place),
						 gap != NULL && gap->from <= model->base + place);
		if (cell->piece == 0)
			continue;
		assert_true(gaps_contain(gaps, model->base + place));
		assert_true(gap->horizon >= cell->horizon);
	}
}

/* Looking up gap after gap empties even a full set. */
static void
expect_it_empties(Gaps *gaps)
{
	for (int i = 0; i < gaps->capacity; i++)
	{
		const Gap *due = gaps_next_due(gaps, 0, 0, VALUES, true);

		if (due == NULL)
			break;
		gaps_close(gaps, due->from, due->to);
	}
	assert_int_equal(gaps->count, 0);
	assert_true(gaps_low_water(gaps) == gaps->head);
}

static void
run(int capacity, void (*expect)(const Gaps *gaps, const Model *model, int operation))
{
	static const int64_t bases[] = {0, INT64_C(1) << 44, INT64_MAX - IDS - 10};
	Gap *items = malloc(sizeof(Gap) * (size_t) capacity);
	Model *model = malloc(sizeof(Model));
	Gaps gaps;
	int round = 0;

	assert_non_null(items);
	assert_non_null(model);
	for (int operation = 0; operation < OPERATIONS; operation++)
	{
		if (operation == 0 || (model->head == IDS && random_below(1000) == 0))
		{
			if (operation > 0)
				expect_it_empties(&gaps);
			memset(model, 0, sizeof(*model));
			model->base = bases[round++ % LENGTH_OF(bases)];
			model->head = 1;
			gaps_init(&gaps, items, capacity, model->base + 1);
		}
		change(&gaps, model);
		expect(&gaps, model, operation);
	}
	expect_it_empties(&gaps);
	assert_true(round >= LENGTH_OF(bases));
	free(items);
	free(model);
}

static void
set_with_room_equals_the_array(void **state)
{
	(void) state;
	start_random_numbers();
	run(2 * IDS, expect_equal);
}

static void
full_set_never_decides_an_id_by_itself(void **state)
{
	static const int capacities[] = {4, 5, 8, 30};

	(void) state;
	start_random_numbers();
	for (int i = 0; i < LENGTH_OF(capacities); i++)
		run(capacities[i], expect_safe);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_with_room_equals_the_array),
		cmocka_unit_test(full_set_never_decides_an_id_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
