"""The registry of metrics: all that charts, pickers, progress bars and the guide know of a number that a run reports.

A metric is registered here before a stage reports it, and one entry is all it takes. Names are `stage/quantity`;
quantities that end in `_s` or `_mb` depend on the machine and are left out when two runs are compared.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from engine.core.errors import ConfigError

Better = Literal["up", "down", "none"]


@dataclass(frozen=True)
class Metric:
    """One number that a run reports.

    `title` names it on screens, `healthy` says what good values look like and what to do about others. `chart` is "own"
    for a chart of its own in `slmctl watch`, another quantity of the stage to share that one's chart, or "" for none
    until a person picks it. `headline` is the label beside the progress bar, "" to leave the metric out there.
    """

    name: str
    title: str
    meaning: str
    unit: str = ""
    formula: str = ""
    better: Better = "none"
    chart: str = ""
    headline: str = ""
    healthy: str = ""

    @property
    def stage(self) -> str:
        """The stage that reports it."""
        return self.name.partition("/")[0]


def describe(name: str) -> Metric:
    """The entry of a metric.

    Raises: ConfigError if no such metric is registered.
    """
    if (metric := REGISTRY.get(_entry(name))) is None:
        raise ConfigError(f"{name!r} is not a registered metric")
    return metric


def describe_any(name: str) -> Metric:
    """The entry of a metric, or for one that another version of the program reported, an entry with a title alone."""
    title = (name.partition("/")[2] or name).replace("_", " ")
    return REGISTRY.get(_entry(name)) or Metric(name, title, "")


def charts(stage: str) -> list[tuple[str, ...]]:
    """The metrics of each default chart of a stage, in the order of the registry, the main metric first."""
    found: dict[str, list[str]] = {}
    for metric in _of_stage(stage):
        if metric.chart:
            found.setdefault(metric.name if metric.chart == "own" else f"{stage}/{metric.chart}", []).append(
                metric.name
            )
    return [tuple(names) for names in found.values()]


def headline(stage: str) -> list[Metric]:
    """The metrics of a stage that stand beside its progress bar."""
    return [metric for metric in _of_stage(stage) if metric.headline]


def _of_stage(stage: str) -> list[Metric]:
    return [metric for metric in REGISTRY.values() if metric.stage == stage]


def _entry(name: str) -> str:
    """The name of the registry's entry: the 4 of best_of_4 is a setting, and the entry has an n in its place."""
    return re.sub(r"best_of_\d+", "best_of_n", name)


NATS, PER_RESPONSE = "nats/token", "nats/response"
LOSS_FALLS = "Falls quickly, then slowly. If it rises or jumps, lower the learning rate."
HELD_OUT_FALLS = (
    "Falls with the training loss. If it rises while that still falls, the model memorizes: train for less."
)


def _optimizer(charted: str) -> list[Metric]:
    """What every stage with an optimizer reports."""
    steady = "Below max_grad_norm most of the time. Frequent spikes: lower the learning rate."
    return [
        Metric("grad_norm", "gradient norm", "norm of the gradient before clipping", "", "||g||", "none", charted,
               healthy=steady),
        Metric("lr", "learning rate", "learning rate of this step", "", "warm-up, then cosine decay", "none", charted),
        Metric("step_s", "step time", "wall time of this step", "s", "", "down", charted),
    ]  # fmt: skip


_PRETRAIN = [
    Metric("loss", "loss", "next-token loss on this step's documents", NATS, "-mean log p(token)", "down", "own",
           "loss", LOSS_FALLS),
    Metric("validation_loss", "held-out loss", "next-token loss on held-out documents", NATS, "-mean log p(token)",
           "down", "loss", "held-out", HELD_OUT_FALLS),
    Metric("bits_per_byte", "held-out bits/byte",
           "loss on held-out text in bits per byte, comparable between tokenizers", "bits/byte",
           "-sum log p(token) / ln 2 / bytes of the decoded text; the sum includes EOS and template tokens, which "
           "decode to no bytes; the first token of a row is not predicted and counts in neither", "down", "own",
           healthy="Falls with the loss. Compare base models by this number rather than by their losses."),
    *_optimizer("own"),
    Metric("tokens", "tokens seen", "training tokens so far, without padding", "tokens", chart="own"),
]  # fmt: skip
_SFT = [
    Metric("loss", "loss", "next-token loss on the responses of this step", NATS, "-mean log p(response token)",
           "down", "own", "loss", LOSS_FALLS),
    Metric("validation_loss", "held-out loss", "next-token loss on the responses of held-out demonstrations", NATS,
           "-mean log p(response token)", "down", "loss", "held-out", HELD_OUT_FALLS),
    *_optimizer("own"),
]  # fmt: skip
_COMPARISONS = [
    Metric("response_tokens", "response length", "mean response length, including EOS", "tokens", "mean tokens",
           chart="own", headline="tokens"),
    Metric("utility", "judge score", "mean score that the pocket judge gives the responses", "", "mean utility",
           headline="judge"),
    Metric("tokens_per_s", "throughput", "sampled tokens per second", "tokens/s", "tokens / seconds", "up", "own"),
    Metric("finished", "finished responses", "fraction of responses that ended with EOS", "", "mean EOS reached",
           "up", "own", healthy="Close to 1. If many responses are cut off, raise comparisons.max_new_tokens."),
    Metric("responses", "responses", "responses sampled so far", "responses", chart="own"),
    Metric("ties", "ties", "fraction of pairs that the simulated labelers call a tie", "", "ties / pairs"),
    Metric("scale", "labeler noise", "Gumbel scale of the simulated labelers' noise, in units of judge score"),
    Metric("step_s", "step time", "wall time of this step", "s", "", "down"),
    Metric("agreement", "labeler agreement",
           "fraction of pairs that two simulated labelers order alike, without ties", "",
           healthy="Human labelers reach about 0.73."),
    Metric("ceiling", "accuracy ceiling", "accuracy of a perfect reward model on these labels, without ties", "",
           "mean max(p, 1-p)", healthy="No reward model can exceed it on held-out pairs."),
    Metric("tie_margin", "tie margin", "two responses whose noisy judge scores differ by less are a tie"),
]  # fmt: skip
_RM = [
    Metric("accuracy", "accuracy", "fraction of this step's pairs that are ordered as labeled", "", "mean r_w > r_l",
           "up", "own", "accuracy", "Rises from 0.5. It stays there if the labels are noise."),
    Metric("validation_accuracy", "held-out accuracy", "fraction of held-out pairs that are ordered as labeled", "",
           "mean r_w > r_l", "up", "accuracy", "held-out",
           "0.6 to 0.8 on human labels. Close to 0.5: too few or contradictory labels, or responses that differ too "
           "little. Compare it with the length baseline and the accuracy ceiling."),
    Metric("loss", "loss", "Bradley-Terry loss, averaged over the pairs of each prompt", "nats/pair",
           "-mean log sigmoid(r_w - r_l)", "down", "own", healthy="Falls from ln 2 = 0.69."),
    Metric("validation_loss", "held-out loss", "Bradley-Terry loss on held-out rankings", "nats/pair",
           "-mean log sigmoid(r_w - r_l)", "down", "loss",
           healthy="Falls below ln 2 = 0.69. If it rises, the model is overconfident: train for less."),
    *_optimizer("own"),
    Metric("longer_baseline", "length baseline", "held-out accuracy of always preferring the longer response", "",
           "mean len_w > len_l", healthy="Close to 0.5. Far above it, the labels may reward length."),
    Metric("gain", "gain", "logits that correspond to a score of 1", "nats/score",
           "standard deviation of the logits of ranked responses"),
    Metric("calibration_error", "calibration error",
           "mean difference between predicted and observed preference on held-out pairs", "",
           "mean |mean max(p, 1-p) - fraction right| over ten bins", "down",
           healthy="Below about 0.05. Above: the model is over- or underconfident."),
]  # fmt: skip
_PPO = [
    Metric("score", "reward", "mean reward of the rollout's responses, before clipping and penalties", "",
           "mean score", "up", "own", "reward",
           "Rises, then levels off. If it rises while the judge score falls or the text gets worse, the policy "
           "exploits the reward model: raise ppo.kl_coef, or use an earlier checkpoint."),
    Metric("kl_nats", "KL to the reference", "KL divergence from the reference policy, summed over a response (k1)",
           PER_RESPONSE, "mean sum(logprobs - ref_logprobs)", "none", "own", "KL",
           "Grows slowly from 0 and levels off below ppo.alert_kl_nats. If it runs away, raise ppo.kl_coef or lower "
           "ppo.lr. Clearly below 0: responses are not sampled as they are scored; check temperature and top-p."),
    Metric("judge_score", "judge score", "mean score by a held-out judge, which nothing is trained on", "",
           "mean judge score", "up", "own",
           healthy="Rises with the reward. If it falls while the reward rises, the policy is over-optimized: use an "
           "earlier checkpoint or raise ppo.kl_coef."),
    Metric("policy_loss", "policy loss", "clipped PPO policy loss", "", "mean max(-A r, -A clip(r))", "none", "own",
           healthy="Stays near 0 and is noisy; it does not measure progress."),
    Metric("value_loss", "value loss", "clipped loss of the value network", "",
           "mean 0.5 max((v-R)^2, (clip(v)-R)^2)", "down", "own",
           healthy="Falls, then follows the variance of the returns. If it keeps rising, lower ppo.value_lr."),
    Metric("entropy", "entropy", "entropy of the policy's next-token distribution", NATS, "mean -sum p log p", "none",
           "own", healthy="Falls slowly. A fall towards 0 means that responses become all alike: raise ppo.kl_coef or "
           "lower ppo.lr."),
    Metric("clip_fraction", "clip fraction", "fraction of tokens whose policy loss is clipped", "",
           "mean(-A clip(r) > -A r)", "none", "own",
           healthy="About 0.02 to 0.2. Above: lower ppo.lr or ppo.epochs. Always 0: updates may be too small."),
    Metric("response_tokens", "response length", "mean response length, including EOS", "tokens", "mean tokens", "none",
           "own", "tokens", "Stays near that of the SFT policy. Steady growth: the reward model prefers length."),
    Metric("tokens_per_s", "throughput", "response tokens per second, sampling and training", "tokens/s",
           "tokens / seconds", "up", "own"),
    Metric("score_std", "reward spread", "standard deviation of the rewards in a rollout", "", "std score",
           healthy="Stays above 0; at 0 all responses are rewarded alike and nothing can be learned."),
    Metric("reward", "reward minus KL", "mean reward of an episode after clipping and all penalties", "",
           "clipped score - missing-EOS penalty - kl_coef KL", "up", healthy="Rises: it is what PPO maximizes."),
    Metric("kl_coef", "KL coefficient", "weight of the KL penalty in this step"),
    Metric("value", "value", "mean value per token", "", "mean v", healthy="Follows the reward."),
    Metric("explained_variance", "explained variance", "fraction of the returns' variance that the values explain", "",
           "1 - var(R-v)/var(R)", "up", healthy="Rises towards 1. Below 0 the value network is worse than a constant."),
    Metric("approx_kl", "update KL", "how far this step moved the policy", NATS, "mean 0.5 (log r)^2",
           healthy="Below about 0.02. Above: lower ppo.lr or ppo.epochs."),
    Metric("ratio", "probability ratio", "mean probability ratio of the new policy to the old", "", "mean r",
           healthy="Stays within a few percent of 1."),
    Metric("ratio_max", "largest probability ratio", "largest probability ratio in the step", "", "max r"),
    Metric("value_clip_fraction", "value clip fraction", "fraction of tokens whose value loss is clipped", "",
           "mean((clip(v)-R)^2 > (v-R)^2)"),
    *_optimizer(""),
    Metric("value_grad_norm", "value gradient norm", "norm of the value network's gradient", "", "||g||"),
    Metric("finished", "finished responses", "fraction of responses that ended with EOS", "", "mean EOS reached",
           "up", healthy="Close to 1. If it falls, raise ppo.missing_eos_penalty or ppo.max_new_tokens."),
]  # fmt: skip
_EVAL = [
    Metric("win_rate", "win rate", "win rate of PPO against SFT on test prompts, by the judge", "",
           "(wins + ties/2) / n", "up", healthy="Above 0.5, and so is its 95% interval."),
    Metric("win_rate_low", "win rate, low end", "lower end of the win rate's 95% Wilson interval", "", "", "up"),
    Metric("win_rate_high", "win rate, high end", "upper end of the win rate's 95% Wilson interval", "", "", "up"),
    Metric("base_win_rate", "win rate, base", "win rate of the base model against SFT", "", "(wins + ties/2) / n"),
    Metric("best_of_n_win_rate", "win rate, best-of-n", "win rate of best-of-n against SFT", "",
           "(wins + ties/2) / n", "up"),
    Metric("kl_nats", "KL to SFT", "KL divergence of PPO from SFT on test prompts (k1)", PER_RESPONSE,
           "mean sum(logprobs - ref_logprobs)"),
    Metric("length_ratio", "length ratio", "mean response length of PPO relative to SFT", "",
           "tokens_ppo / tokens_sft", healthy="Near 1. Far above: part of the win rate may be length."),
    Metric("tokens_difference", "length change, PPO - SFT", "mean difference in response length, by prompt", "tokens"),
    Metric("tokens_difference_low", "length change, low end", "lower end of its 95% interval", "tokens"),
    Metric("tokens_difference_high", "length change, high end", "upper end of its 95% interval", "tokens"),
    Metric("tie_margin", "tie margin", "two responses whose judge scores differ by less are a tie"),
    Metric("rm_accuracy", "reward model accuracy", "accuracy of the reward model on held-out pairs", "",
           "mean r_w > r_l", "up"),
    Metric("rm_ceiling", "accuracy ceiling", "accuracy of a perfect reward model on the held-out pairs", "",
           "mean max(p, 1-p)"),
    Metric("rm_longer_baseline", "length baseline", "held-out accuracy of always preferring the longer response", "",
           "mean len_w > len_l"),
    Metric("rm_correctness_accuracy", "correctness accuracy", "accuracy on pairs that differ in correctness only",
           "", "mean r_right > r_wrong", "up", healthy="Close to 1; near 0.5 the reward model is blind to errors."),
    Metric("rm_calibration_error", "calibration error", "calibration error of the reward model on held-out pairs", "",
           "", "down"),
    Metric("agreement", "labeler agreement",
           "fraction of pairs that two simulated labelers order alike, without ties", ""),
]  # fmt: skip
_POLICIES = {"base": "base", "sft": "SFT", "best_of_n": "best-of-n", "ppo": "PPO"}
_EACH_POLICY = [
    Metric("utility", "judge score", "mean judge score", better="up"),
    Metric("helpful", "helpful", "mean helpfulness, by the judge", better="up"),
    Metric("honest", "honest", "mean honesty, by the judge", better="up"),
    Metric("harmless", "harmless", "mean harmlessness, by the judge", better="up"),
    Metric("courteous", "courteous", "mean courtesy, by the judge", better="up"),
    Metric("concise", "concise", "mean conciseness, by the judge", better="up"),
    Metric("correct", "right answers", "fraction of answerable prompts that were answered correctly", "", "", "up"),
    Metric("distinct_2", "distinct-2", "distinct word pairs divided by all word pairs", ""),
    Metric("tokens", "response length", "mean response length, including EOS", "tokens"),
    Metric("reward", "reward", "mean reward by the reward model"),
]
_EVAL += [
    replace(metric, name=f"{metric.name}_{key}", title=f"{metric.title}, {who}", meaning=f"{metric.meaning} ({who})")
    for metric in _EACH_POLICY
    for key, who in _POLICIES.items()
]
_EVAL += [
    Metric("utility", "judge score", "mean judge score of the policy evaluated in this step", better="up"),
    Metric("step_s", "step time", "wall time of this step", "s", "", "down"),
]


def _registry() -> dict[str, Metric]:
    stages = {"pretrain": _PRETRAIN, "sft": _SFT, "comparisons": _COMPARISONS, "rm": _RM, "ppo": _PPO, "eval": _EVAL}
    memory = Metric("peak_rss_mb", "memory", "peak memory of the process that finished this stage", "MB", "", "down")
    found: dict[str, Metric] = {}
    for stage, metrics in stages.items():
        for metric in (*metrics, memory):
            name = f"{stage}/{metric.name}"
            assert name not in found, f"{name} is registered twice"
            found[name] = replace(metric, name=name)
    return found


REGISTRY: dict[str, Metric] = _registry()
