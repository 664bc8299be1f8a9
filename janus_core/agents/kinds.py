"""Is what was asked for (a person, a date, an amount in some unit) in a sentence, and new?"""

from __future__ import annotations

import re

from janus_core.agents.asking import Asked
from janus_core.agents.lexicon import word_set
from janus_core.agents.words import MONTHS, NEGATIONS, Word, is_identifier, is_name, stem, words

_WEEKDAYS = frozenset(map(stem, word_set("weekdays")))
_DATE_WORDS = frozenset(MONTHS) | _WEEKDAYS | {"yesterday", "today", "tomorrow"}
_TIME_WORDS = _DATE_WORDS | frozenset(map(stem, word_set("time_words") | word_set("time_units")))
_PLACE_WORDS = word_set("place_words")
_NO_ROLE = word_set("not_roles")
_ROLE = re.compile(
    r"(?:er|or|ist|ian|ant|man|men|woman|women|team|staff|crew|department|committee|board|company|"
    r"council|agency|group|office|captain|chief|nurse)s?$"
)
_LABELS = word_set("before_number") | {"number", "page", "section", "chapter"}
_DEMONYM = re.compile(r"(?:ish|ese|ican|alian|ssian|opean|french|dutch|german|swiss|greek)$")
_DEFAULT = re.compile(
    r"(?<!-)\bdefaults?(?: \w+){0,3}? (?:is|are|was|to|of [-+]?\d)|\bdefault\w*(?: \w+)?\s?[:=]|"
    r"(?<=[\w)”\"']) (?:by|as) default\b|\(default\b[^)]+\)|^\W*default\s+\S+$",
    re.IGNORECASE,
)
_OPENING_NAME = re.compile(
    r"[-•*\d.) ]*(?:[A-Z][\w.'’-]*\s+){1,3}(?:[a-z]+(?:ed|s)|was|had|wrote|led|built|won)\b"
)


def has_kind(question: Asked, text: str, found: list[Word] | None = None) -> bool:
    """Given a question and a sentence, return whether the sentence brings what was asked for."""
    found = words(text) if found is None else found
    new = [w for w in found if w.key not in question.keys]
    match question.kind:
        case "person":
            return _person(text, found, new)
        case "date":
            return any(w.key in _DATE_WORDS or _is_year(w) for w in new)
        case "time":
            return any(w.key in _TIME_WORDS or w.number is not None for w in new)
        case "number":
            return _counts(question.counted, found, new)
        case "default":
            return bool(new) and bool(_DEFAULT.search(text))
        case "quantity":
            return _measures(text, question.units, new)
        case "place":
            near = any(w.text.casefold() in _PLACE_WORDS for w in found)
            return near and any(w.content for w in new)
        case "choice" | "any":
            return any(
                w.content or w.number is not None or w.text.casefold() in NEGATIONS for w in new
            )
        case "yes":
            return True


def _person(text: str, found: list[Word], new: list[Word]) -> bool:
    """A name of somebody, or what somebody is."""
    for i, word in enumerate(new):
        if word.key in _DATE_WORDS or word.number is not None:
            continue
        if is_name(word, text) and not is_identifier(word.text):
            follower = new[i + 1] if i + 1 < len(new) else None
            beside = follower is not None and follower.start <= word.start + len(word.text) + 2
            if not _DEMONYM.search(word.text.casefold()) or (
                beside and follower is not None and is_name(follower, text)
            ):
                return True
        lowered = word.text.casefold()
        if (
            word.content
            and word.text.islower()
            and lowered not in _NO_ROLE
            and lowered.rstrip("s") not in _NO_ROLE
            and len(lowered) > 4
            and _ROLE.search(lowered)
        ):
            return True
    opens = bool(new) and new[0] is found[0] and new[0].text[:1].isupper() and new[0].content
    return opens and bool(_OPENING_NAME.match(text))


def _is_year(word: Word) -> bool:
    return word.number is not None and bool(re.fullmatch(r"1[0-9]{3}|20[0-9]{2}", word.number))


def _counts(counted: str, found: list[Word], new: list[Word]) -> bool:
    """Whether a new number is there, and beside what is counted, where that is known."""
    fresh = {w.start for w in new}
    for i, word in enumerate(found):
        if word.start not in fresh:
            continue
        if word.number is None:
            if not counted and any(c.isdigit() for c in word.text):
                return True
            continue
        if not counted or counted in [w.key for w in found[i + 1 : i + 4]]:
            return True
        # "bolts: 12", "columns per table 1,600", but not "room no. 9"
        ahead = found[max(0, i - 4) : i]
        if counted in [w.key for w in ahead] and ahead[-1].text.casefold() not in _LABELS:
            return True
    return False


def _measures(text: str, units: frozenset[str], new: list[Word]) -> bool:
    """Whether a new number stands beside one of the units, or a word such as "weekly" is there."""
    marks = {u for u in units if not u[0].isalpha()}
    adverbs = {u for u in units if u in _ADVERBS}
    for word in new:
        if word.key in adverbs:
            return True
        if word.number is None:
            continue
        end = word.start + len(word.text)
        after, before = text[word.start : end + 3], text[max(0, word.start - 3) : word.start]
        if any(mark in after.casefold() or mark in before.casefold() for mark in marks):
            return True
        unit = re.match(r"[\s-]*([^\W\d_]+)[³²23]?", text[end : end + 24])
        if unit and stem(unit.group(1)) in units:
            return True
        if re.search(r"(?:^|\W)(?:EUR|USD|GBP|CHF)\s*$", text[: word.start]) and "eur" in units:
            return True
    return False


_ADVERBS = frozenset(map(stem, ("daily", "weekly", "monthly", "yearly", "annually", "hourly")))
