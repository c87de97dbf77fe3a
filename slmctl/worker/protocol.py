"""Messages between a screen and its sampler child: one JSON object per line, on the child's stdin and stdout.

Torch-free, since both sides import it. A request has a number, and each reply the number of its request. The last
reply to a request is Done or Failed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, get_args

from engine.data.records import Message, Prompt


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
class ScoreRequest:
    """Score pairs of prompt and response with a loaded scorer."""

    scorer: str
    exchanges: Sequence[tuple[Prompt, str]]
    id: int = 0


@dataclass(frozen=True)
class CancelRequest:
    """End the request `target` now; its result is what has been generated so far."""

    target: int
    id: int = 0


@dataclass(frozen=True)
class TextChunk:
    """Text by which response `row` of a streamed SampleRequest has grown."""

    id: int
    row: int
    text: str


@dataclass(frozen=True)
class Done:
    """The end of a request; `result` is a LoadedModel, a list of SampledResponse, or a list of scores."""

    id: int
    result: Any = None


@dataclass(frozen=True)
class Failed:
    """A failed request; `error` is one sentence."""

    id: int
    error: str
    exit_code: int = 1


WorkerRequest = LoadRequest | SampleRequest | ScoreRequest | CancelRequest
WorkerReply = TextChunk | Done | Failed
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*get_args(WorkerRequest), *get_args(WorkerReply))}


class LensToken(NamedTuple):
    """One token of a response: its text, log-probability, KL to the reference and value; None if not requested."""

    text: str
    logprob: float
    kl_nats: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model: its hash, context in tokens, whether it has a chat template, and its parameter count."""

    name: str
    checkpoint: str = ""
    context: int = 0
    chat: bool = True
    parameters: int = 0


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


def to_line(message: WorkerRequest | WorkerReply) -> str:
    """A message as one line of ASCII JSON."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}) + "\n"


def from_line(line: str) -> WorkerRequest | WorkerReply:
    """The message of a line. Raises: ValueError if it is not a message."""
    row = json.loads(line)
    kind = _KINDS.get(row.pop("kind", "")) if isinstance(row, dict) else None
    if kind is None or not row.keys() <= {item.name for item in fields(kind)}:
        raise ValueError(f"not a message: {line[:80]!r}")
    try:
        if kind is SampleRequest:
            row["prompts"] = [_prompt(value) for value in row["prompts"]]
        elif kind is ScoreRequest:
            row["exchanges"] = [(_prompt(prompt), str(response)) for prompt, response in row["exchanges"]]
        message: WorkerRequest | WorkerReply = kind(**row)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a complete message: {line[:80]!r}") from error
    return message


def response_from_json(row: Mapping[str, Any]) -> SampledResponse:
    """A response as it was before to_line."""
    return SampledResponse(**{**row, "lens": tuple(LensToken(*token) for token in row["lens"])})


def _prompt(value: Any) -> Prompt:
    return value if isinstance(value, str) else tuple(Message(turn["role"], turn["content"]) for turn in value)
