"""The sampled responses of a step, and how they differ from those before.

A prompt that was sampled before is set beside its former response, word by word. Most prompts are new at each step
(PPO walks through all of them before it repeats one), so steps are compared as a whole: means, and the phrase that
became more frequent.
"""

import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from pydantic_core import from_json

from engine.core.events import number
from slmctl.watch.follower import StepSamples

PHRASE = 3  # words
OFTEN = 3  # responses
HABIT = 0.25  # share of the responses by which a phrase must have gained to be named


@dataclass(frozen=True)
class Sample:
    """One sampled response; numbers that were not said are NaN."""

    prompt: str
    response: str
    score: float
    kl_nats: float
    tokens: float
    finished: bool
    judge_score: float = math.nan


@dataclass(frozen=True)
class Means:
    """Means over the samples of a step."""

    score: float
    kl_nats: float
    tokens: float


def parse_samples(drawn: StepSamples) -> list[Sample]:
    """The samples of one line; rows that are no samples are left out."""
    try:
        rows = from_json(drawn.line)["samples"]
    except (ValueError, KeyError, TypeError):
        return []
    return [_sample(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def mean_numbers(samples: Sequence[Sample]) -> Means:
    """The means, NaN where there is nothing to take one of."""
    return Means(*(_mean([getattr(sample, name) for sample in samples]) for name in ("score", "kl_nats", "tokens")))


def previous_sample(history: Sequence[StepSamples], prompt: str) -> tuple[int, Sample] | None:
    """The last time that a prompt was sampled in `history`: (step, sample), or None."""
    key = json.dumps(prompt, ensure_ascii=False).encode("utf-8", errors="replace")
    for drawn in reversed(history):
        if key in drawn.line:
            for sample in parse_samples(drawn):
                if sample.prompt == prompt:
                    return drawn.step, sample
    return None


def word_diff(old: str, new: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Both texts as (part, changed): the words of the old that are gone, and those of the new that have come."""
    before, after = _words(old), _words(new)
    was: list[tuple[str, bool]] = []
    now: list[tuple[str, bool]] = []
    bare = [word.strip() for word in before], [word.strip() for word in after]
    for kind, a, b, c, d in SequenceMatcher(None, *bare, autojunk=False).get_opcodes():
        changed = kind != "equal"
        was += [("".join(before[a:b]), changed)] if b > a else []
        now += [("".join(after[c:d]), changed)] if d > c else []
    return was, now


def new_phrase(new: Sequence[Sample], old: Sequence[Sample]) -> tuple[str, int, int] | None:
    """The phrase that gained most beside an earlier step: (phrase, responses that have it now, then), or None."""
    if not new or not old:
        return None
    now, then = _phrases(new), _phrases(old)
    gain, phrase = max(
        ((count / len(new) - then[phrase] / len(old), phrase) for phrase, count in now.items()), default=(0.0, "")
    )
    return (phrase, now[phrase], then[phrase]) if gain >= HABIT and now[phrase] >= OFTEN else None


def _phrases(samples: Sequence[Sample]) -> Counter[str]:
    """How many responses hold each phrase."""
    found: Counter[str] = Counter()
    for sample in samples:
        words = sample.response.split()
        found.update({" ".join(words[i : i + PHRASE]) for i in range(len(words) - PHRASE + 1)})
    return found


def _words(text: str) -> list[str]:
    """Words, each with the white space before it, so that joined they are the text."""
    return re.findall(r"\s*\S+|\s+$", text)


def _sample(row: Mapping[str, Any]) -> Sample:
    score, kl_nats, tokens, judged = (number(row.get(name)) for name in ("score", "kl_nats", "tokens", "judge_score"))
    ended = row.get("finished") is not False
    return Sample(_text(row.get("prompt")), _text(row.get("response")), score, kl_nats, tokens, ended, judged)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


class SamplePosition(NamedTuple):
    """A sample by its place: which of the drawn steps, and its number among the samples of that step."""

    place: int
    number: int


class SampleSearch:
    """Keeps what it has read of each step, so that every key that is typed can be answered at once."""

    def __init__(self) -> None:
        self._texts: dict[StepSamples, list[str]] = {}
        self._last: tuple[str, tuple[StepSamples, ...], list[SamplePosition]] = ("", (), [])

    def find(self, history: Sequence[StepSamples], wanted: str) -> list[SamplePosition]:
        """The samples that hold the text, whatever the case and the white space."""
        key, steps = _plain(wanted), tuple(history)
        if self._last[:2] != (key, steps):
            found = [
                SamplePosition(place, number)
                for place, drawn in enumerate(steps)
                for number, text in enumerate(self._of(drawn))
                if key in text
            ]
            self._last = key, steps, found
        return self._last[2]

    def _of(self, drawn: StepSamples) -> list[str]:
        if drawn not in self._texts:
            self._texts[drawn] = [_plain(f"{item.prompt}\n{item.response}") for item in parse_samples(drawn)]
        return self._texts[drawn]


def nearest_position(found: Sequence[SamplePosition], spot: SamplePosition) -> int:
    """Which of the found, in their order, is the sample itself, else the last before it, else the first."""
    return max(0, bisect_right(found, spot) - 1)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
