"""What a background job works with."""

from __future__ import annotations

from dataclasses import dataclass

from janus_core.events import Sink
from janus_core.ingestion.extract.extractor import Extractor
from janus_core.llm.base import Embedder
from janus_core.stores.base import ObjectStore, VectorStore
from janus_core.stores.postgres import Database


@dataclass(frozen=True)
class Services:
    """The stores and helpers of a worker, shared by its threads."""

    database: Database
    objects: ObjectStore
    vectors: VectorStore
    embedder: Embedder
    extractor: Extractor
    sink: Sink
