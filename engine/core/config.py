"""The typed configuration: every field with its description, range and default.

settings.py reads presets, the environment and --set; rundir/runtoml.py writes run.toml. Sizes that follow from others
are properties, not fields.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]  # far larger numbers crash the OpenMP runtime
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Betas = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Field(strict=False)]
Persona = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A frozen table of settings that rejects unknown keys, infinities and values of the wrong type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class WorldConfig(Section):
    """The source of data that was not given."""

    name: Literal["", "pocket"] = Field(
        default="", description="synthetic dataset to use where no data is passed: pocket, or empty for none"
    )


class TokenizerConfig(Section):
    """The tokenizer that pretraining trains."""

    vocab_size: int = Field(default=1024, ge=300, description="vocabulary size, including special tokens")


class ModelConfig(Section):
    """The decoder that pretraining trains."""

    width: Count = Field(default=128, description="width of the residual stream (C)")
    layers: Count = Field(default=4, description="number of decoder blocks")
    heads: Count = Field(default=4, description="query heads (H); width / heads must be an even integer")
    kv_heads: Count = Field(default=4, description="key and value heads; must divide heads")
    ffn: Count = Field(default=320, description="inner width of the SwiGLU feed-forward network")
    context: Count = Field(default=128, description="context length: prompt and response together, in tokens")
    rope_theta: Positive = Field(default=10000.0, description="base of the rotary position embedding")
    norm_eps: Positive = Field(default=1e-5, description="epsilon of RMSNorm")
    tied: bool = Field(default=True, description="share weights between the embedding and the output layer")
    attention_bias: bool = Field(default=False, description="biases in the query, key and value projections")

    @property
    def head_width(self) -> int:
        """D, the width of one attention head."""
        return self.width // self.heads

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads or self.head_width % 2:
            raise ValueError(f"width {self.width} / heads {self.heads} must be an even integer")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
        return self


class OptimizerConfig(Section):
    """AdamW, optionally with Muon, with linear warmup and cosine decay; one per training stage."""

    lr: Positive = Field(default=1e-3, le=1, description="peak learning rate")
    warmup_steps: Whole = Field(default=0, description="optimizer steps of linear warmup, from a tenth of the peak")
    min_lr_ratio: Share = Field(
        default=0.1, description="final learning rate as a fraction of the peak; 1 keeps it constant"
    )
    betas: Betas = Field(default=(0.9, 0.95), description="Adam's beta1 and beta2")
    eps: Positive = Field(default=1e-8, description="Adam's epsilon")
    weight_decay: NonNegative = Field(default=0.0, description="decoupled weight decay, on matrices only")
    max_grad_norm: Positive = Field(default=1.0, description="maximum gradient norm (clipping)")
    muon_lr: NonNegative = Field(
        default=0.0,
        le=1,
        description="peak learning rate of Muon on the matrices inside the layers; 0 uses Adam for them too",
    )


class PretrainConfig(OptimizerConfig):
    """The base model."""

    lr: Positive = Field(default=4e-3, le=1, description="peak learning rate")
    warmup_steps: Whole = Field(default=50, description="optimizer steps of linear warmup, from a tenth of the peak")
    weight_decay: NonNegative = Field(default=0.1, description="decoupled weight decay, on matrices only")
    documents: Count = Field(default=60000, description="documents drawn from the pocket world")
    steps: Count = Field(default=600, description="optimizer steps")
    batch_tokens: Count = Field(default=2048, description="tokens per step, including padding")
    validation_share: Share = Field(default=0.02, description="fraction of documents held out for the validation loss")
    eval_every: Count = Field(default=100, description="steps between evaluations of the validation loss")
    save_every: Count = Field(default=100, description="steps between checkpoints to resume from")


class SftConfig(OptimizerConfig):
    """Supervised fine-tuning on demonstrations."""

    warmup_steps: Whole = Field(default=10, description="optimizer steps of linear warmup, from a tenth of the peak")
    demonstrations: Count = Field(default=4000, description="demonstrations drawn from the pocket world")
    epochs: Positive = Field(default=2.0, description="epochs over the demonstrations; may be fractional")
    batch: Count = Field(default=64, description="demonstrations per step")
    validation_share: Share = Field(
        default=0.1, description="fraction of demonstrations held out for the validation loss"
    )
    eval_every: Count = Field(default=25, description="steps between evaluations of the validation loss")
    save_every: Count = Field(default=50, description="steps between checkpoints to resume from")


class ComparisonsConfig(Section):
    """Responses sampled from the SFT policy and ranked by simulated labelers."""

    prompts: Count = Field(default=1500, description="training prompts to sample responses for")
    responses_min: int = Field(default=4, ge=2, description="minimum responses per prompt")
    responses_max: int = Field(default=9, ge=2, description="maximum responses per prompt")
    temperature: Positive = Field(default=1.0, description="sampling temperature")
    max_new_tokens: Count = Field(default=40, description="maximum response length in tokens")
    agreement: float = Field(
        default=0.73,
        gt=0.5,
        lt=1,
        description="fraction of pairs on which two simulated labelers agree; sets their noise",
    )
    tie_margin: NonNegative = Field(default=0.005, description="noisy judge scores closer than this are a tie")
    persona: Persona = Field(default="helpful", description="preferences of the simulated labelers")
    batch: Count = Field(default=256, description="responses per sampling batch")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.responses_min > self.responses_max:
            raise ValueError(f"responses_min {self.responses_min} is greater than responses_max {self.responses_max}")
        return self


class RmConfig(OptimizerConfig):
    """The reward model."""

    lr: Positive = Field(default=3e-4, le=1, description="peak learning rate")
    warmup_steps: Whole = Field(default=10, description="optimizer steps of linear warmup, from a tenth of the peak")
    epochs: Positive = Field(default=1.0, description="epochs over the rankings; may be fractional")
    batch: Count = Field(default=16, description="prompts per step, each with all its responses")
    pretraining_pairs: Whole = Field(
        default=0, description="pairs of a correct and an incorrect answer to train on before the rankings"
    )
    pretraining_batch: Count = Field(default=48, description="pretraining pairs per step")
    center_coef: NonNegative = Field(
        default=0.0, description="weight of the squared mean score of each prompt's responses, which centers scores"
    )
    validation_share: float = Field(
        default=0.15, gt=0, lt=1, description="fraction of prompts held out to measure accuracy"
    )
    eval_every: Count = Field(default=25, description="steps between evaluations of the held-out accuracy")
    save_every: Count = Field(default=25, description="steps between checkpoints to resume from")


class PpoConfig(OptimizerConfig):
    """Proximal policy optimization with a KL penalty."""

    lr: Positive = Field(default=3e-4, le=1, description="peak learning rate of the policy")
    value_lr: Positive = Field(default=5e-4, le=1, description="peak learning rate of the value network")
    min_lr_ratio: Share = Field(
        default=1.0, description="final learning rate as a fraction of the peak; 1 keeps it constant"
    )
    steps: Count = Field(default=40, description="PPO steps: one rollout each, with its PPO epochs")
    rollout_batch: Count = Field(default=128, description="episodes per rollout")
    minibatch: Count = Field(default=64, description="episodes per optimizer step; must divide rollout_batch")
    microbatch: Count = Field(default=64, description="episodes per backward pass; must divide minibatch")
    epochs: Count = Field(default=2, description="PPO epochs over each rollout")
    value_warmup_steps: Whole = Field(default=2, description="first steps that train only the value network")
    kl_coef: NonNegative = Field(
        default=0.05, description="weight of the KL penalty per token; the initial value if kl_controller is adaptive"
    )
    kl_controller: Literal["fixed", "adaptive"] = Field(
        default="fixed", description="fixed keeps kl_coef; adaptive adjusts it to reach kl_target"
    )
    kl_target: Positive = Field(default=6.0, description="KL target of the adaptive controller, in nats per response")
    kl_horizon: NonNegative = Field(
        default=0.0, description="episodes over which the adaptive controller corrects KL; 0 means a tenth of the run"
    )
    gamma: Share = Field(default=1.0, description="discount per token")
    lam: Share = Field(default=0.95, description="lambda of generalized advantage estimation")
    clip_range: Positive = Field(default=0.2, description="clip range of the probability ratio around 1")
    value_clip_range: Positive = Field(
        default=0.2, description="clip range of a value around its old value in the value loss"
    )
    vf_coef: Positive = Field(default=0.5, description="weight of the value loss")
    temperature: Positive = Field(
        default=1.0, description="sampling temperature, also applied to all log-probabilities"
    )
    max_new_tokens: Count = Field(default=40, description="maximum response length in tokens")
    missing_eos_penalty: NonNegative = Field(
        default=1.0, description="subtracted from the score of a response without EOS"
    )
    score_clip: NonNegative = Field(
        default=0.0, description="clip scores to [-score_clip, score_clip]; 0 turns clipping off"
    )
    stop_kl_nats: Positive = Field(default=30.0, description="KL that stops training early, in nats per response")
    alert_kl_nats: Positive = Field(default=8.0, description="KL that raises an alert, in nats per response")
    save_every: Count = Field(default=10, description="steps between checkpoints to resume from")
    samples_every: Count = Field(
        default=5,
        description="steps between logged samples; the first step, the last step and alerts also log samples",
    )
    samples_shown: Count = Field(default=16, description="samples to log each time")

    @property
    def horizon(self) -> float:
        """Episodes over which the adaptive controller corrects KL."""
        return self.kl_horizon or max(self.steps / 10, 2.0) * self.rollout_batch

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.rollout_batch % self.minibatch:
            raise ValueError(f"minibatch {self.minibatch} must divide rollout_batch {self.rollout_batch}")
        if self.minibatch % self.microbatch:
            raise ValueError(f"microbatch {self.microbatch} must divide minibatch {self.minibatch}")
        if self.alert_kl_nats > self.stop_kl_nats:
            raise ValueError(f"alert_kl_nats {self.alert_kl_nats} is greater than stop_kl_nats {self.stop_kl_nats}")
        if self.kl_controller == "adaptive" and self.horizon <= self.rollout_batch:
            raise ValueError(f"kl_horizon {self.kl_horizon:g} must be greater than rollout_batch {self.rollout_batch}")
        return self


class EvalConfig(Section):
    """The evaluation on test prompts."""

    prompts: Count = Field(default=500, description="number of test prompts")
    temperature: Positive = Field(default=1.0, description="sampling temperature")
    max_new_tokens: Count = Field(default=40, description="maximum response length in tokens")
    best_of: Count = Field(default=4, description="n for best-of-n sampling by the reward model")
    tie_margin: NonNegative = Field(default=0.02, description="judge scores closer than this are a tie")
    batch: Count = Field(default=256, description="responses per sampling batch")


class Config(Section):
    """All settings of a run."""

    seed: Whole = Field(default=0, description="random seed")
    threads: Threads | None = Field(default=None, description="CPU threads (default: all cores)")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="compute device")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="dtype of matrix products; weights stay float32"
    )
    template: Literal["auto", "none"] = Field(
        default="auto", description="chat template: auto uses the tokenizer's own, none uses plain text"
    )
    max_steps: Whole = Field(default=0, description="maximum steps per training stage; 0 for no limit")
    world: WorldConfig = Field(default=WorldConfig(), description="source of data that was not given")
    tokenizer: TokenizerConfig = Field(default=TokenizerConfig(), description="the tokenizer")
    model: ModelConfig = Field(default=ModelConfig(), description="shape of the decoder")
    pretrain: PretrainConfig = Field(default=PretrainConfig(), description="the base model")
    sft: SftConfig = Field(default=SftConfig(), description="supervised fine-tuning")
    comparisons: ComparisonsConfig = Field(default=ComparisonsConfig(), description="sampled and ranked responses")
    rm: RmConfig = Field(default=RmConfig(), description="the reward model")
    ppo: PpoConfig = Field(default=PpoConfig(), description="proximal policy optimization")
    eval: EvalConfig = Field(default=EvalConfig(), description="the evaluation")
