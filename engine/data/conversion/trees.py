"""From trees of conversations, in the form of Open Assistant, to comparisons and demonstrations.

A tree is a first message with `replies`, each of which has replies again; prompter and assistant take turns. Pure
functions on one JSON value; files, other formats and the split are files.py's job. Trees may be of any depth:
nothing here calls itself.

Every reply of an assistant either comes into a row or is counted with the reason why it does not. Messages that were
deleted, written by a model, refused in review or not reviewed, that are empty or in another language than asked for
cannot be used, and neither can what follows them, since the conversation would show them. Fields that say so may be
missing. Equal ranks are ties. Of replies with the same text the best-ranked one stays.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from engine.core.errors import DataError
from engine.data.conversion.values import object_of, shown, text_of, value_of

PROMPTER, ASSISTANT = "prompter", "assistant"
ROLES = {PROMPTER: "user", ASSISTANT: "assistant"}
STOPPED = ("aborted_low_grade", "halted_by_moderator")
STEPS_SHOWN = 6  # of the way to a message, in an error about a deep tree
JsonRow = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Place:
    """Where a message stands: `index` among the replies to the message at `above`, reads like prompt.replies[0]."""

    above: "Place | None" = field(default=None, repr=False)
    index: int = 0

    def __str__(self) -> str:
        steps: list[str] = []
        place = self
        while place.above is not None:
            steps.append(f".replies[{place.index}]")
            place = place.above
        if len(steps) > STEPS_SHOWN:
            half = STEPS_SHOWN // 2
            steps = [*steps[:half], f" ({len(steps) - STEPS_SHOWN} more levels) ", *steps[-half:]]
        return "prompt" + "".join(reversed(steps))


@dataclass(frozen=True, eq=False)
class Turn:
    """One message of a tree; `above` is the one that it answers, `left_out` why it cannot be used, "" where it can."""

    role: str
    text: str
    rank: int | None
    left_out: str
    above: "Turn | None" = field(repr=False)

    @cached_property
    def message(self) -> dict[str, str]:
        """The turn as rows hold it; all rows share it, since a deep tree repeats its beginning in many of them."""
        return {"role": ROLES[self.role], "content": self.text}


def turns_of(tree: Any, language: str | None = None) -> list[Turn]:
    """The messages of a tree, each after the one that it answers; with a `language`, others are left out.

    Raises: DataError naming the field.
    """
    table = object_of(tree, "a tree")
    stopped = value_of(table, "tree_state", str) in STOPPED
    turns: list[Turn] = []
    waiting: list[tuple[Any, Turn | None, Place]] = [(table.get("prompt"), None, Place())]
    while waiting:
        value, above, place = waiting.pop()
        message = object_of(value, place)
        turn = _turn(message, above, place, language)
        turns.append(replace(turn, left_out="in a stopped tree") if stopped else turn)
        replies = value_of(message, "replies", list, place) or []
        waiting += [(reply, turns[-1], Place(place, index)) for index, reply in enumerate(replies)][::-1]
    return turns


def tree_name(tree: Mapping[str, Any]) -> str | None:
    """The tree's own name, where it has one. Raises: DataError."""
    name = value_of(tree, "message_tree_id", str)
    return None if name is None else str(name)


def rankings_of(turns: Sequence[Turn], left_out: Counter[str]) -> list[JsonRow]:
    """A row {prompt, responses, ranking} for every prompt with two ranked replies or more that are not all tied.

    Counts into `left_out` the replies that come into no row, by reason.
    """
    rows = []
    for prompt, replies in _answered(turns, left_out):
        ranked = [reply for reply in replies if reply.rank is not None]
        left_out["without a rank"] += len(replies) - len(ranked)
        best: dict[str, Turn] = {}
        for reply in sorted(ranked, key=_rank):
            best.setdefault(reply.text.strip(), reply)
        left_out["same text as a better one"] += len(ranked) - len(best)
        ranked = [reply for reply in ranked if reply is best[reply.text.strip()]]
        ranking = [_rank(reply) for reply in ranked]
        if len(set(ranking)) < 2:
            left_out["nothing to compare with" if len(ranking) == 1 else "tied with all others"] += len(ranking)
            continue
        texts = [reply.text for reply in ranked]
        rows.append({"prompt": _conversation(prompt), "responses": texts, "ranking": ranking})
    return rows


def demonstrations_of(turns: Sequence[Turn], left_out: Counter[str]) -> list[JsonRow]:
    """A row {prompt, completion} for every prompt: the conversation so far and its best reply, the first where several
    are best. The conversation is only read: a reply in it may be one that is not the best.

    Without ranks a lone reply is the best. Counts into `left_out` the replies that come into no row, by reason.
    """
    rows = []
    for prompt, replies in _answered(turns, left_out):
        ranked = [reply for reply in replies if reply.rank is not None]
        if not ranked and len(replies) > 1:
            left_out["without a rank, beside others"] += len(replies)
            continue
        left_out["not the best"] += len(replies) - 1
        best = min(ranked, key=_rank) if ranked else replies[0]
        rows.append({"prompt": _conversation(prompt), "completion": best.text})
    return rows


def _answered(turns: Sequence[Turn], left_out: Counter[str]) -> list[tuple[Turn, list[Turn]]]:
    """Prompts with their replies that can be used; counts the others."""
    answers: dict[Turn, list[Turn]] = {}
    for turn in turns:
        if turn.role == ASSISTANT and turn.left_out:
            left_out[turn.left_out] += 1
        elif turn.role == ASSISTANT and turn.above is not None:
            answers.setdefault(turn.above, []).append(turn)
    return list(answers.items())


def _conversation(last: Turn) -> list[dict[str, str]]:
    """All messages down to this one."""
    messages = []
    turn: Turn | None = last
    while turn is not None:
        messages.append(turn.message)
        turn = turn.above
    return messages[::-1]


def _rank(turn: Turn) -> int:
    assert turn.rank is not None, turn
    return turn.rank


def _turn(message: Mapping[str, Any], above: Turn | None, place: Place, language: str | None) -> Turn:
    wanted = PROMPTER if above is None or above.role == ASSISTANT else ASSISTANT
    if message.get("role") != wanted:
        raise DataError(f"{place}.role must be {wanted!r} here and is {shown(message.get('role'))}")
    text = text_of(message, "text", place)
    rank = value_of(message, "rank", int, place)
    reason = _unfit(message, text, place, language)
    if not reason and above is not None and above.left_out:
        reason = "after a message that is left out"
    return Turn(wanted, text, rank, reason, above)


def _unfit(message: Mapping[str, Any], text: str, place: Place, language: str | None) -> str:
    """Why a message cannot be used, or ""."""
    reviewed = value_of(message, "review_result", bool, place)
    spoken = value_of(message, "lang", str, place)
    reasons = {
        "deleted": value_of(message, "deleted", bool, place),
        "synthetic, a model wrote it": value_of(message, "synthetic", bool, place),
        "refused in review": reviewed is False,
        "not reviewed": reviewed is None and "review_result" in message,
        "empty": not text.strip(),
        "in another language": language is not None and spoken != language,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
