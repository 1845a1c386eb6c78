"""Where values come from: a file, the environment, flags. Which wins, what is unknown, and what breaks a rule.

Each source is flattened to one value a path, by our names, before they are laid over one another: so a block may come
from several sources, and an older name in one never stands beside ours in another.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from a2a_server.errors import ConfigurationError
from a2a_server.settings.addresses import beside
from a2a_server.settings.catalogue import Path as Names, block_of, names_of
from a2a_server.settings.knobs import NESTED, PREFIX, Settings
from a2a_server.wording import of_name, plain_rule

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Sourced:
    """Settings, and for each that was given its source in words, by dotted name; what is not in it is a default."""

    settings: Settings
    sources: Mapping[str, str]

    def source(self, name: str) -> str:
        """Where the value of a dotted name comes from."""
        return self.sources.get(name, DEFAULT)


def load(config: Path | None = None, **overrides: object) -> Settings:
    """The settings that this process runs with.

    Args:
        config: a settings file, `.yaml`, `.yml` or `.toml`: a mapping of the names in `Settings`.
        overrides: flags, by the same names; None = not given.

    Raises:
        ConfigurationError: the file cannot be read; a name is unknown (the nearest one is suggested); a value breaks
            its rule, or two do not agree. The text names each with its source, and no value beyond its scheme.
    """
    return load_sourced(config, **overrides).settings


def load_sourced(config: Path | None = None, **overrides: object) -> Sourced:
    """As `load`, with the source of each value."""
    flat = _Flat()
    if config is not None:
        from a2a_server.settings.files import read  # noqa: PLC0415 - most servers start without a file

        flat.add(read(config), _Origin(f"in {config}"))
    flat.wrong += _unknown_variables()
    flat.add(_environment(), _Variables("in the environment"))
    flat.add(_secrets(flat), _Files("in a file that the environment names"))
    flat.add({name: value for name, value in overrides.items() if value is not None}, _Flags("among the flags"))
    if flat.wrong:
        raise ConfigurationError("; ".join(flat.wrong))
    settings = flat.settings()
    tasks = settings.task_manager.databases.tasks
    if tasks and STORE not in flat.values:
        flat.values[STORE] = beside(settings.store, tasks)
        flat.sources[STORE] = f"task_manager.databases.tasks, {flat.sources[TASKS]}"
        settings = flat.settings()
    return Sourced(settings, {".".join(path): source for path, source in flat.sources.items()})


@dataclass(frozen=True, slots=True)
class _Origin:
    where: str

    def spell(self, path: Names) -> str:
        return ".".join(path)

    def source(self, path: Names) -> str:  # noqa: ARG002 - others need it
        return self.where


class _Flags(_Origin):
    def source(self, path: Names) -> str:  # noqa: ARG002 - others need it
        return "flag"


class _Variables(_Origin):
    def spell(self, path: Names) -> str:
        return PREFIX + NESTED.join(path).upper()

    def source(self, path: Names) -> str:
        return f"environment variable {self.spell(path)}"


class _Files(_Variables):
    def spell(self, path: Names) -> str:
        return super().spell(path) + FILE


class _Flat:
    """Values by path, the last source's on top. `wrong`: what cannot be about the names that were given."""

    def __init__(self) -> None:
        self.values: dict[Names, object] = {}
        self.sources: dict[Names, str] = {}
        self.wrong: list[str] = []

    def add(
        self,
        given: Mapping[str, object],
        origin: _Origin,
        model: type[BaseModel] = Settings,
        above: Names = (),
    ) -> None:
        """Lay one source over what there is."""
        known = {word: name for name, field in model.model_fields.items() for word in names_of(field, name)}
        seen: dict[str, str] = {}
        for word, value in given.items():
            name = known.get(word)
            called = origin.spell((*above, word))
            if name is None:
                near = _nearest(called, [origin.spell((*above, other)) for other in known])
                self.wrong.append(f"unknown setting {called!r} {origin.where}{near}")
                continue
            if name in seen:
                self.wrong.append(f"{called} and {seen[name]} ({origin.where}) are one setting; give one of them")
            seen[name] = called
            path = (*above, name)
            block = block_of(model.model_fields[name])
            if block is not None and (value is None or isinstance(value, Mapping)):
                self.add(value or {}, origin, block, path)
            else:
                self.values[path] = value
                self.sources[path] = origin.source((*above, word))

    def settings(self) -> Settings:
        """Checked. Raises ConfigurationError."""
        tree: dict[str, Any] = {}
        for path, value in sorted(self.values.items(), key=lambda item: len(item[0])):
            place = tree
            for name in path[:-1]:
                place = place.setdefault(name, {})
                if not isinstance(place, dict):
                    break
            else:
                place[path[-1]] = value
        try:
            return Settings(**tree)
        except ValidationError as error:
            raise ConfigurationError("; ".join(_faults(error, self.sources))) from None


FILE = "_FILE"
FILED = ("store", "queue", "notifier", "artifacts")
"""Settings that may hold a password, so that the environment may name a file instead which has them."""

STORE: Names = ("store",)
TASKS: Names = ("task_manager", "databases", "tasks")


def _environment() -> dict[str, Any]:
    if not any(name.upper().startswith(PREFIX) for name in os.environ):
        return {}
    from a2a_server.settings.environment import read  # noqa: PLC0415 - many servers start without a variable

    return read()


def _secrets(flat: _Flat) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in FILED:
        variable = PREFIX + name.upper()
        if path := os.environ.get(variable + FILE, ""):
            if os.environ.get(variable):
                flat.wrong.append(f"{variable} and {variable}{FILE} (in the environment) are one setting; give one")
            try:
                found[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no text"
                flat.wrong.append(f"{variable}{FILE}: {path} cannot be read ({reason})")
    return found


def _unknown_variables() -> Iterator[str]:
    """The library says nothing of variables that it does not take."""
    blocks = {name.upper() for name, field in Settings.model_fields.items() if block_of(field) is not None}
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    known += [PREFIX + name.upper() + FILE for name in FILED]
    for name in os.environ:
        given = name.upper()
        head, nested, _ = given.removeprefix(PREFIX).partition(NESTED)
        if given.startswith(PREFIX) and given not in known and not (nested and head in blocks):
            yield f"unknown setting {name!r} in the environment{_nearest(given, known)}"


def _nearest(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given.replace("-", "_"), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _faults(error: ValidationError, sources: Mapping[Names, str]) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False):
        rule = plain_rule(fault["msg"].replace("valid tuple", "list of texts"))
        if fault["type"] in ("model_type", "model_attributes_type"):
            rule = "must be a mapping of names to values"
        place, rule = of_name(fault["loc"], rule)
        path = tuple(map(str, place))
        source = next((sources[path[:end]] for end in range(len(path), 0, -1) if path[:end] in sources), None)
        yield f"{'.'.join(path)} ({source}): {rule}" if source else rule
