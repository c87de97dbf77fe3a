"""Parses raw rows into records: demonstrations, comparisons, prompts and text, in all accepted formats.

The first invalid row is an error that names file, line, field and what was expected; survey.py reports all of them.
Fields must be strings; null is the same as a missing field. Skipped and counted are rows with an empty prompt or
response (of a ranking, only the empty responses), and demonstrations labeled bad, {prompt, completion, label: false}.
Ties stay in a ranking and make no pair. Contradicting rankings of one prompt are all kept: the reward model expects
such noise. A `margin` is checked and not used. files.py reads files, model/tokenizer.py encodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar

from engine.core.errors import ConfigError, DataError
from engine.data.files import FIELDS, RawRow, Source, read_rows
from engine.data.records import ASSISTANT, HUMAN, Demonstration, Message, Prompt, PromptRow, Ranking, Text

ROLES = ("system", "user", "assistant")
KINDS = ("demonstrations", "comparisons", "prompts", "text")
Record = Demonstration | Ranking | PromptRow | Text
R = TypeVar("R", bound=Record)
T = TypeVar("T")


@dataclass(frozen=True)
class LoadedRecords(Generic[R]):
    """The records of a source with their places, and the numbers of rows skipped as empty or labeled bad."""

    records: list[R]
    empty: int
    judged_bad: int = 0
    places: list[str] = field(default_factory=list)
    source: str = ""

    @property
    def left_out(self) -> dict[str, int]:
        """The number of skipped rows by reason."""
        return {"empty": self.empty} | ({"judged_bad": self.judged_bad} if self.judged_bad else {})


def read_demonstrations(source: Path | Source) -> LoadedRecords[Demonstration]:
    """The demonstrations of a source. Raises: FileError, DataError."""
    return load_records(source, "demonstrations", _demonstration)


def read_rankings(source: Path | Source) -> LoadedRecords[Ranking]:
    """The comparisons of a source; a pair is a ranking of two. Raises: FileError, DataError."""
    return load_records(source, "comparisons", _ranking)


def read_prompts(source: Path | Source) -> LoadedRecords[PromptRow]:
    """The prompts of a source, one per line of a .txt file. Raises: FileError, DataError."""
    return load_records(source, "prompts", _prompt_row)


def read_texts(source: Path | Source) -> LoadedRecords[Text]:
    """The documents of a source, separated by blank lines in a .txt file. Raises: FileError, DataError."""
    return load_records(source, "text", _text)


def parse_prompt(row: RawRow) -> Prompt | None:
    """The prompt of one row, or None if it is empty. Raises: DataError."""
    record = parse_row(row, _prompt_row)
    return record.prompt if record is not None else None


def parse_exchange(row: RawRow) -> Demonstration:
    """The prompt and response of one row {prompt, response}; the response may be empty. Raises: DataError."""
    return parse_row(row, _exchange)


def load_records(source: Path | Source, kind: str, parse: Callable[[Any], R | None]) -> LoadedRecords[R]:
    """The records of a source, each row parsed by `parse`.

    Raises: FileError if the source cannot be read; DataError for the first invalid row, or if no row can be used.
    """
    return parse_rows(list(read_rows(source, kind)), str(source), kind, parse)


def parse_rows(rows: Sequence[RawRow], source: str, kind: str, parse: Callable[[Any], R | None]) -> LoadedRecords[R]:
    """The records of rows that were read from `source`. Raises: DataError, see `load_records`."""
    if not rows:
        raise DataError(f"{source} is empty")
    parsed = [(record, row) for row in rows if (record := parse_row(row, parse)) is not None]
    kept = [(record, row.place) for record, row in parsed if not is_labeled_bad(row.value, kind)]
    records, places = [record for record, _ in kept], [place for _, place in kept]
    loaded = LoadedRecords(records, len(rows) - len(parsed), len(parsed) - len(kept), places, source)
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in loaded.left_out.items())
        raise DataError(f"{source} has no usable row (skipped {len(rows)}: {reasons})")
    return loaded


def is_labeled_bad(row: Any, kind: str) -> bool:
    """Whether a row is a demonstration with label false, as in data for KTO; in a .csv file the label is a string."""
    shaped = kind == "demonstrations" and isinstance(row, dict) and "completion" in row
    return shaped and str(row.get("label")).lower() == "false"


def parser_of(kind: str) -> Callable[[Any], Record | None]:
    """The function that parses rows of this kind. Raises: ConfigError for an unknown kind."""
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of data {kind!r} (kinds: {', '.join(KINDS)})")
    parsers: tuple[Callable[[Any], Record | None], ...] = (_demonstration, _ranking, _prompt_row, _text)
    return dict(zip(KINDS, parsers, strict=True))[kind]


def parse_row(row: RawRow, parse: Callable[[Any], T]) -> T:
    """The value of a row, parsed. Raises: DataError with the place of the row."""
    if isinstance(row.value, DataError):
        raise row.value
    try:
        return parse(row.value)
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None


def _demonstration(row: Any) -> Demonstration | None:
    table = fields_of(row)
    if "messages" in table:
        messages = _messages(table["messages"], "messages")
        if len(messages) < 2 or messages[-1].role != "assistant":
            raise DataError("messages: the last message must be from the assistant, after at least one other")
        earlier = any(message.role == "assistant" for message in messages[:-1])
        return _or_empty(Demonstration(messages[:-1], messages[-1].content, earlier))
    if "completion" in table:
        return _or_empty(Demonstration(_prompt(table), _reply(table["completion"], "completion")))
    if "instruction" in table:
        return _or_empty(Demonstration(_prompt(table), _string(table, "output")))
    raise DataError(f"expected {{prompt, completion}}, {{messages}} or {{instruction, input, output}} {_found(table)}")


def _exchange(row: Any) -> Demonstration:
    table = fields_of(row)
    return Demonstration(_prompt(table), _string(table, "response"))


def _ranking(row: Any) -> Ranking | None:
    table = fields_of(row)
    if "responses" in table or "ranking" in table:
        return _ranked(table)
    if "chosen" not in table or "rejected" not in table:
        raise DataError(f"expected chosen and rejected, or responses and ranking {_found(table)}")
    if "margin" in table and not _is_number(table["margin"]):
        raise DataError(f"margin must be a number, got {table['margin']!r}")
    if "prompt" in table or "instruction" in table:
        prompt = _prompt(table)
        chosen, rejected = (_answer(table[name], name, prompt) for name in ("chosen", "rejected"))
        return _pair(prompt, chosen, rejected)
    if isinstance(table["chosen"], list):
        return _shared_messages(table)
    return _transcripts(_string(table, "chosen"), _string(table, "rejected"))


def _prompt_row(row: Any) -> PromptRow | None:
    if isinstance(row, str):
        return _or_empty(PromptRow(valid(row, "the line")))
    table = fields_of(row)
    if "messages" in table and "prompt" not in table:
        messages = _messages(table["messages"], "messages")
        return _or_empty(PromptRow(messages[:-1] if messages[-1].role == "assistant" else messages))
    if "prompt" in table or "instruction" in table:
        return _or_empty(PromptRow(_prompt(table)))
    raise DataError(f"expected {{prompt}} or {{messages}} {_found(table)}")


def _text(row: Any) -> Text | None:
    return _or_empty(Text(valid(row, "the text") if isinstance(row, str) else _string(fields_of(row), "text")))


def _ranked(table: Mapping[str, Any]) -> Ranking | None:
    responses, ranking = table.get("responses"), table.get("ranking")
    if not isinstance(responses, list) or len(responses) < 2:
        raise DataError(f"responses must be a list of at least two strings, got {_shown(responses)}")
    texts = [_reply(item, f"responses[{index}]") for index, item in enumerate(responses)]
    if not isinstance(ranking, list) or len(ranking) != len(texts) or not all(_is_number(rank) for rank in ranking):
        raise DataError(
            f"ranking must be a list of {len(texts)} numbers, one per response, lowest best; got {_shown(ranking)}"
        )
    prompt = _prompt(table)
    full = [(text, rank) for text, rank in zip(texts, ranking, strict=True) if text.strip()]
    if len(full) < 2:
        return None
    ranks = {rank: place for place, rank in enumerate(sorted({rank for _, rank in full}))}
    return _or_empty(Ranking(prompt, tuple(text for text, _ in full), tuple(ranks[rank] for _, rank in full)))


def _pair(prompt: Prompt, chosen: str, rejected: str) -> Ranking | None:
    """A ranking of two, tied if the responses are identical."""
    if not chosen.strip() or not rejected.strip():
        return None
    return _or_empty(Ranking(prompt, (chosen, rejected), (0, 0 if chosen == rejected else 1)))


def _shared_messages(table: Mapping[str, Any]) -> Ranking | None:
    chosen, rejected = _messages(table["chosen"], "chosen"), _messages(table["rejected"], "rejected")
    if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
        raise DataError("without a prompt, chosen and rejected must share all messages but the last")
    if {chosen[-1].role, rejected[-1].role} != {"assistant"}:
        raise DataError("the last message of chosen and rejected must be from the assistant")
    return _pair(chosen[:-1], chosen[-1].content, rejected[-1].content)


def _transcripts(chosen: str, rejected: str) -> Ranking | None:
    """A pair of "Human: ... Assistant: ..." transcripts that share everything but the last answer."""
    chosen_prompt, mark, chosen_reply = chosen.rpartition(ASSISTANT)
    rejected_prompt, _, rejected_reply = rejected.rpartition(ASSISTANT)
    if not mark or not ("\n\n" + chosen_prompt.lstrip()).startswith(HUMAN):
        raise DataError("expected a prompt, or transcripts of '\\n\\nHuman:' and '\\n\\nAssistant:' turns")
    if chosen_prompt.strip() != rejected_prompt.strip():
        raise DataError("the transcripts chosen and rejected must share everything but the last answer")
    turns = []
    for part in ("\n\n" + chosen_prompt.strip()).split(HUMAN)[1:]:
        user, *answers = part.split(ASSISTANT)
        turns += [Message("user", user.strip()), *(Message("assistant", answer.strip()) for answer in answers)]
    return _pair(tuple(turns), chosen_reply.strip(), rejected_reply.strip())


def _prompt(table: Mapping[str, Any]) -> Prompt:
    if isinstance(table.get("prompt"), list):
        return _messages(table["prompt"], "prompt")
    if "prompt" in table or "instruction" not in table:
        return _string(table, "prompt")
    instruction = _string(table, "instruction")
    extra = _string(table, "input") if "input" in table else ""
    return f"{instruction}\n\n{extra}" if extra.strip() else instruction


def _answer(value: Any, name: str, prompt: Prompt) -> str:
    """A response to `prompt`; a message list that includes a prompt must include the same one."""
    if isinstance(value, list):
        earlier = _messages(value, name)[:-1]
        same = earlier[-1].content == prompt if isinstance(prompt, str) and earlier else earlier == prompt
        if earlier and not same:
            raise DataError(f"{name} answers a different prompt than the row's: {_shown(earlier[-1].content)}")
    return _reply(value, name)


def _reply(value: Any, name: str) -> str:
    """A response given as a string or as a message list that ends with the assistant's message."""
    if isinstance(value, list):
        last = _messages(value, name)[-1]
        if last.role != "assistant":
            raise DataError(f"{name}: the last message must be from the assistant, got {last.role!r}")
        return last.content
    return _string({name: value}, name)


def _messages(value: Any, name: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{name} must be a list of {{role, content}}, got {_shown(value)}")
    messages = []
    for index, item in enumerate(value):
        place = f"{name}[{index}]"
        if not isinstance(item, dict) or item.get("role") not in ROLES:
            raise DataError(f"{place}.role must be one of {', '.join(ROLES)}; the message is {_shown(item)}")
        messages.append(Message(item["role"], _string(item, "content", place + ".content")))
    return tuple(messages)


def _string(table: Mapping[str, Any], name: str, place: str = "") -> str:
    place = place or name
    if name not in table:
        raise DataError(f'field "{place}" is missing {_found(table)}')
    if not isinstance(table[name], str):
        raise DataError(f"{place} must be a string, got {_shown(table[name])}")
    return valid(table[name], place)


def valid(text: str, name: str) -> str:
    """The text. Raises: DataError for half of a surrogate pair, which is not text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name} is not valid Unicode: it has half of a surrogate pair") from None
    return text


def fields_of(row: Any) -> Mapping[str, Any]:
    """The fields of a row that are not null. Raises: DataError for any other value, and for rows to be converted."""
    if not isinstance(row, dict):
        raise DataError(f"expected an object with named fields, got {_shown(row)}")
    tree = any(name == "prompt" and isinstance(value, dict) for name, value in row.items())
    if tree or row.keys() >= {"instruction", "instances"}:
        raise DataError(
            "this is a conversation tree or a self-instruct task; convert the file first: "
            "slmctl data convert FILE --out NEW.jsonl"
        )
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _found(table: Mapping[str, Any]) -> str:
    """The fields of a row for error messages, with a suggestion if one of them looks misspelled."""
    names = sorted(map(str, table))
    meant = [close[0] for name in names if name not in FIELDS and (close := get_close_matches(name, FIELDS, 1, 0.8))]
    return f"(found: {', '.join(names) or 'no fields'})" + (f'; did you mean "{meant[0]}"?' if meant else "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _or_empty(record: R) -> R | None:
    """The record, or None if its prompt, text or response is empty."""
    prompt = record.text if isinstance(record, Text) else record.prompt
    empty = not prompt.strip() if isinstance(prompt, str) else not any(turn.content.strip() for turn in prompt)
    return None if empty or (isinstance(record, Demonstration) and not record.response.strip()) else record
