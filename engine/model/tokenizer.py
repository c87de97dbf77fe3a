"""Text to ids and back, by one rule everywhere: training, scoring, chat and benchmarks.

With a chat template, a string prompt is one user turn. Without one, the prompt is verbatim, with BOS if the tokenizer
adds one, and prompt and response together are the whole text. They are encoded separately, and EOS is appended to a
response that ended.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Encoder
from tokenizers import decoders, models, pre_tokenizers, trainers

from engine.core.errors import CheckpointError, one_line
from engine.core.untrusted_files import read_json, read_text
from engine.data.records import Prompt
from engine.model.chat_template import ChatTemplate

MAX_IDS = 2**22  # vocabularies in use have up to a quarter of a million
USER, ASSISTANT, EOS, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
PROBE = "a"  # text before a response, to find out whether the response begins with a space
SPACE = "Ġ"  # how a byte-level BPE names the space
DAY = "slmctl_day"  # in tokenizer_config.json: the date that the template was given in training
MIN_PAIR_COUNT = 2  # how often two tokens must meet to be merged: a word seen once is better built of known parts
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass
class Tokenizer:
    """A byte-level or SentencePiece-like BPE with its special ids and its chat template.

    With `adds_bos`, verbatim text begins with BOS. `chat_template` is None for a base model's plain text. `origin` is
    the directory it was loaded from, which errors name. `day` is the ISO date that a template is given, the day on
    which the run began. `size` is how many embedding rows a model needs, one above the highest id.
    """

    encoder: Encoder
    eos_id: int
    pad_id: int
    bos_id: int | None = None
    adds_bos: bool = False
    chat_template: str | None = None
    origin: str = ""
    day: str = ""
    size: int = field(init=False)
    _literal: Encoder = field(init=False, repr=False)  # reads special tokens in a response as plain text
    _template: ChatTemplate | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        # EOS is the last token of a response and has a loss; PAD comes after it and has none. If they were one id, code
        # that masks by id would mask EOS as well, and a policy would never learn to stop.
        assert self.pad_id != self.eos_id, f"PAD and EOS share id {self.eos_id}"
        # A response that contains the text "<|end|>" must not end there: this copy reads the names of special tokens as
        # ordinary text.
        self._literal = Encoder.from_str(self.encoder.to_str())
        self._literal.encode_special_tokens = True
        self.size = 1 + max(self.encoder.get_vocab(with_added_tokens=True).values(), default=-1)
        if self.chat_template is not None:
            self._template = ChatTemplate(self.chat_template, self.origin)

    def same_ids(self, other: "Tokenizer") -> bool:
        """Whether both turn the same text into the same ids."""
        return _rules(self.encoder) == _rules(other.encoder)

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text, BOS first if this tokenizer adds one."""
        return self.encode_texts([text])[0]

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt, up to the start of the response."""
        return self.encode_prompts([prompt])[0]

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Ids of each prompt, encoded in parallel."""
        if self.chat_template is None:
            return self.encode_texts([_plain_text(prompt) for prompt in prompts])
        return self._ids(self.encoder, [self.render(prompt) for prompt in prompts])

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each plain text, encoded in parallel."""
        rows = self._ids(self.encoder, texts)
        return [[self.bos_id, *row] for row in rows] if self.adds_bos and self.bos_id is not None else rows

    def encode_responses(self, responses: Sequence[str], ended: bool = True) -> list[list[int]]:
        """Ids of each response, with EOS if it `ended`. A special token's name inside a response is plain text."""
        if self.chat_template is None and self._doubles_space:
            # "Q: 2+2?" + " 4" is one text with one space; this encoder would put a second one before the response
            responses = [response.removeprefix(" ") for response in responses]
        rows = self._ids(self._literal, responses)
        return [[*row, self.eos_id] for row in rows] if ended else rows

    def _ids(self, encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
        name = f"the tokenizer of {self.origin}" if self.origin else "the tokenizer"
        with library_errors(f"{name} cannot encode this text"):
            return [row.ids for row in encoder.encode_batch(list(texts), add_special_tokens=False)]

    def render(self, prompt: Prompt) -> str:
        """The text of `prompt` by the chat template, up to the start of the assistant's turn.

        Raises: CheckpointError if the template fails.
        """
        assert self._template is not None, "this tokenizer has no chat template"
        turns = [("user", prompt)] if isinstance(prompt, str) else [(m.role, m.content) for m in prompt]
        return self._template.render(
            messages=[{"role": role, "content": content} for role, content in turns],
            day=self.day,
            add_generation_prompt=True,
            tools=None,
            documents=None,
            **{"bos_token": "", **self.special_tokens()},
        )

    def special_ids(self) -> dict[str, int | None]:
        """The ids of the special tokens under the names that transformers gives them."""
        return {"bos_token_id": self.bos_id, "eos_token_id": self.eos_id, "pad_token_id": self.pad_id}

    def special_tokens(self) -> dict[str, str]:
        """The special tokens in the same way, without a missing BOS."""
        ids = self.special_ids().items()
        return {name.removesuffix("_id"): str(self.encoder.id_to_token(i)) for name, i in ids if i is not None}

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens."""
        return str(self.encoder.decode(list(ids), skip_special_tokens=True))

    def decode_all(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Text of each row of ids without special tokens."""
        return list(self.encoder.decode_batch([list(row) for row in rows], skip_special_tokens=True))

    def decode_responses(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Text of each response without special tokens, as it continues its prompt.

        After a verbatim prompt, the space that a response begins with is kept, which many decoders drop.
        """
        if self.chat_template is not None:
            return self.decode_all(rows)
        # decoded after a known text, the response keeps its space, and the known text is cut off again
        before, *wholes = self.decode_all([self._probe, *([*self._probe, *row] for row in rows)])
        return [whole.removeprefix(before) for whole in wholes]

    @cached_property
    def _probe(self) -> list[int]:
        return self._ids(self._literal, [PROBE])[0]

    @cached_property
    def _doubles_space(self) -> bool:
        """Whether a space is put before every text, even before one that begins with a space."""
        [spaced] = self._ids(self._literal, [f" {PROBE}"])
        own = self.decode([*self._probe, *self._probe]) == f"{PROBE} {PROBE}"
        return own and spaced != self._probe

    def byte_counts(self, ids: Sequence[int]) -> list[int]:
        """The number of UTF-8 bytes that each of `ids`, a row of a byte-level BPE, decodes to.

        Special tokens count 0, and a space right after one is not counted: `train_tokenizer` adds it to each text.
        """
        special = self.encoder.get_added_tokens_decoder()
        names = ["" if i in special else str(self.encoder.id_to_token(i)) for i in ids]  # one character for each byte
        added = [before == "" and name.startswith(SPACE) for before, name in pairwise(["-", *names])]
        return [len(name) - space for name, space in zip(names, added, strict=True)]

    def without_template(self) -> "Tokenizer":
        """This tokenizer with prompts taken verbatim (`--template none`)."""
        return replace(self, chat_template=None)


def _rules(encoder: Encoder) -> dict[str, Any]:
    """How `encoder` turns text into ids and back.

    Without the post-processor, which adds special tokens around a text: it is never used here, and transformers saves
    an empty one for a tokenizer that had none.
    """
    return {name: rule for name, rule in json.loads(encoder.to_str()).items() if name != "post_processor"}


@contextmanager
def library_errors(problem: str) -> Iterator[None]:
    """Turns errors of the tokenizers library into CheckpointErrors that begin with `problem`.

    Its Rust code raises bare Exception, and when it panics, a BaseException.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, CheckpointError):
        raise
    except BaseException as error:
        raise CheckpointError(f"{problem}: {one_line(error)}") from error


def _plain_text(prompt: Prompt) -> str:
    """A prompt for a tokenizer without a chat template: messages are joined."""
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` ids trained on `texts`, with this project's chat template.

    Every byte has an id, so no text is unknown. A text is read as if there were a space before it, so that a word has
    the same ids at the start of a text as inside it.
    """
    # Sennrich et al. 2016: merge the most frequent pair of neighboring tokens until the vocabulary is full
    encoder = Encoder(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    encoder.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=[PAD, EOS, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    encoder.train_from_iterator(texts, trainer)
    return Tokenizer(encoder, eos_id=1, pad_id=0, chat_template=CHAT_TEMPLATE)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, which transformers reads too."""
    (directory / "tokenizer.json").write_text(tokenizer.encoder.to_str(pretty=True), encoding="utf-8")
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": tokenizer.adds_bos,
        "clean_up_tokenization_spaces": False,
        **tokenizer.special_tokens(),
    }
    if tokenizer.chat_template is not None:
        settings["chat_template"] = tokenizer.chat_template
    if tokenizer.day:
        settings[DAY] = tokenizer.day
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (directory / "tokenizer_config.json").write_text(text, encoding="utf-8")


def load_tokenizer(directory: Path, day: str = "") -> Tokenizer:
    """The tokenizer of a Hugging Face directory. If its PAD is EOS, another token becomes PAD, or one is added.

    `day` is used if the directory records no date.

    Raises: CheckpointError if a file is missing, malformed, or names no EOS.
    """
    path = directory / "tokenizer.json"
    text = read_text(path)
    with library_errors(f"{path} cannot be read as a tokenizer"):
        encoder = Encoder.from_str(text)
        highest = max(encoder.get_vocab(with_added_tokens=True).values(), default=0)
        if highest >= MAX_IDS:  # when the library copies a tokenizer, it loops up to the highest id
            raise CheckpointError(f"{path} has ids up to {highest}; slmctl opens ids below {MAX_IDS}.")
        encoder.no_padding()  # a file may contain the settings of its author's last call
        encoder.no_truncation()
        config = directory / "tokenizer_config.json"  # not every directory has one
        settings = read_json(config) if config.exists() else {}
        template = _chat_template(directory, settings)
        ids = {name: _special_id(encoder, settings.get(f"{name}_token")) for name in ("eos", "bos", "pad", "unk")}
        eos = ids["eos"]
        if eos is None:
            raise CheckpointError(f"{config}: eos_token is missing or not a token of tokenizer.json.")
        # many published models set PAD to EOS: UNK hardly ever occurs and can pad instead
        pad = ids["pad"] if ids["pad"] not in (None, eos) else ids["unk"]
        if pad is None or pad == eos:
            pad = _added_pad(path, encoder)
        # whether BOS is added is up to the post-processor in tokenizer.json, so the encoder itself is asked
        adds_bos = ids["bos"] is not None and encoder.encode("a").ids[:1] == [ids["bos"]]
        return Tokenizer(
            encoder, eos, pad, ids["bos"], adds_bos, template, str(directory), str(settings.get(DAY) or day)
        )


def _added_pad(path: Path, encoder: Encoder) -> int:
    """The id of a PAD token added to `encoder`. Raises: CheckpointError if another token has that id already."""
    taken = {name: i for name, i in encoder.get_vocab(with_added_tokens=True).items() if name != PAD}
    encoder.add_special_tokens([PAD])
    pad = encoder.token_to_id(PAD)
    assert isinstance(pad, int), f"{PAD} was just added"
    if pad in taken.values():
        raise CheckpointError(
            f"{path} has no padding token, and none can be added because its ids have gaps: set pad_token in "
            "tokenizer_config.json."
        )
    return pad


def _chat_template(directory: Path, settings: Mapping[str, Any]) -> str | None:
    """The chat template, from either of the two files that transformers uses; if there are several, the default one."""
    own = directory / "chat_template.jinja"
    if own.exists():
        return read_text(own)
    template = settings.get("chat_template")
    if isinstance(template, list) and all(isinstance(item, dict) for item in template):
        template = next((item.get("template") for item in template if item.get("name") == "default"), None)
    if not isinstance(template, str | None):
        raise CheckpointError(
            f"{directory / 'tokenizer_config.json'}: chat_template must be a string or a list of named templates."
        )
    return template


def _special_id(encoder: Encoder, token: Any) -> int | None:
    """The id of a special token given as a string or as transformers' token object."""
    name = token.get("content") if isinstance(token, dict) else token
    return encoder.token_to_id(name) if isinstance(name, str) else None
