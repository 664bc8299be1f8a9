"""The one chat server of a machine: started detached, found by everyone, watched by the daemon.

The engine runs as an unprivileged process on a random port of the loopback,
with a random key. Both stand in 0600 files of the runtime folder:
`chat.orders.json` is what it shall do (there as long as it shall run),
`chat.json` what it does, `chat.watch.json` and `chat.restarts.json` what the
watchdog saw and did.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import secrets
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from janus_core.errors import BadConfiguration, JanusError, ModelUnavailable
from janus_core.llm.child import child_environment, module_command, run_as_argument
from janus_core.llm.client import Endpoint, HttpChatModel
from janus_core.llm.engine import (
    ENGINE_MODULES,
    ENGINE_PACKAGES,
    EngineName,
    Orders,
    Running,
    digest,
    read_running,
)
from janus_core.llm.gpus import detect_gpus
from janus_core.llm.models import ChatFile, find_chat
from janus_core.llm.probe import probe
from janus_core.processes import (
    FileLock,
    ProcessIdentity,
    ServiceUser,
    ensure_private_folder,
    identify,
    is_same_process,
    start_detached,
    stop_process,
    tail,
    write_private,
)

if TYPE_CHECKING:
    from janus_core.llm.base import ChatModel
    from janus_core.locations import Locations
    from janus_core.settings import ChatSettings

EngineChoice = Literal["auto", "llama-cpp-python", "xllamacpp"]
Health = Literal["up", "down", "restarted", "failing"]

log = logging.getLogger(__name__)

READY_WITHIN = 300.0
"""Seconds: a large model from a slow disk."""
STALLED_AFTER = 90.0
"""Seconds of work without a step forward. A step is one batch of a prompt or one token."""
_RESTARTS = (2.0, 10.0, 60.0, 300.0)
"""Seconds to wait before each restart after the one before; the last for all further ones."""
_LAYERS: dict[str, int] = {"auto": -1, "off": 0}
_CALM = 600.0
"""Seconds without a restart after which the waits begin anew."""


class ChatServer:
    """Starts, finds, stops and watches the chat server. Any number of these, in any process."""

    def __init__(
        self,
        models: Path,
        model: str,
        runtime: Path,
        log_file: Path,
        *,
        engine: EngineChoice = "auto",
        context: int = 4096,
        threads: int = 0,
        gpu: Literal["auto", "off"] | int = "auto",
        slots: int = 2,
        user: ServiceUser | None = None,
        ready_within: float = READY_WITHIN,
        stalled_after: float = STALLED_AFTER,
    ) -> None:
        """Given the models folder, a model's name and where files belong, look at nothing yet.

        `user` is whom a server started by root becomes. `threads` 0: one for
        each physical core.
        """
        self.log = log_file
        self._models = models
        self._model = model
        self._runtime = runtime
        self._engine: EngineChoice = engine
        self._context = context
        self._threads = threads
        self._gpu = gpu
        self._slots = slots
        self._user = user
        self._ready_within = ready_within
        self._stalled_after = stalled_after
        self._orders_file = runtime / "chat.orders.json"
        self._state_file = runtime / "chat.json"
        self._watch_file = runtime / "chat.watch.json"
        self._restarts_file = runtime / "chat.restarts.json"

    def start(self) -> Running:
        """Bring the server up with this model and these settings; quick when it is up already.

        One that follows other orders, or has stalled, is replaced. Raise NotFound
        for an unknown model, ModelUnavailable with the log's last lines when it
        does not get ready, BadConfiguration when no engine is installed, NoSpace.
        """
        model = find_chat(self._models, self._model)
        ensure_private_folder(self._runtime, self._user)
        with self._lock():
            orders = self._orders(model)
            running = self.info()
            is_wanted = running is not None and running.orders_digest == digest(orders)
            if running and is_wanted and self._answers(running):
                return running
            self._end()
            try:
                return self._launch(orders)
            except ModelUnavailable as error:
                if orders.gpu_layers == 0 or not detect_gpus():
                    raise
                log.warning("the chat model failed on the GPU, using the CPU: %s", error.message)
                return self._launch(replace(orders, gpu_layers=0))

    def stop(self) -> None:
        """Stop the server, whoever started it. Idempotent."""
        if not self._runtime.is_dir():
            return
        with self._lock():
            self._orders_file.unlink(missing_ok=True)
            self._end()

    def is_up(self) -> bool:
        """Tell whether it answers and does not stall."""
        running = self.info()
        return running is not None and self._answers(running)

    def info(self) -> Running | None:
        """Return what runs (model, engine, device, port …); None when nothing does."""
        running = read_running(self._state_file)
        if running is None or not is_same_process(_identity(running)):
            return None
        return running

    def describe(self) -> str:
        """Return one line for people: model, engine, device."""
        running = self.info()
        return f"{running.model} on {running.engine}, {running.device}" if running else ""

    def endpoint(self) -> Endpoint | None:
        """Return where it listens and its key; None when it does not run."""
        running = self.info()
        if running is None:
            return None
        return Endpoint(f"http://127.0.0.1:{running.port}/v1", self._api_key())

    def check(self) -> Health:
        """Restart a dead or stalled server that should run; called by the daemon every few seconds.

        A server that dies again and again is restarted ever more slowly.
        `failing`: it is down and its next restart is not due yet, or failed now.
        """
        if not self._orders_file.exists():
            return "down"
        if self.is_up():
            return "up"
        last = _read(self._restarts_file)
        since = abs(time.time() - last.get("at", 0.0))
        count = int(last.get("count", 0)) if since < _CALM else 0
        if count and since < _RESTARTS[min(count, len(_RESTARTS)) - 1]:
            return "failing"
        self._write(self._restarts_file, {"count": count + 1, "at": time.time()})
        log.warning("the chat server is dead or stalled: starting it again")
        try:
            self.start()
        except JanusError as error:
            log.error("the chat server does not start: %s", error.message)
            return "failing"
        return "restarted"

    def _lock(self) -> FileLock:
        return FileLock(
            self._runtime / "chat.lock", timeout=self._ready_within + 30.0, owner=self._user
        )

    def _orders(self, model: ChatFile) -> Orders:
        import psutil

        from janus_core.llm.embedding import physical_cores

        context = self._context
        if model.context_length:
            context = min(context, model.context_length)
        return Orders(
            engine=choose_engine(self._engine),
            model=model.name,
            model_path=str(model.path),
            sha256=model.sha256,
            context=context,
            threads=self._threads or physical_cores(),
            batch=256,
            gpu=str(self._gpu),
            gpu_layers=self._gpu if isinstance(self._gpu, int) else _LAYERS[self._gpu],
            slots=self._slots,
            cache_mib=min(512, psutil.virtual_memory().total // 2**20 // 16),
            api_key=secrets.token_urlsafe(32),
            orders_file=str(self._orders_file),
            state_file=str(self._state_file),
        )

    def _launch(self, orders: Orders) -> Running:
        self._state_file.unlink(missing_ok=True)
        write_private(self._orders_file, json.dumps(asdict(orders)), self._user)
        began = self.log.stat().st_size if self.log.exists() else 0
        pid = start_detached(
            module_command(
                ENGINE_MODULES[orders.engine],
                *("--orders", str(self._orders_file)),
                *run_as_argument(self._user),
            ),
            log=self.log,
            env=child_environment(),
        )
        process = identify(pid)
        deadline = time.monotonic() + self._ready_within
        while time.monotonic() < deadline:
            running = self.info()
            if running is not None and probe(running, orders.api_key).answers:
                return running
            if process is None or not is_same_process(process):
                raise self._failure("the chat server ended while it loaded", orders, began)
            time.sleep(0.05)
        stop_process(process, term_timeout=0.0) if process else None
        raise self._failure(
            f"the chat server was not ready within {self._ready_within:.0f} s", orders, began
        )

    def _failure(self, what: str, orders: Orders, began: int) -> ModelUnavailable:
        size = self.log.stat().st_size if self.log.exists() else 0
        lines = tail(self.log, max(0, size - began) or 1).strip().splitlines()[-4:]
        said = " | ".join(line.strip() for line in lines)
        return ModelUnavailable(
            f"{what} {orders.model} with {orders.engine}" + (f": {said}" if said else ""),
            f"Check the model with `janus models test {orders.model}`, or choose another; "
            f"the log is {self.log}.",
        )

    def _end(self) -> None:
        running = self.info()
        if running is not None:
            stop_process(_identity(running), term_timeout=3.0)
        self._state_file.unlink(missing_ok=True)

    def _answers(self, running: Running) -> bool:
        """Ask the server for its progress; False when it is silent or stuck for too long."""
        seen = probe(running, self._api_key())
        if seen.answers and not seen.busy:
            self._watch_file.unlink(missing_ok=True)
            return True
        now = time.monotonic()
        mark = f"{running.pid} {seen.steps}"
        watch = _read(self._watch_file)
        if watch.get("mark") != mark or now < watch.get("since", 0.0):
            self._write(self._watch_file, {"mark": mark, "since": now})
            return True
        return bool(now - watch["since"] < self._stalled_after)

    def _api_key(self) -> str:
        return str(_read(self._orders_file).get("api_key", ""))

    def _write(self, path: Path, values: dict[str, Any]) -> None:
        write_private(path, json.dumps(values), self._user)


def choose_engine(wanted: EngineChoice) -> EngineName:
    """Given the setting, return the engine to use: `auto` takes the first that is installed.

    The order is decided in docs/decisions/002. Raise BadConfiguration when it is not installed.
    """
    names: list[EngineName] = list(ENGINE_PACKAGES) if wanted == "auto" else [wanted]
    for name in names:
        if all(importlib.util.find_spec(package) for package in ENGINE_PACKAGES[name]):
            return name
    raise BadConfiguration(
        f"no chat engine is installed ({', '.join(names)})",
        "Run ./install.sh again; it installs one.",
    )


def chat_server(
    locations: Locations, chat: ChatSettings, user: ServiceUser | None = None
) -> ChatServer:
    """Given an installation and its settings, return the server of its chat model."""
    return ChatServer(
        locations.models,
        chat.model,
        locations.runtime,
        locations.logs / "llm.log",
        engine=chat.engine,
        context=chat.context,
        threads=chat.threads,
        gpu=chat.gpu,
        user=user,
    )


def open_chat(locations: Locations, chat: ChatSettings) -> ChatModel:
    """Given an installation and its settings, return its chat model.

    `chat.url` may name another server (`https://KEY@host/v1`) or, in tests, a
    script (`scripted:///file.json`). Nothing is started. Raise ModelUnavailable
    when our own server is down, BadConfiguration for a URL that makes no sense.
    """
    if chat.url is not None:
        return open_url(chat.url.get_secret_value(), chat.model)
    server = chat_server(locations, chat)
    endpoint = server.endpoint()
    if endpoint is None:
        raise ModelUnavailable("the chat server is not running", "Start it: janus up.")
    return HttpChatModel(endpoint.base_url, endpoint.api_key, chat.model, locate=server.endpoint)


def open_url(url: str, name: str) -> ChatModel:
    """Given a URL of a chat model, open it. Raise BadConfiguration."""
    parts = urlsplit(url)
    if parts.scheme == "scripted":
        from janus_core.llm.scripted import open_script

        return open_script(Path(parts.path))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadConfiguration(
            "chat.url is no address of a server", "Write it like http://host:8080/v1."
        )
    address = parts.netloc.rpartition("@")[2]
    key = unquote(parts.password or parts.username or "")
    return HttpChatModel(f"{parts.scheme}://{address}{parts.path.rstrip('/') or '/v1'}", key, name)


def _identity(running: Running) -> ProcessIdentity:
    return ProcessIdentity(running.pid, running.started, running.boot)


def _read(path: Path) -> dict[str, Any]:
    """Return what a small file of ours holds; nothing when it is missing or torn."""
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return values
    return {}
