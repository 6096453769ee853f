"""Whatever the bytes, the server saw the calls that the log says were forwarded."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.evasion import BAD, GOOD, attempt
from tests.harness.mcp_server import FakeMcpServer
from tests.harness.proxy_process import Proxy, World, world
from tests.harness.wire import post


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate")) as both:
        yield both


_TOKENS = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u0061", b"\\", b"\x00", b"\xff", b"\xc1\xa5",
        b"\xef\xbb\xbf", b"null", b'"name":', b'"Name":"admin_reset",', b'"method":"tools/call"',
        b'"params":{"name":"admin_reset"},', b'"id":3,', b"\r\n", b" ", b"1e999", b"NaN", BAD, GOOD,
        "\u200b".encode(), "ſ".encode(), b'"_meta":{"a":1},',
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, *seeds: bytes) -> bytes:
    """A message with pieces inserted, cut out or doubled."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.sampled_from(["insert", "cut", "double", "byte"])):
            case "insert":
                data = data[:at] + draw(_TOKENS) + data[at:]
            case "cut":
                data = data[:at] + data[min(end, at + 12) :]
            case "double":
                data = data[:end] + data[at:]
            case _:
                data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    return data


_SETTINGS = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_BATCH = b"[" + GOOD + b"," + BAD + b"]"
_META = json.dumps({**json.loads(GOOD), "params": {"_meta": {"x": 1}, "name": "get_user"}}).encode()


@_SETTINGS
@given(body=mutated(BAD, GOOD, _BATCH, _META))
def test_whatever_the_body_the_log_tells_what_was_sent(gate: World, body: bytes) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        await attempt(server, proxy, post(body))

    gate.run(test)


@settings(_SETTINGS, max_examples=50)
@given(data=mutated(post(GOOD) + post(BAD), post(BAD, "Mcp-Name: admin_reset") + post(GOOD)))
def test_whatever_the_bytes_the_log_tells_what_was_sent(gate: World, data: bytes) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        await attempt(server, proxy, data, None)

    gate.run(test)
