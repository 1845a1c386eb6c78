"""Whether what our server acknowledges would survive a power cut here: figures without that mean nothing."""

from __future__ import annotations

from pathlib import Path

import psutil

from a2a_server.stores.sqlite_schema import WRITER_PRAGMAS, connect

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_FULL = 2


def doubts(directory: Path) -> list[str]:
    """Why nothing kept in this directory is durable; empty when it is."""
    found = []
    resolved = directory.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if resolved.is_relative_to(part.mountpoint)]
    mount = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    if mount is not None and mount.fstype in _IN_MEMORY:
        found.append(f"{directory} is kept in memory ({mount.fstype}); choose another one with --directory")
    probe = directory / "durability.db"
    db = connect(probe, WRITER_PRAGMAS)
    try:
        mode, synchronous = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous"))
    finally:
        db.close()
        probe.unlink()
    if mode != "wal" or synchronous < _FULL:
        found.append(f"the store writes with journal_mode={mode}, synchronous={synchronous} (wal and 2 are durable)")
    return found
