"""The app of the conventional stack; `STORE` names the socket of its store."""

import asyncio
import os

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

# Each recipient has a connection to the store, as its subscription needs one.
redis = Redis(unix_socket_path=os.environ["STORE"], max_connections=20_000)


async def publish(request: Request) -> Response:
    """Hand a message on to whoever is connected under its recipient's name."""
    body = await request.body()
    await redis.publish(request.path_params["user"], body)
    return JSONResponse({"accepted": True}, status_code=202)


async def stream(websocket: WebSocket) -> None:
    """Send a user's messages; its first frame is its name."""
    await websocket.accept()
    user = await websocket.receive_text()
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(user)
        await websocket.send_text("subscribed")
        forwarding = asyncio.create_task(_forward(channel, websocket))
        try:
            await websocket.receive()  # nothing comes but the end of the connection
        finally:
            forwarding.cancel()


async def _forward(channel: PubSub, websocket: WebSocket) -> None:
    async for message in channel.listen():
        await websocket.send_text(message["data"].decode())


app = Starlette(
    routes=[
        Route("/messages/{user}", publish, methods=["POST"]),
        WebSocketRoute("/stream", stream),
    ]
)
