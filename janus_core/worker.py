"""The background: one daemon a node, and the worker processes it looks after.

    python -m janus_core.worker daemon                     relay, sweeper, sequencer, supervisor
    python -m janus_core.worker process OWNER PARENT       claims jobs (as does `janus worker`)
    python -m janus_core.worker alone JOB OWNER PARENT     runs one suspect job by itself

OWNER names the process in its jobs' leases, PARENT is the pid of the process that
started it and with which it ends.

Each loop of the daemon survives the loss of a store: it says so once, waits, and
goes on. Killed at any moment, it leaves nothing that its successor does not find.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from janus_core import offgrid

offgrid.seal()

from janus_core.actors import declare, quarantine, run_job  # noqa: E402 (after the switches are set)
from janus_core.app import Janus, open_janus  # noqa: E402
from janus_core.errors import JanusError, Locked  # noqa: E402
from janus_core.node.embedded import EmbeddedNode  # noqa: E402
from janus_core.node.heartbeat import Heartbeat  # noqa: E402
from janus_core.processes import FileLock, ServiceUser, service_user, set_soon  # noqa: E402
from janus_core.queue import jobs, outbox  # noqa: E402
from janus_core.stores import journal  # noqa: E402
from janus_core.stores.files import FileObjects  # noqa: E402

log = logging.getLogger("janus")

_RENEW_S = 5
_ALONE_S = 3600
_LAST_WORK_MS = 3_000
"""What a worker that is asked to stop may still take to finish its jobs."""
_STARTED_S = 10
_RESTART_PAUSE_S = (0.2, 1.0, 5.0, 15.0)
_PR_SET_PDEATHSIG = 1


def new_owner() -> str:
    """Return a token that names this process as the owner of jobs, for ever."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def run_process(janus: Janus, stop: threading.Event, *, threads: int, owner: str) -> None:
    """Do jobs until `stop` is set; jobs that run then are finished or given back."""
    import dramatiq

    services, running = janus.services, set[str]()
    declare(janus.broker, lambda job_id: run_job(services, job_id, owner, running=running))
    renewer = _Loop("renew leases", _RENEW_S, lambda: _renew(janus, running), stop)
    worker = dramatiq.Worker(janus.broker.dramatiq, worker_threads=threads, worker_timeout=100)
    worker.start()
    renewer.start()
    log.info("worker %s: %d threads", owner, threads)
    stop.wait()
    worker.stop(timeout=_LAST_WORK_MS)
    # What still runs is given back now rather than when its lease ends: it goes on
    # from what it has kept.
    with contextlib.suppress(JanusError):
        jobs.release(janus.database, owner=owner, counts=False)


def _renew(janus: Janus, running: set[str]) -> None:
    """Renew the leases of what is being done; a job that nobody works on any more is let go."""
    for token in tuple(running):
        jobs.renew(janus.database, token)


def run_alone(janus: Janus, job_id: uuid.UUID, owner: str) -> None:
    """Run a suspect job with nothing else in the process."""
    stop, running = threading.Event(), set[str]()
    _Loop("renew leases", _RENEW_S, lambda: _renew(janus, running), stop).start()
    run_job(janus.services, job_id, owner, alone=True, running=running)
    stop.set()


def run_foreground(janus: Janus, stop: threading.Event, *, processes: int, threads: int) -> None:
    """Look after worker processes of this caller's until `stop` is set.

    They do jobs of whatever queue the settings name, beside the daemon's own
    workers. Root's run as the services' user. Raise NotInitialised,
    StoreUnavailable, TooNew, or BadConfiguration.
    """
    janus.require_up()
    user = service_user()
    node = EmbeddedNode(janus, user=user)
    node.check_interpreter()
    environment = node.child_environment() | {"JANUS_WORKER__THREADS": str(threads)}
    spawn = functools.partial(_spawn, user=user, env=environment)
    workers = [_WorkerProcess(janus, spawn) for _ in range(processes)]
    try:
        while not stop.wait(0.1):
            for worker in workers:
                worker.tend()
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.wait_or_kill(25.0)


class Daemon:
    """Owns the loops and the worker processes of a node."""

    def __init__(self, janus: Janus) -> None:
        self._janus = janus
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._node = EmbeddedNode(janus, user=None)
        self._workers: list[_WorkerProcess] = []
        self._alone: subprocess.Popen[bytes] | None = None
        self._alone_from = 0.0

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raise Locked when this node has a daemon already."""
        runtime = self._janus.locations.runtime
        with FileLock(runtime / "daemon.lock"):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: set_soon(self._stop))
            database, broker = self._janus.database, self._janus.broker
            loops = [
                _Loop("listen", 0.5, self._listen, self._stop),
                _Loop("relay", 1.0, lambda: self._relay(), self._stop, self._wake),
                _Loop("release", 2.0, lambda: jobs.release(database), self._stop),
                _Loop("sweep", 3.0, lambda: outbox.sweep(database, broker), self._stop),
                _Loop("prune", 60.0, self._prune, self._stop),
                _Loop("sequence", 1.0, lambda: journal.sequence(database), self._stop),
            ]
            # One loop each: a service that cannot start keeps no other from healing.
            loops += [
                _Loop(f"service {name}", 2.0, functools.partial(self._node.heal, name), self._stop)
                for name in self._node.names()
            ]
            for loop in loops:
                loop.start()
            log.info("daemon %d up", os.getpid())
            try:
                self._supervise(Heartbeat(runtime / "daemon.json"))
            finally:
                self._shut_down(loops)

    def _supervise(self, heartbeat: Heartbeat) -> None:
        """Keep the worker processes running; run suspects alone."""
        # Children are started by this thread only: their death signal follows the
        # thread that made them, and this one ends last.
        wanted = self._janus.settings.worker.processes
        self._workers = [_WorkerProcess(self._janus) for _ in range(wanted)]
        checked, schema = 0.0, ""
        while not self._stop.wait(0.1):
            for worker in self._workers:
                worker.tend()
            if time.monotonic() - checked > 1.0:
                checked = time.monotonic()
                if not schema:
                    with contextlib.suppress(JanusError):
                        schema = self._janus.database.revision() or ""
                try:
                    heartbeat.beat([w.pid for w in self._workers if w.pid], schema)
                    self._tend_suspects()
                except (JanusError, OSError) as error:
                    log.warning("supervising: %s", error)

    def _tend_suspects(self) -> None:
        if self._alone is not None or time.monotonic() < self._alone_from:
            return
        job_id = jobs.next_suspect(self._janus.database)
        if job_id is None:
            return
        log.warning("job %s killed its worker %d times: run alone", job_id, jobs.MAX_ATTEMPTS)
        owner = new_owner()
        self._alone = _spawn("alone", str(job_id), owner)
        arguments = (job_id, owner, self._alone)
        threading.Thread(target=self._await_alone, args=arguments, daemon=True).start()

    def _await_alone(self, job_id: uuid.UUID, owner: str, process: subprocess.Popen[bytes]) -> None:
        try:
            code = process.wait(_ALONE_S)
            reason = f"it killed a process that did nothing else ({_describe_exit(code)})"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code, reason = -signal.SIGKILL, f"it did not finish within {_ALONE_S // 60} minutes"
        database = self._janus.database
        if not self._stop.is_set():
            with contextlib.suppress(JanusError):
                if code < 0 and code != -signal.SIGTERM:
                    quarantine(database, job_id, reason)
                elif code != 0:
                    # It ended by itself, because a store was down, say: not the document's fault.
                    log.warning("job %s, run alone: %s", job_id, _describe_exit(code))
                    self._alone_from = time.monotonic() + _RESTART_PAUSE_S[-1]
                    jobs.release(database, owner=owner, counts=False)
        self._alone = None

    def _listen(self) -> None:
        """Wake the relay as soon as an outbox row is committed. Returns when stopped."""
        import psycopg

        url = self._janus.urls.relational.replace("postgresql+psycopg://", "postgresql://", 1)
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"LISTEN {jobs.CHANNEL}")
            self._wake.set()
            while not self._stop.is_set():
                for _ in connection.notifies(timeout=1.0, stop_after=1):
                    self._wake.set()

    def _relay(self) -> None:
        self._wake.clear()
        while not self._stop.is_set() and outbox.relay(self._janus.database, self._janus.broker):
            pass

    def _prune(self) -> None:
        outbox.prune(self._janus.database)
        objects = self._janus.objects
        if isinstance(objects, FileObjects):
            objects.sweep_staging()

    def _shut_down(self, loops: Sequence[_Loop]) -> None:
        self._stop.set()
        self._wake.set()
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.wait_or_kill(10.0)
        if self._alone is not None:
            self._alone.kill()
        for loop in loops:
            loop.join(timeout=5.0)
        log.info("daemon %d down", os.getpid())


class _Loop(threading.Thread):
    """Calls something again and again; failures are logged once until they pass."""

    def __init__(
        self,
        name: str,
        every_s: float,
        step: Callable[[], object],
        stop: threading.Event,
        wake: threading.Event | None = None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._every_s, self._step, self._stopping, self._wake = every_s, step, stop, wake

    def run(self) -> None:
        failing = ""
        while not self._stopping.is_set():
            try:
                self._step()
                if failing:
                    log.info("%s: works again", self.name)
                failing = ""
            except Exception as error:
                message = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
                if message != failing:
                    expected = isinstance(error, JanusError)
                    log.warning("%s: %s", self.name, message, exc_info=not expected)
                failing = message
            (self._wake or self._stopping).wait(self._every_s)


class _WorkerProcess:
    """One worker process, started again when it ends, its jobs given back at once."""

    def __init__(
        self, janus: Janus, spawn: Callable[..., subprocess.Popen[bytes]] | None = None
    ) -> None:
        self._janus = janus
        self._spawn = spawn or _spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = ""
        self._started = 0.0
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """The process id, None while it is down."""
        return self._process.pid if self._process else None

    def tend(self) -> None:
        """Start the process if it is not there."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            log.warning("worker %s ended: %s", self._owner, _describe_exit(code))
            self._process = None
            # Pauses are for processes that cannot even start; a job that kills is found out.
            worked = time.monotonic() - self._started > _STARTED_S
            with contextlib.suppress(JanusError):
                worked |= jobs.release(self._janus.database, owner=self._owner) > 0
            self._deaths = 0 if worked else self._deaths + 1
        pause = _RESTART_PAUSE_S[min(self._deaths, len(_RESTART_PAUSE_S) - 1)]
        if self._deaths and time.monotonic() - self._started < pause:
            return
        self._owner, self._started = new_owner(), time.monotonic()
        try:
            self._process = self._spawn("process", self._owner)
        except OSError as error:  # no memory, too many processes: it may pass
            self._deaths += 1
            log.warning("cannot start a worker: %s", error)

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    def wait_or_kill(self, timeout_s: float) -> None:
        """Wait for the end; kill after `timeout_s`."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _spawn(
    *arguments: str, user: ServiceUser | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "janus_core.worker", *arguments, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        env=env,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )


def _describe_exit(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit {code}"


def _die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies; end if that is dead already.

    The parent says who it is: it may have died while this process still loaded its modules.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def main(arguments: Sequence[str]) -> int:
    """Run one of the three; see the module."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(processName)s[%(process)d] %(name)s: %(message)s",
    )
    match list(arguments):
        case ["daemon"]:
            with open_janus(role="daemon") as janus:
                try:
                    Daemon(janus).run()
                except Locked:
                    log.info("this node has a daemon already")
        case ["process", owner, parent]:
            _die_with_parent(int(parent))
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: set_soon(stop))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            with open_janus(role="worker") as janus:
                threads = janus.settings.worker.threads
                run_process(janus, stop, threads=threads, owner=owner)
            logging.shutdown()
            os._exit(0)  # a thread in the middle of a job would keep the interpreter waiting
        case ["alone", job, owner, parent]:
            _die_with_parent(int(parent))
            with open_janus(role="worker") as janus:
                run_alone(janus, uuid.UUID(job), owner)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
