"""Which backend addresses and URLs a setting takes, and the paths that local ones name.

`sqlite:///a2a.db` is relative to the working directory and `sqlite:////var/lib/a2a.db` absolute (as in SQLAlchemy);
`file:objects` is relative and `file:///var/lib/objects` absolute (RFC 8089).
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import AfterValidator

_BARE_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)


def address(*forms: str) -> AfterValidator:
    """A validator that takes addresses of these forms, for example `sqlite:///relative.db`."""
    ways = " or ".join(forms)
    schemes = {form.partition("://")[0] for form in forms}
    paths = any(form.partition("://")[2] for form in forms)

    def check(value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator:
            raise ValueError(f"this is no address; use {ways}")
        if scheme not in schemes:
            raise ValueError(f"the scheme {scheme!r} is not supported; use {ways}")
        path = rest.removeprefix("/")
        if paths and (path in ("", "/", ":memory:") or path == rest or not path.isprintable() or set(path) & set("?#")):
            raise ValueError(f"a path must follow {scheme}:///, without ? and #; use {ways}")
        if rest and not paths:
            raise ValueError(f"nothing may follow {scheme}://; use {ways}")
        return value

    return AfterValidator(check)


def directory(value: str) -> str:
    """Passes `file:` addresses; ValueError for others."""
    path = value.removeprefix("file:")
    host = path.startswith("//") and not path.startswith("///")
    if path == value or host or not path.strip("/") or not path.isprintable() or set(path) & set("?#"):
        raise ValueError("use file:relative/directory or file:///absolute/directory, without ? and #")
    return value


def database(value: str) -> str:
    """Passes '', a `sqlite:` address or the bare name of a file; ValueError for others."""
    if not value or value.startswith("sqlite:///"):
        return value
    if not _BARE_NAME.fullmatch(value):
        raise ValueError("use a bare name of letters, digits, _, - and ., or sqlite:///relative.db")
    return value


def loopback(value: str) -> str:
    """Passes hosts of this machine alone; ValueError for others."""
    try:
        here = value == "localhost" or ipaddress.ip_address(value).is_loopback
    except ValueError:
        here = False
    if not here:
        raise ValueError(
            "until authentication comes this server binds loopback addresses only: 127.0.0.1, ::1 or localhost"
        )
    return value


def public(value: str) -> str:
    """Passes '' and web addresses, without the slash at their end; ValueError for others."""
    if not value:
        return value
    parts = urlsplit(value)
    _ = parts.port  # raises for one that is no port
    plain = parts.scheme in ("http", "https") and parts.hostname and value.isprintable() and " " not in value
    if not plain or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("use http:// or https://, a host and if need be a path; no user, query or fragment")
    return value.rstrip("/")


def local_path(address: str) -> Path:
    """The path that a `sqlite:` or `file:` address names."""
    scheme, _, rest = address.partition(":")
    if scheme == "sqlite":
        return Path(rest.removeprefix("///"))
    return Path("/" + rest.lstrip("/") if rest.startswith("/") else rest)


def beside(store: str, name: str) -> str:
    """The address of the database that `name` means: an address itself, or a file in the directory of `store`."""
    if name.startswith("sqlite:///"):
        return name
    return f"sqlite:///{local_path(store).parent / name}"
