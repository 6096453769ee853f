"""A call that is held on its own stream, in the revisions before 2026-07-28."""

from pathlib import Path

from tests.awaiting import run
from tests.proxy.waiting.room import LEGACY, held, legacy, room, text_of
from thoughtgate_proxy.core.approval import State

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})


def test_an_approved_call_gets_its_servers_reply_on_the_held_stream(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.approve()
            message = await stream.message()
            assert message["id"] == 1
            assert text_of(message) == "did delete_user"
            assert "_meta" not in message["result"]
            await stream.ended()
            (sent,) = gate.server.received
            assert sent.body == CALL
            assert (await gate.ends_as(State.DONE)).result is not None

    test()
