"""janus models, and indexing anew when the embedding model changes."""

from __future__ import annotations

import struct
from pathlib import Path


def gguf(path: Path) -> Path:
    """Write the smallest file that is GGUF: an architecture, and a tensor without dimensions."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    pairs = string("general.architecture") + struct.pack("<I", 8) + string("llama")
    tensor = string("t") + struct.pack("<IIQ", 0, 0, 0)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + pairs + tensor + bytes(64))
    return path


def names(home) -> dict[str, bool]:
    return {row["name"]: row["in_use"] for row in home.json("models", "list")["models"]}


def test_list_marks_what_is_in_use(node) -> None:
    rows = {row["kind"]: row for row in node.json("models", "list")["models"] if row["in_use"]}

    assert rows["embedding"]["name"] == "minilm-int8"
    assert rows["embedding"]["dim"] == 384
    assert rows["chat"]["bytes"] > 10_000_000
    assert len(rows["chat"]["sha256"]) == 64


def test_a_chat_model_is_added_used_and_removed(home) -> None:
    file = gguf(home.path / "My Model Q4.gguf")

    added = home.json("models", "add", file)
    assert added["name"] == "my-model-q4"
    assert home.json("models", "add", file)["sha256"] == added["sha256"], "adding is idempotent"
    assert names(home) == {"my-model-q4": False}

    assert home.json("models", "use", "my-model-q4")["kind"] == "chat"
    assert names(home) == {"my-model-q4": True}
    assert home.json("models", "rm", "my-model-q4", "--yes", code=2)["code"] == "invalid_input"

    home.json("models", "add", file, "--name", "other")
    assert home("models", "rm", "other").returncode == 2, "no terminal to ask on"
    home.json("models", "rm", "other", "--dry-run")
    assert "other" in names(home)
    home.json("models", "rm", "other", "--yes")
    assert "other" not in names(home)


def test_what_is_no_model_is_refused(home) -> None:
    (home.path / "notes.gguf").write_text("not a model")

    assert home.json("models", "add", home.path / "notes.gguf", code=2)["hint"]
    assert home.json("models", "add", home.path, code=2)["code"] == "invalid_input"
    assert home.json("models", "list")["models"] == []


def test_the_embedding_model_is_tried_out(node) -> None:
    trial = node.json("models", "test", "minilm-int8")

    assert trial["kind"] == "embedding"
    assert trial["near"] > trial["far"] + 0.3


def test_an_idle_chat_model_cannot_be_tried(node) -> None:
    gguf(node.path / "idle.gguf")
    node.json("models", "add", node.path / "idle.gguf")

    error = node.json("models", "test", "idle", code=2)

    assert "janus models use idle" in error["hint"]
    node.json("models", "rm", "idle", "--yes")


def test_another_embedding_model_needs_a_new_index(ready_home) -> None:
    assert ready_home("up").returncode == 0
    for name in ("heron", "plover"):
        (ready_home.path / f"{name}.txt").write_text(f"The {name} wades in shallow water.")
    ready_home.json("ingest", ready_home.path / "heron.txt", ready_home.path / "plover.txt")
    folder = ready_home.path / "models" / "embeddings" / "minilm-int8"
    ready_home.json("models", "add", folder, "--name", "second")
    old = ready_home.json("status")["model"]["embeddings"]

    refused = ready_home.json("models", "use", "second", code=2)
    assert "docs reindex --model second" in refused["hint"]
    assert names(ready_home)["second"] is False

    done = ready_home.json("docs", "reindex", "--model", "second")

    assert (done["documents"], done["failed"], done["dropped"]) == (2, [], [old])
    status = ready_home.json("status")
    assert status["model"]["embeddings"].startswith("second-")
    assert status["stores"]["vectors"] == status["stores"]["chunks"] == 2
    hit = ready_home.json("search", "heron", "--mode", "dense", "-k", "1")["hits"][0]
    assert "heron" in hit["text"]
    assert ready_home.json("doctor")["healthy"] is True
    again = ready_home.json("docs", "reindex")
    assert (again["documents"], again["dropped"]) == (0, [])
    assert ready_home("docs", "reindex", "--model", "nobody").returncode == 4
