"""The embedder that everyone uses: asks the one embedding server of this machine.

Needs neither fastembed nor NumPy, so a search pays milliseconds, not a second.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import logging
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from janus_core.errors import BadConfiguration, ModelUnavailable
from janus_core.llm.base import Vector
from janus_core.llm.child import child_environment, module_command, run_as_argument
from janus_core.llm.models import EMBEDDING_FILES, EmbeddingFolder, read_embedding
from janus_core.llm.tokens import TokenCounter, clip
from janus_core.llm.wire import (
    MAX_HEADER,
    MAX_TEXTS,
    VERSION,
    BadFrameError,
    has_ended,
    receive_frame,
    send_frame,
)
from janus_core.processes import (
    FileLock,
    ProcessIdentity,
    ServiceUser,
    ensure_private_folder,
    find_processes,
    identify,
    start_detached,
    stop_process,
    tail,
)

log = logging.getLogger(__name__)

SILENCE = 30.0
"""Seconds without a sign of life after which a server counts as dead."""
START_WITHIN = 60.0
_END_WITHIN = 5.0
_SERVER = "janus_core.llm.embedding_server"
ATTEMPTS = 4
_BYTES_PER_CHARACTER = 12
"""At most, in JSON: a pair of escaped surrogates."""


class SharedEmbedder:
    """An `Embedder` that asks the machine's embedding server, and starts it if need be.

    A request is asked again when the server dies under it, which is safe:
    embedding changes nothing. Thread-safe; usable after a fork.
    """

    def __init__(
        self,
        folder: Path,
        runtime: Path,
        log_file: Path,
        *,
        user: ServiceUser | None = None,
        threads: int = 0,
        gpu: str | int = "auto",
        idle_seconds: float = 600.0,
    ) -> None:
        """Given the model's folder, the folder for sockets and the server's log, open nothing yet.

        `user` is whom a server started by root becomes. `threads`, `gpu` and
        `idle_seconds` count only if this client is the one that starts it.
        Raise ModelUnavailable when the folder holds no model, Damaged, and
        BadConfiguration when the socket's path would be too long.
        """
        found = read_embedding(folder)
        if found is None:
            raise ModelUnavailable(
                f"{folder} holds no complete embedding model ({', '.join(EMBEDDING_FILES)})",
                "Run ./install.sh again, or add one: janus models add FOLDER.",
            )
        self.model: EmbeddingFolder = found
        key = hashlib.sha256(f"{VERSION} {found.id} {folder.resolve()}".encode()).hexdigest()
        self.socket_path = runtime / f"embed-{key[:10]}.sock"
        if len(str(self.socket_path).encode()) > 95:
            raise BadConfiguration(
                f"the path of the socket is too long: {self.socket_path}",
                "Choose a shorter JANUS_HOME or XDG_RUNTIME_DIR.",
            )
        self._counter = TokenCounter(folder, found.max_tokens)
        self._log_file = log_file
        self._user = user
        self._arguments = (
            *("--socket", str(self.socket_path), "--model", str(folder)),
            *("--threads", str(threads), "--gpu", str(gpu)),
            *("--idle-seconds", str(idle_seconds)),
            *run_as_argument(user),
        )
        self._pool = _Pool()

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return self.model.id

    @property
    def dim(self) -> int:
        """See `Embedder`."""
        return self.model.dim

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count; the rest is cut off."""
        return self.model.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Given texts, return how many tokens each has. Raise ModelUnavailable."""
        return self._counter.count(texts)

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        """See `Embedder`. The vector of a text does not depend on the others."""
        texts = clip(texts, self.max_tokens)
        vectors: list[Vector] = [[] for _ in texts]
        for positions in _split(texts):
            rows = self._embed([texts[position] for position in positions], "passage")
            for position, row in zip(positions, rows, strict=True):
                vectors[position] = row
        return vectors

    def embed_query(self, text: str) -> Vector:
        """See `Embedder`."""
        return self._embed(clip([text], self.max_tokens), "query")[0]

    def info(self) -> dict[str, Any] | None:
        """Return what the server says of itself (`pid`, `device`, …), None when none runs.

        Never starts one. `device` is empty until the model is loaded.
        """
        try:
            peer = self._connect()
        except OSError:
            return None
        with peer:
            peer.settimeout(2.0)
            try:
                send_frame(peer, {"op": "info"})
                return receive_frame(peer)[0]
            except (OSError, BadFrameError):
                return None

    def stop(self) -> None:
        """End the server if one runs, once it has answered what it works on. Idempotent."""
        with contextlib.suppress(OSError, BadFrameError), self._connect() as peer:
            peer.settimeout(2.0)
            send_frame(peer, {"op": "stop"})
            receive_frame(peer)

    def close(self) -> None:
        """See `Embedder`. The server goes on for the others."""
        self._pool.close()

    def _embed(self, texts: Sequence[str], kind: Literal["passage", "query"]) -> list[Vector]:
        failure: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0.05, 0.2) * attempt)  # noqa: S311 (spreads retries)
            request = {"op": "embed", "kind": kind, "texts": texts, "alone": attempt > 1}
            peer = self._pool.take() or self._connect_or_start()
            try:
                reply, payload = self._ask(peer, request)
            except (OSError, BadFrameError) as error:
                log.warning("asking the embedding server again: %s", error)
                peer.close()
                failure = error
                continue
            self._pool.give(peer)
            return self._vectors(len(texts), reply, payload)
        raise ModelUnavailable(
            f"the embedding server failed {ATTEMPTS} times: {failure}",
            f"Its log is {self._log_file}.",
        ) from failure

    def _ask(self, peer: socket.socket, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        peer.settimeout(SILENCE)
        try:
            send_frame(peer, request)
            while True:
                reply, payload = receive_frame(peer)
                if not reply.get("wait"):
                    return reply, payload
        except TimeoutError:
            self._end_silent(peer)
            raise

    def _end_silent(self, peer: socket.socket) -> None:
        """Kill a server that gives no sign of life, so that the next attempt starts a new one."""
        server = _server_of(peer)
        if server is not None:
            log.warning("the embedding server was silent for %.0f s: killing it", SILENCE)
            stop_process(server, term_timeout=0.5)

    def _vectors(self, wanted: int, reply: dict[str, Any], payload: bytes) -> list[Vector]:
        if not reply.get("ok"):
            raise ModelUnavailable(
                str(reply.get("message", "the embedding server refused")),
                str(reply.get("hint", "")),
            )
        if reply.get("rows") != wanted or len(payload) != wanted * self.dim * 4:
            raise ModelUnavailable(
                "the embedding server answered with vectors of another model",
                "Stop it with `janus down`, then try again.",
            )
        floats = array.array("f", payload)
        if sys.byteorder == "big":
            floats.byteswap()
        return [floats[at : at + self.dim].tolist() for at in range(0, len(floats), self.dim)]

    def _connect(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            peer.settimeout(SILENCE)
            peer.connect(str(self.socket_path))
        except OSError:
            peer.close()
            raise
        return peer

    def _connect_or_start(self) -> socket.socket:
        with contextlib.suppress(OSError):
            return self._connect()
        folder = self.socket_path.parent
        ensure_private_folder(folder, self._user)
        # One starter at a time; the others find the server when their turn comes.
        lock = FileLock(
            self.socket_path.with_suffix(".start"), timeout=START_WITHIN, owner=self._user
        )
        with lock:
            with contextlib.suppress(OSError):
                return self._connect()
            pid = start_detached(
                module_command(_SERVER, *self._arguments),
                log=self._log_file,
                env=child_environment(),
            )
            return self._await(pid)

    def _await(self, pid: int) -> socket.socket:
        deadline = time.monotonic() + START_WITHIN
        ended_at = 0.0
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return self._connect()
            if identify(pid) is None:
                # It may have left the place to another one that is about to listen.
                ended_at = ended_at or time.monotonic()
                if time.monotonic() - ended_at > 1.0:
                    break
            time.sleep(0.01)
        said = tail(self._log_file, 2000).strip().splitlines()
        raise ModelUnavailable(
            "the embedding server did not start" + (f": {said[-1]}" if said else ""),
            f"Its log is {self._log_file}.",
        )


def stop_servers(runtime: Path) -> None:
    """Given the folder for sockets, end every embedding server there, and wait. Idempotent."""
    for path in sorted(runtime.glob("embed-*.sock")):
        with (
            contextlib.suppress(OSError, BadFrameError),
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer,
        ):
            peer.settimeout(2.0)
            peer.connect(str(path))
            send_frame(peer, {"op": "stop"})
            receive_frame(peer)
    # One that is only starting has no socket yet, and one that was asked takes a moment.
    for server in find_processes(lambda argv: _serves_in(argv, runtime)):
        stop_process(server, term_timeout=_END_WITHIN)


def _serves_in(argv: list[str], runtime: Path) -> bool:
    return _SERVER in argv and any(each.startswith(f"{runtime}/embed-") for each in argv)


def _server_of(peer: socket.socket) -> ProcessIdentity | None:
    """Return the process at the other end, None when it has gone."""
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return identify(pid)


class _Pool:
    """Connections that wait for the next request of any thread of this process."""

    def __init__(self) -> None:
        self._idle: list[socket.socket] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def take(self) -> socket.socket | None:
        """Return a connection whose server still lives, or None."""
        while True:
            with self._lock:
                if self._pid != os.getpid():
                    # After a fork the parent goes on using these.
                    self._idle, self._pid = [], os.getpid()
                if not self._idle:
                    return None
                peer = self._idle.pop()
            if not has_ended(peer):
                return peer
            peer.close()

    def give(self, peer: socket.socket) -> None:
        with self._lock:
            if self._pid == os.getpid() and len(self._idle) < 4:
                self._idle.append(peer)
                return
        peer.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for peer in idle:
            peer.close()


def _split(texts: Sequence[str]) -> list[list[int]]:
    """Given texts, return their positions by length, in messages within the limits."""
    messages: list[list[int]] = []
    filled = 0
    for position in sorted(range(len(texts)), key=lambda each: len(texts[each])):
        size = len(texts[position]) * _BYTES_PER_CHARACTER
        if not messages or len(messages[-1]) == MAX_TEXTS or filled + size > MAX_HEADER - 1024:
            messages.append([])
            filled = 0
        messages[-1].append(position)
        filled += size
    return messages
