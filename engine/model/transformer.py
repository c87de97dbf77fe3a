"""The decoder: token ids in, final hidden states out, and the unembedding that turns them into logits.

One Llama-family transformer (RMSNorm, RoPE, SwiGLU, grouped-query attention). Parameter names are those of the
Hugging Face layout, so that checkpoint.py saves and loads without a map. Padding and positions are explicit here;
sampling, heads and losses are in other files.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Architecture:
    """The sizes and switches that determine every parameter's shape.

    `qkv_bias` and `output_bias` are the biases of the attention's input and output projections: Llama's
    `attention_bias` sets both, Qwen2 has only the first. `rope_theta` is RoPE's base, `context` the longest row.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    ffn: int
    context: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True
    qkv_bias: bool = False
    output_bias: bool = False


@dataclass
class Cache:
    """Keys and values of the columns seen so far, one pair a layer, each (B, kv heads, columns, D).

    A token's key and value depend on the tokens before it alone, so they are computed once and kept: a new token costs
    one column of work instead of the whole row again.
    """

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    mask: Tensor | None = None  # (B, columns) bool, True is a real token
    length: int = 0  # columns filled

    @classmethod
    def empty(cls, architecture: Architecture, batch: int, columns: int, like: Tensor) -> "Cache":
        """A cache for `columns` tokens in each of `batch` rows, with the dtype and device of `like`."""
        shape = (batch, architecture.kv_heads, columns, architecture.head_width)
        return cls(
            [like.new_zeros(shape) for _ in range(architecture.layers)],
            [like.new_zeros(shape) for _ in range(architecture.layers)],
            torch.zeros(batch, columns, dtype=torch.bool, device=like.device),
        )

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of `layer`, (B, kv heads, t, D) each, after the new ones are written behind the old."""
        end = self.length + keys.size(2)
        # the tensors have their final size from the start: concatenating would copy the whole cache at every token
        self.keys[layer][:, :, self.length : end] = keys
        self.values[layer][:, :, self.length : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def keep_rows(self, rows: Tensor) -> None:
        """Drops every row but `rows` (int64 indices), so that finished responses cost nothing more."""
        assert self.mask is not None
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]
        self.mask = self.mask[rows]


@dataclass(frozen=True)
class Layout:
    """The position of each token and what it may attend to, for rows that are not simply one text from column 0.

    `positions` (B,T) int64; `allowed` (B,1,T,keys) bool, True where a query may attend to a key.
    """

    positions: Tensor
    allowed: Tensor


def rope_tables(architecture: Architecture) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE by position, (context, D) float32 each.

    Source: Su et al. 2021 (RoFormer), in the half-rotated layout that Hugging Face checkpoints use.
    """
    # Pair i of a head's D numbers turns by position * theta^(-2i/D): the first pairs fast, the last ones slowly, like
    # the hands of a clock. A query at m and a key at n then meet at an angle that depends on m - n alone, so attention
    # sees distances, with no parameter to learn.
    half = torch.arange(0, architecture.head_width, 2, dtype=torch.float32) / architecture.head_width
    angles = torch.outer(torch.arange(architecture.context, dtype=torch.float32), architecture.rope_theta**-half)
    angles = torch.cat((angles, angles), dim=-1)  # (context, D): both halves of a vector turn by the same angles
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` (B,H,T,D) rotated by its position's angles; cos and sin broadcast to it."""
    first, second = x.chunk(2, dim=-1)  # pair i is (first[i], second[i]); RoFormer pairs neighbors instead
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class RMSNorm(nn.Module):
    """Scales each vector to root mean square 1, then by a learned weight (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x` (..., C) normalized, in its own dtype; the mean square is computed in float32."""
        # LayerNorm without its mean and bias: x / sqrt(mean(x^2) + eps) * g. What matters is that the scale of a
        # vector stays in range from layer to layer; subtracting the mean adds little.
        wide = x.float()
        normalized: Tensor = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normalized.to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention in which groups of query heads share one key-value head."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        a = architecture
        self.heads, self.kv_heads, self.head_width = a.heads, a.kv_heads, a.head_width
        self.q_proj = nn.Linear(a.width, a.heads * a.head_width, bias=a.qkv_bias)
        self.k_proj = nn.Linear(a.width, a.kv_heads * a.head_width, bias=a.qkv_bias)
        self.v_proj = nn.Linear(a.width, a.kv_heads * a.head_width, bias=a.qkv_bias)
        self.o_proj = nn.Linear(a.heads * a.head_width, a.width, bias=a.output_bias)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, allowed: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        """`x` (B,T,C) mixed over positions; `allowed` (B,1,T,keys) as in Layout, None for plain causal attention."""
        b, t, _ = x.shape
        # queries and keys are rotated, values are not: position decides where to look, not what is found there
        q = rotate(self.q_proj(x).view(b, t, self.heads, self.head_width).transpose(1, 2), cos, sin)  # (B,H,T,D)
        k = rotate(self.k_proj(x).view(b, t, self.kv_heads, self.head_width).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, t, self.kv_heads, self.head_width).transpose(1, 2)
        if cache is not None:
            k, v = cache.append(layer, k, v)  # (B, kv heads, keys, D)
        # grouped-query attention: several query heads read the same keys and values, so the cache is smaller
        if self.kv_heads != self.heads:
            k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
            v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        # softmax(q k^T / sqrt(D)) v, with minus infinity where a query may not attend
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=allowed is None)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(b, t, -1))
        return out


class FeedForward(nn.Module):
    """SwiGLU: a gated two-layer network on each position (Shazeer 2020)."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.gate_proj = nn.Linear(architecture.width, architecture.ffn, bias=False)
        self.up_proj = nn.Linear(architecture.width, architecture.ffn, bias=False)
        self.down_proj = nn.Linear(architecture.ffn, architecture.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (B,T,C) to (B,T,C): W_down (silu(W_gate x) * W_up x)."""
        # silu(gate) decides for each of the ffn channels, and at each position, how much of `up` passes
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One pre-norm block: attention, then feed-forward, each added to the residual stream.

    The stream itself is never normalized on its way, so gradient reaches the embedding through a chain of sums.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.input_layernorm = RMSNorm(architecture.width, architecture.norm_eps)
        self.self_attn = Attention(architecture)
        self.post_attention_layernorm = RMSNorm(architecture.width, architecture.norm_eps)
        self.mlp = FeedForward(architecture)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, allowed: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        """The residual stream (B,T,C) after this block."""
        mixed: Tensor = x + self.self_attn(self.input_layernorm(x), cos, sin, allowed, cache, layer)
        out: Tensor = mixed + self.mlp(self.post_attention_layernorm(mixed))
        return out


class Decoder(nn.Module):
    """The backbone that every model here shares: embedding, blocks, final norm.

    Weights and the residual stream are float32; `compute_dtype` is that of the matrix products inside the blocks.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.compute_dtype = torch.float32
        self.embed_tokens = nn.Embedding(architecture.vocab_size, architecture.width)
        self.layers = nn.ModuleList(Block(architecture) for _ in range(architecture.layers))
        self.norm = RMSNorm(architecture.width, architecture.norm_eps)
        cos, sin = rope_tables(architecture)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Final hidden states (B,T,C) of `tokens` (B,T) int64.

        `mask` (B,T) is True at real tokens, for rows padded on the left; positions skip the padding. Without it,
        positions count from column 0, which suits rows padded on the right, since attention is causal. With a `cache`,
        tokens continue its columns and `mask` is required. A `layout` replaces the mask.
        """
        x = self.embed_tokens(tokens)
        if mask is not None:
            layout = padded_layout(mask, cache)
        if layout is None:
            cos, sin, allowed = self.cos[: tokens.size(1)], self.sin[: tokens.size(1)], None
        else:
            cos, sin = self.cos[layout.positions].unsqueeze(1), self.sin[layout.positions].unsqueeze(1)  # (B,1,T,D)
            allowed = layout.allowed
        # the norms compute in float32 by themselves, and adding to the float32 stream keeps it float32
        with torch.autocast(x.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
            for i, layer in enumerate(self.layers):
                x = layer(x, cos, sin, allowed, cache, i)
        if cache is not None:
            cache.length += tokens.size(1)
        hidden: Tensor = self.norm(x)
        return hidden


def padded_layout(mask: Tensor, cache: Cache | None) -> Layout:
    """The layout of rows padded on the left: positions skip padding; a token attends to real ones and to itself.

    With a `cache`, `mask` (B,T) is of the new columns and is added to the cache's.
    """
    new, past = mask.size(1), 0
    if cache is not None:
        assert cache.mask is not None
        past = cache.length
        cache.mask[:, past : past + new] = mask
        mask = cache.mask[:, : past + new]
    # Left padding puts the last tokens of all prompts in one column, where generation continues. The first real token
    # of each row is still at position 0, as if it were alone.
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, past:]
    causal = torch.ones(new, past + new, dtype=torch.bool, device=mask.device).tril(past)
    # A padded query would have no key at all: its softmax would be 0/0, and the NaN would reach real tokens as a value
    # times weight 0. So every query may attend to itself, on the diagonal; nothing reads what padding then computes.
    diagonal = causal & ~causal.tril(past - 1)
    return Layout(positions, ((causal & mask[:, None, :]) | diagonal)[:, None])


class LanguageModel(nn.Module):
    """A decoder with an unembedding: the policy, the reference policy and the base model."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.model = Decoder(architecture)
        self.lm_head = nn.Linear(architecture.width, architecture.vocab_size, bias=False)
        if architecture.tied:
            self.lm_head.weight = self.model.embed_tokens.weight  # one matrix reads tokens and predicts them

    def forward(self, tokens: Tensor, mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Hidden states (B,T,C). `logits` of all positions are rarely needed, and with a large V they fill memory."""
        hidden: Tensor = self.model(tokens, mask, cache)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (...,V) of hidden states (...,C)."""
        return functional.linear(hidden, self.lm_head.weight)


def initialize(model: nn.Module, generator: torch.Generator, std: float = 0.02) -> None:
    """Draws every matrix of `model` from N(0, std^2), in place; biases are 0, norms 1. heads.py draws scalar heads."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() == 2:  # small, so that every block begins near the identity and logits near uniform
                parameter.normal_(0.0, std, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()


def parameter_count(model: nn.Module) -> int:
    """The number of parameters of `model`; tied matrices count once."""
    return sum(p.numel() for p in model.parameters())
