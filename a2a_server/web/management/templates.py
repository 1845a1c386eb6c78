"""`/templates`: names for types of tasks, with what is taken where a send says nothing."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ConfigDict, Field

from a2a_server.errors import Changed, NothingThere, UnsupportedOperation
from a2a_server.model.objects import Scope
from a2a_server.service.revising import as_changed, expected
from a2a_server.service.showing import Shown
from a2a_server.service.template_making import TemplateMaking
from a2a_server.service.templates import Named, Templates
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.inputs import modelled
from a2a_server.web.management.merging import TRIES, contended, merged, paged
from a2a_server.web.management.table import Body, Call, NoQuery, Query, Reply, Route


class TemplatePut(Body):
    """A template as people write it."""

    description: str = Field("", max_length=100_000, description="What it is for, for people.")
    text: str = Field("", max_length=100_000, description="The text of a message that has none.")
    options: dict[str, Any] = Field(default_factory=dict, description="Task options.")


class NewTemplate(TemplatePut):
    """A template to be made."""

    name: str = Field(min_length=1, max_length=128, description="Unique among yours.")


class TemplatePatch(Body):
    """A merge patch (RFC 7396) of a template."""

    model_config = ConfigDict(extra="allow", frozen=True)


class TemplateShown(Shown):
    """A template."""

    name: str
    description: str | None = None
    text: str | None = None
    options: dict[str, Any] | None = None
    source: str = Field(description="own, or configuration: the server's own file has it.")
    revision: int = Field(description="0 = it is one of the configuration.")


class TemplatesQuery(Query):
    """Which page."""

    limit: int = Field(50, ge=1, le=200, description="Templates on a page.")
    cursor: str = Field("", max_length=256, description="`next` of the page before.")


class TemplatesShown(Shown):
    """Some templates, by name; your own stand before one of the configuration of their name."""

    templates: list[TemplateShown]
    next: str | None = None


class TemplatePages:
    """Serves them."""

    def __init__(self, templates: Templates, making: TemplateMaking) -> None:
        self._templates = templates
        self._making = making

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        one, tag = "/templates/{name}", "templates"
        shown: dict[str, Any] = {"result": TemplateShown, "revised": True}
        return (
            Route("POST", "/templates", "createTemplate", "Make a template.", self.create, tag, body=NewTemplate,
                  result=TemplateShown, status=201, errors=(409,)),
            Route("GET", "/templates", "listTemplates", "All that you can name.", self.known, tag,
                  query=TemplatesQuery, result=TemplatesShown),
            Route("GET", one, "getTemplate", "One template.", self.get, tag, **shown),
            Route("PUT", one, "replaceTemplate", "Make a template, or replace it.", self.put, tag, body=TemplatePut,
                  **shown),
            Route("PATCH", one, "changeTemplate", "Change a template; of one of the configuration, it makes your own.",
                  self.patch, tag, body=TemplatePatch, merge=True, **shown),
            Route("DELETE", one, "deleteTemplate", "Delete a template of your own; tasks that were made by it stay.",
                  self.delete, tag, status=204, revised=True, errors=(409,)),
        )  # fmt: skip

    async def create(self, call: Call[NoQuery, NewTemplate]) -> Reply:
        """The template."""
        body = call.body
        named = await self._making.create(
            call.scope, body.name, body.options, text=body.text, description=body.description
        )
        return _reply(named, {"Location": f"{PREFIX}/templates/{named.name}"})

    async def known(self, call: Call[TemplatesQuery, None]) -> Reply:
        """A page."""
        page, after = paged(await self._templates.known(call.scope), _name, call.query.limit, call.query.cursor)
        return Reply(TemplatesShown(templates=[_shown(one) for one in page], next=after))

    async def get(self, call: Call[NoQuery, None]) -> Reply:
        """One."""
        return _reply(await self._found(call.scope, call.path["name"]))

    async def put(self, call: Call[NoQuery, TemplatePut]) -> Reply:
        """As it is then."""
        body, name, rev = call.body, call.path["name"], 0
        if call.revisions is not None:
            found = await self._templates.find(call.scope, name)
            rev = expected(call.revisions, found.rev if found else -1)
        with as_changed():
            named = await self._templates.put(
                call.scope, name, body.options, text=body.text, description=body.description, rev=rev
            )
        return _reply(named)

    async def patch(self, call: Call[NoQuery, TemplatePatch]) -> Reply:
        """As it is then."""
        for _ in range(TRIES):
            named = await self._found(call.scope, call.path["name"])
            expected(call.revisions, named.rev)
            body = cast("TemplatePut", modelled(TemplatePut, merged(_written(named), call.given)))
            try:
                with as_changed():
                    changed = await self._templates.put(
                        call.scope,
                        named.name,
                        body.options,
                        text=body.text,
                        description=body.description,
                        rev=named.rev,
                    )
            except Changed:
                if call.revisions is not None:
                    raise
                continue
            return _reply(changed)
        raise contended()

    async def delete(self, call: Call[NoQuery, None]) -> Reply:
        """Nothing."""
        named = await self._found(call.scope, call.path["name"])
        rev = expected(call.revisions, named.rev)
        if not named.rev:
            raise UnsupportedOperation("This template stands in the server's configuration; take it out there.")
        with as_changed():
            if not await self._templates.delete(call.scope, named.name, rev):
                raise _nothing()
        return Reply()

    async def _found(self, scope: Scope, name: str) -> Named:
        named = await self._templates.find(scope, name)
        if named is None:
            raise _nothing()
        return named


def _written(named: Named) -> dict[str, Any]:
    template = named.template
    options = template.options.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if template.options.priority is not None and "priority" in options:
        options["priority"] = template.options.priority.name.lower()
    return {"description": template.description, "text": template.text, "options": options}


def _reply(named: Named, headers: dict[str, str] | None = None) -> Reply:
    return Reply(_shown(named), revision=named.rev, headers=headers or {})


def _shown(named: Named) -> TemplateShown:
    written = _written(named)
    return TemplateShown(
        name=named.name,
        description=written["description"] or None,
        text=written["text"] or None,
        options=written["options"] or None,
        source="own" if named.rev else "configuration",
        revision=named.rev,
    )


def _name(named: Named) -> str:
    return named.name


def _nothing() -> NothingThere:
    return NothingThere("There is no template of this name, or it is not yours; the list of templates names yours.")
