"""The truth store: documents, pages, chunks, jobs, outbox, journal, conversations."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DOCUMENTS = """
CREATE TABLE collection (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- A document is (collection, source URI). It is visible when version_id is set
-- and removing_since is not.
CREATE TABLE document (
    id              uuid PRIMARY KEY,
    collection_id   integer NOT NULL REFERENCES collection,
    uri             text NOT NULL,
    tags            jsonb NOT NULL DEFAULT '{}',
    version_id      uuid,
    removing_since  timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, uri)
);
CREATE INDEX document_tags ON document USING gin (tags jsonb_path_ops);

CREATE TABLE version (
    id           uuid PRIMARY KEY,
    document_id  uuid NOT NULL REFERENCES document ON DELETE CASCADE,
    sha256       text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size         bigint NOT NULL,
    object_key   text NOT NULL,
    state        text NOT NULL DEFAULT 'received'
                 CHECK (state IN ('received', 'ready', 'failed', 'superseded')),
    media_type   text,
    title        text,
    parser       text,
    extracted_at timestamptz,
    recipe       text,
    embedder     text,
    reason       text,
    hint         text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at     timestamptz
);
CREATE INDEX version_document ON version (document_id);
CREATE INDEX version_sha256 ON version (sha256);
ALTER TABLE document ADD FOREIGN KEY (version_id) REFERENCES version DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE page (
    version_id  uuid NOT NULL REFERENCES version ON DELETE CASCADE,
    number      integer NOT NULL CHECK (number >= 1),
    label       text,
    text        text NOT NULL,
    PRIMARY KEY (version_id, number)
);

-- Rows stand here only for versions that are ready: they arrive in the
-- transaction that makes the version visible and leave in the one that hides it.
CREATE TABLE chunk (
    id             uuid PRIMARY KEY,
    version_id     uuid NOT NULL REFERENCES version ON DELETE CASCADE,
    document_id    uuid NOT NULL REFERENCES document ON DELETE CASCADE,
    collection_id  integer NOT NULL REFERENCES collection,
    ordinal        integer NOT NULL,
    page           integer NOT NULL,
    start_offset   integer NOT NULL,
    end_offset     integer NOT NULL,
    locator        text NOT NULL,
    heading        text NOT NULL,
    text           text NOT NULL,
    embedded_hash  bytea NOT NULL,
    language       regconfig NOT NULL DEFAULT 'english',
    tsv            tsvector GENERATED ALWAYS AS (
                       setweight(to_tsvector(language, heading), 'A')
                       || setweight(to_tsvector(language, text), 'B')) STORED,
    UNIQUE (version_id, ordinal)
);
CREATE INDEX chunk_document ON chunk (document_id);
CREATE INDEX chunk_embedded_hash ON chunk (embedded_hash);
CREATE INDEX chunk_tsv ON chunk USING gin (tsv) WITH (fastupdate = off);
-- Full-text search asks these statistics how common a word is.
ALTER TABLE chunk ALTER tsv SET STATISTICS 400;

-- What went in and what came out, for each version that is ready.
CREATE TABLE coverage (
    version_id       uuid PRIMARY KEY REFERENCES version ON DELETE CASCADE,
    pages            integer NOT NULL,
    pages_with_text  integer NOT NULL,
    characters       bigint NOT NULL,
    chunks           integer NOT NULL,
    vectors          integer NOT NULL,
    entities         integer NOT NULL DEFAULT 0,
    relations        integer NOT NULL DEFAULT 0
);
"""

WORK = """
CREATE TABLE job (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('ingest', 'clean', 'remove')),
    document_id     uuid NOT NULL REFERENCES document ON DELETE CASCADE,
    version_id      uuid NOT NULL REFERENCES version ON DELETE CASCADE,
    state           text NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'running', 'suspect',
                                     'done', 'failed', 'quarantined')),
    attempts        integer NOT NULL DEFAULT 0,
    not_before      timestamptz NOT NULL DEFAULT now(),
    owner           text,
    lease_until     timestamptz,
    code            text,
    reason          text,
    hint            text,
    correlation_id  uuid NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    finished_at     timestamptz
);
CREATE INDEX job_open ON job (state, not_before) WHERE state IN ('queued', 'running', 'suspect');
CREATE INDEX job_document ON job (document_id);
CREATE INDEX job_version ON job (version_id);
CREATE UNIQUE INDEX job_one_open ON job (version_id, kind)
    WHERE state IN ('queued', 'running', 'suspect');

CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id        uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    actor         text NOT NULL,
    not_before    timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    published_at  timestamptz
);
CREATE INDEX outbox_waiting ON outbox (not_before, id) WHERE published_at IS NULL;
CREATE INDEX outbox_job ON outbox (job_id);
"""

JOURNAL = """
CREATE TABLE journal (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor           text NOT NULL,
    act             text NOT NULL,
    subject         jsonb NOT NULL DEFAULT '{}',
    correlation_id  uuid NOT NULL
);

-- Sequence and hash are given after commit by one sequencer, so that writers
-- never wait for one another; the journal row itself is never touched again.
CREATE TABLE journal_chain (
    seq         bigint PRIMARY KEY,
    journal_id  bigint NOT NULL UNIQUE REFERENCES journal,
    hash        bytea NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

CONVERSATIONS = """
CREATE TABLE conversation (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE turn (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id  uuid NOT NULL REFERENCES conversation ON DELETE CASCADE,
    question         text NOT NULL,
    answer           jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX turn_conversation ON turn (conversation_id, id);

-- Small facts about this installation: which embedder its index was made with, …
CREATE TABLE installation (
    key    text PRIMARY KEY,
    value  jsonb NOT NULL
);
"""


def upgrade() -> None:
    for statements in (DOCUMENTS, WORK, JOURNAL, CONVERSATIONS):
        op.execute(statements)
