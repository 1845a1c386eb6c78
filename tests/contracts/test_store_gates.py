"""Gates at which a task may count more than once, and gates that go away, in every task store."""

from a2a_server.model.objects import Lane
from a2a_server.model.queries import DueKind, RowQuery, Table
from a2a_server.model.turns import Changes, ClaimNeed, Needs
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get, get_task, key, numbers, put, writes

GPU = "resource:gpu"


async def test_a_gate_that_is_named_with_an_amount_is_loaded_by_its_key(store: TaskStore) -> None:
    tasks = [
        rows.task(1, gates=("client:local", f"{GPU}*2")),
        rows.task(2, gates=(f"{GPU}*17", "resource:rowless*3")),
        rows.task(3, gates=("resource:cpu*4",), queue="b"),
    ]
    gates = {name: rows.gate(name, capacity=8) for name in ("client:local", GPU, "resource:cpu", "unrelated")}
    await put(store, new_tasks=tasks, gates=list(gates.values()))
    assert await get_task(store, 1) == tasks[0]
    assert (await get(store, tasks={key(1)})).gates == {name: gates[name] for name in ("client:local", GPU)}
    assert (await get(store, names={rows.name(2)})).gates == {GPU: gates[GPU]}
    loaded = await get(store, claims=[ClaimNeed(("b",), 1)], gates={GPU})
    assert loaded.gates == {name: gates[name] for name in (GPU, "resource:cpu")}


async def test_a_gate_with_an_amount_is_found_among_many(store: TaskStore) -> None:
    await put(
        store,
        gates=[*(rows.gate(f"g{n}") for n in range(40)), rows.gate("resource:g39"), rows.gate(GPU)],
        new_tasks=[rows.task(1, gates=("g7", f"{GPU}*2", "resource:g39*5"))],
    )
    assert (await get(store, tasks={key(1)})).gates.keys() == {"g7", GPU, "resource:g39"}


async def test_leased_tasks_count_by_their_amounts(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.leased(1, key(90), gates=(f"{GPU}*2", "client:local")),
            rows.leased(2, key(90), gates=("client:local", f"{GPU}*3")),
            rows.leased(3, key(91), gates=(GPU,)),
            rows.leased(4, key(91), gates=("client:local",)),
            rows.leased(5, key(91), gates=(f"{GPU}:large*9",)),
            rows.task(6, gates=(f"{GPU}*100",)),
            rows.held(7, GPU, gates=(f"{GPU}*100",)),
        ],
    )
    loaded = await get(store, recount={GPU, "client:local", "unknown"})
    assert loaded.leased == {GPU: 6, "client:local": 3, "unknown": 0}


async def test_a_star_in_the_name_of_anything_but_a_resource_is_its_own(store: TaskStore) -> None:
    names = ("client:a*2", "client:al*ice", "client:a")
    await put(
        store,
        new_tasks=[rows.leased(1, key(90), gates=names[:2]), rows.leased(2, key(90), gates=names[2:])],
        gates=[rows.gate(name) for name in names],
    )
    loaded = await get(store, tasks={key(1)}, recount=set(names))
    assert loaded.leased == dict.fromkeys(names, 1)
    assert loaded.gates.keys() == set(names[:2])


async def test_tasks_are_held_by_the_key_of_a_gate(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.held(1, GPU, gates=(f"{GPU}*2", "resource:further*2"), rank=2),
            rows.held(2, GPU, gates=(f"{GPU}*4",), rank=1),
            rows.held(3, GPU, gates=(GPU,), rank=3, lane=Lane.LOW),
            rows.task(4, gates=(f"{GPU}*2",)),
        ],
        gates=[rows.gate(GPU, capacity=4), rows.gate("resource:further"), rows.gate("unrelated")],
    )
    loaded = await get(store, tasks={key(4)}, held=2)
    assert {gate: numbers(keys) for gate, keys in loaded.held.items()} == {GPU: [2, 1]}
    assert loaded.tasks.keys() == {key(n) for n in (1, 2, 4)}
    assert loaded.gates.keys() == {GPU, "resource:further"}
    assert sorted(numbers(await store.due(DueKind.HELD, 10))) == [1, 2, 3]


async def test_gates_go_away(store: TaskStore) -> None:
    await put(store, gates=[rows.gate("a"), rows.gate("b"), rows.gate("c")], new_tasks=[rows.task(1, gates=("a",))])
    await store.turn(Needs(gates={"a", "b", "never"}), writes(Changes(gone_gates=["a", "b", "never"])))
    assert (await store.rows(RowQuery(Table.GATE))).rows == [rows.gate("c")]
    assert (await get(store, tasks={key(1)})).gates == {}
    await put(store, gates=[rows.gate("a", capacity=1)])
    assert (await get(store, tasks={key(1)})).gates == {"a": rows.gate("a", capacity=1)}


async def test_a_gate_that_went_away_meanwhile_is_a_conflict(store: TaskStore) -> None:
    await put(store, gates=[rows.gate("a")])
    await store.turn(Needs(gates={"a"}), writes(Changes(gone_gates=["a"])))
    assert await rows.refused(store, Changes(gates=[rows.gate("a", rev=2)])) == 6
    assert (await store.rows(RowQuery(Table.GATE))).rows == []
