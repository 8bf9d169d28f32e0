/*
 * session.c
 *		Who speaks on a connection.
 *
 * DESIGN	Two places are enough: a client either logs in, or names its session in every request,
 *			and then it is mostly the same one. Memory is taken only for connections that have a
 *			session: idle ones are many.
 */
#include "order/session.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"

typedef struct Identity
{
	char *id; /* NULL: none */
	int64_t account_id;
	int64_t checked_us;
} Identity;

struct Session
{
	int holders;
	Identity login;
	Identity named;
};

Session *
session_new(void)
{
	Session *session = bytes_new_zeroed(1, sizeof(Session));

	session->holders = 1;
	return session;
}

static void
clear(Identity *identity)
{
	free(identity->id);
	*identity = (Identity){0};
}

void
session_hold(Session *session)
{
	assert(session->holders > 0);
	session->holders++;
}

void
session_release(Session *session)
{
	assert(session->holders > 0);
	if (--session->holders > 0)
		return;
	clear(&session->login);
	clear(&session->named);
	free(session);
}

static bool
is_for(const Identity *identity, const char *id)
{
	return identity->id != NULL && strcmp(identity->id, id) == 0;
}

static int64_t
account_of(const Identity *identity, int64_t now_us)
{
	bool is_fresh = now_us - identity->checked_us < SESSION_TRUST_MS * CLOCK_MS;

	return identity->id != NULL && is_fresh ? identity->account_id : 0;
}

int64_t
session_account(const Session *session, const char *id, int64_t now_us)
{
	if (id[0] == '\0' || is_for(&session->login, id))
		return account_of(&session->login, now_us);
	return is_for(&session->named, id) ? account_of(&session->named, now_us) : 0;
}

const char *
session_login_id(const Session *session)
{
	return session->login.id;
}

static void
set(Identity *identity, const char *id, int64_t account_id, int64_t now_us)
{
	assert(id[0] != '\0' && account_id > 0);
	if (!is_for(identity, id))
	{
		clear(identity);
		identity->id = bytes_copy_text(id);
	}
	identity->account_id = account_id;
	identity->checked_us = now_us;
}

void
session_remember(Session *session, const char *id, int64_t account_id, int64_t now_us)
{
	set(is_for(&session->login, id) ? &session->login : &session->named, id, account_id, now_us);
}

void
session_log_in(Session *session, const char *id, int64_t account_id, int64_t now_us)
{
	set(&session->login, id, account_id, now_us);
}

void
session_log_out(Session *session)
{
	clear(&session->login);
}

void
session_forget(Session *session, const char *id)
{
	if (is_for(&session->login, id))
		clear(&session->login);
	if (is_for(&session->named, id))
		clear(&session->named);
}
