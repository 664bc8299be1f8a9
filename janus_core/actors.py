"""The Dramatiq actors: thin, found by name. A message says which job to look at."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from janus_core.errors import (
    Damaged,
    InvalidInput,
    JanusError,
    Locked,
    ModelUnavailable,
    NoSpace,
    StoreUnavailable,
    TransientFailure,
    UnreadableDocument,
)
from janus_core.events import JobState
from janus_core.failpoints import reach
from janus_core.ingestion.pipeline import ingest_version
from janus_core.ingestion.remove import clean_version, remove_document
from janus_core.ingestion.services import Services
from janus_core.queue import jobs
from janus_core.queue.broker import QUEUE, Broker
from janus_core.queue.jobs import Job
from janus_core.stores import versions
from janus_core.stores.postgres import Database

log = logging.getLogger(__name__)

_HANDLERS: dict[str, Callable[[Services, Job], None]] = {
    "ingest": ingest_version,
    "clean": clean_version,
    "remove": remove_document,
}
_PERMANENT = (UnreadableDocument, InvalidInput, Damaged)
_NOT_ITS_FAULT = (StoreUnavailable, ModelUnavailable, NoSpace)
"""Failures of the surroundings: they do not count against a document."""
_RECORD_WITHIN_S = 15.0


def declare(broker: Broker, run: Callable[[uuid.UUID], None]) -> None:
    """Declare every actor on the broker; each hands its job's id to `run`."""
    import dramatiq

    for name in jobs.ACTORS.values():
        dramatiq.Actor(
            lambda job_id: run(uuid.UUID(job_id)),
            broker=broker.dramatiq,
            actor_name=name,
            queue_name=QUEUE,
            priority=0,
            options={},
        )


def run_job(
    services: Services,
    job_id: uuid.UUID,
    owner: str,
    *,
    alone: bool = False,
    running: set[str] | None = None,
) -> None:
    """Claim a job, do it, and record what became of it. Raise only when that cannot be recorded.

    Each claim has a token of its own, `owner/…`, which stands in `running` for as
    long as the work goes on: only the leases of these tokens are to be renewed.
    """
    running = set() if running is None else running
    token = f"{owner}/{uuid.uuid4().hex[:8]}"
    running.add(token)
    try:
        reach("job.claim.before")
        job = jobs.claim(services.database, job_id, token, alone=alone)
        reach("job.claim.after")
        if job is not None:
            _do(services, job)
    finally:
        running.discard(token)


def _do(services: Services, job: Job) -> None:
    try:
        _tell(services, job, "running")
        _HANDLERS[job.kind](services, job)
    except Locked as lost:
        log.info("job %s: %s", job.id, lost.message)
        return
    except JanusError as error:
        _record_failure(services, job, error)
        return
    except Exception as error:
        log.exception("job %s failed unexpectedly", job.id)
        unexpected = TransientFailure(
            f"unexpected error: {type(error).__name__}", f"See: janus logs worker (job {job.id})"
        )
        _record_failure(services, job, unexpected)
        return
    _tell(services, job, "done")


def quarantine(database: Database, job_id: uuid.UUID, reason: str) -> None:
    """Set a job aside that killed a process which did nothing else, and say so of its version."""
    with database.transaction() as tx:
        jobs.quarantine(tx, job_id, reason)
        for row in jobs.rows(tx, ids=[job_id], states=["quarantined"]):
            if row.kind == "ingest":
                versions.fail_version(tx, row.version_id, row.reason, row.hint)


def _record_failure(services: Services, job: Job, error: JanusError) -> None:
    log.warning("job %s: %s", job.id, error.message, exc_info=error.__cause__)
    # The database that failed the job is often back in a moment.
    deadline = time.monotonic() + _RECORD_WITHIN_S
    while True:
        try:
            return _record(services, job, error)
        except (StoreUnavailable, TransientFailure):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _record(services: Services, job: Job, error: JanusError) -> None:
    with services.database.transaction() as tx:
        try:
            jobs.hold(tx, job)
        except Locked:
            return
        again = jobs.fail(
            tx,
            job,
            error,
            permanent=isinstance(error, _PERMANENT),
            counts=not isinstance(error, _NOT_ITS_FAULT),
        )
        if not again and job.kind == "ingest":
            versions.fail_version(tx, job.version_id, error.message, error.hint)
    _tell(services, job, "queued" if again else "failed", error)


def _tell(services: Services, job: Job, state: str, error: JanusError | None = None) -> None:
    services.sink(
        JobState.model_validate(
            {
                "correlation_id": str(job.correlation_id),
                "job_id": str(job.id),
                "document_id": str(job.document_id),
                "state": state,
                "reason": error.message if error else "",
                "hint": error.hint if error else "",
            }
        )
    )
