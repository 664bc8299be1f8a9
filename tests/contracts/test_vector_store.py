"""What every vector store must do, whichever it is."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from janus_core.errors import Damaged, JanusError, NotFound
from janus_core.stores.base import Neighbour, Point, VectorFilter, VectorStore
from janus_core.stores.pgvector import PgVectorStore
from janus_core.stores.postgres import Database

INDEX = "test-index"
DIM = 8
NOBODY = uuid.UUID(int=0)


def unit(seed: object, dim: int = DIM) -> list[float]:
    """A random direction that `seed` decides."""
    dice = random.Random(str(seed))
    values = [dice.gauss(0, 1) for _ in range(dim)]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def point(name: object, collection: str = "notes", dim: int = DIM, **tags: str) -> Point:
    return Point(
        chunk_id=uuid.uuid5(NOBODY, f"chunk {name}"),
        vector=unit(name, dim),
        collection=collection,
        document_id=uuid.uuid5(NOBODY, "document"),
        version_id=uuid.uuid5(NOBODY, "version"),
        object_key="sha256/00/" + "0" * 64,
        tags=tags,
    )


def ids(found: Sequence[Neighbour]) -> set[uuid.UUID]:
    return {neighbour.chunk_id for neighbour in found}


def in_threads(*bodies: Callable[[], object]) -> None:
    """Run all bodies at once; raise the first error among them."""
    errors: list[Exception] = []
    gate = threading.Barrier(len(bodies))

    def run(body: Callable[[], object]) -> None:
        try:
            gate.wait(20)
            body()
        except Exception as error:  # noqa: BLE001 (raised below)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    if errors:
        raise errors[0]


@pytest.fixture
def store(vectors: VectorStore) -> VectorStore:
    vectors.ensure_index(INDEX, DIM)
    return vectors


def test_a_stored_point_is_found_by_its_own_vector(store: VectorStore) -> None:
    points = [point(n) for n in range(20)]

    store.upsert(INDEX, points)

    for each in points:
        nearest = store.search(INDEX, each.vector, 1)[0]
        assert nearest.chunk_id == each.chunk_id
        assert nearest.similarity == pytest.approx(1.0, abs=0.01)
    assert store.count(INDEX) == 20


def test_neighbours_come_by_falling_similarity(store: VectorStore) -> None:
    store.upsert(INDEX, [point(n) for n in range(50)])

    found = [n.similarity for n in store.search(INDEX, unit("query"), 50)]

    assert found == sorted(found, reverse=True)
    assert len(found) == 50
    assert found[-1] < 0 < found[0]


def test_more_neighbours_than_points_are_all_points(store: VectorStore) -> None:
    store.upsert(INDEX, [point(n, f"collection-{n % 3}") for n in range(9)])

    assert len(store.search(INDEX, unit("query"), 1000)) == 9
    assert len(store.search(INDEX, unit("query"), 4)) == 4


def test_upsert_replaces_and_repeats_without_effect(store: VectorStore) -> None:
    old, other = point("old", site="north"), point("other")
    store.upsert(INDEX, [old])
    new = Point(
        chunk_id=old.chunk_id,
        vector=other.vector,
        collection=old.collection,
        document_id=uuid.uuid5(NOBODY, "another document"),
        version_id=uuid.uuid5(NOBODY, "another version"),
        object_key="sha256/11/" + "1" * 64,
        tags={"site": "south"},
    )

    for _ in range(3):
        store.upsert(INDEX, [new, new])

    assert store.count(INDEX) == 1
    assert list(store.chunk_ids(INDEX)) == [(new.version_id, new.chunk_id)]
    assert store.fetch(INDEX, [new.chunk_id])[new.chunk_id] == pytest.approx(
        other.vector, abs=0.001
    )
    south = VectorFilter(tags=frozenset({("site", "south")}))
    north = VectorFilter(tags=frozenset({("site", "north")}))
    assert len(store.search(INDEX, unit("q"), 5, south)) == 1
    assert store.search(INDEX, unit("q"), 5, north) == []


def test_nothing_to_upsert_is_nothing(store: VectorStore) -> None:
    store.upsert(INDEX, [])

    assert store.count(INDEX) == 0


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (VectorFilter(), {"a", "b", "c", "d"}),
        (VectorFilter(collections=frozenset({"notes"})), {"a", "b", "c"}),
        (VectorFilter(collections=frozenset({"notes", "maps"})), {"a", "b", "c", "d"}),
        (VectorFilter(collections=frozenset({"absent"})), set()),
        (VectorFilter(tags=frozenset({("site", "north")})), {"a", "b", "d"}),
        (VectorFilter(tags=frozenset({("site", "north"), ("year", "1")})), {"a"}),
        (VectorFilter(not_tags=frozenset({("site", "north")})), {"c"}),
        (VectorFilter(not_tags=frozenset({("year", "1"), ("year", "2")})), {"c", "d"}),
        (
            VectorFilter(
                frozenset({"notes"}), frozenset({("site", "north")}), frozenset({("year", "2")})
            ),
            {"a"},
        ),
        (VectorFilter(tags=frozenset({("site", "no")})), set()),
        (VectorFilter(tags=frozenset({("site", "north"), ("site", "south")})), set()),
    ],
)
def test_filters(store: VectorStore, where: VectorFilter, expected: set[str]) -> None:
    points = {
        "a": point("a", site="north", year="1"),
        "b": point("b", site="north", year="2"),
        "c": point("c"),
        "d": point("d", "maps", site="north"),
    }
    store.upsert(INDEX, list(points.values()))

    found = ids(store.search(INDEX, unit("query"), 10, where))

    assert found == {points[name].chunk_id for name in expected}


def test_tags_that_look_like_one_another_stay_apart(store: VectorStore) -> None:
    first = point(1, **{"a": "b=c"})
    second = point(2, **{"a=b": "c"})
    store.upsert(INDEX, [first, second])

    found = store.search(INDEX, unit("q"), 5, VectorFilter(tags=frozenset({("a", "b=c")})))

    assert ids(found) == {first.chunk_id}


def test_recall_against_an_exact_search(store: VectorStore) -> None:
    dim, index = 32, "recall"
    sizes = {"one": 5000, "two": 1000}
    store.ensure_index(index, dim)
    vectors = {c: [point((c, n), c, dim) for n in range(sizes[c])] for c in sizes}
    for points in vectors.values():
        store.upsert(index, points)

    def exact(query: list[float], among: list[Point]) -> set[uuid.UUID]:
        def similarity(each: Point) -> float:
            return sum(a * b for a, b in zip(query, each.vector, strict=True))

        return {p.chunk_id for p in sorted(among, key=similarity, reverse=True)[:10]}

    def recall(where: VectorFilter, among: list[Point]) -> float:
        hits = 0
        for n in range(12):  # more than five: PostgreSQL plans once for all from then on
            query = unit(("query", n), dim)
            hits += len(ids(store.search(index, query, 10, where)) & exact(query, among))
        return hits / 120

    assert recall(VectorFilter(frozenset({"one"})), vectors["one"]) >= 0.95
    assert recall(VectorFilter(), vectors["one"] + vectors["two"]) >= 0.95


def test_an_unknown_index_holds_nothing(vectors: VectorStore) -> None:
    assert vectors.search("unknown", unit("q"), 5) == []
    assert vectors.fetch("unknown", [NOBODY]) == {}
    assert list(vectors.chunk_ids("unknown")) == []
    assert vectors.count("unknown") == 0
    assert vectors.delete_version("unknown", "notes", NOBODY) == 0
    vectors.delete("unknown", [NOBODY])
    vectors.set_tags("unknown", "notes", NOBODY, {})
    vectors.drop_index("unknown")


def test_an_upsert_into_an_unknown_index_says_so(vectors: VectorStore) -> None:
    with pytest.raises(NotFound):
        vectors.upsert("unknown", [point(1)])


def test_an_index_keeps_its_dimension(store: VectorStore) -> None:
    store.ensure_index(INDEX, DIM)
    with pytest.raises(Damaged):
        store.ensure_index(INDEX, DIM + 1)
    store.upsert(INDEX, [point(1)])

    for wrong in ([0.5] * (DIM + 1), [0.5] * (DIM - 1), [float("nan")] * DIM):
        with pytest.raises(Damaged):
            store.upsert(INDEX, [Point(NOBODY, wrong, "notes", NOBODY, NOBODY, "k")])

    assert store.count(INDEX) == 1


def test_a_query_of_another_dimension_is_refused(store: VectorStore) -> None:
    store.upsert(INDEX, [point(1)])

    with pytest.raises(Damaged):
        store.search(INDEX, [0.5] * (DIM + 1), 3)


@pytest.mark.parametrize(
    "name",
    ["", "Upper", 'a"; DROP TABLE job; --', "a'b", "a\n", "ä", "a.b", "x" * 64, "../etc", "a\0b"],
)
def test_hostile_names_of_indexes_are_refused(vectors: VectorStore, name: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: vectors.ensure_index(name, DIM),
        lambda: vectors.upsert(name, [point(1)]),
        lambda: vectors.search(name, unit("q"), 1),
        lambda: vectors.fetch(name, [NOBODY]),
        lambda: vectors.delete(name, [NOBODY]),
        lambda: vectors.delete_version(name, "notes", NOBODY),
        lambda: vectors.set_tags(name, "notes", NOBODY, {}),
        lambda: list(vectors.chunk_ids(name)),
        lambda: vectors.count(name),
        lambda: vectors.drop_index(name),
    ]
    for call in calls:
        with pytest.raises(Damaged):
            call()


@pytest.mark.parametrize("name", ["", "Upper", "a'); DROP TABLE job; --", "a\n", "ä", "x" * 64])
def test_hostile_names_of_collections_are_refused(store: VectorStore, name: str) -> None:
    with pytest.raises(Damaged):
        store.upsert(INDEX, [point(1, name), point(2)])

    assert store.count(INDEX) == 0
    assert store.search(INDEX, unit("q"), 5, VectorFilter(frozenset({name}))) == []


def test_the_longest_names_work(vectors: VectorStore) -> None:
    index, collection = "i" * 41, "c" * 63
    vectors.ensure_index(index, DIM)
    twin = collection[:-1] + "d"

    vectors.upsert(index, [point(1, collection), point(2, twin)])

    assert len(vectors.search(index, unit("q"), 5, VectorFilter(frozenset({collection})))) == 1
    assert len(vectors.search(index, unit("q"), 5)) == 2


def test_deleting_points_and_versions(store: VectorStore) -> None:
    one, two, three = point(1), point(2), point(3)
    other = Point(uuid.uuid4(), unit(4), "notes", NOBODY, uuid.uuid4(), "key")
    store.upsert(INDEX, [one, two, three, other])

    store.delete(INDEX, [one.chunk_id, uuid.uuid4()])
    store.delete(INDEX, [one.chunk_id])
    store.delete(INDEX, [])

    assert {chunk for _, chunk in store.chunk_ids(INDEX)} == {
        two.chunk_id,
        three.chunk_id,
        other.chunk_id,
    }
    assert store.delete_version(INDEX, "elsewhere", two.version_id) == 0
    assert store.delete_version(INDEX, "notes", two.version_id) == 2
    assert store.delete_version(INDEX, "notes", two.version_id) == 0
    assert list(store.chunk_ids(INDEX)) == [(other.version_id, other.chunk_id)]
    assert store.search(INDEX, one.vector, 5)[0].chunk_id == other.chunk_id


def test_the_points_of_one_version(store: VectorStore) -> None:
    mine = point(1)
    store.upsert(INDEX, [mine, Point(NOBODY, unit(2), "notes", NOBODY, NOBODY, "key")])

    assert list(store.chunk_ids(INDEX, mine.version_id)) == [(mine.version_id, mine.chunk_id)]
    assert list(store.chunk_ids(INDEX, uuid.uuid4())) == []


def test_tags_of_a_document_are_replaced(store: VectorStore) -> None:
    mine = point(1, site="north")
    other = Point(NOBODY, unit(2), "notes", NOBODY, NOBODY, "key", {"site": "north"})
    store.upsert(INDEX, [mine, other])

    for _ in range(2):
        store.set_tags(INDEX, "notes", mine.document_id, {"site": "south", "year": "2"})
    store.set_tags(INDEX, "elsewhere", other.document_id, {"site": "south"})

    south = VectorFilter(tags=frozenset({("site", "south"), ("year", "2")}))
    north = VectorFilter(tags=frozenset({("site", "north")}))
    assert ids(store.search(INDEX, unit("q"), 5, south)) == {mine.chunk_id}
    assert ids(store.search(INDEX, unit("q"), 5, north)) == {other.chunk_id}

    store.set_tags(INDEX, "notes", mine.document_id, {})
    assert store.search(INDEX, unit("q"), 5, south) == []


def test_a_dropped_index_can_be_made_again_while_another_process_still_knows_it(
    store: VectorStore, database: Database
) -> None:
    elsewhere = PgVectorStore(database) if isinstance(store, PgVectorStore) else store
    store.upsert(INDEX, [point(1)])
    elsewhere.upsert(INDEX, [point(2)])

    elsewhere.drop_index(INDEX)
    elsewhere.drop_index(INDEX)
    assert store.count(INDEX) == 0
    elsewhere.ensure_index(INDEX, DIM * 2)
    store.upsert(INDEX, [point(1, dim=DIM * 2)])

    assert store.count(INDEX) == 1


def test_many_make_indexes_and_collections_at_once(vectors: VectorStore) -> None:
    in_threads(*[lambda n=n: vectors.ensure_index(f"index-{n % 4}", DIM) for n in range(8)])
    in_threads(
        *[lambda n=n: vectors.upsert("index-0", [point(n, f"c{n % 2}")]) for n in range(8)]
    )

    assert vectors.count("index-0") == 8


def test_writers_of_the_same_points_never_block_one_another_for_good(store: VectorStore) -> None:
    points = [point(n, f"c{n % 2}", site="north") for n in range(60)]
    dice = random.Random(4)

    def shuffled() -> list[Point]:
        return dice.sample(points, len(points))

    def repeatedly(step: Callable[[], object]) -> Callable[[], None]:
        return lambda: [step() for _ in range(8)] and None

    document = points[0].document_id
    in_threads(
        *[repeatedly(lambda: store.upsert(INDEX, shuffled())) for _ in range(3)],
        repeatedly(lambda: store.set_tags(INDEX, "c0", document, {"site": "south"})),
        repeatedly(lambda: store.set_tags(INDEX, "c1", document, {"site": "west"})),
        repeatedly(lambda: store.delete(INDEX, [p.chunk_id for p in shuffled()])),
        repeatedly(lambda: store.delete_version(INDEX, "c1", points[0].version_id)),
    )
    store.upsert(INDEX, points)

    assert store.count(INDEX) == 60


def test_a_long_reader_does_not_hold_up_a_new_collection(
    store: VectorStore, database: Database
) -> None:
    if not isinstance(store, PgVectorStore):
        pytest.skip("about locks in PostgreSQL")
    store.upsert(INDEX, [point(1)])
    done = threading.Event()

    with database.transaction() as reader:  # as pg_dump holds every table for its whole time
        reader.execute(text(f'SELECT count(*) FROM vectors."{INDEX}"'))
        writer = threading.Thread(
            target=lambda: (store.upsert(INDEX, [point(2, "fresh")]), done.set()), daemon=True
        )
        writer.start()
        assert done.wait(10), "a backup would stop all ingestion into new collections"
        assert len(store.search(INDEX, unit("q"), 5)) == 2


def test_each_point_carries_what_leads_back_to_its_document(
    store: VectorStore, database: Database
) -> None:
    if not isinstance(store, PgVectorStore):
        pytest.skip("reads pgvector's table")
    mine = point(1, site="north")
    store.upsert(INDEX, [mine])

    with database.transaction() as tx:
        row = tx.execute(text(f'SELECT * FROM vectors."{INDEX}"')).one()

    assert (row.collection, row.document_id, row.version_id, row.object_key, row.chunk_id) == (
        mine.collection,
        mine.document_id,
        mine.version_id,
        mine.object_key,
        mine.chunk_id,
    )


def test_the_server_tells_its_version(vectors: VectorStore) -> None:
    assert any(character.isdigit() for character in vectors.version())


def test_a_server_that_is_away_is_a_store_unavailable() -> None:
    away = PgVectorStore(Database("postgresql+psycopg://u:p@/x?host=/nowhere"))

    with pytest.raises(JanusError) as caught:
        away.search(INDEX, unit("q"), 1)

    assert caught.value.code == "store_unavailable"
    assert caught.value.hint
