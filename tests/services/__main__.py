"""`python -m tests.services start|status|stop [NAME…]`: the services of one developer's machine.

They run on fixed ports with data in `.cache/services/data`, until they are stopped. What tells a shell goes to standard
output, everything else to standard error.
"""
# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.services.kinds import KINDS, Kind, NotReady
from tests.services.programs import ROOT, Missing
from tests.services.server import Server, is_free

DATA = ROOT / ".cache/services/data"
SERVICES = ("postgresql", "redis", "rabbitmq", "mongodb", "s3", "sqs")
PORTS = {  # beside the usual ones, and below what the system gives to outgoing connections
    "mongodb": [21017],
    "redis": [21379],
    "postgresql": [21432],
    "aws": [21566],
    "rabbitmq": [21672, 21673, 21674],
}


def main() -> int:
    """The exit code: 0 when everything asked for is so."""
    parser = argparse.ArgumentParser(prog="scripts/services", description="The services of this machine.")
    parser.add_argument("verb", choices=("start", "status", "stop"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SERVICES))
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(SERVICES))
    if unknown:
        parser.error(f"no service is called {', '.join(unknown)}; there are {', '.join(SERVICES)}")
    kinds = list(dict.fromkeys(KINDS[name] for name in asked.names or SERVICES))
    with ThreadPoolExecutor(1 if asked.verb == "status" else len(kinds)) as threads:
        done = list(threads.map({"start": start, "status": status, "stop": stop}[asked.verb], kinds))
    return 0 if all(done) else 1


def start(kind: type[Kind]) -> bool:
    made, server = known(kind)
    if not server.running:
        taken = [port for port in made.ports if not is_free(port)]
        if taken:
            return tell(kind, f"port {taken[0]} is taken by a program that scripts/services did not start")
        try:
            server.start()
        except (Missing, NotReady) as error:
            return tell(kind, str(error))
    for name in names(kind):
        print(f"export A2A_TEST_{name.upper()}_URL={server.url}", flush=True)
    return True


def status(kind: type[Kind]) -> bool:
    _, server = known(kind)
    for name in names(kind):
        print(f"{name:<12}{f'runs at {server.url} (process {server.pid})' if server.running else 'does not run'}")
    return server.running


def stop(kind: type[Kind]) -> bool:
    _, server = known(kind)
    if server.running:
        server.stop()
        tell(kind, "stopped")
    return True


def known(kind: type[Kind]) -> tuple[Kind, Server]:
    home = DATA / kind.name
    home.mkdir(parents=True, exist_ok=True)
    made = kind(home, PORTS[kind.name], durable=True)
    if made.user is not None:
        os.chown(home, *made.user)
    server = Server(made, guarded=False)
    server.find()
    return made, server


def names(kind: type[Kind]) -> list[str]:
    return [name for name in SERVICES if KINDS[name] is kind]


def tell(kind: type[Kind], what: str) -> bool:
    """Says it; False."""
    print(f"services: {kind.name}: {what}", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
