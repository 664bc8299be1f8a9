"""The running node as its commands show it: status, doctor, logs, down."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from sqlalchemy import text

from janus_core.app import Janus, open_janus

JANUS = str(Path(sys.executable).parent / "janus")

SERVICES = ["postgres", "queue", "cache", "worker"]


def core(home) -> Janus:
    return open_janus(environ=home.environ)


def processes_of(home) -> list[psutil.Process]:
    """Every process that has the home or its sockets in its arguments or environment."""
    places, found = (str(home.path), str(core(home).locations.runtime)), []
    for process in psutil.process_iter():
        try:
            words = process.cmdline() + list(process.environ().values())
        except psutil.Error:
            continue
        if any(place in word for word in words for place in places):
            found.append(process)
    return found


def test_status_is_what_the_contract_says(node) -> None:
    found = node.json("status")

    assert found["profile"] == "embedded"
    assert found["healthy"] is True
    assert [service["name"] for service in found["services"]] == SERVICES
    for service in found["services"]:
        assert set(service) == {"name", "role", "state", "version", "latency_ms", "detail"}
        assert service["state"] == "up"
    assert found["services"][0]["version"].startswith("18.")
    assert set(found["queue"]) == {"ready", "running", "delayed", "failed", "quarantined"}
    assert set(found["stores"]) == {
        "documents", "chunks", "vectors", "entities", "relations", "objects", "bytes",
    }  # fmt: skip
    assert found["backup"] == {"last": None, "age_s": None, "verified": False}
    assert found["model"]["embeddings"].startswith("minilm-int8-")
    assert "cpu" in found["device"] or found["device"]


def test_status_takes_about_a_second(node) -> None:
    began = os.times()
    node.json("status")
    ended = os.times()

    spent = ended.children_user + ended.children_system
    assert spent - began.children_user - began.children_system < 1.5


def test_a_second_up_is_quick_and_changes_nothing(node) -> None:
    before = {process.pid for process in processes_of(node)}

    result = node.json("up")

    assert result["healthy"] is True
    assert before <= {process.pid for process in processes_of(node)}
    assert result["took_ms"] < 3000


def test_a_hung_daemon_is_degraded(node) -> None:
    beat = json.loads((core(node).locations.runtime / "daemon.json").read_text())
    daemon = int(beat["identity"].split()[0])
    os.kill(daemon, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 40
        while (ran := node("status", "--json")).returncode == 0 and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        os.kill(daemon, signal.SIGCONT)

    found = json.loads(ran.stdout)
    assert ran.returncode == 3
    assert found["healthy"] is False
    assert {s["name"]: s["state"] for s in found["services"]}["worker"] == "degraded"


def test_doctor_finds_nothing_wrong_with_a_healthy_node(node) -> None:
    found = node.json("doctor")

    assert found["healthy"] is True
    assert [each for each in found["findings"] if each["state"] == "fail"] == []
    assert {each["check"] for each in found["findings"]} >= {
        "folders", "disk", "memory", "python", "services", "schema", "models", "sandbox",
        "journal", "path", "clock", "queue", "index", "stores", "size",
    }  # fmt: skip


def test_doctor_repairs_what_can_be_repaired(node) -> None:
    with core(node) as janus:
        places = janus.locations
        key = janus.objects.put(janus.objects.stage(io.BytesIO(b"nobody's")))
        orphan = places.data / "objects" / key
        places.state.chmod(0o755)

    sick = {(f["check"], f["state"]): f for f in node.json("doctor")["findings"]}
    mended = node.json("doctor", "--repair")["findings"]
    well = node.json("doctor")["findings"]

    assert sick["stores", "warn"]["fix"] == "Run: janus doctor --repair"
    assert str(places.state) in sick["folders", "warn"]["detail"]
    assert sorted(each["check"] for each in mended if each["repaired"]) == ["folders", "stores"]
    assert not orphan.exists()
    assert places.state.stat().st_mode & 0o777 == 0o700
    assert {each["state"] for each in well if each["check"] in ("folders", "stores")} == {"ok"}


def test_doctor_finds_a_damaged_model(node) -> None:
    model = next((node.path / "models" / "embeddings").glob("*/model.onnx"))
    bytes_ = model.read_bytes()
    model.unlink()  # it may be a link to the models of this machine
    model.write_bytes(bytes_[:-1] + b"?")
    try:
        found = node.json("doctor", code=1)
    finally:
        model.write_bytes(bytes_)

    (finding,) = [each for each in found["findings"] if each["state"] == "fail"]
    assert finding["check"] == "models" and "checksum" in finding["detail"]


def test_a_changed_journal_is_found(node) -> None:
    deadline = time.monotonic() + 20
    (node.path / "entry.txt").write_text("An entry for the journal.")
    node.json("ingest", node.path / "entry.txt", "-c", "journal")
    while node.json("journal", "verify")["entries"] == 0 and time.monotonic() < deadline:
        time.sleep(0.2)  # the sequencer comes by every second

    def forge(actor: str) -> None:
        with core(node) as janus, janus.database.transaction() as tx:
            tx.execute(text("ALTER TABLE journal DISABLE TRIGGER append_only"))
            tx.execute(text("UPDATE journal SET actor = :a WHERE id = 1"), {"a": actor})
            tx.execute(text("ALTER TABLE journal ENABLE TRIGGER append_only"))

    with core(node) as janus, janus.database.transaction() as tx:
        actor = tx.scalar(text("SELECT actor FROM journal WHERE id = 1"))
    forge("mallory")
    try:
        error = node.json("journal", "verify", code=14)
        sick = node.json("doctor", code=1)["findings"]
    finally:
        forge(actor)

    assert error["code"] == "damaged" and "entry 1" in error["message"]
    assert [f["check"] for f in sick if f["state"] == "fail"] == ["journal"]
    assert node.json("journal", "verify")["intact"] is True


def test_the_journal_can_be_read_and_followed(node) -> None:
    (node.path / "followed.txt").write_text("A text whose arrival is followed.")
    tail = subprocess.Popen(
        [JANUS, "journal", "tail", "-n", "0", "-f", "--json"],
        env=node.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(2)
        node.json("ingest", node.path / "followed.txt", "-c", "journal")
        assert tail.stdout is not None
        seen = [json.loads(tail.stdout.readline()) for _ in range(2)]
    finally:
        tail.terminate()
        tail.wait(10)

    assert [entry["act"] for entry in seen] == ["document.received", "document.ready"]
    document = seen[0]["subject"]["document"]
    about = node("journal", "list", "--about", document, "--json").stdout.splitlines()
    assert [json.loads(line)["act"] for line in about] == ["document.ready", "document.received"]
    assert "A text whose" not in "".join(about)
    assert node("journal", "list", "--act", "nothing.such").stdout == ""


def test_logs_are_shown_by_service_without_secrets(node) -> None:
    with core(node) as janus:
        password = janus.secrets["queue"].get_secret_value()
        log = janus.locations.logs / "queue.log"
    with log.open("a") as file:
        before = file.tell()
        file.write(f"the password is {password} \x1b[31mred\n")

    ran = node("logs", "queue", "-n", "1")
    os.truncate(log, before)  # other tests look for secrets in the logs of this node

    assert ran.stdout == "the password is *** \ufffd[31mred\n"
    everything = node("logs", "--json").stdout.splitlines()
    assert {json.loads(line)["service"] for line in everything} >= set(SERVICES)
    unknown = node("logs", "nobody")
    assert unknown.returncode == 4 and "queue" in unknown.stderr


def test_logs_can_be_followed_when_they_are_emptied(node) -> None:
    with core(node) as janus:
        log = janus.locations.logs / "cache.log"
    tail = subprocess.Popen(
        [JANUS, "logs", "cache", "-f", "-n", "0"],
        env=node.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stdout is not None
        time.sleep(2)
        with log.open("a") as file:
            file.write("first\n")
        assert tail.stdout.readline() == "first\n"
        os.truncate(log, 0)
        time.sleep(1)
        with log.open("a") as file:
            file.write("sec")
            file.flush()
            time.sleep(0.5)
            file.write("ond\n")
        assert tail.stdout.readline() == "second\n"
    finally:
        tail.terminate()
        tail.wait(10)


def test_a_worker_in_the_foreground_stops_cleanly(node) -> None:
    worker = subprocess.Popen(
        [JANUS, "worker", "--processes", "2", "--threads", "1"],
        env=node.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while len(inner := psutil.Process(worker.pid).children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)

    worker.send_signal(signal.SIGINT)
    said = worker.communicate(timeout=40)[1]

    assert worker.returncode == 0, said
    assert len(inner) == 2
    assert not [process for process in inner if process.is_running()]
    assert "stopping" in said
    assert node.json("status")["healthy"] is True


def test_down_stops_its_own_node_and_nothing_else(node, ready_home) -> None:
    assert ready_home("up").returncode == 0
    (ready_home.path / "a.txt").write_text("Some words to embed.")
    ready_home.json("ingest", ready_home.path / "a.txt")
    mine, others = processes_of(ready_home), {p.pid for p in processes_of(node)}
    assert any("embedding_server" in " ".join(p.cmdline()) for p in mine)

    ran = ready_home("down")

    assert ran.returncode == 0, ran.stderr
    psutil.wait_procs(mine, timeout=10)
    assert processes_of(ready_home) == []
    assert {p.pid for p in processes_of(node)} == others
    status = ready_home("status", "--json")
    assert status.returncode == 69
    assert {s["state"] for s in json.loads(status.stdout)["services"]} == {"down"}
    assert ready_home("down").returncode == 0
    assert ready_home.json("docs", "list", code=69)["code"] == "store_unavailable"


def test_down_volumes_deletes_what_it_listed_and_keeps_models(ready_home) -> None:
    assert ready_home("up").returncode == 0
    ready_home("config", "set", "worker.threads", "1")
    plan = ready_home.json("down", "--volumes", "--dry-run")
    assert ready_home.json("status")["healthy"] is True, "a dry run stops nothing"

    refused = ready_home("down", "--volumes")
    assert refused.returncode == 2 and "--yes" in refused.stderr
    assert ready_home.json("status")["healthy"] is True

    done = ready_home.json("down", "--volumes", "--yes")

    assert done["deleted"] == [each["path"] for each in plan["delete"]]
    assert not any(Path(path).exists() for path in done["deleted"])
    assert (ready_home.path / "models" / "embeddings").exists()
    assert (ready_home.path / "config" / "janus.toml").exists()
    assert ready_home("status").returncode == 10
    assert ready_home("up").returncode == 0, "a new start from nothing"
    assert ready_home.json("docs", "list")["documents"] == []


def test_down_stops_what_a_url_has_replaced_since(ready_home) -> None:
    environ = {k: v for k, v in ready_home.environ.items() if k != "JANUS_CHAT__URL"}
    with_chat = type(ready_home)(ready_home.path, environ)
    assert with_chat.json("up")["healthy"] is True
    assert "llm" in {service["name"] for service in with_chat.json("status")["services"]}
    mine = processes_of(ready_home)

    assert ready_home("down").returncode == 0  # in whose environment chat.url is set

    psutil.wait_procs(mine, timeout=10)
    assert [p.cmdline() for p in mine if p.is_running()] == []
    assert {s["state"] for s in json.loads(with_chat("status", "--json").stdout)["services"]} == {
        "down"
    }
