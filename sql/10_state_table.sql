\unset ECHO
-- The state table: from each of the 8 states, everything that may move an order is tried.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(171);

-- Brings a new order of 100 units into a state, does one thing to it and tells what came of it.
CREATE TYPE run_result AS (outcome text, status text, event text, filled_after bigint, hold text, debt boolean,
    intact boolean);
CREATE FUNCTION run(n bigint, from_status smallint, filled bigint, action text) RETURNS run_result
    LANGUAGE plpgsql AS $$
DECLARE
    id bigint := received_order(7, 'order ' || n);
    before order_service.orders;
    after order_service.order_detail;
    result run_result;
BEGIN
    IF from_status > 0 THEN
        PERFORM order_service.settle_orders(ARRAY[id], '{0}', '{1}');
        UPDATE order_service.orders SET status = from_status, filled_quantity = filled WHERE order_id = id;
    END IF;
    SELECT * INTO before FROM order_service.orders WHERE order_id = id;
    BEGIN
        CASE action
            WHEN 'accept' THEN
                SELECT CASE WHEN replayed THEN 'found' ELSE 'done' END INTO result.outcome
                FROM order_service.settle_orders(ARRAY[id], '{0}', '{1}');
            WHEN 'reject' THEN
                SELECT CASE WHEN replayed THEN 'found' ELSE 'done' END INTO result.outcome
                FROM order_service.settle_orders(ARRAY[id], '{20}', '{0}');
            WHEN 'cancel' THEN
                PERFORM order_service.cancel_order(7, 'cancel ' || n, id);
            WHEN 'TRADE of 10' THEN
                PERFORM order_service.apply_execution('report ' || n, id, 'TRADE', 10, 150000000);
            WHEN 'TRADE of the rest' THEN
                PERFORM order_service.apply_execution('report ' || n, id, 'TRADE', greatest(100 - filled, 1), 150000000);
            ELSE
                PERFORM order_service.apply_execution('report ' || n, id, action);
        END CASE;
        result.outcome := coalesce(result.outcome, 'done');
    EXCEPTION WHEN OTHERS THEN
        result.outcome := SQLSTATE;
    END;
    SELECT * INTO after FROM order_service.order_detail WHERE order_id = id;
    result.status := after.status || coalesce(' ' || after.reason, '');
    SELECT d.event_type INTO result.event FROM order_service.outbox_detail d
    WHERE order_id = id AND order_version > before.order_version;
    result.filled_after := after.filled_quantity;
    result.hold := after.hold;
    result.debt := EXISTS (SELECT FROM order_service.hold_debt WHERE order_id = id);
    -- A refusal leaves the row as it was; a change has one event more, in the one chain of events.
    IF result.outcome = 'done' THEN
        result.intact := after.order_version = before.order_version + 1 AND
            after.order_version = (SELECT count(*) FROM order_service.outbox WHERE order_id = id) AND
            events(id) NOT LIKE '%broken%';
    ELSE
        result.intact := before = (SELECT o FROM order_service.orders o WHERE order_id = id);
    END IF;
    RETURN result;
END
$$;

-- What is to be: the new status (with the reason), and the event; or OS409 for a refusal. Settling an order that is
-- settled already is not an error, it tells what was found.
CREATE TABLE cases (n serial, from_status text, filled bigint, action text, expected text);
INSERT INTO cases (from_status, filled, action, expected)
SELECT from_status, filled, action, expected
FROM (VALUES
    -- from, filled: accept, reject, cancel, NEW, TRADE of 10, TRADE of the rest, CANCELED, REJECTED, EXPIRED,
    -- CANCEL_REJECTED
    ('RECEIVED', 0, ARRAY['ACCEPTED, ORDER_ACCEPTED', 'REJECTED INSUFFICIENT_FUNDS, ORDER_REJECTED', 'OS409', 'OS409',
        'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409']),
    ('ACCEPTED', 0, ARRAY['found', 'found', 'CANCEL_REQUESTED, ORDER_CANCEL_REQUESTED', 'SENT, ORDER_SENT',
        'PARTIALLY_FILLED, ORDER_PARTIALLY_FILLED', 'FILLED, ORDER_FILLED',
        'CANCELED EXCHANGE_CANCELED, ORDER_CANCELED', 'REJECTED EXCHANGE_REJECTED, ORDER_REJECTED',
        'CANCELED EXCHANGE_EXPIRED, ORDER_CANCELED', 'OS409']),
    ('SENT', 0, ARRAY['found', 'found', 'CANCEL_REQUESTED, ORDER_CANCEL_REQUESTED', 'OS409',
        'PARTIALLY_FILLED, ORDER_PARTIALLY_FILLED', 'FILLED, ORDER_FILLED',
        'CANCELED EXCHANGE_CANCELED, ORDER_CANCELED', 'REJECTED EXCHANGE_REJECTED, ORDER_REJECTED',
        'CANCELED EXCHANGE_EXPIRED, ORDER_CANCELED', 'OS409']),
    ('PARTIALLY_FILLED', 40, ARRAY['found', 'found', 'CANCEL_REQUESTED, ORDER_CANCEL_REQUESTED', 'OS409',
        'PARTIALLY_FILLED, ORDER_PARTIALLY_FILLED', 'FILLED, ORDER_FILLED',
        'CANCELED EXCHANGE_CANCELED, ORDER_CANCELED', 'OS409', 'CANCELED EXCHANGE_EXPIRED, ORDER_CANCELED', 'OS409']),
    ('FILLED', 100, ARRAY['found', 'found', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409']),
    ('CANCEL_REQUESTED', 0, ARRAY['found', 'found', 'OS409', 'CANCEL_REQUESTED, ORDER_SENT',
        'CANCEL_REQUESTED, ORDER_PARTIALLY_FILLED', 'FILLED, ORDER_FILLED', 'CANCELED, ORDER_CANCELED',
        'REJECTED EXCHANGE_REJECTED, ORDER_REJECTED', 'CANCELED EXCHANGE_EXPIRED, ORDER_CANCELED',
        'SENT, ORDER_CANCEL_REJECTED']),
    ('CANCEL_REQUESTED', 40, ARRAY['found', 'found', 'OS409', 'CANCEL_REQUESTED, ORDER_SENT',
        'CANCEL_REQUESTED, ORDER_PARTIALLY_FILLED', 'FILLED, ORDER_FILLED', 'CANCELED, ORDER_CANCELED',
        'OS409', 'CANCELED EXCHANGE_EXPIRED, ORDER_CANCELED',
        'PARTIALLY_FILLED, ORDER_CANCEL_REJECTED']),
    ('CANCELED', 0, ARRAY['found', 'found', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409']),
    ('CANCELED', 40, ARRAY['found', 'found', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409']),
    ('REJECTED', 0, ARRAY['found', 'found', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409', 'OS409']))
    AS s (from_status, filled, results),
    unnest(ARRAY['accept', 'reject', 'cancel', 'NEW', 'TRADE of 10', 'TRADE of the rest', 'CANCELED', 'REJECTED',
        'EXPIRED', 'CANCEL_REJECTED'], results) AS r (action, expected);

CREATE TABLE runs AS
SELECT c.*, (r).*
FROM (SELECT *, (SELECT code::smallint FROM generate_series(0, 7) code
          WHERE order_service.status_name(code::smallint) = from_status) AS code FROM cases) AS c,
    LATERAL (SELECT run(n, code, filled, action) OFFSET 0) AS called (r)
ORDER BY n;

SELECT is(CASE outcome WHEN 'done' THEN format('%s, %s', status, event) ELSE outcome END, expected,
    format('%s with %s of 100 filled, %s: %s', from_status, filled, action, expected))
FROM runs ORDER BY n;

-- The table itself: each of the 64 pairs is reached by something, or by nothing.
CREATE TABLE transitions (from_code int, from_status text, allowed text[]);
INSERT INTO transitions VALUES
    (0, 'RECEIVED', '{ACCEPTED,REJECTED}'),
    (1, 'ACCEPTED', '{SENT,PARTIALLY_FILLED,FILLED,CANCEL_REQUESTED,CANCELED,REJECTED}'),
    (2, 'SENT', '{PARTIALLY_FILLED,FILLED,CANCEL_REQUESTED,CANCELED,REJECTED}'),
    (3, 'PARTIALLY_FILLED', '{PARTIALLY_FILLED,FILLED,CANCEL_REQUESTED,CANCELED}'),
    (4, 'FILLED', '{}'),
    (5, 'CANCEL_REQUESTED', '{SENT,PARTIALLY_FILLED,FILLED,CANCEL_REQUESTED,CANCELED,REJECTED}'),
    (6, 'CANCELED', '{}'),
    (7, 'REJECTED', '{}');
SELECT is(EXISTS (SELECT FROM runs r WHERE r.from_status = t.from_status AND r.outcome = 'done'
                  AND split_part(r.status, ' ', 1) = to_status),
    to_status = ANY (allowed),
    format('%s %s %s', t.from_status, CASE WHEN to_status = ANY (allowed) THEN 'may become' ELSE 'never becomes' END,
        to_status))
FROM transitions t, generate_series(0, 7) AS to_code, order_service.status_name(to_code::smallint) AS to_status
ORDER BY from_code, to_code;

-- What holds of every run
SELECT is_empty('SELECT from_status, action FROM runs WHERE NOT intact',
    'a change has one event more without a gap, a refusal changes no column');
SELECT is_empty($$SELECT from_status, action FROM runs WHERE outcome <> 'done' AND event IS NOT NULL$$,
    'a refusal has no event');
SELECT is_empty($$
    SELECT from_status, action, filled_after FROM runs WHERE filled_after <> CASE
        WHEN outcome <> 'done' THEN filled WHEN action = 'TRADE of 10' THEN filled + 10
        WHEN action = 'TRADE of the rest' THEN 100 ELSE filled END
    $$, 'only a trade fills, by its quantity');
SELECT is_empty($$
    SELECT from_status, action, hold, debt FROM runs
    WHERE from_status <> 'RECEIVED' AND (hold, debt) IS DISTINCT FROM
        CASE WHEN outcome = 'done' AND split_part(status, ' ', 1) IN ('FILLED', 'CANCELED', 'REJECTED')
             THEN ('RELEASE_DUE'::text, true) ELSE ('HELD'::text, false) END
    $$, 'the end of an order makes the release of its hold due, nothing else touches the hold');
SELECT is((SELECT string_agg(format('%s: %s %s', action, hold, debt), ', ' ORDER BY n) FROM runs
           WHERE from_status = 'RECEIVED' AND outcome = 'done'), 'accept: HELD f, reject: NONE f',
    'settling sets the hold it was told');
SELECT is_empty($$
    SELECT order_id FROM order_service.orders o
    WHERE (SELECT array_agg(order_version ORDER BY event_id) FROM order_service.outbox b WHERE b.order_id = o.order_id)
        IS DISTINCT FROM (SELECT array_agg(v) FROM generate_series(1, o.order_version) v)
    $$, 'the versions of every order''s events are 1, 2, 3, ...');
SELECT is_empty($$
    SELECT order_id FROM order_service.orders o WHERE order_version > 0 AND last_event_id <>
        (SELECT max(event_id) FROM order_service.outbox b WHERE b.order_id = o.order_id)
    $$, 'every order knows its newest event');

SELECT * FROM finish();
ROLLBACK;
