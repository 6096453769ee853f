"""Waiting in tests: for a condition, never for a time, and always with a limit that is named."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")
LIMIT = 60.0  # for what takes a second at most where nothing else runs


async def within(condition: Callable[[], object], what: str, seconds: float = LIMIT) -> None:
    """Wait until `condition` holds; `what` says what was awaited if it never does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(0.005)


async def soon(awaitable: Awaitable[_T], what: str, seconds: float = LIMIT) -> _T:
    """The result of `awaitable`, which must come within `seconds`."""
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError as error:
        raise AssertionError(f"waited {seconds:g} s in vain for {what}") from error


def run(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make a plain test of a coroutine function, in an event loop of its own."""

    @functools.wraps(test)
    def plain(*args: _P.args, **kwargs: _P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return plain
