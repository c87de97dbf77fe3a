"""Tiny models in a folder, and a sampler child that the tests of a file share."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engine.model.checkpoint import save_model
from engine.model.tokenizer import Tokenizer, train_tokenizer
from slmctl.worker.client import ChildSampler
from tests.support.tiny import ARCHITECTURE, language_model, scalar_model, word_tokenizer

T = TypeVar("T")
SENTENCES = ["a red house, ein grünes Haus, 東京の家 👍", "no house at all, keine Häuser", "東京 👍 grün red"] * 3


def byte_tokenizer() -> Tokenizer:
    """A byte-level BPE whose tokens are often parts of characters."""
    return train_tokenizer(SENTENCES, 300)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the policies `a` (and its value network), `b`, `short` and `bytes`, and the reward model `rm`."""
    folder = tmp_path_factory.mktemp("models")
    words, letters = word_tokenizer(), byte_tokenizer()
    large = replace(ARCHITECTURE, vocab_size=letters.size, context=64)
    save_model(folder / "a", language_model(seed=0), words, {}, value=scalar_model(seed=5))
    save_model(folder / "b", language_model(seed=2), words, {})
    save_model(folder / "short", language_model(replace(ARCHITECTURE, context=8)), words, {})
    save_model(folder / "rm", scalar_model(seed=1, bias=0.25), words, {})
    save_model(folder / "bytes", language_model(large, seed=3), letters, {})
    return folder


@dataclass(frozen=True)
class Desk:
    """A sampler with its event loop, and the models' folder."""

    sampler: ChildSampler
    models: Path
    run: Callable[[Coroutine[Any, Any, Any]], Any]

    def name(self, model: str) -> str:
        """A model as a user names it."""
        return str(self.models / model)


@pytest.fixture(scope="module")
def desk(models: Path) -> Iterator[Desk]:
    """A sampler whose child has `a`, `b`, `bytes`, the value network of `a` and the scorers `rm` and pocket:judge."""
    sampler = ChildSampler(models, {"threads": 1})
    with asyncio.Runner() as runner:
        desk = Desk(sampler, models, runner.run)

        async def load() -> None:
            await asyncio.gather(
                *(sampler.load(desk.name(name)) for name in ("a", "b", "bytes")),
                *(sampler.load(name, scorer=True) for name in (desk.name("rm"), desk.name("a/value"), "pocket:judge")),
            )

        runner.run(load())
        yield desk
        runner.run(sampler.close())
