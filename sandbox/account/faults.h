/*
 * faults.h
 *		Which calls go wrong, and how. Pure: it decides and counts, service.c does it.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "account_bounds.h"

/* What is done instead of, or before, the usual answer. */
typedef enum FaultKind
{
	FAULT_DELAY,  /* the usual answer, later */
	FAULT_STATUS, /* a gRPC status without a message */
	FAULT_RESULT, /* a reply with another ResultCode */
	FAULT_DROP,   /* closes the connection, with all its calls */
	FAULT_HANG,   /* never answers */
	FAULT_RESET,  /* RST_STREAM */
	FAULT_CRASH,  /* ends the process as a crash would */
} FaultKind;

#define FAULT_KIND_COUNT (FAULT_CRASH + 1)

#define FAULT_METHOD_ANY (-1)
#define FAULT_ACCOUNT_ANY INT64_C(0)

typedef struct Fault
{
	FaultKind kind;
	bool is_after;      /* the ledger acted and committed first */
	int method;         /* or FAULT_METHOD_ANY */
	int64_t account_id; /* or FAULT_ACCOUNT_ANY */
	double percent;     /* of the calls that fit, 0 to 100 */
	int64_t times;      /* ends after so many hits; 0 for never */
	int64_t delay_ms;   /* waited first, with every kind */
	int code;           /* gRPC status, ResultCode or HTTP/2 error code, by kind */
	int64_t hits;
} Fault;

typedef struct Faults
{
	Fault list[ACCOUNT_FAULTS_MAX];
	int count;
	long seed;
	unsigned short random[3];       /* the state of erand48() */
	int64_t hits[FAULT_KIND_COUNT]; /* since the start, over all lists */
} Faults;

/* Starts without faults. */
extern void faults_init(Faults *faults, long seed);

/*
 * Takes another list, of at most ACCOUNT_FAULTS_MAX. The random sequence begins anew: what a list
 * does to a sequence of calls depends on the seed only.
 */
extern void faults_replace(Faults *faults, const Fault *list, int count);

/* The first fault of the list that hits this call, counted; NULL for none. Valid until the list is
 * replaced. */
extern const Fault *faults_choose(Faults *faults, int method, int64_t account_id);

/* "delay", "status", ... and back; false for another text. */
extern const char *fault_kind_name(FaultKind kind);
extern bool fault_kind_of(const char *name, FaultKind *kind);

#endif /* FAULTS_H */
