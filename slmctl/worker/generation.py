"""One SampleRequest in progress: checked before the first token, then responses that grow, then their measurements.

KL and the numbers of tokens are those of training: one forward pass over each whole response, at the sampling
temperature.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from engine.algorithms.kl import k1
from engine.core.errors import ConfigError
from engine.model.heads import ScalarModel
from engine.model.sampling import Sampling, generator, left_pad
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.run.inference import Policy
from engine.train.rollout import Episodes, response_logprobs, response_values, without_gradient
from engine.train.scoring import Scorer
from slmctl.worker.model_cache import ModelCache
from slmctl.worker.protocol import LensToken, SampledResponse, SampleRequest
from slmctl.worker.sampling_settings import checked_sampling

M = TypeVar("M", LanguageModel, ScalarModel)
UNSETTLED = "\ufffd"  # the decoding of an incomplete character
FALLBACK = re.compile("<0x[0-9A-F]{2}>")  # the name of a byte in SentencePiece-like vocabularies


class IncrementalText:
    """The text of one growing row of ids, in chunks that never change again and together are the whole text.

    A token may contain part of a character, and a decoder may turn bytes that it has read already into something else.
    Such an end is held back until a later token, or the end of the row, settles it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = tokenizer.encoder.get_added_tokens_decoder()
        self._ids: list[int] = []
        self._settled = 0  # number of ids before the bytes at the end of the row
        self._text = ""

    def add(self, token: int) -> str:
        """The text gained by one more token; often ""."""
        self._ids.append(token)
        if not self._leaves_open(token):
            self._settled = len(self._ids)
        return self._gained(self._decoded(self._ids[: self._settled]).rstrip(UNSETTLED))

    def finish(self) -> str:
        """The text that was held back, once the row has ended."""
        return self._gained(self._decoded(self._ids))

    def _decoded(self, ids: list[int]) -> str:
        return self._tokenizer.decode_responses([ids])[0]

    def _leaves_open(self, token: int) -> bool:
        """Whether the text before this token can still change: it is a byte, or a token without text."""
        name = self._tokenizer.encoder.id_to_token(token)
        return name is None or token in self._special or FALLBACK.fullmatch(name) is not None

    def _gained(self, text: str) -> str:
        if not text.startswith(self._text):
            return ""
        gained = text[len(self._text) :]
        self._text = text
        return gained


def token_texts(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text that each of `ids`, a whole row, adds; together they are the text of the row."""
    row = IncrementalText(tokenizer)
    texts = [row.add(token) for token in ids]
    if texts:
        texts[-1] += row.finish()
    return texts


@dataclass
class GrowingResponse:
    """One response: the `prompt` ids that it continues, and its own `ids` so far, at most `limit`."""

    prompt: list[int]
    limit: int
    text: IncrementalText | None  # if it is streamed
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    seconds: float = 0.0

    def add(self, token: int, eos: int, seconds: float) -> str:
        """Adds a token; returns the text to stream."""
        self.ids.append(token)
        self.seconds = seconds
        text = "" if self.text is None else self.text.add(token)
        return text + self.end() if token == eos or len(self.ids) >= self.limit else text

    def end(self) -> str:
        """Ends the response; returns the text still to stream."""
        text = "" if self.ended or self.text is None else self.text.finish()
        self.ended = True
        return text


@dataclass(frozen=True)
class Generation:
    """The responses of one request, with the models that measure them, None if not requested."""

    request: SampleRequest
    policy: Policy
    sampling: Sampling
    responses: list[GrowingResponse]
    scorer: Scorer | None
    ref: LanguageModel | None
    value: ScalarModel | None

    @property
    def ended(self) -> bool:
        """Whether every response has ended."""
        return all(response.ended for response in self.responses)

    def uniforms(self) -> Tensor:
        """The random numbers (B, max_new_tokens) to sample from, the same as in `slmctl sample`."""
        stream = generator(self.request.seed, "sample", self.request.step)
        return torch.rand(len(self.responses), self.sampling.max_new_tokens, generator=stream)

    def measured(self) -> list[SampledResponse]:
        """The responses with the measurements that were requested."""
        tokenizer = self.policy.tokenizer
        texts = tokenizer.decode_responses([response.ids for response in self.responses])
        results = [
            SampledResponse(text, len(response.ids), response.ids[-1:] == [tokenizer.eos_id], response.seconds)
            for text, response in zip(texts, self.responses, strict=True)
        ]
        if self.scorer is not None and texts:
            scores = self.scorer.score(self.request.prompts, texts)
            results = [replace(result, score=score) for result, score in zip(results, scores, strict=True)]
        nonempty = [i for i, response in enumerate(self.responses) if response.ids]
        if nonempty and (self.ref is not None or self.request.lens):
            numbers = _kl_and_lenses(self, [self.responses[i] for i in nonempty])
            for i, (kl, lens) in zip(nonempty, numbers, strict=True):
                results[i] = replace(results[i], kl_nats=kl, lens=lens)
        return results


def start_generation(request: SampleRequest, models: ModelCache) -> Generation:
    """The generation of a request, before its first token.

    Raises: ConfigError for a setting out of range, a prompt without room for a response, a name that is not loaded, or
    a model that cannot measure these responses; CheckpointError.
    """
    policy = models.policy(request.model)
    sampling = Sampling(**checked_sampling(request.sampling))
    context = policy.model.architecture.context
    responses = [
        GrowingResponse(
            ids,
            min(sampling.max_new_tokens, context - len(ids)),
            IncrementalText(policy.tokenizer) if request.stream else None,
        )
        for ids in policy.encode(request.prompts)
    ]
    longest = max((len(response.prompt) + response.limit for response in responses), default=0)
    return Generation(
        request,
        policy,
        sampling,
        responses,
        scorer=models.scorer(request.scorer) if request.scorer else None,
        ref=_with_room(models.reference(request.ref, policy), request.ref, longest) if request.ref else None,
        value=_with_room(models.value(request.value, policy), request.value, longest) if request.value else None,
    )


def _with_room(model: M, name: str, longest: int) -> M:
    context = model.architecture.context
    if longest > context:
        raise ConfigError(f"{name} reads {context} tokens, but this may need {longest}; lower max_new_tokens")
    return model


def _kl_and_lenses(
    generation: Generation, responses: Sequence[GrowingResponse]
) -> list[tuple[float | None, tuple[LensToken, ...]]]:
    """KL and lens of each of `responses`, none of which is empty."""
    policy, temperature = generation.policy, generation.sampling.temperature or 1.0
    episodes = _episodes(policy, responses)
    logprobs = without_gradient(lambda block: response_logprobs(policy.model, block, temperature), episodes)  # (B,R)
    kl = values = None
    if (ref := generation.ref) is not None:
        kl = k1(logprobs, without_gradient(lambda block: response_logprobs(ref, block, temperature), episodes))
    totals: list[float | None] = [None] * len(responses) if kl is None else kl.sum(1).tolist()  # 0 in the padding
    if not generation.request.lens:
        return [(total, ()) for total in totals]
    if (value := generation.value) is not None:
        values = without_gradient(lambda block: response_values(value, block), episodes)
    texts = [token_texts(policy.tokenizer, response.ids) for response in responses]
    columns = zip(texts, logprobs.tolist(), _rows(kl, responses), _rows(values, responses), strict=True)
    return [(total, tuple(map(LensToken, *numbers))) for total, numbers in zip(totals, columns, strict=True)]


def _episodes(policy: Policy, responses: Sequence[GrowingResponse]) -> Episodes:
    device = policy.model.model.embed_tokens.weight.device
    prompts, prompt_mask = left_pad([response.prompt for response in responses], policy.tokenizer.pad_id)
    lengths = torch.tensor([len(response.ids) for response in responses])
    ids = torch.zeros(len(responses), int(lengths.max()), dtype=torch.int64)  # (B,R)
    for i, response in enumerate(responses):
        ids[i, : len(response.ids)] = torch.tensor(response.ids)
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    return Episodes(*(tensor.to(device) for tensor in (prompts, prompt_mask, ids, mask)))


def _rows(numbers: Tensor | None, responses: Sequence[GrowingResponse]) -> Sequence[Sequence[float | None]]:
    """The numbers (B,R), padding included; None for each token if there are none."""
    if numbers is None:
        return [[None] * len(response.ids) for response in responses]
    listed: list[list[float]] = numbers.tolist()
    return listed
