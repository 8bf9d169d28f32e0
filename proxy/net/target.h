/*
 * target.h
 *		A name of a gRPC service, "host:port", and the addresses behind it as they change.
 */
#ifndef TARGET_H
#define TARGET_H

#include "net/dns.h"
#include "net/loop.h"

typedef struct Target Target;

/*
 * The name was asked for. |error| is NULL, or why there is no answer (static text); then |count| is
 * 0, and what was known before is to be kept.
 */
typedef void (*TargetCallback)(void *context, Target *target, const DnsAddress *addresses,
							   int count, const char *error);

/*
 * Asks for the addresses of |text|, and again every dns_refresh_us(), or after a failure. NULL
 * when it is not host:port with a port from 1. The callback never comes from within these
 * functions.
 */
extern Target *target_new(Loop *loop, Dns *dns, const char *text, TargetCallback callback,
						  void *context);

/* Takes a query back, too: the callback does not come any more. */
extern void target_free(Target *target);

/* Asks again soon, at most every TARGET_RESOLVE_MS_MIN. */
extern void target_refresh(Target *target);

/* Whether the name is being asked for and no attempt at that has failed since it was last known. */
extern bool target_is_hopeful(const Target *target);

/* "host:port", as it was given, and the host alone. */
extern const char *target_name(const Target *target);
extern const char *target_host(const Target *target);

#endif /* TARGET_H */
