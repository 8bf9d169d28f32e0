/*
 * method.c
 *		The calls of the contract and their messages.
 */
#include "method.h"

#include <assert.h>
#include <string.h>

static const ProtobufCServiceDescriptor *const contract =
	&account__order__v1__account_order_service__descriptor;

const char *
method_name(Method method)
{
	assert(contract->n_methods == METHOD_COUNT);
	assert(method < METHOD_COUNT);
	return contract->methods[method].name;
}

bool
method_of_name(const char *name, Method *method)
{
	for (int i = 0; i < METHOD_COUNT; i++)
	{
		if (strcmp(name, method_name((Method) i)) == 0)
		{
			*method = (Method) i;
			return true;
		}
	}
	return false;
}

bool
method_of_path(const char *path, Method *method)
{
	size_t service_size = strlen(contract->name);

	return path[0] == '/' && strncmp(path + 1, contract->name, service_size) == 0 &&
		   path[1 + service_size] == '/' && method_of_name(path + service_size + 2, method);
}

static void
read_reserve_cash(const ProtobufCMessage *message, LedgerReservation *reservation)
{
	const Account__Order__V1__ReserveCashRequest *request = (const void *) message;

	*reservation = (LedgerReservation){.reserve_id = request->reserve_id,
									   .account_id = request->account_id,
									   .kind = LEDGER_CASH,
									   .item = request->currency,
									   .amount = request->amount_micro_units,
									   .order_id = request->order_id};
}

static void
read_release_cash(const ProtobufCMessage *message, LedgerReservation *reservation)
{
	const Account__Order__V1__ReleaseCashRequest *request = (const void *) message;

	*reservation = (LedgerReservation){.reserve_id = request->reserve_id,
									   .account_id = request->account_id,
									   .kind = LEDGER_CASH,
									   .item = "",
									   .order_id = ""};
}

static void
read_reserve_position(const ProtobufCMessage *message, LedgerReservation *reservation)
{
	const Account__Order__V1__ReservePositionRequest *request = (const void *) message;

	*reservation = (LedgerReservation){.reserve_id = request->reserve_id,
									   .account_id = request->account_id,
									   .kind = LEDGER_POSITION,
									   .item = request->symbol,
									   .amount = request->quantity,
									   .order_id = request->order_id};
}

static void
read_release_position(const ProtobufCMessage *message, LedgerReservation *reservation)
{
	const Account__Order__V1__ReleasePositionRequest *request = (const void *) message;

	*reservation = (LedgerReservation){.reserve_id = request->reserve_id,
									   .account_id = request->account_id,
									   .kind = LEDGER_POSITION,
									   .item = "",
									   .order_id = ""};
}

typedef struct MethodRules
{
	void (*read)(const ProtobufCMessage *message, LedgerReservation *reservation);
	LedgerResult (*apply)(Ledger *ledger, const LedgerReservation *reservation);
} MethodRules;

static const MethodRules rules[METHOD_COUNT] = {
	[METHOD_RESERVE_CASH] = {read_reserve_cash, ledger_reserve},
	[METHOD_RELEASE_CASH] = {read_release_cash, ledger_release},
	[METHOD_RESERVE_POSITION] = {read_reserve_position, ledger_reserve},
	[METHOD_RELEASE_POSITION] = {read_release_position, ledger_release},
};

ProtobufCMessage *
method_unpack(Method method, const uint8_t *bytes, size_t size, LedgerReservation *reservation)
{
	ProtobufCMessage *message =
		protobuf_c_message_unpack(contract->methods[method].input, NULL, size, bytes);

	if (message != NULL)
		rules[method].read(message, reservation);
	return message;
}

void
method_free(ProtobufCMessage *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

LedgerResult
method_apply(Method method, Ledger *ledger, const LedgerReservation *reservation)
{
	return rules[method].apply(ledger, reservation);
}

const char *
method_result_name(int result)
{
	const ProtobufCEnumValue *value =
		protobuf_c_enum_descriptor_get_value(&account__order__v1__result_code__descriptor, result);

	return value != NULL ? value->name : NULL;
}

bool
method_result_of(const char *name, int *result)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(
		&account__order__v1__result_code__descriptor, name);

	if (value == NULL)
		return false;
	*result = value->value;
	return true;
}
