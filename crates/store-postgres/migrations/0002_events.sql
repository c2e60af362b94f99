-- Events, their roll-up, and the guardrail.

-- One stream of events for each environment. Whoever appends locks its row, so numbers follow the order of commits.
CREATE TABLE event_streams (
    stream INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES environments (name),
    head BIGINT NOT NULL DEFAULT 0 CHECK (head >= 0)
);

-- kind: 1 exposure, 2 metric, 3 drift, 4 leak, 5 verification failed. name: experiment or metric.
-- No foreign key: it would cost every row as much as writing it, and nobody deletes streams.
CREATE TABLE events (
    stream INTEGER NOT NULL,
    kind SMALLINT NOT NULL,
    number BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    id BYTEA NOT NULL,
    unit BYTEA,
    unit_type TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C",
    variant TEXT COLLATE "C",
    xv BIGINT,
    amount NUMERIC,
    detail TEXT,
    PRIMARY KEY (stream, number)
);

CREATE UNIQUE INDEX events_by_id ON events (stream, id);
CREATE INDEX events_by_unit ON events (stream, unit, number) WHERE kind <= 2;

-- Only ever appended to: pages need no room for updates, and what was frozen stays frozen.
ALTER TABLE events SET (fillfactor = 100, autovacuum_vacuum_insert_scale_factor = 0.05);

-- Events that were refused. note: what it is known by, so that it is kept once however often it is delivered.
CREATE TABLE quarantine (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment TEXT COLLATE "C" NOT NULL REFERENCES environments (name),
    note BYTEA NOT NULL CHECK (length(note) = 16),
    id BYTEA,
    received_ms BIGINT NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    about TEXT COLLATE "C",
    UNIQUE (environment, note)
);

CREATE INDEX quarantine_by_number ON quarantine (environment, number);
CREATE INDEX quarantine_by_time ON quarantine (received_ms);

CREATE TABLE quarantine_counts (
    environment TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL CHECK (count >= 0),
    PRIMARY KEY (environment, code)
);

-- How far the roll-up has come. Whoever rolls up locks its row.
CREATE TABLE rollups (
    environment TEXT COLLATE "C" PRIMARY KEY REFERENCES environments (name),
    sequence BIGINT NOT NULL CHECK (sequence >= 0),
    cursor BIGINT NOT NULL CHECK (cursor >= 0)
);

-- What one unit adds to one experiment. content: its totals of each metric, exact, as JSON of decimal digits.
CREATE TABLE contributions (
    environment TEXT COLLATE "C" NOT NULL,
    unit BYTEA NOT NULL CHECK (length(unit) = 16),
    unit_type TEXT COLLATE "C" NOT NULL,
    experiment TEXT COLLATE "C" NOT NULL,
    variant TEXT COLLATE "C" NOT NULL,
    xv BIGINT NOT NULL CHECK (xv >= 0),
    first_ms BIGINT NOT NULL,
    excluded BOOLEAN NOT NULL,
    drifted BOOLEAN NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (environment, unit, unit_type, experiment)
);

CREATE INDEX contributions_by_experiment ON contributions (environment, experiment, unit_type, unit);

-- Room for a row to be updated where it is, which spares its indexes.
ALTER TABLE contributions SET (fillfactor = 80);

-- Exact sums as JSON of decimal digits. metric: empty for exposed units.
CREATE TABLE aggregates (
    environment TEXT COLLATE "C" NOT NULL,
    experiment TEXT COLLATE "C" NOT NULL,
    xv BIGINT NOT NULL CHECK (xv >= 0),
    variant TEXT COLLATE "C" NOT NULL,
    metric TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL CHECK (n >= 0),
    nonzero BIGINT NOT NULL CHECK (nonzero >= 0),
    sums TEXT NOT NULL,
    products TEXT NOT NULL,
    PRIMARY KEY (environment, experiment, xv, variant, metric)
);

ALTER TABLE aggregates SET (fillfactor = 50);

CREATE TABLE health (
    environment TEXT COLLATE "C" NOT NULL,
    hour_ms BIGINT NOT NULL,
    experiment TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL CHECK (count >= 0),
    PRIMARY KEY (environment, hour_ms, experiment, kind, code)
);

CREATE TABLE rollup_settings (
    environment TEXT COLLATE "C" NOT NULL,
    experiment TEXT COLLATE "C" NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (environment, experiment)
);

-- How experiments were divided up, by allocation epoch.
CREATE TABLE allocations (
    environment TEXT COLLATE "C" NOT NULL REFERENCES environments (name),
    experiment TEXT COLLATE "C" NOT NULL,
    xv BIGINT NOT NULL CHECK (xv >= 0),
    at_ms BIGINT NOT NULL,
    unit_type TEXT COLLATE "C" NOT NULL,
    shares TEXT NOT NULL,
    PRIMARY KEY (environment, experiment, xv)
);

-- variant: empty where all of them are concerned. watched: a metric, or a word with a tilde.
CREATE TABLE guardrail_states (
    environment TEXT COLLATE "C" NOT NULL REFERENCES environments (name),
    experiment TEXT COLLATE "C" NOT NULL,
    xv BIGINT NOT NULL CHECK (xv >= 0),
    watched TEXT COLLATE "C" NOT NULL,
    variant TEXT COLLATE "C" NOT NULL,
    max_log_e DOUBLE PRECISION NOT NULL CHECK (max_log_e <> 'NaN'),
    alarmed_at_ms BIGINT,
    detail TEXT NOT NULL,
    checked_at_ms BIGINT NOT NULL,
    PRIMARY KEY (environment, experiment, xv, watched, variant)
);

-- An outbox: written with what it tells about, delivered later, at least once.
CREATE TABLE alerts (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    environment TEXT COLLATE "C" NOT NULL,
    experiment TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_at_ms BIGINT,
    delivered_at_ms BIGINT,
    error TEXT
);

CREATE INDEX alerts_due ON alerts (next_at_ms, number) WHERE next_at_ms IS NOT NULL;
CREATE INDEX alerts_by_environment ON alerts (environment, number);

CREATE TABLE interval_points (
    environment TEXT COLLATE "C" NOT NULL REFERENCES environments (name),
    experiment TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    metric TEXT COLLATE "C" NOT NULL,
    variant TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (environment, experiment, at_ms, metric, variant)
);
