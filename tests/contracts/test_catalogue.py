"""The catalogue: what is visible, what replaces what, and nothing between."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from janus_core.actors import run_job
from janus_core.documents import Filter, document_id
from janus_core.errors import InvalidInput, NotFound
from janus_core.ingestion.intake import Intake
from janus_core.ingestion.remove import request_removal
from janus_core.ingestion.services import Services
from janus_core.queue import jobs
from janus_core.retrieval.search import Searcher
from janus_core.stores import catalogue, versions
from janus_core.stores.fulltext import match_text
from janus_core.stores.postgres import Database

WHO = uuid.UUID(int=5)


@pytest.fixture
def shown(database: Database) -> Callable[..., set[str]]:
    """The texts that a search for any of the words may show."""

    def look(words: str, where: Filter | None = None) -> set[str]:
        with database.transaction() as tx:
            found = match_text(tx, words, 50, where or Filter())
            passages = catalogue.passages(tx, [chunk for chunk, _ in found])
        return {passage.text for passage in passages.values()}

    return look


def texts(database: Database, chunks: list[uuid.UUID]) -> set[str]:
    with database.transaction() as tx:
        return {p.text for p in catalogue.passages(tx, chunks).values()}


def version(database: Database, made: Any) -> versions.VersionRow:
    with database.transaction() as tx:
        found = versions.find(tx, made.version)
    assert found is not None
    return found


def test_what_was_received_is_not_yet_visible(library: Any, database: Database) -> None:
    made = library.receive("a", "content", site="north")

    row = version(database, made)
    assert (row.state, row.visible, row.outdated, row.extracted) == (
        "received",
        False,
        False,
        False,
    )
    with database.transaction() as tx:
        assert catalogue.counts(tx)["documents"] == 0
        assert catalogue.documents(tx)[0].state == "received"
        known = versions.known_sources(tx, "notes", ["file:///a", "file:///b"])
    assert set(known) == {"file:///a"}
    assert known["file:///a"].sha256 == made.sha
    assert not known["file:///a"].visible


def test_what_was_published_is_visible_with_its_source(
    library: Any, database: Database, shown: Any
) -> None:
    made = library.add("a", "the pump runs", "the valve leaks", site="north")

    assert shown("pump") == {"the pump runs"}
    with database.transaction() as tx:
        passage = catalogue.passages(tx, made.chunks)[made.chunks[0]]
        row = catalogue.documents(tx)[0]
        assert catalogue.counts(tx)["chunks"] == 2
        assert catalogue.embedders(tx) == {"fake-1": 1}
    assert (passage.document_id, passage.uri, passage.collection, passage.tags) == (
        made.document,
        "file:///a",
        "notes",
        {"site": "north"},
    )
    assert passage.object_key == made.key
    assert (row.visible, row.state, row.chunks, row.version_id) == (True, "ready", 2, made.version)


def test_an_older_version_is_visible_until_the_newer_one_is(
    library: Any, database: Database, shown: Any
) -> None:
    old = library.add("a", "the old pump")
    new = library.receive("a", "newer content")
    assert shown("pump") == {"the old pump"}
    assert version(database, old).outdated

    library.publish(new.version, "the new pump")

    assert shown("pump") == {"the new pump"}
    assert texts(database, old.chunks) == set()
    assert version(database, old).state == "superseded"
    with database.transaction() as tx:
        assert catalogue.counts(tx)["chunks"] == 1


def test_publishing_twice_is_publishing_once(library: Any, database: Database, shown: Any) -> None:
    made = library.add("a", "the pump", "the valve")

    again = library.publish(made.version, "the pump", "the valve")

    assert again == made.chunks
    assert shown("pump valve") == {"the pump", "the valve"}


def test_a_hidden_document_shows_nothing_from_that_moment(
    library: Any, database: Database, shown: Any
) -> None:
    made = library.add("a", "the pump runs")

    with database.transaction() as tx:
        assert versions.hide_document(tx, made.document)

    assert shown("pump") == set()
    assert texts(database, made.chunks) == set()
    with database.transaction() as tx:
        assert catalogue.documents(tx) == []
        assert catalogue.counts(tx)["documents"] == 0
        assert catalogue.embedders(tx) == {}
        assert versions.known_sources(tx, "notes", ["file:///a"]) == {}
        with pytest.raises(NotFound):
            catalogue.find_document(tx, "file:///a")
        assert not versions.hide_document(tx, uuid.uuid4())
    with pytest.raises(InvalidInput, match="being removed"):
        library.receive("a", "again")


def test_nothing_but_visible_text_leaves_by_its_id(library: Any, database: Database) -> None:
    old = library.add("a", "one")
    library.add("a", "two")
    gone = library.add("b", "three")
    kept = library.add("c", "four")
    with database.transaction() as tx:
        versions.hide_document(tx, gone.document)

    asked = [*old.chunks, *gone.chunks, *kept.chunks, uuid.uuid4()]

    assert texts(database, asked) == {"four"}
    assert texts(database, []) == set()


@pytest.mark.parametrize(
    ("contents", "state", "newest"),
    [
        (["A", "B"], {"A": True, "B": False}, "B"),
        (["A", "B", "A"], {"A": False, "B": True}, "A"),
        (["A", "A"], {"A": False}, "A"),
        (["A", "B", "C", "B"], {"A": True, "B": False, "C": True}, "B"),
    ],
)
def test_the_content_that_came_last_is_the_newest(
    library: Any, database: Database, contents: list[str], state: dict[str, bool], newest: str
) -> None:
    made = {content: library.receive("a", content) for content in contents}

    assert {c: version(database, each).outdated for c, each in made.items()} == state
    with database.transaction() as tx:
        known = versions.known_sources(tx, "notes", ["file:///a"])
    assert known["file:///a"].sha256 == made[newest].sha


def test_content_that_comes_back_is_visible_again(
    library: Any, database: Database, shown: Any
) -> None:
    first = library.add("a", "the first pump")
    library.add("a", "the second pump")
    assert version(database, first).state == "superseded"

    again = library.receive("a", "the first pump")
    assert again.version == first.version
    assert version(database, again).state == "received"
    library.publish(again.version, "the first pump")

    assert shown("pump") == {"the first pump"}


def test_newer_content_is_newer_even_if_the_clock_went_back(
    library: Any, database: Database
) -> None:
    old = library.add("a", "old")
    library.sql("UPDATE version SET created_at = now() + interval '1 day'")

    new = library.receive("a", "new")

    assert version(database, old).outdated
    assert not version(database, new).outdated
    old_again = library.receive("a", "old")
    assert version(database, new).outdated
    assert not version(database, old_again).outdated


def test_a_failed_version_gives_way_to_what_is_visible_and_is_known(
    library: Any, database: Database
) -> None:
    old = library.add("a", "old")
    new = library.receive("a", "new")
    with database.transaction() as tx:
        versions.fail_version(tx, new.version, "unreadable", "look at it")
        versions.fail_version(tx, old.version, "never", "")
        assert versions.failed_versions(tx, old.document) == [new.version]
        known = versions.known_sources(tx, "notes", ["file:///a"])["file:///a"]

    assert version(database, old).state == "ready"
    assert not version(database, old).outdated
    assert (known.state, known.visible) == ("failed", True)
    again = library.receive("a", "new")
    assert version(database, again).state == "received"
    assert again.version == new.version


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(), "abc"),
        (Filter(collections=frozenset({"notes"})), "ab"),
        (Filter(collections=frozenset({"notes", "maps"})), "abc"),
        (Filter(tags=frozenset({("site", "north")})), "ac"),
        (Filter(tags=frozenset({("site", "north"), ("year", "1")})), "a"),
        (Filter(tags=frozenset({("site", "north"), ("site", "south")})), ""),
        (Filter(not_tags=frozenset({("site", "north")})), "b"),
        (Filter(not_tags=frozenset({("site", "north"), ("x'\"\\:y", "%_")})), ""),
        (Filter(tags=frozenset({("x'\"\\:y", "%_")})), "b"),
        (Filter(frozenset({"maps"}), frozenset({("site", "north")})), "c"),
        (Filter(tags=frozenset({("site", "north")}), not_tags=frozenset({("year", "1")})), "c"),
    ],
)
def test_filters(
    library: Any, database: Database, shown: Any, where: Filter, expected: str
) -> None:
    library.add("a", "pump a", site="north", year="1")
    library.add("b", "pump b", **{"x'\"\\:y": "%_"})
    library.add("c", "pump c", collection="maps", site="north")

    with database.transaction() as tx:
        listed = {row.uri[-1] for row in catalogue.documents(tx, where)}

    assert listed == set(expected)
    assert {text[-1] for text in shown("pump", where)} == set(expected)


def test_full_text_finds_words_in_their_forms_best_first(library: Any, database: Database) -> None:
    library.add("a", "Pumps are serviced in spring.", "The valve is closed.", "Nothing of it.")
    library.add("b", "A pump and its valve.")

    def match(query: str, k: int = 10) -> list[str]:
        with database.transaction() as tx:
            found = match_text(tx, query, k, Filter())
            passages = catalogue.passages(tx, [chunk for chunk, _ in found])
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
        return [passages[chunk].text for chunk, _ in found]

    assert match("pumping")[0] in {"Pumps are serviced in spring.", "A pump and its valve."}
    assert len(match("pumping")) == 2
    assert match("pump valve")[0] == "A pump and its valve."
    assert len(match("pump valve")) == 3
    assert len(match("pump valve", k=1)) == 1
    assert match("the of and") == []
    assert match("unheard") == []


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("'", 0),
        ("\\", 0),
        ("a & | ! b <-> c:* (", 0),
        ("see http://x.org/a?b=1&c=2|d", 1),
        ("pump\0brien", 1),
        ("' OR 1=1; --", 0),
        (":colon :query %s %(y)s", 0),
        ("\udcff\ud800", 0),
        ("pump \udcff", 1),
        ("ß ﬀ 語 🦉", 0),
        ("word " * 1900, 0),
        (" ".join(f"w{n}" for n in range(1500)), 0),
        ("o'brien's \"quote\"", 1),
    ],
)
def test_strange_queries_harm_nothing(
    library: Any, database: Database, services: Services, query: str, hits: int
) -> None:
    library.add("a", "the pump of o'brien at http://x.org/a?b=1&c=2|d")
    searcher = Searcher(database, services.vectors, services.embedder)

    assert len(searcher.search(query, mode="text")) == hits
    assert len(searcher.search(query)) == hits, "there are no vectors, but no error either"


@pytest.mark.parametrize(
    ("query", "k", "mode"),
    [
        ("", 1, "hybrid"),
        (" \n", 1, "hybrid"),
        ("x" * 10_001, 1, "hybrid"),
        ("x", 0, "hybrid"),
        ("x", -1, "hybrid"),
        ("x", 10**6, "hybrid"),
        ("x", 1, "graph"),
        ("x", 1, "magic"),
    ],
)
def test_searches_that_make_no_sense_are_refused(
    database: Database, services: Services, query: str, k: int, mode: Any
) -> None:
    with pytest.raises(InvalidInput):
        Searcher(database, services.vectors, services.embedder).search(query, None, k, mode)


def test_text_that_no_database_keeps_is_refused_as_input(database: Database) -> None:
    for name in ("\udcff", "a\0b"):
        with pytest.raises(InvalidInput), database.transaction() as tx:
            catalogue.find_document(tx, name)


def test_documents_are_found_by_id_prefix_and_uri(library: Any, database: Database) -> None:
    made = library.add("a", "text")
    twin = library.add("a", "text", collection="maps")
    other = library.add("b", "text")
    with database.transaction() as tx:
        assert catalogue.find_document(tx, str(made.document)).id == made.document
        assert catalogue.find_document(tx, str(other.document)[:8]).id == other.document
        assert catalogue.find_document(tx, "file:///b").id == other.document
        with pytest.raises(InvalidInput, match="several"):
            catalogue.find_document(tx, "file:///a")
        for name in ("file:///c", str(uuid.uuid4()), "0000", "%", str(made.document)[:7], "a\n"):
            with pytest.raises(NotFound):
                catalogue.find_document(tx, name)
    assert twin.document != made.document


@pytest.mark.parametrize("name", ["", "A", "ä", "a b", "a\n", "../x", "x" * 64, "-a", "a'b"])
def test_names_that_are_none_for_a_collection(database: Database, name: str) -> None:
    with pytest.raises(InvalidInput), database.transaction() as tx:
        catalogue.ensure_collection(tx, name)
    with pytest.raises(NotFound), database.transaction() as tx:
        catalogue.require_collections(tx, [name])


def test_a_collection_made_by_many_at_once_is_one(database: Database) -> None:
    def make(_: int) -> int:
        with database.transaction() as tx:
            return catalogue.ensure_collection(tx, "fresh")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(make, range(8)))) == 1


def test_pages_are_lent_to_equal_content_only(
    ingest: Any, services: Services, library: Any, database: Database
) -> None:
    ingest("a.txt", "Equal words.")
    copy = ingest("b.txt", "Equal words.", collection="maps")
    other = ingest("c.txt", "Other words.")

    rows = library.sql(
        "SELECT d.id, p.text FROM page p JOIN version v ON v.id = p.version_id"
        " JOIN document d ON d.id = v.document_id"
    )
    assert {row.id: row.text for row in rows}[copy] == "Equal words."
    assert {row.id: row.text for row in rows}[other] == "Other words."
    assert services.objects.usage()[0] == 2


def test_the_original_of_two_documents_goes_with_the_last(
    ingest: Any, services: Services, database: Database, run_jobs: Any
) -> None:
    one = ingest("a.txt", "Shared words.")
    two = ingest("b.txt", "Shared words.")
    assert services.objects.usage()[0] == 1

    request_removal(database, one, WHO)
    run_jobs()
    assert services.objects.usage()[0] == 1
    assert services.vectors.count(services.embedder.name) == 1

    request_removal(database, two, WHO)
    run_jobs()
    assert services.objects.usage()[0] == 0
    assert services.vectors.count(services.embedder.name) == 0


def test_equal_content_comes_and_goes_at_once_and_no_original_is_missing(
    services: Services, database: Database, tmp_path: Path, library: Any
) -> None:
    """Two intakes of one content against the removal of a third copy, again and again."""
    (tmp_path / "files").mkdir()
    paths = [tmp_path / "files" / f"{name}.txt" for name in "abc"]
    errors = list[Exception]()

    def take(path: Path) -> None:
        try:
            for _ in range(50):
                taken = next(iter(Intake(database, services.objects, "notes").take([path])))
                if taken.outcome != "failed":
                    return
                threading.Event().wait(0.02)  # it is being removed right now
            raise AssertionError(taken)
        except Exception as error:  # noqa: BLE001 (looked at below)
            errors.append(error)

    def work() -> None:
        try:
            for _ in range(10):
                with database.transaction() as tx:
                    waiting = jobs.rows(tx, states=["queued"])
                for row in waiting:
                    run_job(services, row.id, f"w{threading.get_ident()}")
        except Exception as error:  # noqa: BLE001 (looked at below)
            errors.append(error)

    for turn in range(8):
        for path in paths:
            path.write_text(f"Content {turn % 2}.")
        take(paths[0])
        gone = document_id("notes", paths[0].as_uri())
        request_removal(database, gone, WHO)
        bodies = [lambda: take(paths[1]), lambda: take(paths[2]), work, work]
        threads = [threading.Thread(target=body, daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert errors == []
        for row in library.sql("SELECT DISTINCT object_key FROM version"):
            assert services.objects.verify(row.object_key)
    library.sql("UPDATE job SET not_before = now()")
    work()
    work()

    assert errors == []
    assert library.sql("SELECT 1 FROM job WHERE state IN ('queued', 'running')") == []
    assert len(library.sql("SELECT 1 FROM document WHERE version_id IS NOT NULL")) == 2
    assert services.objects.usage()[0] == 1
