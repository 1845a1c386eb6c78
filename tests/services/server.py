"""One running server: started, asked until it answers, stopped, killed, paused, ended with all its processes.

Theory of operation. A server is the leader of a session of its own, so that Ctrl-C at a terminal ends the tests first
and the servers after them. Its *family* is the leader and everything below it; what stops or pauses a server does it to
the family, because PostgreSQL gives each of its processes a session of its own. Beside each server stands a *guard*, a
shell that reads from a pipe held by this process alone: when this process is gone, however it went, the guard ends the
server and removes its folder.

Weaknesses: between the start of a server and that of its guard, a SIGKILL of this process leaves the server running.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom

import psutil

from tests.patience import PATIENCE
from tests.services.kinds import KINDS, Kind, NotReady
from tests.services.programs import DAEMONS

PORTS = range(22000, 32000)  # below 32768: above, an outgoing connection may take the port of a stopped server
LOG_BYTES = 2000
_GUARD = """
read -r word
[ "$word" = done ] && exit
kill -s "$1" -- "-$2"
for i in 0 1 2 3 4 5 6 7 8 9; do kill -0 -- "-$2" || break; sleep 0.3; done
kill -s KILL -- "-$2"
rm -rf "$3"
"""


class Server:
    """A server of a kind, on ports and data that stay the same until it is ended.

    Not for two threads at once.
    """

    def __init__(self, kind: Kind, *, guarded: bool = True) -> None:
        self._kind = kind
        self._guarded = guarded
        self._leader: psutil.Process | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, the same after every start."""
        return self._kind.url

    @property
    def pid(self) -> int:
        """The process that leads the others; RuntimeError when it is not running."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether its leading process is there, answering or not."""
        return self._leader is not None and _status(self._leader) != psutil.STATUS_ZOMBIE

    def start(self) -> None:
        """It runs and has answered a real command.

        Raises:
            Missing: this machine has no program for it.
            NotReady: it ended, or did not answer in time; it is stopped then.
        """
        if self.running:
            return
        self._kind.prepare()
        self._leader = self._run(self._kind.command())
        try:
            self._note(self._leader)
            with ThreadPoolExecutor(1) as thread:  # drivers may want an event loop, and the caller's may be running
                thread.submit(self._until_it_answers).result()
        except BaseException:
            self.kill()
            raise

    def stop(self, immediate: bool = False) -> None:
        """It has ended in its own way; `immediate`: without what it does for a tidy end (PostgreSQL: SIGQUIT)."""
        self._end(self._kind.at_once if immediate else self._kind.calmly)

    def kill(self) -> None:
        """All its processes have got SIGKILL and are gone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """All its processes stand still; connections stay open."""
        family = _family(self._running())
        _send(family, signal.SIGSTOP)
        _until("stopped", family, lambda status: status == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        """They go on."""
        _go_on(_family(self._running()))

    def discard(self) -> None:
        """It has ended, and its data are gone."""
        self.kill()
        shutil.rmtree(self._kind.home, ignore_errors=True)

    def find(self) -> None:
        """Takes over the processes that an unguarded server of the same folder noted, if they still run."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            noted = json.loads((self._kind.home / "process.json").read_text())
            process = psutil.Process(noted["pid"])
            if abs(process.create_time() - noted["created"]) < 5:  # it moves with the clock
                self._leader = process

    def _running(self) -> psutil.Process:
        if self._leader is None or not self.running:
            raise RuntimeError(f"{self._kind.name} is not running")
        return self._leader

    def _run(self, command: list[str]) -> psutil.Popen:
        home = str(self._kind.home)
        path = f"{os.environ.get('PATH', os.defpath)}:{DAEMONS}"
        usual = {"PATH": path, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
        user, group = self._kind.user or (None, None)
        with (self._kind.home / "log").open("ab") as log:
            return psutil.Popen(
                command,
                cwd=self._kind.data,
                env=usual | self._kind.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )

    def _note(self, leader: psutil.Process) -> None:
        home = str(self._kind.home)
        if self._guarded:
            words = [self._kind.at_once.name.removeprefix("SIG"), str(leader.pid), home]
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", *words],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        else:
            noted = {"pid": leader.pid, "created": leader.create_time()}
            (self._kind.home / "process.json").write_text(json.dumps(noted))

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + self._kind.seconds
        while True:
            try:
                self._kind.answer()
            except Exception as error:  # whatever a driver makes of a server that is half there
                if not self.running:
                    raise NotReady(f"{self._kind.name} ended at its start: {self._last_words()}") from error
                if time.monotonic() > deadline:
                    what = f"{self._kind.name} did not answer within {self._kind.seconds:.0f} s"
                    raise NotReady(f"{what}: {error!r}; {self._last_words()}") from error
                time.sleep(0.05)
            else:
                return

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return (self._kind.home / "log").read_bytes()[-LOG_BYTES:].decode(errors="replace")
        return "no log"

    def _end(self, how: signal.Signals) -> None:
        leader, self._leader = self._leader, None
        if leader is not None:
            family = _family(leader)
            if how is signal.SIGKILL:
                _send(family, how)
            else:
                _go_on(family)  # it may be paused
                # On its way back into a wait, Python notes a signal and goes on waiting: it has to be there.
                with contextlib.suppress(RuntimeError):
                    _until("at rest", [leader], lambda status: status == psutil.STATUS_SLEEPING)
                _send([leader], how)
            psutil.wait_procs([leader], timeout=PATIENCE)  # which is ours to reap, others are init's
            _send(family, signal.SIGKILL)
            psutil.wait_procs([leader], timeout=PATIENCE)
            _until("gone", family, lambda status: False)
        if self._guard is not None:
            self._guard.communicate(b"done\n")
            self._guard = None
        (self._kind.home / "process.json").unlink(missing_ok=True)


def begin(name: str, *, durable: bool = False, to: str = "") -> Server:
    """A started server on free ports and in a new folder of its own; its `discard` removes both.

    Raises:
        Missing: this machine has no program for it.
        NotReady: it ended, or did not answer in time.
    """
    kind = KINDS[name]
    for last in (False, False, True):
        home = Path(tempfile.mkdtemp(prefix=f"a2a-{kind.name}-"))
        made = kind(home, free_ports(kind.needs), durable=durable, to=to)
        if made.user is not None:
            os.chown(home, *made.user)
        server = Server(made)
        try:
            server.start()
        except NotReady:
            server.discard()
            if last or all(is_free(port) for port in made.ports):
                raise  # not because somebody took a port meanwhile
        except BaseException:
            server.discard()
            raise
        else:
            return server
    raise AssertionError


@contextmanager
def own(name: str, *, durable: bool = False, to: str = "") -> Iterator[Server]:
    """A server of the caller's own, to stop, flush and kill; it and its data are gone afterwards.

    Args:
        name: postgresql, pgbouncer, redis, rabbitmq, mongodb, s3 or sqs (the last two are one program).
        durable: What it acknowledges survives a power cut (PostgreSQL, Redis, MongoDB); off, it is quicker, and Redis
            is empty after every start.
        to: The address of PgBouncer's PostgreSQL; its pools are per transaction.

    Raises:
        Missing: this machine has no program for it.
        NotReady: it ended, or did not answer in time.
    """
    server = begin(name, durable=durable, to=to)
    try:
        yield server
    finally:
        server.discard()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, and that no other run of tests is given while this one lasts.

    Raises RuntimeError: there are not so many.
    """
    found: list[int] = []
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            return found
        if is_free(port) and _reserved(port):
            found.append(port)
    raise RuntimeError(f"there are no {count} free ports")


def _reserved(port: int) -> bool:
    """Whether this process has the port's name from now on, to its end: so a stopped server finds its port again."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0a2a-tests-{port}")
    except OSError:
        name.close()
        return False
    name.detach()
    return True


def is_free(port: int) -> bool:
    """Whether nobody listens on it; a connection that lingers there does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _family(leader: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [leader, *leader.children(recursive=True)]
    return [leader]


def _send(processes: list[psutil.Process], how: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(how)


def _go_on(processes: list[psutil.Process]) -> None:
    _send(processes, signal.SIGCONT)
    # While its main thread stands still, a process gives the next signal to another thread, where Python misses it.
    _until("going on", processes, lambda status: status != psutil.STATUS_STOPPED)


def _until(what: str, processes: list[psutil.Process], reached: Callable[[str], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(status == psutil.STATUS_ZOMBIE or reached(status) for status in map(_status, processes)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes that are not {what} after {PATIENCE:.0f} s: {processes}")
        time.sleep(0.01)


def _status(process: psutil.Process) -> str:
    try:
        return process.status() if process.is_running() else psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE
