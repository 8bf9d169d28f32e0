\unset ECHO
-- receive_orders(): what is recorded and reserved, and a batch of 128 with every kind of item.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(155);

-- What Account is to reserve ----------------------------------------------------------------------------------

CREATE TABLE received AS
SELECT * FROM order_service.receive_orders('{7,7,7,7,7}', '{a,b,c,d,e}', '{AAPL,AAPL,AAPL,LOTS,WIDE}', '{1,1,2,2,1}',
    '{1,0,1,0,0}', '{100,100,100,300,1}', '{150000000,0,150000000,0,0}', '{0,1,2,3,0}');
SELECT is((SELECT (order_id, code, reason, detail, status, replayed, filled_quantity, updated_at = now())::text
           FROM received WHERE item = 1), '(1,200,0,,0,f,0,t)', 'a received order waits for its settlement');
SELECT is((SELECT (order_id, account_id, symbol, side, order_type, quantity, price, time_in_force, currency)::text
           FROM order_service.orders WHERE order_id = 1), '(1,7,AAPL,1,1,100,150000000,0,USD)',
    'it is recorded with its terms');
SELECT is((SELECT (status, code, reason, hold, order_version, last_event_id, filled_quantity, reserve_amount,
               created_at = now(), updated_at = now())::text
           FROM order_service.orders WHERE order_id = 1), '(0,0,0,0,0,0,0,15000000000,t,t)',
    'it is RECEIVED, without an answer and without an event');
SELECT is((SELECT count(*) FROM order_service.outbox), 0::bigint, 'no event is written');
SELECT is((SELECT (account_id, key, command, order_id)::text FROM order_service.idempotency_key WHERE key = 'a'),
    '(7,a,1,1)', 'its key is in use');
SELECT is((SELECT (reserve_amount, currency)::text FROM received WHERE item = c.item), reserved, what)
FROM (VALUES
    (1, '(15000000000,USD)', 'a LIMIT BUY reserves quantity times price'),
    (2, '(20000000000,USD)', 'a MARKET BUY reserves quantity times the highest price of the day'),
    (3, '(100,USD)', 'a LIMIT SELL reserves the quantity'),
    (4, '(300,EUR)', 'a MARKET SELL reserves the quantity'),
    (5, '(9223372036854775807,KRW)', 'the largest amount can be reserved')) AS c (item, reserved, what);
SELECT is_empty($$SELECT order_id FROM received r JOIN order_service.orders o USING (order_id)
    WHERE (r.reserve_id, r.reserve_amount, r.currency) IS DISTINCT FROM (o.reserve_id, o.reserve_amount, o.currency)$$,
    'what is to be reserved is recorded as well');
SELECT is((SELECT array_agg(DISTINCT o.reserve_id = reserve_prefix || '-' || order_id)
           FROM order_service.orders o, order_service.identity), '{t}',
    'the reserve id is the prefix of the database and the order id');

-- A batch of 128 ----------------------------------------------------------------------------------------------
-- Items that are good but for what |what| says, each followed by a plain good one.

CREATE TABLE batch (
    n serial, item bigint, what text, account_id bigint DEFAULT 7, key text, symbol text DEFAULT 'AAPL',
    side smallint DEFAULT 1, order_type smallint DEFAULT 1, quantity bigint DEFAULT 100,
    price bigint DEFAULT 150000000, time_in_force smallint DEFAULT 0,
    -- The expected result: code, reason, detail, status, replayed; |same_as|: the key whose order it tells of.
    code smallint DEFAULT 200, reason smallint DEFAULT 0, detail text, status smallint, replayed boolean DEFAULT false,
    same_as text);

INSERT INTO batch (what, key, account_id, symbol, side, order_type, quantity, price, time_in_force, code, reason)
SELECT 'NULL for ' || what, 'null ' || what, account_id, symbol, side, order_type, quantity, price, time_in_force, 400, 1
FROM (VALUES
    ('the account id', NULL::bigint, 'AAPL', 1::smallint, 1::smallint, 100::bigint, 150000000::bigint, 0::smallint),
    ('the key', 7, 'AAPL', 1, 1, 100, 150000000, 0),
    ('the symbol', 7, NULL, 1, 1, 100, 150000000, 0),
    ('the side', 7, 'AAPL', NULL, 1, 100, 150000000, 0),
    ('the order type', 7, 'AAPL', 1, NULL, 100, 150000000, 0),
    ('the quantity', 7, 'AAPL', 1, 1, NULL, 150000000, 0),
    ('the price', 7, 'AAPL', 1, 1, 100, NULL, 0),
    ('the time in force', 7, 'AAPL', 1, 1, 100, 150000000, NULL))
    AS v (what, account_id, symbol, side, order_type, quantity, price, time_in_force);
UPDATE batch SET key = NULL WHERE what = 'NULL for the key';
UPDATE batch SET detail = format('Field "%s" is null.', CASE what
    WHEN 'NULL for the account id' THEN 'account_id' WHEN 'NULL for the key' THEN 'idempotency_key'
    ELSE replace(substr(what, length('NULL for the ') + 1), ' ', '_') END)
WHERE what LIKE 'NULL for %';
INSERT INTO batch (what, account_id, code, reason, detail) VALUES
    ('account id 0', 0, 400, 3, 'Account id 0 is not positive.'),
    ('account id -1', -1, 400, 3, 'Account id -1 is not positive.');
INSERT INTO batch (what, key, code, reason, detail)
SELECT what, key, 400, 2, 'A key has 1 to 128 printable ASCII characters.'
FROM (VALUES ('an empty key', ''), ('a key of 129 characters', repeat('k', 129)), ('a key with a newline', E'a\nb'),
    ('a key that is not ASCII', chr(252))) AS v (what, key);
INSERT INTO batch (what, symbol, code, reason, detail)
SELECT what, symbol, 400, 4, 'A symbol has 1 to 32 of the characters A-Z 0-9 . _ -'
FROM (VALUES ('an empty symbol', ''), ('a symbol of 33 characters', repeat('A', 33)),
    ('a symbol in lower case', 'aapl')) AS v (what, symbol);
INSERT INTO batch (what, side, code, reason, detail)
SELECT 'side ' || side, side, 400, 5, 'Side is BUY (1) or SELL (2).'
FROM unnest('{0,3,-1,32767,-32768}'::smallint[]) AS side;
INSERT INTO batch (what, order_type, code, reason, detail)
SELECT 'order type ' || t, t, 400, 6, 'Order type is MARKET (0) or LIMIT (1).'
FROM unnest('{2,-1,32767}'::smallint[]) AS t;
INSERT INTO batch (what, quantity, code, reason, detail)
SELECT 'quantity ' || q, q, 400, 8, format('Quantity %s is not positive.', q)
FROM unnest('{0,-1,-9223372036854775808}'::bigint[]) AS q;
INSERT INTO batch (what, order_type, price, code, reason, detail) VALUES
    ('LIMIT at price 0', 1, 0, 400, 9, 'Price 0 is not positive, as LIMIT requires.'),
    ('LIMIT at price -1', 1, -1, 400, 9, 'Price -1 is not positive, as LIMIT requires.'),
    ('MARKET with a price', 0, 1, 400, 9, 'Price 1 is not 0, as MARKET requires.');
INSERT INTO batch (what, time_in_force, code, reason, detail)
SELECT 'time in force ' || t, t, 400, 7, 'Time in force is DAY (0), GTC (1), IOC (2) or FOK (3).'
FROM unnest('{4,-1,32767}'::smallint[]) AS t;
INSERT INTO batch (what, symbol, order_type, quantity, price, code, reason, detail) VALUES
    ('an unknown symbol', 'MSFT', 1, 100, 150000000, 404, 30, 'Symbol is "MSFT".'),
    ('a halted symbol', 'HALT', 1, 100, 150000000, 409, 31, 'Symbol is "HALT".'),
    ('a quantity off lot', 'LOTS', 1, 150, 150000000, 400, 12, 'Quantity 150 is not a multiple of the lot 100.'),
    ('a price off tick', 'AAPL', 1, 100, 150000001, 400, 11, 'Price 150000001 is not a multiple of the tick 10000.'),
    ('a price below the floor', 'AAPL', 1, 100, 99990000, 400, 13,
        'Price 99990000 is not within 100000000 to 200000000.'),
    ('a price above the ceiling', 'AAPL', 1, 100, 200010000, 400, 13,
        'Price 200010000 is not within 100000000 to 200000000.'),
    ('a LIMIT amount beyond 64 bits', 'WIDE', 1, 9223372036854775807, 2, 400, 10,
        'Quantity 9223372036854775807 times price 2 micro-units exceeds the range of a 64-bit integer.'),
    ('a MARKET amount beyond 64 bits', 'WIDE', 0, 2, 0, 400, 10,
        'Quantity 2 times price 9223372036854775807 micro-units exceeds the range of a 64-bit integer.');
-- Keys in use: 'accepted' and 'rejected' are settled, 'received' is not, 'cancel' canceled the order of 'canceled'.
INSERT INTO batch (what, key, quantity, code, reason, detail, status, replayed, same_as) VALUES
    ('a repetition of an accepted order', 'accepted', 100, 200, 0, NULL, 1, true, 'accepted'),
    ('a repetition of a rejected order', 'rejected', 100, 402, 20, NULL, 7, true, 'rejected'),
    ('a repetition of an order in progress', 'received', 100, 409, 34, 'Order id is %s.', 0, false, 'received'),
    ('a repetition of a canceled order', 'canceled', 100, 200, 0, NULL, 5, true, 'canceled'),
    ('another request with the key of an accepted order', 'accepted', 101, 422, 36,
        'Differs in "quantity" from the request of order %s.', 1, false, 'accepted'),
    ('another request with the key of an order in progress', 'received', 101, 422, 36,
        'Differs in "quantity" from the request of order %s.', 0, false, 'received'),
    ('the key of a cancel', 'cancel', 100, 422, 36, 'Differs in "command" from the request of order %s.', 5, false,
        'canceled');
-- Duplicates inside the batch
INSERT INTO batch (what, key, symbol, quantity, code, reason, detail, status, same_as) VALUES
    ('the first of four with one key', 'twice', 'AAPL', 100, 200, 0, NULL, 0, 'twice'),
    ('the same again', 'twice', 'AAPL', 100, 409, 34, 'Order id is %s.', 0, 'twice'),
    ('another request with its key', 'twice', 'AAPL', 101, 422, 36,
        'Differs in "quantity" from the request of order %s.', 0, 'twice'),
    ('one more, which its symbol forbids', 'twice', 'HALT', 100, 422, 36,
        'Differs in "symbol" from the request of order %s.', 0, 'twice'),
    ('a request that can never be', 'fixed', 'AAPL', 0, 400, 8, 'Quantity 0 is not positive.', NULL, NULL),
    ('the corrected request with its key', 'fixed', 'AAPL', 100, 200, 0, NULL, 0, 'fixed');
INSERT INTO batch (what, account_id, key, status, same_as)
VALUES ('the same key of another account', 8, 'twice', 0, NULL);
INSERT INTO batch (what, key, status, replayed, same_as)
VALUES ('a repetition once more', 'accepted', 1, true, 'accepted');
UPDATE batch SET key = 'bad ' || n WHERE key IS NULL AND what <> 'NULL for the key';
-- Every bad item has a good one behind it, and good ones fill the batch.
UPDATE batch SET item = 2 * n - 1;
INSERT INTO batch (item, what, key, side, order_type, quantity, price, status)
SELECT item, 'a good order', 'good ' || item, 1 + item % 2, item / 2 % 2, item,
    CASE item / 2 % 2 WHEN 1 THEN 150000000 ELSE 0 END, 0
FROM generate_series(1, 128) AS item WHERE item NOT IN (SELECT item FROM batch);

SELECT is((SELECT (count(*), count(*) FILTER (WHERE code <> 200), max(item))::text FROM batch), '(128,51,128)',
    'the batch has 128 items, of which 51 are refused or repeat a rejection');

-- The orders that exist before
SELECT is((SELECT array_agg(code) FROM order_service.receive_orders('{7,7,7,7}', '{accepted,rejected,received,canceled}',
    '{AAPL,AAPL,AAPL,AAPL}', '{1,1,1,1}', '{1,1,1,1}', '{100,100,100,100}',
    '{150000000,150000000,150000000,150000000}', '{0,0,0,0}')), '{200,200,200,200}', 'four orders exist before');
CREATE FUNCTION order_of(account_id bigint, key text) RETURNS bigint LANGUAGE sql AS $$
    SELECT order_id FROM order_service.idempotency_key k WHERE k.account_id = $1 AND k.key = $2
$$;
SELECT is((SELECT array_agg(code) FROM order_service.settle_orders(
    ARRAY[order_of(7, 'accepted'), order_of(7, 'rejected'), order_of(7, 'canceled')], '{0,20,0}', '{1,0,1}')),
    '{200,402,200}', 'three of them are settled');
SELECT is((SELECT code FROM order_service.cancel_orders('{7}', '{cancel}', ARRAY[order_of(7, 'canceled')])),
    200::smallint, 'one is canceled');
CREATE TABLE orders_before AS SELECT * FROM order_service.orders;
CREATE TABLE events_before AS SELECT * FROM order_service.outbox;

CREATE TABLE answers AS
SELECT a.*, row_number() OVER () AS position
FROM (SELECT array_agg(account_id ORDER BY item) AS account_ids, array_agg(key ORDER BY item) AS keys,
          array_agg(symbol ORDER BY item) AS symbols, array_agg(side ORDER BY item) AS sides,
          array_agg(order_type ORDER BY item) AS order_types, array_agg(quantity ORDER BY item) AS quantities,
          array_agg(price ORDER BY item) AS prices, array_agg(time_in_force ORDER BY item) AS times_in_force
      FROM batch) AS b,
    order_service.receive_orders(account_ids, keys, symbols, sides, order_types, quantities, prices, times_in_force) a;

SELECT is((SELECT count(*) FROM answers), 128::bigint, 'there are 128 results');
SELECT is((SELECT count(*) FROM answers WHERE item = position), 128::bigint, 'in the order of the input');
SELECT is((SELECT (code, reason, detail, status, replayed, order_id)::text FROM answers a WHERE a.item = b.item),
    (b.code, b.reason, format(b.detail, order_of(7, same_as)), b.status, b.replayed,
        CASE WHEN b.status IS NOT NULL THEN coalesce(order_of(7, same_as), order_of(account_id, key)) END)::text,
    format('item %s: %s', item, what))
FROM batch b ORDER BY item;

SELECT is_empty($$
    SELECT item FROM answers WHERE (reserve_id IS NOT NULL) <> (status = 0 AND code IN (200, 409))
       OR (reserve_id IS NULL) <> (reserve_amount IS NULL) OR (reserve_id IS NULL) <> (currency IS NULL)
    $$, 'those and only those that wait for their reservation say what to reserve');
SELECT is_empty($$
    SELECT item FROM answers
    WHERE (order_id IS NULL) <> (filled_quantity IS NULL) OR (order_id IS NULL) <> (updated_at IS NULL)
    $$, 'results without an order have no state, those with one have all of it');
SELECT bag_eq(
    $$SELECT o.order_id, account_id, symbol || '', side, order_type, quantity, price, time_in_force
      FROM order_service.orders o WHERE order_id NOT IN (SELECT order_id FROM orders_before)$$,
    $$SELECT a.order_id, account_id, symbol, side, order_type, quantity, price, time_in_force
      FROM answers a JOIN batch b USING (item) WHERE b.status = 0 AND b.code = 200$$,
    'exactly the good ones are recorded, with their terms');
SELECT bag_eq(
    $$SELECT account_id, key || '', order_id FROM order_service.idempotency_key
      WHERE order_id NOT IN (SELECT order_id FROM orders_before)$$,
    $$SELECT account_id, key, order_id FROM answers a JOIN batch b USING (item) WHERE b.status = 0 AND b.code = 200$$,
    'exactly their keys are in use');
SELECT set_eq('SELECT * FROM order_service.orders WHERE order_id IN (SELECT order_id FROM orders_before)',
    'SELECT * FROM orders_before', 'the orders that existed before are as they were');
SELECT set_eq('SELECT * FROM order_service.outbox', 'SELECT * FROM events_before', 'no event was written');

-- A request that its symbol forbids, in front of a good one with the same key
CREATE TABLE pair AS
SELECT * FROM order_service.receive_orders('{7,7}', '{pair,pair}', '{HALT,AAPL}', '{1,1}', '{0,0}', '{1,1}', '{0,0}',
    '{0,0}');
SELECT ok((SELECT code >= 400 AND reserve_id IS NULL FROM pair WHERE item = 1), 'a forbidden request is refused');
SELECT is((SELECT (code, status, replayed)::text FROM pair WHERE item = 2), '(200,0,f)',
    'and a good one behind it gets the key');
SELECT is((SELECT symbol || '' FROM order_service.orders WHERE order_id = order_of(7, 'pair')), 'AAPL',
    'only that one is recorded');

SELECT * FROM finish();
ROLLBACK;
