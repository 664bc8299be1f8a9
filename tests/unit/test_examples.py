"""The example documents say what `questions.jsonl` claims they say, where it claims it."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from janus_core.documents import Page
from janus_core.ingestion.extract.registry import FORMATS

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS = EXAMPLES / "documents"
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
PLAIN = [q for q in QUESTIONS if q["kind"] == "plain"]
MULTI = [q for q in QUESTIONS if q["kind"] == "multi"]
UNANSWERABLE = [q for q in QUESTIONS if q["kind"] == "unanswerable"]
INFERRED = {"m04"}  # its answer follows from two documents and stands in none


@functools.cache
def pages(name: str) -> tuple[Page, ...]:
    path = DOCUMENTS / name
    parse = next(f.parse for f in FORMATS if path.suffix in f.suffixes)
    with path.open("rb") as file:
        return tuple(parse(file, name, 1).pages)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).casefold()


def page_text(name: str, number: int) -> str:
    return flat(next(p.text for p in pages(name) if p.number == number))


def whole_text() -> str:
    return " ".join(flat(p.text) for d in sorted(DOCUMENTS.iterdir()) for p in pages(d.name))


def by_id(question: dict[str, Any]) -> str:
    return str(question["id"])


def test_there_are_24_questions_of_three_kinds() -> None:
    assert (len(PLAIN), len(MULTI), len(UNANSWERABLE)) == (12, 7, 5)
    assert len({q["id"] for q in QUESTIONS}) == len(QUESTIONS) == 24


def test_the_demo_asks_one_of_each_kind() -> None:
    assert sorted(q["kind"] for q in QUESTIONS if q.get("demo")) == [
        "multi", "plain", "unanswerable",
    ]  # fmt: skip


@pytest.mark.parametrize("question", PLAIN, ids=by_id)
def test_the_page_of_a_plain_question_holds_its_answer(question: dict[str, Any]) -> None:
    (source,) = question["sources"]
    text = page_text(source["file"], source["page"])
    assert any(flat(answer) in text for answer in question["gold"])


@pytest.mark.parametrize("question", MULTI, ids=by_id)
def test_a_multi_question_needs_several_documents(question: dict[str, Any]) -> None:
    texts = [page_text(s["file"], s["page"]) for s in question["sources"]]
    assert len({s["file"] for s in question["sources"]}) >= 2
    answered = any(flat(answer) in text for answer in question["gold"] for text in texts)
    assert answered == (question["id"] not in INFERRED)
    for part in question.get("also", []):
        assert any(flat(part) in text for text in texts)


def test_the_chains_of_the_multi_questions_hold() -> None:
    log, log_tank = page_text("station-logbook.pdf", 1), page_text("station-logbook.pdf", 2)
    roster, report = page_text("duty-roster.md", 1), page_text("incident-2025-03.html", 1)
    assert "prv-7 is the pressure relief valve that limits" in page_text("pump-manual.pdf", 18)
    assert "bench test of prv-7 on 12 may 2025 signed by m. okoye" in log
    assert "mara okoye, station engineer, is linnea strand" in roster
    assert "every 12 months" in page_text("mail-seal-kit.txt", 1)
    assert "investigation was led by joão pereira" in report
    assert "joão pereira's radio call sign is tern" in roster
    assert "30 june" in report and "30 june 2025 signed by t. okoye" in log_tank
    assert "av-2207-k" in page_text("pump-manual.pdf", 33)
    assert "set to 5 °c" in page_text("pump-manual.pdf", 16)


def test_what_is_unanswerable_is_not_stated() -> None:
    assert all(q["gold"] == [] and q["sources"] == [] for q in UNANSWERABLE)
    text = whole_text()
    assert not re.search(r"[€£$]\s?\d|\d\s?(€|euro|pounds|dollars|crowns)|\bprice\b", text)
    assert not re.search(r"\d\s?db\b|decibel", text)
    assert not re.search(r"\bblades?\b", text)
    assert set(re.findall(r"lp40-20-\d+", text)) == {"lp40-20-0613"}


def test_printed_labels_differ_from_physical_pages() -> None:
    manual = pages("pump-manual.pdf")
    assert 30 <= len(manual) <= 45
    assert [p.label for p in manual[:8]] == ["i", "ii", "iii", "iv", "v", "vi", "1", "2"]
    assert manual[-1].label == str(len(manual) - 6)
    for page in manual[1:]:
        assert page.text.split()[-1] == page.label, "the foot of the page shows its label"


def test_the_contents_of_the_manual_point_at_the_right_pages() -> None:
    manual = pages("pump-manual.pdf")
    label_of = {p.label: flat(p.text) for p in manual}
    lines = [line for page in manual[2:5] for line in page.text.splitlines()]
    entries = [m.groups() for line in lines if (m := re.match(r"(.+?) (?:\. ?)+ ?(\d+)$", line))]
    assert len(entries) > 50
    for title, label in entries:
        assert flat(title) in label_of[label]


def test_the_scan_is_pictures_under_invisible_text() -> None:
    import pypdfium2
    from pypdfium2 import raw

    document = pypdfium2.PdfDocument(DOCUMENTS / "station-logbook.pdf")
    for page in document:
        kinds = [item.type for item in page.get_objects()]
        assert kinds.count(raw.FPDF_PAGEOBJ_IMAGE) == 1
        texts = list(page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]))
        assert len(texts) > 8
        assert all(
            raw.FPDFTextObj_GetTextRenderMode(t.raw) == raw.FPDF_TEXTRENDERMODE_INVISIBLE
            for t in texts
        )
        skew = {round(t.get_matrix().b / t.get_matrix().a, 3) for t in texts}
        assert all(0.005 < abs(s) < 0.03 for s in skew), "the layer follows the skew of the page"
        page.close()
    document.close()


def test_the_folder_is_small_and_every_file_can_be_read() -> None:
    files = sorted(DOCUMENTS.iterdir())
    assert sum(f.stat().st_size for f in files) < 2_500_000
    assert {f.suffix for f in files} == {".pdf", ".html", ".md", ".txt"}
    assert 50 <= sum(len(pages(f.name)) for f in files) <= 70
    for file in files:
        assert all(p.text.strip() for p in pages(file.name))
