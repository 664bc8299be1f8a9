"""What both chat engines share: their orders, and how they say that they are ready.

An engine is a process that loads one GGUF model and serves it on a random
port of the loopback, in OpenAI's API. It is told what to do by a file that
only its user can read, because arguments and environments can be read by others.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from janus_core.errors import BadConfiguration, JanusError
from janus_core.llm.child import become
from janus_core.offgrid import seal
from janus_core.processes import identify, write_private

EngineName = Literal["llama-cpp-python", "xllamacpp"]
ENGINE_PACKAGES: dict[EngineName, tuple[str, ...]] = {
    "llama-cpp-python": ("llama_cpp", "uvicorn"),
    "xllamacpp": ("xllamacpp",),
}
"""What each engine imports. `auto` takes the first engine whose packages are all here."""
ENGINE_MODULES: dict[EngineName, str] = {
    "xllamacpp": "janus_core.llm.engine_xllamacpp",
    "llama-cpp-python": "janus_core.llm.engine_llama_cpp",
}

log = logging.getLogger("janus.engine")


@dataclass(frozen=True, slots=True)
class Orders:
    """What an engine is told. Written by `ChatServer`, read once by the engine."""

    engine: EngineName
    model: str
    """Name shown to people and clients."""
    model_path: str
    sha256: str
    context: int
    """Tokens that prompt and answer may have together."""
    threads: int
    batch: int
    """Tokens of a prompt worked on at once: a cancelled prompt frees the engine after one."""
    gpu: str
    """The setting: auto, off or a number of layers."""
    gpu_layers: int
    """What became of it: 0 none, -1 as many as fit. 0 also when the GPU failed."""
    slots: int
    """Prompts kept and answered side by side, where the engine can."""
    cache_mib: int
    """Memory for prompts seen before, where the engine can."""
    api_key: str
    orders_file: str
    state_file: str


@dataclass(frozen=True, slots=True)
class Running:
    """A ready engine: the content of its state file, written by the engine itself."""

    pid: int
    started: int
    """Of the process, in clock ticks since boot; tells it from a later one with its pid."""
    boot: str
    port: int
    engine: EngineName
    model: str
    sha256: str
    context: int
    device: str
    """`cpu`, or the name of the GPU in use."""
    orders_digest: str
    """Of the orders it follows, without the key."""


def digest(orders: Orders) -> str:
    """Given orders, return what tells them from others: all that was asked for, not the key."""
    values = asdict(orders)
    del values["api_key"], values["gpu_layers"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def announce(orders: Orders, port: int, device: str) -> None:
    """Tell that this process serves on `port` now, and end it when its place is taken.

    Ends it at once if its orders are no longer those that stand: whoever gave
    them was killed meanwhile, and another engine follows newer ones.
    """
    if not _stand(orders):
        log.info("the orders have changed: ending")
        os._exit(0)
    me = identify(os.getpid())
    if me is None:
        raise BadConfiguration("/proc does not show this process", "Mount /proc.")
    running = Running(
        pid=me.pid,
        started=me.started,
        boot=me.boot,
        port=port,
        engine=orders.engine,
        model=orders.model,
        sha256=orders.sha256,
        context=orders.context,
        device=device,
        orders_digest=digest(orders),
    )
    write_private(Path(orders.state_file), json.dumps(asdict(running)) + "\n", None)
    log.info("serving %s on port %d (%s)", orders.model, port, device)
    threading.Thread(target=_end_when_replaced, args=(orders,), daemon=True).start()


def _stand(orders: Orders) -> bool:
    try:
        values = json.loads(Path(orders.orders_file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("api_key") == orders.api_key


def _end_when_replaced(orders: Orders) -> None:
    while True:
        time.sleep(5.0)
        running = read_running(Path(orders.state_file))
        if running is None or running.pid != os.getpid():
            log.info("nobody can find this server any more: ending")
            os._exit(0)


def read_running(state_file: Path) -> Running | None:
    """Given a state file, return what it holds; None when there is none or it makes no sense."""
    try:
        values: dict[str, Any] = json.loads(state_file.read_text(encoding="utf-8"))
        return Running(**values)
    except (OSError, ValueError, TypeError):
        return None


def run_engine(libraries: Sequence[str], serve: Callable[[Orders], None]) -> int:
    """Run an engine from the shell (`--orders FILE [--run-as USER]`); return the exit status.

    `libraries` are imported with the rights that the process began with;
    `serve` runs with those of `--run-as`, and returns only on failure.
    """
    seal()
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--run-as", default="")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # At once, without unloading: clients see the connection end, memory goes with the process.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        for library in libraries:
            importlib.import_module(library)
        become(given.run_as)
        serve(Orders(**json.loads(given.orders.read_text(encoding="utf-8"))))
    except JanusError as error:
        log.error("%s", error.message)
    except ImportError as error:
        log.error("the engine is not installed: %s", error)
    except (OSError, ValueError, RuntimeError) as error:
        log.error("cannot serve the model: %s", error)
    sys.stderr.flush()
    return 1
