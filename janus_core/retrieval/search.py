"""Search: dense vectors and full text, fused; text only from visible documents."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from janus_core.answers import Hit, Mode
from janus_core.documents import Filter, Passage, text_hash
from janus_core.errors import InvalidInput
from janus_core.llm.base import Embedder
from janus_core.retrieval.fuse import fuse
from janus_core.stores import catalogue
from janus_core.stores.base import VectorFilter, VectorStore
from janus_core.stores.fulltext import match_text
from janus_core.stores.postgres import Database

MAX_QUERY = 10_000
"""Characters of a query; the rest is refused, not silently dropped."""

_CANDIDATES = 50

@dataclass(frozen=True)
class Searcher:
    """Finds passages. Safe to call from several threads."""

    database: Database
    vectors: VectorStore
    embedder: Embedder

    def search(
        self, query: str, where: Filter | None = None, k: int = 10, mode: Mode = "hybrid"
    ) -> list[Hit]:
        """Given a query, return at most k hits, best first, without equal texts.

        `hybrid` fuses `dense` (vectors) and `text` (full text). Scores are
        comparable within one answer only. Raise InvalidInput for an empty or
        overlong query, NotFound for an unknown collection.
        """
        _check(query, k, mode)
        # Bytes that are no text, from a command line, are no words either.
        query = query.encode("utf-8", "replace").decode().replace("\0", " ")
        where = where or Filter()
        depth = max(_CANDIDATES, 2 * k)
        with self.database.transaction() as tx:
            catalogue.require_collections(tx, where.collections)
        rankings: dict[str, Sequence[uuid.UUID]] = {}
        similarity: dict[uuid.UUID, float] = {}
        if mode in ("hybrid", "dense"):
            similarity = self._dense(query, where, depth)
            rankings["dense"] = list(similarity)
        if mode in ("hybrid", "text"):
            rankings["text"] = self._full_text(query, where, depth)
        ordered = fuse(rankings)
        with self.database.transaction() as tx:
            passages = catalogue.passages(tx, [item for item, _, _ in ordered])
        return _hits(ordered, passages, k, similarity if mode == "dense" else {})

    def _dense(self, query: str, where: Filter, depth: int) -> dict[uuid.UUID, float]:
        neighbours = self.vectors.search(
            self.embedder.name,
            self.embedder.embed_query(query),
            depth,
            VectorFilter(where.collections, where.tags, where.not_tags),
        )
        return {neighbour.chunk_id: neighbour.similarity for neighbour in neighbours}

    def _full_text(self, query: str, where: Filter, depth: int) -> list[uuid.UUID]:
        with self.database.transaction() as tx:
            return [chunk for chunk, _ in match_text(tx, query, depth, where)]


def _check(query: str, k: int, mode: str) -> None:
    if not query.strip():
        raise InvalidInput("the query is empty", 'Ask for something: janus search "pump pressure"')
    if len(query) > MAX_QUERY:
        raise InvalidInput(
            f"the query has {len(query)} characters, {MAX_QUERY} are allowed",
            "Ask a shorter question; ingest long texts as documents.",
        )
    if not 1 <= k <= 1000:
        raise InvalidInput(f"k must be between 1 and 1000, not {k}")
    if mode not in ("hybrid", "dense", "text"):
        raise InvalidInput(f"no such mode here: {mode}", "Use hybrid, dense or text.")


def _hits(
    ordered: Sequence[tuple[uuid.UUID, float, tuple[str, ...]]],
    passages: dict[uuid.UUID, Passage],
    k: int,
    similarity: dict[uuid.UUID, float],
) -> list[Hit]:
    hits: list[Hit] = []
    seen: set[str] = set()
    for chunk, score, why in ordered:
        passage = passages.get(chunk)
        # Copies of a file are documents of their own; a reader wants the text once.
        if passage is None or (fingerprint := text_hash(passage.text)) in seen:
            continue
        seen.add(fingerprint)
        signals: tuple[Mode, ...] = tuple(mode for mode in get_args(Mode) if mode in why)
        hits.append(
            Hit(
                rank=len(hits) + 1,
                score=round(similarity.get(chunk, score), 4),
                passage=passage,
                why=signals,
            )
        )
        if len(hits) == k:
            break
    return hits
