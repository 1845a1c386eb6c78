"""What an answer to a generated request may be: its HTTP status, its JSON-RPC code, and no word of Python in it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

STATUSES = frozenset({100, 200, 204, 206, 304, 307, 400, 404, 405, 408, 413, 414, 415, 416, 431, 503})
CODES: Mapping[int, str] = {
    -32700: "no JSON",
    -32600: "no request",
    -32601: "no such method",
    -32602: "a parameter",
    -32001: "no such task",
    -32002: "the task has ended",
    -32003: "no push notifications",
    -32004: "not now, or not at all",
    -32005: "content type",
    -32007: "no extended card",
    -32009: "version",
    -32050: "overload",
}
"""The codes of errors.md that there is a way to by now; each must be seen, and no other may."""
INSIDES = re.compile(
    r"Traceback|\w(?:Error|Exception|Warning)\b|\.pyx?\b|/(?:tmp|usr|home|root)/|site-packages|object at 0x|"
    r"<class|NoneType|a2a_server|asyncio|pydantic|orjson|sqlite|starlette|uvicorn|httptools|\bSELECT |\bINSERT "
)


class Judge:
    """Counts what was answered. seen: JSON-RPC codes, 0 = results. statuses: of HTTP. busy: 503 with Retry-After."""

    def __init__(self) -> None:
        self.seen: Counter[int] = Counter()
        self.statuses: Counter[int] = Counter()
        self.busy = 0

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
        """What is wrong with an HTTP answer."""
        self.statuses[status] += 1
        if status not in STATUSES:
            yield f"HTTP {status}"
        if status == 503:
            self.busy += 1
            if not headers.get("retry-after", "").isdecimal():
                yield "HTTP 503 without Retry-After"
        text = body.decode("utf-8", errors="replace")
        if found := INSIDES.search(text):
            yield f"Python in the answer: {text[max(0, found.start() - 60) : found.end() + 60]!r}"
        kind = headers.get("content-type", "").partition(";")[0]
        if kind == "text/event-stream":
            yield from self._events(text)
        elif kind == "application/json" and '"jsonrpc"' in text:
            yield from self._spoken(body)
        elif body and status == 200 and kind not in {"text/html", "text/plain", "application/json"}:
            yield f"content type {kind!r}"

    def unseen(self) -> list[int]:
        """Codes of the table that no answer had."""
        return [code for code in CODES if not self.seen[code]]

    def _events(self, text: str) -> Iterator[str]:
        for line in text.split("\n"):
            if line.startswith("data: ") and line.endswith("}"):  # a cut stream may end within a line
                yield from self._spoken(line[6:].encode())

    def _spoken(self, body: bytes) -> Iterator[str]:
        try:
            spoken = json.loads(body)
        except ValueError:
            yield f"no JSON: {body[:200]!r}"
            return
        for answer in spoken if isinstance(spoken, list) else [spoken]:
            yield from self._answer(answer)

    def _answer(self, answer: Any) -> Iterator[str]:  # noqa: ANN401 - whatever came
        if (
            not isinstance(answer, dict)
            or answer.get("jsonrpc") != "2.0"
            or ("result" in answer) == ("error" in answer)
        ):
            yield f"no JSON-RPC answer: {str(answer)[:200]}"
            return
        code = answer["error"].get("code") if "error" in answer else 0
        self.seen[code] += 1
        if code and code not in CODES:
            yield f"code {code}: {str(answer['error'])[:300]}"
        if code and not answer["error"].get("message"):
            yield f"code {code} without a message"
