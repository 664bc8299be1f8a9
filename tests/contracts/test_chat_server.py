"""What both chat engines must do: start once, answer, be cancelled, survive, and keep their key."""

import asyncio
import json
import os
import signal
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from janus_core.errors import BadConfiguration, ModelUnavailable, NotFound
from janus_core.llm.base import Message
from janus_core.llm.client import HttpChatModel
from janus_core.llm.models import add_chat, list_chat
from janus_core.llm.server import ChatServer, EngineChoice, choose_engine
from janus_core.processes import ProcessIdentity, ServiceUser, is_same_process

SYSTEM = Message("system", "You answer briefly.")


def engine_or_skip(engine: EngineChoice) -> EngineChoice:
    try:
        choose_engine(engine)
    except BadConfiguration as error:
        if engine in os.environ.get("JANUS_TEST_REQUIRE", "").split(","):
            pytest.fail(error.message)
        pytest.skip(f"{error.message} (JANUS_TEST_REQUIRE={engine} makes this a failure)")
    return engine


@pytest.fixture(scope="module")
def chat_models(models_dir: Path) -> Path:
    if not list_chat(models_dir):
        pytest.skip(f"there is no chat model in {models_dir}")
    return models_dir


@pytest.fixture(scope="module")
def make(chat_models: Path) -> Iterator[Callable[..., ChatServer]]:
    """Make servers in one runtime folder; all are stopped at the end."""
    made: list[ChatServer] = []
    with tempfile.TemporaryDirectory(prefix="janus-chat-") as name:

        def build(engine: EngineChoice, **options: Any) -> ChatServer:
            runtime = Path(name, engine)
            model = options.pop("model", list_chat(chat_models)[0].name)
            log = Path(name, f"{engine}.log")
            server = ChatServer(
                chat_models,
                model,
                runtime,
                log,
                engine=engine_or_skip(engine),
                threads=2,
                **options,
            )
            made.append(server)
            return server

        yield build
        for server in made:
            server.stop()


@pytest.fixture(scope="module", params=["llama-cpp-python", "xllamacpp"])
def server(request: pytest.FixtureRequest, make: Callable[..., ChatServer]) -> ChatServer:
    made = make(request.param, context=2048)
    made.start()
    return made


@asynccontextmanager
async def model_of(server: ChatServer) -> AsyncIterator[HttpChatModel]:
    endpoint = server.endpoint()
    assert endpoint is not None
    model = HttpChatModel(endpoint.base_url, endpoint.api_key, "m", locate=server.endpoint)
    try:
        yield model
    finally:
        await model.aclose()


async def ask(model: HttpChatModel, text: str, **options: Any) -> tuple[str, int, int]:
    said, last = "", None
    options.setdefault("max_tokens", 12)
    async for piece in model.stream([SYSTEM, Message("user", text)], **options):
        said, last = said + piece.text, piece
    assert last is not None
    return said, last.prompt_tokens, last.completion_tokens


def using(server: ChatServer, use: Callable[[HttpChatModel], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with model_of(server) as model:
            return await use(model)

    return asyncio.run(run())


def test_it_answers_with_its_usage(server: ChatServer) -> None:
    said, prompt_tokens, completion_tokens = using(server, lambda m: ask(m, "Name a colour."))
    assert said.strip()
    assert prompt_tokens > 10
    assert 1 <= completion_tokens <= 13


def test_a_prompt_seen_before_others_came_is_not_computed_again(server: ChatServer) -> None:
    """Agents ask by turns: what the writer's prompt cost once is not paid again."""
    evidence = "\n".join(f"Record {n}: valve {n * 7} was closed at noon." for n in range(40))
    running = server.info()
    assert running is not None

    def cost(text: str) -> float:
        before = _cpu_seconds(running.pid)
        using(server, lambda m: ask(m, text, max_tokens=2))
        return _cpu_seconds(running.pid) - before

    first = cost(evidence + "\nWhich valve was closed?")
    for number in range(3):
        cost(f"Write a word about the sea and the number {number}. " + "It is late. " * 30)
    assert cost(evidence + "\nWhen was it closed?") < first / 3


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_json_follows_the_schema(server: ChatServer) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string", "maxLength": 8}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
    }
    said, _, _ = using(
        server, lambda m: ask(m, "A colour and a number?", json_schema=schema, max_tokens=80)
    )
    value = json.loads(said)
    assert isinstance(value["colour"], str)
    assert isinstance(value["count"], int)


def test_a_stop_mark_ends_the_answer(server: ChatServer) -> None:
    said, _, _ = using(server, lambda m: ask(m, "Count: 1, 2, 3", max_tokens=40, stop=[" "]))
    assert " " not in said.strip()


def test_a_prompt_over_the_context_is_refused(server: ChatServer) -> None:
    with pytest.raises(ModelUnavailable, match="too long"):
        using(server, lambda m: ask(m, "word " * 3000))


def test_what_a_client_gave_up_frees_the_model(server: ChatServer) -> None:
    async def use(model: HttpChatModel) -> float:
        for text, tokens, wait in (("alpha beta " * 700, 5, 0.3), ("Tell a story.", 1500, 1.0)):
            given_up = asyncio.create_task(ask(model, text, max_tokens=tokens))
            await asyncio.sleep(wait)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
        began = time.monotonic()
        await ask(model, "Say yes.", max_tokens=3)
        return time.monotonic() - began

    # The story alone would take 1,500 tokens' time; a loaded test machine gets plenty.
    assert using(server, use) < 30


def test_requests_at_once_are_all_answered(server: ChatServer) -> None:
    async def use(model: HttpChatModel) -> list[tuple[str, int, int]]:
        return await asyncio.gather(*(ask(model, f"Count from {n}.") for n in range(5)))

    assert all(said for said, _, _ in using(server, use))


def test_starting_again_is_quick_and_changes_nothing(server: ChatServer) -> None:
    before = server.info()
    began = time.monotonic()
    assert server.start() == before
    assert time.monotonic() - began < 2.5
    assert server.is_up()
    assert server.check() == "up"
    assert before is not None
    assert before.engine in server.describe()


def test_strangers_get_nothing(server: ChatServer) -> None:
    endpoint = server.endpoint()
    assert endpoint is not None
    for path in ("/models", "/chat/completions", "/../slots", "/../progress", "/../props"):
        body = b"{}" if "chat" in path else None
        request = urllib.request.Request(endpoint.base_url + path, data=body)
        request.add_header("Authorization", "Bearer wrong")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=20)
        assert caught.value.code in (401, 404)


def test_the_key_stands_only_in_a_private_file(server: ChatServer) -> None:
    running, endpoint = server.info(), server.endpoint()
    assert running is not None
    assert endpoint is not None
    assert len(endpoint.api_key) >= 40
    process = Path(f"/proc/{running.pid}")
    for public in ("cmdline", "environ"):
        assert endpoint.api_key.encode() not in (process / public).read_bytes()
    assert endpoint.api_key not in server.log.read_text(errors="replace")
    folder = server._runtime
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_it_listens_on_the_loopback_only(server: ChatServer) -> None:
    running = server.info()
    assert running is not None
    listening = [
        line.split()[1].split(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == running.port
    ]
    assert listening == ["0100007F"]


def test_a_killed_server_is_started_again_and_found(server: ChatServer) -> None:
    async def use(model: HttpChatModel) -> str:
        await ask(model, "Hello.", max_tokens=3)
        running = server.info()
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        while server.is_up():
            await asyncio.sleep(0.05)
        server._restarts_file.unlink(missing_ok=True)
        assert await asyncio.to_thread(server.check) == "restarted"
        return (await ask(model, "Hello.", max_tokens=3))[0]

    assert using(server, use)


def test_a_stalled_server_is_replaced(server: ChatServer) -> None:
    running = server.info()
    assert running is not None
    server._stalled_after = 2.0
    server._restarts_file.unlink(missing_ok=True)
    os.kill(running.pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 30
        while server.check() != "restarted":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        server._stalled_after = 90.0
    replaced = server.info()
    assert replaced is not None
    assert replaced.pid != running.pid
    assert using(server, lambda m: ask(m, "Hello."))[0]


def test_other_settings_replace_the_server(server: ChatServer, make: Any) -> None:
    before = server.info()
    assert before is not None
    other = make(before.engine, context=1024)
    after = other.start()
    assert (after.context, after.pid == before.pid) == (1024, False)
    assert not is_same_process(ProcessIdentity(before.pid, before.started, before.boot))
    server.start()


def test_starters_at_once_make_one_server(server: ChatServer) -> None:
    server.stop()
    assert server.info() is None
    assert server.check() == "down"
    with ThreadPoolExecutor(4) as pool:
        pids = {running.pid for running in pool.map(lambda _: server.start(), range(4))}
    assert len(pids) == 1


def test_an_engine_that_lost_its_place_ends(server: ChatServer) -> None:
    before = server.start()
    server._state_file.unlink()
    process = ProcessIdentity(before.pid, before.started, before.boot)
    deadline = time.monotonic() + 20
    while is_same_process(process):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.start()


@pytest.mark.parametrize("engine", ["llama-cpp-python", "xllamacpp"])
def test_a_damaged_model_fails_with_the_reason(
    engine: EngineChoice, chat_models: Path, tmp_path: Path
) -> None:
    whole = list_chat(chat_models)[0].path.read_bytes()
    source = tmp_path / "bad.gguf"
    source.write_bytes(whole[:4000].replace(b"llama", b"lIama") + whole[4000:])
    model = add_chat(tmp_path / "models", source)
    with tempfile.TemporaryDirectory(prefix="janus-chat-") as name:
        server = ChatServer(
            tmp_path / "models",
            model.name,
            Path(name, "run"),
            Path(name, "log"),
            engine=engine_or_skip(engine),
        )
        with pytest.raises(ModelUnavailable) as caught:
            server.start()
        assert "ended while it loaded" in caught.value.message
        assert str(server.log) in caught.value.hint
        assert server.check() == "failing" or server.check() == "failing"
        server.stop()
        assert server.check() == "down"


def test_an_unknown_model_is_not_found(make: Any) -> None:
    with pytest.raises(NotFound):
        make("auto", model="nobody").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
@pytest.mark.parametrize("engine", ["llama-cpp-python", "xllamacpp"])
def test_root_lets_an_unprivileged_user_open_the_model(
    engine: EngineChoice, chat_models: Path
) -> None:
    nobody = ServiceUser("nobody", 65534, 65534, Path("/"))
    with tempfile.TemporaryDirectory(prefix="janus-chat-") as name:
        Path(name).chmod(0o711)
        server = ChatServer(
            chat_models,
            list_chat(chat_models)[0].name,
            Path(name, "run"),
            Path(name, "log"),
            engine=engine_or_skip(engine),
            user=nobody,
        )
        running = server.start()
        try:
            assert using(server, lambda m: ask(m, "Hello."))[0]
            schema = {"type": "object", "properties": {"a": {"type": "boolean"}}}
            assert using(server, lambda m: ask(m, "Yes?", json_schema=schema))[0]
            status = Path(f"/proc/{running.pid}/status").read_text()
            assert "Uid:\t65534\t65534\t65534\t65534" in status
            assert "NoNewPrivs:\t1" in status
        finally:
            server.stop()
