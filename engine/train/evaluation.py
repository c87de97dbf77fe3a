"""The evaluation stage: base, SFT, best-of-n and PPO on the same test prompts, judged; the reward model beside its
ceiling.

Writes eval.jsonl and gives the numbers of result.json. The judge is read here, in the labelers, and by PPO's alarm
alone: no stage trains on it, selects by it or stops on it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from engine.core.config import EvalConfig
from engine.core.events import EvalCompleted, Event, SamplesDrawn, StageFinished, StageStarted, StepCompleted
from engine.core.intervals import mean_interval
from engine.core.untrusted_files import read_json
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.pocket.judge import JudgeScores, judge
from engine.pocket.pairs import correctness_pairs
from engine.pocket.prompts import PocketRequest, draw_requests
from engine.rundir.directory import write_text
from engine.train.comparisons import HELD_OUT_FILE, read_drawn
from engine.train.rm import calibration_error, longer_baseline, scored_pairs, share_right
from engine.train.scoring import RewardModelScorer, Scorer
from engine.train.win_rate import (
    Answers,
    answer,
    best_of,
    component_means,
    distinct_2,
    group_means,
    pair_accuracy,
    ranking_ceiling,
    verdict,
    win_rate,
)

CORRECTNESS_PAIRS = 500
EXAMPLES_SHOWN = 3
Policy = tuple[LanguageModel, Tokenizer]


@dataclass(frozen=True)
class Contestants:
    """What is evaluated: the model that SFT began with, the one that PPO began with, PPO's, and what scored PPO.

    `gain` is the logits that a score of 1 stands for, where the scorer is a reward model that knows it.
    """

    base: Policy
    sft: Policy
    ppo: Policy
    scorer: Scorer
    gain: float | None = None


@dataclass(frozen=True)
class Player:
    """One policy's answers with what the judge and the reward model think of each."""

    answers: Answers
    judged: list[JudgeScores]
    scores: list[float]

    def row(self, i: int) -> dict[str, Any]:
        """Its part of row `i` of eval.jsonl."""
        return {
            "response": self.answers.texts[i],
            "tokens": self.answers.tokens[i],
            "finished": self.answers.finished[i],
            "score": self.scores[i],
            **asdict(self.judged[i]),
        }


def evaluate_run(
    contestants: Contestants,
    config: EvalConfig,
    comparisons: Path | None,
    sampled: Sequence[SamplesDrawn],
    *,
    seed: int,
    eval_file: Path,
    publish: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Judge everything; yields the stage's events, one step a contestant and one for the reward model.

    `comparisons` is the directory of the world's held-out rankings, None where there is none; `sampled` is what PPO
    showed while it trained. `publish` is given the numbers at the end. Nothing is saved in between: an interrupted
    evaluation begins again.
    """
    c = contestants
    requests = draw_requests("test", config.prompts, seed, "eval/prompts")
    players: dict[str, Player] = {}
    names = ("base", "sft", f"best_of_{config.best_of}", "ppo")
    yield StageStarted("eval", len(names) + 1, {"prompts": len(requests)})
    for step, name in enumerate(names, start=1):
        began = time.perf_counter()
        players[name] = play(name, c, requests, config, players, seed)
        utility = fmean(one.utility for one in players[name].judged)
        yield StepCompleted("eval", step, {"eval/utility": utility, "eval/step_s": time.perf_counter() - began})
        if should_stop():
            return
    result = {"parameters": parameter_count(c.ppo[0])} | compared(requests, players, config)
    result |= reward_model_numbers(c, comparisons, seed) | {"curve": curve(sampled)}
    rows = [json.dumps(row, ensure_ascii=False) for row in eval_rows(requests, players, config.tie_margin)]
    write_text(eval_file, "".join(f"{row}\n" for row in rows))
    metrics = {f"eval/{name}": value for name, value in result.items() if isinstance(value, float)}
    yield StepCompleted("eval", len(names) + 1, {"eval/utility": result["utility_ppo"]})
    yield EvalCompleted("eval", len(names) + 1, metrics)
    yield StageFinished("eval", len(names) + 1, metrics)
    publish(result)


def play(
    name: str,
    contestants: Contestants,
    requests: Sequence[PocketRequest],
    config: EvalConfig,
    players: Mapping[str, Player],
    seed: int,
) -> Player:
    """The answers of one contestant, judged. Best-of-n takes n further samples of the SFT policy."""
    c, prompts = contestants, [request.text for request in requests]
    sampling = Sampling(config.temperature, max_new_tokens=config.max_new_tokens)

    def drawn(policy: Policy, stream: str, reference: LanguageModel | None = None) -> Answers:
        return answer(*policy, prompts, sampling, seed=seed, stream=stream, batch=config.batch, reference=reference)

    if name.startswith("best_of"):
        several = [drawn(c.sft, f"eval/best_of/{k}") for k in range(config.best_of)]
        answers = picked(several, best_of(c.scorer, prompts, several))
    else:
        policy = {"base": c.base, "sft": c.sft, "ppo": c.ppo}[name]
        comparable = name == "ppo" and policy[1].same_ids(c.sft[1])  # KL is between the same tokens
        answers = drawn(policy, f"eval/{name}", c.sft[0] if comparable else None)
    judged = [judge(prompt, text) for prompt, text in zip(prompts, answers.texts, strict=True)]
    return Player(answers, judged, c.scorer.score(prompts, answers.texts))


def picked(several: Sequence[Answers], choice: Sequence[int]) -> Answers:
    """For each prompt, the answer of the drawing that `choice` names."""
    return Answers(
        [several[k].texts[i] for i, k in enumerate(choice)],
        [several[k].tokens[i] for i, k in enumerate(choice)],
        [several[k].finished[i] for i, k in enumerate(choice)],
        [],
    )


def compared(requests: Sequence[PocketRequest], players: Mapping[str, Player], config: EvalConfig) -> dict[str, Any]:
    """The numbers of result.json that come from the judged answers."""
    sft, ppo = players["sft"], players["ppo"]
    utilities = {name: [one.utility for one in player.judged] for name, player in players.items()}
    groups = [request.group for request in requests]
    result: dict[str, Any] = win_rate(utilities["ppo"], utilities["sft"], config.tie_margin).as_row()
    result |= {
        f"{name}_win_rate": win_rate(utilities[name], utilities["sft"], config.tie_margin).rate
        for name in players
        if name not in ("sft", "ppo")
    }
    kl = ppo.answers.kl_nats
    result |= {"kl_nats": fmean(kl) if kl else None, "tie_margin": config.tie_margin}
    result["length_ratio"] = ppo.answers.length_mean / sft.answers.length_mean
    longer = [own - other for own, other in zip(ppo.answers.tokens, sft.answers.tokens, strict=True)]
    ends = ("", "_low", "_high")
    result |= {f"tokens_difference{end}": n for end, n in zip(ends, mean_interval(longer), strict=True)}
    for name, player in players.items():
        result |= component_means(name, player.judged)
        result[f"distinct_2_{name}"] = distinct_2(player.answers.texts)
        result[f"tokens_{name}"] = player.answers.length_mean
        result[f"reward_{name}"] = fmean(player.scores)
    result["groups"] = {name: group_means(groups, players[name].judged) for name in ("sft", "ppo")}
    result["examples"] = [
        {"prompt": requests[i].text, "sft": sft.answers.texts[i], "ppo": ppo.answers.texts[i]}
        for i in first_of_each(groups)[:EXAMPLES_SHOWN]
    ]
    return result


def first_of_each(groups: Sequence[str]) -> list[int]:
    """The place where each group comes first, in order."""
    return sorted({group: i for i, group in reversed(list(enumerate(groups)))}.values())


def reward_model_numbers(contestants: Contestants, comparisons: Path | None, seed: int) -> dict[str, Any]:
    """Held-out accuracy beside its ceiling and the longer-wins baseline, calibration, accuracy on correctness alone.

    None for all of it where the scorer is no reward model, and for what needs held-out rankings where there are none.
    """
    reward, gain = contestants.scorer, contestants.gain
    names = ("correctness_accuracy", "accuracy", "ceiling", "longer_baseline", "calibration_error")
    numbers: dict[str, Any] = dict.fromkeys((*(f"rm_{name}" for name in names), "agreement"))
    if not isinstance(reward, RewardModelScorer):
        return numbers
    right = pair_accuracy(reward, correctness_pairs(CORRECTNESS_PAIRS, "test", seed))
    numbers["rm_correctness_accuracy"] = right
    if comparisons is None:
        return numbers
    about = read_json(comparisons / "slmctl.json")["metrics"]
    rankings, utilities = read_drawn(comparisons / HELD_OUT_FILE)
    pairs = scored_pairs(reward.model, reward.tokenizer, rankings)
    return numbers | {
        "rm_accuracy": share_right(pairs),
        "rm_ceiling": ranking_ceiling(utilities, rankings, about["comparisons/scale"], about["comparisons/tie_margin"]),
        "rm_longer_baseline": longer_baseline(rankings),
        "rm_calibration_error": None if gain is None else calibration_error([gain * (a - b) for a, b in pairs]),
        "agreement": about["comparisons/agreement"],
    }


def curve(sampled: Sequence[SamplesDrawn]) -> list[dict[str, float]]:
    """What PPO's samples were worth, step by step: KL in nats, score, and the judge's utility, which shows whether a
    higher score still is a better answer. Source: Gao et al. 2022 (gold against proxy reward).
    """
    return [
        {
            "step": drawn.step,
            "kl_nats": fmean(row["kl_nats"] for row in drawn.samples),
            "reward": fmean(row["score"] for row in drawn.samples),
            "utility": fmean(judge(row["prompt"], row["response"]).utility for row in drawn.samples),
        }
        for drawn in sampled
        if drawn.stage == "ppo"
    ]


def eval_rows(
    requests: Sequence[PocketRequest], players: Mapping[str, Player], tie_margin: float
) -> Iterator[dict[str, Any]]:
    """The rows of eval.jsonl: the prompt, every contestant's judged answer, and PPO's verdict against SFT."""
    for i, request in enumerate(requests):
        own = {name: player.row(i) for name, player in players.items()}
        result = verdict(own["ppo"]["utility"], own["sft"]["utility"], tie_margin)
        about = {"prompt": request.text, "kind": request.kind, "group": request.group}
        kl = players["ppo"].answers.kl_nats
        yield {**about, **own, "kl_nats": kl[i] if kl else None, "verdict": result}
