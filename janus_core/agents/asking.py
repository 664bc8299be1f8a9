"""What a question asks for: its terms, its predicate, and the kind of thing that answers it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from janus_core.agents.lexicon import quantities, word_groups, word_set
from janus_core.agents.words import WEAK, Word, is_identifier, is_name, stem, words

Kind = Literal[
    "person", "date", "time", "place", "number", "quantity", "default", "choice", "yes", "any"
]

_AUXILIARIES = word_set("auxiliaries")
_PREPOSITIONS = word_set("prepositions")
_NUMBERED = frozenset(map(stem, word_set("numbered")))
_DATED = frozenset(map(stem, word_set("dated")))
_PLACED = frozenset(map(stem, word_set("placed")))
_PERSONS = frozenset(map(stem, word_set("personal")))
SEQUENCE = {word: n for n, group in enumerate(word_groups("sequence")) for word in group}
LAST = SEQUENCE["last"]
_ASKING = re.compile(r"\b(?:who|whom|whose|when|where|why|how|what|which)\b", re.IGNORECASE)
_HINT = re.compile(r"\(([^()]*)\)\??\s*$")


@dataclass(frozen=True)
class Term:
    """A content word of the question and how much it weighs."""

    key: str
    text: str
    weight: float
    must: bool = False
    """Names, identifiers and numbers: a sentence about another one is no answer."""
    predicate: bool = False
    """What is asked about the subject: a sentence that does not say it is no answer."""


@dataclass(frozen=True)
class Asked:
    """A question, taken apart."""

    text: str
    terms: tuple[Term, ...]
    kind: Kind
    units: frozenset[str] = frozenset()
    counted: str = ""
    """The key of what is counted: "how many [plots]"."""
    keys: frozenset[str] = frozenset()
    sequence: int | None = None
    """Which of several is meant: the line of `sequence` in the lexicon (first, last, …)."""


def asked(question: str) -> Asked:
    """Given a question, return its terms and what kind of thing it asks for.

    Words in brackets at its end are hints for the search, left by the planner:
    names among them count, others hardly.
    """
    hint = _HINT.search(question)
    text = question[: hint.start()] if hint else question
    found = words(text)
    kind, units, satisfied, counted = _kind(text, found)
    predicates = _predicates(found, text) - satisfied
    terms: dict[str, Term] = {}
    for word in found:
        if (word.number is None and not word.content) or word.key in satisfied:
            continue
        if word.text.casefold() in _PREPOSITIONS:
            continue
        must = word.number is not None or is_name(word, text) or is_identifier(word.text)
        weak = word.key in WEAK or word.text.casefold() in SEQUENCE
        weight = 1.5 if must else 0.35 if weak else 1.0
        predicate = word.key in predicates and not must and not weak
        terms.setdefault(word.key, Term(word.key, word.text, weight, must, predicate))
    for word in words(hint.group(1)) if hint else ():
        numbered = word.number is not None
        named = numbered or is_identifier(word.text) or word.text[:1].isupper()
        if word.content or numbered:
            terms.setdefault(word.key, Term(word.key, word.text, 1.5 if named else 0.2, must=named))
    keys = frozenset(w.key for w in words(question))
    order = next((SEQUENCE[w] for w in map(_folded, found) if w in SEQUENCE), None)
    return Asked(question, tuple(terms.values()), kind, units, counted, keys, order)


def _folded(word: Word) -> str:
    return word.text.casefold()


def _kind(text: str, found: list[Word]) -> tuple[Kind, frozenset[str], frozenset[str], str]:
    """The kind, the units that answer, the words that the kind itself covers, what is counted."""
    none: frozenset[str] = frozenset()
    match = _ASKING.search(text)
    if match is None:
        first = found[0].text.casefold() if found else ""
        return ("yes" if first in _AUXILIARIES else "any"), none, none, ""
    ask = match.group().casefold()
    after = [w for w in found if w.start >= match.end()]
    first = after[0].key if after else ""
    if ask in ("who", "whom", "whose"):
        return "person", none, none, ""
    if ask == "when":
        past = first in ("did", "was", "were")
        return ("date" if past else "time"), none, none, ""
    if ask == "where":
        return "place", none, none, ""
    if ask == "how":
        if first == stem("many"):
            counted = next((w.key for w in after[1:] if w.content), "")
            return "number", none, frozenset({first}), counted
        if first == stem("much"):
            units, _ = _units_of([w.key for w in after[1:2]])
            every = _units_of([stem(w) for w in ("price", "heavy", "volume", "big", "percent")])
            return "quantity", units or every[0], frozenset({first}), ""
        units, implied = _units_of([first])
        return ("quantity" if units else "any"), units, implied, ""
    if "default" in [w.key for w in after[:4]]:
        return "default", none, none, ""
    noun = [w.key for w in _noun(after) if w.content]
    if noun:
        units, implied = _units_of(noun)
        if units:
            return "quantity", units, implied & frozenset(noun), ""
        if noun[-1] in _DATED:
            return "date", none, frozenset(noun[-1:]), ""
        if noun[-1] in _NUMBERED:
            return "number", none, none, ""
        if noun[-1] in _PLACED and ask in ("what", "which"):
            return "place", none, frozenset(noun[-1:]), ""
        if noun[-1] in _PERSONS:
            return "person", none, none, ""
    return ("choice" if ask == "which" else "any"), none, none, ""


def _noun(after: list[Word]) -> list[Word]:
    """The noun phrase asked for: "what [set pressure] does", "what is the [weight] of"."""
    copula = bool(after) and after[0].text.casefold() in _AUXILIARIES
    phrase: list[Word] = []
    for word in after[1:] if copula else after:
        lowered = word.text.casefold()
        if lowered in ("the", "a", "an", "its", "their", "his", "her", "current", "default"):
            continue
        if lowered in _AUXILIARIES:
            return phrase
        if lowered in _PREPOSITIONS or lowered in ("that", "which"):
            break
        phrase.append(word)
    # Without an auxiliary the verb is in the phrase: "what [pressure] limits the valve".
    return phrase if copula and len(phrase) < 4 else phrase[:1]


def _units_of(nouns: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Given keys of nouns, return the units that measure them, and those which a unit implies."""
    units: set[str] = set()
    implied: set[str] = set()
    for quantity in quantities():
        asking = {stem(word) for word in quantity.asked} & set(nouns)
        if asking or {stem(word) for word in quantity.named} & set(nouns):
            units |= {stem(unit) for unit in quantity.units}
            implied |= asking
    return frozenset(units), frozenset(implied)


def _predicates(found: list[Word], text: str) -> frozenset[str]:
    """The keys of what is asked about the subject. Empty where the word order does not tell."""
    place = next((i for i, w in enumerate(found) if _ASKING.fullmatch(w.text)), None)
    if place is None:
        return frozenset()
    ask, rest = found[place].text.casefold(), found[place + 1 :]
    if not rest:
        return frozenset()
    verbs = [w for w in rest if _is_participle(w) and not is_name(w, text)]
    opening = rest[0].text.casefold()
    if ask in ("who", "whom", "whose"):
        if opening not in _AUXILIARIES:
            return frozenset(w.key for w in _content(rest)[:1])
        if verbs:
            return frozenset(w.key for w in verbs[-1:])
        return frozenset(w.key for w in _content(_phrase(rest[1:]))[-1:])
    asked_for = (
        frozenset(w.key for w in _noun(rest)[-1:])
        if ask in ("what", "which") and opening not in _AUXILIARIES
        else frozenset()
    )
    if ask in ("what", "which") and opening in ("is", "are", "was", "were"):
        phrase = _content(_phrase(rest[1:]))
        if len(phrase) < len(_content(rest[1:])):  # "the warranty period | of the pump"
            return frozenset(w.key for w in phrase if not is_name(w, text))
        return frozenset(w.key for w in verbs[-1:])
    if verbs:
        return asked_for | {w.key for w in verbs[-1:]}
    auxiliary = next((i for i, w in enumerate(rest) if w.text.casefold() in _AUXILIARIES), None)
    if auxiliary is None:
        return asked_for | {w.key for w in _content(rest)[1:2]}  # "which valve | protects | …"
    if rest[auxiliary].text.casefold() in ("is", "are", "was", "were"):
        return asked_for
    clause = _phrase(rest[auxiliary + 1 :])
    return asked_for | {w.key for w in _content(clause)[-1:] if not is_name(w, text)}


def _content(found: list[Word]) -> list[Word]:
    return [w for w in found if w.content]


def _phrase(found: list[Word]) -> list[Word]:
    """The words up to the first preposition."""
    end = next((i for i, w in enumerate(found) if w.text.casefold() in _PREPOSITIONS), len(found))
    return found[:end]


def _is_participle(word: Word) -> bool:
    lowered = word.text.casefold()
    return (
        word.content
        and len(lowered) > 3
        and (lowered.endswith("ed") or lowered in word_set("irregular"))
    )
