"""The pages are whole: all that users can name is in them, what they name exists, and links lead somewhere.

That the generated pages are those of the code, `scripts/docs --check` says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.routing import Route

import a2a_server
from a2a_server import Agent, Answer, Happening, SyncTask, TaskContext, asgi
from a2a_server.agent import ContextParameter, SkillFunction
from a2a_server.agent.skills import SkillOptions
from a2a_server.context import ArtifactWriter, Memory
from a2a_server.examples.workbench import agent
from a2a_server.model.options import TaskOptions
from a2a_server.settings import knobs
from a2a_server.telemetry.catalogue import CATALOGUE
from a2a_server.wire import v01, v03, v10
from tests.acceptance.shown import PAGES, ROOT
from tests.drills.__main__ import DRILLS

DOCS = ROOT / "docs"
ALL = [*PAGES, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("decisions/*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in ALL}
GENERATED = {DOCS / name for name in ("commands.md", "errors.md", "lifecycle.md", "metrics.md", "settings.md")}
BY_HAND = [pytest.param(page, id=page.name) for page in ALL if page not in GENERATED]

FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
PUSH_AND_CARD = re.compile("push|extendedagentcard|extendedcard", re.IGNORECASE)


def spans(text: str) -> list[str]:
    """What stands in code in a text's sentences and tables."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def words(codes: Iterable[str]) -> set[str]:
    """The names in `task.ask(question)`: `task`, `ask` and `question`."""
    return {word for code in codes for word in re.findall(r"[A-Za-z_]\w*", code)}


def told(name: str) -> set[str]:
    return words(spans(TEXTS[DOCS / name]))


def public(*kinds: type[object]) -> set[str]:
    return {name for kind in kinds for name in dir(kind) if not name.startswith("_") and not hasattr(str, name)}


def test_every_verb_of_an_agent_is_on_its_page() -> None:
    verbs = public(TaskContext, SyncTask, Answer, Memory, ArtifactWriter) - public(ContextParameter)
    verbs |= {"chunks", "offset"}
    around = {name for name in vars(SkillFunction) if name in {"validate", "validate_result", "rollback"}}
    assert len(around) == 3
    happening = set(Happening.__dataclass_fields__)
    assert (verbs | around | happening | {"on", "lifespan", "skill", "from_card"}) - told("agents.md") == set()
    assert "pulled_skill" in told("pulling.md")
    known = told("agents.md") | {"pulled_skill"}
    assert public(Agent) - known == {"card", "check", "listeners", "opens", "skills", "specs", "version"}


def test_every_option_of_a_skill_is_on_the_agents_page() -> None:
    options = re.findall(r"^\| (`.*?`) \| [^|]*\|$", TEXTS[DOCS / "agents.md"], re.MULTILINE)
    assert SkillOptions.model_fields.keys() - words(options) == set()


def test_every_public_name_is_on_the_agents_page() -> None:
    everything = set(re.findall(r"\w+", TEXTS[DOCS / "agents.md"]))
    assert set(a2a_server.__all__) - everything == {"__version__"}


def test_every_task_option_and_method_is_on_the_protocols_page() -> None:
    assert {field.alias for field in TaskOptions.model_fields.values()} - told("protocol.md") == set()
    readme = set(spans(TEXTS[ROOT / "README.md"]))
    methods = {method for wire in (v01, v03, v10) for method in wire.METHODS if not PUSH_AND_CARD.search(method)}
    assert len(methods) == 13
    assert methods - readme == set()


def test_every_route_is_told(tmp_path: Path) -> None:
    app = asgi(agent, store=f"sqlite:///{tmp_path}/tasks.db", artifacts=f"file:///{tmp_path}/artifacts")
    paths = [route.path.replace("{name:path}", "…") for route in app.routes if isinstance(route, Route)]
    routes = [path.removeprefix("/agents/task-manager") or "/" for path in paths]  # a further agent's are the same
    assert len(routes) > 8
    codes = [code for page in PAGES for code in spans(TEXTS[page])]
    told = set(re.findall(r"(?<![\w.])/[\w./…-]*", " ".join(codes)))
    behind = {path.removeprefix("/a2a") for path in routes if path.startswith("/a2a/")}
    assert behind <= told
    assert {path for path in routes if not path.startswith("/a2a/")} - told == set()


@pytest.mark.parametrize("page", BY_HAND)
def test_settings_metrics_and_codes_that_are_named_exist(page: Path) -> None:
    known = {part for knob in knobs() for part in knob.name.split(".")} | {metric.name for metric in CATALOGUE}
    known |= SkillOptions.model_fields.keys() | {"after_seconds", "limit_bytes"}
    used = {word.removesuffix("_bucket") for word in words(spans(TEXTS[page]))}
    named = {word for word in used if re.search(r"_(seconds|bytes|total)$|^(max|a2a)_", word)}
    assert named - known - {"a2a_server"} == set()
    codes = set(re.findall(r"-320\d\d|-32[67]\d\d", TEXTS[page]))
    assert codes - set(re.findall(r"^\| (-32\d\d\d) ", TEXTS[DOCS / "errors.md"], re.MULTILINE)) == set()


@pytest.mark.parametrize("page", BY_HAND)
def test_commands_and_flags_that_are_shown_exist(page: Path) -> None:
    reference = TEXTS[DOCS / "commands.md"]
    commands = set(re.findall(r"^## `a2a-server ([a-z -]+)`", reference, re.MULTILINE))
    flags = set(re.findall(r"`(--?[a-z-]+)`", reference)) | {"--help", "--version", "--debug"}
    shown = re.findall(r"a2a-server((?: [a-z][a-z-]*)+)((?: [^`\n|;)]*)?)", TEXTS[page])
    for name, rest in shown:
        first, second = [*name.split(), "", ""][:2]
        assert {first, f"{first} {second}"} & commands, name
        assert set(re.findall(r"(?<!\S)--?[a-z-]+(?![\w-])", re.sub(r'"[^"]*"|\'[^\']*\'', "", rest))) <= flags, rest


def test_tests_drills_and_scripts_that_are_named_exist() -> None:
    guarantees, readme = TEXTS[DOCS / "guarantees.md"], TEXTS[ROOT / "README.md"]
    folder = ROOT
    for name in re.findall(r"`((?:tests/)?[a-z_/]*test_[a-z_]+\.py)`", guarantees):
        path = ROOT / name if "/" in name else folder / name
        folder = path.parent
        assert path.is_file(), name
    drills = set(re.findall(r"`scripts/drill ([a-z]+)", guarantees + readme))
    assert drills == set(DRILLS)
    programs = {entry.name for entry in (ROOT / "scripts").iterdir() if entry.is_file() and os.access(entry, os.X_OK)}
    assert set(re.findall(r"^\| `scripts/([a-z]+)", readme, re.MULTILINE)) == programs


def test_every_page_is_in_the_readme_and_every_package_in_the_architecture() -> None:
    linked = set(re.findall(r"\]\(docs/([\w.-]+)\)", TEXTS[ROOT / "README.md"]))
    assert {page.name for page in DOCS.glob("*.md")} - linked == set()
    packages = {entry.name for entry in (ROOT / "a2a_server").iterdir() if (entry / "__init__.py").is_file()}
    assert {package for package in packages if f"`{package}/" not in TEXTS[DOCS / "architecture.md"]} == set()


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", lambda code: code[0] if "](" not in code[0] else "", FENCE.sub("", TEXTS[page]))
    for target in re.findall(r"\]\(([^)\s]+)\)", text.replace("\n", " ")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
