"""Which models are in use: choosing another, trying one, taking one away."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from janus_core.app import Janus, open_janus
from janus_core.errors import InvalidInput, ModelUnavailable, NotFound
from janus_core.llm import models
from janus_core.llm.models import ChatFile, EmbeddingFolder
from janus_core.node.configure import set_value
from janus_core.node.embedded import EmbeddedNode
from janus_core.processes import service_user

Kind = Literal["chat", "embedding"]

_TRIAL_TOKENS = 48
_SAID = "A pump moves water uphill."
_NEAR = "Water is lifted by a pump."
_FAR = "The choir sings on Sundays."


@dataclass(frozen=True, slots=True)
class Trial:
    """How a model did. Times in milliseconds."""

    name: str
    kind: Kind
    took_ms: int
    first_token_ms: int = 0
    tokens: int = 0
    tokens_per_s: float = 0.0
    text: str = ""
    """What a chat model wrote."""
    near: float = 0.0
    """Cosine similarity of two sentences that mean the same, for an embedding model …"""
    far: float = 0.0
    """… and of two that do not."""


def find(janus: Janus, name: str) -> ChatFile | EmbeddingFolder:
    """Given a model's name, return it. Raise NotFound naming those there are, Damaged."""
    folder = janus.locations.models
    try:
        return models.find_chat(folder, name)
    except NotFound:
        pass
    try:
        return models.find_embedding(folder, name)
    except NotFound:
        known = [model.name for model in everything(janus)]
        hint = f"Here are: {', '.join(known)}." if known else "Add one: janus models add FILE."
        raise NotFound(f"there is no model named {name}", hint) from None


def everything(janus: Janus) -> list[ChatFile | EmbeddingFolder]:
    """Return all models of this machine, chat models first. Raise Damaged."""
    folder = janus.locations.models
    return [*models.list_chat(folder), *models.list_embeddings(folder)]


def in_use(janus: Janus) -> frozenset[str]:
    """Return the names of the models that the settings choose."""
    return frozenset((janus.settings.chat.model, janus.settings.embeddings.model))


def use(janus: Janus, name: str, *, reindexing: bool = False) -> tuple[Kind, tuple[str, ...]]:
    """Make a model the one in use; return its kind and the services that were restarted for it.

    Raise NotFound, Damaged; InvalidInput for an embedding model while documents
    are indexed with another, unless the caller is about to index them anew.
    """
    model = find(janus, name)
    if isinstance(model, ChatFile):
        set_value(janus, "chat.model", name)
        return "chat", _restart("llm")
    if janus.is_initialised() and not reindexing:
        _refuse_mixed_index(janus, model)
    set_value(janus, "embeddings.model", name)
    return "embedding", _restart("worker")


def _refuse_mixed_index(janus: Janus, model: EmbeddingFolder) -> None:
    from janus_core.stores import catalogue

    janus.require_up()
    with janus.database.transaction() as tx:
        others = {k: n for k, n in catalogue.embedders(tx).items() if k != model.id}
    if others:
        raise InvalidInput(
            f"{sum(others.values())} documents are indexed with {', '.join(sorted(others))}",
            f"Index them anew with it: janus docs reindex --model {model.name}",
        )


def _restart(name: str) -> tuple[str, ...]:
    """Restart one service of this node under the settings as they are now, if it runs."""
    with open_janus() as janus:
        if not janus.is_initialised():
            return ()
        node = EmbeddedNode(janus, user=service_user())
        for service in node.services():
            if service.name == name and service.is_up():
                service.stop()
                service.start()
                return (name,)
    return ()


def try_out(janus: Janus, name: str) -> Trial:
    """Have a model do a little work. Raise NotFound, ModelUnavailable.

    A chat model must be the one in use: only that one is loaded. Raise
    InvalidInput otherwise.
    """
    model = find(janus, name)
    if isinstance(model, EmbeddingFolder):
        return _embed(janus, model)
    if name != janus.settings.chat.model:
        raise InvalidInput(f"{name} is not in use", f"Run first: janus models use {name}")
    return asyncio.run(_generate(janus))


async def _generate(janus: Janus) -> Trial:
    from janus_core.llm.base import Message

    asked = [Message("user", "Say in one short sentence what a water pump does.")]
    began = time.perf_counter()
    first, tokens, text = 0.0, 0, ""
    model = janus.chat_model()
    try:
        async for piece in model.stream(asked, max_tokens=_TRIAL_TOKENS):
            if piece.text and not first:
                first = time.perf_counter()
            text += piece.text
            tokens = piece.completion_tokens or tokens + bool(piece.text)
    finally:
        await model.aclose()
    ended = time.perf_counter()
    if not text.strip():
        raise ModelUnavailable(f"{model.name} wrote nothing", "See: janus logs llm")
    return Trial(
        name=model.name,
        kind="chat",
        took_ms=round((ended - began) * 1000),
        first_token_ms=round((first - began) * 1000),
        tokens=tokens,
        tokens_per_s=round(tokens / max(0.001, ended - first), 1),
        text=text.strip(),
    )


def _embed(janus: Janus, model: EmbeddingFolder) -> Trial:
    from janus_core.llm.shared_embedder import SharedEmbedder

    embedder = SharedEmbedder(
        model.path,
        janus.locations.runtime,
        janus.locations.logs / "embeddings.log",
        user=service_user(),
        idle_seconds=janus.settings.embeddings.idle_s,
    )
    try:
        began = time.perf_counter()
        said, near, far = embedder.embed_passages([_SAID, _NEAR, _FAR])
        took = time.perf_counter() - began
    finally:
        if model.name != janus.settings.embeddings.model:
            embedder.stop()
        embedder.close()
    # Vectors have length 1: their product is the cosine.
    close, distant = (sum(a * b for a, b in zip(said, other, strict=True)) for other in (near, far))
    if not close > distant:
        raise ModelUnavailable(
            f"{model.name} finds no likeness between sentences that mean the same",
            "It is not a sentence embedding model, or it is damaged.",
        )
    return Trial(
        model.name, "embedding", round(took * 1000), near=round(close, 3), far=round(distant, 3)
    )
