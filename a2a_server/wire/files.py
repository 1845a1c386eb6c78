"""File parts in every generation: their bytes as base64, or the address where they are."""

from __future__ import annotations

import binascii

from a2a_server.model.objects import File
from a2a_server.wire.fields import wrong

_STANDARD = str.maketrans("-_", "+/")


def decode(text: str, path: str) -> bytes:
    """The bytes of base64 text, in the standard or the URL-safe alphabet, with or without padding.

    Raises:
        InvalidParams: it is neither; `path` names the field.

    Source: ProtoJSON, `bytes` ("either standard or URL-safe base64 encoding with/without paddings are accepted").
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass
    bare = text.rstrip("=").translate(_STANDARD)
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:  # binascii.Error is one; characters outside ASCII are a plain one
        raise wrong(path, "must be base64 (RFC 4648, without line breaks)") from None


def encode(raw: bytes) -> str:
    """Bytes as base64: the standard alphabet, padded, one line."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def address(file: File, base_url: str) -> str:
    """Where a file that is not inline can be had; `base_url` has no slash at its end."""
    return file.url or f"{base_url}/artifacts/{file.stored}"
