"""Sentences are exact stretches of a text, and nothing hostile is ever inside one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_core.agents.sentences import SentenceStream, clean, is_heading, split

HOSTILE = re.compile(
    r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]"
)


def cut(text: str, *, wrapped: bool = True) -> list[str]:
    return [" ".join(text[s.start : s.end].split()) for s in split(text, wrapped=wrapped)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Dr. M. Okoye signed it. It lifted at 3.2 bar, i.e. in time (cf. Fig. 3). See No. 5.",
            [
                "Dr. M. Okoye signed it.",
                "It lifted at 3.2 bar, i.e. in time (cf. Fig. 3).",
                "See No. 5.",
            ],
        ),
        ("It cooled below 55 °C. Reset TS-3.", ["It cooled below 55 °C.", "Reset TS-3."]),
        ("Use 5 V. Close it.", ["Use 5 V.", "Close it."]),
        ("The U.S. Navy came. It left.", ["The U.S. Navy came.", "It left."]),
        ("Bolts, nuts etc. The lid.", ["Bolts, nuts etc.", "The lid."]),
        ("“Stop!” He left. Why? …", ["“Stop!”", "He left.", "Why?", "…"]),
        ("Take care:\n- open it\n- close it. Wait.", None),
        ("水泵坏了。需要修理。", ["水泵坏了。", "需要修理。"]),
        ("Der Druck z.B. 3,2 bar. Nicht mehr.", ["Der Druck z.B. 3,2 bar.", "Nicht mehr."]),
        ("Set in postgresql.conf. Restart.", ["Set in postgresql.conf.", "Restart."]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_splits(text: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["Take care:", "- open it", "- close it.", "Wait."]
    assert cut(text) == expected


def test_wrapped_lines_are_joined_and_records_are_not() -> None:
    text = (
        "The relief valve protects the circuit against any overpressure that may\n"
        "occur. It opens at 4.5 bar.\n\n"
        "Set pressure: 4.5 bar\nWeight: 86 kg\n"
        "2024-03-02 RV-12 tested\n2024-05-19 TS-3 tripped\n"
    )
    assert cut(text) == [
        "The relief valve protects the circuit against any overpressure that may occur.",
        "It opens at 4.5 bar.",
        "Set pressure: 4.5 bar",
        "Weight: 86 kg",
        "2024-03-02 RV-12 tested",
        "2024-05-19 TS-3 tripped",
    ]


def test_escape_sequences_and_direction_marks_are_boundaries() -> None:
    text = "Safe.\x1b[31m Red text\x1b]0;title\x07 here\u202egnp.exe\x00end"
    assert cut(text) == ["Safe.", "Red text", "here", "gnp.exe", "end"]


def test_headings() -> None:
    assert is_heading("2.1. The Berkeley Project")
    assert is_heading("shared_buffers (integer)")
    assert is_heading("Maintenance intervals:")
    assert not is_heading("Weight: 86 kg")
    assert not is_heading("It opens at 4.5 bar.")


@given(st.text(max_size=400))
def test_spans_are_ordered_clean_and_lose_nothing(text: str) -> None:
    spans = split(text)
    at = 0
    for span in spans:
        assert at <= span.start < span.end <= len(text)
        written = text[span.start : span.end]
        assert written == written.strip() != ""
        assert not HOSTILE.search(written)
        at = span.end
    kept = "".join("".join(text[s.start : s.end].split()) for s in spans)
    assert kept == "".join(clean(text).split())


WORDS = "The|valve|Dr.|M.|Okoye|3.2|bar.|It|opens?|e.g.|at|4.5|°C.|“No!”|-|item|\n|etc.|U.S.|水。"
PROSE = st.lists(st.sampled_from(WORDS.split("|")), max_size=40).map(" ".join)


@given(PROSE, st.lists(st.integers(1, 7), min_size=1, max_size=20))
def test_a_stream_gives_every_word_once_and_in_order(text: str, sizes: list[int]) -> None:
    stream, given_out, at = SentenceStream(), [], 0
    while at < len(text):
        for size in sizes:
            given_out += stream.feed(text[at : at + size])
            at += size
    given_out += stream.finish()
    assert "".join("".join(given_out).split()) == "".join(text.split())


def test_a_stream_gives_a_sentence_out_before_the_text_ends() -> None:
    stream = SentenceStream()
    assert stream.feed("It opens at 3.") == []
    assert stream.feed("2 bar. The") == []
    assert stream.feed(" next") == ["It opens at 3.2 bar."]
    assert stream.finish() == ["The next"]
