"""Supervised fine-tuning: imitate demonstrations, with loss on the response through EOS.

The checkpoint with the lowest validation loss becomes final. Source: Ouyang et al. 2022, appendix C.1, which chooses by
reward-model score instead; here no reward model exists yet.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.core.config import SftConfig
from engine.core.events import EvalCompleted, Event, StageStarted, StepCompleted
from engine.model.batching import EpochBatches, Example, collate
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.train.likelihood import mean_loss, token_losses
from engine.train.optimizer import apply_gradients, check_finite, optimisers, schedule
from engine.train.saver import Saver


def train_sft(
    policy: LanguageModel,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    validation: Sequence[Example],
    config: SftConfig,
    *,
    left_out: Mapping[str, int],
    seed: int,
    steps: int,
    saver: Saver,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Fine-tune `policy` in place; yields the stage's events. `left_out` counts the rows that are not used, by reason.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    c, device = config, policy.model.embed_tokens.weight.device
    optimizers = optimisers(policy, c)
    saver.model, saver.tokenizer, saver.optimizers, saver.steps = policy, tokenizer, optimizers, steps
    start = saver.resume()
    batches = EpochBatches([len(example.ids) for example in examples], seed, "sft/data", rows=c.batch)
    about = {"demonstrations": len(examples), "validation": len(validation), **left_out}
    yield StageStarted("sft", steps, about)
    for step in range(start + 1, steps + 1):
        began = time.perf_counter()
        batch = collate([examples[i] for i in batches[step - 1]], tokenizer.pad_id, device)
        loss = token_losses(policy, batch).mean()
        check_finite(loss, "the SFT loss", step)
        loss.backward()
        share = schedule(step, steps, c.warmup_steps, c.min_lr_ratio)
        norm = apply_gradients(optimizers, policy.parameters(), share, c.max_grad_norm, step)
        seconds = time.perf_counter() - began
        metrics = {"sft/loss": loss.item(), "sft/lr": c.lr * share, "sft/grad_norm": norm, "sft/step_s": seconds}
        yield StepCompleted("sft", step, metrics)
        if step % c.eval_every == 0 or step == steps:
            held_out = mean_loss(policy, validation, tokenizer.pad_id)
            yield EvalCompleted("sft", step, {"sft/validation_loss": held_out})
            saver.offer(step, held_out, {"sft/validation_loss": held_out})
        stop = should_stop()
        if step < steps and (stop or saver.due(step)):
            yield from saver.save(step)
            if stop:
                return
    yield from saver.finish_best()
