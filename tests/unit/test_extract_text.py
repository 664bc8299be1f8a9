"""Plain text and Markdown: encodings, sections, titles; text made safe."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_core.documents import Page
from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract import text
from janus_core.ingestion.extract.base import Parsed
from janus_core.ingestion.extract.clean import safe_line, safe_text


def parse(data: bytes, name: str = "file.txt", start: int = 1, *, markdown: bool = False) -> Parsed:
    return text.parse(io.BytesIO(data), name, start, markdown=markdown)


def read(data: bytes) -> str:
    return "".join(page.text for page in parse(data).pages)


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
def test_unicode_in_any_form_is_read(codec: str) -> None:
    words = "Kestrel «naïve» Привет 你好 " * 5
    assert read(words.encode(codec)) == words


def test_other_encodings_are_guessed_and_said() -> None:
    words = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 10
    parsed = parse(words.encode("cp1251"))
    assert "".join(page.text for page in parsed.pages) == words
    assert "guessed" in parsed.notes[0]


def test_few_stray_bytes_are_windows_1252() -> None:
    assert read(b"Citro\xebn caf\xe9") == "Citroën café"
    mixed = parse("Привет ".encode() + b"caf\xe9 " + "мир".encode())
    assert [page.text for page in mixed.pages] == ["Привет café мир"]
    assert "mixed" in mixed.notes[0]


def test_stray_bytes_far_into_a_large_file_do_not_spoil_the_rest() -> None:
    far = ("Привет, мир. " * 40_000).encode() + b"\xe9 end"
    assert read(far).endswith("é end")
    assert read(far).startswith("Привет")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnreadableDocument, match="binary"):
        parse(bytes(range(256)) * 40)
    with pytest.raises(UnreadableDocument, match="no text"):
        parse(b" \n\f\n ")


def test_a_form_feed_ends_a_page_and_labels_it() -> None:
    assert list(parse(b"one\ftwo\f\fthree").pages) == [
        Page(1, "one", "1"),
        Page(2, "two", "2"),
        Page(3, "", "3"),
        Page(4, "three", "4"),
    ]


def test_long_text_is_cut_into_sections_at_paragraphs() -> None:
    paragraphs = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(200))
    parsed = parse(paragraphs.encode())
    pages = list(parsed.pages)
    assert parsed.total == len(pages) == 4
    assert "".join(page.text for page in pages) == paragraphs
    assert all(page.text.startswith("Paragraph") for page in pages)
    assert all(page.label is None for page in pages)


def test_reading_goes_on_in_the_middle() -> None:
    data = ("line of text\n" * 10_000).encode()
    everything = list(parse(data).pages)
    rest = parse(data, start=4)
    assert rest.total == len(everything)
    assert list(rest.pages) == everything[3:]


@given(st.text(alphabet="ab \n\f#é"), st.integers(4, 30), st.integers(1, 9))
def test_sections_lose_nothing_however_the_text_arrives(whole: str, size: int, step: int) -> None:
    blocks = [whole[at : at + step] for at in range(0, len(whole), step)]
    found = list(text.sections(blocks, size))
    assert "".join(section + "\f" * fed for section, fed in found) == whole
    assert all(len(section) <= size for section, _ in found)
    assert found == list(text.sections([whole], size))


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("# Birds of prey #\n\ntext", "Birds of prey"),
        ("intro\n\nBirds\n=====\n", "Birds"),
        ("no heading", "notes"),
    ],
)
def test_markdown_is_titled_by_its_first_heading(source: str, title: str) -> None:
    assert parse(source.encode(), "folder/notes.md", markdown=True).title == title


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("a\0b", "ab"),
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("\x1b[31mred\x1b[0m \x9b2Jgone", "red gone"),
        ("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link", "text link"),
        ("\x1b]never ends", "never ends"),
        ("\ud800 and \ufffe", "\ufffd and \ufffd"),
        ("\u202egnp.exe\u2069", "gnp.exe"),
        ("\U000e0041\ufeffplain\xad", "plain"),
        ("می\u200cخواهم\ttab", "می\u200cخواهم\ttab"),
    ],
)
def test_text_is_made_safe_to_store_and_to_print(raw: str, safe: str) -> None:
    assert safe_text(raw) == safe


@given(st.text(alphabet=st.characters()))
def test_safe_text_is_safe_and_stays_as_it_is(raw: str) -> None:
    safe = safe_text(raw)
    safe.encode("utf-8")
    assert not set(safe) & {"\0", "\x1b", "\x9b", "\r", "\u202e", "\x7f"}
    assert safe_text(safe) == safe
    assert "\n" not in safe_line(raw)
