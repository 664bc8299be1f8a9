"""What tests share: the models of this machine, and one running node.

A test that needs what is not here is skipped at home and fails where
`JANUS_TEST_REQUIRE` names it (models, …).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

JANUS = Path(sys.executable).parent / "janus"


def unavailable(what: str, why: str) -> NoReturn:
    """Skip the test, or fail it where `what` must be there."""
    if what in os.environ.get("JANUS_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required, but {why}")
    pytest.skip(f"{why} (JANUS_TEST_REQUIRE={what} makes this a failure)")


@dataclass(frozen=True)
class Home:
    """An installation of its own, and the `janus` command that works in it."""

    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self,
        *arguments: object,
        input: str | None = None,  # noqa: A002 (as subprocess calls it)
        timeout: float = 90.0,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; return its exit code and what it wrote."""
        return subprocess.run(
            [JANUS, *map(str, arguments)],
            env={**self.environ, **environ},
            cwd=self.path,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: object, code: int = 0, **environ: str) -> Any:
        """Run a command with --json, check its exit code, return the last line it printed."""
        import json

        ran = self(*arguments, "--json", **environ)
        assert ran.returncode == code, f"{arguments}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return json.loads(ran.stdout.splitlines()[-1])


def make_home(name: str = "") -> Home:
    """Make an empty home that the services' user can reach too."""
    path = Path(tempfile.mkdtemp(prefix=f"janus-test-{name}"))
    path.chmod(0o755)  # below pytest's own folder the services' user could not go
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    # Few tests generate text, and those say so: no model server for the others.
    environ = {**kept, "HOME": str(path), "JANUS_HOME": str(path)}
    return Home(path, {**environ, "JANUS_CHAT__URL": "http://127.0.0.1:1"})


def end(home: Home) -> None:
    """Stop what runs in a home and delete it."""
    (home.path / "janus.toml").unlink(missing_ok=True)  # may be broken on purpose
    stopped = home("down", "--volumes", "--yes")
    shutil.rmtree(home.path)
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """A folder of models as `janus models list` knows them; never written to."""
    from janus_core.locations import locate

    given = os.environ.get("JANUS_TEST_MODELS", "")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JANUS_")}
    found = Path(given) if given else locate(environ).models
    if not any(found.glob("embeddings/*/janus-model.json")):
        unavailable("models", f"there are no models in {found}")
    return found


def give_models(home: Home, models: Path) -> None:
    """Put the models into a home, without copying their bytes where that can be."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(models, home.path / "models", copy_function=link, dirs_exist_ok=True)


@pytest.fixture
def home() -> Iterator[Home]:
    """An installation that nobody has brought up yet."""
    made = make_home()
    yield made
    end(made)


@pytest.fixture
def ready_home(models_dir: Path) -> Iterator[Home]:
    """An installation with models of a test's own, not brought up yet."""
    made = make_home("own-")
    give_models(made, models_dir)
    yield made
    end(made)


@pytest.fixture(scope="session")
def node(models_dir: Path) -> Iterator[Home]:
    """A running node that tests share; each keeps to a collection of its own."""
    made = make_home("node-")
    give_models(made, models_dir)
    try:
        up = made("up", timeout=120)
        assert up.returncode == 0, up.stderr
        yield made
    finally:
        end(made)
