"""The two ports of this package: an embedder and a chat model.

Embedding is synchronous, because ingestion and search are; chat is
asynchronous, because the agent team and the TUI are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Vector = list[float]
"""`dim` floats, of length 1 (normalised)."""


class Embedder(Protocol):
    """Turns text into vectors. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Short id of model and weights, e.g. `minilm-int8-8199be6f`; names the vector index."""

    @property
    def dim(self) -> int:
        """Length of each vector."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Given texts, return how many tokens each has for this model, uncut."""

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        """Given passages, return one vector each, in order. Raise ModelUnavailable."""

    def embed_query(self, text: str) -> Vector:
        """Given a question, return its vector. Raise ModelUnavailable."""

    def close(self) -> None:
        """Free what the embedder holds. Idempotent."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of streamed text. The last piece has empty text and the usage, if known."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatModel(Protocol):
    """A chat model behind an OpenAI-compatible server."""

    @property
    def name(self) -> str:
        """The model's name, as shown to people."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        json_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Piece]:
        """Given a prompt, yield the answer as it is written.

        Closing the iterator (or cancelling the task) frees the model's slot.
        With `json_schema` the text is one JSON value of that schema.
        Raise ModelUnavailable when the server is down, stalls, or refuses.
        """

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
