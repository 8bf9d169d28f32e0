\unset ECHO
-- Where a symbol was found last is looked at first. Whatever became of the row and of its place since, the instrument
-- that counts is the one of the table as it is now.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(17);

-- Places one order for each symbol, at its own price; what became of them, by currency.
CREATE SEQUENCE run;
CREATE FUNCTION placed(symbols text[], price bigint DEFAULT 150000000) RETURNS text LANGUAGE sql AS $$
    WITH answers AS MATERIALIZED (
        SELECT p.*, s.symbol FROM nextval('run') AS r, unnest(symbols) WITH ORDINALITY AS s (symbol, n),
            order_service.place_orders(array_fill(7::bigint, ARRAY[cardinality(symbols)]),
                (SELECT array_agg(r || '-' || k) FROM generate_series(1, cardinality(symbols)) AS k), symbols,
                array_fill(1::smallint, ARRAY[cardinality(symbols)]),
                array_fill(1::smallint, ARRAY[cardinality(symbols)]),
                array_fill(10::bigint, ARRAY[cardinality(symbols)]),
                array_fill(price, ARRAY[cardinality(symbols)]),
                array_fill(0::smallint, ARRAY[cardinality(symbols)])) AS p
        WHERE p.item = s.n)
    SELECT string_agg(format('%s %s', count, code), ', ' ORDER BY code)
    FROM (SELECT code, count(*) FROM answers GROUP BY code) AS c
$$;
-- Orders whose currency is not that of their symbol.
CREATE FUNCTION mixed_up() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM order_service.orders o JOIN order_service.instrument i USING (symbol)
    WHERE o.currency <> i.currency AND o.symbol LIKE 'S-%'
$$;

-- One symbol --------------------------------------------------------------------------------------------------

SELECT is(placed('{AAPL}'), '1 200', 'a symbol is found');
UPDATE order_service.instrument SET halted = true WHERE symbol = 'AAPL';
SELECT is(placed('{AAPL}'), '1 409', 'halted, it is found halted');
UPDATE order_service.instrument SET halted = false, price_ceiling = 140000000 WHERE symbol = 'AAPL';
SELECT is(placed('{AAPL}'), '1 400', 'with another ceiling, that one counts');
SAVEPOINT before;
UPDATE order_service.instrument SET price_ceiling = 200000000 WHERE symbol = 'AAPL';
SELECT is(placed('{AAPL}'), '1 200', 'so does a change that is not committed');
ROLLBACK TO before;
SELECT is(placed('{AAPL}'), '1 400', 'until it is rolled back');
DELETE FROM order_service.instrument WHERE symbol = 'AAPL';
SELECT is(placed('{AAPL}'), '1 404', 'deleted, it is not found');
INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)
VALUES ('AAPL', 'EUR', 10000, 100000000, 200000000);
SELECT is(placed('{AAPL}'), '1 200', 'made again, it is');
SELECT is((SELECT currency FROM order_service.orders ORDER BY order_id DESC LIMIT 1), 'EUR', 'as it is now');

-- More symbols than places ------------------------------------------------------------------------------------

CREATE TABLE symbols AS SELECT 'S-' || n AS symbol, 'C' || chr(65 + n % 26) || chr(65 + n / 26 % 26) AS currency, n
FROM generate_series(1, 6000) AS n;
CREATE FUNCTION insert_all(direction integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)
    SELECT symbol, currency, 10000, 100000000, 200000000 FROM symbols ORDER BY n * direction
$$;
CREATE FUNCTION place_all() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(DISTINCT placed(ARRAY(SELECT symbol FROM symbols WHERE n / 500 = batch AND n % 500 > 0)), '; ')
    FROM generate_series(0, 11) AS batch
$$;
SELECT insert_all(1) IS NOT NULL AS done \gset
SELECT is(place_all(), '499 200', 'all of 6,000 are found');
SELECT is(place_all(), '499 200', 'and again');
SELECT is(mixed_up(), 0::bigint, 'each as itself');

-- Other rows at the places ------------------------------------------------------------------------------------

CLUSTER order_service.instrument USING instrument_pkey;
SELECT is(place_all(), '499 200', 'all are found when the table was rewritten in another order');
DELETE FROM order_service.instrument;
SELECT is(place_all(), '499 404', 'none when all were deleted');
SELECT insert_all(-1) IS NOT NULL AS done \gset
SELECT is(place_all(), '499 200', 'all when they were inserted the other way round');
SELECT is(mixed_up(), 0::bigint, 'each as itself');
TRUNCATE order_service.instrument;
INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)
VALUES ('S-5999', 'KRW', 10000, 100000000, 200000000);
SELECT is(placed('{S-1,S-5998,S-5999}'), '1 200, 2 404', 'the table may have shrunk to one page');
SELECT is((SELECT currency FROM order_service.orders ORDER BY order_id DESC LIMIT 1), 'KRW', 'with the one row it has');

SELECT * FROM finish();
ROLLBACK;
