"""The models of the sampler child, by the names that people gave them: opened on need, the longest unused put away."""

import os
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from engine.core.errors import CheckpointError, ConfigError
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.run.inference import ModelLoader, Policy
from engine.rundir.references import is_function
from engine.rundir.runtoml import hash_path
from engine.train.scoring import RewardModelScorer, Scorer, pocket_scorer
from slmctl.worker.protocol import Load, Loaded

SHARE = 0.5  # of the memory that models may fill together before the longest unused is put away
BYTES_A_PARAMETER = 4

Key = tuple[str, bool]  # a name, and whether it names a scorer
Opened = Policy | Scorer


class Shelf:
    """Models and scorers that may be drawn from; `params` are the options device, template and dtype as typed."""

    def __init__(self, params: Mapping[str, Any], room: int | None = None) -> None:
        self._params = params
        self._room = room
        self._places: dict[Key, Path | None] = {}
        self._open: OrderedDict[Key, Opened] = OrderedDict()
        self._alike: dict[tuple[str, str], bool] = {}

    @cached_property
    def _loader(self) -> ModelLoader:
        return ModelLoader(self._params.get("device"), self._params.get("template"), self._params.get("dtype"))

    def load(self, wanted: Load) -> Loaded:
        """What is known of a model, opened under its name in place of any before.

        Raises: CheckpointError, FileError; ConfigError for a scorer that the name alone does not say.
        """
        key = (wanted.name, wanted.scorer)
        place = Path(wanted.directory) if wanted.directory else None
        opened = self._opened(wanted.name, wanted.scorer, place)
        self._alike.clear()
        self._places[key] = place
        self._keep(key, opened)
        return _about(wanted.name, opened, place)

    def policy(self, name: str) -> Policy:
        """The policy of a name. Raises: ConfigError where it was never loaded; CheckpointError."""
        policy = self._of(name, scorer=False)
        assert isinstance(policy, Policy), name
        return policy

    def scorer(self, name: str) -> Scorer:
        """The scorer of a name. Raises: ConfigError where it was never loaded; CheckpointError."""
        scorer = self._of(name, scorer=True)
        assert not isinstance(scorer, Policy), name
        return scorer

    def reference(self, name: str, policy: Policy) -> LanguageModel:
        """The language model of a name, for the KL of `policy` to it.

        Raises: as `policy`; ConfigError where their ids mean different tokens.
        """
        reference = self.policy(name)
        self._check_same_ids(policy, name, reference.tokenizer, "KL")
        return reference.model

    def value(self, name: str, policy: Policy) -> ScalarModel:
        """The value network of a name, loaded as a scorer is, for tokens of `policy`.

        Raises: as `scorer`; ConfigError where it is no model or has another tokenizer.
        """
        value = self.scorer(name)
        if not isinstance(value, RewardModelScorer):
            raise ConfigError(f"{name} is no model and gives no values")
        self._check_same_ids(policy, name, value.tokenizer, "values")
        return value.model

    def _check_same_ids(self, policy: Policy, other: str, tokenizer: Tokenizer, use: str) -> None:
        pair = (policy.tokenizer.origin, tokenizer.origin)
        if pair not in self._alike:
            self._alike[pair] = policy.tokenizer.same_ids(tokenizer)
        if not self._alike[pair]:
            raise ConfigError(f"{other} has another tokenizer than {policy.name}, so {use} cannot be told")

    def _of(self, name: str, scorer: bool) -> Opened:
        key = (name, scorer)
        if key not in self._places:
            raise ConfigError(f"{name} is not loaded")
        if key not in self._open:
            self._keep(key, self._opened(name, scorer, self._places[key]))
        self._open.move_to_end(key)
        return self._open[key]

    def _opened(self, name: str, scorer: bool, place: Path | None) -> Opened:
        if scorer and is_function(name):
            raise ConfigError(f"the scorer {name} is code, which `slmctl score` runs and no screen does")
        if place is not None:
            return self._loader.reward_model(place) if scorer else self._loader.policy(name, place)
        if scorer:
            return pocket_scorer(name)
        raise CheckpointError(f"{name} names no model directory")

    def _keep(self, key: Key, opened: Opened) -> None:
        self._open[key] = opened
        self._open.move_to_end(key)
        while len(self._open) > 1 and sum(map(_bytes, self._open.values())) > self._most_bytes:
            self._open.popitem(last=False)

    @cached_property
    def _most_bytes(self) -> int:
        if self._room is not None:
            return self._room
        if self._loader.device.type == "cuda":
            return int(SHARE * torch.cuda.mem_get_info(self._loader.device)[1])
        return int(SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _about(name: str, opened: Opened, place: Path | None) -> Loaded:
    if place is None or not isinstance(opened, Policy | RewardModelScorer):
        return Loaded(name)
    return Loaded(
        name,
        checkpoint=hash_path(place),
        context=opened.model.architecture.context,
        chat=opened.tokenizer.chat_template is not None,
        parameters=parameter_count(opened.model),
    )


def _bytes(opened: Opened) -> int:
    return BYTES_A_PARAMETER * parameter_count(opened.model) if isinstance(opened, Policy | RewardModelScorer) else 0
