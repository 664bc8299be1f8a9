"""Goals 2, 3 and 6: kill -9 at random moments, of anything, while documents come in.

JANUS_TEST_SEED replays a run; the seed is printed. `-m drill` runs 1,000 kills.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from janus_core.documents import document_id
from janus_core.ingestion.intake import source_uri

_ROLES = ("worker", "daemon", "parser", "embedder", "postgres", "queue", "cache")


def _documents(node: Any, collection: str, number: int) -> Path:
    for n in range(number):
        words = f"# Locker {n}\n\nLocker {n} of {collection} holds {n * 7 % 100} ropes."
        node.write(collection, f"{n}.{'md' if n % 3 else 'html'}", words)
    folder: Path = node.home.path / "files" / collection
    return folder


def _kill_at_random(
    node: Any, dice: random.Random, kills: int, working: Callable[[], bool]
) -> dict[str, int]:
    """Kill processes of random roles; bring the daemon up again as its unit would."""
    done = dict.fromkeys(_ROLES, 0)
    deadline = time.monotonic() + 5 * kills + 60
    while sum(done.values()) < kills and time.monotonic() < deadline:
        working()
        time.sleep(dice.uniform(0.0, 0.8))
        role = dice.choice(_ROLES)
        alive = node.processes(role)
        if not alive:
            continue
        try:
            dice.choice(alive).send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
        done[role] += 1
        if role == "daemon":
            up = node.home("up", timeout=120)
            assert up.returncode == 0, up.stderr
    return done


def _random_kills(node: Any, until: Callable[..., float], kills: int, documents: int) -> None:
    seed = int(os.environ.get("JANUS_TEST_SEED", "") or random.SystemRandom().randrange(10**9))
    print(f"JANUS_TEST_SEED={seed}")
    dice = random.Random(seed)
    collection = f"kills-{kills}"
    folder = _documents(node, collection, documents)
    arguments = ("ingest", folder, "-c", collection, "--json")
    # Everything there is to kill runs after a first document.
    assert node.home("ingest", node.write("first", "first.md", "First.")).returncode == 0
    commands: list[subprocess.Popen[str]] = []

    def work_goes_on() -> bool:
        """Keep one command at work, and the documents changing once all are in."""
        if not commands or commands[-1].poll() is not None:
            if commands:
                out, err = commands[-1].communicate()
                # Cut off from its stores a command may give up; what it took in goes on.
                assert commands[-1].returncode in (0, 69), f"{commands[-1].returncode} {out}{err}"
                if commands[-1].returncode == 0:
                    _change(folder, dice)
            commands.append(node.start(*arguments))
        return True

    try:
        done = _kill_at_random(node, dice, kills, work_goes_on)
    finally:
        for command in commands:
            command.kill()
            command.communicate()
    print("killed:", done)
    assert sum(done.values()) == kills
    began = time.monotonic()
    up = node.home("up", timeout=120)
    assert up.returncode == 0, up.stderr
    last = node.home(*arguments, timeout=150)
    assert last.returncode == 0, last.stdout[-2000:] + last.stderr
    node.settle()
    print(f"well again after {time.monotonic() - began:.1f} s")
    assert node.ready(collection) == documents
    for path in folder.iterdir():
        shown = node.rows(
            "SELECT k.text FROM document d JOIN chunk k ON k.version_id = d.version_id"
            " WHERE d.id = :d",
            d=document_id(collection, source_uri(path)),
        )
        assert path.read_text().split("\n")[-1] in shown[0].text
    left = node.rows("SELECT state, reason FROM job WHERE state IN ('failed', 'quarantined')")
    assert left == []
    node.assert_sound()
    assert node.home("status").returncode == 0
    assert node.home("journal", "verify").returncode == 0
    # Nobody outlives its daemon.
    until(lambda: len(node.processes("worker")) == 1, 30, "one worker is left")
    assert len(node.processes("daemon")) == 1


def _change(folder: Path, dice: random.Random) -> None:
    for path in dice.sample(sorted(folder.iterdir()), 10):
        path.write_text(f"# Changed\n\nNow it holds {dice.randrange(10**6)} shackles.")


@pytest.mark.timeout(400)
def test_thirty_random_kills_lose_nothing(own_node: Any, until: Callable[..., float]) -> None:
    _random_kills(own_node, until, kills=30, documents=60)


@pytest.mark.drill
@pytest.mark.timeout(7200)
def test_a_thousand_random_kills_lose_nothing(own_node: Any, until: Callable[..., float]) -> None:
    _random_kills(own_node, until, kills=1000, documents=300)


@pytest.mark.parametrize("role", ["postgres", "queue", "cache", "embedder", "worker"])
def test_the_daemon_brings_a_service_back(
    own_node: Any, role: str, until: Callable[..., float]
) -> None:
    first = own_node.write(f"back-{role}", "before.md", f"Before the end of {role}.")
    assert own_node.home("ingest", first).returncode == 0
    (killed, *_) = own_node.processes(role)
    killed.send_signal(signal.SIGKILL)
    if role != "embedder":  # that one is started by whoever needs it
        until(
            lambda: any(each.pid != killed.pid for each in own_node.processes(role)),
            60,
            f"{role} runs again",
        )
    second = own_node.write(f"back-{role}", "after.md", f"After the end of {role}.")
    until(lambda: own_node.home("ingest", second).returncode == 0, 60, "documents come in again")
    own_node.settle()
    own_node.assert_sound()


def test_a_killed_command_has_promised_what_it_took_in(own_node: Any) -> None:
    path = own_node.write("promise", "kept.md", "A promise is a promise.")
    ran = own_node.home("ingest", path, "-c", "promise", JANUS_FAILPOINT="intake.commit.after")
    assert ran.returncode == -signal.SIGKILL
    own_node.settle()
    assert own_node.ready("promise") == 1


def test_workers_that_die_again_and_again_get_on_with_it(own_node: Any) -> None:
    """Each life of the worker publishes two documents and dies at the third."""
    folder = _documents(own_node, "short-lives", 6)
    assert own_node.home("down").returncode == 0
    up = own_node.home("up", JANUS_FAILPOINT="ingest.publish.before@3", timeout=120)
    assert up.returncode == 0, up.stderr
    first = own_node.processes("worker")
    ran = own_node.home("ingest", folder, "-c", "short-lives", "--json", timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr
    assert own_node.ready("short-lives") == 6
    assert own_node.processes("worker") != first, "no worker died"
    assert own_node.home("down").returncode == 0
    assert own_node.home("up", timeout=120).returncode == 0
    own_node.settle()
    own_node.assert_sound()


def test_down_during_work_leaves_no_process_and_loses_nothing(own_node: Any) -> None:
    folder = _documents(own_node, "stopped", 12)
    ran = own_node.home("ingest", folder, "-c", "stopped", "--no-wait")
    assert ran.returncode == 0, ran.stderr
    down = own_node.home("down", timeout=60)
    assert down.returncode == 0, down.stderr
    assert [process.cmdline() for process in own_node.everything()] == []
    assert own_node.home("up", timeout=120).returncode == 0
    own_node.settle()
    assert own_node.ready("stopped") == 12
    own_node.assert_sound()


def test_a_worker_whose_daemon_died_while_it_was_loading_ends(own_node: Any) -> None:
    somebody_else = "1"
    command = ["-m", "janus_core.worker", "process", "orphan:1", somebody_else]
    ran = subprocess.run(
        [sys.executable, *command], env=dict(own_node.home.environ), timeout=60, check=False
    )
    assert ran.returncode == 0


@pytest.mark.parametrize("role", ["worker", "daemon"])
def test_asked_to_stop_many_times_at_once_it_stops(
    own_node: Any, role: str, until: Callable[..., float]
) -> None:
    """The signal may come at any moment, even while an earlier one is being handled."""
    (process,) = own_node.processes(role)
    with contextlib.suppress(psutil.NoSuchProcess):
        for _ in range(200):
            process.send_signal(signal.SIGTERM)
    until(lambda: not process.is_running(), 45, f"the {role} ends")
    assert own_node.home("up", timeout=120).returncode == 0


@pytest.mark.timeout(300)
def test_a_document_that_kills_its_worker_is_set_aside_and_the_others_finish(
    own_node: Any, until: Callable[..., float]
) -> None:
    """Whatever process runs the job is killed, before it has kept anything of value."""
    others = _documents(own_node, "poison", 8)
    words = "\n\n".join(f"# Part {n}\n\n" + f"The poison of part {n}. " * 60 for n in range(70))
    poison = own_node.write("poison-alone", "poison.md", words)
    document = document_id("poison", source_uri(poison))
    with own_node.start("ingest", poison, others, "-c", "poison", "--json") as command:
        try:
            kills = _kill_whoever_runs(own_node, document, until)
            out, err = command.communicate(timeout=120)
        finally:
            command.kill()
    assert command.returncode == 3, out + err
    result = json.loads(out.splitlines()[-1])
    assert [Path(each["path"]).name for each in result["failed"]] == ["poison.md"]
    assert "SIGKILL" in result["failed"][0]["reason"]
    assert result["added"] == 8 and own_node.ready("poison") == 8
    assert kills >= 6, "five attempts, and one alone"
    row = own_node.rows("SELECT id, state FROM job WHERE document_id = :d", d=document)[0]
    assert row.state == "quarantined"
    own_node.assert_sound()

    again = own_node.home.json("ingest", poison, "-c", "poison", code=3)
    assert "SIGKILL" in again["failed"][0]["reason"], "it is not tried again unasked"
    assert own_node.home("queue", "retry", row.id).returncode == 0
    own_node.settle()
    assert own_node.ready("poison") == 9
    own_node.assert_sound()


def _kill_whoever_runs(node: Any, document: object, until: Callable[..., float]) -> int:
    killed: set[int] = set()

    def over() -> bool:
        found = node.rows(
            "SELECT state, owner FROM job WHERE document_id = :d AND kind = 'ingest'", d=document
        )
        if not found or found[0].state != "running":
            return bool(found) and found[0].state in ("quarantined", "failed", "done")
        owner = found[0].owner.split("/")[0]
        for process in node.processes("worker") + node.processes("alone"):
            try:
                if owner in process.cmdline() and process.pid not in killed:
                    process.send_signal(signal.SIGKILL)
                    killed.add(process.pid)
            except psutil.Error:
                continue
        return False

    until(over, 200, "the document is set aside")
    return len(killed)
