/*
 * account_message.c
 *		What is said to the Account service, and what its answers mean.
 */
#include "order/account_message.h"

#include <assert.h>

#include "account.pb-c.h"
#include "base/number.h"

const char *
account_message_path(AccountMethod method)
{
	static const char *const paths[ACCOUNT_METHOD_COUNT] = {
		"/" ACCOUNT_SERVICE "/ReserveCash",
		"/" ACCOUNT_SERVICE "/ReservePosition",
		"/" ACCOUNT_SERVICE "/ReleaseCash",
		"/" ACCOUNT_SERVICE "/ReleasePosition",
	};

	return paths[method];
}

static void
pack(Bytes *message, const ProtobufCMessage *request)
{
	size_t size = protobuf_c_message_get_packed_size(request);

	assert(message->size == 0);
	message->size = protobuf_c_message_pack(request, bytes_reserve(message, size));
	assert(message->size == size);
}

static void
pack_reserve(Bytes *message, const AccountReservation *reservation)
{
	char order_id[NUMBER_DECIMAL_SIZE];

	(void) number_decimal(reservation->order_id, order_id);
	if (reservation->is_cash)
	{
		Account__Order__V1__ReserveCashRequest request =
			ACCOUNT__ORDER__V1__RESERVE_CASH_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.amount_micro_units = reservation->amount;
		request.currency = (char *) reservation->currency;
		request.reserve_id = (char *) reservation->reserve_id;
		request.order_id = order_id;
		pack(message, &request.base);
	}
	else
	{
		Account__Order__V1__ReservePositionRequest request =
			ACCOUNT__ORDER__V1__RESERVE_POSITION_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.symbol = (char *) reservation->symbol;
		request.quantity = reservation->amount;
		request.reserve_id = (char *) reservation->reserve_id;
		request.order_id = order_id;
		pack(message, &request.base);
	}
}

static void
pack_release(Bytes *message, const AccountReservation *reservation)
{
	if (reservation->is_cash)
	{
		Account__Order__V1__ReleaseCashRequest request =
			ACCOUNT__ORDER__V1__RELEASE_CASH_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.reserve_id = (char *) reservation->reserve_id;
		pack(message, &request.base);
	}
	else
	{
		Account__Order__V1__ReleasePositionRequest request =
			ACCOUNT__ORDER__V1__RELEASE_POSITION_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.reserve_id = (char *) reservation->reserve_id;
		pack(message, &request.base);
	}
}

void
account_message_pack(AccountMethod method, const AccountReservation *reservation, Bytes *message)
{
	assert(reservation->is_cash ==
		   (method == ACCOUNT_RESERVE_CASH || method == ACCOUNT_RELEASE_CASH));
	if (method == ACCOUNT_RESERVE_CASH || method == ACCOUNT_RESERVE_POSITION)
		pack_reserve(message, reservation);
	else
		pack_release(message, reservation);
}

/*
 * What the codes of a reply mean. INTERNAL_ERROR tells nothing about what was done before it, nor
 * does a code that the contract does not have.
 */
static AccountVerdict
judge_reply(int code, Reason *reason)
{
	*reason = REASON_ACCOUNT_OUTCOME_UNKNOWN;
	switch (code)
	{
		case ACCOUNT__ORDER__V1__RESULT_CODE__SUCCESS:
		case ACCOUNT__ORDER__V1__RESULT_CODE__DUPLICATE_REQUEST:
			*reason = REASON_NONE;
			return ACCOUNT_VERDICT_DONE;
		case ACCOUNT__ORDER__V1__RESULT_CODE__INSUFFICIENT_FUNDS:
			*reason = REASON_INSUFFICIENT_FUNDS;
			return ACCOUNT_VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__INSUFFICIENT_POSITION:
		case ACCOUNT__ORDER__V1__RESULT_CODE__POSITION_NOT_FOUND:
			*reason = REASON_INSUFFICIENT_POSITION;
			return ACCOUNT_VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__ACCOUNT_NOT_FOUND:
			*reason = REASON_ACCOUNT_NOT_FOUND;
			return ACCOUNT_VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__ACCOUNT_SUSPENDED:
			*reason = REASON_ACCOUNT_SUSPENDED;
			return ACCOUNT_VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__INVALID_REQUEST:
		case ACCOUNT__ORDER__V1__RESULT_CODE__INVALID_AMOUNT:
			*reason = REASON_ACCOUNT_REFUSED;
			return ACCOUNT_VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__NOT_IMPLEMENTED:
			*reason = REASON_ACCOUNT_UNAVAILABLE;
			return ACCOUNT_VERDICT_UNTOUCHED;
		default:
			return ACCOUNT_VERDICT_DOUBTFUL;
	}
}

/*
 * What a gRPC status means. Some say that a server, or what stands in front of it, turned the call
 * away before the service saw it; all others leave open what was done.
 */
static AccountVerdict
judge_status(const ChannelResult *result, Reason *reason)
{
	*reason = REASON_ACCOUNT_UNAVAILABLE;
	if (result->is_unprocessed)
		return ACCOUNT_VERDICT_UNTOUCHED;
	switch (result->status)
	{
		case GRPC_INVALID_ARGUMENT:
		case GRPC_NOT_FOUND:
		case GRPC_PERMISSION_DENIED:
		case GRPC_UNAUTHENTICATED:
		case GRPC_UNIMPLEMENTED:
		case GRPC_FAILED_PRECONDITION:
		case GRPC_OUT_OF_RANGE:
			return ACCOUNT_VERDICT_UNTOUCHED;
		default:
			*reason = REASON_ACCOUNT_OUTCOME_UNKNOWN;
			return ACCOUNT_VERDICT_DOUBTFUL;
	}
}

AccountVerdict
account_message_judge(const ChannelResult *result, Reason *reason)
{
	Account__Order__V1__CommonReply *reply;
	AccountVerdict verdict;

	if (result->status != GRPC_OK)
		return judge_status(result, reason);
	/* Nearly every reply: proto3 does not write the code 0. */
	if (result->reply_size == 0)
		return judge_reply(ACCOUNT__ORDER__V1__RESULT_CODE__SUCCESS, reason);
	reply = account__order__v1__common_reply__unpack(NULL, result->reply_size, result->reply);
	verdict = judge_reply(reply != NULL ? (int) reply->code : -1, reason);
	if (reply != NULL)
		account__order__v1__common_reply__free_unpacked(reply, NULL);
	return verdict;
}

bool
account_message_is_failure(const ChannelResult *result, AccountVerdict verdict)
{
	switch (result->status)
	{
		case GRPC_OK:
			return verdict == ACCOUNT_VERDICT_DOUBTFUL;
		case GRPC_UNAVAILABLE:
		case GRPC_DEADLINE_EXCEEDED:
		case GRPC_INTERNAL:
		case GRPC_UNKNOWN:
		case GRPC_RESOURCE_EXHAUSTED:
		case GRPC_DATA_LOSS:
			return true;
		default:
			return false;
	}
}

AttemptFailure
account_message_failure(const ChannelResult *result)
{
	if (result->is_unprocessed)
		return ATTEMPT_UNPROCESSED;
	if (result->status == GRPC_UNAVAILABLE || result->status == GRPC_DEADLINE_EXCEEDED)
		return ATTEMPT_RETRYABLE;
	return ATTEMPT_FINAL;
}
