"""The typed configuration: every field with its description, range and default.

Reading presets, the environment and --set, and writing run.toml, are settings.py's job. Sizes that follow from others
are properties, not fields.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]  # some thousands more crash the thread library
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Betas = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Field(strict=False)]
Persona = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A frozen table of settings that refuses unknown keys, infinities and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class WorldConfig(Section):
    """Where data comes from when a person brings none."""

    name: Literal["", "pocket"] = Field(
        default="", description="embedded world that supplies missing data: pocket, or empty for none"
    )


class TokenizerConfig(Section):
    """The tokenizer that pretraining makes."""

    vocab_size: int = Field(default=1024, ge=300, description="tokens in the vocabulary, the special ones included")


class ModelConfig(Section):
    """The decoder that pretraining makes."""

    width: Count = Field(default=128, description="C, the width of the residual stream")
    layers: Count = Field(default=4, description="decoder blocks")
    heads: Count = Field(default=4, description="H, query heads; must divide the width into even head widths")
    kv_heads: Count = Field(default=4, description="key and value heads; must divide the heads")
    ffn: Count = Field(default=320, description="inner width of the SwiGLU feed-forward")
    context: Count = Field(default=128, description="longest sequence, prompt and response together, in tokens")
    rope_theta: Positive = Field(default=10000.0, description="base of the rotary position frequencies")
    norm_eps: Positive = Field(default=1e-5, description="epsilon of RMSNorm")
    tied: bool = Field(default=True, description="whether the output layer shares the embedding's weights")
    attention_bias: bool = Field(default=False, description="whether query, key and value projections have biases")

    @property
    def head_width(self) -> int:
        """D, the width of one attention head."""
        return self.width // self.heads

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads or self.head_width % 2:
            raise ValueError(f"width {self.width} must split into {self.heads} heads of an even width")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
        return self


class OptimiserConfig(Section):
    """AdamW, or Muon with it, with linear warm-up and a cosine down to a share of the peak; one a training stage."""

    lr: Positive = Field(default=1e-3, le=1, description="peak learning rate")
    warmup_steps: Whole = Field(default=0, description="optimiser steps of linear warm-up from a tenth of the peak")
    min_lr_ratio: Share = Field(
        default=0.1, description="learning rate at the end, as a share of the peak; 1 keeps it constant"
    )
    betas: Betas = Field(default=(0.9, 0.95), description="Adam's two decay rates")
    eps: Positive = Field(default=1e-8, description="Adam's epsilon")
    weight_decay: NonNegative = Field(default=0.0, description="decoupled weight decay on matrices")
    max_grad_norm: Positive = Field(default=1.0, description="gradients are scaled down to this norm")
    muon_lr: NonNegative = Field(
        default=0.0, le=1, description="peak learning rate of Muon on the layers' matrices; 0 trains them with Adam too"
    )


class PretrainConfig(OptimiserConfig):
    """The base model."""

    lr: Positive = Field(default=4e-3, le=1, description="peak learning rate")
    warmup_steps: Whole = Field(default=50, description="optimiser steps of linear warm-up from a tenth of the peak")
    weight_decay: NonNegative = Field(default=0.1, description="decoupled weight decay on matrices")
    documents: Count = Field(default=60000, description="documents drawn from the world")
    steps: Count = Field(default=600, description="optimiser steps")
    batch_tokens: Count = Field(default=2048, description="tokens a step, padding included")
    validation_share: Share = Field(default=0.02, description="share of the documents held out for the validation loss")
    eval_every: Count = Field(default=100, description="steps between validation losses")
    save_every: Count = Field(default=100, description="steps between saves to resume from")


class SftConfig(OptimiserConfig):
    """Supervised fine-tuning on demonstrations."""

    warmup_steps: Whole = Field(default=10, description="optimiser steps of linear warm-up from a tenth of the peak")
    demonstrations: Count = Field(default=4000, description="demonstrations drawn from the world")
    epochs: Positive = Field(default=2.0, description="passes over the demonstrations; may be a fraction")
    batch: Count = Field(default=64, description="demonstrations a step")
    validation_share: Share = Field(
        default=0.1, description="share of the demonstrations held out for the validation loss"
    )
    eval_every: Count = Field(default=25, description="steps between validation losses")
    save_every: Count = Field(default=50, description="steps between saves to resume from")


class ComparisonsConfig(Section):
    """Responses drawn from the SFT policy and ranked by simulated labelers."""

    prompts: Count = Field(default=1500, description="training prompts to draw responses for")
    responses_min: int = Field(default=4, ge=2, description="fewest responses a prompt")
    responses_max: int = Field(default=9, ge=2, description="most responses a prompt")
    temperature: Positive = Field(default=1.0, description="sampling temperature")
    max_new_tokens: Count = Field(default=40, description="longest response, in tokens")
    agreement: float = Field(
        default=0.73, gt=0.5, lt=1, description="share of pairs on which two labelers agree; sets their noise"
    )
    tie_margin: NonNegative = Field(default=0.005, description="noisy utilities nearer than this are called a tie")
    persona: Persona = Field(default="helpful", description="whose taste the labelers have")
    batch: Count = Field(default=256, description="responses sampled at once")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.responses_min > self.responses_max:
            raise ValueError(f"responses_min {self.responses_min} is above responses_max {self.responses_max}")
        return self


class RmConfig(OptimiserConfig):
    """The reward model."""

    lr: Positive = Field(default=3e-4, le=1, description="peak learning rate")
    warmup_steps: Whole = Field(default=10, description="optimiser steps of linear warm-up from a tenth of the peak")
    epochs: Positive = Field(default=1.0, description="passes over the rankings; may be a fraction")
    batch: Count = Field(default=16, description="prompts a step, each with all its responses")
    marked_pairs: Whole = Field(
        default=0, description="pairs of answers marked right and wrong in the world's text, learnt before the rankings"
    )
    centre_coef: NonNegative = Field(
        default=0.0, description="weight of the squared mean score of a prompt's responses, which pairs leave free"
    )
    marked_batch: Count = Field(default=48, description="marked pairs a step")
    validation_share: float = Field(
        default=0.15, gt=0, lt=1, description="share of the prompts held out for the accuracy"
    )
    eval_every: Count = Field(default=25, description="steps between held-out accuracies")
    save_every: Count = Field(default=25, description="steps between saves to resume from")


class PpoConfig(OptimiserConfig):
    """Proximal policy optimisation with a KL penalty."""

    lr: Positive = Field(default=3e-4, le=1, description="peak learning rate of the policy")
    value_lr: Positive = Field(default=5e-4, le=1, description="peak learning rate of the value network")
    min_lr_ratio: Share = Field(
        default=1.0, description="learning rate at the end, as a share of the peak; 1 keeps it constant"
    )
    steps: Count = Field(default=40, description="rollouts, each with its PPO epochs")
    rollout_batch: Count = Field(default=128, description="episodes a rollout")
    minibatch: Count = Field(default=64, description="episodes an optimiser step; must divide rollout_batch")
    microbatch: Count = Field(default=64, description="episodes a backward pass; must divide minibatch")
    epochs: Count = Field(default=2, description="passes over each rollout")
    value_warmup_steps: Whole = Field(default=2, description="first rollouts on which only the value network learns")
    kl_coef: NonNegative = Field(
        default=0.05, description="weight of the KL penalty a token; where the adaptive controller starts"
    )
    kl_controller: Literal["fixed", "adaptive"] = Field(
        default="fixed", description="whether kl_coef stays or steers KL to kl_target"
    )
    kl_target: Positive = Field(default=6.0, description="KL that the adaptive controller aims at, in nats a response")
    kl_horizon: NonNegative = Field(
        default=0.0, description="episodes over which the adaptive controller corrects; 0 takes a tenth of the run's"
    )
    gamma: Share = Field(default=1.0, description="discount a token")
    lam: Share = Field(default=0.95, description="lambda of generalised advantage estimation")
    clip_range: Positive = Field(default=0.2, description="how far the probability ratio may leave 1")
    value_clip_range: Positive = Field(
        default=0.2, description="how far a value may leave its old value in the value loss"
    )
    vf_coef: Positive = Field(default=0.5, description="weight of the value loss")
    temperature: Positive = Field(default=1.0, description="sampling temperature, also of every log-probability")
    max_new_tokens: Count = Field(default=40, description="longest response, in tokens")
    missing_eos_penalty: NonNegative = Field(
        default=1.0, description="taken off the score of a response that did not end"
    )
    score_clip: NonNegative = Field(
        default=0.0, description="scores are clipped to this distance from 0; 0 turns it off"
    )
    stop_kl_nats: Positive = Field(default=30.0, description="KL at which training stops early, in nats a response")
    alarm_kl_nats: Positive = Field(default=8.0, description="KL at which the alarm is raised, in nats a response")
    save_every: Count = Field(default=10, description="steps between saves to resume from")
    samples_every: Count = Field(
        default=5,
        description="steps between samples shown; also shown: those of the first, the last and an alarm's step",
    )
    samples_shown: Count = Field(default=16, description="samples shown each time")

    @property
    def horizon(self) -> float:
        """Episodes over which the adaptive controller corrects."""
        return self.kl_horizon or max(self.steps / 10, 2.0) * self.rollout_batch

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.rollout_batch % self.minibatch:
            raise ValueError(f"minibatch {self.minibatch} must divide rollout_batch {self.rollout_batch}")
        if self.minibatch % self.microbatch:
            raise ValueError(f"microbatch {self.microbatch} must divide minibatch {self.minibatch}")
        if self.alarm_kl_nats > self.stop_kl_nats:
            raise ValueError(f"alarm_kl_nats {self.alarm_kl_nats} is above stop_kl_nats {self.stop_kl_nats}")
        if self.kl_controller == "adaptive" and self.horizon <= self.rollout_batch:
            raise ValueError(f"kl_horizon {self.kl_horizon:g} must be longer than rollout_batch {self.rollout_batch}")
        return self


class EvalConfig(Section):
    """The evaluation on test prompts."""

    prompts: Count = Field(default=500, description="test prompts")
    temperature: Positive = Field(default=1.0, description="sampling temperature")
    max_new_tokens: Count = Field(default=40, description="longest response, in tokens")
    best_of: Count = Field(default=4, description="n of best-of-n by the reward model")
    tie_margin: NonNegative = Field(default=0.02, description="utilities nearer than this are a tie")
    batch: Count = Field(default=256, description="responses sampled at once")


class Config(Section):
    """All settings of a run."""

    seed: Whole = Field(default=0, description="number that every random draw follows from")
    threads: Threads | None = Field(default=None, description="CPU threads; the machine's cores when not given")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where tensors live")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="number format of the matrix products; weights stay float32"
    )
    template: Literal["auto", "none"] = Field(default="auto", description="chat template: the tokenizer's own, or none")
    max_steps: Whole = Field(default=0, description="most steps that each training stage takes; 0 for no limit")
    world: WorldConfig = Field(default=WorldConfig(), description="where missing data comes from")
    tokenizer: TokenizerConfig = Field(default=TokenizerConfig(), description="the tokenizer")
    model: ModelConfig = Field(default=ModelConfig(), description="the decoder's shape")
    pretrain: PretrainConfig = Field(default=PretrainConfig(), description="the base model")
    sft: SftConfig = Field(default=SftConfig(), description="supervised fine-tuning")
    comparisons: ComparisonsConfig = Field(default=ComparisonsConfig(), description="responses and rankings")
    rm: RmConfig = Field(default=RmConfig(), description="the reward model")
    ppo: PpoConfig = Field(default=PpoConfig(), description="proximal policy optimisation")
    eval: EvalConfig = Field(default=EvalConfig(), description="the evaluation")
