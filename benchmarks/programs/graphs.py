"""Graphs, embeddings and recommendations: gathers and scatters."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import cross_entropy, log_softmax, sigmoid, softplus, sum_at, unit_rows
from benchmarks.programs.program import integers, normal, one_hot, program, uniform


@program(
    "graph convolution, dense", "N=1000 D=64 H=32 K=7", X=normal("N D"), A=uniform("N N", 0, 0.01),
    W_1=normal("D H", 0.1), W_2=normal("H K", 0.1), labels=one_hot("N K"),
)  # fmt: skip
def graph_convolution(X, A, W_1, W_2, labels):
    """Two layers over an adjacency matrix."""
    scores = A @ (np.maximum(A @ (X @ W_1), 0) @ W_2)
    return -np.mean(np.sum(labels * log_softmax(scores), axis=1))


@program(
    "graph attention", "N=500 E=4000 D=32 H=16", X=normal("N D"), source=integers("E", "N"), target=integers("E", "N"),
    W=normal("D H", 0.1), a=normal("H", 0.1), b=normal("H", 0.1), Y=normal("N H"),
)  # fmt: skip
def graph_attention(X, source, target, W, a, b, Y):
    """Each node takes from its neighbours by weights of its own."""
    h = X @ W
    score = (h @ a)[source] + (h @ b)[target]
    weight = np.exp(np.where(score > 0, score, 0.2 * score))
    total = sum_at(target, weight, len(X))
    return np.mean((sum_at(target, weight[:, None] * h[source], len(X)) / (total[:, None] + 1e-6) - Y) ** 2)


@program(
    "messages along edges", "N=500 E=4000 D=16 H=32", X=normal("N D"), source=integers("E", "N"),
    target=integers("E", "N"), W_1=normal("2D H", 0.1), b=normal("H", 0.1), W_2=normal("H D", 0.1),
)  # fmt: skip
def messages(X, source, target, W_1, b, W_2):
    """A network of both ends of an edge; sums at the targets."""
    h = np.maximum(np.concatenate([X[source], X[target]], axis=1) @ W_1 + b, 0) @ W_2
    return np.mean(sum_at(target, h, len(X)) ** 2)


@program(
    "continuous-filter convolution", "N=200 E=2000 H=32", places=normal("N 3"), x=normal("N H"),
    source=integers("E", "N"), target=integers("E", "N"), W_1=normal("16 H", 0.2), W_2=normal("H H", 0.2),
    v=normal("H", 0.2),
)  # fmt: skip
def continuous_filter(places, x, source, target, W_1, W_2, v):
    """Molecules: messages weighted by a network of distances in radial bumps, as in SchNet."""
    distance = np.sqrt(np.sum((places[source] - places[target]) ** 2, axis=1) + 1e-6)
    bumps = np.exp(-4 * (distance[:, None] - np.linspace(0, 4, 16, dtype=x.dtype)) ** 2)
    weights = softplus(bumps @ W_1) @ W_2
    x = x + sum_at(target, weights * x[source], len(x))
    return np.sum(softplus(x) @ v)


@program(
    "means of sampled neighbours", "N=1000 B=256 S=10 D=32 H=32", X=normal("N D"), node=integers("B", "N"),
    neighbours=integers("B S", "N"), W=normal("2D H", 0.1), V=normal("H 7", 0.1), labels=integers("B", "7"),
)  # fmt: skip
def sampled_neighbours(X, node, neighbours, W, V, labels):
    """GraphSAGE: a node beside the mean of ten neighbours."""
    both = np.concatenate([X[node], np.mean(X[neighbours], axis=1)], axis=1)
    return cross_entropy(unit_rows(np.maximum(both @ W, 0)) @ V, labels)


@program(
    "personalised ranks of pages, 10 rounds", "N=200 E=1500", log_weight=normal("E"), source=integers("E", "N"),
    target=integers("E", "N"), wanted=uniform("N"),
)  # fmt: skip
def page_ranks(log_weight, source, target, wanted):
    """Weights of links whose stationary ranks are to be wanted ones."""
    weight, n = np.exp(log_weight), len(wanted)
    share = weight / (sum_at(source, weight, n)[source] + 1e-6)
    rank = np.full_like(wanted, 1 / n)
    for _ in range(10):
        rank = 0.15 / n + 0.85 * sum_at(target, share * rank[source], n)
    return np.sum((rank - wanted / np.sum(wanted)) ** 2)


@program(
    "translations in knowledge graphs", "N=2000 R=20 B=512 D=32", entity=normal("N D"), relation=normal("R D"),
    head=integers("B", "N"), link=integers("B", "R"), tail=integers("B", "N"), wrong=integers("B", "N"),
)  # fmt: skip
def translations(entity, relation, head, link, tail, wrong):
    """TransE: head + relation is to be near the tail."""
    moved = entity[head] + relation[link]
    near, far = (np.sum(np.abs(moved - entity[i]), axis=1) for i in (tail, wrong))
    return np.mean(np.maximum(near - far + 1, 0))


@program(
    "word vectors, negative samples", "V=10000 B=512 K=5 D=64", word=integers("B", "V"), near=integers("B", "V"),
    far=integers("B K", "V"), E=normal("V D", 0.1), F=normal("V D", 0.1),
)  # fmt: skip
def word_vectors(word, near, far, E, F):
    """Skip-grams beside five drawn words each."""
    a = E[word]
    wrong = np.einsum("bd,bkd->bk", a, F[far])
    return np.mean(softplus(-np.sum(a * F[near], axis=1)) + np.sum(softplus(wrong), axis=1))


@program(
    "matrix factorization by pairs", "N=5000 B=1024 D=32", user=integers("B", "N"), item=integers("B", "N"),
    rating=normal("B"), P=normal("N D", 0.1), Q=normal("N D", 0.1), b=normal("N", 0.1), c=normal("N", 0.1),
)  # fmt: skip
def matrix_factorization(user, item, rating, P, Q, b, c):
    """Ratings as products of factors, with biases and decay."""
    found = np.sum(P[user] * Q[item], axis=1) + b[user] + c[item]
    return np.mean((found - rating) ** 2) + 0.01 * (np.mean(P * P) + np.mean(Q * Q))


@program(
    "Bayesian personalised ranking", "N=2000 B=1024 D=32", user=integers("B", "N"), liked=integers("B", "N"),
    other=integers("B", "N"), P=normal("N D", 0.1), Q=normal("N D", 0.1),
)  # fmt: skip
def personalised_ranking(user, liked, other, P, Q):
    """What was liked is to rank above what was not."""
    p = P[user]
    return np.mean(softplus(-np.sum(p * (Q[liked] - Q[other]), axis=1)) + 0.01 * np.sum(p * p, axis=1))


@program(
    "matrix completion", "N=200 M=150 R=10", seen=uniform("N M"), values=normal("N M"), U=normal("N R", 0.3),
    V=normal("M R", 0.3),
)  # fmt: skip
def matrix_completion(seen, values, U, V):
    """A matrix of low rank, compared where it was seen."""
    return np.sum(np.where(seen < 0.3, (U @ V.T - values) ** 2, 0)) + 0.1 * (np.sum(U * U) + np.sum(V * V))


@program(
    "two towers", "U=2000 B=256 S=10 D=32", history=integers("B S", "U"), item=integers("B", "U"), E=normal("U D", 0.1),
    F=normal("U D", 0.1), W=normal("D D", 0.2),
)  # fmt: skip
def two_towers(history, item, E, F, W):
    """Users by the mean of what they saw, items by an embedding; softmax over the batch."""
    users = unit_rows(np.tanh(np.mean(E[history], axis=1) @ W))
    return cross_entropy(users @ unit_rows(F[item]).T / 0.1, np.arange(len(item)))


@program(
    "embedding bag", "V=10000 B=256 S=20 D=64", places=integers("B S", "V"), E=normal("V D"), W=normal("D 1", 0.1),
    y=normal("B 1"),
)  # fmt: skip
def embedding_bag(places, E, W, y):
    """The mean of twenty rows, then a line."""
    return np.mean((np.mean(E[places], axis=1) @ W - y) ** 2)


@program("sums of embeddings", "V=1000 B=256 S=10 D=32", places=integers("B S", "V"), E=normal("V D"))
def embedding_sums(places, E):
    """The squares of sums of ten rows."""
    return np.sum(np.sum(E[places], axis=1) ** 2)


@program(
    "hashed embeddings", "V=1000 B=512 K=4 D=16", places=integers("B K", "V"), share=normal("B K"), E=normal("V D"),
    W=normal("D 2", 0.2), y=normal("B 2"),
)  # fmt: skip
def hashed_embeddings(places, share, E, W, y):
    """A weighted sum of four hashed rows."""
    return np.mean((np.einsum("bk,bkd->bd", sigmoid(share), E[places]) @ W - y) ** 2)


@program(
    "language model of four words", "V=2000 B=256 D=32 H=128", words=integers("B 4", "V"), E=normal("V D", 0.1),
    W_1=normal("4D H", 0.1), W_2=normal("H V", 0.1), following=integers("B", "V"),
)  # fmt: skip
def four_words(words, E, W_1, W_2, following):
    """The next word from the embeddings of four."""
    return cross_entropy(np.tanh(np.reshape(E[words], (len(words), -1)) @ W_1) @ W_2, following)


@program(
    "signed distances of a layout", "N=300 E=900", places=normal("N 2"), source=integers("E", "N"),
    target=integers("E", "N"), log_k=normal("", 0.1),
)  # fmt: skip
def graph_layout(places, source, target, log_k):
    """Springs along edges, repulsion of all pairs."""
    d = np.sum((places[:, None] - places[None]) ** 2, axis=2) + 0.01
    length = np.sqrt(np.sum((places[source] - places[target]) ** 2, axis=1) + 1e-6)
    return np.sum((length - 1) ** 2) - np.exp(log_k) * np.sum(np.log(d)) / len(places)
