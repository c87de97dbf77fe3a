"""The samples of a step as rows: a line each, and one of them in full with what changed since that prompt came before.

Models and people wrote these texts: they pass tui/safe.py here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slmctl.console.safe import clean, one_line
from slmctl.plots.rows import Row, fit_to_width, join_ends, truncate, wrap
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

NUMBERS = "  score     KL tokens"
STEP = "   step "
KEYS = ("[ ] steps  / filter  enter whole text ", "[ ] steps  / filter ")
KEYS_FOUND = ("esc all samples ",)
LABEL = 9  # cells of the words beside a text
PROMPT_SHARE = 0.4  # of the room for the texts


@dataclass(frozen=True)
class SampleListing:
    """A list of samples, one of them `chosen`: of the step at `place`, or where a text is `wanted` those `found`."""

    history: Sequence[StepSamples]
    place: int = -1
    chosen: int = 0
    wanted: str = ""
    found: Sequence[SamplePosition] = ()

    def __len__(self) -> int:
        return len(self.found) if self.wanted else len(self._at(self.place))

    def top(self, room: int) -> int:
        """The first that is in sight among `room` of them, the chosen one in their middle."""
        return max(0, min(self.chosen - room // 2, len(self) - room))

    def part(self, start: int, count: int) -> list[tuple[int, Sample]]:
        """So many of the samples from one on, each with its step."""
        if not self.wanted:
            return [(self.history[self.place].step, item) for item in self._at(self.place)[start : start + count]]
        found = self.found[start : start + count]
        return [(self.history[place].step, self._at(place)[number]) for place, number in found]

    def _at(self, place: int) -> list[Sample]:
        return parse_samples(self.history[place]) if 0 <= place < len(self.history) else []


def list_rows(listing: SampleListing, width: int, height: int, ascii: bool) -> list[Row]:
    """The samples in exactly `height` rows, the chosen one marked and in sight."""
    rows = _head(listing, width, ascii)
    room = max(1, height - len(rows))
    top = listing.top(room)
    for number, (step, sample) in enumerate(listing.part(top, room), start=top):
        before = f"{step:>{len(STEP)}}" if listing.wanted else ""
        rows.append(_line(sample, before, number == listing.chosen, width, ascii))
    return [fit_to_width(row, width) for row in [*rows, *[[] for _ in range(height)]][:height]]


def row_at(listing: SampleListing, height: int, y: int) -> int | None:
    """Which sample stands in row `y` of `list_rows`; None where there is none."""
    head = len(_head(listing, 0, True))
    number = listing.top(max(1, height - head)) + y - head
    return number if y >= head and number < len(listing) else None


def text_rows(history: Sequence[StepSamples], place: int, chosen: int, width: int) -> list[Row]:
    """One sample in full: prompt, response, and what that prompt was answered before, the changed words marked."""
    samples = parse_samples(history[place]) if 0 <= place < len(history) else []
    if not samples:
        return []
    number = min(chosen, len(samples) - 1)
    sample = samples[number]
    ended = "" if sample.finished else ", cut off at its longest"
    judged = f", judge {_number(sample.judge_score)}" if math.isfinite(sample.judge_score) else ""
    numbers = f"score {_number(sample.score)}{judged}, KL {_number(sample.kl_nats)} nats, "
    numbers += f"{_number(sample.tokens, 0)} tokens{ended}"
    rows = wrap([(f" sample {number + 1} of {len(samples)} ", "title"), (f" {numbers}", "note")], max(1, width))
    earlier = previous_sample(history[:place], sample.prompt)
    was, now = word_diff(earlier[1].response, sample.response) if earlier else ([], [(sample.response, False)])
    rows += _paragraph("prompt", [(sample.prompt, "prompt")], width)
    rows += _paragraph("response", [(text, "came" if changed else "") for text, changed in now], width)
    if earlier is None:
        rows += _paragraph("before", [("this prompt was not sampled before", "note")], width)
        return rows
    step, old = earlier
    rows += _paragraph(f"step {step}", [(text, "went" if changed else "note") for text, changed in was], width)
    change = f"score {_number(old.score)} then, now {_signed(sample.score - old.score)}"
    return [*rows, *_paragraph("", [(change, "note")], width)]


def paragraphs(texts: Sequence[str], width: int) -> list[Row]:
    """Texts as paragraphs with a line between them."""
    return [row for text in texts for row in (*wrap([(clean(text), "")], width), [])][:-1]


def _head(listing: SampleListing, width: int, ascii: bool) -> list[Row]:
    """What is listed, and what its numbers are."""
    if listing.wanted:
        return _head_found(listing, width)
    return _head_of_step(listing, width, ascii) if len(listing) else [[(" no samples at this step", "note")]]


def _head_found(listing: SampleListing, width: int) -> list[Row]:
    """How many samples hold the text, in how many steps."""
    steps = len({place for place, _ in listing.found})
    count = "1 sample" if len(listing) == 1 else f"{len(listing)} samples"
    where = f" in {steps} of the {len(listing.history)} steps with samples"
    rows: list[Row] = [[(f' "{one_line(listing.wanted, 24)}": {count} ', "title"), (where, "note")]]
    return [*rows, _axis(STEP, KEYS_FOUND, width)]


def _head_of_step(listing: SampleListing, width: int, ascii: bool) -> list[Row]:
    """Which step; the means, with their change since the samples before; a phrase that has become a habit."""
    history, place = listing.history, listing.place
    samples, before = parse_samples(history[place]), parse_samples(history[place - 1]) if place else []
    count = f" {place + 1} of {len(history)}, the first {len(samples)} responses of its rollout"
    rows: list[Row] = [[(f" samples of step {history[place].step} ", "title"), (count, "note")]]
    beside = f" since step {history[place - 1].step}" if before else ""
    now, then = mean_numbers(samples), mean_numbers(before)
    what = f" mean of these {len(samples)}: "
    texts = (what + _means(now, then, True) + beside, what + _means(now, then, True), what + _means(now, then, False))
    rows.append([(next((text for text in texts if len(text) <= width), texts[-1]), "note")])
    if before and (found := new_phrase(samples, before)):
        phrase, new, old = found
        words = f'"{one_line(phrase)}"' if ascii else f"“{one_line(phrase)}”"
        rows.append(
            [(truncate(f" new new_phrase: {words} in {new} of {len(samples)}, was in {old}", width), "new_phrase")]
        )
    return [*rows, _axis("", KEYS, width)]


def _axis(before: str, keys: Sequence[str], width: int) -> Row:
    """What the columns are, and the first of the `keys` that there is room for."""
    columns = f"{before} {NUMBERS}  prompt and response"
    shown = next((text for text in keys if len(columns) + len(text) < width), "")
    return join_ends([(columns, "axis")], [(shown, "axis")], width)


def _means(now: Means, then: Means, long: bool) -> str:
    parts = (
        ("score", now.score, then.score, 2),
        ("KL", now.kl_nats, then.kl_nats, 2),
        ("tokens", now.tokens, then.tokens, 1),
    )
    told = []
    for name, value, old, digits in parts:
        change = f" ({_signed(value - old, digits)})" if long and math.isfinite(value - old) else ""
        told.append(f"{name} {_number(value, digits)}{change}")
    return "  ".join(told)


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
    """Parts of text as lines between words, beside a label."""
    lines = wrap([(clean(text), role) for text, role in parts], max(8, width - LABEL - 1))
    labels = [f" {label:<{LABEL}}", *[" " * (LABEL + 1)] * len(lines)]
    return [[(beside, "axis"), *line] for beside, line in zip(labels, lines, strict=False)]


def _number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:+.{digits}f}"
