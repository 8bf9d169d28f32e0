\unset ECHO
-- cancel_order() and cancel_orders(): asking for a cancel, its repetition, every refusal.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(65);

SELECT held_order(7, 'mine') AS mine, held_order(7, 'other') AS other, held_order(8, 'theirs') AS theirs,
    received_order(7, 'waiting') AS waiting \gset

-- The single form ---------------------------------------------------------------------------------------------

SELECT is((SELECT (order_id, status, code, reason, replayed, filled_quantity, updated_at = now())::text
           FROM order_service.cancel_order(7, 'c', :mine)),
    format('(%s,CANCEL_REQUESTED,200,,f,0,t)', :mine), 'an order can be asked to be canceled');
SELECT is(state(:mine), 'CANCEL_REQUESTED 0/100, hold HELD, version 2, code 200',
    'it waits for the exchange and keeps its hold');
SELECT is(events(:mine), '1 ORDER_ACCEPTED, 2 ORDER_CANCEL_REQUESTED', 'the request has its event');
SELECT is((SELECT (command, order_id, created_at = now())::text FROM order_service.idempotency_key
           WHERE account_id = 7 AND key = 'c'), format('(2,%s,t)', :mine), 'its key is in use');
CREATE TABLE before AS SELECT stored() AS stored;
SELECT is((SELECT (order_id, status, code, reason, replayed)::text FROM order_service.cancel_order(7, 'c', :mine)),
    format('(%s,CANCEL_REQUESTED,200,,t)', :mine), 'a repetition gets the same answer');
SELECT raises(format('SELECT order_service.cancel_order(7, ''another'', %s)', :mine), 'OS409',
    'order is in the wrong state', format('Order %s is CANCEL_REQUESTED.', :mine), '',
    'a second cancel under another key is refused');
SELECT is(stored(), (SELECT stored FROM before), 'neither stores anything');
SELECT is((order_service.apply_execution('e1', :mine, 'TRADE', 30, 150000000)).status, 'CANCEL_REQUESTED',
    'the exchange fills a part');
SELECT is((SELECT (status, replayed, filled_quantity)::text FROM order_service.cancel_order(7, 'c', :mine)),
    '(CANCEL_REQUESTED,t,30)', 'a repetition shows the fill');
SELECT is((order_service.apply_execution('e2', :mine, 'CANCELED')).status, 'CANCELED', 'the exchange cancels');
SELECT is((SELECT (status, code, reason, replayed)::text FROM order_service.cancel_order(7, 'c', :mine)),
    '(CANCELED,200,,t)', 'a repetition shows the end');
SELECT is(state(:mine), 'CANCELED 30/100, hold RELEASE_DUE, version 4, code 200',
    'the rest of the hold is to be released');
SELECT is(events(:mine), '1 ORDER_ACCEPTED, 2 ORDER_CANCEL_REQUESTED, 3 ORDER_PARTIALLY_FILLED, 4 ORDER_CANCELED',
    'four events tell of it');

-- Refusals ----------------------------------------------------------------------------------------------------

CREATE TABLE refusals (n serial, arguments text, code text, message text, detail text, name text);
INSERT INTO refusals (arguments, code, message, detail, name) VALUES
    ('0, ''x'', 1', 'OS400', 'account id is not valid', 'Account id 0 is not positive.', 'account id 0'),
    ('-7, ''x'', 1', 'OS400', 'account id is not valid', 'Account id -7 is not positive.', 'a negative account id'),
    ('7, ''x'', 0', 'OS400', 'order id is not valid', 'Order id 0 is not positive.', 'order id 0'),
    ('7, ''x'', -1', 'OS400', 'order id is not valid', 'Order id -1 is not positive.', 'a negative order id'),
    ('7, ''x'', 999', 'OS404', 'order does not exist', 'Order id is 999.', 'an unknown order'),
    ('7, ''x'', 9223372036854775807', 'OS404', 'order does not exist', 'Order id is 9223372036854775807.',
        'the largest order id'),
    (format('7, ''x'', %s', :theirs), 'OS403', 'order belongs to another account', format('Order id is %s.', :theirs),
        'the order of another account'),
    (format('7, ''x'', %s', :waiting), 'OS409', 'order is in the wrong state',
        format('Order %s is RECEIVED.', :waiting), 'an order that is not settled'),
    (format('7, ''x'', %s', :mine), 'OS409', 'order is in the wrong state', format('Order %s is CANCELED.', :mine),
        'a canceled order');
UPDATE before SET stored = stored();
SELECT raises(format('SELECT * FROM order_service.cancel_order(%s)', arguments), code, message, detail, '',
    name || ' is refused')
FROM refusals ORDER BY n;
SELECT is((raised(format('SELECT * FROM order_service.cancel_order(7, %s, 1)', key)))[1:3],
    ARRAY['OS400', 'idempotency key is not valid', 'A key has 1 to 128 printable ASCII characters.'], name || ' is refused')
FROM (VALUES ('''''', 'an empty key'), ('repeat(''k'', 129)', 'a key of 129 characters'),
    ('E''a\nb''', 'a key with a newline'), ('chr(252)', 'a key that is not ASCII')) AS k (key, name);
SELECT is((raised(format('SELECT * FROM order_service.cancel_order(%s)', arguments)))[1:3],
    ARRAY['OS400', 'a required field is missing', format('Field "%s" is null.', field)],
    'NULL for ' || name || ' is refused')
FROM (VALUES ('NULL, ''x'', 1', 'the account id', 'account_id'), ('7, NULL, 1', 'the key', 'idempotency_key'),
    ('7, ''x'', NULL', 'the order id', 'order_id')) AS a (arguments, name, field);
SELECT is(stored(), (SELECT stored FROM before), 'nothing was stored for any of them');
SELECT is((SELECT (order_id, status, replayed)::text FROM order_service.cancel_order(7, 'x', :other)),
    format('(%s,CANCEL_REQUESTED,f)', :other), 'the key they used is unused');
SELECT is((order_service.cancel_order(7, repeat('k', 128), held_order(7, 'long'))).status, 'CANCEL_REQUESTED',
    'a key of 128 characters is accepted');

-- The array form ----------------------------------------------------------------------------------------------
-- A batch of 128: eight groups of sixteen items, one of each kind. The orders are of account 9.

CREATE TABLE groups AS
SELECT g, held_order(9, 'a' || g) AS a, held_order(9, 'b' || g) AS b, held_order(9, 'canceled' || g) AS canceled,
    received_order(9, 'received' || g) AS received
FROM generate_series(1, 8) AS g;
DO $$
BEGIN
    PERFORM order_service.cancel_order(9, 'before' || g, canceled) FROM groups;
END
$$;
CREATE TABLE batch AS
SELECT row_number() OVER (ORDER BY g, kind) AS item, g, kind, account_id, key, order_id
FROM groups, LATERAL (VALUES
    (1, 9::bigint, 'c1 ' || g, a), (2, 9, 'c2 ' || g, b), (3, 9, 'c3 ' || g, 999999), (4, 9, 'c4 ' || g, :theirs),
    (5, 9, 'c5 ' || g, received), (6, 9, 'c1 ' || g, a), (7, 9, 'c7 ' || g, a), (8, 9, 'c1 ' || g, b),
    (9, 9, 'a' || g, a), (10, 9, 'c10 ' || g, 0), (11, 9, 'c11 ' || g, NULL), (12, 9, '', b), (13, -1, 'c13 ' || g, b),
    (14, 9, 'before' || g, canceled), (15, 7, 'c15 ' || g, b), (16, 9, 'before' || g, a))
    AS v (kind, account_id, key, order_id);
CREATE TABLE answers AS
SELECT r.*, row_number() OVER () AS position
FROM (SELECT array_agg(account_id ORDER BY item) a, array_agg(key ORDER BY item) b, array_agg(order_id ORDER BY item) c
      FROM batch) AS arrays, order_service.cancel_orders(a, b, c) r;

SELECT is((SELECT (count(*), bool_and(item = position))::text FROM answers), '(128,t)',
    'a batch of 128 has 128 results in its order');
SELECT is((SELECT array_agg(DISTINCT (code, reason, status, replayed, a.order_id = CASE kind WHEN 8 THEN g.a
               WHEN 16 THEN g.canceled ELSE b.order_id END)::text)
           FROM answers a JOIN batch b USING (item) JOIN groups g USING (g) WHERE kind = e.kind), ARRAY[expected], what)
FROM (VALUES
    (1, '(200,0,5,f,t)', 'a good item is carried out'),
    (2, '(200,0,5,f,t)', 'and so is another'),
    (3, '(404,32,,f,)', 'an unknown order is refused'),
    (4, '(403,33,,f,)', 'the order of another account is refused'),
    (5, '(409,35,0,f,t)', 'an order that is not settled is refused'),
    (6, '(200,0,5,t,t)', 'the same item again is answered as a repetition'),
    (7, '(409,35,5,f,t)', 'a second key for an order of the batch is refused'),
    (8, '(422,36,5,f,t)', 'the key of an item of the batch does not cancel another order'),
    (9, '(422,36,5,f,t)', 'the key of a placement does not cancel'),
    (10, '(400,14,,f,)', 'order id 0 is refused'),
    (11, '(400,1,,f,)', 'no order id is refused'),
    (12, '(400,2,,f,)', 'an empty key is refused'),
    (13, '(400,3,,f,)', 'a wrong account id is refused'),
    (14, '(200,0,5,t,t)', 'a cancel from before is repeated'),
    (15, '(403,33,,f,)', 'an order of account 9 is refused to account 7'),
    (16, '(422,36,5,f,t)', 'the key of a cancel from before does not cancel another order')) AS e (kind, expected, what);
SELECT is((SELECT detail FROM answers WHERE item = kind), format(expected, id), format('item %s is explained', kind))
FROM (VALUES
    (3, 'Order id is %s.', 999999), (4, 'Order id is %s.', :theirs),
    (5, 'Order %s is RECEIVED.', (SELECT received FROM groups WHERE g = 1)),
    (7, 'Order %s is CANCEL_REQUESTED.', (SELECT a FROM groups WHERE g = 1)),
    (8, 'Differs in "order_id" from the request for order %s.', (SELECT a FROM groups WHERE g = 1)),
    (9, 'Differs in "command" from the request for order %s.', (SELECT a FROM groups WHERE g = 1)),
    (10, 'Order id %s is not positive.', 0), (13, 'Account id %s is not positive.', -1),
    (15, 'Order id is %s.', (SELECT b FROM groups WHERE g = 1)),
    (16, 'Differs in "order_id" from the request for order %s.', (SELECT canceled FROM groups WHERE g = 1)))
    AS d (kind, expected, id);

SELECT is((SELECT string_agg(DISTINCT state(id), '; ') FROM groups, unnest(ARRAY[a, b, canceled]) AS id),
    'CANCEL_REQUESTED 0/100, hold HELD, version 2, code 200', 'each good item changed its order once');
SELECT is((SELECT string_agg(DISTINCT events(id), '; ') FROM groups, unnest(ARRAY[a, b, canceled]) AS id),
    '1 ORDER_ACCEPTED, 2 ORDER_CANCEL_REQUESTED', 'each has its event once');
SELECT is((SELECT string_agg(DISTINCT state(received), '; ') FROM groups),
    'RECEIVED 0/100, hold NONE, version 0, code 0', 'refused items left their orders as they were');
SELECT is((SELECT array_agg(DISTINCT substring(key FROM '^[^ ]*') ORDER BY substring(key FROM '^[^ ]*'))
           FROM order_service.idempotency_key WHERE account_id = 9 AND command = 2 AND key LIKE 'c%'), '{c1,c2}',
    'only the good items use their keys');

-- A refused item does not keep its key from a good one behind it.
SELECT held_order(9, 'free') AS free \gset
SELECT is((SELECT array_agg((code, status, replayed)::text ORDER BY item) FROM order_service.cancel_orders('{9,9,9}',
    '{again,again,again}', ARRAY[999999, :free, :free])), '{"(404,,f)","(200,5,f)","(200,5,t)"}',
    'the first item that can be carried out gets the key');
SELECT is(state(:theirs), 'ACCEPTED 0/100, hold HELD, version 1, code 200',
    'nobody canceled the other account''s order');

SELECT * FROM finish();
ROLLBACK;
