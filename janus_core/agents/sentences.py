"""Where sentences begin and end, as exact offsets: a quote is the passage's own text.

Text from documents is hostile: control and escape sequences and invisible
direction marks are boundaries here, so that no sentence ever contains one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from janus_core.agents.lexicon import word_set

_ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?"
_HOSTILE = re.compile(
    _ANSI + r"|\r(?!\n)|[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]+"
)
"""Escape sequences, control characters (but tab and line ends), zero-width and direction marks."""

_PARAGRAPH = re.compile(r"(?:\r?\n[ \t]*){2,}|\x0c")
_ITEM = re.compile(
    r"[ \t]*(?:[-*•‣▪●◦–·+>]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]|#{1,6}|\||step \d+[:.])[ \t]+",
    re.IGNORECASE,
)
_SECTION = re.compile(r"[ \t]*(?:§ ?)?\d{1,3}(?:\.\d{1,3}){1,4}\.?[ \t]+(?=[^\W\d_a-zß-ÿ])")
"""The number of a heading: 2.1. Overview."""
_DATED = re.compile(r"\s*(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d\d)\b")
_FIELD = re.compile(r"\s*[^\W\d_][^:.!?\n]{0,40}:\s+\S")
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？।؟]+[」』”）]*")
_OPENING = "\"'“‘«([„¿¡*_`"

_NEVER_LAST = word_set("never_last")
_BEFORE_NUMBER = word_set("before_number")
_MAYBE_LAST = word_set("maybe_last")
_STARTERS = word_set("starters")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text: `text[start:end]`, without blanks at either end."""

    start: int
    end: int
    line: int = 0
    """Sentences of one paragraph, item or table row have the same number."""


def clean(text: str) -> str:
    """Given any text, return it on one line, without control, escape and direction characters."""
    return " ".join(_HOSTILE.sub(" ", text).split())


def is_clean(text: str) -> bool:
    """Given any text, return whether it has no control, escape or direction characters."""
    return _HOSTILE.search(text) is None


def split(text: str, *, wrapped: bool = True) -> list[Span]:
    """Given a text, return its sentences, list items, table rows and fields, in order.

    The spans cover everything but blanks and hostile characters, and do not
    overlap. With `wrapped`, a line end inside a paragraph may be mere wrapping
    (as in PDF text); without, each line end is a boundary (as in model output).
    """
    spans: list[Span] = []
    line = 0
    for start, end in _clean_stretches(text):
        for line_start, line_end in _units(text, start, end, wrapped):
            line += 1
            spans.extend(
                Span(span.start, span.end, line) for span in _sentences(text, line_start, line_end)
            )
    return spans


def is_heading(line: str) -> bool:
    """Given a line (paragraph, item, row), return whether it announces what follows it."""
    text = line.strip()
    if not text or "\t" in text or " | " in text or _DATED.match(text) or _FIELD.match(text):
        return False
    if text.endswith(":"):
        return True
    return (
        len(text) <= 90
        and len(text.split()) <= 10
        and text[-1] not in ".!?;,。！？"
        and (not _ITEM.match(text) or text.startswith("#") or bool(_SECTION.match(text)))
    )


def is_item(line: str) -> bool:
    """Given a line, return whether it is an item of a list."""
    return bool(_ITEM.match(line)) and not line.startswith("#")


def is_record(line: str) -> bool:
    """Given a line, return whether it stands for itself: a field, a dated entry, a table row."""
    return bool(_FIELD.match(line) or _DATED.match(line)) or "\t" in line or " | " in line


class SentenceStream:
    """Cuts streamed text into sentences, each given out once as soon as it has ended."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, piece: str) -> list[str]:
        """Given the next piece, return the sentences that it completed."""
        self._rest += piece
        spans = split(self._rest, wrapped=False)
        if len(spans) < 2 or not re.search(r"\s", self._rest[spans[-1].start :]):
            return []  # the word after a full stop decides whether the stop ended a sentence
        finished = [clean(self._rest[span.start : span.end]) for span in spans[:-1]]
        self._rest = self._rest[spans[-1].start :]
        return finished

    @property
    def unfinished(self) -> str:
        """The whole words of what has not ended yet."""
        return self._rest[: max(self._rest.rfind(" "), self._rest.rfind("\n")) + 1]

    def finish(self) -> list[str]:
        """Return what is left when the text has ended."""
        left = [clean(self._rest[s.start : s.end]) for s in split(self._rest, wrapped=False)]
        self._rest = ""
        return left


def _clean_stretches(text: str) -> Iterator[tuple[int, int]]:
    """Yield the stretches between hostile characters and between paragraphs."""
    at = 0
    cuts = sorted(
        [m.span() for m in _HOSTILE.finditer(text)] + [m.span() for m in _PARAGRAPH.finditer(text)]
    )
    for start, end in cuts:
        if start > at:
            yield at, start
        at = max(at, end)
    if at < len(text):
        yield at, len(text)


def _units(text: str, start: int, end: int, wrapped: bool) -> Iterator[tuple[int, int]]:
    """Yield the paragraphs' runs of lines that belong together."""
    lines = [
        (start + m.start(), start + m.end()) for m in re.finditer(r"[^\r\n]+", text[start:end])
    ]
    width = max((b - a for a, b in lines), default=0)
    run: tuple[int, int] | None = None
    for begin, stop in lines:
        if run is None:
            run = (begin, stop)
        elif wrapped and _goes_on(text[run[0] : run[1]], text[begin:stop], width):
            run = (run[0], stop)
        else:
            yield run
            run = (begin, stop)
    if run is not None:
        yield run


def _goes_on(before: str, line: str, width: int) -> bool:
    """Whether `line` continues the sentence that `before` left open at its line end."""
    last = before.rsplit("\n", 1)[-1].rstrip()
    first = line.strip()
    if not first or _ITEM.match(line) or _DATED.match(line) or "\t" in line or " | " in line:
        return False
    if "\t" in last or " | " in last or last.endswith((":", "```")):
        return False
    if first[0].islower() or last.endswith((",", "-", "–", "(", " and", " or", " the", " of")):
        return True
    if _FIELD.match(line) or (_FIELD.match(last) and len(last) < 0.6 * width):
        return False
    # A line that had room for the next word was ended on purpose.
    return width >= 40 and len(last) + 1 + len(first.split()[0]) > 0.85 * width


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the sentences of one run of lines."""
    item = _ITEM.match(text, start, end) or _SECTION.match(text, start, end)
    at, search_from = start, item.end() if item else start
    for match in _END.finditer(text, search_from, end):
        if _ends_sentence(text, match, at, end):
            yield from _trimmed(text, at, match.end())
            at = match.end()
    yield from _trimmed(text, at, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    piece = text[start:end]
    begin, stop = start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
    if stop > begin:
        yield Span(begin, stop)


def _ends_sentence(text: str, match: re.Match[str], start: int, end: int) -> bool:
    """Whether the punctuation found is the end of a sentence, and not of an abbreviation."""
    if match.group()[0] in "。！？।؟":
        return True
    rest = text[match.end() : min(end, match.end() + 60)].lstrip().lstrip(_OPENING)
    if not rest:
        return True
    follower = re.match(r"[\w'’]+", rest)
    next_word = follower.group() if follower else ""
    if next_word and next_word[0].islower():
        return False
    if match.group()[0] != "." or match.group().startswith(".."):
        return True
    before = re.search(r"[\w.’'-]*$", text[max(start, match.start() - 30) : match.start()])
    word = before.group() if before else ""
    lowered = word.casefold()
    if lowered in _NEVER_LAST:
        return False
    if lowered in _BEFORE_NUMBER and next_word[:1].isdigit():
        return False
    ahead = text[max(0, match.start() - len(word) - 2) : match.start() - len(word)]
    unit = bool(re.search(r"\d\s?$|[^\s\w(\"'“‘]$", ahead))  # "5 V. Close", "55 °C. Close"
    initial = len(word) == 1 and word.isupper() and not unit
    dotted = bool(re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", word))
    if initial or dotted or lowered in _MAYBE_LAST:
        return next_word.casefold() in _STARTERS
    return True
