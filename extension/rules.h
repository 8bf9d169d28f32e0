/*
 * rules.h
 *		What an order may be and become: codes, reasons, the transition table, the checks of a
 *		request.
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

/* Business codes, the same on the wire, in result rows and, behind "OS", as SQLSTATE. */
#define CODE_OK 200
#define CODE_INVALID 400
#define CODE_NO_SESSION 401
#define CODE_INSUFFICIENT 402
#define CODE_FORBIDDEN 403
#define CODE_NOT_FOUND 404
#define CODE_CONFLICT 409
#define CODE_KEY_REUSED 422
#define CODE_INTERNAL 500
#define CODE_UNAVAILABLE 503

/*
 * Why a request was refused or an order ended: X(number, name, code, message). Numbers are stored
 * in orders.reason: never reuse one. Message follows PostgreSQL's style: lower case, no full stop.
 */
#define REASON_TABLE(X) \
	X(0, NONE, CODE_OK, "accepted") \
	X(1, FIELD_MISSING, CODE_INVALID, "a required field is missing") \
	X(2, KEY_INVALID, CODE_INVALID, "idempotency key is not valid") \
	X(3, ACCOUNT_INVALID, CODE_INVALID, "account id is not valid") \
	X(4, SYMBOL_INVALID, CODE_INVALID, "symbol is not valid") \
	X(5, SIDE_INVALID, CODE_INVALID, "side is not valid") \
	X(6, ORDER_TYPE_INVALID, CODE_INVALID, "order type is not valid") \
	X(7, TIME_IN_FORCE_INVALID, CODE_INVALID, "time in force is not valid") \
	X(8, QUANTITY_INVALID, CODE_INVALID, "quantity is not valid") \
	X(9, PRICE_INVALID, CODE_INVALID, "price is not valid") \
	X(10, AMOUNT_OVERFLOW, CODE_INVALID, "quantity times price is too large") \
	X(11, PRICE_OFF_TICK, CODE_INVALID, "price is not a multiple of the tick") \
	X(12, QUANTITY_OFF_LOT, CODE_INVALID, "quantity is not a multiple of the lot") \
	X(13, PRICE_OUTSIDE_LIMITS, CODE_INVALID, "price is outside the limits of the day") \
	X(14, ORDER_ID_INVALID, CODE_INVALID, "order id is not valid") \
	X(15, OUTCOME_INVALID, CODE_INVALID, "outcome of the reservation is not valid") \
	X(16, EXECUTION_INVALID, CODE_INVALID, "execution report is not valid") \
	X(17, TIME_TO_LIVE_INVALID, CODE_INVALID, "time to live is not valid") \
	X(20, INSUFFICIENT_FUNDS, CODE_INSUFFICIENT, "funds are not sufficient") \
	X(21, INSUFFICIENT_POSITION, CODE_INSUFFICIENT, "position is not sufficient") \
	X(22, ACCOUNT_NOT_FOUND, CODE_NOT_FOUND, "account does not exist") \
	X(23, ACCOUNT_SUSPENDED, CODE_FORBIDDEN, "account is suspended") \
	X(24, ACCOUNT_REFUSED, CODE_INVALID, "reservation was refused as invalid") \
	X(25, ACCOUNT_UNAVAILABLE, CODE_UNAVAILABLE, "account service is not available") \
	X(26, ACCOUNT_OUTCOME_UNKNOWN, CODE_UNAVAILABLE, "account service did not answer in time") \
	X(27, EXPIRED_BEFORE_ACCEPTANCE, CODE_UNAVAILABLE, "order expired before it was accepted") \
	X(30, UNKNOWN_SYMBOL, CODE_NOT_FOUND, "symbol does not exist") \
	X(31, SYMBOL_HALTED, CODE_CONFLICT, "trading in the symbol is halted") \
	X(32, UNKNOWN_ORDER, CODE_NOT_FOUND, "order does not exist") \
	X(33, NOT_YOURS, CODE_FORBIDDEN, "order belongs to another account") \
	X(34, IN_PROGRESS, CODE_CONFLICT, "the first request with this key is still in progress") \
	X(35, WRONG_STATE, CODE_CONFLICT, "order is in the wrong state") \
	X(36, KEY_REUSED, CODE_KEY_REUSED, "idempotency key was used for another request") \
	X(37, NO_SESSION, CODE_NO_SESSION, "session does not exist or has expired") \
	X(40, EXCHANGE_REJECTED, CODE_OK, "exchange rejected the order") \
	X(41, EXCHANGE_CANCELED, CODE_OK, "exchange canceled the order") \
	X(42, EXCHANGE_EXPIRED, CODE_OK, "order expired at the exchange")

typedef enum Reason
{
#define REASON_MEMBER(number, name, code, message) REASON_##name = (number),
	REASON_TABLE(REASON_MEMBER)
#undef REASON_MEMBER
} Reason;

/*
 * The reason's name, such as "PRICE_OFF_TICK"; NULL for a number that is not in the table. Static.
 */
extern const char *rules_reason_name(int reason);

/* The number of a reason's name; -1 when there is none. */
extern int rules_reason_number(const char *name);

/* The business code a reason answers with; CODE_INTERNAL for a number that is not in the table. */
extern int rules_reason_code(int reason);

/*
 * The reason in one line, PostgreSQL's message style; NULL for a number that is not in the table.
 * Static.
 */
extern const char *rules_reason_message(int reason);

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
