"""Documents and their jobs: docs list, show, rm; queue list, retry, drop."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from janus_core.app import open_janus

JANUS = str(Path(sys.executable).parent / "janus")

ESCAPE = "\x1b"


def take_in(node, name: str, content: str | bytes, collection: str, *more: str) -> Path:
    path = node.path / collection / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    node.json("ingest", path, "--collection", collection, *more)
    return path


def listed(node, collection: str, *more: str) -> list[dict]:
    return node.json("docs", "list", "-c", collection, *more)["documents"]


def broken(node, name: str, collection: str) -> dict:
    """Ingest a file that cannot become text; return its job."""
    path = node.path / collection / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"%PDF-1.7\n" + name.encode() + b" is no PDF at all\n")
    result = node.json("ingest", path, "-c", collection, code=3)
    assert result["failed"][0]["reason"]
    jobs = node.json("queue", "list")["jobs"]
    (job,) = [each for each in jobs if each["uri"] == path.as_uri()]
    return job


def test_list_filters_by_collection_and_tag(node) -> None:
    take_in(node, "north.txt", "The northern mast.", "masts", "--tag", "site=north")
    take_in(node, "south.txt", "The southern mast.", "masts", "--tag", "site=south")

    names = lambda *flags: [d["title"] for d in listed(node, "masts", *flags)]  # noqa: E731

    assert names() == ["north", "south"]
    assert names("--tag", "site=north") == ["north"]
    assert names("--not-tag", "site=north") == ["south"]
    assert node.json("docs", "list", "-c", "masts", "-n", "1")["more"] is True
    assert node("docs", "list", "-c", "nowhere").returncode == 4
    assert node("docs", "list", "--tag", "nonsense").returncode == 2
    row = listed(node, "masts")[0]
    assert (row["state"], row["visible"], row["pages"], row["chunks"]) == ("ready", True, 1, 1)
    assert row["tags"] == {"site": "north"}


def test_list_in_a_pipe_is_whole_and_plain(node) -> None:
    take_in(node, "long.md", f"# {'A very long title ' * 20}\n\nText.", "pipes")

    ran = node("docs", "list", "-c", "pipes")

    (line,) = ran.stdout.splitlines()
    assert line.split("\t")[1:3] == ["ready", "pipes"]
    assert line.endswith("long.md")
    assert ESCAPE not in ran.stdout + ran.stderr


def test_show_walks_to_everything_that_the_stores_hold(node) -> None:
    take_in(node, "walk.md", "# Walking\n\nFirst the path, then the hill.", "walks")
    (row,) = listed(node, "walks")

    found = node.json("docs", "show", row["document_id"][:8], "--pages", "--chunks")
    by_uri = node.json("docs", "show", row["uri"])

    assert found["object"]["present"] is True
    assert found["object"]["key"].endswith(row["sha256"])
    assert found["coverage"]["chunks"] == found["vectors"] == len(found["chunk_list"]) == 1
    assert "then the hill" in found["page_list"][0]["text"]
    assert "then the hill" in found["chunk_list"][0]["text"]
    assert by_uri["document_id"] == found["document_id"]
    assert "page_list" not in by_uri
    text_ = node("docs", "show", row["document_id"][:8]).stdout
    assert row["document_id"] in text_ and "1 of 1" in text_


@pytest.mark.parametrize("name", ["00000000", "file:///nowhere", "zz", "%%%%%%%%", ""])
def test_show_of_what_is_not_there_is_exit_4(node, name: str) -> None:
    assert node.json("docs", "show", name, code=4)["code"] == "not_found"


def test_rm_removes_from_every_store(node) -> None:
    take_in(node, "gone.txt", "A zebra that will be gone.", "gone")
    (row,) = listed(node, "gone")
    before = node.json("docs", "show", row["document_id"])

    plan = node.json("docs", "rm", row["document_id"], "--dry-run")
    refused = node("docs", "rm", row["document_id"])
    assert len(listed(node, "gone")) == 1
    done = node.json("docs", "rm", row["document_id"], "--yes")

    assert [each["document_id"] for each in plan["delete"]] == [row["document_id"]]
    assert refused.returncode == 2 and "--yes" in refused.stderr
    assert done["removed"] == [row["document_id"]]
    assert listed(node, "gone") == []
    with open_janus(environ=node.environ) as janus, janus.database.transaction() as tx:
        assert not janus.objects.exists(before["object"]["key"])
        assert tx.scalar(text("SELECT count(*) FROM chunk WHERE text LIKE '%zebra%'")) == 0
    assert node.json("search", "zebra", "-c", "gone")["hits"] == []
    assert node("docs", "rm", row["document_id"], "--yes").returncode == 4
    acts = node("journal", "list", "--about", row["document_id"], "--json").stdout.splitlines()
    assert json.loads(acts[0])["act"] == "document.removed"


def test_rm_of_one_unknown_document_removes_none(node) -> None:
    take_in(node, "stays.txt", "This stays.", "stays")
    (row,) = listed(node, "stays")

    assert node("docs", "rm", row["document_id"], "00000000", "--yes").returncode == 4
    assert len(listed(node, "stays")) == 1


def test_rm_asks_on_a_terminal(node) -> None:
    take_in(node, "asked.txt", "Shall this go?", "asked")
    (row,) = listed(node, "asked")
    main, other = pty.openpty()
    process = subprocess.Popen(
        [JANUS, "docs", "rm", row["document_id"]],
        env=node.environ,
        stdin=other,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(main, b"n\n")
    out, said = process.communicate(timeout=30)
    os.close(main)
    os.close(other)

    assert process.returncode == 1
    assert "[y/N]" in said and "[y/N]" not in out
    assert len(listed(node, "asked")) == 1


def test_a_failed_job_is_listed_with_its_reason(node) -> None:
    job = broken(node, "bad.pdf", "failures")

    assert job["state"] == "failed"
    assert job["reason"]
    assert node.json("status")["queue"]["failed"] >= 1
    assert job["job_id"][:8] in node("queue", "list").stdout
    node.json("queue", "drop", job["job_id"], "--yes")


def test_retry_queues_the_named_job_again(node) -> None:
    job = broken(node, "again.pdf", "failures")

    assert node.json("queue", "retry", job["job_id"][:8])["queued"] == 1
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = {j["job_id"]: j for j in node.json("queue", "list", "--all")["jobs"]}[job["job_id"]]
        if row["state"] == "failed":
            break
        time.sleep(0.2)

    assert row["state"] == "failed", "the file is as broken as before"
    assert row["finished_at"] > job["finished_at"]
    node.json("queue", "drop", job["job_id"], "--yes")


def test_drop_removes_what_never_became_a_document(node) -> None:
    job = broken(node, "dropped.pdf", "failures")

    plan = node.json("queue", "drop", job["job_id"], "--dry-run")
    refused = node("queue", "drop", job["job_id"])
    done = node.json("queue", "drop", job["job_id"], "--yes")

    assert [each["job_id"] for each in plan["drop"]] == [job["job_id"]]
    assert refused.returncode == 2
    assert done["dropped"] == [job["job_id"]]
    deadline = time.monotonic() + 30
    while listed(node, "failures") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert listed(node, "failures") == []
    assert node("queue", "drop", job["job_id"], "--yes").returncode == 4
    acts = node("journal", "list", "--about", job["document_id"], "--json").stdout
    assert "job.given_up" in acts
    assert "stores" not in [
        each["check"] for each in node.json("doctor")["findings"] if each["state"] != "ok"
    ]


def test_drop_of_a_failed_newer_version_keeps_the_older_one(node) -> None:
    path = take_in(node, "twice.pdf", _pdf(), "twice")
    job = broken(node, "twice.pdf", "twice")

    node.json("queue", "drop", job["job_id"], "--yes")

    (row,) = listed(node, "twice")
    assert (row["state"], row["visible"], row["uri"]) == ("ready", True, path.as_uri())
    assert node.json("search", "lighthouse", "-c", "twice")["hits"]


def test_taking_a_file_in_again_replaces_its_failed_job(node) -> None:
    first = broken(node, "second-try.pdf", "failures")

    second = broken(node, "second-try.pdf", "failures")

    assert second["job_id"] != first["job_id"]
    node.json("queue", "drop", second["job_id"], "--yes")


@pytest.mark.parametrize("command", ["retry", "drop"])
@pytest.mark.parametrize(("name", "code"), [("00000000", 4), ("%", 2), ("all", 2)])
def test_an_unknown_job_changes_nothing(node, command: str, name: str, code: int) -> None:
    flags = ["--yes"] if command == "drop" else []

    assert node("queue", command, name, *flags).returncode == code


def test_without_a_worker_removal_is_promised_and_done_later(ready_home) -> None:
    assert ready_home("up").returncode == 0
    take_in(ready_home, "late.txt", "To be removed later.", "late")
    (row,) = listed(ready_home, "late")
    ready_home("config", "set", "worker.processes", "0")
    ready_home("down")
    ready_home("up")

    ran = ready_home("docs", "rm", row["document_id"], "--yes", timeout=120)
    hidden = listed(ready_home, "late")
    worker = subprocess.Popen([JANUS, "worker"], env=ready_home.environ)
    try:
        deadline = time.monotonic() + 30
        while _documents(ready_home) and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.wait(40)

    assert ran.returncode == 3
    assert "janus up" in ran.stderr
    assert hidden == []
    assert _documents(ready_home) == 0


def _documents(home) -> int:
    with open_janus(environ=home.environ) as janus, janus.database.transaction() as tx:
        return int(tx.scalar(text("SELECT count(*) FROM document")) or 0)


def _pdf() -> bytes:
    """A PDF of one page with a line of text."""
    content = b"BT /F1 12 Tf 72 720 Td (The lighthouse stands on the cape.) Tj ET"
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    xref = b"xref\n0 6\n0000000000 65535 f \n" + table
    trailer = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + xref + trailer
