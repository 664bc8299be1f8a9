"""Cuts pages into chunks: pure, streaming, and the same each time.

A page is read as *atoms* (a sentence, a line of code, a table row, a heading), each
with the strength of the boundary behind it. Chunks are filled with atoms up to a
number of tokens and end at the strongest boundary of their last part: section,
paragraph, sentence, line, word. Atoms too long for that are broken into words, words
too long into pieces, so that text without spaces fits as well.

Every chunk is `page.text[start:end]`, and every character of a page that is not white
space is in some chunk. Written here rather than taken from a splitting library: those
return text without its place, and a chunk's place is what a citation shows.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from janus_core.documents import Chunk, Page, chunk_id

CHUNKER_VERSION = "chunk-1"

Measure = Callable[[Sequence[str]], Sequence[int]]
"""Texts to their numbers of tokens, as the embedding model counts them."""

TARGET_TOKENS = 200
MAX_TOKENS = 240
"""Room for the model's own marks is left below the 256 tokens that MiniLM reads."""

_LEAST_TOKENS = 80  # a section shorter than this shares its chunk with the next
_LEAST_TAIL = 50  # no chunk is left with less than this by the cut before it
_OVERLAP_TOKENS = 40
_LONG_ATOM = 80
_LAST_PART = 0.6  # from here on in a chunk, the strongest boundary is taken

# Strengths of a boundary.
_HEADING, _INSIDE_WORD, _WORD, _WRAP, _LINE, _SENTENCE, _PARAGRAPH, _SECTION = range(-2, 6)

_ATX = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_SETEXT = re.compile(r"(=+|-{3,})[ \t]*$")
_FENCE = re.compile(r"[ \t]*(```+|~~~+)")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]")
_SENTENCE_END = re.compile(
    r"[.!?…]['\"’”)\]»]*[ \t]+(?=[^a-z\s])|[。！？．][」』）]*(?=[^\s」』）])"
)
_PIECES = re.compile(r"\s*\S{1,24}\s*")
_TOKENS = re.compile(
    r"(?P<word>(?:[A-Z]?[a-z]+|[A-Z]+)(?![A-Za-z0-9]))"
    r"|(?P<code>[A-Za-z0-9]+)|(?P<syllable>[\uac00-\ud7a3])|\S"
)


@dataclass(slots=True)
class _Atom:
    start: int
    end: int
    boundary: int
    path: str
    tokens: int = 0

    @property
    def is_heading(self) -> bool:
        return self.boundary == _HEADING


@dataclass(slots=True)
class _Outline:
    """Where the reader stands: the headings above, and whether inside a listing."""

    marked: bool  # whether lines that begin with # are headings
    titles: dict[int, str] = field(default_factory=dict)
    fence: str = ""

    def enter(self, level: int, title: str) -> None:
        self.titles = {above: name for above, name in self.titles.items() if above < level}
        self.titles[level] = " ".join(title.rstrip("# \t").split())[:100]

    @property
    def path(self) -> str:
        return " > ".join(title for title in self.titles.values() if title)[-300:]


def recipe(parser: str) -> str:
    """Given a parser's version, return the recipe that chunk ids are made with."""
    return f"{parser}+{CHUNKER_VERSION}"


def estimate_tokens(texts: Sequence[str]) -> list[int]:
    """Given texts, return about how many WordPiece tokens each has, rather more than less.

    Every five letters of a word are a token; identifiers, numbers, encoded data and very
    long words have one for every one and a half characters, Hangul three a syllable (its
    letters), anything else one a character.
    """
    return [_estimate(text) for text in texts]


def chunk(
    version: uuid.UUID,
    pages: Iterable[Page],
    *,
    recipe: str,
    measure: Measure | None = None,
    headings: bool = True,
) -> Iterator[Chunk]:
    """Given all pages of a document version in order, return its chunks in order.

    `recipe` goes into the ids (see `recipe()`). `measure` counts tokens for the
    embedding model, without it they are estimated. `headings` says whether lines that
    begin with `#` are headings (`Extraction.marks_headings`). One page is held at a time.
    """
    count = _without_marks(measure) if measure else estimate_tokens
    outline = _Outline(marked=headings)
    ordinal = 0
    for page in pages:
        atoms = _measured(_atoms(page.text, outline), page.text, count)
        for first, last in _spans(atoms):
            start, end = _trimmed(page.text, atoms[first].start, atoms[last - 1].end)
            text = page.text[start:end]
            body = next((atom for atom in atoms[first:last] if not atom.is_heading), atoms[first])
            yield Chunk(
                id=chunk_id(version, recipe, ordinal, text),
                ordinal=ordinal,
                text=text,
                page=page.number,
                start=start,
                end=end,
                locator=_locator(page, body.path),
                heading=body.path,
            )
            ordinal += 1


def _locator(page: Page, path: str) -> str:
    if page.label is None:
        return path
    if page.label == str(page.number):
        return f"p. {page.number}"
    return f"p. {page.label} ({_ordinal(page.number)} page)"


def _ordinal(number: int) -> str:
    teens = 10 <= number % 100 <= 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _atoms(text: str, outline: _Outline) -> list[_Atom]:
    """Given a page, return its atoms: they follow one another without a gap."""
    atoms: list[_Atom] = []
    lines = text.splitlines(keepends=True)
    at = number = 0
    fresh = True  # whether a paragraph may begin here
    while number < len(lines):
        line, start = lines[number], at
        number += 1
        at += len(line)
        if not line.strip():
            if atoms:
                atoms[-1].end = at
                if not atoms[-1].is_heading:
                    atoms[-1].boundary = max(atoms[-1].boundary, _PARAGRAPH)
            fresh = True
            continue
        level, title = _heading(line, lines[number] if number < len(lines) else "", outline, fresh)
        if level:
            if not line.startswith("#"):  # the line below it belongs to it
                at += len(lines[number])
                number += 1
            if atoms:
                atoms[-1].boundary = _SECTION
            outline.enter(level, title)
            atoms.append(_Atom(start, at, _HEADING, outline.path))
            fresh = True
            continue
        _add_line(atoms, line, start, outline)
        fresh = False
    return atoms


def _heading(line: str, below: str, outline: _Outline, fresh: bool) -> tuple[int, str]:
    """Given a line and the one below it, return its level and title as a heading, or (0, "")."""
    if not outline.marked or outline.fence:
        return 0, ""
    if match := _ATX.match(line):
        return len(match[1]), match[2]
    underlined = _SETEXT.match(below) if fresh else None
    if underlined and not _ITEM.match(line) and line[0] not in "|>-=\t":
        return (1 if below[0] == "=" else 2), line
    return 0, ""


def _add_line(atoms: list[_Atom], line: str, start: int, outline: _Outline) -> None:
    end, path = start + len(line), outline.path
    fence = _FENCE.match(line)
    if fence or outline.fence:
        if fence and not outline.fence:
            outline.fence = fence[1]
        elif fence and fence[1].startswith(outline.fence):
            outline.fence = ""
        atoms.append(_Atom(start, end, _LINE, path))
        return
    itself = line.startswith("|") or _ITEM.match(line)
    if itself and atoms and atoms[-1].boundary == _WRAP:
        atoms[-1].boundary = _LINE
    if line.startswith("|"):
        atoms.append(_Atom(start, end, _LINE, path))
        return
    done = start
    for match in _SENTENCE_END.finditer(line):
        atoms.append(_Atom(done, start + match.end(), _SENTENCE, path))
        done = start + match.end()
    ends = line.rstrip().endswith((".", "!", "?", ":", "。", "！", "？"))
    atoms.append(_Atom(done, end, _SENTENCE if ends else _WRAP, path))


def _measured(atoms: list[_Atom], text: str, count: Measure) -> list[_Atom]:
    """Given atoms, return them with their tokens counted, long ones in pieces."""
    _count(atoms, text, count)
    if all(atom.tokens <= _LONG_ATOM for atom in atoms):
        return atoms
    measured: list[_Atom] = []
    for atom in atoms:
        if atom.tokens <= _LONG_ATOM:
            measured.append(atom)
            continue
        pieces = [
            _Atom(
                atom.start + match.start(),
                atom.start + match.end(),
                _WORD if match[0][-1].isspace() else _INSIDE_WORD,
                atom.path,
            )
            for match in _PIECES.finditer(text[atom.start : atom.end])
        ]
        pieces[-1].boundary = atom.boundary
        _count(pieces, text, count)
        measured += pieces
    return measured


def _count(atoms: list[_Atom], text: str, count: Measure) -> None:
    for atom, tokens in zip(
        atoms, count([text[atom.start : atom.end] for atom in atoms]), strict=True
    ):
        atom.tokens = tokens


def _spans(atoms: list[_Atom]) -> Iterator[tuple[int, int]]:
    """Given measured atoms, return the chunks as (first atom, atom after the last)."""
    sums = [0, *accumulate(atom.tokens for atom in atoms)]
    first = begin = 0
    while first < len(atoms):
        end = _cut(atoms, sums, begin, first)
        yield begin, end
        first, begin = end, _overlapping(atoms, sums, begin, end)


def _cut(atoms: list[_Atom], sums: list[int], begin: int, first: int) -> int:
    """Return where the chunk that begins at `begin`, and is new from `first` on, ends."""
    everything = sums[-1] - sums[begin]
    fits = everything <= MAX_TOKENS
    room = everything if fits else min(TARGET_TOKENS, everything - _LEAST_TAIL)
    best, best_boundary = first + 1, -9
    for end in range(first + 1, len(atoms) + 1):
        filled = sums[end] - sums[begin]
        if filled > room and end > first + 1:
            break
        boundary = atoms[end - 1].boundary
        if boundary == _SECTION and filled >= _LEAST_TOKENS and sums[-1] - sums[end] >= _LEAST_TAIL:
            return end
        if boundary >= best_boundary or filled < room * _LAST_PART:
            best, best_boundary = end, boundary if filled >= room * _LAST_PART else -9
    return len(atoms) if fits else best


def _overlapping(atoms: list[_Atom], sums: list[int], floor: int, end: int) -> int:
    """Given the end of a chunk, return where the next begins: a sentence earlier.

    Only where the cut separates what belongs together: not at the end of a paragraph
    or section, nor between lines of code or rows.
    """
    if end >= len(atoms) or atoms[end - 1].boundary in (_LINE, _PARAGRAPH, _SECTION):
        return end
    begin = end - 1
    while begin > floor + 1 and _WORD <= atoms[begin - 1].boundary < _LINE:
        begin -= 1
    short = sums[end] - sums[begin] <= _OVERLAP_TOKENS
    whole = begin > floor and atoms[begin - 1].boundary >= _LINE
    return begin if short and whole and not atoms[begin].is_heading else end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without white space around it, but with its first line's indentation."""
    while text[end - 1].isspace():
        end -= 1
    begin = start
    while text[begin].isspace():
        begin += 1
    return max(start, text.rfind("\n", start, begin) + 1), end


def _without_marks(measure: Measure) -> Measure:
    """Given a measure that counts the model's own marks with each text, leave them out."""
    (marks,) = measure([""])
    return lambda texts: [tokens - marks for tokens in measure(texts)]


def _estimate(text: str) -> int:
    tokens = 0
    for match in _TOKENS.finditer(text):
        kind, length = match.lastgroup, match.end() - match.start()
        if kind == "word" and length <= 16:
            tokens += 1 + (length - 1) // 5
        elif kind in ("word", "code"):
            tokens += (2 * length + 2) // 3
        else:
            tokens += 3 if kind == "syllable" else 1
    return tokens
