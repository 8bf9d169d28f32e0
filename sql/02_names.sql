\unset ECHO
-- Codes and their names, and refuse(), which raises a reason by its name.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(112);

-- Every code in use, listed in order from -1 on; a code without a name is NULL.
CREATE FUNCTION names(function text, last int) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    result text[];
BEGIN
    EXECUTE format('SELECT array_agg(order_service.%I(code::smallint) ORDER BY code) FROM generate_series(-1, $1) code',
        function) INTO result USING last;
    RETURN result;
END
$$;

SELECT is(names('side_name', 3), '{NULL,NULL,BUY,SELL,NULL}', 'sides have their names');
SELECT is(names('order_type_name', 2), '{NULL,MARKET,LIMIT,NULL}', 'order types have their names');
SELECT is(names('time_in_force_name', 4), '{NULL,DAY,GTC,IOC,FOK,NULL}', 'times in force have their names');
SELECT is(names('status_name', 8),
    '{NULL,RECEIVED,ACCEPTED,SENT,PARTIALLY_FILLED,FILLED,CANCEL_REQUESTED,CANCELED,REJECTED,NULL}',
    'statuses have their names');
SELECT is(names('hold_name', 4), '{NULL,NONE,HELD,UNKNOWN,RELEASE_DUE,NULL}', 'holds have their names');
SELECT is(names('event_type_name', 9),
    ARRAY[NULL, NULL, 'ORDER_ACCEPTED', 'ORDER_REJECTED', 'ORDER_CANCEL_REQUESTED', 'ORDER_SENT',
        'ORDER_PARTIALLY_FILLED', 'ORDER_FILLED', 'ORDER_CANCELED', 'ORDER_CANCEL_REJECTED', NULL],
    'event types have their names');
SELECT is(names('execution_type_name', 6), '{NULL,NEW,TRADE,CANCELED,REJECTED,EXPIRED,CANCEL_REJECTED,NULL}',
    'execution types have their names');
SELECT is(names('outbox_status_name', 4), '{NULL,READY,SENT,FAILED,DLQ,NULL}', 'outbox statuses have their names');

CREATE TABLE name_functions AS SELECT unnest(ARRAY['side_name', 'order_type_name', 'time_in_force_name', 'status_name',
    'hold_name', 'event_type_name', 'execution_type_name', 'outbox_status_name', 'reason_name', 'reason_message'])
    AS name;
CREATE FUNCTION name_of(function text, code smallint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT order_service.%I($1)', function) INTO result USING code;
    RETURN result;
END
$$;
SELECT is(name_of(name, NULL), NULL, name || '() of NULL is NULL') FROM name_functions;
SELECT is(name_of(name, '-32768') || name_of(name, '32767'), NULL, name || '() of an extreme code is NULL')
FROM name_functions;

-- Reasons -----------------------------------------------------------------------------------------------------
-- The codes of wire, result rows and SQLSTATEs: all three are contracts, so they are spelled out here.

CREATE TABLE reasons (number smallint PRIMARY KEY, name text, code int, message text);
INSERT INTO reasons VALUES
    (0, 'NONE', 200, 'accepted'),
    (1, 'FIELD_MISSING', 400, 'a required field is missing'),
    (2, 'KEY_INVALID', 400, 'idempotency key is not valid'),
    (3, 'ACCOUNT_INVALID', 400, 'account id is not valid'),
    (4, 'SYMBOL_INVALID', 400, 'symbol is not valid'),
    (5, 'SIDE_INVALID', 400, 'side is not valid'),
    (6, 'ORDER_TYPE_INVALID', 400, 'order type is not valid'),
    (7, 'TIME_IN_FORCE_INVALID', 400, 'time in force is not valid'),
    (8, 'QUANTITY_INVALID', 400, 'quantity is not valid'),
    (9, 'PRICE_INVALID', 400, 'price is not valid'),
    (10, 'AMOUNT_OVERFLOW', 400, 'quantity times price is too large'),
    (11, 'PRICE_OFF_TICK', 400, 'price is not a multiple of the tick'),
    (12, 'QUANTITY_OFF_LOT', 400, 'quantity is not a multiple of the lot'),
    (13, 'PRICE_OUTSIDE_LIMITS', 400, 'price is outside the limits of the day'),
    (14, 'ORDER_ID_INVALID', 400, 'order id is not valid'),
    (15, 'OUTCOME_INVALID', 400, 'outcome of the reservation is not valid'),
    (16, 'EXECUTION_INVALID', 400, 'execution report is not valid'),
    (17, 'TIME_TO_LIVE_INVALID', 400, 'time to live is not valid'),
    (20, 'INSUFFICIENT_FUNDS', 402, 'funds are not sufficient'),
    (21, 'INSUFFICIENT_POSITION', 402, 'position is not sufficient'),
    (22, 'ACCOUNT_NOT_FOUND', 404, 'account does not exist'),
    (23, 'ACCOUNT_SUSPENDED', 403, 'account is suspended'),
    (24, 'ACCOUNT_REFUSED', 400, 'reservation was refused as invalid'),
    (25, 'ACCOUNT_UNAVAILABLE', 503, 'account service is not available'),
    (26, 'ACCOUNT_OUTCOME_UNKNOWN', 503, 'account service did not answer in time'),
    (27, 'EXPIRED_BEFORE_ACCEPTANCE', 503, 'order expired before it was accepted'),
    (30, 'UNKNOWN_SYMBOL', 404, 'symbol does not exist'),
    (31, 'SYMBOL_HALTED', 409, 'trading in the symbol is halted'),
    (32, 'UNKNOWN_ORDER', 404, 'order does not exist'),
    (33, 'NOT_YOURS', 403, 'order belongs to another account'),
    (34, 'IN_PROGRESS', 409, 'the first request with this key is still in progress'),
    (35, 'WRONG_STATE', 409, 'order is in the wrong state'),
    (36, 'KEY_REUSED', 422, 'idempotency key was used for another request'),
    (37, 'NO_SESSION', 401, 'session does not exist or has expired'),
    (40, 'EXCHANGE_REJECTED', 200, 'exchange rejected the order'),
    (41, 'EXCHANGE_CANCELED', 200, 'exchange canceled the order'),
    (42, 'EXCHANGE_EXPIRED', 200, 'order expired at the exchange');

SELECT results_eq('SELECT n, order_service.reason_name(n::smallint) FROM generate_series(-1, 50) n',
    'SELECT n, name FROM generate_series(-1, 50) n LEFT JOIN reasons ON number = n ORDER BY n',
    'every reason has its name, and no other number has one');
SELECT results_eq('SELECT n, order_service.reason_message(n::smallint) FROM generate_series(-1, 50) n',
    'SELECT n, message FROM generate_series(-1, 50) n LEFT JOIN reasons ON number = n ORDER BY n',
    'every reason has its message, and no other number has one');

-- The numbers 1 to 50 as the extension names them: none of them may be missing from the list above.
SELECT is((raised(format('SELECT order_service.refuse(%L, %L)', order_service.reason_name(n::smallint), 'Why.')))[1:3],
    ARRAY['OS' || r.code, r.message, 'Why.'], format('refuse() raises %s with its SQLSTATE and message', r.name))
FROM generate_series(1, 50) n JOIN reasons r ON r.number = n
WHERE order_service.reason_name(n::smallint) IS NOT NULL ORDER BY n;

SELECT is((raised(format('SELECT order_service.refuse(%L, NULL)', name)))[3], '',
    'refuse() raises ' || name || ' without a detail where none is given')
FROM reasons WHERE number IN (1, 20, 42) ORDER BY number;
SELECT is((raised(format('SELECT order_service.refuse(%L, NULL)', name)))[4], hint, name || ' has its hint')
FROM (VALUES
    ('IN_PROGRESS', 'Repeat the same request later.'),
    ('KEY_REUSED', 'Use a new key for a new request.'),
    ('PRICE_INVALID', 'Prices are in micro-units: 1000000 is 1.0.'),
    ('SYMBOL_HALTED', 'Repeat the request with the same key when trading resumes.')) AS hints (name, hint);
SELECT is((raised(format('SELECT order_service.refuse(%L, NULL)', name)))[4], '', name || ' needs no hint')
FROM reasons WHERE number NOT IN (0, 1, 9, 31, 34, 36) ORDER BY number;

SELECT raises($$SELECT order_service.refuse('NO_SESSION', '100 %s of %d %n')$$, 'OS401',
    'session does not exist or has expired', '100 %s of %d %n', '', 'a detail is text, not a format');
SELECT raises($$SELECT order_service.refuse('NO_SESSION', repeat('x', 2000))$$, 'OS401',
    'session does not exist or has expired', repeat('x', 2000), '', 'a detail may be long');
SELECT raises(format('SELECT order_service.refuse(%L, NULL)', name), '22023',
    format('unrecognized reason: "%s"', coalesce(name, 'NULL')), '', '',
    'refuse() does not take ' || coalesce(quote_literal(name), 'NULL') || ' for a reason')
FROM (VALUES ('NONE'), ('no_session'), (''), ('NO_SESSION '), ('NOSUCH'), (NULL)) AS names (name);

SELECT * FROM finish();
ROLLBACK;
