"""From the outbox in PostgreSQL to the broker, and again if a message got lost."""

from __future__ import annotations

from sqlalchemy import Connection, text

from janus_core.failpoints import reach
from janus_core.queue import jobs
from janus_core.queue.broker import Broker
from janus_core.stores.postgres import Database

WINDOW = 1000
"""At most so many messages wait in the broker; the rest wait in the outbox."""

_BATCH = 100
_LOST_AFTER_S = 5


def relay(database: Database, broker: Broker) -> int:
    """Publish due outbox rows, oldest first, then mark them; return how many.

    Killed in between, a row is published twice, which claiming makes harmless.
    Raise StoreUnavailable when the broker or the database is down: nothing is lost.
    """
    room = WINDOW - broker.depth()
    if room <= 0:
        return 0
    with database.transaction() as tx:
        due = tx.execute(
            text(
                "SELECT id, actor, job_id FROM outbox"
                " WHERE published_at IS NULL AND not_before <= now()"
                " ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED"
            ),
            {"n": min(_BATCH, room)},
        ).all()
        if due:
            reach("relay.publish.before")
            broker.publish([(row.actor, str(row.job_id)) for row in due])
            reach("relay.publish.after")
            tx.execute(
                text("UPDATE outbox SET published_at = now() WHERE id = ANY(:ids)"),
                {"ids": [row.id for row in due]},
            )
    return len(due)


def sweep(database: Database, broker: Broker) -> int:
    """Publish again what the broker lost; return how many messages.

    A queued job whose messages were all published some seconds ago must have one
    in the broker, and so has each job that runs. When the broker holds fewer, some
    are lost, nobody knows which: the last one of each such queued job is sent again.
    """
    depth = broker.depth()
    with database.transaction() as tx:
        _bring_forward(tx)
        running = tx.execute(text("SELECT count(*) FROM job WHERE state = 'running'")).scalar_one()
        silent = tx.scalars(
            text(
                "SELECT max(o.id) FROM job j JOIN outbox o ON o.job_id = j.id"
                " WHERE j.state = 'queued' AND j.not_before <= now()"
                " GROUP BY j.id HAVING bool_and(o.published_at IS NOT NULL)"
                "   AND max(o.published_at) < now() - make_interval(secs => :lost)"
            ),
            {"lost": _LOST_AFTER_S},
        ).all()
        if not silent or depth >= len(silent) + running:
            return 0
        return tx.execute(
            text("UPDATE outbox SET published_at = NULL WHERE id = ANY(:ids)"),
            {"ids": list(silent)},
        ).rowcount


def _bring_forward(tx: Connection) -> None:
    """Let nothing wait for a time that lies so far ahead only because the clock went back."""
    for table, waiting in (("job", "state = 'queued'"), ("outbox", "published_at IS NULL")):
        tx.execute(
            text(
                f"UPDATE {table} SET not_before = now()"
                f" WHERE {waiting} AND not_before > now() + make_interval(secs => :latest)"
            ),
            {"latest": jobs.LATEST_S},
        )
    tx.execute(
        text("UPDATE outbox SET published_at = now() WHERE published_at > now() + interval '60 s'")
    )


def prune(database: Database) -> int:
    """Delete outbox rows of finished jobs; return how many."""
    with database.transaction() as tx:
        return tx.execute(
            text(
                "DELETE FROM outbox o USING job j WHERE j.id = o.job_id"
                " AND o.published_at IS NOT NULL AND j.state IN ('done', 'failed', 'quarantined')"
            )
        ).rowcount
