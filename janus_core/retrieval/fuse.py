"""Rank fusion: several rankings into one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)

K = 60
"""The constant of the paper: how much the very first ranks stand out."""


def fuse(rankings: Mapping[str, Sequence[Item]]) -> list[tuple[Item, float, tuple[str, ...]]]:
    """Given named rankings, best first, return (item, score, names) by falling score.

    An item's score is the sum of 1 / (K + rank) over the rankings that have it,
    scaled so that first place everywhere gives 1. Ties keep the order in which
    items were first seen.

    Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms
    Condorcet and individual Rank Learning Methods", SIGIR 2009.
    """
    scores: dict[Item, float] = {}
    found_by: dict[Item, list[str]] = {}
    for name, ranking in rankings.items():
        for rank, item in enumerate(dict.fromkeys(ranking), start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (K + rank)
            found_by.setdefault(item, []).append(name)
    best = len(rankings) / (K + 1)
    ordered = sorted(scores.items(), key=lambda pair: -pair[1])
    return [(item, score / best, tuple(found_by[item])) for item, score in ordered]
