"""Full text: the visible chunks that share the rarest words of a query, best first.

PostgreSQL's own ranking knows nothing of how rare a word is, and a query for any
of its words touches half of a large collection. The statistics that ANALYZE keeps
say how common each lexeme is: candidates are the chunks with the rarest lexemes,
and each lexeme counts by its inverse document frequency.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from janus_core.documents import Filter
from janus_core.stores.catalogue import VISIBLE, filter_conditions

MOST_CANDIDATES = 2_000
"""Chunks that are ranked, about; more are met only if every word is common."""

MOST_LEXEMES = 32
"""The rarest of a long query; the rest would change little."""


@dataclass(frozen=True, slots=True)
class _Lexeme:
    text: str
    frequency: float
    """Share of the chunks that have it, 0 to 1; an upper bound for rare ones."""


def match_text(tx: Connection, query: str, k: int, where: Filter) -> list[tuple[uuid.UUID, float]]:
    """Return (chunk id, score) of at most k visible chunks, by falling score.

    The score is the sum, over the query's lexemes, of inverse document frequency
    times PostgreSQL's saturating term rank. It compares within one answer only.
    """
    total = _number_of_chunks(tx)
    lexemes = _lexemes(tx, query, total)
    if not lexemes:
        return []
    conditions, values = filter_conditions(where)
    for number, lexeme in enumerate(lexemes):
        values[f"lexeme_{number}"] = _quoted(lexeme.text)
        values[f"idf_{number}"] = math.log(1 + 1 / lexeme.frequency)
    score = " + ".join(
        f":idf_{n} * ts_rank(k.tsv, CAST(:lexeme_{n} AS tsquery))" for n in range(len(lexemes))
    )
    rows = tx.execute(
        text(
            f"WITH candidate AS MATERIALIZED ("
            " SELECT k.id, k.tsv FROM chunk k JOIN document d ON d.id = k.document_id"
            f" JOIN version v ON v.id = k.version_id AND {VISIBLE}"
            " JOIN collection c ON c.id = k.collection_id"
            f" WHERE k.tsv @@ CAST(:candidates AS tsquery) AND {conditions} LIMIT :most)"
            f" SELECT k.id, {score} AS score FROM candidate k ORDER BY score DESC, k.id LIMIT :k"
        ),
        values | {"candidates": _candidates(lexemes, total), "most": 4 * MOST_CANDIDATES, "k": k},
    )
    return [(row.id, float(row.score)) for row in rows]


def _candidates(lexemes: Sequence[_Lexeme], total: int) -> str:
    """The tsquery that finds candidates: any of the rarest lexemes, or all if none is rare."""
    taken, expected = list[str](), 0.0
    for lexeme in lexemes:
        expected += lexeme.frequency * total
        if taken and expected > MOST_CANDIDATES:
            break
        taken.append(_quoted(lexeme.text))
    if len(taken) == 1 and expected > MOST_CANDIDATES:
        return " & ".join(_quoted(lexeme.text) for lexeme in lexemes)
    return " | ".join(taken)


def _lexemes(tx: Connection, query: str, total: int) -> list[_Lexeme]:
    """The distinct lexemes of a query with their frequencies, the rarest first."""
    rows = tx.execute(
        text(
            "WITH common AS (SELECT CAST(CAST(most_common_elems AS text) AS text[]) AS lexemes,"
            "   most_common_elem_freqs AS frequencies FROM pg_stats"
            "   WHERE schemaname = current_schema() AND tablename = 'chunk' AND attname = 'tsv')"
            " SELECT q.lexeme, (SELECT frequencies[array_position(lexemes, q.lexeme)] FROM common)"
            "   AS frequency FROM unnest(to_tsvector('english', :q)) q"
        ),
        {"q": query.replace("\0", " ")},
    ).all()
    rarest = 1 / max(total, 1)
    found = [
        _Lexeme(row.lexeme, max(rarest, 0.0005 if row.frequency is None else row.frequency))
        for row in rows
    ]
    return sorted(found, key=lambda lexeme: (lexeme.frequency, lexeme.text))[:MOST_LEXEMES]


def _number_of_chunks(tx: Connection) -> int:
    """The planner's own estimate; counting would read the whole table."""
    found = tx.scalar(text("SELECT reltuples FROM pg_class WHERE oid = CAST('chunk' AS regclass)"))
    return max(0, int(found or 0))


def _quoted(lexeme: str) -> str:
    """A lexeme as a tsquery: in quotes, whatever is in it."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
