"""Many tasks in one turn: all of them or none, or each for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import ClientError, Conflict, InvalidParams
from a2a_server.lifecycle.admission import Admission, busy
from a2a_server.lifecycle.batch_keys import BATCH_RECORD, Report, keep
from a2a_server.lifecycle.dependencies import graph_key, take_graph
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Scope
from a2a_server.model.rows import RecordKey, TaskName
from a2a_server.model.runs import Together
from a2a_server.model.turns import Needs
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class SubmitMany:
    """Submit tasks of one owner, each behind those that it names.

    atomic: all or none. positions: of each submission among its caller's items. graph: as of `Extras`, for all
    together. kept: the report that is written with them, which must not be there yet, and its record; one that is not
    open is completed here. resumed: some of the tasks may have been made under these keys before.
    """

    scope: Scope
    submits: tuple[Submit, ...]
    positions: tuple[int, ...]
    atomic: bool = True
    graph: int | None = None
    kept: tuple[RecordKey, Report] | None = None
    resumed: bool = False
    urgent: bool = False
    weight: int = 0
    _local: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", sum(submit.weight for submit in self.submits))
        object.__setattr__(self, "_local", frozenset(id_of(submit.key) for submit in self.submits))

    def needs(self, needs: Needs, shard: str) -> None:
        """What each of them needs, but for those that are made here."""
        for submit in self.submits:
            submit.needs(needs, shard)
        needs.names = {name for name in needs.names if name.id not in self._local}
        if self.resumed:
            needs.names.update(map(_own_name, self.submits))
        if self.kept is not None:
            needs.records.add(self.kept[0])
        if self.graph is not None:
            needs.records.add(graph_key(self.scope))

    def decide(self, turn: Turn) -> tuple[Submitted | ClientError, ...]:
        """What became of each, in their order.

        Raises the first error, which names the item, if it is all or none; Conflict when the graph was changed, a
        conversation got another task, or the report is there: then nothing was changed here.
        """
        if self.kept is not None and turn.links.record(self.kept[0]) is not None:
            raise Conflict(BATCH_RECORD)
        for submit in self.submits:
            if submit.admission is not None:
                submit.admission.check_rival(turn)
        outcomes = self._all(turn) if self.atomic else self._each(turn)
        if self.kept is not None:
            key, report = self.kept
            keep(turn, key, report if report.open else reported(report, self.positions, outcomes))
        return outcomes

    def _take_graph(self, turn: Turn) -> None:
        if self.graph is not None:
            take_graph(turn, self.scope, self.graph)

    def _all(self, turn: Turn) -> tuple[Submitted | ClientError, ...]:
        found = {id_of(submit.key): again for submit in self.submits if (again := submit.repeat(turn))}
        others = {task_id: _known(turn, again) for task_id, again in found.items()}
        local = self._local - found.keys()
        submits = [renamed(submit, others) for submit in self.submits]
        taken: set[RecordKey] = set()
        for submit, position in zip(submits, self.positions, strict=True):
            if id_of(submit.key) not in found:
                try:
                    submit.check(turn, local)
                    take_context(submit.admission, taken)
                except ClientError as error:
                    raise at_item(position, error) from error
        self._take_graph(turn)
        outcomes: list[Submitted | ClientError] = []
        for submit in submits:  # nothing is refused from here on
            again = submit.repeat(turn)
            if again is not None:
                others[id_of(submit.key)] = _known(turn, again)
            outcomes.append(again or renamed(submit, others).create(turn))
        return tuple(outcomes)

    def _each(self, turn: Turn) -> tuple[Submitted | ClientError, ...]:
        self._take_graph(turn)
        others: dict[str, str] = {}
        outcomes: list[Submitted | ClientError] = []
        for submit, position in zip(self.submits, self.positions, strict=True):
            try:
                outcomes.append(self._one(turn, submit, others))
            except ClientError as error:
                outcomes.append(at_item(position, error))
        return tuple(outcomes)

    def _one(self, turn: Turn, submit: Submit, others: dict[str, str]) -> Submitted:
        made = turn.named(_own_name(submit)) if self.resumed else None
        again = submit.repeat(turn) if made is None else Submitted(made, 1, repeat=True)
        if again is not None:
            others[id_of(submit.key)] = _known(turn, again)
            return again
        submit = renamed(submit, others)
        submit.check(turn)
        return submit.create(turn)


def at_item(position: int, error: ClientError) -> ClientError:
    """The error with the item that it is about."""
    item = f"items[{position}]"
    if error.message.startswith(item):
        return error
    path = f"{item}.{error.path}" if error.path else item
    if error.path and error.message.startswith(error.path):
        return InvalidParams(f"{item}.{error.message}", path=path)
    return InvalidParams(f"{item}: {error.message}", path=path)


def reported(report: Report, positions: Iterable[int], outcomes: Iterable[Submitted | ClientError]) -> Report:
    """The report with what became of its items."""
    others: dict[int, str | InvalidParams] = {}
    born = False
    for position, outcome in zip(positions, outcomes, strict=True):
        if isinstance(outcome, Submitted):
            if outcome.row.key == report.keys[position]:
                born = True
            else:
                others[position] = outcome.row.id
        else:
            others[position] = InvalidParams(outcome.message, path=outcome.path)
    return replace(report, batch=report.batch if born else "", others=others, open=False)


def _own_name(submit: Submit) -> TaskName:
    return submit.name._replace(id=id_of(submit.key))


def _known(turn: Turn, again: Submitted) -> str:
    turn.know(again.row)
    return again.row.id


def take_context(admission: Admission | None, taken: set[RecordKey]) -> None:
    """Note whose conversation a new task belongs to. Raises UnsupportedOperation: an earlier one of them has it."""
    if admission is None or admission.record is None:
        return
    if admission.record in taken and admission.together is Together.REJECT:
        raise busy("An earlier item")
    taken.add(admission.record)


def renamed(submit: Submit, others: Mapping[str, str]) -> Submit:
    """The submission with the ids of tasks that were there already, instead of those that they would have got."""
    extras = submit.extras
    if not others or extras is None or not (others.keys() & {extras.parent, *extras.depends_on}):
        return submit
    upstreams = tuple(others.get(task_id, task_id) for task_id in extras.depends_on)
    parent = others.get(extras.parent, extras.parent)
    spec = decode_spec(submit.spec)
    if spec.wishes is not None:
        spec = replace(spec, wishes=replace(spec.wishes, depends_on=tuple(dict.fromkeys(upstreams)), parent=parent))
    return replace(submit, spec=encode_spec(spec), extras=replace(extras, depends_on=upstreams, parent=parent))
