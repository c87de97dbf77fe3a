"""What each stage learns from: a person's files where they were given, the pocket world where they were not.

Everything is returned as records or examples; which stage gets what is run.py's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from engine.core.config import Config
from engine.core.errors import ConfigError, DataError
from engine.core.seeding import python_rng
from engine.data.files import is_labels
from engine.data.readers import LoadedRecords
from engine.data.records import Demonstration, Prompt, PromptRow, Ranking, Text
from engine.model.batching import Example, demonstration_examples, longest_row_lengths
from engine.model.tokenizer import Tokenizer, train_tokenizer
from engine.pocket.demonstrations import demonstrations as pocket_demonstrations
from engine.pocket.documents import Document, documents
from engine.pocket.pairs import pretraining_pairs
from engine.pocket.prompts import Split, all_requests, draw_requests
from engine.train.comparisons import HELD_OUT_FILE, TRAIN_FILE, read_drawn

TOKENIZER_DOCUMENTS = 20_000  # enough to meet every word of the world many times
NORMALISING_DEMONSTRATIONS = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Divided(Generic[T]):
    """What a stage trains on and validates with, and how many rows were left out, by reason."""

    train: list[T]
    validation: list[T]
    left_out: dict[str, int]


def base_documents(config: Config, data: LoadedRecords[Text] | None) -> tuple[list[Document], list[Document]]:
    """The text that the base model learns from, and held-out text.

    Raises: DataError for a text too short to give both.
    """
    share, seed, stream = config.pretrain.validation_share, config.seed, "pretrain/split"
    if data is None:
        return split(list(documents(config.pretrain.documents, seed)), share, seed, stream)
    train, held_out = split_texts([row.text for row in data.records], share, seed, stream)
    if not held_out:
        raise DataError(f"{data.source}: a text of one character cannot be cut into one to train and one to validate")
    return [Document("text", text=text) for text in train], [Document("text", text=text) for text in held_out]


def base_tokenizer(train: Sequence[Document], config: Config, data: LoadedRecords[Text] | None) -> Tokenizer:
    """A tokenizer with a chat template unless the run wants none, learnt from the world's text, or of a person's text
    from what is trained on alone: a vocabulary that knows held-out text would make its bits a byte too few."""
    pieces = train
    if data is None:
        pieces = list(islice(documents(config.pretrain.documents, config.seed), TOKENIZER_DOCUMENTS))
    fields = ("prompt", "response", "text")
    texts = [getattr(piece, field) for piece in pieces for field in fields]
    tokenizer = train_tokenizer([text for text in texts if text is not None], config.tokenizer.vocab_size)
    return tokenizer.without_template() if config.template == "none" else tokenizer


def document_examples(pieces: Sequence[Document], tokenizer: Tokenizer, context: int) -> list[Example]:
    """Rows of at most `context` ids, every token a target; a longer document makes several."""
    prompts = iter(tokenizer.encode_prompts([piece.prompt for piece in pieces if piece.prompt is not None]))
    responses = iter(tokenizer.encode_responses([piece.response for piece in pieces if piece.response is not None]))
    texts = iter(tokenizer.encode_texts([piece.text for piece in pieces if piece.text is not None]))
    examples = []
    for piece in pieces:
        ids = [*next(texts), tokenizer.eos_id] if piece.text is not None else next(prompts) + next(responses)
        examples += [Example(ids[at : at + context]) for at in range(0, max(1, len(ids) - 1), context)]
    return examples


def reward_pretraining(config: Config) -> list[Ranking]:
    """Pairs to pretrain the reward model on; none without a world."""
    pairs = pretraining_pairs(config.rm.pretraining_pairs, config.seed) if config.world.name else []
    return [Ranking(prompt, (right, wrong), (0, 1)) for prompt, right, wrong in pairs]


def demonstrations(config: Config, data: LoadedRecords[Demonstration] | None) -> LoadedRecords[Demonstration]:
    """Demonstrations to fine-tune on, validation included; none where there is neither a file nor a world."""
    if data is not None:
        return data
    if not config.world.name:
        return LoadedRecords([], 0)
    drawn = pocket_demonstrations(config.sft.demonstrations, config.seed)
    return LoadedRecords([Demonstration(request.text, response) for request, response in drawn], 0)


def sft_examples(
    config: Config, data: LoadedRecords[Demonstration] | None, tokenizer: Tokenizer, context: int
) -> Divided[Example]:
    """Examples to fine-tune on. Raises: DataError if too few are left to train and validate."""
    rows = demonstrations(config, data)
    examples, too_long = demonstration_examples(rows.records, tokenizer, context)
    if len(examples) < 2:
        raise DataError(
            f"{rows.source or config.world.name}: {len(examples)} of {len(rows.records)} demonstrations fit the "
            f"context of {context} tokens; at least two must."
        )
    train, validation = split(examples, config.sft.validation_share, config.seed, "sft/split")
    return Divided(train, validation, {**rows.left_out, "too long": too_long})


def comparisons(
    config: Config, data: LoadedRecords[Ranking] | None, drawn: Path | None, tokenizer: Tokenizer, context: int
) -> Divided[Ranking]:
    """Rankings to train on: a person's, split by prompt, or those that were drawn in `drawn`.

    Of a person's file, a ranking that is one tie teaches nothing, and one with a row that the model cannot read whole
    would teach something else: both are left out. Which prompts of a file are held out is drawn at random; of a label
    database they are the newest, so that the accuracy on them says how well the reward model foresees what its labeler
    says next.

    Raises: DataError where rankings of fewer than two prompts are left.
    """
    if data is None:
        assert drawn is not None, "neither a file of comparisons nor a directory of drawn ones"
        return Divided(read_drawn(drawn / TRAIN_FILE)[0], read_drawn(drawn / HELD_OUT_FILE)[0], {})
    untied = [ranking for ranking in data.records if ranking.pairs()]
    lengths = longest_row_lengths(untied, tokenizer)
    fitting = [ranking for ranking, length in zip(untied, lengths, strict=True) if length <= context]
    left_out = {
        **data.left_out,
        "tied": len(data.records) - len(untied),
        "too long": len(untied) - len(fitting),
    }
    prompts = len({ranking.prompt for ranking in fitting})
    if prompts < 2:
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DataError(
            f"{data.source}: comparisons of at least two different prompts are needed to train and to validate, and "
            f"{prompts} is left (left out: {counts}; the model reads {context} tokens)."
        )
    share = config.rm.validation_share
    cut = newest_apart(fitting, share) if is_labels(data.source) else split_prompts(fitting, share, config.seed)
    return Divided(*cut, left_out)


def newest_apart(rankings: Sequence[Ranking], share: float) -> tuple[list[Ranking], list[Ranking]]:
    """Rankings, oldest first, cut into training and validation: held out are the prompts that were judged last, with
    all that was ever said of them."""
    last = {ranking.prompt: place for place, ranking in enumerate(rankings)}
    border = sorted(last.values())[-held_out_count(len(last), share)]
    sides: tuple[list[Ranking], list[Ranking]] = ([], [])
    for ranking in rankings:
        sides[last[ranking.prompt] >= border].append(ranking)
    return sides


def split_prompts(rankings: Sequence[Ranking], share: float, seed: int) -> tuple[list[Ranking], list[Ranking]]:
    """Rankings cut at random into training and validation; those of one prompt go to one side."""
    by_prompt: dict[Prompt, list[Ranking]] = {}
    for ranking in rankings:
        by_prompt.setdefault(ranking.prompt, []).append(ranking)
    train, validation = split(list(by_prompt.values()), share, seed, "rm/split")
    return [one for own in train for one in own], [one for own in validation for one in own]


def comparison_prompts(config: Config) -> tuple[list[str], list[str]]:
    """Prompts of the world to draw responses for: of the train split to learn from, of validation to hold out."""
    held_out = max(1, round(config.comparisons.prompts * config.rm.validation_share))
    seed, stream = config.seed, "comparisons/prompts"
    return texts("train", config.comparisons.prompts, seed, stream), texts("validation", held_out, seed, stream)


def ppo_prompts(
    config: Config,
    prompts: LoadedRecords[PromptRow] | None,
    sft_data: LoadedRecords[Demonstration] | None,
    tokenizer: Tokenizer,
    context: int,
) -> tuple[list[Prompt], dict[str, int]]:
    """Prompts to explore, a file's, else those of the run's own demonstrations, else the world's train split, and how
    many were left out: what is empty, and what leaves no room for a response in the context.

    Raises: ConfigError where no prompt leaves room.
    """
    empty = 0
    found: list[Prompt]
    if prompts is not None:
        found, empty = [row.prompt for row in prompts.records], prompts.empty
    elif sft_data is not None:
        found = list(dict.fromkeys(row.prompt for row in sft_data.records))
    else:
        wanted = config.ppo.steps * config.ppo.rollout_batch
        found = list(texts("train", min(wanted, len(all_requests("train"))), config.seed, "ppo/prompts"))
    room, lengths = context - config.ppo.max_new_tokens, map(len, tokenizer.encode_prompts(found))
    fitting = [prompt for prompt, length in zip(found, lengths, strict=True) if 0 < length <= room]
    if not fitting:
        raise ConfigError(f"no prompt leaves room for ppo.max_new_tokens = {config.ppo.max_new_tokens}: lower it.")
    return fitting, {"empty": empty, "too long": len(found) - len(fitting)}


def texts(part: Split, count: int, seed: int, stream: str) -> list[str]:
    """`count` different prompts of one split of the world."""
    return [request.text for request in draw_requests(part, count, seed, stream)]


def split(rows: Sequence[T], share: float, seed: int, stream: str) -> tuple[list[T], list[T]]:
    """Rows cut at random into training and validation, at least one in each."""
    order = list(range(len(rows)))
    python_rng(seed, stream).shuffle(order)
    held = held_out_count(len(rows), share)
    return [rows[i] for i in order[held:]], [rows[i] for i in order[:held]]


def held_out_count(rows: int, share: float) -> int:
    """How many of so many rows are held out: a share, at least one, and not all."""
    return min(rows - 1, max(1, round(rows * share)))


def split_texts(texts: Sequence[str], share: float, seed: int, stream: str) -> tuple[list[str], list[str]]:
    """Texts cut at random into training and validation, so that `share` of all characters is held out, at least one.

    Whole texts are held out, and of the last only the end where all of it would be more than the share.
    """
    order = list(texts)
    python_rng(seed, stream).shuffle(order)
    total = sum(map(len, order))
    left = min(total - 1, max(1, round(total * share)))
    train, held_out = [], []
    for text in order:
        cut = max(0, len(text) - left)
        left -= len(text) - cut
        train += [text[:cut]] * (cut > 0)
        held_out += [text[cut:]] * (cut < len(text))
    return train, held_out
