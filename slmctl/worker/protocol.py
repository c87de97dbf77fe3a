"""What a screen and its sampler child say to each other: one JSON object a line, on the child's stdin and stdout.

Torch-free, since both sides import it. A request carries a number; every reply carries the number of its request, and
the last reply to it is Done or Failed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args


@dataclass(frozen=True)
class Load:
    """Open a model under a name. `directory` is the checkpoint's; "" for a scorer that its name alone says."""

    id: int
    name: str
    directory: str
    scorer: bool = False


@dataclass(frozen=True)
class Sample:
    """Draw one response a prompt from the loaded `model`; the draws follow from (seed, step) and the row alone.

    A prompt is text, or a list of {role, content}. With `ref` answers carry their KL to it in nats, with `scorer` their
    score. `stream` asks for Token replies, `lens` for the numbers of each token (with `value`, a value network, those
    too). `background` work gives way to other requests.
    """

    id: int
    model: str
    prompts: list[Any]
    sampling: Mapping[str, float]
    seed: int = 0
    step: int = 0
    ref: str = ""
    scorer: str = ""
    value: str = ""
    stream: bool = False
    lens: bool = False
    background: bool = False


@dataclass(frozen=True)
class Score:
    """Score responses, [prompt, response] each, with a loaded scorer."""

    id: int
    scorer: str
    exchanges: list[list[Any]]


@dataclass(frozen=True)
class Cancel:
    """End the request `target` now; what it has drawn so far is its answer."""

    id: int
    target: int


@dataclass(frozen=True)
class Token:
    """Text that row `row` of a streamed Sample has grown by."""

    id: int
    row: int
    text: str


@dataclass(frozen=True)
class Done:
    """The end of a request: `result` is that of Loaded, a list of answers, or a list of scores."""

    id: int
    result: Any = None


@dataclass(frozen=True)
class Failed:
    """A request that could not be done, as one sentence."""

    id: int
    error: str
    exit_code: int = 1


Request = Load | Sample | Score | Cancel
Reply = Token | Done | Failed
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*get_args(Request), *get_args(Reply))}


def to_line(message: Request | Reply) -> str:
    """A message as one line of JSON with its line break; ASCII, so that no library can choke on it."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}) + "\n"


def from_line(line: str) -> Request | Reply:
    """The message of one line. Raises: ValueError where it is none."""
    row = json.loads(line)
    kind = _KINDS.get(row.pop("kind", "")) if isinstance(row, dict) else None
    if kind is None or not row.keys() <= {item.name for item in fields(kind)}:
        raise ValueError(f"not a message: {line[:80]!r}")
    try:
        message: Request | Reply = kind(**row)
    except TypeError as error:
        raise ValueError(f"not a whole message: {line[:80]!r}") from error
    return message


@dataclass(frozen=True)
class Loaded:
    """What is known of a loaded model: its hash, context in tokens, whether it has a chat template, its parameters."""

    name: str
    checkpoint: str = ""
    context: int = 0
    chat: bool = True
    parameters: int = 0


@dataclass(frozen=True)
class LensToken:
    """One token of a response: its text, log-probability, KL to the reference and value, None where not asked for."""

    text: str
    logprob: float
    kl_nats: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class Drawn:
    """One answer. `tokens` counts EOS; `finished` says that it ended by itself; `seconds` is what it took to draw."""

    text: str
    tokens: int
    finished: bool
    seconds: float = 0.0
    kl_nats: float | None = None
    score: float | None = None
    lens: tuple[LensToken, ...] = field(default=())
