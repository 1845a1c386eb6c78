"""What a task takes, in words: how long, and what its runs were allocated and used."""

from __future__ import annotations

from a2a_server.cli.rpc import Json

_SIZES = ("memory", "storage")


def took(duration: Json) -> str:
    """An estimated duration."""
    if duration["source"] == "given":
        return f"{duration['seconds']:g} s, as its sender says"
    return f"{duration['seconds']:g} s (median), {duration['p95Seconds']:g} s (p95) of {duration['runs']} past runs"


def allocated(run: Json) -> str:
    """What a run was allocated, and what it used."""
    had = [f"cpu {run['cpu']:g}"] if "cpu" in run else []
    had += [f"{name} {run[f'{name}Bytes']} bytes" for name in _SIZES if f"{name}Bytes" in run]
    had += [f"{name} {amount}" for name, amount in (run.get("resources") or {}).items()]
    used = [f"used {run['cpuSeconds']:g} s of the processor in {run['seconds']:g} s"] if "cpuSeconds" in run else []
    if "memoryPeakBytes" in run:
        beside = f", beside other runs: {run['sharedWith']}" if run["sharedWith"] else ""
        used.append(f"memory {run['memoryPeakBytes']} bytes (growth of the {run['measured']}{beside})")
    if "storagePeakBytes" in run:
        used.append(f"wrote {run['storagePeakBytes']} bytes")
    until = f"to {run['releasedAt']}" if "releasedAt" in run else "on"
    peak = f"; {', '.join(used)}" if used else ""
    return f"{run['run']}: {', '.join(had)} from {run['allocatedAt']} {until}{peak}"
