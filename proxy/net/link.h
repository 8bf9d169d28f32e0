/*
 * link.h
 *		An HTTP/2 connection: a socket, perhaps with TLS, its protocol (http2.h) and the loop.
 */
#ifndef LINK_H
#define LINK_H

#include "net/http2.h"
#include "net/loop.h"
#include "net/tls_stream.h"

typedef struct Link Link;

/* Why a connection ended. */
typedef enum LinkLoss
{
	LINK_CLOSED,  /* by the peer, without a word */
	LINK_SOCKET,  /* an error of the network */
	LINK_BROKEN,  /* a side broke the rules of HTTP/2, or the peer's GOAWAY has an error */
	LINK_SILENT,  /* a PING was not answered */
	LINK_DRAINED, /* after GOAWAY, all streams have ended: as it should be */
	LINK_ABORTED, /* link_abort() */
	LINK_TLS,     /* TLS failed: link_tls() has the cause */
} LinkLoss;

#define LINK_LOSS_COUNT 7

/* All streams have ended. The last call about the link; its owner frees it here or later. |text|
 * may be the link's. */
typedef void (*LinkCloseCallback)(void *context, LinkLoss loss, const char *text);

/*
 * Takes over a connected, nonblocking socket, and |tls|, a stream on it that has not begun (NULL:
 * no TLS). |handler| and the callback get |context|; none of them is called from within this.
 */
extern Link *link_new_client(Loop *loop, int socket, TlsStream *tls, const Http2Handler *handler,
							 LinkCloseCallback on_close, void *context);

/* |streams_max| requests at a time are taken, any more are refused. */
extern Link *link_new_server(Loop *loop, int socket, int streams_max, const Http2Handler *handler,
							 LinkCloseCallback on_close, void *context);

/*
 * Closes and frees. Streams end before (HTTP2_LOST); the callback of the connection does not come.
 * Not from within a handler of Http2.
 */
extern void link_free(Link *link);

/* To make requests. */
extern Http2 *link_http2(Link *link);

/* How TLS is getting on; NULL without TLS. */
extern const TlsStream *link_tls(const Link *link);

/* Closes at the end of the turn, without a word to the peer. */
extern void link_abort(Link *link);

/* As http2_drain(): the link closes when its streams have ended. */
extern void link_drain(Link *link);

/* Sends a PING, unless one is under way; not answered within HTTP2_PING_ANSWER_MS_MAX it ends the
 * connection. Whether it was sent. */
extern bool link_ping(Link *link);

/* When something last came from the peer, by the loop's clock. */
extern int64_t link_read_at_us(const Link *link);

#endif /* LINK_H */
