"""Hints in Redis: a sorted set for each queue and lane, its members the keys and its scores their ranks.

Address: `redis://user:password@host:port/database?prefix=a2a`, or `rediss://` for TLS; `prefix` stands before every
name, and other options are the driver's (`ssl_ca_certs`). Needs Redis 6 or newer, not a cluster: a take is one script
over all its sets, which gives the best of them in strict order of (lane, rank, key).

Nobody blocks at Redis. An offer is a script too, which rings a channel; whoever waits hears it and asks. A canceled
take so leaves no command behind that would swallow a hint, and one connection serves any number of takers. When the
channel is cut, takers ask when it is back, and every two seconds.

Bounds: 100,000 hints in a set, beyond which the worst are dropped; a set to which nobody offers for a day is forgotten.

Weaknesses. Every idle process that waits for a queue asks when it rings, and all but one in vain (about 10 µs of Redis
each). The sets of a queue are looked through lane by lane, six a queue, also the empty ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import orjson
from redis import asyncio as driver, exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.queries import QueueCapabilities
from a2a_server.model.rows import Key
from a2a_server.model.turns import Hint
from a2a_server.queues.remote import KEEP_SECONDS, LANES, SEND_SECONDS, RemoteQueue
from a2a_server.settings.services import not_taken, redis_address

MOST_HINTS: Final = 100_000
"""Hints in a set."""

_SILENCE_SECONDS: Final = 5.0

# KEYS: the names of queues, then sets. ARGV: channel, what to ring, now, seconds to keep, most hints in a set, how many
# queues, the queues, and for each set: how many hints, and their scores and members.
_OFFER: Final = """
local keep, most, queues = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
for i = 7, 6 + queues do
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', tonumber(ARGV[3]) - keep)
redis.call('EXPIRE', KEYS[1], keep)
local at = 7 + queues
for i = 2, #KEYS do
  local count = tonumber(ARGV[at])
  redis.call('ZADD', KEYS[i], unpack(ARGV, at + 1, at + 2 * count))
  redis.call('ZREMRANGEBYRANK', KEYS[i], most, -1)
  redis.call('EXPIRE', KEYS[i], keep)
  at = at + 1 + 2 * count
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""

# KEYS: sets, lane by lane, in each the same queues. ARGV: the limit, how many queues. Returns for each hint the set's
# number, its score and its member.
_TAKE: Final = """
local limit, width = tonumber(ARGV[1]), tonumber(ARGV[2])
local taken = {}
for first = 1, #KEYS, width do
  local found = {}
  for i = first, first + width - 1 do
    local hints = redis.call('ZRANGE', KEYS[i], 0, limit - 1, 'WITHSCORES')
    for j = 1, #hints, 2 do
      found[#found + 1] = {tonumber(hints[j + 1]), i, j, hints[j]}
    end
  end
  table.sort(found, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[3] < b[3]
  end)
  for n = 1, math.min(limit, #found) do
    local score, i, member = found[n][1], found[n][2], found[n][4]
    redis.call('ZREM', KEYS[i], member)
    taken[#taken + 1] = {i, string.format('%.0f', score), member}
  end
  limit = limit - math.min(limit, #found)
  if limit == 0 then break end
end
return taken
"""

_REFUSED: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
_AWAY: Final = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError, OSError, TimeoutError)


class RedisQueue(RemoteQueue):
    """A `WorkQueue` in Redis.

    Args:
        url: as above. Raises ConfigurationError for options that cannot be.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(priorities=True)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        rest, prefix = redis_address(url)
        self._names = f"{{{prefix}}}:queues"  # in braces: one slot, for proxies in front of a cluster
        self._sets = f"{{{prefix}}}:hints"
        self._channel = f"{prefix}:hints"
        if urlsplit(rest).scheme not in ("redis", "rediss") or not urlsplit(rest).hostname:
            raise ConfigurationError(f"{self.address}: a Redis is redis://host:port/database, or rediss:// for TLS.")
        try:
            self._redis: driver.Redis = driver.Redis.from_url(
                rest,
                socket_timeout=SEND_SECONDS / 2,
                socket_connect_timeout=SEND_SECONDS / 2,
                retry=Retry(NoBackoff(), 0),
            )
            self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # where options that the driver does not know are found
        except (TypeError, ValueError) as error:
            raise not_taken(url, error) from error
        self._offer_script = self._redis.register_script(_OFFER)
        self._take_script = self._redis.register_script(_TAKE)
        self._listener: asyncio.Task[None] | None = None
        self._heard: driver.client.PubSub | None = None
        self._silent = False

    async def _connect(self) -> None:
        await self._redis.ping()
        await self._ask(frozenset({""}), 1)
        await self._redis.publish(self._channel, b"[]")
        serve = self._serve("listening to", self._listen, asyncio.Event())
        self._listener = asyncio.get_running_loop().create_task(serve)

    def _refusal(self, error: BaseException) -> Exception | None:
        if isinstance(error, _REFUSED):
            return ConfigurationError(
                f"{self.address}: Redis refuses these credentials; mend user and password in the address, or give the "
                "user scripts, sorted sets and publish/subscribe on names with this prefix."
            )
        if isinstance(error, _AWAY):
            return StoreUnavailable(f"{self.address}: Redis cannot be reached ({type(error).__name__}); is it running?")
        if isinstance(error, exceptions.RedisError):
            return ConfigurationError(f"{self.address}: Redis cannot be used like this: {error}.")
        return None

    async def _send(self, hints: Sequence[Hint]) -> None:
        sets: dict[tuple[str, int], list[Hint]] = {}
        for hint in hints:
            sets.setdefault((hint.queue, hint.lane), []).append(hint)
        queues = list({hint.queue: None for hint in hints})
        keys = [self._names, *(self._set(*place) for place in sets)]
        told: list[Any] = [self._channel, orjson.dumps(queues), int(time.time()), KEEP_SECONDS, MOST_HINTS]
        told += [len(queues), *queues]
        for some in sets.values():
            told.append(len(some))
            for hint in some:
                told += [hint.rank, hint.key]
        await self._offer_script(keys, told)

    async def _fetch_next(self) -> bool:
        if not await self._somebody_asks():
            await self._return(self._give_back())
            return False
        for want in tuple(self._wants):
            if want in self._wants:
                async with self._whole:
                    self._receive(await self._ask(want.queues, want.limit))
                await asyncio.sleep(0)  # who got something goes
        return True

    async def _ask(self, wanted: frozenset[str], limit: int) -> list[Hint]:
        queues = sorted(wanted)
        places = [(queue, lane) for lane in LANES for queue in queues]
        found = await self._take_script([self._set(*place) for place in places], [limit, len(queues)])
        hints = []
        for at, rank, key in found:
            queue, lane = places[at - 1]
            hints.append(Hint(queue, lane, int(rank), Key(key)))
        return hints

    async def _listen(self) -> bool:
        """Hear one ring of the channel. Subscribed again, whoever waits asks: some rings may have been missed."""
        try:
            if self._heard is None:
                self._heard = self._redis.pubsub()
                await self._heard.subscribe(self._channel)
            message = await self._heard.get_message(timeout=_SILENCE_SECONDS)
            if message is None:
                if self._silent:
                    raise exceptions.TimeoutError("no answer to a ping")
                await self._heard.ping()
            self._silent = message is None
        except (exceptions.RedisError, OSError):
            await self._hear_no_more()
            raise
        if message is None or message["type"] == "pong":
            return True
        if message["type"] == "subscribe" or not self._wanted().isdisjoint(_names(message["data"])):
            self._asked.set()
        return True

    async def _hear_no_more(self) -> None:
        heard, self._heard, self._silent = self._heard, None, False
        if heard is not None:
            await heard.aclose()  # type: ignore[no-untyped-call]  # the driver has no types here

    async def _acknowledge(self, receipts: Sequence[Any]) -> None:
        """A hint that is taken is gone."""

    async def _return(self, receipts: Sequence[Any]) -> None:
        """They are sent again."""

    async def _depth(self) -> Mapping[tuple[str, int], int]:
        names: list[Any] = await self._redis.zrange(self._names, 0, -1)
        queues = [name.decode() for name in names]
        places = [(queue, lane) for queue in queues for lane in LANES]
        async with self._redis.pipeline(transaction=False) as commands:
            for place in places:
                commands.zcard(self._set(*place))
            counts = await commands.execute()
        return dict(zip(places, counts, strict=True))

    async def _disconnect(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        await self._hear_no_more()
        await self._redis.aclose()

    def _set(self, queue: str, lane: int) -> str:
        return f"{self._sets}:{lane}:{queue}"


def _names(message: bytes) -> list[str]:
    try:
        names = orjson.loads(message)
    except ValueError:
        return []
    return names if isinstance(names, list) else []
