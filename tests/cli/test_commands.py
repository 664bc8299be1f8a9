"""The command line as a whole: help, start-up, output, exit codes before the first `up`."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from janus_cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b"


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate_cli.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def on_a_terminal(arguments: list[object], environ: dict[str, str], typed: bytes = b"") -> bytes:
    """Run a command with a terminal on all three ends; return what appears there."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        list(map(str, arguments)), env=environ, stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    os.write(main, typed)
    seen = b""
    while True:
        try:
            block = os.read(main, 4096)
        except OSError:  # Linux tells the end of a terminal so
            break
        if not block:
            break
        seen += block
    os.close(main)
    process.wait(30)
    return seen


def test_the_reference_is_what_help_says() -> None:
    """If this fails: python docs/generate_cli.py."""
    page = reference().generate()

    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == page
    for name in COMMANDS:
        assert f"## janus {name}\n" in page


def test_every_command_shows_examples() -> None:
    blocks = re.split(r"^## janus ", reference().generate(), flags=re.M)[1:]

    groups = ("docs", "models", "queue", "journal", "config")
    lacking = [b.splitlines()[0] for b in blocks if "Examples:" not in b]

    assert [name for name in lacking if name not in groups] == []


def test_help_loads_neither_terminal_library_nor_driver_nor_model() -> None:
    code = (
        "import sys\n"
        "from janus_cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    loaded = {name.partition(".")[0] for name in ran.stderr.split()}
    heavy = {
        "textual", "rich", "psycopg", "sqlalchemy", "alembic", "redis", "dramatiq", "qdrant_client",
        "neo4j", "minio", "fastembed", "onnxruntime", "numpy", "tokenizers", "httpx", "langchain",
        "autogen_core", "graphrag", "pypdfium2", "trafilatura", "pydantic",
    }  # fmt: skip
    assert loaded & heavy == set()
    assert "Bring the stack up" in ran.stdout


def test_help_is_about_as_quick_as_typer_alone() -> None:
    def cpu(*command: object) -> float:
        """The least of seven runs, in CPU seconds: other work on the machine counts less so."""
        best = 9.9
        for _ in range(7):
            before = os.times()
            subprocess.run(list(map(str, command)), capture_output=True, check=True)
            after = os.times()
            spent = after.children_user + after.children_system
            best = min(best, spent - before.children_user - before.children_system)
        return best

    typer = cpu(sys.executable, "-c", "import typer")
    ours = cpu(Path(sys.executable).parent / "janus", "--help")

    assert ours <= 2.6 * typer, f"{ours:.3f} s against {typer:.3f} s"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 10),
        (["docs", "list"], 10),
        (["docs", "rm", "12345678", "--yes"], 10),
        (["search", "pump"], 10),
        (["ask", "Which pump?"], 10),
        (["queue", "list"], 10),
        (["journal", "verify"], 10),
        (["logs"], 10),
        (["worker"], 10),
        (["down"], 0),
        (["down", "--volumes", "--dry-run"], 0),
        (["config", "validate"], 0),
        (["models", "list"], 0),
        (["models", "use", "nobody"], 4),
        (["models", "add", "/nonexistent.gguf"], 4),
        (["no-such-verb"], 2),
        (["status", "--no-such-flag"], 2),
        (["docs", "rm"], 2),
        (["--color", "sometimes", "status"], 2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes_before_the_first_up(home, arguments: list[str], code: int) -> None:
    ran = home(*arguments)

    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    assert ESCAPE not in ran.stdout + ran.stderr
    assert (code == 0) or (ran.stderr and not ran.stdout)
    assert not (home.path / "data").exists(), "a reader made folders"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], "not_initialised"),
        (["docs", "show", "12345678"], "not_initialised"),
        (["models", "rm", "nobody"], "not_found"),
        (["no-such-verb"], "invalid_input"),
        (["search"], "invalid_input"),
    ],
)
def test_errors_as_json_are_one_line_on_stdout(home, arguments: list[str], code: str) -> None:
    ran = home(*arguments, "--json")

    (line,) = ran.stdout.splitlines()
    error = json.loads(line)
    assert (error["type"], error["code"]) == ("error", code)
    assert error["message"] and error["hint"]


def test_a_home_that_is_no_absolute_path_is_bad_configuration(home) -> None:
    ran = home("status", JANUS_HOME="somewhere")

    assert ran.returncode == 78
    assert "JANUS_HOME" in ran.stderr


def test_colour_is_for_terminals_that_want_it(home) -> None:
    janus = Path(sys.executable).parent / "janus"
    environ = {**home.environ, "TERM": "xterm-256color"}

    assert ESCAPE.encode() in on_a_terminal([janus, "status"], environ)
    assert ESCAPE.encode() not in on_a_terminal([janus, "status"], environ | {"NO_COLOR": "1"})
    assert ESCAPE.encode() not in on_a_terminal([janus, "status"], environ | {"TERM": "dumb"})
    assert ESCAPE.encode() not in on_a_terminal([janus, "--color", "never", "status"], environ)
    assert ESCAPE in home("--color", "always", "status").stderr


def test_doctor_advises_before_the_first_up(home) -> None:
    ran = home("doctor", "--json")

    found = {each["check"]: each for each in json.loads(ran.stdout)["findings"]}
    assert found["services"]["fix"] == "Run: janus up"
    assert found["models"]["state"] == "fail"
    assert {"python", "disk", "memory", "clock", "path", "sandbox"} <= set(found)
    assert ran.returncode == 1, "without an embedding model nothing works"


def test_ctrl_c_is_exit_130_and_says_how_to_go_on(home) -> None:
    (home.path / "pipe.txt").write_text("text")
    janus = Path(sys.executable).parent / "janus"
    main, other = pty.openpty()
    process = subprocess.Popen(
        [janus, "ask", "-"], env=home.environ, stdin=other, stderr=subprocess.PIPE, text=True
    )
    time.sleep(1.5)  # it waits for the question

    process.send_signal(2)
    said = process.communicate(timeout=20)[1]
    os.close(main)
    os.close(other)

    assert process.returncode == 130, said
    assert "again" in said
