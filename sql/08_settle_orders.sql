\unset ECHO
-- settle_orders(): accepting and rejecting what was received, once.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(126);

-- Every outcome -----------------------------------------------------------------------------------------------
-- Reasons and holds that go together, and those that do not.

CREATE TABLE outcomes AS
SELECT row_number() OVER (ORDER BY reason, hold) AS n, reason::smallint, hold::smallint,
    CASE WHEN reason = 0 THEN hold IN (0, 1) ELSE reason BETWEEN 20 AND 27 AND hold IN (0, 2) END AS is_valid,
    NULL::bigint AS order_id
FROM generate_series(-1, 43) AS reason, generate_series(-1, 4) AS hold
WHERE order_service.reason_name(reason::smallint) IS NOT NULL OR reason IN (-1, 19, 28, 43);
INSERT INTO outcomes VALUES (1000, 0, 32767, false), (1001, 32767, 0, false), (1002, -32768, -32768, false);
UPDATE outcomes SET order_id = received_order(7, 'outcome ' || n);

CREATE TABLE settled AS
SELECT s.*, (a.order_ids)[item] AS asked
FROM (SELECT array_agg(order_id ORDER BY n) AS order_ids, array_agg(reason ORDER BY n) AS reasons,
          array_agg(hold ORDER BY n) AS holds FROM outcomes) AS a,
    order_service.settle_orders(order_ids, reasons, holds) AS s;

SELECT is((SELECT (code, s.reason, detail, s.order_id, status, replayed, filled_quantity, updated_at = now())::text
           FROM settled s WHERE asked = o.order_id),
    (CASE reason WHEN 0 THEN 200 WHEN 20 THEN 402 WHEN 21 THEN 402 WHEN 22 THEN 404 WHEN 23 THEN 403 WHEN 24 THEN 400
                 ELSE 503 END, reason, NULL, order_id, CASE reason WHEN 0 THEN 1 ELSE 7 END, false, 0, true)::text,
    format('%s with hold %s is recorded', order_service.reason_name(reason), order_service.hold_name(hold)))
FROM outcomes o WHERE is_valid ORDER BY n;
SELECT is((SELECT (code, s.reason, detail, order_id, status, replayed, filled_quantity, updated_at)::text
           FROM settled s WHERE asked = o.order_id),
    (400, 15, format('Reason %s does not go with hold %s.', reason, hold), NULL, NULL, false, NULL, NULL)::text,
    format('reason %s does not go with hold %s', reason, hold))
FROM outcomes o WHERE NOT is_valid AND (hold = 1 OR reason IN (-1, 0, 27) OR n >= 1000) ORDER BY n;
SELECT is_empty($$
    SELECT o.reason, o.hold FROM outcomes o JOIN settled s ON s.asked = o.order_id WHERE NOT is_valid
      AND (s.code, s.reason, s.detail, s.order_id)
          IS DISTINCT FROM (400, 15, format('Reason %s does not go with hold %s.', o.reason, o.hold), NULL)
    $$, 'no other reason goes with any other hold');

SELECT is_empty($$
    SELECT order_id, state(order_id) FROM outcomes o WHERE is_valid AND state(order_id) IS DISTINCT FROM
        format('%s 0/100, hold %s, version 1, code %s%s', CASE reason WHEN 0 THEN 'ACCEPTED' ELSE 'REJECTED' END,
            order_service.hold_name(hold), (SELECT code FROM settled WHERE asked = o.order_id),
            CASE WHEN reason <> 0 THEN ', ' || order_service.reason_name(reason) END)
    $$, 'each outcome is what the order became');
SELECT is_empty($$
    SELECT order_id, state(order_id) FROM outcomes
    WHERE NOT is_valid AND state(order_id) <> 'RECEIVED 0/100, hold NONE, version 0, code 0'
    $$, 'orders with a refused outcome stay RECEIVED');
SELECT is_empty($$
    SELECT order_id, events(order_id) FROM outcomes WHERE events(order_id) IS DISTINCT FROM
        CASE WHEN is_valid THEN CASE reason WHEN 0 THEN '1 ORDER_ACCEPTED' ELSE '1 ORDER_REJECTED' END END
    $$, 'each outcome has its event, a refused one has none');
SELECT set_eq('SELECT order_id, due_at, attempts FROM order_service.hold_debt',
    'SELECT order_id, now(), 0 FROM outcomes WHERE is_valid AND hold = 2',
    'an unknown hold is a debt, due at once');
SELECT is((SELECT array_agg(event_id ORDER BY event_id) FROM order_service.outbox),
    (SELECT array_agg(n::bigint ORDER BY n) FROM generate_series(1, 18) n), 'event ids count on');

-- Repetitions of the placement, now that it is settled
SELECT is(
    (SELECT (code, r.reason, detail, order_id, status, replayed, reserve_id, reserve_amount)::text
     FROM order_service.receive_orders('{7}', ARRAY['outcome ' || o.n], '{AAPL}', '{1}', '{1}', '{100}', '{150000000}',
         '{0}') r),
    (s.code, o.reason, NULL, o.order_id, s.status, true, NULL, NULL)::text,
    format('a repetition of the placement that ended as %s, hold %s gets that',
        order_service.reason_name(o.reason), order_service.hold_name(o.hold)))
FROM outcomes o JOIN settled s ON s.asked = o.order_id WHERE is_valid ORDER BY o.n;
SELECT is((SELECT DISTINCT (r.code, r.reason, r.status, replayed, r.reserve_id = w.reserve_id, r.order_id = w.order_id)::text
           FROM outcomes o, order_service.orders w, order_service.receive_orders('{7}', ARRAY['outcome ' || o.n],
               '{AAPL}', '{1}', '{1}', '{100}', '{150000000}', '{0}') r WHERE NOT is_valid AND w.order_id = o.order_id),
    '(409,34,0,f,t,t)', 'a repetition of a placement that is not settled is told to wait, and for what');

-- Twice -------------------------------------------------------------------------------------------------------

SELECT order_id AS accepted FROM outcomes WHERE reason = 0 AND hold = 1 \gset
SELECT order_id AS rejected FROM outcomes WHERE reason = 22 AND hold = 0 \gset
CREATE TABLE before AS SELECT stored() AS stored;

-- What settling says about one order, and its state afterwards.
CREATE FUNCTION settle(id bigint, reason smallint, hold smallint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    SELECT (code, s.reason, detail, order_id = id, status, replayed, filled_quantity)::text INTO answer
    FROM order_service.settle_orders(ARRAY[$1], ARRAY[$2], ARRAY[$3]) s;
    RETURN format('%s %s', answer, state(id));
END
$$;
SELECT is(settle(:accepted, 0::smallint, 1::smallint),
    '(200,0,,t,1,t,0) ACCEPTED 0/100, hold HELD, version 1, code 200', 'accepting twice tells so');
SELECT is(settle(:accepted, 20::smallint, 0::smallint),
    '(200,0,,t,1,t,0) ACCEPTED 0/100, hold HELD, version 1, code 200', 'an accepted order is not rejected any more');
SELECT is(settle(:rejected, 22::smallint, 0::smallint),
    '(404,22,,t,7,t,0) REJECTED 0/100, hold NONE, version 1, code 404, ACCOUNT_NOT_FOUND', 'rejecting twice tells so');
SELECT is(settle(:rejected, 25::smallint, 0::smallint),
    '(404,22,,t,7,t,0) REJECTED 0/100, hold NONE, version 1, code 404, ACCOUNT_NOT_FOUND',
    'nor rejected for another reason');
SELECT is(settle(:rejected, 0::smallint, 1::smallint),
    '(404,22,,t,7,t,0) REJECTED 0/100, hold UNKNOWN, version 1, code 404, ACCOUNT_NOT_FOUND',
    'a rejected order is not accepted any more, and what is held for it is a debt');
SELECT is(settle(:rejected, 25::smallint, 2::smallint),
    '(404,22,,t,7,t,0) REJECTED 0/100, hold UNKNOWN, version 1, code 404, ACCOUNT_NOT_FOUND',
    'which is not made twice');
SELECT is((SELECT (count(*), min(due_at) = now())::text FROM order_service.hold_debt WHERE order_id = :rejected), '(1,t)',
    'and due at once');
SELECT order_id AS suspended FROM outcomes WHERE reason = 23 AND hold = 0 \gset
SELECT is(settle(:suspended, 26::smallint, 2::smallint),
    '(403,23,,t,7,t,0) REJECTED 0/100, hold UNKNOWN, version 1, code 403, ACCOUNT_SUSPENDED',
    'so is what may be held for it');
SELECT is(settle((order_service.place_order(7, 'direct', 'AAPL', 'BUY', 'MARKET', 5)).order_id, 0::smallint, 1::smallint),
    '(200,0,,t,1,t,0) ACCEPTED 0/5, hold NONE, version 1, code 200', 'an order of place_order() has no hold to settle');
SELECT is((order_service.cancel_order(7, 'cancel', :accepted)).status, 'CANCEL_REQUESTED', 'the order is canceled');
SELECT is(settle(:accepted, 0::smallint, 1::smallint),
    '(200,0,,t,5,t,0) CANCEL_REQUESTED 0/100, hold HELD, version 2, code 200', 'settling late finds the cancel');
SELECT is((order_service.apply_execution('fill', :accepted, 'TRADE', 100, 150000000)).status, 'FILLED',
    'the order is filled');
SELECT is(settle(:accepted, 26::smallint, 2::smallint),
    '(200,0,,t,4,t,100) FILLED 100/100, hold RELEASE_DUE, version 3, code 200', 'settling late finds the fill');

-- One order more than once in a batch: the first decides.
SELECT received_order(8, 'a') AS a, received_order(8, 'b') AS b, received_order(8, 'c') AS c \gset
SELECT is((SELECT array_agg((code, reason, order_id = (ARRAY[:b, :a, :b, :b, :a, :c])[item], status, replayed)::text
               ORDER BY item)
           FROM order_service.settle_orders(ARRAY[:b, :a, :b, :b, :a, :c], '{0,20,0,21,0,25}', '{1,0,1,0,1,2}')),
    ARRAY['(200,0,t,1,f)', '(402,20,t,7,f)', '(200,0,t,1,t)', '(200,0,t,1,t)', '(402,20,t,7,t)', '(503,25,t,7,f)'],
    'the first settlement of an order in a batch decides, the others find it');
SELECT is(state(:a) || ' ' || events(:a),
    'REJECTED 0/100, hold UNKNOWN, version 1, code 402, INSUFFICIENT_FUNDS 1 ORDER_REJECTED',
    'one is rejected once, and what is held for it is a debt');
SELECT is(state(:b) || ' ' || events(:b), 'ACCEPTED 0/100, hold HELD, version 1, code 200 1 ORDER_ACCEPTED',
    'one is accepted once');
SELECT is(state(:c) || ' ' || events(:c),
    'REJECTED 0/100, hold UNKNOWN, version 1, code 503, ACCOUNT_UNAVAILABLE 1 ORDER_REJECTED', 'one has a debt');
SELECT is((SELECT count(*) FROM order_service.hold_debt WHERE order_id = :c), 1::bigint, 'which is recorded once');

-- Bad items among good ones -----------------------------------------------------------------------------------

CREATE TABLE batch AS
SELECT i AS item, CASE i % 8
        WHEN 1 THEN 999999 WHEN 2 THEN 0 WHEN 3 THEN -5 WHEN 4 THEN NULL ELSE received_order(9, i::text) END AS order_id,
    CASE i % 8 WHEN 5 THEN NULL WHEN 6 THEN 35 WHEN 7 THEN 20 ELSE 0 END::smallint AS reason,
    CASE i % 8 WHEN 7 THEN 0 ELSE 1 END::smallint AS hold
FROM generate_series(1, 128) i;
CREATE TABLE answers AS
SELECT s.*, row_number() OVER () AS position
FROM (SELECT array_agg(order_id ORDER BY item) a, array_agg(reason ORDER BY item) b, array_agg(hold ORDER BY item) c
      FROM batch) AS arrays, order_service.settle_orders(a, b, c) s;
SELECT is((SELECT (count(*), bool_and(item = position))::text FROM answers), '(128,t)',
    'a batch of 128 has 128 results in its order');
SELECT is((SELECT array_agg(DISTINCT (code, a.reason, detail, status, replayed, a.order_id = b.order_id)::text)
           FROM answers a JOIN batch b USING (item) WHERE item % 8 = remainder), ARRAY[expected], what)
FROM (VALUES
    (0, '(200,0,,1,f,t)', 'good items are accepted'),
    (1, '(404,32,"Order id is 999999.",,f,)', 'unknown orders are refused'),
    (2, '(400,14,"Order id 0 is not positive.",,f,)', 'order id 0 is refused'),
    (3, '(400,14,"Order id -5 is not positive.",,f,)', 'a negative order id is refused'),
    (4, '(400,1,"Field ""order_id"" is null.",,f,)', 'no order id is refused'),
    (5, '(400,1,"Field ""reason"" is null.",,f,)', 'no reason is refused'),
    (6, '(400,15,"Reason 35 does not go with hold 1.",,f,)', 'a wrong reason is refused'),
    (7, '(402,20,,7,f,t)', 'rejections are recorded')) AS e (remainder, expected, what);
SELECT is((SELECT array_agg((status, count)::text ORDER BY status)
           FROM (SELECT status, count(*) FROM order_service.orders WHERE account_id = 9 GROUP BY status) AS c),
    '{"(0,32)","(1,16)","(7,16)"}', 'only the good items changed their orders');

SELECT * FROM finish();
ROLLBACK;
