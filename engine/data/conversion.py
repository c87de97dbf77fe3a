"""Converts files of other formats to the rows that readers.py reads, and splits them into training and validation.

Conversation trees of Open Assistant become comparisons or demonstrations, self-instruct tasks become demonstrations.
The first row of a file decides its format. Every reply of an assistant is part of a row or counted with the reason why
not. The functions on trees do not recurse: trees may be of any depth.

A tree is a message with `replies`, which have replies in turn; prompter and assistant alternate. Messages that are
deleted, synthetic, rejected in review, not reviewed, empty or in another language are skipped, and so is everything
below them, since the conversation would show them. These fields are optional. Equal ranks are ties. Of replies with the
same text, the best-ranked one is used.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.core.errors import ConfigError, DataError
from engine.core.seeding import python_rng
from engine.data.files import RawRow, read_rows
from engine.data.readers import valid
from engine.data.records import prompt_key

KINDS = ("comparisons", "demonstrations")
TREES, TASKS = "conversation trees", "self-instruct tasks"
SUPPORTED = (
    "conversation trees of Open Assistant ({prompt: {role, text, replies}}) and tasks of self-instruct "
    "({instruction, instances: [{input, output}]})"
)
PROMPTER, ASSISTANT = "prompter", "assistant"
ROLES = {PROMPTER: "user", ASSISTANT: "assistant"}
STOPPED = ("aborted_low_grade", "halted_by_moderator")
STEPS_SHOWN = 6  # of the path to a message, in errors about deep trees
TYPES = {str: "a string", bool: "true or false", int: "an integer", list: "a list", dict: "an object"}
JsonRow = dict[str, Any]


@dataclass
class Conversion:
    """The rows of a file, grouped by first prompt so that a split keeps groups together.

    `items` counts trees or tasks, `replies` their replies, `left_out` the replies without a row, by reason.
    """

    source: str
    kind: str
    items: int = 0
    replies: int = 0
    groups: dict[object, list[JsonRow]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> list[JsonRow]:
        """All rows, in the order of the file except that rows with the same first prompt are together."""
        return [row for rows in self.groups.values() for row in rows]


@dataclass(frozen=True, eq=False)
class MessagePath:
    """The position of a message: `index` among the replies to the message at `above`; like prompt.replies[0]."""

    above: "MessagePath | None" = field(default=None, repr=False)
    index: int = 0

    def __str__(self) -> str:
        steps: list[str] = []
        path = self
        while path.above is not None:
            steps.append(f".replies[{path.index}]")
            path = path.above
        if len(steps) > STEPS_SHOWN:
            half = STEPS_SHOWN // 2
            steps = [*steps[:half], f" ({len(steps) - STEPS_SHOWN} more levels) ", *steps[-half:]]
        return "prompt" + "".join(reversed(steps))


@dataclass(frozen=True, eq=False)
class TreeMessage:
    """One message of a tree; `above` is the one that it answers, `skipped` why it cannot be used, or ""."""

    role: str
    text: str
    rank: int | None
    skipped: str
    above: "TreeMessage | None" = field(repr=False)

    @cached_property
    def row(self) -> dict[str, str]:
        """The message as part of a row; shared by all rows, since deep trees repeat their beginning in many."""
        return {"role": ROLES[self.role], "content": self.text}


def convert_file(path: Path, kind: str | None = None, language: str | None = None) -> Conversion:
    """The rows of a file as `kind`, by default comparisons for trees and demonstrations for tasks.

    Raises: FileError; DataError for the first invalid row; ConfigError for an unknown format or an impossible kind.
    """
    rows = list(read_rows(path, ""))
    if not rows:
        raise DataError(f"{path} is empty")
    source = _format_of(rows[0])
    done = Conversion(source, kind or ("comparisons" if source == TREES else "demonstrations"))
    if done.kind not in KINDS:
        raise ConfigError(f"cannot convert to {done.kind!r}; use {' or '.join(KINDS)}")
    if source == TASKS and done.kind == "comparisons":
        raise ConfigError(f"{path} has {TASKS}, which rank nothing; convert them to demonstrations")
    if source == TASKS and language is not None:
        raise ConfigError(f"{path} has {TASKS}, which have no language")
    seen: set[object] = set()
    for row in rows:
        try:
            _add(done, _value_of(row), seen, language)
        except DataError as error:
            raise error if row.value is error else DataError(f"{row.place}: {error}") from None
    return done


def split_rows(done: Conversion, share: float, seed: int) -> tuple[list[JsonRow], list[JsonRow]]:
    """Rows for training and validation; rows with the same first prompt are on one side.

    The split depends only on the first prompts and the seed, so it is the same for comparisons and demonstrations.

    Raises: DataError if either side would be empty.
    """
    keys = sorted(done.groups, key=repr)
    python_rng(seed, "convert/split").shuffle(keys)
    held = set(keys[: max(1, round(len(keys) * share))])
    train = [row for key, rows in done.groups.items() if key not in held for row in rows]
    validation = [row for key, rows in done.groups.items() if key in held for row in rows]
    if not train or not validation:
        side = "validation" if train else "training"
        raise DataError(f"no row is left for {side}: {len(done.rows)} {done.kind} under {len(keys)} first prompts")
    return train, validation


def tree_messages(tree: Any, language: str | None = None) -> list[TreeMessage]:
    """The messages of a tree, each after the one that it answers; `language` skips all other languages.

    Raises: DataError with the name of the field.
    """
    table = _object(tree, "a tree")
    stopped = _field(table, "tree_state", str) in STOPPED
    messages: list[TreeMessage] = []
    waiting: list[tuple[Any, TreeMessage | None, MessagePath]] = [(table.get("prompt"), None, MessagePath())]
    while waiting:
        value, above, path = waiting.pop()
        found = _object(value, path)
        messages.append(_message(found, above, path, language, stopped))
        replies = _field(found, "replies", list, path) or []
        waiting += [(reply, messages[-1], MessagePath(path, index)) for index, reply in enumerate(replies)][::-1]
    return messages


def tree_rankings(messages: Sequence[TreeMessage], left_out: Counter[str]) -> list[JsonRow]:
    """A row {prompt, responses, ranking} for every prompt with at least two ranked replies that are not all tied.

    Counts replies without a row in `left_out`.
    """
    rows = []
    for prompt, replies in _answered(messages, left_out):
        ranked = [reply for reply in replies if reply.rank is not None]
        left_out["without a rank"] += len(replies) - len(ranked)
        best: dict[str, TreeMessage] = {}
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


def tree_demonstrations(messages: Sequence[TreeMessage], left_out: Counter[str]) -> list[JsonRow]:
    """A row {prompt, completion} for every prompt: the conversation so far and its best reply, the first if tied.

    Earlier replies in the conversation need not be the best ones. A single reply needs no rank. Counts replies without
    a row in `left_out`.
    """
    rows = []
    for prompt, replies in _answered(messages, left_out):
        ranked = [reply for reply in replies if reply.rank is not None]
        if not ranked and len(replies) > 1:
            left_out["without a rank, beside others"] += len(replies)
            continue
        left_out["not the best"] += len(replies) - 1
        best = min(ranked, key=_rank) if ranked else replies[0]
        rows.append({"prompt": _conversation(prompt), "completion": best.text})
    return rows


def _format_of(row: RawRow) -> str:
    """The format of a file with this first row. Raises: ConfigError; DataError for a row that is not JSON."""
    value = _value_of(row)
    if isinstance(value, dict) and isinstance(value.get("prompt"), dict) and "text" in value["prompt"]:
        return TREES
    if isinstance(value, dict) and "instruction" in value and "instances" in value:
        return TASKS
    raise ConfigError(f"{row.place}: cannot convert this format; supported are {SUPPORTED}")


def _value_of(row: RawRow) -> Any:
    if isinstance(row.value, DataError):
        raise row.value
    return row.value


def _add(done: Conversion, value: Any, seen: set[object], language: str | None) -> None:
    """Adds a tree or task to `done`; `seen` has the names and contents of earlier ones."""
    table = _object(value, "the row")
    done.items += 1
    if done.source == TREES:
        _add_tree(done, table, seen, language)
    else:
        _add_task(done, table, seen)


def _add_tree(done: Conversion, tree: Mapping[str, Any], seen: set[object], language: str | None) -> None:
    messages = tree_messages(tree, language)
    replies = sum(message.role == ASSISTANT for message in messages)
    done.replies += replies
    name = _field(tree, "message_tree_id", str)
    if name in seen:
        done.left_out["in a duplicate tree"] += replies
        return
    seen |= {name} - {None}
    convert = tree_rankings if done.kind == "comparisons" else tree_demonstrations
    done.groups.setdefault(prompt_key(messages[0].text), []).extend(convert(messages, done.left_out))


def _add_task(done: Conversion, task: Mapping[str, Any], seen: set[object]) -> None:
    instruction = _string(task, "instruction")
    group = done.groups.setdefault(prompt_key(instruction), [])
    for index, item in enumerate(_field(task, "instances", list) or []):
        place = f"instances[{index}]"
        instance = _object(item, place)
        given = _string(instance, "input", place) if instance.get("input") is not None else ""
        output = _string(instance, "output", place)
        done.replies += 1
        key = (instruction, given, output)
        if not instruction.strip() or not output.strip():
            done.left_out["empty, or without an instruction"] += 1
        elif key in seen:
            done.left_out["duplicate"] += 1
        else:
            seen.add(key)
            group.append({"instruction": instruction, "input": given, "output": output})


def _answered(messages: Sequence[TreeMessage], left_out: Counter[str]) -> list[tuple[TreeMessage, list[TreeMessage]]]:
    """Prompts with their usable replies; counts the others."""
    answers: dict[TreeMessage, list[TreeMessage]] = {}
    for message in messages:
        if message.role == ASSISTANT and message.skipped:
            left_out[message.skipped] += 1
        elif message.role == ASSISTANT and message.above is not None:
            answers.setdefault(message.above, []).append(message)
    return list(answers.items())


def _conversation(last: TreeMessage) -> list[dict[str, str]]:
    """All messages from the first one to this one."""
    rows = []
    message: TreeMessage | None = last
    while message is not None:
        rows.append(message.row)
        message = message.above
    return rows[::-1]


def _rank(message: TreeMessage) -> int:
    assert message.rank is not None, message
    return message.rank


def _message(
    found: Mapping[str, Any], above: TreeMessage | None, path: MessagePath, language: str | None, stopped: bool
) -> TreeMessage:
    role = PROMPTER if above is None or above.role == ASSISTANT else ASSISTANT
    if found.get("role") != role:
        raise DataError(f"{path}.role must be {role!r} here, got {_shown(found.get('role'))}")
    text = _string(found, "text", path)
    rank = _field(found, "rank", int, path)
    reviewed = _field(found, "review_result", bool, path)
    spoken = _field(found, "lang", str, path)
    reasons = {
        "deleted": _field(found, "deleted", bool, path),
        "synthetic": _field(found, "synthetic", bool, path),
        "rejected in review": reviewed is False,
        "not reviewed": reviewed is None and "review_result" in found,
        "empty": not text.strip(),
        "in another language": language is not None and spoken != language,
        "after a skipped message": above is not None and above.skipped,
    }
    skipped = next((reason for reason, holds in reasons.items() if holds), "")
    return TreeMessage(role, text, rank, "in a stopped tree" if stopped else skipped, above)


def _object(value: Any, place: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place} must be an object with named fields, got {_shown(value)}")
    return value


def _field(table: Mapping[str, Any], name: str, kind: type, place: object = "") -> Any:
    """The value of a field, None if it is missing or null. Raises: DataError for a value of another type."""
    value = table.get(name)
    if value is not None and type(value) is not kind:
        raise DataError(f"{_full_name(place, name)} must be {TYPES[kind]}, got {_shown(value)}")
    return value


def _string(table: Mapping[str, Any], name: str, place: object = "") -> str:
    """The string in a required field. Raises: DataError."""
    value = _field(table, name, str, place)
    if value is None:
        state = "must be a string, got null" if name in table else "is missing"
        raise DataError(f'field "{_full_name(place, name)}" {state}')
    return valid(str(value), _full_name(place, name))


def _shown(value: Any) -> str:
    """A JSON value for error messages; only the type of lists and objects, which may be deep."""
    if isinstance(value, list | dict):
        return TYPES[type(value)]
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _full_name(place: object, name: str) -> str:
    return f"{place}.{name}".removeprefix(".")
