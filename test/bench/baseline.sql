-- What order_service is compared with: the same tables, and place_order() written as well as plpgsql allows.
--
-- "As well as it allows" means: the id is taken first, so that no row is written twice; one statement finds the
-- instrument and checks against it; three plain inserts with kept plans (one statement with three CTEs is slower);
-- a payload of binary pieces instead of JSON; no SET clause and no SECURITY DEFINER, which cost per call.

CREATE SCHEMA bench;

-- The tables are copies, whatever the extension's look like today: columns, defaults, indexes, fillfactor.
DO $$
DECLARE
    original record;
BEGIN
    FOR original IN
        SELECT c.relname AS name, coalesce('WITH (' || array_to_string(c.reloptions, ', ') || ')', '') AS options
        FROM pg_class c
        WHERE c.relnamespace = 'order_service'::regnamespace
          AND c.relname IN ('instrument', 'orders', 'idempotency_key', 'outbox')
    LOOP
        EXECUTE format('CREATE TABLE bench.%I (LIKE order_service.%I INCLUDING ALL) %s',
            original.name, original.name, original.options);
    END LOOP;
END
$$;
CREATE SEQUENCE bench.order_id_seq;
CREATE SEQUENCE bench.event_id_seq;

-- So many that the planner reaches one by the index, as on a real market.
INSERT INTO order_service.instrument (symbol, currency, tick, lot, price_floor, price_ceiling)
SELECT 'BENCH-' || n, 'EUR', 10000, 1, 1000000, 500000000 FROM generate_series(1, 1000) AS n;
INSERT INTO bench.instrument SELECT * FROM order_service.instrument;
ANALYZE order_service.instrument, bench.instrument;

-- The answer when the order cannot be recorded now: the recorded result of a repeated key, or an error.
CREATE FUNCTION bench.answer_repeated(
    p_account_id bigint, p_idempotency_key text, p_symbol text, p_side smallint, p_order_type smallint,
    p_quantity bigint, p_price bigint, p_time_in_force smallint,
    OUT order_id bigint, OUT status text, OUT code smallint, OUT reason text, OUT replayed boolean,
    OUT filled_quantity bigint, OUT updated_at timestamptz)
    LANGUAGE plpgsql AS $$
DECLARE
    v_key bench.idempotency_key;
    v_order bench.orders;
    v_difference text;
BEGIN
    SELECT * INTO v_key FROM bench.idempotency_key k
    WHERE k.account_id = p_account_id AND k.key = p_idempotency_key AND k.created_at >= now() - interval '7 days';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'order is not possible' USING ERRCODE = 'OS400',
            DETAIL = format('Symbol %s is unknown or halted, or forbids this price or quantity.', p_symbol);
    END IF;
    SELECT * INTO v_order FROM bench.orders o WHERE o.order_id = v_key.order_id;
    v_difference := CASE
        WHEN v_key.command <> 1 THEN 'command'
        WHEN v_order.symbol <> p_symbol THEN 'symbol'
        WHEN v_order.side <> p_side THEN 'side'
        WHEN v_order.order_type <> p_order_type THEN 'order_type'
        WHEN v_order.quantity <> p_quantity THEN 'quantity'
        WHEN v_order.price <> p_price THEN 'price'
        WHEN v_order.time_in_force <> p_time_in_force THEN 'time_in_force' END;
    IF v_difference IS NOT NULL THEN
        RAISE EXCEPTION 'idempotency key was used for another request' USING ERRCODE = 'OS422',
            DETAIL = format('Differs in "%s" from the request of order %s.', v_difference, v_order.order_id);
    END IF;
    order_id := v_order.order_id;
    status := order_service.status_name(v_order.status);
    code := v_order.code;
    reason := order_service.reason_name(nullif(v_order.reason, 0::smallint));
    replayed := true;
    filled_quantity := v_order.filled_quantity;
    updated_at := v_order.updated_at;
END
$$;

CREATE FUNCTION bench.place_order(
    p_account_id bigint, p_idempotency_key text, p_symbol text, p_side text, p_order_type text,
    p_quantity bigint, p_price bigint DEFAULT 0, p_time_in_force text DEFAULT 'DAY',
    OUT order_id bigint, OUT status text, OUT code smallint, OUT reason text, OUT replayed boolean,
    OUT filled_quantity bigint, OUT updated_at timestamptz)
    LANGUAGE plpgsql AS $$
DECLARE
    v_order_id bigint;
    v_event_id bigint;
    v_currency text;
    v_side smallint := CASE p_side WHEN 'BUY' THEN 1 WHEN 'SELL' THEN 2 END;
    v_order_type smallint := CASE p_order_type WHEN 'MARKET' THEN 0 WHEN 'LIMIT' THEN 1 END;
    v_time_in_force smallint := CASE p_time_in_force
        WHEN 'DAY' THEN 0 WHEN 'GTC' THEN 1 WHEN 'IOC' THEN 2 WHEN 'FOK' THEN 3 END;
BEGIN
    -- Not '^[ -~]{1,128}$': a bounded repetition costs 24 us, more than all the rest.
    IF (p_account_id > 0 AND octet_length(p_idempotency_key) BETWEEN 1 AND 128
        AND p_idempotency_key COLLATE "C" !~ '[^ -~]' AND v_side > 0 AND v_time_in_force >= 0
        AND p_quantity > 0 AND (v_order_type = 1 AND p_price > 0 OR v_order_type = 0 AND p_price = 0)) IS NOT TRUE THEN
        RAISE EXCEPTION 'order is not valid' USING ERRCODE = 'OS400';
    END IF;
    SELECT i.currency INTO v_currency FROM bench.instrument i
    WHERE i.symbol = p_symbol AND NOT i.halted AND p_quantity % i.lot = 0
      AND (v_order_type = 0 OR p_price % i.tick = 0 AND p_price BETWEEN i.price_floor AND i.price_ceiling);
    IF FOUND THEN
        v_order_id := nextval('bench.order_id_seq');
        INSERT INTO bench.idempotency_key (account_id, order_id, created_at, command, key)
        VALUES (p_account_id, v_order_id, now(), 1, p_idempotency_key)
        ON CONFLICT (key, account_id) DO NOTHING;
    END IF;
    IF NOT FOUND THEN
        SELECT * INTO order_id, status, code, reason, replayed, filled_quantity, updated_at
        FROM bench.answer_repeated(p_account_id, p_idempotency_key, p_symbol, v_side, v_order_type, p_quantity,
            p_price, v_time_in_force);
        RETURN;
    END IF;
    v_event_id := nextval('bench.event_id_seq');
    INSERT INTO bench.orders (order_id, account_id, quantity, price, last_event_id, created_at, updated_at,
        order_version, code, side, order_type, time_in_force, status, currency, symbol)
    VALUES (v_order_id, p_account_id, p_quantity, p_price, v_event_id, now(), now(), 1, 200, v_side, v_order_type,
        v_time_in_force, 1, v_currency, p_symbol);
    INSERT INTO bench.outbox (event_id, previous_event_id, order_id, account_id, created_at, order_version,
        event_type, payload)
    VALUES (v_event_id, 0, v_order_id, p_account_id, now(), 1, 1,
        int8send(v_order_id) || int8send(p_account_id) || int8send(p_quantity) || int8send(p_price)
        || int2send(v_side) || int2send(v_order_type) || int2send(v_time_in_force) || textsend(p_symbol));
    order_id := v_order_id;
    status := 'ACCEPTED';
    code := 200;
    replayed := false;
    filled_quantity := 0;
    updated_at := now();
END
$$;
