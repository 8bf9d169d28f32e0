\unset ECHO
-- The arrays of the array forms: their shape is checked as a whole, and a wrong one stores nothing.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(266);

-- A right call of each function with n items, as the texts of its arguments.
CREATE FUNCTION arguments(function text, n int) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(format('array_fill(%s, ARRAY[%s])', value, n) ORDER BY position)
    FROM (VALUES
        ('place_orders', 1, '7::bigint'), ('place_orders', 2, '''p''::text'), ('place_orders', 3, '''AAPL''::text'),
        ('place_orders', 4, '1::smallint'), ('place_orders', 5, '0::smallint'), ('place_orders', 6, '1::bigint'),
        ('place_orders', 7, '0::bigint'), ('place_orders', 8, '0::smallint'),
        ('receive_orders', 1, '7::bigint'), ('receive_orders', 2, '''k''::text'), ('receive_orders', 3, '''AAPL''::text'),
        ('receive_orders', 4, '1::smallint'), ('receive_orders', 5, '0::smallint'), ('receive_orders', 6, '1::bigint'),
        ('receive_orders', 7, '0::bigint'), ('receive_orders', 8, '0::smallint'),
        ('settle_orders', 1, '1::bigint'), ('settle_orders', 2, '0::smallint'), ('settle_orders', 3, '0::smallint'),
        ('cancel_orders', 1, '7::bigint'), ('cancel_orders', 2, '''c''::text'), ('cancel_orders', 3, '1::bigint'),
        ('record_hold', 1, '1::bigint'), ('record_hold', 2, '0::smallint'), ('record_hold', 3, '0'))
        AS a (name, position, value)
    WHERE name = regexp_replace(function, '_packed$', '')
$$;
-- The call with one argument replaced.
CREATE FUNCTION call(function text, n int, replaced int DEFAULT 0, replacement text DEFAULT '') RETURNS text
    LANGUAGE sql AS $$
    SELECT format('SELECT * FROM order_service.%I(%s)', function,
        string_agg(CASE position WHEN replaced THEN replacement ELSE argument END, ', ' ORDER BY position))
    FROM unnest(arguments(function, n)) WITH ORDINALITY AS a (argument, position)
$$;
CREATE TABLE positions AS
SELECT name, position, (arguments(name, 3))[position] AS argument,
    substring((arguments(name, 3))[position] FROM '::([a-z]+)') AS type
FROM unnest(ARRAY['place_orders', 'place_orders_packed', 'receive_orders', 'receive_orders_packed', 'settle_orders',
        'settle_orders_packed', 'cancel_orders', 'record_hold']) AS name,
    generate_subscripts(arguments(name, 3), 1) AS position;
UPDATE positions SET type = 'integer' WHERE type IS NULL;

-- A null array
SELECT raises(call(name, 3, position, 'NULL'), 'OS400', format('array argument %s is null', position), '', '',
    format('%s() does not take NULL for array %s', name, position))
FROM positions ORDER BY name, position;

-- Arrays of unequal length: one item less, one more, none
SELECT raises(call(name, 3, position, format('(%s)[1:2]', argument)), 'OS400', 'arrays differ in length',
    CASE position WHEN 1 THEN 'Argument 1 has 2 items, argument 2 has 3.'
                  ELSE format('Argument 1 has 3 items, argument %s has 2.', position) END, '',
    format('%s() does not take a shorter array %s', name, position))
FROM positions ORDER BY name, position;
SELECT raises(call(name, 3, position, replace(argument, '[3]', '[4]')), 'OS400', 'arrays differ in length',
    CASE position WHEN 1 THEN 'Argument 1 has 4 items, argument 2 has 3.'
                  ELSE format('Argument 1 has 3 items, argument %s has 4.', position) END, '',
    format('%s() does not take a longer array %s', name, position))
FROM positions ORDER BY name, position;
SELECT raises(call(name, 3, position, format('''{}''::%s[]', type)), 'OS400', 'arrays differ in length',
    CASE position WHEN 1 THEN 'Argument 1 has 0 items, argument 2 has 3.'
                  ELSE format('Argument 1 has 3 items, argument %s has 0.', position) END, '',
    format('%s() does not take an empty array %s', name, position))
FROM positions ORDER BY name, position;

-- Two dimensions
SELECT raises(call(name, 3, position, format('ARRAY[%s]', argument)), 'OS400',
    format('array argument %s has more than one dimension', position), '', '',
    format('%s() does not take a two-dimensional array %s', name, position))
FROM positions ORDER BY name, position;

-- Too many items, and as many as are allowed
SELECT raises(call(name, 4097), 'OS400', 'too many items: 4097', 'One call takes at most 4096.', '',
    name || '() does not take 4097 items')
FROM positions WHERE position = 1 ORDER BY name;
SELECT is(stored(), '0 orders, 0 keys, 0 events, 0 executions, 0 debts', 'nothing was stored by any of these calls');

CREATE FUNCTION results(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    result bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (%s) AS r', statement) INTO result;
    RETURN result;
END
$$;
CREATE VIEW plain AS SELECT name FROM positions WHERE position = 1 AND name NOT LIKE '%_packed';
SELECT is(results(call(name, 0)), 0::bigint, name || '() of no items returns no row') FROM plain ORDER BY name;
SELECT is(results(call(name, 4096)), 4096::bigint, name || '() takes 4096 items') FROM plain ORDER BY name;
SELECT is((SELECT array_agg((key, n)::text ORDER BY key)
           FROM (SELECT key, count(*) AS n FROM order_service.orders JOIN order_service.idempotency_key USING (order_id)
                 GROUP BY key) AS k), '{"(k,1)","(p,1)"}', 'the 4096 repetitions of one order are one order');

-- A NULL among the elements is that item's fault only
SELECT is(results(format('%s WHERE (item = 2) <> (code = 400 AND reason = 1 AND detail ~ ''^Field "[a-z_]+" is null\.$'' AND order_id IS NULL)',
        call(name, 3, position, format('ARRAY[NULL, (%s)[1], NULL]', argument)))), 3::bigint,
    format('%s() refuses the items with a NULL in array %s, and no other', name, position))
FROM positions WHERE name NOT LIKE '%_packed' ORDER BY name, position;

-- Indexes that do not start at 1
SELECT is((SELECT array_agg(item ORDER BY item)
           FROM order_service.cancel_orders('[0:1]={7,7}', '[5:6]={x,y}', '[-3:-2]={999,999}')), '{1,2}',
    'items count from 1, however the arrays are numbered');

SELECT * FROM finish();
ROLLBACK;
