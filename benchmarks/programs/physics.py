"""Physics and differential equations."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import sigmoid
from benchmarks.programs.program import integers, normal, program, uniform


def runge_kutta(f, y, step):
    """A step of the classical method of fourth order."""
    a = f(y)
    b = f(y + step / 2 * a)
    c = f(y + step / 2 * b)
    d = f(y + step * c)
    return y + step / 6 * (a + 2 * b + 2 * c + d)


@program(
    "network that solves u′ = −u", "N=256 H=32", t=uniform("N 1"), W_1=normal("1 H"), b_1=normal("H"),
    W_2=normal("H H", 0.2), b_2=normal("H"), W_3=normal("H 1"),
)  # fmt: skip
def decay_network(t, W_1, b_1, W_2, b_2, W_3):
    """The residual of u′ + u with the network's own derivative by t."""
    h = np.tanh(t @ W_1 + b_1)
    dh = (1 - h * h) * W_1
    g = np.tanh(h @ W_2 + b_2)
    dg = (1 - g * g) * (dh @ W_2)
    u, du = g @ W_3, dg @ W_3
    return np.mean((du + u) ** 2) + (u[0, 0] - 1) ** 2


@program(
    "network for Burgers' equation", "N=512 H=32", places=uniform("N 2", -1, 1), W_1=normal("2 H"), b_1=normal("H"),
    W_2=normal("H H", 0.2), b_2=normal("H"), w=normal("H"),
)  # fmt: skip
def burgers_network(places, W_1, b_1, W_2, b_2, w):
    """u_t + u u_x = ν u_xx, with first and second derivatives of two tanh layers written out."""
    h = np.tanh(places @ W_1 + b_1)
    slope = 1 - h * h
    h_t, h_x = slope * W_1[0], slope * W_1[1]
    h_xx = -2 * h * slope * W_1[1] ** 2
    g = np.tanh(h @ W_2 + b_2)
    slope = 1 - g * g
    z_x = h_x @ W_2
    u, u_t, u_x = g @ w, (slope * (h_t @ W_2)) @ w, (slope * z_x) @ w
    u_xx = (slope * (h_xx @ W_2) - 2 * g * slope * z_x**2) @ w
    return np.mean((u_t + u * u_x - 0.01 * u_xx) ** 2)


@program(
    "Hamiltonian network", "N=256 H=64", state=normal("N 2"), rates=normal("N 2"), W_1=normal("2 H", 0.5),
    b=normal("H"), w=normal("H", 0.2),
)  # fmt: skip
def hamiltonian_network(state, rates, W_1, b, w):
    """The rates of position and momentum from the derivatives of a learned energy."""
    h = np.tanh(state @ W_1 + b)
    slope = ((1 - h * h) * w) @ W_1.T
    return np.mean((slope[:, 1] - rates[:, 0]) ** 2 + (slope[:, 0] + rates[:, 1]) ** 2)


@program("learned flow, 100 Heun steps", "B=64 D=32 T=100", y=normal("B D"), A=normal("D D", 0.1), W=normal("D 1", 0.1))
def learned_flow(y, A, W):
    """y′ = tanh(y A)."""
    for _ in range(100):
        a = np.tanh(y @ A)
        y = y + 0.05 * (a + np.tanh((y + 0.1 * a) @ A))
    return np.mean((y @ W) ** 2)


@program(
    "Lotka–Volterra, 4 Runge–Kutta steps", "T=4", log_rates=normal("4", 0.3), start=uniform("2", 0.5, 2),
    seen=uniform("T 2", 0.5, 3), dtype="float64",
)  # fmt: skip
def lotka_volterra(log_rates, start, seen):
    """Rates of prey and predators fitted to counts."""
    a, b, c, d = np.exp(log_rates)
    total, y = 0.0, start
    for row in seen:
        y = runge_kutta(lambda y: np.stack([a * y[0] - b * y[0] * y[1], c * y[0] * y[1] - d * y[1]]), y, 0.1)
        total = total + np.sum((np.log(y) - np.log(row)) ** 2)
    return total


@program(
    "epidemic, 20 days", "T=20 R=20", log_beta=normal("R", 0.2, -1), log_gamma=normal("R", 0.2, -2),
    cases=uniform("T R", 0, 0.05),
)  # fmt: skip
def epidemic(log_beta, log_gamma, cases):
    """Susceptible, infected, recovered in twenty regions at once."""
    beta, gamma = np.exp(log_beta), np.exp(log_gamma)
    s, i = np.full(len(beta), 0.99, beta.dtype), np.full(len(beta), 0.01, beta.dtype)
    total = 0.0
    for row in cases:
        new = beta * s * i
        s, i = s - new, i + new - gamma * i
        total = total + np.sum((new - row) ** 2)
    return total


@program("gravity of 300 bodies", "N=300", p=normal("N 3"), mass=uniform("N"))
def gravity(p, mass):
    """The softened energy of all pairs."""
    d = p[:, None] - p[None]
    return -0.5 * np.sum(mass[:, None] * mass[None] / np.sqrt(np.sum(d * d, axis=-1) + 0.01))


@program(
    "orbits by leapfrog, 12 steps", "N=8 T=12", p=normal("N 2"), v=normal("N 2", 0.3), mass=uniform("N"),
    dtype="float64",
)  # fmt: skip
def orbits(p, v, mass):
    """Where eight bodies are after twelve steps."""
    eye = np.eye(len(p), dtype=p.dtype)

    def pull(p):
        d = p[None] - p[:, None]
        r = np.sum(d * d, axis=-1) + 0.1 + eye
        return np.sum(mass[None, :, None] * d / r[..., None] ** 1.5, axis=1)

    for _ in range(12):
        v = v + 0.01 * pull(p)
        p = p + 0.02 * v
        v = v + 0.01 * pull(p)
    return np.sum(p * p)


@program("Lennard-Jones in a box", "N=200", p=uniform("N 3", 0, 6), sigma=uniform("N", 0.8, 1))
def lennard_jones(p, sigma):
    """The energy of pairs within a cut-off, with periodic images."""
    d = p[:, None] - p[None]
    d = d - 6 * np.round(d / 6)
    r = np.sum(d * d, axis=-1) + np.eye(len(p), dtype=p.dtype) * 100 + 0.3
    s = ((sigma[:, None] + sigma[None]) / 2) ** 2 / r
    return np.sum(np.where(r < 6.25, 2 * (s**6 - s**3), 0))


@program(
    "waves of an Ewald sum", "N=100 K=60", p=uniform("N 3"), charge=normal("N"), waves=integers("K 3", "6"),
    dtype="float64",
)  # fmt: skip
def ewald_waves(p, charge, waves):
    """The reciprocal part of the energy of charges in a periodic box."""
    k = 2 * np.pi * (waves - 2.5)
    size = np.sum(k * k, axis=1)
    phase = p @ k.T
    real, imaginary = charge @ np.cos(phase), charge @ np.sin(phase)
    return np.sum(np.exp(-size / 100) / size * (real**2 + imaginary**2))


@program("chain of beads", "N=200", p=normal("N 3"), stiffness=uniform("3"))
def bead_chain(p, stiffness):
    """Bonds, angles and dihedrals along a polymer."""
    b = p[1:] - p[:-1]
    length = np.sqrt(np.sum(b * b, axis=1) + 1e-6)
    u = b / length[:, None]
    bend = np.sum(u[1:] * u[:-1], axis=1)
    normals = np.cross(u[:-1], u[1:])
    turn = np.sum(normals[1:] * normals[:-1], axis=1)
    return stiffness[0] * np.sum((length - 1) ** 2) + stiffness[1] * np.sum(1 - bend) + stiffness[2] * np.sum(turn**2)


@program(
    "Kuramoto oscillators, 20 steps", "N=50 T=20", phase=normal("N"), rate=normal("N"), coupling=normal("N N", 0.1),
)  # fmt: skip
def kuramoto(phase, rate, coupling):
    """How far coupled oscillators come into step."""
    for _ in range(20):
        phase = phase + 0.05 * (rate + np.sum(coupling * np.sin(phase[None] - phase[:, None]), axis=1))
    return np.mean(np.cos(phase)) ** 2 + np.mean(np.sin(phase)) ** 2


@program("heat, 6 steps, 64 × 64", "H=64 T=6", x=normal("H H"))
def heat(x):
    """Explicit steps along the rows, around the edge."""
    for _ in range(6):
        x = x + 0.1 * (np.roll(x, 1, axis=1) + np.roll(x, -1, axis=1) - 2 * x)
    return np.sum(x * x)


@program("waves through a medium, 4 steps", "H=64 T=4", start=normal("H H"), speed=uniform("H H"), seen=normal("H"))
def waves(start, speed, seen):
    """The speed of waves fitted to what arrives at a row."""
    before = now = start
    for _ in range(4):
        around = np.roll(now, 1, axis=0) + np.roll(now, -1, axis=0) + np.roll(now, 1, axis=1) + np.roll(now, -1, axis=1)
        before, now = now, 2 * now - before + 0.2 * speed * (around - 4 * now)
    return np.sum((now[-1] - seen) ** 2)


@program(
    "reaction and diffusion, 3 steps", "H=48 T=3", u=uniform("H H"), v=uniform("H H", 0, 0.3),
    rates=uniform("2", 0.03, 0.06),
)  # fmt: skip
def reaction_diffusion(u, v, rates):
    """Gray and Scott's two substances."""
    feed, kill = rates

    def spread(z):
        padded = np.pad(z, 1, mode="edge")
        return padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * z

    for _ in range(3):
        uvv = u * v * v
        u, v = u + 0.16 * spread(u) - uvv + feed * (1 - u), v + 0.08 * spread(v) + uvv - (feed + kill) * v
    return np.sum(v * v)


@program("shallow water, 10 steps", "N=400 T=10", h=uniform("N", 1, 1.2), q=normal("N", 0.1))
def shallow_water(h, q):
    """Heights and flows in a channel by Lax and Friedrichs."""
    for _ in range(10):
        flux = q * q / h + 0.5 * 9.8 * h * h
        h, q = (
            0.5 * (np.roll(h, 1) + np.roll(h, -1)) - 0.05 * (np.roll(q, -1) - np.roll(q, 1)),
            0.5 * (np.roll(q, 1) + np.roll(q, -1)) - 0.05 * (np.roll(flux, -1) - np.roll(flux, 1)),
        )
    return np.sum((h - 1) ** 2) + np.sum(q * q)


@program("steady heat, 20 Jacobi rounds", "H=40 T=20", log_k=normal("H H", 0.3), source=normal("H H"))
def steady_heat(log_k, source):
    """An unknown conductivity, by relaxation from zero."""
    k, u = np.exp(log_k)[1:-1, 1:-1], 0 * source
    for _ in range(20):
        inner = (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] + source[1:-1, 1:-1] / k) / 4
        u = np.pad(inner, 1)
    return np.mean(u**2)


@program("trajectory of a cart-pole, 20 steps", "B=16 T=20", push=normal("T B"), start=normal("4 B", 0.1))
def cart_pole(push, start):
    """The cost of open-loop control, sixteen starts at once."""
    x, v, a, w = start
    total = 0.0
    for force in push:
        s, c = np.sin(a), np.cos(a)
        pull = (force + 0.05 * w * w * s) / 1.1
        turn = (9.8 * s - c * pull) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        v, w = v + 0.02 * (pull - 0.05 * turn * c / 1.1), w + 0.02 * turn
        x, a = x + 0.02 * v, a + 0.02 * w
        total = total + np.mean(x * x + 10 * a * a + 0.01 * force * force)
    return total


@program("arm of 6 joints", "B=500", angles=normal("B 6"), lengths=uniform("6", 0.5, 1), wanted=normal("B 2"))
def arm(angles, lengths, wanted):
    """Inverse kinematics in the plane."""
    turned = np.cumsum(angles, axis=1)
    x, y = np.cos(turned) @ lengths, np.sin(turned) @ lengths
    return np.mean((x - wanted[:, 0]) ** 2 + (y - wanted[:, 1]) ** 2) + 1e-2 * np.mean(angles**2)


@program("rotations of 2000 points", "N=2000", q=normal("N 4"), x=normal("N 3"))
def rotations(q, x):
    """Quaternions as matrices, by einsum."""
    w, a, b, c = (q / np.sqrt(np.sum(q * q, axis=1, keepdims=True))).T
    rows = [
        1 - 2 * (b * b + c * c), 2 * (a * b - w * c), 2 * (a * c + w * b),
        2 * (a * b + w * c), 1 - 2 * (a * a + c * c), 2 * (b * c - w * a),
        2 * (a * c - w * b), 2 * (b * c + w * a), 1 - 2 * (a * a + b * b),
    ]  # fmt: skip
    matrix = np.reshape(np.stack(rows, axis=-1), (-1, 3, 3))
    return np.sum(np.einsum("nij,nj->ni", matrix, x) ** 2 * x)


@program(
    "bundle adjustment", "C=10 P=200 N=1500", turn=normal("C 3", 0.2), shift=normal("C 3", 0.1), points=normal("P 3"),
    camera=integers("N", "C"), point=integers("N", "P"), seen=normal("N 2", 0.3), dtype="float64",
)  # fmt: skip
def bundle_adjustment(turn, shift, points, camera, point, seen):
    """Rodrigues' rotations of points into cameras; a robust error of projections."""
    r, x = turn[camera], points[point]
    angle = np.sqrt(np.sum(r * r, axis=1, keepdims=True) + 1e-12)
    k = r / angle
    along = np.sum(k * x, axis=1, keepdims=True) * k
    y = along + np.cos(angle) * (x - along) + np.sin(angle) * np.cross(k, x) + shift[camera]
    error = y[:, :2] / (y[:, 2:] + 6) - seen
    return np.sum(np.log1p(np.sum(error * error, axis=1)))


@program(
    "shaded spheres", "P=900 S=6", pixels=uniform("P 2", -1, 1), centre=normal("S 3", 0.4),
    log_radius=normal("S", 0.1, -1), colour=uniform("S 3"), light=normal("3"), target=uniform("P 3"),
)  # fmt: skip
def shaded_spheres(pixels, centre, log_radius, colour, light, target):
    """Soft coverage and Lambert's shading of spheres, seen from the front."""
    radius = np.exp(log_radius)
    off = pixels[:, None] - centre[None, :, :2]
    inside = radius**2 - np.sum(off * off, axis=2)
    z = np.sqrt(np.maximum(inside, 1e-4))
    normals = np.concatenate([off, z[..., None]], axis=2) / radius[:, None]
    shade = np.maximum(normals @ (light / np.sqrt(np.sum(light**2))), 0) + 0.1
    weight = sigmoid(20 * inside) * np.exp(2 * (z + centre[:, 2]))
    image = np.einsum("ps,ps,sc->pc", weight, shade, colour) / (np.sum(weight, axis=1, keepdims=True) + 1)
    return np.mean((image - target) ** 2)


@program("spectrum of a signal", "B=32 N=256", x=normal("B N"), window=normal("N"))
def spectrum(x, window):
    """The power of a windowed Fourier transform."""
    return np.mean(np.log(np.abs(np.fft.rfft(x * window)) ** 2 + 1e-3))


@program("Ising energies, mean field, 10 rounds", "N=100 T=10", J=normal("N N", 0.1), field=normal("N"))
def mean_field(J, field):
    """Magnetisations m = tanh(J m + h), and their free energy."""
    m = 0 * field
    for _ in range(10):
        m = 0.5 * m + 0.5 * np.tanh((J + J.T) @ m + field)
    p = (1 + m) / 2
    return -m @ J @ m - field @ m + np.sum(p * np.log(p) + (1 - p) * np.log(1 - p))
