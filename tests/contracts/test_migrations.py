"""The schema: made from nothing, brought on from older ones, never taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from janus_core.documents import Filter
from janus_core.errors import NotInitialised, TooNew
from janus_core.locations import locate, packaged
from janus_core.queue import jobs
from janus_core.secrets import load_or_create
from janus_core.stores import catalogue, journal
from janus_core.stores.fulltext import match_text
from janus_core.stores.pgvector import PgVectorStore
from janus_core.stores.postgres import HEAD, Database

MIGRATIONS = packaged("migrations")
OLD = Path(__file__).parents[1] / "data" / "schema-0001.sql"


@pytest.fixture
def empty(empty_database_url: str) -> Any:
    opened = Database(empty_database_url)
    yield opened
    opened.close()


@pytest.fixture
def old(empty_database_url: str) -> Any:
    """A database as an earlier Janus left it."""
    with psycopg.connect(empty_database_url.replace("+psycopg", "", 1)) as connection:
        connection.execute(OLD.read_text())  # type: ignore[arg-type]
    opened = Database(empty_database_url)
    yield opened
    opened.close()


def test_the_code_knows_its_newest_migration() -> None:
    newest = max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))

    assert newest == HEAD


def test_an_empty_database_is_brought_to_the_newest_schema(empty: Database) -> None:
    assert empty.revision() is None
    with pytest.raises(NotInitialised):
        empty.check_schema()

    assert empty.migrate(MIGRATIONS)
    assert not empty.migrate(MIGRATIONS)

    assert empty.revision() == HEAD
    empty.check_schema()


def test_an_old_database_keeps_what_it_holds(old: Database) -> None:
    before = _sizes(old)
    assert old.revision() == "0001"
    with pytest.raises(NotInitialised, match="older"):
        old.check_schema()

    assert old.migrate(MIGRATIONS)

    after = _sizes(old)
    assert {name: after[name] for name in before} == before
    assert before["journal"] == 14
    with old.transaction() as tx:
        shown = catalogue.documents(tx)
        assert [(d.collection, d.uri.rsplit("/", 1)[-1], d.state, d.visible) for d in shown] == [
            ("maps", "copy.txt", "ready", True),
            ("notes", "failed", "failed", False),
            ("notes", "manual.txt", "ready", True),
            ("notes", "waiting.txt", "received", False),
        ]
        found = match_text(tx, "five bar", 10, Filter(tags=frozenset({("site", "north")})))
        passages = catalogue.passages(tx, [chunk for chunk, _ in found])
        assert [p.text for p in passages.values()] == [
            "The pump runs at five bar. Close the valve before opening the pump."
        ]
        waiting = jobs.rows(tx, states=["queued"])[0]
        jobs.enqueue(tx, "clean", waiting.document_id, waiting.version_id, shown[0].id)
    vectors = PgVectorStore(old)
    assert vectors.count("fake-1") == 2
    assert vectors.search("fake-1", [0.1] * 32, 5)


def test_an_old_journal_goes_on_where_it_was(old: Database) -> None:
    old.migrate(MIGRATIONS)

    assert journal.verify(old) == 13
    with old.transaction() as tx:
        journal.append(tx, "after the upgrade", journal.entries(old)[0].correlation_id)
    assert journal.sequence(old) == 2
    assert journal.verify(old) == 15


def test_what_an_older_janus_chained_meanwhile_is_no_obstacle(old: Database) -> None:
    old.migrate(MIGRATIONS)
    assert journal.sequence(old) == 1
    with old.transaction() as tx:
        tx.execute(text("INSERT INTO journal_waiting SELECT id FROM journal"))

    assert journal.sequence(old) == 0
    assert journal.verify(old) == 14
    with old.transaction() as tx:
        assert tx.scalar(text("SELECT count(*) FROM journal_waiting")) == 0


def test_the_schema_is_the_same_whether_made_or_upgraded(old: Database, database: Database) -> None:
    old.migrate(MIGRATIONS)

    assert _shape(old) == _shape(database)


def test_a_newer_schema_is_left_alone(empty: Database) -> None:
    empty.migrate(MIGRATIONS)
    with empty.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(TooNew):
        empty.check_schema()
    with pytest.raises(TooNew):
        empty.migrate(MIGRATIONS)
    assert empty.revision() == "9999"


def test_eight_processes_migrate_at_once_and_one_does_it(empty_database_url: str) -> None:
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                status = int(Database(empty_database_url).migrate(MIGRATIONS))
            finally:
                os._exit(status)
        children.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]

    assert sorted(statuses) == [0] * 7 + [1]
    database = Database(empty_database_url)
    database.check_schema()
    database.close()


def test_the_command_line_says_that_the_schema_is_newer(
    empty: Database, empty_database_url: str, tmp_path: Path
) -> None:
    empty.migrate(MIGRATIONS)
    with empty.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    locations = locate({"JANUS_HOME": str(tmp_path)})
    locations.config.mkdir()
    load_or_create(locations.secrets_file)

    ran = subprocess.run(
        [sys.executable, "-c", "from janus_cli.main import main; main()", "docs", "list"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(MIGRATIONS.parent),
            "JANUS_HOME": str(tmp_path),
            "JANUS_STORES__RELATIONAL": empty_database_url,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 15, ran.stderr
    assert "9999" in ran.stderr
    assert ran.stdout == ""
    assert "p%25w" not in ran.stderr, "the password of the URL"


def test_a_migration_that_fails_changes_nothing(empty: Database, tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    (tmp_path / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    first, *_ = sorted((MIGRATIONS / "versions").glob("0001*.py"))
    (versions / first.name).write_text(first.read_text())
    (versions / "0002.py").write_text(
        "from alembic import op\nrevision, down_revision = '0002', '0001'\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (a int)')\n    op.execute('oh no')\n"
    )

    with pytest.raises(Exception, match="syntax error"):
        empty.migrate(tmp_path)

    with empty.transaction() as tx:
        assert tx.scalar(text("SELECT to_regclass('half')")) is None
    assert empty.revision() is None
    assert empty.migrate(MIGRATIONS)


def _sizes(database: Database) -> dict[str, int]:
    with database.transaction() as tx:
        names = tx.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        ).all()
        return {
            name: tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names
        }


def _shape(database: Database) -> list[Any]:
    """Columns, indexes and triggers of the public schema."""
    with database.transaction() as tx:
        return [
            tuple(row)
            for question in (
                "SELECT table_name, column_name, data_type, is_nullable, column_default"
                " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
                "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
                " ORDER BY 1, 2",
            )
            for row in tx.execute(text(question))
        ]
