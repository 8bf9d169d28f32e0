/*
 * reason.h
 *		Business codes, and why a request was refused or an order ended: one table for the
 *		extension, the proxy and the clients.
 *
 * Pure. The numbers are stored in orders.reason and travel between proxy and database: never reuse
 * one, never change its meaning.
 */
#ifndef REASON_H
#define REASON_H

#include <stdbool.h>

/*
 * Business codes, the same on the wire, in result rows and, behind "OS", as SQLSTATE: X(code, name,
 * gRPC status (google.rpc.Code), what a client may do).
 */
#define CODE_TABLE(X) \
	X(200, OK, 0, REPEAT_NOT) \
	X(400, INVALID, 3, REPEAT_NOT) \
	X(401, NO_SESSION, 16, REPEAT_NOT) \
	X(402, INSUFFICIENT, 9, REPEAT_WITH_NEW_KEY) \
	X(403, FORBIDDEN, 7, REPEAT_NOT) \
	X(404, NOT_FOUND, 5, REPEAT_NOT) \
	X(409, CONFLICT, 10, REPEAT_LATER) \
	X(422, KEY_REUSED, 6, REPEAT_WITH_NEW_KEY) \
	X(429, TOO_MANY, 8, REPEAT_LATER) \
	X(500, INTERNAL, 13, REPEAT_LATER) \
	X(503, UNAVAILABLE, 14, REPEAT_LATER) \
	X(504, OUTCOME_UNKNOWN, 4, REPEAT_LATER)

typedef enum Code
{
#define CODE_MEMBER(code, name, grpc, repeat) CODE_##name = (code),
	CODE_TABLE(CODE_MEMBER)
#undef CODE_MEMBER
} Code;

/* What a client that wants its request done may do after the answer. */
typedef enum Repeat
{
	REPEAT_NOT,          /* nothing: done, or the request must change */
	REPEAT_LATER,        /* the same request with the same key */
	REPEAT_WITH_NEW_KEY, /* recorded under its key for good */
} Repeat;

/*
 * Reasons: X(number, name, code, message). Message follows PostgreSQL's style: lower case, no full
 * stop. From 60 on the database is not asked: the proxy answers.
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
	X(42, EXCHANGE_EXPIRED, CODE_OK, "order expired at the exchange") \
	X(60, TOO_MANY_IN_FLIGHT, CODE_TOO_MANY, "too many requests in flight on this connection") \
	X(61, OVERLOADED, CODE_UNAVAILABLE, "too many requests in flight in all") \
	X(62, SHUTTING_DOWN, CODE_UNAVAILABLE, "server is shutting down") \
	X(63, DATABASE_UNAVAILABLE, CODE_UNAVAILABLE, "database is not available") \
	X(64, OUTCOME_UNKNOWN, CODE_OUTCOME_UNKNOWN, "outcome is unknown, ask by the idempotency key") \
	X(65, INTERNAL_ERROR, CODE_INTERNAL, "internal error") \
	X(66, PAYLOAD_INVALID, CODE_INVALID, "payload is not a message of this method") \
	X(67, UNKNOWN_METHOD, CODE_NOT_FOUND, "method does not exist") \
	X(68, LIMIT_INVALID, CODE_INVALID, "limit is not valid") \
	X(69, ACCOUNT_RESTING, CODE_UNAVAILABLE, \
	  "account service fails too often and is given a rest") \
	X(70, ACCOUNT_BUSY, CODE_UNAVAILABLE, "too many orders wait for the account service")

typedef enum Reason
{
#define REASON_MEMBER(number, name, code, message) REASON_##name = (number),
	REASON_TABLE(REASON_MEMBER)
#undef REASON_MEMBER
} Reason;

/* A reason's name, such as "PRICE_OFF_TICK"; NULL for a number not in the table. Static. */
extern const char *reason_name(int reason);

/* The number of a reason's name; -1 when there is none. */
extern int reason_number(const char *name);

/* The business code a reason answers with; CODE_INTERNAL for a number that is not in the table. */
extern Code reason_code(int reason);

/*
 * The reason in one line, PostgreSQL's message style; NULL for a number that is not in the table.
 * Static.
 */
extern const char *reason_message(int reason);

/* The name of a business code, such as "NOT_FOUND"; NULL for a number that is none. Static. */
extern const char *reason_code_name(int code);

/* What a client may do after a business code; REPEAT_NOT for a number that is none. */
extern Repeat reason_repeat(int code);

/* The gRPC status that says the same as a business code; 2 (UNKNOWN) for a number that is none. */
extern int reason_grpc_status(int code);

/* The business code in an SQLSTATE such as "OS404"; 0 for every other SQLSTATE, and for NULL. */
extern int reason_code_of_sqlstate(const char *sqlstate);

#endif /* REASON_H */
