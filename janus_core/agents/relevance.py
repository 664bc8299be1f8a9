"""Does a sentence answer a question, or does it only speak of the same things?

Two demands, both without a model: what the question names must be covered by
the sentence with its surroundings, and what it asks for (a person, a date, an
amount in some unit) must be there and be new. A real thing with an attribute
that nobody wrote down is thus declined instead of answered with its neighbour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from janus_core.agents.candidates import Candidate
from janus_core.agents.lexicon import quantities, word_groups, word_set
from janus_core.agents.words import MONTHS, Word, is_identifier, is_name, stem, words

Kind = Literal["person", "date", "time", "place", "number", "quantity", "choice", "any"]

_NUMBERED = frozenset(map(stem, word_set("numbered")))
_DATED = word_set("dated")
_PLACED = frozenset(map(stem, word_set("placed")))
_PERSONS = frozenset(map(stem, word_set("personal")))
_WEEKDAYS = frozenset(map(stem, word_set("weekdays")))
_DATE_WORDS = frozenset(MONTHS) | _WEEKDAYS | {"yesterday", "today", "tomorrow"}
_TIME_WORDS = _DATE_WORDS | frozenset(map(stem, word_set("time_words") | word_set("time_units")))
_PLACE_WORDS = word_set("place_words")
_NO_ROLE = word_set("not_roles")
_ROLE = re.compile(
    r"(?:er|or|ist|ian|ant|man|men|woman|women|team|staff|crew|department|committee|board|company|"
    r"council|agency|group|office|captain|chief|nurse)s?$"
)
_ASKING = re.compile(
    r"\b(who|whom|whose|when|where|why|how|what|which)\b(?:\s+([\w-]+))?(?:\s+([\w-]+))?",
    re.IGNORECASE,
)
_WEAK = frozenset(map(stem, word_set("weak")))


@dataclass(frozen=True)
class Term:
    """A content word of the question and how much it weighs."""

    key: str
    text: str
    weight: float
    must: bool
    """Names, identifiers and numbers: a sentence about another one is no answer."""


@dataclass(frozen=True)
class Asked:
    """A question, taken apart."""

    text: str
    terms: tuple[Term, ...]
    kind: Kind
    units: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Relevance:
    """How far a sentence answers a question."""

    coverage: float
    """Share of the question's terms, by weight, that the sentence and its surroundings speak of."""
    own: float
    """The same for the sentence alone."""
    missing: tuple[str, ...]
    typed: bool
    """Whether something of the kind that was asked for is there, and is new."""
    must: bool
    """Whether all names and numbers of the question are covered."""


def asked(question: str) -> Asked:
    """Given a question, return its terms and what kind of thing it asks for."""
    found = words(question)
    kind, units, satisfied = _kind(question)
    terms: dict[str, Term] = {}
    for word in found:
        if word.number is None and not word.content:
            continue
        if word.key in satisfied:
            continue
        must = word.number is not None or is_name(word, question) or is_identifier(word.text)
        weight = 1.5 if must else 0.35 if word.key in _WEAK else 1.0
        terms.setdefault(word.key, Term(word.key, word.text, weight, must))
    return Asked(question, tuple(terms.values()), kind, units, frozenset(w.key for w in found))


def relevance(question: Asked, candidate: Candidate) -> Relevance:
    """Given a question and a sentence, return how far the one answers the other."""
    own_groups = _groups_of(candidate.keys)
    heading_groups = _groups_of(candidate.heading_keys)
    total = got = own = 0.0
    missing: list[str] = []
    must = True
    for term in question.terms:
        here = _covered(term.key, candidate.keys, own_groups)
        around = max(
            here,
            0.9 * _covered(term.key, candidate.heading_keys, heading_groups),
            0.8 * _covered(term.key, candidate.near_keys, frozenset()),
            0.5 if term.must and term.key in candidate.passage_keys else 0.0,
        )
        total += term.weight
        got += term.weight * around
        own += term.weight * here
        if around < 0.5:
            missing.append(term.text)
            must = must and not term.must
    whole = total or 1.0
    typed = _typed(question, candidate.text, candidate.words)
    return Relevance(got / whole, own / whole, tuple(missing), typed, must)


def has_kind(question: Asked, text: str) -> bool:
    """Given a question and a drafted sentence, return whether it brings what was asked for."""
    return _typed(question, text, words(text))


def _covered(key: str, among: frozenset[str], groups: frozenset[int]) -> float:
    if key in among:
        return 1.0
    if groups & _groups().get(key, frozenset()):
        return 0.85
    if len(key) >= 5 and any(
        (other.startswith(key) or key.startswith(other)) and abs(len(other) - len(key)) <= 4
        for other in among
        if len(other) >= 5
    ):
        return 0.8
    return 0.0


@lru_cache(maxsize=1)
def _groups() -> dict[str, frozenset[int]]:
    """Which groups of synonyms a word's key belongs to."""
    groups: dict[str, set[int]] = {}
    for number, group in enumerate(word_groups("synonyms")):
        for word in group:
            groups.setdefault(stem(word), set()).add(number)
    return {key: frozenset(members) for key, members in groups.items()}


def _groups_of(among: frozenset[str]) -> frozenset[int]:
    groups = _groups()
    return frozenset(g for key in among for g in groups.get(key, ()))


def _kind(question: str) -> tuple[Kind, frozenset[str], frozenset[str]]:
    """What is asked for, the units that answer it, and the words that the kind itself covers."""
    match = _ASKING.search(question)
    none: frozenset[str] = frozenset()
    if match is None:
        return "any", none, none
    ask = match.group(1).casefold()
    nouns = [stem(g) for g in match.groups()[1:] if g]
    first = nouns[0] if nouns else ""
    if ask in ("who", "whom", "whose"):
        return "person", none, none
    if ask == "when":
        past = re.match(r"\W*(?:did|was|were)\b", question[match.end(1) :])
        return ("date" if past else "time"), none, none
    if ask == "where":
        return "place", none, none
    if ask == "how":
        if first in ("many", stem("many")):
            return "number", none, frozenset({first})
        if first == "much":
            units = _units_of(nouns[1:]) or _units_of(
                [stem(word) for word in ("price", "weight", "volume", "memory", "percent")]
            )
            return "quantity", units, frozenset({"much"})
        units = _units_of([first])
        if units:
            return "quantity", units, frozenset({first})
        return "any", none, none
    head = _asked_noun(question, match)
    if head:
        units = _units_of(head)
        if units:
            return "quantity", units, frozenset(head[-1:])
        if head[-1] in _DATED:
            return "date", none, frozenset(head[-1:])
        if head[-1] in _NUMBERED:
            return "number", none, none
        if head[-1] in _PLACED:
            return "place", none, none
        if head[-1] in _PERSONS:
            return "person", none, none
    return ("choice" if ask == "which" else "any"), none, none


def _asked_noun(question: str, match: re.Match[str]) -> list[str]:
    """The noun phrase asked for: "what [set pressure] does …", "what is the [weight] of …"."""
    rest = question[match.end(1) :]
    direct = re.match(
        r"\s+((?:(?!is\b|are\b|was\b|were\b|do\b|does\b|did\b|can\b|must\b|should\b|has\b)"
        r"[\w-]+\s*){1,3}?)(?=\b(?:is|are|was|were|do|does|did|can|must|should|shall|will|has|"
        r"have|of|for|to|in|on|at|may|may)\b|[?,])",
        rest,
    )
    copula = re.match(
        r"\s+(?:is|are|was|were)\s+(?:the|a|an|its|their|his|her)?\s*((?:[\w-]+\s*?){1,4}?)"
        r"\s*(?=\b(?:of|for|to|in|on|at|that|which|when|before|after|with|by|from|set|if)\b|[?,.]|$)",
        rest,
    )
    chosen = copula or direct
    if chosen is None:
        return []
    return [w.key for w in words(chosen.group(1)) if w.content]


def _units_of(nouns: list[str]) -> frozenset[str]:
    return frozenset(
        stem(unit)
        for asking, units in quantities()
        if not {stem(word) for word in asking}.isdisjoint(nouns)
        for unit in units
    )


def _typed(question: Asked, text: str, found: list[Word]) -> bool:
    new = [w for w in found if w.key not in question.keys]
    match question.kind:
        case "person":
            return (
                any(is_name(w, text) and not w.text[:1].isdigit() for w in new)
                or any(w.content and _is_role(w.text) for w in new)
                or _opens_with_name(text, new)
            )
        case "date":
            return any(w.key in _DATE_WORDS for w in new) or any(_year(w) for w in new)
        case "time":
            return any(w.key in _DATE_WORDS or w.key in _TIME_WORDS or w.number for w in new)
        case "number":
            return any(w.number is not None or any(c.isdigit() for c in w.text) for w in new)
        case "quantity":
            return _has_unit(text, question.units, new)
        case "place":
            lowered = [w.text.casefold() for w in found]
            return any(w in _PLACE_WORDS for w in lowered) and any(w.content for w in new)
        case "choice" | "any":
            return any(w.content or w.number is not None for w in new)


def _is_role(written: str) -> bool:
    lowered = written.casefold()
    return (
        lowered not in _NO_ROLE
        and lowered.rstrip("s") not in _NO_ROLE
        and bool(_ROLE.search(lowered))
    )


def _opens_with_name(text: str, new: list[Word]) -> bool:
    """Whether a text opens with a name and a verb, as "Okoye signed …"."""
    first = new[0] if new else None
    return (
        first is not None
        and first.content
        and text.lstrip("-•*0123456789.) ").startswith(first.text)
        and first.text[:1].isupper()
        and len(new) > 0
        and bool(
            re.match(
                r"[-•*\d.) ]*(?:[A-Z][\w.'’-]*\s+){1,3}(?:[a-z]+(?:ed|s)|was|had|wrote|led)\b",
                text,
            )
        )
    )


def _year(word: Word) -> bool:
    return word.number is not None and bool(re.fullmatch(r"1[0-9]{3}|20[0-9]{2}", word.number))


def _has_unit(text: str, units: frozenset[str], new: list[Word]) -> bool:
    """Whether a number stands beside one of the units."""
    marks = {u for u in units if not u.isalnum()}
    for i, word in enumerate(new):
        if word.number is None:
            continue
        after = text[word.start : word.start + 24]
        before = text[max(0, word.start - 4) : word.start]
        if any(m in after or m in before for m in marks):
            return True
        if any(follower.key in units for follower in new[i + 1 : i + 4]):
            return True
        following = [stem(m) for m in re.findall(r"[^\W\d_]+[³23]?(?:/[^\W\d_]+)?", after)[:3]]
        if units & set(following):
            return True
    return False
