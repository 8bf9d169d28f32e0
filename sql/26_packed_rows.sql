\unset ECHO
-- place_orders_packed(), receive_orders_packed(), settle_orders_packed(): the rows of the plain forms as one value.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(14);

-- The format, from the rows.
CREATE FUNCTION cell(value bytea) RETURNS bytea LANGUAGE sql AS $$
    SELECT coalesce(int4send(octet_length(value)) || value, '\xffffffff')
$$;
CREATE FUNCTION cell(value text) RETURNS bytea LANGUAGE sql AS $$
    SELECT cell(convert_to(value, 'UTF8') || '\x00')
$$;
CREATE FUNCTION cells(item int, code smallint, reason smallint, detail text, order_id bigint, status smallint,
                      replayed boolean, filled_quantity bigint, updated_at timestamptz) RETURNS bytea LANGUAGE sql AS $$
    SELECT cell(int4send(item)) || cell(int2send(code)) || cell(int2send(reason)) || cell(detail)
        || cell(int8send(order_id)) || cell(int2send(status)) || cell(boolsend(replayed))
        || cell(int8send(filled_quantity)) || cell(timestamptz_send(updated_at))
$$;
-- The number of rows, then the rows, each with its number of cells.
CREATE FUNCTION packed(rows bytea[], cells int) RETURNS bytea LANGUAGE sql AS $$
    SELECT int4send(cardinality(rows)) || coalesce(string_agg(int2send(cells::smallint) || r, '' ORDER BY n), '')
    FROM unnest(rows) WITH ORDINALITY AS u (r, n)
$$;

-- Received orders ---------------------------------------------------------------------------------------------
-- New, unknown, refused for a field, without one, and twice in the batch.

CREATE VIEW arguments AS
SELECT '{7,7,7,NULL,7}'::bigint[] AS accounts, '{a,b,c,d,a}'::text[] AS keys, '{AAPL,MSFT,AAPL,AAPL,AAPL}'::text[] AS symbols,
    '{1,1,1,1,1}'::smallint[] AS sides, '{1,1,1,1,1}'::smallint[] AS order_types, '{100,100,0,100,100}'::bigint[] AS quantities,
    '{150000000,150000000,150000000,150000000,150000000}'::bigint[] AS prices, '{0,0,0,0,0}'::smallint[] AS times;
CREATE FUNCTION received() RETURNS bytea LANGUAGE sql AS $$
    SELECT packed(array_agg(cells(item, code, reason, detail, order_id, status, replayed, filled_quantity, updated_at)
        || cell(reserve_id) || cell(currency) || cell(int8send(reserve_amount)) ORDER BY item), 12)
    FROM arguments, order_service.receive_orders(accounts, keys, symbols, sides, order_types, quantities, prices, times)
$$;
CREATE FUNCTION received_packed() RETURNS bytea LANGUAGE sql AS $$
    SELECT order_service.receive_orders_packed(accounts, keys, symbols, sides, order_types, quantities, prices, times)
    FROM arguments
$$;

CREATE TABLE first AS SELECT received_packed() AS value;
SELECT is((SELECT array_agg((order_id, account_id, symbol, quantity, status)::text) FROM order_service.orders),
    '{"(1,7,AAPL,100,0)"}', 'receive_orders_packed() records the good order');
SELECT is((SELECT substring(value FROM 1 FOR 26) FROM first),
    int4send(5) || int2send(12::smallint) || cell(int4send(1)) || cell(int2send(200::smallint))
        || cell(int2send(0::smallint)), 'its value begins with the number of rows, and the first row with its cells');
SELECT is((SELECT count(*) FROM order_service.receive_orders('{7}', '{a}', '{AAPL}', '{1}', '{1}', '{100}', '{150000000}', '{0}')
    WHERE reason = 34), 1::bigint, 'the order is in progress');
SELECT is(received_packed(), received(), 'repeated, both forms tell the same of every kind of item');

-- Settled orders ----------------------------------------------------------------------------------------------

CREATE FUNCTION settled(ids bigint[], reasons smallint[], holds smallint[]) RETURNS bytea LANGUAGE sql AS $$
    SELECT packed(array_agg(cells(item, code, reason, detail, order_id, status, replayed, filled_quantity, updated_at)
        ORDER BY item), 9)
    FROM order_service.settle_orders(ids, reasons, holds)
$$;
SELECT is((SELECT substring(order_service.settle_orders_packed('{1,2}', '{0,0}', '{1,1}') FROM 1 FOR 16)),
    int4send(2) || int2send(9::smallint) || cell(int4send(1)) || int2send(0::smallint),
    'settle_orders_packed() returns a row for each item');
SELECT is((SELECT (status, hold, order_version)::text FROM order_service.orders WHERE order_id = 1), '(1,1,1)',
    'and settles the order');
SELECT is(order_service.settle_orders_packed('{1,2,NULL,1}', '{0,0,0,20}', '{1,1,1,0}'),
    settled('{1,2,NULL,1}', '{0,0,0,20}', '{1,1,1,0}'), 'repeated, both forms tell the same of every kind of item');
SELECT is(received_packed(), received(), 'so do those of receiving, now that the order is accepted');

-- Placed orders -----------------------------------------------------------------------------------------------

CREATE FUNCTION placed() RETURNS bytea LANGUAGE sql AS $$
    SELECT packed(array_agg(cells(item, code, reason, detail, order_id, status, replayed, filled_quantity, updated_at)
        ORDER BY item), 9)
    FROM arguments, order_service.place_orders(accounts, ARRAY['p', 'q', 'r', 's', 'p'], symbols, sides, order_types,
        quantities, prices, times)
$$;
CREATE FUNCTION placed_packed() RETURNS bytea LANGUAGE sql AS $$
    SELECT order_service.place_orders_packed(accounts, ARRAY['p', 'q', 'r', 's', 'p'], symbols, sides, order_types,
        quantities, prices, times)
    FROM arguments
$$;
SELECT is((SELECT substring(placed_packed() FROM 1 FOR 16)), int4send(5) || int2send(9::smallint) || cell(int4send(1))
    || int2send(0::smallint), 'place_orders_packed() returns a row for each item');
SELECT is((SELECT (status, order_version)::text FROM order_service.orders WHERE order_id <> 1), '(1,1)',
    'and places the good order');
SELECT is(placed_packed(), placed(), 'repeated, both forms tell the same of every kind of item');

-- Nothing, and what is wrong ----------------------------------------------------------------------------------

SELECT is(order_service.receive_orders_packed('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'), int4send(0),
    'no orders are no rows');
SELECT is(order_service.settle_orders_packed('{}', '{}', '{}'), int4send(0), 'no settlements are no rows');
SELECT throws_ok($$SELECT order_service.settle_orders_packed('{1}', '{0,0}', '{1}')$$, 'OS400', NULL,
    'arrays of unequal length are refused');

SELECT * FROM finish();
ROLLBACK;
