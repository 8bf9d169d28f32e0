\unset ECHO
-- place_order(): what a placed order is, and what its repetition gives.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(62);

-- Placing -----------------------------------------------------------------------------------------------------

SELECT is((SELECT (order_id, status, code, reason, replayed, filled_quantity, updated_at = now())::text
           FROM order_service.place_order(7, 'first', 'AAPL', 'BUY', 'LIMIT', 100, 150000000, 'GTC')),
    '(1,ACCEPTED,200,,f,0,t)', 'the first order is accepted under id 1');
SELECT is((SELECT (order_id, account_id, symbol, side, order_type, quantity, price, time_in_force, currency)::text
           FROM order_service.orders), '(1,7,AAPL,1,1,100,150000000,1,USD)', 'it is recorded with its terms');
SELECT is((SELECT (status, code, reason, filled_quantity, created_at = now(), updated_at = now())::text
           FROM order_service.orders), '(1,200,0,0,t,t)', 'it is recorded as accepted just now');
SELECT is((SELECT (hold, reserve_id, reserve_amount)::text FROM order_service.orders), '(0,,0)',
    'it is recorded without a hold at Account');
SELECT is((SELECT (event_id, previous_event_id, order_id, account_id, order_version, event_type)::text
           FROM order_service.outbox), '(1,0,1,7,1,1)', 'there is one event, ORDER_ACCEPTED, version 1');
SELECT is((SELECT (status, retry_count, created_at = now(), next_attempt_at, sent_at, last_error)::text
           FROM order_service.outbox), '(0,0,t,,infinity,)', 'it is READY to be published');
SELECT ok((SELECT position('AAPL'::bytea IN payload) > 0 FROM order_service.outbox), 'it names the symbol');
SELECT is((SELECT (last_event_id, order_version)::text FROM order_service.orders), '(1,1)',
    'the order knows its newest event');
SELECT is((SELECT (account_id, key, command, order_id, created_at = now())::text FROM order_service.idempotency_key),
    '(7,first,1,1,t)', 'the key stands for the order');
SELECT is((SELECT (order_id, account_id, symbol, side, order_type, quantity, price, time_in_force, status,
               filled_quantity, reason, hold, reserve_id, reserve_amount, currency, order_version)::text
           FROM order_service.order_detail),
    '(1,7,AAPL,BUY,LIMIT,100,150000000,GTC,ACCEPTED,0,,NONE,,0,USD,1)', 'order_detail shows it by names');
SELECT is((SELECT (event_id, order_id, order_version, event_type, status, retry_count, created_at = now(), sent_at,
               next_attempt_at, last_error)::text
           FROM order_service.outbox_detail), '(1,1,1,ORDER_ACCEPTED,READY,0,t,,,)',
    'outbox_detail shows the event by names');
SELECT is((SELECT (ready, oldest = now(), oldest_age = '0')::text FROM order_service.outbox_lag), '(1,t,t)',
    'outbox_lag counts it');

CREATE TABLE combinations AS
SELECT row_number() OVER () AS n, side, order_type, time_in_force,
    CASE order_type WHEN 'LIMIT' THEN 150000000 ELSE 0 END AS price
FROM unnest(ARRAY['BUY', 'SELL']) WITH ORDINALITY AS s (side, a),
     unnest(ARRAY['MARKET', 'LIMIT']) WITH ORDINALITY AS t (order_type, b),
     unnest(ARRAY['DAY', 'GTC', 'IOC', 'FOK']) WITH ORDINALITY AS f (time_in_force, c);

-- Places an order and reads it back; the statement that calls a function does not see what the function stored.
CREATE FUNCTION placed(account_id bigint, key text, symbol text, side text, order_type text, quantity bigint,
    price bigint DEFAULT 0, time_in_force text DEFAULT 'DAY') RETURNS order_service.order_detail
    LANGUAGE plpgsql AS $$
DECLARE
    answer record;
    result order_service.order_detail;
BEGIN
    SELECT * INTO answer FROM order_service.place_order($1, $2, $3, $4, $5, $6, $7, $8);
    SELECT d.* INTO STRICT result FROM order_service.order_detail d WHERE d.order_id = answer.order_id;
    IF (answer.status, answer.code, answer.reason, answer.replayed) IS DISTINCT FROM (result.status, 200, NULL, false)
    THEN
        RAISE 'the answer was %', answer;
    END IF;
    RETURN result;
END
$$;

SELECT is((SELECT (p.status, p.side, p.order_type, p.time_in_force, p.price)::text
           FROM placed(8, 'combination ' || n, 'AAPL', c.side, c.order_type, n, c.price, c.time_in_force) p),
    format('(ACCEPTED,%s,%s,%s,%s)', side, order_type, time_in_force, price),
    format('%s %s %s is accepted', side, order_type, time_in_force))
FROM combinations c ORDER BY n;
SELECT is((SELECT count(*) FROM order_service.orders WHERE account_id = 8), 16::bigint, 'each of them is an order');
SELECT is((SELECT string_agg(DISTINCT (event_type, order_version, previous_event_id)::text, ' ')
           FROM order_service.outbox WHERE account_id = 8), '(1,1,0)', 'each has its first event');
SELECT is((SELECT array_agg(event_id ORDER BY event_id) FROM order_service.outbox),
    (SELECT array_agg(n::bigint ORDER BY n) FROM generate_series(1, 17) n), 'event ids count on');

SELECT is((order_service.place_order(9, 'defaults', 'AAPL', 'SELL', 'MARKET', 1)).status, 'ACCEPTED',
    'price and time in force may be left out');
SELECT is((SELECT (price, time_in_force)::text FROM order_service.list_orders(9)), '(0,DAY)', 'and then are 0 and DAY');
SELECT is((SELECT status FROM order_service.place_order(p_quantity => 5, p_idempotency_key => 'named', p_side => 'BUY',
        p_account_id => 9, p_order_type => 'LIMIT', p_price => 150000000, p_symbol => 'AAPL')), 'ACCEPTED',
    'arguments may be named');

-- Limits of the instrument, met exactly
SELECT is((SELECT status FROM order_service.place_order(10, what, symbol, 'BUY', order_type, quantity, price)),
    'ACCEPTED', what || ' is accepted')
FROM (VALUES
    ('a price at the floor', 'AAPL', 'LIMIT', 1::bigint, 100000000::bigint),
    ('a price at the ceiling', 'AAPL', 'LIMIT', 1, 200000000),
    ('a price one tick above the floor', 'AAPL', 'LIMIT', 1, 100010000),
    ('a quantity of one lot', 'LOTS', 'LIMIT', 100, 150000000),
    ('a MARKET quantity of three lots', 'LOTS', 'MARKET', 300, 0),
    ('the largest amount, by quantity', 'WIDE', 'LIMIT', 9223372036854775807, 1),
    ('the largest amount, by price', 'WIDE', 'LIMIT', 1, 9223372036854775807),
    ('the largest MARKET amount', 'WIDE', 'MARKET', 1, 0),
    ('an amount of two large factors', 'WIDE', 'LIMIT', 3037000499, 3037000499)) AS c (what, symbol, order_type,
    quantity, price);
SELECT is((SELECT status FROM order_service.place_order(9223372036854775807, 'k', 'AAPL', 'BUY', 'MARKET', 1)),
    'ACCEPTED', 'the largest account id is accepted');

-- Symbols of every length and character that is allowed
INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)
SELECT symbol, 'USD', 1, 1, 100
FROM (VALUES ('A'), ('BRK.B'), ('X_1-9'), (repeat('Z', 32)), ('AAP'), ('AAPLE')) s (symbol);
SELECT is((SELECT p.symbol FROM placed(11, i.symbol, i.symbol, 'BUY', 'LIMIT', 1, 7) p), symbol,
    'symbol ' || symbol || ' is found')
FROM order_service.instrument i WHERE price_ceiling = 100 ORDER BY symbol;

-- Repeating ---------------------------------------------------------------------------------------------------

-- The first order again; (order id, status, code, reason, replayed).
CREATE FUNCTION first_again() RETURNS text LANGUAGE sql AS $$
    SELECT (order_id, status, code, reason, replayed)::text
    FROM order_service.place_order(7, 'first', 'AAPL', 'BUY', 'LIMIT', 100, 150000000, 'GTC')
$$;
CREATE TABLE before AS SELECT stored() AS stored;

SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'a repeated request gets the recorded order');
SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'and so does every further one');
SELECT is(stored(), (SELECT stored FROM before), 'a repetition stores nothing');
SELECT is((SELECT last_value FROM order_service.event_id_seq), (SELECT max(event_id) FROM order_service.outbox),
    'a repetition makes no event');
UPDATE order_service.instrument SET halted = true WHERE symbol = 'AAPL';
SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'also when its symbol is halted by now');
UPDATE order_service.instrument SET halted = false, price_floor = 160000000 WHERE symbol = 'AAPL';
SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'also when its price is outside the limits by now');
UPDATE order_service.instrument SET price_floor = 100000000, tick = 70000000 WHERE symbol = 'AAPL';
SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'also when its price is off tick by now');
UPDATE order_service.instrument SET tick = 10000, lot = 3 WHERE symbol = 'AAPL';
SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'also when its quantity is off lot by now');
DELETE FROM order_service.instrument WHERE symbol = 'AAPL';
SELECT is(first_again(), '(1,ACCEPTED,200,,t)', 'also when its symbol is gone by now');
UPDATE order_service.orders SET status = 3, filled_quantity = 40 WHERE order_id = 1;
SELECT is((SELECT (order_id, status, code, reason, replayed, filled_quantity)::text
           FROM order_service.place_order(7, 'first', 'AAPL', 'BUY', 'LIMIT', 100, 150000000, 'GTC')),
    '(1,PARTIALLY_FILLED,200,,t,40)', 'a repetition tells the state of the order as it is now');
UPDATE order_service.orders SET status = 7, filled_quantity = 0, reason = 40 WHERE order_id = 1;
SELECT is(first_again(), '(1,REJECTED,200,EXCHANGE_REJECTED,t)',
    'what the exchange did later does not change the code of the placement');
SELECT is(stored(), (SELECT stored FROM before), 'none of them stored anything');

SELECT * FROM finish();
ROLLBACK;
