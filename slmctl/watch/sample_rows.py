"""Samples as rows: one line each, and one of them in full with what changed since its prompt was last sampled.

Models and people wrote these texts: they pass console.safe here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slmctl.console.safe import clean, one_line
from slmctl.plots.styled_rows import Row, fit_to_width, join_ends, truncate, wrap
from slmctl.watch.follower import StepSamples
from slmctl.watch.samples import (
    Means,
    Sample,
    SamplePosition,
    mean_numbers,
    new_phrase,
    parse_samples,
    previous_sample,
    word_diff,
)

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
    for number, (step, sample) in enumerate(listing.part(top, room), start=top):
        before = f"{step:>{len(STEP)}}" if listing.filter else ""
        rows.append(_line(sample, before, number == listing.chosen, width, ascii))
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
    parts = (
        ("reward", now.score, then.score, 2),
        ("KL", now.kl_nats, then.kl_nats, 2),
        ("tokens", now.tokens, then.tokens, 1),
    )
    found = []
    for name, value, old, digits in parts:
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
