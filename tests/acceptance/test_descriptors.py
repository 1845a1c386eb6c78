"""A server allows itself as many open files as its connections need, where the system lets it."""

from __future__ import annotations

import resource
import subprocess
import sys

from tests.patience import PATIENCE

PROGRAM = """
import resource
from a2a_server.wiring import serving
serving._allow_descriptors({wanted})
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def allowed(wanted: int, soft: int, hard: int) -> tuple[int, str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(wanted=wanted)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return int(done.stdout), done.stderr


def test_the_soft_limit_is_raised_as_far_as_it_may_be() -> None:
    assert allowed(700, 256, 1024) == (700, "")
    assert allowed(200, 256, 1024) == (256, "")
    figure, said = allowed(5000, 256, 1024)
    assert figure == 1024
    assert "may open 1024 files" in said
