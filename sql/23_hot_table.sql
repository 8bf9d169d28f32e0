\unset ECHO
-- orders and outbox are written without the executor. What a user adds to them works as it does for statements.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(22);

-- One order of each account, each to be settled.
CREATE FUNCTION receive(accounts bigint[], run text) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(r.order_id ORDER BY r.item)
    FROM (SELECT array_agg(a) accounts, array_agg(run || a) keys, array_agg('AAPL'::text) symbols,
              array_agg(1::smallint) ones, array_agg(10::bigint) tens, array_agg(150000000::bigint) prices,
              array_agg(0::smallint) zeros
          FROM unnest(accounts) a) AS b,
        order_service.receive_orders(b.accounts, keys, symbols, ones, ones, tens, prices, zeros) r
$$;
CREATE FUNCTION settle(ids bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(DISTINCT code::text, ',')
    FROM order_service.settle_orders(ids, array_fill(0::smallint, ARRAY[cardinality(ids)]),
        array_fill(1::smallint, ARRAY[cardinality(ids)]))
$$;

-- Triggers ----------------------------------------------------------------------------------------------------

CREATE TABLE audit (n serial, note text);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit (note) VALUES (format('%s %s %s: %s to %s', TG_WHEN, TG_OP, NEW.account_id,
        CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status));
    RETURN NEW;
END
$$;
CREATE FUNCTION note_command() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit (note) VALUES (format('%s %s, %s orders', TG_WHEN, TG_OP,
        (SELECT count(*) FROM order_service.orders)));
    RETURN NULL;
END
$$;
CREATE TRIGGER row_before BEFORE INSERT OR UPDATE ON order_service.orders FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE TRIGGER row_after AFTER INSERT OR UPDATE ON order_service.orders FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE TRIGGER command_before BEFORE INSERT OR UPDATE ON order_service.orders EXECUTE FUNCTION note_command();
CREATE TRIGGER command_after AFTER INSERT OR UPDATE ON order_service.orders EXECUTE FUNCTION note_command();
CREATE FUNCTION audited() RETURNS text LANGUAGE sql AS $$
    WITH noted AS (DELETE FROM audit RETURNING *) SELECT string_agg(note, '; ' ORDER BY n) FROM noted
$$;

CREATE TABLE received AS SELECT receive('{7,8}', 'triggers') AS ids;
SELECT is(audited(), 'BEFORE INSERT, 0 orders; BEFORE INSERT 7:  to 0; BEFORE INSERT 8:  to 0; '
    'AFTER INSERT 7:  to 0; AFTER INSERT 8:  to 0; AFTER INSERT, 2 orders', 'all triggers fire for an insert, in order');
SELECT is((SELECT settle(ids) FROM received), '200', 'the orders are settled');
SELECT is(audited(), 'BEFORE UPDATE, 2 orders; BEFORE UPDATE 7: 0 to 1; BEFORE UPDATE 8: 0 to 1; '
    'AFTER UPDATE 7: 0 to 1; AFTER UPDATE 8: 0 to 1; AFTER UPDATE, 2 orders', 'and for an update');
SELECT is((SELECT string_agg(state(id), '; ') FROM received, unnest(ids) id),
    'ACCEPTED 0/10, hold HELD, version 1, code 200; ACCEPTED 0/10, hold HELD, version 1, code 200',
    'what they let through is written');
SELECT is((SELECT string_agg(events(id), '; ') FROM received, unnest(ids) id), '1 ORDER_ACCEPTED; 1 ORDER_ACCEPTED',
    'with its events');

CREATE FUNCTION round_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.reserve_amount := 42;
    RETURN NEW;
END
$$;
CREATE TRIGGER round_up BEFORE INSERT ON order_service.orders FOR EACH ROW EXECUTE FUNCTION round_up();
SELECT receive('{9}', 'changed') \g /dev/null
SELECT is((SELECT reserve_amount FROM order_service.orders WHERE account_id = 9), 42::bigint,
    'a trigger may change a row');
DROP TRIGGER round_up ON order_service.orders;
DROP TRIGGER row_before ON order_service.orders;
DROP TRIGGER row_after ON order_service.orders;
DROP TRIGGER command_before ON order_service.orders;
DROP TRIGGER command_after ON order_service.orders;

-- Constraints and indexes -------------------------------------------------------------------------------------

ALTER TABLE order_service.orders ADD CONSTRAINT modest CHECK (account_id <> 13);
SELECT is((raised($$SELECT receive('{12,13}', 'check')$$))[:2],
    ARRAY['23514', 'new row for relation "orders" violates check constraint "modest"'], 'a CHECK holds');
ALTER TABLE order_service.orders DROP CONSTRAINT modest;

CREATE UNIQUE INDEX one_each ON order_service.orders ((account_id * 2)) WHERE account_id > 100;
SELECT is((raised($$SELECT receive('{101,101}', 'unique')$$))[:2], ARRAY['nothing raised'],
    'the items of one key are one order');
SELECT is((raised($$SELECT receive('{101}', 'unique again')$$))[:2],
    ARRAY['23505', 'duplicate key value violates unique constraint "one_each"'],
    'a unique index on an expression, for some rows, holds');
DROP INDEX order_service.one_each;

CREATE INDEX by_status ON order_service.orders (status);
SET LOCAL enable_seqscan = off;
SELECT is((SELECT settle(receive('{201,202,203}', 'index'))), '200', 'with an index on what changes, orders are settled');
SELECT is((SELECT count(*) FROM order_service.orders WHERE status = 1 AND account_id > 200), 3::bigint,
    'and the index finds them');
RESET enable_seqscan;
DROP INDEX order_service.by_status;

CREATE TABLE mine (order_id bigint REFERENCES order_service.orders ON DELETE CASCADE);
INSERT INTO mine SELECT unnest(receive('{301}', 'foreign'));
SELECT is((SELECT settle(array_agg(order_id)) FROM mine), '200', 'orders that a foreign key refers to are settled');

-- Columns -----------------------------------------------------------------------------------------------------

ALTER TABLE order_service.orders ADD COLUMN mine text;
SELECT raises($$SELECT receive('{401}', 'column')$$, '55000', '"order_service.orders" has 21 columns where 20 are known',
    '', 'Columns of this table cannot be added or dropped.', 'a column more is refused');
ALTER TABLE order_service.orders DROP COLUMN mine;
SELECT is((SELECT settle(receive('{401}', 'column'))), '200', 'when it is dropped, orders are settled again');
ALTER TABLE order_service.orders RENAME COLUMN hold TO held;
SELECT raises($$SELECT receive('{402}', 'renamed')$$, '42703', 'column "hold" of "order_service.orders" does not exist',
    '', '', 'a column with another name is missed');
ALTER TABLE order_service.orders RENAME COLUMN held TO hold;

-- Rows of a batch side by side, near, far away, and not there ---------------------------------------------------

CREATE TABLE many AS SELECT id, row_number() OVER (ORDER BY id) AS n
FROM unnest(receive(ARRAY(SELECT generate_series(2001, 2700)), 'many')) AS id;
DELETE FROM order_service.orders WHERE order_id IN (SELECT id FROM many WHERE n IN (4, 30) OR n BETWEEN 301 AND 580);
CREATE TABLE wanted AS SELECT id, n FROM many
WHERE n IN (1, 2, 3, 4, 5, 20, 21, 22, 30, 39, 300, 301, 302, 579, 580, 581, 690, 700);
SELECT is((SELECT settle(array_agg(id ORDER BY random())) FROM wanted), '200,404', 'orders here and there are settled');
SELECT is((SELECT settle(array_agg(id + 100000)) FROM many), '404', 'orders behind the last one are not there');
SELECT set_eq($$SELECT n FROM many JOIN order_service.orders o ON o.order_id = id WHERE o.status = 1$$,
    $$SELECT n FROM wanted WHERE n NOT IN (4, 30, 301, 302, 579, 580)$$, 'exactly those that are there');

-- Repetitions -------------------------------------------------------------------------------------------------

SELECT receive('{70}', 'again') IS NOT NULL AS received \gset
CREATE TABLE size AS SELECT pg_relation_size('order_service.idempotency_key') AS bytes;
SELECT is((SELECT count(*) FROM generate_series(1, 500) n WHERE cardinality(receive('{70}', 'again')) = 1), 500::bigint,
    'a request is repeated 500 times');
SELECT is(pg_relation_size('order_service.idempotency_key'), (SELECT bytes FROM size),
    'its key is not written each time');

-- A transaction that may not write ----------------------------------------------------------------------------

CREATE TABLE last_order AS SELECT receive('{501}', 'read only') AS ids;
SET LOCAL transaction_read_only = on;
SELECT is((raised('SELECT settle(ids) FROM last_order'))[:2],
    ARRAY['25006', 'cannot execute SELECT FOR UPDATE in a read-only transaction'], 'nothing is locked');
SELECT is((raised($$SELECT receive('{501}', 'another')$$))[1], '25006', 'and nothing is written');

SELECT * FROM finish();
ROLLBACK;
