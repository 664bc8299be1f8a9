"""What waits for the journal's sequencer stands in a table; versions are deleted by index."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Each deleted version asks whether a document still shows it.
VISIBLE = "CREATE INDEX document_version ON document (version_id)"

# Looking for the rows without a link took the sequencer longer with every row
# there ever was, once a second.
WAITING = """
CREATE TABLE journal_waiting (
    journal_id  bigint PRIMARY KEY REFERENCES journal
);
CREATE FUNCTION wait_for_sequence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_waiting VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER waiting AFTER INSERT ON journal
    FOR EACH ROW EXECUTE FUNCTION wait_for_sequence();
INSERT INTO journal_waiting
    SELECT j.id FROM journal j
    WHERE NOT EXISTS (SELECT 1 FROM journal_chain c WHERE c.journal_id = j.id);
"""


def upgrade() -> None:
    op.execute(VISIBLE)
    op.execute(WAITING)
