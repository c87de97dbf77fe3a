"""Labels as rows of data, in our own format and in those of TRL and Anthropic's HH.

    rankings  {prompt, responses, ranking}   all ranked responses, ties included, rank 0 the best; also `strength`
                                             (2 for much better), `flagged` and `note`
    trl       {prompt, chosen, rejected}     every pair with a preference
    hh        {chosen, rejected}             the same, as transcripts
    kto       {prompt, completion, label}    the best are true, the worst false; "both bad" are all false, and ties are
                                             left out, because they do not say whether the responses are good
    sft       {prompt, completion}           edited responses

Labels that give no row are counted by reason. Repeated pairs, which measure self-agreement, are left out. Writing files
is the command's job, reading labels store.py's.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.core.errors import ConfigError, did_you_mean
from engine.data.labels.store import Label, Labels
from engine.data.records import ASSISTANT, HUMAN, Message, Prompt, plain_prompt

JsonRow = dict[str, Any]
REPEAT = "repeated pair"
WITHDRAWN = "withdrawn"
UNRANKED = "skip or edit, without a ranking"
TIED = "tie, without a preference"
BOTH_BAD = "both bad, without a preference"
SAME = "two identical responses"
UNEDITED = "no edited response"
MARKS = ("strength", "flagged", "note")  # fields of a ranking that training ignores
NO_TRANSCRIPT = "conversation that a transcript cannot represent"


@dataclass(frozen=True)
class Exported:
    """Rows, each with the id of its label, and how many labels gave no row, by reason."""

    rows: list[tuple[int, JsonRow]]
    left_out: Counter[str]


def export_rows(labels: Labels, form: str, annotators: Collection[str] = ()) -> Exported:
    """The rows of these annotators' labels, or of all.

    If any prompt is a conversation, all rows of TRL's formats are conversations: its readers expect one kind a file.

    Raises: ConfigError for an unknown format or annotator.
    """
    if form not in FORMATS:
        raise ConfigError(f"unknown format {form!r}{did_you_mean(form, FORMATS)} (formats: {', '.join(FORMATS)})")
    _check_annotators(annotators, labels)
    standing, withdrawn = (_made_by(annotators, some) for some in (labels.standing, labels.withdrawn))
    turns = form != "rankings" and not all(isinstance(one.prompt, str) for one in standing)
    ranked = {one.id for one in standing if one.ranking is not None}
    exported = Exported([], Counter({WITHDRAWN: len(withdrawn)} if withdrawn else {}))
    for one in standing:
        again = one.repeats in ranked and one.ranking is not None
        found = REPEAT if again and form != "sft" else FORMATS[form](one, turns)
        if isinstance(found, str):
            exported.left_out[found] += 1
        else:
            exported.rows.extend((one.id, row) for row in found)
    return exported


def _check_annotators(annotators: Collection[str], labels: Labels) -> None:
    known = sorted({one.annotator for one in (*labels.standing, *labels.withdrawn)})
    for name in annotators:
        if name not in known:
            raise ConfigError(
                f"no labels by annotator {name!r}{did_you_mean(name, known)} (annotators: {', '.join(known)})"
            )


def _made_by(annotators: Collection[str], labels: Sequence[Label]) -> list[Label]:
    return [one for one in labels if not annotators or one.annotator in annotators]


def _rankings(one: Label, turns: bool) -> list[JsonRow] | str:
    ranking = one.ranking
    if ranking is None:
        return UNRANKED
    prompt = _prompt(one.prompt, turns)
    marks = {name: getattr(one, name) for name in MARKS}
    return [{"prompt": prompt, "responses": list(ranking.responses), "ranking": list(ranking.ranks), **marks}]


def _trl(one: Label, turns: bool) -> list[JsonRow] | str:
    pairs = _pairs(one)
    if isinstance(pairs, str):
        return pairs
    prompt = _prompt(one.prompt, turns)
    return [{"prompt": prompt, "chosen": _reply(a, turns), "rejected": _reply(b, turns)} for a, b in pairs]


def _hh(one: Label, turns: bool) -> list[JsonRow] | str:
    pairs = _pairs(one)
    if isinstance(pairs, str):
        return pairs
    asked = (Message("user", one.prompt),) if isinstance(one.prompt, str) else one.prompt
    texts = [turn.content for turn in asked] + [text for pair in pairs for text in pair]
    marks = {"user": HUMAN, "assistant": ASSISTANT}
    if any(mark in text for text in texts for mark in marks.values()):
        return NO_TRANSCRIPT
    if asked[0].role != "user" or not all(turn.role in marks for turn in asked):
        return NO_TRANSCRIPT
    start = "".join(f"{marks[turn.role]} {turn.content}" for turn in asked) + ASSISTANT
    return [{"chosen": f"{start} {a}", "rejected": f"{start} {b}"} for a, b in pairs]


def _kto(one: Label, turns: bool) -> list[JsonRow] | str:
    ranking = one.ranking
    if ranking is None:
        return UNRANKED
    if not ranking.pairs() and one.verdict != "both_bad":
        return TIED
    best = None if one.verdict == "both_bad" else min(ranking.ranks)
    prompt, worst = _prompt(one.prompt, turns), max(ranking.ranks)
    return [
        {"prompt": prompt, "completion": _reply(text, turns), "label": rank == best}
        for text, rank in zip(ranking.responses, ranking.ranks, strict=True)
        if rank in (best, worst)
    ]


def _sft(one: Label, turns: bool) -> list[JsonRow] | str:
    if one.edited is None:
        return UNEDITED
    return [{"prompt": _prompt(one.prompt, turns), "completion": _reply(one.edited, turns)}]


def _pairs(one: Label) -> list[tuple[str, str]] | str:
    """The texts of every pair with a preference, chosen first, or the reason why there is none."""
    ranking = one.ranking
    if ranking is None:
        return UNRANKED
    pairs = [(ranking.responses[a], ranking.responses[b]) for a, b in ranking.pairs()]
    nothing = SAME if pairs else BOTH_BAD if one.verdict == "both_bad" else TIED
    return [(a, b) for a, b in pairs if a.strip() != b.strip()] or nothing


def _prompt(prompt: Prompt, turns: bool) -> str | list[JsonRow]:
    return plain_prompt((Message("user", prompt),) if turns and isinstance(prompt, str) else prompt)


def _reply(text: str, turns: bool) -> str | list[JsonRow]:
    return [asdict(Message("assistant", text))] if turns else text


FORMATS: dict[str, Callable[[Label, bool], list[JsonRow] | str]] = {
    "trl": _trl,
    "hh": _hh,
    "kto": _kto,
    "sft": _sft,
    "rankings": _rankings,
}
