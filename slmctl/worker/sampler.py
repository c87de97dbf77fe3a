"""What a screen may ask of a sampler, whether it is the child process (client.py) or a stand-in of the tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.core.errors import EngineError
from engine.data.records import Prompt
from slmctl.worker.protocol import Drawn, Loaded

OnToken = Callable[[int, str], None]
"""Called with the row and the text that it has grown by."""


class SamplerGone(EngineError):
    """The sampler child has ended; whoever needs one starts another."""


@dataclass(frozen=True)
class Draw:
    """What to draw: one response a prompt from `model`, as protocol.Sample says.

    All its names must have been loaded: `model` and `ref` as they are, `scorer` and `value` as scorers. The value
    network that was saved with a policy is named POLICY/value.
    """

    model: str
    prompts: Sequence[Prompt]
    sampling: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    step: int = 0
    ref: str = ""
    scorer: str = ""
    value: str = ""
    lens: bool = False
    background: bool = False


class Drawing(Protocol):
    """A draw that is under way."""

    async def answers(self) -> list[Drawn]:
        """The answers, one a prompt, once all have ended; whoever is cancelled while waiting here ends the draw.

        Raises: EngineError as the worker says, for a name that is not loaded too; SamplerGone.
        """

    def stop(self) -> None:
        """Ends it now: `answers` then gives what there is."""


class Sampler(Protocol):
    """Loads models by the names that people type, and draws from them."""

    async def load(self, name: str, scorer: bool = False) -> Loaded:
        """Opens a model or scorer, once for as long as its name means the same files.

        Raises: EngineError for a name that means nothing that can be opened; SamplerGone.
        """

    def draw(self, wanted: Draw, on_token: OnToken | None = None) -> Drawing:
        """Begins to draw; with `on_token` text is handed over as it comes, together that of the answers."""

    async def score(self, scorer: str, exchanges: Sequence[tuple[Prompt, str]]) -> list[float]:
        """Scores of responses by a loaded scorer. Raises: EngineError as the scorer does; SamplerGone."""

    async def close(self) -> None:
        """Ends the child."""
