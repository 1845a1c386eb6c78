"""A door before S3 that counts and remembers requests, and answers some of them in its place."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.patience import PATIENCE
from tests.services import service

_HOPS = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


class Asked(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    headers: Message


class Answer(NamedTuple):
    """What the door says itself. drop: nothing, it hangs up."""

    status: int = 500
    body: bytes = b""
    drop: bool = False


class Door(ThreadingHTTPServer):
    """answers: None = the service does. inside: how many requests are being answered now."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[Asked] = []
        self.answers: Callable[[Asked], Answer | None] = lambda _: None
        self.inside = 0
        self.counting = threading.Lock()

    def of(self, method: str, part: str = "") -> list[Asked]:
        """The requests of a method whose path has a part."""
        return [asked for asked in self.asked if asked.method == method and part in asked.path]

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hung up is the test's business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: Door

    def handle_any(self) -> None:
        body = self._body()
        asked = Asked(self.command, self.path, self.headers)
        with self.server.counting:
            self.server.asked.append(asked)
            self.server.inside += 1
        try:
            answer = self.server.answers(asked)
            if answer is None:
                self._pass_on(body)
            elif answer.drop:
                self.close_connection = True
            else:
                self._say(answer.status, {"Content-Type": "application/xml"}, answer.body)
        finally:
            with self.server.counting:
                self.server.inside -= 1

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - names that http.server looks for

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_expect_100(self) -> bool:
        return True  # `_body` says it

    def _pass_on(self, body: bytes) -> None:
        target = urlsplit(service("s3"))
        onward = http.client.HTTPConnection(str(target.hostname), target.port, timeout=PATIENCE)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            onward.request(self.command, self.path, body, headers)
            answer = onward.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOPS}
            self._say(answer.status, kept, answer.read(), answer.getheader("Content-Length"))
        finally:
            onward.close()

    def _say(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def opened_door() -> Iterator[Door]:
    door = Door()
    serving = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    yield door
    door.shutdown()
    door.server_close()
    serving.join()
