"""What a version contains: pages as extracted, chunks as embedded.

Plain functions over a connection, so that the caller decides what is one
transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from janus_core.documents import Chunk, Page
from janus_core.stores.versions import VersionRow


def add_pages(tx: Connection, version_id: uuid.UUID, pages: Sequence[Page]) -> None:
    """Keep extracted pages. Idempotent."""
    if pages:
        tx.execute(
            text(
                "INSERT INTO page (version_id, number, label, text) VALUES (:v, :n, :label, :text)"
                " ON CONFLICT (version_id, number) DO UPDATE"
                " SET label = excluded.label, text = excluded.text"
            ),
            [{"v": version_id, "n": p.number, "label": p.label, "text": p.text} for p in pages],
        )


def last_page(tx: Connection, version_id: uuid.UUID) -> int:
    """Return the number of the last page that is kept, 0 for none."""
    found = tx.scalar(text("SELECT max(number) FROM page WHERE version_id = :v"), {"v": version_id})
    return int(found or 0)


def pages(tx: Connection, version_id: uuid.UUID) -> Iterator[Page]:
    """Yield the kept pages of a version, in order, a few at a time."""
    rows = tx.execution_options(yield_per=50).execute(
        text("SELECT number, label, text FROM page WHERE version_id = :v ORDER BY number"),
        {"v": version_id},
    )
    for row in rows:
        yield Page(row.number, row.text, row.label)


def begin_extraction(
    tx: Connection, version_id: uuid.UUID, media_type: str, title: str, parser: str
) -> None:
    """Note what is being read, and by which parser; pages of another parser are dropped."""
    tx.execute(
        text(
            "DELETE FROM page p USING version v WHERE p.version_id = :v AND v.id = :v"
            " AND v.parser IS DISTINCT FROM :p"
        ),
        {"v": version_id, "p": parser},
    )
    tx.execute(
        text(
            "UPDATE version SET media_type = :m, title = :t, parser = :p, extracted_at = NULL"
            " WHERE id = :v"
        ),
        {"v": version_id, "m": media_type, "t": title, "p": parser},
    )


def mark_extracted(tx: Connection, version_id: uuid.UUID) -> None:
    """Note that all pages of the version are kept."""
    tx.execute(text("UPDATE version SET extracted_at = now() WHERE id = :v"), {"v": version_id})


def borrow_pages(tx: Connection, row: VersionRow, parser: str) -> bool:
    """Copy the pages of another version with the same content and parser, if there is one."""
    twin = tx.execute(
        text(
            "SELECT id, media_type, title FROM version WHERE sha256 = :s AND id <> :v"
            " AND parser = :p AND extracted_at IS NOT NULL LIMIT 1"
        ),
        {"s": row.sha256, "v": row.id, "p": parser},
    ).first()
    if twin is None:
        return False
    begin_extraction(tx, row.id, twin.media_type, twin.title, parser)
    tx.execute(
        text(
            "INSERT INTO page (version_id, number, label, text)"
            " SELECT :v, number, label, text FROM page WHERE version_id = :twin"
            " ON CONFLICT DO NOTHING"
        ),
        {"v": row.id, "twin": twin.id},
    )
    mark_extracted(tx, row.id)
    return True


def chunks_of(tx: Connection, version_id: uuid.UUID) -> list[Chunk]:
    """Return the chunks of a version that is ready, in order."""
    rows = tx.execute(
        text("SELECT * FROM chunk WHERE version_id = :v ORDER BY ordinal"), {"v": version_id}
    )
    return [
        Chunk(
            id=row.id,
            ordinal=row.ordinal,
            text=row.text,
            page=row.page,
            start=row.start_offset,
            end=row.end_offset,
            locator=row.locator,
            heading=row.heading,
        )
        for row in rows
    ]


def equal_chunks(tx: Connection, hashes: Sequence[bytes]) -> dict[bytes, uuid.UUID]:
    """Given hashes of embedded text, return a chunk that has each, where there is one."""
    rows = tx.execute(
        text(
            "SELECT DISTINCT ON (embedded_hash) embedded_hash, id FROM chunk"
            " WHERE embedded_hash = ANY(:h)"
        ),
        {"h": list(hashes)},
    )
    return {bytes(row.embedded_hash): row.id for row in rows}
