-- The records, and what goes with them. Every table carries `part`, the hash of the batch that a row came in, so that a
-- distributed Postgres can shard by it.

CREATE TYPE log_level AS ENUM ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL');

-- One partition a day (UTC), made when its first record comes. No DEFAULT partition: it forbids DETACH CONCURRENTLY.
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

-- The indexes that every partition has while records come in: cheap ones. The others follow once a day is over.
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

-- What was copied, added up: one row for each transaction, minute, level, source and application. A job folds them.
CREATE TABLE log_counts (
    part smallint NOT NULL,
    minute timestamptz NOT NULL,
    level log_level NOT NULL,
    source text NOT NULL,
    application text NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX log_counts_minute ON log_counts (minute);

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
