"""Real servers for the contract tests: one PostgreSQL and one queue for the whole session.

Every test gets an empty, migrated database (one for each file of tests) and an empty
queue. Stores are named in `VECTOR_STORES`, `OBJECT_STORES` and `BROKERS`:
an adapter joins the suite by a line there. Those that Janus cannot bring up by
itself are reached by `JANUS_TEST_<NAME>_URL`; without it their tests are skipped,
unless `JANUS_TEST_REQUIRE` names them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import text

from janus_core.actors import run_job
from janus_core.documents import Chunk, document_id
from janus_core.ingestion.extract.extractor import Extractor
from janus_core.ingestion.intake import Intake
from janus_core.ingestion.services import Services
from janus_core.locations import packaged
from janus_core.node.postgres import PostgresServer
from janus_core.node.valkey import ValkeyServer
from janus_core.processes import find_processes, service_user
from janus_core.queue import jobs
from janus_core.queue.broker import Broker
from janus_core.stores import catalogue, journal, versions
from janus_core.stores.base import ObjectStore, VectorStore
from janus_core.stores.files import FileObjects
from janus_core.stores.postgres import Database
from janus_core.stores.registry import open_objects, open_vectors
from janus_core.stores.versions import Coverage

VECTOR_STORES = ["pgvector"]
OBJECT_STORES = ["files"]
BROKERS = ["valkey"]

_TEMPLATE = "template_of_tests"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """A short folder that the services' user may enter; whatever runs in it is ended."""
    memory = Path("/dev/shm")
    roomy = memory.exists() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="jc-", dir=memory if roomy else "/tmp"))
    folder.chmod(0o755)
    yield folder
    for process in find_processes(lambda argv: any(f"{folder}/" in each for each in argv)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_home: Path) -> Iterator[PostgresServer]:
    user = service_user(create=True)
    log = server_home / "log" / "postgres.log"
    server = PostgresServer(server_home / "data" / "pg", server_home / "run", log, "p%w@/", user)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def queue_server(server_home: Path) -> Iterator[ValkeyServer]:
    user = service_user(create=True)
    log = server_home / "log" / "queue.log"
    server = ValkeyServer(
        "queue", server_home / "data" / "queue", server_home / "run", log, "q%w@/", user, True, 64
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def administrate(postgres_server: PostgresServer) -> Callable[[str], None]:
    """Runs a statement as superuser, outside of any test's database."""

    def execute(statement: str) -> None:
        url = postgres_server.url().replace("+psycopg", "", 1)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    return execute


@pytest.fixture(scope="session")
def template(postgres_server: PostgresServer, administrate: Callable[[str], None]) -> str:
    """The name of a migrated database that nobody is connected to."""
    administrate(f"CREATE DATABASE {_TEMPLATE}")
    database = Database(_url_of(postgres_server, _TEMPLATE))
    database.migrate(packaged("migrations"))
    database.close()
    return _TEMPLATE


@pytest.fixture
def empty_database_url(
    postgres_server: PostgresServer, administrate: Callable[[str], None]
) -> Iterator[str]:
    """The URL of a database without any schema."""
    name = f"t{next(_numbers)}"
    administrate(f"CREATE DATABASE {name}")
    yield _url_of(postgres_server, name)
    administrate(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def module_database(
    postgres_server: PostgresServer, administrate: Callable[[str], None], template: str
) -> Iterator[tuple[str, Database]]:
    """URL and connections of a migrated database that the tests of one file share."""
    name = f"t{next(_numbers)}"
    administrate(f"CREATE DATABASE {name} TEMPLATE {template}")
    url = _url_of(postgres_server, name)
    opened = Database(url, pool_size=20, name="test")
    yield url, opened
    opened.close()
    administrate(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(module_database: tuple[str, Database]) -> Iterator[str]:
    """The URL of a migrated, empty database."""
    url, database = module_database
    yield url
    with database.transaction() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))  # the journal, too
        tables = tx.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        ).all()
        for table in tables:
            if table != "alembic_version":
                tx.execute(text(f"DELETE FROM {table}"))
        tx.execute(text("DROP SCHEMA IF EXISTS vectors CASCADE"))


@pytest.fixture
def database(module_database: tuple[str, Database], database_url: str) -> Database:
    return module_database[1]


@pytest.fixture(params=VECTOR_STORES)
def vectors(request: pytest.FixtureRequest) -> VectorStore:
    if request.param == "pgvector":
        database, url = request.getfixturevalue("database"), request.getfixturevalue("database_url")
        own = "pgvector+" + url.replace("+psycopg", "", 1)
        return open_vectors(own, database, url)
    return open_vectors(_given(request.param), Database(""), "")


@pytest.fixture(params=OBJECT_STORES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "files":
        return open_objects((tmp_path / "objects").as_uri())
    return open_objects(_given(request.param))


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "valkey":
        server = request.getfixturevalue("queue_server")
        with redis.Redis.from_url(server.url().replace("redis+unix:", "unix:")) as client:
            client.flushall()
        url = server.url()
    else:
        url = _given(request.param)
    opened = Broker(url)
    yield opened
    opened.close()


@dataclass(frozen=True)
class FakeEmbedder:
    """The Embedder port without a model: texts with words in common have near vectors."""

    name: str = "fake-1"
    dim: int = 32

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        total = [0.0] * self.dim
        for word in text.lower().split() or [""]:
            dice = random.Random(hashlib.sha256(word.encode()).digest())
            total = [value + dice.gauss(0, 1) for value in total]
        length = sum(value * value for value in total) ** 0.5
        return [value / length for value in total]

    def close(self) -> None:
        pass


@pytest.fixture
def services(database: Database, vectors: VectorStore, tmp_path: Path) -> Iterator[Services]:
    """What background jobs work with: real stores and parsers, and an embedder without a model."""
    with Extractor() as extractor:
        yield Services(
            database=database,
            objects=FileObjects(tmp_path / "objects"),
            vectors=vectors,
            embedder=FakeEmbedder(),
            extractor=extractor,
            sink=lambda event: None,
        )


@pytest.fixture
def run_jobs(services: Services) -> Callable[[], None]:
    """Does all jobs that are open, as a worker would, until none is left."""

    def run() -> None:
        for _ in range(100):
            with services.database.transaction() as tx:
                # Nobody waits for a backoff here.
                tx.execute(text("UPDATE job SET not_before = now() WHERE state = 'queued'"))
                waiting = jobs.rows(tx, states=["queued"])
            if not waiting:
                return
            for row in waiting:
                run_job(services, row.id, "worker")
        raise AssertionError(f"these jobs never end: {waiting}")

    return run


@pytest.fixture
def ingest(services: Services, run_jobs: Callable[[], None], tmp_path: Path) -> Callable[..., Any]:
    """Takes a file in and does its jobs; returns the document's id."""

    def take(
        name: str,
        content: str,
        collection: str = "notes",
        tags: Mapping[str, str] | None = None,
        *,
        run: bool = True,
    ) -> uuid.UUID:
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        intake = Intake(services.database, services.objects, collection, tags or {})
        taken = list(intake.take([path]))
        assert [each.outcome for each in taken] != ["failed"], taken
        if run:
            run_jobs()
        return document_id(collection, path.as_uri())

    return take


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database)


class Library:
    """Documents in the catalogue, made without files, models and vectors."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.correlation = uuid.uuid4()

    def receive(
        self, name: str = "a", content: str = "one", collection: str = "notes", **tags: str
    ) -> SimpleNamespace:
        """Do in the database what intake does; return ids of document, version and job."""
        uri, sha = f"file:///{name}", hashlib.sha256(content.encode()).hexdigest()
        document = document_id(collection, uri)
        with self._database.transaction() as tx:
            number = catalogue.ensure_collection(tx, collection)
            versions.upsert_document(tx, document, number, uri, tags)
            versions.lock_content(tx, sha)
            key = f"sha256/{sha[:2]}/{sha}"
            version = versions.insert_version(tx, document, sha, len(content), key)
            job = jobs.enqueue(tx, "ingest", document, version, self.correlation)
            journal.append(
                tx, "document.received", self.correlation, document=document, version=version
            )
        return SimpleNamespace(document=document, version=version, job=job, sha=sha, key=key)

    def publish(self, version: uuid.UUID, *texts: str) -> list[uuid.UUID]:
        """Make the version visible with these chunks; return their ids."""
        chunks = [
            Chunk(uuid.uuid5(version, f"{n} {words}"), n, words, 1, 0, len(words), "p. 1", "Head")
            for n, words in enumerate(texts or ("some words",))
        ]
        with self._database.transaction() as tx:
            row = versions.find(tx, version, lock=True)
            assert row is not None
            hashed = [(c, hashlib.sha256(c.text.encode()).digest()) for c in chunks]
            coverage = Coverage(0, 0, 0, len(chunks), len(chunks))
            versions.publish_version(tx, row, hashed, coverage, "recipe", "fake-1")
        return [each.id for each in chunks]

    def add(self, name: str = "a", *texts: str, collection: str = "notes", **tags: str) -> Any:
        """Receive and publish a document; return the ids, and its chunks'."""
        made = self.receive(name, "\n".join(texts) or name, collection, **tags)
        made.chunks = self.publish(made.version, *texts)
        self.state(made.job, "done")
        return made

    def state(self, job: uuid.UUID, state: str) -> None:
        """Put a job into a state."""
        self.sql("UPDATE job SET state = :s, owner = NULL WHERE id = :j", s=state, j=job)

    def sql(self, statement: str, **values: object) -> list[Any]:
        """Run a statement in a transaction of its own; return its rows."""
        with self._database.transaction() as tx:
            found = tx.execute(text(statement), values)
            return list(found.all()) if found.returns_rows else []


def _given(name: str) -> str:
    variable = f"JANUS_TEST_{name.upper()}_URL"
    if url := os.environ.get(variable, ""):
        return url
    if name in os.environ.get("JANUS_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required, but {variable} is not set")
    pytest.skip(f"{variable} is not set")


def _url_of(server: PostgresServer, name: str) -> str:
    before, separator, after = server.url().partition("/janus?")
    assert separator
    return f"{before}/{name}?{after}"
