/*
 * http2.h
 *		The protocol of one HTTP/2 connection, client's or server's side, on nghttp2: bytes in,
 *		bytes out. It knows no socket and no time; link.h brings them.
 *
 * Headers, data and ends of streams are reported to handlers. A handler may call everything here
 * but http2_receive(), http2_make(), http2_lose() and http2_free().
 */
#ifndef HTTP2_H
#define HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "net/http2_stream.h"

/* Headers of one request or response that we send. */
#define HTTP2_HEADERS_MAX 16

/* What a peer may say in a GOAWAY, and what is kept of it, with terminator. */
#define HTTP2_TEXT_SIZE 128

/* What becomes of a connection. A function may be NULL where it is the other side's. */
typedef struct Http2Handler
{
	void (*on_ready)(void *context); /* a client's: the server's SETTINGS have come */
	void (*on_room)(void *context);  /* a client's: another request may be possible now */
	/* A client's: no more requests. |text| is what the server says to it, unchecked. */
	void (*on_goaway)(void *context, uint32_t error_code, const char *text);
	void (*on_request)(void *context, Http2Stream *stream); /* a server's */
} Http2Handler;

typedef struct Http2Options
{
	bool is_server;
	int streams_max; /* of a server: requests at a time; more are refused (REFUSED_STREAM) */
	const Http2Handler *handler;
	void *context;
	/* There is something for http2_make(). Called often, also from within other functions. */
	void (*on_output)(void *context);
	void *output_context;
} Http2Options;

/* A connection of which nothing has come and nothing was made; handlers outlive it. */
extern Http2 *http2_new(const Http2Options *options);

/* Streams that have not ended must have been lost before. */
extern void http2_free(Http2 *http2);

/* Takes what came from the peer. False: the peer broke the rules; http2_text() says how. */
extern bool http2_receive(Http2 *http2, const uint8_t *data, size_t size);

/*
 * Appends frames to |output| until it holds |size_max| bytes or more (then |is_more|), or nothing
 * is left to send. False: the connection cannot go on; http2_text() says why.
 */
extern bool http2_make(Http2 *http2, Bytes *output, size_t size_max, bool *is_more);

/* Whether both sides are through with each other and the connection can be closed. */
extern bool http2_is_finished(const Http2 *http2);

/*
 * The connection is lost: all streams end (HTTP2_LOST). |written| of the bytes that http2_make()
 * made have reached the network.
 */
extern void http2_lose(Http2 *http2, uint64_t written);

/* Whether the connection ends because a side broke the rules, or the peer says so: http2_text(). */
extern bool http2_is_broken(const Http2 *http2);

/* Why a broken connection is, for people. */
extern const char *http2_text(const Http2 *http2);

/*
 * No new streams: GOAWAY; what runs is finished. A server says so first and takes what is under way
 * to it until the client has answered a PING.
 */
extern void http2_drain(Http2 *http2);

/* Whether no new streams are to begin: GOAWAY came, or http2_drain() was called. */
extern bool http2_is_draining(const Http2 *http2);

/* Whether all streams have ended. */
extern bool http2_is_idle(const Http2 *http2);

/* Sends a PING, unless one is under way. Whether it did. */
extern bool http2_ping(Http2 *http2);

/* Whether a PING is under way, not answered yet. */
extern bool http2_is_pinging(const Http2 *http2);

/*
 * Whether a client may make a request now: SETTINGS came, no GOAWAY did, and the peer's limit of
 * streams, HTTP2_STREAMS_MAX and the ids leave room.
 */
extern bool http2_can_request(const Http2 *http2);

/* Whether a client has no ids left (HTTP2_STREAM_ID_MAX), and never will make a request again. */
extern bool http2_is_used_up(const Http2 *http2);

/*
 * Makes a request, which must be possible. Headers are copied, at most HTTP2_HEADERS_MAX; |body|
 * comes from malloc and becomes the stream's (NULL: none).
 */
extern Http2Stream *http2_request(Http2 *http2, const Http2Header *headers, int header_count,
								  uint8_t *body, size_t size, const Http2StreamHandler *handler,
								  void *context);

/*
 * A server's answer, once a stream. |body| as in http2_request(). |trailer| follows the body; its
 * texts live as long as the process. Without body and trailer the headers end the stream.
 */
extern void http2_respond(Http2Stream *stream, const Http2Header *headers, int header_count,
						  uint8_t *body, size_t size, const Http2Header *trailer);

/*
 * Resets a stream. Nothing more is heard of it, not even its end; the pointer is not to be used
 * again. A request not yet sent never is.
 */
extern void http2_stream_reset(Http2Stream *stream, uint32_t error_code);

/* "REFUSED_STREAM"; "unknown" for a code without a name. Static. */
extern const char *http2_error_name(uint32_t error_code);

#endif /* HTTP2_H */
