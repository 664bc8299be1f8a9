"""Rank fusion, by its properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from janus_core.retrieval.fuse import K, fuse

rankings = st.dictionaries(
    st.sampled_from(["dense", "text", "graph"]), st.lists(st.integers(0, 20), max_size=12)
)


@given(rankings)
def test_every_item_once_by_falling_score_with_those_that_found_it(
    given_rankings: dict[str, list[int]],
) -> None:
    fused = fuse(given_rankings)

    assert {item for item, _, _ in fused} == {i for found in given_rankings.values() for i in found}
    assert len({item for item, _, _ in fused}) == len(fused)
    scores = [score for _, score, _ in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 + 1e-9 for score in scores)
    for item, _, names in fused:
        assert set(names) == {name for name, found in given_rankings.items() if item in found}


@given(rankings)
def test_the_score_is_the_papers(given_rankings: dict[str, list[int]]) -> None:
    for item, score, _ in fuse(given_rankings):
        ranks = [
            list(dict.fromkeys(found)).index(item) + 1
            for found in given_rankings.values()
            if item in found
        ]
        expected = sum(1 / (K + rank) for rank in ranks) * (K + 1) / len(given_rankings)
        assert abs(score - expected) < 1e-9


@given(rankings, st.integers(0, 20))
def test_one_more_voice_at_the_top_never_lowers_an_item(
    given_rankings: dict[str, list[int]], item: int
) -> None:
    def place(fused: list[tuple[int, float, tuple[str, ...]]]) -> int:
        return next((n for n, each in enumerate(fused) if each[0] == item), len(fused))

    before = place(fuse(given_rankings))
    after = place(fuse({**given_rankings, "new": [item]}))

    assert after <= before


@given(st.lists(st.integers(), unique=True, max_size=30))
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert [item for item, _, _ in fuse({"dense": ranking})] == ranking


def test_first_everywhere_is_one() -> None:
    assert fuse({"dense": ["a", "b"], "text": ["a"]})[0] == ("a", 1.0, ("dense", "text"))


def test_ties_keep_the_order_in_which_they_were_seen() -> None:
    fused = fuse({"dense": ["a", "b"], "text": ["b", "a"]})

    assert [item for item, _, _ in fused] == ["a", "b"]


def test_nothing_fuses_to_nothing() -> None:
    assert fuse({}) == []
    assert fuse({"dense": [], "text": []}) == []
