"""The researcher: searches for a question and its parts, and merges what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from janus_core.agents.sentences import clean
from janus_core.answers import Evidence, Hit, Mode, Plan
from janus_core.documents import Filter

Search = Callable[[str, Filter, int, Mode], Sequence[Hit]]
"""Given query, filter, number of hits and mode, return hits, best first; text from ready rows."""

_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke, Büttcher 2009)."""


def research(plan: Plan, search: Search) -> Evidence:
    """Given a plan, return its evidence: at most `plan.passages` hits, none twice.

    The hits of several queries are merged by reciprocal rank; equal texts count
    once. Raise what `search` raises.
    """
    queries = plan.queries

    def one(query: str) -> Sequence[Hit]:
        return search(query, plan.question.filter, plan.passages, plan.mode)

    if len(queries) == 1:
        return merge([one(queries[0])], plan.passages)
    with ThreadPoolExecutor(max_workers=min(2, len(queries))) as pool:
        return merge(list(pool.map(one, queries)), plan.passages)


def merge(lists: Sequence[Sequence[Hit]], most: int) -> Evidence:
    """Given several lists of hits, return the best of them as evidence, by reciprocal rank."""
    scores: dict[str, float] = {}
    first: dict[str, Hit] = {}
    for hits in lists:
        for rank, hit in enumerate(hits, start=1):
            text = clean(hit.passage.text)
            if text:
                scores[text] = scores.get(text, 0.0) + 1.0 / (_K + rank)
                first.setdefault(text, hit)
    best = sorted(scores, key=lambda text: -scores[text])[:most]
    return Evidence(
        hits=tuple(
            first[text].model_copy(update={"rank": rank}) for rank, text in enumerate(best, start=1)
        )
    )
