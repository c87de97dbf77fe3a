"""From logits and hidden states to what a token had for a log-probability, in nats.

The only place where the shift by one happens: the output at position t - 1 speaks of token t. Applying the head, and
choosing which positions deserve it, is left to the stages.
"""

import torch
from torch import Tensor


def response_positions(total_width: int, response_width: int) -> slice:
    """The R positions, of T, whose outputs predict the last R tokens: T - R - 1 up to T - 2.

    Prompts are left-padded, so that every response starts at the same column P = T - R. With R = T - 1 these are all
    positions that have a next token, which is what language modelling needs.
    """
    assert 0 < response_width < total_width, f"response width {response_width} of {total_width} positions"
    return slice(total_width - response_width - 1, total_width - 1)


def response_hidden(hidden: Tensor, response_width: int) -> Tensor:
    """(B,R,C) hidden states that predict the response, out of (B,T,C): a view, through which gradient flows.

    Row r is the state before response token r, so heads give its log-probability and the value before it.
    """
    return hidden[:, response_positions(hidden.shape[1], response_width)]


def token_logprobs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """(...) log-probability in nats of each of `tokens` (...) int64, given its `logits` (...,V); at most 0.

    `temperature` above 0 divides the logits and is the one that the tokens were sampled at. At least float32 whatever
    the logits are. Gradient flows to the logits. Padding holds whatever its logits say: every consumer takes a mask.

    Source: "The N implementation details of RLHF with PPO" (logits divided by the sampling temperature).
    """
    return _log_softmax(logits, temperature).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """(...) entropy in nats, 0 to ln V, of the whole distribution that `logits` (...,V) give at `temperature`.

    Never estimated from the sampled tokens. A logit of minus infinity is a token that cannot come and adds 0. Gradient
    flows to the logits.
    """
    logprobs = _log_softmax(logits, temperature)
    probabilities = logprobs.exp()
    return -(probabilities * logprobs.masked_fill(probabilities == 0, 0)).sum(dim=-1)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """(...,V) log-probabilities, in float32 or wider."""
    assert temperature > 0, f"temperature {temperature} is not above 0"
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scaled = wide if temperature == 1 else wide / temperature  # a pass over (...,V) saved where it changes nothing
    return torch.log_softmax(scaled, dim=-1)
