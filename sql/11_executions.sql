\unset ECHO
-- apply_execution(): the life of an order at the exchange, repetitions, every refusal. Which report may come in which
-- state is tested with the state table.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(78);

-- A whole life ------------------------------------------------------------------------------------------------

SELECT held_order(7, 'life') AS life, held_order(7, 'other') AS other, received_order(7, 'waiting') AS waiting \gset
SELECT is((SELECT (order_id, status, code, reason, replayed, filled_quantity, updated_at = now())::text
           FROM order_service.apply_execution('e1', :life, 'NEW')), format('(%s,SENT,200,,f,0,t)', :life),
    'the exchange confirms the order');
SELECT is((SELECT (execution_id, order_id, execution_type, last_quantity, last_price, created_at = now())::text
           FROM order_service.execution), format('(e1,%s,0,0,0,t)', :life), 'the report is recorded');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('e2', :life, 'TRADE', 30, 149000000)),
    '(PARTIALLY_FILLED,30)', 'it fills a part');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('e3', :life, 'TRADE', 1, 1)),
    '(PARTIALLY_FILLED,31)', 'and another, at any price');
SELECT is((order_service.cancel_order(7, 'c', :life)).status, 'CANCEL_REQUESTED', 'the owner asks for a cancel');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('e4', :life, 'TRADE', 9, 150000000)),
    '(CANCEL_REQUESTED,40)', 'it trades on while the cancel is pending');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('e5', :life, 'CANCEL_REJECTED')),
    '(PARTIALLY_FILLED,40)', 'the exchange refuses the cancel');
SELECT is((order_service.cancel_order(7, 'c again', :life)).status, 'CANCEL_REQUESTED', 'the owner asks again');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('e6', :life, 'TRADE', p_last_price => 150000000, p_last_quantity => 60)),
    '(FILLED,100)', 'a race: it is filled meanwhile');
SELECT is(state(:life), 'FILLED 100/100, hold RELEASE_DUE, version 9, code 200', 'the order is complete');
SELECT is(events(:life), '1 ORDER_ACCEPTED, 2 ORDER_SENT, 3 ORDER_PARTIALLY_FILLED, 4 ORDER_PARTIALLY_FILLED, '
    '5 ORDER_CANCEL_REQUESTED, 6 ORDER_PARTIALLY_FILLED, 7 ORDER_CANCEL_REJECTED, 8 ORDER_CANCEL_REQUESTED, '
    '9 ORDER_FILLED', 'nine events tell of it');
SELECT is((SELECT (due_at = now(), attempts)::text FROM order_service.hold_debt WHERE order_id = :life), '(t,0)',
    'what is left of the hold is due to be released at once');
SELECT is((SELECT (sum(last_quantity), sum(last_quantity * last_price))::text FROM order_service.execution
           WHERE order_id = :life), '(100,14820000001)', 'the reports add up');

-- Ends --------------------------------------------------------------------------------------------------------

SELECT is((SELECT (status, reason, filled_quantity)::text
           FROM order_service.apply_execution('end ' || what, held_order(7, 'end ' || what), type)),
    expected, what)
FROM (VALUES
    ('the exchange cancels by itself', 'CANCELED', '(CANCELED,EXCHANGE_CANCELED,0)'),
    ('the exchange rejects', 'REJECTED', '(REJECTED,EXCHANGE_REJECTED,0)'),
    ('the order expires', 'EXPIRED', '(CANCELED,EXCHANGE_EXPIRED,0)')) AS e (what, type, expected);
SELECT is((SELECT count(*) FROM order_service.hold_debt d JOIN order_service.orders o USING (order_id)
           WHERE o.hold = 3), 4::bigint, 'each hold is due to be released');
SELECT (order_service.place_order(7, 'no hold', 'AAPL', 'BUY', 'MARKET', 10)).order_id AS no_hold \gset
SELECT is((order_service.apply_execution('without hold', :no_hold, 'TRADE', 10, 150000000)).status, 'FILLED',
    'an order without a hold is filled');
SELECT is(state(:no_hold), 'FILLED 10/10, hold NONE, version 2, code 200', 'and has nothing to release');
SELECT is((SELECT count(*) FROM order_service.hold_debt WHERE order_id = :no_hold), 0::bigint, 'and no debt');

-- Repetitions -------------------------------------------------------------------------------------------------

CREATE TABLE before AS SELECT stored() AS stored;
SELECT is((SELECT (order_id, status, code, reason, replayed, filled_quantity)::text
           FROM order_service.apply_execution(id, :life, type, quantity, price)),
    format('(%s,FILLED,200,,t,100)', :life), format('report %s is applied once', id))
FROM (VALUES ('e1', 'NEW', 0, 0), ('e2', 'TRADE', 30, 149000000), ('e5', 'CANCEL_REJECTED', 0, 0),
    ('e6', 'TRADE', 60, 150000000)) AS e (id, type, quantity, price);
SELECT raises(format('SELECT order_service.apply_execution(''e2'', %s)', arguments), 'OS422',
    'idempotency key was used for another request',
    format('Execution id "e2" stands for another report, of order %s.', :life), 'Use a new key for a new request.',
    format('report e2 with another %s is refused', what))
FROM (VALUES
    (format('%s, ''TRADE'', 30, 149000000', :other), 'order'),
    (format('%s, ''NEW'', 0, 0', :life), 'type'),
    (format('%s, ''TRADE'', 31, 149000000', :life), 'quantity'),
    (format('%s, ''TRADE'', 30, 149000001', :life), 'price')) AS r (arguments, what);
SELECT is(stored(), (SELECT stored FROM before), 'none of them stored anything');
SELECT is(state(:other), 'ACCEPTED 0/100, hold HELD, version 1, code 200', 'or changed an order');

-- Refusals ----------------------------------------------------------------------------------------------------

CREATE TABLE refusals (n serial, arguments text, code text DEFAULT 'OS400', message text DEFAULT
    'execution report is not valid', detail text, name text);
INSERT INTO refusals (arguments, detail, name) VALUES
    (format(''''', %s, ''NEW''', :other), 'An execution id has 1 to 128 bytes.', 'an empty id'),
    (format('repeat(''e'', 129), %s, ''NEW''', :other), 'An execution id has 1 to 128 bytes.', 'an id of 129 bytes'),
    (format('repeat(chr(8364), 43), %s, ''NEW''', :other), 'An execution id has 1 to 128 bytes.',
        'an id of 43 characters in 129 bytes');
INSERT INTO refusals (arguments, detail, name)
SELECT format('''x'', %s, %L, 0, 0', :other, type),
    'Type is NEW, TRADE, CANCELED, REJECTED, EXPIRED or CANCEL_REJECTED.', format('type "%s"', type)
FROM unnest(ARRAY['trade', 'FILL', '', '1', 'NEW ']) AS type;
INSERT INTO refusals (arguments, detail, name)
SELECT format('''x'', %s, ''TRADE'', 10, %s', :other, price), format('Price %s does not go with TRADE.', price),
    'TRADE at price ' || price
FROM unnest(ARRAY[0, -1, -9223372036854775808]) AS price;
INSERT INTO refusals (arguments, detail, name)
SELECT format('''x'', %s, %L, 0, 1', :other, type), format('Price 1 does not go with %s.', type), type || ' with a price'
FROM unnest(ARRAY['NEW', 'CANCELED', 'REJECTED', 'EXPIRED', 'CANCEL_REJECTED']) AS type;
INSERT INTO refusals (arguments, detail, name)
SELECT format('''x'', %s, ''TRADE'', %s, 150000000', :other, quantity),
    format('Order %s is ACCEPTED with 0 of 100 filled; TRADE of %s does not apply.', :other, quantity),
    'TRADE of ' || quantity
FROM unnest(ARRAY[0, -1, 101, 9223372036854775807, -9223372036854775808]) AS quantity;
INSERT INTO refusals (arguments, detail, name)
SELECT format('''x'', %s, %L, 1, 0', :other, type),
    format('Order %s is ACCEPTED with 0 of 100 filled; %s of 1 does not apply.', :other, type), type || ' with a quantity'
FROM unnest(ARRAY['NEW', 'CANCELED', 'REJECTED', 'EXPIRED', 'CANCEL_REJECTED']) AS type;
INSERT INTO refusals (arguments, code, message, detail, name) VALUES
    ('''x'', 0, ''NEW''', 'OS400', 'order id is not valid', 'Order id 0 is not positive.', 'order id 0'),
    ('''x'', -1, ''NEW''', 'OS400', 'order id is not valid', 'Order id -1 is not positive.', 'a negative order id'),
    ('''x'', 999, ''NEW''', 'OS404', 'order does not exist', 'Order id is 999.', 'an unknown order'),
    ('''e1'', 999, ''NEW''', 'OS404', 'order does not exist', 'Order id is 999.',
        'an unknown order with the id of a recorded report'),
    (format('''x'', %s, ''NEW''', :waiting), 'OS409', 'order is in the wrong state',
        format('Order %s is RECEIVED with 0 of 100 filled; NEW of 0 does not apply.', :waiting),
        'a report on an order that is not settled'),
    (format('''x'', %s, ''CANCEL_REJECTED''', :other), 'OS409', 'order is in the wrong state',
        format('Order %s is ACCEPTED with 0 of 100 filled; CANCEL_REJECTED of 0 does not apply.', :other),
        'the refusal of a cancel that nobody asked for'),
    (format('''x'', %s, ''TRADE'', 1, 150000000', :life), 'OS409', 'order is in the wrong state',
        format('Order %s is FILLED with 100 of 100 filled; TRADE of 1 does not apply.', :life),
        'a trade of a complete order');
SELECT raises(format('SELECT order_service.apply_execution(%s)', arguments), code, message, detail, '',
    name || ' is refused')
FROM refusals ORDER BY n;
SELECT is((raised(format('SELECT order_service.apply_execution(%s)', arguments)))[1:3],
    ARRAY['OS400', 'a required field is missing', format('Field "%s" is null.', field)],
    'NULL for ' || name || ' is refused')
FROM (VALUES ('NULL, 1, ''TRADE'', 1, 1', 'the id', 'execution_id'),
    ('''x'', NULL, ''TRADE'', 1, 1', 'the order', 'order_id'),
    ('''x'', 1, NULL, 1, 1', 'the type', 'execution_type'),
    ('''x'', 1, ''TRADE'', NULL, 1', 'the quantity', 'last_quantity'),
    ('''x'', 1, ''TRADE'', 1, NULL', 'the price', 'last_price')) AS a (arguments, name, field);
SELECT is(stored(), (SELECT stored FROM before), 'nothing was stored for any of them');
SELECT is((SELECT (status, replayed)::text FROM order_service.apply_execution('x', :other, 'TRADE', 100, 150000000)),
    '(FILLED,f)', 'the id they used is unused');

-- The last unit
SELECT held_order(7, 'brim') AS brim \gset
SELECT is((order_service.apply_execution('b1', :brim, 'TRADE', 99, 150000000)).status, 'PARTIALLY_FILLED',
    '99 of 100 are filled');
SELECT raises(format('SELECT order_service.apply_execution(''b2'', %s, ''TRADE'', 2, 150000000)', :brim), 'OS400',
    'execution report is not valid',
    format('Order %s is PARTIALLY_FILLED with 99 of 100 filled; TRADE of 2 does not apply.', :brim), '',
    'the order is not over-filled');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('b2', :brim, 'TRADE', 1, 150000000)),
    '(FILLED,100)', 'the last unit fills it');
SELECT is((order_service.apply_execution(repeat('e', 128), held_order(7, 'long id'), 'NEW')).status, 'SENT',
    'an id of 128 bytes is accepted');
SELECT is((order_service.apply_execution('Ausf' || chr(252) || 'hrung 1', held_order(7, 'umlaut'), 'NEW')).status, 'SENT',
    'an id need not be ASCII');

-- A quantity near the limit of 64 bits
SELECT (order_service.place_order(7, 'large', 'WIDE', 'BUY', 'LIMIT', 9223372036854775807, 1)).order_id AS large \gset
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('l1', :large, 'TRADE', 9223372036854775806, 1)),
    '(PARTIALLY_FILLED,9223372036854775806)', 'the largest order is filled but for one unit');
SELECT is((raised(format('SELECT order_service.apply_execution(''l2'', %s, ''TRADE'', 9223372036854775807, 1)',
        :large)))[1:2], ARRAY['OS400', 'execution report is not valid'], 'it is not over-filled by overflow');
SELECT is((SELECT (status, filled_quantity)::text
           FROM order_service.apply_execution('l2', :large, 'TRADE', 1, 1)),
    '(FILLED,9223372036854775807)', 'the last unit fills it');

SELECT * FROM finish();
ROLLBACK;
