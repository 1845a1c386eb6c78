"""What the door needs of jsonrpcserver behind its public names: calling a method, and giving its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from jsonrpcserver import Error, Result, Success
from jsonrpcserver.async_dispatcher import call
from jsonrpcserver.request import Request

PARAMS = {"id": "T", "context": "no argument of any method"}
CONTEXT = object()


async def outcome(method: Callable[..., Awaitable[Result]]) -> tuple[object, ...]:
    result = await call(Request("get", [PARAMS], "id"), CONTEXT, method)
    (held,) = vars(result).values()
    return tuple(held)


async def test_a_method_gets_its_context_and_the_params_as_they_are_and_its_result_comes_back() -> None:
    answer = object()

    async def get(context: object, params: object, /) -> Result:
        assert context is CONTEXT
        assert params is PARAMS
        return Success(answer)

    assert await outcome(get) == (answer,)


async def test_what_an_error_carries_comes_last() -> None:
    refusal = ValueError("refused")

    async def get(context: object, params: object, /) -> Result:
        return Error(-32001, "Task not found", refusal)

    assert await outcome(get) == (-32001, "Task not found", refusal)


async def test_what_is_no_result_is_an_error() -> None:
    async def get(context: object, params: object, /) -> object:
        return context, params

    code, message, _ = await outcome(cast("Callable[..., Awaitable[Result]]", get))
    assert (code, message) == (-32603, "Internal error")
