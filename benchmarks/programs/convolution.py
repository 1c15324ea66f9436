"""Convolutions, images and fields over space."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import cross_entropy, log_softmax, sigmoid
from benchmarks.programs.program import integers, normal, one_hot, program, uniform


def convolve(x, kernel):
    """A valid convolution of images (B, H, W, C) with a kernel (3, 3, C, D), as the sum of nine shifted products."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return sum(x[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def convolve_series(x, kernel, dilation=1):
    """A valid convolution of series (B, T, C) with a kernel (3, C, D)."""
    steps = x.shape[1] - 2 * dilation
    return sum(x[:, i * dilation : i * dilation + steps] @ kernel[i] for i in range(3))


@program(
    "convolutional network, 28 × 28", "B=32 H=28 C=1", x=normal("B H H C"), K_1=normal("3 3 C 16", 0.3),
    K_2=normal("3 3 16 32", 0.1), W=normal("32 10", 0.1), labels=one_hot("B 10"),
)  # fmt: skip
def convolutional_network(x, K_1, K_2, W, labels):
    """Two 3 × 3 convolutions with max pooling between, a mean over places, ten classes."""
    h = np.maximum(convolve(x, K_1), 0)
    batch, height, width, channels = h.shape
    h = np.max(np.reshape(h, (batch, height // 2, 2, width // 2, 2, channels)), axis=(2, 4))
    h = np.maximum(convolve(h, K_2), 0)
    return -np.mean(np.sum(labels * log_softmax(np.mean(h, axis=(1, 2)) @ W), axis=1))


@program(
    "convolution by patches, pooled", "B=32 H=28", x=normal("B H H"), K=normal("9 16", 0.1), b=normal("16", 0.1),
    W=normal("16 10", 0.1),
)  # fmt: skip
def convolution_by_patches(x, K, b, W):
    """Patches of 3 × 3 pixels by one matrix, the largest of each 2 × 2 places, then the mean."""
    n = x.shape[1] - 2
    patches = np.stack([x[:, i : i + n, j : j + n] for i in range(3) for j in range(3)], axis=-1)
    h = np.maximum(np.einsum("bxyk,kc->bxyc", patches, K) + b, 0)
    h = np.max(np.reshape(h, (len(x), n // 2, 2, n // 2, 2, -1)), axis=(2, 4))
    return np.mean((np.mean(h, axis=(1, 2)) @ W) ** 2)


@program(
    "two convolutions, 16 × 16", "B=16 H=16 C=8", x=normal("B H H C"), K_1=normal("3 3 C 2C", 0.1),
    K_2=normal("3 3 2C 2C", 0.1),
)  # fmt: skip
def two_convolutions(x, K_1, K_2):
    """Two 3 × 3 convolutions with ReLU."""
    return np.mean(np.maximum(convolve(np.maximum(convolve(x, K_1), 0), K_2), 0) ** 2)


@program(
    "depthwise separable convolution", "B=16 H=16 C=32", x=normal("B H H C"), depth=normal("3 3 C", 0.3),
    point=normal("C 2C", 0.1),
)  # fmt: skip
def depthwise(x, depth, point):
    """A 3 × 3 kernel for each channel, then a product over channels."""
    n = x.shape[1] - 2
    h = sum(x[:, i : i + n, j : j + n] * depth[i, j] for i in range(3) for j in range(3))
    return np.mean(np.maximum(h @ point, 0) ** 2)


@program(
    "squeeze and excitation", "B=16 H=14 C=32", x=normal("B H H C"), K=normal("3 3 C C", 0.1), W_1=normal("C 8", 0.2),
    W_2=normal("8 C", 0.2),
)  # fmt: skip
def squeeze_excite(x, K, W_1, W_2):
    """Channels of a convolution are weighted by what their means say."""
    h = np.maximum(convolve(x, K), 0)
    weights = sigmoid(np.maximum(np.mean(h, axis=(1, 2)) @ W_1, 0) @ W_2)
    return np.mean((h * weights[:, None, None]) ** 2)


@program(
    "temporal convolutions, dilated", "B=16 S=128 C=16", x=normal("B S C"), K_1=normal("3 C 2C", 0.1),
    K_2=normal("3 2C 2C", 0.1),
)  # fmt: skip
def temporal_convolutions(x, K_1, K_2):
    """Convolutions of series with dilations 1 and 2."""
    h = np.maximum(convolve_series(x, K_1), 0)
    return np.mean(np.maximum(convolve_series(h, K_2, 2), 0) ** 2)


@program(
    "U-Net of series", "B=16 S=64 C=8", x=normal("B S C"), noise=normal("B S C"), K_1=normal("3 C 2C", 0.2),
    K_2=normal("3 2C 2C", 0.2), K_3=normal("3 4C C", 0.2),
)  # fmt: skip
def series_unet(x, noise, K_1, K_2, K_3):
    """Down by two with the mean, up by repetition, joined to what was before: the noise is to be found."""

    def same(h, K):
        return convolve_series(np.pad(h, ((0, 0), (1, 1), (0, 0))), K)

    wide = np.maximum(same(x + noise, K_1), 0)
    batch, steps, channels = wide.shape
    low = np.mean(np.reshape(wide, (batch, steps // 2, 2, channels)), axis=2)
    high = np.repeat(np.maximum(same(low, K_2), 0), 2, axis=1)
    return np.mean((same(np.concatenate([wide, high], axis=-1), K_3) - noise) ** 2)


@program(
    "diffusion denoiser", "B=128 D=32 H=128", x=normal("B D"), noise=normal("B D"), time=uniform("B", 0.05, 0.95),
    W_1=normal("D H", 0.1), W_t=normal("32 H", 0.1), W_2=normal("H H", 0.1), W_3=normal("H D", 0.1),
)  # fmt: skip
def denoiser(x, noise, time, W_1, W_t, W_2, W_3):
    """A network with sinusoids of the time finds the noise that was added."""
    level = np.cos(np.pi / 2 * time)[:, None]
    noisy = level * x + np.sqrt(1 - level**2) * noise
    frequencies = np.exp(np.linspace(0, 4, 16, dtype=x.dtype))
    phases = time[:, None] * frequencies
    embedded = np.concatenate([np.sin(phases), np.cos(phases)], axis=1)
    h = noisy @ W_1 + embedded @ W_t
    h = h * sigmoid(h)
    h = h @ W_2
    return np.mean((h * sigmoid(h) @ W_3 - noise) ** 2)


@program(
    "SIREN image", "N=1024 H=64", places=uniform("N 2", -1, 1), colours=uniform("N 3"), W_1=normal("2 H", 10.0),
    b_1=normal("H"), W_2=normal("H H", 0.1), b_2=normal("H"), W_3=normal("H 3", 0.1),
)  # fmt: skip
def siren(places, colours, W_1, b_1, W_2, b_2, W_3):
    """Sinusoidal layers from a place to its colour."""
    h = np.sin(places @ W_1 + b_1)
    h = np.sin(h @ W_2 + b_2)
    return np.mean((h @ W_3 - colours) ** 2)


@program(
    "radiance field, ray march", "R=64 S=24 H=32", origins=normal("R 3"), directions=normal("R 3"),
    colours=uniform("R 3"), W_1=normal("30 H", 0.2), W_2=normal("H H", 0.2), W_3=normal("H 4", 0.2),
    steps=uniform("S", 0.05, 0.15),
)  # fmt: skip
def radiance_field(origins, directions, colours, W_1, W_2, W_3, steps):
    """Colours and densities along rays from a network of encoded places, gathered front to back."""
    depth = np.cumsum(steps)
    places = origins[:, None] + depth[:, None] * directions[:, None]
    encoded = [f(places * 2**k) for k in range(5) for f in (np.sin, np.cos)]
    h = np.maximum(np.concatenate(encoded, axis=-1) @ W_1, 0)
    found = np.maximum(h @ W_2, 0) @ W_3
    optical = np.logaddexp(0, found[..., 3]) * steps
    before = np.exp(-(np.cumsum(optical, axis=1) - optical))
    weights = before * (1 - np.exp(-optical))
    return np.mean((np.sum(weights[..., None] * sigmoid(found[..., :3]), axis=1) - colours) ** 2)


@program("bilinear sampling", "B=8 H=24", images=uniform("B H H"), turns=normal("B 2 3", 0.2))
def bilinear_sampling(images, turns):
    """Images read at places moved by an affine map, as in a spatial transformer."""
    batch, size = images.shape[:2]
    line = np.linspace(-0.7, 0.7, size, dtype=images.dtype)
    x, y = np.meshgrid(line, line)
    grid = np.stack([x.ravel(), y.ravel(), np.ones_like(x.ravel())])
    moved = (np.clip(grid[:2] + turns @ grid, -0.95, 0.95) + 1) * (size - 1) / 2
    low = np.clip(np.floor(moved), 0, size - 2)
    share = moved - low
    i, j = low[:, 1].astype(int), low[:, 0].astype(int)
    rows = np.arange(batch)[:, None]
    u, v = share[:, 1], share[:, 0]
    top = images[rows, i, j] * (1 - v) + images[rows, i, j + 1] * v
    bottom = images[rows, i + 1, j] * (1 - v) + images[rows, i + 1, j + 1] * v
    return np.mean((top * (1 - u) + bottom * u) ** 2)


@program("structural similarity", "B=8 H=32", x=uniform("B H H"), y=uniform("B H H"))
def structural_similarity(x, y):
    """SSIM with windows of 7 × 7 means, by running sums."""

    def blur(z):
        for axis in (1, 2):
            sums = np.cumsum(np.pad(z, [(0, 0), *((1, 0) if a == axis else (0, 0) for a in (1, 2))]), axis=axis)
            n = z.shape[axis]
            z = (sums[:, 7:] - sums[:, : n - 6] if axis == 1 else sums[:, :, 7:] - sums[:, :, : n - 6]) / 7
        return z

    a, b = blur(x), blur(y)
    variance, covariance = blur(x * x) - a * a + blur(y * y) - b * b, blur(x * y) - a * b
    return np.mean((2 * a * b + 1e-2) * (2 * covariance + 3e-2) / ((a * a + b * b + 1e-2) * (variance + 3e-2)))


@program("total variation denoising", "H=128", x=uniform("H H"), noisy=uniform("H H"))
def total_variation(x, noisy):
    """Nearness to a noisy image, and the smoothed length of the gradient."""
    down, right = x[1:, :-1] - x[:-1, :-1], x[:-1, 1:] - x[:-1, :-1]
    return np.sum((x - noisy) ** 2) + 0.1 * np.sum(np.sqrt(down**2 + right**2 + 1e-4))


@program(
    "optical flow energy", "H=64", first=uniform("H H"), second=uniform("H H"), u=normal("H H", 0.1),
    v=normal("H H", 0.1),
)  # fmt: skip
def optical_flow(first, second, u, v):
    """Horn and Schunck's energy: constancy of brightness and smoothness of the flow."""
    dx = (np.roll(first, -1, axis=1) - np.roll(first, 1, axis=1)) / 2
    dy = (np.roll(first, -1, axis=0) - np.roll(first, 1, axis=0)) / 2
    data = np.mean((dx * u + dy * v + second - first) ** 2)
    return data + 0.1 * sum(np.mean(np.diff(z, axis=a) ** 2) for z in (u, v) for a in (0, 1))


@program("pixel shuffle", "B=8 H=12 C=8", x=normal("B H H C"), K=normal("3 3 C 12", 0.1), target=uniform("B 2H 2H 3"))
def pixel_shuffle(x, K, target):
    """A convolution whose twelve channels are the 2 × 2 pixels of three colours."""
    h = convolve(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), K)
    batch, height, width, _ = h.shape
    h = np.transpose(np.reshape(h, (batch, height, width, 2, 2, 3)), (0, 1, 3, 2, 4, 5))
    return np.mean(np.abs(np.reshape(h, target.shape) - target))


@program("group norm, SiLU", "B=16 H=14", x=normal("B 32 H H"), gain=normal("32"), bias=normal("32"))
def group_norm(x, gain, bias):
    """Eight groups of four channels."""
    y = np.reshape(x, (len(x), 8, -1))
    y = (y - np.mean(y, axis=2, keepdims=True)) / np.sqrt(np.var(y, axis=2, keepdims=True) + 1e-5)
    y = np.reshape(y, x.shape) * gain[:, None, None] + bias[:, None, None]
    return np.mean(y * sigmoid(y) * x)


@program("batch norm of channels", "B=16 C=32 H=14", x=normal("B C H H"), gain=normal("C"), bias=normal("C"))
def batch_norm(x, gain, bias):
    """The statistics of each channel over the batch and both places."""
    mean, variance = (f(x, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var))
    y = (x - mean) / np.sqrt(variance + 1e-5) * gain[:, None, None] + bias[:, None, None]
    return np.mean(np.maximum(y, 0) * x)


@program("bias of channels", "B=16 C=32 H=14", x=normal("B C H H"), bias=normal("C"))
def bias_of_channels(x, bias):
    """A bias for each channel, then ReLU."""
    return np.sum(np.maximum(x + bias[None, :, None, None], 0) ** 2)


@program("average pooling", "B=16 H=14 C=16", x=normal("B 2H 2H C"))
def average_pooling(x):
    """The means of 2 × 2 places."""
    batch, height, width, channels = x.shape
    return np.mean(np.mean(np.reshape(x, (batch, height // 2, 2, width // 2, 2, channels)), axis=(2, 4)) ** 2)


@program("padded convolution of rows", "B=100 S=500", x=normal("B S"), kernel=normal("5"))
def padded_convolution(x, kernel):
    """Five shifted rows."""
    padded = np.pad(x, ((0, 0), (2, 2)))
    return np.sum(sum(padded[:, i : i + x.shape[1]] * kernel[i] for i in range(5)) ** 2)


@program("Laplacian, 200 × 200", "H=200", x=normal("H H"))
def laplacian(x):
    """Four times the middle less its neighbours."""
    return np.sum((4 * x[1:-1, 1:-1] - x[2:, 1:-1] - x[:-2, 1:-1] - x[1:-1, 2:] - x[1:-1, :-2]) ** 2)


@program("neighbours by roll, 200 × 200", "H=200", x=normal("H H"))
def neighbours(x):
    """The differences to the next column and row, around the edge."""
    return np.sum((x - np.roll(x, 1, axis=1)) ** 2 + (x - np.roll(x, 1, axis=0)) ** 2)


@program(
    "capsules, routing", "B=16 I=32 J=10 D=8 E=16", u=normal("B I D"), W=normal("I J D E", 0.1),
    labels=integers("B", "J"),
)  # fmt: skip
def capsules(u, W, labels):
    """Three rounds of routing by agreement from I to J capsules."""
    votes = np.einsum("bid,ijde->bije", u, W)
    logits = np.zeros(votes.shape[:3], u.dtype)
    for _ in range(3):
        share = np.exp(log_softmax(logits, axis=2))
        s = np.sum(share[..., None] * votes, axis=1)
        length = np.sum(s * s, axis=-1, keepdims=True)
        v = length / (1 + length) * s / np.sqrt(length + 1e-7)
        logits = logits + np.sum(votes * v[:, None], axis=-1)
    return cross_entropy(np.sum(v * v, axis=-1), labels)
