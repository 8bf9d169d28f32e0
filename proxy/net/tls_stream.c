/*
 * tls_stream.c
 *		TLS on one nonblocking socket.
 *
 * DESIGN	OpenSSL reads a record's header, then the rest of it, and no more (no read-ahead): what
 *			is not read yet is in the socket, where the event loop sees it.
 *
 *			A peer that closes without TLS's word for it has closed: HTTP/2 marks the end of
 *			everything itself, so a connection that is cut short cannot pass for a whole one.
 *
 * FAILURE	With TLS 1.3 a server sees our certificate when our handshake is done already. That it
 *			does not take it is then read as data would be, and some servers only close: so what
 *			ends a connection before its first byte is taken for a refusal if the server has asked
 *			for a certificate.
 *
 *			No text has more of the peer's than names out of its certificate.
 */
#include "net/tls_stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define TEXT_SIZE 640
#define NAME_SIZE 160
#define NAMES_SIZE 256

_Static_assert(TLS_STREAM_RECORD_SIZE == SSL3_RT_MAX_PLAIN_LENGTH, "what a record can hold");

struct TlsStream
{
	SSL *ssl;
	char host[ADDRESS_HOST_SIZE];
	bool is_ready;
	bool is_blocked;
	bool is_over; /* nothing can be sent any more */
	bool has_failed;
	bool is_asked; /* for a certificate of ours */
	bool has_read; /* a byte of data */
	TlsCause cause;
	char text[TEXT_SIZE];
};

static void fail(TlsStream *stream, TlsCause cause, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What failed first counts. */
static void
fail(TlsStream *stream, TlsCause cause, const char *format, ...)
{
	va_list arguments;

	if (stream->has_failed)
		return;
	stream->has_failed = true;
	stream->is_over = true;
	stream->cause = cause;
	va_start(arguments, format);
	(void) vsnprintf(stream->text, sizeof(stream->text), format, arguments);
	va_end(arguments);
}

/* Certificates --------------------------------------------------------------------------------- */

static TlsCause
cause_of_certificate(int error)
{
	switch (error)
	{
		case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
		case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
		case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		case X509_V_ERR_CERT_UNTRUSTED:
			return TLS_UNTRUSTED;
		case X509_V_ERR_CERT_HAS_EXPIRED:
		case X509_V_ERR_CERT_NOT_YET_VALID:
			return TLS_EXPIRED;
		case X509_V_ERR_HOSTNAME_MISMATCH:
		case X509_V_ERR_IP_ADDRESS_MISMATCH:
			return TLS_OTHER_NAME;
		default:
			return TLS_UNFIT;
	}
}

/* "DNS:a.example, DNS:b.example": the names a certificate is for. */
static void
write_names(const X509 *certificate, char names[NAMES_SIZE])
{
	int index = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
	BIO *out = BIO_new(BIO_s_mem());
	int size = 0;

	if (index != -1 && out != NULL &&
		X509V3_EXT_print(out, X509_get_ext(certificate, index), X509V3_EXT_DEFAULT, 0) == 1)
		size = BIO_read(out, names, NAMES_SIZE - 1);
	names[size > 0 ? size : 0] = '\0';
	BIO_free(out);
}

/* Looks on while OpenSSL checks: what it finds is only to be had here. */
static int
on_certificate(int is_good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	TlsStream *stream = SSL_get_app_data(ssl);
	const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	int error = X509_STORE_CTX_get_error(store);
	TlsCause cause = cause_of_certificate(error);
	const char *reason = X509_verify_cert_error_string(error);
	char subject[NAME_SIZE] = "";
	char names[NAMES_SIZE] = "";

	if (is_good)
		return is_good;
	if (certificate != NULL)
	{
		(void) X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof(subject));
		write_names(certificate, names);
	}
	if (cause == TLS_OTHER_NAME)
		fail(stream, cause,
			 "the server's certificate is refused: %s: it is to name %s, and names %s", reason,
			 stream->host, names[0] != '\0' ? names : "nobody");
	else
		fail(stream, cause, "the server's certificate is refused: %s: subject \"%s\", depth %d",
			 reason, subject, X509_STORE_CTX_get_error_depth(store));
	return is_good;
}

/* The server asks for a certificate. */
static int
on_request(SSL *ssl, void *context)
{
	TlsStream *stream = context;

	(void) ssl;
	stream->is_asked = true;
	return 1;
}

/* Errors --------------------------------------------------------------------------------------- */

static TlsCause
cause_of_alert(int alert)
{
	switch (alert)
	{
		case SSL_AD_NO_APPLICATION_PROTOCOL:
			return TLS_NO_HTTP2;
		case SSL_AD_HANDSHAKE_FAILURE: /* TLS 1.2 has no better word for a missing certificate */
		case SSL_AD_BAD_CERTIFICATE:
		case SSL_AD_UNSUPPORTED_CERTIFICATE:
		case SSL_AD_CERTIFICATE_REVOKED:
		case SSL_AD_CERTIFICATE_EXPIRED:
		case SSL_AD_CERTIFICATE_UNKNOWN:
		case SSL_AD_UNKNOWN_CA:
		case SSL_AD_ACCESS_DENIED:
		case SSL_AD_CERTIFICATE_REQUIRED:
		case SSL_AD_UNRECOGNIZED_NAME:
			return TLS_REFUSED;
		default:
			return TLS_BROKEN;
	}
}

/* What is known of a server that turns us away. */
static const char *
refusal_hint(const TlsStream *stream)
{
	if (!stream->is_asked)
		return "";
	return SSL_get_certificate(stream->ssl) == NULL
			   ? ": it asks for a certificate, and tls_certificate is not set"
			   : ": it asks for a certificate, and was shown tls_certificate";
}

/* Whether the server may have ended the connection for our certificate, or for want of one. */
static bool
is_refusal(const TlsStream *stream)
{
	return stream->is_asked && stream->is_ready && !stream->has_read;
}

/* What OpenSSL has put into its queue. */
static void
fail_by_library(TlsStream *stream)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);
	const char *text = ERR_reason_error_string(code);

	if (text == NULL)
		text = "OpenSSL does not say why";
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		fail(stream, TLS_INTERRUPTED, "the server ended the connection within the TLS handshake");
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
	{
		TlsCause cause = cause_of_alert(reason - SSL_AD_REASON_OFFSET);

		if (is_refusal(stream))
			cause = TLS_REFUSED;
		fail(stream, cause, "the server refuses the TLS connection: %s%s", text,
			 cause == TLS_REFUSED ? refusal_hint(stream) : "");
	}
	else if (SSL_get_state(stream->ssl) == TLS_ST_CW_CLNT_HELLO &&
			 reason == SSL_R_WRONG_VERSION_NUMBER)
		fail(stream, TLS_PLAINTEXT, "the server does not speak TLS: %s", text);
	else
		fail(stream, TLS_BROKEN, "TLS failed: %s", text);
}

/*
 * A call of OpenSSL returned |result|, which is no success. Sets errno as the header says. Whether
 * it is the end of the connection.
 */
static bool
is_end(TlsStream *stream, int result)
{
	int socket_error = errno;
	int error = SSL_get_error(stream->ssl, result);

	stream->is_blocked = error == SSL_ERROR_WANT_WRITE;
	errno = EPROTO;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		errno = EAGAIN;
	else if (error == SSL_ERROR_ZERO_RETURN ||
			 (error == SSL_ERROR_SSL &&
			  ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING))
		return true;
	else if (error == SSL_ERROR_SYSCALL && socket_error != 0)
	{
		stream->is_over = true;
		errno = socket_error;
	}
	else
		fail_by_library(stream);
	return false;
}

/* The stream ----------------------------------------------------------------------------------- */

/* Whom the certificate must name, and whom we ask for. False: no name can be that. */
static bool
set_host(TlsStream *stream)
{
	struct in6_addr address;
	size_t size = strlen(stream->host);

	if (inet_pton(AF_INET, stream->host, &address) == 1 ||
		inet_pton(AF_INET6, stream->host, &address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), stream->host) == 1;

	/* A dot at the end is for the resolver only. */
	if (size > 0 && stream->host[size - 1] == '.')
		stream->host[size - 1] = '\0';
	return SSL_set1_host(stream->ssl, stream->host) == 1 &&
		   SSL_set_tlsext_host_name(stream->ssl, stream->host) == 1;
}

TlsStream *
tls_stream_new(const Tls *tls, int socket, const char *host)
{
	TlsStream *stream = bytes_new_zeroed(1, sizeof(TlsStream));

	if (tls_server_name(tls)[0] != '\0')
		host = tls_server_name(tls);
	(void) snprintf(stream->host, sizeof(stream->host), "%s", host);
	ERR_clear_error();
	stream->ssl = SSL_new(tls_context(tls));
	if (stream->ssl == NULL || SSL_set_fd(stream->ssl, socket) != 1)
		abort(); /* only without memory, as bytes_new() */
	SSL_set_app_data(stream->ssl, stream);
	SSL_set_verify(stream->ssl, SSL_VERIFY_PEER, on_certificate);
	SSL_set_cert_cb(stream->ssl, on_request, stream);
	if (!set_host(stream))
		fail(stream, TLS_OTHER_NAME, "no certificate can name %s", stream->host);
	return stream;
}

void
tls_stream_free(TlsStream *stream)
{
	SSL_free(stream->ssl);
	free(stream);
}

/* Without h2 the server would take the first bytes for something else. */
static void
check_protocol(TlsStream *stream)
{
	const unsigned char *protocol;
	unsigned int size;

	SSL_get0_alpn_selected(stream->ssl, &protocol, &size);
	if (size == 2 && memcmp(protocol, "h2", 2) == 0)
		stream->is_ready = true;
	else
		fail(stream, TLS_NO_HTTP2, "the server does not agree on HTTP/2: by ALPN it chose %s",
			 size == 0 ? "nothing" : "what was not offered");
}

int
tls_stream_handshake(TlsStream *stream)
{
	assert(!stream->is_ready);
	if (!stream->has_failed)
	{
		int result;

		ERR_clear_error();
		errno = 0;
		result = SSL_connect(stream->ssl);
		if (result == 1)
			check_protocol(stream);
		else if (is_end(stream, result))
			fail(stream, TLS_INTERRUPTED,
				 "the server ended the connection within the TLS handshake");
		else if (errno != EAGAIN && errno != EINTR && errno != EPROTO)
			fail(stream, TLS_INTERRUPTED, "the connection broke within the TLS handshake: %s",
				 strerror(errno));
		else if (errno != EPROTO)
			return -1;
	}
	errno = EPROTO;
	return stream->is_ready ? 0 : -1;
}

bool
tls_stream_is_ready(const TlsStream *stream)
{
	return stream->is_ready;
}

ssize_t
tls_stream_read(TlsStream *stream, uint8_t *data, size_t size)
{
	size_t count;
	int result;
	bool is_closed;

	assert(stream->is_ready);
	ERR_clear_error();
	errno = 0;
	result = SSL_read_ex(stream->ssl, data, size, &count);
	if (result == 1)
	{
		stream->has_read = true;
		return (ssize_t) count;
	}
	is_closed = is_end(stream, result);
	if (is_refusal(stream) && (is_closed || errno == ECONNRESET))
	{
		fail(stream, TLS_REFUSED, "the server ended the connection behind the TLS handshake%s",
			 refusal_hint(stream));
		errno = EPROTO;
		return -1;
	}
	return is_closed ? 0 : -1;
}

ssize_t
tls_stream_write(TlsStream *stream, const uint8_t *data, size_t size)
{
	size_t done = 0;

	assert(stream->is_ready);
	/* A record at a time. */
	while (done < size)
	{
		size_t count;
		int result;

		ERR_clear_error();
		errno = 0;
		result = SSL_write_ex(stream->ssl, data + done, size - done, &count);
		if (result != 1)
		{
			if (is_end(stream, result))
				errno = EPIPE;
			break;
		}
		done += count;
	}
	/* What failed behind a part fails again. */
	return done > 0 ? (ssize_t) done : -1;
}

bool
tls_stream_is_blocked(const TlsStream *stream)
{
	return stream->is_blocked;
}

void
tls_stream_close(TlsStream *stream)
{
	if (!stream->is_ready || stream->is_over)
		return;
	ERR_clear_error();
	(void) SSL_shutdown(stream->ssl);
	ERR_clear_error();
}

TlsCause
tls_stream_cause(const TlsStream *stream)
{
	return stream->cause;
}

const char *
tls_stream_text(const TlsStream *stream)
{
	return stream->text;
}
