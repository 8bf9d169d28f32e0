\unset ECHO
-- The payload of the events: protobuf order_service.v1.OrderEvent with the order as it was after the change.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(24);

-- Reads a protobuf message of varints and texts into {"number": "value"}; fields with their default are not sent.
CREATE FUNCTION decoded(message bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    position int := 0;
    field int;
    is_text boolean;
    value bigint;
    shift int;
    byte int;
    result jsonb := '{}';
BEGIN
    WHILE position < length(message) LOOP
        -- A field number below 16 and its type are one byte.
        byte := get_byte(message, position);
        position := position + 1;
        field := byte >> 3;
        is_text := (byte & 7) = 2;
        IF (byte & 7) NOT IN (0, 2) OR field = 0 OR byte > 127 OR result ? field::text THEN
            RAISE 'unexpected tag %', byte;
        END IF;
        value := 0;
        shift := 0;
        LOOP
            byte := get_byte(message, position);
            position := position + 1;
            value := value | ((byte & 127)::bigint << shift);
            shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        IF is_text THEN
            result := result || jsonb_build_object(field::text,
                convert_from(substring(message FROM position + 1 FOR value::int), 'UTF8'));
            position := position + value::int;
        ELSE
            result := result || jsonb_build_object(field::text, value::text);
        END IF;
    END LOOP;
    RETURN result;
END
$$;
-- The event of a version of an order, without created_at_millis (11), which is compared on its own.
CREATE FUNCTION event(id bigint, version int) RETURNS jsonb LANGUAGE sql AS $$
    SELECT decoded(payload) - '11' FROM order_service.outbox WHERE order_id = id AND order_version = version
$$;
CREATE FUNCTION prefix() RETURNS text LANGUAGE sql AS 'SELECT reserve_prefix FROM order_service.identity';

-- One order through many states, received from order-proxy. Its first seven fields never change.
SELECT received_order(7, 'a') AS id \gset
UPDATE order_service.orders SET time_in_force = 1 WHERE order_id = :id;
SELECT jsonb_build_object('1', :id::text, '2', '7', '3', 'AAPL', '4', '1', '5', '1', '6', '100', '7', '150000000',
    '8', '1', '10', prefix() || '-' || :id) AS terms \gset
SELECT is((SELECT count(*) FROM order_service.settle_orders(ARRAY[:id], '{0}', '{1}')), 1::bigint,
    'an order is accepted');
SELECT is((order_service.apply_execution('1', :id, 'NEW')).status, 'SENT', 'sent');
SELECT is((order_service.apply_execution('2', :id, 'TRADE', 30, 150000000)).status, 'PARTIALLY_FILLED',
    'filled in part');
SELECT is((order_service.cancel_order(7, 'c', :id)).status, 'CANCEL_REQUESTED', 'asked to be canceled');
SELECT is((order_service.apply_execution('3', :id, 'CANCEL_REJECTED')).status, 'PARTIALLY_FILLED', 'refused that');
SELECT is((order_service.apply_execution('4', :id, 'EXPIRED')).status, 'CANCELED', 'and expires');
SELECT is(event(:id, version), :'terms'::jsonb || changing, 'event ' || version || ' tells the state after its change')
FROM (VALUES
    (1, '{"9": "1", "12": "1", "13": "1"}'::jsonb),
    (2, '{"9": "2", "12": "4", "13": "2"}'),
    (3, '{"9": "3", "12": "5", "13": "3", "14": "30"}'),
    (4, '{"9": "5", "12": "3", "13": "4", "14": "30"}'),
    (5, '{"9": "3", "12": "8", "13": "5", "14": "30"}'),
    (6, '{"9": "6", "12": "7", "13": "6", "14": "30", "15": "EXCHANGE_EXPIRED"}')) AS e (version, changing)
ORDER BY version;
SELECT is((SELECT count(*) FROM order_service.outbox WHERE order_id = :id), 6::bigint, 'these are all its events');

-- The others: placed without a reservation, filled, rejected by Account, rejected by the exchange
SELECT (order_service.place_order(9223372036854775807, 'p', 'WIDE', 'SELL', 'LIMIT', 3, 3074457345618258602, 'FOK')).order_id
    AS placed, received_order(8, 'r') AS refused, held_order(8, 'x') AS rejected \gset
SELECT is(event(:placed, 1), jsonb_build_object('1', :placed::text, '2', '9223372036854775807', '3', 'WIDE', '4', '2',
    '5', '1', '6', '3', '7', '3074457345618258602', '8', '3', '9', '1', '12', '1', '13', '1'),
    'an order of place_order() has no reserve id; large numbers are whole');
SELECT is((order_service.apply_execution('5', :placed, 'TRADE', 3, 1)).status, 'FILLED', 'it is filled');
SELECT is(event(:placed, 2) - '{1,2,3,4,5,6,7,8}'::text[], '{"9": "4", "12": "6", "13": "2", "14": "3"}',
    'its event tells of the fill');
SELECT is((SELECT code FROM order_service.settle_orders(ARRAY[:refused], '{21}', '{0}')), 402::smallint,
    'an order is rejected by Account');
SELECT is(event(:refused, 1) - '{1,2,3,4,5,6,7,8,10}'::text[],
    '{"9": "7", "12": "2", "13": "1", "15": "INSUFFICIENT_POSITION"}', 'its event tells why');
SELECT is((order_service.apply_execution('6', :rejected, 'REJECTED')).status, 'REJECTED',
    'one is rejected by the exchange');
SELECT is(event(:rejected, 2) - '{1,2,3,4,5,6,7,8,10}'::text[],
    '{"9": "7", "12": "2", "13": "2", "15": "EXCHANGE_REJECTED"}', 'its event tells why');

-- The time is that of the order, not of the change.
SELECT is((SELECT count(DISTINCT decoded(payload) ->> '11') FROM order_service.outbox), 1::bigint,
    'all these orders were received at one time');
SELECT is((SELECT DISTINCT (decoded(payload) ->> '11')::bigint FROM order_service.outbox),
    floor(extract(epoch FROM now()) * 1000)::bigint, 'which is in milliseconds');
UPDATE order_service.orders SET created_at = '2026-01-02 03:04:05.678+00', status = 1 WHERE order_id = :refused;
SELECT is((order_service.cancel_order(8, 'late', :refused)).status, 'CANCEL_REQUESTED', 'an older order changes');
SELECT is((SELECT decoded(payload) ->> '11' FROM order_service.outbox WHERE order_id = :refused AND order_version = 2),
    '1767323045678', 'its event keeps the time it was received');

SELECT * FROM finish();
ROLLBACK;
