"""Hints in AWS SQS: one standard queue for all queues of tasks that share a prefix, up to 100 hints in a message.

Address: `sqs://eu-west-1?prefix=a2a`, the region as the host. The queue is `{prefix}-hints`. With
`endpoint=http://127.0.0.1:4599` it is a service other than AWS's. Credentials come from AWS's own chain alone:
environment, profile, role.

Why one queue: calls cost money and block a thread. A process that waits has exactly one call under way, whatever the
number of skills and lanes: at a poll of one second 86,400 a day, and one more for each ten messages to send, to fetch
and to delete; a queue for each skill and lane would make that thirty times as many for six skills. The name is known
before any skill is, so `open` can say that the queue is missing. SQS has no priorities, and five queues would not
give any: the claim that follows a hint reads the head of the store's queues by (lane, rank) anyway.

What belongs to a queue of tasks that nobody here asks for becomes visible again at once, for another process, and after
five such tries it is dropped. Give agents that run apart a prefix each.

A message is deleted when its first hint is taken; until then it is only hidden, for 30 seconds, and comes back when
this process ends. Calls run in four threads of the queue's own, and long polls last as long as the longest take that
waits, 1 to 5 seconds. A take that is canceled leaves its call alone: what that brings is for the next one.

Made here (only with `create`), the queue keeps messages for a day.

Weaknesses. `depth` counts messages, as about as SQS does, and tells neither queue nor lane of what is not in this
process. A long poll ends up to 5 seconds after `close`, in its thread.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.turns import Hint
from a2a_server.queues.messages import packed, unpacked
from a2a_server.queues.remote import KEEP_SECONDS, SEND_SECONDS, RemoteQueue
from a2a_server.settings.services import checked_prefix, refuse_unknown, taken

_OPTIONS: Final = {"prefix": "a2a", "endpoint": ""}
_BATCH: Final = 10
_THREADS: Final = 4
_HIDDEN_SECONDS: Final = 30
_LONGEST_POLL: Final = 5
_MOST_TRIES: Final = 5
_MOST_KEPT: Final = 1000
_FOREIGN_PAUSE: Final = 0.2

_MISSING: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_LATER: Final = frozenset({"RequestThrottled", "ThrottlingException", "Throttling", "OverLimit"})

ArgsT = ParamSpec("ArgsT")
ResultT = TypeVar("ResultT")


class SqsQueue(RemoteQueue):
    """A `WorkQueue` in AWS SQS.

    Args:
        url: as above. Raises ConfigurationError for one that cannot be.
        create: whether `open` makes the queue when it is missing.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        super().__init__(url)
        refuse_unknown(url, _OPTIONS)
        rest, options = taken(url, _OPTIONS)
        parts = urlsplit(rest)
        if parts.scheme != "sqs" or "@" in parts.netloc or parts.path.strip("/") or ":" in parts.netloc:
            raise ConfigurationError(
                f"{self.address}: an SQS is sqs://region?prefix=a2a; credentials come from AWS's own configuration."
            )
        self._name = f"{checked_prefix(url, options['prefix'])}-hints"
        self._region = parts.netloc or None
        self._endpoint = options["endpoint"] or None
        self._create = create
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqs")
        self._sqs: Any = None
        self._queue = ""
        self._known: set[str] = set()

    async def _connect(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqs")
        await self._in_thread(self._find)

    def _find(self) -> None:
        config = Config(
            connect_timeout=SEND_SECONDS / 2,
            read_timeout=SEND_SECONDS + _LONGEST_POLL,
            retries={"total_max_attempts": 1},
            max_pool_connections=_THREADS,
        )
        self._sqs = boto3.session.Session().client(
            "sqs", region_name=self._region, endpoint_url=self._endpoint, config=config
        )
        try:
            self._queue = self._sqs.get_queue_url(QueueName=self._name)["QueueUrl"]
        except exceptions.ClientError as error:
            if _code(error) not in _MISSING:
                raise
            if not self._create:
                raise ConfigurationError(
                    f"{self.address}: there is no queue {self._name}; create it, or set create_missing."
                ) from error
            attributes = {"MessageRetentionPeriod": str(KEEP_SECONDS), "VisibilityTimeout": str(_HIDDEN_SECONDS)}
            self._queue = self._sqs.create_queue(QueueName=self._name, Attributes=attributes)["QueueUrl"]

    def _refusal(self, error: BaseException) -> Exception | None:
        if isinstance(error, exceptions.ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if _code(error) in _LATER or status >= 500:  # noqa: PLR2004 - HTTP's classes of answers
                return StoreUnavailable(f"{self.address}: SQS does not serve this now ({_code(error)}).")
            return ConfigurationError(
                f"{self.address}: SQS refuses to serve {self._name} ({_code(error)}); mend the credentials, or let "
                "them get the queue's address and attributes, and send, receive, change and delete its messages."
            )
        if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
            return ConfigurationError(
                f"{self.address}: there are no AWS credentials; give them in the environment, a profile or a role."
            )
        if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError | OSError | TimeoutError):
            kind = type(error).__name__
            return StoreUnavailable(f"{self.address}: SQS cannot be reached ({kind}); is the address right?")
        if isinstance(error, exceptions.BotoCoreError | ValueError):
            return ConfigurationError(f"{self.address}: SQS cannot be used like this: {error}")
        return None

    def told(self, error: BaseException) -> str:
        return _code(error) if isinstance(error, exceptions.ClientError) else super().told(error)

    async def _send(self, hints: Sequence[Hint]) -> None:
        queues: dict[str, list[Hint]] = {}
        for hint in hints:
            queues.setdefault(hint.queue, []).append(hint)
        bodies = [body.decode() for some in queues.values() for _, body in packed(some)]
        sent = (self._sqs.send_message_batch, [{"MessageBody": body} for body in bodies])
        await self._in_batches(*sent)

    async def _fetch_next(self) -> bool:
        if not await self._somebody_asks():
            await self._return(self._give_back())
            return False
        wanted = self._wanted()
        self._known |= wanted
        left = max(want.until for want in self._wants) - asyncio.get_running_loop().time()
        answer = await self._in_thread(self._receive_some, min(max(math.ceil(left), 1), _LONGEST_POLL))
        foreign: list[str] = []
        useless: list[str] = []
        wanted |= self._wanted()
        for message in answer:
            receipt, hints = message["ReceiptHandle"], unpacked(message["Body"])
            if not hints or self._keeps(hints[0].queue, wanted):
                self._receive(hints, receipt)
            elif int(message["Attributes"]["ApproximateReceiveCount"]) < _MOST_TRIES:
                foreign.append(receipt)
            else:
                useless.append(receipt)
        await self._acknowledge(useless)
        if foreign:
            await self._return(foreign)
            await asyncio.sleep(_FOREIGN_PAUSE)  # for whoever wants them to be the next that asks
        await asyncio.sleep(0)  # who got something goes
        if self._wants:
            self._asked.set()
        return True

    def _keeps(self, queue: str, wanted: frozenset[str]) -> bool:
        return queue in wanted or (queue in self._known and len(self._held) < _MOST_KEPT)

    def _receive_some(self, wait: int) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=wait,
            VisibilityTimeout=_HIDDEN_SECONDS,
            AttributeNames=["ApproximateReceiveCount"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        if self._closed and messages:
            self._show([message["ReceiptHandle"] for message in messages])
            return []
        return messages

    async def _acknowledge(self, receipts: Sequence[str]) -> None:
        await self._in_batches(self._sqs.delete_message_batch, [{"ReceiptHandle": receipt} for receipt in receipts])

    async def _return(self, receipts: Sequence[str]) -> None:
        await asyncio.gather(*(self._in_thread(self._show, some) for some in _tens(receipts)))

    def _show(self, receipts: Sequence[str]) -> None:
        self._sqs.change_message_visibility_batch(
            QueueUrl=self._queue,
            Entries=[
                {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": 0} for at, receipt in enumerate(receipts)
            ],
        )

    async def _depth(self) -> Mapping[tuple[str, int], int]:
        get = functools.partial(self._sqs.get_queue_attributes, AttributeNames=["ApproximateNumberOfMessages"])
        answer = await self._in_thread(get, QueueUrl=self._queue)
        return {("", 0): int(answer["Attributes"]["ApproximateNumberOfMessages"])}

    async def _disconnect(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_batches(self, call: Callable[..., Any], entries: Sequence[dict[str, str]]) -> None:
        calls = [[{"Id": str(at), **entry} for at, entry in enumerate(some)] for some in _tens(entries)]
        await asyncio.gather(*(self._in_thread(call, QueueUrl=self._queue, Entries=some) for some in calls))

    async def _in_thread(self, call: Callable[ArgsT, ResultT], /, *args: ArgsT.args, **kwargs: ArgsT.kwargs) -> ResultT:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(call, *args, **kwargs))


ItemT = TypeVar("ItemT")


def _tens(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
