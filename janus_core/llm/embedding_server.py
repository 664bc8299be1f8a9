"""One embedding model in one process, shared by all of Janus on this machine.

    python -m janus_core.llm.embedding_server --socket PATH --model FOLDER

Clients (`shared_embedder`) start it when nobody listens. It loads the model at
the first request and ends when nobody asked for a while, because idle memory
is what small machines lack. Passages that wait at the same moment are sorted
by length and embedded together; a question goes first, after one batch at most.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from janus_core.errors import JanusError, Locked
from janus_core.llm.child import become
from janus_core.llm.embedding import FastembedEmbedder
from janus_core.llm.embedding_scheduler import Request, Scheduler
from janus_core.llm.wire import MAX_TEXTS, BadFrameError, has_ended, receive_frame, send_frame
from janus_core.offgrid import seal
from janus_core.processes import FileLock

log = logging.getLogger("janus.embedding_server")

MAX_CONNECTIONS = 128
BEAT = 1.0
"""Seconds between two signs of life to a client that waits."""
STUCK_AFTER = 180.0
"""A batch, or the loading, that takes longer than this hangs: the process ends itself."""


class EmbeddingServer:
    """Listens on a unix socket and answers until it was idle for long enough."""

    def __init__(self, path: Path, embedder: Any, idle_seconds: float) -> None:
        """Given the socket's path, listen there. The caller holds the lock of that path."""
        self._path = path
        self._embedder = embedder
        self._idle_seconds = idle_seconds
        self._scheduler = Scheduler(embedder)
        self._connections = 0
        self._waiting = 0
        self._last_use = time.monotonic()
        self._lock = threading.Lock()
        self._stop = False
        self._listener = _listen(path)
        self._inode = path.stat().st_ino

    def serve(self) -> None:
        """Accept clients until idle or told to stop; then remove the socket and return."""
        threading.Thread(target=self._scheduler.run, name="embed", daemon=True).start()
        self._listener.settimeout(1.0)
        try:
            while not self._finished():
                try:
                    peer, _ = self._listener.accept()
                except TimeoutError:
                    continue
                with self._lock:
                    self._connections += 1
                threading.Thread(target=self._attend, args=(peer,), daemon=True).start()
        finally:
            # Whoever connects from now on finds nobody and starts the next server; whoever
            # waits in the backlog is cut off and asks again.
            if self._owns_path():
                self._path.unlink(missing_ok=True)
            self._listener.close()

    def _finished(self) -> bool:
        busy_since = self._scheduler.busy_since
        if busy_since and time.monotonic() - busy_since > STUCK_AFTER:
            log.error("the model has not answered for %.0f s: ending", STUCK_AFTER)
            os._exit(70)
        with self._lock:
            idle = self._waiting == 0 and time.monotonic() - self._last_use > self._idle_seconds
        return self._stop or idle or not self._owns_path()

    def _owns_path(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _attend(self, peer: socket.socket) -> None:
        try:
            with peer:
                if _may_ask(peer) and self._connections <= MAX_CONNECTIONS:
                    while True:
                        header, _ = receive_frame(peer)
                        self._answer(peer, header)
        except (OSError, BadFrameError) as error:
            log.debug("a client left: %s", error)
        finally:
            with self._lock:
                self._connections -= 1

    def _answer(self, peer: socket.socket, header: dict[str, Any]) -> None:
        match header.get("op"):
            case "embed":
                with self._in_use():
                    self._embed(peer, header)
            case "info":
                send_frame(peer, {"ok": True, **self._info()})
            case "stop":
                self._stop = True
                send_frame(peer, {"ok": True})
            case other:
                raise BadFrameError(f"no such operation: {other!r}")

    def _embed(self, peer: socket.socket, header: dict[str, Any]) -> None:
        texts, kind = header.get("texts"), header.get("kind")
        is_list = isinstance(texts, list) and all(isinstance(each, str) for each in texts)
        if not isinstance(texts, list) or not is_list or len(texts) > MAX_TEXTS:
            raise BadFrameError("texts must be a list of at most 128 texts")
        if kind not in ("passage", "query"):
            raise BadFrameError("kind must be passage or query")
        request = Request(
            texts=self._embedder.prepare(texts, kind),
            is_query=kind == "query",
            alone=header.get("alone") is True,
        )
        self._scheduler.submit(request)
        while not request.done.wait(BEAT):
            if has_ended(peer):
                request.dropped = True
                raise ConnectionResetError("the client is gone")
            send_frame(peer, {"wait": True})
        if request.error is not None:
            error = request.error
            send_frame(peer, {"ok": False, "message": error.message, "hint": error.hint})
            return
        reply = {"ok": True, "rows": len(texts), "dim": self._embedder.dim}
        send_frame(peer, reply, b"".join(request.rows))

    def _info(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "name": self._embedder.name,
            "dim": self._embedder.dim,
            "device": self._embedder.device,
            "connections": self._connections,
        }

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                self._last_use = time.monotonic()


def _listen(path: Path) -> socket.socket:
    """Bind beside the path and rename, so that whoever finds the socket can connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    listener.bind(str(beside))
    beside.chmod(0o600)
    listener.listen(MAX_CONNECTIONS)
    beside.rename(path)
    return listener


def _may_ask(peer: socket.socket) -> bool:
    """Only our own user and root may; the folder's mode says so too."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (0, os.geteuid())


def _hold_place(path: Path) -> FileLock | None:
    """Take the place of the one server for this socket; None when another one serves."""
    deadline = time.monotonic() + 10.0
    while True:
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire()
            return lock
        except Locked:
            # It serves, or is about to, or is about to end.
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(path))
                return None
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)


def main(argv: list[str] | None = None) -> int:
    """Run from the shell; return the exit status."""
    seal()
    parser = argparse.ArgumentParser(prog="python -m janus_core.llm.embedding_server")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--idle-seconds", type=float, default=600.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--gpu", default="auto")
    parser.add_argument("--preload", action="store_true")
    parser.add_argument("--run-as", default="")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if given.run_as:
            _import_libraries()
            become(given.run_as)
        lock = _hold_place(given.socket)
        if lock is None:
            return 0
        gpu = int(given.gpu) if given.gpu.isdecimal() else given.gpu
        embedder = FastembedEmbedder(given.model, threads=given.threads, gpu=gpu)
        server = EmbeddingServer(given.socket, embedder, given.idle_seconds)
        if given.preload:
            threading.Thread(target=embedder.load, daemon=True).start()
        server.serve()
    except JanusError as error:
        log.error("%s (%s)", error.message, error.hint)
        return 1
    except OSError as error:
        log.error("cannot serve on %s: %s", given.socket, error)
        return 1
    return 0


def _import_libraries() -> None:
    """Import what the model needs while this process may still read it."""
    import fastembed
    import onnxruntime  # type: ignore[import-untyped]
    import psutil
    import tokenizers

    log.debug("imported %s", (fastembed, onnxruntime, psutil, tokenizers))


if __name__ == "__main__":
    # os._exit: ONNX Runtime's threads need no farewell, and clients wait for the lock.
    status = main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)
