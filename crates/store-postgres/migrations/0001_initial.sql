-- Times are milliseconds since the Unix epoch. Counters are never negative. Keys sort by their bytes (COLLATE "C").

CREATE TABLE environments (
    name TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    cv BIGINT NOT NULL CHECK (cv >= 0),
    ep BIGINT NOT NULL CHECK (ep >= 0),
    keyset_ver BIGINT NOT NULL CHECK (keyset_ver >= 0),
    keyring TEXT NOT NULL,
    state TEXT NOT NULL
);

-- A document in its newest revision; without a body it is a tombstone.
-- TEXT, not JSONB: the same characters come back, and JSON's \u0000 fits in.
CREATE TABLE documents (
    environment TEXT COLLATE "C" NOT NULL REFERENCES environments (name),
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL CHECK (revision > 0),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    body TEXT,
    PRIMARY KEY (environment, kind, key)
);

CREATE INDEX documents_by_sequence ON documents (environment, sequence);

CREATE TABLE revisions (
    environment TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL CHECK (revision > 0),
    at BIGINT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    body TEXT,
    PRIMARY KEY (environment, kind, key, revision),
    FOREIGN KEY (environment, kind, key) REFERENCES documents (environment, kind, key)
);

CREATE TABLE publications (
    environment TEXT COLLATE "C" NOT NULL REFERENCES environments (name),
    cv BIGINT NOT NULL CHECK (cv >= 0),
    at BIGINT NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    PRIMARY KEY (environment, cv)
);

-- The tokens of the newest publications: a table of its own, so that no listing reads past megabytes.
CREATE TABLE snapshots (
    environment TEXT COLLATE "C" NOT NULL,
    cv BIGINT NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (environment, cv),
    FOREIGN KEY (environment, cv) REFERENCES publications (environment, cv)
);

-- Stored as it is: compressing megabytes of base64 takes longer than writing them.
ALTER TABLE snapshots ALTER COLUMN token SET STORAGE EXTERNAL;

CREATE TABLE api_tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    environment TEXT COLLATE "C",
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    created_at BIGINT NOT NULL,
    creator_id TEXT NOT NULL,
    creator_name TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);

-- A member of an audit entry. JSONB knows no NUL character, so an escaped one (an even number of backslashes before it)
-- is read as the replacement character; no member that is asked for has one.
CREATE FUNCTION audit_member(entry TEXT, path TEXT[]) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    CASE WHEN position('\u0000' IN entry) = 0 THEN entry
    ELSE regexp_replace(entry, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')
    END::jsonb
) #>> path;

-- The entry is the text that was hashed; what is filtered by is generated from it, so the two cannot diverge.
CREATE TABLE audit (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    entry TEXT NOT NULL,
    previous BYTEA NOT NULL CHECK (length(previous) = 32),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    environment TEXT COLLATE "C" GENERATED ALWAYS AS (audit_member(entry, '{environment}')) STORED,
    actor TEXT COLLATE "C" GENERATED ALWAYS AS (audit_member(entry, '{actor,id}')) STORED,
    action TEXT COLLATE "C" GENERATED ALWAYS AS (audit_member(entry, '{action}')) STORED,
    kind TEXT COLLATE "C" GENERATED ALWAYS AS (audit_member(entry, '{kind}')) STORED,
    key TEXT COLLATE "C" GENERATED ALWAYS AS (audit_member(entry, '{key}')) STORED
);

CREATE INDEX audit_by_key ON audit (key, number) WHERE key IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor, number);

CREATE FUNCTION audit_is_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();

CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE TABLE edges (
    environment TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    cv BIGINT NOT NULL CHECK (cv >= 0),
    ep BIGINT NOT NULL CHECK (ep >= 0),
    keyset_ver BIGINT NOT NULL CHECK (keyset_ver >= 0),
    config_age_ms BIGINT NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (environment, id)
);

CREATE INDEX edges_by_time ON edges (seen_at_ms);

CREATE TABLE answers (
    token_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 65535),
    at BIGINT NOT NULL,
    sealed_body TEXT NOT NULL,
    PRIMARY KEY (token_id, key)
);

CREATE INDEX answers_by_time ON answers (at);
