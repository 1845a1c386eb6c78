"""The seed documents' settings file, its names, its databases, and a block from several sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2a_server.cli.serving import notes_of
from a2a_server.settings import TaskManager, load, load_sourced
from tests.unit.test_settings import refused

SEED = """\
task_manager:
  id: "task-manager-1"
  name: "TaskManager"
  capabilities: ["task_management", "execution_management", "monitoring"]
  relationships: ["orchestrator", "all_agents"]
  databases: {tasks: "tasks_db", execution: "execution_db", monitoring: "monitoring_db"}
  scheduling_interval: 60          # seconds; the rest is optional too
  monitoring_interval: 300
  alert_thresholds: {task_duration: 3600, resource_usage: 0.8, dependency_wait: 300, failure_rate: 0.1}
"""
VARIABLE = "A2A_SERVER_TASK_MANAGER__"


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    path = tmp_path / "seed.yaml"
    path.write_text(SEED)
    return path


def test_the_documents_file_loads_as_it_is(seed: Path) -> None:
    block = load(seed).task_manager
    assert (block.id, block.name) == ("task-manager-1", "TaskManager")
    assert block.capabilities == ("task_management", "execution_management", "monitoring")
    assert block.relationships == ("orchestrator", "all_agents")
    assert (block.scheduling_interval_seconds, block.monitoring_interval_seconds) == (60, 300)
    alerts = block.alert_thresholds
    assert (alerts.task_duration_seconds, alerts.resource_usage) == (3600, 0.8)
    assert (alerts.dependency_wait_seconds, alerts.failure_rate) == (300, 0.1)


def test_all_of_it_is_optional(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text in ("task_manager:\n", "task_manager: {}\n", "task_manager: {alert_thresholds: }\n"):
        path.write_text(text)
        assert load(path).task_manager == TaskManager()


def test_toml_has_it_too(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[task_manager]\nid = "x"\n[task_manager.alert_thresholds]\ntask_duration_seconds = 5\n')
    block = load(path).task_manager
    assert (block.id, block.alert_thresholds.task_duration_seconds) == ("x", 5)


def test_a_bare_name_is_a_file_beside_the_store_unless_a_store_is_given(
    seed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sourced = load_sourced(seed)
    assert sourced.settings.store == "sqlite:///tasks_db"
    assert sourced.source("store") == f"task_manager.databases.tasks, in {seed}"
    assert load(seed, store="sqlite:///other.db").store == "sqlite:///other.db"
    monkeypatch.setenv("A2A_SERVER_STORE", "sqlite:////var/x.db")
    assert load(seed).store == "sqlite:////var/x.db"


def test_a_database_may_be_an_address() -> None:
    assert load(task_manager={"databases": {"tasks": "sqlite:////var/t.db"}}).store == "sqlite:////var/t.db"
    assert "databases.tasks, flag" in load_sourced(task_manager={"databases": {"tasks": "t"}}).source("store")


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a b", "postgresql://host/x", "x" * 101, "a?b"])
def test_a_database_is_never_a_path(name: str) -> None:
    assert "use a bare name" in refused(task_manager={"databases": {"tasks": name}})


def test_sources_of_a_block_are_laid_over_one_another(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{VARIABLE}SCHEDULING_INTERVAL_SECONDS", "5")  # the file has the older name
    monkeypatch.setenv(f"{VARIABLE}ALERT_THRESHOLDS__TASK_DURATION", "7")
    monkeypatch.setenv(f"{VARIABLE}CAPABILITIES", "monitoring, task_management")
    sourced = load_sourced(seed, task_manager={"id": "flagged"})
    block = sourced.settings.task_manager
    assert (block.id, block.name, block.scheduling_interval_seconds) == ("flagged", "TaskManager", 5)
    assert (block.alert_thresholds.task_duration_seconds, block.capabilities) == (
        7,
        ("monitoring", "task_management"),
    )
    told = [sourced.source(f"task_manager.{name}") for name in ("id", "name", "scheduling_interval_seconds")]
    assert told == ["flag", f"in {seed}", f"environment variable {VARIABLE}SCHEDULING_INTERVAL_SECONDS"]
    task_duration = sourced.source("task_manager.alert_thresholds.task_duration_seconds")
    assert task_duration == f"environment variable {VARIABLE}ALERT_THRESHOLDS__TASK_DURATION"


def test_unknown_names_inside_are_errors_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("task_manager: {idd: x, alert_thresholds: {task_durations: 3}}\n")
    monkeypatch.setenv(f"{VARIABLE}RELATIONSHIP", "x")
    error = refused(path)
    assert f"unknown setting 'task_manager.idd' in {path}; did you mean task_manager.id?" in error
    assert "did you mean task_manager.alert_thresholds.task_duration?" in error
    assert (
        f"unknown setting '{VARIABLE}RELATIONSHIP' in the environment; did you mean {VARIABLE}RELATIONSHIPS?" in error
    )


def test_both_names_of_one_setting_in_one_place_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("task_manager: {scheduling_interval: 1, scheduling_interval_seconds: 2}\n")
    assert "are one setting; give one of them" in refused(path)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (3, "task_manager (flag): must be a mapping of names to values"),
        ({"databases": "x"}, "task_manager.databases (flag): must be a mapping"),
        ({"scheduling_interval": 0}, "task_manager.scheduling_interval_seconds (flag): must be above 0"),
        ({"alert_thresholds": {"failure_rate": 2}}, "must be at most 1"),
        ({"alert_thresholds": {"failure_rate": True}}, "no values of this setting"),
        ({"id": ""}, "task_manager.id (flag): must have at least 1 character"),
        ({"capabilities": [1]}, "task_manager.capabilities.0 (flag): must be 'task_management', "),
        ({"capabilities": ["cooking"]}, "task_manager.capabilities.0 (flag): must be 'task_management', "),
        ({"capabilities": 1}, "must be a list of texts"),
    ],
)
def test_rules_hold_inside(block: object, said: str) -> None:
    assert said in refused(task_manager=block)


def test_a_block_that_is_no_json_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_SERVER_TASK_MANAGER", "{")
    assert "must be JSON; or give its settings one by one" in refused()


def test_the_start_says_what_is_recorded_only_and_where_execution_goes(seed: Path) -> None:
    execution, recorded = notes_of(load_sourced(seed))
    assert execution == "Log lines and resource samples (execution_db) are kept in the tasks' database."
    assert recorded == "Recorded, without effect yet: task_manager.relationships."
    assert notes_of(load_sourced(port=1)) == []
