"""Vectors in PostgreSQL, by pgvector: one narrow table for each index.

Half-precision vectors stored in the row itself, one list partition and one HNSW
graph for each collection: on one graph for everything, a filter by collection
would lose half of the neighbours. A filter by tags that leaves few points is
answered exactly, without the graph.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, exc, text

from janus_core.errors import Damaged, NotFound, TransientFailure
from janus_core.stores.base import Neighbour, Point, Vector, VectorFilter
from janus_core.stores.postgres import Database

EXACT_BELOW = 20_000
"""A filtered search reads at most this many points one by one; above, it walks the graph."""

EF_SEARCH = 100
_SCHEMA = "vectors"
_DDL_LOCK = 0x4A766563
_SAFE_INDEX = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_SAFE_COLLECTION = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VANISHED = {"42P01", "23514"}
"""No such table; no partition for the row."""


class PgVectorStore:
    """The VectorStore port on a PostgreSQL database with the `vector` extension."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure_index(self, index: str, dim: int) -> None:
        """See VectorStore."""
        table = _table(index)
        with self._database.transaction() as tx:
            _lock(tx)
            if _exists(tx, table):
                found = tx.scalar(
                    text(
                        "SELECT atttypmod FROM pg_attribute"
                        " WHERE attrelid = CAST(:t AS regclass) AND attname = 'embedding'"
                    ),
                    {"t": table},
                )
                if found != dim:
                    raise Damaged(
                        f"vector index {index} holds {found} dimensions, the model gives {dim}",
                        "Run: janus docs reindex",
                    )
                return
            tx.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
            tx.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
            tx.execute(
                text(
                    f"CREATE TABLE {table} ("
                    " collection text NOT NULL, chunk_id uuid NOT NULL,"
                    " document_id uuid NOT NULL, version_id uuid NOT NULL,"
                    " object_key text NOT NULL, tags text[],"
                    f" embedding halfvec({dim}) NOT NULL,"
                    " PRIMARY KEY (collection, chunk_id)) PARTITION BY LIST (collection)"
                )
            )
            tx.execute(text(f"ALTER TABLE {table} ALTER embedding SET STORAGE PLAIN"))
            tx.execute(text(f"CREATE INDEX ON {table} (version_id)"))
            tx.execute(text(f"CREATE INDEX ON {table} (chunk_id)"))

    def upsert(self, index: str, points: Sequence[Point]) -> None:
        """See VectorStore."""
        table = _table(index)
        for collection in sorted({point.collection for point in points}):
            if not _SAFE_COLLECTION.fullmatch(collection):  # DDL takes no parameters
                raise Damaged(f"not a name for a collection: {collection!r}")
        rows = [
            {
                "collection": point.collection,
                "chunk_id": point.chunk_id,
                "document_id": point.document_id,
                "version_id": point.version_id,
                "object_key": point.object_key,
                "tags": _tag_list(point.tags),
                "embedding": _literal(point.vector),
            }
            # In one order everywhere, so that two writers of the same points never deadlock.
            for point in sorted(points, key=lambda point: (point.collection, point.chunk_id))
        ]
        if not rows:
            return
        with _fitting(index):
            for collection in sorted({point.collection for point in points}):
                self._ensure_partition(table, index, collection)
        with _fitting(index), self._database.transaction() as tx:
            tx.execute(
                text(
                    f"INSERT INTO {table} (collection, chunk_id, document_id, version_id,"
                    "  object_key, tags, embedding)"
                    " VALUES (:collection, :chunk_id, :document_id, :version_id,"
                    "  :object_key, :tags, CAST(:embedding AS halfvec))"
                    " ON CONFLICT (collection, chunk_id) DO UPDATE SET"
                    "  document_id = excluded.document_id, version_id = excluded.version_id,"
                    "  object_key = excluded.object_key, tags = excluded.tags,"
                    "  embedding = excluded.embedding"
                ),
                rows,
            )

    def search(
        self, index: str, vector: Vector, k: int, where: VectorFilter | None = None
    ) -> list[Neighbour]:
        """See VectorStore."""
        table, where = _table(index), where or VectorFilter()
        conditions, values = _conditions(where)
        values |= {"query": _literal(vector), "k": k}
        with _fitting(index), self._database.transaction() as tx:
            if not _exists(tx, table):
                return []
            collections = sorted(where.collections) or _collections(tx, table)
            exact = bool(where.tags or where.not_tags) and self._few(tx, table, conditions, values)
            tx.execute(text(f"SET LOCAL hnsw.ef_search = {max(EF_SEARCH, min(k, 1000))}"))
            tx.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
            found: list[Neighbour] = []
            if exact:
                rows = tx.execute(
                    text(
                        "WITH kept AS MATERIALIZED ("
                        f" SELECT chunk_id, embedding FROM {table} WHERE {conditions})"
                        " SELECT chunk_id,"
                        "  1 - (embedding <=> CAST(:query AS halfvec)) AS similarity"
                        " FROM kept ORDER BY embedding <=> CAST(:query AS halfvec) LIMIT :k"
                    ),
                    values,
                )
                return [Neighbour(row.chunk_id, float(row.similarity)) for row in rows]
            for collection in collections:
                rows = tx.execute(
                    text(
                        "SELECT chunk_id, 1 - (embedding <=> CAST(:query AS halfvec)) AS similarity"
                        f" FROM {table} WHERE collection = :one AND {conditions}"
                        " ORDER BY embedding <=> CAST(:query AS halfvec) LIMIT :k"
                    ),
                    values | {"one": collection},
                )
                found += [Neighbour(row.chunk_id, float(row.similarity)) for row in rows]
        return sorted(found, key=lambda neighbour: -neighbour.similarity)[:k]

    def fetch(self, index: str, chunk_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[float]]:
        """See VectorStore."""
        table = _table(index)
        with self._database.transaction() as tx:
            if not chunk_ids or not _exists(tx, table):
                return {}
            rows = tx.execute(
                text(
                    "SELECT chunk_id, CAST(embedding AS text) AS vector"
                    f" FROM {table} WHERE chunk_id = ANY(:ids)"
                ),
                {"ids": list(chunk_ids)},
            )
            return {
                row.chunk_id: [float(part) for part in row.vector[1:-1].split(",")] for row in rows
            }

    def delete_version(self, index: str, collection: str, version_id: uuid.UUID) -> int:
        """See VectorStore."""
        table = _table(index)
        with self._database.transaction() as tx:
            if not _exists(tx, table):
                return 0
            condition = "collection = :c AND version_id = :v"
            deleted = tx.execute(
                text(f"DELETE FROM {table} t {_held(table, condition)}"),
                {"c": collection, "v": version_id},
            )
            return deleted.rowcount

    def delete(self, index: str, chunk_ids: Sequence[uuid.UUID]) -> None:
        """See VectorStore."""
        table = _table(index)
        with self._database.transaction() as tx:
            if chunk_ids and _exists(tx, table):
                tx.execute(
                    text(f"DELETE FROM {table} t {_held(table, 'chunk_id = ANY(:ids)')}"),
                    {"ids": list(chunk_ids)},
                )

    def set_tags(
        self, index: str, collection: str, document_id: uuid.UUID, tags: Mapping[str, str]
    ) -> None:
        """See VectorStore."""
        table = _table(index)
        with self._database.transaction() as tx:
            if _exists(tx, table):
                held = _held(table, "collection = :c AND document_id = :d", word="FROM")
                tx.execute(
                    text(f"UPDATE {table} t SET tags = :tags {held}"),
                    {"tags": _tag_list(tags), "c": collection, "d": document_id},
                )

    def chunk_ids(
        self, index: str, version_id: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
        """See VectorStore."""
        table = _table(index)
        condition = "" if version_id is None else " WHERE version_id = :v"
        with self._database.transaction() as tx:
            if not _exists(tx, table):
                return
            rows = tx.execution_options(yield_per=5000).execute(
                text(f"SELECT version_id, chunk_id FROM {table}{condition}"), {"v": version_id}
            )
            for row in rows:
                yield row.version_id, row.chunk_id

    def count(self, index: str) -> int:
        """See VectorStore."""
        table = _table(index)
        with self._database.transaction() as tx:
            if not _exists(tx, table):
                return 0
            return int(tx.scalar(text(f"SELECT count(*) FROM {table}")) or 0)

    def drop_index(self, index: str) -> None:
        """See VectorStore."""
        with self._database.transaction() as tx:
            tx.execute(text(f"DROP TABLE IF EXISTS {_table(index)}"))

    def version(self) -> str:
        """See VectorStore."""
        with self._database.transaction() as tx:
            found = tx.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
        return f"pgvector {found}"

    def _ensure_partition(self, table: str, index: str, collection: str) -> None:
        name = _partition(table, collection)
        with self._database.transaction() as tx:
            # Asked each time: another process may have dropped the index meanwhile.
            if _exists(tx, name):
                return
            _lock(tx)
            if not _exists(tx, table):
                raise NotFound(f"no vector index {index}", "Run: janus docs reindex")
            if _exists(tx, name):
                return
            # Made apart and attached: CREATE … PARTITION OF would wait for every reader
            # of the index (a backup reads for minutes) and make all later ones wait.
            tx.execute(
                text(
                    f"CREATE TABLE {name}"
                    f" (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
                )
            )
            tx.execute(text(f"CREATE INDEX ON {name} USING hnsw (embedding halfvec_cosine_ops)"))
            tx.execute(
                text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ('{collection}')")
            )

    def _few(
        self, tx: Connection, table: str, conditions: str, values: Mapping[str, object]
    ) -> bool:
        counted = tx.scalar(
            text(
                f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {conditions}"
                f" LIMIT {EXACT_BELOW + 1}) AS kept"
            ),
            values,
        )
        return (counted or 0) <= EXACT_BELOW


def _table(index: str) -> str:
    if not _SAFE_INDEX.fullmatch(index):
        raise Damaged(f"not a name for a vector index: {index!r}")
    return f'{_SCHEMA}."{index}"'


def _partition(table: str, collection: str) -> str:
    # Names end at 63 bytes in PostgreSQL: the collection is named by a digest.
    return f'{_SCHEMA}."{uuid.uuid5(uuid.NAMESPACE_OID, f"{table}/{collection}").hex}"'


@contextmanager
def _fitting(index: str) -> Iterator[None]:
    """Translate what the database says of vectors that do not fit the index."""
    try:
        yield
    except exc.DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if state.startswith("22"):
            raise Damaged(
                f"a vector does not fit the index {index}: {error.orig}", "Run: janus docs reindex"
            ) from error
        if state in _VANISHED:
            raise TransientFailure(f"the vector index {index} was dropped meanwhile") from error
        raise


def _lock(tx: Connection) -> None:
    """Keep others from making tables: IF NOT EXISTS alone is no guard against a race."""
    tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DDL_LOCK})


def _held(table: str, condition: str, word: str = "USING") -> str:
    """Given a condition, return the tail of a statement on `table t` that changes those rows.

    They are locked in the order in which `upsert` writes, or the two could deadlock.
    """
    return (
        f"{word} (SELECT collection, chunk_id FROM {table} WHERE {condition}"
        " ORDER BY collection, chunk_id FOR UPDATE) AS held"
        " WHERE t.collection = held.collection AND t.chunk_id = held.chunk_id"
    )


def _exists(tx: Connection, table: str) -> bool:
    # Not to_regclass(): that answers from a cache, and misses what was made while we
    # waited for the lock.
    found = tx.scalar(
        text(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :schema AND c.relname = :name"
        ),
        {"schema": _SCHEMA, "name": table.split('"')[1]},
    )
    return found is not None


def _collections(tx: Connection, table: str) -> list[str]:
    """The collections that have a partition, read from the partitions' bounds."""
    rows = tx.execute(
        text(
            "SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i"
            " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST(:t AS regclass)"
        ),
        {"t": table},
    )
    # FOR VALUES IN ('name')
    return sorted(row.bound.split("'")[1] for row in rows)


def _conditions(where: VectorFilter) -> tuple[str, dict[str, object]]:
    parts, values = ["TRUE"], dict[str, object]()
    if where.collections:
        parts.append("collection = ANY(:collections)")
        values["collections"] = sorted(where.collections)
    if where.tags:
        parts.append("tags @> CAST(:tags AS text[])")
        values["tags"] = [_tag(*pair) for pair in sorted(where.tags)]
    if where.not_tags:
        parts.append("NOT coalesce(tags && CAST(:not_tags AS text[]), FALSE)")
        values["not_tags"] = [_tag(*pair) for pair in sorted(where.not_tags)]
    return " AND ".join(parts), values


def _tag_list(tags: Mapping[str, str]) -> list[str] | None:
    return [_tag(*pair) for pair in sorted(tags.items())] or None


def _tag(key: str, value: str) -> str:
    # The first = ends the key, whatever the key was.
    return f"{key.replace('%', '%25').replace('=', '%3D')}={value}"


def _literal(vector: Vector) -> str:
    return "[" + ",".join(f"{value:.6g}" for value in vector) + "]"
