"""How the command line tells what tasks take."""

from __future__ import annotations

import pytest

from a2a_server.cli.managing import show_task

RUN = {"run": 1, "worker": "00", "allocatedAt": "A", "cpu": 0.5, "memoryBytes": 1000, "resources": {"gpu": 2}}


def test_a_task_is_shown_with_its_runs(capsys: pytest.CaptureFixture[str]) -> None:
    used = {"seconds": 2.0, "cpuSeconds": 0.25, "memoryPeakBytes": 4096, "measured": "process", "sharedWith": 1}
    past = {"source": "past runs", "seconds": 1.5, "p95Seconds": 4, "runs": 20}
    runs = [{**RUN, "releasedAt": "B", **used, "storagePeakBytes": 7}, {**RUN, "run": 2}]
    show_task({"id": "t", "estimatedDuration": past, "resources": runs})
    assert capsys.readouterr().out.splitlines() == [
        "task       t",
        "duration   1.5 s (median), 4 s (p95) of 20 past runs",
        (
            "run        1: cpu 0.5, memory 1000 bytes, gpu 2 from A to B; used 0.25 s of the processor in 2 s, "
            "memory 4096 bytes (growth of the process, beside other runs: 1), wrote 7 bytes"
        ),
        "run        2: cpu 0.5, memory 1000 bytes, gpu 2 from A on",
    ]
    show_task({"id": "t", "estimatedDuration": {"source": "given", "seconds": 3.5}})
    assert "3.5 s, as its sender says" in capsys.readouterr().out


def test_what_a_run_wrote_is_told_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show_task({"id": "t", "durationSeconds": 0.5, "resources": [{**RUN, "releasedAt": "B", "storagePeakBytes": 7}]})
    assert capsys.readouterr().out.splitlines()[1:] == [
        "took       0.5 s",
        "run        1: cpu 0.5, memory 1000 bytes, gpu 2 from A to B; wrote 7 bytes",
    ]


def test_a_task_is_shown_with_what_it_was_made_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_task(
        {"id": "t", "description": "A smudged page.", "kind": "analysis", "schedule": "daily", "template": "page"}
    )
    assert capsys.readouterr().out.splitlines()[1:] == [
        "about      A smudged page.",
        "kind       analysis",
        "schedule   daily",
        "template   page",
    ]
