-- The records, and what goes with them. Every table carries `part`, so that a distributed Postgres can shard by it; in
-- `logs` it is the hash of the batch that a row came in.

CREATE TYPE log_level AS ENUM ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL');

-- One partition a day (UTC), logs_YYYY_MM_DD, made when its first record comes; logs_past before 2000, logs_future from
-- 2100. No DEFAULT partition: it forbids DETACH CONCURRENTLY. The time is in the id as well (UUIDv7), so the primary key
-- finds a record by its id alone.
CREATE TABLE logs (
    part smallint NOT NULL,
    id uuid NOT NULL,
    "timestamp" timestamptz NOT NULL,
    level log_level NOT NULL,
    source text NOT NULL,
    application text NOT NULL,
    message text COLLATE "C" NOT NULL,
    metadata jsonb NOT NULL,
    PRIMARY KEY ("timestamp", id, part)
) PARTITION BY RANGE ("timestamp");

-- The indexes that every partition has while records come in: cheap ones. A day that is over gets three more, on its own
-- partition: <partition>_message (trigrams of lower(message)), _source (source, timestamp, id), _application (application, timestamp, id).
CREATE INDEX logs_timestamp_brin ON logs USING brin ("timestamp");
CREATE INDEX logs_warnings ON logs ("timestamp", id) WHERE level >= 'WARN';

-- What makes a batch that is delivered twice be stored once.
CREATE TABLE ingested_batches (
    part smallint NOT NULL,
    batch_id uuid NOT NULL,
    ingested_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, batch_id)
);
CREATE INDEX ingested_batches_ingested_at ON ingested_batches USING brin (ingested_at);

-- How many records there are: whoever wants to know adds up `count`. A transaction inserts a row for each minute, level,
-- source and application of what it copied and never updates one, so that writers do not wait for one another; a job
-- folds what was inserted into one row each.
CREATE TABLE log_counts (
    -- The minute's number modulo 16: all rows of a minute are on one shard.
    part smallint NOT NULL,
    minute timestamptz NOT NULL,
    level log_level NOT NULL,
    source text NOT NULL,
    application text NOT NULL,
    count bigint NOT NULL,
    -- When the last of the records came in: a day is sealed once none came for an hour.
    counted_at timestamptz NOT NULL DEFAULT now(),
    folded boolean NOT NULL DEFAULT false
) PARTITION BY LIST (folded);

-- What writers insert: without an index, since there may be a quarter as many of these as of records. It is read as a
-- whole, and kept short.
CREATE TABLE log_counts_new PARTITION OF log_counts FOR VALUES IN (false)
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000);
CREATE TABLE log_counts_folded PARTITION OF log_counts FOR VALUES IN (true);
CREATE INDEX log_counts_folded_minute ON log_counts_folded (minute);

-- Records that Postgres refused, as they came: nothing is thrown away unseen.
CREATE TABLE dead_letters (
    part smallint NOT NULL,
    id uuid NOT NULL,
    batch_id uuid NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    -- The row in COPY BINARY tuple form.
    tuple bytea NOT NULL,
    PRIMARY KEY (id, part)
);
CREATE INDEX dead_letters_failed_at ON dead_letters (failed_at, id);
