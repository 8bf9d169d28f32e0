\unset ECHO
-- Idempotency keys: what a key stands for, what differs, how long it lasts. A repetition may use up an order id, so
-- later orders are told by their account and quantity.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(61);

-- Places an order, by default of the first request; tells what is recorded: terms, code, whether it was a repetition.
CREATE FUNCTION place(account_id bigint, key text, quantity bigint, side text DEFAULT 'SELL') RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    answer record;
    recorded order_service.orders;
BEGIN
    SELECT * INTO answer FROM order_service.place_order($1, $2, 'AAPL', $4, 'LIMIT', $3, 150000000);
    SELECT * INTO STRICT recorded FROM order_service.orders o WHERE o.order_id = answer.order_id;
    RETURN format('%s of account %s, quantity %s, %s', CASE WHEN answer.replayed THEN 'repeated' ELSE 'new' END,
        recorded.account_id, recorded.quantity, concat_ws(' ', answer.status, answer.code, answer.reason));
END
$$;

-- Another request with the same key ---------------------------------------------------------------------------

SELECT is((order_service.place_order(7, 'k', 'AAPL', 'BUY', 'LIMIT', 100, 150000000, 'DAY')).order_id, 1::bigint,
    'an order is placed under a key');
CREATE TABLE before AS SELECT stored() AS stored;

SELECT raises(format('SELECT order_service.place_order(7, ''k'', %L, %L, %L, %s, %s, %L)', symbol, side, order_type,
        quantity, price, time_in_force),
    'OS422', 'idempotency key was used for another request',
    format('Differs in "%s" from the request of order 1.', field), 'Use a new key for a new request.',
    format('a different %s is refused, naming %s', what, field))
FROM (VALUES
    (1, 'symbol', 'symbol', 'WIDE', 'BUY', 'LIMIT', 100, 150000000, 'DAY'),
    (2, 'side', 'side', 'AAPL', 'SELL', 'LIMIT', 100, 150000000, 'DAY'),
    (3, 'order_type', 'order type and price', 'AAPL', 'BUY', 'MARKET', 100, 0, 'DAY'),
    (4, 'quantity', 'quantity', 'AAPL', 'BUY', 'LIMIT', 101, 150000000, 'DAY'),
    (5, 'price', 'price', 'AAPL', 'BUY', 'LIMIT', 100, 150010000, 'DAY'),
    (6, 'time_in_force', 'time in force', 'AAPL', 'BUY', 'LIMIT', 100, 150000000, 'GTC'),
    (7, 'symbol', 'everything', 'WIDE', 'SELL', 'MARKET', 1, 0, 'FOK'),
    (8, 'side', 'everything but the symbol', 'AAPL', 'SELL', 'MARKET', 1, 0, 'FOK'),
    (9, 'quantity', 'quantity, price and time in force', 'AAPL', 'BUY', 'LIMIT', 1, 160000000, 'FOK'),
    (10, 'price', 'price and time in force', 'AAPL', 'BUY', 'LIMIT', 100, 160000000, 'FOK'),
    -- What the instrument forbids now says more about the second request than its symbol's rules do.
    (11, 'symbol', 'symbol that does not exist', 'MSFT', 'BUY', 'LIMIT', 100, 150000000, 'DAY'),
    (12, 'symbol', 'symbol that is halted', 'HALT', 'BUY', 'LIMIT', 100, 150000000, 'DAY'),
    (13, 'price', 'price off tick', 'AAPL', 'BUY', 'LIMIT', 100, 150000001, 'DAY'),
    (14, 'price', 'price outside the limits', 'AAPL', 'BUY', 'LIMIT', 100, 1, 'DAY'))
    AS c (n, field, what, symbol, side, order_type, quantity, price, time_in_force) ORDER BY n;
SELECT raises($$SELECT order_service.place_order(7, 'k', 'AAPL', 'BUY', 'LIMIT', 0, 150000000)$$, 'OS400',
    'quantity is not valid', 'Quantity 0 is not positive.', '', 'what can never be an order is refused as that');
SELECT is(stored(), (SELECT stored FROM before), 'none of them stored anything');
SELECT is(state(1), 'ACCEPTED 0/100, hold NONE, version 1, code 200', 'or changed the order');

-- Scope -------------------------------------------------------------------------------------------------------

SELECT is(place(8, 'k', 5), 'new of account 8, quantity 5, ACCEPTED 200',
    'the same key of another account is another order');
SELECT is(place(7, 'K', 6), 'new of account 7, quantity 6, ACCEPTED 200',
    'upper and lower case are different keys');
SELECT is(place(7, 'k ', 7), 'new of account 7, quantity 7, ACCEPTED 200',
    'a trailing space makes a different key');
SELECT is(place(7, 'kk', 8), 'new of account 7, quantity 8, ACCEPTED 200',
    'a longer key is a different key');
SELECT is(place(7, 'k', 100, 'BUY'), 'repeated of account 7, quantity 100, ACCEPTED 200',
    'the first key still stands for its order');

-- The order that a key stands for.
CREATE FUNCTION order_of(account_id bigint, key text) RETURNS bigint LANGUAGE sql AS $$
    SELECT order_id FROM order_service.idempotency_key k WHERE k.account_id = $1 AND k.key = $2
$$;

-- Placing and canceling ---------------------------------------------------------------------------------------

SELECT raises($$SELECT order_service.cancel_order(7, 'k', 1)$$, 'OS422',
    'idempotency key was used for another request', 'Differs in "command" from the request for order 1.',
    'Use a new key for a new request.', 'a key that placed an order does not cancel it');
SELECT is(state(1), 'ACCEPTED 0/100, hold NONE, version 1, code 200', 'the order stays');
SELECT is((SELECT (order_id, status, replayed)::text FROM order_service.cancel_order(7, 'c', 1)),
    '(1,CANCEL_REQUESTED,f)', 'another key cancels it');
SELECT raises($$SELECT order_service.place_order(7, 'c', 'AAPL', 'BUY', 'LIMIT', 100, 150000000)$$, 'OS422',
    'idempotency key was used for another request', 'Differs in "command" from the request of order 1.',
    'Use a new key for a new request.', 'a key that canceled an order does not place one');
SELECT raises($$SELECT order_service.cancel_order(7, 'c', order_of(7, 'K'))$$, 'OS422',
    'idempotency key was used for another request', 'Differs in "order_id" from the request for order 1.',
    'Use a new key for a new request.', 'a key that canceled an order does not cancel another');
SELECT raises($$SELECT order_service.cancel_order(7, 'c', 999)$$, 'OS422',
    'idempotency key was used for another request', 'Differs in "order_id" from the request for order 1.',
    'Use a new key for a new request.', 'not even one that does not exist');
SELECT is((SELECT (status, replayed)::text FROM order_service.cancel_order(8, 'c', order_of(8, 'k'))),
    '(CANCEL_REQUESTED,f)', 'the key of another account cancels that account''s order');
SELECT is((SELECT array_agg((account_id, order_id, command)::text ORDER BY account_id)
           FROM order_service.idempotency_key WHERE key = 'c'), ARRAY['(7,1,2)', format('(8,%s,2)', order_of(8, 'k'))],
    'both keys are recorded as used for canceling');

-- Still in progress -------------------------------------------------------------------------------------------

SELECT received_order(9, 'r') AS received \gset
SELECT raises($$SELECT order_service.place_order(9, 'r', 'AAPL', 'BUY', 'LIMIT', 100, 150000000)$$, 'OS409',
    'the first request with this key is still in progress', format('Order id is %s.', :received),
    'Repeat the same request later.', 'a repetition before the settlement is told to wait');
SELECT raises($$SELECT order_service.place_order(9, 'r', 'AAPL', 'BUY', 'LIMIT', 101, 150000000)$$, 'OS422',
    'idempotency key was used for another request',
    format('Differs in "quantity" from the request of order %s.', :received),
    'Use a new key for a new request.', 'another request is refused at once');
SELECT is((SELECT code FROM order_service.settle_orders(ARRAY[:received], '{20}', '{0}')), 402::smallint,
    'the order is rejected');
SELECT is(place(9, 'r', 100, 'BUY'), 'repeated of account 9, quantity 100, REJECTED 402 INSUFFICIENT_FUNDS',
    'a repetition then gets the recorded rejection, which is no error');
SELECT is(state(:received), 'REJECTED 0/100, hold NONE, version 1, code 402, INSUFFICIENT_FUNDS',
    'and changes nothing');

-- Retention ---------------------------------------------------------------------------------------------------

SELECT is(current_setting('order_service.idempotency_retention'), '7d', 'a key is kept for 7 days');
UPDATE order_service.idempotency_key SET created_at = now() - interval '7 days' WHERE account_id = 7 AND key = 'k';
SELECT is(place(7, 'k', 100, 'BUY'), 'repeated of account 7, quantity 100, CANCEL_REQUESTED 200',
    'a key at the very end of its retention still stands for its order');
SELECT is((SELECT created_at FROM order_service.idempotency_key WHERE account_id = 7 AND key = 'k'),
    now() - interval '7 days', 'a repetition does not prolong the retention');
UPDATE order_service.idempotency_key SET created_at = now() - interval '7 days 1 microsecond'
WHERE account_id = 7 AND key IN ('k', 'c', 'K');
SELECT raises($$SELECT order_service.place_order(7, 'k', 'MSFT', 'BUY', 'LIMIT', 100, 150000000)$$, 'OS404',
    'symbol does not exist', 'Symbol is "MSFT".', '', 'an expired key counts as unused even for a refusal');
SELECT is(place(7, 'k', 11), 'new of account 7, quantity 11, ACCEPTED 200', 'an expired key places a new order');
SELECT is((SELECT (quantity, command, k.created_at = now())::text
           FROM order_service.idempotency_key k JOIN order_service.orders USING (order_id)
           WHERE k.account_id = 7 AND key = 'k'), '(11,1,t)', 'and stands for that one from now on');
SELECT is(place(7, 'k', 11), 'repeated of account 7, quantity 11, ACCEPTED 200', 'a repetition gets the new order');
SELECT is(state(1), 'CANCEL_REQUESTED 0/100, hold NONE, version 2, code 200', 'the old order stays');
SELECT is(place(7, 'c', 12), 'new of account 7, quantity 12, ACCEPTED 200',
    'an expired key of a cancel places an order');
SELECT is((SELECT (status, replayed)::text FROM order_service.cancel_order(7, 'K', order_of(7, 'k '))),
    '(CANCEL_REQUESTED,f)', 'an expired key of a placement cancels an order');
SELECT is((SELECT (order_id = order_of(7, 'k '), command, created_at = now())::text FROM order_service.idempotency_key
           WHERE account_id = 7 AND key = 'K'), '(t,2,t)', 'and stands for that from now on');

-- Expired keys among others in a batch
SELECT is((SELECT array_agg(code) FROM order_service.settle_orders((SELECT array_agg(received_order(30, n::text))
    FROM generate_series(1, 4) n), '{0,0,0,0}', '{1,1,1,1}')), '{200,200,200,200}', 'four orders are placed');
UPDATE order_service.idempotency_key SET created_at = now() - interval '8 days'
WHERE account_id = 30 AND key IN ('2', '3');
SELECT is((SELECT array_agg((code, reason, status, replayed)::text ORDER BY item)
           FROM order_service.receive_orders('{30,30,30,30,30}', '{3,1,2,4,new}', '{AAPL,AAPL,AAPL,AAPL,AAPL}',
               '{2,1,2,2,2}', '{0,1,0,0,0}', '{5,100,6,7,8}', '{0,150000000,0,0,0}', '{0,0,0,0,0}')),
    '{"(200,0,0,f)","(200,0,1,t)","(200,0,0,f)","(422,36,1,f)","(200,0,0,f)"}',
    'in a batch, expired keys and new ones place orders, the others stand for theirs');
SELECT is((SELECT array_agg((key, quantity, o.status, k.created_at = now())::text ORDER BY key)
           FROM order_service.idempotency_key k JOIN order_service.orders o USING (order_id) WHERE k.account_id = 30),
    '{"(1,100,1,t)","(2,6,0,t)","(3,5,0,t)","(4,100,1,t)","(new,8,0,t)"}', 'each key stands for the right order');
UPDATE order_service.idempotency_key SET created_at = now() - interval '8 days'
WHERE account_id = 30 AND key IN ('2', '3');
SELECT is((SELECT array_agg((code, reason, status, replayed)::text ORDER BY item)
           FROM order_service.cancel_orders('{30,30,30}', '{2,4,3}', ARRAY[order_of(30, '1'), order_of(30, '1'),
               order_of(30, '4')])), '{"(200,0,5,f)","(422,36,5,f)","(200,0,5,f)"}',
    'in a batch, expired keys cancel orders');
SELECT is((SELECT array_agg((key, command, order_id = order_of(30, (ARRAY['1', '1', '4'])[key::int]))::text ORDER BY key)
           FROM order_service.idempotency_key WHERE account_id = 30 AND key IN ('2', '3')), '{"(2,2,t)","(3,2,t)"}',
    'and stand for that from now on');

SET LOCAL order_service.idempotency_retention = '1h';
UPDATE order_service.idempotency_key SET created_at = now() - interval '61 min' WHERE account_id = 7 AND key = 'kk';
SELECT is(place(7, 'kk', 13), 'new of account 7, quantity 13, ACCEPTED 200', 'a shorter retention is obeyed');
SELECT throws_ok('SET order_service.idempotency_retention = 0', '22023', NULL, 'a retention of 0 is not allowed');

-- Pruning -----------------------------------------------------------------------------------------------------

RESET order_service.idempotency_retention;
DELETE FROM order_service.idempotency_key;
INSERT INTO order_service.idempotency_key (account_id, key, order_id, command, created_at)
SELECT 7, n, 1, 1, now() - make_interval(days => n) FROM generate_series(1, 20) n;
SELECT is(order_service.prune_idempotency_keys(5), 5::bigint, 'expired keys are pruned, as many as are asked for');
SELECT is((SELECT count(*) FROM order_service.idempotency_key WHERE created_at < now() - interval '7 days'), 8::bigint,
    'the others remain');
SELECT is(order_service.prune_idempotency_keys(), 8::bigint, 'the next call prunes the rest');
SELECT is(order_service.prune_idempotency_keys(), 0::bigint, 'then there is nothing left to prune');
SELECT is((SELECT array_agg(key ORDER BY key::int) FROM order_service.idempotency_key), '{1,2,3,4,5,6,7}',
    'keys within their retention are kept');
SELECT is((order_service.place_order(7, '9', 'AAPL', 'BUY', 'MARKET', 1)).replayed, false,
    'a pruned key places a new order');
SET LOCAL order_service.idempotency_retention = '90000s';
SELECT is(order_service.prune_idempotency_keys(), 6::bigint, 'pruning obeys the setting');

SELECT * FROM finish();
ROLLBACK;
