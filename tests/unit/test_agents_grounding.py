"""A false sentence is refused, a true one passes, whatever a model makes of the source."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_core.agents import lexicon
from janus_core.agents.candidates import Candidate, candidates
from janus_core.agents.grounding import claim, objection, overlap
from janus_core.agents.words import keys, words
from janus_core.answers import Evidence, Hit
from janus_core.documents import Passage


def passage(text: str, title: str = "Manual", locator: str = "") -> Passage:
    return Passage(
        chunk_id=uuid.uuid5(uuid.NAMESPACE_URL, text + title),
        document_id=uuid.uuid5(uuid.NAMESPACE_URL, title),
        collection="default",
        title=title,
        uri=f"file:///{title}",
        object_key="",
        page=1,
        locator=locator,
        text=text,
    )


def source(text: str, place: int = 0, **where: str) -> Candidate:
    hit = Hit(rank=1, score=1.0, passage=passage(text, **where), why=("dense",))
    return candidates(Evidence(hits=(hit,)))[place]


def refused(said: str, text: str, known: str = "") -> str:
    return objection(claim(said), source(text), keys(known), strict=True)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("RV-12 opens at 4.5 bar.", "RV-12 opens at 4.5 bar and closes at 4.1 bar."),
        ("It is tested every twenty-four months.", "It is tested every 24 months."),
        ("The test was on 12 May 2025.", "The test was on 2025-05-12."),
        ("It holds 1200 litres.", "It holds 1,200 litres."),
        ("The valve was signed by M. Okoye.", "The valve was signed by M. Okoye."),
        ("It must not be adjusted.", "It must not be adjusted on site."),
        ("It isn't sealed.", "It is not sealed."),
    ],
)
def test_what_the_source_says_passes(said: str, text: str) -> None:
    assert refused(said, text) == ""


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("RV-12 opens at 5.4 bar.", "RV-12 opens at 4.5 bar."),
        ("It is tested every 24 weeks.", "It is tested every 24 months."),
        ("It takes three hours.", "It takes 30 hours."),
        ("PRV-9 opens at 4.5 bar.", "PRV-7 opens at 4.5 bar."),
        ("The test was signed by Mr. Brandt.", "The test was signed by M. Okoye."),
        ("RV-12 must be adjusted on site.", "RV-12 must not be adjusted on site."),
        ("RV-12 is never sealed.", "RV-12 is sealed."),
        ("Close the valve after the test.", "Close the valve before the test."),
        ("It opens above 4.5 bar.", "It opens below 4.5 bar."),
        ("The pump may be restarted.", "The pump must be restarted."),
        ("The last test failed.", "The first test failed."),
        ("The valve was painted.", "The valve was tested."),
        ("The inlet has 5 bar.", "The inlet has 3 bar, the outlet has 5 bar."),
        ("CP-2 was repaired by T. Brandt.", "CP-2 was repaired by A. Novak and T. Brandt."),
    ],
)
def test_what_turns_the_source_around_is_refused(said: str, text: str) -> None:
    assert refused(said, text) != ""


def test_a_word_of_the_question_counts_only_where_the_passage_knows_it() -> None:
    said, text = "The valve was replaced on 12 May.", "The valve was tested on 12 May."
    assert refused(said, text) != ""
    assert refused("The sealed valve was tested.", "The valve was tested.", "sealed") == ""


@given(st.integers(2, 10**6), st.integers(2, 10**6))
def test_another_number_never_passes(written: int, said: int) -> None:
    problem = refused(f"It weighs {said} kg.", f"It weighs {written} kg.")
    assert (problem == "") == (written == said)


@given(st.integers(0, 99))
def test_number_words_are_numbers(number: int) -> None:
    ones = lexicon.word_groups("number_words")[0]
    tens = ("", "ten", *lexicon.word_groups("tens")[0])
    spelled = ones[number] if number < 20 else tens[number // 10]
    if number >= 20 and number % 10:
        spelled += f"-{ones[number % 10]}"
    found = [w.number for w in words(f"after {spelled} months") if w.number is not None]
    assert found == ([] if number == 1 else [str(number)])


@given(st.text(max_size=200))
def test_any_text_can_be_taken_apart(text: str) -> None:
    for word in words(text):
        assert word.key
        assert 0 <= word.start < len(text)


def test_overlap_is_the_share_of_words_that_the_source_has() -> None:
    said = claim("The relief valve opens.")
    assert overlap(said, source("The relief valve opens.")) == 1.0
    assert overlap(said, source("The valve opens.")) == pytest.approx(2 / 3)
    assert overlap(claim("It is."), source("It is.")) == 0.0
