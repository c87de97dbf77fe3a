"""From a prepared run to the generator of one stage: opens the parents, gathers the data, builds the saver.

One function a stage. The algorithms are in the stage files; driving and recording them is run.py's job.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import torch

from engine.core.config import Config, ModelConfig
from engine.core.errors import CheckpointError
from engine.core.events import Event
from engine.core.few_comparisons import few_epochs_warning
from engine.core.settings import TYPED
from engine.core.untrusted_files import read_json
from engine.data.readers import LoadedRecords
from engine.model.heads import ScalarModel, scalar_from
from engine.model.pretrained import is_reward_model, open_policy, open_scalar
from engine.model.randomness import generator
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import Architecture, LanguageModel, initialize
from engine.run import sources
from engine.run.pipeline import needs
from engine.run.planning import Prepared
from engine.rundir.directory import RunDir
from engine.rundir.references import POCKET, reference_to, resolve_reference
from engine.rundir.runtoml import hash_path
from engine.train.comparisons import draw_comparisons
from engine.train.evaluation import Contestants, evaluate_run
from engine.train.ppo import train_ppo
from engine.train.pretrain import train_base
from engine.train.rm import pretraining_steps, train_rm
from engine.train.saver import Saver
from engine.train.scoring import RewardModelScorer, Scorer, named_scorer, pocket_scorer
from engine.train.sft import train_sft

M = TypeVar("M", LanguageModel, ScalarModel)
SAVES_WITHOUT_SETTING = 5  # steps between saves of a stage that has no save_every of its own


@dataclass(frozen=True)
class Bench:
    """What every stage is given: the run, the device, where to save, and whether to stop."""

    prepared: Prepared
    device: torch.device
    saver: Saver
    should_stop: Callable[[], bool]
    publish: Callable[[dict[str, Any]], None]

    @property
    def config(self) -> Config:
        return self.prepared.config

    def records(self, stage: str, option: str) -> LoadedRecords[Any] | None:
        """The rows that `stage` was given as data or prompts, if any."""
        return self.prepared.records(stage, option)

    def parent(self, stage: str, parent: str, option: str = "init") -> Path:
        """The checkpoint that `stage` works from: the model given as `option`, else this run's own `parent`."""
        given = self.prepared.record.input(stage, option)
        if given is not None:
            return resolve_reference(given.reference, self.prepared.rundir.path.parent)
        found = self.prepared.rundir.finished(parent)
        assert found is not None, f"{stage} was planned before {parent}"
        return found

    def capped(self, steps: int) -> int:
        """`steps`, or --max-steps where that is fewer."""
        return min(steps, self.config.max_steps) if self.config.max_steps else steps

    def policy(self, directory: Path) -> tuple[LanguageModel, Tokenizer]:
        """The policy in `directory` on the run's device, its template used or not as the run says."""
        model, tokenizer = open_policy(directory, self.device, self.prepared.record.day)
        return self.computing(model), tokenizer.without_template() if self.config.template == "none" else tokenizer

    def reward_model(self, directory: Path) -> tuple[ScalarModel, Tokenizer]:
        """The reward model in `directory`, in the same way."""
        model, tokenizer = open_scalar(directory, self.device, self.prepared.record.day)
        return self.computing(model), tokenizer.without_template() if self.config.template == "none" else tokenizer

    def computing(self, model: M) -> M:
        """`model`, its matrix products in the run's number format."""
        model.model.compute_dtype = getattr(torch, self.config.dtype)
        return model


def make_saver(prepared: Prepared, stage: str) -> Saver:
    """The saver of `stage`; slmctl.json will name parents and inputs by hash, the seed and the stage's settings."""
    section = getattr(prepared.config, stage)
    every = getattr(section, "save_every", SAVES_WITHOUT_SETTING)
    parents = {
        parent: hash_path(path)
        for parent in needs(stage, prepared.record.inputs)
        if (path := prepared.rundir.finished(parent)) is not None
    }
    inputs = {option: given.table() for option, given in prepared.inputs(stage).items()}
    settings = section.model_dump(mode="json")
    about = {"seed": prepared.config.seed, "parents": parents, "inputs": inputs, "config": settings}
    return Saver(stage, prepared.rundir.stage_dir(stage), every, about)


def pretrain(bench: Bench) -> Iterator[Event]:
    """The base model from scratch."""
    config, m = bench.config, bench.config.model
    data = bench.records("pretrain", "data")
    train, validation = sources.base_documents(config, data)
    tokenizer = sources.base_tokenizer(train, config, data)
    model = LanguageModel(architecture_of(m, tokenizer.size))
    initialize(model, generator(config.seed, "pretrain/init"))
    return train_base(
        bench.computing(model.to(bench.device)),
        tokenizer,
        sources.document_examples(train, tokenizer, m.context),
        sources.document_examples(validation, tokenizer, m.context),
        config.pretrain,
        seed=config.seed,
        steps=bench.capped(config.pretrain.steps),
        saver=bench.saver,
        should_stop=bench.should_stop,
    )


def architecture_of(model: ModelConfig, vocab_size: int) -> Architecture:
    """The decoder that the settings describe, its embedding table as large as the tokenizer."""
    m = model
    return Architecture(
        vocab_size=vocab_size,
        width=m.width,
        layers=m.layers,
        heads=m.heads,
        kv_heads=m.kv_heads,
        head_width=m.head_width,
        ffn=m.ffn,
        context=m.context,
        rope_theta=m.rope_theta,
        norm_eps=m.norm_eps,
        tied=m.tied,
        qkv_bias=m.attention_bias,
        output_bias=m.attention_bias,
    )


def sft(bench: Bench) -> Iterator[Event]:
    """The SFT policy from the base model."""
    config = bench.config
    policy, tokenizer = bench.policy(bench.parent("sft", "pretrain"))
    data = sources.sft_examples(config, bench.records("sft", "data"), tokenizer, policy.architecture.context)
    return train_sft(
        policy,
        tokenizer,
        data.train,
        data.validation,
        config.sft,
        left_out=data.left_out,
        seed=config.seed,
        steps=bench.capped(ceil(config.sft.epochs * len(data.train) / config.sft.batch)),
        saver=bench.saver,
        should_stop=bench.should_stop,
    )


def comparisons(bench: Bench) -> Iterator[Event]:
    """Responses of the SFT policy, ranked by the simulated labelers."""
    config = bench.config
    policy, tokenizer = bench.policy(bench.parent("comparisons", "sft"))
    prompts, held_out = sources.comparison_prompts(config)
    return draw_comparisons(
        policy,
        tokenizer,
        prompts,
        held_out,
        config.comparisons,
        seed=config.seed,
        saver=bench.saver,
        should_stop=bench.should_stop,
    )


def rm(bench: Bench) -> Iterator[Event]:
    """The reward model from the SFT policy, or from what was handed over."""
    config = bench.config
    model, tokenizer = reward_start(bench)
    drawn = bench.prepared.rundir.finished("comparisons")
    given = bench.records("rm", "data")
    data = sources.comparisons(config, given, drawn, tokenizer, model.architecture.context)
    pretraining = sources.reward_pretraining(config) if given is None else []
    steps = pretraining_steps(len(pretraining), config.rm) + ceil(config.rm.epochs * len(data.train) / config.rm.batch)
    demonstrations = sources.demonstrations(config, bench.records("sft", "data")).records
    return train_rm(
        model,
        tokenizer,
        data.train,
        pretraining,
        data.validation,
        demonstrations[: sources.NORMALISING_DEMONSTRATIONS],
        config.rm,
        left_out=data.left_out,
        warning="" if given is None else few_passes(bench, len(data.train), steps),
        seed=config.seed,
        steps=bench.capped(steps),
        saver=bench.saver,
        should_stop=bench.should_stop,
    )


def reward_start(bench: Bench) -> tuple[ScalarModel, Tokenizer]:
    """What the reward model is trained from: a reward model that was handed over as it is, a policy with a new head."""
    directory = bench.parent("rm", "sft")
    if is_reward_model(directory):
        return bench.reward_model(directory)
    policy, tokenizer = bench.policy(directory)
    model = scalar_from(policy.model, generator(bench.config.seed, "rm/head"))
    return bench.computing(model.to(bench.device)), tokenizer


def few_passes(bench: Bench, comparisons: int, steps: int) -> str:
    """The sentence for comparisons that are seen too few times, with the reward model of the parent run to go on from
    where the run goes on from none; empty where they are enough."""
    record, home = bench.prepared.record, bench.prepared.rundir.path.parent
    parents = [] if record.input("rm", "init") else record.parents
    start = next((reference_to(run, "rm") for run in parents if RunDir(home / run).finished("rm")), "")
    typed = [name for name, origin in record.origins.items() if origin == TYPED]
    run, warm = bench.prepared.rundir.name, is_reward_model(bench.parent("rm", "sft"))
    return few_epochs_warning(run, bench.config.rm, comparisons, steps, typed=typed, start=start, warm=warm)


def ppo(bench: Bench) -> Iterator[Event]:
    """The PPO policy from the SFT policy, its reference the same unless --ref names another."""
    config = bench.config
    directory = bench.parent("ppo", "sft")
    policy, tokenizer = bench.policy(directory)
    reference = reference_of(bench, directory, tokenizer)
    scorer, value_model = scorer_and_value(bench, policy, tokenizer)
    given = (bench.records("ppo", "prompts"), bench.records("sft", "data"))
    prompts, left_out = sources.ppo_prompts(config, *given, tokenizer, policy.architecture.context)
    return train_ppo(
        policy,
        reference,
        value_model,
        scorer,
        tokenizer,
        prompts,
        config.ppo,
        left_out=left_out,
        seed=config.seed,
        steps=bench.capped(config.ppo.steps),
        saver=bench.saver,
        should_stop=bench.should_stop,
        judge=judge_of(bench),
    )


def reference_of(bench: Bench, start: Path, tokenizer: Tokenizer) -> LanguageModel:
    """The reference policy, frozen.

    Raises: CheckpointError if its tokenizer is not the policy's: KL would compare different tokens.
    """
    given = bench.prepared.record.input("ppo", "ref")
    directory = start if given is None else bench.parent("ppo", "sft", "ref")
    reference, its_tokenizer = bench.policy(directory)
    if not its_tokenizer.same_ids(tokenizer):
        raise CheckpointError(
            f"--ref {given and given.name} has another tokenizer than the policy; KL needs the same one."
        )
    return reference.requires_grad_(False)


def scorer_and_value(bench: Bench, policy: LanguageModel, tokenizer: Tokenizer) -> tuple[Scorer, ScalarModel]:
    """What scores the episodes, and the value network: a copy of the reward model where the two share a tokenizer, else
    of the policy with a zero head."""
    scorer = scorer_of(bench)
    if not isinstance(scorer, RewardModelScorer) or not scorer.tokenizer.same_ids(tokenizer):
        return scorer, bench.computing(scalar_from(policy.model, None))
    return scorer, bench.reward_model(bench.parent("ppo", "rm", "reward"))[0]


def scorer_of(bench: Bench) -> Scorer:
    """What scores PPO's episodes: the run's reward model, frozen, or what was handed to PPO in its place."""
    return handed_scorer(bench, "reward")


def judge_of(bench: Bench) -> Scorer | None:
    """What watches PPO from outside: the judge that was handed over, else the taste that the world's labelers have.

    None where the prompts or what the reward has learnt are a person's own: the world knows nothing of those.
    """
    if bench.prepared.record.input("ppo", "judge") is not None:
        return handed_scorer(bench, "judge")
    own = {option for stage in ("sft", "rm", "ppo") for option in bench.prepared.inputs(stage)}
    if not bench.config.world.name or {"data", "prompts", "reward"} & own:
        return None
    return pocket_scorer(POCKET + bench.config.comparisons.persona)


def handed_scorer(bench: Bench, option: str) -> Scorer:
    """The scorer that PPO was handed as `option`, for a reward else the run's reward model; models are frozen."""
    given = bench.prepared.record.input("ppo", option)
    if given is not None and given.kind != "model":
        return named_scorer(given.reference)
    model, tokenizer = bench.reward_model(bench.parent("ppo", "rm", option))
    return RewardModelScorer(model.requires_grad_(False), tokenizer)


def gain_of(bench: Bench) -> float | None:
    """The logits that a score of 1 of PPO's reward model stands for, if it is a model that says so."""
    given = bench.prepared.record.input("ppo", "reward")
    if given is not None and given.kind != "model":
        return None
    about = bench.parent("ppo", "rm", "reward") / "slmctl.json"
    return read_json(about).get("metrics", {}).get("rm/gain") if about.is_file() else None


def evaluation(bench: Bench) -> Iterator[Event]:
    """The evaluation of the whole run."""
    rundir, config = bench.prepared.rundir, bench.config
    contestants = Contestants(
        base=bench.policy(bench.parent("sft", "pretrain")),
        sft=bench.policy(bench.parent("ppo", "sft")),
        ppo=bench.policy(bench.parent("eval", "ppo")),
        scorer=scorer_of(bench),
        gain=gain_of(bench),
    )
    trained = RunDir(bench.parent("eval", "ppo").parents[1])  # this run, or the one whose PPO it shares
    return evaluate_run(
        contestants,
        config.eval,
        rundir.finished("comparisons"),
        trained.read_samples(),
        seed=config.seed,
        eval_file=rundir.eval,
        publish=bench.publish,
        should_stop=bench.should_stop,
    )


OPENERS: dict[str, Callable[[Bench], Iterator[Event]]] = {
    "pretrain": pretrain,
    "sft": sft,
    "comparisons": comparisons,
    "rm": rm,
    "ppo": ppo,
    "eval": evaluation,
}
