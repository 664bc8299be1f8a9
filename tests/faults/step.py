"""One step of the flow of a document in a process of its own, which a failpoint may kill.

    python step.py take FILE     as `janus ingest --no-wait` does
    python step.py relay         as the daemon does
    python step.py work          every job that is due, as a worker does
    python step.py remove DOC    as `janus docs rm` does

The stores are those of the settings; the embedder needs no model.
"""

from __future__ import annotations

import hashlib
import random
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import text

from janus_core.actors import run_job
from janus_core.app import Janus, open_janus
from janus_core.ingestion.remove import request_removal
from janus_core.queue import outbox

OWNER = "a worker that dies"


class WordEmbedder:
    """The Embedder port without a model: texts with words in common have near vectors."""

    name, dim = "words-1", 16

    def __init__(self) -> None:
        self.embedded = 0

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(each.split()) for each in texts]

    def embed_passages(self, texts: Sequence[str]) -> list[list[float]]:
        self.embedded += len(texts)
        return [self.embed_query(each) for each in texts]

    def embed_query(self, query: str) -> list[float]:
        total = [0.0] * self.dim
        for word in query.lower().split()[:50] or [""]:
            dice = random.Random(hashlib.sha256(word.encode()).digest())
            total = [value + dice.gauss(0, 1) for value in total]
        length = sum(value * value for value in total) ** 0.5
        return [value / length for value in total]

    def close(self) -> None:
        pass


def open_core() -> Janus:
    """Open Janus as a worker does, with the embedder above."""
    janus = open_janus(role="worker")
    janus.__dict__["embedder"] = WordEmbedder()
    return janus


def due_jobs(janus: Janus) -> list[uuid.UUID]:
    """Return the jobs that a worker could claim now, oldest first."""
    query = "SELECT id FROM job WHERE state = 'queued' AND not_before <= now() ORDER BY created_at"
    with janus.database.transaction() as tx:
        return list(tx.scalars(text(query)))


def take(janus: Janus, path: Path) -> None:
    for taken in janus.intake("faults", {}).take([path]):
        assert taken.outcome != "failed", taken


def work(janus: Janus, owner: str) -> None:
    for job in due_jobs(janus):
        run_job(janus.services, job, owner)


def main(action: str, arguments: Sequence[str]) -> None:
    with open_core() as janus:
        if action == "take":
            take(janus, Path(arguments[0]))
        elif action == "relay":
            outbox.relay(janus.database, janus.broker)
        elif action == "work":
            work(janus, OWNER)
        elif action == "remove":
            request_removal(janus.database, uuid.UUID(arguments[0]), uuid.uuid4())
        else:
            raise SystemExit(f"no such step: {action}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
