"""The embedded profile: every service from wheels, without Docker.

Brings up what no URL in the settings points elsewhere: PostgreSQL, two Valkeys,
the chat model's server, the daemon. Any number of processes may call `up` and
`down`; each service is guarded by a lock of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from janus_core import secrets as secret_files
from janus_core.app import Janus
from janus_core.errors import BadConfiguration, JanusError, ModelUnavailable, StoreUnavailable
from janus_core.events import ServiceChanged, Sink, ignore
from janus_core.llm.shared_embedder import stop_servers
from janus_core.locations import packaged
from janus_core.node.heartbeat import STALE_S, Heartbeat
from janus_core.node.postgres import PostgresServer
from janus_core.node.valkey import ValkeyServer
from janus_core.offgrid import seal
from janus_core.processes import (
    FileLock,
    ServiceUser,
    ensure_enterable,
    ensure_private_folder,
    identify,
    may_access,
    start_detached,
    stop_process,
    tail,
)
from janus_core.stores.postgres import HEAD

State = Literal["up", "starting", "degraded", "down"]

_QUEUE_MB = 256
_CACHE_MB = 64
_DAEMON_START_S = 60.0


@dataclass(frozen=True)
class Service:
    """One service of the node, with what can be done to it."""

    name: str
    role: str
    start: Callable[[], object]
    stop: Callable[[], None]
    is_up: Callable[[], bool]
    detail: Callable[[], str]
    log: Path
    heal: Callable[[], object] | None = None
    """What the daemon calls while the service is down; None: `start`."""
    version: Callable[[], str] = str
    """Of the program that serves; empty where it is Janus itself."""


class EmbeddedNode:
    """The services of one installation on this machine."""

    def __init__(self, janus: Janus, *, user: ServiceUser | None) -> None:
        """`user` is whom root starts services as; None when this process is that user already."""
        self._janus = janus
        self._user = user
        self._locations = janus.locations
        self._heartbeat = Heartbeat(self._locations.runtime / "daemon.json")

    def prepare(self) -> None:
        """Make folders and secrets. Raise BadConfiguration naming the folder that is in the way."""
        self.check_interpreter()
        places = self._locations
        for folder in (
            places.config,
            places.data,
            places.data / "objects",
            places.state,
            places.logs,
            places.runtime,
        ):
            ensure_private_folder(folder, self._user)
        owner = (self._user.uid, self._user.gid) if self._user else None
        secret_files.load_or_create(places.secrets_file, owner)

    def services(self, *, retired: bool = False) -> list[Service]:
        """Return the services of this node, those first that others need.

        With `retired`, those as well that a URL in the settings has replaced.
        """
        stores, found = self._janus.settings.stores, list[Service]()
        if retired or stores.relational is None:
            found.append(self._postgres())
        if retired or stores.queue is None:
            found.append(self._valkey("queue", "queue", persistent=True, size_mb=_QUEUE_MB))
        if retired or stores.cache is None:
            found.append(self._valkey("cache", "cache", persistent=False, size_mb=_CACHE_MB))
        if retired or self._janus.settings.chat.url is None:
            found.append(self._chat())
        found.append(self._daemon())
        return found

    def up(self, sink: Sink = ignore) -> None:
        """Bring everything up, telling each service's state; quick when it is up already.

        The chat model's failure is told and does not stop the rest: search and
        quotes work without it. Raise the error of any other service.
        """
        self.prepare()
        services = {service.name: service for service in self.services()}
        daemon, chat = services.pop("worker"), services.pop("llm", None)
        with ThreadPoolExecutor(max_workers=len(services) + 1) as pool:
            talking = pool.submit(self._start_chat, chat, sink) if chat else None
            for done in [pool.submit(self._start, s, sink) for s in services.values()]:
                done.result()
            if not self._daemon_knows_schema():
                self._janus.database.migrate(packaged("migrations"))
            self._start(daemon, sink)
            if talking:
                talking.result()

    def down(self, sink: Sink = ignore) -> None:
        """Stop everything that `up` starts, the daemon first. Idempotent."""
        self._janus.close()
        # The settings may have changed since they were started.
        for service in reversed(self.services(retired=True)):
            running = service.is_up()
            service.stop()
            if running:
                sink(ServiceChanged(name=service.name, role=service.role, state="down"))
        stop_servers(self._locations.runtime)

    def names(self) -> list[str]:
        """Return the names of the services that the daemon keeps alive."""
        return [service.name for service in self.services() if service.name != "worker"]

    def heal(self, name: str) -> None:
        """Start a service again if it has died; called by the daemon every few seconds."""
        for service in self.services():
            if service.name == name and not service.is_up():
                (service.heal or service.start)()

    def states(self) -> Iterator[tuple[Service, State, str, int]]:
        """Yield (service, state, detail, latency in ms) for each service."""
        for service in self.services():
            began = time.perf_counter()
            up = service.is_up()
            took = round((time.perf_counter() - began) * 1000)
            beat = self._heartbeat.last() if service.name == "worker" else None
            state: State = "up" if up else "down"
            if up and beat and beat.age_s > STALE_S:
                state = "degraded"
            yield service, state, service.detail() if up else _last_line(service.log), took

    def _start(self, service: Service, sink: Sink) -> None:
        if not service.is_up():
            sink(ServiceChanged(name=service.name, role=service.role, state="starting"))
        try:
            service.start()
        except JanusError as error:
            sink(
                ServiceChanged(
                    name=service.name, role=service.role, state="down", detail=error.message
                )
            )
            raise
        sink(
            ServiceChanged(
                name=service.name, role=service.role, state="up", detail=service.detail()
            )
        )

    def _start_chat(self, chat: Service, sink: Sink) -> None:
        try:
            self._start(chat, sink)
        except (ModelUnavailable, BadConfiguration):
            return  # told as down by _start; everything but generation works

    def _postgres(self) -> Service:
        server = PostgresServer(
            self._locations.data / "postgres",
            self._locations.runtime,
            self._locations.logs / "postgres.log",
            self._janus.secrets["relational"].get_secret_value(),
            self._user,
        )
        return Service(
            "postgres",
            "relational, vectors",
            server.start,
            server.stop,
            server.is_up,
            lambda: f"PostgreSQL {server.version()}",
            self._locations.logs / "postgres.log",
            version=server.version,
        )

    def _valkey(self, name: str, role: str, *, persistent: bool, size_mb: int) -> Service:
        log = self._locations.logs / f"{name}.log"
        server = ValkeyServer(
            name,
            self._locations.data / name if persistent else None,
            self._locations.runtime,
            log,
            self._janus.secrets[name].get_secret_value(),
            self._user,
            persistent,
            size_mb,
        )
        return Service(
            name,
            role,
            server.start,
            server.stop,
            server.is_up,
            lambda: server.notice or f"Valkey {server.version()}",
            log,
            version=server.version,
        )

    def _chat(self) -> Service:
        server = self._janus.chat_server(self._user)
        return Service(
            "llm",
            "chat model",
            server.start,
            server.stop,
            server.is_up,
            server.describe,
            server.log,
            heal=server.check,
        )

    def _daemon(self) -> Service:
        log = self._locations.logs / "worker.log"
        return Service(
            "worker",
            "relay, jobs",
            lambda: self._start_daemon(log),
            self._stop_daemon,
            self._daemon_is_up,
            self._describe_daemon,
            log,
        )

    def _daemon_is_up(self) -> bool:
        beat = self._heartbeat.last()
        return beat is not None and beat.alive

    def _daemon_knows_schema(self) -> bool:
        """Whether a daemon runs that found this very schema: then nobody need ask again."""
        beat = self._heartbeat.last()
        return beat is not None and beat.alive and beat.schema == HEAD

    def _describe_daemon(self) -> str:
        beat = self._heartbeat.last()
        return f"{len(beat.workers)} worker process(es)" if beat else ""

    def _start_daemon(self, log: Path) -> None:
        with FileLock(self._locations.runtime / "daemon.start", timeout=30.0, owner=self._user):
            if self._daemon_is_up():
                return
            pid = start_detached(
                [sys.executable, "-P", "-m", "janus_core.worker", "daemon"],
                log=log,
                user=self._user,
                env=self.child_environment(),
            )
            deadline = time.monotonic() + _DAEMON_START_S
            while not self._daemon_is_up():
                ended = identify(pid) is None and not self._daemon_is_up()
                if ended or time.monotonic() > deadline:
                    raise StoreUnavailable(
                        "the worker daemon did not start", f"Its last lines: {tail(log)[-800:]}"
                    )
                time.sleep(0.02)

    def _stop_daemon(self) -> None:
        beat = self._heartbeat.last()
        if beat is not None and beat.alive:
            stop_process(beat.identity, term_timeout=30.0)

    def child_environment(self) -> dict[str, str]:
        """Return what a daemon or worker gets: our folders, settings and seals; nothing else."""
        kept = ("JANUS_", "LANG", "LC_", "TZ")
        environment = {k: v for k, v in os.environ.items() if k.startswith(kept)}
        environment["PATH"] = "/usr/bin:/bin"
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        environment["MALLOC_ARENA_MAX"] = "2"
        environment |= self._locations.to_environment()
        seal(environment)
        return environment

    def check_interpreter(self) -> None:
        """Raise BadConfiguration when the services' user cannot run this Python."""
        for needed in (Path(sys.executable).resolve(), Path(__file__)):
            ensure_enterable(needed, self._user)
            if not may_access(needed, self._user, os.R_OK):
                raise BadConfiguration(
                    f"{self._user.name if self._user else 'this user'} cannot read {needed}",
                    "Install Janus where every user can read it: ./install.sh --prefix /opt/janus",
                )


def _last_line(log: Path) -> str:
    lines = tail(log).splitlines()
    return lines[-1][:200] if lines else ""
