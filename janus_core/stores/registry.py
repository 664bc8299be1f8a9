"""From a URL to the adapter that speaks it. One URL is the whole choice of a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from janus_core.errors import BadConfiguration
from janus_core.stores.base import ObjectStore, VectorStore
from janus_core.stores.postgres import Database


def open_objects(url: str) -> ObjectStore:
    """Given the URL of an object store, return its adapter. Raise BadConfiguration."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc:
        from janus_core.stores.files import FileObjects

        return FileObjects(Path(unquote(parts.path)))
    raise BadConfiguration(f"no object store for {parts.scheme}://", "Use file:///folder.")


def open_vectors(url: str, shared: Database, shared_url: str) -> VectorStore:
    """Given the URL of a vector store, return its adapter. Raise BadConfiguration.

    Where it names the relational database, that one's connections are used.
    """
    scheme, _, rest = url.partition("+")
    if scheme == "pgvector" and rest:
        from janus_core.stores.pgvector import PgVectorStore

        target = rest.replace("postgresql://", "postgresql+psycopg://", 1)
        return PgVectorStore(shared if target == shared_url else Database(target))
    raise BadConfiguration(
        f"no vector store for {url.partition('://')[0]}://", "Use pgvector+postgresql://…"
    )
