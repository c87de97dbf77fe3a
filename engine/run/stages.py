"""From a prepared run to the generator of one stage: opens the models it starts from and gathers its data.

One function per stage. The algorithms are in engine/train; running and recording stages is driver.py's job.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from engine.core.config import Config, ModelConfig
from engine.core.errors import CheckpointError
from engine.core.events import Event
from engine.core.few_comparisons import few_epochs_warning
from engine.core.settings import TYPED
from engine.core.untrusted_files import read_json
from engine.data.records import TrainingRows
from engine.model.heads import ScalarModel, scalar_from
from engine.model.pretrained import is_reward_model
from engine.model.sampling import generator
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import Architecture, LanguageModel, initialize
from engine.run import sources
from engine.run.inference import ModelLoader
from engine.run.pipeline import needs
from engine.run.planning import Prepared
from engine.rundir.directory import RunDir
from engine.rundir.references import POCKET, reference_to, resolve_reference
from engine.rundir.runtoml import hash_path
from engine.train.comparisons import draw_comparisons
from engine.train.evaluation import EvaluatedPolicies, evaluate_run
from engine.train.ppo import train_ppo
from engine.train.pretrain import train_base
from engine.train.rm import RewardData, pretraining_steps, train_rm
from engine.train.rollout import Actors
from engine.train.saver import Saver, StageLoop
from engine.train.scoring import RewardModelScorer, Scorer, named_scorer, pocket_scorer
from engine.train.sft import train_sft

DEFAULT_SAVE_EVERY = 5  # steps between saves of a stage that has no save_every of its own


@dataclass(frozen=True)
class StageContext:
    """What every stage is opened with: the run, how it opens models, where to save, and when to stop."""

    prepared: Prepared
    models: ModelLoader
    saver: Saver
    should_stop: Callable[[], bool]
    publish: Callable[[dict[str, Any]], None]

    @property
    def config(self) -> Config:
        return self.prepared.config

    def parent(self, stage: str, parent: str, option: str = "init") -> Path:
        """The checkpoint that `stage` works from: the model given as `option`, else this run's own `parent`."""
        given = self.prepared.record.input(stage, option)
        if given is not None:
            return resolve_reference(given.reference, self.prepared.rundir.path.parent)
        found = self.prepared.rundir.finished(parent)
        assert found is not None, f"{stage} was planned before {parent}"
        return found

    def loop(self, steps: int) -> StageLoop:
        """A loop of `steps` steps, or of --max-steps where that is fewer."""
        most = self.config.max_steps
        return StageLoop(self.config.seed, min(steps, most) if most else steps, self.saver, self.should_stop)


def open_stage(
    stage: str, prepared: Prepared, should_stop: Callable[[], bool], publish: Callable[[dict[str, Any]], None]
) -> tuple[Iterator[Event], Saver]:
    """A stage that has everything it needs and has not started, with its saver.

    slmctl.json will record parents and inputs with hashes, the seed and the settings.
    """
    config = prepared.config
    models = ModelLoader(config.device, config.template, config.dtype, prepared.record.day)
    section = getattr(config, stage)
    every = getattr(section, "save_every", DEFAULT_SAVE_EVERY)
    parents = {
        parent: hash_path(path)
        for parent in needs(stage, prepared.record.inputs)
        if (path := prepared.rundir.finished(parent)) is not None
    }
    inputs = {option: given.table() for option, given in prepared.inputs(stage).items()}
    settings = section.model_dump(mode="json")
    about = {"seed": config.seed, "parents": parents, "inputs": inputs, "config": settings}
    saver = Saver(stage, prepared.rundir.stage_dir(stage), every, about)
    return OPENERS[stage](StageContext(prepared, models, saver, should_stop, publish)), saver


def open_pretrain(context: StageContext) -> Iterator[Event]:
    """The base model from scratch."""
    config, m = context.config, context.config.model
    data = context.prepared.records("pretrain", "data", last=True)
    documents = sources.base_documents(config, data)
    tokenizer = sources.base_tokenizer(documents.train, config, data)
    model = LanguageModel(architecture_of(m, tokenizer.size))
    initialize(model, generator(config.seed, "pretrain/init"))
    model.model.compute_dtype = context.models.dtype
    train, held_out = (
        sources.examples_of(side, tokenizer, m.context) for side in (documents.train, documents.validation)
    )
    loop = context.loop(config.pretrain.steps)
    return train_base(model.to(context.models.device), tokenizer, TrainingRows(train, held_out), config.pretrain, loop)


def architecture_of(model: ModelConfig, vocab_size: int) -> Architecture:
    """The decoder that the settings describe, its embedding table as large as the tokenizer."""
    same, bias = model.model_dump(exclude={"attention_bias"}), model.attention_bias
    return Architecture(vocab_size, head_width=model.head_width, qkv_bias=bias, output_bias=bias, **same)


def open_sft(context: StageContext) -> Iterator[Event]:
    """The SFT policy from the base model."""
    config = context.config
    policy, tokenizer = context.models.language_model(context.parent("sft", "pretrain"))
    data = sources.sft_examples(config, context.prepared.records("sft", "data"), tokenizer, policy.architecture.context)
    steps = ceil(config.sft.epochs * len(data.train) / config.sft.batch)
    return train_sft(policy, tokenizer, data, config.sft, context.loop(steps))


def open_comparisons(context: StageContext) -> Iterator[Event]:
    """Responses of the SFT policy, ranked by the simulated labelers."""
    policy, tokenizer = context.models.language_model(context.parent("comparisons", "sft"))
    prompts, held_out = sources.comparison_prompts(context.config)
    return draw_comparisons(policy, tokenizer, prompts, held_out, context.config.comparisons, context.loop(0))


def open_rm(context: StageContext) -> Iterator[Event]:
    """The reward model from the SFT policy, or from the model given as --init."""
    config, given = context.config, context.prepared.records("rm", "data", last=True)
    model, tokenizer = reward_start(context)
    drawn = context.prepared.rundir.finished("comparisons")
    rankings = sources.rm_rankings(config, given, drawn, tokenizer, model.architecture.context)
    pretraining = sources.reward_pretraining(config) if given is None else []
    demonstrations = sources.sft_demonstrations(config, context.prepared.records("sft", "data")).records
    data = RewardData(rankings, pretraining, demonstrations[: sources.NORMALIZING_DEMONSTRATIONS])
    epochs = ceil(config.rm.epochs * len(rankings.train) / config.rm.batch)
    steps = pretraining_steps(len(pretraining), config.rm) + epochs
    warning = "" if given is None else few_comparisons(context, len(rankings.train), steps)
    return train_rm(model, tokenizer, data, config.rm, context.loop(steps), warning)


def reward_start(context: StageContext) -> tuple[ScalarModel, Tokenizer]:
    """What the reward model is trained from: a given reward model as it is, or a policy with a new head."""
    directory = context.parent("rm", "sft")
    if is_reward_model(directory):
        return context.models.scalar_model(directory)
    policy, tokenizer = context.models.language_model(directory)
    return scalar_from(policy.model, generator(context.config.seed, "rm/head")), tokenizer


def few_comparisons(context: StageContext, comparisons: int, steps: int) -> str:
    """The warning for too few comparisons, empty where they are enough; it names the parent run's reward model to start
    from where this run starts from none."""
    record, home = context.prepared.record, context.prepared.rundir.path.parent
    parents = [] if record.input("rm", "init") else record.parents
    start = next((reference_to(run, "rm") for run in parents if RunDir(home / run).finished("rm")), "")
    typed = [name for name, origin in record.origins.items() if origin == TYPED]
    run, warm = context.prepared.rundir.name, is_reward_model(context.parent("rm", "sft"))
    return few_epochs_warning(run, context.config.rm, comparisons, steps, typed=typed, start=start, warm=warm)


def open_ppo(context: StageContext) -> Iterator[Event]:
    """The PPO policy from the SFT policy; that is also the reference, unless --ref names another."""
    config = context.config
    policy, tokenizer = context.models.language_model(context.parent("ppo", "sft"))
    reference, scorer = reference_policy(context, policy, tokenizer), ppo_scorer(context)
    # The value network starts from the reward model, which already knows what makes a response good, if both read the
    # same ids; else from the policy with a zero head.
    if isinstance(scorer, RewardModelScorer) and scorer.tokenizer.same_ids(tokenizer):
        value = copy.deepcopy(scorer.model).requires_grad_(True)
    else:
        value = scalar_from(policy.model, None)
    actors = Actors(policy, reference, value, scorer, tokenizer, ppo_judge(context))
    given = (context.prepared.records("ppo", "prompts", last=True), context.prepared.records("sft", "data"))
    prompts, left_out = sources.ppo_prompts(config, *given, tokenizer, policy.architecture.context)
    return train_ppo(actors, prompts, config.ppo, context.loop(config.ppo.steps), left_out)


def reference_policy(context: StageContext, policy: LanguageModel, tokenizer: Tokenizer) -> LanguageModel:
    """The reference policy, frozen.

    Raises: CheckpointError if its tokenizer is not the policy's: KL would compare different tokens.
    """
    given = context.prepared.record.input("ppo", "ref")
    if given is None:
        return copy.deepcopy(policy).requires_grad_(False)
    reference, its_tokenizer = context.models.language_model(context.parent("ppo", "sft", "ref"))
    if not its_tokenizer.same_ids(tokenizer):
        raise CheckpointError(f"--ref {given.name} has another tokenizer than the policy; KL needs the same one.")
    return reference.requires_grad_(False)


def ppo_scorer(context: StageContext, option: str = "reward") -> Scorer:
    """The scorer given to PPO as `option`, else the run's reward model; models are frozen."""
    given = context.prepared.record.input("ppo", option)
    if given is not None and given.kind != "model":
        return named_scorer(given.reference)
    scorer = context.models.reward_model(context.parent("ppo", "rm", option))
    scorer.model.requires_grad_(False)
    return scorer


def ppo_judge(context: StageContext) -> Scorer | None:
    """What watches PPO from outside: the judge given as --judge, else the preferences of the world's labelers.

    None where the prompts or the reward's data are a person's own, which the world cannot judge.
    """
    if context.prepared.record.input("ppo", "judge") is not None:
        return ppo_scorer(context, "judge")
    own = {option for stage in ("sft", "rm", "ppo") for option in context.prepared.inputs(stage)}
    if not context.config.world.name or {"data", "prompts", "reward"} & own:
        return None
    return pocket_scorer(POCKET + context.config.comparisons.persona)


def reward_gain(context: StageContext) -> float | None:
    """The logits per unit of score of PPO's reward model; None for another scorer, or if they were not recorded."""
    given = context.prepared.record.input("ppo", "reward")
    if given is not None and given.kind != "model":
        return None
    about = context.parent("ppo", "rm", "reward") / "slmctl.json"
    return read_json(about).get("metrics", {}).get("rm/gain") if about.is_file() else None


def open_evaluation(context: StageContext) -> Iterator[Event]:
    """The evaluation of the whole run."""
    rundir, config = context.prepared.rundir, context.config
    policies = EvaluatedPolicies(
        base=context.models.language_model(context.parent("sft", "pretrain")),
        sft=context.models.language_model(context.parent("ppo", "sft")),
        ppo=context.models.language_model(context.parent("eval", "ppo")),
        scorer=ppo_scorer(context),
        gain=reward_gain(context),
    )
    trained = RunDir(context.parent("eval", "ppo").parents[1])  # this run, or the one that shares its PPO policy
    drawn, sampled = rundir.finished("comparisons"), trained.read_samples()
    return evaluate_run(policies, config.eval, drawn, sampled, context.loop(0), rundir.eval, context.publish)


OPENERS: dict[str, Callable[[StageContext], Iterator[Event]]] = {
    "pretrain": open_pretrain,
    "sft": open_sft,
    "comparisons": open_comparisons,
    "rm": open_rm,
    "ppo": open_ppo,
    "eval": open_evaluation,
}
