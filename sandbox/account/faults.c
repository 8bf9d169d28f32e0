/*
 * faults.c
 *		Which calls go wrong, and how.
 *
 * DESIGN	The list is gone through in its order and the first fault that hits is the only one: a
 *			list reads as "else". Each fault that fits draws a number of its own.
 */
#include "faults.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[FAULT_KIND_COUNT] = {
	[FAULT_DELAY] = "delay", [FAULT_STATUS] = "status", [FAULT_RESULT] = "result",
	[FAULT_DROP] = "drop",   [FAULT_HANG] = "hang",     [FAULT_RESET] = "reset",
	[FAULT_CRASH] = "crash",
};

static void
faults_seed(Faults *faults)
{
	faults->random[0] = 0x330E;
	faults->random[1] = (unsigned short) faults->seed;
	faults->random[2] = (unsigned short) (faults->seed >> 16);
}

void
faults_init(Faults *faults, long seed)
{
	memset(faults, 0, sizeof(*faults));
	faults->seed = seed;
	faults_seed(faults);
}

void
faults_replace(Faults *faults, const Fault *list, int count)
{
	assert(count >= 0);
	assert(count <= ACCOUNT_FAULTS_MAX);
	if (count > 0)
		memcpy(faults->list, list, (size_t) count * sizeof(*list));
	for (int i = 0; i < count; i++)
		faults->list[i].hits = 0;
	faults->count = count;
	faults_seed(faults);
}

static bool
fault_fits(const Fault *fault, int method, int64_t account_id)
{
	return (fault->method == FAULT_METHOD_ANY || fault->method == method) &&
		   (fault->account_id == FAULT_ACCOUNT_ANY || fault->account_id == account_id) &&
		   (fault->times == 0 || fault->hits < fault->times);
}

const Fault *
faults_choose(Faults *faults, int method, int64_t account_id)
{
	for (int i = 0; i < faults->count; i++)
	{
		Fault *fault = &faults->list[i];

		/* erand48() is below 1, so 100 always hits and 0 never. */
		if (!fault_fits(fault, method, account_id) ||
			erand48(faults->random) * 100 >= fault->percent)
			continue;
		fault->hits++;
		faults->hits[fault->kind]++;
		return fault;
	}
	return NULL;
}

const char *
fault_kind_name(FaultKind kind)
{
	assert(kind < FAULT_KIND_COUNT);
	return kind_names[kind];
}

bool
fault_kind_of(const char *name, FaultKind *kind)
{
	for (int i = 0; i < FAULT_KIND_COUNT; i++)
	{
		if (strcmp(name, kind_names[i]) == 0)
		{
			*kind = (FaultKind) i;
			return true;
		}
	}
	return false;
}
