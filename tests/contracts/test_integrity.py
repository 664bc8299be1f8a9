"""Invariant I: each way to break it is found, and what can be mended is."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from janus_core import integrity
from janus_core.documents import document_id
from janus_core.ingestion.intake import Intake
from janus_core.ingestion.remove import request_removal
from janus_core.ingestion.services import Services
from janus_core.queue import jobs
from janus_core.stores import catalogue, versions
from janus_core.stores.base import Point

TEXT = "The pump in the cellar runs at four bar."
WHO = uuid.UUID(int=3)


@pytest.fixture
def stores(services: Services) -> integrity.Stores:
    return integrity.Stores(
        services.database, services.objects, services.vectors, services.embedder.name
    )


@pytest.fixture
def whole(ingest: Any) -> tuple[uuid.UUID, uuid.UUID]:
    """A library of two documents, in which all is well."""
    return ingest("a.txt", TEXT), ingest("b.txt", "Another text about valves.")


def kinds(stores: integrity.Stores, *, verify_objects: bool = False) -> dict[str, bool]:
    """The kinds of findings, and whether each can be repaired."""
    return {f.kind: f.repairable for f in integrity.check(stores, verify_objects=verify_objects)}


def mend(stores: integrity.Stores, run_jobs: Callable[[], None]) -> None:
    integrity.repair(stores, integrity.check(stores), WHO)
    run_jobs()


def visible(library: Any, document: uuid.UUID) -> Any:
    return library.sql(
        "SELECT v.* FROM version v JOIN document d ON d.version_id = v.id WHERE d.id = :d",
        d=document,
    )[0]


def tamper(services: Services, statement: str, **values: object) -> None:
    with services.database.transaction() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        tx.execute(text(statement), values)


def test_a_library_in_order_has_no_findings(
    stores: integrity.Stores, whole: Any, services: Services
) -> None:
    assert integrity.check(stores, verify_objects=True) == []
    assert services.vectors.count(stores.index) == 2
    assert services.objects.usage()[0] == 2


def test_an_empty_library_has_no_findings(stores: integrity.Stores) -> None:
    assert integrity.check(stores, verify_objects=True) == []


def test_lost_vectors_are_made_again(
    stores: integrity.Stores, whole: Any, services: Services, library: Any, run_jobs: Any
) -> None:
    chunk = library.sql("SELECT id FROM chunk WHERE document_id = :d", d=whole[0])[0].id
    before = services.vectors.fetch(stores.index, [chunk])
    services.vectors.delete(stores.index, [chunk])

    assert kinds(stores) == {"missing_vectors": True}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert services.vectors.fetch(stores.index, [chunk])[chunk] == pytest.approx(before[chunk])


def test_a_whole_index_is_made_again(
    stores: integrity.Stores, whole: Any, services: Services, run_jobs: Any
) -> None:
    services.vectors.drop_index(stores.index)

    assert kinds(stores) == {"missing_vectors": True}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert services.vectors.count(stores.index) == 2


def test_vectors_of_nobody_are_deleted(
    stores: integrity.Stores, whole: Any, services: Services, library: Any, run_jobs: Any
) -> None:
    mine = visible(library, whole[0])
    for version in (uuid.uuid4(), mine.id):
        point = Point(uuid.uuid4(), [1.0] + [0.0] * 31, "notes", whole[0], version, "key")
        services.vectors.upsert(stores.index, [point])

    assert kinds(stores) == {"orphan_vectors": True}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert services.vectors.count(stores.index) == 2


def test_vectors_that_found_their_chunk_meanwhile_are_kept(
    stores: integrity.Stores, services: Services, ingest: Any, run_jobs: Any
) -> None:
    """A finding is acted upon a while after it was made."""
    ingest("a.txt", TEXT)
    chunks = tuple(chunk for _, chunk in services.vectors.chunk_ids(stores.index))
    versions = tuple(version for version, _ in services.vectors.chunk_ids(stores.index))
    outdated = integrity.Finding("orphan_vectors", "", True, versions, chunks)

    integrity.repair(stores, [outdated], WHO)

    assert services.vectors.count(stores.index) == 1


def test_vectors_of_work_that_is_under_way_are_no_finding(
    stores: integrity.Stores, services: Services, library: Any
) -> None:
    made = library.receive()
    services.vectors.ensure_index(stores.index, 32)
    point = Point(uuid.uuid4(), [1.0] * 32, "notes", made.document, made.version, "key")
    services.vectors.upsert(stores.index, [point])

    assert kinds(stores) == {"missing_objects": False}, "the library's documents have no originals"


def test_a_lost_original_is_told_but_cannot_be_mended(
    stores: integrity.Stores, whole: Any, services: Services, library: Any, run_jobs: Any
) -> None:
    services.objects.delete(visible(library, whole[0]).object_key)

    assert kinds(stores) == {"missing_objects": False}
    mend(stores, run_jobs)
    assert kinds(stores) == {"missing_objects": False}


def test_a_changed_original_is_found_when_hashes_are_read(
    stores: integrity.Stores, whole: Any, services: Services, library: Any
) -> None:
    with services.objects.local(visible(library, whole[0]).object_key) as path:
        path.write_bytes(path.read_bytes().replace(b"four", b"five"))

    assert kinds(stores) == {}
    assert kinds(stores, verify_objects=True) == {"damaged_objects": False}


def test_an_original_of_nobody_is_deleted(
    stores: integrity.Stores, whole: Any, services: Services, tmp_path: Any, run_jobs: Any
) -> None:
    (tmp_path / "x").write_text("left by an intake that was killed")
    with (tmp_path / "x").open("rb") as file:
        key = services.objects.put(services.objects.stage(file))

    assert kinds(stores) == {"orphan_objects": True}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert not services.objects.exists(key)


def test_an_original_that_is_being_taken_in_is_no_orphan(
    stores: integrity.Stores, services: Services, tmp_path: Any
) -> None:
    path = tmp_path / "x"
    path.write_text("new")
    sha = hashlib.sha256(b"new").hexdigest()
    found, done = list[Any](), threading.Event()
    with services.database.transaction() as tx:
        versions.lock_content(tx, sha)
        with path.open("rb") as file:
            key = services.objects.put(services.objects.stage(file))
        thread = threading.Thread(
            target=lambda: (found.extend(integrity.check(stores)), done.set()), daemon=True
        )
        thread.start()
        assert not done.wait(0.5), "it did not wait for the intake"
        number = catalogue.ensure_collection(tx, "notes")
        document = document_id("notes", "file:///x")
        versions.upsert_document(tx, document, number, "file:///x", {})
        version = versions.insert_version(tx, document, sha, 3, key)
        jobs.enqueue(tx, "ingest", document, version, WHO)
    assert done.wait(10)

    assert found == []


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM job", "stuck_versions"),
        ("UPDATE job SET state = 'done'", "stuck_versions"),
        ("DELETE FROM outbox", "silent_jobs"),
        (
            "UPDATE job SET state = 'running', owner = 'w', lease_until = now() - interval '2 min'",
            "expired_leases",
        ),
    ],
)
def test_work_that_nobody_would_do_is_done(
    stores: integrity.Stores,
    services: Services,
    ingest: Any,
    library: Any,
    run_jobs: Any,
    statement: str,
    kind: str,
) -> None:
    document = ingest("a.txt", TEXT, run=False)
    library.sql(statement)

    assert kinds(stores) == {kind: True}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert visible(library, document).state == "ready"


def test_a_quarantined_document_is_left_alone(
    stores: integrity.Stores, ingest: Any, library: Any
) -> None:
    ingest("a.txt", TEXT, run=False)
    library.sql("UPDATE job SET state = 'quarantined'")

    assert kinds(stores) == {}


def test_a_removal_that_nobody_would_do_is_done(
    stores: integrity.Stores, whole: Any, services: Services, library: Any, run_jobs: Any
) -> None:
    request_removal(services.database, whole[0], WHO)
    library.sql("UPDATE job SET state = 'failed' WHERE kind = 'remove'")

    assert kinds(stores) == {"stuck_removals": True}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert library.sql("SELECT 1 FROM document WHERE id = :d", d=whole[0]) == []
    assert services.objects.usage()[0] == 1
    assert services.vectors.count(stores.index) == 1


def test_an_old_version_that_nobody_would_take_away_is_taken_away(
    stores: integrity.Stores,
    whole: Any,
    services: Services,
    ingest: Any,
    run_jobs: Any,
    library: Any,
) -> None:
    ingest("a.txt", "A new text.", run=False)
    with services.database.transaction() as tx:
        job = jobs.rows(tx, states=["queued"])[0].id
    from janus_core.actors import run_job

    run_job(services, job, "worker")
    library.sql("DELETE FROM job WHERE kind = 'clean'")

    assert set(kinds(stores)) == {"stuck_cleaning", "orphan_vectors"}
    mend(stores, run_jobs)

    assert kinds(stores) == {}
    assert services.objects.usage()[0] == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM page",
        "DELETE FROM coverage",
        "UPDATE coverage SET chunks = chunks + 1, vectors = vectors + 1",
        "UPDATE coverage SET vectors = 0",
        "UPDATE version SET state = 'failed'",
    ],
)
def test_a_ledger_that_does_not_agree_is_told(
    stores: integrity.Stores, whole: Any, library: Any, statement: str
) -> None:
    library.sql(statement)

    assert kinds(stores) == {"ledger": False}


def test_a_document_that_vanished_is_told(
    stores: integrity.Stores, whole: Any, services: Services, library: Any
) -> None:
    chunk = library.sql("SELECT id FROM chunk WHERE document_id = :d", d=whole[0])[0].id
    key = visible(library, whole[0]).object_key
    for table in ("chunk", "job", "version"):
        tamper(services, f"DELETE FROM {table} WHERE document_id = :d", d=whole[0])
    tamper(services, "DELETE FROM document WHERE id = :d", d=whole[0])
    services.vectors.delete(stores.index, [chunk])
    services.objects.delete(key)

    findings = integrity.check(stores)

    assert [(f.kind, f.repairable) for f in findings] == [("lost_documents", False)]
    assert str(whole[0]) in findings[0].detail


def test_a_removed_document_is_not_lost_nor_one_that_came_back(
    stores: integrity.Stores, whole: Any, services: Services, ingest: Any, run_jobs: Any
) -> None:
    request_removal(services.database, whole[0], WHO)
    run_jobs()
    assert kinds(stores, verify_objects=True) == {}

    ingest("a.txt", TEXT)
    assert kinds(stores, verify_objects=True) == {}


def test_nothing_is_found_or_deleted_wrongly_while_work_goes_on(
    stores: integrity.Stores, services: Services, library: Any, tmp_path: Any
) -> None:
    """Files come, change and go in two workers' hands while a doctor repairs again and again."""
    from janus_core.actors import run_job

    stop, errors, checked = threading.Event(), list[Any](), list[int]()
    folder = tmp_path / "files"
    folder.mkdir()

    def guarded(body: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                while not stop.is_set():
                    body()
            except Exception as error:  # noqa: BLE001 (looked at below)
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def work() -> None:
        with services.database.transaction() as tx:
            waiting = jobs.rows(tx, states=["queued"])
        for row in waiting:
            run_job(services, row.id, f"w{threading.get_ident()}")

    def examine() -> None:
        findings = integrity.check(stores)
        errors.extend(findings)
        integrity.repair(stores, findings, WHO)
        checked.append(len(findings))

    threads = [guarded(work), guarded(work), guarded(examine)]
    for turn in range(12):
        for name in "abc":
            path = folder / f"{name}.txt"
            path.write_text(f"Text {turn % 3} of {name}, with some words of its own.")
            list(Intake(services.database, services.objects, "notes").take([path]))
        if turn % 4 == 3:
            gone = document_id("notes", (folder / "a.txt").as_uri())
            request_removal(services.database, gone, WHO)
            while library.sql("SELECT 1 FROM document WHERE id = :d", d=gone) and not errors:
                threading.Event().wait(0.02)
    while library.sql("SELECT 1 FROM job WHERE state IN ('queued', 'running')") and not errors:
        threading.Event().wait(0.05)
    stop.set()
    for thread in threads:
        thread.join(20)

    assert errors == []
    assert len(checked) >= 3
    assert integrity.check(stores, verify_objects=True) == []
    assert library.sql("SELECT 1 FROM job WHERE state = 'failed' AND code <> 'removed'") == []
