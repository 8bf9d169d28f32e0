/*
 * database.h
 *		How a publisher comes to its database, and makes room in it.
 */
#ifndef DATABASE_H
#define DATABASE_H

#include "postgres.h"

#include "shared.h"

/*
 * Watches for statements that want a database without sessions; to be called once, from
 * _PG_init().
 */
extern void database_init(void);

/*
 * Connects this process, the publisher of |channel|, to its database. Where there is none, or it is
 * wanted without sessions, waits outside until that has changed and ends the process: the next one
 * connects.
 */
extern void database_connect(Channel *channel);

/*
 * True while somebody wants the database without sessions: the publisher should end. To be asked
 * after channel->is_woken was cleared.
 */
extern bool database_is_wanted(Channel *channel);

/* Ends the process for that. */
extern _Noreturn void database_leave(void);

#endif /* DATABASE_H */
