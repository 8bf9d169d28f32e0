-- order_service: tables and functions of the first release.
\echo Use "CREATE EXTENSION order_service" to load this file. \quit

-- Tables ------------------------------------------------------------------------------------------------------
--
-- Codes are smallint, as on the wire; order_detail shows them by name. Ids are (timeline - 1) << 44 | sequence:
-- 1, 2, 3 ... on a new cluster, and never used twice after a failover or a point-in-time recovery.

CREATE TABLE order_service.identity (
    reserve_prefix text NOT NULL DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 12),
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row)
);
COMMENT ON TABLE order_service.identity IS
    'What tells this order database from every other one that shares an Account service with it';
COMMENT ON COLUMN order_service.identity.is_only_row IS 'True: there is one row';
COMMENT ON COLUMN order_service.identity.reserve_prefix IS
    'First part of every reserve_id: an Account service must never see the same id from two databases';
INSERT INTO order_service.identity DEFAULT VALUES;

CREATE TABLE order_service.instrument (
    symbol text COLLATE "C" PRIMARY KEY CHECK (symbol ~ '^[A-Z0-9._-]{1,32}$'),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    tick bigint NOT NULL CHECK (tick > 0),
    lot bigint NOT NULL DEFAULT 1 CHECK (lot > 0),
    price_floor bigint NOT NULL CHECK (price_floor > 0),
    price_ceiling bigint NOT NULL CHECK (price_ceiling >= price_floor),
    halted boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE order_service.instrument IS 'What may be traded, and within which limits today';
COMMENT ON COLUMN order_service.instrument.symbol IS '1 to 32 characters of A-Z 0-9 . _ -';
COMMENT ON COLUMN order_service.instrument.currency IS 'ISO 4217 code';
COMMENT ON COLUMN order_service.instrument.tick IS 'A limit price is a multiple of this, micro-units';
COMMENT ON COLUMN order_service.instrument.lot IS 'A quantity is a multiple of this';
COMMENT ON COLUMN order_service.instrument.price_floor IS 'Lowest price of the day, micro-units';
COMMENT ON COLUMN order_service.instrument.price_ceiling IS
    'Highest price of the day, micro-units; a MARKET BUY reserves quantity times this';
COMMENT ON COLUMN order_service.instrument.halted IS 'True while no order is accepted';

CREATE SEQUENCE order_service.order_id_seq MAXVALUE 17592186044415 CACHE 1;
COMMENT ON SEQUENCE order_service.order_id_seq IS 'Low 44 bits of the last order id; the functions take many at once; CACHE must stay 1';

-- fillfactor 50 and no index on a column that changes: every status change is a HOT update. The tables on the path
-- of an order have no CHECK constraints: the server would parse each of them anew at every insert, which costs
-- more than the insert, and only the functions, which have checked every field, can write.
CREATE TABLE order_service.orders (
    order_id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    quantity bigint NOT NULL,
    price bigint NOT NULL,
    filled_quantity bigint NOT NULL DEFAULT 0,
    reserve_amount bigint NOT NULL DEFAULT 0,
    last_event_id bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    order_version integer NOT NULL DEFAULT 0,
    code smallint NOT NULL DEFAULT 0,
    side smallint NOT NULL,
    order_type smallint NOT NULL,
    time_in_force smallint NOT NULL,
    status smallint NOT NULL,
    hold smallint NOT NULL DEFAULT 0,
    reason smallint NOT NULL DEFAULT 0,
    currency text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    reserve_id text COLLATE "C"
) WITH (fillfactor = 50);
CREATE INDEX orders_account ON order_service.orders (account_id, order_id);
COMMENT ON TABLE order_service.orders IS 'Every order that was received, with its state; changed by functions only';
COMMENT ON INDEX order_service.orders_account IS 'The orders of an account, for list_orders()';
COMMENT ON COLUMN order_service.orders.order_id IS '(timeline - 1) << 44 | order_id_seq';
COMMENT ON COLUMN order_service.orders.account_id IS 'Owner, > 0';
COMMENT ON COLUMN order_service.orders.quantity IS 'Units ordered';
COMMENT ON COLUMN order_service.orders.price IS 'Micro-units per unit; 0 for MARKET';
COMMENT ON COLUMN order_service.orders.filled_quantity IS 'Units traded so far';
COMMENT ON COLUMN order_service.orders.reserve_amount IS
    'What Account was asked to reserve: micro-units for BUY, units for SELL; 0 without that step';
COMMENT ON COLUMN order_service.orders.last_event_id IS 'Newest outbox event of the order; 0 before the first';
COMMENT ON COLUMN order_service.orders.created_at IS 'When the order was received';
COMMENT ON COLUMN order_service.orders.updated_at IS 'When the state last changed';
COMMENT ON COLUMN order_service.orders.order_version IS 'Number of outbox events of the order';
COMMENT ON COLUMN order_service.orders.code IS
    'Business code the placement was answered with and its replays are; 0 while RECEIVED';
COMMENT ON COLUMN order_service.orders.side IS '1 BUY, 2 SELL';
COMMENT ON COLUMN order_service.orders.order_type IS '0 MARKET, 1 LIMIT';
COMMENT ON COLUMN order_service.orders.time_in_force IS '0 DAY, 1 GTC, 2 IOC, 3 FOK';
COMMENT ON COLUMN order_service.orders.status IS
    '0 RECEIVED, 1 ACCEPTED, 2 SENT, 3 PARTIALLY_FILLED, 4 FILLED, 5 CANCEL_REQUESTED, 6 CANCELED, 7 REJECTED';
COMMENT ON COLUMN order_service.orders.hold IS
    'What Account holds for the order: 0 NONE, 1 HELD, 2 UNKNOWN, 3 RELEASE_DUE';
COMMENT ON COLUMN order_service.orders.reason IS 'Why the order was rejected or ended; see reason_name()';
COMMENT ON COLUMN order_service.orders.currency IS 'Currency of price and reserve_amount';
COMMENT ON COLUMN order_service.orders.symbol IS 'Instrument';
COMMENT ON COLUMN order_service.orders.reserve_id IS
    'Id of the reservation at Account, the same for every attempt; NULL without that step';

-- The recorded order is the fingerprint: a repeated request is compared with its fields one by one, so a
-- mismatch can name the first that differs. The key comes before the account in the index: clients whose keys rise with
-- the time (UUIDv7) then write side by side, however many accounts there are and however many keys it holds.
CREATE TABLE order_service.idempotency_key (
    account_id bigint NOT NULL,
    order_id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    command smallint NOT NULL,
    key text COLLATE "C" NOT NULL,
    PRIMARY KEY (key, account_id)
);
CREATE INDEX idempotency_key_created_at ON order_service.idempotency_key USING brin (created_at);
COMMENT ON TABLE order_service.idempotency_key IS 'Keys in use, each with what it was used for';
COMMENT ON INDEX order_service.idempotency_key_created_at IS 'Finds expired keys; rows come in time order';
COMMENT ON COLUMN order_service.idempotency_key.account_id IS 'Scope of the key';
COMMENT ON COLUMN order_service.idempotency_key.order_id IS 'The order it placed, or was to cancel';
COMMENT ON COLUMN order_service.idempotency_key.created_at IS
    'Start of its retention, order_service.idempotency_retention';
COMMENT ON COLUMN order_service.idempotency_key.command IS '1 place, 2 cancel';
COMMENT ON COLUMN order_service.idempotency_key.key IS '1 to 128 printable ASCII characters, chosen by the client';

CREATE SEQUENCE order_service.event_id_seq MAXVALUE 17592186044415 CACHE 1;
COMMENT ON SEQUENCE order_service.event_id_seq IS 'Low 44 bits of the last event id; the functions take many at once; CACHE must stay 1';

-- What comes before retry_count lies in each row at the same offset: the publisher writes status and sent_at there.
CREATE TABLE order_service.outbox (
    event_id bigint PRIMARY KEY,
    previous_event_id bigint NOT NULL,
    order_id bigint NOT NULL,
    account_id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT 'infinity',
    order_version integer NOT NULL,
    event_type smallint NOT NULL,
    status smallint NOT NULL DEFAULT 0,
    retry_count smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    payload bytea NOT NULL,
    last_error text
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE order_service.outbox IS 'Events, written with the change they tell of; the publisher sends them';
COMMENT ON COLUMN order_service.outbox.event_id IS '(timeline - 1) << 44 | event_id_seq; rises with order_version';
COMMENT ON COLUMN order_service.outbox.previous_event_id IS
    'The event before it of the same order, which must reach Kafka first; 0 for the first';
COMMENT ON COLUMN order_service.outbox.order_id IS 'The order; key of the Kafka record unless order_service.event_key says otherwise';
COMMENT ON COLUMN order_service.outbox.account_id IS 'Owner of the order';
COMMENT ON COLUMN order_service.outbox.created_at IS 'Start of the transaction that made the change';
COMMENT ON COLUMN order_service.outbox.sent_at IS 'When the broker''s acknowledgement was recorded; infinity until then';
COMMENT ON COLUMN order_service.outbox.order_version IS '1, 2, 3, ... without gaps within an order';
COMMENT ON COLUMN order_service.outbox.event_type IS
    '1 ORDER_ACCEPTED, 2 ORDER_REJECTED, 3 ORDER_CANCEL_REQUESTED, 4 ORDER_SENT, 5 ORDER_PARTIALLY_FILLED, 6 ORDER_FILLED, 7 ORDER_CANCELED, 8 ORDER_CANCEL_REJECTED';
COMMENT ON COLUMN order_service.outbox.status IS '0 READY, 1 SENT, 2 FAILED, 3 DLQ';
COMMENT ON COLUMN order_service.outbox.retry_count IS 'Attempts that failed by the event''s own fault';
COMMENT ON COLUMN order_service.outbox.next_attempt_at IS 'Not to be tried before this; NULL: at once';
COMMENT ON COLUMN order_service.outbox.payload IS 'Protobuf order_service.v1.OrderEvent';
COMMENT ON COLUMN order_service.outbox.last_error IS 'What the last failed attempt said';

CREATE TABLE order_service.parked_order (
    order_id bigint PRIMARY KEY,
    event_id bigint NOT NULL,
    parked_at timestamptz NOT NULL,
    is_requeued boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE order_service.parked_order IS
    'Orders with an event that Kafka refused for good: it and all later ones of the order wait for requeue(). Like watermark not dumped: the publisher of a restored database makes the rows anew';
COMMENT ON COLUMN order_service.parked_order.order_id IS 'The order';
COMMENT ON COLUMN order_service.parked_order.event_id IS 'The event that is FAILED or DLQ';
COMMENT ON COLUMN order_service.parked_order.parked_at IS
    'When the event became FAILED, or was found to be in a table restored from a dump';
COMMENT ON COLUMN order_service.parked_order.is_requeued IS
    'True from requeue() until the publisher has taken the order up again and deletes the row';

CREATE TABLE order_service.execution (
    execution_id text COLLATE "C" PRIMARY KEY CHECK (octet_length(execution_id) BETWEEN 1 AND 128),
    order_id bigint NOT NULL,
    last_quantity bigint NOT NULL CHECK (last_quantity >= 0),
    last_price bigint NOT NULL CHECK (last_price >= 0),
    created_at timestamptz NOT NULL,
    execution_type smallint NOT NULL CHECK (execution_type BETWEEN 0 AND 5)
);
CREATE INDEX execution_order ON order_service.execution (order_id);
COMMENT ON TABLE order_service.execution IS 'Reports of the exchange that were applied, once each';
COMMENT ON INDEX order_service.execution_order IS 'The fills of an order';
COMMENT ON COLUMN order_service.execution.execution_id IS 'The exchange''s id of the report';
COMMENT ON COLUMN order_service.execution.order_id IS 'The order it is about';
COMMENT ON COLUMN order_service.execution.last_quantity IS 'Units traded by this report; 0 unless TRADE';
COMMENT ON COLUMN order_service.execution.last_price IS 'Micro-units per unit of this trade; 0 unless TRADE';
COMMENT ON COLUMN order_service.execution.created_at IS 'When it was applied';
COMMENT ON COLUMN order_service.execution.execution_type IS
    '0 NEW, 1 TRADE, 2 CANCELED, 3 REJECTED, 4 EXPIRED, 5 CANCEL_REJECTED';

CREATE TABLE order_service.hold_debt (
    order_id bigint PRIMARY KEY,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    set_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX hold_debt_due ON order_service.hold_debt (due_at);
COMMENT ON INDEX order_service.hold_debt_due IS 'The debts that are due, oldest first';
COMMENT ON TABLE order_service.hold_debt IS
    'Orders whose hold is UNKNOWN or RELEASE_DUE: what the resolver still owes to Account';
COMMENT ON COLUMN order_service.hold_debt.order_id IS 'The order';
COMMENT ON COLUMN order_service.hold_debt.due_at IS 'When to try next; a claim moves it to the end of the lease';
COMMENT ON COLUMN order_service.hold_debt.attempts IS 'How often it was claimed';
COMMENT ON COLUMN order_service.hold_debt.set_at IS
    'When due_at was set; if that is yet to come, the clock was set back, and the debt is due';

CREATE TABLE order_service.session (
    session_hash bytea PRIMARY KEY CHECK (octet_length(session_hash) = 32),
    account_id bigint NOT NULL CHECK (account_id > 0),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE order_service.session IS 'Open sessions; the id itself is known to its holder only';
COMMENT ON COLUMN order_service.session.session_hash IS 'SHA-256 of the session id';
COMMENT ON COLUMN order_service.session.account_id IS 'Whose session it is';
COMMENT ON COLUMN order_service.session.expires_at IS 'Not valid from then on';

CREATE TABLE order_service.watermark (
    name text PRIMARY KEY CHECK (name IN ('outbox', 'orders')),
    value bigint NOT NULL DEFAULT 0,
    candidate bigint NOT NULL DEFAULT 0,
    candidate_xid xid8 NOT NULL DEFAULT '0'
) WITH (fillfactor = 10);
COMMENT ON TABLE order_service.watermark IS
    'Ids below which nothing is left to do, so that unfinished rows are found without an index on their state';
COMMENT ON COLUMN order_service.watermark.name IS 'outbox: events to publish; orders: orders left RECEIVED';
COMMENT ON COLUMN order_service.watermark.value IS 'Every id below it is finished';
COMMENT ON COLUMN order_service.watermark.candidate IS 'The next value, once no older transaction can commit below it';
COMMENT ON COLUMN order_service.watermark.candidate_xid IS 'Transactions from here on take ids above candidate';
INSERT INTO order_service.watermark (name) VALUES ('outbox'), ('orders');

-- identity and watermark are not dumped: a restored copy reserves under a prefix of its own, because it may hand
-- out order ids again that the original used after the dump, and looks for unfinished rows from the start.
SELECT pg_catalog.pg_extension_config_dump('order_service.instrument', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.order_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.orders', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.idempotency_key', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.execution', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.hold_debt', '');
SELECT pg_catalog.pg_extension_config_dump('order_service.session', '');

-- Names of codes ----------------------------------------------------------------------------------------------

CREATE FUNCTION order_service.side_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_side_name';
COMMENT ON FUNCTION order_service.side_name(smallint) IS 'BUY or SELL; NULL for a code without a name';
CREATE FUNCTION order_service.order_type_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_order_type_name';
COMMENT ON FUNCTION order_service.order_type_name(smallint) IS 'MARKET or LIMIT; NULL for a code without a name';
CREATE FUNCTION order_service.time_in_force_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_time_in_force_name';
COMMENT ON FUNCTION order_service.time_in_force_name(smallint) IS 'DAY, GTC, IOC or FOK; NULL for a code without a name';
CREATE FUNCTION order_service.status_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_status_name';
COMMENT ON FUNCTION order_service.status_name(smallint) IS 'Name of an order status; NULL for a code without a name';
CREATE FUNCTION order_service.hold_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_hold_name';
COMMENT ON FUNCTION order_service.hold_name(smallint) IS 'Name of what Account holds; NULL for a code without a name';
CREATE FUNCTION order_service.event_type_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_event_type_name';
COMMENT ON FUNCTION order_service.event_type_name(smallint) IS 'Name of an event type; NULL for a code without a name';
CREATE FUNCTION order_service.execution_type_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_execution_type_name';
COMMENT ON FUNCTION order_service.execution_type_name(smallint) IS 'Name of an execution type, in FIX terms; NULL for a code without a name';
CREATE FUNCTION order_service.outbox_status_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_outbox_status_name';
COMMENT ON FUNCTION order_service.outbox_status_name(smallint) IS 'READY, SENT, FAILED or DLQ; NULL for a code without a name';
CREATE FUNCTION order_service.reason_name(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_reason_name';
COMMENT ON FUNCTION order_service.reason_name(smallint) IS 'Name of a reason; NULL for a code without a name';
CREATE FUNCTION order_service.reason_message(p_code smallint) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_reason_message';
COMMENT ON FUNCTION order_service.reason_message(smallint) IS 'A reason in one line; NULL for a code without a name';

CREATE FUNCTION order_service.event_json(p_payload bytea) RETURNS json
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'functions_event_json';
COMMENT ON FUNCTION order_service.event_json(bytea) IS
    'The payload of an event as JSON, as it is published with order_service.event_format = json. Errors: 22P03 not an event';

CREATE VIEW order_service.order_detail AS
SELECT o.order_id, o.account_id, o.symbol, order_service.side_name(o.side) AS side,
       order_service.order_type_name(o.order_type) AS order_type, o.quantity, o.price,
       order_service.time_in_force_name(o.time_in_force) AS time_in_force,
       order_service.status_name(o.status) AS status, o.filled_quantity,
       CASE WHEN o.reason <> 0 THEN order_service.reason_name(o.reason) END AS reason,
       order_service.hold_name(o.hold) AS hold, o.reserve_id, o.reserve_amount, o.currency, o.order_version,
       o.created_at, o.updated_at
FROM order_service.orders o;
COMMENT ON VIEW order_service.order_detail IS 'orders with names instead of codes';

CREATE VIEW order_service.outbox_detail AS
SELECT b.event_id, b.order_id, b.order_version, order_service.event_type_name(b.event_type) AS event_type,
       order_service.outbox_status_name(b.status) AS status, b.retry_count, b.created_at,
       nullif(b.sent_at, 'infinity') AS sent_at,
       b.next_attempt_at, b.last_error
FROM order_service.outbox b;
COMMENT ON VIEW order_service.outbox_detail IS 'outbox with names instead of codes, without the payload';

CREATE VIEW order_service.dlq AS
SELECT b.event_id, b.order_id, b.order_version, order_service.event_type_name(b.event_type) AS event_type,
       order_service.outbox_status_name(b.status) AS status, b.retry_count AS attempts, b.last_error AS error,
       b.created_at, now() - b.created_at AS age, p.parked_at AS failed_at, now() - p.parked_at AS failed_age,
       o.order_version - b.order_version AS waiting
FROM order_service.parked_order p
JOIN order_service.outbox b ON b.event_id = p.event_id
JOIN order_service.orders o ON o.order_id = p.order_id
WHERE b.status IN (2, 3);
COMMENT ON VIEW order_service.dlq IS
    'Events that Kafka refused for good, FAILED or already in the dead letter topic (DLQ), and how many later events of their orders wait for them; see requeue()';

-- Commands, single form: a refusal is an error with SQLSTATE "OS" and the business code ----------------------

CREATE FUNCTION order_service.refuse(p_reason text, p_detail text) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'names_refuse';
COMMENT ON FUNCTION order_service.refuse(text, text) IS
    'Raises the error of a reason, given by name, with this detail (NULL: none)';

CREATE FUNCTION order_service.place_order(
    p_account_id bigint, p_idempotency_key text, p_symbol text, p_side text, p_order_type text,
    p_quantity bigint, p_price bigint DEFAULT 0, p_time_in_force text DEFAULT 'DAY',
    OUT order_id bigint, OUT status text, OUT code smallint, OUT reason text, OUT replayed boolean,
    OUT filled_quantity bigint, OUT updated_at timestamptz)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_place_order';
COMMENT ON FUNCTION order_service.place_order(bigint, text, text, text, text, bigint, bigint, text) IS
    'Places an order in one transaction, without a reservation at Account. Price in micro-units, 0 for MARKET. A repeated key gives the recorded result with replayed = true. Errors: OS400 invalid, OS404 unknown symbol, OS409 halted or still in progress, OS422 key used for another request';

CREATE FUNCTION order_service.cancel_order(
    p_account_id bigint, p_idempotency_key text, p_order_id bigint,
    OUT order_id bigint, OUT status text, OUT code smallint, OUT reason text, OUT replayed boolean,
    OUT filled_quantity bigint, OUT updated_at timestamptz)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_cancel_order';
COMMENT ON FUNCTION order_service.cancel_order(bigint, text, bigint) IS
    'Asks for an order to be canceled: CANCEL_REQUESTED until the exchange confirms. Errors: OS400 invalid, OS403 not yours, OS404 unknown order, OS409 wrong state, OS422 key used for another request';

CREATE FUNCTION order_service.apply_execution(
    p_execution_id text, p_order_id bigint, p_execution_type text,
    p_last_quantity bigint DEFAULT 0, p_last_price bigint DEFAULT 0,
    OUT order_id bigint, OUT status text, OUT code smallint, OUT reason text, OUT replayed boolean,
    OUT filled_quantity bigint, OUT updated_at timestamptz)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_apply_execution';
COMMENT ON FUNCTION order_service.apply_execution(text, bigint, text, bigint, bigint) IS
    'Applies a report of the exchange once: NEW, TRADE, CANCELED, REJECTED, EXPIRED or CANCEL_REJECTED. Quantity in units and price in micro-units for TRADE, else 0. The rest of a hold becomes RELEASE_DUE when the order ends. Errors: OS400 invalid, OS404 unknown order, OS409 wrong state, OS422 id used for another report';

-- Commands, array form: one result per item, in the order of the input; a refused item never fails another ----

CREATE FUNCTION order_service.place_orders(
    p_account_ids bigint[], p_idempotency_keys text[], p_symbols text[], p_sides smallint[],
    p_order_types smallint[], p_quantities bigint[], p_prices bigint[], p_times_in_force smallint[])
    RETURNS TABLE (item integer, code smallint, reason smallint, detail text, order_id bigint, status smallint,
                   replayed boolean, filled_quantity bigint, updated_at timestamptz)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_place_orders';
COMMENT ON FUNCTION order_service.place_orders(
    bigint[], text[], text[], smallint[], smallint[], bigint[], bigint[], smallint[]) IS
    'place_order() for many. Items count from 1. Errors: OS400 for arrays of unequal length or too many items';

CREATE FUNCTION order_service.place_orders_packed(
    p_account_ids bigint[], p_idempotency_keys text[], p_symbols text[], p_sides smallint[],
    p_order_types smallint[], p_quantities bigint[], p_prices bigint[], p_times_in_force smallint[])
    RETURNS bytea
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_place_orders';
COMMENT ON FUNCTION order_service.place_orders_packed(
    bigint[], text[], text[], smallint[], smallint[], bigint[], bigint[], smallint[]) IS
    'place_orders() for a program: its rows as one value. Big-endian: number of rows (4 bytes); of each row the number of cells (2); of each cell its size (4; -1: NULL) and its value in binary format, a text with a zero byte behind it that counts';

CREATE FUNCTION order_service.receive_orders(
    p_account_ids bigint[], p_idempotency_keys text[], p_symbols text[], p_sides smallint[],
    p_order_types smallint[], p_quantities bigint[], p_prices bigint[], p_times_in_force smallint[])
    RETURNS TABLE (item integer, code smallint, reason smallint, detail text, order_id bigint, status smallint,
                   replayed boolean, filled_quantity bigint, updated_at timestamptz, reserve_id text,
                   currency text, reserve_amount bigint)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_receive_orders';
COMMENT ON FUNCTION order_service.receive_orders(
    bigint[], text[], text[], smallint[], smallint[], bigint[], bigint[], smallint[]) IS
    'Records orders as RECEIVED with the id under which to reserve at Account: code 200 and status 0 ask the caller to reserve and then settle; so may code 409 IN_PROGRESS, for a caller that has lost its first answer. Items count from 1. Errors: OS400 for arrays of unequal length or too many items';

CREATE FUNCTION order_service.receive_orders_packed(
    p_account_ids bigint[], p_idempotency_keys text[], p_symbols text[], p_sides smallint[],
    p_order_types smallint[], p_quantities bigint[], p_prices bigint[], p_times_in_force smallint[])
    RETURNS bytea
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_receive_orders';
COMMENT ON FUNCTION order_service.receive_orders_packed(
    bigint[], text[], text[], smallint[], smallint[], bigint[], bigint[], smallint[]) IS
    'receive_orders() for a program: its rows as one value, as place_orders_packed() has them';

CREATE FUNCTION order_service.settle_orders(p_order_ids bigint[], p_reasons smallint[], p_holds smallint[])
    RETURNS TABLE (item integer, code smallint, reason smallint, detail text, order_id bigint, status smallint,
                   replayed boolean, filled_quantity bigint, updated_at timestamptz)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_settle_orders';
COMMENT ON FUNCTION order_service.settle_orders(bigint[], smallint[], smallint[]) IS
    'Accepts (reason 0, hold 0 or 1) or rejects (a reason of Account, hold 0 or 2) orders that are RECEIVED; for any other it returns the state it found, replayed = true, and where that has ended with no hold, hold 1 or 2 becomes a debt. Errors: OS400 for arrays of unequal length or too many items';

CREATE FUNCTION order_service.settle_orders_packed(p_order_ids bigint[], p_reasons smallint[], p_holds smallint[])
    RETURNS bytea
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_settle_orders';
COMMENT ON FUNCTION order_service.settle_orders_packed(bigint[], smallint[], smallint[]) IS
    'settle_orders() for a program: its rows as one value, as place_orders_packed() has them';

CREATE FUNCTION order_service.cancel_orders(
    p_account_ids bigint[], p_idempotency_keys text[], p_order_ids bigint[])
    RETURNS TABLE (item integer, code smallint, reason smallint, detail text, order_id bigint, status smallint,
                   replayed boolean, filled_quantity bigint, updated_at timestamptz)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_cancel_orders';
COMMENT ON FUNCTION order_service.cancel_orders(bigint[], text[], bigint[]) IS
    'cancel_order() for many. Errors: OS400 for arrays of unequal length or too many items';

CREATE FUNCTION order_service.claim_unsettled(
    p_limit integer DEFAULT 100, p_lease interval DEFAULT '30 s')
    RETURNS TABLE (order_id bigint, account_id bigint, side smallint, symbol text, hold smallint,
                   reserve_id text, currency text, reserve_amount bigint, attempts integer)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_claim_unsettled';
COMMENT ON FUNCTION order_service.claim_unsettled(integer, interval) IS
    'Rejects orders left RECEIVED for longer than order_service.received_timeout as EXPIRED_BEFORE_ACCEPTANCE, then leases up to p_limit orders whose hold is UNKNOWN or RELEASE_DUE to the caller. Never waits for a lock';

CREATE FUNCTION order_service.record_hold(
    p_order_ids bigint[], p_holds smallint[], p_retry_after_ms integer[])
    RETURNS TABLE (item integer, code smallint, reason smallint, detail text, order_id bigint, hold smallint)
    LANGUAGE C VOLATILE SECURITY DEFINER AS 'MODULE_PATHNAME', 'functions_record_hold';
COMMENT ON FUNCTION order_service.record_hold(bigint[], smallint[], integer[]) IS
    'Records what a resolver learnt: hold 0 NONE pays the debt, 2 UNKNOWN and 3 RELEASE_DUE keep it, due again after so many milliseconds (>= 0). Errors: OS400 for arrays of unequal length or too many items';

DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'order_service'::regnamespace AND p.prosecdef
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', function);
    END LOOP;
END
$$;

-- Queries -----------------------------------------------------------------------------------------------------

-- What is switched off would be chosen while a table is small, and kept when it has grown, or for an account with many
-- orders: then one request reads all orders that there are.
CREATE FUNCTION order_service.get_order(p_account_id bigint, p_order_id bigint)
    RETURNS SETOF order_service.order_detail
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off AS $$
DECLARE
    found_order order_service.order_detail;
BEGIN
    SELECT * INTO found_order FROM order_service.order_detail d WHERE d.order_id = p_order_id;
    IF found_order.order_id IS NULL THEN
        PERFORM order_service.refuse('UNKNOWN_ORDER', format('Order id is %s.', coalesce(p_order_id::text, 'NULL')));
    ELSIF found_order.account_id IS DISTINCT FROM p_account_id THEN
        PERFORM order_service.refuse('NOT_YOURS', format('Order id is %s.', p_order_id));
    END IF;
    RETURN NEXT found_order;
END
$$;
COMMENT ON FUNCTION order_service.get_order(bigint, bigint) IS
    'One order of an account. Errors: OS403 not yours, OS404 unknown order';

CREATE FUNCTION order_service.find_order(p_account_id bigint, p_idempotency_key text)
    RETURNS SETOF order_service.order_detail
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    found_order order_service.order_detail;
BEGIN
    SELECT d.* INTO found_order
    FROM order_service.idempotency_key k JOIN order_service.order_detail d USING (order_id)
    WHERE k.account_id = p_account_id AND k.key = p_idempotency_key
      AND k.created_at >= now() - current_setting('order_service.idempotency_retention')::interval;
    IF found_order.order_id IS NULL THEN
        PERFORM order_service.refuse('UNKNOWN_ORDER', 'No order was recorded under this idempotency key.');
    END IF;
    RETURN NEXT found_order;
END
$$;
COMMENT ON FUNCTION order_service.find_order(bigint, text) IS
    'The order that a key of the account placed or asked to cancel; tells what became of a request whose answer was lost. Errors: OS404 unknown order';

-- The comparison of rows asks for the order of orders_account, which no other index has: one of order_id alone would
-- be gone through, past everybody's orders. With that there is one plan for all accounts, which need not be made, nor
-- compiled, for each.
CREATE FUNCTION order_service.list_orders(
    p_account_id bigint, p_open_only boolean DEFAULT false, p_after_order_id bigint DEFAULT 0,
    p_limit integer DEFAULT 100)
    RETURNS SETOF order_service.order_detail
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    RETURN QUERY
    SELECT d.* FROM (
        SELECT o.account_id, o.order_id FROM order_service.orders o
        WHERE (o.account_id, o.order_id) > (p_account_id, coalesce(p_after_order_id, 0))
          AND (o.account_id, o.order_id) <= (p_account_id, 9223372036854775807)
          AND (p_open_only IS NOT TRUE OR o.status NOT IN (4, 6, 7))
        ORDER BY o.account_id, o.order_id
        LIMIT least(greatest(coalesce(p_limit, 100), 0), 1000)) AS page
    JOIN order_service.order_detail d ON d.order_id = page.order_id
    ORDER BY page.account_id, page.order_id;
END
$$;
COMMENT ON FUNCTION order_service.list_orders(bigint, boolean, bigint, integer) IS
    'Orders of an account by id, a page at a time: pass the last id as p_after_order_id. At most 1000 rows';

-- Sessions ----------------------------------------------------------------------------------------------------

CREATE FUNCTION order_service.open_session(p_account_id bigint, p_ttl interval DEFAULT '1 day') RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Two version 4 UUIDs: 244 random bits.
    session_id text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
BEGIN
    IF p_account_id IS NULL OR p_account_id <= 0 THEN
        PERFORM order_service.refuse('ACCOUNT_INVALID', format('Account id %s is not positive.',
            coalesce(p_account_id::text, 'NULL')));
    ELSIF p_ttl IS NULL OR p_ttl <= interval '0' OR p_ttl > interval '1 year' THEN
        PERFORM order_service.refuse('TIME_TO_LIVE_INVALID', 'It must be positive, and at most one year.');
    END IF;
    INSERT INTO order_service.session (session_hash, account_id, expires_at)
    VALUES (sha256(convert_to(session_id, 'UTF8')), p_account_id, now() + p_ttl);
    RETURN session_id;
END
$$;
COMMENT ON FUNCTION order_service.open_session(bigint, interval) IS
    'Opens a session for an account, of at most a year, and returns its id, 64 hexadecimal digits. Only a hash is kept. Errors: OS400 invalid';

-- plpgsql keeps the plan of the statement; a function in SQL would plan it at each call. What is switched off would be
-- chosen while the table is small, and kept when it has grown.
CREATE FUNCTION order_service.find_sessions(p_session_ids text[])
    RETURNS TABLE (item integer, account_id bigint, expires_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY
    SELECT i.item::integer, s.account_id, s.expires_at
    FROM unnest(p_session_ids) WITH ORDINALITY AS i (session_id, item)
    LEFT JOIN order_service.session s
        ON s.session_hash = sha256(convert_to(i.session_id, 'UTF8')) AND s.expires_at > now()
    ORDER BY i.item;
END
$$;
COMMENT ON FUNCTION order_service.find_sessions(text[]) IS
    'Whose sessions these are: a row for each id, in order, counted from 1; account and end are NULL where the session is unknown or has expired';

CREATE FUNCTION order_service.close_session(p_session_id text) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH closed AS (
        DELETE FROM order_service.session WHERE session_hash = sha256(convert_to(p_session_id, 'UTF8'))
        RETURNING 1)
    SELECT EXISTS (SELECT FROM closed)
$$;
COMMENT ON FUNCTION order_service.close_session(text) IS 'Ends a session; false when there was none';

-- Operation ---------------------------------------------------------------------------------------------------

CREATE FUNCTION order_service.prune_idempotency_keys(p_limit integer DEFAULT 1000) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH expired AS (
        SELECT k.ctid FROM order_service.idempotency_key k
        WHERE k.created_at < now() - current_setting('order_service.idempotency_retention')::interval
        LIMIT p_limit FOR UPDATE SKIP LOCKED),
    pruned AS (
        DELETE FROM order_service.idempotency_key k USING expired e WHERE k.ctid = e.ctid RETURNING 1)
    SELECT count(*) FROM pruned
$$;
COMMENT ON FUNCTION order_service.prune_idempotency_keys(integer) IS
    'Deletes up to p_limit keys past their retention and returns how many; call it until it returns less. Expired keys count as unused even before';

CREATE FUNCTION order_service.prune_sessions(p_limit integer DEFAULT 1000) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH expired AS (
        SELECT s.session_hash FROM order_service.session s WHERE s.expires_at <= now()
        LIMIT p_limit FOR UPDATE SKIP LOCKED),
    pruned AS (
        DELETE FROM order_service.session s USING expired e WHERE s.session_hash = e.session_hash RETURNING 1)
    SELECT count(*) FROM pruned
$$;
COMMENT ON FUNCTION order_service.prune_sessions(integer) IS
    'Deletes up to p_limit expired sessions and returns how many';

CREATE FUNCTION order_service.wake_publisher() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'functions_wake_publisher';
COMMENT ON FUNCTION order_service.wake_publisher() IS
    'Has the publisher look for events in the table when this transaction has committed';

-- FAILED and DLQ events are shown by the view dlq, in which one row is one parked order. Putting its event back is all
-- there is to do: the publisher sends it, and then the events of the order that waited for it.
CREATE FUNCTION order_service.requeue_events(p_event_ids bigint[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    requeued bigint;
BEGIN
    -- In the order of ids, so that two of these wait for each other instead of ending in a deadlock.
    WITH failed AS (
        SELECT b.event_id FROM order_service.outbox b JOIN order_service.parked_order p ON p.event_id = b.event_id
        WHERE b.event_id = ANY (p_event_ids) AND b.status IN (2, 3) ORDER BY b.event_id FOR UPDATE OF b),
    ready AS (
        UPDATE order_service.outbox b SET status = 0, retry_count = 0, next_attempt_at = NULL
        FROM failed f WHERE b.event_id = f.event_id RETURNING b.order_id),
    told AS (
        UPDATE order_service.parked_order p SET is_requeued = true FROM ready r WHERE p.order_id = r.order_id
        RETURNING 1)
    SELECT count(*) INTO requeued FROM told;
    IF requeued > 0 THEN
        PERFORM order_service.wake_publisher();
    END IF;
    RETURN requeued;
END
$$;
COMMENT ON FUNCTION order_service.requeue_events(bigint[]) IS
    'requeue() for many: ids of events that are not FAILED or DLQ are passed over; returns how many were requeued';

CREATE FUNCTION order_service.requeue(p_event_id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT order_service.requeue_events(ARRAY[p_event_id])
$$;
COMMENT ON FUNCTION order_service.requeue(bigint) IS
    'Has a FAILED or DLQ event published again, with no attempt counted, and after it the later events of its order. Returns 1, or 0 when the event is not FAILED or DLQ';

CREATE FUNCTION order_service.requeue_matching(
    p_order_id bigint DEFAULT NULL, p_error text DEFAULT NULL, p_status text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_status NOT IN ('FAILED', 'DLQ') THEN
        RAISE EXCEPTION 'no event of status "%" can be requeued', p_status
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be FAILED, DLQ or NULL.';
    END IF;
    RETURN order_service.requeue_events(ARRAY(
        SELECT d.event_id FROM order_service.dlq d
        WHERE (p_order_id IS NULL OR d.order_id = p_order_id) AND (p_error IS NULL OR d.error LIKE p_error)
          AND (p_status IS NULL OR d.status = p_status)));
END
$$;
COMMENT ON FUNCTION order_service.requeue_matching(bigint, text, text) IS
    'requeue() for all events in the view dlq of an order, with an error (LIKE pattern) and of a status, FAILED or DLQ; a condition that is NULL is none. Returns how many. Errors: 22023 another status';

CREATE FUNCTION order_service.preloaded() RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'names_preloaded';
COMMENT ON FUNCTION order_service.preloaded() IS
    'Whether the library is in shared_preload_libraries, without which nothing is published';

CREATE FUNCTION order_service.publisher_stats(
    OUT database text, OUT pid integer, OUT state text, OUT ring_size bigint, OUT ring_used bigint,
    OUT ring_overflows bigint, OUT in_flight bigint, OUT waiting bigint, OUT gaps bigint, OUT low_water bigint,
    OUT from_ring bigint, OUT from_table bigint, OUT sent bigint, OUT refused bigint, OUT failed bigint,
    OUT dlq bigint, OUT dlq_refused bigint, OUT parked bigint, OUT catch_ups bigint, OUT outages bigint,
    OUT fatal_errors bigint, OUT removed bigint, OUT last_error text,
    OUT latency_p50_ms double precision, OUT latency_p99_ms double precision, OUT latency_buckets bigint[])
    RETURNS SETOF record
    LANGUAGE C VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'stats_publisher';
COMMENT ON FUNCTION order_service.publisher_stats() IS
    'The publisher of each database in order_service.databases, since the server started; no row when not preloaded. latency_buckets[i] counts the events that took less than 2^i microseconds from their commit to the acknowledgement, and not less than half of that; the quantiles are upper bounds from it';

CREATE VIEW order_service.stats AS SELECT * FROM order_service.publisher_stats();
COMMENT ON VIEW order_service.stats IS 'State and counters of the publishers of this cluster';

-- Of what lies above the watermark the planner knows nothing, and would prepare for a third of the table. Between two
-- bounds it expects one row in 200.
CREATE VIEW order_service.outbox_lag AS
SELECT r.ready, r.oldest, now() - r.oldest AS oldest_age, d.failed, d.dlq, d.waiting
FROM (
    SELECT count(*) AS ready, min(b.created_at) AS oldest
    FROM order_service.outbox b
    WHERE b.status = 0 AND b.event_id >= (SELECT w.value FROM order_service.watermark w WHERE w.name = 'outbox')
      AND b.event_id <= 9223372036854775807
      AND NOT EXISTS (
          SELECT FROM order_service.parked_order p
          WHERE p.order_id = b.order_id AND p.event_id <= b.event_id AND NOT p.is_requeued)) r,
(
    SELECT count(*) FILTER (WHERE status = 'FAILED') AS failed, count(*) FILTER (WHERE status = 'DLQ') AS dlq,
           coalesce(sum(waiting), 0)::bigint AS waiting
    FROM order_service.dlq) d;
COMMENT ON VIEW order_service.outbox_lag IS
    'Events committed and not yet known to be in Kafka: ready (how many, since when), and apart from these the ones that failed for good, FAILED or DLQ, with those that wait for them';

CREATE FUNCTION order_service.order_events(p_order_id bigint) RETURNS SETOF order_service.outbox_detail
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH RECURSIVE chain (event_id) AS (
        SELECT o.last_event_id FROM order_service.orders o WHERE o.order_id = p_order_id
        UNION ALL
        SELECT b.previous_event_id FROM chain c JOIN order_service.outbox b ON b.event_id = c.event_id)
    SELECT d.* FROM chain c JOIN order_service.outbox_detail d ON d.event_id = c.event_id ORDER BY d.event_id
$$;
COMMENT ON FUNCTION order_service.order_events(bigint) IS
    'The events of an order that are still in the outbox, by version. Follows them back from the newest, so it reads no other rows';

CREATE FUNCTION order_service.outbox_position(OUT end_id bigint, OUT horizon xid8)
    LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'functions_outbox_position';
COMMENT ON FUNCTION order_service.outbox_position() IS
    'For who follows the outbox: every event id below end_id was taken by a transaction below horizon, so a later snapshot whose xmin has reached the horizon shows all of them that there will ever be. Errors: 55000 on a standby';

CREATE FUNCTION order_service.grant_proxy(p_role name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    function regprocedure;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA order_service TO %I', p_role);
    FOR function IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'order_service'::regnamespace AND p.proname IN (
            'receive_orders_packed', 'settle_orders_packed', 'cancel_orders', 'claim_unsettled', 'record_hold', 'get_order',
            'find_order', 'list_orders', 'find_sessions', 'close_session')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', function, p_role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION order_service.grant_proxy(name) IS
    'Grants a role exactly what order-proxy calls: functions, no tables. To be called by the owner';

CREATE FUNCTION order_service.grant_operator(p_role name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    object regclass;
    function regprocedure;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA order_service TO %I', p_role);
    FOR object IN
        SELECT c.oid::regclass FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'order_service'::regnamespace AND c.relname IN (
            'order_detail', 'outbox_detail', 'outbox_lag', 'dlq', 'stats', 'outbox')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO %I', object, p_role);
    END LOOP;
    FOR function IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'order_service'::regnamespace AND p.proname IN (
            'side_name', 'order_type_name', 'time_in_force_name', 'status_name', 'hold_name', 'event_type_name',
            'outbox_status_name', 'reason_name', 'event_json', 'order_events', 'outbox_position', 'publisher_stats',
            'requeue', 'requeue_events', 'requeue_matching')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', function, p_role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION order_service.grant_operator(name) IS
    'Grants a role what an operator of the outbox needs, and with it `orderctl outbox` and `orderctl dlq`: to read orders and events, and requeue(). To be called by the owner';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA order_service FROM PUBLIC;
COMMENT ON SCHEMA order_service IS 'Orders, idempotency keys and the outbox; see the extension order_service';

DO $$
BEGIN
    IF NOT order_service.preloaded() THEN
        RAISE WARNING 'order_service is not in shared_preload_libraries: orders are recorded but not published'
            USING HINT = 'Add it, name this database in order_service.databases, and restart the server.';
    END IF;
END
$$;
