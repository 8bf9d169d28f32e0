/*
 * tls_stream.h
 *		TLS on one nonblocking socket, as a client that speaks HTTP/2 (OpenSSL).
 *
 * Its functions are to the socket what recv() and send() are: they take or give what they can and
 * never wait. SIGPIPE must be ignored, as loop_new() does: OpenSSL writes without MSG_NOSIGNAL.
 */
#ifndef TLS_STREAM_H
#define TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/tls.h"

typedef struct TlsStream TlsStream;

/* Why it failed. */
typedef enum TlsCause
{
	TLS_UNTRUSTED,   /* the server's certificate leads to nobody who is trusted */
	TLS_EXPIRED,     /* its time is over, or has not begun */
	TLS_OTHER_NAME,  /* it is somebody else's */
	TLS_UNFIT,       /* something else is wrong with it */
	TLS_NO_HTTP2,    /* the server does not agree on h2 (ALPN) */
	TLS_REFUSED,     /* the server turns us away: it wants a certificate, or another one */
	TLS_PLAINTEXT,   /* what the server says is no TLS */
	TLS_INTERRUPTED, /* the connection ended within the handshake */
	TLS_LATE,        /* the handshake took too long: for its owner to find */
	TLS_BROKEN,      /* versions or ciphers do not match, or a side broke the rules */
} TlsCause;

#define TLS_CAUSE_COUNT 10

/*
 * TLS on a connected socket, which stays the caller's and outlives it. |host| is whom the
 * certificate must name, a name or an address, unless the options name somebody. Nothing is sent.
 */
extern TlsStream *tls_stream_new(const Tls *tls, int socket, const char *host);

/* Frees; sends nothing. */
extern void tls_stream_free(TlsStream *stream);

/* Goes on with the handshake: 0 when it is done; -1 as tls_stream_read(). */
extern int tls_stream_handshake(TlsStream *stream);

/* Whether the handshake is done, and with it the certificate checked. */
extern bool tls_stream_is_ready(const TlsStream *stream);

/*
 * Reads at most |size| bytes, of one record: with room for TLS_STREAM_RECORD_SIZE nothing is left
 * that the socket would not tell of. 0: the peer has ended the connection, with or without a word.
 * -1: errno is EAGAIN (tls_stream_is_blocked() says for what), EPROTO (the stream has failed), or
 * the socket's. Only after the handshake.
 */
extern ssize_t tls_stream_read(TlsStream *stream, uint8_t *data, size_t size);

#define TLS_STREAM_RECORD_SIZE 16384

/*
 * Writes what the socket takes, perhaps a part. After EAGAIN, or a part, the next call must begin
 * with the same bytes, at least as many, where ever they are by then. -1 as tls_stream_read().
 */
extern ssize_t tls_stream_write(TlsStream *stream, const uint8_t *data, size_t size);

/* After EAGAIN: true if the socket must take something first, false if it must bring something. */
extern bool tls_stream_is_blocked(const TlsStream *stream);

/* Tells the peer that nothing more comes, if that can be done without waiting. */
extern void tls_stream_close(TlsStream *stream);

/* After EPROTO: why; in words, one line, valid as long as the stream. */
extern TlsCause tls_stream_cause(const TlsStream *stream);
extern const char *tls_stream_text(const TlsStream *stream);

#endif /* TLS_STREAM_H */
