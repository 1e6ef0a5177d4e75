"""A relay on the package `websockets`: texts of agents are answered, binary messages go to every dashboard."""

import asyncio
import json

from websockets.asyncio.server import broadcast, serve

ANSWER = json.dumps({
    "type": "SERVER_HEARTBEAT", "id": "00000000-0000-4000-8000-000000000000", "timestamp": 1762080000000,
    "payload": {"serverTime": 1762080000000, "sequence": 1, "seen": {"sequence": 1, "ageMs": 1}},
})
dashboards = set()


async def link(socket):
    watches = socket.request.path.endswith("dashboard")
    try:
        async for message in socket:
            if isinstance(message, str):
                if watches:
                    dashboards.add(socket)
                await socket.send(ANSWER)
            else:
                broadcast(dashboards, message)
    finally:
        dashboards.discard(socket)


async def main():
    # Heartbeats are the agents', as with the other peers.
    options = {"compression": None, "ping_interval": None, "backlog": 4096, "max_size": 1 << 20}
    async with serve(link, "127.0.0.1", 0, **options) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        print(f"{host}:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
