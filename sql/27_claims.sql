\unset ECHO
-- The keys of a call are written together; those in use are taken back. How many, the counts of the table tell.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(40);

-- Places an order under each key, all of an account: how many were new, and how many repeated.
CREATE FUNCTION place(account bigint, keys text[]) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s new, %s repeated', count(*) FILTER (WHERE code = 200 AND NOT replayed),
        count(*) FILTER (WHERE code = 200 AND replayed))
    FROM (SELECT array_agg(account) accounts, array_agg('AAPL'::text) symbols, array_agg(1::smallint) ones,
              array_agg(10::bigint) tens, array_agg(150000000::bigint) prices, array_agg(0::smallint) zeros
          FROM unnest(keys)) AS b,
        order_service.place_orders(accounts, keys, symbols, ones, ones, tens, prices, zeros)
$$;
CREATE FUNCTION keys(first int, last int, prefix text DEFAULT 'k') RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(format('%s%s', prefix, to_char(n, 'FM00000'))) FROM generate_series(first, last) n
$$;
-- So many new keys later, none is looked for before it is written.
CREATE FUNCTION forget(run text) RETURNS text LANGUAGE sql AS $$ SELECT place(99, keys(1, 1000, run)) $$;
-- Rows of keys that were taken back since the last call.
CREATE TABLE counted (taken_back bigint);
INSERT INTO counted VALUES (0);
CREATE FUNCTION taken_back() RETURNS bigint LANGUAGE sql AS $$
    WITH known AS (SELECT taken_back FROM counted),
        fresh AS (UPDATE counted SET taken_back =
            pg_stat_get_xact_tuples_deleted('order_service.idempotency_key'::regclass) RETURNING taken_back)
    SELECT f.taken_back - k.taken_back FROM known k, fresh f
$$;
-- Each key stands for one order, and each order has one key.
CREATE FUNCTION sound() RETURNS boolean LANGUAGE sql AS $$
    SELECT count(*) = count(k.order_id) AND count(*) = count(o.order_id)
        AND count(*) = count(DISTINCT (k.account_id, k.key COLLATE "C"))
    FROM order_service.idempotency_key k FULL JOIN order_service.orders o USING (order_id, account_id)
$$;

-- Repetitions -------------------------------------------------------------------------------------------------

SELECT is(place(7, keys(1, 200)), '200 new, 0 repeated', '200 keys are new');
SELECT is(taken_back(), 0::bigint, 'none is taken back');
CREATE TABLE first_time AS SELECT key, order_id FROM order_service.idempotency_key;
SELECT is(place(7, keys(1, 200)), '0 new, 200 repeated', 'all are repeated');
SELECT is(taken_back(), 64::bigint, 'as many rows as are written together are taken back');
SELECT is(place(7, keys(1, 200)) || place(7, keys(1, 200)) || place(7, keys(1, 200)),
    '0 new, 200 repeated0 new, 200 repeated0 new, 200 repeated', 'they are repeated again and again');
SELECT is(taken_back(), 0::bigint, 'and no row is written any more');
SELECT set_eq('SELECT key, order_id FROM order_service.idempotency_key', 'SELECT key, order_id FROM first_time',
    'each key stands for its order');
SELECT is(forget('a'), '1000 new, 0 repeated', 'a thousand new keys later');
SELECT is(place(7, keys(1, 64)), '0 new, 64 repeated', '64 are repeated');
SELECT is(taken_back(), 64::bigint, 'and taken back once more');

SELECT forget('b') \g /dev/null
SELECT is(place(7, keys(101, 300)), '100 new, 100 repeated', 'the lower half is repeated');
SELECT is(taken_back(), 64::bigint, 'rows that were there are taken back, of those that were written together');
SELECT forget('c') \g /dev/null
SELECT is(place(7, keys(201, 400)), '100 new, 100 repeated', 'the lower half once more');
SELECT forget('d') \g /dev/null
SELECT taken_back() \g /dev/null
SELECT is(place(7, ARRAY(SELECT k FROM unnest(keys(301, 364) || keys(301, 364, 'm')) k ORDER BY right(k, 5), k)),
    '64 new, 64 repeated', 'of the keys of a call, in any order, half are repeated');
SELECT is(place(7, ARRAY(SELECT format('k%s%s', to_char(n, 'FM00000'), x)
        FROM generate_series(1, 50) n, unnest('{"",x}'::text[]) x)), '50 new, 50 repeated', 'or every other one');
SELECT forget('e') \g /dev/null
SELECT taken_back() \g /dev/null
SELECT is(place(7, keys(1001, 1063) || '{k00001}'), '63 new, 1 repeated', 'or only one of them');
SELECT is(taken_back(), 1::bigint, 'which alone is taken back');
SELECT forget('f') \g /dev/null
SELECT is(place(7, ARRAY(SELECT k FROM unnest(keys(2001, 2010) || keys(2001, 2010) || keys(2001, 2010)) k)),
    '10 new, 20 repeated', 'keys that are repeated within a call');
SELECT is(taken_back(), 0::bigint, 'are written once');
SELECT ok(sound(), 'each key has one order');

-- Keys past their retention -----------------------------------------------------------------------------------

UPDATE order_service.idempotency_key SET created_at = created_at - interval '1 year' WHERE key BETWEEN 'k00011' AND 'k00020';
SELECT forget('g') \g /dev/null
SELECT is(place(7, keys(1, 40)), '10 new, 30 repeated', 'keys past their retention are taken over');
SELECT is((SELECT count(*) FROM order_service.idempotency_key k JOIN first_time f USING (key)
           WHERE k.order_id <> f.order_id AND k.created_at = now()), 10::bigint, 'and stand for new orders');
SELECT is(place(7, keys(1, 40)), '0 new, 40 repeated', 'which are then repeated');
DELETE FROM order_service.orders o USING first_time f WHERE o.order_id = f.order_id AND f.key BETWEEN 'k00011' AND 'k00020';

-- What takes a call back --------------------------------------------------------------------------------------

SELECT forget('h') \g /dev/null
CREATE TABLE before AS SELECT stored() AS stored;
SAVEPOINT s;
SELECT is(place(7, keys(91, 110) || keys(3001, 3020)), '20 new, 20 repeated', 'after a savepoint, some are new');
ROLLBACK TO s;
SELECT is(stored(), (SELECT stored FROM before), 'which goes back with everything');
SELECT is(place(7, keys(3001, 3020)), '20 new, 0 repeated', 'so that all are new');

ALTER TABLE order_service.idempotency_key ADD CONSTRAINT modest CHECK (key <> 'k04050');
DELETE FROM before;
SELECT forget('i') \g /dev/null
INSERT INTO before SELECT stored();
SELECT is((raised($$SELECT place(7, keys(4001, 4100))$$))[:2], ARRAY['23514',
    'new row for relation "idempotency_key" violates check constraint "modest"'], 'a CHECK holds');
SELECT is(stored(), (SELECT stored FROM before), 'and nothing is stored');
ALTER TABLE order_service.idempotency_key DROP CONSTRAINT modest;

-- Further indexes and triggers --------------------------------------------------------------------------------

CREATE INDEX by_order ON order_service.idempotency_key (order_id);
SELECT is(place(7, keys(2990, 3030)), '21 new, 20 repeated', 'with a further index, keys are placed and repeated');
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM order_service.orders o JOIN order_service.idempotency_key k USING (order_id)
           WHERE k.account_id = 7), (SELECT count(*) FROM order_service.orders WHERE account_id = 7),
    'which has each key once');
RESET enable_seqscan;
DROP INDEX order_service.by_order;

CREATE UNIQUE INDEX mine ON order_service.idempotency_key ((account_id * 2)) WHERE account_id > 100;
SELECT is((raised($$SELECT place(101, '{x,y}')$$))[:2],
    ARRAY['23505', 'duplicate key value violates unique constraint "mine"'], 'a further unique index holds');
SELECT is(place(102, '{z}'), '1 new, 0 repeated', 'and what it admits is placed');
DROP INDEX order_service.mine;

-- Where others could meet a row elsewhere than at its key, rows are written one by one: the first repetition tells.
CREATE UNIQUE INDEX mine ON order_service.idempotency_key (order_id);
SELECT forget('j') \g /dev/null
SELECT taken_back() \g /dev/null
SELECT is(place(7, keys(1, 40)), '0 new, 40 repeated', 'with a further unique index, keys are repeated');
SELECT is(taken_back(), 1::bigint, 'and are written one by one');
DROP INDEX order_service.mine;
ALTER TABLE order_service.idempotency_key ADD CONSTRAINT mine EXCLUDE (order_id WITH =);
SELECT forget('l') \g /dev/null
SELECT taken_back() \g /dev/null
SELECT is(place(7, keys(1, 40)), '0 new, 40 repeated', 'so they are with an exclusion constraint');
SELECT is(taken_back(), 1::bigint, 'one by one, too');
ALTER TABLE order_service.idempotency_key DROP CONSTRAINT mine;

CREATE TABLE noted (key text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.noted VALUES (NEW.key);
    RETURN NEW;
END
$$;
CREATE TRIGGER note AFTER INSERT ON order_service.idempotency_key FOR EACH ROW EXECUTE FUNCTION note();
SELECT forget('n') \g /dev/null
DELETE FROM noted;
SELECT is(place(7, keys(5001, 5010)) || ', ' || place(7, keys(5001, 5020)), '10 new, 0 repeated, 10 new, 10 repeated',
    'with a trigger, keys are placed and repeated');
SELECT set_eq('SELECT key FROM noted', 'SELECT unnest(keys(5001, 5020))', 'it fires for new ones');
SELECT is((SELECT count(*) FROM noted), 20::bigint, 'once for each');
DROP TRIGGER note ON order_service.idempotency_key;
SELECT ok(sound(), 'each key has one order');

SELECT * FROM finish();
ROLLBACK;
