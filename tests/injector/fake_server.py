"""An HTTP server on a thread of its own, and clients of it; a fake says what it answers."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from aiohttp import web
from kubernetes.aio.client import Configuration

from thoughtgate_injector.kube.client import KubeClient, client

T = TypeVar("T")


class FakeServer:
    """`down` makes every call a 503."""

    def __init__(self) -> None:
        self.down = False
        self.url = ""
        self._clients: list[KubeClient] = []

    def kube(self) -> KubeClient:
        self._clients.append(client(Configuration(host=self.url)))
        return self._clients[-1]

    def run(self, test: Coroutine[Any, Any, T]) -> T:
        """Run a test, and close its clients in the loop that their connections are of."""

        async def closed() -> T:
            try:
                return await test
            finally:
                while self._clients:
                    await self._clients.pop().close()

        return asyncio.run(closed())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Serve on a thread with a loop of its own: kopf takes every younger task for its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0, handler_cancellation=True
        )

        async def start() -> None:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()

        try:
            asyncio.run_coroutine_threadsafe(start(), loop).result()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            self.down = True
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError
