\unset ECHO
-- claim_unsettled() and record_hold(): orders that were left behind, and holds whose fate is open.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(79);
-- Ages are set by moving created_at and due_at, so that no test depends on the pace of the machine.
SET LOCAL order_service.received_timeout = '1h';

-- Expiry ------------------------------------------------------------------------------------------------------

SELECT received_order(7, 'stale') AS stale, received_order(7, 'fresh') AS fresh, held_order(7, 'settled') AS settled \gset
UPDATE order_service.orders SET created_at = now() - interval '2 h' WHERE order_id IN (:stale, :settled);
UPDATE order_service.orders SET created_at = now() - interval '59 min' WHERE order_id = :fresh;
SELECT is((SELECT array_agg((order_id, account_id, side, symbol, hold,
               reserve_id = (SELECT reserve_prefix FROM order_service.identity) || '-' || order_id, currency,
               reserve_amount, attempts)::text)
           FROM order_service.claim_unsettled()), ARRAY[format('(%s,7,1,AAPL,2,t,USD,15000000000,1)', :stale)],
    'an order that was left RECEIVED is claimed, with what is to be resolved at Account');
SELECT is(state(:stale), 'REJECTED 0/100, hold UNKNOWN, version 1, code 503, EXPIRED_BEFORE_ACCEPTANCE',
    'it is rejected as expired, its hold is unknown');
SELECT is(events(:stale), '1 ORDER_REJECTED', 'its rejection has an event');
SELECT is((SELECT (attempts, due_at - interval '30 s' BETWEEN now() AND clock_timestamp())::text
           FROM order_service.hold_debt WHERE order_id = :stale), '(1,t)', 'the debt is leased for 30 s');
SELECT is(state(:fresh), 'RECEIVED 0/100, hold NONE, version 0, code 0', 'a younger order is left alone');
SELECT is(state(:settled), 'ACCEPTED 0/100, hold HELD, version 1, code 200', 'and so is one that was settled');
SELECT is((SELECT (code, reason, detail, status, replayed)::text
           FROM order_service.settle_orders(ARRAY[:stale], '{0}', '{1}')), '(503,27,,7,t)',
    'settling it late finds it rejected');
SELECT is((SELECT (code, reason, status, replayed, reserve_id)::text FROM order_service.receive_orders('{7}', '{stale}',
    '{AAPL}', '{1}', '{1}', '{100}', '{150000000}', '{0}')), '(503,27,7,t,)', 'a repetition gets the rejection');
SELECT is(state(:stale), 'REJECTED 0/100, hold UNKNOWN, version 1, code 503, EXPIRED_BEFORE_ACCEPTANCE',
    'neither changes it');
SELECT is((SELECT count(*) FROM order_service.claim_unsettled()), 0::bigint,
    'nobody else gets the debt during the lease');
SELECT is((SELECT count(*) FROM order_service.outbox WHERE order_id = :stale), 1::bigint, 'it is rejected only once');

-- Leases ------------------------------------------------------------------------------------------------------

UPDATE order_service.hold_debt SET due_at = now();
SELECT is((SELECT array_agg((order_id, attempts)::text) FROM order_service.claim_unsettled(10, '1 h')),
    ARRAY[format('(%s,2)', :stale)], 'a debt whose lease ran out is claimed again');
SELECT ok((SELECT due_at > clock_timestamp() + interval '59 min' FROM order_service.hold_debt),
    'the lease is as long as asked for');
SELECT is((SELECT count(*) FROM order_service.claim_unsettled(10, '1 month')), 0::bigint, 'and is kept');
DELETE FROM order_service.hold_debt;
UPDATE order_service.orders SET hold = 0 WHERE order_id = :stale;

-- A clock that was set back: to the claim, what was written before is in the future.
SELECT received_order(7, 'of the future') AS future, received_order(7, 'of today') AS today \gset
UPDATE order_service.orders SET created_at = clock_timestamp() + interval '61 min' WHERE order_id = :future;
UPDATE order_service.orders SET created_at = clock_timestamp() + interval '59 min' WHERE order_id = :today;
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled(10, '1 h')), ARRAY[:future::bigint],
    'an order that is further in the future than its time limit is given up');
SELECT is(state(:today), 'RECEIVED 0/100, hold NONE, version 0, code 0', 'one that is nearer is left alone');
SELECT is((SELECT count(*) FROM order_service.claim_unsettled()), 0::bigint, 'its debt is leased');
UPDATE order_service.hold_debt SET due_at = due_at + interval '10 min', set_at = set_at + interval '10 min';
SELECT is((SELECT array_agg((order_id, attempts)::text) FROM order_service.claim_unsettled()),
    ARRAY[format('(%s,2)', :future)], 'a lease given before the clock was set back has ended');
DELETE FROM order_service.hold_debt;
UPDATE order_service.orders SET hold = 0 WHERE order_id = :future;
SELECT is((SELECT code FROM order_service.settle_orders(ARRAY[:today], '{0}', '{1}')), 200::smallint,
    'the other one is settled as usual');

-- Five debts, the youngest order's oldest.
CREATE TABLE debts AS SELECT n, received_order(8, 'debt ' || n) AS order_id FROM generate_series(1, 5) n;
SELECT is((SELECT array_agg(DISTINCT code) FROM order_service.settle_orders((SELECT array_agg(order_id) FROM debts),
    '{26,26,26,26,26}', '{2,2,2,2,2}')), '{503}', 'five holds are unknown');
UPDATE order_service.hold_debt d SET due_at = now() - make_interval(mins => n::int)
FROM debts WHERE d.order_id = debts.order_id;
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled(2)),
    (SELECT array_agg(order_id ORDER BY n) FROM debts WHERE n IN (4, 5)),
        'the oldest debts come first, within the limit');
SELECT is((SELECT count(*) FROM order_service.claim_unsettled(0)), 0::bigint, 'a limit of 0 claims none');
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled(4096)),
    (SELECT array_agg(order_id ORDER BY n) FROM debts WHERE n <= 3), 'the next call gets the others');
SELECT is((SELECT array_agg(DISTINCT attempts) FROM order_service.hold_debt), '{1}', 'each was claimed once');

-- Five stale orders: one call expires no more than its limit.
CREATE TABLE left_behind AS SELECT n, received_order(8, 'left ' || n) AS order_id FROM generate_series(1, 5) n;
UPDATE order_service.orders SET created_at = now() - interval '1 day'
WHERE order_id IN (SELECT order_id FROM left_behind);
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled(2)),
    (SELECT array_agg(order_id ORDER BY n) FROM left_behind WHERE n <= 2), 'no more orders expire than are claimed');
SELECT is((SELECT count(*) FROM order_service.orders WHERE status = 0), 4::bigint, 'the others stay RECEIVED');
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled()),
    (SELECT array_agg(order_id ORDER BY n) FROM left_behind WHERE n > 2), 'the next call expires them');
SELECT is((SELECT array_agg(order_id) FROM order_service.orders WHERE status = 0), ARRAY[:fresh::bigint],
    'the fresh order is still left alone');
SET LOCAL order_service.received_timeout = '100ms';
UPDATE order_service.orders SET created_at = now() - interval '1 s' WHERE order_id = :fresh;
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled()), ARRAY[:fresh::bigint],
    'a shorter timeout is obeyed');
SET LOCAL order_service.received_timeout = '1h';
SELECT throws_ok('SET order_service.received_timeout = 99', '22023', NULL, 'a timeout below 100 ms is not allowed');

SELECT raises(format('SELECT * FROM order_service.claim_unsettled(%s)', arguments), 'OS400',
    'limit must be within 0 to 4096 and the lease positive', '', '', format('claim_unsettled(%s) is refused', arguments))
FROM (VALUES ('NULL'), ('-1'), ('4097'), ('2147483647'), ('10, NULL'), ('10, ''0 s'''), ('10, ''-1 s'''),
    ('10, ''-1 month'''), ('10, ''999 us''')) AS a (arguments);

-- A released sale
SELECT order_id AS sale
FROM order_service.receive_orders('{9}', '{sale}', '{LOTS}', '{2}', '{0}', '{300}', '{0}', '{0}') \gset
SELECT is((SELECT count(*) FROM order_service.settle_orders(ARRAY[:sale], '{0}', '{1}')), 1::bigint,
    'a sale is accepted');
SELECT is((order_service.apply_execution('e', :sale, 'CANCELED')).status, 'CANCELED', 'the exchange cancels it');
SELECT is((SELECT array_agg((order_id, account_id, side, symbol, hold, currency, reserve_amount, attempts)::text)
           FROM order_service.claim_unsettled()), ARRAY[format('(%s,9,2,LOTS,3,EUR,300,1)', :sale)],
    'a hold to be released is claimed as that');

-- record_hold(): every pair of holds --------------------------------------------------------------------------

CREATE TABLE pairs (from_hold smallint, to_hold smallint, expected text, order_id bigint);
INSERT INTO pairs
SELECT f, t, (ARRAY[
    -- to NONE, HELD, UNKNOWN, RELEASE_DUE
    ['200', '400', '409', '409'],   -- from NONE
    ['409', '400', '409', '409'],   -- from HELD: it backs a live order
    ['200', '400', '200', '200'],   -- from UNKNOWN
    ['200', '400', '409', '200']]   -- from RELEASE_DUE
    )[f + 1][t + 1], received_order(10, format('%s %s', f, t))
FROM generate_series(0, 3) f, generate_series(0, 3) t;
-- An order that ends in each state of the hold, by the usual ways.
DO $$
BEGIN
    PERFORM order_service.settle_orders(array_agg(order_id),
        array_agg(CASE from_hold WHEN 2 THEN 26 ELSE 0 END::smallint),
        array_agg(CASE from_hold WHEN 0 THEN 0 WHEN 2 THEN 2 ELSE 1 END::smallint)) FROM pairs;
    PERFORM order_service.apply_execution('end ' || order_id, order_id, 'CANCELED') FROM pairs WHERE from_hold = 3;
END
$$;
UPDATE order_service.hold_debt SET due_at = now() + interval '1 day', attempts = 5;
CREATE TABLE orders_before AS SELECT * FROM order_service.orders;
CREATE TABLE events_before AS SELECT * FROM order_service.outbox;
CREATE TABLE recorded AS
SELECT r.*, ids[item] AS asked
FROM (SELECT array_agg(order_id ORDER BY order_id) AS ids, array_agg(to_hold ORDER BY order_id) AS holds FROM pairs) a,
    order_service.record_hold(ids, holds, array_fill(3600000, ARRAY[16])) r;

SELECT is((SELECT (code, reason, detail, order_id, r.hold)::text FROM recorded r WHERE asked = p.order_id),
    CASE expected
        WHEN '200' THEN (200, 0, NULL, p.order_id, to_hold)::text
        WHEN '400' THEN (400, 15, format('Hold %s, due again in 3600000 ms.', to_hold), NULL, NULL)::text
        ELSE (409, 35, format('The hold of order %s is %s and does not become %s.', p.order_id,
            order_service.hold_name(from_hold), order_service.hold_name(to_hold)), p.order_id, from_hold)::text END,
    format('from %s to %s: %s', order_service.hold_name(from_hold), order_service.hold_name(to_hold), expected))
FROM pairs p ORDER BY from_hold, to_hold;
SELECT is_empty($$SELECT from_hold, to_hold, hold FROM pairs JOIN order_service.orders USING (order_id)
    WHERE hold <> CASE expected WHEN '200' THEN to_hold ELSE from_hold END$$,
    'the holds are what was recorded, or as they were');
SELECT is_empty($$
    SELECT from_hold, to_hold, due_at - clock_timestamp(), attempts
    FROM pairs LEFT JOIN order_service.hold_debt USING (order_id)
    WHERE CASE
        WHEN from_hold < 2 OR (expected = '200' AND to_hold = 0) THEN due_at IS NOT NULL
        WHEN expected = '200' THEN coalesce(due_at < clock_timestamp() + interval '59 min' OR attempts <> 5, true)
        ELSE due_at IS DISTINCT FROM now() + interval '1 day' OR attempts <> 5 END
    $$, 'NONE pays a debt, the others postpone it, a refusal leaves it');
SELECT set_eq('SELECT * FROM order_service.outbox', 'SELECT * FROM events_before', 'holds have no events');
SELECT is_empty($$SELECT order_id FROM order_service.orders n JOIN orders_before b USING (order_id)
    WHERE (n.status, n.code, n.reason, n.order_version, n.last_event_id, n.filled_quantity)
        IS DISTINCT FROM (b.status, b.code, b.reason, b.order_version, b.last_event_id, b.filled_quantity)$$,
    'and change nothing else of the order');

-- Bad items among good ones
CREATE TABLE targets AS SELECT n, received_order(11, n::text) AS order_id FROM generate_series(1, 4) n;
SELECT is((SELECT count(*) FROM order_service.settle_orders((SELECT array_agg(order_id) FROM targets), '{26,26,26,26}',
    '{2,2,2,2}')), 4::bigint, 'four more holds are unknown');
SELECT order_id AS a, order_id + 1 AS b, order_id + 2 AS c, order_id + 3 AS d FROM targets WHERE n = 1 \gset
CREATE TABLE mixed AS
SELECT * FROM order_service.record_hold(
    ARRAY[:a, NULL, :a, 0, -1, 999999, :b, :b, :b, :b, :b, :c, :c, :d, :d],
    ARRAY[0, 0, NULL, 0, 0, 0, -1, 4, 2, 3, 2, 0, 2, 3, 0]::smallint[],
    ARRAY[0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, NULL]);
SELECT is((SELECT (code, reason, detail, order_id, hold)::text FROM mixed m WHERE m.item = e.item), expected, what)
FROM (VALUES
    (1, format('(200,0,,%s,0)', :a), 'a debt is paid'),
    (2, '(400,1,"Field ""order_id"" is null.",,)', 'no order id is refused'),
    (3, '(400,1,"Field ""hold"" is null.",,)', 'no hold is refused'),
    (4, '(400,14,"Order id 0 is not positive.",,)', 'order id 0 is refused'),
    (5, '(400,14,"Order id -1 is not positive.",,)', 'a negative order id is refused'),
    (6, '(404,32,"Order id is 999999.",,)', 'an unknown order is refused'),
    (7, '(400,15,"Hold -1, due again in 0 ms.",,)', 'hold -1 is refused'),
    (8, '(400,15,"Hold 4, due again in 0 ms.",,)', 'hold 4 is refused'),
    (9, '(400,15,"Hold 2, due again in -1 ms.",,)', 'a negative time is refused'),
    (11, format('(409,35,"The hold of order %s is RELEASE_DUE and does not become UNKNOWN.",%1$s,3)', :b),
        'a hold that is to be released does not become unknown again'),
    (13, format('(409,35,"The hold of order %s is NONE and does not become UNKNOWN.",%1$s,0)', :c),
        'a debt that was paid in the same batch does not come back'),
    (15, '(400,1,"Field ""retry_after_ms"" is null.",,)', 'no time is refused')) AS e (item, expected, what);
SELECT is((SELECT array_agg((code, order_id)::text ORDER BY item) FROM mixed WHERE item IN (10, 12, 14)),
    ARRAY[format('(200,%s)', :b), format('(200,%s)', :c), format('(200,%s)', :d)], 'good items are carried out');
SELECT results_eq('SELECT t.n, hold, d.order_id IS NOT NULL FROM targets t JOIN order_service.orders USING (order_id)
        LEFT JOIN order_service.hold_debt d USING (order_id) ORDER BY n',
    'VALUES (1, 0::smallint, false), (2, 3::smallint, true), (3, 0::smallint, false), (4, 3::smallint, true)',
        'holds and debts agree');
SELECT is((SELECT array_agg((order_id, hold)::text) FROM order_service.claim_unsettled()),
    ARRAY[format('(%s,3)', :b), format('(%s,3)', :d)], 'a debt that is postponed by 0 ms is due at once');
SELECT is((SELECT (code, reason, detail, hold)::text
           FROM order_service.record_hold(ARRAY[:a], '{0}', '{0}')), '(200,0,,0)',
    'paying twice is no error');

SELECT * FROM finish();
ROLLBACK;
