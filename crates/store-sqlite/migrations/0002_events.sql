-- Events, their roll-up, and the guardrail.

-- One stream of events for each environment.
CREATE TABLE event_streams (
    stream INTEGER PRIMARY KEY,
    environment TEXT NOT NULL UNIQUE REFERENCES environments (name),
    head INTEGER NOT NULL DEFAULT 0 CHECK (head >= 0)
) STRICT;

-- kind: 1 exposure, 2 metric, 3 drift, 4 leak, 5 verification failed. name: experiment or metric.
-- amount: decimal digits. No foreign key: checking it would cost every row, and nobody deletes streams.
CREATE TABLE events (
    stream INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    id BLOB NOT NULL,
    unit BLOB,
    unit_type TEXT NOT NULL,
    name TEXT,
    variant TEXT,
    xv INTEGER,
    amount TEXT,
    detail TEXT,
    PRIMARY KEY (stream, number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_id ON events (stream, id);
CREATE INDEX events_by_unit ON events (stream, unit, number) WHERE kind <= 2;

-- Events that were refused. note: what it is known by, so that it is kept once however often it is delivered.
CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL REFERENCES environments (name),
    note BLOB NOT NULL CHECK (length(note) = 16),
    id BLOB,
    received_ms INTEGER NOT NULL,
    code TEXT NOT NULL,
    about TEXT,
    UNIQUE (environment, note)
) STRICT;

CREATE INDEX quarantine_by_number ON quarantine (environment, number);
CREATE INDEX quarantine_by_time ON quarantine (received_ms);

CREATE TABLE quarantine_counts (
    environment TEXT NOT NULL,
    code TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (environment, code)
) STRICT, WITHOUT ROWID;

-- How far the roll-up has come.
CREATE TABLE rollups (
    environment TEXT NOT NULL PRIMARY KEY REFERENCES environments (name),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    cursor INTEGER NOT NULL CHECK (cursor >= 0)
) STRICT;

-- What one unit adds to one experiment. content: its totals of each metric, exact, as JSON of decimal digits.
CREATE TABLE contributions (
    environment TEXT NOT NULL,
    unit BLOB NOT NULL CHECK (length(unit) = 16),
    unit_type TEXT NOT NULL,
    experiment TEXT NOT NULL,
    variant TEXT NOT NULL,
    xv INTEGER NOT NULL CHECK (xv >= 0),
    first_ms INTEGER NOT NULL,
    excluded INTEGER NOT NULL,
    drifted INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (environment, unit, unit_type, experiment)
) STRICT, WITHOUT ROWID;

CREATE INDEX contributions_by_experiment ON contributions (environment, experiment, unit_type, unit);

-- Exact sums as JSON of decimal digits. metric: empty for exposed units.
CREATE TABLE aggregates (
    environment TEXT NOT NULL,
    experiment TEXT NOT NULL,
    xv INTEGER NOT NULL CHECK (xv >= 0),
    variant TEXT NOT NULL,
    metric TEXT NOT NULL,
    n INTEGER NOT NULL CHECK (n >= 0),
    nonzero INTEGER NOT NULL CHECK (nonzero >= 0),
    sums TEXT NOT NULL,
    products TEXT NOT NULL,
    PRIMARY KEY (environment, experiment, xv, variant, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE health (
    environment TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    experiment TEXT NOT NULL,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (environment, hour_ms, experiment, kind, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_settings (
    environment TEXT NOT NULL,
    experiment TEXT NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (environment, experiment)
) STRICT, WITHOUT ROWID;

-- How experiments were divided up, by allocation epoch.
CREATE TABLE allocations (
    environment TEXT NOT NULL REFERENCES environments (name),
    experiment TEXT NOT NULL,
    xv INTEGER NOT NULL CHECK (xv >= 0),
    at_ms INTEGER NOT NULL,
    unit_type TEXT NOT NULL,
    shares TEXT NOT NULL,
    PRIMARY KEY (environment, experiment, xv)
) STRICT, WITHOUT ROWID;

-- variant: empty where all of them are concerned. watched: a metric, or a word with a tilde.
CREATE TABLE guardrail_states (
    environment TEXT NOT NULL REFERENCES environments (name),
    experiment TEXT NOT NULL,
    xv INTEGER NOT NULL CHECK (xv >= 0),
    watched TEXT NOT NULL,
    variant TEXT NOT NULL,
    max_log_e REAL NOT NULL,
    alarmed_at_ms INTEGER,
    detail TEXT NOT NULL,
    checked_at_ms INTEGER NOT NULL,
    PRIMARY KEY (environment, experiment, xv, watched, variant)
) STRICT, WITHOUT ROWID;

-- An outbox: written with what it tells about, delivered later, at least once.
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL,
    experiment TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_at_ms INTEGER,
    delivered_at_ms INTEGER,
    error TEXT
) STRICT;

CREATE INDEX alerts_due ON alerts (next_at_ms, number) WHERE next_at_ms IS NOT NULL;
CREATE INDEX alerts_by_environment ON alerts (environment, number);

CREATE TABLE interval_points (
    environment TEXT NOT NULL REFERENCES environments (name),
    experiment TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    metric TEXT NOT NULL,
    variant TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (environment, experiment, at_ms, metric, variant)
) STRICT, WITHOUT ROWID;
