\unset ECHO
-- Who may do what: a role of order-proxy's, a role that was granted nothing, and one that may only use the schema.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(206);

CREATE ROLE regress_proxy;
CREATE ROLE regress_nobody;
CREATE ROLE regress_visitor;
CREATE ROLE "regress; ""odd"" role";
SELECT lives_ok($$SELECT order_service.grant_proxy('regress_proxy')$$, 'the owner can set up a role for order-proxy');
SELECT lives_ok($$SELECT order_service.grant_proxy('regress_proxy')$$, 'doing it again is no error');
SELECT lives_ok($$SELECT order_service.grant_proxy('regress; "odd" role')$$, 'the role may have an odd name');
GRANT USAGE ON SCHEMA order_service TO regress_visitor;

-- What came of a statement that a role runs.
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
CREATE TABLE functions AS
SELECT oid, proname, format('SELECT order_service.%I(%s)', proname, (
        -- A call of a strict function with NULL would be none.
        SELECT string_agg(CASE type WHEN 'smallint'::regtype THEN '1::smallint' WHEN 'bytea'::regtype THEN '''''::bytea'
                               ELSE 'NULL::' || format_type(type, NULL) END, ', ' ORDER BY position)
        FROM unnest(proargtypes) WITH ORDINALITY AS a (type, position))) AS call,
    proname IN ('receive_orders_packed', 'settle_orders_packed', 'cancel_orders', 'claim_unsettled', 'record_hold', 'get_order',
        'find_order', 'list_orders', 'find_sessions', 'close_session') AS is_for_proxy
FROM pg_proc WHERE pronamespace = 'order_service'::regnamespace;

-- Privileges --------------------------------------------------------------------------------------------------

SELECT is(has_function_privilege(role, oid, 'EXECUTE'), is_for_proxy,
    format('%s %s execute %s()', role, CASE WHEN is_for_proxy THEN 'may' ELSE 'may not' END, proname))
FROM functions, unnest(ARRAY['regress_proxy', 'regress; "odd" role']) WITH ORDINALITY AS r (role, n)
ORDER BY n, proname COLLATE "C";
SELECT is_empty($$
    SELECT relname FROM pg_class, unnest(ARRAY['regress_proxy', 'regress; "odd" role', 'regress_visitor']) AS role
    WHERE relnamespace = 'order_service'::regnamespace AND CASE
        WHEN relkind IN ('r', 'v') THEN
            has_table_privilege(role, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            OR has_any_column_privilege(role, oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        WHEN relkind = 'S' THEN has_sequence_privilege(role, oid, 'USAGE, SELECT, UPDATE') END
    $$, 'no role was given a table, view or sequence');
SELECT ok(has_schema_privilege('regress_proxy', 'order_service', 'USAGE'), 'regress_proxy may use the schema');
SELECT ok(NOT has_schema_privilege('regress_proxy', 'order_service', 'CREATE'), 'but not create in it');
SELECT ok(NOT has_schema_privilege('regress_proxy', 'order_service', 'USAGE WITH GRANT OPTION'), 'nor pass that on');
SELECT ok(NOT EXISTS (SELECT FROM functions
          WHERE has_function_privilege('regress_proxy', oid, 'EXECUTE WITH GRANT OPTION')), 'nor pass a function on');

-- Calls -------------------------------------------------------------------------------------------------------

SELECT is(tried('regress_proxy', call), format('42501 permission denied for function %s', proname),
    format('regress_proxy is refused %s()', proname))
FROM functions WHERE NOT is_for_proxy ORDER BY proname COLLATE "C";
SELECT is(tried('regress_visitor', call), format('42501 permission denied for function %s', proname),
    format('a role with the schema only is refused %s()', proname))
FROM functions ORDER BY proname COLLATE "C";
SELECT is_empty($$SELECT proname, tried('regress_nobody', call) FROM functions
    WHERE tried('regress_nobody', call) <> '42501 permission denied for schema order_service'$$,
    'a role without grants does not even reach the schema');
SELECT is_empty($$SELECT relname FROM pg_class
    WHERE relnamespace = 'order_service'::regnamespace AND relkind IN ('r', 'v')
      AND tried('regress_nobody', format('SELECT FROM order_service.%I', relname))
          <> '42501 permission denied for schema order_service'$$, 'nor a table');
SELECT is(tried('regress_proxy', format('SELECT FROM order_service.%I', relname)),
    format('42501 permission denied for %s %s', CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END, relname),
    'regress_proxy may not read ' || relname)
FROM pg_class WHERE relnamespace = 'order_service'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";
SELECT is(tried('regress_proxy', statement), message, name)
FROM (VALUES
    ('INSERT INTO order_service.session VALUES (sha256(''x''), 1, now())', '42501 permission denied for table session',
        'regress_proxy may not make a session'),
    ('UPDATE order_service.orders SET status = 1', '42501 permission denied for table orders',
        'regress_proxy may not change an order'),
    ('DELETE FROM order_service.hold_debt', '42501 permission denied for table hold_debt',
        'regress_proxy may not forget a debt'),
    ('SELECT nextval(''order_service.order_id_seq'')', '42501 permission denied for sequence order_id_seq',
        'regress_proxy may not take an order id'),
    ('CREATE TABLE order_service.x ()', '42501 permission denied for schema order_service',
        'regress_proxy may not make a table'),
    ('SET order_service.idempotency_retention = 1',
        '42501 permission denied to set parameter "order_service.idempotency_retention"',
        'regress_proxy may not shorten the retention of keys'),
    ('SET order_service.received_timeout = 100',
        '42501 permission denied to set parameter "order_service.received_timeout"',
        'regress_proxy may not shorten the timeout of orders')) AS s (statement, message, name);
SELECT matches(tried('regress_proxy', 'SHOW order_service.kafka_options'), '^42501 ',
    'regress_proxy may not see the secrets of the publisher');

-- Everything that order-proxy does
SELECT order_service.open_session(7) AS session \gset
SELECT is(tried('regress_proxy', statement), 'done', 'regress_proxy can call ' || name)
FROM (VALUES
    (1, $$SELECT order_service.receive_orders_packed('{7,7}', '{a,b}', '{AAPL,AAPL}', '{1,2}', '{0,0}', '{1,1}', '{0,0}',
        '{0,0}')$$, 'receive_orders_packed()'),
    (2, $$SELECT order_service.settle_orders_packed('{1,2}', '{0,26}', '{1,2}')$$, 'settle_orders_packed()'),
    (3, $$SELECT * FROM order_service.cancel_orders('{7}', '{c}', '{1}')$$, 'cancel_orders()'),
    (4, $$SELECT * FROM order_service.claim_unsettled()$$, 'claim_unsettled()'),
    (5, $$SELECT * FROM order_service.record_hold('{2}', '{0}', '{0}')$$, 'record_hold()'),
    (6, $$SELECT * FROM order_service.get_order(7, 1)$$, 'get_order()'),
    (7, $$SELECT * FROM order_service.find_order(7, 'a')$$, 'find_order()'),
    (8, $$SELECT * FROM order_service.list_orders(7)$$, 'list_orders()'),
    (9, format('SELECT * FROM order_service.find_sessions(ARRAY[%L])', :'session'), 'find_sessions()'),
    (10, format('SELECT order_service.close_session(%L)', :'session'), 'close_session()')) AS c (n, statement, name)
ORDER BY n;
SELECT is(state(1) || '; ' || state(2), 'CANCEL_REQUESTED 0/1, hold HELD, version 2, code 200; '
    'REJECTED 0/1, hold NONE, version 1, code 503, ACCOUNT_OUTCOME_UNKNOWN', 'and it has its effects');

-- grant_proxy() has no rights of its own.
GRANT EXECUTE ON FUNCTION order_service.grant_proxy(name) TO regress_visitor;
SET LOCAL client_min_messages = error;
SELECT matches(tried('regress_visitor', $$SELECT order_service.grant_proxy('regress_nobody')$$),
    '^42501 permission denied for function [a-z_]+$', 'only the owner''s grant_proxy() grants');
SELECT ok(NOT has_schema_privilege('regress_nobody', 'order_service', 'USAGE'), 'nothing was granted');
SELECT is((raised($$SELECT order_service.grant_proxy('regress_absent')$$))[1:2],
    ARRAY['42704', 'role "regress_absent" does not exist'], 'a role must exist');
SELECT is((raised('SELECT order_service.grant_proxy(NULL)'))[1], '22004', 'NULL is no role');

SELECT * FROM finish();
ROLLBACK;
