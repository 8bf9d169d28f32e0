\unset ECHO
-- The watermark of the orders: it follows what is settled, and never passes an order that is still RECEIVED. It moves
-- only from transaction to transaction, so this file commits, and drops its objects at the end.
\i sql/setup/fixture.sql
SELECT plan(14);

CREATE FUNCTION watermark() RETURNS bigint LANGUAGE sql AS $$
    SELECT value FROM order_service.watermark WHERE name = 'orders'
$$;
-- Claims, in a transaction each time, until the watermark is where it should be: transactions of the server's own,
-- such as an automatic analyze, may hold it back for a moment. Gives up after a minute.
CREATE PROCEDURE claim_until(wanted bigint) LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '1 min';
BEGIN
    LOOP
        PERFORM order_service.claim_unsettled();
        COMMIT;
        EXIT WHEN watermark() = wanted OR clock_timestamp() > deadline;
    END LOOP;
END
$$;
SET order_service.received_timeout = '1h';

SELECT is(watermark(), 0::bigint, 'the watermark starts at 0');
SELECT ok(held_order(7, 'a') < held_order(7, 'b'), 'two orders are settled');
CALL claim_until(3);
SELECT is(watermark(), 3::bigint, 'the watermark comes to be above them');

SELECT is(received_order(7, 'waiting'), 3::bigint, 'the third order waits for its settlement');
SELECT is(held_order(7, 'c'), 4::bigint, 'the fourth is settled');
DO $$
BEGIN
    FOR i IN 1..20 LOOP
        PERFORM order_service.claim_unsettled();
        COMMIT;
    END LOOP;
END
$$;
SELECT is(watermark(), 3::bigint, 'the watermark does not pass the one that waits');
SELECT is((SELECT count(*) FROM order_service.settle_orders('{3}', '{0}', '{1}')), 1::bigint, 'the third is settled');
CALL claim_until(5);
SELECT is(watermark(), 5::bigint, 'then it comes to be above both');

-- Ids that were given to transactions that rolled back
BEGIN;
SELECT held_order(7, 'rolled back') AS gone \gset
ROLLBACK;
SELECT is(held_order(7, 'd'), 6::bigint, 'a rollback leaves an id unused');
CALL claim_until(7);
SELECT is(watermark(), 7::bigint, 'which does not hold the watermark back');

-- An abandoned order above the watermark is still found.
SELECT received_order(7, 'abandoned') AS abandoned, held_order(7, 'e') AS newest \gset
UPDATE order_service.orders SET created_at = now() - interval '2 h' WHERE order_id = :abandoned;
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled()), ARRAY[:abandoned::bigint],
    'an abandoned order above the watermark is claimed');
CALL claim_until(:newest + 1);
SELECT is(watermark(), :newest + 1::bigint, 'and no longer holds the watermark back');

-- One that fell below it by hand is beyond its reach: this is what "nothing below is RECEIVED" means.
SELECT received_order(7, 'hidden') AS hidden \gset
UPDATE order_service.orders SET created_at = now() - interval '2 h' WHERE order_id = :hidden;
UPDATE order_service.watermark SET value = :hidden + 1 WHERE name = 'orders';
SELECT is((SELECT count(*) FROM order_service.claim_unsettled()), 0::bigint,
    'orders below the watermark are not searched');
UPDATE order_service.watermark SET value = 0, candidate = 0, candidate_xid = '0' WHERE name = 'orders';
SELECT is((SELECT array_agg(order_id) FROM order_service.claim_unsettled()), ARRAY[:hidden::bigint],
    'a watermark set back to 0, as after a restore, finds all of them');

SELECT * FROM finish();
DROP EXTENSION order_service;
DROP SCHEMA order_service;
DROP PROCEDURE claim_until;
DROP FUNCTION watermark, held_order, received_order, state, events, stored, raises, raised;
DROP EXTENSION pgtap;
