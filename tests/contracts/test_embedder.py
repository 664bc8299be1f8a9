"""What every `Embedder` must do, and what the shared one adds: it survives its server."""

import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from janus_core.errors import ModelUnavailable
from janus_core.llm.base import Embedder, Vector
from janus_core.llm.embedding import FastembedEmbedder
from janus_core.llm.models import list_embeddings
from janus_core.llm.shared_embedder import SharedEmbedder
from janus_core.processes import ServiceUser, identify, is_same_process

TEXTS = [
    "The pump at the river station failed in March.",
    "",
    "Wind turbines need a blade inspection every year.",
    "x " * 3000,
    "\x00 control \x1b[31m and \ud800 lone surrogate",
    "水泵坏了。" * 50,
]


@pytest.fixture(scope="module")
def folder(models_dir: Path) -> Path:
    return list_embeddings(models_dir)[0].path


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="janus-embed-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def shared(folder: Path, runtime: Path) -> Iterator[SharedEmbedder]:
    embedder = SharedEmbedder(folder, runtime, runtime / "embed.log", idle_seconds=60)
    yield embedder
    embedder.stop()
    embedder.close()


@pytest.fixture(scope="module", params=["here", "shared"])
def embedder(request: pytest.FixtureRequest, folder: Path) -> Embedder:
    if request.param == "here":
        return FastembedEmbedder(folder)
    shared: SharedEmbedder = request.getfixturevalue("shared")
    return shared


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_vectors_are_normalised_and_of_the_promised_length(embedder: Embedder) -> None:
    vectors = embedder.embed_passages(TEXTS)
    assert len(vectors) == len(TEXTS)
    for vector in (*vectors, embedder.embed_query("Which pump?")):
        assert len(vector) == embedder.dim
        assert math.isclose(dot(vector, vector), 1.0, abs_tol=1e-3)


def test_the_passage_that_answers_is_nearest(embedder: Embedder) -> None:
    vectors = embedder.embed_passages(TEXTS)
    question = embedder.embed_query("When did the pump break?")
    scores = [dot(question, vector) for vector in vectors]
    assert scores.index(max(scores)) == 0


def test_order_is_kept_and_company_does_not_matter(embedder: Embedder) -> None:
    together = embedder.embed_passages(TEXTS * 3)
    alone = [embedder.embed_passages([text])[0] for text in TEXTS]
    for position, vector in enumerate(together):
        assert dot(vector, alone[position % len(TEXTS)]) > 0.9999


def test_nothing_gives_nothing(embedder: Embedder) -> None:
    assert embedder.embed_passages([]) == []


def test_threads_may_share_it(embedder: Embedder) -> None:
    expected = embedder.embed_passages(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: embedder.embed_passages(TEXTS), range(8)):
            assert vectors == expected


def test_both_give_the_same_vectors_and_name(folder: Path, shared: SharedEmbedder) -> None:
    here = FastembedEmbedder(folder)
    assert here.name == shared.name
    assert here.embed_passages(TEXTS) == shared.embed_passages(TEXTS)
    assert here.embed_query("pump?") == shared.embed_query("pump?")
    assert here.device == "cpu" or "cuda" in here.device
    assert here.count_tokens(["a b"]) == shared.count_tokens(["a b"])


def test_tokens_are_counted_uncut(shared: SharedEmbedder) -> None:
    short, long = shared.count_tokens(["pump", "pump " * 1000])
    assert (short, long) == (3, 1002)
    assert long > shared.max_tokens


def test_closing_twice_is_fine_and_it_can_be_used_again(embedder: Embedder) -> None:
    embedder.close()
    embedder.close()
    assert len(embedder.embed_query("again")) == embedder.dim


def test_a_folder_without_a_model_fails_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ModelUnavailable):
        FastembedEmbedder(tmp_path)
    with pytest.raises(ModelUnavailable):
        SharedEmbedder(tmp_path, tmp_path, tmp_path / "log")
    assert time.monotonic() - began < 2


def test_damaged_weights_are_an_error_not_a_hang(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[:1000] if file.suffix == ".onnx" else content)
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        FastembedEmbedder(tmp_path).embed_query("x")
    with tempfile.TemporaryDirectory(prefix="janus-embed-") as runtime:
        shared = SharedEmbedder(tmp_path, Path(runtime), Path(runtime, "log"), idle_seconds=2)
        with pytest.raises(ModelUnavailable, match="cannot be loaded"):
            shared.embed_query("x")
        shared.stop()


def test_a_killed_server_is_replaced_in_mid_request(shared: SharedEmbedder) -> None:
    expected = shared.embed_passages(TEXTS)
    answers: list[list[Vector]] = []
    asking = threading.Thread(target=lambda: answers.append(shared.embed_passages(TEXTS * 8)))
    asking.start()
    for _ in range(2):
        time.sleep(0.2)
        info = shared.info()
        if info:
            os.kill(info["pid"], signal.SIGKILL)
    asking.join(60)
    assert answers == [expected * 8]


def test_many_starters_make_one_server(shared: SharedEmbedder, folder: Path, runtime: Path) -> None:
    shared.stop()
    others = [SharedEmbedder(folder, runtime, runtime / "embed.log") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda each: each.embed_query("pump"), others))
    assert all(vector == vectors[0] for vector in vectors)
    pids = {(each.info() or {})["pid"] for each in others}
    assert len(pids) == 1
    for each in others:
        each.close()


def test_asking_for_its_state_starts_nothing(folder: Path, tmp_path: Path) -> None:
    quiet = SharedEmbedder(folder, tmp_path, tmp_path / "log")
    assert quiet.info() is None
    quiet.stop()
    assert list(tmp_path.iterdir()) == []


def test_an_idle_server_gives_its_memory_back(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="janus-embed-") as name:
        runtime = Path(name)
        shared = SharedEmbedder(folder, runtime, runtime / "log", idle_seconds=1)
        vector = shared.embed_query("pump")
        process = identify((shared.info() or {})["pid"])
        assert process is not None
        deadline = time.monotonic() + 20
        while is_same_process(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_same_process(process)
        assert shared.info() is None
        assert shared.embed_query("pump") == vector
        shared.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_root_lets_an_unprivileged_user_open_the_model(folder: Path, tmp_path: Path) -> None:
    nobody = ServiceUser("nobody", 65534, 65534, Path("/"))
    with tempfile.TemporaryDirectory(prefix="janus-embed-") as name:
        runtime = Path(name)
        runtime.chmod(0o700)
        os.chown(runtime, nobody.uid, nobody.gid)
        shared = SharedEmbedder(folder, runtime, tmp_path / "log", user=nobody, idle_seconds=30)
        assert len(shared.embed_query("pump")) == shared.dim
        pid = (shared.info() or {})["pid"]
        status = Path(f"/proc/{pid}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert "NoNewPrivs:\t1" in status
        shared.stop()
