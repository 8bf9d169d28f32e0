\unset ECHO
-- The JSON form of the events: its exact text, in every state of an order; what is not an event; the settings.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(29);

CREATE FUNCTION event_json(id bigint, version int) RETURNS text LANGUAGE sql AS $$
    SELECT order_service.event_json(payload)::text FROM order_service.outbox
    WHERE order_id = id AND order_version = version
$$;
CREATE FUNCTION prefix() RETURNS text LANGUAGE sql AS 'SELECT reserve_prefix FROM order_service.identity';
CREATE FUNCTION received_millis() RETURNS bigint LANGUAGE sql AS
    'SELECT floor(extract(epoch FROM now()) * 1000)::bigint';

-- One order through many states
SELECT received_order(7, 'a') AS id \gset
SELECT order_service.settle_orders(ARRAY[:id], '{0}', '{1}') \g /dev/null
SELECT order_service.apply_execution('1', :id, 'NEW') \g /dev/null
SELECT order_service.apply_execution('2', :id, 'TRADE', 30, 150000000) \g /dev/null
SELECT order_service.cancel_order(7, 'c', :id) \g /dev/null
SELECT order_service.apply_execution('3', :id, 'CANCEL_REJECTED') \g /dev/null
SELECT order_service.apply_execution('4', :id, 'EXPIRED') \g /dev/null
SELECT is(event_json(:id, version), format('{"order_id":"1","account_id":7,"symbol":"AAPL","side":"BUY",'
    '"order_type":"LIMIT","quantity":100,"price":150000000,"time_in_force":"DAY","status":"%s","reserve_id":"%s-1",'
    '"created_at_millis":%s,"event_type":"%s","order_version":%s,"filled_quantity":%s,"reason":"%s"}',
    status, prefix(), received_millis(), event_type, version, filled, reason),
    'event ' || version || ' as JSON: all keys, in their order')
FROM (VALUES
    (1, 'ACCEPTED', 'ORDER_ACCEPTED', 0, ''),
    (2, 'SENT', 'ORDER_SENT', 0, ''),
    (3, 'PARTIALLY_FILLED', 'ORDER_PARTIALLY_FILLED', 30, ''),
    (4, 'CANCEL_REQUESTED', 'ORDER_CANCEL_REQUESTED', 30, ''),
    (5, 'PARTIALLY_FILLED', 'ORDER_CANCEL_REJECTED', 30, ''),
    (6, 'CANCELED', 'ORDER_CANCELED', 30, 'EXCHANGE_EXPIRED')) AS e (version, status, event_type, filled, reason)
ORDER BY version;

-- The others; what is said of every event agrees with its order.
SELECT (order_service.place_order(9223372036854775807, 'p', 'WIDE', 'SELL', 'LIMIT', 3, 3074457345618258602, 'FOK')).order_id
    AS wide, (order_service.place_order(8, 'm', 'AAPL', 'BUY', 'MARKET', 1)).order_id AS market,
    received_order(8, 'r') AS refused, held_order(8, 'x') AS rejected \gset
SELECT order_service.apply_execution('5', :wide, 'TRADE', 3, 1) \g /dev/null
SELECT order_service.settle_orders(ARRAY[:refused], '{21}', '{0}') \g /dev/null
SELECT order_service.apply_execution('6', :rejected, 'REJECTED') \g /dev/null
SELECT is(event_json(:wide, 2), format('{"order_id":"%s","account_id":9223372036854775807,"symbol":"WIDE","side":"SELL",'
    '"order_type":"LIMIT","quantity":3,"price":3074457345618258602,"time_in_force":"FOK","status":"FILLED",'
    '"reserve_id":"","created_at_millis":%s,"event_type":"ORDER_FILLED","order_version":2,"filled_quantity":3,'
    '"reason":""}', :wide, received_millis()), 'numbers are whole, however large');
SELECT is(event_json(:market, 1)::jsonb - '{order_id,account_id,created_at_millis,quantity}'::text[], '{"side": "BUY",
    "price": 0, "reason": "", "status": "ACCEPTED", "symbol": "AAPL", "event_type": "ORDER_ACCEPTED", "order_type":
    "MARKET", "reserve_id": "", "order_version": 1, "time_in_force": "DAY", "filled_quantity": 0}',
    'a market order has price 0');
SELECT is(event_json(:refused, 1)::jsonb ->> 'reason', 'INSUFFICIENT_POSITION', 'Account''s reason');
SELECT is(event_json(:rejected, 2)::jsonb ->> 'reason', 'EXCHANGE_REJECTED', 'the exchange''s reason');
SELECT is_empty($$
    SELECT b.order_id, b.order_version FROM order_service.outbox b JOIN order_service.order_detail o USING (order_id),
    LATERAL (SELECT order_service.event_json(b.payload)::jsonb AS event) e
    WHERE event ->> 'order_id' <> o.order_id::text OR jsonb_typeof(event -> 'order_id') <> 'string'
       OR event -> 'account_id' <> to_jsonb(o.account_id) OR event ->> 'symbol' <> o.symbol
       OR event ->> 'side' <> o.side OR event ->> 'order_type' <> o.order_type
       OR event -> 'quantity' <> to_jsonb(o.quantity) OR event -> 'price' <> to_jsonb(o.price)
       OR event ->> 'time_in_force' <> o.time_in_force OR event ->> 'reserve_id' <> coalesce(o.reserve_id, '')
       OR event ->> 'event_type' <> order_service.event_type_name(b.event_type)
       OR event -> 'order_version' <> to_jsonb(b.order_version)
       OR b.order_version = o.order_version AND (event ->> 'status' <> o.status
           OR event -> 'filled_quantity' <> to_jsonb(o.filled_quantity)
           OR event ->> 'reason' <> coalesce(o.reason, ''))
    $$, 'every event agrees with its order');
SELECT is((SELECT count(DISTINCT status_name) FROM order_service.outbox b, LATERAL (
    SELECT order_service.event_json(b.payload)::jsonb ->> 'status' AS status_name) e), 7::bigint,
    'in all states that an event can tell');
-- An id of timeline 524288, the last one: such ids are above 2^53.
UPDATE order_service.orders SET order_id = 9223372036854775807 WHERE order_id = :market;
SELECT order_service.apply_execution('7', 9223372036854775807, 'NEW') \g /dev/null
SELECT is(event_json(9223372036854775807, 2)::jsonb ->> 'order_id', '9223372036854775807',
    'an order id is a text, of all its digits');

-- Texts that no order has are escaped: a symbol of four characters instead of AAPL.
SELECT payload AS payload FROM order_service.outbox WHERE order_id = :id AND order_version = 1 \gset
CREATE FUNCTION with_symbol(payload bytea, symbol bytea) RETURNS bytea LANGUAGE sql AS $$
    SELECT overlay(payload PLACING symbol FROM position('AAPL'::bytea IN payload) FOR 4)
$$;
SELECT ok(order_service.event_json(with_symbol(:'payload', '"\\/}'))::text LIKE '%"symbol":"\\"\\\\/}","side":%',
    'quotes and backslashes are escaped');
SELECT is(order_service.event_json(with_symbol(:'payload', '"\\/}'))::jsonb ->> 'symbol', '"\/}', 'and read back');

-- What is not an event
SELECT is(order_service.event_json(NULL) IS NULL, true, 'nothing gives nothing');
SELECT raises(format('SELECT order_service.event_json(%L)', payload), '22P03', 'the payload is not an OrderEvent', '',
    '', name || ' is refused')
FROM (VALUES
    (1, '\x'::bytea, 'an empty payload'),
    (2, 'hello', 'a text'),
    (3, '{"order_id": 1}', 'a JSON document'),
    (4, substring(:'payload'::bytea FROM 1 FOR 20), 'half an event'),
    (5, :'payload'::bytea || '\x800101'::bytea, 'an unknown field'),
    (6, with_symbol(:'payload', '\x41000042'), 'a zero byte'),
    (7, with_symbol(:'payload', '\xff4141c3'), 'bytes that are not UTF-8'),
    (8, with_symbol(:'payload', '\x41410a41'), 'a control character'),
    (9, decode(repeat('00', 600), 'hex'), 'a payload that is too large')) AS p (n, payload, name)
ORDER BY n;

-- The settings
SELECT is(format('%s %s %s %s', name, boot_val, enumvals, context), shown, shown)
FROM pg_settings JOIN (VALUES
    ('order_service.event_format protobuf {protobuf,json} sighup'),
    ('order_service.event_headers cloudevents {none,basic,cloudevents} sighup'),
    ('order_service.event_key order_id {order_id,account_id} sighup')) AS s (shown)
    ON split_part(shown, ' ', 1) = name
ORDER BY name;
SELECT raises('SET order_service.event_format = json', '55P02',
    'parameter "order_service.event_format" cannot be changed now', '', '', 'a session cannot change them');

SELECT * FROM finish();
ROLLBACK;
