"""Files in what agents say that pull their work: small ones as bytes, larger ones by the address of their upload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from a2a_server.engine.engine import Engine
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.keeping import MARK, TOUCHED, Keep, Note, stored_files
from a2a_server.model.objects import File, Part, Scope
from a2a_server.model.runs import Chunk, Output
from a2a_server.service.files import Files, own_name


@dataclass(frozen=True, slots=True)
class Said:
    """An output, and the path of the request's member that said it."""

    at: str
    output: Output


class PulledFiles:
    """Makes outputs fit to be stored. base_url: where clients reach this server, without a slash at its end."""

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._engine = engine
        self._base_url = base_url
        self._files = Files(engine.backends.store)

    async def placed(self, scope: Scope, said: Sequence[Said]) -> tuple[list[Said], tuple[File, ...]]:
        """The outputs as they are stored, and the objects that they refer to.

        Raises InvalidParams: a file's bytes are too many, or its address is one of ours and no file of the caller's.
        """
        names = {name for one in said for part in _parts(one) if (name := self._name(part)) is not None}
        there = [name for name in sorted(names) if await self._files.find(scope, name) is not None]
        if there:
            await self._engine.submit(Keep(tuple(Note(name, MARK, TOUCHED, {}) for name in there)))
        usable = {name: await self._files.usable(scope, name) for name in there}
        found = [self._put(one, usable) for one in said]
        return found, stored_files(part for one in found for part in _parts(one))

    def _put(self, said: Said, usable: dict[str, File | None]) -> Said:
        if not isinstance(said.output, Chunk) or not any(isinstance(part, File) for part in said.output.parts):
            return said
        parts = [self._part(part, f"{said.at}parts[{place}]", usable) for place, part in enumerate(said.output.parts)]
        return replace(said, output=replace(said.output, parts=tuple(parts)))

    def _part(self, part: Part, at: str, usable: dict[str, File | None]) -> Part:
        inline = self._engine.limits.inline_bytes
        if isinstance(part, File) and part.raw is not None and len(part.raw) > inline:
            raise InvalidParams(
                f"{at}.raw is larger than {inline} bytes (inline_bytes); upload the file (POST /artifacts) and "
                "give its url.",
                path=f"{at}.raw",
            )
        name = self._name(part)
        if not isinstance(part, File) or name is None:
            return part
        file = usable.get(name)
        if file is None:
            raise InvalidParams(
                f"{at}.url is an address of this server, and there is no such file, or it is not yours; upload it "
                "again.",
                path=f"{at}.url",
            )
        return replace(
            part,
            filename=part.filename or file.filename,
            media_type=part.media_type or file.media_type,
            url="",
            stored=name,
            size=file.size,
            sha256=file.sha256,
        )

    def _name(self, part: Part) -> str | None:
        return own_name(part.url, self._base_url()) if isinstance(part, File) else None


def _parts(said: Said) -> tuple[Part, ...]:
    return said.output.parts if isinstance(said.output, Chunk) else ()
