/*
 * session_test.c
 *		Sessions: how long the database is believed, how many are kept, and who is logged in.
 */
#include "order/session.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bounds.h"
#include "base/clock.h"

#define NOW (INT64_C(1) << 40)
#define TRUST (SESSION_TRUST_MS * CLOCK_MS)

static void
an_account_is_known_for_the_very_id(void **state)
{
	SessionCache *cache = session_cache_new(4);

	(void) state;
	session_cache_remember(cache, "abc", 7, NOW);
	assert_int_equal(session_cache_find(cache, "abc", NOW), 7);
	assert_int_equal(session_cache_find(cache, "abcd", NOW), 0);
	assert_int_equal(session_cache_find(cache, "ab", NOW), 0);
	assert_int_equal(session_cache_find(cache, "", NOW), 0);
	session_cache_free(cache);
}

static void
trust_ends_after_its_time_and_is_renewed_by_the_database(void **state)
{
	SessionCache *cache = session_cache_new(4);

	(void) state;
	session_cache_remember(cache, "abc", 7, NOW);
	assert_int_equal(session_cache_find(cache, "abc", NOW + TRUST - 1), 7);
	assert_int_equal(session_cache_find(cache, "abc", NOW + TRUST), 0);
	session_cache_remember(cache, "abc", 8, NOW + TRUST);
	assert_int_equal(session_cache_find(cache, "abc", NOW + TRUST), 8);
	session_cache_free(cache);
}

static void
a_forgotten_session_is_asked_for_again(void **state)
{
	SessionCache *cache = session_cache_new(4);

	(void) state;
	session_cache_remember(cache, "abc", 7, NOW);
	session_cache_remember(cache, "def", 8, NOW);
	session_cache_forget(cache, "other");
	session_cache_forget(cache, "abc");
	assert_int_equal(session_cache_find(cache, "abc", NOW), 0);
	assert_int_equal(session_cache_find(cache, "def", NOW), 8);
	session_cache_free(cache);
}

static void
the_one_checked_longest_ago_makes_room(void **state)
{
	SessionCache *cache = session_cache_new(3);

	(void) state;
	session_cache_remember(cache, "a", 1, NOW);
	session_cache_remember(cache, "b", 2, NOW + 1);
	session_cache_remember(cache, "c", 3, NOW + 2);
	session_cache_remember(cache, "a", 1, NOW + 3);
	session_cache_remember(cache, "d", 4, NOW + 4);
	assert_int_equal(session_cache_find(cache, "b", NOW + 4), 0);
	assert_int_equal(session_cache_find(cache, "a", NOW + 4), 1);
	assert_int_equal(session_cache_find(cache, "c", NOW + 4), 3);
	assert_int_equal(session_cache_find(cache, "d", NOW + 4), 4);
	session_cache_free(cache);
}

static void
as_many_as_there_is_room_for_are_kept(void **state)
{
	SessionCache *cache = session_cache_new(1000);

	(void) state;
	for (int round = 0; round < 2; round++)
	{
		for (int i = 1; i <= 1500; i++)
		{
			char id[32];

			snprintf(id, sizeof(id), "session %d", i);
			session_cache_remember(cache, id, i, NOW);
		}
		for (int i = 1; i <= 1500; i++)
		{
			char id[32];

			snprintf(id, sizeof(id), "session %d", i);
			assert_int_equal(session_cache_find(cache, id, NOW), i > 500 ? i : 0);
		}
	}
	session_cache_free(cache);
}

static void
a_connection_logs_in_and_out(void **state)
{
	Session *session = session_new();

	(void) state;
	assert_null(session_login_id(session));
	session_log_in(session, "abc");
	assert_string_equal(session_login_id(session), "abc");
	session_log_in(session, "def");
	session_log_out(session, "abc");
	assert_string_equal(session_login_id(session), "def");
	/* By its own text, too. */
	session_log_in(session, session_login_id(session));
	session_log_out(session, session_login_id(session));
	assert_null(session_login_id(session));
	session_log_out(session, "abc");
	session_release(session);
}

static void
the_last_holder_frees_it(void **state)
{
	Session *session = session_new();

	(void) state;
	session_hold(session);
	session_release(session);
	session_log_in(session, "abc");
	assert_string_equal(session_login_id(session), "abc");
	session_release(session);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_account_is_known_for_the_very_id),
		cmocka_unit_test(trust_ends_after_its_time_and_is_renewed_by_the_database),
		cmocka_unit_test(a_forgotten_session_is_asked_for_again),
		cmocka_unit_test(the_one_checked_longest_ago_makes_room),
		cmocka_unit_test(as_many_as_there_is_room_for_are_kept),
		cmocka_unit_test(a_connection_logs_in_and_out),
		cmocka_unit_test(the_last_holder_frees_it),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
