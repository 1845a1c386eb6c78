"""Files in what agents say that pull their work: small ones as bytes, larger ones by the address of their upload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from a2a_server.engine.engine import Engine
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.keeping import stored_files
from a2a_server.model.objects import File, Part, Scope
from a2a_server.model.runs import Chunk, Output
from a2a_server.service.files import OwnAddresses
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Said:
    """An output, and the path of the request's member that said it."""

    at: str
    output: Output


class PulledFiles:
    """Makes outputs fit to be stored. base_url: where clients reach this server, without a slash at its end."""

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._limits = engine.limits
        self._addresses = OwnAddresses(engine, base_url)

    async def placed(self, scope: Scope, said: Sequence[Said]) -> tuple[list[Said], tuple[File, ...]]:
        """The outputs as they are stored, and the objects that they refer to.

        Raises InvalidParams: a file's bytes are too many, or its address is one of ours and no file of the caller's.
        """
        usable = await self._addresses.usable(scope, (part for one in said for part in _parts(one)))
        found = [self._put(one, usable) for one in said]
        return found, stored_files(part for one in found for part in _parts(one))

    def _put(self, said: Said, usable: Mapping[str, File]) -> Said:
        if not isinstance(said.output, Chunk) or not any(isinstance(part, File) for part in said.output.parts):
            return said
        parts = [self._part(part, f"{said.at}parts[{place}]", usable) for place, part in enumerate(said.output.parts)]
        return replace(said, output=replace(said.output, parts=tuple(parts)))

    def _part(self, part: Part, at: str, usable: Mapping[str, File]) -> Part:
        inline = self._limits.inline_bytes
        if isinstance(part, File) and part.raw is not None and len(part.raw) > inline:
            raise InvalidParams(
                f"{at}.raw is larger than {inline} bytes (inline_bytes); upload the file (POST /artifacts) and "
                "give its url.",
                path=f"{at}.raw",
            )
        return self._addresses.resolved(part, usable, f"{at}.url")


def _parts(said: Said) -> tuple[Part, ...]:
    return said.output.parts if isinstance(said.output, Chunk) else ()
