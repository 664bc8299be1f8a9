"""The embedding model in this process: fastembed on ONNX Runtime, CPU or GPU.

Importing fastembed takes a second and the model 250 MB, so that everyone but
the embedding server (`embedding_server`) uses `SharedEmbedder` instead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from janus_core.errors import ModelUnavailable
from janus_core.llm.base import Vector
from janus_core.llm.models import EMBEDDING_FILES, EmbeddingFolder, read_embedding
from janus_core.llm.tokens import TokenCounter, clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Gpu = Literal["auto", "off"] | int

log = logging.getLogger(__name__)

CPU_BATCH_TOKENS = 256
"""Padded tokens in a batch. Measured on two cores: as quick as any larger batch, within 300 MB
instead of 600 MB at eight texts of full length; and a question waits for one batch at most."""
GPU_BATCH_TOKENS = 16_384
MAX_BATCH_TEXTS = 16
_GPU_PROVIDERS = ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "ROCMExecutionProvider")


def plan_batches(texts: Sequence[str], max_tokens: int, budget: int) -> list[list[int]]:
    """Given texts, return batches of their positions, the shortest texts first.

    A batch is padded to its longest text, so texts of one length go together
    and `budget` bounds texts × longest, in tokens (estimated as four bytes a
    token). A single text may exceed it.
    """
    estimates = [min(len(text.encode()) // 4 + 2, max_tokens) for text in texts]
    batches: list[list[int]] = []
    for position in sorted(range(len(texts)), key=estimates.__getitem__):
        fits = batches and len(batches[-1]) < max(MAX_BATCH_TEXTS, budget // 256)
        if fits and (len(batches[-1]) + 1) * estimates[position] <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches


def open_folder(folder: Path) -> EmbeddingFolder:
    """Given the folder of an embedding model, return its record.

    Raise ModelUnavailable when it holds none: fastembed would look for one
    on the network instead, for 39 seconds.
    """
    found = read_embedding(folder)
    if found is None:
        raise ModelUnavailable(
            f"{folder} holds no complete embedding model ({', '.join(EMBEDDING_FILES)})",
            "Run ./install.sh again, or add one: janus models add FOLDER.",
        )
    return found


class FastembedEmbedder:
    """An `Embedder` that runs the model here. Loads it at the first use; thread-safe."""

    def __init__(self, folder: Path, *, threads: int = 0, gpu: Gpu = "auto") -> None:
        """Given a model's folder, open it without loading the model.

        `threads` 0 means one for each physical core. `gpu`: `auto` uses one
        when ONNX Runtime's build and the machine have it, `off` never, a
        number is that of the device. Raise ModelUnavailable, Damaged.
        """
        self.model = open_folder(folder)
        self._counter = TokenCounter(folder, self.model.max_tokens)
        self._threads = threads or physical_cores()
        self._gpu = gpu
        self._device = ""
        self._loaded: Any = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return self.model.id

    @property
    def dim(self) -> int:
        """See `Embedder`."""
        return self.model.dim

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count; the rest is cut off."""
        return self.model.max_tokens

    @property
    def device(self) -> str:
        """`cpu`, or the ONNX Runtime provider in use, e.g. `cuda`; `""` before loading."""
        return self._device

    @property
    def batch_tokens(self) -> int:
        """How many padded tokens a batch should hold on this device."""
        return CPU_BATCH_TOKENS if self._device in ("", "cpu") else GPU_BATCH_TOKENS

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Given texts, return how many tokens each has. Raise ModelUnavailable."""
        return self._counter.count(texts)

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        """See `Embedder`. The vector of a text does not depend on the others."""
        prepared = self.prepare(texts, "passage")
        vectors: list[Vector] = [[] for _ in prepared]
        self.load()
        for batch in plan_batches(prepared, self.max_tokens, self.batch_tokens):
            matrix = self.embed_batch([prepared[position] for position in batch])
            for position, row in zip(batch, matrix.tolist(), strict=True):
                vectors[position] = row
        return vectors

    def embed_query(self, text: str) -> Vector:
        """See `Embedder`."""
        vector: Vector = self.embed_batch(self.prepare([text], "query")).tolist()[0]
        return vector

    def prepare(self, texts: Sequence[str], kind: Literal["passage", "query"]) -> list[str]:
        """Given texts as people wrote them, return them as the model wants them."""
        prefix = self.model.query_prefix if kind == "query" else self.model.passage_prefix
        return clip([prefix + text for text in texts], self.max_tokens)

    def embed_batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Given prepared texts, return their vectors (texts × dim), all in one run of the model.

        Raise ModelUnavailable when it cannot be loaded or gives no numbers.
        """
        import numpy as np

        self.load()
        with self._lock:
            try:
                rows = list(self._loaded.embed(list(texts), batch_size=len(texts)))
            # ONNX Runtime has a class of its own for each status, all below Exception.
            except Exception as error:
                raise self._failure("cannot embed", error) from error
        matrix = np.asarray(rows, dtype=np.float32)
        if matrix.shape != (len(texts), self.dim) or not np.isfinite(matrix).all():
            raise self._failure(
                "gave no usable vectors", ValueError(f"shape {matrix.shape}, wanted dim {self.dim}")
            )
        return matrix

    def load(self) -> None:
        """Load the model unless it is loaded. Raise ModelUnavailable."""
        with self._lock:
            if self._loaded is not None:
                return
            wanted = _gpu_providers(0 if self._gpu == "auto" else self._gpu)
            if wanted:
                try:
                    self._loaded = self._open([*wanted, "CPUExecutionProvider"])
                except Exception as error:  # noqa: BLE001 (whatever a GPU driver raises)
                    log.warning("embedding on the GPU failed, using the CPU: %s", error)
            if self._loaded is None:
                try:
                    self._loaded = self._open(["CPUExecutionProvider"])
                except Exception as error:
                    raise self._failure("cannot be loaded", error) from error
            used = self._loaded.model.model.get_providers()[0]
            self._device = used.removesuffix("ExecutionProvider").lower()

    def close(self) -> None:
        """See `Embedder`."""
        with self._lock:
            self._loaded = None
            self._device = ""

    def _open(self, providers: list[Any]) -> Any:
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        known = f"janus/{self.name}"
        pooling = {
            "mean": PoolingType.MEAN,
            "cls": PoolingType.CLS,
            "last_token": PoolingType.LAST_TOKEN,
            "none": PoolingType.DISABLED,
        }[self.model.pooling]
        if known not in (each["model"] for each in TextEmbedding.list_supported_models()):
            TextEmbedding.add_custom_model(
                model=known,
                pooling=pooling,
                normalization=True,
                sources=ModelSource(url="http://localhost/none"),
                dim=self.dim,
                model_file="model.onnx",
            )
        folder = str(self.model.path)
        # cache_dir: fastembed makes that folder even when it has nothing to keep in it.
        loaded: Any = TextEmbedding(
            known,
            cache_dir=folder,
            specific_model_path=folder,
            threads=self._threads,
            providers=providers,
        )
        # fastembed takes the tokenizer's own limit, which is longer than what the model learnt.
        loaded.model.tokenizer.enable_truncation(max_length=self.max_tokens)
        return loaded

    def _failure(self, what: str, error: Exception) -> ModelUnavailable:
        return ModelUnavailable(
            f"the embedding model {self.name} {what}: {error}",
            "Check it with `janus models test`; a damaged one must be added again.",
        )


def physical_cores() -> int:
    """Return how many cores this process may use, hardware threads of one core counted once."""
    import os

    import psutil

    allowed = len(os.sched_getaffinity(0))
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


def _gpu_providers(device: Literal["off"] | int) -> list[Any]:
    """The providers of this build of ONNX Runtime that may use a GPU, for that device."""
    if device == "off":
        return []
    import onnxruntime  # type: ignore[import-untyped]

    available = onnxruntime.get_available_providers()
    return [(name, {"device_id": device}) for name in _GPU_PROVIDERS if name in available]
