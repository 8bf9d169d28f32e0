\unset ECHO
-- SECURITY DEFINER functions run with their own search_path: what a caller puts in front of pg_catalog, or into its
-- temporary schema, is never run and never read.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(41);

-- A schema of a role of order-proxy's, full of traps: functions and operators with the names and arguments of those
-- in use, and tables and types with our names. A trap that is run raises.
CREATE ROLE regress_mallory;
CREATE ROLE regress_operator;
DO $$
BEGIN
    PERFORM order_service.grant_proxy('regress_mallory');
END
$$;
CREATE SCHEMA evil AUTHORIZATION regress_mallory;
CREATE FUNCTION evil.trap() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'trapped';
END
$$;
CREATE FUNCTION set_traps(schema text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    f record;
    o record;
    traps bigint := 0;
BEGIN
    FOR f IN
        SELECT p.oid, proname, oidvectortypes(proargtypes) AS arguments, pg_get_function_result(p.oid) AS result
        FROM pg_proc p
        WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND provariadic = 0
          AND prorettype NOT IN ('internal'::regtype, 'trigger'::regtype) AND NOT proretset
          AND NOT EXISTS (SELECT FROM unnest(proargtypes) t JOIN pg_type y ON y.oid = t WHERE typtype = 'p')
          AND proname IN ('now', 'clock_timestamp', 'make_interval', 'sha256', 'convert_to', 'gen_random_uuid', 'replace',
              'current_setting', 'pg_current_snapshot', 'pg_snapshot_xmin', 'pg_snapshot_xmax', 'int8', 'interval', 'text',
              'timestamptz', 'octet_length', 'array_to_string')
    LOOP
        EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE ''''trapped''''; END''',
            schema, f.proname, f.arguments, f.result);
        traps := traps + 1;
    END LOOP;
    -- Operators cannot be temporary.
    IF schema = 'evil' THEN
        FOR o IN
            SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result,
                row_number() OVER () AS n
            FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace
              AND oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '||', '~')
              AND oprleft IN ('bigint'::regtype, 'integer'::regtype, 'smallint'::regtype, 'text'::regtype, 'bytea'::regtype,
                  'boolean'::regtype, 'timestamptz'::regtype, 'interval'::regtype, 'xid8'::regtype, 'name'::regtype)
              AND oprright IN ('bigint'::regtype, 'integer'::regtype, 'smallint'::regtype, 'text'::regtype, 'bytea'::regtype,
                  'boolean'::regtype, 'timestamptz'::regtype, 'interval'::regtype, 'xid8'::regtype, 'name'::regtype)
        LOOP
            EXECUTE format('CREATE FUNCTION evil.trap_%s(%s, %s) RETURNS %s LANGUAGE plpgsql
                AS ''BEGIN RAISE ''''trapped''''; END''', o.n, o.l, o.r, o.result);
            EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.trap_%s)',
                o.oprname, o.l, o.r, o.n);
            traps := traps + 1;
        END LOOP;
    END IF;
    FOR f IN
        SELECT relname FROM pg_class WHERE relnamespace = 'order_service'::regnamespace AND relkind IN ('r', 'v')
        UNION ALL VALUES ('unnest'), ('pg_proc'), ('pg_class')
    LOOP
        EXECUTE format('CREATE TABLE %I.%I (trap text)', schema, f.relname);
        traps := traps + 1;
    END LOOP;
    RETURN traps;
END
$$;
-- Creates the temporary schema.
CREATE TEMPORARY TABLE any_table ();
SELECT cmp_ok(set_traps('evil'), '>', 150::bigint, 'a schema is full of traps');
SELECT cmp_ok(set_traps('pg_temp'), '>', 30::bigint, 'and so is the temporary schema');
GRANT USAGE ON SCHEMA evil TO PUBLIC;

-- Runs a statement that gives one text, with the search_path set, as a role.
CREATE FUNCTION trapped(role name, path text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE format('SET LOCAL search_path = %s', path);
    EXECUTE statement INTO result;
    SET LOCAL search_path = "$user", public;
    RESET ROLE;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    -- The subtransaction has put role and search_path back.
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT is(trapped('postgres', 'evil, pg_catalog', 'SELECT 1::bigint = 1::bigint'), 'P0001 trapped',
    'an operator trap works');
SELECT is(trapped('postgres', 'evil, pg_catalog', 'SELECT now()'), 'P0001 trapped', 'a function trap works');
SELECT is(trapped('postgres', 'pg_temp, evil, pg_catalog', 'SELECT trap FROM pg_class'), NULL, 'a table trap works');

-- What the publisher does with an event that it gives up.
CREATE FUNCTION park(id bigint) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE order_service.outbox SET status = 2 WHERE event_id = id;
    INSERT INTO order_service.parked_order (order_id, event_id, parked_at)
    SELECT order_id, event_id, now() FROM order_service.outbox WHERE event_id = id
    ON CONFLICT (order_id) DO UPDATE SET is_requeued = false
$$;

-- Every SECURITY DEFINER function, and the ones that look at tables besides, in a life that reaches all their paths.
SELECT order_service.open_session(7) AS session \gset
CREATE TABLE calls (n serial, role name, statement text, expected text, name text);
INSERT INTO calls (role, statement, expected, name) VALUES
    -- Of a packed value, the code of its first row: 200, 409.
    ('regress_mallory', $$SELECT pg_catalog.substr(order_service.receive_orders_packed('{7}', '{a}', '{AAPL}', '{1}', '{1}',
        '{100}', '{150000000}', '{0}'), 19, 2)$$, '\x00c8', 'receive_orders_packed()'),
    ('regress_mallory', $$SELECT pg_catalog.substr(order_service.receive_orders_packed('{7}', '{a}', '{AAPL}', '{1}', '{1}',
        '{100}', '{150000000}', '{0}'), 19, 2)$$, '\x0199', 'receive_orders_packed() of a repetition'),
    ('regress_mallory', $$SELECT pg_catalog.substr(order_service.settle_orders_packed('{1}', '{0}', '{1}'), 19, 2)$$, '\x00c8',
        'settle_orders_packed()'),
    ('postgres', $$SELECT (r).code FROM (SELECT order_service.receive_orders('{7}', '{a}', '{AAPL}', '{1}', '{1}',
        '{100}', '{150000000}', '{0}') AS r) AS x$$, '200', 'receive_orders()'),
    ('postgres', $$SELECT (r).code FROM (SELECT order_service.settle_orders('{1}', '{0}', '{1}') AS r) AS x$$, '200',
        'settle_orders()'),
    ('regress_mallory', $$SELECT (r).code FROM (SELECT order_service.cancel_orders('{7}', '{c}', '{1}') AS r) AS x$$, '200',
        'cancel_orders()'),
    ('postgres', $$SELECT (order_service.apply_execution('e', 1, 'CANCELED')).status$$, 'CANCELED', 'apply_execution()'),
    ('regress_mallory', $$SELECT (r).hold FROM (SELECT order_service.claim_unsettled() AS r) AS x$$, '3',
        'claim_unsettled()'),
    ('regress_mallory', $$SELECT (r).code FROM (SELECT order_service.record_hold('{1}', '{3}', '{0}') AS r) AS x$$, '200',
        'record_hold() of a debt that stays'),
    ('regress_mallory', $$SELECT (r).code FROM (SELECT order_service.record_hold('{1}', '{0}', '{0}') AS r) AS x$$, '200',
        'record_hold()'),
    ('postgres', $$SELECT (order_service.place_order(7, 'p', 'AAPL', 'BUY', 'MARKET', 1)).status$$, 'ACCEPTED',
        'place_order()'),
    ('postgres', $$SELECT (order_service.place_order(7, 'p', 'AAPL', 'BUY', 'MARKET', 2)).status$$,
        'OS422 idempotency key was used for another request', 'place_order() of another request'),
    ('postgres', $$SELECT (r).replayed FROM (SELECT order_service.place_orders('{7}', '{p}', '{AAPL}', '{1}', '{0}', '{1}',
        '{0}', '{0}') AS r) AS x$$, 'true', 'place_orders()'),
    ('postgres', $$SELECT pg_catalog.substr(order_service.place_orders_packed('{7}', '{p}', '{AAPL}', '{1}', '{0}', '{1}',
        '{0}', '{0}'), 19, 2)$$, '\x00c8', 'place_orders_packed()'),
    ('postgres', $$SELECT (order_service.cancel_order(7, 'pc', 1)).status$$, 'OS409 order is in the wrong state',
        'cancel_order()'),
    ('regress_mallory', $$SELECT (r).status FROM (SELECT order_service.get_order(7, 1) AS r) AS x$$, 'CANCELED',
        'get_order()'),
    ('regress_mallory', $$SELECT (r).status FROM (SELECT order_service.get_order(8, 1) AS r) AS x$$,
        'OS403 order belongs to another account', 'get_order() for another account'),
    ('regress_mallory', $$SELECT (r).status FROM (SELECT order_service.find_order(7, 'a') AS r) AS x$$, 'CANCELED',
        'find_order()'),
    ('regress_mallory', $$SELECT (r).status FROM (SELECT order_service.list_orders(7) AS r) AS x$$, 'CANCELED',
        'list_orders()'),
    ('postgres', $$SELECT pg_catalog.length(order_service.open_session(7))$$, '64', 'open_session()'),
    ('regress_mallory', format('SELECT (order_service.find_sessions(ARRAY[%L])).account_id', :'session'), '7',
        'find_sessions()'),
    ('regress_mallory', format('SELECT order_service.close_session(%L)', :'session'), 'true', 'close_session()'),
    ('postgres', 'SELECT order_service.prune_sessions()', '0', 'prune_sessions()'),
    ('postgres', 'SELECT order_service.prune_idempotency_keys()', '0', 'prune_idempotency_keys()'),
    ('postgres', 'SELECT order_service.requeue(1) FROM public.park(1)', '1', 'requeue()'),
    ('postgres', $$SELECT order_service.requeue_events('{1}') FROM public.park(1)$$, '1', 'requeue_events()'),
    ('postgres', $$SELECT order_service.requeue_matching(1, NULL, 'FAILED') FROM public.park(1)$$, '1',
        'requeue_matching()'),
    ('postgres', $$SELECT order_service.grant_proxy('regress_mallory')$$, '', 'grant_proxy()'),
    ('postgres', $$SELECT order_service.grant_operator('regress_operator')$$, '', 'grant_operator()'),
    ('regress_operator', $$SELECT (r).status FROM (SELECT order_service.order_events(1) AS r LIMIT 1) AS x$$, 'READY',
        'order_events()'),
    ('regress_operator', 'SELECT (order_service.outbox_position()).end_id', '5', 'outbox_position()'),
    ('postgres', 'SELECT ready FROM order_service.outbox_lag', '4', 'the view outbox_lag');
SELECT is(trapped(role, 'evil, pg_temp, pg_catalog', statement), expected, name || ' does not fall for it')
FROM calls ORDER BY n;
SELECT is_empty($$SELECT proname FROM pg_catalog.pg_proc WHERE pronamespace = 'order_service'::regnamespace AND prosecdef
      AND NOT EXISTS (SELECT FROM calls WHERE position('order_service.' || proname || '(' IN statement) > 0)$$,
    'every SECURITY DEFINER function was called');
SELECT is(state(1), 'CANCELED 0/100, hold NONE, version 3, code 200', 'the order went its way');

-- The same the other way round: the plans that were kept meanwhile are not those of another search_path.
SELECT is(trapped('regress_mallory', 'pg_catalog', $$SELECT pg_catalog.substr(order_service.receive_orders_packed('{7}', '{b}',
    '{AAPL}', '{1}', '{1}', '{100}', '{150000000}', '{0}'), 19, 2)$$), '\x00c8',
        'afterwards an honest path works as well');
SELECT is(trapped('regress_mallory', 'pg_temp, evil, public', $$SELECT pg_catalog.substr(order_service.receive_orders_packed(
    '{7}', '{c2}', '{AAPL}', '{1}', '{1}', '{100}', '{150000000}', '{0}'), 19, 2)$$), '\x00c8',
        'and a dishonest one again');

SELECT * FROM finish();
ROLLBACK;
