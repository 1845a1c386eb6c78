"""How things that the house keeps beside what clients name are spelled, so that the two can never meet.

Tags: what a client calls a tag is stored behind `tag:`; the house's own labels have prefixes of their own. Sends: a key
that clients choose has no control characters, so the keys of spawned tasks, unique keys and ticks begin with one.
"""

from __future__ import annotations

from typing import Final

from a2a_server.model.objects import Wishes
from a2a_server.model.rows import Key

TAG: Final = "tag:"
TITLE: Final = "title:"
BATCH: Final = "batch:"
SCHEDULE: Final = "schedule:"
TEMPLATE: Final = "template:"
RETRY: Final = "retry:"
TITLE_LENGTH: Final = 64
"""Characters of a title that it is found by."""

_OWN: Final = "\x1f"
FOR_EVER: Final = 2**53
"""When a key expires that never does, microseconds."""


def title_label(title: str) -> str:
    """What a task of this title, or of one that begins so, is found by: upper and lower case are one."""
    return TITLE + title.casefold()[:TITLE_LENGTH]


def labels_of(title: str, wishes: Wishes | None) -> tuple[str, ...]:
    """Every label of a task."""
    found = [title_label(title)] if title else []
    if wishes is not None:
        found += [TAG + tag for tag in wishes.tags]
        named = {BATCH: wishes.batch, SCHEDULE: wishes.schedule, TEMPLATE: wishes.template, RETRY: wishes.retry_of}
        found += [prefix + name for prefix, name in named.items() if name]
    return tuple(found)


def own_key(name: str) -> str:
    """The message id under which a send that the house names is remembered; no client's can be the same."""
    return _OWN + name


def spawn_key(parent: Key, step: str) -> str:
    """The message id under which the send of a spawned task is remembered."""
    return own_key(f"spawn:{parent.hex()}:{step}")


def unique_key(key: str) -> str:
    """The message id under which a task's unique key is remembered."""
    return own_key(f"unique:{key}")


def id_of(key: Key) -> str:
    """What clients call a task whose id they did not choose."""
    digits = key.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def key_of(task_id: str) -> Key:
    """The key of a task whose id no client chose. Raises ValueError for any other id."""
    key = Key(bytes.fromhex(task_id.replace("-", "")))
    if id_of(key) != task_id:
        raise ValueError(task_id)
    return key
