"""An agent whose resources cannot be opened, served from the command line: one line, exit code 1, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE

COMMAND = str(Path(sys.executable).with_name("a2a-server"))
AGENT = """
from a2a_server import Agent

agent = Agent("Broken")

@agent.skill
async def echo(text: str) -> str:
    return text

@agent.lifespan
async def resources():
    raise OSError("no model here")
    yield
"""


def test_resources_that_cannot_be_had_end_the_start_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(AGENT)
    for _ in range(2):  # the first start let go of the database
        ended = subprocess.run(
            [COMMAND, "run", "broken.py", "--port", "0"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == (
            "a2a-server: The agent's lifespan could not open its resources (OSError: no model here).\n"
        )
