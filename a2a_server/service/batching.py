"""Many tasks at once, with references among themselves: a workflow in one call.

An item names another one of its batch as `#name` or `#position` (from 0), in `dependsOn` and `parentTaskId`; anything
else is the id of a task that is there. Items may stand in any order. What would have tasks wait for each other for ever
is refused before anything is stored, and the error names the circle.

With a unique key there is one batch of it: a repeat is answered with what became of the first one's items, and stores
nothing. Of one that broke off, each for itself, a repeat makes what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Final

from a2a_server.codec import decode_spec
from a2a_server.engine.children import WALKS
from a2a_server.engine.engine import Engine, new_id, new_key
from a2a_server.engine.graph import revision
from a2a_server.errors import ClientError, Conflict, InvalidParams, Overloaded
from a2a_server.lifecycle.batch_keys import KeepReport, Report, batch_key, unpacked
from a2a_server.lifecycle.batching import SubmitMany, at_item, renamed, reported
from a2a_server.lifecycle.dependencies import Extras
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.objects import Generation, JsonObject, Message, Method, Scope, Wishes
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import Key, RecordKey, RecordRow
from a2a_server.service.rehearsing import rehearsed
from a2a_server.service.sending import Prepared, Sending
from a2a_server.service.walking import refuse_circles, walks_of
from a2a_server.values import value_class

MOST_ITEMS: Final = 10_000
TOGETHER: Final = 500
"""Items of a batch that is not atomic which are submitted in one turn."""
BREATH: Final = 100
"""Items that are encoded before others get their turn on the event loop."""


@value_class(frozen=True, slots=True)
class Item:
    """One task of a batch. name: what other items call it (`#name`), not a number; '' = none.

    message: with an id it is recognised when it is sent again, as any send. context_id: '' = a new one for each task.
    refused: why it is no task, where that is known already.
    """

    message: Message
    name: str = ""
    options: TaskOptions = field(default_factory=TaskOptions)
    context_id: str = ""
    metadata: JsonObject | None = None
    refused: InvalidParams | None = None


@value_class(frozen=True, slots=True)
class Known:
    """The task of an item whose batch had been accepted before; id: what its owner calls it."""

    id: str


@value_class(frozen=True, slots=True)
class Batch:
    """What became of a batch. outcomes: of each item.

    id: under which its tasks are found (label `batch:…`), '' = there is no such task. Where all its items were sent
    before, in one batch, it is that one's.
    """

    id: str
    outcomes: Sequence[Submitted | Known | ClientError]


class _Taken(ClientError):
    """Somebody else sends a batch of the same unique key at this moment."""


class Batching:
    """Submits batches to one engine. Concurrency: any number of callers in the engine's event loop."""

    def __init__(self, engine: Engine, sending: Sending) -> None:
        self._engine = engine
        self._sending = sending

    async def submit(
        self,
        scope: Scope,
        items: Sequence[Item],
        *,
        atomic: bool = True,
        batch: str = "",
        unique_key: str = "",
        dry_run: bool = False,
    ) -> Batch:
        """Submit 1 to 10,000 tasks: durable when this returns. batch: the id to find them by, '' = a new one.

        unique_key: at most one batch has it, '' = any number.

        atomic: all or none, in one turn; the first error is raised and names its item. Else each for itself: an error
        stands in the place of its item, and items that name it are refused too; circles are refused as a whole all the
        same. Where the server has too much to do in the middle of it, Overloaded stands in the places of the rest.

        dry_run: everything is checked and nothing stored; `Submitted` that is no repeat is what a task would be.

        Raises InvalidParams; Overloaded, having stored nothing.
        """
        if not 1 <= len(items) <= MOST_ITEMS:
            raise InvalidParams(f"items has {len(items)} tasks; a batch has 1 to {MOST_ITEMS}.", path="items")
        key = batch_key(scope, self._engine.agent, unique_key) if unique_key else None
        for _ in range(WALKS):
            before = None if key is None else await self._report(key)
            if before is not None and not before.open:
                return _repeated(before)
            if before is not None and len(before.keys) != len(items):
                raise InvalidParams(
                    f"uniqueKey is that of a batch of {len(before.keys)} tasks that was not made to its end; send the "
                    "same tasks again, or choose another key.",
                    path="uniqueKey",
                )
            report = before or Report(batch or new_id(), self._engine.agent, _keys(len(items)))
            plan = _Plan(items, report.keys)
            resumed = before is not None
            work = _Work(plan, report, key, atomic=atomic and not resumed, resumed=resumed, dry_run=dry_run)
            with suppress(_Taken):
                return await self._made(scope, work)
        raise Overloaded("Others send a batch of this unique key at the moment; try again.", retry_after_seconds=1)

    async def _made(self, scope: Scope, work: _Work) -> Batch:
        plan, prepared = work.plan, list[Prepared | ClientError]()
        try:
            for position in range(len(plan.items)):
                prepared.append(await self._prepared(scope, work, position))
                if position % BREATH == 0:
                    await asyncio.sleep(0)
            outcomes = await self._submitted(scope, work, prepared)
        except ClientError:
            await self._dropped(prepared, ())
            raise
        await self._dropped(prepared, () if work.dry_run else outcomes)
        explained = plan.explained(outcomes)
        if work.dry_run:
            return Batch(_id_of(replace(work.report, batch=""), explained), explained)
        whole = not any(isinstance(outcome, Overloaded) for outcome in explained)
        if work.key is not None and not work.atomic and whole:
            await self._engine.submit(KeepReport(work.key, reported(work.report, range(len(explained)), explained)))
        return Batch(_id_of(work.report, explained), explained)

    async def _report(self, key: RecordKey) -> Report | None:
        page = await self._engine.backends.store.rows(RowQuery(Table.RECORD, key, None, 1))
        return next((unpacked(row) for row in page.rows if isinstance(row, RecordRow)), None)

    async def _dropped(
        self, prepared: Sequence[Prepared | ClientError], outcomes: Iterable[Submitted | ClientError]
    ) -> None:
        made = {outcome.row.key for outcome in outcomes if isinstance(outcome, Submitted)}
        for ready in prepared:
            if isinstance(ready, Prepared) and ready.submit.key not in made:
                await self._sending.dropped(ready)

    async def _prepared(self, scope: Scope, work: _Work, position: int) -> Prepared | ClientError:
        plan = work.plan
        item = plan.items[position]
        if item.refused is not None:
            if work.atomic:
                raise item.refused
            return item.refused
        options = plan.options(position)
        request = SendRequest(
            Generation.V10,
            item.message,
            "",
            item.context_id,
            options=options,
            metadata=item.metadata,
            method=Method.BATCH,
        )
        if not item.message.id:
            request = replace(request, message=replace(item.message, id=new_id()))
        extras = Extras(path=f"items[{position}].options")
        try:
            ready = await self._sending.prepared(
                scope,
                plan.keys[position],
                request,
                wishes=Wishes(batch=work.report.batch),
                extras=extras,
                options=item.options,
                checked=True,
            )
        except InvalidParams as error:
            if work.atomic:
                raise at_item(position, error) from error
            return at_item(position, error)
        return replace(ready, submit=replace(ready.submit, visible=True))

    async def _submitted(
        self, scope: Scope, work: _Work, prepared: Sequence[Prepared | ClientError]
    ) -> list[Submitted | ClientError]:
        found: dict[int, Submitted | ClientError] = {
            position: ready for position, ready in enumerate(prepared) if isinstance(ready, ClientError)
        }
        wanted = [
            (position, ready.submit)
            for position in work.plan.order
            if isinstance(ready := prepared[position], Prepared)
        ]
        walks = walks_of([submit for _, submit in wanted])
        others: dict[str, str] = {}
        step = len(wanted) if work.atomic or work.dry_run else TOGETHER  # what is only rehearsed is not there later
        for start in range(0, len(wanted), max(1, step)):
            group = wanted[start : start + step]
            positions = tuple(position for position, _ in group)
            submits = tuple(renamed(submit, others) for _, submit in group)
            kept = work.kept(start)
            there = work.key is not None and kept is None  # maybe: from before, or by who repeats the batch meanwhile
            many = SubmitMany(scope, submits, positions, work.atomic, kept=kept, resumed=there)
            try:
                outcomes = await self._walked(scope, walks, many, dry_run=work.dry_run)
            except ClientError as error:
                if not start:
                    raise
                found |= dict.fromkeys((position for position, _ in wanted[start:]), error)
                break
            found |= zip(positions, outcomes, strict=True)
            for submit, outcome in zip(submits, outcomes, strict=True):
                if isinstance(outcome, Submitted) and outcome.repeat:
                    others[id_of(submit.key)] = outcome.row.id
        return [found[position] for position in range(len(prepared))]

    async def _walked(
        self, scope: Scope, walks: Mapping[str, set[str]], many: SubmitMany, *, dry_run: bool
    ) -> Sequence[Submitted | ClientError]:
        store = self._engine.backends.store
        for _ in range(WALKS):
            if walks:
                graph = await revision(store, scope)
                await refuse_circles(store, scope, self._engine.agent, walks, "items")
                many = replace(many, graph=graph)
            try:
                outcomes: Sequence[Submitted | ClientError] = await (
                    rehearsed(store, many) if dry_run else self._engine.submit(many)
                )
            except Conflict:
                if many.kept is not None and await self._report(many.kept[0]) is not None:
                    raise _Taken from None
                many = replace(many, submits=tuple([await self._renewed(submit) for submit in many.submits]))
                continue
            return outcomes
        raise Overloaded("Too many tasks are tied to each other, or share a context, at the moment; try again.")

    async def _renewed(self, submit: Submit) -> Submit:
        if submit.admission is None:
            return submit
        return replace(submit, admission=await self._engine.submissions.admitting.renewed(submit.admission))


class _Plan:
    """The references of a batch, resolved, and an order in which every item stands behind those that it names."""

    def __init__(self, items: Sequence[Item], keys: Sequence[Key]) -> None:
        self.items = items
        self.keys = keys
        self._ids = [id_of(key) for key in keys]
        self._places = self._named()
        self._upstreams: list[list[int]] = []
        self._parents: list[int | None] = []
        for position, item in enumerate(items):
            path = f"items[{position}].options"
            named = enumerate(item.options.depends_on)
            places = [self._place(word, f"{path}.dependsOn[{index}]") for index, word in named]
            self._upstreams.append([place for place in places if place is not None])
            self._parents.append(self._place(item.options.parent_task_id, f"{path}.parentTaskId"))
        self.order = self._ordered()

    def options(self, position: int) -> TaskOptions:
        """The item's options, with ids instead of references."""
        options = self.items[position].options
        if not self._upstreams[position] and self._parents[position] is None:
            return options
        resolved = {
            "depends_on": tuple(map(self._resolved, options.depends_on)),
            "parent_task_id": self._resolved(options.parent_task_id),
        }
        return options.model_copy(
            update={name: resolved[name] for name in resolved if name in options.model_fields_set}
        )

    def explained(self, outcomes: Sequence[Submitted | ClientError]) -> list[Submitted | ClientError]:
        """The outcomes; an item that was refused because another one was says so."""
        explained = list(outcomes)
        for position in self.order:
            parent = self._parents[position]
            needed = self._upstreams[position] + ([] if parent is None else [parent])
            refused = [place for place in needed if isinstance(explained[place], ClientError)]
            if refused and isinstance(explained[position], ClientError):
                text = f"items[{position}] needs {self._label(refused[0])}, which was refused."
                explained[position] = InvalidParams(text, path=f"items[{position}]")
        return explained

    def _named(self) -> dict[str, int]:
        places: dict[str, int] = {str(position): position for position in range(len(self.items))}
        for position, item in enumerate(self.items):
            path = f"items[{position}].name"
            if item.name.isdecimal():
                raise InvalidParams(f"{path} is a number; give it a letter, numbers are positions.", path=path)
            if item.name and places.setdefault(item.name, position) != position:
                other = places[item.name]
                raise InvalidParams(f"{path} is the name of items[{other}] too; give each its own.", path=path)
        return places

    def _place(self, word: str, path: str) -> int | None:
        if not word.startswith("#"):
            return None
        place = self._places.get(word[1:])
        if place is None:
            raise InvalidParams(f"{path} ({word}) names no item of this batch; name one, or a task's id.", path=path)
        return place

    def _resolved(self, word: str) -> str:
        return self._ids[self._places[word[1:]]] if word.startswith("#") else word

    def _ordered(self) -> list[int]:
        awaited = {position: set(places) for position, places in enumerate(self._upstreams)}
        before = {position: set(places) for position, places in awaited.items()}
        for position, parent in enumerate(self._parents):
            if parent is not None:
                awaited[parent].add(position)
                before[position].add(parent)
        try:
            TopologicalSorter(awaited).prepare()
            return list(TopologicalSorter(before).static_order())
        except CycleError as error:
            circle = " → ".join(map(self._label, reversed(error.args[1])))
            raise InvalidParams(
                f"items: {circle}: these wait for each other, so none of them could ever start; take one of the "
                "references away.",
                path="items",
            ) from None

    def _label(self, position: int) -> str:
        return f"#{self.items[position].name or position}"


@value_class(frozen=True, slots=True)
class _Work:
    """A batch to be made. key: the record of its report, None = it has none. resumed: some of it may be there.

    dry_run: it is only rehearsed.
    """

    plan: _Plan
    report: Report
    key: RecordKey | None
    atomic: bool
    resumed: bool
    dry_run: bool

    def kept(self, start: int) -> tuple[RecordKey, Report] | None:
        """What is kept with the items from this one on."""
        if self.key is None or start or self.resumed:
            return None
        return self.key, replace(self.report, open=not self.atomic)


def _keys(count: int) -> tuple[Key, ...]:
    """The first item has the highest key: searches by a label give that first, so they give a batch in its order."""
    return tuple(sorted((new_key() for _ in range(count)), reverse=True))


def _repeated(report: Report) -> Batch:
    outcomes: list[Known | ClientError] = []
    for place, key in enumerate(report.keys):
        other = report.others.get(place)
        outcomes.append(other if isinstance(other, ClientError) else Known(other or id_of(key)))
    return Batch(report.batch, outcomes)


def _id_of(report: Report, outcomes: Sequence[Submitted | ClientError]) -> str:
    rows = [outcome.row for outcome in outcomes if isinstance(outcome, Submitted)]
    if any(not outcome.repeat for outcome in outcomes if isinstance(outcome, Submitted)):
        return report.batch
    batches = {(decode_spec(row.spec).wishes or Wishes()).batch for row in rows}
    return batches.pop() if len(batches) == 1 else ""
