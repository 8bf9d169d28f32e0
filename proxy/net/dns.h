/*
 * dns.h
 *		Names to addresses, without blocking (evdns: the hosts file and the system's name servers).
 */
#ifndef DNS_H
#define DNS_H

#include <sys/socket.h>

#include "base/address.h"
#include "base/bounds.h"
#include "net/loop.h"

typedef struct Dns Dns;
typedef struct DnsQuery DnsQuery;

typedef struct DnsAddress
{
	struct sockaddr_storage address; /* with port */
	socklen_t size;
} DnsAddress;

/* |error| is NULL, or why there is no address (static text); then |count| is 0. */
typedef void (*DnsCallback)(void *context, const DnsAddress *addresses, int count,
							const char *error);

typedef struct DnsOptions
{
	const char *resolv_conf; /* the file that names the name servers; "nameserver 127.0.0.1:53" */
	int64_t refresh_us;      /* how often a name that is in use is to be asked for again, > 0 */
} DnsOptions;

/* Reads the hosts file and /etc/resolv.conf, once; the rest are defaults. Never NULL. */
extern Dns *dns_new(Loop *loop);

/*
 * With other options. Without that file the name server is this machine, and a line in the log says
 * so; never NULL.
 */
extern Dns *dns_new_from(Loop *loop, const DnsOptions *options);

/* DnsOptions.refresh_us, for who asks. */
extern int64_t dns_refresh_us(const Dns *dns);

/* No query may be under way. Not from within a turn of the loop. */
extern void dns_free(Dns *dns);

/*
 * Asks for the addresses of |host|, at most DNS_ADDRESSES_MAX, each once, for TCP. A numeric host
 * is not asked for. The callback comes exactly once, within DNS_TIMEOUT_MS, not from within this
 * call; the query is gone after it.
 */
extern DnsQuery *dns_resolve(Dns *dns, const char *host, int port, DnsCallback callback,
							 void *context);

/* Takes a query back: its callback does not come. */
extern void dns_cancel(DnsQuery *query);

/* "127.0.0.1:8082" or "[::1]:8082", terminated and cut to |size|. */
extern void dns_format(const struct sockaddr *address, char *text, size_t size);

#endif /* DNS_H */
