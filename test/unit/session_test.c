/*
 * session_test.c
 *		Who speaks on a connection: login, sessions named in requests, and how long they are
 *		believed.
 */
#include "order/session.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bounds.h"
#include "base/clock.h"

#define NOW (INT64_C(1) << 40)
#define TRUST (SESSION_TRUST_MS * CLOCK_MS)

static void
a_new_connection_has_no_account(void **state)
{
	Session *session = session_new();

	(void) state;
	assert_int_equal(session_account(session, "", NOW), 0);
	assert_int_equal(session_account(session, "abc", NOW), 0);
	assert_null(session_login_id(session));
	session_release(session);
}

static void
a_login_serves_requests_without_and_with_its_id(void **state)
{
	Session *session = session_new();

	(void) state;
	session_log_in(session, "abc", 7, NOW);
	assert_int_equal(session_account(session, "", NOW), 7);
	assert_int_equal(session_account(session, "abc", NOW), 7);
	assert_int_equal(session_account(session, "abcd", NOW), 0);
	assert_string_equal(session_login_id(session), "abc");
	session_log_out(session);
	assert_int_equal(session_account(session, "", NOW), 0);
	assert_null(session_login_id(session));
	session_release(session);
}

static void
a_session_named_in_a_request_is_not_a_login(void **state)
{
	Session *session = session_new();

	(void) state;
	session_remember(session, "abc", 7, NOW);
	assert_int_equal(session_account(session, "abc", NOW), 7);
	assert_int_equal(session_account(session, "", NOW), 0);
	session_log_in(session, "def", 8, NOW);
	assert_int_equal(session_account(session, "abc", NOW), 7);
	assert_int_equal(session_account(session, "", NOW), 8);
	session_remember(session, "ghi", 9, NOW);
	assert_int_equal(session_account(session, "abc", NOW), 0);
	assert_int_equal(session_account(session, "ghi", NOW), 9);
	assert_int_equal(session_account(session, "", NOW), 8);
	session_release(session);
}

static void
trust_ends_after_its_time_and_is_renewed_by_the_database(void **state)
{
	Session *session = session_new();

	(void) state;
	session_log_in(session, "abc", 7, NOW);
	assert_int_equal(session_account(session, "", NOW + TRUST - 1), 7);
	assert_int_equal(session_account(session, "", NOW + TRUST), 0);
	assert_string_equal(session_login_id(session), "abc");
	session_remember(session, "abc", 7, NOW + TRUST);
	assert_int_equal(session_account(session, "", NOW + TRUST), 7);
	session_release(session);
}

static void
a_session_the_database_does_not_know_is_forgotten_in_both_places(void **state)
{
	Session *session = session_new();

	(void) state;
	session_remember(session, "abc", 7, NOW);
	session_log_in(session, "abc", 7, NOW);
	session_forget(session, "other");
	assert_int_equal(session_account(session, "abc", NOW), 7);
	session_forget(session, "abc");
	assert_int_equal(session_account(session, "abc", NOW), 0);
	assert_int_equal(session_account(session, "", NOW), 0);
	session_release(session);
}

static void
the_last_holder_frees_it(void **state)
{
	Session *session = session_new();

	(void) state;
	session_hold(session);
	session_release(session);
	session_log_in(session, "abc", 7, NOW);
	assert_int_equal(session_account(session, "", NOW), 7);
	session_release(session);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_connection_has_no_account),
		cmocka_unit_test(a_login_serves_requests_without_and_with_its_id),
		cmocka_unit_test(a_session_named_in_a_request_is_not_a_login),
		cmocka_unit_test(trust_ends_after_its_time_and_is_renewed_by_the_database),
		cmocka_unit_test(a_session_the_database_does_not_know_is_forgotten_in_both_places),
		cmocka_unit_test(the_last_holder_frees_it),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
