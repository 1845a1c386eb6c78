"""The figures as text, which prometheus-client writes. Apart from `metrics`, so that a server starts without it.

Source: Prometheus text format 0.0.4; OpenMetrics 1.0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from a2a_server.telemetry.catalogue import Metric
from a2a_server.telemetry.metrics import Sample

OPENMETRICS: Final = "application/openmetrics-text"


def written(figures: Callable[[], Iterable[tuple[Metric, Iterable[Sample]]]], accept: str) -> tuple[bytes, str]:
    """The figures and those of the process as text, and its content type: OpenMetrics where `accept` names it."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(_Collected(figures))
    if any(offer.partition(";")[0].strip().lower() == OPENMETRICS for offer in accept.split(",")):
        text: bytes = openmetrics.generate_latest(registry, version="1.0.0")  # type: ignore[no-untyped-call]  # the library's
        return text, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Collected(Collector):
    """The families that are made when they are asked for."""

    def __init__(self, figures: Callable[[], Iterable[tuple[Metric, Iterable[Sample]]]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Family]:
        for metric, samples in self._figures():
            family = Family(metric.name.removesuffix("_total"), metric.help, metric.kind)
            for name, labels, value in samples:
                family.add_sample(name, {label: _word(said) for label, said in labels.items()}, value)
            yield family


def _word(said: str | float) -> str:
    return said if isinstance(said, str) else str(floatToGoString(said))  # type: ignore[no-untyped-call]  # the library's
