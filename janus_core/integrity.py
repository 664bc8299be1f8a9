"""Invariant I: what must hold between the stores whenever nothing is under way.

Every acknowledged document is in PostgreSQL; every object is there and has the
hash it is named by; the vector store holds exactly the chunks that the catalogue
names; no unfinished work is without somebody who will do it; the coverage ledger
tells what is there. Tests, drills and `janus doctor` share this one check.

Work that is under way is no fault: what an open job is about may be half done. Work
also goes on while the stores are read, one after the other; so whatever differs is
looked at once more before it is called a finding, and again before it is deleted.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from janus_core.errors import NotFound
from janus_core.queue import jobs
from janus_core.stores import versions
from janus_core.stores.base import ObjectStore, VectorStore
from janus_core.stores.postgres import Database

__all__ = ["Finding", "Stores", "check", "repair"]

_OPEN = "('queued', 'running', 'suspect')"
_LATE_S = 60
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which the stores disagree. `repairable`: `repair` can mend it."""

    kind: str
    detail: str
    repairable: bool
    versions: tuple[uuid.UUID, ...] = ()
    chunks: tuple[uuid.UUID, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stores:
    """What is compared. `index` names the vector index of the embedder in use."""

    database: Database
    objects: ObjectStore
    vectors: VectorStore
    index: str


def check(stores: Stores, *, verify_objects: bool = False) -> list[Finding]:
    """Return all findings; none means that invariant I holds.

    `verify_objects` reads every original and compares its hash, which takes as
    long as reading them all.
    """
    findings: list[Finding] = []
    with stores.database.transaction() as tx:
        findings += _lost_documents(tx)
        findings += _unattended(tx)
        findings += _ledger(tx)
    findings += _vectors(stores)
    findings += _objects(stores, verify=verify_objects)
    return findings


def repair(stores: Stores, findings: Sequence[Finding], correlation_id: uuid.UUID) -> int:
    """Mend the repairable findings; return how many. What needs work is queued as jobs."""
    mended = 0
    for finding in findings:
        if not finding.repairable:
            continue
        if finding.kind == "orphan_vectors":
            _delete_orphan_vectors(stores, finding)
        elif finding.kind == "orphan_objects":
            _delete_orphans(stores, finding.keys)
        else:
            _queue_again(stores.database, finding, correlation_id)
        mended += 1
    return mended


def _lost_documents(tx: Connection) -> Iterator[Finding]:
    """Documents that the journal says were received, and that neither exist nor were removed."""
    rows = tx.execute(
        text(
            "SELECT DISTINCT j.subject ->> 'document' AS document FROM journal j"
            " WHERE j.act = 'document.received'"
            " AND NOT EXISTS (SELECT 1 FROM document d"
            "   WHERE d.id = CAST(j.subject ->> 'document' AS uuid))"
            " AND NOT EXISTS (SELECT 1 FROM journal r WHERE r.act = 'document.removed'"
            "   AND r.subject ->> 'document' = j.subject ->> 'document' AND r.id > j.id)"
        )
    ).all()
    if rows:
        yield Finding(
            "lost_documents",
            f"{len(rows)} acknowledged documents are gone: {_some([r.document for r in rows])}",
            repairable=False,
        )


def _unattended(tx: Connection) -> Iterator[Finding]:
    """Unfinished work that nobody is going to do."""
    questions = {
        "stuck_versions": (
            "are received, but no job works on them",
            "SELECT v.id FROM version v JOIN document d ON d.id = v.document_id"
            " WHERE v.state = 'received' AND d.removing_since IS NULL AND NOT EXISTS"
            f" (SELECT 1 FROM job j WHERE j.version_id = v.id AND j.state IN {_OPEN}"
            "   AND j.kind = 'ingest')"
            " AND NOT EXISTS (SELECT 1 FROM job j WHERE j.version_id = v.id"
            "   AND j.state = 'quarantined')",
        ),
        "stuck_removals": (
            "are being removed, but no job does it",
            "SELECT DISTINCT ON (d.id) v.id FROM version v JOIN document d ON d.id = v.document_id"
            " WHERE d.removing_since IS NOT NULL AND NOT EXISTS"
            f" (SELECT 1 FROM job j WHERE j.document_id = d.id AND j.state IN {_OPEN}"
            "   AND j.kind = 'remove')",
        ),
        "stuck_cleaning": (
            "were replaced, but no job takes them away",
            "SELECT v.id FROM version v JOIN document d ON d.id = v.document_id"
            " WHERE v.state = 'superseded' AND d.removing_since IS NULL AND NOT EXISTS"
            f" (SELECT 1 FROM job j WHERE j.version_id = v.id AND j.state IN {_OPEN})",
        ),
        "silent_jobs": (
            "are queued without a message",
            "SELECT j.version_id AS id FROM job j WHERE j.state = 'queued' AND NOT EXISTS"
            " (SELECT 1 FROM outbox o WHERE o.job_id = j.id)",
        ),
        "expired_leases": (
            "run on leases that ended long ago",
            "SELECT j.version_id AS id FROM job j WHERE j.state = 'running'"
            f" AND j.lease_until < now() - interval '{_LATE_S} seconds'",
        ),
    }
    for kind, (what, question) in questions.items():
        ids = tuple(row.id for row in tx.execute(text(question)))
        if ids:
            detail = f"{len(ids)} versions {what}: {_some(ids)}"
            yield Finding(kind, detail, repairable=True, versions=ids)


def _ledger(tx: Connection) -> Iterator[Finding]:
    """Visible versions whose pages or chunks are not what their ledger says."""
    rows = tx.execute(
        text(
            "SELECT v.id FROM document d JOIN version v ON v.id = d.version_id"
            " LEFT JOIN coverage g ON g.version_id = v.id"
            " LEFT JOIN (SELECT version_id, count(*) AS n FROM chunk GROUP BY 1) k"
            "   ON k.version_id = v.id"
            " LEFT JOIN (SELECT version_id, count(*) AS n FROM page GROUP BY 1) p"
            "   ON p.version_id = v.id"
            " WHERE d.removing_since IS NULL AND (g.version_id IS NULL OR v.state <> 'ready'"
            "   OR g.chunks <> coalesce(k.n, 0) OR g.pages <> coalesce(p.n, 0)"
            "   OR g.vectors <> g.chunks)"
        )
    )
    ids = tuple(row.id for row in rows)
    if ids:
        yield Finding(
            "ledger", f"{len(ids)} documents differ from their ledger: {_some(ids)}", False, ids
        )


def _vectors(stores: Stores) -> Iterator[Finding]:
    """Compare the chunk ids of the catalogue with those of the vector store."""
    with stores.database.transaction() as tx:
        expected = set(tx.scalars(text("SELECT id FROM chunk")))
    doubtful: dict[uuid.UUID, set[uuid.UUID]] = {}
    for version, chunk in stores.vectors.chunk_ids(stores.index):
        if chunk in expected:
            expected.remove(chunk)
        else:
            doubtful.setdefault(version, set()).add(chunk)
    orphans: dict[uuid.UUID, set[uuid.UUID]] = {}
    for version, chunks in doubtful.items():
        with stores.database.transaction() as tx:
            if found := _orphans(tx, stores, version, chunks):
                orphans[version] = found
    with stores.database.transaction() as tx:
        lacking = _existing_chunks(tx, expected)
        under_way = _under_way(tx, set(lacking.values()))
    lacking = {c: v for c, v in lacking.items() if v not in under_way}
    if orphans:
        strays = sorted(set().union(*orphans.values()))
        yield Finding(
            "orphan_vectors",
            f"{len(strays)} vectors belong to no chunk: {_some(strays)}",
            repairable=True,
            versions=tuple(sorted(orphans)),
            chunks=tuple(strays),
        )
    if lacking:
        versions = tuple(sorted(set(lacking.values())))
        yield Finding(
            "missing_vectors",
            f"{len(lacking)} chunks of {len(versions)} versions have no vector: {_some(versions)}",
            repairable=True,
            versions=versions,
        )


def _orphans(
    tx: Connection, stores: Stores, version: uuid.UUID, chunks: Collection[uuid.UUID]
) -> set[uuid.UUID]:
    """Those of the chunk ids that have a vector, but neither a row nor work under way."""
    # With its document's row locked no job of the version comes, writes or ends. Where it
    # has none, one may begin: so the vectors are read first and the chunks last.
    versions.find(tx, version, lock=True)
    stored = {chunk for _, chunk in stores.vectors.chunk_ids(stores.index, version)}
    found = stored.intersection(chunks)
    if not found or _under_way(tx, [version]):
        return set()
    return found.difference(_existing_chunks(tx, found))


def _under_way(tx: Connection, versions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the versions that an open job is about, or the removal of their document."""
    return set(
        tx.scalars(
            text(
                "SELECT v.id FROM version v JOIN job j ON j.document_id = v.document_id"
                "   AND (j.version_id = v.id OR j.kind = 'remove')"
                f" WHERE v.id = ANY(:v) AND j.state IN {_OPEN}"
            ),
            {"v": list(versions)},
        )
    )


def _existing_chunks(tx: Connection, chunks: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Those of the chunks that the catalogue has, each with its version."""
    rows = tx.execute(
        text("SELECT id, version_id FROM chunk WHERE id = ANY(:ids)"), {"ids": list(chunks)}
    )
    return {row.id: row.version_id for row in rows}


def _delete_orphan_vectors(stores: Stores, finding: Finding) -> None:
    for version in finding.versions:
        with stores.database.transaction() as tx:
            strays = _orphans(tx, stores, version, finding.chunks)
            stores.vectors.delete(stores.index, sorted(strays))


def _objects(stores: Stores, *, verify: bool) -> Iterator[Finding]:
    """Compare the objects that versions name with those that are there."""
    named = _named_objects(stores.database)
    present = set(stores.objects.keys())
    missing = []
    for key in sorted(named - present):
        with stores.database.transaction() as tx:
            if not _is_orphan(tx, key) and not stores.objects.exists(key):
                missing.append(key)
    if missing:
        yield Finding(
            "missing_objects", f"{len(missing)} originals are gone: {_some(missing)}", False
        )
    if verify:
        wrong = [key for key in sorted(named & present) if not _is_whole(stores.objects, key)]
        if wrong:
            yield Finding(
                "damaged_objects", f"{len(wrong)} originals changed: {_some(wrong)}", False
            )
    orphans = []
    for key in sorted(present - named):
        with stores.database.transaction() as tx:
            if _is_orphan(tx, key) and stores.objects.exists(key):
                orphans.append(key)
    if orphans:
        yield Finding(
            "orphan_objects",
            f"{len(orphans)} objects belong to no document: {_some(orphans)}",
            repairable=True,
            keys=tuple(orphans),
        )


def _named_objects(database: Database) -> set[str]:
    """The keys of all originals but for those of documents that are being removed."""
    with database.transaction() as tx:
        return set(
            tx.scalars(
                text(
                    "SELECT v.object_key FROM version v JOIN document d ON d.id = v.document_id"
                    " WHERE d.removing_since IS NULL"
                )
            )
        )


def _is_whole(objects: ObjectStore, key: str) -> bool:
    try:
        return objects.verify(key)
    except NotFound:  # it went with its document just now, or is found missing next time
        return True


def _is_orphan(tx: Connection, key: str) -> bool:
    """Whether no version names the object. Its content stays locked to the transaction's end."""
    # Somebody may be taking in or removing this very content right now.
    versions.lock_content(tx, key.rsplit("/", 1)[-1])
    named = tx.scalar(text("SELECT 1 FROM version WHERE object_key = :k LIMIT 1"), {"k": key})
    return named is None


def _delete_orphans(stores: Stores, keys: Sequence[str]) -> None:
    for key in keys:
        with stores.database.transaction() as tx:
            if _is_orphan(tx, key):
                stores.objects.delete(key)


def _queue_again(database: Database, finding: Finding, correlation_id: uuid.UUID) -> None:
    kinds: dict[str, jobs.Kind] = {"stuck_removals": "remove", "stuck_cleaning": "clean"}
    with database.transaction() as tx:
        if finding.kind in ("silent_jobs", "expired_leases"):
            jobs.announce_again(tx, finding.versions)
            return
        for version in finding.versions:
            row = versions.find(tx, version)
            if row is not None:
                kind = kinds.get(finding.kind, "ingest")
                jobs.enqueue(tx, kind, row.document_id, version, correlation_id)


def _some(items: Sequence[object]) -> str:
    shown = [str(item) for item in sorted(items, key=str)[:_SHOWN]]
    return ", ".join(shown) + (", …" if len(items) > _SHOWN else "")
