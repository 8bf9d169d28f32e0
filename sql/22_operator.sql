\unset ECHO
-- What an operator has: the events of an order, where the outbox ends, and a role that may do this and no more.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(44);

-- The events of an order
SELECT held_order(7, 'a') AS id, (order_service.place_order(7, 'b', 'AAPL', 'BUY', 'MARKET', 1)).order_id AS other \gset
SELECT is((order_service.apply_execution('1', :id, 'NEW')).status, 'SENT', 'an order is sent');
SELECT is((order_service.apply_execution('2', :other, 'NEW')).status, 'SENT', 'and another');
SELECT is((order_service.cancel_order(7, 'c', :id)).status, 'CANCEL_REQUESTED', 'and is to be canceled');
SELECT is((SELECT string_agg(format('%s.%s %s %s', order_id, order_version, event_type, status), ', ')
           FROM order_service.order_events(:id)),
    '1.1 ORDER_ACCEPTED READY, 1.2 ORDER_SENT READY, 1.3 ORDER_CANCEL_REQUESTED READY',
    'order_events() gives the events of an order, by version');
SELECT is((SELECT array_agg(e.event_id) FROM order_service.order_events(:id) e),
    (SELECT array_agg(event_id ORDER BY event_id) FROM order_service.outbox_detail WHERE order_id = :id),
    'all of them, and the same rows as outbox_detail');
SELECT is_empty('SELECT * FROM order_service.order_events(99)', 'an unknown order has none');
SELECT is_empty('SELECT * FROM order_service.order_events(NULL)', 'nor has none at all');
DELETE FROM order_service.outbox WHERE order_id = :id AND order_version = 1;
SELECT is((SELECT string_agg(order_version::text, ', ') FROM order_service.order_events(:id)), '2, 3',
    'what the retention has removed is not missed');
SELECT alike((SELECT string_agg(plan, ' ') FROM (
    SELECT * FROM unnest(ARRAY(SELECT proconfig FROM pg_proc WHERE proname = 'order_events')) AS plan) AS p),
    '%enable_seqscan=off%', 'it never reads the whole outbox');

-- Where the outbox ends
SELECT end_id AS end_before, horizon AS horizon_before FROM order_service.outbox_position() \gset
SELECT is(:end_before::bigint, (SELECT max(event_id) + 1 FROM order_service.outbox),
    'the end is behind the last event id');
SELECT ok(pg_current_xact_id() < :'horizon_before'::xid8, 'who took an id below it is below the horizon');
SELECT ok(pg_snapshot_xmin(pg_current_snapshot()) < :'horizon_before'::xid8,
    'while this transaction runs, no snapshot has reached it');
SELECT held_order(7, 'd') \g /dev/null
SELECT is((SELECT end_id FROM order_service.outbox_position()), :end_before::bigint + 1,
    'the end moves with each event');

-- The role of an operator
CREATE ROLE regress_operator;
CREATE ROLE "regress; ""odd"" operator";
CREATE ROLE regress_visitor;
SELECT lives_ok($$SELECT order_service.grant_operator('regress_operator')$$,
    'the owner can set up a role for operators');
SELECT lives_ok($$SELECT order_service.grant_operator('regress_operator')$$, 'doing it again is no error');
SELECT lives_ok($$SELECT order_service.grant_operator('regress; "odd" operator')$$, 'the role may have an odd name');

CREATE FUNCTION tried(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RESET ROLE;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT is(tried('regress_operator', statement), 'done', 'an operator may: ' || statement)
FROM (VALUES
    (1, 'SELECT * FROM order_service.order_detail'),
    (2, 'SELECT * FROM order_service.outbox_detail'),
    (3, 'SELECT * FROM order_service.outbox_lag'),
    (4, 'SELECT * FROM order_service.stats'),
    (5, 'SELECT * FROM order_service.order_events(1)'),
    (6, 'SELECT * FROM order_service.outbox_position()'),
    (7, 'SELECT order_service.event_json(payload) FROM order_service.outbox'),
    (8, 'SELECT * FROM order_service.dlq'),
    (9, 'SELECT order_service.requeue(1)'),
    (10, 'SELECT order_service.requeue_matching()')) AS s (n, statement)
ORDER BY n;
SELECT matches(tried('regress_operator', statement), '^42501 permission denied ', 'an operator may not: ' || statement)
FROM (VALUES
    (1, 'UPDATE order_service.outbox SET status = 0'),
    (2, 'DELETE FROM order_service.outbox'),
    (3, 'SELECT * FROM order_service.orders'),
    (4, 'SELECT * FROM order_service.session'),
    (5, 'SELECT * FROM order_service.idempotency_key'),
    (6, 'UPDATE order_service.order_detail SET quantity = 1'),
    (7, 'SELECT order_service.place_order(7, ''x'', ''AAPL'', ''BUY'', ''MARKET'', 1)'),
    (8, 'SELECT order_service.cancel_order(7, ''x'', 1)'),
    (9, 'SELECT order_service.apply_execution(''x'', 1, ''NEW'')'),
    (10, 'SELECT order_service.open_session(7)'),
    (11, 'SELECT order_service.grant_operator(''regress_visitor'')'),
    (12, 'SELECT nextval(''order_service.event_id_seq'')'),
    (13, 'CREATE TABLE order_service.x ()')) AS s (n, statement)
ORDER BY n;
SELECT matches(tried('regress_visitor', 'SELECT * FROM order_service.outbox_detail'), '^42501 ',
    'a role that was granted nothing may not read');
SELECT is((raised($$SELECT order_service.grant_operator('regress_absent')$$))[1:2],
    ARRAY['42704', 'role "regress_absent" does not exist'], 'a role must exist');
SELECT is((raised('SELECT order_service.grant_operator(NULL)'))[1], '22004', 'NULL is no role');
SELECT is_empty($$
    SELECT proname FROM pg_proc WHERE pronamespace = 'order_service'::regnamespace
      AND has_function_privilege('regress_operator', oid, 'EXECUTE')
      AND proname NOT LIKE '%\_name' AND proname NOT LIKE 'requeue%'
      AND proname NOT IN ('event_json', 'order_events', 'outbox_position', 'publisher_stats')
    $$, 'an operator has no other function');

-- How far behind the publisher is: asked often, and the outbox may hold days
INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at, sent_at, order_version,
    event_type, status, payload)
SELECT n, 0, n, 7, now(), now(), 1, 1, 1, '' FROM generate_series(1001, 3000) AS n;
ANALYZE order_service.outbox;
CREATE FUNCTION planned_cost(query text, part text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
        EXIT WHEN position(part in line) > 0;
    END LOOP;
    RETURN substring(line FROM 'cost=[\d.]+\.\.([\d.]+)');
END
$$;
SELECT cmp_ok(planned_cost('TABLE order_service.outbox_lag', 'on outbox b '), '<',
    planned_cost('SELECT FROM order_service.outbox b', 'on outbox b ') / 4,
    'outbox_lag expects little of the outbox, and prepares for no more');

SELECT * FROM finish();
ROLLBACK;
