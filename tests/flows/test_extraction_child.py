"""The parsing child: what it gives, and that nothing a file does reaches its parent."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from janus_core.documents import Page
from janus_core.errors import NotFound, TransientFailure, UnreadableDocument
from janus_core.ingestion.extract import Extractor, Limits

_spec = importlib.util.spec_from_file_location(
    "hostile_corpus", Path(__file__).parents[1] / "hostile" / "corpus.py"
)
assert _spec and _spec.loader
corpus = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(corpus)


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor() as one:
        yield one


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def put(data: bytes) -> Path:
        path = tmp_path / "object"
        path.write_bytes(data)
        return path

    return put


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def until(true: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


def nursery() -> int:
    """Return the number of the process, the latest of them, that forks the parsers."""
    found = [
        pid
        for pid in children_of(os.getpid())
        if b"extract.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found[-1]


def test_pages_come_with_what_is_known_of_the_document(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    seen: list[tuple[int, int]] = []
    path = put(corpus.pdf(["one", "two", "three"], title="Birds"))
    with extractor.extract(path, "b.pdf", lambda page, of: seen.append((page, of))) as document:
        assert document.media_type == "application/pdf"
        assert (document.title, document.total_pages) == ("Birds", 3)
        assert document.parser.startswith("pdf-")
        assert not document.marks_headings
        assert list(document) == [Page(1, "one", "1"), Page(2, "two", "2"), Page(3, "three", "3")]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with extractor.extract(path, "b.pdf", start_page=3) as document:
        assert [page.number for page in document] == [3]


def test_a_large_document_is_never_whole_in_memory(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    path = put((("word " * 4000).strip() + "\n\n").encode() * 3000)  # 60 MB
    with extractor.extract(path, "large.txt") as document:
        first = next(document)
        (child,) = children_of(nursery())
        status = Path(f"/proc/{child}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert first.number == 1 < document.total_pages
        assert peak and int(peak[1]) < 100_000
    until(lambda: not children_of(nursery()))


def test_all_confinements_that_this_machine_knows_hold(extractor: Extractor) -> None:
    held = extractor.capabilities()
    everywhere = {"no_core_dump", "no_file_growth", "bounded_cpu", "bounded_memory", "no_new_file"}
    assert all(held[name] for name in everywhere)
    assert {"no_network", "landlock", "no_new_process"} <= held.keys()


def test_the_confined_child_can_open_and_connect_to_nothing() -> None:
    attempts = """
import os, socket, sys
from janus_core.ingestion.extract import child, confine
source, pages = child._keep_only(os.open("/dev/null", os.O_RDONLY), os.dup(1))
confine.confine(open_files=5, memory_bytes=1 << 28, cpu_seconds=5)
def refused(attempt):
    try: attempt()
    except OSError: return True
    except MemoryError: return True
    return False
tried = [
    lambda: open("/etc/passwd"), lambda: socket.socket(), lambda: os.pipe(),
    lambda: os.dup(0), lambda: bytearray(1 << 30), lambda: os.listdir("/"),
]
good = [refused(attempt) for attempt in tried]
os.close(0)  # even with a descriptor to spare, Landlock holds where there is one
good.append("landlock" if refused(lambda: open("/etc/passwd")) else "open")
os.write(4, repr(good).encode())
"""
    run = subprocess.run([sys.executable, "-c", attempts], capture_output=True, text=True)
    with Extractor() as extractor:
        landlock = extractor.capabilities()["landlock"]
    expected = [True] * 6 + ["landlock" if landlock else "open"]
    assert run.stdout == repr(expected), run.stderr


def test_a_page_that_takes_too_long_is_given_up(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    path = put(corpus.form_bomb())
    with pytest.raises(UnreadableDocument, match=r"bomb\.pdf .*more than 0\.3 s on page 1"):
        extractor.extract(path, "bomb.pdf", limits=Limits(batch_seconds=0.3))
    until(lambda: not children_of(nursery()))


@pytest.mark.parametrize("bomb", ["form_bomb", "flate_bomb", "tag_bomb"])
def test_a_bomb_is_stopped_at_the_memory_limit(
    extractor: Extractor, put: Callable[[bytes], Path], bomb: str
) -> None:
    small = {"form_bomb": {}, "flate_bomb": {"megabytes": 120}, "tag_bomb": {"tags": 3_000_000}}
    path = put(getattr(corpus, bomb)(**small[bomb]))
    with (
        pytest.raises(UnreadableDocument, match="more than 100 MB on page 1"),
        extractor.extract(path, "bomb", limits=Limits(memory_bytes=100 << 20)) as document,
    ):
        list(document)


def test_too_much_computing_is_stopped(extractor: Extractor, put: Callable[[bytes], Path]) -> None:
    path = put(corpus.form_bomb())
    limits = Limits(cpu_seconds=1, memory_bytes=8 << 30)
    with (
        pytest.raises(UnreadableDocument, match="more than 1 s of computing"),
        extractor.extract(path, "bomb.pdf", limits=limits) as document,
    ):
        list(document)


def test_a_crash_of_the_parser_is_told_with_its_page(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    path = put(corpus.pdf(["x" * 3000] * 2000))
    with extractor.extract(path, "crash.pdf") as document:
        next(document)
        (child,) = children_of(nursery())
        os.kill(child, signal.SIGSEGV)
        with pytest.raises(UnreadableDocument, match=r"crashed on page \d+ \(SIGSEGV\)"):
            list(document)
    with extractor.extract(put(b"alive"), "x.txt") as document:
        assert [page.text for page in document] == ["alive"]


def test_a_kill_from_outside_is_no_fault_of_the_document(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    path = put(corpus.pdf(["x" * 3000] * 2000))
    with extractor.extract(path, "killed.pdf") as document:
        next(document)
        (child,) = children_of(nursery())
        os.kill(child, signal.SIGKILL)
        with pytest.raises(TransientFailure, match=r"killed\.pdf was killed on page"):
            list(document)


def test_a_hanging_nursery_is_replaced(
    put: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("janus_core.ingestion.extract.extractor._START_SECONDS", 3.0)
    with Extractor() as extractor:
        extractor.capabilities()
        os.kill(nursery(), signal.SIGSTOP)
        with extractor.extract(put(b"alive"), "x.txt") as document:
            assert [page.text for page in document] == ["alive"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(pages=2), "more than 2 pages"),
        (Limits(page_bytes=1000), "page 1 holds more than"),
        (Limits(text_bytes=1500), "more than 0 MB of text"),
    ],
)
def test_output_is_limited(
    extractor: Extractor, put: Callable[[bytes], Path], limits: Limits, reason: str
) -> None:
    path = put(corpus.pdf(["word " * 240] * 3))
    with (
        pytest.raises(UnreadableDocument, match=reason),
        extractor.extract(path, "large.pdf", limits=limits) as document,
    ):
        list(document)


def test_a_killed_nursery_is_a_passing_failure_and_comes_back(put: Callable[[bytes], Path]) -> None:
    with Extractor() as extractor:
        path = put(corpus.pdf(["x" * 3000] * 2000))
        with extractor.extract(path, "long.pdf") as document:
            next(document)
            pid = nursery()
            (child,) = children_of(pid)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(TransientFailure, match=r"long\.pdf"):
                list(document)
        until(lambda: not Path(f"/proc/{child}").exists())
        with extractor.extract(path, "long.pdf") as document:
            assert sum(1 for _ in document) == 2000


def test_a_document_left_halfway_leaves_no_process(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    path = put(corpus.pdf(["x" * 3000] * 2000))
    with extractor.extract(path, "left.pdf") as document:
        next(document)
    forgotten = extractor.extract(path, "forgotten.pdf")
    next(forgotten)
    del forgotten
    gc.collect()
    until(lambda: not children_of(nursery()))


def test_when_the_parent_is_killed_all_its_children_go(put: Callable[[bytes], Path]) -> None:
    path = put(corpus.pdf(["x" * 3000] * 2000))
    script = f"""
import time
from pathlib import Path
from janus_core.ingestion.extract import Extractor
extractor = Extractor()
document = extractor.extract(Path({str(path)!r}), "x.pdf")
next(document)
print("reading", flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout and parent.stdout.readline()
        (pid,) = children_of(parent.pid)
        (child,) = children_of(pid)
        parent.kill()
    until(lambda: not Path(f"/proc/{pid}").exists() and not Path(f"/proc/{child}").exists())


def test_threads_share_one_extractor(extractor: Extractor, tmp_path: Path) -> None:
    found: dict[int, list[str]] = {}

    def read(number: int) -> None:
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(corpus.pdf([f"document {number} page {page}" for page in range(30)]))
        with extractor.extract(path) as document:
            found[number] = [page.text for page in document]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [f"document {n} page {page}" for page in range(30)] for n in range(8)}


def test_what_is_no_regular_file_is_refused_at_once(extractor: Extractor, tmp_path: Path) -> None:
    fifo, loop, folder, listener = (tmp_path / name for name in ("fifo", "loop", "dir", "socket"))
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listener))
        for path in (fifo, loop, folder, listener, Path("/dev/zero")):
            with pytest.raises(UnreadableDocument):
                extractor.extract(path)
    with pytest.raises(NotFound):
        extractor.extract(tmp_path / "gone")


def test_names_cannot_disturb_a_terminal(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    with pytest.raises(UnreadableDocument) as refused:
        extractor.extract(put(b""), "a\nb\x1b[31m\u202ec\udcff.txt")
    assert refused.value.message.startswith("a bc\ufffd.txt cannot be read: the file is empty")


def test_a_file_that_shrinks_while_it_is_read_harms_no_one(
    extractor: Extractor, put: Callable[[bytes], Path]
) -> None:
    path = put(corpus.pdf(["x" * 3000] * 2000))
    with extractor.extract(path, "shrinking.pdf") as document:
        next(document)
        os.truncate(path, 1000)
        with contextlib.suppress(UnreadableDocument, TransientFailure):
            list(document)
    with extractor.extract(put(b"alive"), "x.txt") as document:
        assert [page.text for page in document] == ["alive"]


def test_every_hostile_file_gives_its_text_or_a_clear_reason(
    extractor: Extractor, tmp_path: Path
) -> None:
    extractor.capabilities()
    before = nursery()
    files = list(corpus.corpus())
    assert len(files) >= 285
    wrong: list[str] = []
    for name, data, expected in files:
        path = tmp_path / "object"
        path.write_bytes(data)
        started = time.monotonic()
        try:
            with extractor.extract(path, name) as document:
                text = document.title + "\n".join(page.text for page in document)
            outcome = corpus.READ
        except UnreadableDocument as error:
            text, outcome = error.message + error.hint, error.message
        took = time.monotonic() - started
        if took > 60 or re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text):
            wrong.append(f"{name!r}: unsafe or slow ({took:.0f} s)")
        if expected == corpus.READ and (outcome != corpus.READ or corpus.MARK not in text):
            wrong.append(f"{name!r}: not read: {outcome}")
        if expected not in (None, corpus.READ) and expected not in outcome:
            wrong.append(f"{name!r}: {outcome} is not about {expected}")
        if "parser failed" in outcome:
            wrong.append(f"{name!r}: no clear reason: {outcome}")
    assert not wrong, "\n".join(wrong)
    assert nursery() == before, "the nursery died on the way"
