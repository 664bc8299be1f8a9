"""Reading the evidence: which sentences matter for each part of the question, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from janus_core.agents.candidates import Candidate, candidates
from janus_core.agents.relevance import Asked, Relevance, asked, relevance
from janus_core.answers import Evidence
from janus_core.llm.base import Embedder, Vector

MOST_EMBEDDED = 24
"""Sentences worth embedding; the others lost on words alone. About 0.15 s on two cores."""
LEAST_COVERAGE = 0.75
LEAST_SCORE = 0.55
LEAST_CLOSE = 0.35
"""Below this score not even a closest passage is worth naming."""


@dataclass(frozen=True)
class Scored:
    """A sentence with its judgement for one part of the question."""

    candidate: Candidate
    relevance: Relevance
    cosine: float
    score: float

    @property
    def answers(self) -> bool:
        """Whether the sentence may be quoted as an answer."""
        judged = self.relevance
        return (
            judged.typed
            and judged.must
            and judged.coverage >= LEAST_COVERAGE
            and self.score >= LEAST_SCORE
        )


@dataclass(frozen=True)
class Part:
    """A part of the question and the sentences read for it, best first."""

    asked: Asked
    vector: Vector
    ranked: tuple[Scored, ...]

    @property
    def best(self) -> Scored | None:
        """The sentence that answers it best, if any answers it."""
        return next((scored for scored in self.ranked if scored.answers), None)

    def of(self, candidate: Candidate) -> Scored | None:
        """The judgement of one candidate."""
        return next((s for s in self.ranked if s.candidate is candidate), None)


@dataclass(frozen=True)
class Reading:
    """The evidence as read for a question."""

    question: Asked
    vector: Vector
    parts: tuple[Part, ...]
    chosen: tuple[Candidate, ...]
    vectors: tuple[Vector, ...]


def read(evidence: Evidence, question: str, parts: Sequence[str], embedder: Embedder) -> Reading:
    """Given evidence and a question with its parts, return both read against each other.

    One call to the embedder for the sentences, one for each part. Raise ModelUnavailable.
    """
    everything = candidates(evidence)
    questions = [asked(part) for part in parts]
    judged = [[relevance(q, c) for c in everything] for q in questions]
    chosen = _most_promising(everything, judged)
    sentences = [everything[i] for i in chosen]
    vectors = embedder.embed_passages([c.text for c in sentences]) if sentences else []
    whole = asked(question)
    whole_vector = embedder.embed_query(question)
    read_parts = []
    for q, judgements in zip(questions, judged, strict=True):
        vector = whole_vector if q.text == question else embedder.embed_query(q.text)
        scored = [
            _scored(c, judgements[i], cosine(vector, v))
            for i, c, v in zip(chosen, sentences, vectors, strict=True)
        ]
        scored.sort(key=lambda s: (not s.answers, -s.score))
        read_parts.append(Part(q, vector, tuple(scored)))
    return Reading(whole, whole_vector, tuple(read_parts), tuple(sentences), tuple(vectors))


def cosine(a: Vector, b: Vector) -> float:
    """Given two vectors of length 1, return their cosine."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def _most_promising(everything: list[Candidate], judged: list[list[Relevance]]) -> list[int]:
    """The candidates worth embedding, the best of each part in turn."""
    orders = [
        sorted(
            range(len(everything)),
            key=lambda i: (
                -(
                    judgements[i].coverage
                    + 0.3 * judgements[i].own
                    + 0.3 * judgements[i].typed
                    + 0.3 / everything[i].rank
                )
            ),
        )
        for judgements in judged
    ]
    chosen: dict[int, None] = {}
    for i in (i for together in zip(*orders, strict=True) for i in together):
        if len(chosen) >= MOST_EMBEDDED:
            break
        chosen.setdefault(i)
    return sorted(chosen)


def _scored(candidate: Candidate, judged: Relevance, similarity: float) -> Scored:
    score = (
        0.35 * judged.coverage
        + 0.15 * judged.own
        + 0.35 * similarity
        + 0.1 * judged.typed
        + 0.05 / candidate.rank
    )
    return Scored(candidate, judged, similarity, score)
