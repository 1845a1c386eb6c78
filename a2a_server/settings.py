"""Every knob: typed, bounded, defaulted, described, with its unit in its name. Nothing here changes after start-up.

A value is taken from the first of these that has it: a flag (a keyword of `load`), the environment (`A2A_SERVER_` and
the name in capitals; an empty variable counts as absent), the file, the default. What nobody knows is an error, so a
misspelt knob is never silently without effect.

Backends are addresses. `sqlite:///a2a.db` is relative to the working directory and `sqlite:////var/lib/a2a.db` absolute
(as in SQLAlchemy); `file:objects` is relative and `file:///var/lib/objects` absolute (RFC 8089).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from a2a_server.errors import ConfigurationError

PREFIX = "A2A_SERVER_"
KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
DAY = 86_400


def _address(*forms: str) -> AfterValidator:
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


def _directory(value: str) -> str:
    path = value.removeprefix("file:")
    host = path.startswith("//") and not path.startswith("///")
    if path == value or host or not path.strip("/") or not path.isprintable() or set(path) & set("?#"):
        raise ValueError("use file:relative/directory or file:///absolute/directory, without ? and #")
    return value


def _loopback(value: str) -> str:
    try:
        loopback = value == "localhost" or ipaddress.ip_address(value).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            "until authentication comes this server binds loopback addresses only: 127.0.0.1, ::1 or localhost"
        )
    return value


def _public(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    _ = parts.port  # raises for one that is no port
    plain = parts.scheme in ("http", "https") and parts.hostname and value.isprintable() and " " not in value
    if not plain or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("use http:// or https://, a host and if need be a path; no user, query or fragment")
    return value.rstrip("/")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """How this server runs. Frozen. Made by `load`; made directly it also reads the environment, but no file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    host: Annotated[str, AfterValidator(_loopback)] = Field(
        "127.0.0.1", description="Address to bind; loopback only until there is authentication."
    )
    port: int = Field(8000, ge=0, le=65_535, description="TCP port to bind; 0 = any free one.")
    public_url: Annotated[str, AfterValidator(_public)] = Field(
        "", description="Where clients reach this server, as agent cards say it; empty = as bound."
    )
    store: Annotated[str, _address("sqlite:///relative.db", "sqlite:////absolute.db")] = Field(
        "sqlite:///a2a.db", description="Where tasks live."
    )
    queue: Annotated[str, _address("memory://")] = Field("memory://", description="How workers hear of work.")
    artifacts: Annotated[str, AfterValidator(_directory)] = Field(
        "file:a2a-artifacts", description="Where large content lives; a directory is made if it is missing."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = Field(
        "info", description="The least severe records that are logged."
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        "text", description="Log lines for people or for programs; always one line a record."
    )

    slots: int = Field(1000, ge=1, le=100_000, description="Coroutine handlers that run at once in a worker.")
    threads: int = Field(32, ge=1, le=1024, description="Blocking handlers that run at once in a worker.")
    lease_seconds: float = Field(
        8, gt=0, le=3600, description="A worker unseen for so long is dead; more than twice the beat."
    )
    beat_seconds: float = Field(2, gt=0, le=600, description="How often a worker says that it lives.")
    poll_seconds: float = Field(1, gt=0, le=60, description="How often the store is asked for work, about.")
    cancel_grace_seconds: float = Field(
        5, ge=0, le=3600, description="How long a canceled handler may take to clean up before it is ended."
    )
    timeout_seconds: float = Field(
        1800, gt=0, le=365 * DAY, description="How long one run may take where its skill says nothing else."
    )
    max_attempts: int = Field(
        4, ge=1, le=1000, description="Runs after transient failures, the first included; 1 = at most once."
    )
    backoff_base_seconds: float = Field(1, ge=0, le=DAY, description="The wait before the second attempt; it doubles.")
    backoff_limit_seconds: float = Field(300, ge=0, le=30 * DAY, description="The longest wait between attempts.")
    idempotency_seconds: float = Field(
        DAY, ge=0, le=365 * DAY, description="How long a message sent again is recognised; 0 = never."
    )
    drain_seconds: float = Field(30, ge=0, le=DAY, description="How long running handlers may go on at shutdown.")

    heartbeat_seconds: float = Field(15, gt=0, le=3600, description="How often a silent stream sends a comment.")
    write_stall_seconds: float = Field(
        30, gt=0, le=3600, description="A stream whose client takes nothing for so long is closed."
    )
    card_cache_seconds: int = Field(60, ge=0, le=365 * DAY, description="How long agent cards may be cached.")

    inline_bytes: int = Field(
        64 * KIB, ge=0, le=16 * MIB, description="Content up to this size is kept in the task store, not as an object."
    )
    body_limit_bytes: int = Field(10 * MIB, ge=KIB, le=GIB, description="The largest request body.")
    artifact_limit_bytes: int = Field(GIB, ge=KIB, le=1024 * GIB, description="The largest artifact.")
    max_events_per_task: int = Field(1_000_000, ge=10, le=1_000_000_000, description="Events that a task may have.")
    writer_operations: int = Field(10_000, ge=1, le=1_000_000, description="Operations that wait for the writer.")
    writer_bytes: int = Field(64 * MIB, ge=MIB, le=16 * GIB, description="Size of the operations that wait.")
    uncommitted_events: int = Field(256, ge=1, le=1_000_000, description="Uncommitted events of a task.")
    uncommitted_bytes: int = Field(256 * KIB, ge=KIB, le=GIB, description="Size of a task's uncommitted events.")
    ring_events: int = Field(256, ge=1, le=1_000_000, description="Recent events of a task kept for its followers.")
    ring_bytes: int = Field(256 * KIB, ge=KIB, le=GIB, description="Size of these events.")
    rings_bytes: int = Field(64 * MIB, ge=KIB, le=64 * GIB, description="Size of these events over all tasks.")

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("true, false, on and off are no values of this setting")  # noqa: TRY004 - for pydantic
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.lease_seconds <= 2 * self.beat_seconds:
            raise ValueError("lease_seconds must be more than twice beat_seconds: one lost beat is no death")
        if self.backoff_base_seconds > self.backoff_limit_seconds:
            raise ValueError("backoff_base_seconds must not be above backoff_limit_seconds")
        if self.ring_bytes > self.rings_bytes:
            raise ValueError("ring_bytes must not be above rings_bytes: one task's share of the whole")
        if self.inline_bytes > self.artifact_limit_bytes:
            raise ValueError("inline_bytes must not be above artifact_limit_bytes")
        return self


def load(config: Path | None = None, **overrides: object) -> Settings:
    """The settings that this process runs with.

    Args:
        config: a settings file, `.yaml`, `.yml` or `.toml`: a mapping of the names in `Settings`.
        overrides: flags, by the same names; None = not given.

    Raises:
        ConfigurationError: the file cannot be read; a name is unknown (the nearest one is suggested); a value breaks
            its rule, or two do not agree. The text names each with its source, and no value beyond its scheme.
    """
    flags = {name: value for name, value in overrides.items() if value is not None}
    file = {} if config is None else _read(config)
    unknown = [
        *_unknown(file, f"in {config}"),
        *_unknown((name for name in os.environ if name.upper().startswith(PREFIX)), "in the environment", PREFIX),
        *_unknown(flags, "among the flags"),
    ]
    if unknown:
        raise ConfigurationError("; ".join(unknown))
    environment = EnvSettingsSource(Settings)()
    origins = {
        **dict.fromkeys(file, f"in {config}"),
        **{name: f"environment variable {PREFIX}{name.upper()}" for name in environment},
        **dict.fromkeys(flags, "flag"),
    }
    try:
        return Settings(**{**file, **environment, **flags})
    except ValidationError as error:
        raise ConfigurationError("; ".join(_faults(error, origins))) from None


def local_path(address: str) -> Path:
    """The path that a `sqlite:` or `file:` address names."""
    scheme, _, rest = address.partition(":")
    if scheme == "sqlite":
        return Path(rest.removeprefix("///"))
    return Path("/" + rest.lstrip("/") if rest.startswith("/") else rest)


_PLAIN = (
    ("Input should", "must"),
    ("less than or equal to", "at most"),
    ("greater than or equal to", "at least"),
    ("be greater than", "be above"),
)


def _read(config: Path) -> dict[str, object]:
    try:
        text = config.read_text(encoding="utf-8")
        if config.suffix == ".toml":
            content: object = tomllib.loads(text)
        elif config.suffix in (".yaml", ".yml"):
            content = yaml.safe_load(text)
        else:
            raise ConfigurationError(f"{config}: a settings file ends in .yaml, .yml or .toml")
    except OSError as error:
        raise ConfigurationError(f"{config}: the settings file cannot be read ({error.strerror})") from error
    except yaml.MarkedYAMLError as error:  # its text quotes the file, which may hold secrets
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{config}: no valid YAML{line} ({error.problem})") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{config}: no valid text or syntax ({error})") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ConfigurationError(f"{config}: a settings file is a mapping of names to values")
    return content


def _unknown(names: Iterable[str], where: str, prefix: str = "") -> Iterator[str]:
    known = [prefix + name.upper() if prefix else name for name in Settings.model_fields]
    for name in names:
        given = name.upper() if prefix else name
        if given not in known:
            near = difflib.get_close_matches(given.replace("-", "_"), known, n=1, cutoff=0.5)
            yield f"unknown setting {name!r} {where}" + (f"; did you mean {near[0]}?" if near else "")


def _faults(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False):
        rule = fault["msg"].removeprefix("Value error, ")
        for theirs, ours in _PLAIN:
            rule = rule.replace(theirs, ours)
        name = ".".join(map(str, fault["loc"]))
        origin = origins.get(name)
        yield f"{name} ({origin}): {rule}" if origin else rule
