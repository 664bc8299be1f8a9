"""Goal 1: killed before and after each durable step, nothing is lost and nothing is left over.

For every named failpoint a process of its own takes that step and dies there by
SIGKILL; then the work goes on without the failpoint, as it does after a restart.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import text

from janus_core import integrity
from janus_core.actors import run_job
from janus_core.app import Janus
from janus_core.documents import document_id
from janus_core.errors import Locked
from janus_core.failpoints import POINTS
from janus_core.ingestion.intake import source_uri
from janus_core.ingestion.pipeline import ingest_version
from janus_core.ingestion.remove import remove_document, request_removal
from janus_core.locations import packaged
from janus_core.node.embedded import EmbeddedNode
from janus_core.processes import service_user
from janus_core.queue import jobs, outbox
from janus_core.stores import catalogue, journal

_STEP = Path(__file__).with_name("step.py")
_ROUNDS = 10


@dataclass
class Stage:
    """Real stores without a daemon: the test itself says who does what, and who dies."""

    step: ModuleType
    janus: Janus
    environ: dict[str, str]
    files: Path

    def document(self, name: str) -> uuid.UUID:
        return document_id("faults", source_uri(self.files / name))

    def write(self, name: str, marker: str) -> Path:
        """A file of 120 pages and about 120 chunks: more than one batch of each."""
        path = self.files / name
        pages = (f"# Page {n}\n\nThe {marker} of page {n} is {n * 7}." for n in range(1, 121))
        path.write_text("\f".join(pages))
        return path

    def dies(self, point: str, *arguments: object) -> None:
        """Run a step with a failpoint; it must be killed there."""
        ran = subprocess.run(
            [sys.executable, _STEP, *map(str, arguments)],
            env={**self.environ, "JANUS_FAILPOINT": point},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == -signal.SIGKILL, f"{point} was not reached:\n{ran.stderr}"

    def take(self, path: Path) -> None:
        self.step.take(self.janus, path)

    def go_on(self) -> None:
        """Do what daemon and workers do after a crash, until nothing is left to be done."""
        jobs.release(self.janus.database, owner=self.step.OWNER)
        for _ in range(_ROUNDS):
            outbox.relay(self.janus.database, self.janus.broker)
            self.step.work(self.janus, "a worker that lives")
            with self.janus.database.transaction() as tx:
                if not tx.scalar(text(f"SELECT count(*) FROM job WHERE state IN {_OPEN}")):
                    return
        pytest.fail(f"unfinished: {self.rows('SELECT kind, state, reason FROM job')}")

    def rows(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        with self.janus.database.transaction() as tx:
            return [tuple(row) for row in tx.execute(text(statement), values)]

    def waiting(self) -> int:
        """How many connections wait for a lock."""
        found = self.rows("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return int(str(found[0][0]))

    def stores(self) -> integrity.Stores:
        janus = self.janus
        return integrity.Stores(janus.database, janus.objects, janus.vectors, janus.embedder.name)

    def text_of(self, name: str) -> str:
        """What people see of a document: the text of its visible chunks."""
        ids = [
            row[0]
            for row in self.rows(
                "SELECT id FROM chunk WHERE document_id = :d", d=self.document(name)
            )
        ]
        with self.janus.database.transaction() as tx:
            found = catalogue.passages(tx, ids)
        return "\n".join(passage.text for passage in found.values())

    def assert_sound(self) -> None:
        """Invariant I, and a journal whose chain holds."""
        assert integrity.check(self.stores(), verify_objects=True) == []
        journal.sequence(self.janus.database)
        assert [(journal.verify(self.janus.database),)] == self.rows("SELECT count(*) FROM journal")

    def assert_shown(self, name: str, marker: str) -> None:
        shown = self.text_of(name)
        assert f"The {marker} of page 1 is 7." in shown
        assert f"The {marker} of page 120 is 840." in shown

    def assert_gone(self, name: str) -> None:
        document = self.document(name)
        assert self.rows("SELECT 1 FROM document WHERE id = :d", d=document) == []
        assert self.rows("SELECT 1 FROM job WHERE document_id = :d", d=document) == []
        assert self.rows('SELECT 1 FROM vectors."words-1" WHERE document_id = :d', d=document) == []


_OPEN = "('queued', 'running', 'suspect')"


@pytest.fixture(scope="module")
def stage(step: ModuleType) -> Iterator[Stage]:
    home = Path(tempfile.mkdtemp(prefix="janus-faults-"))
    home.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JANUS_")}
    environ = {**kept, "JANUS_HOME": str(home), "JANUS_CHAT__URL": "http://127.0.0.1:1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_HOME", str(home))
        patch.setenv("JANUS_CHAT__URL", "http://127.0.0.1:1")
        janus = step.open_core()
    node = EmbeddedNode(janus, user=service_user(create=True))
    try:
        node.prepare()
        for service in node.services():
            if service.name != "worker":
                service.start()
        janus.database.migrate(packaged("migrations"))
        janus.vectors.ensure_index(janus.embedder.name, janus.embedder.dim)
        files = home / "files"
        files.mkdir()
        yield Stage(step, janus, environ, files)
    finally:
        node.down()
        shutil.rmtree(home)


def _points(*steps: str) -> list[str]:
    return [f"{each}.{side}" for each in steps for side in ("before", "after")]


INTAKE = _points("intake.put", "intake.commit")
RELAY = _points("relay.publish")
WORK = _points("job.claim", "ingest.pages", "ingest.extracted", "ingest.vectors", "ingest.publish")
SECOND_BATCH = [f"{each}@2" for each in _points("ingest.pages", "ingest.vectors")]
CLEAN = _points("clean.vectors", "clean.commit")
HIDE = _points("remove.hide")
REMOVE = _points("remove.vectors", "remove.object", "remove.commit")


def test_every_failpoint_has_its_test() -> None:
    assert {*INTAKE, *RELAY, *WORK, *CLEAN, *HIDE, *REMOVE} == POINTS


@pytest.mark.parametrize("point", INTAKE)
def test_a_command_dies_while_it_takes_a_file_in(stage: Stage, point: str) -> None:
    path = stage.write(f"{point}.md", f"brass {point}")
    stage.dies(point, "take", path)
    if point == "intake.commit.after":
        # Acknowledged from here on: nobody needs to run the command again.
        stage.go_on()
        stage.assert_shown(path.name, f"brass {point}")
    else:
        # An original without a document is never deleted unasked: a person's file may be
        # nowhere else. `janus doctor` names it, and `--repair` deletes it.
        found = integrity.check(stage.stores())
        left = [] if point == "intake.put.before" else ["orphan_objects"]
        assert [finding.kind for finding in found] == left
        integrity.repair(stage.stores(), found, uuid.uuid4())
        stage.assert_sound()
        stage.assert_gone(path.name)
    stage.take(path)
    stage.go_on()
    stage.assert_shown(path.name, f"brass {point}")
    stage.assert_sound()


@pytest.mark.parametrize("point", RELAY)
def test_the_relay_dies(stage: Stage, point: str) -> None:
    path = stage.write(f"{point}.md", "copper")
    stage.take(path)
    depth = stage.janus.broker.depth()
    stage.dies(point, "relay")
    unpublished = stage.rows("SELECT job_id FROM outbox WHERE published_at IS NULL")
    assert unpublished, "marked as published, though the mark was not committed"
    assert outbox.relay(stage.janus.database, stage.janus.broker) == len(unpublished)
    assert stage.janus.broker.depth() == depth + 1 + point.endswith("after")
    stage.go_on()
    stage.assert_shown(path.name, "copper")
    stage.assert_sound()


@pytest.mark.parametrize("point", WORK + SECOND_BATCH)
def test_a_worker_dies_while_it_makes_a_document_ready(stage: Stage, point: str) -> None:
    path = stage.write(f"{point}.md", f"silver {point}")
    stage.take(path)
    stage.dies(point, "work")
    if point != "ingest.publish.after":
        assert stage.text_of(path.name) == "", "shown before it was ready"
    stage.go_on()
    stage.assert_shown(path.name, f"silver {point}")
    stage.assert_sound()


@pytest.mark.parametrize("point", ["ingest.vectors.after", "ingest.publish.before"])
def test_the_older_version_is_shown_while_the_newer_one_fails(stage: Stage, point: str) -> None:
    path = stage.write(f"older-{point}.md", "zinc")
    stage.take(path)
    stage.go_on()
    stage.write(path.name, "nickel")
    stage.take(path)
    stage.dies(point, "work")
    stage.assert_shown(path.name, "zinc")
    stage.go_on()
    stage.assert_shown(path.name, "nickel")
    assert "zinc" not in stage.text_of(path.name)
    stage.assert_sound()


@pytest.mark.parametrize("point", CLEAN)
def test_a_worker_dies_while_it_cleans_a_replaced_version(stage: Stage, point: str) -> None:
    path = stage.write(f"{point}.md", "tin")
    stage.take(path)
    stage.go_on()
    stage.write(path.name, "lead")
    stage.take(path)
    stage.step.work(stage.janus, "a worker that lives")  # publishes, and queues the cleaning
    stage.dies(point, "work")
    stage.assert_shown(path.name, "lead")
    stage.go_on()
    stage.assert_shown(path.name, "lead")
    versions = stage.rows(
        "SELECT state FROM version WHERE document_id = :d", d=stage.document(path.name)
    )
    assert versions == [("ready",)]
    stage.assert_sound()


@pytest.mark.parametrize("point", CLEAN)
def test_content_comes_back_after_its_cleaning_was_cut_off(stage: Stage, point: str) -> None:
    path = stage.write(f"back-{point}.md", "first")
    stage.take(path)
    stage.go_on()
    stage.write(path.name, "second")
    stage.take(path)
    stage.step.work(stage.janus, "a worker that lives")
    stage.dies(point, "work")
    stage.write(path.name, "first")
    stage.take(path)
    stage.go_on()
    stage.assert_shown(path.name, "first")
    assert "second" not in stage.text_of(path.name)
    stage.assert_sound()


@pytest.mark.parametrize("point", HIDE)
def test_a_command_dies_while_it_asks_for_a_removal(stage: Stage, point: str) -> None:
    path = stage.write(f"{point}.md", "iron")
    stage.take(path)
    stage.go_on()
    document = stage.document(path.name)
    stage.dies(point, "remove", document)
    if point.endswith("before"):
        stage.assert_shown(path.name, "iron")
        assert request_removal(stage.janus.database, document, uuid.uuid4())
    assert stage.text_of(path.name) == ""
    stage.go_on()
    stage.assert_gone(path.name)
    stage.assert_sound()


@pytest.mark.parametrize("point", REMOVE)
def test_a_worker_dies_while_it_removes_a_document(stage: Stage, point: str) -> None:
    path = stage.write(f"{point}.md", "gold")
    stage.take(path)
    stage.go_on()
    request_removal(stage.janus.database, stage.document(path.name), uuid.uuid4())
    stage.dies(point, "work")
    assert stage.text_of(path.name) == ""
    stage.go_on()
    stage.assert_gone(path.name)
    stage.assert_sound()


def test_a_worker_that_was_given_up_changes_nothing(stage: Stage) -> None:
    path = stage.write("given-up.md", "old")
    stage.take(path)
    claimed = jobs.claim(stage.janus.database, stage.step.due_jobs(stage.janus)[0], "a sleeper")
    assert claimed
    jobs.release(stage.janus.database, owner="a sleeper")
    stage.go_on()
    with pytest.raises(Locked):
        ingest_version(stage.janus.services, claimed)
    stage.assert_shown(path.name, "old")
    stage.assert_sound()


def test_a_removal_that_was_given_up_spares_what_came_in_since(stage: Stage) -> None:
    path = stage.write("given-up-removal.md", "again")
    stage.take(path)
    stage.go_on()
    request_removal(stage.janus.database, stage.document(path.name), uuid.uuid4())
    claimed = jobs.claim(stage.janus.database, stage.step.due_jobs(stage.janus)[0], "a sleeper")
    assert claimed
    jobs.release(stage.janus.database, owner="a sleeper")
    stage.go_on()
    stage.assert_gone(path.name)
    stage.take(path)
    stage.go_on()
    with pytest.raises(Locked):
        remove_document(stage.janus.services, claimed)
    stage.assert_shown(path.name, "again")
    stage.assert_sound()


@pytest.mark.parametrize("kind", ["clean", "ingest"])
def test_content_comes_back_while_a_job_that_would_take_it_away_waits(
    stage: Stage, kind: str, until: Callable[..., float]
) -> None:
    """The job has read that its version is outdated, or is just about to: it must look again."""
    path = stage.write(f"comes-back-{kind}.md", f"here {kind}")
    stage.take(path)
    if kind == "clean":
        stage.go_on()
    stage.write(path.name, f"there {kind}")
    stage.take(path)
    if kind == "clean":
        stage.step.work(stage.janus, "a worker that lives")
    due = stage.rows(
        "SELECT id FROM job WHERE kind = :k AND document_id = :d AND state = 'queued'"
        " ORDER BY created_at LIMIT 1",
        k=kind,
        d=stage.document(path.name),
    )[0][0]
    stage.write(path.name, f"here {kind}")
    with ThreadPoolExecutor(2) as pool:
        with stage.janus.database.transaction() as tx:
            tx.execute(
                text("SELECT 1 FROM document WHERE id = :d FOR UPDATE"),
                {"d": stage.document(path.name)},
            )
            comes = pool.submit(stage.take, path)
            until(lambda: stage.waiting() == 1, 10, "the file's content waits for the document")
            goes = pool.submit(run_job, stage.janus.services, due, "a worker that waits")
            until(lambda: stage.waiting() == 2, 10, "the job waits for the document")
        comes.result(30)
        goes.result(30)
    stage.go_on()
    stage.assert_shown(path.name, f"here {kind}")
    assert "there" not in stage.text_of(path.name)
    stage.assert_sound()


def test_a_removal_and_a_worker_on_one_document_at_once(stage: Stage) -> None:
    for number in range(5):
        path = stage.write("at-once.md", f"lap {number}")
        stage.take(path)
        with ThreadPoolExecutor(2) as pool:
            works = pool.submit(stage.step.work, stage.janus, "a worker that lives")
            document = stage.document(path.name)
            gone = pool.submit(request_removal, stage.janus.database, document, uuid.uuid4())
            assert gone.result(30) is True
            works.result(30)
        stage.go_on()
        stage.assert_gone(path.name)
    stage.assert_sound()
