"""What each stage learns from: the rows of a person's files if given, otherwise the pocket world.

Everything is returned as records or examples; which stage gets what is in stages.py.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from engine.core.config import Config
from engine.core.errors import ConfigError, DataError
from engine.core.seeding import python_rng
from engine.data.files import is_labels
from engine.data.readers import LoadedRecords
from engine.data.records import Demonstration, Prompt, PromptRow, Ranking, Text, TrainingRows
from engine.model.batching import Example, demonstration_examples, longest_row_lengths
from engine.model.tokenizer import Tokenizer, train_tokenizer
from engine.pocket.prompts import Split, all_requests, draw_requests
from engine.pocket.training_data import Document, documents, pretraining_pairs
from engine.pocket.training_data import demonstrations as pocket_demonstrations
from engine.train.comparisons import HELD_OUT_FILE, TRAIN_FILE, read_drawn

TOKENIZER_DOCUMENTS = 20_000  # enough to meet every word of the world many times
NORMALIZING_DEMONSTRATIONS = 500
T = TypeVar("T")


def base_documents(config: Config, data: LoadedRecords[Text] | None) -> TrainingRows[Document]:
    """The text to pretrain on, and held-out text.

    Raises: DataError for a text too short to give both.
    """
    share, seed, stream = config.pretrain.validation_share, config.seed, "pretrain/split"
    if data is None:
        return TrainingRows(*random_split(list(documents(config.pretrain.documents, seed)), share, seed, stream))
    train, held_out = split_texts([row.text for row in data.records], share, seed, stream)
    if not held_out:
        raise DataError(f"{data.source}: one character of text cannot be split into training and validation")
    rows, validation = ([Document("text", text=text) for text in side] for side in (train, held_out))
    return TrainingRows(rows, validation)


def base_tokenizer(train: Sequence[Document], config: Config, data: LoadedRecords[Text] | None) -> Tokenizer:
    """A tokenizer trained on the world's text or on a person's training text, with a chat template unless the run is
    set to none. Held-out text is left out: a vocabulary that knows it would lower its bits per byte."""
    pieces = train
    if data is None:
        pieces = list(islice(documents(config.pretrain.documents, config.seed), TOKENIZER_DOCUMENTS))
    fields = ("prompt", "response", "text")
    texts = [getattr(piece, field) for piece in pieces for field in fields]
    tokenizer = train_tokenizer([text for text in texts if text is not None], config.tokenizer.vocab_size)
    return tokenizer.without_template() if config.template == "none" else tokenizer


def examples_of(pieces: Sequence[Document], tokenizer: Tokenizer, context: int) -> list[Example]:
    """Rows of at most `context` ids with every token a target; a longer document makes several."""
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


def sft_demonstrations(config: Config, data: LoadedRecords[Demonstration] | None) -> LoadedRecords[Demonstration]:
    """Demonstrations to fine-tune on, including those held out; none without a file or a world."""
    if data is not None:
        return data
    if not config.world.name:
        return LoadedRecords([], 0)
    drawn = pocket_demonstrations(config.sft.demonstrations, config.seed)
    return LoadedRecords([Demonstration(request.text, response) for request, response in drawn], 0)


def sft_examples(
    config: Config, data: LoadedRecords[Demonstration] | None, tokenizer: Tokenizer, context: int
) -> TrainingRows[Example]:
    """Examples to fine-tune on. Raises: DataError if too few are left to train and validate."""
    rows = sft_demonstrations(config, data)
    examples, too_long = demonstration_examples(rows.records, tokenizer, context)
    if len(examples) < 2:
        raise DataError(
            f"{rows.source or config.world.name}: {len(examples)} of {len(rows.records)} demonstrations fit the "
            f"context of {context} tokens; at least two must."
        )
    train, validation = random_split(examples, config.sft.validation_share, config.seed, "sft/split")
    return TrainingRows(train, validation, {**rows.left_out, "too long": too_long})


def rm_rankings(
    config: Config, data: LoadedRecords[Ranking] | None, drawn: Path | None, tokenizer: Tokenizer, context: int
) -> TrainingRows[Ranking]:
    """Rankings to train on: a person's, split by prompt, or those drawn from the policy in the directory `drawn`.

    A person's ranking that is one tie has nothing to learn from, and one with a row longer than the context would be
    cut: both are left out. Prompts of a file are held out at random. Of a label database the newest are held out, so
    that the accuracy on them shows how well the reward model predicts its labeler's next labels.

    Raises: DataError where fewer than two prompts are left.
    """
    if data is None:
        assert drawn is not None, "neither a file of comparisons nor a directory of drawn ones"
        return TrainingRows(read_drawn(drawn / TRAIN_FILE)[0], read_drawn(drawn / HELD_OUT_FILE)[0], {})
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
    cut = newest_held_out(fitting, share) if is_labels(data.source) else split_prompts(fitting, share, config.seed)
    return TrainingRows(*cut, left_out)


def newest_held_out(rankings: Sequence[Ranking], share: float) -> tuple[list[Ranking], list[Ranking]]:
    """Rankings, oldest first, split into training and validation: the prompts judged last are held out, with all of
    their rankings."""
    last = {ranking.prompt: place for place, ranking in enumerate(rankings)}
    border = sorted(last.values())[-held_out_count(len(last), share)]
    sides: tuple[list[Ranking], list[Ranking]] = ([], [])
    for ranking in rankings:
        sides[last[ranking.prompt] >= border].append(ranking)
    return sides


def split_prompts(rankings: Sequence[Ranking], share: float, seed: int) -> tuple[list[Ranking], list[Ranking]]:
    """Rankings split at random into training and validation; those of one prompt stay together."""
    by_prompt: dict[Prompt, list[Ranking]] = {}
    for ranking in rankings:
        by_prompt.setdefault(ranking.prompt, []).append(ranking)
    train, validation = random_split(list(by_prompt.values()), share, seed, "rm/split")
    return [one for own in train for one in own], [one for own in validation for one in own]


def comparison_prompts(config: Config) -> tuple[list[str], list[str]]:
    """Prompts of the world to draw responses for: to learn from (train split) and to hold out (validation split)."""
    held_out = max(1, round(config.comparisons.prompts * config.rm.validation_share))
    counts: dict[Split, int] = {"train": config.comparisons.prompts, "validation": held_out}
    train, validation = (
        draw_requests(part, count, config.seed, "comparisons/prompts") for part, count in counts.items()
    )
    return [request.text for request in train], [request.text for request in validation]


def ppo_prompts(
    config: Config,
    prompts: LoadedRecords[PromptRow] | None,
    sft_data: LoadedRecords[Demonstration] | None,
    tokenizer: Tokenizer,
    context: int,
) -> tuple[list[Prompt], dict[str, int]]:
    """PPO's prompts, and how many were left out: empty ones, and those that leave no room for a response.

    They come from a file, else from a person's demonstrations, else from the world's train split.

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
        count = min(wanted, len(all_requests("train")))
        found = [request.text for request in draw_requests("train", count, config.seed, "ppo/prompts")]
    room, lengths = context - config.ppo.max_new_tokens, map(len, tokenizer.encode_prompts(found))
    fitting = [prompt for prompt, length in zip(found, lengths, strict=True) if 0 < length <= room]
    if not fitting:
        raise ConfigError(f"no prompt leaves room for ppo.max_new_tokens = {config.ppo.max_new_tokens}: lower it.")
    return fitting, {"empty": empty, "too long": len(found) - len(fitting)}


def random_split(rows: Sequence[T], share: float, seed: int, stream: str) -> tuple[list[T], list[T]]:
    """Rows split at random into training and validation, at least one in each."""
    order = list(range(len(rows)))
    python_rng(seed, stream).shuffle(order)
    held = held_out_count(len(rows), share)
    return [rows[i] for i in order[held:]], [rows[i] for i in order[:held]]


def held_out_count(rows: int, share: float) -> int:
    """How many of `rows` are held out: a share, at least one, and not all."""
    return min(rows - 1, max(1, round(rows * share)))


def split_texts(texts: Sequence[str], share: float, seed: int, stream: str) -> tuple[list[str], list[str]]:
    """Texts split at random into training and validation, so that `share` of all characters is held out, at least one.

    Whole texts are held out, and only the end of the last one where all of it would exceed the share.
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
