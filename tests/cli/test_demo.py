"""The first five minutes: `janus demo` in an empty home, chat model included."""

from __future__ import annotations

import json

import pytest


@pytest.mark.timeout(300)
def test_demo_answers_three_questions_with_citations(ready_home) -> None:
    environ = {k: v for k, v in ready_home.environ.items() if k != "JANUS_CHAT__URL"}
    own = type(ready_home)(ready_home.path, environ)

    ran = own("demo", "--json", timeout=240)

    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    result = lines[-1]
    up = {line["name"] for line in lines if line["type"] == "service" and line["state"] == "up"}
    assert up == {"postgres", "queue", "cache", "worker", "llm"}, ran.stderr
    shown = "\n".join(f"{q['right']} {q['question']} → {q['answer']}" for q in result["questions"])
    assert [question["right"] for question in result["questions"]] == [True] * 3, shown
    assert ran.returncode == 0
    for question in result["questions"][:2]:
        assert question["grounded"] and question["citations"]
    assert result["questions"][2]["kind"] == "not_stated"

    again = own("demo", timeout=120)
    assert again.returncode == 0, again.stderr
    assert "unchanged" in again.stdout
    assert again.stdout.splitlines()[-1].startswith("Next: janus ingest")
    assert "\x1b" not in again.stdout + again.stderr
