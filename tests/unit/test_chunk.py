"""Chunks: where they are cut, what they keep, and what holds for any text."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from janus_core.documents import Chunk, Page
from janus_core.ingestion.chunk import (
    MAX_TOKENS,
    chunk,
    estimate_tokens,
    recipe,
)

GOLDEN_IDS = [
    "483e5e9f-c2db-5eb3-ac6d-c4ceb3e4dd97",
    "4e3aaeb8-4005-5498-b49d-3dec353f2e0e",
    "eabce5b7-dd61-56ab-abf0-9248e9a36f9d",
]
MODEL_READS = 254  # the 256 tokens of MiniLM but its two marks
VERSION = uuid.UUID(int=7)
PROSE = "The kestrel hovers above the field and waits. It sees the vole's track in violet light. "


def cut(*texts: str, headings: bool = True) -> list[Chunk]:
    pages = [Page(number, text) for number, text in enumerate(texts, start=1)]
    return list(chunk(VERSION, pages, recipe="test", headings=headings))


def uncovered(page: Page, chunks: Sequence[Chunk]) -> str:
    covered = bytearray(len(page.text))
    for piece in chunks:
        if piece.page == page.number:
            covered[piece.start : piece.end] = b"\1" * (piece.end - piece.start)
    return "".join(c for c, inside in zip(page.text, covered, strict=True) if not inside)


ODD_TEXT = st.text(
    st.one_of(
        st.sampled_from("\n\n\n   .#|`-=>你e。\tA1 "),
        st.characters(codec="utf-8"),
    ),
    max_size=1500,
)
MARKS = ["\n\n", "\n# Head\n", "Under\n=====\n", "\n```\n", "| a | b |\n", "- item\n", " " * 300]
TEXTS = [PROSE, "x" * 500, "你好吗" * 90, "한국어" * 60, "    indented code();\n", "9f3a" * 40]
LONG_TEXT = st.lists(st.sampled_from([*MARKS, *TEXTS]), max_size=40).map("".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(ODD_TEXT, LONG_TEXT), max_size=4), st.booleans())
@example(["\n", " \t", ""], True)
@example(["#"], True)
def test_any_text_is_covered_in_place_within_the_limit(texts: list[str], headings: bool) -> None:
    pages = [Page(number, text) for number, text in enumerate(texts, start=1)]
    chunks = list(chunk(VERSION, pages, recipe="test", headings=headings))
    by_number = {page.number: page for page in pages}
    for piece in chunks:
        assert by_number[piece.page].text[piece.start : piece.end] == piece.text
        assert piece.text.strip()
        assert estimate_tokens([piece.text])[0] <= MODEL_READS
    for page in pages:
        assert not uncovered(page, chunks).strip()
    assert [piece.ordinal for piece in chunks] == list(range(len(chunks)))
    assert len({piece.id for piece in chunks}) == len(chunks)
    assert chunks == list(chunk(VERSION, pages, recipe="test", headings=headings))


def test_ids_stay_the_same_from_release_to_release() -> None:
    chunks = cut("# Birds\n\n" + PROSE * 12, "Second page.")
    assert [str(piece.id) for piece in chunks] == GOLDEN_IDS, (
        "the chunker cuts differently: raise CHUNKER_VERSION, then change this list"
    )


def test_the_recipe_names_parser_and_chunker_and_changes_the_ids() -> None:
    assert recipe("pdf-1").startswith("pdf-1+chunk-")
    (one,) = chunk(VERSION, [Page(1, "text")], recipe="a")
    (other,) = chunk(VERSION, [Page(1, "text")], recipe="b")
    assert one.id != other.id


def test_pages_are_taken_one_at_a_time() -> None:
    taken: list[int] = []

    def pages() -> Iterator[Page]:
        for number in range(1, 100):
            taken.append(number)
            yield Page(number, PROSE)

    stream = chunk(VERSION, pages(), recipe="test")
    next(stream)
    assert taken == [1]


def test_headings_make_the_path_and_separate_sections() -> None:
    first, second = cut(
        f"# Birds\n\nIntro.\n\n## Kestrel\n\n{PROSE * 7}\n\n## Hobby\n\n{PROSE * 7}"
    )
    assert first.heading == "Birds"
    assert second.heading == "Birds > Hobby"
    assert second.text.startswith("## Hobby")
    assert "Kestrel" not in second.text


def test_a_heading_is_never_the_last_line_of_a_chunk() -> None:
    text = "".join(f"{PROSE * count}\n\n## Part {count}\n\n" for count in range(1, 12)) + PROSE
    assert not [p for p in cut(text) if p.text.splitlines()[-1].startswith("#")]


def test_underlined_headings_count_and_table_rules_do_not() -> None:
    (one, *_) = cut("Birds\n=====\n\nKestrels hover.\n")
    assert one.heading == "Birds"
    (table,) = cut("\n| a | b |\n---\n| 1 | 2 |\n")
    assert table.heading == ""


def test_comments_in_listings_and_scripts_are_no_headings() -> None:
    (listing,) = cut("# Use\n\n```\n# comment\nmake\n```\n\nDone.\n")
    assert listing.heading == "Use"
    (script,) = cut("# comment\nmake\n", headings=False)
    assert script.heading == ""


def test_the_path_goes_on_over_pages_of_one_file() -> None:
    *_, last = cut("# Birds\n\nOne.", "Two.")
    assert (last.page, last.heading) == (2, "Birds")


@pytest.mark.parametrize(
    ("number", "label", "locator"),
    [
        (28, "26", "p. 26 (28th page)"),
        (28, "28", "p. 28"),
        (3, "iii", "p. iii (3rd page)"),
        (111, "A", "p. A (111th page)"),
        (22, "x", "p. x (22nd page)"),
        (5, None, ""),
    ],
)
def test_locators_name_the_printed_and_the_physical_page(
    number: int, label: str | None, locator: str
) -> None:
    (piece,) = chunk(VERSION, [Page(number, "Text.", label)], recipe="test")
    assert piece.locator == locator


def test_a_file_without_pages_is_located_by_its_headings() -> None:
    (piece,) = cut("# Birds\n\nText.")
    assert piece.locator == "Birds"


def test_cuts_fall_at_paragraphs_or_else_sentences() -> None:
    paragraphs = cut("\n\n".join([PROSE * 3] * 9))
    assert all(piece.text.endswith("light.") for piece in paragraphs)
    assert all(piece.text.startswith("The kestrel") for piece in paragraphs)
    wrapped = PROSE.replace(" ", "\n", 5).replace("\n", " \n") * 20
    assert all(piece.text.rstrip().endswith(".") for piece in cut(wrapped))


def test_chunks_of_one_paragraph_overlap_by_a_sentence_and_paragraphs_do_not() -> None:
    sentences = " ".join(f"Sentence number {number} tells of birds." for number in range(80))
    first, second, *_ = cut(sentences)
    shared = first.end - second.start
    assert 0 < shared <= 60
    assert first.text.endswith(second.text[:shared])
    assert second.text.startswith("Sentence number")
    paragraphs = cut("\n\n".join([PROSE * 3] * 9))
    assert all(a.end <= b.start for a, b in pairwise(paragraphs))


def test_no_tiny_tail_is_left() -> None:
    for words in range(150, 700, 7):
        tokens = estimate_tokens([piece.text for piece in cut("bird. " * words)])
        assert min(tokens) >= 40, words


def test_small_sections_share_a_chunk() -> None:
    chunks = cut("".join(f"## Option {n}\n\nSets the option.\n\n" for n in range(40)))
    assert len(chunks) < 10


def test_indentation_of_the_first_line_is_kept() -> None:
    (piece,) = cut("\n\n    def hover():\n        wait()\n")
    assert piece.text == "    def hover():\n        wait()"


def test_the_model_counts_if_it_can_without_its_own_marks() -> None:
    asked: list[int] = []

    def words_and_marks(texts: Sequence[str]) -> list[int]:
        asked.append(len(texts))
        return [len(text.split()) + 2 for text in texts]

    pages = [Page(1, "bird sings. " * 1000)]
    chunks = list(chunk(VERSION, pages, recipe="test", measure=words_and_marks))
    assert all(len(piece.text.split()) <= MAX_TOKENS for piece in chunks)
    assert len(chunks) <= 13, "each atom was counted with the model's marks"
    assert len(asked) <= 3, "texts are measured in batches"


@pytest.mark.parametrize(
    ("text", "least"),
    [("vole", 1), ("a b c", 3), ("你好", 2), ("한국", 6), ("9f3a7c01e2", 6), ("f(x);", 5)],
)
def test_the_estimate_is_not_below_what_wordpiece_counts(text: str, least: int) -> None:
    assert estimate_tokens([text])[0] >= least
