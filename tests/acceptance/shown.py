"""What the documentation shows: Python snippets, and console sessions with what their commands print.

A snippet that begins with `# name.py` is that file. A session is a `console` block: a line that begins with `$ ` is a
command, which goes on in the next line behind a backslash or inside quotes; the lines behind it are what it prints, on
either stream. In them `…` stands for any text, and on a line of its own for any lines. Port 8000 is replaced by that of
the test's server.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# ([a-z_]+\.py)\n")


@dataclass(frozen=True)
class Command:
    """A command and what it prints."""

    line: str
    prints: str


@dataclass
class Snippet:
    """Python that a page shows, as the file `name`, and the sessions behind it."""

    page: Path
    name: str
    code: str
    sessions: list[Command] = field(default_factory=list)


def snippets(page: Path) -> list[Snippet]:
    """The snippets of a page, each with the sessions between it and the next one."""
    found: list[Snippet] = []
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            named = _NAME.match(text)
            found.append(Snippet(page, named[1] if named else "snippet.py", text))
        else:
            found[-1].sessions += _commands(text)
    return found


def _commands(session: str) -> list[Command]:
    found: list[Command] = []
    for shown in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        lines = shown.rstrip("\n").split("\n")
        end = next(n for n in range(1, len(lines) + 1) if _is_whole("\n".join(lines[:n])))
        found.append(Command("\n".join(lines[:end]), "\n".join(lines[end:]).rstrip("\n")))
    return found


def _is_whole(command: str) -> bool:
    return command.count("'") % 2 == 0 and not command.endswith("\\")


def unlike(commands: Sequence[Command], cwd: Path, port: int, seconds: float = 3 * PATIENCE) -> list[str]:
    """What the commands print otherwise than shown, run in one shell; nothing where all is as shown.

    A server that a command starts in the background is waited for.
    """
    mark = f"--{secrets.token_hex(8)}--"
    url = f"http://127.0.0.1:{port}"
    ready = f"until curl -so /dev/null {url}/livez; do sleep 0.1; done"
    script = "\n".join(
        line
        for command in commands
        for line in (
            command.line.replace("http://127.0.0.1:8000", url),
            *([ready] if command.line.endswith("&") else []),
            f"printf '\\n%s\\n' {mark}",
        )
    )
    shell = subprocess.Popen(
        ["bash", "-c", f"exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n{script}\n"],
        cwd=cwd,
        env={**os.environ, **_environment(url, port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        *printed, rest = shell.communicate(timeout=seconds)[0].split(f"\n{mark}\n")
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        raise
    if len(printed) < len(commands):
        return [f"$ {commands[len(printed)].line}\n{rest}\n-- and the shell ended"]
    return [
        f"$ {command.line}\n{got}\n-- instead of --\n{command.prints}"
        for command, got in zip(commands, printed, strict=True)
        if not _is_like(got.rstrip("\n").replace(url, "http://127.0.0.1:8000"), command.prints)
    ]


def _environment(url: str, port: int) -> Mapping[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "A2A_URL": url,
        "A2A_SERVER_PORT": str(port),
        "COLUMNS": "200",
        "NO_PROXY": "*",
    }


def _is_like(got: str, shown: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, f"{got}\n" if got else "") is not None


def curl_is_there() -> bool:
    """Whether commands with curl can be tried."""
    return shutil.which("curl") is not None
