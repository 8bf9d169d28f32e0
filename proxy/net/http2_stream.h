/*
 * http2_stream.h
 *		One request and its answer on an HTTP/2 connection: who hears of it, and what is to be sent.
 *
 * Users of http2.h need the types at the beginning; the rest is between it and http2_stream.c.
 */
#ifndef HTTP2_STREAM_H
#define HTTP2_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Error codes of RST_STREAM and GOAWAY that we send or treat in a special way (RFC 9113, 7). */
#define HTTP2_NO_ERROR 0x0
#define HTTP2_INTERNAL_ERROR 0x2
#define HTTP2_REFUSED_STREAM 0x7
#define HTTP2_CANCEL 0x8
#define HTTP2_ENHANCE_YOUR_CALM 0xB

typedef struct Http2 Http2;
typedef struct Http2Stream Http2Stream;

typedef struct Http2Header
{
	const char *name; /* lower case; must stay for as long as the connection, it is not copied */
	const char *value;
	bool is_unique; /* another one each time: not worth a place in the compression table */
} Http2Header;

/* Why a stream ended. */
typedef enum Http2Cause
{
	HTTP2_FINISHED,          /* the peer has said everything */
	HTTP2_RESET,             /* by either side, with |error_code| */
	HTTP2_LOST,              /* with its connection */
	HTTP2_HEADERS_TOO_LARGE, /* more than GRPC_HEADER_BYTES_MAX; we reset it */
} Http2Cause;

typedef struct Http2End
{
	Http2Cause cause;
	uint32_t error_code;
	bool is_unprocessed; /* a request that the peer certainly has not acted on */
} Http2End;

/* What becomes of a stream. Names and values are terminated and valid during the call. */
typedef struct Http2StreamHandler
{
	void (*on_header)(void *context, const char *name, size_t name_size, const char *value,
					  size_t value_size);
	void (*on_headers_end)(void *context); /* of one block: 1xx, the headers, the trailers */
	void (*on_data)(void *context, const uint8_t *data, size_t size);
	void (*on_end)(void *context); /* a server's: the request is complete; NULL: of no interest */
	void (*on_close)(void *context, const Http2End *end); /* the last one; the stream is gone */
} Http2StreamHandler;

/* Who hears of a server's stream: called from on_request. */
extern void http2_stream_handle(Http2Stream *stream, const Http2StreamHandler *handler,
								void *context);

/* Whether a request may have reached the peer: false until the first frame is made of it. */
extern bool http2_stream_is_sent(const Http2Stream *stream);

/* The streams of a connection. */
typedef struct Http2Streams
{
	LIST_HEAD(, Http2Stream) all;
	uint32_t count;
	uint64_t written_bytes; /* of what was made; known once the connection is lost */
} Http2Streams;

struct Http2Stream
{
	LIST_ENTRY(Http2Stream) link;
	Http2Streams *streams;
	Http2 *http2;
	int32_t id;
	const Http2StreamHandler *handler; /* NULL: nobody's (yet, or any more) */
	void *context;
	uint8_t *body;
	size_t body_size;
	size_t body_sent;
	const Http2Header *trailer;
	size_t header_bytes; /* of the block being received */
	bool is_sent;        /* the first frame of a request was made ... */
	uint64_t sent_at;    /* ... behind so many bytes of output */
	bool is_peer_done;   /* END_STREAM came */
};

/* A stream without an id yet; handler and context may be NULL. */
extern Http2Stream *http2_stream_new(Http2Streams *streams, Http2 *http2,
									 const Http2StreamHandler *handler, void *context);

/* Tells the owner, if there is one, for the last time. */
extern void http2_stream_disown(Http2Stream *stream, Http2Cause cause, uint32_t error_code);

/* Tells the owner and frees the stream. */
extern void http2_stream_end(Http2Stream *stream, Http2Cause cause, uint32_t error_code);

/* Moves the next part of the body, at most |size| bytes. How many; |is_last| with the end of it. */
extern size_t http2_stream_take_body(Http2Stream *stream, uint8_t *buffer, size_t size,
									 bool *is_last);

/* Counts a header of the current block; false when it is more than GRPC_HEADER_BYTES_MAX. */
extern bool http2_stream_count_header(Http2Stream *stream, size_t name_size, size_t value_size);

#endif /* HTTP2_STREAM_H */
