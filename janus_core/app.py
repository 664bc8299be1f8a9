"""The composition root: the only place that opens adapters.

`open_janus()` reads settings and secrets and gives a `Janus`, whose parts are
made when they are first used: a command that lists documents never loads a model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import SecretStr

from janus_core import secrets as secret_files
from janus_core.errors import NotInitialised
from janus_core.llm.base import ChatModel
from janus_core.locations import Locations, locate
from janus_core.processes import file_errors
from janus_core.secrets import Secrets
from janus_core.settings import LoadedSettings, Settings, load_settings
from janus_core.stores.base import ObjectStore, VectorStore
from janus_core.stores.postgres import Database

if TYPE_CHECKING:
    from janus_core.agents.conversation import Asking
    from janus_core.ingestion.intake import Intake
    from janus_core.ingestion.services import Services
    from janus_core.llm.server import ChatServer
    from janus_core.llm.shared_embedder import SharedEmbedder
    from janus_core.processes import ServiceUser
    from janus_core.queue.broker import Broker
    from janus_core.retrieval.search import Searcher
    from janus_core.stores.redis import LiveEvents

Role = Literal["command", "daemon", "worker"]


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """One URL a store; every one of them may hold a password."""

    relational: str
    vectors: str
    objects: str
    queue: str
    cache: str


def store_urls(locations: Locations, settings: Settings, secrets: Secrets) -> StoreUrls:
    """Return the URL of each store: the one that is set, else the embedded service's."""
    socket_folder = locations.runtime.resolve()
    password = {
        name: quote(secrets[name].get_secret_value(), safe="") for name in secret_files.NAMES
    }
    relational = _given(settings.stores.relational) or (
        f"postgresql+psycopg://janus:{password['relational']}@/janus?host={quote(str(socket_folder))}"
    )
    # The vectors follow the relational database, unless they are told where to go.
    vectors = _given(settings.stores.vectors) or relational.replace(
        "postgresql+psycopg://", "pgvector+postgresql://", 1
    )
    return StoreUrls(
        relational=relational,
        vectors=vectors,
        objects=_given(settings.stores.objects) or (locations.data / "objects").as_uri(),
        queue=_given(settings.stores.queue) or _valkey(socket_folder, "queue", password),
        cache=_given(settings.stores.cache) or _valkey(socket_folder, "cache", password),
    )


def _given(url: SecretStr | None) -> str:
    return url.get_secret_value() if url else ""


def _valkey(folder: object, name: str, password: Mapping[str, str]) -> str:
    return f"redis+unix://:{password[name]}@{quote(f'{folder}/{name}.sock')}?db=0"


class Janus:
    """Everything a command, the daemon or a worker works with. Use as a context manager."""

    def __init__(self, locations: Locations, loaded: LoadedSettings, role: Role) -> None:
        self.locations = locations
        self.loaded = loaded
        self.settings = loaded.settings
        self.role = role

    @cached_property
    def secrets(self) -> Secrets:
        """The generated secrets. Raise NotInitialised before the first `janus up`."""
        return secret_files.load(self.locations.secrets_file)

    @cached_property
    def urls(self) -> StoreUrls:
        """The URL of each store."""
        return store_urls(self.locations, self.settings, self.secrets)

    @cached_property
    def database(self) -> Database:
        """The relational database; nothing is connected yet."""
        # A worker thread holds its job's row on one connection while an adapter
        # writes on a second.
        threads = self.settings.worker.threads
        size = {"command": 2, "daemon": 4, "worker": 2 * threads + 2}[self.role]
        return Database(self.urls.relational, pool_size=size, name=f"janus {self.role}")

    @cached_property
    def vectors(self) -> VectorStore:
        """The vector store."""
        from janus_core.stores.registry import open_vectors

        return open_vectors(self.urls.vectors, self.database, self.urls.relational)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        from janus_core.stores.registry import open_objects

        return open_objects(self.urls.objects)

    @cached_property
    def broker(self) -> Broker:
        """The queue's broker."""
        from janus_core.queue.broker import Broker

        return Broker(self.urls.queue)

    @cached_property
    def live(self) -> LiveEvents:
        """The channel of live events."""
        from janus_core.stores.redis import LiveEvents

        return LiveEvents(self.urls.cache)

    @cached_property
    def embedder(self) -> SharedEmbedder:
        """The embedder that all processes of this machine share."""
        from janus_core.llm.models import find_embedding
        from janus_core.llm.shared_embedder import SharedEmbedder
        from janus_core.processes import service_user

        chosen = self.settings.embeddings
        return SharedEmbedder(
            find_embedding(self.locations.models, chosen.model).path,
            self.locations.runtime,
            self.locations.logs / "embeddings.log",
            user=service_user(),
            threads=chosen.threads,
            gpu=chosen.gpu,
            idle_seconds=chosen.idle_s,
        )

    @cached_property
    def searcher(self) -> Searcher:
        """Finds passages."""
        from janus_core.retrieval.search import Searcher

        return Searcher(self.database, self.vectors, self.embedder)

    def chat_server(self, user: ServiceUser | None) -> ChatServer:
        """Return the chat model's server; `user` is whom root starts it as."""
        from janus_core.llm.server import chat_server

        return chat_server(self.locations, self.settings.chat, user)

    def chat_model(self) -> ChatModel:
        """Return a connection to the chat model. Raise ModelUnavailable."""
        from janus_core.llm.server import open_chat

        return open_chat(self.locations, self.settings.chat)

    @cached_property
    def asking(self) -> Asking:
        """What answering a question needs."""
        from janus_core.agents.conversation import Asking

        return Asking(self.database, self.searcher, self.embedder, self.chat_model)

    def intake(self, collection: str, tags: Mapping[str, str]) -> Intake:
        """Return what takes files into a collection."""
        from janus_core.ingestion.intake import Intake

        return Intake(
            database=self.database,
            objects=self.objects,
            collection=collection,
            tags=tags,
            max_bytes=self.settings.ingest.max_file_mb << 20,
        )

    @cached_property
    def services(self) -> Services:
        """What background jobs work with."""
        from janus_core.ingestion.extract.extractor import Extractor
        from janus_core.ingestion.services import Services

        return Services(
            database=self.database,
            objects=self.objects,
            vectors=self.vectors,
            embedder=self.embedder,
            extractor=Extractor(),
            sink=self.live.publish,
        )

    def is_initialised(self) -> bool:
        """Return whether Janus was ever brought up here. Raise BadConfiguration."""
        with file_errors("cannot look at the settings"):
            return self.locations.secrets_file.exists()

    def require_up(self) -> None:
        """Raise NotInitialised, StoreUnavailable or TooNew unless the truth store can be used."""
        if not self.is_initialised():
            raise NotInitialised("Janus was never brought up here", "Run: janus up")
        self.database.check_schema()

    def close(self) -> None:
        """Close everything that was opened. Idempotent."""
        opened = self.__dict__
        if "services" in opened:
            self.services.extractor.close()
        for name in ("embedder", "broker", "live", "database"):
            if name in opened:
                opened.pop(name).close()
        for name in ("services", "searcher", "vectors"):
            opened.pop(name, None)

    def __enter__(self) -> Janus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_janus(
    *,
    role: Role = "command",
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Janus:
    """Given an environment and settings from flags, return a Janus; nothing is connected yet.

    Raise BadConfiguration when a setting is wrong.
    """
    locations = locate(environ)
    return Janus(locations, load_settings(locations, environ=environ, flags=flags), role)
