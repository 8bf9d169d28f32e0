\unset ECHO
-- An item of a batch that raises an error nobody foresaw: the call fails as a whole and stores nothing; the caller
-- splits the batch and calls the halves, and only the guilty item fails.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(28);

-- Orders of account 13 bring bad luck to whatever writes the row that |event| names.
CREATE FUNCTION bad_luck() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'bad luck with %', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER bad_luck BEFORE INSERT ON order_service.orders FOR EACH ROW WHEN (NEW.account_id = 13)
    EXECUTE FUNCTION bad_luck();

-- The caller: what order-proxy does with a batch. Gives the code of each item, 500 for one that cannot be carried out
-- even alone. Functions are told by a query that takes the items' numbers as $1.
CREATE FUNCTION run(query text, items int[]) RETURNS TABLE (n int, result text) LANGUAGE plpgsql AS $$
DECLARE
    half int := cardinality(items) / 2;
BEGIN
    BEGIN
        RETURN QUERY EXECUTE query USING items;
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        IF half = 0 THEN
            RETURN QUERY SELECT items[1], '500';
            RETURN;
        END IF;
    END;
    RETURN QUERY SELECT * FROM run(query, items[:half]);
    RETURN QUERY SELECT * FROM run(query, items[half + 1:]);
END
$$;

-- receive_orders() --------------------------------------------------------------------------------------------

CREATE TABLE batch AS
SELECT n::int, CASE n WHEN 37 THEN 13 WHEN 90 THEN 13 ELSE 7 END::bigint AS account_id, 'key ' || n AS key,
    CASE n WHEN 5 THEN 'MSFT' ELSE 'AAPL' END AS symbol
FROM generate_series(1, 100) n;
SELECT $$
    SELECT ($1)[r.item], r.code::text
    FROM (SELECT array_agg(account_id ORDER BY n) a, array_agg(key ORDER BY n) k, array_agg(symbol ORDER BY n) s,
              array_agg(1::smallint) one, array_agg(100::bigint) hundred, array_agg(0::bigint) nothing,
              array_agg(0::smallint) zero
          FROM batch WHERE n = ANY ($1)) AS b,
        order_service.receive_orders(a, k, s, one, zero, hundred, nothing, zero) r
    $$ AS receive \gset

CREATE TABLE before AS SELECT stored() AS stored;
PREPARE whole_batch AS SELECT r.code
FROM (SELECT array_agg(account_id ORDER BY n) a, array_agg(key ORDER BY n) k, array_agg(symbol ORDER BY n) s,
          array_agg(1::smallint) one, array_agg(100::bigint) hundred, array_agg(0::bigint) nothing,
          array_agg(0::smallint) zero
      FROM batch) AS b,
    order_service.receive_orders(a, k, s, one, zero, hundred, nothing, zero) r;
SELECT throws_ok('whole_batch', 'P0001', 'bad luck with orders',
    'the call of the whole batch fails with the error itself');
SELECT is(stored(), (SELECT stored FROM before), 'it stores nothing');
CREATE TABLE received AS SELECT * FROM run(:'receive', (SELECT array_agg(n) FROM batch));
SELECT is((SELECT array_agg(n ORDER BY n) FROM received WHERE result = '500'), '{37,90}',
    'split, only the guilty items fail');
SELECT is((SELECT array_agg(n) FROM received WHERE result = '404'), '{5}',
    'an item that is refused is refused as ever');
SELECT is((SELECT count(*) FROM received WHERE result = '200'), 97::bigint, 'all others are received');
SELECT is((SELECT (count(*), count(DISTINCT n))::text FROM received), '(100,100)', 'each item has one result');
SELECT is(stored(), '97 orders, 97 keys, 0 events, 0 executions, 0 debts', 'and exactly these are stored');
SELECT is_empty($$SELECT key FROM order_service.idempotency_key WHERE account_id = 13$$, 'the guilty keys are unused');
SELECT is((SELECT string_agg(DISTINCT result, ' ' ORDER BY result) FROM run(:'receive', (SELECT array_agg(n) FROM batch))),
    '404 409 500', 'the whole again: all are in progress, nothing is doubled');
SELECT is(stored(), '97 orders, 97 keys, 0 events, 0 executions, 0 debts', 'and nothing more is stored');

-- The cause is removed
DROP TRIGGER bad_luck ON order_service.orders;
SELECT is((SELECT array_agg(code) FROM order_service.receive_orders('{13,13}', '{key 37,key 90}', '{AAPL,AAPL}', '{1,1}',
    '{0,0}', '{100,100}', '{0,0}', '{0,0}')), '{200,200}', 'the guilty requests succeed with the same keys');

-- settle_orders() ---------------------------------------------------------------------------------------------
-- Now the outbox refuses the events of account 13.

CREATE TRIGGER bad_luck BEFORE INSERT ON order_service.outbox FOR EACH ROW WHEN (NEW.account_id = 13)
    EXECUTE FUNCTION bad_luck();
SELECT $$
    SELECT ($1)[r.item], r.code::text
    FROM (SELECT array_agg(order_id ORDER BY i) o, array_agg(0::smallint) accepted, array_agg(1::smallint) held
          FROM unnest($1) WITH ORDINALITY AS a (n, i) JOIN batch USING (n)
          JOIN order_service.idempotency_key USING (account_id, key)) AS b,
        order_service.settle_orders(o, accepted, held) r
    $$ AS settle \gset
SELECT throws_ok($$SELECT order_service.settle_orders(array_agg(order_id), array_agg(0::smallint), array_agg(1::smallint))
    FROM order_service.orders$$, 'P0001', 'bad luck with outbox', 'the call of the whole batch fails');
SELECT is((SELECT array_agg(DISTINCT state(order_id)) FROM order_service.orders),
    '{"RECEIVED 0/100, hold NONE, version 0, code 0"}', 'every order stays RECEIVED');
CREATE TABLE settled AS SELECT * FROM run(:'settle', (SELECT array_agg(n) FROM batch WHERE n <> 5));
SELECT is((SELECT array_agg(n ORDER BY n) FROM settled WHERE result = '500'), '{37,90}',
    'split, only the guilty items fail');
SELECT is((SELECT count(*) FROM settled WHERE result = '200'), 97::bigint, 'all others are settled');
SELECT is((SELECT array_agg(DISTINCT state(order_id)) FROM order_service.orders WHERE account_id = 7),
    '{"ACCEPTED 0/100, hold HELD, version 1, code 200"}', 'they are accepted once');
SELECT is((SELECT array_agg(DISTINCT state(order_id)) FROM order_service.orders WHERE account_id = 13),
    '{"RECEIVED 0/100, hold NONE, version 0, code 0"}', 'the guilty ones stay RECEIVED');
SELECT is((SELECT count(*) FROM order_service.outbox), 97::bigint, 'each event is written once');
DROP TRIGGER bad_luck ON order_service.outbox;
SELECT is((SELECT array_agg(code) FROM order_service.settle_orders(
    (SELECT array_agg(order_id) FROM order_service.orders WHERE account_id = 13), '{0,0}', '{1,1}')), '{200,200}',
    'without the cause they are settled');

-- cancel_orders() ---------------------------------------------------------------------------------------------
-- Now the keys of account 13 cannot be written.

CREATE TRIGGER bad_luck BEFORE INSERT ON order_service.idempotency_key FOR EACH ROW WHEN (NEW.account_id = 13)
    EXECUTE FUNCTION bad_luck();
SELECT $$
    SELECT ($1)[r.item], r.code::text
    FROM (SELECT array_agg(account_id ORDER BY i) a, array_agg('cancel ' || n ORDER BY i) k,
              array_agg(order_id ORDER BY i) o
          FROM unnest($1) WITH ORDINALITY AS x (n, i) JOIN batch USING (n)
          JOIN order_service.idempotency_key USING (account_id, key)) AS b,
        order_service.cancel_orders(a, k, o) r
    $$ AS cancel \gset
SELECT throws_ok($$
    SELECT order_service.cancel_orders(array_agg(account_id), array_agg('c' || order_id), array_agg(order_id))
    FROM order_service.orders$$, 'P0001', 'bad luck with idempotency_key', 'the call of the whole batch fails');
SELECT is((SELECT array_agg(DISTINCT state(order_id)) FROM order_service.orders),
    '{"ACCEPTED 0/100, hold HELD, version 1, code 200"}', 'no order is canceled');
CREATE TABLE canceled AS SELECT * FROM run(:'cancel', (SELECT array_agg(n) FROM batch WHERE n <> 5));
SELECT is((SELECT array_agg(n ORDER BY n) FROM canceled WHERE result = '500'), '{37,90}',
    'split, only the guilty items fail');
SELECT is((SELECT count(*) FROM canceled WHERE result = '200'), 97::bigint, 'all others are canceled');
SELECT is((SELECT array_agg(DISTINCT state(order_id)) FROM order_service.orders WHERE account_id = 7),
    '{"CANCEL_REQUESTED 0/100, hold HELD, version 2, code 200"}', 'they are canceled once');
SELECT is((SELECT array_agg(DISTINCT events(order_id)) FROM order_service.orders WHERE account_id = 13),
    '{"1 ORDER_ACCEPTED"}', 'the guilty ones have no event of it');
DROP TRIGGER bad_luck ON order_service.idempotency_key;

-- place_order() -----------------------------------------------------------------------------------------------

CREATE TRIGGER bad_luck BEFORE INSERT ON order_service.outbox FOR EACH ROW WHEN (NEW.account_id = 13)
    EXECUTE FUNCTION bad_luck();
SELECT throws_ok($$SELECT order_service.place_order(13, 'new', 'AAPL', 'BUY', 'MARKET', 1)$$, 'P0001',
    'bad luck with outbox',
    'an order whose event cannot be written is not placed');
SELECT is((SELECT (count(*) FILTER (WHERE account_id = 13), (SELECT count(*) FROM order_service.idempotency_key
    WHERE key = 'new'))::text FROM order_service.orders), '(2,0)', 'neither order nor key is stored');
DROP TRIGGER bad_luck ON order_service.outbox;
SELECT is((order_service.place_order(13, 'new', 'AAPL', 'BUY', 'MARKET', 1)).status, 'ACCEPTED',
    'without the cause it is placed');

SELECT * FROM finish();
ROLLBACK;
