"""The ports: what every vector store and every object store must do.

Adapters know their own location and nothing else: no settings, no catalogue, no
other adapter. Each passes the same contract suite (`tests/contracts`).
All methods block, may be called from several threads, and raise
StoreUnavailable when the store does not answer, NoSpace when it is full.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk's vector and what must be findable from it (law 3)."""

    chunk_id: uuid.UUID
    vector: Vector
    collection: str
    document_id: uuid.UUID
    version_id: uuid.UUID
    object_key: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorFilter:
    """Which points a search may return; empty fields do not restrict."""

    collections: frozenset[str] = frozenset()
    tags: frozenset[tuple[str, str]] = frozenset()
    not_tags: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A found chunk and its cosine similarity to the query, −1 to 1."""

    chunk_id: uuid.UUID
    similarity: float


class VectorStore(Protocol):
    """Vectors by chunk id, in named indexes (one for each embedding model)."""

    def ensure_index(self, index: str, dim: int) -> None:
        """Make the index for vectors of `dim` floats unless it exists. Idempotent.

        Raise Damaged when it exists with another dimension.
        """

    def upsert(self, index: str, points: Sequence[Point]) -> None:
        """Store the points durably, replacing those with equal chunk ids. Idempotent.

        All or none of a call's points. Raise NotFound for an unknown index, Damaged for
        a vector of another dimension or what is no name of a collection.
        """

    def search(
        self, index: str, vector: Vector, k: int, where: VectorFilter | None = None
    ) -> list[Neighbour]:
        """Return at most k points by falling cosine similarity. Unknown index: none.

        Raise Damaged for a query of another dimension.
        """

    def fetch(self, index: str, chunk_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[float]]:
        """Return the vectors of those chunk ids that exist."""

    def delete_version(self, index: str, collection: str, version_id: uuid.UUID) -> int:
        """Delete all points of a document's version; return how many. Idempotent."""

    def delete(self, index: str, chunk_ids: Sequence[uuid.UUID]) -> None:
        """Delete these points. Idempotent."""

    def set_tags(
        self, index: str, collection: str, document_id: uuid.UUID, tags: Mapping[str, str]
    ) -> None:
        """Replace the tags on all points of a document. Idempotent."""

    def chunk_ids(
        self, index: str, version_id: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
        """Yield (version id, chunk id) of every point, or of one version's points."""

    def count(self, index: str) -> int:
        """Return the number of points. Unknown index: 0."""

    def drop_index(self, index: str) -> None:
        """Delete the index and its points. Idempotent."""

    def version(self) -> str:
        """Return the server's name and version, as a health check."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes that have been read once, hashed, and wait to become an object."""

    path: Path
    sha256: str
    size: int


class ObjectStore(Protocol):
    """Original files by content: the key of an object is derived from its SHA-256."""

    def stage(self, source: BinaryIO) -> Staged:
        """Copy a stream to a private temporary file, hashing it. Raise NoSpace."""

    def discard(self, staged: Staged) -> None:
        """Forget staged bytes. Idempotent."""

    def put(self, staged: Staged) -> str:
        """Make the staged bytes an object that survives power loss; return its key.

        Idempotent: equal content is stored once. The staged file is gone afterwards.
        """

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading. Raise NotFound, or Damaged for an impossible key."""

    def local(self, key: str) -> AbstractContextManager[Path]:
        """Give the object as a local file, read-only, for the length of the block.

        Raise NotFound.
        """

    def exists(self, key: str) -> bool:
        """Return whether the object is there."""

    def verify(self, key: str) -> bool:
        """Return whether the object's bytes still have the hash in its key. Raise NotFound."""

    def delete(self, key: str) -> None:
        """Delete the object and every older version of it. Idempotent."""

    def keys(self) -> Iterator[str]:
        """Yield the key of every object, in no order."""

    def usage(self) -> tuple[int, int]:
        """Return (number of objects, bytes)."""

    def version(self) -> str:
        """Return the store's name and version, as a health check."""
