"""The catalogue: which documents there are, what they contain, what may be shown.

Plain functions over a connection, so that the caller decides what is one
transaction. Text leaves this file only for visible documents (law 2).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from janus_core.documents import Filter, Passage
from janus_core.errors import InvalidInput, NotFound

VISIBLE = "d.version_id = v.id AND d.removing_since IS NULL"


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as `janus docs list` shows it."""

    id: uuid.UUID
    collection: str
    uri: str
    title: str
    state: str
    tags: Mapping[str, str]
    pages: int
    chunks: int
    size: int
    updated_at: datetime
    reason: str = ""
    hint: str = ""
    media_type: str = ""
    sha256: str = ""
    object_key: str = ""
    coverage: Mapping[str, int] = field(default_factory=dict)
    version_id: uuid.UUID | None = None
    """The version that the other fields tell of: the visible one, else the newest."""
    visible: bool = False


def ensure_collection(tx: Connection, name: str) -> int:
    """Return the id of the named collection, making it if needed. Raise InvalidInput."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", name):
        raise InvalidInput(
            f"not a name for a collection: {name!r}",
            "Use lower-case letters, digits, dots, dashes and underscores, at most 63.",
        )
    found = text("SELECT id FROM collection WHERE name = :n")
    if tx.scalar(found, {"n": name}) is None:
        insert = text("INSERT INTO collection (name) VALUES (:n) ON CONFLICT DO NOTHING")
        tx.execute(insert, {"n": name})
    return int(tx.execute(found, {"n": name}).scalar_one())


def require_collections(tx: Connection, names: Iterable[str]) -> None:
    """Raise NotFound for the first name that is no collection."""
    for name in sorted(names):
        if tx.scalar(text("SELECT 1 FROM collection WHERE name = :n"), {"n": name}) is None:
            raise NotFound(f"no such collection: {name}", "See: janus docs list")


def passages(tx: Connection, chunk_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Passage]:
    """Given chunk ids, return those that are visible, with text and source."""
    if not chunk_ids:
        return {}
    rows = tx.execute(
        text(
            "SELECT k.*, c.name AS collection, v.title, d.uri, d.tags, v.object_key"
            " FROM chunk k JOIN document d ON d.id = k.document_id"
            f" JOIN version v ON v.id = k.version_id AND {VISIBLE}"
            " JOIN collection c ON c.id = k.collection_id WHERE k.id = ANY(:ids)"
        ),
        {"ids": list(chunk_ids)},
    )
    return {row.id: _passage(row) for row in rows}


def embedders(tx: Connection) -> dict[str, int]:
    """Return how many visible versions were embedded with each embedding model, by its id."""
    rows = tx.execute(
        text(
            "SELECT v.embedder, count(*) AS n FROM version v"
            f" JOIN document d ON {VISIBLE} WHERE v.embedder IS NOT NULL GROUP BY 1"
        )
    )
    return {row.embedder: int(row.n) for row in rows}


def note(tx: Connection, key: str, value: Any) -> None:
    """Keep a small fact about this installation, as JSON."""
    tx.execute(
        text(
            "INSERT INTO installation (key, value) VALUES (:k, CAST(:v AS jsonb))"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        ),
        {"k": key, "v": json.dumps(value)},
    )


def noted(tx: Connection, key: str) -> Any:
    """Return a fact that `note` kept, or None."""
    return tx.scalar(text("SELECT value FROM installation WHERE key = :k"), {"k": key})


def filter_conditions(where: Filter) -> tuple[str, dict[str, object]]:
    """Given a filter, return an SQL condition over `d` (document) and `c` (collection)."""
    parts, values = ["TRUE"], dict[str, object]()
    if where.collections:
        parts.append("c.name = ANY(:f_collections)")
        values["f_collections"] = sorted(where.collections)
    for number, (key, value) in enumerate(sorted(where.tags)):
        parts.append(f"d.tags @> CAST(:f_tag_{number} AS jsonb)")
        values[f"f_tag_{number}"] = json.dumps({key: value})
    for number, (key, value) in enumerate(sorted(where.not_tags)):
        parts.append(f"NOT d.tags @> CAST(:f_not_{number} AS jsonb)")
        values[f"f_not_{number}"] = json.dumps({key: value})
    return " AND ".join(parts), values


def documents(
    tx: Connection, where: Filter | None = None, *, limit: int = 1000, id_prefix: str = ""
) -> list[DocumentRow]:
    """Return documents that are not being removed, ordered by collection and URI."""
    conditions, values = filter_conditions(where or Filter())
    rows = tx.execute(
        text(
            "SELECT d.id, c.name AS collection, d.uri, d.tags, d.updated_at, v.title, v.state,"
            " v.size, v.reason, v.hint, v.media_type, v.sha256, v.object_key, v.id AS version_id,"
            " (v.id = d.version_id) IS TRUE AS visible,"
            " g.pages, g.pages_with_text, g.characters, g.chunks, g.vectors"
            " FROM document d JOIN collection c ON c.id = d.collection_id"
            " LEFT JOIN LATERAL (SELECT * FROM version w WHERE w.document_id = d.id"
            "   ORDER BY (w.id = d.version_id) IS TRUE DESC, w.created_at DESC LIMIT 1) v ON TRUE"
            " LEFT JOIN coverage g ON g.version_id = v.id"
            f" WHERE d.removing_since IS NULL AND {conditions}"
            "   AND CAST(d.id AS text) LIKE :prefix ORDER BY c.name, d.uri LIMIT :n"
        ),
        values | {"n": limit, "prefix": f"{id_prefix}%"},
    )
    return [_document(row) for row in rows]


def find_document(tx: Connection, name: str) -> DocumentRow:
    """Given an id, a prefix of one (8 digits or more), or a URI, return the document.

    Raise NotFound, or InvalidInput when several fit.
    """
    if re.fullmatch(r"[0-9a-f-]{8,36}", name):
        found = documents(tx, id_prefix=name, limit=2)
    else:
        ids = tx.scalars(
            text("SELECT id FROM document WHERE uri = :u AND removing_since IS NULL LIMIT 2"),
            {"u": name},
        )
        found = [row for i in ids.all() for row in documents(tx, id_prefix=str(i), limit=1)]
    if not found:
        raise NotFound(f"no such document: {name}", "See: janus docs list")
    if len(found) > 1:
        raise InvalidInput(f"several documents fit {name}", "Give the whole id.")
    return found[0]


def counts(tx: Connection) -> dict[str, int]:
    """Return the number of visible documents, of chunks, of originals and of their bytes."""
    row = tx.execute(
        text(
            "SELECT (SELECT count(*) FROM document WHERE version_id IS NOT NULL"
            "          AND removing_since IS NULL) AS documents,"
            " (SELECT count(*) FROM chunk) AS chunks,"
            " count(*) AS objects, coalesce(sum(size), 0) AS bytes"
            " FROM (SELECT DISTINCT ON (sha256) size FROM version ORDER BY sha256) AS contents"
        )
    ).one()
    return {name: int(value) for name, value in row._mapping.items()}


def _passage(row: Row[Any]) -> Passage:
    return Passage(
        chunk_id=row.id,
        document_id=row.document_id,
        collection=row.collection,
        title=row.title or "",
        uri=row.uri,
        object_key=row.object_key,
        page=row.page,
        locator=row.locator,
        text=row.text,
        heading=row.heading,
        tags=row.tags,
    )


def _document(row: Row[Any]) -> DocumentRow:
    coverage = ("pages", "pages_with_text", "characters", "chunks", "vectors")
    return DocumentRow(
        id=row.id,
        collection=row.collection,
        uri=row.uri,
        title=row.title or "",
        state=row.state or "received",
        tags=row.tags,
        pages=row.pages or 0,
        chunks=row.chunks or 0,
        size=row.size or 0,
        updated_at=row.updated_at,
        reason=row.reason or "",
        hint=row.hint or "",
        media_type=row.media_type or "",
        sha256=row.sha256 or "",
        object_key=row.object_key or "",
        version_id=row.version_id,
        visible=row.visible,
        coverage={name: int(getattr(row, name) or 0) for name in coverage},
    )
