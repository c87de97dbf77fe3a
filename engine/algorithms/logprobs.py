"""From logits and hidden states to the log-probability that a model gave to each token, in nats.

The only place where the shift by one happens: the output at position t - 1 predicts token t. Applying the head, and
choosing the positions that need it, is up to the stages.
"""

import torch
from torch import Tensor


def response_positions(total_width: int, response_width: int) -> slice:
    """The R positions, of T, whose outputs predict the last R tokens: T - R - 1 up to T - 2.

    Prompts are left-padded, so every response starts at the same column P = T - R. With R = T - 1 these are all
    positions that have a next token, which is what language modeling needs.
    """
    assert 0 < response_width < total_width, f"response width {response_width} of {total_width} positions"
    # A causal model at position t has read tokens 0..t and predicts token t + 1. So the first response token, at
    # column P, is predicted at P - 1, the last token of the prompt; the output at the last token predicts what would
    # come after it, which nothing is compared with.
    return slice(total_width - response_width - 1, total_width - 1)


def response_hidden(hidden: Tensor, response_width: int) -> Tensor:
    """(B,R,C) hidden states that predict the response, out of (B,T,C): a view, through which gradient flows.

    Row r is the state before response token r, so heads give its log-probability and the value before it.
    """
    return hidden[:, response_positions(hidden.shape[1], response_width)]


def token_logprobs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """(...) log-probability in nats of each of `tokens` (...) int64, given its `logits` (...,V); at most 0.

    `temperature` above 0 divides the logits and is the one that the tokens were sampled at. At least float32 whatever
    the logits are. Gradient flows to the logits. Padding gets whatever its logits give: every consumer takes a mask.

    Source: "The N implementation details of RLHF with PPO" (logits divided by the sampling temperature).
    """
    # The policy pi that PPO improves is the distribution that it samples from, so its temperature belongs here too:
    # without it, the ratio of new to old probability would compare two distributions that were never sampled.
    return _log_softmax(logits, temperature).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """(...) entropy in nats, 0 to ln V, of the whole distribution that `logits` (...,V) give at `temperature`.

    Computed over the vocabulary, not estimated from the sampled tokens. A logit of minus infinity is a token that
    cannot occur and adds 0. Gradient flows to the logits.
    """
    logprobs = _log_softmax(logits, temperature)
    probabilities = logprobs.exp()
    # p ln p goes to 0 with p, but 0 * -infinity is NaN
    return -(probabilities * logprobs.masked_fill(probabilities == 0, 0)).sum(dim=-1)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """(...,V) log-probabilities, in float32 or wider."""
    assert temperature > 0, f"temperature {temperature} is not above 0"
    # bfloat16 has 8 bits of precision: near -10 nats its steps are 0.06, larger than a typical change of a policy
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scaled = wide if temperature == 1 else wide / temperature  # saves a copy of (...,V) if it changes nothing
    return torch.log_softmax(scaled, dim=-1)
