/*
 * traffic.h
 *		What is counted about clients, their requests and the limits they meet.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdint.h>

#include "frame.h"
#include "reason.h"

/* Why a connection was closed: X(name, label of the counter). */
#define END_TABLE(X) \
	X(CLIENT, "closed by client") \
	X(LOST, "connection lost") \
	X(BAD_FRAME, "bad frame") \
	X(FRAME_TIMEOUT, "frame timeout") \
	X(OUTPUT_LIMIT, "output limit") \
	X(OUTPUT_STALLED, "output stalled") \
	X(SHUTDOWN, "shutdown")

typedef enum TrafficEnd
{
#define END_MEMBER(name, label) TRAFFIC_END_##name,
	END_TABLE(END_MEMBER)
#undef END_MEMBER
} TrafficEnd;

/* Why a connection was closed before it was one of ours: X(name, label of the counter). */
#define TURN_AWAY_TABLE(X) \
	X(CONNECTIONS_MAX, "connection limit") \
	X(NO_DESCRIPTOR, "no descriptor")

typedef enum TrafficTurnAway
{
#define TURN_AWAY_MEMBER(name, label) TRAFFIC_##name,
	TURN_AWAY_TABLE(TURN_AWAY_MEMBER)
#undef TURN_AWAY_MEMBER
} TrafficTurnAway;

/* Registers the metrics. */
extern void traffic_init(void);

/* The reason as in the counter's label. Static. */
extern const char *traffic_end_name(TrafficEnd end);

/* A connection begins, ends, or is turned away at the door. */
extern void traffic_connect(void);
extern void traffic_disconnect(TrafficEnd end);
extern void traffic_turn_away(TrafficTurnAway why);

/* A request was taken, and was answered |elapsed_us| later. */
extern void traffic_begin(void);
extern void traffic_answer(uint16_t service, uint16_t method, int code, int64_t elapsed_us);

/* A request was refused before it was looked at. */
extern void traffic_refuse(uint16_t service, uint16_t method, Reason reason);

/* A frame could not be understood. */
extern void traffic_refuse_frame(FrameError error);

/* Reading from a connection was stopped because it does not take its answers. */
extern void traffic_pause(void);

#endif /* TRAFFIC_H */
