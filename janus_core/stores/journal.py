"""The append-only event store: who did what, to which ids, and when.

A row is written in the transaction of the act it records; if it cannot be
written, the act fails. Afterwards one sequencer gives the rows their numbers and
a hash chain (each hash covers the row and the hash before it), so that a changed,
removed or inserted row is found. Rows carry ids and hashes, never document text.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from janus_core.errors import Damaged
from janus_core.stores.postgres import Database

_SEQUENCER_LOCK = 0x4A6A6F75
_GENESIS = bytes(32)
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. `seq` is None until the sequencer has seen it."""

    seq: int | None
    id: int
    at: datetime
    actor: str
    act: str
    subject: Mapping[str, Any]
    correlation_id: uuid.UUID


def append(
    tx: Connection,
    act: str,
    correlation_id: uuid.UUID,
    *,
    actor: str | None = None,
    **subject: object,
) -> None:
    """Record an act in the caller's transaction. `subject` holds ids, hashes and counts."""
    tx.execute(
        text(
            "INSERT INTO journal (actor, act, subject, correlation_id)"
            " VALUES (:actor, :act, CAST(:subject AS jsonb), :correlation_id)"
        ),
        {
            "actor": actor or _whoami(),
            "act": act,
            "subject": json.dumps(subject, default=str, sort_keys=True),
            "correlation_id": correlation_id,
        },
    )


def sequence(database: Database) -> int:
    """Number and chain the rows committed since the last call; return how many.

    One process at a time: others return 0 at once. A row whose transaction
    commits late simply gets a later number.
    """
    with database.transaction() as tx:
        if not tx.scalar(text("SELECT pg_try_advisory_xact_lock(:k)"), {"k": _SEQUENCER_LOCK}):
            return 0
        last = tx.execute(
            text("SELECT seq, hash FROM journal_chain ORDER BY seq DESC LIMIT 1")
        ).first()
        seq, previous = (0, _GENESIS) if last is None else (last.seq, bytes(last.hash))
        rows = tx.execute(
            text(
                "SELECT j.*, EXISTS (SELECT 1 FROM journal_chain c WHERE c.journal_id = j.id)"
                "   AS chained FROM journal_waiting w JOIN journal j ON j.id = w.journal_id"
                " ORDER BY j.id LIMIT :n"
            ),
            {"n": _BATCH},
        ).all()
        links = []
        for row in rows:
            if row.chained:  # by an older Janus, that ran on while this one upgraded the schema
                continue
            seq, previous = seq + 1, _hash(previous, seq + 1, row)
            links.append({"seq": seq, "journal_id": row.id, "hash": previous})
        if links:
            tx.execute(
                text(
                    "INSERT INTO journal_chain (seq, journal_id, hash)"
                    " VALUES (:seq, :journal_id, :hash)"
                ),
                links,
            )
        if rows:
            tx.execute(
                text("DELETE FROM journal_waiting WHERE journal_id = ANY(:ids)"),
                {"ids": [row.id for row in rows]},
            )
    return len(links)


def verify(database: Database) -> int:
    """Recompute the whole chain; return how many rows hold. Raise Damaged at the first break.

    What was cut off at the very end, rows and links, leaves no trace in the database:
    only the last hash of a backup tells of it.
    """
    previous, expected = _GENESIS, 1
    with database.transaction() as tx:
        rows = tx.execution_options(yield_per=_BATCH).execute(
            text(
                "SELECT c.seq, c.hash, j.* FROM journal_chain c"
                " LEFT JOIN journal j ON j.id = c.journal_id ORDER BY c.seq"
            )
        )
        for row in rows:
            intact = row.seq == expected and row.id is not None
            if not intact or _hash(previous, row.seq, row) != bytes(row.hash):
                raise Damaged(
                    f"the journal's hash chain breaks at entry {expected}",
                    "Compare with a backup: entries before this one are intact.",
                )
            previous, expected = bytes(row.hash), expected + 1
        unlinked = tx.scalar(
            text(
                "SELECT min(j.id) FROM journal j"
                " WHERE NOT EXISTS (SELECT 1 FROM journal_chain c WHERE c.journal_id = j.id)"
                " AND NOT EXISTS (SELECT 1 FROM journal_waiting w WHERE w.journal_id = j.id)"
            )
        )
    if unlinked is not None:
        raise Damaged(
            f"the journal's row {unlinked} was taken out of the hash chain",
            "Compare with a backup.",
        )
    return expected - 1


def entries(
    database: Database,
    *,
    limit: int = 50,
    after_id: int = 0,
    newest_first: bool = True,
    act: str = "",
    about: str = "",
) -> list[Entry]:
    """Return at most `limit` entries with an id above `after_id`.

    `act` restricts them to acts that begin so, `about` to those whose subject or
    correlation has this id.
    """
    order = "DESC" if newest_first else "ASC"
    with database.transaction() as tx:
        rows = tx.execute(
            text(
                "SELECT c.seq, j.* FROM journal j LEFT JOIN journal_chain c ON c.journal_id = j.id"
                " WHERE j.id > :after AND starts_with(j.act, :act) AND (:about = ''"
                "   OR CAST(j.correlation_id AS text) = :about OR EXISTS (SELECT 1"
                "     FROM jsonb_each_text(j.subject) AS s WHERE s.value = :about))"
                f" ORDER BY j.id {order} LIMIT :n"
            ),
            {"after": after_id, "n": limit, "act": act, "about": about},
        )
        return [Entry(r.seq, r.id, r.at, r.actor, r.act, r.subject, r.correlation_id) for r in rows]


def follow(database: Database, *, after_id: int) -> Iterator[Entry]:
    """Yield the entries after `after_id`, oldest first, until there are no more."""
    while found := entries(database, limit=_BATCH, after_id=after_id, newest_first=False):
        yield from found
        after_id = found[-1].id


def _hash(previous: bytes, seq: int, row: Row[Any]) -> bytes:
    record = [
        seq,
        row.id,
        row.at.timestamp(),
        row.actor,
        row.act,
        row.subject,
        str(row.correlation_id),
    ]
    return hashlib.sha256(previous + json.dumps(record, sort_keys=True).encode()).digest()


def _whoami() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        import os

        return f"uid:{os.geteuid()}"
