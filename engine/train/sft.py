"""Supervised fine-tuning: imitate demonstrations, with loss on the response through EOS.

The checkpoint with the lowest validation loss becomes final. Source: Ouyang et al. 2022, appendix C.1, which chooses by
reward-model score instead; here no reward model exists yet.
"""

import time
from collections.abc import Iterator

from engine.core.config import SftConfig
from engine.core.events import EvalCompleted, Event, StageStarted, StepCompleted
from engine.data.records import TrainingRows
from engine.model.batching import EpochBatches, Example, collate
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.train.likelihood import mean_loss, token_losses
from engine.train.optimizer import descend, optimizers_for
from engine.train.saver import StageLoop, Trained


def train_sft(
    policy: LanguageModel, tokenizer: Tokenizer, data: TrainingRows[Example], config: SftConfig, loop: StageLoop
) -> Iterator[Event]:
    """Fine-tunes `policy` in place; yields the stage's events.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    device, optimizers = policy.model.embed_tokens.weight.device, optimizers_for(policy, config)
    remaining = loop.resume(Trained(policy, tokenizer, optimizers), {})
    batches = EpochBatches([len(example.ids) for example in data.train], loop.seed, "sft/data", rows=config.batch)
    about = {"demonstrations": len(data.train), "validation": len(data.validation), **data.left_out}
    yield StageStarted("sft", loop.steps, about)
    for step in remaining:
        began = time.perf_counter()
        batch = collate([data.train[i] for i in batches[step - 1]], tokenizer.pad_id, device)
        # -mean log p(y_t | x, y_<t) over response tokens and EOS. The loss mask leaves prompts out: the policy is to
        # answer questions, not to learn to ask them. Every token weighs the same, so long responses count for more.
        loss = token_losses(policy, batch).mean()  # (N,) to a scalar: nats per token
        taken = descend(loss, "the SFT loss", policy, optimizers, config, step, loop.steps)
        own = taken | {"step_s": time.perf_counter() - began}
        yield StepCompleted("sft", step, {f"sft/{name}": value for name, value in own.items()})
        if step % config.eval_every == 0 or step == loop.steps:
            # Ouyang et al. 2022 saw this loss rise after one epoch while the reward model's score still rose. Here no
            # reward model exists yet, so this loss decides.
            metrics = {"sft/validation_loss": mean_loss(policy, data.validation, tokenizer.pad_id)}
            yield EvalCompleted("sft", step, metrics)
            loop.saver.offer(step, metrics["sft/validation_loss"], metrics)  # later epochs overfit: keep the best
        if (yield from loop.end_step(step)):
            return
    yield from loop.saver.finish_best()
