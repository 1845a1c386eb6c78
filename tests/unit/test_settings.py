import re
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le
from pydantic import ValidationError

from a2a_server.errors import ConfigurationError
from a2a_server.settings import Settings, load, load_sourced, local_path
from a2a_server.settings.services import shown


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(config: Path | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(config, **overrides)
    return str(caught.value)


def test_defaults() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8000, "")
    assert (settings.store, settings.queue) == ("sqlite:///a2a.db", "")
    assert (settings.lease_seconds, settings.beat_seconds, settings.timeout_seconds) == (8, 2, 1800)
    assert (settings.writer_bytes, settings.artifact_limit_bytes) == (67_108_864, 1_073_741_824)


def test_flags_go_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, "a.yaml", "port: 1\nslots: 1\nthreads: 1\n")
    monkeypatch.setenv("A2A_SERVER_PORT", "2")
    monkeypatch.setenv("A2A_SERVER_SLOTS", "2")
    settings = load(config, port=3)
    assert (settings.port, settings.slots, settings.threads, settings.max_attempts) == (3, 2, 1, 4)


def test_a_flag_that_is_none_and_an_empty_variable_count_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_SERVER_SLOTS", "")
    assert load(port=None) == load()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "port: 9\nlog_level: DEBUG"),
        ("a.yml", "{port: 9, log_level: debug}"),
        ("a.toml", 'port=9\nlog_level="debug"'),
    ],
)
def test_files_are_yaml_or_toml(tmp_path: Path, name: str, text: str) -> None:
    settings = load(written(tmp_path, name, text))
    assert (settings.port, settings.log_level) == (9, "debug")


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert load(written(tmp_path, "a.yaml", "# nothing yet\n")) == load()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.yaml", "port: [9\nx: y", "no valid YAML in line 2"),
        ("a.toml", "port 9", "no valid text or syntax"),
        ("a.json", "{}", "ends in .yaml, .yml or .toml"),
        ("a.yaml", "- port", "mapping of names"),
        ("a.yaml", "1: 2", "mapping of names"),
    ],
)
def test_a_file_that_is_not_understood_is_named(tmp_path: Path, name: str, text: str, why: str) -> None:
    error = refused(written(tmp_path, name, text))
    assert name in error
    assert why in error


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no.yaml: the settings file cannot be read (No such file" in refused(tmp_path / "no.yaml")


def test_unknown_names_are_told_with_their_source_and_the_nearest_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, "a.toml", "log-level = 'info'\nzzz = 1")
    monkeypatch.setenv("A2A_SERVER_SLOT", "1")
    error = refused(config, lease_second=1)
    assert f"unknown setting 'log-level' in {config}; did you mean log_level?" in error
    assert f"unknown setting 'zzz' in {config};" in error
    assert "unknown setting 'A2A_SERVER_SLOT' in the environment; did you mean A2A_SERVER_SLOTS?" in error
    assert "unknown setting 'lease_second' among the flags; did you mean lease_seconds?" in error


def test_broken_rules_are_told_with_their_source_and_without_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, "a.yaml", "slots: hunter2\n")
    monkeypatch.setenv("A2A_SERVER_THREADS", "hunter2")
    error = refused(config, port=70_000, store="postgresql://me:hunter2@host/db")
    assert "port (flag): must be at most 65535" in error
    assert "threads (environment variable A2A_SERVER_THREADS): must be a valid integer" in error
    assert f"slots (in {config}): must be a valid integer" in error
    assert "hunter2" not in error


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_hosts_are_bound(host: str) -> None:
    assert load(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])  # noqa: S104 - refused, not bound
def test_hosts_that_are_reached_from_elsewhere_are_for_the_insecure(host: str) -> None:
    assert f"host {host} is reached from elsewhere, and there is no authentication yet" in refused(host=host)
    assert "--insecure" in refused(host=host)
    assert load(host=host, insecure=True).host == host


@pytest.mark.parametrize("host", ["", "example.com", "localhost.example.com", "127.1"])
def test_names_cannot_be_bound(host: str) -> None:
    assert "use an IP address of this machine, or localhost" in refused(host=host, insecure=True)


@pytest.mark.parametrize(
    ("knob", "value", "way_out"),
    [
        (
            "store",
            "mysql://host/db",
            "'mysql' is not supported; use sqlite:///relative.db, sqlite:////absolute.db, postg",
        ),
        ("store", "postgresql:///db", "a host, or a name, must follow postgresql://"),
        ("store", "postgresql://host/a b", "no spaces"),
        ("store", "", "at least 1 character"),
        ("store", "a2a.db", "sqlite:///relative.db"),
        ("store", "sqlite://", "sqlite:///relative.db"),
        ("store", "sqlite:///", "sqlite:///relative.db"),
        ("store", "sqlite:////", "sqlite:///relative.db"),
        ("store", "sqlite://host/a.db", "sqlite:///relative.db"),
        ("store", "sqlite:///:memory:", "sqlite:///relative.db"),
        ("store", "sqlite:///a.db?mode=memory", "without ? and #"),
        ("store", "sqlite:///a\n.db", "sqlite:///relative.db"),
        ("queue", "kafka://host", "'kafka' is not supported; use memory://, store://, redis://"),
        ("queue", "memory://x", "use memory://"),
        ("queue", "redis://", "a host, or a name, must follow redis://"),
        ("store", "postgresql://host:65536/db", "a port is a number up to 65535"),
        ("store", "mongodb://one:27017,two:port/db", "a port is a number up to 65535"),
        ("queue", "redis://[::1]:x/0", "a port is a number up to 65535"),
        ("queue", "redis://[::1/0", "characters that cannot stand there"),
        ("artifacts", "s3://", "a host, or a name, must follow s3://"),
        ("artifacts", "store://x", "nothing may follow store://"),
        ("artifacts", "file://host/x", "a path must follow file:"),
        ("notifier", "kafka://host", "'kafka' is not supported; use poll://"),
    ],
)
def test_addresses_that_are_not_supported_name_those_that_are(knob: str, value: str, way_out: str) -> None:
    error = refused(None, **{knob: value})
    assert error.startswith(f"{knob} (flag): ")
    assert way_out in error


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:12/hidden@host/db",
        "postgresql://user:hidden/x@host/db",
        "postgresql://user:12?hidden@host/db",
        "postgresql://user:12#hidden@host/db",
        "postgresql://user:hid@den@host/db",
        "postgresql://user:hidden℀@host/db",
    ],
)
def test_a_password_that_cuts_its_address_in_pieces_is_not_told(address: str) -> None:
    error = refused(None, store=address)
    assert "%2F" in error
    assert "hid" not in error
    assert "12" not in error


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p%40%2F@host:5432/db?host=/run&sslmode=require",
        "postgresql://u@one:5432,[::1]:5433/db",
        "postgresql://u@/db?host=/run",
        "mongodb://u:p@one,two:27018/db?replicaSet=a",
    ],
)
def test_addresses_of_services_are_taken_as_their_drivers_read_them(address: str) -> None:
    assert Settings(store=address).store == address


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("store://", "store://"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("sqlite:////a.db", "sqlite:////a.db"),
        ("redis://u:hidden@[::1]:1/0?prefix=a", "redis://[::1]:1/0"),
    ],
)
def test_addresses_are_shown_as_they_are_written_without_what_is_secret(address: str, seen: str) -> None:
    assert shown(address) == seen


@pytest.mark.parametrize(
    ("knob", "address", "told"),
    [
        ("store", "postgresql://me:hunt/er2@host/db", "postgresql://host/db"),
        ("store", "postgresql://me:12/er2@host:5432/db?pool=4", "postgresql://host:5432/db"),
        ("store", "mongodb://me:hunt?er2@host/db", "mongodb://host/db"),
        ("queue", "redis://me:hunt#er2@host:6379/0", "redis://host:6379/0"),
    ],
)
def test_a_password_that_tears_its_address_is_refused_and_never_told(knob: str, address: str, told: str) -> None:
    error = refused(None, **{knob: address})
    assert "%2F" in error
    assert "er2" not in error
    assert shown(address) == told


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:///a/b%20c", "a/b%20c"),
        ("sqlite:////a/b", "/a/b"),
        ("file:a/b%20c", "a/b%20c"),
        ("file:///a/b", "/a/b"),
        ("file:////a/b", "/a/b"),
    ],
)
def test_addresses_name_paths(address: str, path: str) -> None:
    assert local_path(address) == Path(path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("", ""), ("https://a.example/", "https://a.example"), ("http://[::1]:81/x/", "http://[::1]:81/x")],
)
def test_the_public_address_ends_without_a_slash(given: str, kept: str) -> None:
    assert load(public_url=given).public_url == kept


@pytest.mark.parametrize(
    "given",
    ["a.example", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example?x", "https://a:99999"],
)
def test_other_public_addresses_are_refused(given: str) -> None:
    assert refused(public_url=given).startswith("public_url (flag): ")


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"lease_seconds": 4}, "lease_seconds must be more than twice beat_seconds"),
        ({"backoff_base_seconds": 301}, "backoff_base_seconds must not be above backoff_limit_seconds"),
        ({"ring_bytes": 2048, "rings_bytes": 1024}, "ring_bytes must not be above rings_bytes"),
        ({"inline_bytes": 2048, "artifact_limit_bytes": 1024}, "inline_bytes must not be above artifact_limit_bytes"),
    ],
)
def test_knobs_that_do_not_agree_are_refused(overrides: dict[str, object], why: str) -> None:
    assert why in refused(None, **overrides)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, "soon", True, [8]])
def test_a_duration_is_a_finite_positive_number(value: object) -> None:
    assert refused(lease_seconds=value).startswith("lease_seconds (flag): ")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]  # that is what fails


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_knob_is_described_defaulted_and_bounded(name: str) -> None:
    knob = Settings.model_fields[name]
    assert re.fullmatch(r"[A-Z].*\.", knob.description or "")
    assert not knob.is_required()
    if knob.annotation in (int, float):
        assert any(isinstance(bound, (Ge, Gt)) for bound in knob.metadata)
        assert any(isinstance(bound, Le) for bound in knob.metadata)
    if knob.annotation is float:
        assert name.endswith(("_seconds", "_cpu"))


def test_an_address_with_its_password_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = written(tmp_path, "store", "postgresql://ann:secret@host/tasks\n")
    monkeypatch.setenv("A2A_SERVER_STORE_FILE", str(secret))
    sourced = load_sourced(None)
    assert sourced.settings.store == "postgresql://ann:secret@host/tasks"
    assert sourced.source("store") == "environment variable A2A_SERVER_STORE_FILE"
    assert load(store="sqlite:///a.db").store == "sqlite:///a.db"
    monkeypatch.setenv("A2A_SERVER_STORE", "sqlite:///b.db")
    assert "A2A_SERVER_STORE and A2A_SERVER_STORE_FILE (in the environment) are one setting; give one" in refused(None)
    monkeypatch.delenv("A2A_SERVER_STORE")
    monkeypatch.setenv("A2A_SERVER_STORE_FILE", str(tmp_path / "missing"))
    assert "cannot be read (No such file or directory)" in refused(None)
    monkeypatch.setenv("A2A_SERVER_PORT_FILE", str(secret))
    assert "unknown setting 'A2A_SERVER_PORT_FILE'" in refused(None)
