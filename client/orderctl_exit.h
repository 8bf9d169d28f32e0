/*
 * orderctl_exit.h
 *		How orderctl ends: a number for each business code, so that scripts can tell them apart.
 *
 * Pure. X(number, name, business code or 0, what it means). Never change a number.
 */
#ifndef ORDERCTL_EXIT_H
#define ORDERCTL_EXIT_H

#define ORDERCTL_EXIT_TABLE(X) \
	X(0, OK, 200, "done") \
	X(1, FAILED, 0, "no connection, no answer in time, or an answer that is not understood") \
	X(2, USAGE, 0, "the command line is wrong; nothing was sent") \
	X(10, INVALID, 400, "the request is not valid") \
	X(11, NO_SESSION, 401, "no such session, or it has expired") \
	X(12, INSUFFICIENT, 402, "funds or position are not sufficient") \
	X(13, FORBIDDEN, 403, "not your order, the account is suspended, or the role may not") \
	X(14, NOT_FOUND, 404, "no such order, symbol, account or event") \
	X(15, CONFLICT, 409, "the order is in the wrong state, or the key still in progress") \
	X(16, KEY_REUSED, 422, "the key was used for another request") \
	X(17, TOO_MANY, 429, "too many requests in flight") \
	X(18, INTERNAL, 500, "internal error of the server") \
	X(19, UNAVAILABLE, 503, "not available, try again later") \
	X(20, OUTCOME_UNKNOWN, 504, "a command was sent and its outcome is not known")

typedef enum OrderctlExit
{
#define ORDERCTL_EXIT_MEMBER(number, name, code, meaning) ORDERCTL_EXIT_##name = (number),
	ORDERCTL_EXIT_TABLE(ORDERCTL_EXIT_MEMBER)
#undef ORDERCTL_EXIT_MEMBER
} OrderctlExit;

/* The exit code for a business code; ORDERCTL_EXIT_FAILED for a number that is none. */
static inline OrderctlExit
orderctl_exit_of_code(int code)
{
	switch (code)
	{
#define ORDERCTL_EXIT_CASE(number, name, business, meaning) \
	case (business) != 0 ? (business): \
		-(number) : return ORDERCTL_EXIT_##name;
		ORDERCTL_EXIT_TABLE(ORDERCTL_EXIT_CASE)
#undef ORDERCTL_EXIT_CASE
		default:
			return ORDERCTL_EXIT_FAILED;
	}
}

#endif /* ORDERCTL_EXIT_H */
