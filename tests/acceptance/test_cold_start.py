"""What a server has read when it gives its first answer: nothing that many a server is never asked for."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from tests.acceptance.test_cli import serving
from tests.patience import PATIENCE

AGENT = """
import json
import sys

from a2a_server import Agent

agent = Agent("Modules")

@agent.skill
async def modules() -> str:
    return json.dumps(sorted(sys.modules))
"""
LIBRARIES = {"aio_pika", "asyncpg", "boto3", "cronsim", "httpx2", "prometheus_client", "pydantic_settings", "yaml"}
OURS = {
    "agents.task_commands",
    "engine.scheduling",
    "lifecycle.editing",
    "lifecycle.explaining",
    "lifecycle.making",
    "lifecycle.pulling",
    "lifecycle.schedules",
    "lifecycle.ticking",
    "model.management",
    "model.schedules",
    "service.explaining",
    "service.pullers",
    "service.schedules",
    "service.sizing",
    "web.management.application",
    "web.management.inputs",
    "web.management.openapi",
    "web.management.routes",
    "web.management.table",
}
LATE = LIBRARIES | {f"a2a_server.{name}" for name in OURS}


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
    request = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    with serving(tmp_path, AGENT) as served, httpx2.Client(trust_env=False, timeout=PATIENCE) as http:
        answer = http.post(served.url, json=request, headers={"A2A-Version": "1.0"}).json()
    [part] = answer["result"]["task"]["artifacts"][0]["parts"]
    modules = set(json.loads(part["text"]))
    assert "a2a_server.service.operations" in modules
    assert modules & LATE == set()
