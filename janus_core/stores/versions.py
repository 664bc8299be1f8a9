"""Versions of documents on their way in and out: promised, extracted, published, removed.

Plain functions over a connection, so that the caller decides what is one
transaction. What people and searches read stands in `catalogue`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from janus_core.documents import Chunk, version_id
from janus_core.errors import InvalidInput
from janus_core.stores.base import ObjectStore
from janus_core.stores.catalogue import VISIBLE


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue knows of a source before it is read again."""

    document_id: uuid.UUID
    sha256: str
    """Of the newest version that is ready, failed or on its way; empty if there is none."""
    tags: Mapping[str, str]
    state: str
    """Of that version."""
    visible: bool
    """Whether people see a version of it, this or an older one."""
    quarantine: tuple[str, str] | None = None
    """Reason and hint, if that version killed the processes that read it."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version with the document it belongs to."""

    id: uuid.UUID
    document_id: uuid.UUID
    collection_id: int
    collection: str
    uri: str
    tags: Mapping[str, str]
    sha256: str
    size: int
    object_key: str
    state: str
    title: str
    media_type: str
    parser: str
    extracted: bool
    """Whether all pages are kept."""
    visible: bool
    removing: bool
    recipe: str
    """How its pages were cut into the chunks that are shown; empty before that."""
    outdated: bool
    """Whether the document has newer content that is ready or on its way."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The ledger of one version: what went in and what came out."""

    pages: int
    pages_with_text: int
    characters: int
    chunks: int
    vectors: int


def known_sources(tx: Connection, collection: str, uris: Sequence[str]) -> dict[str, Known]:
    """Given source URIs, return what is known of each that the collection has."""
    rows = tx.execute(
        text(
            "SELECT d.uri, d.id, d.tags, d.version_id IS NOT NULL AS visible,"
            " newest.sha256, newest.state, j.reason, j.hint FROM document d"
            " JOIN collection c ON c.id = d.collection_id"
            " LEFT JOIN LATERAL (SELECT v.id, v.sha256, v.state FROM version v"
            "   WHERE v.document_id = d.id AND v.state <> 'superseded'"
            "   ORDER BY v.created_at DESC LIMIT 1) newest ON TRUE"
            " LEFT JOIN job j ON j.version_id = newest.id AND j.state = 'quarantined'"
            "   AND j.kind = 'ingest'"
            " WHERE c.name = :c AND d.uri = ANY(:uris) AND d.removing_since IS NULL"
        ),
        {"c": collection, "uris": list(uris)},
    )
    return {
        row.uri: Known(
            row.id,
            row.sha256 or "",
            row.tags,
            row.state or "",
            row.visible,
            None if row.reason is None else (row.reason, row.hint or ""),
        )
        for row in rows
    }


def upsert_document(
    tx: Connection, document: uuid.UUID, collection: int, uri: str, tags: Mapping[str, str]
) -> None:
    """Make the document's row, or take over the new tags. Locks the row.

    Raise InvalidInput while the document is being removed.
    """
    row = tx.execute(
        text(
            "INSERT INTO document (id, collection_id, uri, tags)"
            " VALUES (:id, :c, :uri, CAST(:tags AS jsonb))"
            " ON CONFLICT (id) DO UPDATE SET updated_at = now(),"
            "   tags = document.tags || excluded.tags"
            " RETURNING removing_since"
        ),
        {"id": document, "c": collection, "uri": uri, "tags": json.dumps(dict(tags))},
    ).one()
    if row.removing_since is not None:
        raise InvalidInput(
            f"{uri} is being removed right now", "Run the command again in a moment."
        )


def insert_version(
    tx: Connection, document: uuid.UUID, sha256: str, size: int, object_key: str
) -> uuid.UUID:
    """Make (or make again, after a failure) the version of a document; return its id."""
    version = version_id(document, sha256)
    tx.execute(
        text(
            "INSERT INTO version (id, document_id, sha256, size, object_key, created_at)"
            # What comes last is the newest, even if it was there before, and even if the
            # clock has gone back since.
            " SELECT :id, :d, :sha, :size, :key, greatest(clock_timestamp(),"
            "   max(v.created_at) + interval '1 microsecond')"
            " FROM version v WHERE v.document_id = :d"
            " ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at,"
            "   reason = NULL, hint = NULL, state = CASE"
            "     WHEN version.state IN ('failed', 'superseded') THEN 'received'"
            "     ELSE version.state END"
        ),
        {"id": version, "d": document, "sha": sha256, "size": size, "key": object_key},
    )
    return version


def find(tx: Connection, version_id: uuid.UUID, *, lock: bool = False) -> VersionRow | None:
    """Return a version, or None when it is gone. With `lock`, hold its document's row."""
    if lock:
        # A statement of its own: the next one then sees what was committed while this waited.
        tx.execute(
            text(
                "SELECT id FROM document WHERE id ="
                " (SELECT document_id FROM version WHERE id = :v) FOR NO KEY UPDATE"
            ),
            {"v": version_id},
        )
    row = tx.execute(
        text(
            "SELECT v.*, d.collection_id, c.name AS collection, d.uri, d.tags,"
            f" ({VISIBLE}) AS visible, d.removing_since IS NOT NULL AS removing,"
            " EXISTS (SELECT 1 FROM version n WHERE n.document_id = v.document_id"
            "   AND n.created_at > v.created_at AND n.state IN ('received', 'ready')) AS outdated"
            " FROM version v JOIN document d ON d.id = v.document_id"
            " JOIN collection c ON c.id = d.collection_id WHERE v.id = :v"
        ),
        {"v": version_id},
    ).first()
    if row is None:
        return None
    return VersionRow(
        id=row.id,
        document_id=row.document_id,
        collection_id=row.collection_id,
        collection=row.collection,
        uri=row.uri,
        tags=row.tags,
        sha256=row.sha256,
        size=row.size,
        object_key=row.object_key,
        state=row.state,
        title=row.title or "",
        media_type=row.media_type or "",
        parser=row.parser or "",
        extracted=row.extracted_at is not None,
        visible=bool(row.visible),
        removing=row.removing,
        recipe=row.recipe or "",
        outdated=row.outdated,
    )


def publish_version(
    tx: Connection,
    row: VersionRow,
    chunks: Iterable[tuple[Chunk, bytes]],
    coverage: Coverage,
    recipe: str,
    embedder: str,
) -> uuid.UUID | None:
    """Make a version visible with its chunks; return the version it replaced, if any.

    `chunks` come with the hash of what was embedded. The caller holds the
    document's row (`version(…, lock=True)`).
    """
    tx.execute(text("DELETE FROM chunk WHERE version_id = :v"), {"v": row.id})
    batch: list[dict[str, object]] = []
    for chunk, embedded_hash in chunks:
        batch.append(_chunk_values(row, chunk, embedded_hash))
        if len(batch) == 500:
            tx.execute(text(_INSERT_CHUNK), batch)
            batch = []
    if batch:
        tx.execute(text(_INSERT_CHUNK), batch)
    old = tx.scalar(text("SELECT version_id FROM document WHERE id = :d"), {"d": row.document_id})
    tx.execute(
        text("UPDATE document SET version_id = :v, updated_at = now() WHERE id = :d"),
        {"v": row.id, "d": row.document_id},
    )
    tx.execute(
        text(
            "UPDATE version SET state = 'ready', ready_at = now(), recipe = :r, embedder = :e,"
            " reason = NULL, hint = NULL WHERE id = :v"
        ),
        {"v": row.id, "r": recipe, "e": embedder},
    )
    tx.execute(
        text(
            "INSERT INTO coverage (version_id, pages, pages_with_text, characters, chunks, vectors)"
            " VALUES (:v, :p, :pt, :ch, :c, :vec) ON CONFLICT (version_id) DO UPDATE SET"
            " pages = excluded.pages, pages_with_text = excluded.pages_with_text,"
            " characters = excluded.characters, chunks = excluded.chunks,"
            " vectors = excluded.vectors"
        ),
        {
            "v": row.id,
            "p": coverage.pages,
            "pt": coverage.pages_with_text,
            "ch": coverage.characters,
            "c": coverage.chunks,
            "vec": coverage.vectors,
        },
    )
    if old is None or old == row.id:
        return None
    supersede(tx, old)
    return uuid.UUID(str(old))


def supersede(tx: Connection, version_id: uuid.UUID) -> None:
    """Hide a version's chunks for good; what is left of it is cleaned up by a job."""
    tx.execute(text("DELETE FROM chunk WHERE version_id = :v"), {"v": version_id})
    tx.execute(text("UPDATE version SET state = 'superseded' WHERE id = :v"), {"v": version_id})


def fail_version(tx: Connection, version_id: uuid.UUID, reason: str, hint: str) -> None:
    """Mark a version that will not become ready, with the reason for people."""
    tx.execute(
        text(
            "UPDATE version SET state = 'failed', reason = :r, hint = :h"
            " WHERE id = :v AND state = 'received'"
        ),
        {"v": version_id, "r": reason, "h": hint},
    )


def failed_versions(tx: Connection, document: uuid.UUID) -> list[uuid.UUID]:
    """Return the versions of a document that failed."""
    rows = tx.execute(
        text("SELECT id FROM version WHERE document_id = :d AND state = 'failed'"), {"d": document}
    )
    return [row.id for row in rows]


def hide_document(tx: Connection, document: uuid.UUID) -> bool:
    """Make a document invisible before its data goes; return False if it is gone already."""
    changed = tx.execute(
        text("UPDATE document SET removing_since = coalesce(removing_since, now()) WHERE id = :d"),
        {"d": document},
    )
    return changed.rowcount == 1


def versions_of(tx: Connection, document: uuid.UUID) -> list[uuid.UUID]:
    """Return the ids of all versions of a document."""
    rows = tx.execute(text("SELECT id FROM version WHERE document_id = :d"), {"d": document})
    return [row.id for row in rows]


def existing_documents(tx: Connection, documents: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Return those of the given documents that have a row, hidden or not."""
    rows = tx.execute(
        text("SELECT id FROM document WHERE id = ANY(:ids)"), {"ids": list(documents)}
    )
    return [row.id for row in rows]


def has_other_content(tx: Connection, document: uuid.UUID, version_id: uuid.UUID) -> bool:
    """Return whether the document has another version that is ready or on its way."""
    found = tx.scalar(
        text(
            "SELECT 1 FROM version WHERE document_id = :d AND id <> :v"
            " AND state IN ('received', 'ready') LIMIT 1"
        ),
        {"d": document, "v": version_id},
    )
    return found is not None


def delete_version(tx: Connection, version_id: uuid.UUID) -> None:
    """Delete a version's row with its pages, chunks, coverage and jobs."""
    tx.execute(text("DELETE FROM version WHERE id = :v"), {"v": version_id})


def delete_document(tx: Connection, document: uuid.UUID) -> None:
    """Delete a document's row with everything that hangs on it."""
    tx.execute(text("UPDATE document SET version_id = NULL WHERE id = :d"), {"d": document})
    tx.execute(text("DELETE FROM document WHERE id = :d"), {"d": document})


def lock_content(tx: Connection, sha256: str) -> None:
    """Keep others from storing or deleting this content until the transaction ends.

    Without it, one process could delete an object that another has just found.
    Who locks the document's row too, locks that first.
    """
    tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:s, 0))"), {"s": sha256})


def delete_object_if_unshared(
    tx: Connection, objects: ObjectStore, version_id: uuid.UUID, document: uuid.UUID | None = None
) -> None:
    """Delete the object of a version that is about to go, unless another version has it.

    Where the whole `document` goes, its own versions do not count as others.
    """
    row = tx.execute(
        text("SELECT sha256, object_key FROM version WHERE id = :v"), {"v": version_id}
    ).first()
    if row is None:
        return
    lock_content(tx, row.sha256)
    shared = tx.scalar(
        text(
            "SELECT 1 FROM version WHERE sha256 = :s AND id <> :v"
            " AND document_id IS DISTINCT FROM :d LIMIT 1"
        ),
        {"s": row.sha256, "v": version_id, "d": document},
    )
    if shared is None:
        objects.delete(row.object_key)


def versions_of_others(
    tx: Connection, embedder: str, *, after: uuid.UUID, limit: int
) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """Return (document, version) of visible versions that another embedder embedded.

    By version id, those after `after`.
    """
    rows = tx.execute(
        text(
            f"SELECT d.id AS document, v.id AS version FROM document d JOIN version v ON {VISIBLE}"
            " WHERE v.embedder IS DISTINCT FROM :e AND v.id > :a ORDER BY v.id LIMIT :n"
        ),
        {"e": embedder, "a": after, "n": limit},
    )
    return [(row.document, row.version) for row in rows]


_INSERT_CHUNK = (
    "INSERT INTO chunk (id, version_id, document_id, collection_id, ordinal, page,"
    " start_offset, end_offset, locator, heading, text, embedded_hash)"
    " VALUES (:id, :version_id, :document_id, :collection_id, :ordinal, :page,"
    " :start, :end, :locator, :heading, :text, :embedded_hash)"
)


def _chunk_values(row: VersionRow, chunk: Chunk, embedded_hash: bytes) -> dict[str, object]:
    return {
        "id": chunk.id,
        "version_id": row.id,
        "document_id": row.document_id,
        "collection_id": row.collection_id,
        "ordinal": chunk.ordinal,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "locator": chunk.locator,
        "heading": chunk.heading,
        "text": chunk.text,
        "embedded_hash": embedded_hash,
    }
