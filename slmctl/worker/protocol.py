"""A sampler as screens use it, and the messages to its child process: one JSON object per line, on stdin and stdout.

Torch-free, since both sides import it. A request has a number, and each reply the number of its request. The last
reply to a request is Done or Failed. client.py and the fake of the tests implement Sampler.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol, get_args

from engine.core.errors import EngineError
from engine.data.records import Message, Prompt

OnText = Callable[[int, str], None]
"""Called with the number of a response and the text by which it has grown."""


@dataclass(frozen=True)
class LoadRequest:
    """Open a model under a name. `directory` is its checkpoint; "" for a scorer that the name alone defines."""

    name: str
    directory: str
    scorer: bool = False
    id: int = 0


@dataclass(frozen=True)
class SampleRequest:
    """Generate one response per prompt with `model`, sampled from (`seed`, `step`) and the prompt's position.

    With `ref`, responses have their KL to it in nats; with `scorer`, their score; with `lens`, the numbers of each
    token (with `value`, a value network, those too). The models must have been loaded: `model` and `ref` as models,
    `scorer` and `value` as scorers. The value network saved with a policy is named POLICY/value. `background` requests
    yield to others; `stream` asks for TextChunk replies.
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
    stream: bool = False
    id: int = 0


@dataclass(frozen=True)
class CancelRequest:
    """End the request `target` now; its result is what has been generated so far."""

    target: int
    id: int = 0


class LensToken(NamedTuple):
    """One token of a response: its text, log-probability, KL to the reference and value; None if not requested."""

    text: str
    logprob: float
    kl_nats: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model: its hash, and whether it has a chat template."""

    checkpoint: str = ""
    chat: bool = True


@dataclass(frozen=True)
class SampledResponse:
    """A response. `tokens` includes EOS; `finished`: it ended by itself; `seconds`: the time it took to generate."""

    text: str
    tokens: int
    finished: bool
    seconds: float = 0.0
    kl_nats: float | None = None
    score: float | None = None
    lens: tuple[LensToken, ...] = ()


@dataclass(frozen=True)
class TextChunk:
    """Text by which response `row` of a streamed SampleRequest has grown."""

    id: int
    row: int
    text: str


@dataclass(frozen=True)
class Done:
    """The end of a request; `result` is a LoadedModel or a list of SampledResponse."""

    id: int
    result: Any = None


@dataclass(frozen=True)
class Failed:
    """A failed request; `error` is one sentence."""

    id: int
    error: str
    exit_code: int = 1


WorkerRequest = LoadRequest | SampleRequest | CancelRequest
WorkerReply = TextChunk | Done | Failed
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*get_args(WorkerRequest), *get_args(WorkerReply))}


def to_line(message: WorkerRequest | WorkerReply) -> str:
    """A message as one line of ASCII JSON."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}) + "\n"


def from_line(line: str) -> WorkerRequest | WorkerReply:
    """The message of a line. Raises: ValueError if it is not a message."""
    try:
        row = json.loads(line)
        kind = _KINDS[row.pop("kind")]
        if kind is SampleRequest:
            row["prompts"] = [_prompt(value) for value in row["prompts"]]
        message: WorkerRequest | WorkerReply = kind(**row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message: {line[:80]!r}") from error
    return message


def response_from_json(row: Mapping[str, Any]) -> SampledResponse:
    """A response as it was before to_line."""
    return SampledResponse(**{**row, "lens": tuple(LensToken(*token) for token in row["lens"])})


def _prompt(value: Any) -> Prompt:
    return value if isinstance(value, str) else tuple(Message(turn["role"], turn["content"]) for turn in value)


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

    async def close(self) -> None:
        """Ends the child."""
