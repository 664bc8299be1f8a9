"""Reads documents in a child process that may crash, hang or swell without harm.

    with Extractor() as extractor, extractor.extract(path, "manual.pdf") as document:
        for page in document:
            ...

Any number of threads may share one Extractor. It starts its child process on first
use and again when that died. Pages come one at a time: a child that is ahead waits on
the socket, so that neither side ever holds the whole document.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import janus_core
from janus_core.errors import NotFound, TransientFailure, UnreadableDocument
from janus_core.ingestion.extract.base import Limits
from janus_core.ingestion.extract.clean import safe_line
from janus_core.ingestion.extract.extraction import Extraction
from janus_core.ingestion.extract.frames import read_frame

_START_SECONDS = 60.0
_NAME = 255  # characters of a name that the child sees: a request must fit one message
# What a Python process needs to find itself and its libraries; secrets are not among it.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Extractor:
    """Owns the child process that parses; see the module for its use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._owner = 0
        self._no_network = False

    def extract(
        self,
        path: Path,
        name: str | None = None,
        on_pages: Callable[[int, int], None] | None = None,
        limits: Limits | None = None,
        *,
        start_page: int = 1,
    ) -> Extraction:
        """Given a file, return its pages from `start_page` on, read as they are asked for.

        `name` is what the document is called (its suffix is a hint to its format);
        `on_pages(page, total)` is called after each page. Raise UnreadableDocument with
        the reason (permanent), NotFound, or TransientFailure.
        """
        name = name or path.name
        limits = limits or Limits()
        with _open_regular(path, safe_line(name)) as source:
            return self._extract(source, name, on_pages, limits, start_page)

    def capabilities(self) -> dict[str, bool]:
        """Return which confinements hold on this machine, by reading a line of text."""
        with tempfile.TemporaryFile() as probe:
            probe.write(b"probe")
            probe.flush()
            with self._extract(probe, "probe.txt", None, Limits(), 1) as document:
                return {"no_network": self._no_network, **document.confined}

    def close(self) -> None:
        """End the child process and whatever it is parsing. Safe to call again."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _extract(
        self,
        source: BinaryIO,
        name: str,
        on_pages: Callable[[int, int], None] | None,
        limits: Limits,
        start_page: int,
    ) -> Extraction:
        request = json.dumps(
            {"name": name[-_NAME:], "start_page": start_page, "limits": dataclasses.asdict(limits)}
        ).encode()
        for last_try in (False, True):
            (pages, pages_end), (control, control_end) = socket.socketpair(), socket.socketpair()
            try:
                with pages_end, control_end:
                    ends = [source.fileno(), pages_end.fileno(), control_end.fileno()]
                    self._send(request, ends)
                control.settimeout(_START_SECONDS)
                read_frame(control)
                break
            except (OSError, ValueError) as error:
                pages.close()
                control.close()
                if last_try:
                    raise TransientFailure(
                        f"the process that reads documents does not answer ({error})",
                        "It is started again at the next try.",
                    ) from error
        return Extraction(pages, control, name, start_page, on_pages, limits)

    def _send(self, request: bytes, descriptors: list[int]) -> None:
        """Hand a request to the child process, starting it if it does not run.

        One request at a time on the socket: the next begins when this was taken whole.
        """
        with self._lock:
            if self._owner != os.getpid():  # never started, or we are a fork of who did
                self._process = self._socket = None
                self._owner = os.getpid()
            if self._process is None or self._process.poll() is not None:
                self._stop()
            try:
                channel = self._socket or self._start()
                socket.send_fds(channel, [request], descriptors)
                read_frame(channel)  # "taken"
            except BaseException:
                self._stop()  # it died, hangs, or is out of step with us
                raise

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = str(Path(janus_core.__file__).parents[1])
        module = "janus_core.ingestion.extract.child"
        with theirs:
            # -P: a file `lxml.py` in the current folder must not become a library.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        self._socket = ours
        ours.settimeout(_START_SECONDS)
        self._no_network = read_frame(ours).get("no_network") is True
        return ours

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()  # its children ask to die with it
            self._process.wait()
            self._process = None


def _open_regular(path: Path, name: str) -> BinaryIO:
    """Given a path, open it for reading, without being caught by a pipe or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise NotFound(f"{name} is not there", "It vanished; add it again.") from error
    except OSError as error:
        raise UnreadableDocument(
            f"{name} cannot be opened: {error.strerror}", "Check its permissions and links."
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableDocument(
            f"{name} is not a regular file", "Folders, devices, pipes and sockets hold no document."
        )
    return os.fdopen(descriptor, "rb")
