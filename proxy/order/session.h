/*
 * session.h
 *		Who speaks on a connection: the session it has logged in with, and the one its last request
 *		named, each with the account that the database gave for it.
 *
 * Pure: time is passed in. A session id is believed for SESSION_TRUST_MS; then the database is
 * asked again, so that a session closed elsewhere ends here, too.
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdint.h>

typedef struct Session Session;

/* A connection without a session, held once. */
extern Session *session_new(void);

/* A request that runs may outlive its connection: each holds the session; the last frees it. */
extern void session_hold(Session *session);
extern void session_release(Session *session);

/*
 * The account of |id|, or, with "", of the login; 0 when the database must be asked (or, with "",
 * when there is no login).
 */
extern int64_t session_account(const Session *session, const char *id, int64_t now_us);

/* The id of the login; NULL when there is none. Valid until the next session_log_*(). */
extern const char *session_login_id(const Session *session);

/* What the database said about |id|. A login by the same id learns it, too. */
extern void session_remember(Session *session, const char *id, int64_t account_id, int64_t now_us);

/* The connection is logged in with |id|, or no longer. */
extern void session_log_in(Session *session, const char *id, int64_t account_id, int64_t now_us);
extern void session_log_out(Session *session);

/* The database does not know |id|, or no longer: neither login nor request may use it. */
extern void session_forget(Session *session, const char *id);

#endif /* SESSION_H */
