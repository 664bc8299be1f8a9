"""Search at 100,000 chunks beside its bare parts, query by query in one run.

    python bench/search.py [--chunks 100000] [--queries 200]

Bare parts: embedding the query, one ORDER BY on the HNSW graph, one full-text
query for all words. Vectors are synthetic (clustered), text is real: sentences of
the PostgreSQL manual (Debian's postgresql-doc-15) or, without it, of the examples,
put together anew. Prints p50 and p95 in milliseconds and the ratio of the p95.
"""

from __future__ import annotations

import argparse
import random
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from scratch import percentile, scratch_node
from sqlalchemy import text

from janus_core.app import Janus
from janus_core.documents import Chunk
from janus_core.stores import catalogue, contents, versions
from janus_core.stores.base import Point

MANUAL = Path("/usr/share/doc/postgresql-doc-15/html")
EXAMPLES = Path(__file__).parent.parent / "examples" / "documents"
PER_DOCUMENT = 500


def sentences() -> list[str]:
    """Real sentences of 8 words and more."""
    folder, pattern = (MANUAL, "*.html") if MANUAL.is_dir() else (EXAMPLES, "*.*m*")
    found: dict[str, None] = {}
    for path in sorted(folder.glob(pattern)):
        plain = re.sub(r"<[^>]+>|\s+", " ", path.read_text("utf-8", "replace"))
        for sentence in re.split(r"(?<=[.?!])\s+", re.sub(r"\s+", " ", plain)):
            if 8 <= len(sentence.split()) <= 60:
                found[sentence] = None
    return list(found)


def vectors(dice: random.Random, dim: int) -> Iterator[list[float]]:
    """Unit vectors around 200 centres, as embeddings of a few topics are."""
    centres = [[dice.gauss(0, 1) for _ in range(dim)] for _ in range(200)]
    while True:
        centre = dice.choice(centres)
        raw = [c + dice.gauss(0, 0.7) for c in centre]
        length = sum(x * x for x in raw) ** 0.5
        yield [x / length for x in raw]


def fill(janus: Janus, number: int, stock: list[str], dice: random.Random) -> None:
    """Store `number` chunks the way ingestion does, but for the embedding."""
    index, dim = janus.embedder.name, janus.embedder.dim
    janus.vectors.ensure_index(index, dim)
    made = vectors(dice, dim)
    for start in range(0, number, PER_DOCUMENT):
        with janus.database.transaction() as tx:
            collection = catalogue.ensure_collection(tx, "bench")
            document, sha = uuid.uuid4(), f"{start:064x}"
            versions.upsert_document(tx, document, collection, f"bench:///{start}", {})
            key = f"sha256/{sha[:2]}/{sha}"
            version = versions.insert_version(tx, document, sha, 1, key)
            contents.begin_extraction(tx, version, "text/plain", f"Bench {start}", "bench-1")
            row = versions.find(tx, version, lock=True)
            assert row is not None
            chunks = [
                Chunk(uuid.uuid4(), n, " ".join(dice.sample(stock, 6)), 1, 0, 1)
                for n in range(min(PER_DOCUMENT, number - start))
            ]
            n = len(chunks)
            coverage = versions.Coverage(1, 1, 1, n, n)
            versions.publish_version(
                tx, row, ((c, uuid.uuid4().bytes) for c in chunks), coverage, "bench", index
            )
        points = [Point(c.id, next(made), "bench", document, version, key) for c in chunks]
        janus.vectors.upsert(index, points)
        print(f"\r{start + len(chunks)}/{number} chunks", end="", flush=True)
    with janus.database.transaction() as tx:
        tx.execute(text("ANALYZE"))
    print()


def bare(janus: Janus, query: str) -> tuple[float, float, float]:
    """Seconds of the three bare parts."""
    began = time.perf_counter()
    vector = janus.embedder.embed_query(query)
    embedded = time.perf_counter()
    literal = "[" + ",".join(f"{x:.6g}" for x in vector) + "]"
    table = f'vectors."{janus.embedder.name}"'
    with janus.database.transaction() as tx:
        tx.execute(
            text(
                f"SELECT chunk_id FROM {table} WHERE collection = 'bench'"
                " ORDER BY embedding <=> CAST(:q AS halfvec) LIMIT 10"
            ),
            {"q": literal},
        ).all()
    searched = time.perf_counter()
    with janus.database.transaction() as tx:
        tx.execute(
            text(
                "SELECT id FROM chunk WHERE tsv @@ plainto_tsquery('english', :q)"
                " ORDER BY ts_rank_cd(tsv, plainto_tsquery('english', :q)) DESC LIMIT 10"
            ),
            {"q": query},
        ).all()
    matched = time.perf_counter()
    return embedded - began, searched - embedded, matched - searched


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--queries", type=int, default=200)
    chosen = options.parse_args()
    dice, stock = random.Random(20261122), sentences()
    with scratch_node() as janus:
        fill(janus, chosen.chunks, stock, dice)
        queries = [" ".join(dice.choice(stock).split()[:10]) for _ in range(chosen.queries)]
        for query in queries[:20]:
            bare(janus, query), janus.searcher.search(query)
        parts, whole = list[tuple[float, float, float]](), list[float]()
        for query in queries:
            parts.append(bare(janus, query))
            began = time.perf_counter()
            janus.searcher.search(query)
            whole.append(time.perf_counter() - began)
    names = ("embed the query", "bare vector query", "bare text query")
    rows = {name: [part[i] for part in parts] for i, name in enumerate(names)}
    rows |= {"sum of the parts": [sum(part) for part in parts], "janus search": whole}
    for name, values in rows.items():
        p50, p95 = (percentile(values, share) * 1000 for share in (0.5, 0.95))
        print(f"{name:<18} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms")
    ratio = percentile(whole, 0.95) / percentile(rows["sum of the parts"], 0.95)
    print(f"search / sum of the parts, p95: {ratio:.2f} (must be ≤ 3)")


if __name__ == "__main__":
    main()
