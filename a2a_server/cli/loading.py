"""From what the command line names to an `Agent`: `module:object`, `file.py`, `file.py:object`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from a2a_server.agent import Agent
from a2a_server.errors import ConfigurationError

_TARGET = re.compile(r"(?P<where>.+?)(?::(?P<name>[A-Za-z_][\w.]*))?")


def load_agent(target: str) -> Agent:
    """The agent that `target` names. A function becomes an agent with one skill.

    Without `:object` it is what the module calls `agent`, else the only Agent in it. Imports the module, so its code
    runs; the file's directory, or for a module the current directory, comes first on the import path.

    Raises:
        ConfigurationError: there is no such file, module or object, it fails to load, or is no agent; the text says
            what to write instead.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        raise ConfigurationError("name an agent: a file such as echo.py, or module:object")
    where, name = match["where"], match["name"]
    is_module = not where.endswith(".py") and all(part.isidentifier() for part in where.split("."))
    module = _load_module(where) if is_module else _load_file(Path(where))
    return _agent_of(_object(module, where, name) if name else _default(module, where), name or where, target)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        if path.is_dir():
            raise ConfigurationError(f"{path} is a directory; name a file in it, for example {path}/agent.py")
        names = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else f" (looked in {path.parent.resolve()})"
        raise ConfigurationError(f"there is no file {path}{hint}")
    name = path.stem
    if name in sys.modules or name in sys.stdlib_module_names or not name.isidentifier():
        name = "agent_file_" + re.sub(r"\W", "_", name)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    _first_on_path(path.resolve().parent)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(str(path), error) from error
    return module


def _load_module(name: str) -> ModuleType:
    _first_on_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            file = Path(f"{name}.py")
            hint = f"; did you mean {file}?" if file.is_file() else ", neither installed nor in the current directory"
            raise ConfigurationError(f"there is no module {name}{hint}") from error
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _first_on_path(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _broken(where: str, error: BaseException) -> ConfigurationError:
    if isinstance(error, ConfigurationError):
        return ConfigurationError(f"{where}: {error}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    line = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return ConfigurationError(f"{where} fails to load: {type(error).__name__}: {error}{line}")


def _object(module: ModuleType, where: str, name: str) -> object:
    found: object = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            near = difflib.get_close_matches(part, _names(found), n=1)
            known = f"did you mean {near[0]}?" if near else f"it has: {', '.join(_names(found)) or 'nothing'}"
            raise ConfigurationError(f"{where} has no {part!r}; {known}") from error
    return found


def _names(holder: object) -> list[str]:
    return (
        [name for name, value in vars(holder).items() if not name.startswith("_") and not inspect.ismodule(value)]
        if hasattr(holder, "__dict__")
        else []
    )


def _default(module: ModuleType, where: str) -> object:
    if isinstance(getattr(module, "agent", None), Agent):
        return module.agent
    agents = {id(value): name for name, value in vars(module).items() if isinstance(value, Agent)}
    if len(agents) == 1:
        return getattr(module, next(iter(agents.values())))
    if agents:
        raise ConfigurationError(
            f"{where} has several agents; name one: {' or '.join(f'{where}:{name}' for name in agents.values())}"
        )
    functions = [name for name in _names(module) if _is_own_function(module, getattr(module, name))]
    way_out = f"name a function, {where}:{functions[0]}, or " if functions else ""
    raise ConfigurationError(f'{where} has no agent; {way_out}write in it: agent = Agent("My agent")')


def _is_own_function(module: ModuleType, value: object) -> bool:
    return inspect.isfunction(value) and value.__module__ == module.__name__


def _agent_of(found: object, name: str, target: str) -> Agent:
    if isinstance(found, Agent):
        found.check()
        return found
    if inspect.isroutine(found):
        agent = Agent(name.rpartition(".")[2])
        agent.skill(found)
        return agent
    kind = "a module" if inspect.ismodule(found) else "a class" if inspect.isclass(found) else type(found).__name__
    raise ConfigurationError(f"{target} is {kind}, and neither an Agent nor a function")
