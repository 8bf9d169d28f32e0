/*
 * tls.c
 *		TLS as a client: trust, identity and demands, on OpenSSL.
 *
 * DESIGN	What HTTP/2 asks of TLS (RFC 9113, 9.2): at least 1.2, no compression, no renegotiation,
 *			and in 1.2 only ciphers with forward secrecy that authenticate. 1.3 has no others.
 *
 *			Certificates are rotated by replacing files, often by somebody who cannot signal us. So
 *			the files are looked at before each connection, which costs three calls of stat(), and
 *			read when one is another. Connections that are there go on with what they began with.
 *			The system's certificates are looked up by OpenSSL one by one, as they are needed.
 *
 * LIMITS	TLS_FILE_BYTES_MAX of a file, which must be a regular one: reading must not block.
 *
 * FAILURE	A rotation replaces files one after the other, so a certificate may meet the key of its
 *			predecessor. Then what was read before stays; the next connection looks again.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/bytes.h"

#define CIPHERS_OF_TLS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

#define FILE_COUNT (TLS_KEY + 1)

static const unsigned char protocols[] = {2, 'h', '2'};

/* What tells a file from its successor. */
typedef struct Stamp
{
	dev_t device;
	ino_t number;
	off_t size;
	struct timespec changed_at;
} Stamp;

struct Tls
{
	SSL_CTX *context;
	char *paths[FILE_COUNT]; /* "": none */
	char *server_name;
	Stamp stamps[FILE_COUNT]; /* of what was read, or tried to, last */
};

static void
describe(TlsError *error, TlsPart part, const char *path, const char *reason)
{
	error->part = part;
	(void) snprintf(error->text, sizeof(error->text), "%s: %s", path, reason);
}

/* The first of OpenSSL's complaints: it is the closest to the cause. */
static const char *
library_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	return reason != NULL ? reason : "OpenSSL does not say why";
}

/* Files ---------------------------------------------------------------------------------------- */

/* Of a file that is not there: zeroes. */
static void
take_stamps(const Tls *tls, Stamp stamps[FILE_COUNT])
{
	memset(stamps, 0, FILE_COUNT * sizeof(Stamp));
	for (int i = 0; i < FILE_COUNT; i++)
	{
		struct stat status;

		if (tls->paths[i][0] == '\0' || stat(tls->paths[i], &status) != 0)
			continue;
		stamps[i].device = status.st_dev;
		stamps[i].number = status.st_ino;
		stamps[i].size = status.st_size;
		stamps[i].changed_at = status.st_ctim;
	}
}

/* OpenSSL would wait for a pipe, and read a device without end. */
static bool
check_file(const Tls *tls, TlsPart part, TlsError *error)
{
	const char *path = tls->paths[part];
	struct stat status;

	if (path[0] == '\0')
		return true;
	if (stat(path, &status) != 0 || access(path, R_OK) != 0)
		describe(error, part, path, strerror(errno));
	else if (!S_ISREG(status.st_mode))
		describe(error, part, path, "is not a regular file");
	else if (status.st_size > TLS_FILE_BYTES_MAX)
		describe(error, part, path, "is too large for a file of certificates or keys");
	else
		return true;
	return false;
}

/* Without this OpenSSL would ask on the terminal. */
static int
refuse_passphrase(char *buffer, int size, int is_writing, void *context)
{
	bool *is_encrypted = context;

	(void) buffer;
	(void) size;
	(void) is_writing;
	*is_encrypted = true;
	return 0;
}

static bool
read_ca(const Tls *tls, SSL_CTX *context, TlsError *error)
{
	const char *path = tls->paths[TLS_CA];

	if (path[0] == '\0' ? SSL_CTX_set_default_verify_paths(context) == 1
						: SSL_CTX_load_verify_file(context, path) == 1)
		return true;
	describe(error, TLS_CA, path[0] == '\0' ? "the system's certificates" : path, library_reason());
	return false;
}

static bool
read_identity(const Tls *tls, SSL_CTX *context, TlsError *error)
{
	const char *certificate = tls->paths[TLS_CERTIFICATE];
	const char *key = tls->paths[TLS_KEY];
	bool is_encrypted = false;
	bool is_read;

	if (certificate[0] == '\0')
		return true;
	SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(context, &is_encrypted);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
	{
		describe(error, TLS_CERTIFICATE, certificate, library_reason());
		return false;
	}
	is_read = SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
	if (is_encrypted)
		describe(error, TLS_KEY, key, "is encrypted");
	else if (!is_read && ERR_GET_LIB(ERR_peek_error()) != ERR_LIB_X509)
		describe(error, TLS_KEY, key, "no PEM key found");
	else if (!is_read || SSL_CTX_check_private_key(context) != 1)
		describe(error, TLS_KEY, key, library_reason());
	else
		return true;
	return false;
}

/* What is insisted on. False: this OpenSSL, as it is configured, cannot. */
static bool
set_demands(SSL_CTX *context)
{
	X509_VERIFY_PARAM *parameters = SSL_CTX_get0_param(context);

	SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	/* A write that is repeated may come from elsewhere, and with more behind it. */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	/* What the operator lists is trusted also if it is not a root. */
	X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
	/* RFC 9525: names are those of the extension, and "*" stands for a whole label. */
	X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
													X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	/* The last one is 0 if it could. */
	return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
		   SSL_CTX_set_cipher_list(context, CIPHERS_OF_TLS_1_2) == 1 &&
		   SSL_CTX_set_alpn_protos(context, protocols, sizeof(protocols)) == 0;
}

static SSL_CTX *
read_files(const Tls *tls, TlsError *error)
{
	SSL_CTX *context;

	for (int i = 0; i < FILE_COUNT; i++)
	{
		if (!check_file(tls, (TlsPart) i, error))
			return NULL;
	}
	ERR_clear_error();
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || !set_demands(context))
		describe(error, TLS_LIBRARY, "OpenSSL", library_reason());
	else if (read_ca(tls, context, error) && read_identity(tls, context, error))
		return context;
	SSL_CTX_free(context);
	ERR_clear_error();
	return NULL;
}

/* The whole ------------------------------------------------------------------------------------ */

Tls *
tls_new(const TlsOptions *options, TlsError *error)
{
	Tls *tls = bytes_new_zeroed(1, sizeof(Tls));

	tls->paths[TLS_CA] = bytes_copy_text(options->ca);
	tls->paths[TLS_CERTIFICATE] = bytes_copy_text(options->certificate);
	tls->paths[TLS_KEY] = bytes_copy_text(options->key);
	tls->server_name = bytes_copy_text(options->server_name);
	take_stamps(tls, tls->stamps);
	tls->context = read_files(tls, error);
	if (tls->context != NULL)
		return tls;
	tls_free(tls);
	return NULL;
}

void
tls_free(Tls *tls)
{
	SSL_CTX_free(tls->context);
	for (int i = 0; i < FILE_COUNT; i++)
		free(tls->paths[i]);
	free(tls->server_name);
	free(tls);
}

bool
tls_refresh(Tls *tls, TlsError *error)
{
	Stamp stamps[FILE_COUNT];
	SSL_CTX *context;

	/* Before they are read: what is replaced meanwhile is found the next time. */
	take_stamps(tls, stamps);
	if (memcmp(stamps, tls->stamps, sizeof(stamps)) == 0)
		return true;
	memcpy(tls->stamps, stamps, sizeof(stamps));
	context = read_files(tls, error);
	if (context == NULL)
		return false;
	SSL_CTX_free(tls->context);
	tls->context = context;
	return true;
}

const char *
tls_server_name(const Tls *tls)
{
	return tls->server_name;
}

SSL_CTX *
tls_context(const Tls *tls)
{
	return tls->context;
}
