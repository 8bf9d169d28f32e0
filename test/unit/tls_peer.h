/*
 * tls_peer.h
 *		The other side of TLS for tests: certificates, made as they are needed, and a server of
 *		OpenSSL in the same thread.
 */
#ifndef TLS_PEER_H
#define TLS_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls_stream.h"

#define DAY 86400
#define STEPS_MAX 100

/* A key with its certificate. */
typedef struct Identity
{
	EVP_PKEY *key;
	X509 *certificate;
} Identity;

static char directory[32];
static char ca_path[64];
static char certificate_path[64];
static char key_path[64];
static Identity ca;
static Identity other_ca;
static Tls *tls;
static TlsStream *stream;
static SSL_CTX *server_context;
static SSL *server;
static const char *server_protocol; /* that it agrees on; NULL: no ALPN */
static char asked_name[64];         /* by SNI */
static int sockets[2] = {-1, -1};   /* the client's, the server's */

/* Certificates --------------------------------------------------------------------------------- */

/* As OpenSSL's configuration writes it. */
static inline void
add_extension(X509 *certificate, int kind, const char *text)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, text);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* |names| as in "DNS:a, IP:::1"; NULL: none. Valid from |begin| to |end|, seconds from now. */
static inline Identity
issue(const Identity *issuer, const char *subject, const char *names, long begin, long end)
{
	static long serial;
	Identity made = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
	X509 *certificate = made.certificate;

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(certificate), begin);
	X509_gmtime_adj(X509_getm_notAfter(certificate), end);
	X509_set_pubkey(certificate, made.key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
							   (const unsigned char *) subject, -1, -1, 0);
	X509_set_issuer_name(certificate,
						 X509_get_subject_name(issuer == NULL ? certificate : issuer->certificate));
	add_extension(certificate, NID_basic_constraints, issuer == NULL ? "CA:TRUE" : "CA:FALSE");
	if (names != NULL)
		add_extension(certificate, NID_subject_alt_name, names);
	assert_true(X509_sign(certificate, issuer == NULL ? made.key : issuer->key, EVP_sha256()) > 0);
	return made;
}

/* Frees what issue() made. */
static inline void
free_identity(Identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
	*identity = (Identity){0};
}

/* Replaces a file, as who rotates certificates does: the new one is another file. */
static inline FILE *
begin_file(const char *path, char fresh[80])
{
	FILE *file;

	(void) snprintf(fresh, 80, "%s.fresh", path);
	file = fopen(fresh, "w");
	assert_non_null(file);
	return file;
}

/* The new file is there. */
static inline void
end_file(FILE *file, const char *path, const char *fresh)
{
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(fresh, path), 0);
}

/* A file with any text. */
static inline void
write_text(const char *path, const char *text)
{
	char fresh[80];
	FILE *file = begin_file(path, fresh);

	(void) fputs(text, file);
	end_file(file, path, fresh);
}

/* A file with a certificate. */
static inline void
write_certificate(const char *path, const Identity *identity)
{
	char fresh[80];
	FILE *file = begin_file(path, fresh);

	assert_int_equal(PEM_write_X509(file, identity->certificate), 1);
	end_file(file, path, fresh);
}

/* Encrypted with |passphrase| unless that is NULL. */
static inline void
write_key(const char *path, const Identity *identity, const char *passphrase)
{
	char fresh[80];
	FILE *file = begin_file(path, fresh);

	assert_int_equal(PEM_write_PrivateKey(file, identity->key,
										  passphrase == NULL ? NULL : EVP_aes_128_cbc(), NULL, 0,
										  NULL, (void *) passphrase),
					 1);
	end_file(file, path, fresh);
}

/* The two sides -------------------------------------------------------------------------------- */

/* The server's side of ALPN. */
static inline int
choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
				const unsigned char *offered, unsigned int offered_size, void *context)
{
	unsigned char *found;
	int result =
		SSL_select_next_proto(&found, chosen_size, (const unsigned char *) server_protocol,
							  (unsigned int) strlen(server_protocol), offered, offered_size);

	(void) ssl;
	(void) context;
	*chosen = found;
	return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The server's side of SNI. */
static inline int
note_name(SSL *ssl, int *alert, void *context)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void) alert;
	(void) context;
	(void) snprintf(asked_name, sizeof(asked_name), "%s", name == NULL ? "" : name);
	return SSL_TLSEXT_ERR_OK;
}

/* Ends both sides; a test may open them again. */
static inline void
close_both(void)
{
	if (stream != NULL)
		tls_stream_free(stream);
	SSL_free(server);
	SSL_CTX_free(server_context);
	if (tls != NULL)
		tls_free(tls);
	for (int i = 0; i < 2; i++)
	{
		if (sockets[i] != -1)
			close(sockets[i]);
		sockets[i] = -1;
	}
	stream = NULL;
	server = NULL;
	server_context = NULL;
	tls = NULL;
	asked_name[0] = '\0';
	ERR_clear_error();
}

/* What trusts |ca|; freed by close_both() if it is |tls|. */
static inline Tls *
make_tls(const char *certificate, const char *key, const char *name, TlsError *error)
{
	const TlsOptions options = {
		.ca = ca_path, .certificate = certificate, .key = key, .server_name = name};

	return tls_new(&options, error);
}

/* A client that trusts |ca|, and a server with a certificate; nothing is sent yet. */
static inline void
open_both(const Identity *identity, const char *host)
{
	TlsError error;

	if (tls == NULL)
		tls = make_tls("", "", "", &error);
	assert_non_null(tls);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets), 0);
	stream = tls_stream_new(tls, sockets[0], host);
	if (server_context == NULL)
		server_context = SSL_CTX_new(TLS_server_method());
	if (identity != NULL)
	{
		assert_int_equal(SSL_CTX_use_certificate(server_context, identity->certificate), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(server_context, identity->key), 1);
	}
	if (server_protocol != NULL)
		SSL_CTX_set_alpn_select_cb(server_context, choose_protocol, NULL);
	SSL_CTX_set_tlsext_servername_callback(server_context, note_name);
	server = SSL_new(server_context);
	SSL_set_fd(server, sockets[1]);
	SSL_set_accept_state(server);
}

/* Both sides go on until the client is done, whichever way. Whether it is connected. */
static inline bool
shake_hands(void)
{
	for (int i = 0; i < STEPS_MAX; i++)
	{
		if (tls_stream_handshake(stream) == 0)
		{
			(void) SSL_do_handshake(server);
			return true;
		}
		if (errno == EPROTO)
			return false;
		assert_int_equal(errno, EAGAIN);
		(void) SSL_do_handshake(server);
	}
	fail_msg("the handshake does not end");
	return false;
}

/* A connection that is ready. */
static inline void
connect_both(void)
{
	Identity identity = issue(&ca, "server", "DNS:account.example", -DAY, DAY);

	open_both(&identity, "account.example");
	free_identity(&identity);
	assert_true(shake_hands());
	assert_true(tls_stream_is_ready(stream));
}

/* Why the client has failed. */
static inline void
assert_failed(TlsCause cause, const char *text)
{
	assert_int_equal(tls_stream_cause(stream), cause);
	if (strstr(tls_stream_text(stream), text) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", text, tls_stream_text(stream));
}

/* What the client thinks of a certificate, and frees it. */
static inline void
refuse(Identity identity, const char *host, TlsCause cause, const char *text)
{
	open_both(&identity, host);
	assert_false(shake_hands());
	assert_failed(cause, text);
	free_identity(&identity);
	close_both();
}

/* The client takes a certificate; frees it. */
static inline void
trust(Identity identity, const char *host)
{
	open_both(&identity, host);
	if (!shake_hands())
		fail_msg("%s", tls_stream_text(stream));
	free_identity(&identity);
	close_both();
}

/* Before each test: authorities, and a directory for files. */
static inline int
set_up(void **state)
{
	(void) state;
	signal(SIGPIPE, SIG_IGN);
	strcpy(directory, "/tmp/tls_test.XXXXXX");
	assert_non_null(mkdtemp(directory));
	(void) snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", directory);
	(void) snprintf(certificate_path, sizeof(certificate_path), "%s/certificate.pem", directory);
	(void) snprintf(key_path, sizeof(key_path), "%s/key.pem", directory);
	ca = issue(NULL, "ca", NULL, -DAY, DAY);
	other_ca = issue(NULL, "other ca", NULL, -DAY, DAY);
	write_certificate(ca_path, &ca);
	server_protocol = "\2h2";
	return 0;
}

/* After each test. */
static inline int
tear_down(void **state)
{
	(void) state;
	close_both();
	free_identity(&ca);
	free_identity(&other_ca);
	(void) unlink(ca_path);
	(void) unlink(certificate_path);
	(void) unlink(key_path);
	return rmdir(directory);
}

/* A server of a version that wants a certificate of |ca|; whether the client gets through. */
static inline bool
ask_for_certificate(int version)
{
	Identity identity = issue(&ca, "server", "DNS:account.example", -DAY, DAY);
	uint8_t byte;

	server_context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(server_context, version);
	SSL_CTX_set_max_proto_version(server_context, version);
	SSL_CTX_set_verify(server_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(server_context), ca.certificate);
	open_both(&identity, "account.example");
	free_identity(&identity);
	if (!shake_hands())
		return false;
	/* With TLS 1.3 the refusal comes as the first thing to read. */
	if (tls_stream_read(stream, &byte, 1) == -1 && errno == EAGAIN)
		return true;
	assert_int_equal(errno, EPROTO);
	return false;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif /* TLS_PEER_H */
