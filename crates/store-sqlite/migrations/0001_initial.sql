-- Times are milliseconds since the Unix epoch. Counters are never negative.

CREATE TABLE environments (
    name TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    cv INTEGER NOT NULL CHECK (cv >= 0),
    ep INTEGER NOT NULL CHECK (ep >= 0),
    keyset_ver INTEGER NOT NULL CHECK (keyset_ver >= 0),
    keyring TEXT NOT NULL,
    state TEXT NOT NULL
) STRICT;

-- A document in its newest revision; without a body it is a tombstone.
CREATE TABLE documents (
    environment TEXT NOT NULL REFERENCES environments (name),
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    body TEXT,
    PRIMARY KEY (environment, kind, key)
) STRICT;

CREATE INDEX documents_by_sequence ON documents (environment, sequence);

CREATE TABLE revisions (
    environment TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    at INTEGER NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    body TEXT,
    PRIMARY KEY (environment, kind, key, revision),
    FOREIGN KEY (environment, kind, key) REFERENCES documents (environment, kind, key)
) STRICT;

CREATE TABLE publications (
    environment TEXT NOT NULL REFERENCES environments (name),
    cv INTEGER NOT NULL CHECK (cv >= 0),
    at INTEGER NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    PRIMARY KEY (environment, cv)
) STRICT;

-- The tokens of the newest publications: a table of its own, so that no listing reads past megabytes.
CREATE TABLE snapshots (
    environment TEXT NOT NULL,
    cv INTEGER NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (environment, cv),
    FOREIGN KEY (environment, cv) REFERENCES publications (environment, cv)
) STRICT;

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    environment TEXT,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    creator_id TEXT NOT NULL,
    creator_name TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;

-- The entry is the text that was hashed; what is filtered by is generated from it, so the two cannot diverge.
CREATE TABLE audit (
    number INTEGER NOT NULL PRIMARY KEY,
    entry TEXT NOT NULL CHECK (json_valid(entry)),
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    environment TEXT GENERATED ALWAYS AS (entry ->> '$.environment') STORED,
    actor TEXT GENERATED ALWAYS AS (entry ->> '$.actor.id') STORED,
    action TEXT GENERATED ALWAYS AS (entry ->> '$.action') STORED,
    kind TEXT GENERATED ALWAYS AS (entry ->> '$.kind') STORED,
    key TEXT GENERATED ALWAYS AS (entry ->> '$.key') STORED
) STRICT;

CREATE INDEX audit_by_key ON audit (key, number) WHERE key IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor, number);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Also stops INSERT OR REPLACE, which deletes without asking the trigger above.
CREATE TRIGGER audit_in_order BEFORE INSERT ON audit
WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TABLE edges (
    environment TEXT NOT NULL,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    cv INTEGER NOT NULL CHECK (cv >= 0),
    ep INTEGER NOT NULL CHECK (ep >= 0),
    keyset_ver INTEGER NOT NULL CHECK (keyset_ver >= 0),
    config_age_ms INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    PRIMARY KEY (environment, id)
) STRICT;

CREATE INDEX edges_by_time ON edges (seen_at_ms);

CREATE TABLE answers (
    token_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 65535),
    at INTEGER NOT NULL,
    sealed_body TEXT NOT NULL,
    PRIMARY KEY (token_id, key)
) STRICT;

CREATE INDEX answers_by_time ON answers (at);
