"""From a promised version to a visible one: extract, chunk, embed, publish.

Every step keeps what it made, so that a job that was killed goes on where it
stopped. Each transaction first holds the job's row: a worker that was given up,
or whose document was removed, can change nothing any more.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from sqlalchemy import Connection

from janus_core.documents import Chunk, Page
from janus_core.errors import UnreadableDocument
from janus_core.events import Progress
from janus_core.failpoints import reach
from janus_core.ingestion.chunk import chunk, recipe
from janus_core.ingestion.extract.registry import FORMATS, sniff
from janus_core.ingestion.services import Services
from janus_core.queue import jobs
from janus_core.queue.jobs import Job
from janus_core.stores import contents, journal, versions
from janus_core.stores.base import Point
from janus_core.stores.versions import Coverage, VersionRow

PAGE_BATCH = 50
VECTOR_BATCH = 64


@dataclass(frozen=True, slots=True)
class _Embeddable:
    """A chunk with what is embedded for it: its text in the context of title and heading."""

    chunk: Chunk
    text: str
    hash: bytes


def ingest_version(services: Services, job: Job) -> None:
    """Make the job's version visible, or find that it no longer matters.

    Raise UnreadableDocument (permanent), Locked when the job was taken away, and
    whatever the stores raise (worth another attempt).
    """
    with services.database.transaction() as tx:
        jobs.hold(tx, job)
        # Locked: content that has just come back must not give way.
        row = versions.find(tx, job.version_id, lock=True)
        if row is None or row.removing:
            jobs.finish(tx, job)
            return
        if row.outdated and not row.visible:
            _give_way(tx, job, row.id)
            return
    if row.visible and row.recipe == _recipe(services, row):
        _refresh(services, job, row)
        return
    _extract(services, job, row)
    _chunk_and_publish(services, job)


def _extract(services: Services, job: Job, row: VersionRow) -> None:
    """Keep the pages of the version, starting after those that are kept already."""
    with services.objects.local(row.object_key) as path:
        name = unquote(row.uri.rsplit("/", 1)[-1])
        with path.open("rb") as file:
            parser = sniff(file, name).parser
        with services.database.transaction() as tx:
            jobs.hold(tx, job)
            if row.extracted and row.parser == parser:
                return
            if contents.borrow_pages(tx, row, parser):
                return
            start = contents.last_page(tx, row.id) + 1 if row.parser == parser else 1
        with services.extractor.extract(path, name, start_page=start) as document:
            with services.database.transaction() as tx:
                jobs.hold(tx, job)
                contents.begin_extraction(
                    tx, row.id, document.media_type, document.title, document.parser
                )
            batch: list[Page] = []
            for page in document:
                batch.append(page)
                if len(batch) == PAGE_BATCH:
                    _keep(services, job, row, batch, document.total_pages)
                    batch = []
            _keep(services, job, row, batch, document.total_pages)
    with services.database.transaction() as tx:
        jobs.hold(tx, job)
        contents.mark_extracted(tx, row.id)
        reach("ingest.extracted.before")
    reach("ingest.extracted.after")


def _keep(services: Services, job: Job, row: VersionRow, pages: Sequence[Page], total: int) -> None:
    if not pages:
        return
    with services.database.transaction() as tx:
        jobs.hold(tx, job)
        contents.add_pages(tx, row.id, pages)
        jobs.made_progress(tx, job)
        reach("ingest.pages.before")
    reach("ingest.pages.after")
    _tell(services, job, row, "extract", pages[-1].number, total, "pages")


def _refresh(services: Services, job: Job, row: VersionRow) -> None:
    """Make good what the vector store lacks of a visible version: vectors, or newer tags."""
    with services.database.transaction() as tx:
        pieces = contents.chunks_of(tx, row.id)
    _embed_all(services, job, row, [_in_context(piece, row.title) for piece in pieces])
    with services.database.transaction() as tx:
        jobs.hold(tx, job)
        now = versions.find(tx, job.version_id, lock=True)
        if now is not None and now.visible:
            index = services.embedder.name
            services.vectors.set_tags(index, now.collection, now.document_id, now.tags)
        jobs.finish(tx, job)


def _chunk_and_publish(services: Services, job: Job) -> None:
    with services.database.transaction() as tx:
        row = versions.find(tx, job.version_id)
        if row is None:
            return
        kept = list(contents.pages(tx, row.id))
    chosen = _recipe(services, row)
    headings = any(f.marks_headings for f in FORMATS if f.media_type == row.media_type)
    pieces = chunk(
        row.id, kept, recipe=chosen, measure=services.embedder.count_tokens, headings=headings
    )
    embeddables = [_in_context(piece, row.title) for piece in pieces]
    if not embeddables:
        raise UnreadableDocument("there is no text in it")
    _embed_all(services, job, row, embeddables)
    coverage = Coverage(
        pages=len(kept),
        pages_with_text=sum(1 for page in kept if page.text.strip()),
        characters=sum(len(page.text) for page in kept),
        chunks=len(embeddables),
        vectors=len(embeddables),
    )
    _publish(services, job, embeddables, coverage, chosen, row.tags)


def _recipe(services: Services, row: VersionRow) -> str:
    """Name how the version's pages are cut now."""
    # The tokenizer decides where chunks end, so it is part of what makes their ids.
    return f"{recipe(row.parser)}+{services.embedder.name}"


def _in_context(piece: Chunk, title: str) -> _Embeddable:
    # The innermost headings say most; too much context would push text out of the model's window.
    heading = " > ".join(piece.heading.split(" > ")[-2:])
    context = "\n".join(part[:80] for part in (title, heading) if part)
    text = f"{context}\n{piece.text}" if context else piece.text
    return _Embeddable(piece, text, hashlib.sha256(text.encode()).digest())


def _embed_all(
    services: Services, job: Job, row: VersionRow, embeddables: Sequence[_Embeddable]
) -> None:
    services.vectors.ensure_index(services.embedder.name, services.embedder.dim)
    for start in range(0, len(embeddables), VECTOR_BATCH):
        _embed(services, job, row, embeddables[start : start + VECTOR_BATCH])
        done = min(start + VECTOR_BATCH, len(embeddables))
        _tell(services, job, row, "embed", done, len(embeddables), "chunks")


def _embed(
    services: Services, job: Job, row: VersionRow, embeddables: Sequence[_Embeddable]
) -> None:
    """Store the vectors of some chunks; embed only texts that have no vector anywhere yet."""
    index = services.embedder.name
    own = services.vectors.fetch(index, [e.chunk.id for e in embeddables])
    missing = [e for e in embeddables if e.chunk.id not in own]
    if not missing:
        return
    with services.database.transaction() as tx:
        twins = contents.equal_chunks(tx, [e.hash for e in missing])
    shared = services.vectors.fetch(index, list(twins.values())) if twins else {}
    vectors = {e.hash: shared[twins[e.hash]] for e in missing if twins.get(e.hash) in shared}
    fresh = {e.hash: e.text for e in missing if e.hash not in vectors}
    embedded = services.embedder.embed_passages(list(fresh.values()))
    vectors.update(zip(fresh, embedded, strict=True))
    points = [
        Point(
            chunk_id=e.chunk.id,
            vector=vectors[e.hash],
            collection=row.collection,
            document_id=row.document_id,
            version_id=row.id,
            object_key=row.object_key,
            tags=row.tags,
        )
        for e in missing
    ]
    with services.database.transaction() as tx:
        # Held while the vectors are written, so that a removal never misses some.
        jobs.hold(tx, job)
        reach("ingest.vectors.before")
        services.vectors.upsert(index, points)
        jobs.made_progress(tx, job)
        reach("ingest.vectors.after")


def _publish(
    services: Services,
    job: Job,
    embeddables: Sequence[_Embeddable],
    coverage: Coverage,
    chosen: str,
    tags: Mapping[str, str],
) -> None:
    with services.database.transaction() as tx:
        jobs.hold(tx, job)
        row = versions.find(tx, job.version_id, lock=True)
        if row is None:
            return
        if row.outdated and not row.visible:
            _give_way(tx, job, row.id)
            return
        _settle_vectors(services, row, {e.chunk.id for e in embeddables}, tags)
        old = versions.publish_version(
            tx,
            row,
            ((e.chunk, e.hash) for e in embeddables),
            coverage,
            chosen,
            services.embedder.name,
        )
        for other in versions.failed_versions(tx, row.document_id):
            versions.supersede(tx, other)
            jobs.enqueue(tx, "clean", row.document_id, other, job.correlation_id)
        if old is not None:
            jobs.enqueue(tx, "clean", row.document_id, old, job.correlation_id)
        journal.append(
            tx,
            "document.ready",
            job.correlation_id,
            document=row.document_id,
            version=row.id,
            replaced=old,
            pages=coverage.pages,
            chunks=coverage.chunks,
        )
        jobs.finish(tx, job)
        reach("ingest.publish.before")
    reach("ingest.publish.after")


def _settle_vectors(
    services: Services, row: VersionRow, wanted: set[uuid.UUID], tags: Mapping[str, str]
) -> None:
    """Drop vectors of an older cut of this version; give the others tags that came meanwhile."""
    index = services.embedder.name
    older = [chunk for _, chunk in services.vectors.chunk_ids(index, row.id) if chunk not in wanted]
    if older:
        services.vectors.delete(index, older)
    if row.tags != tags:
        services.vectors.set_tags(index, row.collection, row.document_id, row.tags)


def _give_way(tx: Connection, job: Job, version: uuid.UUID) -> None:
    """Leave the field to newer content of the same document."""
    versions.supersede(tx, version)
    jobs.enqueue(tx, "clean", job.document_id, version, job.correlation_id)
    jobs.finish(tx, job)


def _tell(
    services: Services, job: Job, row: VersionRow, stage: str, done: int, total: int, unit: str
) -> None:
    services.sink(
        Progress(
            correlation_id=str(job.correlation_id),
            job_id=str(job.id),
            document_id=str(row.document_id),
            uri=row.uri,
            stage=stage,
            done=done,
            total=total,
            unit=unit,
        )
    )
