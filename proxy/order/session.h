/*
 * session.h
 *		Sessions: which account the database gave for a session id, and what each connection has
 *		logged in with.
 *
 * Pure: time is passed in. What the database said is believed for SESSION_TRUST_MS; then it is
 * asked again, so that a session closed elsewhere ends here, too.
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdint.h>

/* The sessions that the database has confirmed lately, of all connections. */
typedef struct SessionCache SessionCache;

/* Keeps at most |capacity| (> 0) sessions; one more drops the one asked for longest ago. */
extern SessionCache *session_cache_new(int capacity);
extern void session_cache_free(SessionCache *cache);

/* The account of a session id; 0 when the database must be asked. */
extern int64_t session_cache_find(const SessionCache *cache, const char *id, int64_t now_us);

/* The database gave an account (> 0) for a session id. */
extern void session_cache_remember(SessionCache *cache, const char *id, int64_t account_id,
								   int64_t now_us);

/* The database does not know the id, or no longer. */
extern void session_cache_forget(SessionCache *cache, const char *id);

/* A connection, and what it has logged in with. */
typedef struct Session Session;

/* A connection that is not logged in, held once. */
extern Session *session_new(void);

/* A request that runs may outlive its connection: each holds the session; the last frees it. */
extern void session_hold(Session *session);
extern void session_release(Session *session);

/* The session id of the login; NULL when there is none. Valid until the next of the two below. */
extern const char *session_login_id(const Session *session);

/* The connection is logged in with |id|, which is copied. */
extern void session_log_in(Session *session, const char *id);

/* The connection is no longer logged in with |id|; nothing happens if it is with another. */
extern void session_log_out(Session *session, const char *id);

#endif /* SESSION_H */
