"""The interface of a sampler, for screens: the child process (client.py) and the fake of the tests implement it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from engine.core.errors import EngineError
from engine.data.records import Prompt
from slmctl.worker.protocol import LoadedModel, SampledResponse, SampleRequest

OnText = Callable[[int, str], None]
"""Called with the number of a response and the text by which it has grown."""


class SamplerGone(EngineError):
    """The sampler child has ended; the next request starts another."""


class SampleTask(Protocol):
    """A SampleRequest in progress."""

    async def responses(self) -> list[SampledResponse]:
        """The responses, once all have ended. Cancelling the caller cancels the request.

        Raises: EngineError if the request failed, also for a name that is not loaded; SamplerGone.
        """

    def stop(self) -> None:
        """Ends it now; `responses` then returns what has been generated so far."""


class Sampler(Protocol):
    """Loads models by the names that users type, and generates responses with them."""

    async def load(self, name: str, scorer: bool = False) -> LoadedModel:
        """Opens a model or scorer, once as long as its files are the same.

        Raises: EngineError for a name that cannot be opened; SamplerGone.
        """

    def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleTask:
        """Starts to generate responses; `on_text` receives their text as it grows."""

    async def score(self, scorer: str, exchanges: Sequence[tuple[Prompt, str]]) -> list[float]:
        """Scores of responses by a loaded scorer. Raises: EngineError from the scorer; SamplerGone."""

    async def close(self) -> None:
        """Ends the child."""
