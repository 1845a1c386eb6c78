"""What there is to know about each kind of server: its command line, its address, how it ends, when it answers.

One class a program, one instance a server. A kind knows its program and nothing about processes; `server.py` runs it.
`aws` is S3 and SQS, one process for both.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from tests.patience import PATIENCE
from tests.services import answers, programs


class NotReady(Exception):
    """A server was started and does not answer: which, and the last lines of its log."""


class Kind:
    """A server with a folder and ports of its own.

    Args:
        home: An existing folder, kept as long as the server's data.
        ports: As many free ports of 127.0.0.1 as `needs`.
        durable: What it acknowledges survives a power cut. Off, it is as quick as it can be.
        to: The address of the server behind it (PgBouncer).
    """

    name: ClassVar[str]
    needs: ClassVar[int] = 1
    seconds: ClassVar[float] = PATIENCE  # from start to the first answer
    calmly: ClassVar[signal.Signals] = signal.SIGTERM
    at_once: ClassVar[signal.Signals] = signal.SIGKILL
    unprivileged: ClassVar[bool] = False  # the program refuses to run as root

    def __init__(self, home: Path, ports: list[int], *, durable: bool, to: str = "") -> None:
        self.home = home
        self.port = ports[0]
        self.ports = ports
        self.durable = durable
        self.to = to

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def user(self) -> tuple[int, int] | None:
        """Who runs it, user and group; None: whoever runs this."""
        if not self.unprivileged or os.geteuid() != 0:
            return None
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def prepare(self) -> None:
        """Makes what has to be there before the first start; raises Missing or NotReady. Does nothing twice."""
        self.data.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def answer(self) -> None:
        """Returns once the first real command has been answered; raises whatever its driver does."""
        raise NotImplementedError


class PostgreSQL(Kind):
    name = "postgresql"
    calmly = signal.SIGINT  # ends connections and writes a checkpoint
    at_once = signal.SIGQUIT  # "immediate": no checkpoint; the next start recovers
    unprivileged = True

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def programs(self) -> Path:
        return programs.postgresql(as_nobody=self.user is not None)

    def prepare(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        initdb = [str(self.programs / "initdb"), "--pgdata", str(self.data)]
        initdb += ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        user, group = self.user or (None, None)
        done = subprocess.run(
            initdb if self.durable else [*initdb, "--no-sync"],
            cwd="/",
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise NotReady(f"postgresql: initdb failed as user {user or os.geteuid()}: {done.stderr[-1000:]}")

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "32MB",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *words]

    def answer(self) -> None:
        answers.postgresql(self.url)


class PgBouncer(Kind):
    name = "pgbouncer"
    calmly = signal.SIGINT
    unprivileged = True

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}{urlsplit(self.to).path}"

    def prepare(self) -> None:
        super().prepare()
        behind = urlsplit(self.to)
        (self.home / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={behind.hostname} port={behind.port} user={behind.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\nmax_client_conn = 300\ndefault_pool_size = 10\n"
        )

    def command(self) -> list[str]:
        return [programs.installed("pgbouncer"), str(self.home / "pgbouncer.ini")]

    def answer(self) -> None:
        answers.postgresql(self.url)


class Redis(Kind):
    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        kept = ("yes", "--appendfsync", "always") if self.durable else ("no",)
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data), "--save", ""]
        return [programs.installed("redis-server", wheel=True), *words, "--appendonly", *kept]

    def answer(self) -> None:
        answers.redis(self.url)


class RabbitMQ(Kind):
    """Its port mapper (epmd) is one of its own, in its process group, so that nothing is left behind or shared."""

    name = "rabbitmq"
    needs = 3

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def prepare(self) -> None:
        super().prepare()
        (self.home / "empty.conf").touch()
        (self.home / "plugins").touch()
        (self.home / "rabbitmq.conf").write_text(
            "disk_free_limit.absolute = 50MB\nlog.console = true\nlog.console.level = warning\nlog.file = false\n"
        )

    def command(self) -> list[str]:
        server, epmd = programs.installed("rabbitmq-server"), programs.installed("epmd")
        script = (
            '"$1" & for i in $(seq 200); do "$1" -names >/dev/null 2>&1 && break; sleep 0.05; done; shift; exec "$@"'
        )
        return ["/bin/sh", "-c", script, "sh", epmd, server]

    def environment(self) -> dict[str, str]:
        port, distribution, mapper = self.ports
        only_here = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the server, instead of waiting for it
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "empty.conf"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(self.home),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_NODENAME": f"a2a{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-noinput {only_here}",
        }

    def answer(self) -> None:
        answers.rabbitmq(self.url)


class MongoDB(Kind):
    name = "mongodb"

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.data)]
        words += ["--cache-size", "1G", *(["--sync-on-commit"] if self.durable else [])]
        return [*programs.from_wheel("secantusd-py"), *words]

    def answer(self) -> None:
        answers.mongodb(self.url)


class AWS(Kind):
    """Objects are on disk at once; buckets without objects and queues only after a calm stop."""

    name = "aws"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return programs.from_wheel("ministack")

    def environment(self) -> dict[str, str]:
        return {
            "BIND_HOST": "127.0.0.1",
            "DOCKER_HOST": f"unix://{self.home}/none",  # else it ends containers that it takes for its own
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "MINISTACK_HOST": "127.0.0.1",
            "PERSIST_STATE": "1",
            "S3_DATA_DIR": str(self.data / "objects"),
            "S3_PERSIST": "1",
            "SERVICES": "s3,sqs",
            "STATE_DIR": str(self.data / "state"),
        }

    def answer(self) -> None:
        answers.s3(self.url)
        answers.sqs(self.url)


KINDS: dict[str, type[Kind]] = {
    "postgresql": PostgreSQL,
    "pgbouncer": PgBouncer,
    "redis": Redis,
    "rabbitmq": RabbitMQ,
    "mongodb": MongoDB,
    "s3": AWS,
    "sqs": AWS,
}
