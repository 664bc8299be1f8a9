"""The writer: turns the best sentences of the evidence into a draft, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import lru_cache
from importlib import resources

from janus_core.agents.candidates import Candidate
from janus_core.agents.reading import Reading
from janus_core.agents.sentences import SentenceStream, clean
from janus_core.agents.words import words
from janus_core.llm.base import ChatModel, Message

MOST_TOKENS = 160
EVIDENCE_WORDS = 260
"""About 350 tokens; each hundred tokens of prompt cost a quarter of a second on two cores."""
EVIDENCE_WORDS_WEAK = 100
"""A model of 135M parameters copies from few sentences better than from many."""
_EXAMPLE = (
    "The gate opens at 7 am. It was painted by J. Moll.\n\nQuestion: When does the gate open?",
    "The gate opens at 7 am.",
)
"""Shows a weak model the form; part of the prompt that never changes, so it is read once."""
_TEMPLATE_MARK = re.compile(
    r"<\|?[^<>\s]{1,40}\|?>|\[/?INST\]|<</?SYS>>|^#{2,}\s*\w+:", re.IGNORECASE
)
_NUMBERING = re.compile(r"^(?:\(?\d{1,2}[.)]|[-*•])\s+")
_MARKS = re.compile(r"\s*\[\d{1,2}\](?:\s*\[\d{1,2}\])*")
_LABEL = re.compile(r"^(?:answer|a|response)\s*:\s*", re.IGNORECASE)
NOT_STATED = re.compile(r"\bnot stated\b|\bNOT_STATED\b", re.IGNORECASE)


class Writing:
    """A draft in the making: iterate over it for its sentences, as each one ends.

    Closing the iteration at any moment stops the model. Raise ModelUnavailable.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        model: ChatModel,
        *,
        max_tokens: int = MOST_TOKENS,
        on_tokens: Callable[[int], None] = lambda count: None,
        is_hopeless: Callable[[str], bool] = lambda beginning: False,
    ) -> None:
        """`is_hopeless` is asked about each sentence's beginning, word by word."""
        self._messages, self._model = messages, model
        self._max_tokens, self._on_tokens = max_tokens, on_tokens
        self._is_hopeless = is_hopeless
        self.given_up = False
        """Whether the draft was ended because its last sentence could not have held."""
        self.prompt_tokens = 0
        self.completion_tokens = 0

    async def sentences(self) -> AsyncGenerator[str, None]:
        """Yield the sentences.

        A repeated one ends the draft, because the model is in a loop; so does the
        beginning of one that cannot hold, because the reader is waiting.
        """
        stream = self._model.stream(self._messages, max_tokens=self._max_tokens)
        cutter, seen = SentenceStream(), set[str]()
        try:
            pieces = 0
            async for piece in stream:
                self.prompt_tokens = piece.prompt_tokens or self.prompt_tokens
                self.completion_tokens = piece.completion_tokens or self.completion_tokens
                if not piece.text:
                    continue
                pieces += 1
                self.completion_tokens = pieces
                self._on_tokens(pieces)
                for sentence in cutter.feed(piece.text):
                    if _sameness(sentence) in seen:
                        return
                    seen.add(_sameness(sentence))
                    if tidy(sentence):
                        yield tidy(sentence)
                if self._is_hopeless(tidy(cutter.unfinished)):
                    self.given_up = True
                    return
            if self.completion_tokens >= self._max_tokens:
                return  # the last sentence was cut off
            for sentence in cutter.finish():
                if _sameness(sentence) not in seen and tidy(sentence):
                    yield tidy(sentence)
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()


def prompt(reading: Reading, *, evidence_words: int = EVIDENCE_WORDS) -> list[Message]:
    """Given the evidence as read, return the prompt: the part that never changes first."""
    excerpts = "\n".join(
        neutral(candidate.in_context) for candidate in excerpts_for(reading, evidence_words)
    )
    asked = neutral(clean(reading.question.text))
    return [
        Message("system", _system()),
        Message("user", _EXAMPLE[0]),
        Message("assistant", _EXAMPLE[1]),
        Message("user", f"{excerpts}\n\nQuestion: {asked}"),
    ]


def excerpts_for(reading: Reading, evidence_words: int) -> list[Candidate]:
    """Given the evidence as read, return the sentences worth showing to the model, best first."""
    chosen: dict[Candidate, None] = {}
    budget = evidence_words
    rows = [part.ranked for part in reading.parts]
    for together in zip(*rows, strict=True):
        for scored in together:
            candidate = scored.candidate
            cost = len(candidate.text.split())
            if candidate in chosen or cost > budget or candidate.suspect:
                continue
            chosen[candidate] = None
            budget -= cost
    return list(chosen)


def neutral(text: str) -> str:
    """Given text from outside, return it without marks that a chat template would obey."""
    return _TEMPLATE_MARK.sub(" ", clean(text))


def tidy(sentence: str) -> str:
    """Given a sentence as the model wrote it, return it without labels and marks of its own."""
    bare = _LABEL.sub("", _NUMBERING.sub("", _MARKS.sub("", clean(sentence))))
    return bare.strip(" *_`").strip()


def _sameness(sentence: str) -> str:
    return " ".join(w.key for w in words(sentence))


@lru_cache(maxsize=1)
def _system() -> str:
    return (
        (resources.files("janus_core.agents") / "prompts" / "writer.txt").read_text("utf-8").strip()
    )
