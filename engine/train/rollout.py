"""One rollout: a batch of episodes with everything that is computed before the update, and how it is collected.

Everything after generation is response-aligned (B,R) under one mask. Old log-probabilities come from the function that
training uses, never from the sampler, so that the first minibatch has ratio 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.algorithms.logprobs import entropy, response_hidden, token_logprobs
from engine.data.records import Prompt
from engine.model.heads import ScalarModel
from engine.model.sampling import Sampling, generate, generator, left_pad
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.train.likelihood import LOGITS_AT_ONCE
from engine.train.scoring import Scorer

NO_GRADIENT_ROWS = 64  # rows a forward without gradient: large enough to fill the machine, small enough for its cache


@dataclass(frozen=True)
class Episodes:
    """Prompts with their responses, as ids. Prompts end in column P - 1, responses begin in column P.

    prompts (B,P) int64 and prompt_mask (B,P); responses (B,R) int64 and response_mask (B,R), True through EOS.
    """

    prompts: Tensor
    prompt_mask: Tensor
    responses: Tensor
    response_mask: Tensor

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, index: Tensor) -> "Episodes":
        """The episodes at `index` (int64), cut to the columns that they use."""
        width = int(self.response_mask[index].sum(1).max())
        first = self.prompts.size(1) - int(self.prompt_mask[index].sum(1).max())
        return Episodes(
            self.prompts[index, first:],
            self.prompt_mask[index, first:],
            self.responses[index, :width],
            self.response_mask[index, :width],
        )

    def joined(self) -> tuple[Tensor, Tensor]:
        """Tokens (B,T) and their mask (B,T), T = P + R."""
        tokens = torch.cat((self.prompts, self.responses), dim=1)
        return tokens, torch.cat((self.prompt_mask, self.response_mask), dim=1)


@dataclass(frozen=True)
class Actors:
    """Who takes part in PPO: the two networks that learn, and what they are compared with.

    `reference` is the frozen policy of the KL penalty. `scorer` scores whole responses. `judge` only watches, for an
    alert where its scores fall while the scorer's rise. `tokenizer` is that of policy and reference.
    """

    policy: LanguageModel
    reference: LanguageModel
    value: ScalarModel
    scorer: Scorer
    tokenizer: Tokenizer
    judge: Scorer | None = None


@dataclass(frozen=True)
class Rollout:
    """Episodes with what PPO needs of them. All (B,R) in nats or score units, except scores and finished (B,).

    `judge_scores` has one score per response, None without a judge.
    """

    episodes: Episodes
    texts: list[str]
    logprobs: Tensor
    entropy: Tensor
    ref_logprobs: Tensor
    values: Tensor
    scores: Tensor
    finished: Tensor
    judge_scores: list[float] | None = None

    @property
    def mask(self) -> Tensor:
        """response_mask (B,R), True through EOS."""
        return self.episodes.response_mask


def draw_episodes(
    policy: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    stream: str,
    step: int = 0,
) -> Episodes:
    """One sampled response per prompt; the draws depend only on (seed, stream, step) and the row's position."""
    device = policy.model.embed_tokens.weight.device
    # Left padding aligns the ends of all prompts, so that every response begins in the same column. PAD is not EOS: the
    # mask must tell a response that ended from the padding behind it, and the policy learns when to end.
    ids, mask = left_pad(tokenizer.encode_prompts(prompts), tokenizer.pad_id)  # both (B,P)
    # One uniform number per token, drawn before sampling: a row's response does not depend on when other rows end.
    uniforms = torch.rand(len(prompts), sampling.max_new_tokens, generator=generator(seed, stream, step))
    ids, mask = ids.to(device), mask.to(device)
    responses, response_mask = generate(policy, ids, mask, tokenizer.eos_id, sampling, uniforms.to(device))
    return Episodes(ids, mask, responses, response_mask)


def response_texts(episodes: Episodes, tokenizer: Tokenizer) -> list[str]:
    """The text of each response as it continues its prompt, without EOS and other special tokens."""
    # Cut by the mask, not at the first PAD: padding has an id that may also be a real token.
    pairs = zip(episodes.responses.tolist(), episodes.response_mask.sum(1).tolist(), strict=True)
    return tokenizer.decode_responses([row[:length] for row, length in pairs])


def ended(episodes: Episodes, eos: int) -> Tensor:
    """(B,) bool, True where the response ends with EOS."""
    last = episodes.response_mask.sum(1, keepdim=True) - 1  # (B,1), the column of the last real token
    return episodes.responses.gather(1, last).squeeze(1) == eos


def response_logprobs(policy: LanguageModel, episodes: Episodes, temperature: float) -> Tensor:
    """Log-probabilities (B,R) in nats of the responses; 0 in the padding. Gradient flows.

    The unembedding is applied to real response positions only: no (B,T,V) tensor is made.
    """
    return _of_response_tokens(policy, episodes, lambda logits, tokens: token_logprobs(logits, tokens, temperature))


def logprobs_and_entropy(policy: LanguageModel, episodes: Episodes, temperature: float) -> Tensor:
    """`response_logprobs` and the entropy at each position, (B,R,2) in nats; 0 in the padding."""

    def both(logits: Tensor, tokens: Tensor) -> Tensor:
        return torch.stack((token_logprobs(logits, tokens, temperature), entropy(logits, temperature)), dim=-1)

    return _of_response_tokens(policy, episodes, both)


def _of_response_tokens(
    policy: LanguageModel, episodes: Episodes, compute: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """`compute` of the (N,V) logits that predict the N real response tokens and of these tokens, (N) or (N,n), laid out
    as (B,R) or (B,R,n), 0 in the padding; LOGITS_AT_ONCE logits at a time, so that a large vocabulary fits in memory.
    """
    mask = episodes.response_mask
    # Of the (B,T,C) states keep the R that predict response tokens, from the prompt's last to the one before the last
    # token, and of these the N that predict real tokens.
    hidden = response_hidden(policy(*episodes.joined()), mask.size(1))[mask]  # (N,C)
    tokens, size = episodes.responses[mask], max(1, LOGITS_AT_ONCE // policy.architecture.vocab_size)
    pieces = zip(hidden.split(size), tokens.split(size), strict=True)
    numbers = torch.cat([compute(policy.logits(states), own) for states, own in pieces])
    laid = numbers.new_zeros((*mask.shape, *numbers.shape[1:]))
    return laid.masked_scatter(mask.view(*mask.shape, *[1] * (numbers.dim() - 1)), numbers)


def response_values(model: ScalarModel, episodes: Episodes) -> Tensor:
    """Values (B,R), each the value before its token; undefined in the padding. Gradient flows."""
    tokens, mask = episodes.joined()
    # V(s_t) is read from the state before token t, like its log-probability: the value of what was written so far. GAE
    # compares it with the value one token later.
    return response_hidden(model(tokens, mask).unsqueeze(-1), episodes.response_mask.size(1)).squeeze(-1)


@torch.no_grad()
def without_gradient(compute: Callable[[Episodes], Tensor], episodes: Episodes) -> Tensor:
    """`compute`, (B,R) or (B,R,n), for all episodes in blocks of like length, back in order; 0 in the padding."""
    result: Tensor | None = None
    order = (episodes.response_mask.sum(1) + episodes.prompt_mask.sum(1)).argsort(stable=True)
    for index in order.split(NO_GRADIENT_ROWS):
        block = episodes.rows(index)  # rows of like length, so most padding is cut off
        numbers = compute(block)
        if result is None:
            result = numbers.new_zeros((*episodes.response_mask.shape, *numbers.shape[2:]))
        numbers[~block.response_mask] = 0
        result[index, : numbers.size(1)] = numbers
    assert result is not None, "a rollout without episodes"
    return result


def measure(actors: Actors, prompts: Sequence[Prompt], episodes: Episodes, temperature: float) -> Rollout:
    """The rollout of `episodes`: log-probabilities of policy and reference, values, the scorer's and judge's scores."""
    texts = response_texts(episodes, actors.tokenizer)
    # A scorer reads text, not ids: a reward model may have another tokenizer, and `slmctl score` gives the same number.
    scores = torch.tensor(actors.scorer.score(prompts, texts), dtype=torch.float32, device=episodes.prompts.device)
    # The sampler's log-probabilities would differ by rounding (a cache, another batch layout), and PPO's ratio would
    # not start at 1. So the old ones come from a pass of the function that the update differentiates.
    own = without_gradient(lambda block: logprobs_and_entropy(actors.policy, block, temperature), episodes)  # (B,R,2)
    return Rollout(
        episodes=episodes,
        texts=texts,
        logprobs=own[..., 0],
        entropy=own[..., 1],
        ref_logprobs=without_gradient(lambda block: response_logprobs(actors.reference, block, temperature), episodes),
        values=without_gradient(lambda block: response_values(actors.value, block), episodes),
        scores=scores,
        finished=ended(episodes, actors.tokenizer.eos_id),
        judge_scores=None if actors.judge is None else actors.judge.score(prompts, texts),
    )
