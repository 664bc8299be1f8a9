"""What `janus status` tells: services, queue, stores and models, within a second.

Nothing here starts anything, and a store that is down makes the picture poorer,
not the command fail.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from janus_core.app import Janus
from janus_core.errors import JanusError, NotInitialised
from janus_core.node.embedded import EmbeddedNode, State
from janus_core.node.profile import recorded_profile
from janus_core.processes import service_user

_NO_QUEUE = dict.fromkeys(("ready", "running", "delayed", "failed", "quarantined"), 0)
_NO_STORES = dict.fromkeys(
    ("documents", "chunks", "vectors", "entities", "relations", "objects", "bytes"), 0
)


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One service as it is now. `latency_ms`: what asking it took."""

    name: str
    role: str
    state: State
    version: str
    latency_ms: int
    detail: str


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """The models in use. A server on demand that does not run now is `idle`."""

    name: str
    state: str
    """up, down, external or missing."""
    context: int
    embeddings: str
    """Id of the embedding model; empty when it is missing."""
    embeddings_state: str
    """up, idle or missing."""


@dataclass(frozen=True, slots=True)
class Status:
    """The node at a glance, in the words of CLI.md's `status`."""

    profile: str
    healthy: bool
    services: tuple[ServiceHealth, ...]
    device: str
    queue: Mapping[str, int]
    stores: Mapping[str, int]
    model: ModelHealth
    backup: Mapping[str, Any]
    trouble: tuple[Mapping[str, str], ...] = field(default=())
    """What could not be found out, each with message and hint."""

    @property
    def running(self) -> bool:
        """Whether any service runs."""
        return any(service.state != "down" for service in self.services)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON of CLI.md."""
        return asdict(self)


def status(janus: Janus) -> Status:
    """Return how the node is. Raise NotInitialised, or BadConfiguration for a wrong setting."""
    if not janus.is_initialised():
        raise NotInitialised("Janus was never brought up here", "Run: janus up")
    services = tuple(services_health(janus))
    trouble: list[Mapping[str, str]] = []
    queue, stores = _NO_QUEUE, _NO_STORES
    by_name = {service.name: service for service in services}
    if by_name["postgres"].state == "up":
        try:
            queue, stores = _counts(janus)
        except JanusError as error:
            trouble.append({"message": error.message, "hint": error.hint})
    model, device = _models(janus, by_name.get("llm"))
    up = all(service.state == "up" for service in services)
    return Status(
        profile=recorded_profile(janus) or "embedded",
        healthy=up and not trouble and "missing" not in (model.state, model.embeddings_state),
        services=services,
        device=device,
        queue=queue,
        stores=stores,
        model=model,
        backup={"last": None, "age_s": None, "verified": False},
        trouble=tuple(trouble),
    )


def services_health(janus: Janus) -> Iterator[ServiceHealth]:
    """Yield the state of every service of this node, those that a URL points elsewhere as well."""
    stores = janus.settings.stores
    elsewhere: list[tuple[str, str, bool, Callable[[], str]]] = [
        ("postgres", "relational, vectors", stores.relational is not None, _ask_postgres(janus)),
        ("queue", "queue", stores.queue is not None, _ask_queue(janus)),
        ("cache", "cache", stores.cache is not None, lambda: janus.live.version()),
    ]
    for name, role, external, ask in elsewhere:
        if external:
            yield _asked(name, role, ask)
    node = EmbeddedNode(janus, user=service_user())
    for service, state, detail, latency_ms in node.states():
        version = service.version() if state == "up" else ""
        yield ServiceHealth(service.name, service.role, state, version, latency_ms, detail)


def _asked(name: str, role: str, ask: Callable[[], str]) -> ServiceHealth:
    began = time.perf_counter()
    state: State = "up"
    version = detail = ""
    try:
        version = ask()
    except JanusError as error:
        state, detail = "down", error.message
    took = round((time.perf_counter() - began) * 1000)
    return ServiceHealth(name, role, state, version, took, detail)


def _ask_postgres(janus: Janus) -> Callable[[], str]:
    def ask() -> str:
        from sqlalchemy import text

        with janus.database.transaction() as tx:
            return str(tx.scalar(text("SHOW server_version")))

    return ask


def _ask_queue(janus: Janus) -> Callable[[], str]:
    def ask() -> str:
        janus.broker.depth()
        return ""

    return ask


def _counts(janus: Janus) -> tuple[dict[str, int], dict[str, int]]:
    from janus_core.queue import jobs
    from janus_core.stores import catalogue

    janus.database.check_schema()
    with janus.database.transaction() as tx:
        queue, stores = jobs.counts(tx), _NO_STORES | catalogue.counts(tx)
    index = _embedding_id(janus)
    if index:
        stores["vectors"] = janus.vectors.count(index)
    return queue, stores


def _embedding_id(janus: Janus) -> str:
    """The id of the embedding model in use, "" when it is not there."""
    from janus_core.llm.models import find_embedding

    try:
        return find_embedding(janus.locations.models, janus.settings.embeddings.model).id
    except JanusError:
        return ""


def _models(janus: Janus, llm: ServiceHealth | None) -> tuple[ModelHealth, str]:
    """Return the models' state and the device that they run on."""
    from janus_core.llm.models import find_chat

    chat = janus.settings.chat
    if llm is None:
        state = "external"
    else:
        state = "up" if llm.state == "up" else "down"
        try:
            find_chat(janus.locations.models, chat.model)
        except JanusError:
            state = "missing"
    embeddings = _embedding_id(janus)
    info = janus.embedder.info() if embeddings else None
    embeddings_state = "missing" if not embeddings else "up" if info else "idle"
    running = janus.chat_server(service_user()).info() if state == "up" else None
    device = (running.device if running else "") or str((info or {}).get("device") or "cpu")
    if device == "cpu":
        device = f"cpu, {os.cpu_count()} cores"
    return ModelHealth(chat.model, state, chat.context, embeddings, embeddings_state), device
