"""The models folder: `chat/<name>.gguf` and `embeddings/<name>/`, each with a record.

A record is written last, so a model without one is the rest of an interrupted
copy: nobody sees it, and adding it again replaces it. Which model is in use is
a setting; the functions here take names.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from janus_core.errors import Damaged, InvalidInput, JanusError, NotFound
from janus_core.llm.gguf import read_header
from janus_core.llm.model_files import (
    check_space,
    copy_in,
    file_sha256,
    make_folder,
    read_record,
    write_record,
)
from janus_core.processes import file_errors, sync_folder

Pooling = Literal["mean", "cls", "last_token", "none"]
RECORD = "janus-model.json"
EMBEDDING_FILES = ("model.onnx", "tokenizer.json", "tokenizer_config.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class ChatFile:
    """A chat model on this machine."""

    name: str
    path: Path
    sha256: str
    size: int
    """In bytes."""
    architecture: str
    context_length: int
    """Tokens it was trained for; 0 when the file does not say."""
    has_chat_template: bool
    origin: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingFolder:
    """An embedding model on this machine."""

    name: str
    path: Path
    sha256: str
    """Of `model.onnx`."""
    size: int
    """Of `model.onnx`, in bytes."""
    dim: int
    max_tokens: int
    """Longer texts are cut there."""
    pooling: Pooling = "mean"
    query_prefix: str = ""
    """Put before each question; some models are trained so."""
    passage_prefix: str = ""
    origin: str = ""
    licence: str = ""

    @property
    def id(self) -> str:
        """Name and weights in one, e.g. `minilm-int8-8199be6f`; names the vector index."""
        return f"{self.name}-{self.sha256[:8]}"


def list_chat(models: Path) -> list[ChatFile]:
    """Given the models folder, return its chat models by name. Raise Damaged."""
    found = (_read_chat(path) for path in sorted((models / "chat").glob("*.gguf")))
    return [record for record in found if record is not None]


def list_embeddings(models: Path) -> list[EmbeddingFolder]:
    """Given the models folder, return its embedding models by name. Raise Damaged."""
    found = (read_embedding(path) for path in sorted((models / "embeddings").glob("[!.]*")))
    return [record for record in found if record is not None]


def find_chat(models: Path, name: str) -> ChatFile:
    """Given a name, return that chat model. Raise NotFound, or Damaged if its size changed."""
    record = _read_chat(models / "chat" / f"{_valid(name)}.gguf")
    if record is None:
        raise _missing("chat", name, [each.name for each in list_chat(models)])
    _check_size(record.path, record.size, name)
    return record


def find_embedding(models: Path, name: str) -> EmbeddingFolder:
    """Given a name, return that embedding model. Raise NotFound, or Damaged if its size changed."""
    record = read_embedding(models / "embeddings" / _valid(name))
    if record is None:
        raise _missing("embedding", name, [each.name for each in list_embeddings(models)])
    _check_size(record.path / "model.onnx", record.size, name)
    return record


def read_embedding(folder: Path) -> EmbeddingFolder | None:
    """Given a folder, return the embedding model in it, or None when it holds no whole one.

    Raise Damaged when its record makes no sense.
    """
    values = read_record(folder / RECORD)
    if values is None or not all((folder / name).is_file() for name in EMBEDDING_FILES):
        return None
    try:
        record = EmbeddingFolder(**{**values, "path": folder})
    except TypeError as error:
        raise _bad_record(folder / RECORD) from error
    if record.dim < 1 or record.max_tokens < 1:
        raise _bad_record(folder / RECORD)
    return record


def verify(model: ChatFile | EmbeddingFolder) -> None:
    """Given a model, read all of it. Raise Damaged when it is not the bytes that were added."""
    path = model.path if isinstance(model, ChatFile) else model.path / "model.onnx"
    if file_sha256(path) != model.sha256:
        raise Damaged(
            f"the model {model.name} is damaged: its checksum does not hold",
            f"Add it again: janus models rm {model.name}, then janus models add FILE.",
        )


def add_chat(
    models: Path, source: Path, name: str = "", *, origin: str = "", licence: str = ""
) -> ChatFile:
    """Given a GGUF file, copy it into the models folder and return its record.

    Adding the same bytes under the same name again changes nothing.
    Raise InvalidInput when it is no GGUF file or the name is taken by another
    model, NoSpace, or BadConfiguration when the folder cannot be written.
    """
    header = read_header(source)
    name = _valid(name or _name_from(source.stem))
    target = models / "chat" / f"{name}.gguf"
    size = source.stat().st_size
    existing = _read_chat(target)
    if existing is not None:
        if existing.size == size and file_sha256(source) == existing.sha256:
            return existing
        raise _taken(name)
    make_folder(target.parent)
    check_space(target.parent, size)
    with file_errors("cannot read the model file"), source.open("rb") as stream:
        sha256 = copy_in(stream, target)
    record = ChatFile(
        name=name,
        path=target,
        sha256=sha256,
        size=size,
        architecture=header.architecture,
        context_length=header.context_length,
        has_chat_template=header.has_chat_template,
        origin=origin or source.name,
        licence=licence,
    )
    write_record(target.with_suffix(".json"), _values(record))
    return record


def add_embedding(
    models: Path,
    source: Path,
    name: str = "",
    *,
    query_prefix: str = "",
    passage_prefix: str = "",
    origin: str = "",
    licence: str = "",
) -> EmbeddingFolder:
    """Given a folder with an ONNX sentence embedding model, copy it in and return its record.

    The folder is laid out as sentence-transformers does: `model.onnx` or
    `onnx/model.onnx`, `tokenizer.json`, `tokenizer_config.json`, `config.json`.
    Raise InvalidInput naming what is missing or makes no sense, or when the
    name is taken; NoSpace; BadConfiguration.
    """
    name = _valid(name or _name_from(source.name))
    weights = source / "model.onnx"
    if not weights.is_file():
        weights = source / "onnx" / "model.onnx"
    for needed in (weights, source / "tokenizer.json", source / "tokenizer_config.json"):
        if not needed.is_file():
            raise InvalidInput(
                f"{source} holds no embedding model: {needed.name} is missing",
                "Give a folder with model.onnx, tokenizer.json and tokenizer_config.json.",
            )
    described = _describe(source)
    folder = models / "embeddings" / name
    size = weights.stat().st_size
    existing = read_embedding(folder)
    if existing is not None:
        if existing.size == size and file_sha256(weights) == existing.sha256:
            return existing
        raise _taken(name)
    make_folder(folder)
    check_space(folder, size)
    sha256 = ""
    for file in (*sorted(source.glob("*.json")), weights):
        if file.name != RECORD:
            with file_errors("cannot read the model"), file.open("rb") as stream:
                sha256 = copy_in(stream, folder / file.name)
    record = EmbeddingFolder(
        name=name,
        path=folder,
        sha256=sha256,
        size=size,
        query_prefix=query_prefix,
        passage_prefix=passage_prefix,
        origin=origin or source.name,
        licence=licence,
        **described,
    )
    write_record(folder / RECORD, _values(record))
    return record


def remove(models: Path, name: str, in_use: Collection[str] = ()) -> None:
    """Given a model's name, delete it. Raise NotFound; InvalidInput when it is `in_use`."""
    chat = models / "chat" / f"{_valid(name)}.gguf"
    folder = models / "embeddings" / name
    if not chat.exists() and not folder.exists():
        known = [each.name for each in list_chat(models)]
        known += [each.name for each in list_embeddings(models)]
        raise _missing("", name, known)
    if name in in_use:
        raise InvalidInput(
            f"the model {name} is in use", "Choose another one first: janus models use NAME."
        )
    with file_errors("cannot remove the model"):
        if chat.exists():
            # The record first: without it the model no longer counts.
            chat.with_suffix(".json").unlink(missing_ok=True)
            chat.unlink()
            sync_folder(chat.parent)
        if folder.exists():
            (folder / RECORD).unlink(missing_ok=True)
            shutil.rmtree(folder)
            sync_folder(folder.parent)


def _read_chat(path: Path) -> ChatFile | None:
    values = read_record(path.with_suffix(".json"))
    if values is None or not path.is_file():
        return None
    try:
        return ChatFile(**{**values, "path": path})
    except TypeError as error:
        raise _bad_record(path.with_suffix(".json")) from error


def _describe(source: Path) -> dict[str, Any]:
    """Dimension, longest input and pooling, from sentence-transformers' small files."""
    config = read_record(source / "config.json") or {}
    pooling = read_record(source / "1_Pooling" / "config.json") or {}
    sentence = read_record(source / "sentence_bert_config.json") or {}
    tokenizer = read_record(source / "tokenizer_config.json") or {}
    dim = pooling.get("word_embedding_dimension", config.get("hidden_size"))
    longest = sentence.get("max_seq_length", tokenizer.get("model_max_length"))
    if not isinstance(dim, int) or not 0 < dim <= 16_384:
        raise InvalidInput(
            f"{source} does not say how long its vectors are",
            "Its config.json should name hidden_size.",
        )
    if not isinstance(longest, int) or not 0 < longest <= 1_000_000:
        longest = 512
    how: Pooling = "mean"
    if pooling.get("pooling_mode_cls_token"):
        how = "cls"
    elif pooling.get("pooling_mode_lasttoken"):
        how = "last_token"
    return {"dim": dim, "max_tokens": longest, "pooling": how}


def _values(record: ChatFile | EmbeddingFolder) -> Mapping[str, Any]:
    values = asdict(record)
    del values["path"]
    return values


def _name_from(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-_").lower()


def _valid(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"not a name for a model: {name!r}", "Use letters, digits, dots and dashes."
        )
    return name


def _check_size(path: Path, size: int, name: str) -> None:
    if path.stat().st_size != size:
        raise Damaged(
            f"the model file {path} is not as long as it was",
            f"Add it again: janus models rm {name}, then janus models add FILE.",
        )


def _taken(name: str) -> InvalidInput:
    return InvalidInput(
        f"there is another model named {name}",
        "Give this one another name, or remove the other: janus models rm NAME.",
    )


def _bad_record(path: Path) -> JanusError:
    return Damaged(f"the record {path} makes no sense", "Remove the model and add it again.")


def _missing(kind: str, name: str, known: list[str]) -> NotFound:
    hint = f"Here are: {', '.join(known)}." if known else "Add one: janus models add FILE."
    return NotFound(f"there is no {kind} model named {name}".replace("  ", " "), hint)
