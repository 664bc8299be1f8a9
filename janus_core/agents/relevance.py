"""Does a sentence answer a question, or does it only speak of the same things?

Two demands, both without a model: what the question names must be covered by
the sentence and what it leans on, and what it asks for (`kinds`) must be there.
A real thing with an attribute that nobody wrote down is thus declined instead
of being answered with its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from janus_core.agents.asking import SEQUENCE, Asked, Term
from janus_core.agents.candidates import Candidate
from janus_core.agents.kinds import has_kind
from janus_core.agents.lexicon import word_groups
from janus_core.agents.words import is_identifier, stem

Similar = Mapping[str, frozenset[str]]
"""For the key of a term, the keys of words that mean about the same."""

_OWN, _ALIKE, _SIMILAR, _ABOVE, _LEANS, _BEFORE, _SECTION = 1.0, 0.85, 0.8, 0.85, 0.85, 0.5, 0.4
_ENOUGH = 0.75
LEAST_COVERAGE = 0.75


@dataclass(frozen=True)
class Relevance:
    """How far a sentence answers a question."""

    coverage: float
    """Share of the question's terms, by weight, that the sentence and its surroundings speak of."""
    own: float
    """The same for the sentence alone."""
    missing: tuple[str, ...]
    """The keys of the terms without which it is no answer."""
    typed: bool
    """Whether something of the kind that was asked for is there, and is new."""

    @property
    def answers(self) -> bool:
        """Whether the sentence may be taken for an answer."""
        return self.typed and not self.missing and self.coverage >= LEAST_COVERAGE


def relevance(
    question: Asked,
    candidate: Candidate,
    similar: Similar | None = None,
    common: frozenset[str] = frozenset(),
    document: frozenset[str] = frozenset(),
) -> Relevance:
    """Given a question and a sentence, return how far the one answers the other.

    `similar` are words known to mean about the same; `common` are names that
    nearly every passage bears, which tell nothing apart; `document` are the words
    of the document's other passages at hand.
    """
    similar = similar or {}
    total = got = own = 0.0
    missing: list[str] = []
    for term in question.terms:
        alike = similar.get(term.key, frozenset())
        here = _covered(term, candidate.keys, alike)
        if term.key in candidate.denied and question.kind != "yes":
            here = 0.0  # "dumps only the data, not the schema" is no answer about the schema
        around = max(here, _around(term, candidate, alike, document))
        lacking = (
            (term.must and around < _ENOUGH and term.key not in common)
            or (term.predicate and max(here, _from_record(term, candidate)) < _ENOUGH)
            or (term.weight >= 1.0 and around < _SECTION)
        )
        if lacking:
            missing.append(term.key)
        weight = 0.35 if term.key in common else term.weight
        total += weight
        got += weight * around
        own += weight * here
    whole = total or 1.0
    typed = has_kind(question, candidate.text, candidate.words) and not _of_another(
        question, candidate
    )
    return Relevance(got / whole, own / whole, tuple(missing), typed)


def _of_another(question: Asked, candidate: Candidate) -> bool:
    """Whether the sentence is about the first where the last was asked for, or the like."""
    said = {SEQUENCE.get(w.text.casefold()) for w in candidate.words} - {None}
    return question.sequence is not None and bool(said) and question.sequence not in said


def _around(
    term: Term, candidate: Candidate, alike: frozenset[str], document: frozenset[str]
) -> float:
    """How well what surrounds a sentence covers a term."""
    best = _ABOVE * (
        max(
            _covered(term, candidate.above_keys, alike),
            _covered(term, candidate.title_keys, alike),
        )
        >= _ENOUGH
    )
    if candidate.before is not None:
        if term.must and candidate.inherits(term.key, numbered=any(c.isdigit() for c in term.text)):
            best = max(best, _LEANS)
        share = _LEANS if candidate.leans else _BEFORE
        best = max(best, share * (_covered(term, candidate.before_keys, alike) >= _ENOUGH))
    if term.key in candidate.passage_keys or term.key in document:
        best = max(best, _SECTION)
    return best


def _from_record(term: Term, candidate: Candidate) -> float:
    """For a row or an item, the head and the lead say what it is about."""
    return _covered(term, candidate.above_keys, frozenset()) if candidate.record else 0.0


def _covered(term: Term, among: frozenset[str], alike: frozenset[str]) -> float:
    key = term.key
    if key in among:
        return _OWN
    if not alike.isdisjoint(among):
        return _SIMILAR
    if term.must and is_identifier(term.text):
        return 0.0
    if not synonyms(key).isdisjoint(among):
        return _ALIKE
    if len(key) >= 5 and any(
        len(other) >= 5 and (other.startswith(key) or key.startswith(other)) for other in among
    ):
        return _SIMILAR
    return 0.0


@lru_cache(maxsize=1)
def _groups() -> dict[str, frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for group in word_groups("synonyms"):
        members = {stem(word) for word in group}
        for word in members:
            groups.setdefault(word, set()).update(members)
    return {key: frozenset(members) for key, members in groups.items()}


def synonyms(key: str) -> frozenset[str]:
    """Given the key of a word, return the keys of words listed as asking or saying the same."""
    return _groups().get(key, frozenset())
