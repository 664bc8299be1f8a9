"""Jobs: claimed once, counted before they start, given back, set aside, and never lost."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from janus_core.errors import InvalidInput, Locked, NotFound, TransientFailure
from janus_core.ingestion.remove import request_removal
from janus_core.queue import jobs
from janus_core.queue.jobs import MAX_ATTEMPTS, Job
from janus_core.stores import versions
from janus_core.stores.postgres import Database

TROUBLE = TransientFailure("it did not work", "try again")


def one(library: Any, job: uuid.UUID) -> Any:
    return library.sql("SELECT * FROM job WHERE id = :j", j=job)[0]


def messages(library: Any, job: uuid.UUID) -> int:
    return len(library.sql("SELECT 1 FROM outbox WHERE job_id = :j", j=job))


def claimed(database: Database, job: uuid.UUID, owner: str = "w", *, alone: bool = False) -> Job:
    found = jobs.claim(database, job, owner, alone=alone)
    assert found is not None
    return found


def in_background(body: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def test_a_job_comes_with_its_message(library: Any) -> None:
    made = library.receive()

    row = one(library, made.job)
    assert (row.state, row.attempts, row.kind) == ("queued", 0, "ingest")
    waiting = library.sql("SELECT actor, published_at FROM outbox WHERE job_id = :j", j=made.job)
    assert [tuple(each) for each in waiting] == [("ingest_version", None)]


def test_the_same_work_is_one_job_while_it_is_open(library: Any, database: Database) -> None:
    first = library.receive()

    for state in ("queued", "running", "suspect"):
        library.state(first.job, state)
        assert library.receive().job == first.job
    assert messages(library, first.job) == 1

    library.state(first.job, "done")
    assert library.receive().job != first.job


def test_new_work_forgets_the_failure_of_the_same_work(library: Any) -> None:
    failed = library.receive().job
    library.state(failed, "failed")

    again = library.receive().job

    assert [row.id for row in library.sql("SELECT id FROM job")] == [again]


def test_eight_receive_the_same_document_at_once(library: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: library.receive().job, range(8)))

    assert len(set(made)) == 1
    assert messages(library, made[0]) == 1


def test_one_of_eight_claimants_gets_the_job(library: Any, database: Database) -> None:
    job = library.receive().job
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: jobs.claim(database, job, f"w{n}"), range(8)))

    winners = [each for each in found if each is not None]
    assert len(winners) == 1
    row = one(library, job)
    assert (row.owner, row.attempts, row.state) == (winners[0].owner, 1, "running")


def test_five_deliveries_in_any_order_do_the_work_once(library: Any, database: Database) -> None:
    made = [library.receive(f"f{n}", f"content {n}").job for n in range(20)]
    deliveries = made * 5
    random.Random(7).shuffle(deliveries)
    done = list[uuid.UUID]()

    def work(job_id: uuid.UUID) -> None:
        job = jobs.claim(database, job_id, f"w{threading.get_ident()}")
        if job is not None:
            with database.transaction() as tx:
                jobs.hold(tx, job)
                done.append(job.id)
                jobs.finish(tx, job)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, deliveries))

    assert sorted(done) == sorted(made)
    assert {row.state for row in library.sql("SELECT state FROM job")} == {"done"}
    assert {row.attempts for row in library.sql("SELECT attempts FROM job")} == {1}


def test_a_delayed_job_is_not_to_be_had_before_its_time(library: Any, database: Database) -> None:
    job = library.receive().job
    library.sql("UPDATE job SET not_before = now() + interval '1 hour'")

    assert jobs.claim(database, job, "w") is None
    assert jobs.claim(database, uuid.uuid4(), "w") is None


def test_an_expired_lease_is_given_back(library: Any, database: Database) -> None:
    job = claimed(database, library.receive().job)
    assert jobs.release(database) == 0

    library.sql("UPDATE job SET lease_until = now() - interval '1 second'")

    assert jobs.release(database) == 1
    assert jobs.release(database) == 0
    row = one(library, job.id)
    assert (row.state, row.owner, row.attempts) == ("queued", None, 1)
    assert messages(library, job.id) == 2


def test_a_renewed_lease_lasts(library: Any, database: Database) -> None:
    job = claimed(database, library.receive().job)
    library.sql("UPDATE job SET lease_until = now() - interval '1 second'")

    assert jobs.renew(database, "w") == 1
    assert jobs.renew(database, "another") == 0
    assert jobs.release(database) == 0
    assert one(library, job.id).owner == "w"


def test_the_jobs_of_a_dead_worker_are_given_back_at_once(library: Any, database: Database) -> None:
    mine = [claimed(database, library.receive(f"f{n}").job, f"w/{n}").id for n in range(2)]
    other = claimed(database, library.receive("g").job, "wx/1").id

    assert jobs.release(database, owner="w") == 2

    assert {one(library, job).state for job in mine} == {"queued"}
    assert one(library, other).state == "running"


def test_a_job_given_back_without_blame_has_no_attempt(library: Any, database: Database) -> None:
    job = claimed(database, library.receive().job)

    assert jobs.release(database, owner="w", counts=False) == 1

    assert one(library, job.id).attempts == 0


def test_the_clock_going_back_does_not_keep_a_dead_workers_job(
    library: Any, database: Database
) -> None:
    job = claimed(database, library.receive().job)
    library.sql("UPDATE job SET lease_until = now() + interval '1 day'")

    assert jobs.release(database) == 1
    assert one(library, job.id).state == "queued"


def test_what_kills_its_worker_is_run_alone_and_then_set_aside(
    library: Any, database: Database
) -> None:
    made = library.receive()
    for _ in range(MAX_ATTEMPTS):
        assert jobs.next_suspect(database) is None
        claimed(database, made.job, "w")
        jobs.release(database, owner="w")

    assert one(library, made.job).state == "suspect"
    assert jobs.next_suspect(database) == made.job
    assert jobs.claim(database, made.job, "w") is None
    alone = claimed(database, made.job, "single", alone=True)
    assert alone.attempts == MAX_ATTEMPTS + 1
    with database.transaction() as tx:
        jobs.quarantine(tx, made.job, "it killed its process")

    row = one(library, made.job)
    assert (row.state, row.owner, row.reason) == ("quarantined", None, "it killed its process")
    assert str(made.job) in row.hint
    assert jobs.next_suspect(database) is None
    assert jobs.claim(database, made.job, "w") is None
    assert jobs.claim(database, made.job, "w", alone=True) is None
    with pytest.raises(Locked), database.transaction() as tx:
        jobs.hold(tx, alone)


def test_only_what_runs_or_is_suspect_can_be_quarantined(library: Any, database: Database) -> None:
    made = library.receive()
    library.state(made.job, "done")

    with database.transaction() as tx:
        jobs.quarantine(tx, made.job, "why")

    assert one(library, made.job).state == "done"


def test_progress_starts_the_count_anew(library: Any, database: Database) -> None:
    made = library.receive()
    for _ in range(MAX_ATTEMPTS - 1):
        claimed(database, made.job)
        jobs.release(database, owner="w")
    last = claimed(database, made.job)

    with database.transaction() as tx:
        jobs.hold(tx, last)
        jobs.made_progress(tx, last)
    jobs.release(database, owner="w")

    assert one(library, made.job).attempts == 1
    assert one(library, made.job).state == "queued"


def test_a_failure_after_progress_is_a_first_failure(library: Any, database: Database) -> None:
    made = library.receive()
    library.sql("UPDATE job SET attempts = :n", n=MAX_ATTEMPTS - 1)
    job = claimed(database, made.job)

    with database.transaction() as tx:
        jobs.made_progress(tx, job)
        again = jobs.fail(tx, job, TROUBLE, permanent=False)

    assert again
    row = one(library, made.job)
    assert (row.state, row.attempts) == ("queued", 1)


def test_failures_are_tried_again_later_and_later_and_then_no_more(
    library: Any, database: Database
) -> None:
    made, delays = library.receive(), []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        library.sql("UPDATE job SET not_before = now()")
        job = claimed(database, made.job)
        with database.transaction() as tx:
            assert jobs.fail(tx, job, TROUBLE, permanent=False) == (attempt < MAX_ATTEMPTS)
        row = one(library, made.job)
        delays.append(
            library.sql("SELECT extract(epoch FROM not_before - now()) AS s FROM job")[0].s
        )
        assert (row.reason, row.hint, row.code) == (
            "it did not work",
            "try again",
            "transient_failure",
        )

    assert delays[:-1] == sorted(delays[:-1])
    assert delays[-2] > 60 > delays[0] > 0
    assert delays[-2] < jobs.LATEST_S
    assert row.state == "failed"
    assert row.finished_at is not None
    assert messages(library, made.job) == MAX_ATTEMPTS


def test_a_permanent_failure_is_final(library: Any, database: Database) -> None:
    job = claimed(database, library.receive().job)

    with database.transaction() as tx:
        assert not jobs.fail(tx, job, TROUBLE, permanent=True)

    assert one(library, job.id).state == "failed"
    assert messages(library, job.id) == 1


def test_what_was_not_its_fault_never_counts(library: Any, database: Database) -> None:
    made = library.receive()
    for _ in range(2 * MAX_ATTEMPTS):
        library.sql("UPDATE job SET not_before = now()")
        job = claimed(database, made.job)
        with database.transaction() as tx:
            assert jobs.fail(tx, job, TROUBLE, permanent=False, counts=False)

    assert one(library, made.job).attempts == 0


def test_a_worker_that_was_given_up_can_commit_nothing(library: Any, database: Database) -> None:
    lost = claimed(database, library.receive().job, "slow")
    library.sql("UPDATE job SET lease_until = now() - interval '1 second'")
    jobs.release(database)
    claimed(database, lost.id, "quick")

    with pytest.raises(Locked), database.transaction() as tx:
        jobs.hold(tx, lost)


def test_a_removal_waits_for_the_batch_that_is_being_written(
    library: Any, database: Database
) -> None:
    made = library.receive()
    job = claimed(database, made.job)
    over = threading.Event()

    def remove() -> None:
        request_removal(database, made.document, library.correlation)
        over.set()

    with database.transaction() as tx:
        jobs.hold(tx, job)
        thread = in_background(remove)
        assert not over.wait(0.5), "the removal did not wait"
        # What the worker does next in its transaction must not wait for the removal.
        assert versions.find(tx, made.version, lock=True) is not None
        jobs.made_progress(tx, job)
    thread.join(10)

    assert over.is_set()
    assert one(library, made.job).code == "removed"
    with pytest.raises(Locked), database.transaction() as tx:
        jobs.hold(tx, job)
    assert [row.kind for row in library.sql("SELECT kind FROM job WHERE state = 'queued'")] == [
        "remove"
    ]


def test_failed_and_quarantined_jobs_can_be_tried_again(library: Any, database: Database) -> None:
    made = [library.receive(f"f{n}") for n in range(4)]
    for each, state in zip(made, ("failed", "quarantined", "done", "running"), strict=True):
        library.state(each.job, state)
        library.sql("UPDATE job SET attempts = 5 WHERE id = :j", j=each.job)
    library.sql("UPDATE version SET state = 'failed' WHERE id = :v", v=made[0].version)

    with database.transaction() as tx:
        assert jobs.retry(tx, [each.job for each in made]) == 2
        assert jobs.retry(tx, []) == 0

    rows = [one(library, each.job) for each in made]
    assert [row.state for row in rows] == ["queued", "queued", "done", "running"]
    assert [row.attempts for row in rows] == [0, 0, 5, 5]
    assert library.sql("SELECT DISTINCT state FROM version")[0].state == "received"
    assert messages(library, made[0].job) == 2


def test_retrying_receiving_and_removing_at_once_never_block_one_another(
    library: Any, database: Database
) -> None:
    made = [library.receive(f"f{n}") for n in range(6)]
    stop, errors, steps = time.monotonic() + 3, list[Exception](), dict[str, int]()

    def again_and_again(name: str, step: Callable[[random.Random], object]) -> None:
        dice = random.Random(name)
        while time.monotonic() < stop and not errors:
            try:
                step(dice)
                steps[name] = steps.get(name, 0) + 1
            except Locked:
                continue
            except Exception as error:  # noqa: BLE001 (looked at below)
                errors.append(error)

    def receive(dice: random.Random) -> None:
        library.receive(f"f{dice.randrange(6)}", dice.choice(["", "one", "two"]))

    def retry(dice: random.Random) -> None:
        every = [row.id for row in library.sql("SELECT id FROM job")]
        dice.shuffle(every)
        with database.transaction() as tx:
            jobs.retry(tx, every)

    def work(dice: random.Random) -> None:
        waiting = library.sql("SELECT id FROM job WHERE state = 'queued' AND kind = 'ingest'")
        if not waiting:
            return
        job = jobs.claim(database, dice.choice(waiting).id, f"w{dice.random()}")
        if job is not None:
            with database.transaction() as tx:
                jobs.hold(tx, job)
                row = versions.find(tx, job.version_id, lock=True)
                if row is not None:
                    versions.lock_content(tx, row.sha256)
                if dice.random() < 0.5:
                    jobs.fail(tx, job, TROUBLE, permanent=True)
                    versions.fail_version(tx, job.version_id, "failed", "")
                else:
                    jobs.finish(tx, job)

    def cancel(dice: random.Random) -> None:
        with database.transaction() as tx:
            jobs.cancel_others(tx, dice.choice(made).document)

    def quarantine(dice: random.Random) -> None:
        running = library.sql("SELECT id, version_id FROM job WHERE state = 'running'")
        if running:
            chosen = dice.choice(running)
            with database.transaction() as tx:
                jobs.quarantine(tx, chosen.id, "why")
                versions.fail_version(tx, chosen.version_id, "failed", "")

    def give_back(dice: random.Random) -> None:
        jobs.release(database, owner="w")
        jobs.renew(database, "w")
        with database.transaction() as tx:
            jobs.announce_again(tx, [each.version for each in made])

    bodies = [receive, receive, retry, work, work, cancel, quarantine, give_back]
    threads = [
        in_background(lambda n=n, b=body: again_and_again(f"{b.__name__}{n}", b))
        for n, body in enumerate(bodies)
    ]
    for thread in threads:
        thread.join(30)

    assert not errors, errors[0]
    assert not any(thread.is_alive() for thread in threads)
    assert len(steps) == len(bodies), steps


def test_jobs_are_listed_found_counted_and_forgotten(library: Any, database: Database) -> None:
    made = [library.receive(f"f{n}") for n in range(6)]
    states = ("queued", "running", "suspect", "done", "failed", "quarantined")
    for each, state in zip(made, states, strict=True):
        library.state(each.job, state)
    late = library.receive("late")
    library.sql("UPDATE job SET not_before = now() + interval '1 h' WHERE id = :j", j=late.job)

    with database.transaction() as tx:
        assert jobs.counts(tx) == {
            "ready": 2,
            "running": 1,
            "delayed": 1,
            "failed": 1,
            "quarantined": 1,
        }
        assert {row.id for row in jobs.rows(tx, states=["failed", "done"])} == {
            made[3].job,
            made[4].job,
        }
        assert jobs.rows(tx, ids=[]) == []
        assert jobs.find(tx, str(made[0].job)[:13]).id == made[0].job
        assert jobs.find(tx, str(made[0].job)).uri == "file:///f0"
        with pytest.raises(NotFound):
            jobs.find(tx, str(uuid.uuid4()))
        for name in ("%", "abc", "________", "0000000\n", str(made[0].job) + "\n"):
            with pytest.raises(InvalidInput):
                jobs.find(tx, name)
        assert not jobs.delete(tx, made[0].job)
        assert not jobs.delete(tx, made[3].job)
        assert jobs.delete(tx, made[4].job)
        assert not jobs.delete(tx, made[4].job)


def test_only_jobs_that_nobody_runs_are_announced_again(library: Any, database: Database) -> None:
    waiting, working, dead = (library.receive(name) for name in ("a", "b", "c"))
    claimed(database, working.job, "alive")
    claimed(database, dead.job, "dead")
    library.sql("UPDATE job SET lease_until = now() - interval '2 min' WHERE owner = 'dead'")

    with database.transaction() as tx:
        jobs.announce_again(tx, [waiting.version, working.version, dead.version])

    assert [messages(library, each.job) for each in (waiting, working, dead)] == [2, 1, 2]
    assert [one(library, each.job).state for each in (waiting, working, dead)] == [
        "queued",
        "running",
        "queued",
    ]
