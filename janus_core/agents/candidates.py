"""The sentences of the evidence that may support an answer, with what each leans on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from janus_core.agents import sentences
from janus_core.agents.lexicon import word_set
from janus_core.agents.sentences import Span
from janus_core.agents.words import MONTHS, Word, is_identifier, is_name, keys, words
from janus_core.answers import Evidence
from janus_core.documents import Passage

MOST_PASSAGES = 8
MOST_SENTENCES = 240
"""Bounds the work on a passage that is one long list; lexical checks of these take milliseconds."""
LONGEST = 1_200
"""Characters. A longer "sentence" is a table or code without marks; nobody wants it quoted."""
_LIFE = re.compile(r"\([^()]*\d{4}\s?[–—-]\s?[^()]*\d{4}\)")
"""Dates of birth and death, as encyclopedias put them after a name."""
_DENIED = re.compile(r"\b(?:not|without)(?: the| an?| any)? ([\w-]+)")
_LEANING = word_set("leaning")
_TEMPLATE_MARK = re.compile(r"<\|[^<>\s]{1,40}\|?>|\[/?INST\]|<</?SYS>>", re.IGNORECASE)
_COMMAND = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|above|previous)"
    r"|\byou are (?:now |an? )(?:ai|assistant|chatbot|language model|dan)\b|\bsystem prompt\b"
    r"|\b(?:as an ai|dear (?:ai|assistant|model))\b|\b(?:reply|respond|answer) only with\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A sentence of a passage: `passage.text[span.start:span.end]`, with its surroundings."""

    passage: Passage
    rank: int
    """1 is the best passage."""
    span: Span
    before: Span | None = None
    """The sentence just before, in the same paragraph."""
    earlier: tuple[Span, ...] = ()
    """The sentences of the same paragraph or entry before that one, the nearest first."""
    above: tuple[Span, ...] = ()
    """The heading, lead of the list and head of the table it stands under."""
    record: bool = False
    """A field, dated entry, list item or row: what stands beside it is about something else."""
    suspect: bool = False
    """The passage tries to give orders to a model: shown to none, and quoted last."""

    @property
    def quote(self) -> str:
        """The exact text in the passage."""
        return self._at(self.span)

    @cached_property
    def text(self) -> str:
        """The sentence on one line."""
        return sentences.clean(self.quote)

    @cached_property
    def in_context(self) -> str:
        """The sentence with its heading, and the sentence before if it leans on that."""
        above = [sentences.clean(self._at(span)).rstrip(":") for span in self.above[:1]]
        before = [self.at(self.before)] if self.leans and self.before is not None else []
        return ": ".join([*above, " ".join([*before, self.text])])

    @cached_property
    def words(self) -> list[Word]:
        """The words of the sentence, in order."""
        return words(self.text)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of its words."""
        lived = {"born", "die"} if _LIFE.search(self.text) else frozenset[str]()
        return keys(self.text) | lived

    @cached_property
    def denied(self) -> frozenset[str]:
        """The keys that stand only behind a "not" or "without": "not the schema"."""
        found = _DENIED.findall(self.text.casefold())
        denied = {word.key for phrase in found for word in words(phrase)}
        rest = keys(_DENIED.sub(" ", self.text.casefold()))
        return frozenset(denied - rest)

    @cached_property
    def date(self) -> tuple[int, int, int]:
        """The latest date it names, as (year, month, day); zeros for what is not there."""
        found = [(0, 0, 0)]
        for i, word in enumerate(self.words):
            if word.number is None or not re.fullmatch(r"1\d{3}|20\d\d", word.number):
                continue
            month = day = 0
            for near in self.words[max(0, i - 2) : i]:
                month = MONTHS.index(near.key) + 1 if near.key in MONTHS else month
                day = int(near.number) if near.number and near.number.isdigit() else day
            found.append((int(word.number), month, day))
        return max(found)

    @cached_property
    def support_keys(self) -> frozenset[str]:
        """The keys of what a citation of this sentence quotes or stands under."""
        return self.keys | self.above_keys | (self.before_keys if self.leans else frozenset())

    @cached_property
    def explained(self) -> frozenset[str]:
        """The identifiers that are the nearest heading: "shared_buffers (integer)"."""
        nearest = self.at(self.above[0]) if self.above else ""
        found = [w for w in words(nearest) if is_identifier(w.text)]
        return frozenset(w.key for w in found) if len(words(nearest)) <= 4 else frozenset()

    @cached_property
    def leans(self) -> bool:
        """Whether it is only understood with the sentence before it: "It was built by …"."""
        opening = [w.text.casefold() for w in self.words[:3]]
        return self.before is not None and (
            any(word in _LEANING for word in opening) or len(self.words) <= 5
        )

    @cached_property
    def before_keys(self) -> frozenset[str]:
        """The keys of the sentence before."""
        return keys(sentences.clean(self._at(self.before))) if self.before else frozenset()

    def inherits(self, key: str, *, numbered: bool) -> bool:
        """Whether a name or identifier is what the sentence is about, though it does not say so.

        The paragraph named it earlier, and neither the sentence nor one since
        names another of its sort (`numbered`: identifiers such as PRV-7).
        """
        spans = (self.before, *self.earlier) if self.before is not None else ()
        if _rivals(self.text, numbered):
            return False
        for span in spans:
            text = self.at(span)
            if key in keys(text):
                return True
            if _rivals(text, numbered):
                return False
        return False

    @cached_property
    def above_keys(self) -> frozenset[str]:
        """The keys of what it stands under within the passage."""
        return keys(". ".join(sentences.clean(self._at(span)) for span in self.above))

    @cached_property
    def title_keys(self) -> frozenset[str]:
        """The keys of the document's title and of the passage's place in it."""
        return keys(sentences.clean(f"{self.passage.title}. {self.passage.locator}"))

    @cached_property
    def passage_keys(self) -> frozenset[str]:
        """The keys of the whole passage, title and place."""
        return keys(sentences.clean(self.passage.text)) | self.title_keys

    @cached_property
    def names(self) -> frozenset[str]:
        """The keys of the names in the sentence."""
        return frozenset(w.key for w in self.words if is_name(w, self.text))

    def at(self, span: Span) -> str:
        """Given a span of the same passage, return its text on one line."""
        return sentences.clean(self._at(span))

    def _at(self, span: Span) -> str:
        return self.passage.text[span.start : span.end]


def _rivals(text: str, numbered: bool) -> bool:
    return any(
        is_name(w, text) and any(c.isdigit() for c in w.text) == numbered for w in words(text)
    )


def candidates(evidence: Evidence) -> list[Candidate]:
    """Given evidence, return the sentences of its passages, best passage first."""
    found: list[Candidate] = []
    seen: set[str] = set()
    for rank, hit in enumerate(evidence.hits[:MOST_PASSAGES], start=1):
        for candidate in _of_passage(hit.passage, rank):
            if candidate.text not in seen:
                seen.add(candidate.text)
                found.append(candidate)
    return found[:MOST_SENTENCES]


def _of_passage(passage: Passage, rank: int) -> list[Candidate]:
    text = passage.text
    suspect = bool(_COMMAND.search(text) or _TEMPLATE_MARK.search(text))
    found: list[Candidate] = []
    heading: Span | None = None
    lead: Span | None = None
    head: Span | None = None
    spans = [s for s in sentences.split(text) if any(c.isalnum() for c in text[s.start : s.end])]
    for i, span in enumerate(spans):
        written = text[span.start : span.end]
        previous = spans[i - 1] if i and spans[i - 1].line == span.line else None
        alone = previous is None and (i + 1 == len(spans) or spans[i + 1].line != span.line)
        item, row = sentences.is_item(written), "\t" in written or " | " in written
        if not row:
            head = None
        if not item and previous is None:
            lead = None
        if span.end - span.start <= LONGEST and not _TEMPLATE_MARK.search(written):
            found.append(
                Candidate(
                    passage=passage,
                    rank=rank,
                    span=span,
                    before=previous,
                    earlier=tuple(
                        s for s in spans[max(0, i - 6) : i - 1][::-1] if s.line == span.line
                    ),
                    above=tuple(s for s in (heading, lead, head) if s is not None),
                    record=item or sentences.is_record(written),
                    suspect=suspect,
                )
            )
        if row and head is None and not any(c.isdigit() for c in written):
            head = span
        elif written.endswith(":"):
            lead = span
        elif alone and i + 1 < len(spans) and sentences.is_heading(written):
            heading = span
    return found
