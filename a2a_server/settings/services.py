"""Addresses of services: what is meant for the driver, what is meant for us, and what people may see of them.

Options of ours stand in the query (`redis://127.0.0.1:6379/0?prefix=blue`); the rest of the address is the driver's.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from a2a_server.errors import ConfigurationError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def shown(url: str) -> str:
    """The address as logs and errors may show it: without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def taken(url: str, ours: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The address without our options, and these: `ours` gives every one that there is with its default.

    Raises ConfigurationError for an option that is given twice.
    """
    parts = urlsplit(url)
    options, theirs = dict(ours), list[tuple[str, str]]()
    given = set[str]()
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in ours:
            theirs.append((name, value))
            continue
        if name in given:
            raise ConfigurationError(f"{shown(url)}: the option {name} is given twice; keep one.")
        given.add(name)
        options[name] = value
    return urlunsplit(parts._replace(query=urlencode(theirs))), options


def refuse_unknown(url: str, ours: Mapping[str, str]) -> None:
    """Raises ConfigurationError for options that are not ours, where the driver takes none by the address."""
    for name, _ in parse_qsl(urlsplit(taken(url, ours)[0]).query, keep_blank_values=True):
        known = ", ".join(sorted(ours)) or "none"
        raise ConfigurationError(f"{shown(url)}: there is no option {name}; the options are: {known}.")


def flag(url: str, name: str, value: str) -> bool:
    """An option that is on or off. Raises ConfigurationError for any other word."""
    word = value.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ConfigurationError(f"{shown(url)}: the option {name} is true or false, not {value!r}.")


def whole(url: str, name: str, value: str, least: int, most: int) -> int:
    """An option that is a whole number. Raises ConfigurationError outside of `least` to `most`."""
    if not value.isascii() or not value.isdecimal() or not least <= int(value[:20]) <= most:
        raise ConfigurationError(f"{shown(url)}: the option {name} is a whole number from {least} to {most}.")
    return int(value)
