"""The sampled responses of each step, how they differ from earlier ones, and which of them contain a text.

A response is compared word by word with the last one to the same prompt. Most prompts are new at each step (PPO goes
through all of them before it repeats one), so steps are also compared as a whole: means, and a phrase that has become
more frequent.
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
MORE_OFTEN = 0.25  # fraction of the responses by which a phrase must have gained to be named


@dataclass(frozen=True)
class Sample:
    """One sampled response; a number that was not reported is NaN."""

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


def parse_samples(samples: StepSamples) -> list[Sample]:
    """The samples of one step; rows that are not samples are skipped."""
    try:
        rows = from_json(samples.line)["samples"]
    except (ValueError, KeyError, TypeError):
        return []
    return [_sample(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def mean_numbers(samples: Sequence[Sample]) -> Means:
    """The means; NaN if no sample has the number."""
    return Means(*(_mean([getattr(sample, name) for sample in samples]) for name in ("score", "kl_nats", "tokens")))


def previous_sample(steps: Sequence[StepSamples], prompt: str) -> tuple[int, Sample] | None:
    """The last time that a prompt was sampled in these steps: (step, sample), or None."""
    key = json.dumps(prompt, ensure_ascii=False).encode("utf-8", errors="replace")
    for samples in reversed(steps):
        if key in samples.line:
            for sample in parse_samples(samples):
                if sample.prompt == prompt:
                    return samples.step, sample
    return None


def word_diff(old: str, new: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Both texts as (part, changed) pairs: words that only the old text has, words that only the new text has."""
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
    """The phrase that became most frequent: (phrase, responses that contain it now, and before), or None."""
    if not new or not old:
        return None
    now, then = _phrases(new), _phrases(old)
    gain, phrase = max(
        ((count / len(new) - then[phrase] / len(old), phrase) for phrase, count in now.items()), default=(0.0, "")
    )
    return (phrase, now[phrase], then[phrase]) if gain >= MORE_OFTEN and now[phrase] >= OFTEN else None


def _phrases(samples: Sequence[Sample]) -> Counter[str]:
    """How many responses contain each phrase."""
    found: Counter[str] = Counter()
    for sample in samples:
        words = sample.response.split()
        found.update({" ".join(words[i : i + PHRASE]) for i in range(len(words) - PHRASE + 1)})
    return found


def _words(text: str) -> list[str]:
    """The words, each with the white space before it; joined they are the text."""
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
    """A sample by the index of its step among the steps with samples, and its number in that step."""

    step_index: int
    number: int


class SampleSearch:
    """Finds the samples that contain a text; keeps the texts of each step, so that it can search at every key press."""

    def __init__(self) -> None:
        self._texts: dict[StepSamples, list[str]] = {}
        self._last: tuple[str, tuple[StepSamples, ...], list[SamplePosition]] = ("", (), [])

    def find(self, history: Sequence[StepSamples], text: str) -> list[SamplePosition]:
        """The samples that contain the text, ignoring case and white space."""
        key, steps = _plain(text), tuple(history)
        if self._last[:2] != (key, steps):
            found = [
                SamplePosition(index, number)
                for index, samples in enumerate(steps)
                for number, own in enumerate(self._texts_of(samples))
                if key in own
            ]
            self._last = key, steps, found
        return self._last[2]

    def _texts_of(self, samples: StepSamples) -> list[str]:
        if samples not in self._texts:
            self._texts[samples] = [_plain(f"{item.prompt}\n{item.response}") for item in parse_samples(samples)]
        return self._texts[samples]


def nearest_position(found: Sequence[SamplePosition], position: SamplePosition) -> int:
    """The index of the position among those found, or else of the last before it, or else of the first."""
    return max(0, bisect_right(found, position) - 1)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
