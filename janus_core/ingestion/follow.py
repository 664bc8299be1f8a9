"""Waiting for jobs: live events for the eye, the job rows for the truth."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Iterator

from janus_core.errors import StoreUnavailable
from janus_core.events import JobState, Progress, Sink
from janus_core.queue import jobs
from janus_core.queue.jobs import JobRow
from janus_core.stores.postgres import Database
from janus_core.stores.redis import LiveEvents

_OVER = ("done", "failed", "quarantined")
_PATIENCE_S = 60.0
_LOOK_S = 1.0
"""How often the rows are read; events only make the picture livelier."""


class Follower:
    """Follows jobs that are being queued, passing their events on."""

    def __init__(self, database: Database, live: LiveEvents, sink: Sink) -> None:
        self._database = database
        self._live = live
        self._sink = sink
        self._jobs: set[str] = set()
        self._over = threading.Event()
        self._changed = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True, name="follow jobs")

    def __enter__(self) -> Follower:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.join(timeout=2.0)

    def add(self, job_id: uuid.UUID) -> None:
        """Follow one more job."""
        self._jobs.add(str(job_id))

    def wait(self, job_ids: Collection[uuid.UUID]) -> Iterator[JobRow]:
        """Yield each job's row once it is over; ends when all are.

        A job whose row is gone (its document was removed) counts as over and is
        not yielded. Raise StoreUnavailable when the database stays away for a minute.
        """
        left = set(job_ids)
        answered = time.monotonic()
        while left:
            try:
                with self._database.transaction() as tx:
                    found = {row.id: row for row in jobs.rows(tx, ids=list(left), limit=len(left))}
                answered = time.monotonic()
            except StoreUnavailable:
                # Nothing is lost with it, and the daemon brings it back.
                if time.monotonic() - answered > _PATIENCE_S:
                    raise
                time.sleep(_LOOK_S)
                continue
            over = [row for row in found.values() if row.state in _OVER]
            yield from over
            left = {job for job in left if job in found} - {row.id for row in over}
            if left:
                self._changed.wait(_LOOK_S)
                # Many jobs end at once: look at most five times a second.
                time.sleep(0.2 if len(left) > 3 else 0.02)
                self._changed.clear()

    def _listen(self) -> None:
        with self._live.subscribe() as listener:
            while not self._over.is_set():
                event = listener.next(0.2)
                if isinstance(event, Progress | JobState) and event.job_id in self._jobs:
                    self._sink(event)
                    if isinstance(event, JobState) and event.state in _OVER:
                        self._changed.set()
