/*
 * rules.h
 *		What an order and its events may be and become: codes, reasons, the transition table, the
 *		checks of a request.
 *
 * Pure: no PostgreSQL, no memory, no clock. The numbers are on the wire and in the tables (DESIGN
 * "states", proto/order_event.proto) and never change their meaning.
 */
#ifndef RULES_H
#define RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "reason.h"

typedef enum Side
{
	SIDE_BUY = 1,
	SIDE_SELL = 2,
} Side;

typedef enum OrderType
{
	ORDER_TYPE_MARKET = 0,
	ORDER_TYPE_LIMIT = 1,
} OrderType;

typedef enum TimeInForce
{
	TIME_IN_FORCE_DAY = 0,
	TIME_IN_FORCE_GTC = 1,
	TIME_IN_FORCE_IOC = 2,
	TIME_IN_FORCE_FOK = 3,
} TimeInForce;

typedef enum OrderStatus
{
	STATUS_RECEIVED = 0,
	STATUS_ACCEPTED = 1,
	STATUS_SENT = 2,
	STATUS_PARTIALLY_FILLED = 3,
	STATUS_FILLED = 4,
	STATUS_CANCEL_REQUESTED = 5,
	STATUS_CANCELED = 6,
	STATUS_REJECTED = 7,
} OrderStatus;

#define STATUS_COUNT 8

/* What Account holds for an order. UNKNOWN and RELEASE_DUE are debts that the resolver pays. */
typedef enum Hold
{
	HOLD_NONE = 0,
	HOLD_HELD = 1,
	HOLD_UNKNOWN = 2,
	HOLD_RELEASE_DUE = 3,
} Hold;

#define HOLD_COUNT 4

/* The command an idempotency key was used for. */
typedef enum Command
{
	COMMAND_PLACE = 1,
	COMMAND_CANCEL = 2,
} Command;

typedef enum EventType
{
	EVENT_ORDER_ACCEPTED = 1,
	EVENT_ORDER_REJECTED = 2,
	EVENT_ORDER_CANCEL_REQUESTED = 3,
	EVENT_ORDER_SENT = 4,
	EVENT_ORDER_PARTIALLY_FILLED = 5,
	EVENT_ORDER_FILLED = 6,
	EVENT_ORDER_CANCELED = 7,
	EVENT_ORDER_CANCEL_REJECTED = 8,
} EventType;

/* Where an event is on its way to Kafka. */
typedef enum OutboxStatus
{
	OUTBOX_READY = 0,
	OUTBOX_SENT = 1,
	OUTBOX_FAILED = 2,
	OUTBOX_DLQ = 3,
} OutboxStatus;

/* What the exchange reports, in FIX terms (ExecType, tag 150). */
typedef enum ExecutionType
{
	EXECUTION_NEW = 0,
	EXECUTION_TRADE = 1,
	EXECUTION_CANCELED = 2,
	EXECUTION_REJECTED = 3,
	EXECUTION_EXPIRED = 4,
	EXECUTION_CANCEL_REJECTED = 5,
} ExecutionType;

#define EXECUTION_COUNT 6

/*
 * True where an order that was never accepted may be recorded as REJECTED for this reason: what
 * Account can answer, or the lack of an answer.
 */
extern bool rules_reason_rejects(int reason);

/* Names of the codes, for people; NULL for a number without one. Static. */
extern const char *rules_side_name(int side);
extern const char *rules_order_type_name(int order_type);
extern const char *rules_time_in_force_name(int time_in_force);
extern const char *rules_status_name(int status);
extern const char *rules_hold_name(int hold);
extern const char *rules_event_type_name(int event_type);
extern const char *rules_execution_type_name(int execution_type);

/* The code of a name, exactly as the functions above give it; -1 when there is none. */
extern int rules_side_code(const char *name);
extern int rules_order_type_code(const char *name);
extern int rules_time_in_force_code(const char *name);
extern int rules_execution_type_code(const char *name);

/*
 * True when an order in |from| may become |to|: the one transition table. Codes out of range give
 * false.
 */
extern bool rules_transition_allowed(int from, int to);

/* True when the owner may ask for an order in this status to be canceled. */
extern bool rules_cancel_allowed(int status);

/* True when a resolver may record |to| as what became of a hold that was |from|. */
extern bool rules_hold_allowed(int from, int to);

/* True when no transition leads out of the status. */
extern bool rules_status_final(int status);

/* A request to place an order. Texts are not terminated; NULL where the caller gave none. */
typedef struct OrderRequest
{
	int64_t account_id;
	const char *key;
	size_t key_length;
	const char *symbol;
	size_t symbol_length;
	int side;
	int order_type;
	int time_in_force;
	int64_t quantity; /* units, > 0 */
	int64_t price;    /* micro-units per unit; 0 for MARKET */
} OrderRequest;

/* The trading rules of a symbol. Prices in micro-units. */
typedef struct Instrument
{
	int64_t tick;
	int64_t lot;
	int64_t price_floor;
	int64_t price_ceiling;
	bool halted;
	char currency[CURRENCY_LENGTH + 1]; /* terminated */
} Instrument;

/* Whether an idempotency key has 1 to KEY_LENGTH_MAX printable ASCII characters. */
extern bool rules_key_valid(const char *key, size_t length);

/* Checks what needs no database; REASON_NONE or the first fault, in the order of the fields. */
extern Reason rules_check_request(const OrderRequest *request);

/*
 * Checks a request that passed rules_check_request() against its instrument and gives what a BUY
 * must reserve: quantity x price, or quantity x ceiling for MARKET, in micro-units (for SELL the
 * value of the order, which must not overflow either). |amount| is set only with REASON_NONE.
 */
extern Reason rules_check_instrument(const OrderRequest *request, const Instrument *instrument,
									 int64_t *amount);

/*
 * Explains a fault of rules_check_*() with the values at hand, as a sentence. |instrument| may be
 * NULL where the fault was found before it was read. Always terminates |buffer|; cuts what does not
 * fit.
 */
extern void rules_explain(Reason reason, const OrderRequest *request, const Instrument *instrument,
						  char *buffer, size_t size);

/* The terms of an order as they were recorded; the fingerprint of its idempotency key. */
typedef struct OrderTerms
{
	const char *symbol; /* terminated */
	int side;
	int order_type;
	int time_in_force;
	int64_t quantity;
	int64_t price;
} OrderTerms;

/*
 * The name of the first field, in the order of the message, in which a repeated request differs
 * from the recorded order; NULL when none does. Static.
 */
extern const char *rules_first_difference(const OrderRequest *request, const OrderTerms *terms);

/* An execution report applied to an order. */
typedef struct ExecutionEffect
{
	OrderStatus status;
	EventType event_type;
	Reason reason; /* REASON_NONE, or why the order ended */
	int64_t filled_quantity;
	bool ends_order;
} ExecutionEffect;

/*
 * What a report of the exchange does to an order. |last_quantity| is what was traded by this
 * report: > 0 for TRADE, else 0. Returns REASON_NONE, REASON_EXECUTION_INVALID (quantities that
 * cannot be) or REASON_WRONG_STATE (not in the transition table); |effect| is set only with
 * REASON_NONE.
 */
extern Reason rules_apply_execution(OrderStatus status, int64_t quantity, int64_t filled_quantity,
									ExecutionType type, int64_t last_quantity,
									ExecutionEffect *effect);

#endif /* RULES_H */
