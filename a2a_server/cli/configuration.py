"""`config show`: every setting as this process would run with it, and where each comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from a2a_server.cli.failures import Exit
from a2a_server.cli.flags import Flags
from a2a_server.cli.output import emit, emit_json


def show(
    *,
    sources: bool = False,
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text",
    flags: Flags | None = None,
) -> int:
    """Show every setting with its value; what is secret is left out.

    Args:
        sources: Show also where each value comes from (flag, environment variable, file or default), and what it means.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    from a2a_server.settings import knobs, value_of
    from a2a_server.settings.catalogue import shown

    sourced = (flags or Flags()).settings()
    values = {knob.name: (knob, value_of(sourced.settings, knob)) for knob in knobs()}
    if output == "json":
        emit_json(
            {
                name: {
                    "value": value,
                    "source": sourced.source(name),
                    "variable": knob.variable,
                    "description": knob.description,
                    "recorded": knob.recorded,
                }
                if sources
                else value
                for name, (knob, value) in values.items()
            }
        )
        return Exit.OK
    width = max(map(len, values))
    for name, (knob, value) in values.items():
        if sources:
            emit(f"{name} = {shown(value)}\n    from: {sourced.source(name)}\n    {knob.meaning}\n")
        else:
            without_effect = "  (recorded, without effect yet)" if knob.recorded else ""
            emit(f"{name:<{width}}  {shown(value)}{without_effect}\n")
    return Exit.OK
