"""What the load says to each kind of server: whole exchanges, checked, as bytes made beforehand but for their ids.

Every server is asked in the generation that it speaks best, and gives as many events and as much content as the others.
"""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any
from uuid import uuid4

from tests.bench.load import Broken, Connection
from tests.bench.servers import FASTA2A, Kind

OPTIONS = "urn:a2a-task-server:task-options:v1"
DONE = (b"COMPLETED", b'"completed"')
POLLS = 20_000


class Speaker:
    """Speaks to one server in A2A 1.0. One instance may serve any number of connections."""

    version = "1.0"
    send_method = "SendMessage"
    stream_method = "SendStreamingMessage"
    get_method = "GetTask"
    role = "ROLE_USER"

    def __init__(self, kind: Kind) -> None:
        self._ours = not kind.program
        self._mine = uuid4().hex[:24]  # no two speakers give one id
        self._numbers = count(1)

    async def echo(self, client: Connection, text: str = "echo hi") -> str:
        """One blocking send until the task is complete; its id."""
        return self._task_id(_complete(await client.ask(self._send(text))))

    async def moment(self, client: Connection) -> int:
        """One blocking send; when its handler ran, nanoseconds of the machine's monotonic clock."""
        task = json.loads(_complete(await client.ask(self._send("moment"))))["result"]["task"]
        return int(task["artifacts"][0]["parts"][0]["text"])

    async def acknowledged(self, client: Connection) -> None:
        """One send that waits only until the task is accepted."""
        _result(await client.ask(self._send("echo hi", {"returnImmediately": True})))

    async def stream(self, client: Connection, chunks: int, gap_seconds: float = 0.0) -> int:
        """One stream to its end; how many events it had: the task, `working`, each chunk, and the end."""
        events = await client.follow(self.stream_request(chunks, gap_seconds))
        if events != chunks + 3:
            raise Broken(f"a stream of {chunks} chunks had {events} events")
        return events

    async def begin_stream(self, client: Connection, chunks: int, gap_seconds: float) -> str:
        """A task that goes on by itself, to be watched; its id."""
        params: dict[str, Any] = json.loads(self.stream_request(chunks, gap_seconds).partition(b"\r\n\r\n")[2])[
            "params"
        ]
        params["configuration"] = {"returnImmediately": True}
        return self._task_id(_result(await client.ask(self._request(self.send_method, params))))

    async def sleep(self, client: Connection, seconds: float) -> None:
        """A blocking send whose task takes so long."""
        _complete(await client.ask(self._send(f"sleep {seconds}")))

    async def blob(self, client: Connection, size: int) -> None:
        """An artifact of so many bytes."""
        _long(await client.ask(self.blob_request(size)), size)

    async def message(self, client: Connection, size: int) -> None:
        """A message of so many bytes in, a short answer out."""
        _complete(await client.ask(self._send("echo " + "x" * size)))

    def blob_request(self, size: int) -> bytes:
        """The request of `blob`."""
        return self._send(f"blob {size}")

    def get(self, task_id: str) -> bytes:
        """The request for one task."""
        return self._request(self.get_method, {"id": task_id})

    def list(self) -> bytes:
        """The request for the first page of the list, with its total."""
        return self._request("ListTasks", {"pageSize": 50})

    def subscribe(self, task_id: str) -> bytes:
        """The request to follow one task."""
        return self._request("SubscribeToTask", {"id": task_id})

    def stream_request(self, chunks: int, gap_seconds: float = 0.0) -> bytes:
        """The request of `stream`."""
        gap = f" {gap_seconds}" if gap_seconds else ""
        if not self._ours:
            return self._request(self.stream_method, {"message": self._message(f"stream {chunks}{gap}")})
        params = {"message": self._message(f"{chunks}{gap}"), "metadata": {OPTIONS: {"skill": "stream"}}}
        return self._request(self.stream_method, params)

    def _send(self, text: str, configuration: dict[str, Any] | None = None) -> bytes:
        params: dict[str, Any] = {"message": self._message(text)}
        if configuration:
            params["configuration"] = configuration
        return self._request(self.send_method, params)

    def _message(self, text: str) -> dict[str, Any]:
        return {"messageId": f"{self._mine}-{next(self._numbers)}", "role": self.role, "parts": [{"text": text}]}

    def _task_id(self, answer: bytes) -> str:
        result = json.loads(answer)["result"]
        return str(result.get("task", result)["id"])

    def _request(self, method: str, params: dict[str, Any]) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}).encode()
        version = f"A2A-Version: {self.version}\r\n" if self.version else ""
        head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{version}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class SpeakerV01(Speaker):
    """Speaks `tasks/send` of v0.1, where the client names the task."""

    version = ""
    send_method = "tasks/send"

    def _send(self, text: str, configuration: dict[str, Any] | None = None) -> bytes:
        message = {"role": "user", "parts": [{"type": "text", "text": text}]}
        return self._request(self.send_method, {"id": f"{self._mine}-{next(self._numbers)}", "message": message})


class SpeakerFasta2a(Speaker):
    """Speaks to fasta2a: objects of 1.0 under the names of 0.3; its send never waits, so the task is asked for."""

    version = ""
    role = "user"
    send_method = "message/send"
    stream_method = "message/stream"
    get_method = "tasks/get"

    async def echo(self, client: Connection, text: str = "echo hi") -> str:
        """A send, and reads until the task is complete."""
        task_id = self._task_id(_result(await client.ask(self._send(text))))
        request = self.get(task_id)
        for _ in range(POLLS):
            answer = await client.ask(request)
            if any(word in answer for word in DONE):
                return task_id
            await asyncio.sleep(0)
        raise Broken(f"the task {task_id} did not end")


def speaker(kind: Kind) -> Speaker:
    """Whoever speaks to this kind of server as it likes it best."""
    return SpeakerFasta2a(kind) if kind is FASTA2A else Speaker(kind)


def _result(answer: bytes) -> bytes:
    if b'"result"' not in answer:
        raise Broken(f"no result: {answer[:500]!r}")
    return answer


def _complete(answer: bytes) -> bytes:
    if not any(word in _result(answer) for word in DONE):
        raise Broken(f"not completed: {answer[:500]!r}")
    return answer


def _long(answer: bytes, size: int) -> bytes:
    if len(_complete(answer)) < size:
        raise Broken(f"an answer of {len(answer)} bytes instead of {size} and more")
    return answer
