"""Attention and sequence models without recurrence."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import cross_entropy, gelu, layer_norm, log_softmax, sigmoid, softmax, unit_rows
from benchmarks.programs.program import constant, integers, normal, one_hot, program

WEIGHT = normal("D D", 0.1)


def split_heads(x, heads):
    """(B, T, D) → (B, heads, T, D / heads)."""
    batch, steps, width = x.shape
    return np.transpose(np.reshape(x, (batch, steps, heads, width // heads)), (0, 2, 1, 3))


def join_heads(x):
    """(B, heads, T, d) → (B, T, heads · d)."""
    batch, heads, steps, width = x.shape
    return np.reshape(np.transpose(x, (0, 2, 1, 3)), (batch, steps, heads * width))


def attend(q, k, v, bias=0.0):
    """softmax(q kᵀ / √d + bias) v."""
    scores = q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5 + bias
    return softmax(scores) @ v


def hide_future(scores):
    """Scores of what comes later are −10⁹."""
    steps = scores.shape[-1]
    return np.where(np.tril(np.ones((steps, steps), bool)), scores, -1e9)


def rotate(x, cosine, sine):
    """Turn each pair of neighbouring columns by its angle."""
    a, b = x[..., ::2], x[..., 1::2]
    return np.concatenate([a * cosine - b * sine, a * sine + b * cosine], axis=-1)


@program(
    "attention block", "B=16 T=64 D=64", x=normal("B T D"), W_q=WEIGHT, W_k=WEIGHT, W_v=WEIGHT, W_o=WEIGHT,
    gain=normal("D"), bias=normal("D"), W_1=normal("D 4D", 0.1), W_2=normal("4D D", 0.1),
)  # fmt: skip
def attention_block(x, W_q, W_k, W_v, W_o, gain, bias, W_1, W_2):
    """Four heads and a ReLU layer, both behind a layer norm, with residual connections."""
    h = layer_norm(x, gain, bias)
    q, k, v = (split_heads(h @ W, 4) for W in (W_q, W_k, W_v))
    x = x + join_heads(attend(q, k, v)) @ W_o
    x = x + np.maximum(layer_norm(x, gain, bias) @ W_1, 0) @ W_2
    return np.mean(x**2)


@program(
    "transformer language model", "B=8 T=64 D=128 V=500", tokens=integers("B T", "V"), embedding=normal("V D"),
    positions=normal("T D"), W_q=WEIGHT, W_k=WEIGHT, W_v=WEIGHT, W_o=WEIGHT, gain=normal("D"), bias=normal("D"),
    W_1=normal("D 4D", 0.1), W_2=normal("4D D", 0.1), W_out=normal("D V", 0.1), targets=one_hot("B T V"),
)  # fmt: skip
def transformer(tokens, embedding, positions, W_q, W_k, W_v, W_o, gain, bias, W_1, W_2, W_out, targets):
    """A causal block between an embedding of V tokens and their scores; the mean cross-entropy."""
    x = embedding[tokens] + positions
    h = layer_norm(x, gain, bias)
    q, k, v = (split_heads(h @ W, 4) for W in (W_q, W_k, W_v))
    scores = hide_future(q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5)
    x = x + join_heads(softmax(scores) @ v) @ W_o
    x = x + gelu(layer_norm(x, gain, bias) @ W_1) @ W_2
    return -np.mean(np.sum(targets * log_softmax(x @ W_out), axis=-1))


@program(
    "cross-attention", "B=4 T=128 D=64", x=normal("B T D"), keys=normal("B T D"), values=normal("B T D"),
    W_q=WEIGHT, W_k=WEIGHT, W_v=WEIGHT, W_o=WEIGHT,
)  # fmt: skip
def cross_attention(x, keys, values, W_q, W_k, W_v, W_o):
    """Eight heads that look from one sequence into another."""
    q, k, v = split_heads(x @ W_q, 8), split_heads(keys @ W_k, 8), split_heads(values @ W_v, 8)
    return np.mean((join_heads(attend(q, k, v)) @ W_o) ** 2)


@program(
    "causal attention by einsum", "B=16 T=32 D=64", x=normal("B T D"), W_q=WEIGHT, W_k=WEIGHT, W_v=WEIGHT, W_o=WEIGHT
)
def causal_attention(x, W_q, W_k, W_v, W_o):
    """Eight heads whose products are einsums."""
    q, k, v = (split_heads(x @ W, 8) for W in (W_q, W_k, W_v))
    scores = hide_future(np.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5)
    mixed = np.einsum("bhqk,bhkd->bqhd", softmax(scores), v).reshape(x.shape)
    return np.mean(mixed @ W_o * x)


@program("linear attention", "B=8 T=128 D=32", q=normal("B T D"), k=normal("B T D"), v=normal("B T D"))
def linear_attention(q, k, v):
    """Attention with the kernel elu + 1 in place of softmax: linear in the number of steps."""
    q, k = (np.where(x > 0, x + 1, np.exp(x)) for x in (q, k))
    sums = np.einsum("btd,bte->bde", k, v)
    total = np.einsum("btd,bd->bt", q, np.sum(k, axis=1))
    return np.mean((np.einsum("btd,bde->bte", q, sums) / total[:, :, None]) ** 2)


@program("rotary scores", "B=8 H=4 T=64 D=16", x=normal("B H T 2D"), cosine=normal("T D"), sine=normal("T D"))
def rotary_scores(x, cosine, sine):
    """Rotated queries by keys that are not."""
    keys = np.concatenate([x[..., ::2], x[..., 1::2]], axis=-1)
    return np.sum((rotate(x, cosine, sine) @ np.swapaxes(keys, -1, -2)) ** 2)


@program(
    "grouped queries, rotary", "B=4 T=64 D=8", x=normal("B T 16D"), W_q=normal("16D 16D", 0.1),
    W_k=normal("16D 4D", 0.1), W_v=normal("16D 4D", 0.1), W_o=normal("16D 16D", 0.1), angles=normal("T D"),
)  # fmt: skip
def grouped_queries(x, W_q, W_k, W_v, W_o, angles):
    """Eight rotated query heads share two key and value heads; causal."""
    batch, steps, width = x.shape
    q = rotate(split_heads(x @ W_q, 8), np.cos(angles), np.sin(angles))
    k = rotate(split_heads(x @ W_k, 2), np.cos(angles), np.sin(angles))
    q = np.reshape(q, (batch, 2, 4, steps, width // 8))
    scores = hide_future(q @ np.swapaxes(k, -1, -2)[:, :, None] / (width / 8) ** 0.5)
    mixed = softmax(scores) @ split_heads(x @ W_v, 2)[:, :, None]
    return np.mean((join_heads(np.reshape(mixed, (batch, 8, steps, width // 8))) @ W_o) ** 2)


@program(
    "ALiBi attention", "B=4 H=8 T=64 D=16", q=normal("B H T D"), k=normal("B H T D"), v=normal("B H T D"),
    slope=normal("H"),
)  # fmt: skip
def alibi_attention(q, k, v, slope):
    """Causal attention with a penalty linear in the distance, a slope for each head."""
    places = np.arange(q.shape[2])
    distance = (places[:, None] - places[None]).astype(q.dtype)
    scores = q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    scores = hide_future(scores - np.exp(slope)[:, None, None] * distance)
    return np.mean((softmax(scores) @ v) ** 2)


@program(
    "relative position bias", "B=4 H=8 T=64 D=16", q=normal("B H T D"), k=normal("B H T D"), v=normal("B H T D"),
    table=normal("H 32"),
)  # fmt: skip
def relative_bias(q, k, v, table):
    """A learned bias for each head and clipped distance."""
    places = np.arange(q.shape[2])
    distance = np.clip(places[:, None] - places[None], -16, 15) + 16
    return np.mean(attend(q, k, v, table[:, distance]) ** 2)


@program("sliding-window attention", "B=4 T=128 D=32", q=normal("B T D"), k=normal("B T D"), v=normal("B T D"))
def sliding_window(q, k, v):
    """Each step sees itself and the seven before it: eight shifted products."""
    width, steps = 8, q.shape[1]
    k, v = (np.pad(x, ((0, 0), (width - 1, 0), (0, 0))) for x in (k, v))
    scores = np.stack([np.sum(q * k[:, i : i + steps], axis=-1) for i in range(width)], axis=-1)
    weights = softmax(scores / q.shape[-1] ** 0.5)
    mixed = sum(weights[:, :, i : i + 1] * v[:, i : i + steps] for i in range(width))
    return np.mean(mixed**2)


@program(
    "cosine attention", "B=8 T=64 D=32", q=normal("B T D"), k=normal("B T D"), v=normal("B T D"),
    log_scale=constant("", 1.5),
)  # fmt: skip
def cosine_attention(q, k, v, log_scale):
    """Scores are cosines times a learned scale."""
    scores = unit_rows(q) @ np.swapaxes(unit_rows(k), -1, -2) * np.exp(np.minimum(log_scale, 4.6))
    return np.mean((softmax(scores) @ v) ** 2)


@program(
    "latent attention pooling", "B=8 T=128 D=32 N=16", x=normal("B T D"), latents=normal("N D"), W_k=WEIGHT, W_v=WEIGHT,
    W_o=normal("D 10", 0.1), labels=integers("B", "10"),
)  # fmt: skip
def attention_pooling(x, latents, W_k, W_v, W_o, labels):
    """N learned queries read a sequence; their mean gives the scores of ten classes."""
    read = attend(latents[None], x @ W_k, x @ W_v) + latents
    return cross_entropy(np.mean(read, axis=1) @ W_o, labels)


@program(
    "MLP mixer", "B=32 T=16 D=64", x=normal("B T D"), W_1=normal("T 4T", 0.1), W_2=normal("4T T", 0.1),
    W_3=normal("D 4D", 0.1), W_4=normal("4D D", 0.1), gain=normal("D"), bias=normal("D"),
)  # fmt: skip
def mixer(x, W_1, W_2, W_3, W_4, gain, bias):
    """Three blocks that mix first the places, then the channels."""
    for _ in range(3):
        h = np.swapaxes(layer_norm(x, gain, bias), 1, 2)
        x = x + np.swapaxes(np.maximum(h @ W_1, 0) @ W_2, 1, 2)
        x = x + np.maximum(layer_norm(x, gain, bias) @ W_3, 0) @ W_4
    return np.mean(x * x)


@program(
    "SwiGLU blocks", "B=256 D=128", x=normal("B D"), gains=normal("4 D"), W_gate=normal("4 D 2D", 0.1),
    W_up=normal("4 D 2D", 0.1), W_down=normal("4 2D D", 0.1),
)  # fmt: skip
def swiglu(x, gains, W_gate, W_up, W_down):
    """Four gated blocks, each behind an RMS norm."""
    for gain, W_g, W_u, W_d in zip(gains, W_gate, W_up, W_down, strict=True):
        h = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * gain
        a = h @ W_g
        x = x + (a * sigmoid(a) * (h @ W_u)) @ W_d
    return np.mean(x * x)


@program(
    "layer scale blocks", "B=128 D=64", x=normal("B D"), scales=constant("6 D", 0.1), W_1=normal("6 D 2D", 0.1),
    W_2=normal("6 2D D", 0.1), gain=normal("D"), bias=normal("D"),
)  # fmt: skip
def layer_scale(x, scales, W_1, W_2, gain, bias):
    """Six residual GELU blocks whose results are scaled channel by channel."""
    for scale, W_in, W_out in zip(scales, W_1, W_2, strict=True):
        x = x + scale * (gelu(layer_norm(x, gain, bias) @ W_in) @ W_out)
    return np.mean(x * x)


@program("Hopfield retrieval", "B=128 N=500 D=32", x=normal("B D"), patterns=normal("N D"))
def hopfield(x, patterns):
    """One step towards the nearest of N stored patterns."""
    return np.mean((softmax(x @ patterns.T * 2) @ patterns - x) ** 2)
