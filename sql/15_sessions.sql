\unset ECHO
-- open_session(), find_sessions(), close_session(), prune_sessions().
BEGIN;
\i sql/setup/fixture.sql
SELECT plan(43);

-- Opening and finding -----------------------------------------------------------------------------------------

SELECT order_service.open_session(7) AS first, order_service.open_session(7) AS second,
    order_service.open_session(9223372036854775807, '1 h') AS third,
    order_service.open_session(7, '1 microsecond') AS short \gset
SELECT matches(:'first'::text, '^[0-9a-f]{64}$', 'a session id is 64 hexadecimal digits');
SELECT isnt(:'first'::text, :'second'::text, 'each session has its own id');
SELECT is((SELECT (account_id, expires_at = now() + interval '1 day')::text
           FROM order_service.find_sessions(ARRAY[:'first'])),
    '(7,t)', 'a session tells its account and ends after a day if nothing is said');
SELECT is((SELECT account_id FROM order_service.find_sessions(ARRAY[:'second'])), 7::bigint,
    'an account may have several');
SELECT is((SELECT (account_id, expires_at = now() + interval '1 h')::text
           FROM order_service.find_sessions(ARRAY[:'third'])),
    '(9223372036854775807,t)', 'a session ends when it was said to');
SELECT is((SELECT count(*) FROM order_service.session s WHERE s::text LIKE '%' || :'first' || '%'), 0::bigint,
    'the table does not tell a session''s id');
SELECT is((SELECT count(*) FROM order_service.session WHERE session_hash = sha256(:'first'::bytea)), 1::bigint,
    'it keeps the SHA-256 of it');
SELECT is((SELECT expires_at FROM order_service.find_sessions(ARRAY[:'short'])),
    now() + interval '1 microsecond', 'a session may be short');

SELECT raises(format('SELECT order_service.open_session(%s)', account), 'OS400', 'account id is not valid',
    format('Account id %s is not positive.', account), '', format('account %s gets no session', account))
FROM unnest(ARRAY['0', '-1', '-9223372036854775808', 'NULL']) AS account;
SELECT is((raised(format('SELECT order_service.open_session(7, %s)', ttl)))[1:3],
    ARRAY['OS400', 'time to live is not valid', 'It must be positive, and at most one year.'],
    format('a time to live of %s is refused', ttl))
FROM unnest(ARRAY['NULL', '''0''', '''-1 s''', '''-1 month''', '''366 days''', '''400000 years''']) AS ttl;
SELECT is((SELECT count(*) FROM order_service.session), 4::bigint, 'refused sessions are not stored');

CREATE FUNCTION no_session(id text, name text) RETURNS text LANGUAGE sql AS $$
    SELECT is((SELECT s::text FROM order_service.find_sessions(ARRAY[id]) AS s), '(1,,)', name)
$$;
SELECT no_session(id, name) FROM (VALUES
    ('', 'an empty session id is not found'), (NULL, 'no session id is not found'),
    (repeat('0', 64), 'a guessed session id is not found'), (repeat('0', 100000), 'a long session id is not found'),
    (upper(:'first'), 'a session id in upper case is not found'),
    (left(:'first', 63), 'a part of a session id is not found'),
    (:'first' || ' ', 'a session id with a space is not found'),
    (encode(sha256(:'first'::bytea), 'hex'), 'a hash from the table is no session id')) AS s (id, name);

SELECT is((SELECT string_agg(format('%s: %s %s', item, account_id, expires_at > now()), ', ' ORDER BY ordinality)
           FROM order_service.find_sessions(ARRAY[:'second', NULL, :'third', 'none', :'second']) WITH ORDINALITY),
    '1: 7 t, 2:  , 3: 9223372036854775807 t, 4:  , 5: 7 t', 'many are found at once, each in its place');
SELECT is_empty($$SELECT * FROM order_service.find_sessions('{}')$$, 'of none there are none');
SELECT is_empty($$SELECT * FROM order_service.find_sessions(NULL)$$, 'nor of NULL');

-- Ending ------------------------------------------------------------------------------------------------------

SELECT is(order_service.close_session(:'first'), true, 'a session can be closed');
SELECT no_session(:'first', 'and is not found any more');
SELECT is(order_service.close_session(:'first'), false, 'closing it twice tells so');
SELECT is((SELECT account_id FROM order_service.find_sessions(ARRAY[:'second'])), 7::bigint,
    'the account''s other session stays');
SELECT is(order_service.close_session(id), false, format('closing %s tells so', coalesce(quote_literal(id), 'NULL')))
FROM (VALUES (''), ('none'), (NULL)) AS s (id);
UPDATE order_service.session SET expires_at = now() WHERE session_hash = sha256(:'second'::bytea);
SELECT no_session(:'second', 'a session is not found from its end on');
UPDATE order_service.session SET expires_at = now() + interval '1 microsecond'
WHERE session_hash = sha256(:'second'::bytea);
SELECT is((SELECT account_id FROM order_service.find_sessions(ARRAY[:'second'])), 7::bigint, 'but until then');

-- Pruning -----------------------------------------------------------------------------------------------------

INSERT INTO order_service.session
SELECT sha256(n::text::bytea), 8, now() - make_interval(secs => n) FROM generate_series(0, 9) n;
SELECT is(order_service.prune_sessions(4), 4::bigint, 'expired sessions are pruned, as many as are asked for');
SELECT is(order_service.prune_sessions(), 6::bigint, 'the next call prunes the rest');
SELECT is(order_service.prune_sessions(), 0::bigint, 'then there is nothing left to prune');
SELECT is((SELECT count(*) FROM order_service.session), 3::bigint, 'open sessions are kept');

SELECT * FROM finish();
ROLLBACK;
