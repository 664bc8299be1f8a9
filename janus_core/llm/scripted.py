"""A chat model that answers from a script, for tests."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from janus_core.errors import BadConfiguration, ModelUnavailable
from janus_core.llm.base import Message, Piece
from janus_core.llm.guard import require_scripted

Script = Callable[[Sequence[Message]], str]


class ScriptedChatModel:
    """A `ChatModel` whose answers are given. `prompts` holds every prompt it got."""

    def __init__(self, answers: Sequence[str] | Script, name: str = "scripted") -> None:
        """Given answers in order, or a function from prompt to answer.

        Raise BadConfiguration unless scripted models are allowed (`guard`).
        """
        require_scripted()
        self.prompts: list[tuple[Message, ...]] = []
        self._name = name
        self._answer = answers if callable(answers) else _in_order(answers)

    @property
    def name(self) -> str:
        """See `ChatModel`."""
        return self._name

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        json_schema: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """See `ChatModel`: a word a piece, cut at `max_tokens` words and at `stop`."""
        self.prompts.append(tuple(messages))
        text = self._answer(messages)
        for mark in stop:
            text = text.partition(mark)[0]
        words = re.findall(r"\s*\S+\s*$|\s*\S+", text)[:max_tokens]
        for word in words:
            yield Piece(word)
        prompt_tokens = sum(len(message.content.split()) for message in messages)
        yield Piece("", prompt_tokens, len(words))

    async def aclose(self) -> None:
        """See `ChatModel`."""


def open_script(path: Path) -> ScriptedChatModel:
    """Given a JSON file of `[{"when": "words of the prompt", "answer": "…"}]`, open that model.

    The first entry whose `when` stands in the prompt answers. Raise
    BadConfiguration when the file is no such list or scripts are not allowed.
    """
    try:
        entries = [
            (entry["when"], entry["answer"]) for entry in json.loads(path.read_text("utf-8"))
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadConfiguration(
            f"{path} is no script: {error}", 'Write [{"when": "…", "answer": "…"}].'
        ) from error

    def answer(messages: Sequence[Message]) -> str:
        prompt = "\n".join(message.content for message in messages)
        for when, then in entries:
            if when in prompt:
                return str(then)
        raise ModelUnavailable("the script has no answer to this prompt", prompt[-200:])

    return ScriptedChatModel(answer, name=path.stem)


def _in_order(answers: Sequence[str]) -> Script:
    remaining = iter(answers)

    def answer(messages: Sequence[Message]) -> str:
        for text in remaining:
            return text
        raise ModelUnavailable("the script has no more answers", messages[-1].content[-200:])

    return answer
