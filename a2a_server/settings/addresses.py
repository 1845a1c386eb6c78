"""Which backend addresses and URLs a setting takes, and the paths that local ones name.

`sqlite:///a2a.db` is relative to the working directory and `sqlite:////var/lib/a2a.db` absolute (as in SQLAlchemy);
`file:objects` is relative and `file:///var/lib/objects` absolute (RFC 8089).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import AfterValidator

_BARE_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}")
_LAST_PORT = 65_535
_ENCODED = "in user, password and names @ is written %40, / %2F, : %3A, ? %3F and # %23"

STORES = ("sqlite:///relative.db", "sqlite:////absolute.db", "postgresql://user@host/name", "mongodb://host/name")
QUEUES = ("memory://", "store://", "redis://host/0", "amqp://user@host/", "sqs://region")
NOTIFIERS = ("poll://", "postgresql://…", "redis://…", "amqp://…", "mongodb://…")
ARTIFACTS = ("file:relative", "file:///absolute", "s3://bucket/prefix", "store://")


def address(*forms: str) -> AfterValidator:
    """A validator that takes '' and addresses of these forms, for example `sqlite:///relative.db` or `redis://host/0`.

    What a service makes of the rest of its address is its backend's matter.
    """
    ways = ", ".join(forms[:-1]) + f" or {forms[-1]}"
    rests: dict[str, set[str]] = {}
    for form in forms:
        scheme, _, rest = form.partition(":")
        rests.setdefault(scheme, set()).add(rest)
    for scheme, other in SAME.items():
        if other in rests:
            rests[scheme] = rests[other]

    def check(value: str) -> str:
        wrong = _wrong(value, rests) if value else ""
        if wrong:
            raise ValueError(f"{wrong}; use {ways}")
        return value

    return AfterValidator(check)


PATHS = frozenset({"sqlite", "file"})
SAME = {"postgres": "postgresql", "mongodb+srv": "mongodb", "rediss": "redis", "amqps": "amqp"}


def _wrong(value: str, rests: Mapping[str, set[str]]) -> str:
    """What is wrong with an address, '' = nothing. rests: by scheme, what may follow it."""
    scheme, separator, rest = value.partition(":")
    if not separator or not (rest.startswith("//") or scheme == "file"):
        return "this is no address"
    if scheme not in rests:
        return f"the scheme {scheme!r} is not supported"
    if scheme in PATHS:
        return _wrong_path(scheme, rest)
    if rests[scheme] == {"//"}:
        return f"nothing may follow {scheme}://" if rest != "//" else ""
    if not value.isprintable() or " " in value:
        return "an address has no spaces and no control characters"
    return _wrong_host(scheme, value)


def _wrong_host(scheme: str, value: str) -> str:
    """What is wrong with user, password, hosts and ports. Nothing of them is told: they may be parts of a password."""
    try:
        netloc = urlsplit(value).netloc
    except ValueError:  # it tells the password
        return f"the host, or the password, has characters that cannot stand there; {_ENCODED}"
    if not netloc:
        return f"a host, or a name, must follow {scheme}://"
    if value.count("@") > netloc.count("@") or netloc.count("@") > 1:
        return f"there is an @ that ends no user; {_ENCODED}"
    ports = [host.rpartition("]")[2].partition(":")[2] for host in netloc.rpartition("@")[2].split(",")]
    if all(not port or (_PORT.fullmatch(port) and int(port) <= _LAST_PORT) for port in ports):
        return ""
    return f"a port is a number up to {_LAST_PORT}; {_ENCODED}"


def _wrong_path(scheme: str, rest: str) -> str:
    if scheme == "sqlite":
        path = rest.removeprefix("///")
        wrong = path == rest or path in ("", "/", ":memory:")
    else:
        path = rest
        wrong = (path.startswith("//") and not path.startswith("///")) or not path.strip("/")
    if wrong or not path.isprintable() or set(path) & set("?#"):
        return f"a path must follow {scheme}:{'' if scheme == 'file' else '///'}, without ? and #"
    return ""


def kind_of(value: str) -> str:
    """What an address is an address of: its scheme, the shorter or secure spellings of one service being the same."""
    scheme = value.partition(":")[0]
    return SAME.get(scheme, scheme)


def database(value: str) -> str:
    """Passes '', a `sqlite:` address or the bare name of a file; ValueError for others."""
    if not value or value.startswith("sqlite:///"):
        return value
    if not _BARE_NAME.fullmatch(value):
        raise ValueError("use a bare name of letters, digits, _, - and ., or sqlite:///relative.db")
    return value


def bindable(value: str) -> str:
    """Passes addresses that can be bound; ValueError for others."""
    if value != "localhost":
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError("use an IP address of this machine, or localhost") from None
    return value


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


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
