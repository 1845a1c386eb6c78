"""What is measured and acted upon, as the settings ask for it: thresholds, the database of alerts, slots."""

from __future__ import annotations

from random import Random

from a2a_server.engine.engine import Engine
from a2a_server.engine.limits import Limits
from a2a_server.engine.metering import MeteredRunner
from a2a_server.engine.monitoring import Monitor
from a2a_server.engine.optimising import Optimiser
from a2a_server.engine.thresholds import Threshold
from a2a_server.engine.usage import Usage
from a2a_server.errors import ConfigurationError
from a2a_server.model.runs import Used
from a2a_server.policy import queue_of
from a2a_server.ports import TaskStore
from a2a_server.running import AgentRunner
from a2a_server.settings import Settings
from a2a_server.settings.addresses import beside
from a2a_server.settings.services import shown
from a2a_server.telemetry.observer import Observer
from a2a_server.wiring.backends import shares, store_of


def ledger_of(settings: Settings) -> TaskStore | None:
    """The database of alerts, where it is not that of the tasks. Raises ConfigurationError."""
    address = ledger_address(settings)
    if not address:
        return None
    apart = settings.model_copy(update={"store": address})
    if shares(settings) and not shares(apart):
        raise ConfigurationError(
            f"task_manager.databases.monitoring: {shown(address)} is served by one process alone, and "
            f"{shown(settings.store)} by several; name a postgresql:// or mongodb:// address, or none (alerts are kept "
            "with the tasks)."
        )
    return store_of(apart)


def ledger_address(settings: Settings) -> str:
    """Where alerts are kept, '' = with the tasks. A bare name is a file beside a store that is one itself."""
    named = settings.task_manager.databases.monitoring
    if named and ":" not in named:
        named = "" if shares(settings) else beside(settings.store, named)
    return "" if named == settings.store else named


def metered(runner: AgentRunner, usage: Usage, settings: Settings) -> AgentRunner:
    """The runner, its runs measured as far as the settings ask for it."""

    def note(skill: str, used: Used, written_bytes: int | None) -> None:
        usage.note(queue_of("", skill), used, written_bytes)

    return MeteredRunner(runner, note, whole=settings.measure_usage)


def monitor_of(engine: Engine, settings: Settings, ledger: TaskStore, observer: Observer) -> Monitor:
    """Watches the thresholds of the settings."""
    manager = settings.task_manager
    alerts = manager.alert_thresholds
    return Monitor(
        engine.backends.store,
        ledger,
        {
            Threshold.TASK_DURATION: alerts.task_duration_seconds,
            Threshold.RESOURCE_USAGE: alerts.resource_usage,
            Threshold.DEPENDENCY_WAIT: alerts.dependency_wait_seconds,
            Threshold.FAILURE_RATE: alerts.failure_rate,
        },
        interval_seconds=manager.monitoring_interval_seconds,
        clock=engine.clock,
        random=Random(),  # noqa: S311 - spreads looks, guards nothing
        observer=observer,
    )


def optimiser_of(engine: Engine, limits: Limits, observer: Observer) -> Optimiser:
    """Tunes the slots of the engine's own worker, whichever it is at the moment, up to the limits."""
    return Optimiser(lambda: engine.worker, slots=limits.slots, threads=limits.threads, observer=observer)
