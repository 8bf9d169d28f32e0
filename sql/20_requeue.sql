\unset ECHO
-- Events that Kafka refused for good: the view dlq and requeue(). No publisher runs here, so rows are put into the
-- state that it would leave.
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(25);

-- What the publisher does with the first event of an order when it gives it up.
CREATE FUNCTION give_up(id bigint, new_status smallint, error text) RETURNS void LANGUAGE sql AS $$
    UPDATE order_service.outbox SET status = new_status, retry_count = 3, last_error = error,
        next_attempt_at = now() + interval '1 h'
    WHERE order_id = id AND order_version = 1;
    INSERT INTO order_service.parked_order (order_id, event_id, parked_at)
    SELECT order_id, event_id, now() FROM order_service.outbox WHERE order_id = id AND order_version = 1;
$$;
CREATE FUNCTION shown() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s.%s %s %s %s %s +%s', order_id, order_version, event_type, status, attempts, error,
        waiting), '; ' ORDER BY order_id) FROM order_service.dlq
$$;
CREATE FUNCTION give_up_all() RETURNS void LANGUAGE sql AS $$
    DELETE FROM order_service.parked_order;
    SELECT give_up(1, 2::smallint, 'too large'), give_up(2, 3::smallint, 'too large'),
        give_up(3, 2::smallint, 'unknown topic');
$$;

SELECT place_order FROM generate_series(1, 4) i, order_service.place_order(7, 'k-' || i, 'AAPL', 'BUY', 'LIMIT', 1, 150000000)
\g /dev/null
SELECT order_service.cancel_order(7, 'c-1', 1) \g /dev/null

SELECT is(shown(), NULL, 'nothing has failed');
SELECT is(order_service.requeue_matching(), 0::bigint, 'so there is nothing to requeue');
SELECT give_up_all() \g /dev/null
SELECT is(shown(), '1.1 ORDER_ACCEPTED FAILED 3 too large +1; 2.1 ORDER_ACCEPTED DLQ 3 too large +0; '
    '3.1 ORDER_ACCEPTED FAILED 3 unknown topic +0', 'dlq shows the event, why it failed and how many wait for it');
SELECT is((SELECT count(*) FROM order_service.dlq WHERE age >= '0' AND failed_age >= '0'), 3::bigint,
    'and its ages');

SELECT is(order_service.requeue(4), 0::bigint, 'an event that has not failed is not requeued');
SELECT is(order_service.requeue(99), 0::bigint, 'nor one that does not exist');
SELECT is(order_service.requeue(p_event_id => 1), 1::bigint, 'an event can be requeued');
SELECT is((SELECT (status, retry_count, next_attempt_at, last_error)::text FROM order_service.outbox WHERE event_id = 1),
    '(0,0,,"too large")', 'it is READY, without a count or a delay, and its last error is kept');
SELECT is((SELECT string_agg(format('%s %s', order_id, is_requeued), ', ' ORDER BY order_id)
           FROM order_service.parked_order), '1 t, 2 f, 3 f', 'the publisher is told of that order only');
SELECT is(order_service.requeue(p_event_id => 1), 0::bigint, 'again: nothing to do');
SELECT is(shown(), '2.1 ORDER_ACCEPTED DLQ 3 too large +0; 3.1 ORDER_ACCEPTED FAILED 3 unknown topic +0',
    'dlq shows it no more');

SELECT give_up_all() \g /dev/null
SELECT is(order_service.requeue_matching(p_order_id => 2), 1::bigint, 'by order');
SELECT is(order_service.requeue_matching(p_error => 'unknown%'), 1::bigint, 'by error');
SELECT give_up_all() \g /dev/null
SELECT is(order_service.requeue_matching(p_status => 'DLQ'), 1::bigint, 'by status');
SELECT is(order_service.requeue_matching(p_status => 'FAILED', p_error => 'too%'), 1::bigint, 'by both at once');
SELECT give_up_all() \g /dev/null
SELECT is(order_service.requeue_matching(), 3::bigint, 'without a condition: all');
SELECT is(shown(), NULL, 'and nothing is left');

SELECT give_up_all() \g /dev/null
SELECT is(order_service.requeue_events(ARRAY[3, 99, NULL, 4, 1, 3]), 2::bigint, 'many ids: those that have not failed are passed over');
SELECT is(order_service.requeue_events('{}'), 0::bigint, 'no id');
SELECT is(order_service.requeue_events(NULL), 0::bigint, 'no array');
SELECT is(order_service.requeue(NULL), 0::bigint, 'NULL is no event, least of all every one');
SELECT is(shown(), '2.1 ORDER_ACCEPTED DLQ 3 too large +0', 'the others are left');
SELECT give_up_all() \g /dev/null
SELECT is((SELECT (failed, dlq, waiting)::text FROM order_service.outbox_lag), '(2,1,1)',
    'outbox_lag counts what failed, what is in the dead letter topic and what waits for them');
SELECT is((SELECT ready FROM order_service.outbox_lag), 1::bigint, 'apart from what is ready');
SELECT raises($$SELECT order_service.requeue_matching(p_status => 'SENT')$$, '22023',
    'no event of status "SENT" can be requeued', 'It must be FAILED, DLQ or NULL.', '', 'another status is refused');

SELECT * FROM finish();
ROLLBACK;
