"""What we rely on in aiohttp that its documentation does not promise: look here at an upgrade."""

import asyncio
from collections import deque

import pytest
from aiohttp import http_parser
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from tests.harness.listener import Watching, echo
from tests.harness.wait import run
from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.listeners import server
from thoughtgate_proxy.listeners.server import HttpServer, ParserTooLax
from thoughtgate_proxy.listeners.service import Service


class Silent(asyncio.Transport):
    """A transport that only remembers whether it was closed."""

    closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:  # noqa: ARG002  asyncio's
        return default

    def close(self) -> None:
        self.closed = True


def service() -> Service:
    return Service(echo, Limits, Watching(), Budget(1 << 20))


def plain() -> RequestHandler:
    """aiohttp's own handler, as our server makes it."""
    one = server._Server(service())
    return RequestHandler(one, loop=asyncio.get_running_loop(), **one._kwargs)


@run
async def test_messages_are_queued_as_soon_as_their_heads_are_read() -> None:
    handler, transport = plain(), Silent()
    handler.connection_made(transport)
    assert isinstance(handler._messages, deque)
    handler.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n")
    assert not handler._messages
    handler.data_received(b"\r\n[1")
    ((message, payload),) = handler._messages
    assert isinstance(message, RawRequestMessage)
    assert message.raw_headers[0] == (b"Host", b"a")
    assert (payload.total_bytes, payload.is_eof()) == (2, False)
    handler.data_received(b"]GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert payload.is_eof()
    assert handler._messages[1][1] is EMPTY_PAYLOAD
    handler.connection_lost(None)
    assert transport.closed


@run
async def test_what_cannot_be_read_is_queued_as_an_error() -> None:
    handler = plain()
    handler.connection_made(Silent())
    handler.data_received(b"GARBAGE\r\n\r\n")
    ((message, _),) = handler._messages
    assert not isinstance(message, RawRequestMessage)
    assert isinstance(message.exc, BadHttpMessage)
    assert message.exc.message.partition(":\n\n")[1]
    handler.connection_lost(None)
    handler.connection_lost(None)


def test_the_settings_are_all_known_to_it() -> None:
    @run
    async def test() -> None:
        # A misspelt one would make aiohttp drop all of them; ours raises.
        assert isinstance(server._Server(service())(), RequestHandler)

    test()


def test_it_is_refused_with_its_parser_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HttpRequestParser", http_parser.HttpRequestParserPy)

    @run
    async def test() -> None:
        with pytest.raises(ParserTooLax):
            HttpServer(service())

    test()
