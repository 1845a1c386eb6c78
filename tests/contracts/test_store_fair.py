"""What every task store keeps of whose turn it is: read in pages, and deleted."""

import asyncio

from a2a_server.model.objects import Lane
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import FairKey
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.contracts.rows import put, writes
from tests.contracts.test_store import FAIR

EVERY = {
    FAIR: 1,
    FAIR._replace(lane=Lane.HIGH): 2,
    FAIR._replace(owner="naïve 🎈"): 3,
    FAIR._replace(tenant="t"): 4,
    FAIR._replace(shard="other", queue="echo#1"): 5,
}


def as_key(key: FairKey) -> tuple[str | int | bytes, ...]:
    return (key.shard, key.queue, int(key.lane), key.tenant, key.owner)


async def kept(store: TaskStore) -> dict[FairKey, int]:
    found: dict[FairKey, int] = {}
    after = None
    while True:
        page = await store.rows(RowQuery(Table.FAIR, (), after, 2))
        for row in page.rows:
            key, vt = row
            assert isinstance(key, FairKey)
            assert isinstance(vt, int)
            found[key] = vt
            after = as_key(key)
        if not page.more:
            return found


async def test_they_are_read_in_pages(store: TaskStore) -> None:
    await put(store, fair=EVERY)
    assert await kept(store) == EVERY


async def test_they_go_away(store: TaskStore) -> None:
    await put(store, fair=EVERY)
    gone = [FAIR, FAIR._replace(lane=Lane.HIGH), FAIR._replace(owner="never")]
    await store.turn(Needs(fair=set(gone)), writes(Changes(gone_fair=gone)))
    assert await kept(store) == {key: vt for key, vt in EVERY.items() if key not in gone}
    await put(store, fair={FAIR: 9})
    assert (await kept(store))[FAIR] == 9


async def test_who_counts_and_who_deletes_happen_one_after_the_other(store: TaskStore, other: TaskStore) -> None:
    async def count(each: TaskStore) -> None:
        await each.turn(Needs(fair={FAIR}), lambda loaded: Changes(fair={FAIR: loaded.fair.get(FAIR, 0) + 1}))

    async def delete(each: TaskStore) -> None:
        def decide(loaded: Loaded) -> Changes:
            return Changes(gone_fair=[key for key, vt in loaded.fair.items() if vt <= 1])

        await each.turn(Needs(fair={FAIR}), decide)

    await put(store, fair={FAIR: 1})
    for turn in range(15):
        await asyncio.gather(count(store), delete(other), count(store if turn % 2 else other))
        found = (await kept(store)).get(FAIR, 0)
        assert found >= 1, "what was counted behind the deletion is not lost"
