/*
 * rules.c
 *		What an order may be and become.
 *
 * DESIGN	Tables where the rules are data, functions where they are arithmetic. Everything is
 *			decided from the arguments, so that the same request gets the same answer on every path
 *			(single call, batch, replay) and the unit tests can visit every pair.
 */
#include "rules.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

static const char *const side_names[] = {NULL, "BUY", "SELL"};
static const char *const order_type_names[] = {"MARKET", "LIMIT"};
static const char *const time_in_force_names[] = {"DAY", "GTC", "IOC", "FOK"};
static const char *const status_names[] = {
	"RECEIVED", "ACCEPTED",         "SENT",     "PARTIALLY_FILLED",
	"FILLED",   "CANCEL_REQUESTED", "CANCELED", "REJECTED",
};
static const char *const hold_names[] = {"NONE", "HELD", "UNKNOWN", "RELEASE_DUE"};
static const char *const event_type_names[] = {
	NULL,
	"ORDER_ACCEPTED",
	"ORDER_REJECTED",
	"ORDER_CANCEL_REQUESTED",
	"ORDER_SENT",
	"ORDER_PARTIALLY_FILLED",
	"ORDER_FILLED",
	"ORDER_CANCELED",
	"ORDER_CANCEL_REJECTED",
};
static const char *const execution_type_names[] = {
	"NEW", "TRADE", "CANCELED", "REJECTED", "EXPIRED", "CANCEL_REJECTED",
};

static_assert(LENGTH_OF(status_names) == STATUS_COUNT, "a name for each status");
static_assert(LENGTH_OF(hold_names) == HOLD_COUNT, "a name for each hold");
static_assert(LENGTH_OF(execution_type_names) == EXECUTION_COUNT, "a name for each report");

/*
 * The transition table: bit |to| of row |from|. RECEIVED is left only by settling. An exchange may
 * fill or end an order before its acknowledgement was seen here, so ACCEPTED reaches all that SENT
 * does. While a cancel is pending the order still trades: fills keep it CANCEL_REQUESTED until the
 * exchange confirms or refuses.
 */
#define TO(status) (1u << STATUS_##status)

static const unsigned int transitions[STATUS_COUNT] = {
	[STATUS_RECEIVED] = TO(ACCEPTED) | TO(REJECTED),
	[STATUS_ACCEPTED] = TO(SENT) | TO(PARTIALLY_FILLED) | TO(FILLED) | TO(CANCEL_REQUESTED) |
						TO(CANCELED) | TO(REJECTED),
	[STATUS_SENT] =
		TO(PARTIALLY_FILLED) | TO(FILLED) | TO(CANCEL_REQUESTED) | TO(CANCELED) | TO(REJECTED),
	[STATUS_PARTIALLY_FILLED] =
		TO(PARTIALLY_FILLED) | TO(FILLED) | TO(CANCEL_REQUESTED) | TO(CANCELED),
	[STATUS_FILLED] = 0,
	[STATUS_CANCEL_REQUESTED] = TO(CANCEL_REQUESTED) | TO(SENT) | TO(PARTIALLY_FILLED) |
								TO(FILLED) | TO(CANCELED) | TO(REJECTED),
	[STATUS_CANCELED] = 0,
	[STATUS_REJECTED] = 0,
};

bool
rules_reason_rejects(int reason)
{
	return reason >= REASON_INSUFFICIENT_FUNDS && reason <= REASON_EXPIRED_BEFORE_ACCEPTANCE;
}

static const char *
name_of(const char *const *names, int count, int code)
{
	return code >= 0 && code < count ? names[code] : NULL;
}

static int
code_of(const char *const *names, int count, const char *name)
{
	assert(name != NULL);
	for (int i = 0; i < count; i++)
	{
		if (names[i] != NULL && strcmp(names[i], name) == 0)
			return i;
	}
	return -1;
}

const char *
rules_side_name(int side)
{
	return name_of(side_names, LENGTH_OF(side_names), side);
}

const char *
rules_order_type_name(int order_type)
{
	return name_of(order_type_names, LENGTH_OF(order_type_names), order_type);
}

const char *
rules_time_in_force_name(int time_in_force)
{
	return name_of(time_in_force_names, LENGTH_OF(time_in_force_names), time_in_force);
}

const char *
rules_status_name(int status)
{
	return name_of(status_names, LENGTH_OF(status_names), status);
}

const char *
rules_hold_name(int hold)
{
	return name_of(hold_names, LENGTH_OF(hold_names), hold);
}

const char *
rules_event_type_name(int event_type)
{
	return name_of(event_type_names, LENGTH_OF(event_type_names), event_type);
}

const char *
rules_execution_type_name(int execution_type)
{
	return name_of(execution_type_names, LENGTH_OF(execution_type_names), execution_type);
}

int
rules_side_code(const char *name)
{
	return code_of(side_names, LENGTH_OF(side_names), name);
}

int
rules_order_type_code(const char *name)
{
	return code_of(order_type_names, LENGTH_OF(order_type_names), name);
}

int
rules_time_in_force_code(const char *name)
{
	return code_of(time_in_force_names, LENGTH_OF(time_in_force_names), name);
}

int
rules_execution_type_code(const char *name)
{
	return code_of(execution_type_names, LENGTH_OF(execution_type_names), name);
}

bool
rules_transition_allowed(int from, int to)
{
	if (rules_status_name(from) == NULL || rules_status_name(to) == NULL)
		return false;
	return (transitions[from] & (1u << to)) != 0;
}

bool
rules_cancel_allowed(int status)
{
	/*
	 * A cancel that is pending already is not asked for again, though fills keep the order in that
	 * state.
	 */
	return status != STATUS_CANCEL_REQUESTED &&
		   rules_transition_allowed(status, STATUS_CANCEL_REQUESTED);
}

bool
rules_hold_allowed(int from, int to)
{
	switch (from)
	{
		case HOLD_NONE:
			return to == HOLD_NONE;
		case HOLD_UNKNOWN:
			return to == HOLD_NONE || to == HOLD_UNKNOWN || to == HOLD_RELEASE_DUE;
		case HOLD_RELEASE_DUE:
			return to == HOLD_NONE || to == HOLD_RELEASE_DUE;
		default:
			/* HELD backs a live order: only the end of the order changes it. */
			return false;
	}
}

bool
rules_status_final(int status)
{
	assert(rules_status_name(status) != NULL);
	return transitions[status] == 0;
}

bool
rules_key_valid(const char *key, size_t length)
{
	if (key == NULL || length < 1 || length > KEY_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (key[i] < ' ' || key[i] > '~')
			return false;
	}
	return true;
}

static bool
symbol_valid(const char *symbol, size_t length)
{
	if (symbol == NULL || length < 1 || length > SYMBOL_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		char c = symbol[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

Reason
rules_check_request(const OrderRequest *request)
{
	if (request->account_id <= 0)
		return REASON_ACCOUNT_INVALID;
	if (!rules_key_valid(request->key, request->key_length))
		return REASON_KEY_INVALID;
	if (!symbol_valid(request->symbol, request->symbol_length))
		return REASON_SYMBOL_INVALID;
	if (rules_side_name(request->side) == NULL)
		return REASON_SIDE_INVALID;
	if (rules_order_type_name(request->order_type) == NULL)
		return REASON_ORDER_TYPE_INVALID;
	if (request->quantity <= 0)
		return REASON_QUANTITY_INVALID;
	if (request->order_type == ORDER_TYPE_LIMIT ? request->price <= 0 : request->price != 0)
		return REASON_PRICE_INVALID;
	if (rules_time_in_force_name(request->time_in_force) == NULL)
		return REASON_TIME_IN_FORCE_INVALID;
	return REASON_NONE;
}

Reason
rules_check_instrument(const OrderRequest *request, const Instrument *instrument, int64_t *amount)
{
	bool is_limit = request->order_type == ORDER_TYPE_LIMIT;
	int64_t unit_price = is_limit ? request->price : instrument->price_ceiling;

	assert(instrument->tick > 0);
	assert(instrument->lot > 0);
	if (instrument->halted)
		return REASON_SYMBOL_HALTED;
	if (request->quantity % instrument->lot != 0)
		return REASON_QUANTITY_OFF_LOT;
	if (is_limit &&
		(unit_price < instrument->price_floor || unit_price > instrument->price_ceiling))
		return REASON_PRICE_OUTSIDE_LIMITS;
	if (is_limit && unit_price % instrument->tick != 0)
		return REASON_PRICE_OFF_TICK;
	if (__builtin_mul_overflow(request->quantity, unit_price, amount))
		return REASON_AMOUNT_OVERFLOW;
	return REASON_NONE;
}

/* The faults that are explained by the instrument's own figures; false for the others. */
static bool
explain_by_instrument(Reason reason, const OrderRequest *request, const Instrument *instrument,
					  char *buffer, size_t size)
{
	switch (reason)
	{
		case REASON_PRICE_OFF_TICK:
			(void) snprintf(buffer, size,
							"Price %" PRId64 " is not a multiple of the tick %" PRId64 ".",
							request->price, instrument->tick);
			return true;
		case REASON_QUANTITY_OFF_LOT:
			(void) snprintf(buffer, size,
							"Quantity %" PRId64 " is not a multiple of the lot %" PRId64 ".",
							request->quantity, instrument->lot);
			return true;
		case REASON_PRICE_OUTSIDE_LIMITS:
			(void) snprintf(buffer, size,
							"Price %" PRId64 " is not within %" PRId64 " to %" PRId64 ".",
							request->price, instrument->price_floor, instrument->price_ceiling);
			return true;
		case REASON_AMOUNT_OVERFLOW:
			(void) snprintf(buffer, size,
							"Quantity %" PRId64 " times price %" PRId64
							" micro-units exceeds the range of a 64-bit integer.",
							request->quantity,
							request->order_type == ORDER_TYPE_LIMIT ? request->price
																	: instrument->price_ceiling);
			return true;
		default:
			return false;
	}
}

void
rules_explain(Reason reason, const OrderRequest *request, const Instrument *instrument,
			  char *buffer, size_t size)
{
	assert(size > 0);
	buffer[0] = '\0';
	if (instrument != NULL && explain_by_instrument(reason, request, instrument, buffer, size))
		return;
	switch (reason)
	{
		case REASON_ACCOUNT_INVALID:
			(void) snprintf(buffer, size, "Account id %" PRId64 " is not positive.",
							request->account_id);
			break;
		case REASON_KEY_INVALID:
			(void) snprintf(buffer, size, "A key has 1 to %d printable ASCII characters.",
							KEY_LENGTH_MAX);
			break;
		case REASON_SYMBOL_INVALID:
			(void) snprintf(buffer, size, "A symbol has 1 to %d of the characters A-Z 0-9 . _ -",
							SYMBOL_LENGTH_MAX);
			break;
		case REASON_SIDE_INVALID:
			(void) snprintf(buffer, size, "Side is BUY (1) or SELL (2).");
			break;
		case REASON_ORDER_TYPE_INVALID:
			(void) snprintf(buffer, size, "Order type is MARKET (0) or LIMIT (1).");
			break;
		case REASON_TIME_IN_FORCE_INVALID:
			(void) snprintf(buffer, size, "Time in force is DAY (0), GTC (1), IOC (2) or FOK (3).");
			break;
		case REASON_QUANTITY_INVALID:
			(void) snprintf(buffer, size, "Quantity %" PRId64 " is not positive.",
							request->quantity);
			break;
		case REASON_PRICE_INVALID:
			(void) snprintf(buffer, size, "Price %" PRId64 " is not %s.", request->price,
							request->order_type == ORDER_TYPE_LIMIT ? "positive, as LIMIT requires"
																	: "0, as MARKET requires");
			break;
		case REASON_UNKNOWN_SYMBOL:
		case REASON_SYMBOL_HALTED:
			(void) snprintf(buffer, size, "Symbol is \"%.*s\".", (int) request->symbol_length,
							request->symbol);
			break;
		default:
			break;
	}
}

const char *
rules_first_difference(const OrderRequest *request, const OrderTerms *terms)
{
	if (request->symbol_length != strlen(terms->symbol) ||
		memcmp(request->symbol, terms->symbol, request->symbol_length) != 0)
		return "symbol";
	if (request->side != terms->side)
		return "side";
	if (request->order_type != terms->order_type)
		return "order_type";
	if (request->quantity != terms->quantity)
		return "quantity";
	if (request->price != terms->price)
		return "price";
	if (request->time_in_force != terms->time_in_force)
		return "time_in_force";
	return NULL;
}

/* The status a trade leads to: a pending cancel stays pending until the order is complete. */
static OrderStatus
status_after_trade(OrderStatus status, int64_t filled_quantity, int64_t quantity)
{
	if (filled_quantity == quantity)
		return STATUS_FILLED;
	return status == STATUS_CANCEL_REQUESTED ? STATUS_CANCEL_REQUESTED : STATUS_PARTIALLY_FILLED;
}

Reason
rules_apply_execution(OrderStatus status, int64_t quantity, int64_t filled_quantity,
					  ExecutionType type, int64_t last_quantity, ExecutionEffect *effect)
{
	ExecutionEffect result = {.reason = REASON_NONE, .filled_quantity = filled_quantity};

	assert(quantity > 0);
	assert(filled_quantity >= 0 && filled_quantity <= quantity);
	if (type == EXECUTION_TRADE ? last_quantity <= 0 : last_quantity != 0)
		return REASON_EXECUTION_INVALID;
	if (rules_status_final(status) || status == STATUS_RECEIVED)
		return REASON_WRONG_STATE;
	if (last_quantity > quantity - filled_quantity)
		return REASON_EXECUTION_INVALID;

	switch (type)
	{
		case EXECUTION_NEW:
			result.status = status == STATUS_CANCEL_REQUESTED ? status : STATUS_SENT;
			result.event_type = EVENT_ORDER_SENT;
			break;
		case EXECUTION_TRADE:
			result.filled_quantity += last_quantity;
			result.status = status_after_trade(status, result.filled_quantity, quantity);
			result.event_type =
				result.status == STATUS_FILLED ? EVENT_ORDER_FILLED : EVENT_ORDER_PARTIALLY_FILLED;
			break;
		case EXECUTION_CANCELED:
		case EXECUTION_EXPIRED:
			result.status = STATUS_CANCELED;
			result.event_type = EVENT_ORDER_CANCELED;
			if (type == EXECUTION_EXPIRED)
				result.reason = REASON_EXCHANGE_EXPIRED;
			else if (status != STATUS_CANCEL_REQUESTED)
				result.reason = REASON_EXCHANGE_CANCELED;
			break;
		case EXECUTION_REJECTED:
			/* What has traded was accepted; the rest can only be canceled. */
			if (filled_quantity > 0)
				return REASON_WRONG_STATE;
			result.status = STATUS_REJECTED;
			result.event_type = EVENT_ORDER_REJECTED;
			result.reason = REASON_EXCHANGE_REJECTED;
			break;
		case EXECUTION_CANCEL_REJECTED:
			if (status != STATUS_CANCEL_REQUESTED)
				return REASON_WRONG_STATE;
			result.status = filled_quantity > 0 ? STATUS_PARTIALLY_FILLED : STATUS_SENT;
			result.event_type = EVENT_ORDER_CANCEL_REJECTED;
			break;
		default:
			return REASON_EXECUTION_INVALID;
	}
	if (!rules_transition_allowed(status, result.status))
		return REASON_WRONG_STATE;
	result.ends_order = rules_status_final(result.status);
	*effect = result;
	return REASON_NONE;
}
