"""What a question becomes on its way to a cited answer.

`plan(Question) → Plan → research → Evidence → write → Draft → verify → Verdict`,
and in the end an `Answer`. Shared by agents, conversation store and faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from janus_core.documents import Filter, Passage
from janus_core.errors import InvalidInput

Mode = Literal["hybrid", "dense", "text", "graph"]
AnswerKind = Literal["answer", "quote", "not_stated"]


def as_mode(text: str) -> Mode:
    """Given a mode's name, return it. Raise InvalidInput for any other."""
    for mode in get_args(Mode):
        if text == mode:
            return mode  # type: ignore[no-any-return]
    raise InvalidInput(f"no such mode: {text}", f"Use one of {', '.join(get_args(Mode))}.")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Hit(_Value):
    """A passage found by a search; `why` names the signals that found it."""

    rank: int
    score: float
    passage: Passage
    why: tuple[Mode, ...]


class Question(_Value):
    """What was asked, and what may be looked at."""

    text: str
    filter: Filter = Filter()
    history: tuple[tuple[str, str], ...] = ()
    """Earlier (question, answer) pairs of the conversation, oldest first."""


class Plan(_Value):
    """How a question will be researched."""

    question: Question
    queries: tuple[str, ...]
    """The question itself first, then sub-questions."""
    mode: Mode = "hybrid"
    passages: int = 8
    """How many passages to hand on."""


class Fact(_Value):
    """A statement of the knowledge graph, with the chunk that says so."""

    subject: str
    predicate: str
    object: str
    chunk_id: str


class Evidence(_Value):
    """What research found, best first. Agents see this and never a store."""

    hits: tuple[Hit, ...]
    facts: tuple[Fact, ...] = ()


class Draft(_Value):
    """Sentences as a model wrote them, before anybody checked them."""

    sentences: tuple[str, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Citation(_Value):
    """Where a sentence of the answer is supported."""

    n: int
    document_id: str
    title: str
    uri: str
    page: int
    locator: str
    quote: str
    chunk_id: str


class AnswerSentence(_Value):
    """A sentence shown to a person, with the numbers of its citations."""

    text: str
    citations: tuple[int, ...] = ()


class Verdict(_Value):
    """Which sentences of a draft hold, and which parts of the question stay open."""

    supported: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...]
    unsupported: tuple[str, ...]


class Step(_Value):
    """What an agent did, in one line."""

    agent: str
    summary: str
    took_ms: int


class Answer(_Value):
    """The outcome, as `janus ask --json` prints it."""

    question: str
    kind: AnswerKind
    sentences: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...] = ()
    facts: tuple[Fact, ...] = ()
    steps: tuple[Step, ...] = ()
    dropped: int = 0
    model: str = ""
    tokens: Mapping[str, int] = {}
    took_ms: int = 0

    @property
    def text(self) -> str:
        """The sentences as one paragraph, each followed by its [n]."""
        return " ".join(_with_marks(sentence) for sentence in self.sentences)

    @property
    def grounded(self) -> bool:
        """Whether every sentence rests on a citation."""
        return bool(self.sentences) and all(s.citations for s in self.sentences)


def _with_marks(sentence: AnswerSentence) -> str:
    marks = "".join(f"[{n}]" for n in sentence.citations)
    return f"{sentence.text} {marks}".strip()
