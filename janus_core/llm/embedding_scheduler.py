"""Decide which texts the embedding model runs next, for many clients at once."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from janus_core.errors import JanusError
from janus_core.llm.embedding import plan_batches

log = logging.getLogger("janus.embedding_server")

_ROUND_TEXTS = 512


@dataclass
class Request:
    """What one client waits for; `rows` fills up batch by batch."""

    texts: list[str]
    is_query: bool
    alone: bool
    """Asked again after a crash: to be run apart from others, who may be innocent."""
    rows: list[bytes] = field(default_factory=list)
    remaining: int = 0
    error: JanusError | None = None
    done: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False


class Scheduler:
    """Decides which texts go into the next run of the model. Owns the only thread that runs it."""

    def __init__(self, embedder: Any) -> None:
        """Given a `FastembedEmbedder` (or what has its methods), take requests for it."""
        self._embedder = embedder
        self._queries: list[Request] = []
        self._passages: list[Request] = []
        self._wake = threading.Condition()
        self.busy_since = 0.0
        """`time.monotonic()` when the present run of the model began; 0 when none runs."""

    def submit(self, request: Request) -> None:
        """Queue a request; its `done` is set when its rows or its error are there."""
        request.rows = [b""] * len(request.texts)
        request.remaining = len(request.texts)
        if not request.texts:
            request.done.set()
            return
        with self._wake:
            (self._queries if request.is_query else self._passages).append(request)
            self._wake.notify()

    def run(self) -> None:
        """Embed what is queued, for ever. A fault of our own ends the process: clients retry."""
        try:
            while True:
                self.run_once()
        except BaseException:
            log.exception("the embedding thread failed: ending")
            os._exit(70)

    def run_once(self) -> None:
        """Wait for requests, then embed one round of passages and all questions meanwhile."""
        with self._wake:
            while not self._queries and not self._passages:
                self._wake.wait()
        self._run_queries()
        for batch in self._next_round():
            self._run(batch)
            self._run_queries()

    def _run_queries(self) -> None:
        """Embed the questions that wait now."""
        while True:
            with self._wake:
                waiting, self._queries = self._queries[:8], self._queries[8:]
            if not waiting:
                return
            for group in _apart(waiting):
                for batch in self._lay_out(group):
                    self._run(batch)

    def _next_round(self) -> list[list[tuple[Request, int]]]:
        """Take waiting passages and lay them out in batches.

        A round is closed to those who come later, so long texts, which go
        last, do not wait for ever behind newer short ones.
        """
        taken: list[Request] = []
        with self._wake:
            while self._passages and sum(len(each.texts) for each in taken) < _ROUND_TEXTS:
                if taken and (self._passages[0].alone or taken[-1].alone):
                    break
                taken.append(self._passages.pop(0))
        return self._lay_out(taken)

    def _lay_out(self, requests: list[Request]) -> list[list[tuple[Request, int]]]:
        places = [(each, row) for each in requests for row in range(len(each.texts))]
        texts = [each.texts[row] for each, row in places]
        embedder = self._embedder
        plan = plan_batches(texts, embedder.max_tokens, embedder.batch_tokens)
        return [[places[position] for position in batch] for batch in plan]

    def _run(self, batch: list[tuple[Request, int]]) -> None:
        batch = [(each, row) for each, row in batch if not each.dropped and each.error is None]
        if not batch:
            return
        self.busy_since = time.monotonic()
        try:
            matrix = self._embedder.embed_batch([each.texts[row] for each, row in batch])
            rows = [vector.astype("<f4").tobytes() for vector in matrix]
        except JanusError as error:
            for each, _ in batch:
                each.error = error
                each.done.set()
            return
        finally:
            self.busy_since = 0.0
        for (each, row), vector in zip(batch, rows, strict=True):
            each.rows[row] = vector
            each.remaining -= 1
            if each.remaining == 0:
                each.done.set()


def _apart(requests: list[Request]) -> list[list[Request]]:
    """Group requests that may share a run; each `alone` one is a group of its own."""
    together = [each for each in requests if not each.alone]
    groups = [[each] for each in requests if each.alone]
    return [together, *groups] if together else groups
