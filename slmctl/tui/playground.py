"""What the playground starts with, without loading Textual."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MODES = ("runs", "train", "chat", "label")


@dataclass(frozen=True)
class Start:
    """What the command line asked for.

    `home` is the folder of the runs; `runs` are those to watch, `models` those to chat with or to label, as typed;
    `sampling` the sampling settings that were typed; `options` what only one mode takes, by name.
    """

    home: Path
    mode: str = "runs"
    runs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sampling: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    ascii: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
