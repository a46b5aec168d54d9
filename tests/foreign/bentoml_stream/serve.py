"""BentoML's stream, as its page shows it. Source: https://docs.bentoml.com/en/latest/build-with-bentoml/streaming.html"""

import asyncio
from collections.abc import AsyncGenerator

import bentoml

WORDS = ["once", "upon", "a", "time", "there", "was", "an", "end"]


@bentoml.service
class Words:
    @bentoml.api(route="/v1/words")
    async def words(self, prompt: str, stream: bool = True) -> AsyncGenerator[str, None]:
        for word in WORDS:
            await asyncio.sleep(0.1)
            yield f"data: {prompt} {word}\n\n"
