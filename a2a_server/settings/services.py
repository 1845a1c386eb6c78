"""Addresses of services: what is meant for the driver, what is meant for us, and what people may see of them.

Options of ours stand in the query (`redis://127.0.0.1:6379/0?prefix=blue`); the rest of the address is the driver's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from a2a_server.errors import ConfigurationError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", re.ASCII)
_RABBITMQ_OPTIONS = frozenset(
    ("auth", "cadata", "cafile", "capath", "certfile", "happy_eyeballs_delay", "heartbeat", "interleave", "keyfile")
) | {"name", "no_verify_ssl", "timeout"}


def shown(url: str) -> str:
    """The address as logs and errors may show it: without user, password and query."""
    if is_torn(url):
        url = f"{url.partition('://')[0]}://{url.rpartition('@')[2]}"
    parts = urlsplit(url)
    if not parts.netloc:
        return url.partition("?")[0]  # store://, sqlite:///a2a.db: to be read as it was written
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def is_torn(url: str) -> bool:
    """Whether a `/`, `?` or `#` that is not percent-encoded seems to cut a password in two: no part of it is a host."""
    netloc = urlsplit(url).netloc
    return ":" in netloc and "@" not in netloc and "@" in url


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


def refuse_unknown(url: str, ours: Mapping[str, str], theirs: Collection[str] = ()) -> None:
    """Raises ConfigurationError for options that are not ours, nor `theirs`: those that the driver takes."""
    for name, _ in parse_qsl(urlsplit(taken(url, ours)[0]).query, keep_blank_values=True):
        if name not in theirs:
            known = ", ".join(sorted({*ours, *theirs})) or "none"
            raise ConfigurationError(f"{shown(url)}: there is no option {name}; the options are: {known}.")


def checked_prefix(url: str, prefix: str) -> str:
    """The option `prefix` of names at a broker. Raises ConfigurationError for one that some broker would not take."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"{shown(url)}: the option prefix is 1 to 40 letters, digits, _ and -, a letter or digit first."
        )
    return prefix


def redis_address(url: str) -> tuple[str, str]:
    """The address for Redis's driver, and the option `prefix`.

    Raises ConfigurationError for another database than a number: the driver would silently take 0.
    """
    rest, options = taken(url, {"prefix": "a2a"})
    database = urlsplit(rest).path.strip("/")
    if database and not (database.isascii() and database.isdecimal()):
        raise ConfigurationError(f"{shown(url)}: a database of Redis is a number, as in redis://host:6379/0.")
    return rest, checked_prefix(url, options["prefix"])


def not_taken(url: str, error: Exception) -> ConfigurationError:
    """For an address that its driver refused with `error`; what may be missing is a parameter of the driver's own."""
    option = re.search(r"keyword argument '(\w+)'", str(error))
    what = f"there is no option {option[1]}" if option else f"the driver does not take this address: {error}"
    return ConfigurationError(f"{shown(url)}: {what}.")


def rabbitmq_address(url: str) -> tuple[str, str]:
    """The address for RabbitMQ's driver, and the option `prefix`.

    Raises ConfigurationError for options that nobody knows: the driver would silently leave them out.
    """
    ours = {"prefix": "a2a"}
    refuse_unknown(url, ours, _RABBITMQ_OPTIONS)
    rest, options = taken(url, ours)
    return rest, checked_prefix(url, options["prefix"])


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
