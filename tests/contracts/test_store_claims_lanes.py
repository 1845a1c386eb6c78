"""Claims of some lanes only, as every task store answers them."""

from a2a_server.model.objects import Lane
from a2a_server.model.turns import ClaimNeed
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get, key, numbers, put


async def claim(store: TaskStore, *claims: ClaimNeed) -> list[list[int]]:
    loaded = await get(store, claims=list(claims))
    assert {found for keys in loaded.claims for found in keys} <= loaded.tasks.keys()
    return [numbers(keys) for keys in loaded.claims]


async def test_claims_are_of_the_lanes_that_are_asked_for(store: TaskStore) -> None:
    lanes = (Lane.BACKLOG, Lane.LOW, Lane.NORMAL, Lane.HIGH, Lane.CRITICAL)
    await put(store, new_tasks=[rows.task(10 * int(lane) + n, lane=lane, rank=9 - n) for lane in lanes for n in (1, 2)])
    await put(store, new_tasks=[rows.leased(1, key(90), lane=Lane.CRITICAL), rows.held(2, "x", lane=Lane.CRITICAL)])
    every = [12, 11, 22, 21, 32, 31, 42, 41, 52, 51]
    assert await claim(store, ClaimNeed(("echo",), 20)) == [every]
    assert await claim(store, ClaimNeed(("echo",), 20, lanes=tuple(Lane))) == [every]
    assert await claim(store, ClaimNeed(("echo",), 20, lanes=(Lane.CRITICAL,))) == [[12, 11]]
    assert await claim(store, ClaimNeed(("echo",), 20, lanes=(Lane.LOW, Lane.HIGH))) == [[22, 21, 42, 41]]
    assert await claim(store, ClaimNeed(("echo",), 3, lanes=(Lane.BACKLOG, Lane.HIGH, Lane.HIGH))) == [[22, 21, 52]]
    assert await claim(
        store,
        ClaimNeed(("echo",), 1, lanes=(Lane.CRITICAL,)),
        ClaimNeed(("echo",), 1, lanes=(Lane.NORMAL,)),
        ClaimNeed(("none",), 1, lanes=(Lane.NORMAL,)),
    ) == [[12], [32], []]


async def test_claims_of_lanes_are_the_best_of_several_queues(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(1, lane=Lane.HIGH, rank=5, queue="a"),
            rows.task(2, lane=Lane.HIGH, rank=3, queue="b"),
            rows.task(3, lane=Lane.HIGH, rank=4, queue="c"),
            rows.task(4, lane=Lane.LOW, rank=1, queue="a"),
            rows.task(5, lane=Lane.LOW, rank=1, queue="b"),
            rows.task(6, lane=Lane.CRITICAL, queue="a"),
            rows.task(7, lane=Lane.NORMAL, queue="b"),
        ],
    )
    lanes = (Lane.LOW, Lane.HIGH)
    assert await claim(store, ClaimNeed(("a", "b"), 9, lanes=lanes)) == [[2, 1, 4, 5]]
    assert await claim(store, ClaimNeed(("b", "a", "c"), 9, lanes=lanes)) == [[2, 3, 1, 4, 5]]
    assert await claim(store, ClaimNeed(("a", "b"), 3, lanes=lanes)) == [[2, 1, 4]]
    assert await claim(store, ClaimNeed(("c",), 9, lanes=(Lane.LOW,))) == [[]]


async def test_hinted_tasks_are_candidates_only_in_those_lanes(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(1, lane=Lane.HIGH, rank=1),
            rows.task(2, lane=Lane.HIGH, rank=2),
            rows.task(3, lane=Lane.NORMAL, rank=0),
            rows.task(4, lane=Lane.LOW, rank=0, queue="b"),
            rows.task(5, lane=Lane.HIGH, rank=0, queue="c"),
        ],
    )
    hinted = tuple(key(n) for n in (404, 5, 4, 3, 2))
    assert await claim(store, ClaimNeed(("echo",), 1, hinted, lanes=(Lane.HIGH,))) == [[1, 2]]
    assert await claim(store, ClaimNeed(("echo", "b"), 0, hinted, lanes=(Lane.HIGH, Lane.LOW))) == [[2, 4]]
    assert await claim(store, ClaimNeed(("echo", "b"), 0, hinted, lanes=(Lane.CRITICAL,))) == [[]]
    assert await claim(store, ClaimNeed(("echo", "b"), 0, hinted)) == [[2, 3, 4]]


async def test_lanes_are_asked_before_the_limit_beside_crashes_and_formats(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            *(rows.task(n, rank=n, lane=Lane.CRITICAL) for n in range(1, 9)),
            rows.task(20, rank=1, lane=Lane.LOW, crashes=3),
            rows.task(21, rank=2, lane=Lane.LOW, format=2),
            rows.task(22, rank=3, lane=Lane.LOW),
            rows.task(23, rank=4, lane=Lane.LOW),
        ],
    )
    assert await claim(store, ClaimNeed(("echo",), 1, lanes=(Lane.LOW,))) == [[22]]
    assert await claim(store, ClaimNeed(("echo",), 2, (key(20), key(21)), lanes=(Lane.LOW,))) == [[22, 23]]
    assert await claim(store, ClaimNeed(("echo",), 2, max_format=2, max_crashes=3, lanes=(Lane.LOW,))) == [[20, 21]]
