"""The critic: ties each drafted sentence to sentences of the passages, or drops it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from janus_core.agents import grounding
from janus_core.agents.candidates import Candidate
from janus_core.agents.kinds import has_kind
from janus_core.agents.reading import Part, Reading, cosine
from janus_core.agents.relevance import synonyms
from janus_core.agents.words import WEAK, keys
from janus_core.llm.base import Embedder, Vector

_CLAUSE = re.compile(
    r"\s*;\s+|,\s+(?:and|but|which|while)\s+|\s+and\s+(?=\w+\s+(?:is|was|are|were|by)\b)"
)
_CLOSEST = 4
"""How many of the sentences with the most shared words are tried as a source."""


@dataclass(frozen=True)
class Support:
    """A sentence that holds, and the sentences of passages it rests on."""

    text: str
    sources: tuple[Candidate, ...]
    answered: frozenset[int]
    """Which parts of the question it answers, by their place."""


@dataclass(frozen=True)
class Refusal:
    """A sentence that does not hold, and why."""

    text: str
    reason: str


def verify(
    sentence: str, reading: Reading, embedder: Embedder, *, strict: bool
) -> Support | Refusal:
    """Given a drafted sentence and the evidence as read, return its support or why there is none.

    A sentence holds if one sentence of a passage supports all of it, or if each
    of its clauses has such a sentence. Raise ModelUnavailable.
    """
    text = sentence.strip()
    if grounding.unsaid(text) or not reading.chosen:
        return Refusal(text, "it says nothing")
    clauses = [c for c in _CLAUSE.split(text) if c and len(c.split()) > 1]
    vectors = embedder.embed_passages([text, *clauses] if len(clauses) > 1 else [text])
    to_question = max(
        cosine(vectors[0], v) for v in (reading.vector, *(p.vector for p in reading.parts))
    )
    if to_question < grounding.LEAST_TO_QUESTION:
        return Refusal(text, "it is about something else than the question")
    source = _source(text, vectors[0], reading, strict=strict)
    if isinstance(source, Candidate):
        return _answering(text, (source,), reading)
    if len(clauses) > 1:
        found = [
            _source(clause, vector, reading, strict=strict)
            for clause, vector in zip(clauses, vectors[1:], strict=True)
        ]
        sources = [c for c in found if isinstance(c, Candidate)]
        if len(sources) == len(clauses) and _speak_of_one_thing(sources):
            return _answering(text, tuple(dict.fromkeys(sources)), reading)
    return Refusal(text, source)


def hopeless(reading: Reading) -> Callable[[str], bool]:
    """Given the evidence as read, return what tells that a sentence begun so cannot be strict.

    It has a word that neither any candidate nor the question has; `verify` would
    refuse it whatever follows.
    """
    asked = reading.question.keys.union(*(part.asked.keys for part in reading.parts))
    known = asked.union(WEAK, *(candidate.support_keys for candidate in reading.chosen))
    return lambda beginning: any(w.key not in known for w in grounding.claim(beginning).content)


def _source(text: str, vector: Vector, reading: Reading, *, strict: bool) -> Candidate | str:
    """Given a claim, return the candidate that supports it, or why the closest one does not."""
    said = grounding.claim(text)
    reason = "nothing in the passages resembles it"
    ranked = sorted(
        (
            (grounding.overlap(said, candidate), cosine(vector, own), candidate)
            for candidate, own in zip(reading.chosen, reading.vectors, strict=True)
        ),
        key=lambda entry: -(entry[0] + entry[1]),
    )
    for place, (shared, similarity, candidate) in enumerate(ranked[:_CLOSEST]):
        if (
            similarity < grounding.LEAST_COSINE
            or shared < grounding.LEAST_OVERLAP
            or (similarity + shared) / 2 < grounding.LEAST_MEAN
        ):
            continue
        known = reading.question.keys & (
            candidate.title_keys | candidate.above_keys | candidate.before_keys
        )
        known |= {k for part in reading.parts if _answers(part, candidate) for k in part.asked.keys}
        problem = grounding.objection(said, candidate, known, strict=strict)
        if not problem:
            return candidate
        if place == 0:
            reason = problem
    return reason


def _answering(text: str, sources: tuple[Candidate, ...], reading: Reading) -> Support:
    """Which parts of the question a supported sentence answers."""
    answered = frozenset(
        place
        for place, part in enumerate(reading.parts)
        if has_kind(part.asked, text)
        and any(_answers(part, source) and _repeats(part, text, source) for source in sources)
    )
    return Support(text, sources, answered)


def _repeats(part: Part, text: str, source: Candidate) -> bool:
    """Whether a sentence names all of the question that its source names.

    "The replacement of CP-2" is not the replacement of its bearing.
    """
    said = keys(text)
    return all(
        term.key in said or term.key not in source.keys or not synonyms(term.key).isdisjoint(said)
        for term in part.asked.terms
        if term.weight >= 1.0
    )


def _answers(part: Part, source: Candidate) -> bool:
    scored = part.of(source)
    return scored is not None and scored.answers


def _speak_of_one_thing(sources: list[Candidate]) -> bool:
    """Whether the sources of joined clauses share a word, a title or a passage.

    Else "the pump weighs 45 kg and was signed by …" could join two true halves
    to something that nobody wrote.
    """
    first = sources[0]
    return all(
        source.passage.document_id == first.passage.document_id
        or bool(source.names & first.passage_keys)
        for source in sources[1:]
    )
