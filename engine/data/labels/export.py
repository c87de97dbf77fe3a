"""Judgements as rows of data, in our own form and in those of TRL and of Anthropic's HH.

    rankings  {prompt, responses, ranking}   all that a person ranked, ties too; the lowest rank is the best; with it
                                             go `strength`, 2 for much better, `flagged` and `note`
    trl       {prompt, chosen, rejected}     every pair with a preference
    hh        {chosen, rejected}             the same, as transcripts
    kto       {prompt, completion, label}    the best true, the worst false, between them nothing; both bad are false,
                                             and a tie does not say whether the two are good
    sft       {prompt, completion}           edited responses

What is no row is counted by reason: nothing vanishes unsaid. A pair that came back to see whether its annotator agrees
with himself is not there twice. Writing files is the command's job, and reading labels preferences.py's.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.core.errors import ConfigError, nearest
from engine.data.labels.store import Judgement, Labels
from engine.data.records import ASSISTANT, HUMAN, Message, Prompt, plain_prompt

JsonRow = dict[str, Any]
REPEAT = "a pair that came back"
TAKEN_BACK = "taken back"
UNRANKED = "skips and edits, which rank nothing"
TIED = "ties, which prefer nothing"
BOTH_BAD = "both bad, which prefers neither"
SAME = "twice the same response"
UNEDITED = "nothing was edited"
MARKS = ("strength", "flagged", "note")  # fields of a ranking that say how a person meant it; nothing learns from them
NO_TRANSCRIPT = "turns that no transcript can hold"


@dataclass(frozen=True)
class Exported:
    """Rows, each with the number of its label, and how many labels gave none, by reason."""

    rows: list[tuple[int, JsonRow]]
    left_out: Counter[str]


def export(labels: Labels, form: str, annotators: Collection[str] = ()) -> Exported:
    """The rows of these annotators' labels, or of all.

    Where one prompt is a conversation, all rows of TRL's forms are: its readers want a file to be of one kind.

    Raises: ConfigError for a form or an annotator that there is not.
    """
    if form not in FORMS:
        raise ConfigError(f"there is no format {form!r}{nearest(form, FORMS)} (formats: {', '.join(FORMS)})")
    _check_annotators(annotators, labels)
    standing, withdrawn = (_made_by(annotators, some) for some in (labels.standing, labels.withdrawn))
    turns = form != "rankings" and not all(isinstance(one.prompt, str) for one in standing)
    ranked = {one.id for one in standing if one.ranking is not None}
    exported = Exported([], Counter({TAKEN_BACK: len(withdrawn)} if withdrawn else {}))
    for one in standing:
        again = one.repeats in ranked and one.ranking is not None
        found = REPEAT if again and form != "sft" else FORMS[form](one, turns)
        if isinstance(found, str):
            exported.left_out[found] += 1
        else:
            exported.rows.extend((one.id, row) for row in found)
    return exported


def _check_annotators(annotators: Collection[str], labels: Labels) -> None:
    known = sorted({one.annotator for one in (*labels.standing, *labels.withdrawn)})
    for name in annotators:
        if name not in known:
            raise ConfigError(f"nobody named {name!r} made labels{nearest(name, known)} (names: {', '.join(known)})")


def _made_by(annotators: Collection[str], judgements: Sequence[Judgement]) -> list[Judgement]:
    return [one for one in judgements if not annotators or one.annotator in annotators]


def _rankings(one: Judgement, turns: bool) -> list[JsonRow] | str:
    ranking = one.ranking
    if ranking is None:
        return UNRANKED
    prompt = _prompt(one.prompt, turns)
    marks = {name: getattr(one, name) for name in MARKS}
    return [{"prompt": prompt, "responses": list(ranking.responses), "ranking": list(ranking.ranks), **marks}]


def _trl(one: Judgement, turns: bool) -> list[JsonRow] | str:
    pairs = _pairs(one)
    if isinstance(pairs, str):
        return pairs
    prompt = _prompt(one.prompt, turns)
    return [{"prompt": prompt, "chosen": _reply(a, turns), "rejected": _reply(b, turns)} for a, b in pairs]


def _hh(one: Judgement, turns: bool) -> list[JsonRow] | str:
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


def _kto(one: Judgement, turns: bool) -> list[JsonRow] | str:
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


def _sft(one: Judgement, turns: bool) -> list[JsonRow] | str:
    if one.edited is None:
        return UNEDITED
    return [{"prompt": _prompt(one.prompt, turns), "completion": _reply(one.edited, turns)}]


def _pairs(one: Judgement) -> list[tuple[str, str]] | str:
    """The texts of every pair with a preference, the better one first, or the reason why there is none."""
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


FORMS: dict[str, Callable[[Judgement, bool], list[JsonRow] | str]] = {
    "trl": _trl,
    "hh": _hh,
    "kto": _kto,
    "sft": _sft,
    "rankings": _rankings,
}
