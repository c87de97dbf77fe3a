"""The sampled responses of each step: what changed since earlier ones, a search, and their rows of text.

A response is compared word by word with the last one to the same prompt. Most prompts are new at each step (PPO goes
through all of them before it repeats one), so steps are also compared as a whole: means, and a phrase that has become
more frequent. Models and people wrote these texts: they pass console.safe here.
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
from slmctl.console.safe import clean, one_line
from slmctl.plots.styled_rows import Row, fit_to_width, join_ends, truncate, wrap
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


class Means(NamedTuple):
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


NUMBERS = " reward     KL tokens"
STEP = "   step "
KEYS = ("[ ] steps  / filter  enter full text ", "[ ] steps  / filter ")
KEYS_FILTERED = ("esc all samples ",)
LABEL = 9  # cells of the label beside a text
PROMPT_SHARE = 0.4  # of the room for the texts
NEGATIVE_KL = "KL below 0: the policy finds this response less likely than the reference does"


@dataclass(frozen=True)
class SampleListing:
    """A list of samples, one of them `chosen`: those of the step at `index`, or with a `filter` those `found`."""

    steps: Sequence[StepSamples]
    index: int = -1
    chosen: int = 0
    filter: str = ""
    found: Sequence[SamplePosition] = ()

    def __len__(self) -> int:
        return len(self.found) if self.filter else len(self._at(self.index))

    def top(self, room: int) -> int:
        """The first of `room` visible samples, with the chosen one in their middle."""
        return max(0, min(self.chosen - room // 2, len(self) - room))

    def part(self, start: int, count: int) -> list[tuple[int, Sample]]:
        """`count` of the samples from `start` on, each with its step."""
        if not self.filter:
            return [(self.steps[self.index].step, item) for item in self._at(self.index)[start : start + count]]
        found = self.found[start : start + count]
        return [(self.steps[index].step, self._at(index)[number]) for index, number in found]

    def _at(self, index: int) -> list[Sample]:
        return parse_samples(self.steps[index]) if 0 <= index < len(self.steps) else []


def list_rows(listing: SampleListing, width: int, height: int, ascii: bool) -> list[Row]:
    """The samples in exactly `height` rows, the chosen one marked and visible."""
    rows = _head(listing, width, ascii)
    room = max(1, height - len(rows))
    top = listing.top(room)
    for place, (step, sample) in enumerate(listing.part(top, room), start=top):
        before = f"{step:>{len(STEP)}}" if listing.filter else ""
        rows.append(_line(sample, before, place == listing.chosen, width, ascii))
    return [fit_to_width(row, width) for row in [*rows, *[[] for _ in range(height)]][:height]]


def row_at(listing: SampleListing, height: int, y: int) -> int | None:
    """The number of the sample in row `y` of `list_rows`, or None."""
    head = len(_head(listing, 0, True))
    number = listing.top(max(1, height - head)) + y - head
    return number if y >= head and number < len(listing) else None


def text_rows(steps: Sequence[StepSamples], index: int, chosen: int, width: int) -> list[Row]:
    """One sample in full: prompt, response, and the previous response to that prompt, with changed words marked."""
    samples = parse_samples(steps[index]) if 0 <= index < len(steps) else []
    if not samples:
        return []
    number = min(chosen, len(samples) - 1)
    sample = samples[number]
    cut_off = "" if sample.finished else ", cut off at the maximum length"
    judged = f", judge {_number(sample.judge_score)}" if math.isfinite(sample.judge_score) else ""
    numbers = f"reward {_number(sample.score)}{judged}, KL {_number(sample.kl_nats)} nats, "
    numbers += f"{_number(sample.tokens, 0)} tokens{cut_off}"
    rows = wrap([(f" sample {number + 1} of {len(samples)} ", "title"), (f" {numbers}", "note")], max(1, width))
    earlier = previous_sample(steps[:index], sample.prompt)
    was, now = word_diff(earlier[1].response, sample.response) if earlier else ([], [(sample.response, False)])
    rows += _paragraph("prompt", [(sample.prompt, "prompt")], width)
    rows += _paragraph("response", [(text, "came" if changed else "") for text, changed in now], width)
    if earlier is None:
        rows += _paragraph("before", [("this prompt was not sampled before", "note")], width)
    else:
        step, old = earlier
        rows += _paragraph(f"step {step}", [(text, "went" if changed else "note") for text, changed in was], width)
        change = f"reward {_number(old.score)} then, {_signed(sample.score - old.score)} since"
        rows += _paragraph("", [(change, "note")], width)
    return [*rows, *(_paragraph("", [(NEGATIVE_KL, "note")], width) if sample.kl_nats < 0 else [])]


def paragraphs(texts: Sequence[str], width: int) -> list[Row]:
    """Texts as paragraphs with an empty line between them."""
    return [row for text in texts for row in (*wrap([(clean(text), "")], width), [])][:-1]


def _head(listing: SampleListing, width: int, ascii: bool) -> list[Row]:
    """What is listed, and the titles of the columns."""
    if listing.filter:
        return _head_of_filter(listing, width)
    return _head_of_step(listing, width, ascii) if len(listing) else [[(" no samples at this step", "note")]]


def _head_of_filter(listing: SampleListing, width: int) -> list[Row]:
    """How many samples contain the text, in how many steps."""
    steps = len({index for index, _ in listing.found})
    count = "1 sample" if len(listing) == 1 else f"{len(listing)} samples"
    where = f" in {steps} of the {len(listing.steps)} steps with samples"
    rows: list[Row] = [[(f' "{one_line(listing.filter, 24)}": {count} ', "title"), (where, "note")]]
    return [*rows, _column_titles(STEP, KEYS_FILTERED, width)]


def _head_of_step(listing: SampleListing, width: int, ascii: bool) -> list[Row]:
    """The step, its means with their change since the previous samples, and a phrase that has become frequent."""
    steps, index = listing.steps, listing.index
    samples, before = parse_samples(steps[index]), parse_samples(steps[index - 1]) if index else []
    count = f" {index + 1} of {len(steps)}, the first {len(samples)} responses of its rollout"
    rows: list[Row] = [[(f" samples of step {steps[index].step} ", "title"), (count, "note")]]
    now, then = mean_numbers(samples), mean_numbers(before)
    plain, changes = _means(now, then, False), _means(now, then, True)
    since = f" (change since step {steps[index - 1].step})"
    texts = [f" mean of these {len(samples)}: {plain}"]
    if before:
        texts[:0] = [f" means{since}: {changes}", f" means (change): {changes}"]
    rows.append([(next((text for text in texts if len(text) <= width), texts[-1]), "note")])
    if before and (found := new_phrase(samples, before)):
        phrase, new, old = found
        words = f'"{one_line(phrase)}"' if ascii else f"“{one_line(phrase)}”"
        text = f" new phrase: {words} in {new} of {len(samples)} responses, before in {old}"
        rows.append([(truncate(text, width), "habit")])
    return [*rows, _column_titles("", KEYS, width)]


def _column_titles(before: str, keys: Sequence[str], width: int) -> Row:
    """The titles of the columns, and the first of the `keys` that fits."""
    columns = f"{before} {NUMBERS}  prompt and response"
    shown = next((text for text in keys if len(columns) + len(text) < width), "")
    return join_ends([(columns, "axis")], [(shown, "axis")], width)


def _means(now: Means, then: Means, changes: bool) -> str:
    found = []
    for (name, digits), value, old in zip((("reward", 2), ("KL", 2), ("tokens", 1)), now, then, strict=True):
        change = f" ({_signed(value - old, digits)})" if changes and math.isfinite(value - old) else ""
        found.append(f"{name} {_number(value, digits)}{change}")
    return "  ".join(found)


def _line(sample: Sample, before: str, chosen: bool, width: int, ascii: bool) -> Row:
    mark = (">" if ascii else "▸") if chosen else " "
    numbers = f"{mark}{before}{_number(sample.score):>7} {_number(sample.kl_nats):>6} {_number(sample.tokens, 0):>6}"
    room = max(0, width - len(numbers) - 2)
    prompt = truncate(one_line(sample.prompt), int(room * PROMPT_SHARE))
    arrow = " > " if ascii else " → "
    end = "" if sample.finished else " …"
    response = truncate(one_line(sample.response), max(0, room - len(arrow) - len(prompt) - len(end))) + end
    role = "chosen" if chosen else ""
    row: Row = [(numbers, role or "note"), (f"  {prompt}", role or "prompt"), (arrow, role or "axis"), (response, role)]
    return fit_to_width(row, width) if not chosen else [(text, role) for text, _ in fit_to_width(row, width)]


def _paragraph(label: str, parts: Sequence[tuple[str, str]], width: int) -> list[Row]:
    """Parts of a text, wrapped between words beside a label."""
    lines = wrap([(clean(text), role) for text, role in parts], max(8, width - LABEL - 1))
    labels = [f" {label:<{LABEL}}", *[" " * (LABEL + 1)] * len(lines)]
    return [[(beside, "axis"), *line] for beside, line in zip(labels, lines, strict=False)]


def _number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:+.{digits}f}"
