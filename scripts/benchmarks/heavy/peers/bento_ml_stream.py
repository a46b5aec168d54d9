"""The same stream by BentoML, a generator that waits without blocking, as its pages advise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

import bentoml


@bentoml.service(workers=int(os.environ["WORKERS"]), traffic={"timeout": 60})
class Speaker:
    """Parts with a wait before each."""

    @bentoml.api(route="/")
    async def speak(self, x: float = 1.0) -> AsyncGenerator[str, None]:
        """Yield events."""
        for number in range(int(os.environ["PARTS"])):
            await asyncio.sleep(float(os.environ["PART_S"]))
            yield f'data: {{"n": {number}}}\n\n'
