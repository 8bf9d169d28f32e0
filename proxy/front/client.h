/*
 * client.h
 *		Client connections: what they send becomes requests to the flow, and the answers go back.
 */
#ifndef FRONT_CLIENT_H
#define FRONT_CLIENT_H

#include <stdbool.h>

#include "base/config.h"
#include "net/loop.h"
#include "order/flow.h"

/* All clients of one listener, and what they share. */
typedef struct ClientGroup ClientGroup;

/* Takes from |config| what is under [listen]; it and |flow| must outlive the group. */
extern ClientGroup *client_group_new(Loop *loop, Flow *flow, const Config *config);

/*
 * Closes every connection at once. Requests may be under way only if their answers can never come
 * any more, because the loop does not run again.
 */
extern void client_group_free(ClientGroup *group);

/*
 * From now on new requests are refused, and each connection is closed once it is owed nothing and
 * no request is half read.
 */
extern void client_group_drain(ClientGroup *group);

typedef struct ClientFigures
{
	bool is_draining;
	int connections; /* open */
	int in_flight;   /* requests read and not answered, also of connections that are gone */
	int writing;     /* connections with answers that are not yet written */
} ClientFigures;

/* How things stand. */
extern ClientFigures client_group_figures(const ClientGroup *group);

/* A client has connected. Takes the descriptor, which must not block; |peer| is for the log. */
extern void client_open(ClientGroup *group, int descriptor, const char *peer);

#endif /* FRONT_CLIENT_H */
