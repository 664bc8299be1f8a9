"""Indexing every document anew with another embedding model, from the pages that are kept.

Nothing is parsed again. Documents are found in full text throughout, and by
meaning as soon as each has its new vectors; the old index goes when all have.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from janus_core.queue import jobs
from janus_core.stores import catalogue, journal, versions
from janus_core.stores.base import VectorStore
from janus_core.stores.postgres import Database

_BATCH = 500
_RETIRED = "retired_indexes"


def queue_reindex(
    database: Database, index: str, correlation_id: uuid.UUID
) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
    """Queue every visible document that is not in `index`; yield (job, document) of each.

    Interrupted, it goes on where it stopped when it is called again.
    """
    with database.transaction() as tx:
        old = set(catalogue.noted(tx, _RETIRED) or ()) | set(catalogue.embedders(tx))
        catalogue.note(tx, _RETIRED, sorted(old - {index}))
        journal.append(tx, "documents.reindex_requested", correlation_id, index=index)
    last = uuid.UUID(int=0)
    while True:
        with database.transaction() as tx:
            found = versions.versions_of_others(tx, index, after=last, limit=_BATCH)
            queued = [
                (jobs.enqueue(tx, "ingest", document, version, correlation_id), document)
                for document, version in found
            ]
        if not queued:
            return
        yield from queued
        last = found[-1][1]


def drop_retired(database: Database, vectors: VectorStore) -> list[str]:
    """Delete the indexes that no document is in any more; return their names."""
    with database.transaction() as tx:
        retired = set(catalogue.noted(tx, _RETIRED) or ())
        used = set(catalogue.embedders(tx))
    gone = sorted(retired - used)
    for index in gone:
        vectors.drop_index(index)
    with database.transaction() as tx:
        catalogue.note(tx, _RETIRED, sorted(retired & used))
    return gone
