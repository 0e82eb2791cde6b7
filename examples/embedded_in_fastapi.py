"""A FastAPI service that embeds the runtime: its loop goes on while assets are made, and each call is awaited.

Run it: python examples/embedded_in_fastapi.py (needs fastapi, uvicorn and httpx). It serves on a free port, calls
itself, and ends.
"""

import asyncio
import socket
import threading
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException

import flowstone as fs

shop = fs.Pipeline("shop")
runtime = fs.Runtime(shop, store="memory://")
gate = threading.Event()


@shop.asset
async def quote(context):
    """An `async` asset; it runs on a thread of the runtime, not on the service's loop."""
    await asyncio.to_thread(gate.wait, 10)
    return f"quote for {context.partition}"


@asynccontextmanager
async def life(app):
    """The runtime starts and stops with the service."""
    async with runtime:
        yield


app = FastAPI(lifespan=life)


@app.post("/quotes/{customer}")
async def make(customer: str):
    """Make a quote and wait for it; other requests are served meanwhile."""
    record = await runtime.aio.materialize("quote", partition=customer, run_key=f"quote-{customer}")
    return {"quote": record.value, "run_id": record.run_id}


@app.get("/quotes/{customer}")
async def look(customer: str):
    """The quote of a customer."""
    try:
        return {"quote": await runtime.aio.get("quote", partition=customer)}
    except fs.ValueNotFound as error:
        raise HTTPException(404, str(error)) from error


async def main():
    """Serve, call the service, and stop it."""
    place = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[place]))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.getsockname()[1]}") as client:
        asked = [asyncio.create_task(client.post(f"/quotes/{name}")) for name in ("ada", "grace")]
        print("meanwhile:", (await client.get("/quotes/ada")).status_code)
        gate.set()
        for answer in await asyncio.gather(*asked):
            print(answer.json()["quote"])
        print("afterwards:", (await client.get("/quotes/ada")).json())
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
