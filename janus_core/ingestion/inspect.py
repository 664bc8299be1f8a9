"""One document with all that refers to it: law 3 walked from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from janus_core.documents import Chunk, Page
from janus_core.stores import catalogue, contents
from janus_core.stores.base import ObjectStore, VectorStore
from janus_core.stores.catalogue import DocumentRow
from janus_core.stores.postgres import Database


@dataclass(frozen=True, slots=True)
class References:
    """A document, and what each store holds of the version that is shown."""

    document: DocumentRow
    object_present: bool
    vectors: int
    pages: Sequence[Page] = ()
    chunks: Sequence[Chunk] = ()


def walk_references(
    database: Database,
    objects: ObjectStore,
    vectors: VectorStore,
    index: str,
    name: str,
    *,
    pages: bool = False,
    chunks: bool = False,
) -> References:
    """Given a document's id, a prefix of it or its URI, return what the stores hold of it.

    `index` names the vector index in use. Text (`pages`, `chunks`) is given only
    for a visible version. Raise NotFound, or InvalidInput when several fit.
    """
    with database.transaction() as tx:
        document = catalogue.find_document(tx, name)
        version = document.version_id
        shown = version is not None and document.visible
        kept = list(contents.pages(tx, version)) if pages and version and shown else []
        cut = contents.chunks_of(tx, version) if chunks and version and shown else []
    found = 0
    if version is not None and index:
        found = sum(1 for _ in vectors.chunk_ids(index, version))
    present = bool(document.object_key) and objects.exists(document.object_key)
    return References(document, present, found, kept, cut)
