"""A question is taken apart without a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_core.agents.asking import asked
from janus_core.agents.plan import parts_of, plan
from janus_core.answers import Question


def parts(text: str) -> list[str]:
    return list(parts_of(plan(Question(text=text))))


def test_a_question_with_one_part_is_searched_as_it_stands() -> None:
    for text in (
        "Which valve limits the pressure?",
        "Who signed and sealed the valve?",
        "Is the pump that is in hall B painted and sealed?",
        "When and where is the next meeting?",
        "bread and butter",
    ):
        assert parts(text) == [text]


def test_parts_are_found_and_pronouns_resolved() -> None:
    text = "Which valve limits the pump's pressure, and who signed its last test?"
    chosen = plan(Question(text=text))
    assert chosen.queries[0] == text
    first, second = parts_of(chosen)
    assert first == "Which valve limits the pump's pressure?"
    assert second.startswith("who signed its last test (")
    assert "valve" in second


def test_parts_without_a_pronoun_stay_as_they_are() -> None:
    assert parts("Who is the landlord and how high is the deposit?") == [
        "Who is the landlord?",
        "how high is the deposit?",
    ]


def test_a_follow_up_gets_the_subject_of_the_question_before() -> None:
    history = (("At what pressure does PRV-7 open?", "At 3.2 bar."),)
    assert "PRV-7" in plan(Question(text="And who tested it?", history=history)).queries[0]
    assert "PRV-7" in plan(Question(text="Why?", history=history)).queries[0]
    other = Question(text="Who painted the shed of the harbour master?", history=history)
    assert "PRV-7" not in plan(other).queries[0]


@given(st.text(max_size=300), st.text(max_size=100))
def test_any_question_can_be_planned(text: str, earlier: str) -> None:
    chosen = plan(Question(text=text, history=((earlier, ""),)))
    assert 1 <= len(parts_of(chosen)) <= 4
    for part in parts_of(chosen):
        asked(part)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who signed the test?", "person"),
        ("When was it signed?", "date"),
        ("How many bolts hold the lid?", "number"),
        ("At what pressure does it open?", "quantity"),
        ("How heavy is the pump?", "quantity"),
        ("Where is the valve?", "place"),
        ("Which valve limits the pressure?", "choice"),
        ("What is the default of wal_level?", "default"),
        ("Is the valve sealed?", "yes"),
        ("Wie hoch ist der Druck?", "any"),
    ],
)
def test_what_is_asked_for(question: str, kind: str) -> None:
    assert asked(question).kind == kind
