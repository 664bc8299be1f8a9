"""Goal 16, on a running node: secrets stay secret, doors are closed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from janus_core.app import Janus, open_janus


@pytest.fixture(scope="module")
def guarded(node: Any) -> Iterator[Janus]:
    """The shared node, after some work, with a chat model if an engine is installed."""
    environ = {k: v for k, v in node.environ.items() if k != "JANUS_CHAT__URL"}
    path = node.path / "files" / "guarded.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("The night watch keeps the key.")
    up = subprocess.run(
        [Path(sys.executable).parent / "janus", "up"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert up.returncode in (0, 3), up.stderr
    assert node("ingest", path, "-c", "guarded").returncode == 0
    with open_janus(environ=environ) as janus:
        yield janus
        janus.chat_server(None).stop()


@pytest.fixture(scope="module")
def secrets(guarded: Janus) -> list[str]:
    values = list(json.loads(guarded.locations.secrets_file.read_text()).values())
    assert len(values) >= 3 and all(len(value) >= 32 for value in values)
    return [str(value) for value in values]


def _own_processes(janus: Janus, node: Any) -> list[psutil.Process]:
    """Every process of the node: its services, its daemon and all that it started."""
    marks = (f"{node.path}/", str(janus.locations.runtime.resolve()))
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline() + list(process.environ().values())
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(m in word for word in words for m in marks):
            found.append(process)
    return found


def test_no_secret_in_any_argument_list_or_environment(
    guarded: Janus, node: Any, secrets: list[str]
) -> None:
    with subprocess.Popen(
        [Path(sys.executable).parent / "janus", "status", "-w"],
        env=dict(node.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        looked_at = 0
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    content = (process / name).read_bytes()
                except OSError:
                    continue
                looked_at += 1
                for secret in secrets:
                    assert secret.encode() not in content, f"{process}/{name}"
        command.kill()
    assert looked_at > 2 * len(_own_processes(guarded, node)) > 8


def test_no_secret_in_a_log(guarded: Janus, secrets: list[str]) -> None:
    logs = [path for path in guarded.locations.state.rglob("*") if path.is_file()]
    assert len(logs) >= 4
    for path in logs:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path


def test_files_are_private(guarded: Janus) -> None:
    places = guarded.locations
    seen = 0
    for top in (places.config, places.data, places.state, places.runtime.resolve()):
        for path in [top, *top.rglob("*")]:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode) or "programs" in path.parts:
                continue
            private = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
            if stat.S_ISSOCK(found.st_mode):
                private = 0o700
            assert stat.S_IMODE(found.st_mode) & ~private == 0, f"{path}: {oct(found.st_mode)}"
            seen += 1
    assert seen > 100


def test_every_socket_is_local(guarded: Janus, node: Any) -> None:
    own = _own_processes(guarded, node)
    assert len(own) >= 5
    for process in own:
        try:
            connections = process.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        for each in connections:
            assert each.laddr.ip in ("127.0.0.1", "::1"), f"{process.cmdline()}: {each}"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("janus", ""),
        ("janus", "janus"),
        ("janus", "postgres"),
        ("postgres", ""),
        ("postgres", "postgres"),
        ("root", ""),
    ],
)
def test_postgres_refuses_default_logins(guarded: Janus, user: str, password: str) -> None:
    folder = str(guarded.locations.runtime.resolve())
    with pytest.raises(psycopg.OperationalError, match=r"password|authentication"):
        psycopg.connect(host=folder, user=user, password=password, dbname="janus")


@pytest.mark.parametrize("name", ["queue", "cache"])
def test_valkey_refuses_strangers(guarded: Janus, name: str) -> None:
    path = f"{guarded.locations.runtime.resolve()}/{name}.sock"
    once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(unix_socket_path=path, retry=once) as nobody,
        pytest.raises(redis.AuthenticationError),
    ):
        nobody.ping()
    for password in ("", "janus", "valkey", "redis"):
        with (
            redis.Redis(
                unix_socket_path=path, username="default", password=password, retry=once
            ) as guest,
            pytest.raises((redis.AuthenticationError, redis.ResponseError)),
        ):
            guest.ping()


def test_the_chat_model_answers_nobody_without_its_key(guarded: Janus, node: Any) -> None:
    listening = {
        connection.laddr.port
        for process in _own_processes(guarded, node)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    if not listening:
        pytest.skip("no chat engine is installed")
    for port in listening:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            data=json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode(),
            headers={"Content-Type": "application/json", "Authorization": "Bearer none"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert refused.value.code in (401, 403)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_other_users_reach_no_socket_and_no_file(guarded: Janus) -> None:
    runtime = guarded.locations.runtime.resolve()
    doors = [str(path) for path in runtime.iterdir() if stat.S_ISSOCK(path.lstat().st_mode)]
    assert len(doors) >= 3
    attempt = """
import socket, sys
for door in sys.argv[2:]:
    try:
        socket.socket(socket.AF_UNIX).connect(door)
    except PermissionError:
        continue
    sys.exit(f"{door} is open")
try:
    open(sys.argv[1])
except PermissionError:
    sys.exit(0)
sys.exit(f"{sys.argv[1]} is readable")
"""
    ran = subprocess.run(
        [sys.executable, "-c", attempt, str(guarded.locations.secrets_file), *doors],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
