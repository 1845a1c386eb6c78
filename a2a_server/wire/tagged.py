"""Parts that name their kind in a member of their own: `type` in v0.1, `kind` in 0.2 and 0.3.

Everything else about a part is the same in these generations: a file lies in a member of its own, with its bytes or its
address; data is an object; text has no media type. 1.0 tells parts apart by what they hold (`v10`).

Source: A2A v0.1.0 and 0.3.0, specification/json/a2a.json, Part.
"""

from __future__ import annotations

from typing import cast

from a2a_server.model.objects import Data, File, Json, JsonObject, Part, Text
from a2a_server.wire import fields, files

WRAPPED = "value"
"""Member that holds data which is no object, so that there is an object around it."""


def parse_part(value: object, path: str, tag: str) -> Part:
    """A TextPart, FilePart or DataPart; `tag` is the member that says which.

    Raises:
        InvalidParams: `tag` is missing or none of the three, or a member breaks its rule; paths begin with `path`.
    """
    part = fields.members(value, path)
    if len(part) == 2 and part.get(tag) == "text" and type(text := part.get("text")) is str:  # noqa: PLR2004
        return Text(text)  # as nearly every part is
    kind, at = part.get(tag), f"{path}."
    metadata = fields.optional_object(part, "metadata", at)
    if kind == "text":
        if part.get("text") is None:
            raise fields.wrong(f"{at}text", "is missing; it must be a string")
        return Text(fields.string(part, "text", at), metadata=metadata)
    if kind == "data":
        return Data(cast("Json", fields.members(part.get("data"), f"{at}data")), metadata=metadata)
    if kind == "file":
        return _parse_file(fields.members(part.get("file"), f"{at}file"), f"{at}file", metadata)
    raise fields.wrong(f"{at}{tag}", "must be text, file or data")


def render_part(part: Part, base_url: str, tag: str) -> JsonObject:
    """A part whose kind stands in `tag`; data that is no object is wrapped as `{"value": ...}`.

    base_url: the server's public address without a slash at its end.
    """
    shown: JsonObject
    if isinstance(part, Text):
        shown = {tag: "text", "text": part.text}
    elif isinstance(part, Data):
        shown = {tag: "data", "data": part.data if isinstance(part.data, dict) else {WRAPPED: part.data}}
    else:
        shown = {tag: "file", "file": _file(part, base_url)}
    if part.metadata:
        shown["metadata"] = part.metadata
    return shown


def _parse_file(file: JsonObject, path: str, metadata: JsonObject | None) -> File:
    at = f"{path}."
    if (file.get("bytes") is None) == (file.get("uri") is None):
        raise fields.wrong(path, "must have exactly one of bytes and uri")
    filename, media_type = fields.label(file, "name", at), fields.label(file, "mimeType", at)
    if file.get("uri") is None:
        raw = files.decode(fields.string(file, "bytes", at), f"{at}bytes")
        return File(filename, media_type, raw=raw, metadata=metadata)
    url = fields.string(file, "uri", at)
    if not url:
        raise fields.wrong(f"{at}uri", "must not be empty")
    return File(filename, media_type, url=url, metadata=metadata)


def _file(file: File, base_url: str) -> JsonObject:
    shown: JsonObject = {}
    if file.filename:
        shown["name"] = file.filename
    if file.media_type:
        shown["mimeType"] = file.media_type
    if file.raw is not None:
        shown["bytes"] = files.encode(file.raw)
    else:
        shown["uri"] = files.address(file, base_url)
    return shown
