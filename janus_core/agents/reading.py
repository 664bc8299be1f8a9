"""Reading the evidence: which sentences matter for each part of the question, and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from janus_core.agents.asking import LAST, Asked, asked
from janus_core.agents.candidates import Candidate, candidates
from janus_core.agents.kinds import has_kind
from janus_core.agents.lexicon import word_set
from janus_core.agents.plan import refers_back, with_subject
from janus_core.agents.relevance import Relevance, Similar, relevance
from janus_core.agents.sentences import clean
from janus_core.agents.words import is_identifier, stem
from janus_core.answers import Evidence
from janus_core.llm.base import Embedder, Vector

MOST_EMBEDDED = 24
"""Sentences worth embedding; the others lost on words alone. About 0.15 s on two cores."""
MOST_COMPARED = 40
"""Words of the most promising sentences that are compared with a missing term."""
ALIKE = 0.62
"""Cosine of two single words (MiniLM) from which they mean about the same.

Measured: "cheap"/"inexpensive" 0.86, "dog"/"pets" 0.70, "loud"/"noise" 0.66 lie above;
"warranty"/"service" 0.39, "replaced"/"tested" 0.33, "cleaned"/"replaced" 0.58 below.
Opposites lie above as well, so those are listed in the lexicon.
"""
LEAST_SCORE = 0.5
LEAST_COSINE = 0.25
"""Of a quoted sentence to the question. A drafted one must reach 0.3 (`grounding`)."""
LEAST_CLOSE = 0.4
"""Cosine below which not even a closest passage is worth naming.

Of 91 answerable questions whose answer stood in the nearest sentence one lay below,
of 85 that nothing answers five.
"""
CLOSE_PASSAGES = 3
MOST_CLOSE = 24
"""Sentences compared for the closest passage. Twice as many, of four passages, found no more."""
_RIVAL = 0.2
"""Answers within this score of the best are rivals for "the last"."""
_COMMON = 0.45
"""A name in more than this share of the passages tells none of them apart."""


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
        near = self.score >= LEAST_SCORE and self.cosine >= LEAST_COSINE
        return self.relevance.answers and near


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

    One call to the embedder for all sentences, one for each part, and one more
    for a part that no sentence answers in its own words. Raise ModelUnavailable.
    """
    everything = candidates(evidence)
    questions = [asked(part) for part in parts]
    documents = _documents(everything)
    commons = [_common(q, evidence, everything) for q in questions]
    chosen = _most_promising(
        everything,
        [
            [relevance(q, c, None, common, documents[c.passage.document_id]) for c in everything]
            for q, common in zip(questions, commons, strict=True)
        ],
    )
    vectors = embedder.embed_passages([_embedded(c, questions) for c in chosen]) if chosen else []
    whole = asked(question)
    whole_vector = embedder.embed_query(question)
    read_parts: list[Part] = []
    for i, (q, common) in enumerate(zip(questions, commons, strict=True)):
        if i and refers_back(q.text) and read_parts[0].best is not None:
            q = _resolved(q, read_parts[0])
        vector = whole_vector if q.text == question else embedder.embed_query(q.text)
        similarities = [cosine(vector, v) for v in vectors]
        part = _part(q, vector, chosen, similarities, None, common, documents)
        if part.best is None and part.ranked:
            similar = _similar(part, embedder)
            if similar:
                part = _part(q, vector, chosen, similarities, similar, common, documents)
        read_parts.append(part)
    return Reading(whole, whole_vector, tuple(read_parts), tuple(chosen), tuple(vectors))


def closest(evidence: Evidence, question: str, embedder: Embedder) -> Candidate | None:
    """Given evidence that does not answer a question, return the sentence nearest in meaning.

    Each sentence of the best passages is compared under its title and heading,
    whatever words it shares with the question. A better passage, and one with
    the kind of thing that was asked for, tells sentences apart that are about
    equally near. None if nothing is near. Raise ModelUnavailable.
    """
    near = [c for c in candidates(evidence) if c.rank <= CLOSE_PASSAGES][:MOST_CLOSE]
    if not near:
        return None
    wanted, vector = asked(question), embedder.embed_query(question)
    vectors = embedder.embed_passages([_under_title(c) for c in near])
    similarities = [cosine(vector, v) for v in vectors]

    def nearness(i: int) -> float:
        typed = has_kind(wanted, near[i].text, near[i].words)
        return similarities[i] + 0.1 * typed + 0.1 / near[i].rank - 0.3 * near[i].suspect

    best = max(range(len(near)), key=nearness)
    return near[best] if similarities[best] >= LEAST_CLOSE else None


def cosine(a: Vector, b: Vector) -> float:
    """Given two vectors of length 1, return their cosine."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def _embedded(candidate: Candidate, questions: Sequence[Asked]) -> str:
    """The sentence in its context; under the title too, if a question names that."""
    named = any(
        term.must and term.key in candidate.title_keys and term.key not in candidate.keys
        for question in questions
        for term in question.terms
    )
    return _under_title(candidate) if named else candidate.in_context


def _under_title(candidate: Candidate) -> str:
    return f"{clean(candidate.passage.title)}: {candidate.in_context}"


def _resolved(question: Asked, first: Part) -> Asked:
    """What a pronoun of a later part stands for: the names that answered the first."""
    best = first.best
    if best is None:
        return question
    names = [
        word.text
        for word in best.candidate.words
        if word.key in best.candidate.names and word.key not in first.asked.keys
    ]
    return asked(with_subject(question.text, names)) if names else question


def _documents(everything: Sequence[Candidate]) -> dict[UUID, frozenset[str]]:
    """The words of all passages at hand, by document."""
    passages = {c.passage.chunk_id: c for c in everything}
    found: dict[UUID, frozenset[str]] = {}
    for candidate in passages.values():
        own = candidate.passage.document_id
        found[own] = found.get(own, frozenset()) | candidate.passage_keys
    return found


def _common(question: Asked, evidence: Evidence, everything: list[Candidate]) -> frozenset[str]:
    passages = {c.passage.chunk_id: c.passage_keys for c in everything}
    if len(passages) < 3:
        return frozenset()
    return frozenset(
        term.key
        for term in question.terms
        if term.must
        and not any(c.isdigit() for c in term.text)
        and not ("_" in term.text and is_identifier(term.text))
        and sum(term.key in keys for keys in passages.values()) > _COMMON * len(passages)
    )


def _most_promising(everything: list[Candidate], judged: list[list[Relevance]]) -> list[Candidate]:
    """The candidates worth embedding, the best of each part in turn."""
    orders = [
        sorted(
            range(len(everything)),
            key=lambda i: (
                -(
                    row[i].coverage
                    + 0.3 * row[i].own
                    + 0.3 * row[i].typed
                    + 0.3 * row[i].answers
                    + 0.3 / everything[i].rank
                    - 0.5 * everything[i].suspect
                )
            ),
        )
        for row in judged
    ]
    chosen: dict[int, None] = {}
    for i in (i for together in zip(*orders, strict=True) for i in together):
        if len(chosen) >= MOST_EMBEDDED:
            break
        chosen.setdefault(i)
    return [everything[i] for i in sorted(chosen)]


def _part(
    question: Asked,
    vector: Vector,
    chosen: Sequence[Candidate],
    similarities: Sequence[float],
    similar: Similar | None,
    common: frozenset[str],
    documents: Mapping[UUID, frozenset[str]],
) -> Part:
    scored = [
        _scored(
            question,
            c,
            relevance(question, c, similar, common, documents[c.passage.document_id]),
            s,
        )
        for c, s in zip(chosen, similarities, strict=True)
    ]
    scored.sort(key=lambda s: (not s.answers, -s.score))
    if question.sequence == LAST:
        # The last of several is the one of the latest date.
        good = [s for s in scored if s.answers and s.score >= scored[0].score - _RIVAL]
        good.sort(key=lambda s: s.candidate.date, reverse=True)
        scored = good + [s for s in scored if s not in good]
    return Part(question, vector, tuple(scored))


def _scored(question: Asked, candidate: Candidate, judged: Relevance, similarity: float) -> Scored:
    score = (
        0.3 * judged.coverage
        + 0.15 * judged.own
        + 0.4 * similarity
        + 0.1 * judged.typed
        + 0.05 / candidate.rank
        - 0.3 * candidate.suspect
        + 0.15 * _explains(question, candidate)
    )
    return Scored(candidate, judged, similarity, score)


def _explains(question: Asked, candidate: Candidate) -> int:
    """1 where the sentence explains the identifier that was asked for, -1 where another one."""
    wanted = {term.key for term in question.terms if term.must and is_identifier(term.text)}
    explained = candidate.explained
    if not wanted or not explained:
        return 0
    if not wanted.isdisjoint(explained):
        return 1
    return 0 if not wanted.isdisjoint(candidate.title_keys) else -1


def _similar(part: Part, embedder: Embedder) -> Similar:
    """Given a part that nothing answers, return which words may say what its terms ask."""
    missing = {
        term.key: term.text.casefold()
        for term in part.asked.terms
        if not term.must
        and term.weight >= 1.0
        and any(term.key in s.relevance.missing for s in part.ranked)
        and not _opposed(term.text)
    }
    if not missing:
        return {}
    there: dict[str, str] = {}
    for scored in part.ranked[:8]:
        for word in scored.candidate.words:
            if (
                word.content
                and word.key not in part.asked.keys
                and word.key not in scored.candidate.names
                and not _opposed(word.text)
                and len(there) < MOST_COMPARED
            ):
                there.setdefault(word.key, word.text.casefold())
    if not there:
        return {}
    vectors = embedder.embed_passages([*missing.values(), *there.values()])
    terms, others = vectors[: len(missing)], vectors[len(missing) :]
    return {
        key: frozenset(
            other
            for other, vector in zip(there, others, strict=True)
            if cosine(own, vector) >= ALIKE
        )
        for key, own in zip(missing, terms, strict=True)
    }


def _opposed(word: str) -> bool:
    return stem(word) in {stem(w) for w in word_set("opposites")}
