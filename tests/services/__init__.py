"""Real services for tests. A stand-in until scripts/services exists."""

import os

_HERE = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432/postgres",
    "redis": "redis://127.0.0.1:6379/15",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672/",
    "mongodb": "mongodb://127.0.0.1:27099/",
    "s3": "http://127.0.0.1:4599",
    "sqs": "http://127.0.0.1:4599",
}


def service(name: str) -> str:
    """The address of a running service; skips the test where there is none."""
    return os.environ.get(f"A2A_TEST_{name.upper()}_URL", _HERE[name])
