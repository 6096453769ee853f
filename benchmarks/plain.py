"""A plain reverse proxy on aiohttp's server and client, without any gate: the yardstick.

`python -m benchmarks.plain PORT UPSTREAM_PORT`.
"""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web

_STOPPED = ("connection", "content-length", "host", "keep-alive", "transfer-encoding")


async def serve(port: int, upstream: int) -> None:
    """Serve until killed."""
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:

        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _STOPPED]
            body = await request.read()
            url = f"http://127.0.0.1:{upstream}{request.path_qs}"
            async with session.request(request.method, url, headers=headers, data=body) as reply:
                kept = [(k, v) for k, v in reply.headers.items() if k.lower() not in _STOPPED]
                response = web.StreamResponse(status=reply.status, headers=dict(kept))
                response.content_length = reply.content_length
                await response.prepare(request)
                async for piece in reply.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        runner = web.ServerRunner(web.Server(forward, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
