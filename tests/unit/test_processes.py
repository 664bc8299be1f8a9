"""Locks, identities, detached processes and private folders, on the real kernel."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from janus_core import processes
from janus_core.errors import BadConfiguration, Locked, NoSpace
from janus_core.processes import (
    FileLock,
    ProcessIdentity,
    ServiceUser,
    ensure_private_folder,
    file_errors,
    find_processes,
    identify,
    is_same_process,
    may_access,
    run_as,
    start_detached,
    stop_process,
    trim_log,
    write_private,
)

SLEEP = ["/bin/sleep", "60"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def nobody() -> ServiceUser:
    return ServiceUser("nobody", 65534, 65534, Path("/"))


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked child that then sleeps; return its pid once the body is done."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os.write(write_end, b"1")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(write_end)
    assert os.read(read_end, 1) == b"1"
    os.close(read_end)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def started(argv: list[str], log: Path, **options: object) -> ProcessIdentity:
    identity = identify(start_detached(argv, log=log, **options))  # type: ignore[arg-type]
    assert identity is not None
    return identity


def test_a_lock_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = in_child(lambda: FileLock(path).acquire())
    with pytest.raises(Locked), FileLock(path, timeout=0.1):
        pass
    kill(holder)
    with FileLock(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with first:
        assert first.fd > 2
        with pytest.raises(Locked):
            second.acquire()
    with second, pytest.raises(Locked):
        _ = first.fd


def test_a_lock_on_a_deleted_file_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    flock = fcntl.flock
    deletions = iter([path.unlink])

    def delete_before_locking(fd: int, operation: int) -> None:
        next(deletions, lambda: None)()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", delete_before_locking)
    lock = FileLock(path, timeout=1)
    with lock:
        assert os.fstat(lock.fd).st_ino == path.stat().st_ino


def test_a_lock_is_not_inherited_unless_handed_over(tmp_path: Path) -> None:
    kept, given = FileLock(tmp_path / "kept"), FileLock(tmp_path / "given")
    with kept:
        given.acquire()
        child = started(SLEEP, tmp_path / "log", pass_fds=[given.fd])
        given.hand_over()
    with FileLock(tmp_path / "kept"):
        pass
    with pytest.raises(Locked):
        given.acquire()
    assert stop_process(child)
    with FileLock(tmp_path / "given", timeout=2):
        pass


def test_a_lock_in_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="nowhere"), FileLock(tmp_path / "nowhere/lock"):
        pass


def test_identity_survives_text_and_refuses_a_reused_pid() -> None:
    own = identify(os.getpid())
    assert own is not None
    assert is_same_process(own)
    assert ProcessIdentity.from_text(own.to_text()) == own
    assert not is_same_process(replace(own, started=own.started - 1))
    assert not is_same_process(replace(own, boot="another boot"))
    for torn in ("", "12", "12 x y", "a 1 b", own.to_text() * 2):
        assert ProcessIdentity.from_text(torn) is None


def test_age_is_in_seconds(tmp_path: Path) -> None:
    child = started(SLEEP, tmp_path / "log")
    assert 0 <= processes.age(child) < 5
    stop_process(child)


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["/bin/true"])
    assert eventually(lambda: identify(child.pid) is None)
    child.wait()


def test_a_stranger_with_the_same_pid_gets_no_signal(tmp_path: Path) -> None:
    child = started(SLEEP, tmp_path / "log")
    assert stop_process(replace(child, started=child.started - 1))
    assert is_same_process(child)
    assert stop_process(child)


def test_who_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    child = started(["/bin/sh", "-c", script], tmp_path / "log")
    assert eventually(lambda: "ready" in (tmp_path / "log").read_text())
    assert not stop_process(child, 0.2, kill=False)
    assert is_same_process(child)
    assert stop_process(child, 0.2)
    assert not is_same_process(child)
    assert stop_process(child)


def test_processes_are_found_by_arguments_and_owner(tmp_path: Path) -> None:
    argv = ["/bin/sleep", f"60.{os.getpid()}"]
    child = started(argv, tmp_path / "log")
    assert eventually(lambda: find_processes(lambda found: found == argv) == [child])
    assert find_processes(lambda found: found == argv, os.geteuid()) == [child]
    assert find_processes(lambda found: found == argv, os.geteuid() + 1) == []
    stop_process(child)


def test_a_detached_process_is_private_and_leaves_no_zombie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JANUS_SECRET", "of the caller")
    log = tmp_path / "logs" / "log"
    script = f"umask; env; pwd; readlink /proc/self/fd/0; touch {tmp_path}/made; exec sleep 60"
    child = started(["/bin/sh", "-c", script], log)
    assert eventually(lambda: (tmp_path / "made").exists())
    said = log.read_text().split("\n")
    assert {"0077", "/", "/dev/null"} <= set(said)
    assert "JANUS_SECRET" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert os.getsid(child.pid) == child.pid
    assert "NoNewPrivs:\t1" in Path(f"/proc/{child.pid}/status").read_text()
    assert "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()
    os.kill(child.pid, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{child.pid}").exists())


def test_a_detached_process_outlives_its_starter(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "from pathlib import Path; from janus_core.processes import start_detached as s, identify\n"
        f"Path({str(note)!r}).write_text("
        f"identify(s({SLEEP!r}, log=Path({str(tmp_path / 'log')!r}))).to_text())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    child = ProcessIdentity.from_text(note.read_text())
    assert child is not None
    assert is_same_process(child)
    assert stop_process(child)


def test_a_missing_program_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="no-such-program"):
        start_detached([str(tmp_path / "no-such-program")], log=tmp_path / "log")
    with pytest.raises(BadConfiguration, match="no-such-program"):
        run_as([str(tmp_path / "no-such-program")], timeout=5)


def test_a_helper_that_hangs_is_ended() -> None:
    with pytest.raises(Locked):
        run_as(SLEEP, timeout=0.1)


@as_root
def test_rights_are_dropped_for_good(tmp_path: Path) -> None:
    done = run_as(["/usr/bin/id"], user=nobody(), timeout=10)
    assert "uid=65534" in done.stdout
    assert "groups=65534" in done.stdout
    assert "(root)" not in done.stdout
    log = tmp_path / "log"
    child = started(["/bin/sh", "-c", "id; exec sleep 60"], log, user=nobody())
    assert eventually(lambda: "uid=65534" in log.read_text())
    assert "(root)" not in log.read_text()
    stop_process(child)


@as_root
def test_another_users_process_cannot_be_stopped(tmp_path: Path) -> None:
    child = started(SLEEP, tmp_path / "log")
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            stop_process(child)
        except BadConfiguration:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    stop_process(child)


def test_a_private_folder_is_made_and_tightened(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    ensure_private_folder(folder, None)
    folder.chmod(0o755)
    ensure_private_folder(folder, None)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(BadConfiguration, match="file"):
        ensure_private_folder(tmp_path / "file" / "x", None)
    with pytest.raises(BadConfiguration, match="file"):
        ensure_private_folder(tmp_path / "file", None)


@as_root
def test_the_folder_that_bars_the_way_is_named(tmp_path: Path) -> None:
    barred = tmp_path / "barred"
    barred.mkdir(mode=0o700)
    for parent in [barred, *barred.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            first = parent
    with pytest.raises(BadConfiguration, match=f"cannot enter {first}, ") as caught:
        ensure_private_folder(barred / "data", nobody())
    assert f"chmod o+x {first}" in caught.value.hint


@as_root
def test_a_folder_of_another_user_is_refused_and_an_empty_one_of_root_is_given(
    traversable: Path,
) -> None:
    ensure_private_folder(traversable / "x" / "mine", nobody())
    assert (traversable / "x" / "mine").stat().st_uid == 65534
    assert may_access(traversable / "x" / "mine", nobody(), os.R_OK | os.W_OK | os.X_OK)
    other = traversable / "other"
    other.mkdir()
    (other / "content").touch()
    with pytest.raises(BadConfiguration, match="belongs to uid 0"):
        ensure_private_folder(other, nobody())
    assert other.stat().st_uid == 0
    os.chown(other, 4321, 4321)
    with pytest.raises(BadConfiguration, match="belongs to uid 4321"):
        ensure_private_folder(other, None)


def test_private_files_replace_links_instead_of_following_them(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    target = tmp_path / "target"
    target.symlink_to(victim)
    write_private(target, "säcret", None)
    assert victim.read_text() == "untouched"
    assert target.read_text("utf-8") == "säcret"
    assert stat.S_IMODE(target.lstat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["target", "victim"]
    log = tmp_path / "log"
    log.symlink_to(victim)
    with pytest.raises(BadConfiguration):
        start_detached(SLEEP, log=log)


def test_no_link_leads_root_astray(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("x" * 100)
    for make_link in (os.symlink, os.link):
        link = tmp_path / make_link.__name__
        make_link(victim, link)
        with pytest.raises(OSError):
            trim_log(link, 10)
        with pytest.raises(OSError):
            processes.tail(link)
        with pytest.raises(OSError):
            processes.read_own(link)
        with pytest.raises(BadConfiguration), FileLock(link):
            pass
        link.unlink()
    assert victim.read_text() == "x" * 100
    assert processes.read_own(victim) == "x" * 100


def test_a_log_is_bounded_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 1000)
        trim_log(log, limit=1000)
        writer.write(b"new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.1").read_text() == "old\n" * 125
    trim_log(tmp_path / "missing")


def test_a_full_disk_is_told_from_a_bad_path() -> None:
    with pytest.raises(NoSpace), file_errors("writing"), open("/dev/full", "w") as full:
        full.write("x")
    with pytest.raises(BadConfiguration), file_errors("reading"):
        Path("/nowhere/at/all").read_text()


def test_the_service_user_is_for_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SERVICE_USER", "janus-not-there")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(BadConfiguration, match="janus-not-there") as caught:
        processes.service_user()
    assert "useradd" in caught.value.hint
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert processes.service_user(create=True) is None


@pytest.fixture
def traversable(tmp_path: Path) -> Path:
    """A folder that any user may enter."""
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    return tmp_path
