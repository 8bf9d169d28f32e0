\unset ECHO
-- get_order(), find_order() and list_orders(): who sees what, a page at a time.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(64);

SELECT held_order(7, 'mine') AS mine, held_order(8, 'theirs') AS theirs, received_order(7, 'waiting') AS waiting \gset

-- get_order() -------------------------------------------------------------------------------------------------

SELECT is((SELECT (order_id, account_id, symbol, side, order_type, quantity, price, time_in_force, status,
               filled_quantity, reason, hold, reserve_amount, currency, order_version, created_at = now(),
               updated_at = now(), reserve_id ~ '^[0-9a-f]{12}-[0-9]+$')::text
           FROM order_service.get_order(7, :mine)),
    format('(%s,7,AAPL,BUY,LIMIT,100,150000000,DAY,ACCEPTED,0,,HELD,15000000000,USD,1,t,t,t)', :mine),
    'the owner sees the whole order');
SELECT is((SELECT status FROM order_service.get_order(7, :waiting)), 'RECEIVED', 'also one that is not settled');
SELECT raises(format('SELECT * FROM order_service.get_order(%s)', arguments), code, message, detail, '', name)
FROM (VALUES
    (format('7, %s', :theirs), 'OS403', 'order belongs to another account', format('Order id is %s.', :theirs),
        'nobody else sees it'),
    (format('NULL, %s', :theirs), 'OS403', 'order belongs to another account', format('Order id is %s.', :theirs),
        'nobody sees an order without an account'),
    ('7, 999', 'OS404', 'order does not exist', 'Order id is 999.', 'an unknown order is not found'),
    ('7, 0', 'OS404', 'order does not exist', 'Order id is 0.', 'order 0 is not found'),
    ('7, -1', 'OS404', 'order does not exist', 'Order id is -1.', 'order -1 is not found'),
    ('7, NULL', 'OS404', 'order does not exist', 'Order id is NULL.', 'no order is not found'))
    AS r (arguments, code, message, detail, name);

-- find_order() ------------------------------------------------------------------------------------------------

SELECT is((SELECT (order_id, account_id, status)::text FROM order_service.find_order(7, 'mine')),
    format('(%s,7,ACCEPTED)', :mine), 'a key finds the order it placed');
SELECT is((SELECT status FROM order_service.find_order(7, 'waiting')), 'RECEIVED', 'also one that is not settled');
SELECT is((order_service.cancel_order(7, 'cancel', :mine)).status, 'CANCEL_REQUESTED', 'the order is canceled');
SELECT is((SELECT (order_id, status)::text FROM order_service.find_order(7, 'cancel')),
    format('(%s,CANCEL_REQUESTED)', :mine), 'a key finds the order it canceled');
CREATE FUNCTION not_found(arguments text, name text) RETURNS text LANGUAGE sql AS $$
    SELECT raises(format('SELECT * FROM order_service.find_order(%s)', arguments), 'OS404', 'order does not exist',
        'No order was recorded under this idempotency key.', '', name)
$$;
SELECT not_found(arguments, name) FROM (VALUES
    ('8, ''mine''', 'the key of another account finds nothing'), ('7, ''none''', 'an unused key finds nothing'),
    ('7, ''MINE''', 'a key in upper case is another key'), ('7, ''mine ''', 'a key with a space is another key'),
    ('7, ''''', 'an empty key finds nothing'), ('7, repeat(''k'', 1000)', 'a key that is too long finds nothing'),
    ('7, NULL', 'no key finds nothing'), ('NULL, ''mine''', 'no account finds nothing'))
    AS f (arguments, name);
UPDATE order_service.idempotency_key SET created_at = now() - interval '7 days' WHERE key = 'mine';
SELECT is((SELECT order_id FROM order_service.find_order(7, 'mine')), :mine::bigint,
    'a key at the very end of its retention finds its order');
UPDATE order_service.idempotency_key SET created_at = now() - interval '7 days 1 microsecond' WHERE key = 'mine';
SELECT not_found('7, ''mine''', 'an expired key finds nothing');
SELECT is((order_service.place_order(7, 'mine', 'AAPL', 'BUY', 'MARKET', 1)).replayed, false,
    'an expired key is used again');
SELECT is((SELECT order_type FROM order_service.find_order(7, 'mine')), 'MARKET', 'and finds the new order');
SET LOCAL order_service.idempotency_retention = '2d';
UPDATE order_service.idempotency_key SET created_at = now() - interval '50 h' WHERE key = 'mine';
SELECT not_found('7, ''mine''', 'a shorter retention is obeyed');
SET LOCAL order_service.idempotency_retention = '90001s';
UPDATE order_service.idempotency_key SET created_at = now() - interval '90002 s' WHERE key = 'mine';
SELECT not_found('7, ''mine''', 'also in odd seconds');
UPDATE order_service.idempotency_key SET created_at = now() - interval '90000 s' WHERE key = 'mine';
SELECT is((SELECT order_type FROM order_service.find_order(7, 'mine')), 'MARKET', 'to the second');
SET LOCAL order_service.idempotency_retention = 2147483647;
SELECT is((SELECT order_type FROM order_service.find_order(7, 'mine')), 'MARKET', 'the longest retention is obeyed');
RESET order_service.idempotency_retention;

-- list_orders() -----------------------------------------------------------------------------------------------
-- 25 orders of account 20, whose states go round; 1100 of account 21.

CREATE TABLE listed AS
SELECT n, (order_service.place_order(20, n::text, 'AAPL', 'BUY', 'MARKET', 100)).order_id, n % 8 AS status
FROM generate_series(0, 24) n;
UPDATE order_service.orders o SET status = l.status,
    filled_quantity = CASE l.status WHEN 3 THEN 1 WHEN 4 THEN 100 ELSE 0 END
FROM listed l WHERE l.order_id = o.order_id;
SELECT count(order_service.place_order(21, n::text, 'AAPL', 'BUY', 'MARKET', 100))
FROM generate_series(1, 1100) n \gset many_

-- The numbers of the orders that a call returns.
CREATE FUNCTION listed(open_only boolean, after int, page int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(n::text, ' ' ORDER BY position)
    FROM order_service.list_orders(20, open_only, (SELECT order_id FROM listed WHERE n = after), page) WITH ORDINALITY
        AS o (order_id, a, b, c, d, e, f, g, h, i, j, k, l, m, oo, p, q, r, position)
    JOIN listed USING (order_id)
$$;
SELECT is(listed(false, NULL, 100), (SELECT string_agg(n::text, ' ') FROM generate_series(0, 24) n),
    'all orders of the account, by id');
SELECT is((SELECT count(*) FROM order_service.list_orders(20)), 25::bigint,
    'everything but the account may be left out');
SELECT is(listed(true, NULL, 100), '0 1 2 3 5 8 9 10 11 13 16 17 18 19 21 24', 'open orders only');
SELECT is((SELECT string_agg(DISTINCT status, ' ' ORDER BY status) FROM order_service.list_orders(20, true)),
    'ACCEPTED CANCEL_REQUESTED PARTIALLY_FILLED RECEIVED SENT', 'these states are open');
SELECT is(listed(false, NULL, 5), '0 1 2 3 4', 'a first page');
SELECT is(listed(false, 4, 5), '5 6 7 8 9', 'the page after it');
SELECT is(listed(true, 4, 5), '5 8 9 10 11', 'a page of open orders');
SELECT is(listed(false, 22, 5), '23 24', 'the last page is shorter');
SELECT is(listed(false, 24, 5), NULL, 'behind it is nothing');
SELECT is(listed(NULL, NULL, 3), '0 1 2', 'NULL for open orders means all');
SELECT is((SELECT count(*) FROM order_service.list_orders(20, p_after_order_id => NULL)), 25::bigint,
    'NULL for the last id means from the start');
SELECT is((SELECT count(*) FROM order_service.list_orders(20, p_after_order_id => -5)), 25::bigint,
    'a negative last id means from the start');
SELECT is((SELECT count(*) FROM order_service.list_orders(20, p_after_order_id => 9223372036854775807)), 0::bigint,
    'no order is behind the largest id');
SELECT is((SELECT count(*) FROM order_service.list_orders(21, p_limit => page)), rows::bigint,
    format('a limit of %s gives %s rows', coalesce(page::text, 'NULL'), rows))
FROM (VALUES (NULL, 100), (0, 0), (-1, 0), (1, 1), (999, 999), (1000, 1000), (1001, 1000),
    (2147483647, 1000)) AS p (page, rows);
SELECT is((SELECT count(*) FROM order_service.list_orders(21)), 100::bigint, 'a page has 100 rows if nothing is said');
SELECT is((SELECT count(*) FROM order_service.list_orders(account)), 0::bigint,
    format('account %s has no orders', coalesce(account::text, 'NULL')))
FROM (VALUES (999::bigint), (0), (-20), (NULL)) AS a (account);
SELECT is((SELECT array_agg(account_id) FROM order_service.list_orders(8)), '{8}', 'each account sees its own');

-- What they read ----------------------------------------------------------------------------------------------
-- However often a read was planned, and for whatever account, it goes to what it returns: here, with few orders in one
-- account and most in another, the planner would rather read all. A row of a list is found twice, by account and by id.

ANALYZE order_service.orders, order_service.idempotency_key;
CREATE FUNCTION counted(OUT scans bigint, OUT rows bigint) LANGUAGE sql AS $$
    SELECT sum(seq_scan), sum(idx_tup_fetch) FROM pg_stat_xact_user_tables
    WHERE relid IN ('order_service.orders'::regclass, 'order_service.idempotency_key'::regclass)
$$;
CREATE FUNCTION reads(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before record := counted();
BEGIN
    FOR i IN 1..10 LOOP
        EXECUTE format('SELECT count(*) FROM order_service.%s', call);
    END LOOP;
    RETURN (SELECT format('%s whole tables, %s rows', scans - before.scans, rows - before.rows) FROM counted());
END
$$;
SELECT is(reads(call), format('0 whole tables, %s rows', 10 * rows), format('%s reads what it returns', call))
FROM (VALUES (format('get_order(8, %s)', :theirs), 1), ('find_order(8, ''theirs'')', 2), ('list_orders(8)', 2),
    ('list_orders(8, true)', 2), ('list_orders(20)', 50), ('list_orders(20, p_limit => 3)', 6),
    ('list_orders(21, true, p_limit => 5)', 10), ('list_orders(999)', 0), ('list_orders(NULL)', 0)) AS c (call, rows);

SELECT * FROM finish();
ROLLBACK;
