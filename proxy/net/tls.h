/*
 * tls.h
 *		TLS as a client: whom it trusts, what it shows of itself, what it insists on. What all
 *		connections to a service share (OpenSSL); tls_stream.h is one connection.
 */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>

#include "base/address.h"

typedef struct Tls Tls;

typedef struct TlsOptions
{
	const char *ca; /* file of PEM certificates that are trusted; "": those of the system */
	const char
		*certificate; /* file of our PEM certificate and its chain, for mutual TLS; "": none */
	const char *key;  /* file of its PEM key, not encrypted; "" if there is no certificate */
	const char *server_name; /* whom certificates must name; "": the host that is connected to */
} TlsOptions;

typedef enum TlsPart
{
	TLS_CA,
	TLS_CERTIFICATE,
	TLS_KEY,
	TLS_LIBRARY, /* OpenSSL itself, or its own configuration */
} TlsPart;

#define TLS_ERROR_SIZE (ADDRESS_HOST_SIZE + 256)

typedef struct TlsError
{
	TlsPart part;              /* what is wrong */
	char text[TLS_ERROR_SIZE]; /* the file, and what is wrong with it: "ca.pem: no start line" */
} TlsError;

/* Reads the files. NULL, with |error|, when one cannot be used. Texts are copied. */
extern Tls *tls_new(const TlsOptions *options, TlsError *error);

/* Streams made from it may live longer. */
extern void tls_free(Tls *tls);

/*
 * Reads the files again if one was replaced since they were read. False, with |error|, when they
 * cannot be used: what was read before stays, and the same files are not told of again.
 */
extern bool tls_refresh(Tls *tls, TlsError *error);

/* As in the options. */
extern const char *tls_server_name(const Tls *tls);

/* OpenSSL's SSL_CTX, for tls_stream.c. */
extern struct ssl_ctx_st *tls_context(const Tls *tls);

#endif /* TLS_H */
