\unset ECHO
-- place_orders(): what place_order() does, for many.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(11);

SELECT order_service.place_order(7, 'used', 'AAPL', 'BUY', 'LIMIT', 100, 150000000) \g /dev/null
CREATE TABLE placed AS
SELECT * FROM order_service.place_orders('{7,8,7,7,7,9,9,9}', '{a,b,halted,used,used,twice,twice,twice}',
    '{AAPL,LOTS,HALT,AAPL,AAPL,AAPL,AAPL,AAPL}', '{1,2,1,1,1,1,1,1}', '{1,0,0,1,1,0,0,0}',
    '{100,300,1,100,101,5,5,6}', '{150000000,0,0,150000000,150000000,0,0,0}', '{1,3,0,0,0,0,0,0}');

SELECT is((SELECT array_agg(item) FROM placed), '{1,2,3,4,5,6,7,8}', 'there is a result for each item, in order');
SELECT is((SELECT array_agg(code ORDER BY item) FROM placed), '{200,200,409,200,422,200,200,422}', 'each with its code');
SELECT is((SELECT array_agg((reason, detail)::text ORDER BY item) FROM placed WHERE code <> 200),
    ARRAY['(31,"Symbol is ""HALT"".")', '(36,"Differs in ""quantity"" from the request of order 1.")',
        format('(36,"Differs in ""quantity"" from the request of order %s.")',
            (SELECT order_id FROM placed WHERE item = 6))], 'and why it was refused');
SELECT is((SELECT array_agg(replayed ORDER BY item) FROM placed WHERE code = 200), '{f,f,t,f,t}',
    'a repetition says so, also within the call');
SELECT is((SELECT array_agg(DISTINCT (status, filled_quantity, updated_at = now())::text) FROM placed
           WHERE code = 200), '{"(1,0,t)"}', 'what was placed is ACCEPTED');
SELECT is((SELECT order_id FROM placed WHERE item = 4), 1::bigint, 'a repetition tells of the order of its key');
SELECT is((SELECT order_id FROM placed WHERE item = 7), (SELECT order_id FROM placed WHERE item = 6),
    'also of one of the same call');

-- The same one by one, for another account: but for ids, the rows must be the same.
SELECT order_service.place_order(17, 'a', 'AAPL', 'BUY', 'LIMIT', 100, 150000000, 'GTC'),
    order_service.place_order(18, 'b', 'LOTS', 'SELL', 'MARKET', 300, 0, 'FOK'),
    order_service.place_order(19, 'twice', 'AAPL', 'BUY', 'MARKET', 5) \g /dev/null
CREATE FUNCTION rows_of(accounts int8range, shift int) RETURNS TABLE (recorded text) LANGUAGE sql AS $$
    SELECT (o.account_id - shift, quantity, price, filled_quantity, reserve_amount, o.last_event_id = b.event_id,
        o.created_at, updated_at, o.order_version, code, side, order_type, time_in_force, o.status, hold, reason,
        currency, symbol, reserve_id, key, command, k.created_at, k.account_id = o.account_id, previous_event_id,
        b.account_id = o.account_id, b.created_at, b.order_version, event_type, b.status, retry_count,
        b.next_attempt_at, sent_at)::text
    FROM order_service.orders o JOIN order_service.idempotency_key k USING (order_id)
        JOIN order_service.outbox b USING (order_id)
    WHERE o.account_id <@ accounts AND key <> 'used'
$$;
SELECT is((SELECT count(*) FROM rows_of('[7,9]', 0)), 3::bigint, 'three orders were placed');
SELECT bag_eq($$SELECT * FROM rows_of('[7,9]', 0)$$, $$SELECT * FROM rows_of('[17,19]', 10)$$,
    'order, key and event are those of place_order()');
SELECT is((SELECT array_agg(octet_length(payload) ORDER BY event_id) FROM order_service.outbox WHERE account_id IN (7, 8, 9)
           AND order_id > 1),
    (SELECT array_agg(octet_length(payload) ORDER BY event_id) FROM order_service.outbox WHERE account_id > 9),
    'so are the payloads');

-- Whatever the order of the keys
SELECT is_empty($$SELECT FROM (SELECT order_id, lag(order_id) OVER (ORDER BY event_id) AS before
        FROM order_service.outbox) AS e WHERE order_id < before$$, 'ids of orders and of events rise together');

SELECT * FROM finish();
ROLLBACK;
