"""An agent served for its own tests: in this process and event loop, by the real engine, over real HTTP.

```python
from a2a_server.testing import connect

async def test_survives_a_crash() -> None:
    async with connect(agent) as server:
        server.crash_worker(at_event=3)
        task = await server.send("count to ten")
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
```
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, TypedDict, Unpack
from uuid import uuid4

import httpx2

from a2a_server.agent import Agent
from a2a_server.cli.sse import Reader
from a2a_server.model.objects import OPTIONS_URI, File
from a2a_server.running import AgentRunner
from a2a_server.settings import load
from a2a_server.testing.crashes import Crashes
from a2a_server.wiring import Server, System, serve_in_loop

__all__ = ["Connection", "RpcError", "connect"]

Json: TypeAlias = dict[str, Any]
Protocol: TypeAlias = Literal["1.0", "0.3", "0.1"]

_METHODS: Mapping[Protocol, Mapping[str, str]] = {
    "1.0": {
        "send": "SendMessage",
        "stream": "SendStreamingMessage",
        "get": "GetTask",
        "cancel": "CancelTask",
        "subscribe": "SubscribeToTask",
    },
    "0.3": {
        "send": "message/send",
        "stream": "message/stream",
        "get": "tasks/get",
        "cancel": "tasks/cancel",
        "subscribe": "tasks/resubscribe",
    },
    "0.1": {
        "send": "tasks/send",
        "stream": "tasks/sendSubscribe",
        "get": "tasks/get",
        "cancel": "tasks/cancel",
        "subscribe": "tasks/resubscribe",
    },
}


class Said(TypedDict, total=False):
    """What a message may say beside its text.

    data: a data part. files: file parts. options: task options by their names, for example `{"maxAttempts": 1}`.
    metadata: of the request. message_id: default: a new one; v0.1 messages have none. task_id: the task that the
    message answers; in v0.1 the id of the new task, which clients make. context_id: the conversation; default: a new
    one. generation: of the protocol, "1.0", "0.3" or "0.1"; default: "1.0".
    """

    data: Json
    files: Sequence[File]
    options: Json
    metadata: Json
    message_id: str
    task_id: str
    context_id: str
    generation: Protocol


class RpcError(Exception):
    """The server answered with an error: its JSON-RPC `code`, its `message`, and `data` where it has some."""

    def __init__(self, error: Json) -> None:
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")
        super().__init__(f"{self.code} {self.message}")


@asynccontextmanager
async def connect(agent: Agent, **settings: object) -> AsyncIterator[Connection]:
    """Serve `agent` in the running event loop while the context lasts, and talk to it.

    Tasks live in a temporary directory, on a free port of 127.0.0.1. Two defaults differ from a server's, so that tests
    are quick: the first wait between attempts is 10 ms, but of skills with `backoff_seconds`, and the end waits for no
    running task (it is handed back).

    Args:
        agent: what to serve.
        **settings: any setting by its name, as for `a2a_server.run`. Give `store` and `artifacts` to keep the tasks and
            connect to them again.

    Raises:
        ConfigurationError: the agent or a setting cannot work; the text says what to change.
    """
    loop = asyncio.get_running_loop()
    with TemporaryDirectory(prefix="a2a-server-") as directory:
        chosen: dict[str, object] = {
            "host": "127.0.0.1",
            "port": 0,
            "public_url": "",
            "store": f"sqlite:///{directory}/tasks.db",
            "artifacts": f"file:///{directory}/artifacts",
            "backoff_base_seconds": 0.01,
            "drain_seconds": 0.0,
            **settings,
        }
        crashes: list[Crashes] = []

        def around(runner: AgentRunner) -> AgentRunner:
            crashes.append(Crashes(runner))
            return crashes[0]

        system = System(agent, load(None, **chosen), around=around)
        crashes[0].engine = system.engine
        listening: asyncio.Queue[Server] = asyncio.Queue()
        serving = loop.create_task(serve_in_loop(system, listening.put_nowait))
        waiting = loop.create_task(listening.get())
        await asyncio.wait([waiting, serving], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await serving
        server = waiting.result()
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        timeout = httpx2.Timeout(120.0)
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP: to load the usual authorities takes 20 ms
        try:
            async with httpx2.AsyncClient(base_url=url, timeout=timeout, trust_env=False, verify=nobody) as http:
                yield Connection(url, http, system, crashes[0])
        finally:
            crashes[0].forget()
            server.should_exit = True
            await serving


class Connection:
    """A client of the served agent, and a hand on its worker.

    What comes back is JSON as the protocol's generation spells it. Every call raises RpcError for an error of the
    protocol, and what httpx2 raises for a broken connection.

    Attributes:
        url: where the server listens, without a slash at its end.
    """

    def __init__(self, url: str, http: httpx2.AsyncClient, system: System, crashes: Crashes) -> None:
        self.url = url
        self._http = http
        self._system = system
        self._crashes = crashes
        self._ids = itertools.count(1)

    async def send(self, text: str | None = None, *, blocking: bool = True, **said: Unpack[Said]) -> Json:
        """Send a message; the task when it has ended or asks, or (not blocking) as soon as it is stored.

        Args:
            text: the message's text part; None = none.
            blocking: wait for the end.
            **said: see `Said`.
        """
        if not blocking:
            said["options"] = {**said.get("options", {}), "returnImmediately": True}
        generation = said.get("generation", "1.0")
        result = await self._result("send", _params(text, said), generation)
        return dict(result.get("task") or result["message"]) if generation == "1.0" else result

    async def stream(
        self, text: str | None = None, *, after: int | None = None, **said: Unpack[Said]
    ) -> AsyncGenerator[tuple[int | None, Json]]:
        """Send a message and follow its task. Closing the iterator closes the connection; the task goes on.

        Args:
            text: the message's text part; None = none.
            after: of a message that was sent before: continue behind this event.
            **said: see `Said`.

        Yields:
            `(n, item)`. n: the number of the last event that the item includes; None where a snapshot takes several
            items. item: in 1.0 an object with one of task, message, statusUpdate and artifactUpdate, in 0.3 an object
            that says its `kind`, in v0.1 a status or an artifact event.
        """
        async for pair in self._items("stream", _params(text, said), after, said.get("generation", "1.0")):
            yield pair

    async def get(self, task_id: str, *, history_length: int | None = None, generation: Protocol = "1.0") -> Json:
        """The task as it is, with its newest `history_length` messages (None = the generation's default)."""
        params: Json = {"id": task_id}
        if history_length is not None:
            params["historyLength"] = history_length
        return await self._result("get", params, generation)

    async def cancel(self, task_id: str, *, generation: Protocol = "1.0") -> Json:
        """The canceled task."""
        return await self._result("cancel", {"id": task_id}, generation)

    async def subscribe(
        self, task_id: str, after: int | None = None, *, generation: Protocol = "1.0"
    ) -> AsyncGenerator[tuple[int | None, Json]]:
        """Follow a task from now on, or from behind event `after`; yields what `stream` yields."""
        async for pair in self._items("subscribe", {"id": task_id}, after, generation):
            yield pair

    async def rpc(self, method: str, params: object = None, *, headers: Mapping[str, str] | None = None) -> Json:
        """The whole JSON-RPC response to any method, an error too. Only the given headers say a version."""
        response = await self._http.post("/", json=self._request(method, params), headers=dict(headers or {}))
        body: Json = response.json()
        return body

    def crash_worker(self, *, at_event: int | None = None, task_id: str | None = None) -> Awaitable[None]:
        """Let the worker die as in a killed process; another takes over at once.

        The crash takes all runs of the worker, not only the one that meets it. Each call is one crash; what it names
        may lie in the future.

        Args:
            at_event: which event of its task a run has to write; that event is committed, and nothing later of that
                run. Event 1 is the task as submitted, 2 says that it is at work; a run that begins behind the event
                dies before its first output. None = now.
            task_id: whose run; None = the first of any task.

        Returns:
            Await it to wait until the other worker has taken over; there is no need to. A crash at an event that no run
            writes never comes.
        """
        return self._crashes.arm(at_event, task_id)

    def _request(self, method: str, params: object) -> Json:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    async def _result(self, operation: str, params: Json, generation: Protocol) -> Json:
        method = _METHODS[generation][operation]
        return _result(await self.rpc(method, params, headers={"A2A-Version": generation}))

    async def _items(
        self, operation: str, params: Json, after: int | None, generation: Protocol
    ) -> AsyncGenerator[tuple[int | None, Json]]:
        headers = {"A2A-Version": generation, **({} if after is None else {"Last-Event-ID": str(after)})}
        request = self._request(_METHODS[generation][operation], params)
        async with self._http.stream("POST", "/", json=request, headers=headers) as response:
            if not response.headers["content-type"].startswith("text/event-stream"):
                _result(json.loads(await response.aread()))
            reader = Reader()
            async for chunk in response.aiter_bytes():
                for event in reader.feed(chunk):
                    yield None if event.id is None else int(event.id), _result(json.loads(event.data))


def _result(body: Json) -> Json:
    if "error" in body:
        raise RpcError(body["error"])
    return dict(body["result"])


def _params(text: str | None, said: Said) -> Json:
    if unknown := said.keys() - Said.__annotations__.keys():
        raise TypeError(f"a message says no {', '.join(sorted(unknown))}; it says {', '.join(Said.__annotations__)}")
    options, generation = said.get("options"), said.get("generation", "1.0")
    metadata = {**said.get("metadata", {}), **({OPTIONS_URI: options} if options else {})}
    params: Json = {"metadata": metadata} if metadata else {}
    if generation == "0.1":
        message: Json = {"role": "user", "parts": _tagged_parts("type", text, said)}
        params |= {"id": said.get("task_id") or str(uuid4()), "message": message}
        return params | ({"sessionId": said["context_id"]} if "context_id" in said else {})
    message = {"messageId": said.get("message_id") or str(uuid4())}
    if generation == "0.3":
        message |= {"kind": "message", "role": "user", "parts": _tagged_parts("kind", text, said)}
    else:
        message |= {"role": "ROLE_USER", "parts": _parts(text, said)}
    named = (("taskId", said.get("task_id")), ("contextId", said.get("context_id")))
    return params | {"message": message | {name: value for name, value in named if value}}


def _parts(text: str | None, said: Said) -> list[Json]:
    parts: list[Json] = [{"text": text}] if text is not None else []
    parts += [{"data": data}] if (data := said.get("data")) is not None else []
    return parts + [_file(file, "filename", "mediaType", "raw", "url") for file in said.get("files", ())]


def _tagged_parts(tag: str, text: str | None, said: Said) -> list[Json]:
    parts: list[Json] = [{tag: "text", "text": text}] if text is not None else []
    parts += [{tag: "data", "data": data}] if (data := said.get("data")) is not None else []
    files = said.get("files", ())
    return parts + [{tag: "file", "file": _file(file, "name", "mimeType", "bytes", "uri")} for file in files]


def _file(file: File, name: str, kind: str, raw: str, url: str) -> Json:
    shown: Json = {key: value for key, value in ((name, file.filename), (kind, file.media_type)) if value}
    return shown | ({url: file.url} if file.raw is None else {raw: base64.b64encode(file.raw).decode()})
