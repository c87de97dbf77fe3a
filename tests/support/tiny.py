"""Tiny models, tokenizers and data for tests, all from fixed seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as Encoder
from tokenizers import models, pre_tokenizers

from engine.core.events import Event, StepCompleted
from engine.data.records import Prompt
from engine.model.heads import ScalarModel, scalar_from
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import Architecture, LanguageModel, initialize
from engine.train.saver import Saver, StageLoop
from tests.support.paths import SHARED

WORDS = ("red", "blue", "green", "one", "two", "three", "yes", "no", "why")
ARCHITECTURE = Architecture(
    vocab_size=3 + len(WORDS), width=16, layers=2, heads=4, kv_heads=2, head_width=4, ffn=24, context=32
)
SHARP_STD = 0.4
"""A standard deviation of weights that makes the distributions of a random model far from uniform."""
THEIR_SIZES: dict[str, Any] = {
    "vocab_size": ARCHITECTURE.vocab_size,
    "hidden_size": ARCHITECTURE.width,
    "intermediate_size": ARCHITECTURE.ffn,
    "num_hidden_layers": ARCHITECTURE.layers,
    "num_attention_heads": ARCHITECTURE.heads,
    "num_key_value_heads": ARCHITECTURE.kv_heads,
    "max_position_embeddings": ARCHITECTURE.context,
    "initializer_range": SHARP_STD,
}
"""The same architecture as a transformers configuration."""
STORIES = SHARED / "models" / "stories260k"
PROMPTS: tuple[Prompt, ...] = ("red blue", "one two three yes", "why", "no green red", "two", "yes no yes no blue")


def word_tokenizer() -> Tokenizer:
    """Whole words as tokens, PAD 0, EOS 1, no template; small enough to sample EOS by chance."""
    vocabulary = {token: i for i, token in enumerate(("<pad>", "<eos>", "<unk>", *WORDS))}
    encoder = Encoder(models.WordLevel(vocabulary, unk_token="<unk>"))
    encoder.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder.add_special_tokens(["<pad>", "<eos>", "<unk>"])
    return Tokenizer(encoder, eos_id=1, pad_id=0)


def language_model(architecture: Architecture = ARCHITECTURE, seed: int = 0, std: float = SHARP_STD) -> LanguageModel:
    """A random model in evaluation mode with random biases and norms, so that no term is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    model = LanguageModel(architecture)
    initialize(model, generator, std)
    _stir(model, generator)
    return model.eval()


def scalar_model(architecture: Architecture = ARCHITECTURE, seed: int = 1, bias: float = 0.0) -> ScalarModel:
    """A random reward model in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    model = scalar_from(language_model(architecture, seed).model, generator)
    model.bias.fill_(bias)
    return model.eval()


def _stir(model: torch.nn.Module, generator: torch.Generator) -> None:
    for parameter in model.parameters():
        if parameter.dim() == 1:
            with torch.no_grad():
                parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.2, generator=generator))


def untied(architecture: Architecture = ARCHITECTURE) -> Architecture:
    """The same with an untied unembedding."""
    return replace(architecture, tied=False)


class WordScorer:
    """A scorer that counts one word and records its inputs."""

    def __init__(self, word: str = "blue"):
        self.word = word
        self.asked: list[tuple[list[Prompt], list[str]]] = []

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """The number of occurrences of the word in each response."""
        self.asked.append((list(prompts), list(responses)))
        return [float(response.split().count(self.word)) for response in responses]


def saver(directory: Path, stage: str, every: int = 1000) -> Saver:
    """A saver whose stage writes below `directory`."""
    return Saver(stage, directory / stage, every)


def loop(
    directory: Path,
    stage: str,
    steps: int,
    seed: int,
    *,
    every: int = 1000,
    should_stop: Callable[[], bool] | None = None,
) -> StageLoop:
    """The loop of a stage that writes below `directory`."""
    return StageLoop(seed, steps, saver(directory, stage, every), should_stop or never)


def never() -> bool:
    """Never stops."""
    return False


def stop_after(steps: int) -> Callable[[], bool]:
    """Stops when called for the `steps`-th time."""
    asked = iter(range(1, 10**9))
    return lambda: next(asked) >= steps


def metrics_of(events: Iterator[Event] | Sequence[Event]) -> list[dict[str, float]]:
    """The metrics of every completed step."""
    return [event.metrics for event in events if isinstance(event, StepCompleted)]
