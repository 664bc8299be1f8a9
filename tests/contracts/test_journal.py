"""The journal: append-only by the database's word, chained so that tampering shows."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from janus_core.errors import Damaged
from janus_core.ingestion.services import Services
from janus_core.stores import journal
from janus_core.stores.postgres import Database

WHO = uuid.UUID(int=7)


def write(database: Database, *acts: str) -> None:
    for act in acts:
        with database.transaction() as tx:
            journal.append(tx, act, WHO, actor="tester", document=uuid.uuid4(), size=1.5)


@contextlib.contextmanager
def as_tamperer(database: Database) -> Iterator[Connection]:
    """A superuser who has switched the triggers off."""
    with database.transaction() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        yield tx


@pytest.mark.parametrize("table", ["journal", "journal_chain"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET {}", "DELETE FROM {}", "DELETE FROM {} WHERE FALSE", "TRUNCATE {} CASCADE"],
)
def test_the_database_refuses_to_change_what_was_written(
    database: Database, table: str, statement: str
) -> None:
    write(database, "a", "b")
    journal.sequence(database)
    column = "act = 'c'" if table == "journal" else "hash = ''"

    with pytest.raises(DBAPIError, match="append-only"), database.transaction() as tx:
        tx.execute(text(statement.format(table, column)))

    assert journal.verify(database) == 2


def test_an_act_is_recorded_with_its_transaction_or_not_at_all(
    database: Database, library: Any
) -> None:
    with pytest.raises(RuntimeError), database.transaction() as tx:
        journal.append(tx, "document.received", WHO)
        raise RuntimeError("the act failed")

    assert journal.entries(database) == []


def test_entries_are_chained_in_order(database: Database) -> None:
    write(database, "one", "two", "three")

    assert journal.sequence(database) == 3
    assert journal.sequence(database) == 0
    write(database, "four")
    assert journal.sequence(database) == 1

    assert journal.verify(database) == 4
    entries = journal.entries(database, newest_first=False)
    assert [(e.seq, e.act, e.actor, e.correlation_id) for e in entries] == [
        (n, act, "tester", WHO) for n, act in enumerate(["one", "two", "three", "four"], start=1)
    ]


def test_an_empty_journal_holds(database: Database) -> None:
    assert journal.sequence(database) == 0
    assert journal.verify(database) == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal SET act = 'forged' WHERE act = 'two'",
        "UPDATE journal SET actor = 'forged' WHERE act = 'two'",
        "UPDATE journal SET at = at + interval '1 microsecond' WHERE act = 'two'",
        "UPDATE journal SET subject = subject || '{\"size\": 2}' WHERE act = 'two'",
        "UPDATE journal SET correlation_id = gen_random_uuid() WHERE act = 'two'",
        "UPDATE journal_chain SET hash = sha256('x') WHERE seq = 2",
        "DELETE FROM journal WHERE act = 'two'",
        "DELETE FROM journal_chain WHERE seq = 2",
        "UPDATE journal_chain SET seq = seq + 100 WHERE seq > 1",
        "UPDATE journal_chain SET journal_id = (SELECT 10000 + max(id) FROM journal) WHERE seq = 2",
        # Swapped: each row is genuine, their order is not.
        "UPDATE journal_chain SET seq = CASE seq WHEN 1 THEN 12 WHEN 2 THEN 11 END WHERE seq < 3;"
        "UPDATE journal_chain SET seq = seq - 10 WHERE seq > 10",
        # Between two entries, with a hash that looks well.
        "UPDATE journal_chain SET seq = seq + 10 WHERE seq > 1;"
        "UPDATE journal_chain SET seq = seq - 9 WHERE seq > 11;"
        "INSERT INTO journal (actor, act, correlation_id) VALUES ('x', 'in', gen_random_uuid());"
        "INSERT INTO journal_chain SELECT 2, max(id), sha256('y') FROM journal",
    ],
)
def test_tampering_breaks_the_chain(database: Database, change: str) -> None:
    write(database, "one", "two", "three", "four")
    journal.sequence(database)
    assert journal.verify(database) == 4

    with as_tamperer(database) as tx:
        for statement in change.split(";"):
            tx.execute(text(statement))

    with pytest.raises(Damaged) as caught:
        journal.verify(database)
    assert caught.value.hint


def test_an_entry_hidden_from_the_sequencer_is_found(database: Database) -> None:
    """Taken out of the chain's end and out of the line of those that wait."""
    write(database, "one", "two")
    journal.sequence(database)

    with as_tamperer(database) as tx:
        tx.execute(text("DELETE FROM journal_chain WHERE seq = 2"))
    assert journal.sequence(database) == 0

    with pytest.raises(Damaged):
        journal.verify(database)


def test_two_sequencers_at_once_number_each_entry_once(database: Database) -> None:
    write(database, *[f"act {n}" for n in range(40)])

    with ThreadPoolExecutor(4) as pool:
        numbered = sum(pool.map(lambda _: journal.sequence(database), range(8)))
    numbered += journal.sequence(database)

    assert numbered == 40
    assert journal.verify(database) == 40


def test_a_second_sequencer_does_not_wait(database: Database) -> None:
    write(database, "one")
    with database.transaction() as tx:
        assert tx.scalar(text(f"SELECT pg_try_advisory_xact_lock({journal._SEQUENCER_LOCK})"))
        done = threading.Event()
        thread = threading.Thread(
            target=lambda: (journal.sequence(database), done.set()), daemon=True
        )
        thread.start()
        assert done.wait(5)
    assert journal.sequence(database) == 1


def test_an_entry_that_is_committed_late_is_chained_late(database: Database) -> None:
    with database.transaction() as slow:
        journal.append(slow, "early id, late commit", WHO)
        write(database, "quick")
        assert journal.sequence(database) == 1

    assert journal.sequence(database) == 1
    assert journal.verify(database) == 2
    entries = journal.entries(database, newest_first=False)
    assert [(entry.seq, entry.act) for entry in entries] == [
        (2, "early id, late commit"),
        (1, "quick"),
    ]


def test_more_entries_than_one_batch(database: Database) -> None:
    with database.transaction() as tx:
        for n in range(1203):
            journal.append(tx, f"act {n}", WHO, actor="tester")

    assert [journal.sequence(database) for _ in range(3)] == [1000, 203, 0]
    assert journal.verify(database) == 1203
    followed = [entry.act for entry in journal.follow(database, after_id=0)]
    assert followed == [f"act {n}" for n in range(1203)]


def test_entries_can_be_asked_for(database: Database, library: Any) -> None:
    made = library.receive()
    write(database, "backup.made", "backup.checked")

    assert [e.act for e in journal.entries(database, act="backup.")] == [
        "backup.checked",
        "backup.made",
    ]
    assert len(journal.entries(database, limit=1)) == 1
    about = journal.entries(database, about=str(made.document))
    assert [e.act for e in about] == ["document.received"]
    assert journal.entries(database, about=str(library.correlation)) == about
    assert journal.entries(database, act="%") == []
    newest = journal.entries(database)[0].id
    assert journal.entries(database, after_id=newest) == []


def test_entries_hold_no_text_of_documents(
    services: Services, ingest: Any, database: Database
) -> None:
    ingest("secret.txt", "The combination of the safe is xyzzyplugh.", tags={"site": "plover"})
    ingest("secret.txt", "The combination is now fee fie foe xyzzyplugh.")

    rows = [str(entry) for entry in journal.entries(database)]
    assert len(rows) >= 4
    assert not [row for row in rows if "xyzzy" in row or "combination" in row or "plover" in row]
