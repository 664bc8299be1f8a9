"""The nursery: a small process that loads the parsers once and forks one child a document.

Run as `python -m janus_core.ingestion.extract.child FD`, where FD is a Unix stream socket
to the parent. A fresh interpreter, because the parent has threads
and must not fork itself; a fork of it costs milliseconds, where loading the parsers
again would cost tenths of a second.

For each request the parent sends one message with three descriptors: the file to
read, the socket for pages and a control socket. The nursery forks, answers `started`
on the control socket, watches the child's memory, and when it ended says how. If the
parent closes the control socket, the child is killed; if the parent is gone, all are.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from typing import BinaryIO

from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract import confine, registry
from janus_core.ingestion.extract.base import Limits
from janus_core.ingestion.extract.frames import Frame, encode

_WATCH_SECONDS = 0.05
_IDLE_SECONDS = 2.0
_MOST_FILES = 4096
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class _Child:
    """A running parser, and the socket on which its parent waits for its end."""

    control: socket.socket
    memory_bytes: int
    swollen: bool = False


def main() -> None:
    """Serve the parent on the socket that argv names, until it goes away."""
    given = int(sys.argv[1])
    parent = socket.socket(fileno=os.dup(given))  # a low number, which select() can take
    os.close(given)
    no_network = confine.without_network()
    registry.preload()
    gc.collect()
    gc.freeze()  # keeps the parsers' pages shared with the children
    parent.sendall(encode({"kind": "ready", "no_network": no_network}))
    _serve(parent)


def _serve(parent: socket.socket) -> None:
    children: dict[int, _Child] = {}
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    born_under = os.getppid()
    while os.getppid() == born_under:
        controls = {child.control.fileno(): pid for pid, child in children.items()}
        readable, _, _ = select.select(
            [parent.fileno(), wake_read, *controls],
            [],
            [],
            _WATCH_SECONDS if children else _IDLE_SECONDS,
        )
        if wake_read in readable:
            os.read(wake_read, 512)
        if parent.fileno() in readable and not _accept(parent, children):
            break
        for control, pid in controls.items():
            if control in readable:  # the parent says nothing there: it closed it
                _kill(pid)
        _watch_memory(children)
        _reap(children)
    for pid in children:
        _kill(pid)


def _accept(parent: socket.socket, children: dict[int, _Child]) -> bool:
    """Take one request and fork for it; return false when the parent is gone."""
    message, descriptors, _, _ = socket.recv_fds(parent, 1 << 16, 3)
    if not message:
        return False
    source, pages, control_fd = descriptors
    control = socket.socket(fileno=control_fd)
    request = json.loads(message)
    limits = Limits(**request["limits"])
    pid = os.fork()
    if pid == 0:
        _parse(source, pages, request["name"], request["start_page"], limits)
    os.close(source)
    os.close(pages)
    children[pid] = _Child(control, limits.memory_bytes)
    _tell(parent, {"kind": "taken"})
    _tell(control, {"kind": "started"})
    return True


def _watch_memory(children: dict[int, _Child]) -> None:
    for pid, child in children.items():
        if _resident(pid) > child.memory_bytes:
            child.swollen = True
            _kill(pid)


def _reap(children: dict[int, _Child]) -> None:
    for pid in list(children):
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if not ended:
            continue
        child = children.pop(pid)
        with child.control:
            _tell(
                child.control,
                {
                    "kind": "ended",
                    "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                    "status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
                    "peak": usage.ru_maxrss * 1024,
                    "swollen": child.swollen,
                },
            )


def _tell(control: socket.socket, frame: Frame) -> None:
    with contextlib.suppress(OSError):  # the parent no longer wants to know
        control.sendall(encode(frame))


def _kill(pid: int) -> None:
    # Not yet waited for, so that the number is still this child's.
    os.kill(pid, signal.SIGKILL)


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process holds; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:  # noqa: PTH123
            return int(statm.read().split()[1]) * _PAGE_SIZE
    except (OSError, IndexError):
        return 0


def _parse(source: int, pages: int, name: str, start_page: int, limits: Limits) -> None:
    """In the forked child: give up all rights, parse, say what was found, and end."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        confine.die_with_parent()
        source, pages = _keep_only(source, pages)
        effects = confine.confine(
            open_files=pages + 1, memory_bytes=limits.memory_bytes, cpu_seconds=limits.cpu_seconds
        )
        with open(source, "rb") as file, open(pages, "wb") as out:  # noqa: PTH123
            _report(file, out, name, start_page, limits, effects)
        status = 0
    except ConnectionError:
        status = 0  # the parent has what it wants
    finally:
        os._exit(status)


def _keep_only(source: int, pages: int) -> tuple[int, int]:
    """Move the two descriptors to 3 and 4, silence the standard ones, close all others."""
    source, pages = (fcntl.fcntl(number, fcntl.F_DUPFD, 5) for number in (source, pages))
    os.dup2(source, 3)
    os.dup2(pages, 4)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(5, _MOST_FILES)
    return 3, 4


def _report(
    file: BinaryIO,
    out: BinaryIO,
    name: str,
    start_page: int,
    limits: Limits,
    effects: dict[str, bool],
) -> None:
    def send(frame: Frame) -> None:
        out.write(encode(frame))
        out.flush()

    try:
        form, parsed = registry.open_document(file, name, start_page)
        send(
            {
                "kind": "opened",
                "media_type": form.media_type,
                "title": parsed.title,
                "total": parsed.total,
                "confined": effects,
            }
        )
        for page in parsed.pages:
            if len(page.text.encode()) > limits.page_bytes:
                raise UnreadableDocument(
                    f"page {page.number} holds more than {limits.page_bytes >> 20} MB of text",
                    "Split the file into smaller ones.",
                )
            send({"kind": "page", **asdict(page)})
        for note in parsed.notes:
            send({"kind": "note", "text": note})
        send({"kind": "done"})
    except UnreadableDocument as error:
        send({"kind": "unreadable", "message": error.message, "hint": error.hint})
    except MemoryError:
        send({"kind": "memory"})
    except ConnectionError:
        raise
    except OSError as error:
        send({"kind": "io", "message": str(error)})
    except Exception as error:  # noqa: BLE001  whatever a parser raises is the document's fault
        send({"kind": "unreadable", "message": f"the parser failed: {error!r}"[:500], "hint": ""})


if __name__ == "__main__":
    main()
