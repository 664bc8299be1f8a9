"""What the services write: the last lines, and new ones as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from janus_core.app import Janus
from janus_core.errors import NotFound, NotInitialised
from janus_core.processes import LOG_LIMIT, file_errors, read_from, tail

_LOOK_S = 0.3


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a service's log, without the secrets that it may have held."""

    service: str
    text: str


class Logs:
    """The log files of this installation, one a service."""

    def __init__(self, janus: Janus, service: str | None) -> None:
        """`service` restricts it to one. Raise NotInitialised, NotFound naming those there are."""
        with file_errors("cannot look at the logs"):
            if not janus.is_initialised():
                raise NotInitialised("Janus was never brought up here", "Run: janus up")
            files = sorted(janus.locations.logs.glob("*.log"))
        known = {path.stem: path for path in files}
        if service is not None and service not in known:
            raise NotFound(
                f"no log of a service {service}", f"There are: {', '.join(known) or 'none yet'}."
            )
        self._files = {service: known[service]} if service is not None else known
        self._secrets = janus.secrets

    def last(self, number: int) -> Iterator[LogLine]:
        """Yield the last `number` lines of each log, the newest last."""
        for service, path in self._files.items():
            with file_errors("cannot read a log"):
                lines = tail(path, LOG_LIMIT).splitlines()
            for line in lines[-number:] if number > 0 else []:
                yield self._line(service, line)

    def follow(self) -> Iterator[LogLine]:
        """Yield every line that is written from now on; never ends."""
        followed = [_Followed(service, path) for service, path in self._files.items()]
        while True:
            for each in followed:
                for line in each.new_lines():
                    yield self._line(each.service, line)
            time.sleep(_LOOK_S)

    def _line(self, service: str, text: str) -> LogLine:
        return LogLine(service, self._secrets.redact(text))


class _Followed:
    """A log that grows, and is emptied in place when it is too long."""

    def __init__(self, service: str, path: Path) -> None:
        self.service = service
        self._path = path
        self._read = self._size()
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Return the whole lines written since the last call."""
        with file_errors("cannot read a log"):
            if self._size() < self._read:
                self._read, self._rest = 0, b""
            written = read_from(self._path, self._read)
        self._read += len(written)
        *lines, self._rest = (self._rest + written).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0
