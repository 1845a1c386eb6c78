"""No container engine is needed: the files are read, and what they would run is checked here."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from a2a_server.cli import main
from a2a_server.settings import PREFIX, kind_of, load
from a2a_server.wiring.backends import ARTIFACTS, QUEUES, STORES, queue_address, shares

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
OURS = [name for name, service in COMPOSE.items() if service.get("image") == "a2a-task-server"]
FILES = ("docker/Dockerfile", "docker/simulator.Dockerfile")


@pytest.mark.parametrize("name", OURS)
def test_what_compose_runs_has_settings_that_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {**image_variables(), **COMPOSE[name].get("environment", {})}.items():
        monkeypatch.setenv(variable, value)
    verb, target, *flags = COMPOSE[name]["command"]
    assert target == "a2a_server.examples.demo:agent"
    assert main(["check", "config", *flags]) == 0
    settings = load()
    assert (settings.host, settings.insecure) == ("0.0.0.0", True)  # noqa: S104 - inside of its container
    assert kind_of(settings.store) in STORES
    assert kind_of(queue_address(settings)) in QUEUES
    assert kind_of(settings.artifacts) in ARTIFACTS
    assert shares(settings) is (name != "embedded")
    assert (verb == "worker") is name.startswith("worker")


@pytest.mark.parametrize("name", COMPOSE)
def test_nothing_is_published_beyond_this_machine(name: str) -> None:
    service = COMPOSE[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service["profiles"]
    assert service.get("command", [""])[0] == "worker" or "healthcheck" in service
    if service.get("image") == "a2a-task-server":
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_whatever_is_waited_for_is_in_the_same_profile() -> None:
    for service in COMPOSE.values():
        for needed in service.get("depends_on", {}):
            assert set(service["profiles"]) <= set(COMPOSE[needed]["profiles"])


@pytest.mark.parametrize("file", FILES)
def test_images_run_as_nobody_special_from_locks(file: str) -> None:
    instructions = instructions_of(file)
    words = [word for word, _ in instructions]
    assert words.index("USER") > words.index("RUN")
    assert [rest for word, rest in instructions if word == "USER"][-1] not in ("root", "0")
    installs = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-deps --no-build-isolation ." in rest for rest in installs)
    for rest in (rest for word, rest in instructions if word == "COPY" and "--from" not in rest):
        assert all((ROOT / source).exists() for source in shlex.split(rest)[:-1])


def test_the_image_knows_every_driver() -> None:
    lock = (ROOT / "scripts/locks/image.lock").read_text()
    for driver in ("asyncpg", "pymongo", "redis", "aio-pika", "boto3", "uvicorn"):
        assert re.search(rf"^{driver}==", lock, re.MULTILINE)


def instructions_of(file: str) -> list[tuple[str, str]]:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def image_variables() -> dict[str, str]:
    pairs = [pair for word, rest in instructions_of(FILES[0]) if word == "ENV" for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs if pair.startswith(PREFIX))
