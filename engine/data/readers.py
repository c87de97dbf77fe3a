"""From raw rows to records: demonstrations, comparisons, prompts and text in the forms that people bring them.

The first bad row is an error that names file, line, field and what was expected; survey.py reports all of them. A field
must hold text: a number is not taken for it, and null is a field that is not there. Rows with an empty prompt or
response are left out and counted, of a ranking the empty responses alone; so are demonstrations that somebody judged to
be bad, {prompt, completion, label: false}, since they would be learnt. Ties stay in a ranking and make no pair. What
several annotators said of one prompt stays as many rows: contradictions are noise that the reward model expects. Files
are rows.py's job, encoding the tokenizer's. A `margin` is checked and not used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from engine.core.errors import ConfigError, DataError
from engine.data.files import Row, Source, read_rows
from engine.data.records import ASSISTANT, HUMAN, Demonstration, Message, Prompt, PromptRow, Ranking, Text

ROLES = ("system", "user", "assistant")
KINDS = ("demonstrations", "comparisons", "prompts", "text")
Record = Demonstration | Ranking | PromptRow | Text
R = TypeVar("R", bound=Record)
T = TypeVar("T")
CONVERT = "slmctl data convert FILE --out NEW.jsonl"


@dataclass(frozen=True)
class Loaded(Generic[R]):
    """The records of a source with their places and the source's name, and how many rows were left out: those with an
    empty prompt or response, or judged to be bad."""

    records: list[R]
    empty: int
    judged_bad: int = 0
    places: list[str] = field(default_factory=list)
    source: str = ""

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return {"empty": self.empty} | ({"judged_bad": self.judged_bad} if self.judged_bad else {})


def read_demonstrations(source: Path | Source) -> Loaded[Demonstration]:
    """Demonstrations of a source. Raises: FileError, DataError."""
    return load(source, "demonstrations", _demonstration)


def read_rankings(source: Path | Source) -> Loaded[Ranking]:
    """Comparisons of a source, a pair being a ranking of two. Raises: FileError, DataError."""
    return load(source, "comparisons", _ranking)


def read_prompts(source: Path | Source) -> Loaded[PromptRow]:
    """Prompts of a source, one a line in a .txt file. Raises: FileError, DataError."""
    return load(source, "prompts", _prompt_row)


def prompt_of(row: Row) -> Prompt | None:
    """The prompt of one row, or None for an empty one. Raises: DataError."""
    record = placed(row, _prompt_row)
    return record.prompt if record is not None else None


def exchange_of(row: Row) -> Demonstration | None:
    """The prompt and response of one row {prompt, response}; the response may be empty. Raises: DataError."""
    return placed(row, _exchange)


def read_texts(source: Path | Source) -> Loaded[Text]:
    """Documents of a source, cut at empty lines in a .txt file. Raises: FileError, DataError."""
    return load(source, "text", _text)


def load(source: Path | Source, kind: str, parse: Callable[[Any], R | None]) -> Loaded[R]:
    """The records that `parse` makes of a source's rows of a kind.

    Raises: FileError where it cannot be read; DataError at the first bad row, or where no row can be used.
    """
    return parsed_rows(list(read_rows(source, kind)), str(source), kind, parse)


def parsed_rows(rows: Sequence[Row], source: str, kind: str, parse: Callable[[Any], R | None]) -> Loaded[R]:
    """The records that `parse` makes of rows that were read from `source`. Raises: DataError as `load`."""
    if not rows:
        raise DataError(f"{source} is empty")
    parsed = [(record, row) for row in rows if (record := placed(row, parse)) is not None]
    kept = [(record, row.place) for record, row in parsed if not is_judged_bad(row.value, kind)]
    records, places = [record for record, _ in kept], [place for _, place in kept]
    loaded = Loaded(records, len(rows) - len(parsed), len(parsed) - len(kept), places, source)
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in loaded.left_out.items())
        raise DataError(f"{source} holds no row that can be used (of {len(rows)} rows left out: {reasons})")
    return loaded


def is_judged_bad(row: Any, kind: str) -> bool:
    """Whether a row of this kind shows what is not to be done, as KTO learns from; in a .csv file its label is text."""
    shaped = kind == "demonstrations" and isinstance(row, dict) and "completion" in row
    return shaped and str(row.get("label")).lower() == "false"


def parser(kind: str) -> Callable[[Any], Record | None]:
    """How rows of a kind are read. Raises: ConfigError for an unknown kind."""
    parsers: dict[str, Callable[[Any], Record | None]] = {
        "demonstrations": _demonstration,
        "comparisons": _ranking,
        "prompts": _prompt_row,
        "text": _text,
    }
    if kind not in parsers:
        raise ConfigError(f"{kind!r} is not a kind of data; use {', '.join(KINDS)}")
    return parsers[kind]


def placed(row: Row, parse: Callable[[Any], T]) -> T:
    """What `parse` makes of a row. Raises: DataError naming the row's place."""
    if isinstance(row.value, DataError):
        raise row.value
    try:
        return parse(row.value)
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None


def _demonstration(row: Any) -> Demonstration | None:
    table = table_of(row)
    if "messages" in table:
        messages = _messages(table["messages"], "messages")
        if len(messages) < 2 or messages[-1].role != "assistant":
            raise DataError("messages must end with an assistant turn after at least one other")
        earlier = any(message.role == "assistant" for message in messages[:-1])
        return _or_empty(Demonstration(messages[:-1], messages[-1].content, earlier))
    if "completion" in table:
        return _or_empty(Demonstration(_prompt(table), _reply(table["completion"], "completion")))
    if "instruction" in table:
        return _or_empty(Demonstration(_prompt(table), _string(table, "output")))
    raise DataError(f"expected {{prompt, completion}}, {{messages}} or {{instruction, input, output}}; {_found(table)}")


def _exchange(row: Any) -> Demonstration | None:
    table = table_of(row)
    return Demonstration(_prompt(table), _string(table, "response"))


def _ranking(row: Any) -> Ranking | None:
    table = table_of(row)
    if "responses" in table or "ranking" in table:
        return _ranked(table)
    if "chosen" not in table or "rejected" not in table:
        raise DataError(f"expected chosen and rejected, or responses and ranking; {_found(table)}")
    if "margin" in table and not _is_number(table["margin"]):
        raise DataError(f"margin must be a number and is {table['margin']!r}")
    if "prompt" in table or "instruction" in table:
        prompt = _prompt(table)
        chosen, rejected = (_answer(table[name], name, prompt) for name in ("chosen", "rejected"))
        return _pair(prompt, chosen, rejected)
    if isinstance(table["chosen"], list):
        return _shared_messages(table)
    return _transcripts(_string(table, "chosen"), _string(table, "rejected"))


def _prompt_row(row: Any) -> PromptRow | None:
    if isinstance(row, str):
        return _or_empty(PromptRow(_clean(row, "the line")))
    table = table_of(row)
    if "messages" in table and "prompt" not in table:
        messages = _messages(table["messages"], "messages")
        return _or_empty(PromptRow(messages[:-1] if messages[-1].role == "assistant" else messages))
    if "prompt" in table or "instruction" in table:
        return _or_empty(PromptRow(_prompt(table)))
    raise DataError(f"expected {{prompt}} or {{messages}}; {_found(table)}")


def _text(row: Any) -> Text | None:
    text = _clean(row, "the text") if isinstance(row, str) else _string(table_of(row), "text")
    return Text(text) if text.strip() else None


def _ranked(table: Mapping[str, Any]) -> Ranking | None:
    responses, ranking = table.get("responses"), table.get("ranking")
    if not isinstance(responses, list) or len(responses) < 2:
        raise DataError(f"responses must be a list of two or more; {_found(table)}")
    texts = tuple(_reply(item, f"responses[{index}]") for index, item in enumerate(responses))
    if not isinstance(ranking, list) or len(ranking) != len(texts) or not all(_is_number(rank) for rank in ranking):
        raise DataError(f"ranking must be {len(texts)} numbers, one a response, the lowest for the best")
    prompt = _prompt(table)
    full = [(text, rank) for text, rank in zip(texts, ranking, strict=True) if text.strip()]
    if len(full) < 2:
        return None
    places = {rank: place for place, rank in enumerate(sorted({rank for _, rank in full}))}
    return _or_empty(Ranking(prompt, tuple(text for text, _ in full), tuple(places[rank] for _, rank in full)))


def _pair(prompt: Prompt, chosen: str, rejected: str) -> Ranking | None:
    """A ranking of two; where both texts are the same it is a tie."""
    if not chosen.strip() or not rejected.strip():
        return None
    return _or_empty(Ranking(prompt, (chosen, rejected), (0, 0 if chosen == rejected else 1)))


def _shared_messages(table: Mapping[str, Any]) -> Ranking | None:
    chosen, rejected = _messages(table["chosen"], "chosen"), _messages(table["rejected"], "rejected")
    if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
        raise DataError("chosen and rejected must share all turns but the last, or come with a prompt")
    if {chosen[-1].role, rejected[-1].role} != {"assistant"}:
        raise DataError("chosen and rejected must end with an assistant turn")
    return _pair(chosen[:-1], chosen[-1].content, rejected[-1].content)


def _transcripts(chosen: str, rejected: str) -> Ranking | None:
    """A pair of "Human: ... Assistant: ..." transcripts that share all but the last answer."""
    chosen_prompt, mark, chosen_reply = chosen.rpartition(ASSISTANT)
    rejected_prompt, _, rejected_reply = rejected.rpartition(ASSISTANT)
    if not mark or not ("\n\n" + chosen_prompt.lstrip()).startswith(HUMAN):
        raise DataError("expected a prompt, or transcripts of '\\n\\nHuman:' and '\\n\\nAssistant:' turns")
    if chosen_prompt.strip() != rejected_prompt.strip():
        raise DataError("the transcripts chosen and rejected must share all but the last answer")
    turns = []
    for part in ("\n\n" + chosen_prompt.strip()).split(HUMAN)[1:]:
        asked, *answers = part.split(ASSISTANT)
        turns += [Message("user", asked.strip()), *(Message("assistant", answer.strip()) for answer in answers)]
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
    """A response to `prompt`; where it is a message list that repeats the prompt, the prompt must be the same."""
    if isinstance(value, list):
        earlier = _messages(value, name)[:-1]
        same = earlier[-1].content == prompt if isinstance(prompt, str) and earlier else earlier == prompt
        if earlier and not same:
            raise DataError(f"{name} answers another prompt than the row's: {_shown(earlier[-1].content)}")
    return _reply(value, name)


def _reply(value: Any, name: str) -> str:
    """A response given as text or as a message list that ends with the assistant's turn."""
    if isinstance(value, list):
        last = _messages(value, name)[-1]
        if last.role != "assistant":
            raise DataError(f"{name} must end with an assistant turn and ends with {last.role!r}")
        return last.content
    return _string({name: value}, name)


def _messages(value: Any, name: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{name} must be a list of {{role, content}} and is {_shown(value)}")
    messages = []
    for index, item in enumerate(value):
        place = f"{name}[{index}]"
        if not isinstance(item, dict) or item.get("role") not in ROLES:
            raise DataError(f"{place}.role must be one of {', '.join(ROLES)}; the turn is {_shown(item)}")
        messages.append(Message(item["role"], _string(item, "content", place + ".content")))
    return tuple(messages)


def _string(table: Mapping[str, Any], name: str, place: str = "") -> str:
    value = table.get(name)
    if not isinstance(value, str):
        state = "is missing" if name not in table else f"is {_shown(value)}"
        raise DataError(f"{place or name} must be text and {state}; {_found(table)}")
    return _clean(value, place or name)


def _clean(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name} holds half of a surrogate pair, which is not text") from None
    return text


def table_of(row: Any) -> Mapping[str, Any]:
    """The fields of a row, without those that are null. Raises: DataError for what is no row of ours."""
    if not isinstance(row, dict):
        raise DataError(f"expected an object with named fields and found {_shown(row)}")
    tree = any(name == "prompt" and isinstance(value, dict) for name, value in row.items())
    if tree or row.keys() >= {"instruction", "instances"}:
        raise DataError(f"this is a conversation tree or a self-instruct task; rewrite it first: {CONVERT}")
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _found(table: Mapping[str, Any]) -> str:
    return f"found the fields {', '.join(sorted(map(str, table))) or 'none'}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _or_empty(record: R) -> R | None:
    """The record, or None where its prompt or response has nothing in it."""
    prompt = record.prompt if not isinstance(record, Text) else record.text
    empty = not prompt.strip() if isinstance(prompt, str) else not any(turn.content.strip() for turn in prompt)
    return None if empty or (isinstance(record, Demonstration) and not record.response.strip()) else record
