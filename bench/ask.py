"""Ask a set of questions and judge the answers against its gold.

    python bench/ask.py bench/questions/debian-docs.jsonl FILE-OR-FOLDER… [--out FILE]
    python bench/ask.py examples/questions.jsonl examples/documents

Ingests the documents into a scratch node (or, with --here, asks the node of
JANUS_HOME as it is), asks each question once, and prints a line each. *right*: the
answer holds a gold string (and each of `also`, `gold_also`, where given) and
cites a gold file, and page where one is named. *declined*: "not stated" for a
question that has no answer. *false*: anything else that claims to answer.
*shown*: an answerable question that was declined, but the closest passage shown
with it holds the gold; *missed*: declined without that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scratch import scratch_node

from janus_core.agents.conversation import ask
from janus_core.answers import Answer
from janus_core.app import Janus, open_janus
from janus_core.ingestion.follow import Follower
from janus_core.ingestion.intake import find_files


def normal(text: str) -> str:
    """Lower case, one kind of dash and quote, single spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", plain.replace("–", "-").replace("’", "'"))


def holds(text: str, gold: str) -> bool:
    """Whether a text holds a gold string as whole words."""
    pattern = rf"(?<![\w.]){re.escape(normal(gold))}(?!\w)"
    return re.search(pattern, normal(text)) is not None


def judge(question: dict[str, Any], answer: Answer) -> str:
    """Given a question with its gold and an answer, return the verdict's name."""
    declined = answer.kind == "not_stated"
    if question["kind"] == "unanswerable":
        return "declined" if declined else "false"
    stated = " ".join(sentence.text for sentence in answer.sentences)
    right = any(holds(stated, gold) for gold in question["gold"])
    for needed in question.get("also") or []:
        right = right and holds(stated, needed)
    if question.get("gold_also"):
        right = right and any(holds(stated, gold) for gold in question["gold_also"])
    cited = {(c.uri.rsplit("/", 1)[-1], c.page) for c in answer.citations}
    sourced = any(
        file == source["file"] and source.get("page") in (None, page)
        for source in question["sources"]
        for file, page in cited
    )
    if declined:
        return "shown" if right and sourced else "missed"
    if right and sourced:
        return "right"
    return "unsourced" if right else "false"


@contextlib.contextmanager
def node(paths: list[Path], *, here: bool) -> Iterator[Janus]:
    """Give a node that knows the documents."""
    if here:
        with open_janus() as janus:
            yield janus
        return
    with scratch_node(chat=True) as janus:
        with Follower(janus.database, janus.live, lambda event: None) as follower:
            taken = list(janus.intake("default", {}).take(find_files(paths)))
            rows = list(follower.wait([t.job_id for t in taken if t.job_id]))
        print(f"{len(taken)} files, {sum(row.chunks for row in rows)} chunks")
        yield janus


def main() -> None:
    """Ask, judge, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("questions", type=Path)
    options.add_argument("documents", type=Path, nargs="*")
    options.add_argument("--here", action="store_true")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    questions = [json.loads(line) for line in chosen.questions.read_text("utf-8").splitlines()]
    verdicts, records, took = Counter[tuple[str, str]](), list[dict[str, Any]](), list[int]()
    with node(chosen.documents, here=chosen.here) as janus:
        for question in questions:
            answer = ask(janus.asking, question["question"], sink=lambda event: None)
            verdict = judge(question, answer)
            verdicts[question["kind"], verdict] += 1
            took.append(answer.took_ms)
            print(f"{question['id']} {question['kind']:<12} {verdict:<9} {answer.took_ms:6d} ms")
            print(f"    Q {question['question']}\n    A {answer.text[:300]}")
            records.append(
                {
                    "id": question["id"],
                    "kind": question["kind"],
                    "verdict": verdict,
                    "answer_kind": answer.kind,
                    "answer": answer.text,
                    "cited": [[c.uri.rsplit("/", 1)[-1], c.page] for c in answer.citations],
                    "took_ms": answer.took_ms,
                }
            )
    for (kind, verdict), number in sorted(verdicts.items()):
        print(f"{kind:<12} {verdict:<9} {number}")
    print(f"median {statistics.median(took):.0f} ms an answer")
    if chosen.out:
        lines = (json.dumps(record, ensure_ascii=False) for record in records)
        chosen.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
