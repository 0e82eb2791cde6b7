"""The calls for asyncio: the loop goes on while they wait."""

from __future__ import annotations

import asyncio
import threading

import flowstone as fs
import pytest


def test_calls_are_awaited_and_the_loop_goes_on() -> None:
    shop, release = fs.Pipeline("shop"), threading.Event()

    @shop.asset
    def slow(context: fs.Context) -> int:
        release.wait()
        return 1

    async def serve() -> tuple[int, int]:
        async with fs.Runtime(shop, store="memory://") as runtime:
            waiting = [asyncio.create_task(runtime.aio.materialize("slow", partition=number)) for number in range(8)]
            assert len(await runtime.aio.runs.list()) <= 8
            assert not any(task.done() for task in waiting)
            release.set()
            records = await asyncio.gather(*waiting)
            return len(records), records[0].value

    assert asyncio.run(serve()) == (8, 1)


def test_errors_come_back_to_who_awaits() -> None:
    async def ask() -> None:
        async with fs.Runtime(store="memory://") as runtime:
            with pytest.raises(fs.AssetNotFound):
                await runtime.aio.materialize("nothing")

    asyncio.run(ask())
