/*
 * tls_test.c
 *		TLS as a client: files, the server's certificate, our own.
 */
#include "tls_peer.h"

#include "base/bounds.h"

/* Tests: the server's certificate -------------------------------------------------------------- */

static void
a_certificate_that_is_not_the_servers_own_good_one_is_refused(void **state)
{
	Identity unfit = issue(&ca, "server", "DNS:account.example", -DAY, DAY);

	(void) state;
	add_extension(unfit.certificate, NID_ext_key_usage, "clientAuth");
	assert_true(X509_sign(unfit.certificate, ca.key, EVP_sha256()) > 0);
	refuse(unfit, "account.example", TLS_UNFIT, "unsuitable certificate purpose");
	refuse(issue(&other_ca, "server", "DNS:account.example", -DAY, DAY), "account.example",
		   TLS_UNTRUSTED,
		   "unable to get local issuer certificate: subject \"/CN=server\", depth 0");
	refuse(issue(NULL, "self", "DNS:account.example", -DAY, DAY), "account.example", TLS_UNTRUSTED,
		   "self-signed certificate");
	refuse(issue(&ca, "server", "DNS:account.example", -DAY, -1), "account.example", TLS_EXPIRED,
		   "certificate has expired");
	refuse(issue(&ca, "server", "DNS:account.example", DAY, 2 * DAY), "account.example",
		   TLS_EXPIRED, "certificate is not yet valid");
	refuse(issue(&ca, "server", "DNS:a.example, DNS:b.example", -DAY, DAY), "account.example",
		   TLS_OTHER_NAME, "it is to name account.example, and names DNS:a.example, DNS:b.example");
	refuse(issue(&ca, "account.example", NULL, -DAY, DAY), "account.example", TLS_OTHER_NAME,
		   "and names nobody");
}

static void
names_are_compared_as_the_rfc_says(void **state)
{
	(void) state;
	trust(issue(&ca, "x", "DNS:ACCOUNT.example", -DAY, DAY), "account.EXAMPLE");
	trust(issue(&ca, "x", "DNS:account.example", -DAY, DAY), "account.example.");
	trust(issue(&ca, "x", "DNS:*.prod.example", -DAY, DAY), "account.prod.example");
	refuse(issue(&ca, "x", "DNS:*.prod.example", -DAY, DAY), "a.b.prod.example", TLS_OTHER_NAME,
		   "mismatch");
	refuse(issue(&ca, "x", "DNS:a*.prod.example", -DAY, DAY), "account.prod.example",
		   TLS_OTHER_NAME, "mismatch");
	trust(issue(&ca, "x", "IP:127.0.0.1", -DAY, DAY), "127.0.0.1");
	trust(issue(&ca, "x", "IP:::1", -DAY, DAY), "::1");
	refuse(issue(&ca, "x", "IP:127.0.0.1", -DAY, DAY), "127.0.0.2", TLS_OTHER_NAME,
		   "IP address mismatch");
	refuse(issue(&ca, "x", "DNS:127.0.0.1", -DAY, DAY), "127.0.0.1", TLS_OTHER_NAME,
		   "IP address mismatch");
}

static void
the_name_is_asked_for_and_an_address_is_not(void **state)
{
	Identity identity = issue(&ca, "x", "DNS:account.example, IP:127.0.0.1", -DAY, DAY);
	TlsError error;

	(void) state;
	open_both(&identity, "account.example.");
	assert_true(shake_hands());
	assert_string_equal(asked_name, "account.example");
	close_both();
	open_both(&identity, "127.0.0.1");
	assert_true(shake_hands());
	assert_string_equal(asked_name, "");
	close_both();
	tls = make_tls("", "", "account.example", &error);
	open_both(&identity, "10.0.0.1");
	assert_true(shake_hands());
	assert_string_equal(asked_name, "account.example");
	free_identity(&identity);
}

/* Tests: our certificate ----------------------------------------------------------------------- */

static void
a_server_that_wants_a_certificate_gets_ours(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	Identity good = issue(&ca, "proxy", NULL, -DAY, DAY);
	Identity bad = issue(&other_ca, "proxy", NULL, -DAY, DAY);
	TlsError error;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		assert_false(ask_for_certificate(versions[i]));
		assert_failed(TLS_REFUSED, "it asks for a certificate, and tls_certificate is not set");
		close_both();

		write_certificate(certificate_path, &bad);
		write_key(key_path, &bad, NULL);
		tls = make_tls(certificate_path, key_path, "", &error);
		assert_false(ask_for_certificate(versions[i]));
		assert_failed(TLS_REFUSED, "alert unknown ca");
		assert_null(strstr(tls_stream_text(stream), "not set"));
		close_both();

		write_certificate(certificate_path, &good);
		write_key(key_path, &good, NULL);
		tls = make_tls(certificate_path, key_path, "", &error);
		assert_true(ask_for_certificate(versions[i]));
		close_both();
	}
	free_identity(&good);
	free_identity(&bad);
}

/* As gRPC's C core, which does not say why it closes. */
static void
a_server_that_asked_for_a_certificate_and_closes_has_refused_us(void **state)
{
	Identity identity = issue(&ca, "proxy", NULL, -DAY, DAY);
	TlsError error;
	uint8_t byte;

	(void) state;
	write_certificate(certificate_path, &identity);
	write_key(key_path, &identity, NULL);
	tls = make_tls(certificate_path, key_path, "", &error);
	assert_true(ask_for_certificate(TLS1_3_VERSION));
	assert_int_equal(shutdown(sockets[1], SHUT_RDWR), 0);
	assert_int_equal(tls_stream_read(stream, &byte, 1), -1);
	assert_int_equal(errno, EPROTO);
	assert_failed(TLS_REFUSED,
				  "behind the TLS handshake: it asks for a certificate, and was shown");
	close_both();

	/* Behind the first byte the end is only an end. */
	tls = make_tls(certificate_path, key_path, "", &error);
	assert_true(ask_for_certificate(TLS1_3_VERSION));
	assert_int_equal(SSL_write(server, "x", 1), 1);
	assert_int_equal(tls_stream_read(stream, &byte, 1), 1);
	assert_int_equal(shutdown(sockets[1], SHUT_RDWR), 0);
	assert_int_equal(tls_stream_read(stream, &byte, 1), 0);
	free_identity(&identity);
}

/* Tests: files --------------------------------------------------------------------------------- */

static void
refuse_files(const char *certificate, const char *key, TlsPart part, const char *text)
{
	TlsError error = {.part = TLS_LIBRARY};

	assert_null(make_tls(certificate, key, "", &error));
	assert_int_equal(error.part, part);
	if (strstr(error.text, text) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", text, error.text);
}

static void
a_file_that_cannot_be_used_is_told_with_its_reason(void **state)
{
	Identity one = issue(&ca, "one", NULL, -DAY, DAY);
	Identity other = issue(&ca, "other", NULL, -DAY, DAY);

	(void) state;
	refuse_files(certificate_path, key_path, TLS_CERTIFICATE, "No such file or directory");
	write_text(certificate_path, "nothing\n");
	refuse_files(certificate_path, key_path, TLS_KEY, "No such file or directory");
	write_key(key_path, &one, NULL);
	refuse_files(certificate_path, key_path, TLS_CERTIFICATE, "no start line");
	write_certificate(certificate_path, &other);
	refuse_files(certificate_path, key_path, TLS_KEY, "key values mismatch");
	write_text(key_path, "nothing\n");
	refuse_files(certificate_path, key_path, TLS_KEY, "no PEM key found");
	write_key(key_path, &other, "secret");
	refuse_files(certificate_path, key_path, TLS_KEY, "is encrypted");
	refuse_files(directory, key_path, TLS_CERTIFICATE, "is not a regular file");
	write_text(ca_path, "");
	refuse_files("", "", TLS_CA, "no certificate or crl found");
	assert_int_equal(truncate(ca_path, TLS_FILE_BYTES_MAX + 1), 0);
	refuse_files("", "", TLS_CA, "is too large");
	assert_int_equal(unlink(ca_path), 0);
	assert_int_equal(mkfifo(ca_path, 0600), 0);
	refuse_files("", "", TLS_CA, "is not a regular file");
	free_identity(&one);
	free_identity(&other);
}

static void
replaced_files_are_read_and_wrong_ones_are_not(void **state)
{
	Identity first = issue(&other_ca, "proxy", NULL, -DAY, DAY);
	Identity second = issue(&ca, "proxy", NULL, -DAY, DAY);
	TlsError error;
	SSL_CTX *old;

	(void) state;
	write_certificate(certificate_path, &first);
	write_key(key_path, &first, NULL);
	tls = make_tls(certificate_path, key_path, "", &error);
	old = tls_context(tls);
	assert_true(tls_refresh(tls, &error));
	assert_ptr_equal(tls_context(tls), old);

	/* Half of a rotation: told once, and the old pair stays. */
	write_certificate(certificate_path, &second);
	assert_false(tls_refresh(tls, &error));
	assert_int_equal(error.part, TLS_KEY);
	assert_ptr_equal(tls_context(tls), old);
	assert_true(tls_refresh(tls, &error));

	write_key(key_path, &second, NULL);
	assert_true(tls_refresh(tls, &error));
	assert_ptr_not_equal(tls_context(tls), old);
	assert_true(ask_for_certificate(TLS1_3_VERSION));

	/* Gone files harm only what comes after. */
	assert_int_equal(unlink(ca_path), 0);
	assert_false(tls_refresh(tls, &error));
	assert_int_equal(error.part, TLS_CA);
	assert_true(tls_refresh(tls, &error));
	free_identity(&first);
	free_identity(&second);
}

static void
without_a_file_the_systems_certificates_are_trusted(void **state)
{
	Identity identity = issue(&ca, "x", "DNS:account.example", -DAY, DAY);
	const TlsOptions options = {.ca = "", .certificate = "", .key = "", .server_name = ""};
	TlsError error;

	(void) state;
	tls = tls_new(&options, &error);
	refuse(identity, "account.example", TLS_UNTRUSTED, "unable to get local issuer certificate");
	/* Where the system keeps them is OpenSSL's affair, and its variable's. */
	assert_int_equal(setenv("SSL_CERT_FILE", ca_path, 1), 0);
	tls = tls_new(&options, &error);
	trust(issue(&ca, "x", "DNS:account.example", -DAY, DAY), "account.example");
	assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_certificate_that_is_not_the_servers_own_good_one_is_refused),
		TEST(names_are_compared_as_the_rfc_says),
		TEST(the_name_is_asked_for_and_an_address_is_not),
		TEST(a_server_that_wants_a_certificate_gets_ours),
		TEST(a_server_that_asked_for_a_certificate_and_closes_has_refused_us),
		TEST(a_file_that_cannot_be_used_is_told_with_its_reason),
		TEST(replaced_files_are_read_and_wrong_ones_are_not),
		TEST(without_a_file_the_systems_certificates_are_trusted),
	};

	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
