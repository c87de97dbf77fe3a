"""The decoder: token ids in, final hidden states out, and the unembedding that turns them into logits.

One Llama-family transformer (RMSNorm, RoPE, SwiGLU, grouped-query attention). Parameter names are those of the
Hugging Face layout, so that checkpoint.py saves and loads without a map. Padding and positions are explicit here;
sampling, heads and losses live elsewhere.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Architecture:
    """The sizes and switches that fix every parameter's shape.

    `qkv_bias` and `output_bias` are the biases of the attention's input and output projections: Llama's
    `attention_bias` sets both, Qwen2 has the first alone. `rope_theta` is RoPE's base, `context` the longest row.
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
    """Keys and values of the columns seen so far, one pair a layer, each (B, kv heads, columns, D)."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    mask: Tensor | None = None  # (B, columns) bool, True is a real token
    length: int = 0  # columns filled

    @classmethod
    def empty(cls, architecture: Architecture, batch: int, columns: int, like: Tensor) -> "Cache":
        """A cache with room for `columns` tokens in each of `batch` rows, in the dtype and on the device of `like`."""
        shape = (batch, architecture.kv_heads, columns, architecture.head_width)
        return cls(
            [like.new_zeros(shape) for _ in range(architecture.layers)],
            [like.new_zeros(shape) for _ in range(architecture.layers)],
            torch.zeros(batch, columns, dtype=torch.bool, device=like.device),
        )

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of `layer` with the new ones, (B, kv heads, t, D) each, written behind the old."""
        end = self.length + keys.size(2)
        self.keys[layer][:, :, self.length : end] = keys
        self.values[layer][:, :, self.length : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def keep_rows(self, rows: Tensor) -> None:
        """Drop every row but `rows` (int64 indices), so that finished responses cost nothing more."""
        assert self.mask is not None
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]
        self.mask = self.mask[rows]


@dataclass(frozen=True)
class Layout:
    """Where each token of a batch stands and what it may look at, where rows are more than one text read in order.

    `positions` (B,T) int64; `allowed` (B,1,T,keys) bool, True where a query may look at a key.
    """

    positions: Tensor
    allowed: Tensor


def rope_tables(architecture: Architecture) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE by position, (context, D) float32 each.

    Source: Su et al. 2021 (RoFormer), in the half-rotated layout that Hugging Face checkpoints use.
    """
    half = torch.arange(0, architecture.head_width, 2, dtype=torch.float32) / architecture.head_width
    angles = torch.outer(torch.arange(architecture.context, dtype=torch.float32), architecture.rope_theta**-half)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` (B,H,T,D) turned by its position's angles; cos and sin broadcast to it."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class RMSNorm(nn.Module):
    """Scale each vector to unit root mean square, then by a learned weight (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x` (..., C) normalised, in its own dtype; the mean square is taken in float32."""
        wide = x.float()
        normalised: Tensor = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normalised.to(x.dtype)


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
        """`x` (B,T,C) mixed over positions; `allowed` (B,1,T,keys) is True where a query may look, None is causal."""
        b, t, _ = x.shape
        q = rotate(self.q_proj(x).view(b, t, self.heads, self.head_width).transpose(1, 2), cos, sin)  # (B,H,T,D)
        k = rotate(self.k_proj(x).view(b, t, self.kv_heads, self.head_width).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, t, self.kv_heads, self.head_width).transpose(1, 2)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        if self.kv_heads != self.heads:
            k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
            v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
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
        """`x` (B,T,C) to (B,T,C)."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One pre-norm block: attention, then feed-forward, each added to the residual stream."""

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

    Weights and the residual stream are float32; `compute_dtype` is that of the matrix products inside the layers.
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

        `mask` (B,T) is True on real tokens and lets rows be padded on the left; positions skip padding. Without it
        rows are read as they stand, which is right for rows padded on the right too, since attention is causal.
        With a `cache`, tokens continue its columns and `mask` is required. A `layout` says it all in place of a mask.
        """
        x = self.embed_tokens(tokens)
        if mask is not None:
            layout = padded_layout(mask, cache)
        if layout is None:
            cos, sin, allowed = self.cos[: tokens.size(1)], self.sin[: tokens.size(1)], None
        else:
            cos, sin = self.cos[layout.positions].unsqueeze(1), self.sin[layout.positions].unsqueeze(1)  # (B,1,T,D)
            allowed = layout.allowed
        with torch.autocast(x.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
            for i, layer in enumerate(self.layers):
                x = layer(x, cos, sin, allowed, cache, i)
        if cache is not None:
            cache.length += tokens.size(1)
        hidden: Tensor = self.norm(x)
        return hidden


def padded_layout(mask: Tensor, cache: Cache | None) -> Layout:
    """The layout of padded rows: positions skip padding; a token looks back at real ones, and always at itself.

    A padded query would otherwise see no key at all, and its NaN would leak into real rows through the values.
    """
    new, past = mask.size(1), 0
    if cache is not None:
        assert cache.mask is not None
        past = cache.length
        cache.mask[:, past : past + new] = mask
        mask = cache.mask[:, : past + new]
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, past:]
    causal = torch.ones(new, past + new, dtype=torch.bool, device=mask.device).tril(past)
    oneself = causal & ~causal.tril(past - 1)
    return Layout(positions, ((causal & mask[:, None, :]) | oneself)[:, None])


class LanguageModel(nn.Module):
    """A decoder with an unembedding: the policy, the reference policy and the base model."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.model = Decoder(architecture)
        self.lm_head = nn.Linear(architecture.width, architecture.vocab_size, bias=False)
        if architecture.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, tokens: Tensor, mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Hidden states (B,T,C); take `logits` of the positions that need them, never of all by habit."""
        hidden: Tensor = self.model(tokens, mask, cache)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (...,V) of hidden states (...,C)."""
        return functional.linear(hidden, self.lm_head.weight)


def initialize(model: nn.Module, generator: torch.Generator, std: float = 0.02) -> None:
    """Draw every matrix of `model` from N(0, std), in place; biases 0, norms 1. A scalar head is drawn by heads.py."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() == 2:
                parameter.normal_(0.0, std, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()


def parameter_count(model: nn.Module) -> int:
    """Distinct parameters of `model`; tied matrices count once."""
    return sum(p.numel() for p in model.parameters())
