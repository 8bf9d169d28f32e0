\unset ECHO
-- place_order(): every refusal, with SQLSTATE, message, detail and hint; nothing is stored and the key stays unused.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(152);

-- Each case is a request that is right but for what its name says, as SQL literals.
CREATE TABLE cases (
    n serial, name text, account_id text DEFAULT '7', key text, symbol text DEFAULT '''AAPL''',
    side text DEFAULT '''BUY''', order_type text DEFAULT '''LIMIT''', quantity text DEFAULT '100',
    price text DEFAULT '150000000', time_in_force text DEFAULT '''DAY''',
    code text DEFAULT 'OS400', message text, detail text DEFAULT '', hint text DEFAULT '');

INSERT INTO cases (name, account_id, message, detail)
SELECT 'account id ' || id, id, 'account id is not valid', format('Account id %s is not positive.', id)
FROM unnest(ARRAY['0', '-1', '-9223372036854775808']) AS id;
INSERT INTO cases (name, key, message, detail)
SELECT name, key, 'idempotency key is not valid', 'A key has 1 to 128 printable ASCII characters.'
FROM (VALUES
    ('an empty key', ''''''), ('a key of 129 characters', 'repeat(''k'', 129)'),
    ('a key of a megabyte', 'repeat(''k'', 1000000)'),
    ('a key with a newline', 'E''a\nb'''), ('a key with a tab', 'E''a\tb'''), ('a key with DEL', 'E''a\x7f'''),
    ('a key with the character 1', 'E''\x01'''), ('a key that is not ASCII', '''schl' || chr(252) || 'ssel'''),
    ('a key of 43 three-byte characters', 'repeat(chr(8364), 43)')) AS k (name, key);
INSERT INTO cases (name, symbol, message, detail)
SELECT name, symbol, 'symbol is not valid', 'A symbol has 1 to 32 of the characters A-Z 0-9 . _ -'
FROM (VALUES
    ('an empty symbol', ''''''), ('a symbol of 33 characters', 'repeat(''A'', 33)'),
    ('a symbol in lower case', '''aapl'''), ('a symbol with a space', '''AA PL'''),
    ('a symbol with a trailing space', '''AAPL '''), ('a symbol with a percent sign', '''AAPL%s'''),
    ('a symbol that is not ASCII', '''AAPL' || chr(196) || ''''), ('a symbol of a megabyte', 'repeat(''A'', 1000000)'))
    AS s (name, symbol);
INSERT INTO cases (name, side, message, detail)
SELECT 'side ' || side, side, 'side is not valid', 'Side is BUY (1) or SELL (2).'
FROM unnest(ARRAY['''buy''', '''HOLD''', '''''', '''1''', '''BUY ''', '''UNKNOWN''']) AS side;
INSERT INTO cases (name, order_type, message, detail)
SELECT 'order type ' || order_type, order_type, 'order type is not valid', 'Order type is MARKET (0) or LIMIT (1).'
FROM unnest(ARRAY['''limit''', '''STOP''', '''''', '''0''']) AS order_type;
INSERT INTO cases (name, time_in_force, message, detail)
SELECT 'time in force ' || time_in_force, time_in_force, 'time in force is not valid',
    'Time in force is DAY (0), GTC (1), IOC (2) or FOK (3).'
FROM unnest(ARRAY['''day''', '''GTD''', '''''', '''3''']) AS time_in_force;
INSERT INTO cases (name, quantity, message, detail)
SELECT 'quantity ' || quantity, quantity, 'quantity is not valid', format('Quantity %s is not positive.', quantity)
FROM unnest(ARRAY['0', '-1', '-9223372036854775808']) AS quantity;
INSERT INTO cases (name, order_type, price, message, detail, hint)
SELECT format('%s at price %s', order_type, price), quote_literal(order_type), price, 'price is not valid',
    format('Price %s is not %s.', price, wanted), 'Prices are in micro-units: 1000000 is 1.0.'
FROM (VALUES
    ('LIMIT', '0', 'positive, as LIMIT requires'), ('LIMIT', '-150000000', 'positive, as LIMIT requires'),
    ('LIMIT', '-9223372036854775808', 'positive, as LIMIT requires'),
    ('MARKET', '1', '0, as MARKET requires'), ('MARKET', '-1', '0, as MARKET requires'),
    ('MARKET', '150000000', '0, as MARKET requires')) AS p (order_type, price, wanted);
INSERT INTO cases (name, symbol, code, message, detail)
VALUES ('an unknown symbol', '''MSFT''', 'OS404', 'symbol does not exist', 'Symbol is "MSFT".'),
    ('the first letters of a symbol', '''AAP''', 'OS404', 'symbol does not exist', 'Symbol is "AAP".'),
    ('a symbol and one letter more', '''AAPLE''', 'OS404', 'symbol does not exist', 'Symbol is "AAPLE".'),
    ('an unknown symbol of 32 characters', '''' || repeat('Z', 32) || '''', 'OS404', 'symbol does not exist',
        format('Symbol is "%s".', repeat('Z', 32)));
INSERT INTO cases (name, symbol, code, message, detail, hint)
VALUES ('a halted symbol', '''HALT''', 'OS409', 'trading in the symbol is halted', 'Symbol is "HALT".',
    'Repeat the request with the same key when trading resumes.');
INSERT INTO cases (name, symbol, order_type, quantity, price, message, detail)
SELECT format('%s of %s %s', order_type, quantity, symbol), quote_literal(symbol), quote_literal(order_type), quantity,
    price, 'quantity is not a multiple of the lot', format('Quantity %s is not a multiple of the lot 100.', quantity)
FROM (VALUES ('LOTS', 'LIMIT', '150', '150000000'), ('LOTS', 'LIMIT', '1', '150000000'), ('LOTS', 'MARKET', '199', '0'))
    AS q (symbol, order_type, quantity, price);
INSERT INTO cases (name, price, message, detail)
SELECT 'price ' || price, price, 'price is outside the limits of the day',
    format('Price %s is not within 100000000 to 200000000.', price)
FROM unnest(ARRAY['99990000', '99999999', '1', '200010000', '200000001', '9223372036854775807']) AS price;
INSERT INTO cases (name, price, message, detail)
SELECT 'price ' || price, price, 'price is not a multiple of the tick',
    format('Price %s is not a multiple of the tick 10000.', price)
FROM unnest(ARRAY['150000001', '150005000', '100009999']) AS price;
INSERT INTO cases (name, side, symbol, order_type, quantity, price, message, detail)
SELECT format('%s %s of %s at %s', side, order_type, quantity, price), quote_literal(side), '''WIDE''',
    quote_literal(order_type), quantity, price, 'quantity times price is too large',
    format('Quantity %s times price %s micro-units exceeds the range of a 64-bit integer.', quantity,
        CASE price WHEN '0' THEN '9223372036854775807' ELSE price END)
FROM (VALUES
    ('BUY', 'LIMIT', '9223372036854775807', '2'), ('BUY', 'LIMIT', '2', '4611686018427387904'),
    ('SELL', 'LIMIT', '9223372036854775807', '9223372036854775807'), ('BUY', 'LIMIT', '3037000500', '3037000500'),
    ('BUY', 'MARKET', '2', '0'), ('SELL', 'MARKET', '9223372036854775807', '0'))
    AS o (side, order_type, quantity, price);

-- Every argument may be forgotten.
INSERT INTO cases (name, message, detail)
SELECT 'NULL for ' || argument, 'a required field is missing',
    format('Field "%s" is null.', CASE argument WHEN 'key' THEN 'idempotency_key' ELSE argument END)
FROM unnest(ARRAY['account_id', 'key', 'symbol', 'side', 'order_type', 'quantity', 'price', 'time_in_force'])
    AS argument;
UPDATE cases SET account_id = 'NULL' WHERE name = 'NULL for account_id';
UPDATE cases SET key = 'NULL' WHERE name = 'NULL for key';
UPDATE cases SET symbol = 'NULL' WHERE name = 'NULL for symbol';
UPDATE cases SET side = 'NULL' WHERE name = 'NULL for side';
UPDATE cases SET order_type = 'NULL' WHERE name = 'NULL for order_type';
UPDATE cases SET quantity = 'NULL' WHERE name = 'NULL for quantity';
UPDATE cases SET price = 'NULL' WHERE name = 'NULL for price';
UPDATE cases SET time_in_force = 'NULL' WHERE name = 'NULL for time_in_force';

-- Several faults at once: the first in the order of the fields is reported.
INSERT INTO cases (name, account_id, key, symbol, side, order_type, quantity, price, time_in_force, message, detail,
    hint)
VALUES
    ('everything wrong', '0', '''''', '''''', '''''', '''''', '0', '-1', '''''', 'account id is not valid',
        'Account id 0 is not positive.', ''),
    ('everything but the account wrong', '7', '''''', '''''', '''''', '''''', '0', '-1', '''''',
        'idempotency key is not valid', 'A key has 1 to 128 printable ASCII characters.', ''),
    ('everything from the symbol on wrong', '7', '''k''', '''''', '''''', '''''', '0', '-1', '''''',
        'symbol is not valid', 'A symbol has 1 to 32 of the characters A-Z 0-9 . _ -', ''),
    ('everything from the side on wrong', '7', '''k''', '''AAPL''', '''''', '''''', '0', '-1', '''''',
        'side is not valid', 'Side is BUY (1) or SELL (2).', ''),
    ('everything from the order type on wrong', '7', '''k''', '''AAPL''', '''BUY''', '''''', '0', '-1', '''''',
        'order type is not valid', 'Order type is MARKET (0) or LIMIT (1).', ''),
    ('everything from the quantity on wrong', '7', '''k''', '''AAPL''', '''BUY''', '''LIMIT''', '0', '-1', '''''',
        'quantity is not valid', 'Quantity 0 is not positive.', ''),
    ('price and time in force wrong', '7', '''k''', '''AAPL''', '''BUY''', '''LIMIT''', '1', '-1', '''''',
        'price is not valid', 'Price -1 is not positive, as LIMIT requires.',
        'Prices are in micro-units: 1000000 is 1.0.'),
    ('a fault of the request and an unknown symbol', '7', '''k''', '''MSFT''', '''BUY''', '''LIMIT''', '1', '1', '''''',
        'time in force is not valid', 'Time in force is DAY (0), GTC (1), IOC (2) or FOK (3).', '');
UPDATE cases SET key = quote_literal('key ' || n) WHERE key IS NULL;

CREATE TABLE before AS SELECT stored() AS stored;
SELECT raises(format('SELECT * FROM order_service.place_order(%s, %s, %s, %s, %s, %s, %s, %s)', account_id, key,
        symbol, side, order_type, quantity, price, time_in_force),
    code, message, detail, hint, name || ' is refused')
FROM cases ORDER BY n;
SELECT is(stored(), (SELECT stored FROM before), 'nothing was stored for any of them');
SELECT is((SELECT is_called FROM order_service.order_id_seq), false, 'no order id was spent on any of them');

-- The same key places an order afterwards.
SELECT is((SELECT (replayed, status)::text
           FROM order_service.place_order(7, 'key ' || n, 'AAPL', 'BUY', 'LIMIT', 100, 150000000)),
    '(f,ACCEPTED)', 'the key is unused after ' || name)
FROM cases WHERE key = quote_literal('key ' || n) AND account_id = '7' ORDER BY n;

SELECT is((SELECT array_agg(DISTINCT message ORDER BY message) FROM cases),
    (SELECT array_agg(message ORDER BY message)
     FROM (SELECT order_service.reason_message(n::smallint) FROM generate_series(1, 31) n
           WHERE n NOT BETWEEN 14 AND 29) AS m (message) WHERE message IS NOT NULL),
    'every reason that can refuse a new order was given');

-- The keys that are just valid
SELECT is((SELECT (replayed, status)::text FROM order_service.place_order(8, key, 'AAPL', 'BUY', 'MARKET', 1)),
    '(f,ACCEPTED)', name || ' is accepted')
FROM (VALUES ('a key of 1 character', '!'), ('a key of 128 characters', repeat('k', 128)), ('a key of one space', ' '),
    ('a key of all printable characters', (SELECT string_agg(chr(c), '' ORDER BY c) FROM generate_series(32, 126) c)))
    AS k (name, key);

-- Wrong types never reach the function
SELECT is((raised(statement))[1:2], ARRAY[code, message], name)
FROM (VALUES
    ($$SELECT order_service.place_order(7, 'k', 'AAPL', 'BUY', 'LIMIT', 9223372036854775808, 1)$$, '42883',
     'function order_service.place_order(integer, unknown, unknown, unknown, unknown, numeric, integer) does not exist',
     'a quantity beyond 64 bits is of another type'),
    ($$SELECT order_service.place_order(7, 'k', 'AAPL', 'BUY', 'LIMIT', 1.5, 150000000)$$, '42883',
     'function order_service.place_order(integer, unknown, unknown, unknown, unknown, numeric, integer) does not exist',
     'a fraction is no quantity'),
    ($$SELECT order_service.place_order(7, 'k', 'AAPL', 'BUY', 'LIMIT', 'many', 150000000)$$, '22P02',
     'invalid input syntax for type bigint: "many"', 'a word is no quantity')) AS t (statement, code, message, name);

SELECT * FROM finish();
ROLLBACK;
