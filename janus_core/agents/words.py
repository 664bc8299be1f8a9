"""What a sentence is made of, for checks that must be quick: words, numbers, names.

Nothing here understands a language. English is treated best (stems, stop words,
number words); other languages fall back to whole words, and scripts without
blanks to pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise

from janus_core.agents.lexicon import word_groups, word_set

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0e7f"
_TOKEN = re.compile(
    rf"[{_CJK}]+|\d+(?:[.,:’'-]\d+)*(?:st|nd|rd|th)?(?![^\W\d_])|[^\W{_CJK}]+(?:[-.'’@][^\W{_CJK}]+)*"
)

MONTHS = word_groups("months")[0]
STOP = word_set("stop")
"""Words that carry no content of their own. Negation, order and modality are checked apart."""

NEGATIONS = word_set("negations")

ORDERING = {word: n for n, group in enumerate(word_groups("ordering")) for word in group}
"""Words whose exchange turns a sentence around, with the group of those that mean the same."""

_UNITS = {word: n for n, word in enumerate(word_groups("number_words")[0]) if word != "one"}
_TENS = {word: 10 * n for n, word in enumerate(word_groups("tens")[0], start=2)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_MONTH_KEYS = {m[:3]: m for m in MONTHS} | {m: m for m in MONTHS} | {"sept": "september"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text: as written, its key (what makes two words equal), and where it begins."""

    text: str
    key: str
    start: int
    number: str | None = None
    """Its value in plain digits, if the word is a number."""

    @property
    def content(self) -> bool:
        """Whether the word says something (neither a stop word nor a number)."""
        if self.number is not None:
            return False
        if self.key in MONTHS and self.text[:1].isupper():
            return True
        return self.text.casefold() not in STOP and self.key not in STOP


def words(text: str) -> list[Word]:
    """Given a text, return its words in order. Hyphenated words give the parts as well."""
    found: list[Word] = []
    for match in _TOKEN.finditer(text):
        found.extend(_of_token(match.group(), match.start()))
    return _with_number_words(found)


def keys(text: str) -> frozenset[str]:
    """Given a text, return the keys of all its words, and of the names it writes in two words."""
    found = words(text)
    pairs = {
        a.text.casefold() + b.text.casefold()
        for a, b in pairwise(found)
        if a.text.isalpha() and a.text.isupper() and b.text.isdigit()  # "PRV 7" is "PRV-7"
    }
    return frozenset(w.key for w in found) | pairs


def content_keys(text: str) -> list[str]:
    """Given a text, return the distinct keys of its content words, in order."""
    return list(dict.fromkeys(w.key for w in words(text) if w.content))


@lru_cache(maxsize=1)
def _stemmer() -> object:
    from py_rust_stemmers import SnowballStemmer  # type: ignore[import-untyped]

    return SnowballStemmer("english")


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Given a word, return what it shares with its other forms (Snowball, English)."""
    lowered = unicodedata.normalize("NFKC", word).casefold()
    if not lowered.isascii() or not lowered.isalpha() or len(lowered) < 3:
        return lowered
    if lowered in _MONTH_KEYS and (len(lowered) > 3 or word[0].isupper()):
        return _MONTH_KEYS[lowered]
    stemmed: str = _stemmer().stem_word(lowered)  # type: ignore[attr-defined]
    return stemmed


def is_name(word: Word, text: str) -> bool:
    """Whether a word of `text` is a name or an identifier, rather than an ordinary word.

    A capital inside a sentence, capitals or digits or underscores inside a word.
    A capital that opens a sentence says nothing.
    """
    written = word.text
    if not word.content:
        return False
    if is_identifier(written):
        return True
    if not written[:1].isupper():
        return False
    before = text[: word.start].rstrip().rstrip("\"'“‘«([„*_`").rstrip()
    if re.search(r"(?:^|[\s(])[^\W\d_a-z][^\W\d_]{0,3}\.$", before):  # M. Okoye, Dr. Okoye
        return True
    return bool(before) and before[-1] not in ".!?;•|-–>"


def is_identifier(written: str) -> bool:
    """Whether a word is written as no ordinary word is: PRV-7, max_connections, pgBouncer, NATO."""
    letters = any(c.isalpha() for c in written)
    mixed = any(c.isdigit() or c in "_@" for c in written) and letters
    inner = any(c.isupper() for c in written[1:]) and "-" not in written
    dotted = bool(re.search(r"[^\W\d_]\.[^\W\d_]", written))
    return mixed or inner or dotted


WEAK = frozenset(map(stem, word_set("weak")))
"""The keys of words that say little: need, use, amount …"""


def _of_token(token: str, start: int) -> list[Word]:
    if re.match(rf"[{_CJK}]", token):
        pairs = [token[i : i + 2] for i in range(max(1, len(token) - 1))]
        return [Word(p, p, start + i) for i, p in enumerate(pairs)]
    if token[0].isdigit() and not re.search(r"[^\W\d_]", re.sub(r"(?:st|nd|rd|th)$", "", token)):
        return _of_number(token, start)
    bare = re.sub(r"['’]s$", "", token).replace("’", "'")
    if re.search(r"n't$", bare, re.IGNORECASE):
        return [Word(bare, "not", start)]
    glued = re.fullmatch(r"(\d+(?:[.,]\d+)*)-?([^\W\d_]+)", bare)
    if glued:  # 24-month, 3.2bar, 45kg
        number, unit = glued.groups()
        return [
            *_of_number(number, start),
            Word(unit, stem(unit), start + glued.start(2)),
        ]
    if "-" in bare and not any(c.isdigit() for c in bare):
        parts = [
            Word(m.group(), stem(m.group()), start + m.start()) for m in re.finditer(r"[^-]+", bare)
        ]
        return [*parts, Word(bare, stem(bare.replace("-", "")), start)]
    if any(c.isdigit() for c in bare):
        return [Word(bare, re.sub(r"[-'’]", "", bare).casefold(), start)]
    if "." in bare and not is_abbreviation(bare):
        parts = [
            Word(m.group(), stem(m.group()), start + m.start()) for m in re.finditer(r"[^.]+", bare)
        ]
        return [Word(bare, bare.casefold(), start), *parts]
    return [Word(bare, stem(bare), start)]


def is_abbreviation(word: str) -> bool:
    """Whether a word is made of single letters with dots (U.S.A)."""
    return bool(re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]?", word))


def _of_number(token: str, start: int) -> list[Word]:
    iso = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", token)
    if iso and 1 <= int(iso.group(2)) <= 12:
        year, month, day = iso.groups()
        name = MONTHS[int(month) - 1]
        return [
            Word(day, _value(day), start + 8, _value(day)),
            Word(name.title(), name, start + 5),
            Word(year, _value(year), start, _value(year)),
        ]
    digits = re.sub(r"(?:st|nd|rd|th)$", "", token)
    if re.search(r"[:-]", digits):
        return [
            Word(m.group(), _value(m.group()), start + m.start(), _value(m.group()))
            for m in re.finditer(r"[\d.,’']+", digits)
        ]
    return [Word(token, _value(digits), start, _value(digits))]


def _value(digits: str) -> str:
    """Given a number as written (1,200 · 3,2 · 07 · 3.20), return it in one plain form."""
    plain = re.sub(r"['’]", "", digits).rstrip(".,")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain):
        plain = plain.replace(",", "")
    elif re.fullmatch(r"\d+,\d+", plain):
        plain = plain.replace(",", ".")
    try:
        return format(Decimal(plain).normalize(), "f")
    except InvalidOperation:
        return plain  # a version such as 1.2.3


def _with_number_words(found: list[Word]) -> list[Word]:
    """Given words, return them with number words ("two hundred", "twenty-four") as numbers."""
    result: list[Word] = []
    i = 0
    while i < len(found):
        value, used = _number_at(found, i)
        if used:
            result.append(Word(found[i].text, str(value), found[i].start, str(value)))
            i += used
        else:
            result.append(found[i])
            i += 1
    return result


def _number_at(found: list[Word], i: int) -> tuple[int, int]:
    """Given words and a place, return the number spelled there and how many words it takes."""
    total = current = used = 0
    while i + used < len(found):
        word = found[i + used].text.casefold()
        if word in _TENS:
            current += _TENS[word]
        elif word in _UNITS:
            current += _UNITS[word]
        elif word == "one" and current >= 20 and current % 10 == 0:
            current += 1
        elif word in _SCALES and used:
            current *= _SCALES[word]
            if word != "hundred":
                total, current = total + current, 0
        elif used and "-" in word and word.split("-")[0] in _TENS:
            pass  # the whole of "twenty-four", listed after its parts
        else:
            break
        used += 1
    return total + current, used
