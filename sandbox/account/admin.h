/*
 * admin.h
 *		The HTTP interface to fill the ledger, to look into it, and to set faults.
 *
 *		GET    /healthz                       is it alive
 *		POST   /accounts                      create or add to an account, or an array of them
 *		GET    /accounts/ID                   an account with its balances
 *		GET    /holds?after=ID&limit=N        what is reserved, by reserve_id
 *		GET    /totals                        sums and counts
 *		GET    /faults                        the faults and how often they hit
 *		PUT    /faults                        replaces them
 *		DELETE /faults                        ends them
 *
 * Answers are JSON; an error is {"error": "..."} with 400 (what was sent is wrong), 404, 405, 413
 * (too large) or 500 (the database failed). There is no password: it belongs on a loopback address.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include "faults.h"
#include "ledger.h"
#include "net/loop.h"
#include "service.h"

typedef struct Admin Admin;

/* Listens on "host:port" (port 0: any free one); NULL, and a line in the log, when it cannot. The
 * others outlive it. */
extern Admin *admin_new(Loop *loop, Ledger *ledger, Faults *faults, Service *service,
						const char *address);

/* The port it listens on. */
extern int admin_port(const Admin *admin);

/* Closes everything. */
extern void admin_free(Admin *admin);

#endif /* ADMIN_H */
