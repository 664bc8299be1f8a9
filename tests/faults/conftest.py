"""What fault tests share: the step program, and a look at what may and may not be there."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from janus_core import integrity
from janus_core.app import Janus, open_janus
from janus_core.errors import StoreUnavailable

STEP = Path(__file__).with_name("step.py")


@pytest.fixture(scope="session")
def step() -> ModuleType:
    """The step program as a module: its embedder and its ways of working."""
    spec = importlib.util.spec_from_file_location("step", STEP)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["step"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def until() -> Callable[..., float]:
    """Wait for a condition; return how long it took, fail after a bounded time."""

    def wait(condition: Callable[[], object], within: float, what: str) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < within, f"not within {within:.0f} s: {what}"
            time.sleep(0.05)
        return time.monotonic() - began

    return wait


@pytest.fixture(scope="session")
def shared() -> ModuleType:
    """The functions of tests/conftest.py that make and end installations."""
    path = Path(__file__).parents[1] / "conftest.py"
    spec = importlib.util.spec_from_file_location("shared_by_tests", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared_by_tests"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def own_node(models_dir: Path, shared: ModuleType, until: Callable[..., float]) -> Iterator[Node]:
    """A running node that the tests of one file may mistreat."""
    home = shared.make_home("faults-")
    shared.give_models(home, models_dir)
    try:
        up = home("up", timeout=120)
        assert up.returncode == 0, up.stderr
        with open_janus(environ=home.environ) as core:
            yield Node(home, core, until)
    finally:
        shared.end(home)


@pytest.fixture(scope="session")
def node_type() -> type[Node]:
    return Node


class Node:
    """A node, its stores, and its processes by what they do."""

    def __init__(self, home: Any, core: Janus, until: Callable[..., float]) -> None:
        self.home, self.core, self._until = home, core, until

    def write(self, folder: str, name: str, content: str) -> Path:
        path: Path = self.home.path / "files" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def start(self, *arguments: object, **environ: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            [Path(sys.executable).parent / "janus", *map(str, arguments)],
            env={**self.home.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the node's processes of one role, the oldest first."""
        home = str(self.home.path)
        marks = {
            "postgres": lambda argv, env: argv[0].endswith("/postgres") and f"{home}/" in argv[-1],
            "queue": lambda argv, env: argv[-1].endswith("/queue.conf") and self._runs(argv),
            "cache": lambda argv, env: argv[-1].endswith("/cache.conf") and self._runs(argv),
            "embedder": lambda argv, env: (
                "janus_core.llm.embedding_server" in argv
                and any(each.startswith(f"{home}/") for each in argv)
            ),
            "daemon": lambda argv, env: (
                argv[-2:] == ["janus_core.worker", "daemon"] and env().get("JANUS_HOME") == home
            ),
            "worker": lambda argv, env: (
                "janus_core.worker" in argv
                and "process" in argv
                and env().get("JANUS_HOME") == home
            ),
            "alone": lambda argv, env: (
                "janus_core.worker" in argv and "alone" in argv and env().get("JANUS_HOME") == home
            ),
        }
        if role == "parser":
            found = [child for each in self.processes("worker") for child in _children(each)]
        else:
            found = []
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    argv = process.cmdline()
                    if argv and marks[role](argv, process.environ):
                        found.append(process)
        return sorted(found, key=lambda each: each.pid)

    def _runs(self, argv: list[str]) -> bool:
        return str(self.core.locations.runtime.resolve()) in argv[-1]

    def everything(self) -> list[psutil.Process]:
        roles = ("daemon", "worker", "alone", "parser", "embedder", "postgres", "queue", "cache")
        return [process for role in roles for process in self.processes(role)]

    def rows(self, statement: str, **values: object) -> list[Any]:
        with self.core.database.transaction() as tx:
            return list(tx.execute(text(statement), values))

    def settle(self, within: float = 90) -> float:
        """Wait until no job is open; return how long it took."""

        def nothing_open() -> bool:
            try:
                return not self.rows(
                    "SELECT 1 FROM job WHERE state IN ('queued', 'running', 'suspect')"
                )
            except StoreUnavailable:
                return False

        return self._until(nothing_open, within, "every job is over")

    def assert_sound(self) -> None:
        """Invariant I."""
        core = self.core
        stores = integrity.Stores(core.database, core.objects, core.vectors, core.embedder.name)
        assert integrity.check(stores, verify_objects=True) == []

    def ready(self, collection: str) -> int:
        found = self.rows(
            "SELECT count(*) FROM document d JOIN collection c ON c.id = d.collection_id"
            " JOIN version v ON v.id = d.version_id AND v.state = 'ready'"
            " WHERE c.name = :c AND d.removing_since IS NULL",
            c=collection,
        )
        return int(found[0][0])


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []
