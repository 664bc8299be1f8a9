"""PDF pages, labels and titles; and telling formats apart by content."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import pytest

from janus_core.documents import Page
from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract import pdf
from janus_core.ingestion.extract.base import Parsed
from janus_core.ingestion.extract.registry import FORMATS, HTML, MARKDOWN, PDF, TEXT, sniff

_spec = importlib.util.spec_from_file_location(
    "hostile_corpus", Path(__file__).parents[1] / "hostile" / "corpus.py"
)
assert _spec and _spec.loader
corpus = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(corpus)


def parse(data: bytes, start: int = 1) -> Parsed:
    return pdf.parse(io.BytesIO(data), "folder/manual.pdf", start)


def test_pages_have_their_lines_and_printed_labels() -> None:
    data = corpus.pdf(["Preface", "One\nline two", "Two"], labels="0 << /S /r >> 1 << /S /D >>")
    parsed = parse(data)
    assert parsed.total == 3
    assert list(parsed.pages) == [
        Page(1, "Preface", "i"),
        Page(2, "One\nline two", "1"),
        Page(3, "Two", "2"),
    ]


def test_without_labels_the_position_is_the_label() -> None:
    assert [page.label for page in parse(corpus.pdf(["a", "b"])).pages] == ["1", "2"]


def test_reading_goes_on_in_the_middle() -> None:
    parsed = parse(corpus.pdf(["a", "b", "c"]), start=3)
    assert (parsed.total, [page.number for page in parsed.pages]) == (3, [3])


@pytest.mark.parametrize(
    ("given", "title"),
    [("Birds of prey", "Birds of prey"), ("thesis.dvi", "The first line"), ("", "The first line")],
)
def test_the_title_is_metadata_or_else_the_first_line(given: str, title: str) -> None:
    assert parse(corpus.pdf(["12\nThe first line\nmore"], title=given)).title == title


def test_a_scan_says_that_it_has_no_text_layer() -> None:
    parsed = parse(corpus.pdf(["", ""]))
    with pytest.raises(UnreadableDocument, match="no text layer") as refused:
        list(parsed.pages)
    assert "OCR" in refused.value.hint
    assert [page.text for page in parse(corpus.pdf(["", "b"])).pages] == ["", "b"]


def test_encrypted_and_damaged_files_say_so() -> None:
    with pytest.raises(UnreadableDocument, match="encrypted") as refused:
        parse(corpus.pdf(["a"], encrypt=True))
    assert "password" in refused.value.hint
    with pytest.raises(UnreadableDocument, match="damaged"):
        parse(b"%PDF-1.7 nothing more")


def test_a_truncated_file_that_can_be_repaired_carries_a_note() -> None:
    whole = corpus.pdf(["kestrel"])
    parsed = parse(whole[: whole.index(b"startxref")])
    assert [page.text for page in parsed.pages] == ["kestrel"]
    assert "truncated" in parsed.notes[0]


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (corpus.pdf(["a"]), "wrong.txt", PDF),
        (b"\n\n junk %PDF-1.4", "x", PDF),
        (b"<!DOCTYPE html><p>x", "wrong.md", HTML),
        (b"<?xml version='1.0'?>\n<!-- c --><html>", "x.xml", HTML),
        ("<html><p>x".encode("utf-16"), "x", HTML),
        (b"some <p>fragment</p>", "x.htm", HTML),
        (b"some <p>fragment</p>", "x.md", MARKDOWN),
        (b"plain", "x.HTML", TEXT),
        (b"plain", "README", TEXT),
        (b"# head", "README.MD", MARKDOWN),
        (b"plain", "wrong.pdf", TEXT),
    ],
)
def test_content_counts_before_the_name(data: bytes, name: str, expected: object) -> None:
    assert sniff(io.BytesIO(data), name) is expected


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"PK\x03\x04...", "ZIP"), (b"\x89PNG\r\n", "PNG"), (bytes(range(256)), "binary")],
)
def test_what_is_not_supported_is_named_with_what_is(data: bytes, kind: str) -> None:
    with pytest.raises(UnreadableDocument, match=kind) as refused:
        sniff(io.BytesIO(data), "manual.pdf")
    assert ".html" in refused.value.hint


def test_formats_are_listed_with_suffixes_and_versions() -> None:
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(form.parser.rpartition("-")[2].isdigit() for form in FORMATS)
