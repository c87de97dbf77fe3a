"""The samples of a step as rows: a line each, and one of them in full with what changed since that prompt came before.

Models and people wrote these texts: they pass tui/safe.py here.
"""

import math
from collections.abc import Sequence

from slmctl.plots.rows import Row, cut, fitted, wrapped
from slmctl.tui.safe import clean, one_line
from slmctl.watching.follower import Drawn
from slmctl.watching.samples import Means, Sample, former, habit, means, samples_of, word_changes

NUMBERS = "  score     KL tokens"
LABEL = 9  # cells of the words beside a text
PROMPT_SHARE = 0.4  # of the room for the texts


def list_rows(history: Sequence[Drawn], place: int, chosen: int, width: int, height: int, ascii: bool) -> list[Row]:
    """The samples at `place` of the history in exactly `height` rows, the chosen one marked and in sight."""
    samples = samples_of(history[place]) if 0 <= place < len(history) else []
    if not samples:
        return [fitted([(text, "note")], width) for text in [" no samples at this step", *[""] * height][:height]]
    rows = _head(history, place, width, ascii)
    room = max(1, height - len(rows))
    top = max(0, min(chosen - room // 2, len(samples) - room))
    for number, sample in enumerate(samples[top : top + room], start=top):
        rows.append(_line(sample, number == chosen, width, ascii))
    return [fitted(row, width) for row in [*rows, *[[] for _ in range(height)]][:height]]


def row_at(history: Sequence[Drawn], place: int, chosen: int, height: int, y: int) -> int | None:
    """Which sample stands in row `y` of `list_rows`; None where there is none."""
    samples = samples_of(history[place]) if 0 <= place < len(history) else []
    head = len(_head(history, place, 0, True)) if samples else 0
    room = max(1, height - head)
    number = max(0, min(chosen - room // 2, len(samples) - room)) + y - head
    return number if y >= head and number < len(samples) else None


def text_rows(history: Sequence[Drawn], place: int, chosen: int, width: int) -> list[Row]:
    """One sample in full: prompt, response, and what that prompt was answered before, the changed words marked."""
    samples = samples_of(history[place]) if 0 <= place < len(history) else []
    if not samples:
        return []
    number = min(chosen, len(samples) - 1)
    sample = samples[number]
    ended = "" if sample.finished else ", cut off at its longest"
    numbers = (
        f"score {_number(sample.score)}, KL {_number(sample.kl_nats)} nats, {_number(sample.tokens, 0)} tokens{ended}"
    )
    rows = wrapped([(f" sample {number + 1} of {len(samples)} ", "title"), (f" {numbers}", "note")], max(1, width))
    earlier = former(history[:place], sample.prompt)
    was, now = word_changes(earlier[1].response, sample.response) if earlier else ([], [(sample.response, False)])
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
    return [row for text in texts for row in (*wrapped([(clean(text), "")], width), [])][:-1]


def _head(history: Sequence[Drawn], place: int, width: int, ascii: bool) -> list[Row]:
    """Which step; the means, with their change since the samples before; a phrase that has become a habit."""
    samples, before = samples_of(history[place]), samples_of(history[place - 1]) if place else []
    count = f" {place + 1} of {len(history)}"
    rows: list[Row] = [[(f" samples of step {history[place].step} ", "title"), (count, "note")]]
    beside = f" beside step {history[place - 1].step}" if before else ""
    texts = (_means(means(samples), means(before), True) + beside, _means(means(samples), means(before), False))
    rows.append([(next((text for text in texts if len(text) <= width), texts[-1]), "note")])
    if before and (found := habit(samples, before)):
        phrase, now, then = found
        words = f'"{one_line(phrase)}"' if ascii else f"“{one_line(phrase)}”"
        rows.append([(cut(f" new habit: {words} in {now} of {len(samples)}, was in {then}", width), "habit")])
    return [*rows, [(f" {NUMBERS}  prompt and response", "axis")]]


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
    return f" mean {'  '.join(told)}"


def _line(sample: Sample, chosen: bool, width: int, ascii: bool) -> Row:
    mark = (">" if ascii else "▸") if chosen else " "
    numbers = f"{mark}{_number(sample.score):>7} {_number(sample.kl_nats):>6} {_number(sample.tokens, 0):>6}"
    room = max(0, width - len(numbers) - 2)
    prompt = cut(one_line(sample.prompt), int(room * PROMPT_SHARE))
    arrow = " > " if ascii else " → "
    end = "" if sample.finished else " …"
    response = cut(one_line(sample.response), max(0, room - len(arrow) - len(prompt) - len(end))) + end
    role = "chosen" if chosen else ""
    row: Row = [(numbers, role or "note"), (f"  {prompt}", role or "prompt"), (arrow, role or "axis"), (response, role)]
    return fitted(row, width) if not chosen else [(text, role) for text, _ in fitted(row, width)]


def _paragraph(label: str, parts: Sequence[tuple[str, str]], width: int) -> list[Row]:
    """Parts of text as lines between words, beside a label."""
    lines = wrapped([(clean(text), role) for text, role in parts], max(8, width - LABEL - 1))
    labels = [f" {label:<{LABEL}}", *[" " * (LABEL + 1)] * len(lines)]
    return [[(beside, "axis"), *line] for beside, line in zip(labels, lines, strict=False)]


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else str(value)


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}" if math.isfinite(value) else str(value)
