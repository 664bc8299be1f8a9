"""install.sh and the lock files, as far as can be told without installing."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "install.sh"
LOCKS = sorted(ROOT.glob("requirements*.lock"))
MISSION = {
    "typer", "textual", "rich", "python-on-whales", "sqlalchemy", "psycopg", "neo4j",
    "qdrant-client", "dramatiq", "redis", "minio", "langchain", "pyautogen", "graphrag",
    "fastembed", "resticpy", "llama-cpp-python",
}  # fmt: skip


def install(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", INSTALL, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def command(folder: Path, name: str, body: str) -> None:
    """Put a command in front of the system's own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def locked(lock: Path) -> dict[str, set[Version]]:
    """Return the versions of each package in a lock file."""
    packages: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock.read_text(), re.M):
        packages.setdefault(canonicalize_name(name), set()).add(Version(version))
    return packages


def test_it_is_plain_posix_shell() -> None:
    subprocess.run(["dash", "-n", INSTALL], check=True)
    assert INSTALL.read_text().startswith("#!/bin/sh\n")


def test_help_names_every_option() -> None:
    shown = install("--help")

    assert shown.returncode == 0, shown.stderr
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", INSTALL.read_text().split("# ------")[0]))
    assert options - set(re.findall(r"--[a-z-]+", shown.stdout)) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "--nonsense"),
        (["--prefix"], "--prefix needs a value"),
        (["--prefix="], "--prefix needs a value"),
        (["--engine", "vllm"], "vllm"),
        (["--demo", "--test"], "exclude"),
        (["stray"], "stray"),
        (["--", "-x"], "--test"),
    ],
)
def test_a_wrong_call_is_exit_2_and_names_what_is_wrong(arguments: list[str], said: str) -> None:
    refused = install(*arguments)

    assert refused.returncode == 2
    assert said in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("uname", "case $1 in -m) echo riscv64 ;; *) echo Linux ;; esac", "riscv64"),
        ("uname", "echo Darwin", "Darwin"),
        ("getconf", "case $1 in LONG_BIT) echo 32 ;; *) echo glibc 2.36 ;; esac", "32-bit"),
        ("getconf", "case $1 in LONG_BIT) echo 64 ;; *) exit 1 ;; esac", "Alpine"),
        ("getconf", "case $1 in LONG_BIT) echo 64 ;; *) echo glibc 2.27 ;; esac", "glibc 2.27"),
    ],
)
def test_an_unfit_machine_is_refused_by_name(
    tmp_path: Path, name: str, body: str, said: str
) -> None:
    command(tmp_path / "bin", name, body)

    refused = install(
        "--prefix", str(tmp_path / "janus"), PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    )

    assert refused.returncode == 1
    assert said in refused.stderr
    assert not (tmp_path / "janus").exists()


def test_a_full_disk_is_exit_13_with_both_figures(tmp_path: Path) -> None:
    command(tmp_path / "bin", "df", "echo head; echo / 100 100 51200 1% /")

    refused = install(
        "--prefix", str(tmp_path / "janus"), PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    )

    assert refused.returncode == 13
    assert re.search(r"needs \d+ MB of disk, 50 MB are free", refused.stderr)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")

    for option in ((), ("--uninstall",)):
        refused = install("--prefix", str(tmp_path), *option)

        assert refused.returncode == 1
        assert str(tmp_path) in refused.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["letters"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs for a service user")
def test_root_may_not_install_where_the_service_user_cannot_go(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    refused = install("--prefix", str(closed / "janus"))

    assert refused.returncode == 1
    assert f"cannot enter {closed}" in refused.stderr


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    command(tmp_path / "bin", "oldpython", "echo 'is 3.9; Janus needs 3.11' >&2; exit 1")

    refused = install(
        "--prefix", str(tmp_path / "janus"), "--python", str(tmp_path / "bin/oldpython")
    )

    assert refused.returncode == 1
    assert "oldpython is 3.9" in refused.stderr
    assert "apt-get install python3" in refused.stderr


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_names_versions_and_hashes_only(lock: Path) -> None:
    hashed = False
    for line in reversed(lock.read_text().splitlines()):
        if re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashed = True
        elif not line.lstrip().startswith("#"):
            assert re.fullmatch(r"[a-z0-9._-]+==[^ ]+( ; [^\\]+)? \\", line)
            assert hashed, f"{line} has no hash"
            hashed = False
        assert not re.search(r"://|--index|--find-links|@|/opt|/root", line)


def test_the_locks_hold_every_package_of_the_mission() -> None:
    assert MISSION - {name for lock in LOCKS for name in locked(lock)} == set()


@pytest.mark.parametrize(
    ("extra", "lock"),
    [
        ("", "requirements.lock"),
        ("", "requirements-dev.lock"),
        ("dev", "requirements-dev.lock"),
        ("xllamacpp", "requirements-engines.lock"),
        ("llama-cpp-python", "requirements-engines.lock"),
    ],
)
def test_the_locks_fulfil_what_the_project_asks_for(extra: str, lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    versions = locked(ROOT / lock)

    for line in wanted:
        requirement = Requirement(line)
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{lock} lacks {requirement.name}: renew it (CONTRIBUTING.md)"
        assert all(requirement.specifier.contains(version) for version in found), line


def test_the_locks_agree_with_one_another() -> None:
    runtime = locked(ROOT / "requirements.lock")

    for name in ("requirements-dev.lock", "requirements-engines.lock"):
        for package, versions in locked(ROOT / name).items():
            assert versions == runtime.get(package, versions), f"{package} in {name}"
