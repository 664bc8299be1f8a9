"""From the outbox to the broker: each message at least once, whatever dies in between."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import dramatiq
import pytest
import redis

from janus_core.errors import BadConfiguration, StoreUnavailable
from janus_core.node.valkey import ValkeyServer
from janus_core.queue import jobs, outbox
from janus_core.queue.broker import QUEUE, Broker
from janus_core.stores.postgres import Database


def delivered(broker: Broker) -> list[tuple[str, str]]:
    """Take all waiting messages from the broker; return (actor, job id) of each."""
    found = []
    consumer = broker.dramatiq.consume(QUEUE, prefetch=100, timeout=100)
    while (message := next(consumer)) is not None:
        found.append((message.actor_name, message.args[0]))
        consumer.ack(message)
    consumer.close()
    return found


def unpublished(library: Any) -> int:
    return len(library.sql("SELECT 1 FROM outbox WHERE published_at IS NULL"))


def long_ago(library: Any) -> None:
    """Let the messages have been published a while ago."""
    library.sql("UPDATE outbox SET published_at = now() - interval '1 minute'")


class DyingBroker(Broker):
    """Takes the messages and then kills the process, before anybody can note it."""

    def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        super().publish(messages)
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_relay_publishes_what_is_due_and_marks_it(
    library: Any, database: Database, broker: Broker
) -> None:
    due = [library.receive(f"f{n}").job for n in range(3)]
    later = library.receive("later").job
    library.sql("UPDATE outbox SET not_before = now() + interval '1 h' WHERE job_id = :j", j=later)

    assert outbox.relay(database, broker) == 3
    assert outbox.relay(database, broker) == 0

    assert delivered(broker) == [("ingest_version", str(job)) for job in due]
    assert unpublished(library) == 1


def test_each_kind_of_job_has_its_actor(library: Any, database: Database, broker: Broker) -> None:
    made = library.receive()
    with database.transaction() as tx:
        for kind in ("clean", "remove"):
            jobs.enqueue(tx, kind, made.document, made.version, library.correlation)

    outbox.relay(database, broker)

    assert [actor for actor, _ in delivered(broker)] == [
        "ingest_version",
        "clean_version",
        "remove_document",
    ]


def test_a_delayed_job_is_announced_with_its_delay(
    library: Any, database: Database, broker: Broker
) -> None:
    made = library.receive()
    outbox.relay(database, broker)
    delivered(broker)
    with database.transaction() as tx:
        jobs.enqueue(tx, "clean", made.document, made.version, uuid.uuid4(), delay_s=60)

    assert outbox.relay(database, broker) == 0


def test_many_relays_publish_each_message_once(
    library: Any, database: Database, broker: Broker
) -> None:
    made = {str(library.receive(f"f{n}").job) for n in range(30)}
    threads = [threading.Thread(target=outbox.relay, args=(database, broker)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    found = [job for _, job in delivered(broker)]
    assert sorted(found) == sorted(made)


def test_a_relay_killed_before_it_marks_delivers_twice_and_nothing_happens_twice(
    library: Any, database: Database, broker: Broker, database_url: str, queue_server: ValkeyServer
) -> None:
    made = [library.receive(f"f{n}").job for n in range(4)]
    pid = os.fork()
    if pid == 0:
        # No connection of the parent may be used here.
        outbox.relay(Database(database_url), DyingBroker(queue_server.url()))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert unpublished(library) == 4

    assert outbox.relay(database, broker) == 4

    twice = [uuid.UUID(job) for _, job in delivered(broker)]
    assert sorted(twice) == sorted(made * 2)
    random.Random(3).shuffle(twice)
    claimed = [jobs.claim(database, job, "w") for job in twice]
    assert sum(1 for each in claimed if each) == 4


def test_what_the_broker_lost_is_sent_again(
    library: Any, database: Database, broker: Broker, queue_server: ValkeyServer
) -> None:
    made = {str(library.receive(f"f{n}").job) for n in range(3)}
    outbox.relay(database, broker)
    assert outbox.sweep(database, broker) == 0
    with redis.Redis.from_url(queue_server.url().replace("redis+unix:", "unix:")) as client:
        client.flushall()
    assert outbox.sweep(database, broker) == 0, "they may be on their way to a worker"
    long_ago(library)

    assert outbox.sweep(database, broker) == 3
    assert outbox.sweep(database, broker) == 0
    assert outbox.relay(database, broker) == 3

    assert {job for _, job in delivered(broker)} == made


def test_messages_that_wait_are_not_sent_again(
    library: Any, database: Database, broker: Broker
) -> None:
    for n in range(3):
        library.receive(f"f{n}")
    outbox.relay(database, broker)
    long_ago(library)

    assert outbox.sweep(database, broker) == 0


def test_a_loss_is_noticed_while_other_messages_wait(
    library: Any, database: Database, broker: Broker
) -> None:
    lost = [str(library.receive(f"f{n}").job) for n in range(3)]
    outbox.relay(database, broker)
    delivered(broker)  # as if the server's disk had lost them
    kept = str(library.receive("kept").job)
    outbox.relay(database, broker)
    long_ago(library)

    assert outbox.sweep(database, broker) >= 3
    outbox.relay(database, broker)
    assert outbox.sweep(database, broker) == 0

    assert {job for _, job in delivered(broker)} == {*lost, kept}


def test_a_job_that_runs_for_long_does_not_hide_a_loss(
    library: Any, database: Database, broker: Broker
) -> None:
    lost = str(library.receive("lost").job)
    outbox.relay(database, broker)
    delivered(broker)
    slow = library.receive("slow").job
    outbox.relay(database, broker)  # its message stays in the broker while it runs
    assert jobs.claim(database, slow, "w") is not None
    long_ago(library)

    assert outbox.sweep(database, broker) == 1
    outbox.relay(database, broker)
    assert lost in {job for _, job in delivered(broker)}


def test_waiting_ends_even_if_the_clock_goes_back(
    library: Any, database: Database, broker: Broker
) -> None:
    job = library.receive().job
    library.sql("UPDATE outbox SET not_before = now() + interval '1 day'")
    library.sql("UPDATE job SET not_before = now() + interval '1 day'")

    outbox.sweep(database, broker)

    assert outbox.relay(database, broker) == 1
    assert jobs.claim(database, job, "w") is not None


def test_the_broker_holds_no_more_than_the_window(
    library: Any, database: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "WINDOW", 5)
    made = [str(library.receive(f"f{n}").job) for n in range(8)]

    assert [outbox.relay(database, broker) for _ in range(3)] == [5, 0, 0]
    assert broker.depth() == 5
    first = [job for _, job in delivered(broker)]
    assert outbox.relay(database, broker) == 3

    assert first + [job for _, job in delivered(broker)] == made


def test_nothing_is_marked_while_the_broker_is_away(
    library: Any, database: Database, broker: Broker
) -> None:
    library.receive()
    away = Broker("redis+unix://:p@/nowhere/queue.sock?db=0")

    with pytest.raises(StoreUnavailable):
        outbox.relay(database, away)
    with pytest.raises(StoreUnavailable):
        away.publish([("ingest_version", "x")])
    with pytest.raises(StoreUnavailable):
        outbox.sweep(database, away)
    assert unpublished(library) == 1

    assert outbox.relay(database, broker) == 1


def test_a_broker_that_fails_halfway_costs_at_most_a_repeat(
    library: Any, database: Database, broker: Broker
) -> None:
    made = {str(library.receive(f"f{n}").job) for n in range(4)}

    class Halfway(Broker):
        def __init__(self) -> None:
            self.dramatiq = broker.dramatiq

        def publish(self, messages: Sequence[tuple[str, str]]) -> None:
            super().publish(messages[:2])
            raise StoreUnavailable("cut off")

    with pytest.raises(StoreUnavailable):
        outbox.relay(database, Halfway())
    assert unpublished(library) == 4
    outbox.relay(database, broker)

    found = [job for _, job in delivered(broker)]
    assert set(found) == made
    assert len(found) == 6


def test_only_messages_of_finished_jobs_are_pruned(
    library: Any, database: Database, broker: Broker
) -> None:
    made = [library.receive(f"f{n}") for n in range(5)]
    outbox.relay(database, broker)
    states = ("queued", "running", "done", "failed", "quarantined")
    for each, state in zip(made, states, strict=True):
        library.state(each.job, state)

    assert outbox.prune(database) == 3
    assert outbox.prune(database) == 0
    left = {row.job_id for row in library.sql("SELECT job_id FROM outbox")}
    assert left == {made[0].job, made[1].job}


def test_a_worker_receives_what_was_relayed(
    library: Any, database: Database, broker: Broker
) -> None:
    job = library.receive().job
    seen, received = list[str](), threading.Event()

    def work(job_id: str) -> None:
        seen.append(job_id)
        received.set()

    dramatiq.Actor(
        work, broker=broker.dramatiq, actor_name="ingest_version", queue_name=QUEUE, priority=0,
        options={},
    )
    outbox.relay(database, broker)
    worker = dramatiq.Worker(broker.dramatiq, worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        assert received.wait(10)
        broker.dramatiq.join(QUEUE, timeout=10_000)
    finally:
        worker.stop()

    assert seen == [str(job)]
    assert broker.depth() == 0


def test_a_url_that_names_no_broker_is_refused() -> None:
    with pytest.raises(BadConfiguration):
        Broker("http://example.org")
