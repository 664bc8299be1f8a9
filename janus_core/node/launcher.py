"""What the launchers of the embedded servers share: start once, whoever starts; stop; find.

Two locks guard each server. The start lock is held by whoever starts or stops
it. The guard is held by the server itself (an inherited, locked descriptor)
until its last process ends: no pid file can say that as surely. Both lie
beside the data, where no cleaner of temporary files comes.
"""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import struct
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from janus_core.errors import BadConfiguration, JanusError, Locked, NoSpace, StoreUnavailable
from janus_core.processes import (
    FileLock,
    ProcessIdentity,
    ServiceUser,
    age,
    ensure_enterable,
    ensure_private_folder,
    file_errors,
    find_processes,
    identify,
    is_same_process,
    may_access,
    start_detached,
    stop_process,
    tail,
    trim_log,
)

SOCKET_PATH_LIMIT = 107
# How long a server may take from its start to its socket; recovery comes after it.
_GRACE = 10.0


class Answer(enum.Enum):
    """What a server's socket says."""

    UP = "ready to serve"
    STARTING = "alive, but starting, recovering or stopping"
    BUSY = "connected, but silent"
    REFUSED = "wants another password"
    ABSENT = "nobody listens"


class EmbeddedServer(ABC):
    """One server of the embedded profile, of which exactly one runs per data folder."""

    title: str
    stop_signal = signal.SIGTERM

    def __init__(
        self, anchor: Path, socket_path: Path, log: Path, password: str, user: ServiceUser | None
    ) -> None:
        """Given the data (or other lasting) path beside which the locks lie.

        Raise BadConfiguration for a socket path over 107 bytes or a password
        that a configuration file cannot carry.
        """
        self._anchor = anchor
        self._socket_path = socket_path
        self._log = log
        self._password = password
        self._user = user
        if len(str(socket_path).encode("utf-8", "surrogateescape")) > SOCKET_PATH_LIMIT:
            raise BadConfiguration(
                f"the socket path {socket_path} is longer than {SOCKET_PATH_LIMIT} bytes",
                "choose a shorter JANUS_HOME (or XDG_RUNTIME_DIR)",
            )
        if not str(socket_path).isprintable() or "," in str(socket_path):
            raise BadConfiguration(
                f"the socket path {str(socket_path)!r} has a comma or an unprintable character",
                "choose a plain JANUS_HOME",
            )
        if not password or not password.isprintable():
            raise BadConfiguration(
                f"the password of {self.title} is empty or unprintable",
                "let Janus generate it",
            )

    def start(self, timeout: float = 60.0) -> None:
        """Bring the server up; return at once when it is.

        Any number of processes may call this at the same time. A server that
        lost its socket, or took over another password, is started anew.
        Raise StoreUnavailable with the last log lines when it does not come up
        within `timeout` seconds, BadConfiguration, NoSpace, Damaged, TooNew, or
        Locked when another process holds the data.
        """
        with file_errors(f"cannot trim the log of {self.title}"):
            trim_log(self._log)
        if self._ask() is Answer.UP:
            return
        deadline = time.monotonic() + timeout
        ensure_private_folder(self._socket_path.parent, self._user)
        self._prepare_anchor()
        with self._start_lock(timeout):
            if not self._settled(deadline):
                self._stop_all(timeout=10.0)
                self._launch(deadline)

    def stop(self, timeout: float = 30.0) -> None:
        """Stop the server cleanly; after `timeout` seconds by force. Idempotent."""
        if not self._lock_path(".lock").parent.exists():
            return
        with self._start_lock(timeout):
            self._stop_all(timeout)

    def is_up(self) -> bool:
        """Tell whether the server serves, in a few milliseconds and without a driver."""
        return self._ask() is Answer.UP

    def pid(self) -> int | None:
        """Return the server's process id, or None when it does not run."""
        process = self._process()
        return process.pid if process else None

    def last_log_lines(self, n: int = 20) -> list[str]:
        """Return the last `n` lines of the server's log, the newest last."""
        with file_errors(f"cannot read the log of {self.title}"):
            return tail(self._log).splitlines()[-n:] if n > 0 else []

    @abstractmethod
    def version(self) -> str:
        """Return the version of the bundled server, such as "18.4"."""

    @abstractmethod
    def url(self) -> str:
        """Return the URL with the password, percent-encoded: a secret."""

    @abstractmethod
    def _talk(self, connection: socket.socket) -> Answer:
        """Given a connection, ask whether the server is ready. Raise OSError."""

    @abstractmethod
    def _is_main(self, argv: list[str]) -> bool:
        """Tell our main process by its argument list."""

    def _is_child(self, argv: list[str]) -> bool:
        """Tell what else of ours may outlive the main process."""
        return False

    @abstractmethod
    def _prepare(self, guard: FileLock, deadline: float) -> list[str]:
        """Make data and configuration ready (nothing runs now); return the command."""

    def _prepare_anchor(self) -> None:
        """Make the folder in which the locks lie."""
        parent = self._anchor.parent
        if not parent.exists():
            ensure_private_folder(parent, self._user)

    def _repair(self, failure: str, attempt: int) -> bool:
        """Given the log of a failed start, mend the data; True when a new try makes sense.

        `attempt` counts from 0.
        """
        return False

    def _explain(self, log: str) -> JanusError | None:
        """Given the log of a failed start, name a cause that has a better error."""
        return None

    def _lock_path(self, suffix: str) -> Path:
        return self._anchor.with_name(self._anchor.name + suffix)

    def _start_lock(self, timeout: float) -> FileLock:
        return FileLock(self._lock_path(".lock"), timeout, self._user)

    def _uid(self) -> int:
        return self._user.uid if self._user else os.geteuid()

    def _process(self) -> ProcessIdentity | None:
        # A child just forked still shows its parent's arguments: the oldest is the parent.
        found = find_processes(self._is_main, self._uid())
        return found[0] if found else None

    def _ask(self) -> Answer:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2.0)
            try:
                connection.connect(str(self._socket_path))
                self._check_peer(connection)
                return self._talk(connection)
            except (TimeoutError, BlockingIOError):
                return Answer.BUSY
            except PermissionError as error:
                raise BadConfiguration(
                    f"{self._socket_path} belongs to another user",
                    "run Janus as the user that started it, or choose another JANUS_HOME",
                ) from error
            except OSError:
                return Answer.ABSENT

    def _check_peer(self, connection: socket.socket) -> None:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, _ = struct.unpack("3i", credentials)
        if uid != self._uid():
            raise BadConfiguration(
                f"a server of uid {uid} listens on {self._socket_path}",
                "run Janus as the user that started it, or choose another JANUS_HOME",
            )

    def _settled(self, deadline: float) -> bool:
        """Wait for a server that somebody else started; False when one is to be started."""
        while True:
            answer = self._ask()
            if answer is Answer.UP:
                return True
            process = self._process()
            if process is None or answer is Answer.REFUSED:
                return False
            if answer is Answer.ABSENT and age(process) > _GRACE:
                return False
            if time.monotonic() >= deadline:
                raise self._unavailable(f"process {process.pid} is {answer.value}")
            time.sleep(0.05)

    def _stop_all(self, timeout: float) -> None:
        process = self._process()
        if process and not stop_process(process, timeout, sig=self.stop_signal):
            raise self._unavailable(f"process {process.pid} cannot be stopped")
        for orphan in find_processes(self._is_ours, self._uid()):
            stop_process(orphan, 0.0)

    def _is_ours(self, argv: list[str]) -> bool:
        return self._is_main(argv) or self._is_child(argv)

    def _launch(self, deadline: float) -> None:
        for attempt in itertools.count():
            guard = self._guard(deadline)
            try:
                command = self._prepare(guard, deadline)
                with file_errors(f"cannot read the log of {self.title}"):
                    before = self._log.stat().st_size if self._log.exists() else 0
                pid = start_detached(
                    command,
                    log=self._log,
                    user=self._user,
                    pass_fds=[guard.fd],
                )
            except BaseException:
                guard.release()
                raise
            guard.hand_over()
            if self._came_up(pid, deadline):
                return
            written = self._log.stat().st_size - before
            failure = tail(self._log, max(0, written) or 4096)
            if not self._repair(failure, attempt):
                raise self._failure(failure)

    def _guard(self, deadline: float) -> FileLock:
        guard = FileLock(
            self._lock_path(".guard"), max(5.0, deadline - time.monotonic()), self._user
        )
        try:
            guard.acquire()
        except Locked as error:
            raise Locked(
                f"a process that is not to be seen from here uses the data of {self.title}",
                f"stop the other container or machine that runs on {self._anchor}",
            ) from error
        return guard

    def _came_up(self, pid: int, deadline: float) -> bool:
        process = identify(pid)
        while process and is_same_process(process):
            if self._ask() is Answer.UP:
                return True
            if time.monotonic() >= deadline:
                raise self._unavailable("it is not ready yet, and goes on starting")
            time.sleep(0.02)
        return False

    def _failure(self, log: str) -> JanusError:
        last = "\n".join(log.splitlines()[-8:])
        if "No space left on device" in log or "Disk quota exceeded" in log:
            return NoSpace(f"{self.title} has no disk space to start:\n{last}", "free some space")
        return self._explain(log) or StoreUnavailable(
            f"{self.title} did not start:\n{last}", f"its log is {self._log}"
        )

    def _unavailable(self, reason: str) -> StoreUnavailable:
        last = "\n".join(self.last_log_lines(5))
        return StoreUnavailable(
            f"{self.title} does not answer: {reason}\n{last}".rstrip(),
            f"try again in a minute (a recovery may take long), or see {self._log}",
        )


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it. Raise BadConfiguration."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BadConfiguration(
            f"the package {package} is not installed", "install Janus again (install.sh)"
        )
    return Path(spec.submodule_search_locations[0])


def reachable_bundle(
    site: Path, parts: Sequence[str], program: str, store: Path, user: ServiceUser | None
) -> Path:
    """Return a folder in which `user` can run `program`, a path relative to it.

    That is `site` (site-packages), unless root installed Janus where `user`
    cannot go, say below /root: then a copy of `parts` under `store`, made once
    per version. Raise NoSpace or BadConfiguration.
    """
    places = [site / program, *(site / part for part in parts)]
    if user is None or all(_may_run(place, user) for place in places):
        return site
    with file_errors("cannot copy the programs of a service"):
        found = (site / program).stat()
        package = program.partition("/")[0]
        mark = f"{site}\0{found.st_size}\0{found.st_mtime_ns}"
        target = store / f"{package}-{hashlib.sha256(os.fsencode(mark)).hexdigest()[:12]}"
        store.mkdir(mode=0o755, parents=True, exist_ok=True)
        with FileLock(store / ".lock", timeout=60.0):
            if not target.exists():
                for older in store.glob(f"{package}-*"):
                    shutil.rmtree(older)
                partial = Path(tempfile.mkdtemp(prefix=f"{package}-partial.", dir=store))
                for part in parts:
                    shutil.copytree(site / part, partial / part, symlinks=True)
                _let_read(partial)
                os.sync()
                partial.rename(target)
    ensure_enterable(target / program, user)
    return target


def _may_run(path: Path, user: ServiceUser) -> bool:
    return may_access(path, user, os.R_OK | os.X_OK) and all(
        may_access(parent, user, os.X_OK) for parent in path.resolve().parents
    )


def _let_read(top: Path) -> None:
    for folder, _, files in os.walk(top):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
