-- A small, complete database of schema 0001, by pg_dump --inserts: what an upgrade must keep.
-- PostgreSQL database dump
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA vectors;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.chunk (
    id uuid NOT NULL,
    version_id uuid NOT NULL,
    document_id uuid NOT NULL,
    collection_id integer NOT NULL,
    ordinal integer NOT NULL,
    page integer NOT NULL,
    start_offset integer NOT NULL,
    end_offset integer NOT NULL,
    locator text NOT NULL,
    heading text NOT NULL,
    text text NOT NULL,
    embedded_hash bytea NOT NULL,
    language regconfig DEFAULT 'english'::regconfig NOT NULL,
    tsv tsvector GENERATED ALWAYS AS ((setweight(to_tsvector(language, heading), 'A'::"char") || setweight(to_tsvector(language, text), 'B'::"char"))) STORED
);
ALTER TABLE ONLY public.chunk ALTER COLUMN tsv SET STATISTICS 400;
CREATE TABLE public.collection (
    id integer NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT collection_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text))
);
ALTER TABLE public.collection ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.collection_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.conversation (
    id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.coverage (
    version_id uuid NOT NULL,
    pages integer NOT NULL,
    pages_with_text integer NOT NULL,
    characters bigint NOT NULL,
    chunks integer NOT NULL,
    vectors integer NOT NULL,
    entities integer DEFAULT 0 NOT NULL,
    relations integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.document (
    id uuid NOT NULL,
    collection_id integer NOT NULL,
    uri text NOT NULL,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    version_id uuid,
    removing_since timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.installation (
    key text NOT NULL,
    value jsonb NOT NULL
);
CREATE TABLE public.job (
    id uuid NOT NULL,
    kind text NOT NULL,
    document_id uuid NOT NULL,
    version_id uuid NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    owner text,
    lease_until timestamp with time zone,
    code text,
    reason text,
    hint text,
    correlation_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT job_kind_check CHECK ((kind = ANY (ARRAY['ingest'::text, 'clean'::text, 'remove'::text]))),
    CONSTRAINT job_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'suspect'::text, 'done'::text, 'failed'::text, 'quarantined'::text])))
);
CREATE TABLE public.journal (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    act text NOT NULL,
    subject jsonb DEFAULT '{}'::jsonb NOT NULL,
    correlation_id uuid NOT NULL
);
CREATE TABLE public.journal_chain (
    seq bigint NOT NULL,
    journal_id bigint NOT NULL,
    hash bytea NOT NULL
);
ALTER TABLE public.journal ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.journal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.outbox (
    id bigint NOT NULL,
    job_id uuid NOT NULL,
    actor text NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    published_at timestamp with time zone
);
ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.page (
    version_id uuid NOT NULL,
    number integer NOT NULL,
    label text,
    text text NOT NULL,
    CONSTRAINT page_number_check CHECK ((number >= 1))
);
CREATE TABLE public.turn (
    id bigint NOT NULL,
    conversation_id uuid NOT NULL,
    question text NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.turn ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.turn_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.version (
    id uuid NOT NULL,
    document_id uuid NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    object_key text NOT NULL,
    state text DEFAULT 'received'::text NOT NULL,
    media_type text,
    title text,
    parser text,
    extracted_at timestamp with time zone,
    recipe text,
    embedder text,
    reason text,
    hint text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ready_at timestamp with time zone,
    CONSTRAINT version_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT version_state_check CHECK ((state = ANY (ARRAY['received'::text, 'ready'::text, 'failed'::text, 'superseded'::text])))
);
CREATE TABLE vectors."fake-1" (
    collection text NOT NULL,
    chunk_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version_id uuid NOT NULL,
    object_key text NOT NULL,
    tags text[],
    embedding public.halfvec(32) NOT NULL
)
PARTITION BY LIST (collection);
ALTER TABLE ONLY vectors."fake-1" ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE TABLE vectors."1b41fb101ddc5114a7c2169d162ee432" (
    collection text CONSTRAINT "fake-1_collection_not_null" NOT NULL,
    chunk_id uuid CONSTRAINT "fake-1_chunk_id_not_null" NOT NULL,
    document_id uuid CONSTRAINT "fake-1_document_id_not_null" NOT NULL,
    version_id uuid CONSTRAINT "fake-1_version_id_not_null" NOT NULL,
    object_key text CONSTRAINT "fake-1_object_key_not_null" NOT NULL,
    tags text[],
    embedding public.halfvec(32) CONSTRAINT "fake-1_embedding_not_null" NOT NULL
);
ALTER TABLE ONLY vectors."1b41fb101ddc5114a7c2169d162ee432" ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE TABLE vectors."397784cc280f5b8bb4900f860f680a60" (
    collection text CONSTRAINT "fake-1_collection_not_null" NOT NULL,
    chunk_id uuid CONSTRAINT "fake-1_chunk_id_not_null" NOT NULL,
    document_id uuid CONSTRAINT "fake-1_document_id_not_null" NOT NULL,
    version_id uuid CONSTRAINT "fake-1_version_id_not_null" NOT NULL,
    object_key text CONSTRAINT "fake-1_object_key_not_null" NOT NULL,
    tags text[],
    embedding public.halfvec(32) CONSTRAINT "fake-1_embedding_not_null" NOT NULL
);
ALTER TABLE ONLY vectors."397784cc280f5b8bb4900f860f680a60" ALTER COLUMN embedding SET STORAGE PLAIN;
ALTER TABLE ONLY vectors."fake-1" ATTACH PARTITION vectors."1b41fb101ddc5114a7c2169d162ee432" FOR VALUES IN ('notes');
ALTER TABLE ONLY vectors."fake-1" ATTACH PARTITION vectors."397784cc280f5b8bb4900f860f680a60" FOR VALUES IN ('maps');
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.chunk VALUES ('b73113d9-6fc6-579e-96d4-e2fe4083d65f', 'c06f2e14-71c0-5e14-9f61-a61e715e45c8', '23ff2486-d432-5596-8005-977e0eb69f89', 1, 0, 1, 0, 67, '', '', 'The pump runs at five bar. Close the valve before opening the pump.', '\x18a98b90a9437cfb2a942ee7c51df127b59b388bd5ae2117332fb120d458ef30', 'english', DEFAULT);
INSERT INTO public.chunk VALUES ('7c429229-ce5c-52d6-9cd1-854c484445f2', 'f2d4549f-996b-50db-8e77-eebdfde8a0db', '7a80d1ee-ae11-5385-86cc-14ebb2f212d3', 2, 0, 1, 0, 67, '', '', 'The pump runs at five bar. Close the valve before opening the pump.', '\x18a98b90a9437cfb2a942ee7c51df127b59b388bd5ae2117332fb120d458ef30', 'english', DEFAULT);
INSERT INTO public.collection OVERRIDING SYSTEM VALUE VALUES (1, 'notes', '2026-11-22 17:02:23.044227+00');
INSERT INTO public.collection OVERRIDING SYSTEM VALUE VALUES (2, 'maps', '2026-11-22 17:02:23.674489+00');
INSERT INTO public.conversation VALUES ('94f14d4c-d142-44f8-b588-64d417496696', 'today', '2026-11-22 17:02:24.061691+00');
INSERT INTO public.coverage VALUES ('c06f2e14-71c0-5e14-9f61-a61e715e45c8', 1, 1, 67, 1, 1, 0, 0);
INSERT INTO public.coverage VALUES ('f2d4549f-996b-50db-8e77-eebdfde8a0db', 1, 1, 67, 1, 1, 0, 0);
INSERT INTO public.document VALUES ('23ff2486-d432-5596-8005-977e0eb69f89', 1, 'file:///srv/papers/manual.txt', '{"site": "north"}', 'c06f2e14-71c0-5e14-9f61-a61e715e45c8', NULL, '2026-11-22 17:02:23.07219+00', '2026-11-22 17:02:23.625249+00');
INSERT INTO public.document VALUES ('7a80d1ee-ae11-5385-86cc-14ebb2f212d3', 2, 'file:///srv/papers/copy.txt', '{}', 'f2d4549f-996b-50db-8e77-eebdfde8a0db', NULL, '2026-11-22 17:02:23.682825+00', '2026-11-22 17:02:23.736627+00');
INSERT INTO public.document VALUES ('aef9ddaf-256f-5f06-8634-b3ac0839a93c', 1, 'file:///srv/papers/waiting.txt', '{}', NULL, NULL, '2026-11-22 17:02:23.857647+00', '2026-11-22 17:02:23.857647+00');
INSERT INTO public.document VALUES ('6374a9d7-4e26-5d64-8b61-66f6d0be4e63', 1, 'file:///failed', '{}', NULL, NULL, '2026-11-22 17:02:23.869367+00', '2026-11-22 17:02:23.869367+00');
INSERT INTO public.installation VALUES ('embedder', '"fake-1"');
INSERT INTO public.job VALUES ('0bf6e117-5012-4b13-a3ef-c177d2e401a4', 'ingest', '23ff2486-d432-5596-8005-977e0eb69f89', 'c06f2e14-71c0-5e14-9f61-a61e715e45c8', 'done', 1, '2026-11-22 17:02:23.585573+00', 'worker/e5d9ba46', NULL, NULL, NULL, NULL, '1612bbef-5651-4ed3-89f4-a593bae7aa19', '2026-11-22 17:02:23.573706+00', '2026-11-22 17:02:23.58908+00', '2026-11-22 17:02:23.625249+00');
INSERT INTO public.job VALUES ('a1c42192-6904-4047-8fe4-cb733c2e7865', 'ingest', '7a80d1ee-ae11-5385-86cc-14ebb2f212d3', 'f2d4549f-996b-50db-8e77-eebdfde8a0db', 'done', 1, '2026-11-22 17:02:23.692573+00', 'worker/963940ec', NULL, NULL, NULL, NULL, '469f5e5a-17ed-420f-a623-0afe18357046', '2026-11-22 17:02:23.682825+00', '2026-11-22 17:02:23.694147+00', '2026-11-22 17:02:23.736627+00');
INSERT INTO public.job VALUES ('df98a759-e30b-4c09-9791-eb105ba5a50f', 'ingest', 'aef9ddaf-256f-5f06-8634-b3ac0839a93c', 'd85e16b3-f2fb-5954-90c8-a0deaa68b68a', 'queued', 0, '2026-11-22 17:02:23.857647+00', NULL, NULL, NULL, NULL, NULL, '6ddbbd77-ddc4-4128-9d5f-d724a688857c', '2026-11-22 17:02:23.857647+00', NULL, NULL);
INSERT INTO public.job VALUES ('ecf271d2-55ea-478c-921b-b61a7c73497a', 'ingest', '6374a9d7-4e26-5d64-8b61-66f6d0be4e63', 'ad55f178-9d69-58eb-a375-bd053921611a', 'failed', 0, '2026-11-22 17:02:23.869367+00', NULL, NULL, 'unreadable_document', 'why', 'how', '3e2e0a51-07dd-45fd-bdcd-996b54063122', '2026-11-22 17:02:23.869367+00', NULL, NULL);
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (1, '2026-11-22 17:02:23.089919+00', 'root', 'document.received', '{"job": "768a1d5a-a671-4023-a9f6-29109a09c0b3", "size": 67, "sha256": "60778f48dd3b1daa881e99ea7a383e95bc2b33cd310ed6e0cf53201c2eaade5f", "version": "2840087c-d235-50df-a177-7f14e51b6fe3", "document": "23ff2486-d432-5596-8005-977e0eb69f89"}', '5a58a397-4170-477d-b5c2-41ce2e94507e');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (2, '2026-11-22 17:02:23.564251+00', 'root', 'document.ready', '{"pages": 1, "chunks": 1, "version": "2840087c-d235-50df-a177-7f14e51b6fe3", "document": "23ff2486-d432-5596-8005-977e0eb69f89", "replaced": null}', '5a58a397-4170-477d-b5c2-41ce2e94507e');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (3, '2026-11-22 17:02:23.584622+00', 'root', 'document.received', '{"job": "0bf6e117-5012-4b13-a3ef-c177d2e401a4", "size": 67, "sha256": "2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad", "version": "c06f2e14-71c0-5e14-9f61-a61e715e45c8", "document": "23ff2486-d432-5596-8005-977e0eb69f89"}', '1612bbef-5651-4ed3-89f4-a593bae7aa19');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (4, '2026-11-22 17:02:23.644059+00', 'root', 'document.ready', '{"pages": 1, "chunks": 1, "version": "c06f2e14-71c0-5e14-9f61-a61e715e45c8", "document": "23ff2486-d432-5596-8005-977e0eb69f89", "replaced": "2840087c-d235-50df-a177-7f14e51b6fe3"}', '1612bbef-5651-4ed3-89f4-a593bae7aa19');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (5, '2026-11-22 17:02:23.669451+00', 'root', 'version.removed', '{"version": "2840087c-d235-50df-a177-7f14e51b6fe3", "document": "23ff2486-d432-5596-8005-977e0eb69f89"}', '1612bbef-5651-4ed3-89f4-a593bae7aa19');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (6, '2026-11-22 17:02:23.692201+00', 'root', 'document.received', '{"job": "a1c42192-6904-4047-8fe4-cb733c2e7865", "size": 67, "sha256": "2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad", "version": "f2d4549f-996b-50db-8e77-eebdfde8a0db", "document": "7a80d1ee-ae11-5385-86cc-14ebb2f212d3"}', '469f5e5a-17ed-420f-a623-0afe18357046');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (7, '2026-11-22 17:02:23.749287+00', 'root', 'document.ready', '{"pages": 1, "chunks": 1, "version": "f2d4549f-996b-50db-8e77-eebdfde8a0db", "document": "7a80d1ee-ae11-5385-86cc-14ebb2f212d3", "replaced": null}', '469f5e5a-17ed-420f-a623-0afe18357046');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (8, '2026-11-22 17:02:23.773624+00', 'root', 'document.received', '{"job": "1c1220bd-92d5-48ad-937a-876a79230561", "size": 31, "sha256": "a70d5c28246bbda7aa7e16385e47d1753af9ee625a03b19f5830884b5fddb64f", "version": "8cbf4353-c3fa-5949-a8d5-f57c0263d118", "document": "6077330f-548b-5247-a664-ae2c249e4dfc"}', '5cf34d59-9726-4db6-8abb-a66efe8fa965');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (9, '2026-11-22 17:02:23.824794+00', 'root', 'document.ready', '{"pages": 1, "chunks": 1, "version": "8cbf4353-c3fa-5949-a8d5-f57c0263d118", "document": "6077330f-548b-5247-a664-ae2c249e4dfc", "replaced": null}', '5cf34d59-9726-4db6-8abb-a66efe8fa965');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (10, '2026-11-22 17:02:23.833236+00', 'root', 'document.removal_requested', '{"document": "6077330f-548b-5247-a664-ae2c249e4dfc"}', '18ed37e1-ed72-45fb-8210-0195ab5b2d01');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (11, '2026-11-22 17:02:23.847705+00', 'root', 'document.removed', '{"document": "6077330f-548b-5247-a664-ae2c249e4dfc", "versions": ["8cbf4353-c3fa-5949-a8d5-f57c0263d118"]}', '18ed37e1-ed72-45fb-8210-0195ab5b2d01');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (12, '2026-11-22 17:02:23.868728+00', 'root', 'document.received', '{"job": "df98a759-e30b-4c09-9791-eb105ba5a50f", "size": 21, "sha256": "af7d28f859b5df382d28ee444142125f8e3a63a9f29cc827550a73786c6ad2ba", "version": "d85e16b3-f2fb-5954-90c8-a0deaa68b68a", "document": "aef9ddaf-256f-5f06-8634-b3ac0839a93c"}', '6ddbbd77-ddc4-4128-9d5f-d724a688857c');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (13, '2026-11-22 17:02:23.873056+00', 'root', 'document.received', '{"version": "ad55f178-9d69-58eb-a375-bd053921611a", "document": "6374a9d7-4e26-5d64-8b61-66f6d0be4e63"}', '3e2e0a51-07dd-45fd-bdcd-996b54063122');
INSERT INTO public.journal OVERRIDING SYSTEM VALUE VALUES (14, '2026-11-22 17:02:24.061814+00', 'tester', 'backup.made', '{}', '0b5bef9c-7e01-4bd4-be36-1807874ef6c4');
INSERT INTO public.journal_chain VALUES (1, 1, '\x7f4c6b33d1e83921d7148cba1fd8ce9ce5a3e90871f216f9311933ff67c3db8b');
INSERT INTO public.journal_chain VALUES (2, 2, '\x5144d0cc035738a2d33b2943be18a2cc16a1f74813e878c822837c9eff13ec9f');
INSERT INTO public.journal_chain VALUES (3, 3, '\xad319903354c023439bdfca463c2afaa917e9324bb72a7f02a59933300b67703');
INSERT INTO public.journal_chain VALUES (4, 4, '\x22733fee329aa4a2584fb64b908f77dc8cdb87b67c017b67e1887038bcfce583');
INSERT INTO public.journal_chain VALUES (5, 5, '\x6be1ff82d4501e798ffe61d8d7a88d944bc27261708520194f4220b5ee9fac69');
INSERT INTO public.journal_chain VALUES (6, 6, '\xa1da40eafa3c7292304d6d884de066a08f070b7a26cf398e76792b6521f03e4b');
INSERT INTO public.journal_chain VALUES (7, 7, '\xece2aca5d5706d4ce71869bc95b8027669096bda2c551bcfddf7b95fce7210b2');
INSERT INTO public.journal_chain VALUES (8, 8, '\x135c10c0c335fb5a4ec596447fac43cfcbb3967c3808b833b6ee3d36a413406f');
INSERT INTO public.journal_chain VALUES (9, 9, '\xbe5fc4f84e92aecb2f8f6ef5ea93d12a4daf9fa7d78767be858e9af3196a7b41');
INSERT INTO public.journal_chain VALUES (10, 10, '\xab11328acb53886894e57bf0990bbc8c4acc0a4ffe19c986a08a75500f22be54');
INSERT INTO public.journal_chain VALUES (11, 11, '\x5a4a204437a754f7ab593a0e0b8e316d68571bbfae55ab71705f9cbd21c051cc');
INSERT INTO public.journal_chain VALUES (12, 12, '\x2c073781913fffcf47531cf94e8367e4aab0c195e0bccddd0731148f5686b28b');
INSERT INTO public.journal_chain VALUES (13, 13, '\x42bc06d55a2bdad8bd5d3868359fb5d19af5b763347e232765e178623d45ff48');
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (2, '0bf6e117-5012-4b13-a3ef-c177d2e401a4', 'ingest_version', '2026-11-22 17:02:23.573706+00', '2026-11-22 17:02:23.573706+00', NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (4, 'a1c42192-6904-4047-8fe4-cb733c2e7865', 'ingest_version', '2026-11-22 17:02:23.682825+00', '2026-11-22 17:02:23.682825+00', NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (7, 'df98a759-e30b-4c09-9791-eb105ba5a50f', 'ingest_version', '2026-11-22 17:02:23.857647+00', '2026-11-22 17:02:23.857647+00', NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (8, 'ecf271d2-55ea-478c-921b-b61a7c73497a', 'ingest_version', '2026-11-22 17:02:23.869367+00', '2026-11-22 17:02:23.869367+00', NULL);
INSERT INTO public.page VALUES ('c06f2e14-71c0-5e14-9f61-a61e715e45c8', 1, NULL, 'The pump runs at five bar. Close the valve before opening the pump.');
INSERT INTO public.page VALUES ('f2d4549f-996b-50db-8e77-eebdfde8a0db', 1, NULL, 'The pump runs at five bar. Close the valve before opening the pump.');
INSERT INTO public.turn OVERRIDING SYSTEM VALUE VALUES (1, '94f14d4c-d142-44f8-b588-64d417496696', 'How many bar?', '{"answer": "five"}', '2026-11-22 17:02:24.061691+00');
INSERT INTO public.version VALUES ('c06f2e14-71c0-5e14-9f61-a61e715e45c8', '23ff2486-d432-5596-8005-977e0eb69f89', '2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad', 67, 'sha256/2c/2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad', 'ready', 'text/plain', 'manual', 'text-1', '2026-11-22 17:02:23.615655+00', 'text-1+chunk-1+fake-1', 'fake-1', NULL, NULL, '2026-11-22 17:02:23.580048+00', '2026-11-22 17:02:23.625249+00');
INSERT INTO public.version VALUES ('f2d4549f-996b-50db-8e77-eebdfde8a0db', '7a80d1ee-ae11-5385-86cc-14ebb2f212d3', '2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad', 67, 'sha256/2c/2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad', 'ready', 'text/plain', 'manual', 'text-1', '2026-11-22 17:02:23.697193+00', 'text-1+chunk-1+fake-1', 'fake-1', NULL, NULL, '2026-11-22 17:02:23.687906+00', '2026-11-22 17:02:23.736627+00');
INSERT INTO public.version VALUES ('d85e16b3-f2fb-5954-90c8-a0deaa68b68a', 'aef9ddaf-256f-5f06-8634-b3ac0839a93c', 'af7d28f859b5df382d28ee444142125f8e3a63a9f29cc827550a73786c6ad2ba', 21, 'sha256/af/af7d28f859b5df382d28ee444142125f8e3a63a9f29cc827550a73786c6ad2ba', 'received', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-22 17:02:23.863271+00', NULL);
INSERT INTO public.version VALUES ('ad55f178-9d69-58eb-a375-bd053921611a', '6374a9d7-4e26-5d64-8b61-66f6d0be4e63', '7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed', 3, 'sha256/76/7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed', 'failed', NULL, NULL, NULL, NULL, NULL, NULL, 'why', 'how', '2026-11-22 17:02:23.870909+00', NULL);
INSERT INTO vectors."1b41fb101ddc5114a7c2169d162ee432" VALUES ('notes', 'b73113d9-6fc6-579e-96d4-e2fe4083d65f', '23ff2486-d432-5596-8005-977e0eb69f89', 'c06f2e14-71c0-5e14-9f61-a61e715e45c8', 'sha256/2c/2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad', '{site=north}', '[-0.2578125,-0.05307007,-0.2541504,0.09246826,-0.27197266,0.09918213,0.11871338,-0.13757324,0.09869385,-0.4182129,-0.1673584,0.25634766,0.03262329,0.19616699,-0.11193848,-0.04837036,0.115234375,0.086120605,0.21679688,0.070739746,0.041168213,0.12487793,-0.06121826,-0.37890625,0.006072998,0.06665039,-0.10180664,-0.31176758,-0.048828125,0.20800781,0.11029053,-0.027954102]');
INSERT INTO vectors."397784cc280f5b8bb4900f860f680a60" VALUES ('maps', '7c429229-ce5c-52d6-9cd1-854c484445f2', '7a80d1ee-ae11-5385-86cc-14ebb2f212d3', 'f2d4549f-996b-50db-8e77-eebdfde8a0db', 'sha256/2c/2c2a5c26b3d282873925c59e8b9545bff24eb9214a49102f679f1717d68e4bad', NULL, '[-0.2578125,-0.05307007,-0.2541504,0.09246826,-0.27197266,0.09918213,0.11871338,-0.13757324,0.09869385,-0.4182129,-0.1673584,0.25634766,0.03262329,0.19616699,-0.11193848,-0.04837036,0.115234375,0.086120605,0.21679688,0.070739746,0.041168213,0.12487793,-0.06121826,-0.37890625,0.006072998,0.06665039,-0.10180664,-0.31176758,-0.048828125,0.20800781,0.11029053,-0.027954102]');
SELECT pg_catalog.setval('public.collection_id_seq', 2, true);
SELECT pg_catalog.setval('public.journal_id_seq', 14, true);
SELECT pg_catalog.setval('public.outbox_id_seq', 8, true);
SELECT pg_catalog.setval('public.turn_id_seq', 1, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.chunk
    ADD CONSTRAINT chunk_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.chunk
    ADD CONSTRAINT chunk_version_id_ordinal_key UNIQUE (version_id, ordinal);
ALTER TABLE ONLY public.collection
    ADD CONSTRAINT collection_name_key UNIQUE (name);
ALTER TABLE ONLY public.collection
    ADD CONSTRAINT collection_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.conversation
    ADD CONSTRAINT conversation_name_key UNIQUE (name);
ALTER TABLE ONLY public.conversation
    ADD CONSTRAINT conversation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.coverage
    ADD CONSTRAINT coverage_pkey PRIMARY KEY (version_id);
ALTER TABLE ONLY public.document
    ADD CONSTRAINT document_collection_id_uri_key UNIQUE (collection_id, uri);
ALTER TABLE ONLY public.document
    ADD CONSTRAINT document_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.journal_chain
    ADD CONSTRAINT journal_chain_journal_id_key UNIQUE (journal_id);
ALTER TABLE ONLY public.journal_chain
    ADD CONSTRAINT journal_chain_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.page
    ADD CONSTRAINT page_pkey PRIMARY KEY (version_id, number);
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT turn_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.version
    ADD CONSTRAINT version_pkey PRIMARY KEY (id);
ALTER TABLE ONLY vectors."fake-1"
    ADD CONSTRAINT "fake-1_pkey" PRIMARY KEY (collection, chunk_id);
ALTER TABLE ONLY vectors."1b41fb101ddc5114a7c2169d162ee432"
    ADD CONSTRAINT "1b41fb101ddc5114a7c2169d162ee432_pkey" PRIMARY KEY (collection, chunk_id);
ALTER TABLE ONLY vectors."397784cc280f5b8bb4900f860f680a60"
    ADD CONSTRAINT "397784cc280f5b8bb4900f860f680a60_pkey" PRIMARY KEY (collection, chunk_id);
CREATE INDEX chunk_document ON public.chunk USING btree (document_id);
CREATE INDEX chunk_embedded_hash ON public.chunk USING btree (embedded_hash);
CREATE INDEX chunk_tsv ON public.chunk USING gin (tsv) WITH (fastupdate=off);
CREATE INDEX document_tags ON public.document USING gin (tags jsonb_path_ops);
CREATE INDEX job_document ON public.job USING btree (document_id);
CREATE UNIQUE INDEX job_one_open ON public.job USING btree (version_id, kind) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text, 'suspect'::text]));
CREATE INDEX job_open ON public.job USING btree (state, not_before) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text, 'suspect'::text]));
CREATE INDEX job_version ON public.job USING btree (version_id);
CREATE INDEX outbox_job ON public.outbox USING btree (job_id);
CREATE INDEX outbox_waiting ON public.outbox USING btree (not_before, id) WHERE (published_at IS NULL);
CREATE INDEX turn_conversation ON public.turn USING btree (conversation_id, id);
CREATE INDEX version_document ON public.version USING btree (document_id);
CREATE INDEX version_sha256 ON public.version USING btree (sha256);
CREATE INDEX "fake-1_chunk_id_idx" ON ONLY vectors."fake-1" USING btree (chunk_id);
CREATE INDEX "1b41fb101ddc5114a7c2169d162ee432_chunk_id_idx" ON vectors."1b41fb101ddc5114a7c2169d162ee432" USING btree (chunk_id);
CREATE INDEX "1b41fb101ddc5114a7c2169d162ee432_embedding_idx" ON vectors."1b41fb101ddc5114a7c2169d162ee432" USING hnsw (embedding public.halfvec_cosine_ops);
CREATE INDEX "fake-1_version_id_idx" ON ONLY vectors."fake-1" USING btree (version_id);
CREATE INDEX "1b41fb101ddc5114a7c2169d162ee432_version_id_idx" ON vectors."1b41fb101ddc5114a7c2169d162ee432" USING btree (version_id);
CREATE INDEX "397784cc280f5b8bb4900f860f680a60_chunk_id_idx" ON vectors."397784cc280f5b8bb4900f860f680a60" USING btree (chunk_id);
CREATE INDEX "397784cc280f5b8bb4900f860f680a60_embedding_idx" ON vectors."397784cc280f5b8bb4900f860f680a60" USING hnsw (embedding public.halfvec_cosine_ops);
CREATE INDEX "397784cc280f5b8bb4900f860f680a60_version_id_idx" ON vectors."397784cc280f5b8bb4900f860f680a60" USING btree (version_id);
ALTER INDEX vectors."fake-1_chunk_id_idx" ATTACH PARTITION vectors."1b41fb101ddc5114a7c2169d162ee432_chunk_id_idx";
ALTER INDEX vectors."fake-1_pkey" ATTACH PARTITION vectors."1b41fb101ddc5114a7c2169d162ee432_pkey";
ALTER INDEX vectors."fake-1_version_id_idx" ATTACH PARTITION vectors."1b41fb101ddc5114a7c2169d162ee432_version_id_idx";
ALTER INDEX vectors."fake-1_chunk_id_idx" ATTACH PARTITION vectors."397784cc280f5b8bb4900f860f680a60_chunk_id_idx";
ALTER INDEX vectors."fake-1_pkey" ATTACH PARTITION vectors."397784cc280f5b8bb4900f860f680a60_pkey";
ALTER INDEX vectors."fake-1_version_id_idx" ATTACH PARTITION vectors."397784cc280f5b8bb4900f860f680a60_version_id_idx";
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.journal FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.journal_chain FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
ALTER TABLE ONLY public.chunk
    ADD CONSTRAINT chunk_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES public.collection(id);
ALTER TABLE ONLY public.chunk
    ADD CONSTRAINT chunk_document_id_fkey FOREIGN KEY (document_id) REFERENCES public.document(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chunk
    ADD CONSTRAINT chunk_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.version(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.coverage
    ADD CONSTRAINT coverage_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.version(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.document
    ADD CONSTRAINT document_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES public.collection(id);
ALTER TABLE ONLY public.document
    ADD CONSTRAINT document_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.version(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_document_id_fkey FOREIGN KEY (document_id) REFERENCES public.document(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.version(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.journal_chain
    ADD CONSTRAINT journal_chain_journal_id_fkey FOREIGN KEY (journal_id) REFERENCES public.journal(id);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.page
    ADD CONSTRAINT page_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.version(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT turn_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES public.conversation(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.version
    ADD CONSTRAINT version_document_id_fkey FOREIGN KEY (document_id) REFERENCES public.document(id) ON DELETE CASCADE;
-- PostgreSQL database dump complete
