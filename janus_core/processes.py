"""Processes, locks and private folders, safe for any number of starters and users.

Linux only: identity comes from `/proc`, locks from `flock`, which the kernel
drops when the holder dies, however it dies.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import pwd
import queue
import select
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from janus_core.errors import BadConfiguration, JanusError, Locked, NoSpace

SERVICE_USER = "janus"
SERVICE_HOME = Path("/var/lib/janus")
LOG_LIMIT = 4 * 1024 * 1024
_PR_SET_NO_NEW_PRIVS = 38
# A fixed, small environment: no secret of the caller reaches a service.
PLAIN_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class ServiceUser:
    """The system user that owns the services' data when Janus runs as root."""

    name: str
    uid: int
    gid: int
    home: Path


def service_user(create: bool = False) -> ServiceUser | None:
    """Return None for an ordinary user; for root, the system user `janus`.

    With `create`, a missing user is added with the tool that the system has.
    Raise BadConfiguration when it is missing and cannot or may not be added.
    """
    if os.geteuid() != 0:
        return None
    entry = _passwd_entry()
    if entry is None and create:
        _add_service_user()
        entry = _passwd_entry()
    if entry is None:
        raise BadConfiguration(
            f"Janus runs as root, but the system user '{SERVICE_USER}' does not exist",
            f"add it: useradd --system --user-group --no-create-home --home-dir {SERVICE_HOME} "
            f"--shell /usr/sbin/nologin {SERVICE_USER}; or run Janus as an ordinary user",
        )
    if entry.pw_uid == 0:
        raise BadConfiguration(
            f"the user '{SERVICE_USER}' has uid 0", "give it a uid of its own: PostgreSQL needs it"
        )
    return ServiceUser(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def _passwd_entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None


def _add_service_user() -> None:
    home = str(SERVICE_HOME)
    if shutil.which("useradd"):
        commands = [
            f"useradd --system --user-group --no-create-home --home-dir {home} "
            f"--shell /usr/sbin/nologin {SERVICE_USER}"
        ]
    elif shutil.which("addgroup") and shutil.which("adduser"):  # busybox
        commands = [
            f"addgroup -S {SERVICE_USER}",
            f"adduser -S -D -H -h {home} -s /sbin/nologin -G {SERVICE_USER} {SERVICE_USER}",
        ]
    else:
        return
    # Several starters may add it at once: all but one fail, on the name or on
    # the lock of the password file, so only the entry itself counts.
    for _ in range(20):
        for command in commands:
            subprocess.run(command.split(), capture_output=True, timeout=30, check=False)
        if _passwd_entry() is not None:
            return
        time.sleep(0.2)


@contextlib.contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Translate an OSError inside into NoSpace or BadConfiguration, naming `what` was tried."""
    try:
        yield
    except OSError as error:
        raise _translated(what, error) from error


def _translated(what: str, error: OSError) -> JanusError:
    where = f" ({error.filename})" if error.filename else ""
    reason = f"{what}: {error.strerror or error}{where}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(reason, "free some space on that disk, then try again")
    if error.errno == errno.EROFS:
        return BadConfiguration(reason, "the disk is read-only: choose another JANUS_HOME")
    return BadConfiguration(reason, "check that path, or choose another JANUS_HOME")


class FileLock:
    """An exclusive lock on a file, released by the kernel when its holder dies.

    Used as a context manager. `owner` may open the lock file too, when root
    made it. A child does not inherit the lock, unless its `fd` is handed to
    `start_detached(pass_fds=…)`: then the child holds it after `hand_over()`.
    """

    def __init__(self, path: Path, timeout: float = 0.0, owner: ServiceUser | None = None) -> None:
        self._path = path
        self._timeout = timeout
        self._owner = owner
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The locked descriptor. Raise Locked when the lock is not held."""
        if self._fd is None:
            raise Locked(f"{self._path} is not locked by this process")
        return self._fd

    def acquire(self) -> None:
        """Take the lock within `timeout` seconds, else raise Locked."""
        deadline = time.monotonic() + self._timeout
        while True:
            with file_errors("cannot open a lock file"):
                self._fd = self._locked_fd()
            if self._fd is not None:
                return
            if time.monotonic() >= deadline:
                raise Locked(
                    f"another process holds {self._path}",
                    "wait for it to finish, then try again",
                )
            time.sleep(0.02)

    def _locked_fd(self) -> int | None:
        fd = _open_own(self._path, os.O_RDWR | os.O_CREAT, self._owner)
        try:
            opened = os.fstat(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have deleted the file while we waited: a lock on a
            # file that nobody else can open any more guards nothing.
            found = self._path.stat(follow_symlinks=False)
            if (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.hand_over()

    def hand_over(self) -> None:
        """Close this process's descriptor: children that inherited it keep the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told apart from every other that ever had or will have its pid.

    `started` is in clock ticks since the boot named by `boot`.
    """

    pid: int
    started: int
    boot: str

    def to_text(self) -> str:
        """Return one line for a pid file; `from_text` reads it back."""
        return f"{self.pid} {self.started} {self.boot}\n"

    @classmethod
    def from_text(cls, text: str) -> ProcessIdentity | None:
        """Given the text of a pid file, return the identity, or None when it is torn."""
        match text.split():
            case [pid, started, boot] if pid.isdecimal() and started.isdecimal():
                return cls(int(pid), int(started), boot)
        return None


def identify(pid: int) -> ProcessIdentity | None:
    """Given a pid, return who has it now; None when nobody does or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return ProcessIdentity(pid, int(fields[19]), _boot())


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # hidden in some sandboxes: pid and start time must do
        return "unknown"


def is_same_process(identity: ProcessIdentity) -> bool:
    """Tell whether that very process still runs (a reused pid or a zombie is not it)."""
    return identify(identity.pid) == identity


def age(identity: ProcessIdentity) -> float:
    """Return how long ago the process started, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - identity.started / os.sysconf("SC_CLK_TCK")


def find_processes(
    wanted: Callable[[list[str]], bool], uid: int | None = None
) -> list[ProcessIdentity]:
    """Return the live processes whose argument list is `wanted`, the oldest first.

    Given `uid`, only processes of that user: a stranger may imitate an argument list.
    """
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if uid is not None and folder.stat().st_uid != uid:
                continue
            argv = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if argv and wanted(os.fsdecode(argv.rstrip(b"\0")).split("\0")):
            identity = identify(int(folder.name))
            if identity is not None:
                found.append(identity)
    return sorted(found, key=lambda each: each.started)


def start_detached(
    argv: Sequence[str],
    *,
    log: Path,
    user: ServiceUser | None = None,
    env: Mapping[str, str] = PLAIN_ENVIRONMENT,
    cwd: Path = Path("/"),
    pass_fds: Sequence[int] = (),
) -> int:
    """Start a program that outlives this process, and return its pid.

    It gets a session of its own, no input, `log` (0600, appended) for both
    outputs, umask 077, `user`'s rights if given, and can never gain others.
    A thread reaps it, so no zombie stays in a long-lived parent.
    Raise BadConfiguration when it cannot be executed, NoSpace when the disk is full.
    """
    outcome: queue.SimpleQueue[int | OSError] = queue.SimpleQueue()

    def launch() -> None:
        # No-new-privileges belongs to a thread and is inherited from it: set
        # here, it binds the child and nothing else of this process.
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        try:
            output = open_log(log, user)
            try:
                process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env=dict(env),
                    cwd=cwd,
                    pass_fds=tuple(pass_fds),
                    umask=0o077,
                    user=user.uid if user else None,
                    group=user.gid if user else None,
                    extra_groups=[] if user else None,
                )
            finally:
                os.close(output)
        except OSError as error:
            outcome.put(error)
            return
        outcome.put(process.pid)
        process.wait()

    threading.Thread(target=launch, name=f"reap {argv[0]}", daemon=True).start()
    result = outcome.get()
    if isinstance(result, OSError):
        raise _translated(f"cannot start {argv[0]}", result) from result
    return result


def run_as(
    argv: Sequence[str],
    *,
    user: ServiceUser | None = None,
    timeout: float,
    stdin: str = "",
    env: Mapping[str, str] = PLAIN_ENVIRONMENT,
    pass_fds: Sequence[int] = (),
    executable: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a short helper program with `user`'s rights; return what it printed and its status.

    Both outputs come together in `stdout`. Raise BadConfiguration when it cannot
    be executed, Locked when it takes longer than `timeout` seconds (it is killed).
    """
    try:
        return subprocess.run(
            list(argv),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=dict(env),
            cwd="/",
            pass_fds=tuple(pass_fds),
            executable=executable,
            umask=0o077,
            timeout=timeout,
            check=False,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    except OSError as error:
        raise _translated(f"cannot run {argv[0]}", error) from error
    except subprocess.TimeoutExpired as error:
        raise Locked(
            f"{argv[0]} did not finish within {timeout:.0f} s",
            "try again when the disk is less busy",
        ) from error


def stop_process(
    identity: ProcessIdentity,
    term_timeout: float = 10.0,
    kill: bool = True,
    sig: signal.Signals = signal.SIGTERM,
) -> bool:
    """Send `sig`, wait up to `term_timeout` seconds, then (with `kill`) SIGKILL; True when gone.

    Nothing is sent to a stranger that got the pid meanwhile.
    Raise BadConfiguration when the process belongs to another user.
    """
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_same_process(identity):
            return True
        signal.pidfd_send_signal(handle, sig)
        if _ended(handle, term_timeout):
            return True
        if not kill:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return _ended(handle, 10.0)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise BadConfiguration(
            f"process {identity.pid} belongs to another user",
            "stop it as the user that started it",
        ) from error
    finally:
        os.close(handle)


def set_soon(event: threading.Event) -> None:
    """Set an event from a signal handler, where `event.set()` itself may wait for ever.

    The thread that the signal interrupts may be inside of the event, holding its lock.
    """
    _thread.start_new_thread(event.set, ())


def _ended(handle: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout) * 1000))


def ensure_private_folder(path: Path, user: ServiceUser | None) -> None:
    """Make `path` a 0700 folder of `user` (or of ourselves) that its owner can enter.

    An empty folder of root is given to `user`. Raise BadConfiguration naming
    the folder that has another owner or that bars the way, NoSpace when full.
    """
    owner = user.uid if user else os.geteuid()
    with file_errors("cannot make a folder"):
        for parent in reversed(path.parents):
            if not parent.exists():
                _make_folder(parent, 0o711 if user else 0o700, None)
        if not path.exists():
            _make_folder(path, 0o700, user)
        fd = os.open(path.resolve(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Asked first: another starter gives the folder away before it fills it.
            empty = not any(path.iterdir())
            found = os.fstat(fd)
            if user and found.st_uid == 0 and empty:
                os.fchown(fd, user.uid, user.gid)
            elif found.st_uid != owner:
                wanted = user.name if user else owner
                raise BadConfiguration(
                    f"{path} belongs to uid {found.st_uid}, not to {wanted}",
                    f"choose another JANUS_HOME, or: chown -R {wanted} {path}",
                )
            if stat.S_IMODE(found.st_mode) != 0o700:
                os.fchmod(fd, 0o700)
        finally:
            os.close(fd)
    ensure_enterable(path, user)


def _make_folder(path: Path, mode: int, user: ServiceUser | None) -> None:
    # It appears with its owner and mode at once, so that no other starter
    # meets a folder that it may not enter yet.
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    fd = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if user:
            os.fchown(fd, user.uid, user.gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    try:
        made.rename(path)
    except OSError:
        made.rmdir()
        if not path.is_dir():
            raise


def ensure_enterable(path: Path, user: ServiceUser | None) -> None:
    """Raise BadConfiguration naming the first parent of `path` that `user` cannot pass."""
    for parent in reversed(path.resolve().parents):
        if not may_access(parent, user, os.X_OK):
            name = user.name if user else "this user"
            raise BadConfiguration(
                f"{name} cannot enter {parent}, which {path} lies in",
                f"choose another JANUS_HOME, or: chmod o+x {parent}",
            )


def may_access(path: Path, user: ServiceUser | None, mode: int) -> bool:
    """Tell by owner and permission bits whether `user` may do `mode` (os.R_OK | os.X_OK …).

    Given no user, the answer is for ourselves. False when the path is not there.
    """
    if user is None:
        return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
    try:
        found = path.stat()
    except OSError:
        return False
    shift = 6 if found.st_uid == user.uid else 3 if found.st_gid == user.gid else 0
    return (found.st_mode >> shift) & mode == mode


def write_private(path: Path, content: str, user: ServiceUser | None) -> None:
    """Replace `path` by `content` (0600, of `user`) in one step that survives a power cut.

    Raise BadConfiguration or NoSpace; the older content then still stands.
    """
    with file_errors("cannot write a file"):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                if user:
                    os.fchown(file.fileno(), user.uid, user.gid)
                file.write(content.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames inside the folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_log(path: Path, user: ServiceUser | None = None) -> int:
    """Return a descriptor that appends to the log (0600, of `user`; made if missing).

    A log over 4 MiB is trimmed first. Raise OSError.
    """
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = _open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, user)
    trim_log(path)
    return fd


def trim_log(path: Path, limit: int = LOG_LIMIT) -> None:
    """Given a log over `limit` bytes, keep its last half in `<name>.1` and empty it in place.

    In place, because its writers hold it open (with O_APPEND, so they go on at
    the start). What is written in that very moment may be lost. Raise OSError.
    """
    try:
        fd = _open_own(path, os.O_RDWR, None)
    except FileNotFoundError:
        return
    with os.fdopen(fd, "r+b") as file:
        if os.fstat(fd).st_size > limit:
            older = path.with_name(path.name + ".1")
            write_private(older, tail(path, limit // 2), None)
            file.truncate(0)


def tail(path: Path, size: int = 65536) -> str:
    """Return the last `size` bytes of a text file; "" when it is not there. Raise OSError."""
    try:
        fd = _open_own(path, os.O_RDONLY, None)
    except FileNotFoundError:
        return ""
    with os.fdopen(fd, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        return file.read().decode("utf-8", "replace")


def read_from(path: Path, offset: int) -> bytes:
    """Return what a file holds from `offset` on; b"" when it is not there. Raise OSError."""
    try:
        fd = _open_own(path, os.O_RDONLY, None)
    except FileNotFoundError:
        return b""
    with os.fdopen(fd, "rb") as file:
        file.seek(offset)
        return file.read()


def read_own(path: Path) -> str:
    """Return a text file's content as `write_private` takes it; follow no link. Raise OSError."""
    with os.fdopen(_open_own(path, os.O_RDONLY, None), "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")


def _open_own(path: Path, flags: int, user: ServiceUser | None) -> int:
    # Root works in folders of the service user, who must not be able to point
    # it at other files by links.
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EPERM, "not a plain file, or one with several names", str(path))
    if user and found.st_uid == 0:
        os.fchown(fd, user.uid, user.gid)
    return fd
