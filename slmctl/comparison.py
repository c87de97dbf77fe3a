"""Two policies on the same test prompts, for `slmctl eval`: the judge's verdicts, KL and lengths as one object."""

from statistics import fmean
from typing import Any

from engine.errors import ConfigError
from engine.evaluate import Answers, answer, component_means, distinct_2, win_rate
from engine.intervals import mean_interval
from engine.pocket.judge import judge
from engine.pocket.requests import draw, requests
from engine.sampling import Sampling
from engine.scoring import Scorer
from slmctl.models import BATCH, Policy


def compare(
    a: Policy, b: Policy, n: int, sampling: Sampling, seed: int, tie_margin: float, scorer: Scorer | None = None
) -> dict[str, Any]:
    """How B does against A on `n` test prompts of the pocket world, one response each.

    KL of B from A is there where both have one tokenizer, `reward_a` and `reward_b` where a `scorer` is given.
    Raises: ConfigError for more prompts than there are.
    """
    if n > (most := len(requests("test"))):
        raise ConfigError(f"-n is {n}; the test split has {most} prompts")
    prompts = [request.text for request in draw("test", n, seed, "eval/prompts")]
    shared = a.tokenizer.same_ids(b.tokenizer)
    first = answer(a.model, a.tokenizer, prompts, sampling, seed=seed, stream="eval/a", batch=BATCH)
    second = answer(
        b.model,
        b.tokenizer,
        prompts,
        sampling,
        seed=seed,
        stream="eval/b",
        batch=BATCH,
        reference=a.model if shared else None,
    )
    judged = [
        [judge(prompt, text) for prompt, text in zip(prompts, side.texts, strict=True)] for side in (first, second)
    ]
    utilities = [[one.utility for one in side] for side in judged]
    kl, low, high = mean_interval(second.kl_nats) if shared else (None, None, None)
    rewards = [] if scorer is None else [scorer.score(prompts, side.texts) for side in (first, second)]
    return {
        **win_rate(utilities[1], utilities[0], tie_margin).as_row(),
        "kl_nats": kl,
        "kl_nats_low": low,
        "kl_nats_high": high,
        "length_ratio": second.length_mean / first.length_mean,
        **_numbers("a", first),
        **_numbers("b", second),
        **component_means("a", judged[0]),
        **component_means("b", judged[1]),
        **{f"reward_{name}": fmean(scores) for name, scores in zip("ab", rewards, strict=False)},
    }


def _numbers(name: str, answers: Answers) -> dict[str, float]:
    return {
        f"tokens_{name}": answers.length_mean,
        f"finished_{name}": sum(answers.finished) / len(answers.finished),
        f"distinct_2_{name}": distinct_2(answers.texts),
    }
