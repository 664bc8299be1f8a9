"""From the outbox in PostgreSQL to the broker, and again if a message got lost."""

from __future__ import annotations

from sqlalchemy import text

from janus_core.failpoints import reach
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

    The broker also keeps the messages of jobs that run. When it has no others, a
    queued job whose messages were all published some seconds ago has none left:
    its last one is sent again.
    """
    depth = broker.depth()
    with database.transaction() as tx:
        if depth > (tx.scalar(text("SELECT count(*) FROM job WHERE state = 'running'")) or 0):
            return 0
        return tx.execute(
            text(
                "UPDATE outbox SET published_at = NULL WHERE id IN ("
                " SELECT max(o.id) FROM job j JOIN outbox o ON o.job_id = j.id"
                " WHERE j.state = 'queued' AND j.not_before <= now()"
                " GROUP BY j.id HAVING bool_and(o.published_at IS NOT NULL)"
                "   AND max(o.published_at) < now() - make_interval(secs => :lost))"
            ),
            {"lost": _LOST_AFTER_S},
        ).rowcount


def prune(database: Database) -> int:
    """Delete outbox rows of finished jobs; return how many."""
    with database.transaction() as tx:
        return tx.execute(
            text(
                "DELETE FROM outbox o USING job j WHERE j.id = o.job_id"
                " AND o.published_at IS NOT NULL AND j.state IN ('done', 'failed', 'quarantined')"
            )
        ).rowcount
