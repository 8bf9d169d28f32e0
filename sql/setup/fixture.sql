-- What every test file starts from. Included inside the file's transaction, which ends in ROLLBACK: the extension
-- is new in each file, so order and event ids count from 1 in each. Run from the root of the repository.
\set QUIET 1
\set ON_ERROR_STOP true
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

CREATE EXTENSION pgtap;
CREATE EXTENSION order_service;

-- AAPL is the usual symbol, the others have one peculiarity each. Prices in micro-units.
INSERT INTO order_service.instrument (symbol, currency, tick, lot, price_floor, price_ceiling, halted) VALUES
    ('AAPL', 'USD', 10000, 1, 100000000, 200000000, false),
    ('LOTS', 'EUR', 10000, 100, 100000000, 200000000, false),
    ('WIDE', 'KRW', 1, 1, 1, 9223372036854775807, false),
    ('HALT', 'USD', 10000, 1, 100000000, 200000000, true);

-- What a statement raises: SQLSTATE, message, detail and hint, the last two empty where there is none.
CREATE FUNCTION raised(statement text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN ARRAY['nothing raised'];
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN ARRAY[SQLSTATE, message, detail, hint];
END
$$;

CREATE FUNCTION raises(statement text, code text, message text, detail text, hint text, description text)
    RETURNS text LANGUAGE sql AS $$
    SELECT is(raised(statement), ARRAY[code, message, detail, hint], description)
$$;

-- How many rows the tables hold; a refusal leaves it as it was.
CREATE FUNCTION stored() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s orders, %s keys, %s events, %s executions, %s debts',
        (SELECT count(*) FROM order_service.orders), (SELECT count(*) FROM order_service.idempotency_key),
        (SELECT count(*) FROM order_service.outbox), (SELECT count(*) FROM order_service.execution),
        (SELECT count(*) FROM order_service.hold_debt))
$$;

-- An order's state in one line.
CREATE FUNCTION state(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s/%s, hold %s, version %s, code %s%s', d.status, o.filled_quantity, o.quantity, d.hold,
        o.order_version, o.code, ', ' || d.reason)
    FROM order_service.orders o JOIN order_service.order_detail d USING (order_id) WHERE order_id = id
$$;

-- An order's events in the order of their ids, which must be that of their versions and form one chain.
CREATE FUNCTION events(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', order_version, event_type)
        || CASE WHEN previous_event_id <> expected_previous THEN ' (chain broken)' ELSE '' END, ', ' ORDER BY event_id)
    FROM (
        SELECT d.event_id, d.order_version, d.event_type, b.previous_event_id,
            lag(b.event_id, 1, 0::bigint) OVER (ORDER BY b.event_id) AS expected_previous
        FROM order_service.outbox_detail d JOIN order_service.outbox b USING (event_id)
        WHERE d.order_id = id) AS chain
$$;

-- An order that was received and settled with a hold at Account, as order-proxy does it; its id.
CREATE FUNCTION held_order(account_id bigint, key text, quantity bigint DEFAULT 100) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    SELECT order_id INTO STRICT id FROM order_service.receive_orders(
        ARRAY[account_id], ARRAY[key], '{AAPL}', '{1}', '{1}', ARRAY[quantity], '{150000000}', '{0}');
    PERFORM order_service.settle_orders(ARRAY[id], '{0}', '{1}');
    RETURN id;
END
$$;

-- An order that was received and waits for its settlement; its id.
CREATE FUNCTION received_order(account_id bigint, key text) RETURNS bigint LANGUAGE sql AS $$
    SELECT order_id FROM order_service.receive_orders(
        ARRAY[account_id], ARRAY[key], '{AAPL}', '{1}', '{1}', '{100}', '{150000000}', '{0}')
$$;
