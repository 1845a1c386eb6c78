"""Templates of tasks: those of the configuration, and those that owners keep. An owner's own wins over one of its name.

A template is named by the task option `template`. What it gives is put into the send before anything else looks at it;
so a later change of the template changes no task that exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from a2a_server.engine.engine import Engine
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.records import DeleteRecord
from a2a_server.lifecycle.templates import PutTemplate, merged, unpacked
from a2a_server.model.objects import OPTIONS_URI, Scope
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.runs import SkillSpec
from a2a_server.model.templates import Template, template_key, template_kind
from a2a_server.service.given import check_standing, checked_id, options_in, options_under
from a2a_server.service.tying import check_ties
from a2a_server.values import value_class

MOST_TEMPLATES: Final = 1000
"""Templates of one owner at one agent."""
NAMED: Final = 20
"""How many an error names."""
MOST_CHARACTERS: Final = 100_000
_PATH: Final = f'metadata["{OPTIONS_URI}"].template'
_NEVER: Final = {
    "template": "cannot be another template",
    "uniqueKey": "would let it make one task in all",
    "runAt": "is one moment, and a template is used again",
    "deadline": "is one moment, and a template is used again",
}


@value_class(frozen=True, slots=True)
class Named:
    """A template by its name. rev: of its record, 0 = it is one of the configuration."""

    name: str
    template: Template
    rev: int = 0


class Templates:
    """The templates of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def applied(self, scope: Scope, request: SendRequest) -> SendRequest:
        """The request with what its template gives. Raises InvalidParams: there is no such template."""
        name = request.options.template
        found = await self.find(scope, name)
        if found is None:
            raise InvalidParams(await self._unknown(scope), path=_PATH)
        options, message = merged(found.template, request.options, request.message)
        return replace(request, options=options, message=message)

    async def find(self, scope: Scope, name: str) -> Named | None:
        """The template of this name."""
        key = self._key(scope, name)
        page = await self._store.rows(RowQuery(Table.RECORD, tuple(key), limit=1))
        for row in page.rows:
            if isinstance(row, RecordRow):
                return Named(name, unpacked(row), row.rev)
        configured = self._engine.templates.get(name)
        return None if configured is None else Named(name, configured)

    async def known(self, scope: Scope) -> Sequence[Named]:
        """All templates that the owner can name, by name."""
        own = [Named(row.id, unpacked(row), row.rev) for row in await self._records(scope, MOST_TEMPLATES)]
        found = {name: Named(name, template) for name, template in self._engine.templates.items()}
        found |= {one.name: one for one in own}
        return [found[name] for name in sorted(found)]

    async def put(
        self,
        scope: Scope,
        name: str,
        options: Mapping[str, Any],
        *,
        text: str = "",
        description: str = "",
        rev: int = 0,
    ) -> Named:
        """Make or change a template. options: as clients write them. rev: see `PutTemplate`.

        Raises InvalidParams: a name or an option breaks its rule, or the owner has too many.
        """
        template = await usable(self._engine, scope, template_of(options, text=text, description=description))
        key = self._key(scope, checked_id(name, "name"))
        mine = await self._records(scope, MOST_TEMPLATES)
        if len(mine) == MOST_TEMPLATES and all(row.id != name for row in mine):
            raise InvalidParams(f"You have {MOST_TEMPLATES} templates, and that is all there can be; delete some.")
        row: RecordRow = await self._engine.submit(PutTemplate(key, template, rev))
        return Named(name, template, row.rev)

    async def delete(self, scope: Scope, name: str, rev: int = 0) -> bool:
        """Delete a template of the owner's own; whether there was one. Raises InvalidParams: it has another rev."""
        found: bool = await self._engine.submit(DeleteRecord(self._key(scope, name), rev))
        return found

    def _key(self, scope: Scope, name: str) -> RecordKey:
        return template_key(scope.tenant, scope.owner, self._engine.agent, name)

    async def _records(self, scope: Scope, most: int) -> list[RecordRow]:
        prefix = (template_kind(self._engine.agent), scope.tenant, scope.owner)
        page = await self._store.rows(RowQuery(Table.RECORD, prefix, limit=most))
        return [row for row in page.rows if isinstance(row, RecordRow)]

    async def _unknown(self, scope: Scope) -> str:
        names = sorted({row.id for row in await self._records(scope, NAMED)} | set(self._engine.templates))
        if not names:
            return f"{_PATH} names a template, and there is none; leave it out."
        more = ", …" if len(names) > NAMED else ""
        return f"{_PATH} names no template; there are: {', '.join(names[:NAMED])}{more}."


def template_of(options: Mapping[str, Any], *, text: str = "", description: str = "") -> Template:
    """A template of options as clients write them. Raises InvalidParams."""
    for name, value in (("text", text), ("description", description)):
        if len(value) > MOST_CHARACTERS:
            raise InvalidParams(f"{name} must have at most {MOST_CHARACTERS} characters.", path=name)
    checked: TaskOptions = options_in(options, "options", never=_NEVER)
    return Template(checked, text, description)


async def usable(engine: Engine, scope: Scope, template: Template) -> Template:
    """The template, by which tasks can be made as things are now. Raises InvalidParams: no task could be."""
    check_usable(template, engine.runner.skills, engine.limits.resources)
    await check_ties(engine, scope, template.options.depends_on, template.options.parent_task_id)
    return template


def check_usable(template: Template, skills: Sequence[SkillSpec], resources: Mapping[str, int]) -> None:
    """Refuse a template that no task can be made by; see `check_standing`. Raises InvalidParams."""
    with options_under("options"):
        check_standing(template.options, skills, resources)
