"""Taking documents and old versions out again, without a trace in any store.

Hidden first, then the derived data, then the object if nobody shares it, then
the rows. Killed anywhere, the job runs again and comes to the same end.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection

from janus_core.errors import InvalidInput, Locked, TransientFailure
from janus_core.failpoints import reach
from janus_core.ingestion.services import Services
from janus_core.queue import jobs
from janus_core.queue.jobs import Job
from janus_core.stores import journal, versions
from janus_core.stores.postgres import Database

_PAUSES_S = (0.1, 0.3, 1.0)


def request_removal(database: Database, document: uuid.UUID, correlation_id: uuid.UUID) -> bool:
    """Hide a document at once and queue its removal; return False if it is gone already."""
    for pause in _PAUSES_S:
        try:
            return _request_removal(database, document, correlation_id)
        except (TransientFailure, Locked):  # a worker has this document right now
            time.sleep(pause)
    return _request_removal(database, document, correlation_id)


def _request_removal(database: Database, document: uuid.UUID, correlation_id: uuid.UUID) -> bool:
    with database.transaction() as tx:
        if not _hide_and_queue(tx, document, correlation_id):
            return False
        reach("remove.hide.before")
    reach("remove.hide.after")
    return True


def _hide_and_queue(tx: Connection, document: uuid.UUID, correlation_id: uuid.UUID) -> bool:
    if not versions.hide_document(tx, document):
        return False
    jobs.cancel_others(tx, document)
    first = versions.versions_of(tx, document)[0]
    jobs.enqueue(tx, "remove", document, first, correlation_id)
    journal.append(tx, "document.removal_requested", correlation_id, document=document)
    return True


def remove_document(services: Services, job: Job) -> None:
    """Do what `request_removal` promised."""
    with services.database.transaction() as tx:
        # Held throughout: a worker that was given up must not touch what came in since.
        jobs.hold(tx, job)
        versions.find(tx, job.version_id, lock=True)
        rows = [versions.find(tx, one) for one in versions.versions_of(tx, job.document_id)]
        # By content, so that two removals with shared contents lock them in one order.
        present = sorted((row for row in rows if row), key=lambda row: row.sha256)
        for row in present:
            _forget_vectors(services, row, "remove")
        for row in present:
            reach("remove.object.before")
            versions.delete_object_if_unshared(tx, services.objects, row.id, job.document_id)
            reach("remove.object.after")
        journal.append(
            tx,
            "document.removed",
            job.correlation_id,
            document=job.document_id,
            versions=[str(row.id) for row in present],
        )
        versions.delete_document(tx, job.document_id)
        reach("remove.commit.before")
    reach("remove.commit.after")


def clean_version(services: Services, job: Job) -> None:
    """Take out a version that a newer one replaced, unless it has come back since."""
    with services.database.transaction() as tx:
        jobs.hold(tx, job)
        # The document's row is locked from here on: the version cannot come back meanwhile.
        row = versions.find(tx, job.version_id, lock=True)
        if row is None or row.state != "superseded":
            jobs.finish(tx, job)
            return
        _forget_vectors(services, row, "clean")
        versions.delete_object_if_unshared(tx, services.objects, row.id)
        journal.append(
            tx, "version.removed", job.correlation_id, document=row.document_id, version=row.id
        )
        versions.delete_version(tx, row.id)
        reach("clean.commit.before")
    reach("clean.commit.after")


def _forget_vectors(services: Services, row: versions.VersionRow, step: str) -> None:
    reach(f"{step}.vectors.before")
    services.vectors.delete_version(services.embedder.name, row.collection, row.id)
    reach(f"{step}.vectors.after")


def still_there(database: Database, documents: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Given documents whose removal was requested, return those that are not gone yet."""
    with database.transaction() as tx:
        return versions.existing_documents(tx, documents)


def give_up(database: Database, job_id: uuid.UUID, correlation_id: uuid.UUID) -> None:
    """Drop a failed or quarantined job and what it was about.

    A document that was never shown is removed; of any other, the version that
    failed. Raise InvalidInput for a job in another state, or one that takes data
    away: without it, something would stay behind for ever.
    """
    with database.transaction() as tx:
        row = jobs.rows(tx, ids=[job_id])[0]
        if row.state not in ("failed", "quarantined"):
            raise InvalidInput(
                f"the job {job_id} is {row.state}", "Only failed and quarantined jobs are dropped."
            )
        if row.kind != "ingest":
            raise InvalidInput(
                f"the job {job_id} takes data away and must be done some day",
                f"Run: janus queue retry {job_id}",
            )
        version = versions.find(tx, row.version_id, lock=True)
        jobs.delete(tx, job_id)
        journal.append(
            tx,
            "job.given_up",
            correlation_id,
            job=job_id,
            document=row.document_id,
            version=row.version_id,
            code=row.code,
        )
        if version is None or version.visible or version.removing:
            return
        if versions.has_other_content(tx, row.document_id, row.version_id):
            versions.supersede(tx, row.version_id)
            jobs.enqueue(tx, "clean", row.document_id, row.version_id, correlation_id)
        else:
            _hide_and_queue(tx, row.document_id, correlation_id)
