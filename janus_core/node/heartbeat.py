"""A file that says which daemon is alive, and when it last said so."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from janus_core.processes import ProcessIdentity, identify, is_same_process

STALE_S = 15.0
"""A daemon that runs but has not beaten for so long hangs."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life of a daemon."""

    identity: ProcessIdentity
    age_s: float
    workers: tuple[int, ...]
    schema: str
    """The revision of the database that the daemon found."""

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return is_same_process(self.identity)


class Heartbeat:
    """Writes and reads the file. It lives in the runtime folder: losing it loses nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def beat(self, workers: Sequence[int], schema: str) -> None:
        """Say that this process is alive, which workers it has and which schema it found."""
        me = identify(os.getpid())
        if me is None:
            return
        new = self._path.with_suffix(".new")
        record = {
            "identity": me.to_text(),
            "at": time.time(),
            "workers": list(workers),
            "schema": schema,
        }
        new.write_text(json.dumps(record))
        new.replace(self._path)

    def last(self) -> Beat | None:
        """Return the last beat, None when there never was one."""
        try:
            record = json.loads(self._path.read_text())
            identity = ProcessIdentity.from_text(record["identity"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        if identity is None:
            return None
        age_s = max(0.0, time.time() - record["at"])
        return Beat(identity, age_s, tuple(record["workers"]), record.get("schema", ""))
