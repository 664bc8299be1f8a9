"""Jobs: what has to be done, who does it, and what became of it.

PostgreSQL owns this state; a message in the broker is only a nudge to claim a
job here. Attempts are counted before the work starts, so that a document that
kills its worker is found out: after MAX_ATTEMPTS it becomes *suspect*, is run
once more alone in a fresh process, and only if it dies there is it quarantined.

Whoever locks several things of a document locks them in one order, or two could
wait for each other: the document's row, its contents, its jobs.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from janus_core.errors import InvalidInput, JanusError, Locked, NotFound
from janus_core.stores.postgres import Database

MAX_ATTEMPTS = 5
LEASE_S = 20
"""A worker that has not renewed its lease for so long is taken for dead."""

_BACKOFF_S = (1, 5, 30, 120, 600)
_WAIT_S = 5
"""Pause before a job is tried again that failed because a store was down or full."""
CHANNEL = "janus_outbox"
LATEST_S = max(_BACKOFF_S) + 60
"""No job and no message waits longer than this, unless the clock went back."""

# A lease that ends later than any can was given before the clock went back.
_EXPIRED = f"(lease_until < now() OR lease_until > now() + make_interval(secs => {2 * LEASE_S}))"

Kind = Literal["ingest", "clean", "remove"]
ACTORS: dict[str, str] = {
    "ingest": "ingest_version",
    "clean": "clean_version",
    "remove": "remove_document",
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job that this process has claimed; `owner` is the token it must show to finish it."""

    id: uuid.UUID
    kind: Kind
    document_id: uuid.UUID
    version_id: uuid.UUID
    attempts: int
    correlation_id: uuid.UUID
    owner: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as `janus queue list` and the waiting `janus ingest` see it."""

    id: uuid.UUID
    kind: str
    state: str
    uri: str
    collection: str
    document_id: uuid.UUID
    attempts: int
    code: str
    reason: str
    hint: str
    created_at: datetime
    finished_at: datetime | None
    pages: int
    chunks: int
    version_id: uuid.UUID


def enqueue(
    tx: Connection,
    kind: Kind,
    document_id: uuid.UUID,
    version_id: uuid.UUID,
    correlation_id: uuid.UUID,
    *,
    delay_s: float = 0,
) -> uuid.UUID:
    """Make a job and its outbox row in the caller's transaction; return the job's id.

    While the same job is open, that one is returned.
    """
    new = uuid.uuid4()
    row = tx.execute(
        text(
            "INSERT INTO job (id, kind, document_id, version_id, correlation_id)"
            " VALUES (:id, :kind, :d, :v, :c)"
            " ON CONFLICT (version_id, kind) WHERE state IN ('queued', 'running', 'suspect')"
            # Changes nothing, but unlike DO NOTHING it returns the open job, and
            # keeps it open until this transaction ends.
            " DO UPDATE SET kind = excluded.kind RETURNING id"
        ),
        {"id": new, "kind": kind, "d": document_id, "v": version_id, "c": correlation_id},
    ).one()
    job = uuid.UUID(str(row.id))
    if job != new:
        return job
    # An older failure of the same work is history now, and must not be retried beside it.
    tx.execute(
        text(
            "DELETE FROM job WHERE version_id = :v AND kind = :kind"
            " AND state IN ('failed', 'quarantined')"
        ),
        {"v": version_id, "kind": kind},
    )
    _announce(tx, [job], delay_s)
    return job


def claim(database: Database, job_id: uuid.UUID, owner: str, *, alone: bool = False) -> Job | None:
    """Take a job for `owner`, counting the attempt; None if it is not to be had.

    Delivered twice, a message finds its job running or done: nothing happens.
    `alone` takes a suspect one.
    """
    with database.transaction() as tx:
        row = tx.execute(
            text(
                "UPDATE job SET state = 'running', attempts = attempts + 1, owner = :owner,"
                " started_at = now(), lease_until = now() + make_interval(secs => :lease)"
                " WHERE id = :id AND state = :state AND not_before <= now()"
                " RETURNING *"
            ),
            {
                "id": job_id,
                "owner": owner,
                "lease": LEASE_S,
                "state": "suspect" if alone else "queued",
            },
        ).first()
    if row is None:
        return None
    return Job(
        row.id, row.kind, row.document_id, row.version_id, row.attempts, row.correlation_id, owner
    )


def renew(database: Database, owner: str) -> int:
    """Extend the lease of every job that `owner` runs; return how many.

    A job whose row is held right now is passed over: nobody can take it meanwhile.
    """
    with database.transaction() as tx:
        return tx.execute(
            text(
                "UPDATE job SET lease_until = now() + make_interval(secs => :lease)"
                " WHERE id IN (SELECT id FROM job WHERE owner = :owner AND state = 'running'"
                "   FOR UPDATE SKIP LOCKED)"
            ),
            {"owner": owner, "lease": LEASE_S},
        ).rowcount


def hold(tx: Connection, job: Job) -> None:
    """Lock the job and its document for this transaction. Raise Locked if it is not ours now.

    Every transaction that changes what a job is about calls this first, so that
    a worker that was taken for dead cannot commit over its successor.
    """
    _lock_documents(tx, [job.document_id])
    found = tx.scalar(
        text(
            "SELECT 1 FROM job WHERE id = :id AND owner = :owner AND state = 'running' FOR UPDATE"
        ),
        {"id": job.id, "owner": job.owner},
    )
    if found is None:
        raise Locked("this job was given to another worker")


def made_progress(tx: Connection, job: Job) -> None:
    """Note that something of the job is safe: attempts, and the lease, count from here again."""
    tx.execute(
        text(
            "UPDATE job SET attempts = 1,"
            " lease_until = clock_timestamp() + make_interval(secs => :lease) WHERE id = :id"
        ),
        {"id": job.id, "lease": LEASE_S},
    )


def finish(tx: Connection, job: Job) -> None:
    """Mark the job done, in the transaction that makes its result visible."""
    tx.execute(
        text(
            "UPDATE job SET state = 'done', finished_at = now(), lease_until = NULL,"
            " code = NULL, reason = NULL, hint = NULL WHERE id = :id"
        ),
        {"id": job.id},
    )


def fail(
    tx: Connection, job: Job, error: JanusError, *, permanent: bool, counts: bool = True
) -> bool:
    """Record a failed attempt; return True when the job will be tried again.

    With `counts` off the attempt is not held against the job: it waits until
    its surroundings are well again, however long that takes.
    """
    # Not job.attempts, which is from before any progress.
    attempts = tx.execute(
        text("SELECT attempts FROM job WHERE id = :id FOR UPDATE"), {"id": job.id}
    ).scalar_one()
    again = not permanent and (attempts < MAX_ATTEMPTS or not counts)
    delay = 0
    if again:
        delay = _BACKOFF_S[min(attempts, len(_BACKOFF_S)) - 1] if counts else _WAIT_S
    tx.execute(
        text(
            "UPDATE job SET state = :state, code = :code, reason = :reason, hint = :hint,"
            " owner = NULL, lease_until = NULL, attempts = attempts - :uncounted,"
            " not_before = now() + make_interval(secs => :delay),"
            " finished_at = CASE WHEN :again THEN NULL ELSE now() END WHERE id = :id"
        ),
        {
            "id": job.id,
            "state": "queued" if again else "failed",
            "code": error.code,
            "reason": error.message,
            "hint": error.hint,
            "delay": delay,
            "again": again,
            "uncounted": 0 if counts else 1,
        },
    )
    if again:
        _announce(tx, [job.id], delay)
    return again


def release(database: Database, *, owner: str | None = None, counts: bool = True) -> int:
    """Give back the running jobs of a dead worker, or (no owner) those with expired leases.

    Jobs owned by `owner/…` are that owner's too. Return how many. Those with too
    many attempts become suspect; with `counts` off, this attempt is none.
    """
    named = "(owner = :owner OR starts_with(owner, :owner || '/'))"
    condition = named if owner is not None else _EXPIRED
    with database.transaction() as tx:
        rows = tx.execute(
            text(
                "UPDATE job SET owner = NULL, lease_until = NULL, not_before = now(),"
                " attempts = attempts - :uncounted,"
                " state = CASE WHEN attempts - :uncounted >= :most THEN 'suspect'"
                "   ELSE 'queued' END"
                " WHERE id IN (SELECT id FROM job WHERE state = 'running'"
                f"   AND {condition} FOR UPDATE SKIP LOCKED)"
                " RETURNING id, state"
            ),
            {"owner": owner, "most": MAX_ATTEMPTS, "uncounted": 0 if counts else 1},
        ).all()
        _announce(tx, [row.id for row in rows if row.state == "queued"], 0)
    return len(rows)


def cancel_others(tx: Connection, document: uuid.UUID) -> None:
    """End every open job of a document but its removal.

    A worker that runs one learns it at its next `hold`; a batch that it is writing
    is waited for.
    """
    _lock_documents(tx, [document])
    tx.execute(
        text(
            "UPDATE job SET state = 'failed', owner = NULL, lease_until = NULL,"
            " finished_at = now(), code = 'removed', reason = 'the document was removed'"
            " WHERE document_id = :d AND kind <> 'remove'"
            " AND state IN ('queued', 'running', 'suspect')"
        ),
        {"d": document},
    )


def announce_again(tx: Connection, version_ids: Sequence[uuid.UUID]) -> None:
    """Queue the open jobs of these versions once more, but for those that somebody runs."""
    found = tx.execute(
        text(
            "UPDATE job SET state = 'queued', owner = NULL, lease_until = NULL, not_before = now()"
            " WHERE id IN (SELECT id FROM job WHERE version_id = ANY(:v)"
            f"   AND (state = 'queued' OR state = 'running' AND {_EXPIRED})"
            "   FOR UPDATE SKIP LOCKED) RETURNING id"
        ),
        {"v": list(version_ids)},
    )
    _announce(tx, [row.id for row in found], 0)


def next_suspect(database: Database) -> uuid.UUID | None:
    """Return a job that must be run alone, oldest first."""
    with database.transaction() as tx:
        found = tx.scalar(
            text("SELECT id FROM job WHERE state = 'suspect' ORDER BY created_at LIMIT 1")
        )
    return None if found is None else uuid.UUID(str(found))


def quarantine(tx: Connection, job_id: uuid.UUID, reason: str) -> None:
    """Set aside a job that killed a process that ran nothing else."""
    documents = tx.scalars(text("SELECT document_id FROM job WHERE id = :id"), {"id": job_id})
    _lock_documents(tx, documents.all())
    tx.execute(
        text(
            "UPDATE job SET state = 'quarantined', finished_at = now(), owner = NULL,"
            " lease_until = NULL, code = 'quarantined', reason = :reason, hint = :hint"
            " WHERE id = :id AND state IN ('running', 'suspect')"
        ),
        {
            "id": job_id,
            "reason": reason,
            "hint": f"Try again after an upgrade: janus queue retry {job_id}",
        },
    )


def retry(tx: Connection, job_ids: Sequence[uuid.UUID]) -> int:
    """Queue failed and quarantined jobs again; return how many."""
    documents = tx.scalars(
        text("SELECT DISTINCT document_id FROM job WHERE id = ANY(:ids)"), {"ids": list(job_ids)}
    ).all()
    _lock_documents(tx, documents)
    rows = tx.execute(
        text(
            "UPDATE job SET state = 'queued', attempts = 0, not_before = now(), code = NULL,"
            " reason = NULL, hint = NULL, finished_at = NULL"
            " WHERE id = ANY(:ids) AND state IN ('failed', 'quarantined') RETURNING id, version_id"
        ),
        {"ids": list(job_ids)},
    ).all()
    tx.execute(
        text("UPDATE version SET state = 'received' WHERE id = ANY(:v) AND state = 'failed'"),
        {"v": [row.version_id for row in rows]},
    )
    _announce(tx, [row.id for row in rows], 0)
    return len(rows)


def rows(
    tx: Connection,
    *,
    ids: Sequence[uuid.UUID] | None = None,
    states: Sequence[str] | None = None,
    limit: int = 1000,
) -> list[JobRow]:
    """Return jobs, newest first, by ids or by states."""
    conditions, values = ["TRUE"], dict[str, object]()
    if ids is not None:
        conditions.append("j.id = ANY(:ids)")
        values["ids"] = list(ids)
    if states is not None:
        conditions.append("j.state = ANY(:states)")
        values["states"] = list(states)
    found = tx.execute(
        text(
            "SELECT j.*, d.uri, c.name AS collection, g.pages, g.chunks FROM job j"
            " JOIN document d ON d.id = j.document_id JOIN collection c ON c.id = d.collection_id"
            " LEFT JOIN coverage g ON g.version_id = j.version_id"
            f" WHERE {' AND '.join(conditions)} ORDER BY j.created_at DESC LIMIT :n"
        ),
        values | {"n": limit},
    )
    return [
        JobRow(
            id=row.id,
            kind=row.kind,
            state=row.state,
            uri=row.uri,
            collection=row.collection,
            document_id=row.document_id,
            attempts=row.attempts,
            code=row.code or "",
            reason=row.reason or "",
            hint=row.hint or "",
            created_at=row.created_at,
            finished_at=row.finished_at,
            pages=row.pages or 0,
            chunks=row.chunks or 0,
            version_id=row.version_id,
        )
        for row in found
    ]


def find(tx: Connection, name: str) -> JobRow:
    """Given a job's id or at least 8 characters of it, return the job.

    Raise NotFound, or InvalidInput when several fit or it is no such thing.
    """
    if not re.fullmatch(r"[0-9a-f-]{8,36}", name):
        raise InvalidInput(f"not the id of a job: {name}", "See: janus queue list")
    ids = tx.scalars(
        text("SELECT id FROM job WHERE CAST(id AS text) LIKE :p LIMIT 2"), {"p": f"{name}%"}
    ).all()
    if not ids:
        raise NotFound(f"no such job: {name}", "See: janus queue list")
    if len(ids) > 1:
        raise InvalidInput(f"several jobs fit {name}", "Give the whole id.")
    return rows(tx, ids=ids)[0]


def delete(tx: Connection, job_id: uuid.UUID) -> bool:
    """Forget a failed or quarantined job; return False when it is neither by now."""
    return (
        tx.execute(
            text("DELETE FROM job WHERE id = :id AND state IN ('failed', 'quarantined')"),
            {"id": job_id},
        ).rowcount
        == 1
    )


def counts(tx: Connection) -> dict[str, int]:
    """Return the number of jobs: ready, running, delayed, failed, quarantined."""
    row = tx.execute(
        text(
            "SELECT count(*) FILTER (WHERE state IN ('queued', 'suspect') AND not_before <= now())"
            " AS ready, count(*) FILTER (WHERE state = 'running') AS running,"
            " count(*) FILTER (WHERE state = 'queued' AND not_before > now()) AS delayed,"
            " count(*) FILTER (WHERE state = 'failed') AS failed,"
            " count(*) FILTER (WHERE state = 'quarantined') AS quarantined FROM job"
        )
    ).one()
    return {name: int(value) for name, value in row._mapping.items()}


def _lock_documents(tx: Connection, documents: Sequence[uuid.UUID]) -> None:
    # Not FOR UPDATE: others may go on to write rows that refer to the document.
    tx.execute(
        text("SELECT 1 FROM document WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"),
        {"ids": list(documents)},
    )


def _announce(tx: Connection, job_ids: Sequence[uuid.UUID], delay_s: float) -> None:
    """Write the outbox rows of queued jobs and wake the relay at commit."""
    if not job_ids:
        return
    tx.execute(
        text(
            "INSERT INTO outbox (job_id, actor, not_before)"
            " SELECT j.id, CAST(:actors AS jsonb) ->> j.kind,"
            "   now() + make_interval(secs => :delay) FROM job j WHERE j.id = ANY(:ids)"
        ),
        {"ids": list(job_ids), "delay": delay_s, "actors": _actors_json()},
    )
    tx.execute(text(f"NOTIFY {CHANNEL}"))


def _actors_json() -> str:
    import json

    return json.dumps(ACTORS)
