\unset ECHO
-- Installation: what CREATE EXTENSION makes, how it is documented and protected, and that every version reaches the
-- newest one.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(48);

-- What is there -----------------------------------------------------------------------------------------------

SELECT has_schema('order_service', 'the schema exists');
SELECT is((SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE extname = 'order_service'), 'order_service', 'the extension lives in its own schema');
SELECT is((SELECT (relocatable, trusted, superuser, schema, requires)::text
           FROM pg_available_extension_versions v JOIN pg_available_extensions a USING (name)
           WHERE name = 'order_service' AND version = default_version),
          '(f,f,t,order_service,{plpgsql})', 'it has a fixed schema and is installed by a superuser');
SELECT tables_are('order_service', ARRAY['execution', 'hold_debt', 'idempotency_key', 'identity', 'instrument',
    'orders', 'outbox', 'parked_order', 'session', 'watermark'], 'these are the tables');
SELECT views_are('order_service', ARRAY['dlq', 'order_detail', 'outbox_detail', 'outbox_lag', 'stats'],
    'these are the views');
SELECT sequences_are('order_service', ARRAY['event_id_seq', 'order_id_seq'], 'these are the sequences');
SELECT functions_are('order_service', ARRAY['apply_execution', 'cancel_order', 'cancel_orders', 'claim_unsettled',
    'close_session', 'event_json', 'event_type_name', 'execution_type_name', 'find_order', 'find_sessions', 'get_order',
    'grant_operator', 'grant_proxy', 'hold_name', 'list_orders', 'open_session', 'order_events', 'order_type_name',
    'outbox_position', 'outbox_status_name',
    'place_order', 'place_orders', 'place_orders_packed', 'preloaded', 'prune_idempotency_keys', 'prune_sessions', 'publisher_stats', 'reason_message',
    'reason_name', 'receive_orders', 'receive_orders_packed', 'record_hold', 'refuse', 'requeue',
    'requeue_events', 'requeue_matching', 'settle_orders', 'settle_orders_packed', 'side_name', 'status_name',
    'time_in_force_name', 'wake_publisher'], 'these are the functions');

SELECT columns_are('order_service', 'identity', ARRAY['reserve_prefix', 'is_only_row'],
    'identity has these columns');
SELECT columns_are('order_service', 'instrument', ARRAY['symbol', 'currency', 'tick', 'lot', 'price_floor',
    'price_ceiling', 'halted'], 'instrument has these columns');
SELECT columns_are('order_service', 'orders', ARRAY['order_id', 'account_id', 'quantity', 'price',
    'filled_quantity', 'reserve_amount', 'last_event_id', 'created_at', 'updated_at', 'order_version', 'code',
    'side', 'order_type', 'time_in_force', 'status', 'hold', 'reason', 'currency', 'symbol', 'reserve_id'],
    'orders has these columns');
SELECT columns_are('order_service', 'idempotency_key', ARRAY['account_id', 'order_id', 'created_at', 'command',
    'key'], 'idempotency_key has these columns');
SELECT columns_are('order_service', 'outbox', ARRAY['event_id', 'previous_event_id', 'order_id', 'account_id',
    'created_at', 'sent_at', 'order_version', 'event_type', 'status', 'retry_count', 'next_attempt_at', 'payload',
    'last_error'], 'outbox has these columns');
SELECT columns_are('order_service', 'parked_order', ARRAY['order_id', 'event_id', 'parked_at', 'is_requeued'],
    'parked_order has these columns');
SELECT columns_are('order_service', 'dlq', ARRAY['event_id', 'order_id', 'order_version', 'event_type', 'status',
    'attempts', 'error', 'created_at', 'age', 'failed_at', 'failed_age', 'waiting'], 'dlq has these columns');
SELECT columns_are('order_service', 'execution', ARRAY['execution_id', 'order_id', 'last_quantity', 'last_price',
    'created_at', 'execution_type'], 'execution has these columns');
SELECT columns_are('order_service', 'hold_debt', ARRAY['order_id', 'due_at', 'attempts', 'set_at'],
    'hold_debt has these columns');
SELECT columns_are('order_service', 'session', ARRAY['session_hash', 'account_id', 'expires_at'],
    'session has these columns');
SELECT columns_are('order_service', 'watermark', ARRAY['name', 'value', 'candidate', 'candidate_xid'],
    'watermark has these columns');
SELECT columns_are('order_service', 'order_detail', ARRAY['order_id', 'account_id', 'symbol', 'side', 'order_type',
    'quantity', 'price', 'time_in_force', 'status', 'filled_quantity', 'reason', 'hold', 'reserve_id',
    'reserve_amount', 'currency', 'order_version', 'created_at', 'updated_at'], 'order_detail has these columns');
SELECT columns_are('order_service', 'outbox_detail', ARRAY['event_id', 'order_id', 'order_version', 'event_type',
    'status', 'retry_count', 'created_at', 'sent_at', 'next_attempt_at', 'last_error'],
    'outbox_detail has these columns');
SELECT columns_are('order_service', 'outbox_lag', ARRAY['ready', 'oldest', 'oldest_age', 'failed', 'dlq', 'waiting'],
    'outbox_lag has these columns');
SELECT columns_are('order_service', 'stats', ARRAY['database', 'pid', 'state', 'ring_size', 'ring_used',
    'ring_overflows', 'in_flight', 'waiting', 'gaps', 'low_water', 'from_ring', 'from_table', 'sent', 'refused',
    'failed', 'dlq', 'dlq_refused', 'parked', 'catch_ups', 'outages', 'fatal_errors', 'removed', 'last_error',
    'latency_p50_ms', 'latency_p99_ms',
    'latency_buckets'], 'stats has these columns');
SELECT indexes_are('order_service', 'orders', ARRAY['orders_pkey', 'orders_account'],
    'orders has no index on a column that changes');
SELECT indexes_are('order_service', 'outbox', ARRAY['outbox_pkey'],
    'outbox has no index on a column that changes');

SELECT is_empty($$
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'order_service'::regnamespace AND c.relkind IN ('r', 'v', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'order_service')
    $$, 'every relation in the schema belongs to the extension');
SELECT is((SELECT array_agg(relname::text ORDER BY relname::text)
           FROM pg_extension e, unnest(e.extconfig) AS config (relation) JOIN pg_class c ON c.oid = relation
           WHERE extname = 'order_service'),
    ARRAY['event_id_seq', 'execution', 'hold_debt', 'idempotency_key', 'instrument', 'order_id_seq', 'orders',
    'outbox', 'session'],
    'pg_dump saves the rows of every table but identity, parked_order and watermark, and the sequences');
SELECT is((SELECT array_agg(DISTINCT condition) FROM pg_extension e, unnest(e.extcondition) AS c (condition)
           WHERE extname = 'order_service'), '{""}', 'pg_dump saves all of their rows');
SELECT results_eq('SELECT name, value, candidate FROM order_service.watermark ORDER BY name',
    $$VALUES ('orders', 0::bigint, 0::bigint), ('outbox', 0, 0)$$, 'both watermarks start at 0');
SELECT is((SELECT count(*)::text || max(reserve_prefix) FROM order_service.identity
           WHERE reserve_prefix !~ '^[0-9a-f]{12}$'), NULL, 'the reserve prefix is 12 hexadecimal digits');
SELECT throws_ok('INSERT INTO order_service.identity DEFAULT VALUES', '23505',
    'duplicate key value violates unique constraint "identity_pkey"', 'there is one identity only');
SELECT is((SELECT count(DISTINCT (seqstart, seqincrement, seqmax, seqcache, seqcycle)) || ' ' || min(seqcache)
           || ' ' || min(seqmax) FROM pg_sequence
           WHERE seqrelid::regclass::text LIKE 'order_service.%'), '1 1 17592186044415',
    'the sequences do not cache and end with 44 bits');
SELECT is(order_service.preloaded(), current_setting('shared_preload_libraries') ~ 'order_service',
    'preloaded() says whether the server preloads the library');
SELECT is_empty('SELECT * FROM order_service.stats', 'without a publisher there are no statistics');

-- Every object is documented ----------------------------------------------------------------------------------

SELECT is_empty($$
    SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'order_service'
      AND d.classid <> 'pg_type'::regclass AND obj_description(d.objid, d.classid::regclass::name) IS NULL
    $$, 'every table, view, sequence and function has a comment');
SELECT is_empty($$
    SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'order_service'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
      AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL
    $$, 'every column of every table has a comment');
SELECT is_empty($$
    SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'order_service'::regnamespace AND obj_description(i.indexrelid, 'pg_class') IS NULL
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
    $$, 'every index that is not a constraint''s has a comment');
SELECT isnt(obj_description('order_service'::regnamespace, 'pg_namespace'), NULL, 'the schema has a comment');
SELECT isnt((SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'order_service'), NULL,
    'the extension has a comment');

-- Protection --------------------------------------------------------------------------------------------------

SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'order_service'::regnamespace AND prosecdef
      AND NOT ('search_path=pg_catalog, pg_temp' = ANY (coalesce(proconfig, '{}')))
    $$, 'every SECURITY DEFINER function pins its search_path, pg_temp last');
SELECT is_empty($$
    SELECT relname FROM pg_class WHERE relnamespace = 'order_service'::regnamespace
      AND CASE WHEN relkind IN ('r', 'v') THEN
                   has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                   OR has_any_column_privilege('public', oid, 'SELECT, INSERT, UPDATE, REFERENCES')
               WHEN relkind = 'S' THEN has_sequence_privilege('public', oid, 'USAGE, SELECT, UPDATE') END
    $$, 'PUBLIC may not touch a table, view or sequence');
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'order_service'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')
    $$, 'PUBLIC may not execute a function');
SELECT ok(NOT has_schema_privilege('public', 'order_service', 'USAGE, CREATE'), 'PUBLIC may not use the schema');

-- Versions ----------------------------------------------------------------------------------------------------

-- Everything that tells one installation from another: the members of the extension with their definitions, rights
-- and comments, the columns, constraints and indexes.
CREATE FUNCTION installed() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s, comment %s', pg_describe_object(d.classid, d.objid, 0),
        obj_description(d.objid, d.classid::regclass::name))
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'order_service'
    UNION ALL
    SELECT format('%s, rights %s', pg_get_functiondef(oid), proacl) FROM pg_proc
    WHERE pronamespace = 'order_service'::regnamespace
    UNION ALL
    SELECT format('%s %s %s, default %s, not null %s, comment %s', c.relname, a.attname,
        format_type(a.atttypid, a.atttypmod), pg_get_expr(f.adbin, f.adrelid), a.attnotnull,
        col_description(c.oid, a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum
    WHERE c.relnamespace = 'order_service'::regnamespace AND c.relkind IN ('r', 'v')
      AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('%s %s, options %s, rights %s, %s', relname, relkind, reloptions, relacl,
        CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END)
    FROM pg_class WHERE relnamespace = 'order_service'::regnamespace AND relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'order_service'::regnamespace
    UNION ALL
    SELECT format('%s, comment %s', indexdef, obj_description(format('%I.%I', schemaname, indexname)::regclass))
    FROM pg_indexes WHERE schemaname = 'order_service'
    UNION ALL
    SELECT format('dumped %s', relation::regclass)
    FROM pg_extension e, unnest(e.extconfig) AS c (relation) WHERE extname = 'order_service'
$$;
CREATE TABLE newest AS SELECT installed() AS object;
CREATE TABLE versions AS
SELECT version, default_version FROM pg_available_extension_versions JOIN pg_available_extensions USING (name)
WHERE name = 'order_service';

-- Installs a version and updates it; says what is wrong with the result, nothing where all is well.
CREATE FUNCTION update_from(version text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    DROP EXTENSION order_service;
    EXECUTE format('CREATE EXTENSION order_service VERSION %L', version);
    ALTER EXTENSION order_service UPDATE;
    RETURN QUERY SELECT format('%s ends at %s', version, extversion) FROM pg_extension e
    WHERE extname = 'order_service' AND extversion NOT IN (SELECT v.default_version FROM versions v);
    RETURN QUERY SELECT format('%s lacks: %s', version, object)
    FROM (SELECT object FROM newest EXCEPT ALL SELECT installed()) AS lost (object);
    RETURN QUERY SELECT format('%s has left: %s', version, object)
    FROM (SELECT installed() EXCEPT ALL SELECT object FROM newest) AS extra (object);
END
$$;

SELECT is_empty($$
    SELECT source, target, path FROM pg_extension_update_paths('order_service')
    WHERE target = (SELECT default_version FROM versions LIMIT 1) AND path IS NULL
    $$, 'every version has an update path to the default version');
SELECT is_empty('SELECT p FROM versions v, update_from(v.version) AS p',
    'every version, installed and updated, is the default version with the same objects');

DROP EXTENSION order_service;
SELECT is_empty($$
    SELECT relname::text FROM pg_class WHERE relnamespace = 'order_service'::regnamespace
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'order_service'::regnamespace
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'order_service'::regnamespace
    $$, 'DROP EXTENSION leaves no object behind');
SELECT throws_ok('CREATE EXTENSION order_service SCHEMA public', '0A000',
    'extension "order_service" must be installed in schema "order_service"',
    'it cannot be installed into another schema');
SELECT lives_ok('CREATE EXTENSION order_service', 'it can be installed again');
SELECT is((SELECT nextval('order_service.order_id_seq') || ' ' || nextval('order_service.event_id_seq')), '1 1',
    'ids count from 1');

SELECT * FROM finish();
ROLLBACK;
