/*
 * method.h
 *		The calls of the contract by number, name and path, and their messages. All from what protoc
 *		made of account.proto.
 */
#ifndef METHOD_H
#define METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"

/* In the order of the contract. */
typedef enum Method
{
	METHOD_RESERVE_CASH,
	METHOD_RELEASE_CASH,
	METHOD_RESERVE_POSITION,
	METHOD_RELEASE_POSITION,
} Method;

#define METHOD_COUNT (METHOD_RELEASE_POSITION + 1)

/* "ReserveCash". */
extern const char *method_name(Method method);

/* The method of that name, or of a path "/package.Service/Name"; false when there is none. */
extern bool method_of_name(const char *name, Method *method);
extern bool method_of_path(const char *path, Method *method);

/*
 * Reads a request; what |reservation| then points to lives until method_free(). NULL when the bytes
 * are no such message.
 */
extern ProtobufCMessage *method_unpack(Method method, const uint8_t *bytes, size_t size,
									   LedgerReservation *reservation);
extern void method_free(ProtobufCMessage *message);

/* Does to the ledger what the call asks for. */
extern LedgerResult method_apply(Method method, Ledger *ledger,
								 const LedgerReservation *reservation);

/* "INSUFFICIENT_FUNDS", and back; NULL or false for what the contract does not have. */
extern const char *method_result_name(int result);
extern bool method_result_of(const char *name, int *result);

#endif /* METHOD_H */
