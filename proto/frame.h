/*
 * frame.h
 *		The 24-byte header of the client protocol (WIRE.md), shared by the proxy and its clients.
 *
 * Pure: no allocation, no network.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>

#define FRAME_VERSION 1
#define FRAME_HEADER_SIZE 24
#define FRAME_PAYLOAD_MAX 1048576

typedef enum FrameType
{
	FRAME_REQUEST = 1,
	FRAME_RESPONSE = 2,
	FRAME_STREAM = 3,
	FRAME_EVENT = 4,
} FrameType;

/*
 * Services and their methods. A pair that is not listed is answered with 404, not as a bad frame.
 */
#define SERVICE_CONTROL 0
#define CONTROL_PING 1
#define SERVICE_AUTH 1
#define AUTH_LOGIN 1
#define AUTH_LOGOUT 2
#define SERVICE_ORDER 2
#define ORDER_PLACE 1
#define ORDER_CANCEL 2
#define ORDER_GET 3
#define ORDER_LIST 4

/* The payload is an ErrorMessage. Every other flag is reserved and must be 0. */
#define FRAME_FLAG_ERROR 0x0001

typedef struct FrameHeader
{
	uint8_t type; /* FrameType */
	uint16_t service;
	uint16_t method;
	uint16_t flags;
	uint64_t correlation_id; /* chosen by the client, echoed in the answer */
	uint32_t sequence;       /* 0, or for an EVENT its number on this connection */
	uint32_t payload_length; /* bytes that follow the header */
} FrameHeader;

/* What is wrong with a header: the code of the ErrorMessage that answers it before the close. */
typedef enum FrameError
{
	FRAME_OK = 0,
	FRAME_ERROR_DECODE = 1001,  /* type, flags or sequence */
	FRAME_ERROR_VERSION = 1002, /* not FRAME_VERSION; nothing behind it can be trusted */
	FRAME_ERROR_LENGTH = 1003,  /* payload larger than FRAME_PAYLOAD_MAX */
} FrameError;

/* Writes a header. It must be one that frame_decode() accepts (asserted). */
extern void frame_encode(const FrameHeader *header, uint8_t bytes[FRAME_HEADER_SIZE]);

/*
 * Reads a header and checks it, version first, then length, then the rest. With an error |header|
 * is set all the same, so that the answer can echo the correlation id.
 */
extern FrameError frame_decode(const uint8_t bytes[FRAME_HEADER_SIZE], FrameHeader *header);

#endif /* FRAME_H */
