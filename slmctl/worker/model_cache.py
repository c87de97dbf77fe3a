"""The models of the sampler child, by name: opened when needed, the least recently used closed to free memory."""

import os
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch

from engine.core.errors import CheckpointError, ConfigError
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.run.inference import ModelLoader, Policy
from engine.rundir.references import is_function
from engine.rundir.runtoml import hash_path
from engine.train.scoring import RewardModelScorer, Scorer, pocket_scorer
from slmctl.worker.protocol import LoadedModel, LoadRequest

MEMORY_FRACTION = 0.5  # of all memory, for all models together
BYTES_PER_PARAMETER = 4

Key = tuple[str, bool]  # a name, and whether it is a scorer's


class ModelCache:
    """Models and scorers, opened by what `loader` returns. At most `max_bytes` of them stay open, by default a fixed
    fraction of the memory."""

    def __init__(self, loader: Callable[[], ModelLoader], max_bytes: int | None = None) -> None:
        self._new_loader = loader
        self._given_max_bytes = max_bytes
        self._directories: dict[Key, Path | None] = {}
        self._open: OrderedDict[Key, Policy | Scorer] = OrderedDict()
        self._same_ids: dict[tuple[str, str], bool] = {}

    def load(self, request: LoadRequest) -> LoadedModel:
        """Opens a model under its name, in place of any other.

        Raises: CheckpointError, FileError; ConfigError for a name that is not a scorer.
        """
        key = (request.name, request.scorer)
        directory = Path(request.directory) if request.directory else None
        model = self._opened(key, directory)
        self._same_ids.clear()
        self._directories[key] = directory
        self._keep(key, model)
        if directory is None or not isinstance(model, Policy | RewardModelScorer):
            return LoadedModel()
        return LoadedModel(hash_path(directory), model.tokenizer.chat_template is not None)

    def policy(self, name: str) -> Policy:
        """The policy of a name. Raises: ConfigError if it was not loaded; CheckpointError."""
        policy = self._get((name, False))
        assert isinstance(policy, Policy), name
        return policy

    def scorer(self, name: str) -> Scorer:
        """The scorer of a name. Raises: ConfigError if it was not loaded; CheckpointError."""
        scorer = self._get((name, True))
        assert not isinstance(scorer, Policy), name
        return scorer

    def reference(self, name: str, policy: Policy) -> LanguageModel:
        """The language model of a name, for the KL of `policy` to it.

        Raises: as `policy`; ConfigError if their tokenizers differ.
        """
        reference = self.policy(name)
        self._check_same_ids(policy, name, reference.tokenizer, "KL")
        return reference.model

    def value(self, name: str, policy: Policy) -> ScalarModel:
        """The value network of a name, loaded as a scorer, for tokens of `policy`.

        Raises: as `scorer`; ConfigError if it is not a model or has another tokenizer.
        """
        value = self.scorer(name)
        if not isinstance(value, RewardModelScorer):
            raise ConfigError(f"{name} is not a model and has no values")
        self._check_same_ids(policy, name, value.tokenizer, "values")
        return value.model

    def _check_same_ids(self, policy: Policy, other: str, tokenizer: Tokenizer, use: str) -> None:
        pair = (policy.tokenizer.origin, tokenizer.origin)
        if pair not in self._same_ids:
            self._same_ids[pair] = policy.tokenizer.same_ids(tokenizer)
        if not self._same_ids[pair]:
            raise ConfigError(f"{other} has another tokenizer than {policy.name}, so {use} cannot be computed")

    def _get(self, key: Key) -> Policy | Scorer:
        if key not in self._directories:
            raise ConfigError(f"{key[0]} is not loaded")
        if key not in self._open:
            self._keep(key, self._opened(key, self._directories[key]))
        self._open.move_to_end(key)
        return self._open[key]

    def _opened(self, key: Key, directory: Path | None) -> Policy | Scorer:
        name, scorer = key
        if scorer and is_function(name):
            raise ConfigError(f"the scorer {name} is code, which the playground does not run; use `slmctl score`")
        if directory is not None:
            return self._loader.reward_model(directory) if scorer else self._loader.policy(name, directory)
        if scorer:
            return pocket_scorer(name)
        raise CheckpointError(f"{name} is not a model directory")

    def _keep(self, key: Key, model: Policy | Scorer) -> None:
        self._open[key] = model
        self._open.move_to_end(key)
        while len(self._open) > 1 and sum(map(_bytes, self._open.values())) > self._max_bytes:
            self._open.popitem(last=False)

    @cached_property
    def _loader(self) -> ModelLoader:
        return self._new_loader()  # not before the first model: a wrong option then fails its request

    @cached_property
    def _max_bytes(self) -> int:
        if self._given_max_bytes is not None:
            return self._given_max_bytes
        if self._loader.device.type == "cuda":
            return int(MEMORY_FRACTION * torch.cuda.mem_get_info(self._loader.device)[1])
        return int(MEMORY_FRACTION * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _bytes(model: Policy | Scorer) -> int:
    return BYTES_PER_PARAMETER * parameter_count(model.model) if isinstance(model, Policy | RewardModelScorer) else 0
