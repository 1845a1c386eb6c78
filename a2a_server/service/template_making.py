"""Making a template of a name that none has yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2a_server.engine.engine import Engine
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.naming import CreateRecord
from a2a_server.lifecycle.templates import packed
from a2a_server.model.objects import Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import RecordRow
from a2a_server.model.templates import template_key, template_kind
from a2a_server.service.given import checked_id
from a2a_server.service.templates import MOST_TEMPLATES, Named, template_of, usable


class TemplateMaking:
    """Makes the templates of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(
        self, scope: Scope, name: str, options: Mapping[str, Any], *, text: str = "", description: str = ""
    ) -> Named:
        """A new template. Idempotent: the same one again is no other.

        Raises InvalidParams as `Templates.put`; UnsupportedOperation: there is another one of this name.
        """
        template = await usable(self._engine, scope, template_of(options, text=text, description=description))
        agent = self._engine.agent
        key = template_key(scope.tenant, scope.owner, agent, checked_id(name, "name"))
        mine = RowQuery(Table.RECORD, (template_kind(agent), scope.tenant, scope.owner), limit=MOST_TEMPLATES)
        page = await self._engine.backends.store.rows(mine)
        if len(page.rows) == MOST_TEMPLATES and not any(
            isinstance(row, RecordRow) and row.id == name for row in page.rows
        ):
            raise InvalidParams(f"You have {MOST_TEMPLATES} templates, and that is all there can be; delete some.")
        row: RecordRow = await self._engine.submit(CreateRecord(key, packed(template), "template"))
        return Named(name, template, row.rev)
