"""Word lists of `lexicon.toml`, read once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, Any]:
    return tomllib.loads((resources.files(__package__) / "lexicon.toml").read_text("utf-8"))


@lru_cache(maxsize=64)
def word_set(name: str) -> frozenset[str]:
    """Given the name of a list, return its words."""
    return frozenset(str(_lexicon()[name]).split())


@lru_cache(maxsize=8)
def word_groups(name: str) -> tuple[tuple[str, ...], ...]:
    """Given the name of a list of groups, return the words of each group."""
    return tuple(tuple(line.split()) for line in str(_lexicon()[name]).splitlines() if line)


@dataclass(frozen=True)
class Quantity:
    """Something measured."""

    asked: frozenset[str]
    """Words that ask for it, and that its unit alone answers: "how heavy" – "86 kg"."""
    named: frozenset[str]
    """Words that ask for one of several such: "diameter" is not answered by any length."""
    units: frozenset[str]


@lru_cache(maxsize=1)
def quantities() -> tuple[Quantity, ...]:
    """Return the quantities that can be asked for."""
    return tuple(
        Quantity(*(frozenset(entry.get(name, "").split()) for name in ("asked", "named", "units")))
        for entry in _lexicon()["quantities"].values()
    )
