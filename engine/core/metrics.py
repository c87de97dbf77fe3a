"""The registry of metrics: what each number means, its unit, its formula, and which way is better.

A metric is registered here before a stage reports it. Names are `stage/quantity`; quantities that end in `_s` or `_mb`
depend on the machine and are left out when two runs are compared.
"""

import re
from dataclasses import dataclass
from typing import Literal

from engine.core.errors import ConfigError

Better = Literal["up", "down", "none"]


@dataclass(frozen=True)
class Metric:
    """One number that a run reports."""

    name: str
    meaning: str
    unit: str
    formula: str
    better: Better


def describe(name: str) -> Metric:
    """The entry of one metric.

    Raises: ConfigError where no such metric is registered.
    """
    if _entry(name) not in REGISTRY:
        raise ConfigError(f"{name!r} is not a registered metric")
    return REGISTRY[_entry(name)]


def unregistered(names: list[str]) -> list[str]:
    """Those of `names` that the registry does not hold."""
    return [name for name in names if _entry(name) not in REGISTRY]


def _entry(name: str) -> str:
    """The name under which a metric is registered: the n of best-of-n is a setting, and stands for itself there."""
    return re.sub(r"best_of_\d+", "best_of_n", name)


_TRAINING: tuple[tuple[str, str, str, str, Better], ...] = (
    ("lr", "learning rate of this step", "", "warm-up, then cosine", "none"),
    ("grad_norm", "length of the gradient before it is scaled down", "", "||g||", "none"),
    ("step_s", "wall time of this step", "s", "", "down"),
)
_OWN: tuple[tuple[str, str, str, str, Better], ...] = (
    ("pretrain/loss", "next-token loss on this step's documents", "nats/token", "-mean log p(token)", "down"),
    ("pretrain/validation_loss", "next-token loss on held-out documents", "nats/token", "-mean log p(token)", "down"),
    (
        "pretrain/bits_per_byte",
        "bits that a byte of held-out text costs, whatever the vocabulary",
        "bits/byte",
        "-sum log p(token) / ln 2 / UTF-8 bytes of the text that these tokens spell; the sum has EOS and template "
        "tokens, which spell none; a row's first token is not predicted and is in neither",
        "down",
    ),
    ("pretrain/tokens", "tokens learnt from so far, padding left out", "tokens", "", "none"),
    ("sft/loss", "loss on the responses of this step", "nats/token", "-mean log p(response token)", "down"),
    ("sft/validation_loss", "loss on held-out demonstrations' responses", "nats/token", "-mean log p(token)", "down"),
    ("comparisons/responses", "responses drawn so far", "responses", "", "none"),
    ("comparisons/response_tokens", "mean length of the responses, EOS included", "tokens", "mean tokens", "none"),
    ("comparisons/finished", "share of responses that ended by themselves", "", "mean EOS reached", "up"),
    ("comparisons/ties", "share of pairs that are ties", "", "ties / pairs", "none"),
    ("comparisons/scale", "noise of the labelers, as a Gumbel scale in utility", "", "", "none"),
    ("comparisons/tokens_per_s", "tokens sampled a second", "tokens/s", "tokens / seconds", "up"),
    ("comparisons/step_s", "wall time of this step", "s", "", "down"),
    ("comparisons/agreement", "share of pairs two labelers order alike, of those neither ties", "", "", "none"),
    ("comparisons/ceiling", "accuracy of a perfect judge on pairs that are no ties", "", "mean max(p, 1-p)", "none"),
    ("comparisons/tie_margin", "noisy utilities nearer than this are called a tie", "", "", "none"),
    ("comparisons/utility", "mean judge utility of the responses", "", "mean utility", "none"),
    ("rm/loss", "Bradley-Terry loss, mean over each prompt's pairs", "nats/pair", "-mean log s(r_w - r_l)", "down"),
    ("rm/accuracy", "share of this step's pairs ordered as the labelers did", "", "mean r_w > r_l", "up"),
    ("rm/validation_accuracy", "share of held-out pairs ordered as the labelers did", "", "mean r_w > r_l", "up"),
    ("rm/validation_loss", "Bradley-Terry loss on held-out rankings", "nats/pair", "-mean log s(r_w - r_l)", "down"),
    ("rm/longer_baseline", "held-out accuracy of preferring the longer response", "", "mean len_w > len_l", "none"),
    ("rm/gain", "logits that a score of 1 stands for", "nats/score", "std of the ranked responses' logits", "none"),
    (
        "rm/calibration_error",
        "how far the predicted chance of a preference is from its share, on held-out pairs",
        "",
        "mean |mean max(p, 1-p) - share right| over ten bins",
        "down",
    ),
    ("ppo/score", "mean score of the rollout's responses, before clipping and penalties", "", "mean score", "up"),
    ("ppo/score_std", "spread of the scores", "", "std score", "none"),
    ("ppo/judge_score", "mean score by a judge that nothing is trained on", "", "mean judge score", "up"),
    ("ppo/reward", "score less all penalties, an episode", "", "clipped score - no EOS - kl_coef KL", "up"),
    ("ppo/kl_nats", "distance from the reference policy, summed through EOS", "nats/response", "mean sum k1", "none"),
    ("ppo/kl_coef", "weight of the KL penalty that this step used", "", "", "none"),
    ("ppo/policy_loss", "clipped policy loss", "", "mean max(-A r, -A clip(r))", "none"),
    ("ppo/value_loss", "clipped value loss", "", "mean .5 max((v-R)^2, (clip(v)-R)^2)", "down"),
    ("ppo/value", "mean value a token", "", "mean v", "none"),
    ("ppo/explained_variance", "share of the returns' variance the values explain", "", "1 - var(R-v)/var(R)", "up"),
    ("ppo/entropy", "entropy of the policy's next-token distribution", "nats/token", "mean -sum p log p", "none"),
    ("ppo/approx_kl", "how far this step moved the policy", "nats/token", "mean .5 (log r)^2", "none"),
    ("ppo/ratio", "mean probability ratio of new to old policy", "", "mean r", "none"),
    ("ppo/ratio_max", "largest probability ratio of the step", "", "max r", "none"),
    ("ppo/clip_fraction", "share of tokens whose clip decides the loss", "", "mean -A clip(r) > -A r", "none"),
    (
        "ppo/value_clip_fraction",
        "share of values whose clip decides the loss",
        "",
        "mean (clip(v)-R)^2 > (v-R)^2",
        "none",
    ),
    ("ppo/value_grad_norm", "length of the value network's gradient", "", "||g||", "none"),
    ("ppo/response_tokens", "mean length of the responses, EOS included", "tokens", "mean tokens", "none"),
    ("ppo/tokens_per_s", "response tokens a second, collecting and learning", "tokens/s", "tokens / seconds", "up"),
    ("ppo/finished", "share of responses that ended by themselves", "", "mean EOS reached", "up"),
)
_EVAL: tuple[tuple[str, str, str, str, Better], ...] = (
    ("win_rate", "share of test prompts on which PPO beats SFT by the judge", "", "(wins + ties/2) / n", "up"),
    ("win_rate_low", "lower end of its 95 % Wilson interval", "", "", "up"),
    ("win_rate_high", "upper end of its 95 % Wilson interval", "", "", "up"),
    ("base_win_rate", "the base model's win rate against SFT", "", "(wins + ties/2) / n", "none"),
    ("best_of_n_win_rate", "best-of-n's win rate against SFT", "", "(wins + ties/2) / n", "up"),
    ("kl_nats", "distance of PPO from SFT on test prompts", "nats/response", "mean sum k1", "none"),
    ("length_ratio", "mean tokens of PPO over those of SFT", "", "tokens_ppo / tokens_sft", "none"),
    ("tokens_difference", "tokens that PPO's responses have more than SFT's, by prompt", "", "", "none"),
    ("tokens_difference_low", "lower end of its 95 % interval", "", "", "none"),
    ("tokens_difference_high", "upper end of its 95 % interval", "", "", "none"),
    ("tie_margin", "utilities nearer than this are a tie", "", "", "none"),
    ("rm_accuracy", "reward model's accuracy on held-out pairs", "", "mean r_w > r_l", "up"),
    ("rm_ceiling", "accuracy of a perfect judge on the held-out pairs", "", "mean max(p, 1-p)", "none"),
    ("rm_longer_baseline", "held-out accuracy of preferring the longer response", "", "mean len_w > len_l", "none"),
    (
        "rm_correctness_accuracy",
        "accuracy on pairs that differ in correctness only",
        "",
        "mean r_right > r_wrong",
        "up",
    ),
    ("rm_calibration_error", "the reward model's calibration error on held-out pairs", "", "", "down"),
    ("agreement", "share of pairs two labelers order alike, of those neither ties", "", "", "none"),
)
_PLAYERS = ("base", "sft", "best_of_n", "ppo")
_PLAYED: tuple[tuple[str, str, Better], ...] = (
    ("utility", "mean judge utility", "up"),
    ("helpful", "mean helpfulness", "up"),
    ("honest", "mean honesty", "up"),
    ("harmless", "mean harmlessness", "up"),
    ("courteous", "mean courtesy", "up"),
    ("concise", "mean concision", "up"),
    ("correct", "share of answerable prompts answered rightly", "up"),
    ("distinct_2", "distinct word pairs over all word pairs", "none"),
    ("tokens", "mean tokens a response, EOS included", "none"),
    ("reward", "mean score by the reward model", "none"),
)


def _registry() -> dict[str, Metric]:
    rows = [*_OWN, *((f"eval/{row[0]}", row[1], row[2], row[3], row[4]) for row in _EVAL)]
    rows += [
        (f"eval/{name}_{who}", f"{meaning} of {who}", "", "", way) for name, meaning, way in _PLAYED for who in _PLAYERS
    ]
    rows += [
        ("eval/utility", "mean judge utility of the contestant of this step", "", "", "up"),
        ("eval/step_s", "wall time of this step", "s", "", "down"),
    ]
    for stage in ("pretrain", "sft", "comparisons", "rm", "ppo", "eval"):
        rows.append((f"{stage}/peak_rss_mb", "most memory of the process that ended this stage", "MB", "", "down"))
    for stage in ("pretrain", "sft", "rm", "ppo"):
        rows += [(f"{stage}/{row[0]}", row[1], row[2], row[3], row[4]) for row in _TRAINING]
    assert len({row[0] for row in rows}) == len(rows), "a metric is registered twice"
    return {row[0]: Metric(*row) for row in rows}


REGISTRY: dict[str, Metric] = _registry()
