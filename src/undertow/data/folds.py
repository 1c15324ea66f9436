"""Splits for data that is grouped or ordered in time, and folds for cross-validation."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.data.batches import read_classes, read_fraction, read_whole
from undertow.errors import ArgumentError, DataError, ShapeError

Indices = NDArray[np.int64]


def split_groups(groups: ArrayLike, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out whole groups (patients, machines), so that none has examples on both sides.

    Args:
        groups: the group of each example, (m,), texts or numbers.
        fraction: the share of examples to hold out, 0 ≤ fraction < 1; reached as nearly as the groups allow.
        seed: 0 or more; decides which groups.

    Returns:
        The indices of the training part and of the validation part, int64, each sorted; at least one group
        in each where fraction > 0 and there are two groups or more.

    Raises:
        DataError: ``split_groups: all examples are of one group …``, or a missing group.
        ArgumentError: a fraction or seed out of range.

    Source: derived here.

    Example:
        >>> train, held = split_groups(["a", "b", "a", "c", "b", "d"], 0.3, seed=0)
        >>> train.tolist(), held.tolist()
        ([0, 1, 2, 4], [3, 5])
    """
    codes = _read_groups(groups, "split_groups")
    fraction, seed = read_fraction(fraction), read_whole(seed, "seed", 0)
    everything = np.arange(len(codes), dtype=np.int64)
    if fraction == 0:
        return everything, everything[:0]
    sizes = np.bincount(codes)
    if sizes.size == 1:
        raise DataError(
            "split_groups: all examples are of one group, so none can be held out. Give more groups, or hold out 0."
        )
    wanted = fraction * len(codes)
    held_groups: list[int] = []
    n_held = 0
    for group in np.random.default_rng(seed).permutation(sizes.size):
        n = int(sizes[group])
        closer = abs(n_held + n - wanted) <= abs(n_held - wanted)
        if len(held_groups) < sizes.size - 1 and closer:
            held_groups.append(int(group))
            n_held += n
    if not held_groups:
        held_groups = [int(np.argmin(sizes))]
    held = np.isin(codes, held_groups)
    return everything[~held], everything[held]


def split_time(times: ArrayLike, fraction: float) -> tuple[Indices, Indices]:
    """Hold out the last share of examples in time; examples of one moment stay together.

    Args:
        times: when each example was, (m,): numbers, ``datetime64``, or texts that sort as time does.
        fraction: the share of examples to hold out, 0 ≤ fraction < 1.

    Returns:
        The indices of the training part and of the validation part, int64, each sorted; every moment of
        the validation part is later than all of the training part.

    Raises:
        DataError: all examples are of one moment, or a time is missing.

    Source: derived here.

    Example:
        >>> train, held = split_time([2001, 2003, 2002, 2004], 0.25)
        >>> train.tolist(), held.tolist()
        ([0, 1, 2], [3])
    """
    codes = _read_groups(times, "split_time")
    fraction = read_fraction(fraction)
    everything = np.arange(len(codes), dtype=np.int64)
    if fraction == 0:
        return everything, everything[:0]
    sizes = np.bincount(codes)
    if sizes.size == 1:
        raise DataError(
            "split_time: all examples are of one moment, so none is later. Give other times, or a fraction of 0."
        )
    after = np.cumsum(sizes[::-1])[::-1][1:]  # examples that are later than each moment but the last
    first_held = 1 + int(np.argmin(np.abs(after - fraction * len(codes))))
    held = codes >= first_held
    return everything[~held], everything[held]


def k_folds(
    n: int, k: int, seed: int, stratify: ArrayLike | None = None, groups: ArrayLike | None = None
) -> list[tuple[Indices, Indices]]:
    """Deal examples into k parts, each of which is held out once.

    Args:
        n: the number of examples.
        k: the number of folds, 2 … n.
        seed: 0 or more; decides the parts.
        stratify: n class labels; each fold then has its share of each class, within one example.
        groups: n groups; each is in one fold as a whole, the largest are dealt first, to the smallest fold.

    Returns:
        k pairs of the indices of the training part and of the validation part, int64, each sorted.

    Raises:
        ArgumentError: ``k_folds: 5 folds of 3 examples. Give k from 2 to 3.``, or both stratify and groups.
        DataError: fewer groups than folds, or a single example.

    Source: T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2009, section 7.10.1.

    Example:
        >>> folds = k_folds(6, 3, seed=0, stratify=[0, 0, 0, 1, 1, 1])
        >>> [held.tolist() for _, held in folds]
        [[2, 3], [0, 5], [1, 4]]
    """
    n, k, seed = read_whole(n, "n", 1), read_whole(k, "k", 2), read_whole(seed, "seed", 0)
    if n == 1:
        raise DataError("k_folds: a single example cannot be dealt into folds. Give two or more.")
    if k > n:
        raise ArgumentError(f"k_folds: {k} folds of {n} examples. Give k from 2 to {n}.")
    if stratify is not None and groups is not None:
        raise ArgumentError("k_folds: give stratify or groups, not both: whole groups have the classes they have.")
    rng = np.random.default_rng(seed)
    fold_of = np.empty(n, dtype=np.int64)
    if groups is not None:
        codes = _read_groups(groups, "k_folds")
        if codes.shape != (n,):
            raise ShapeError(f"k_folds: there are {n} examples but groups is {codes.shape}. Give each a group.")
        fold_of = _deal_groups(codes, k, rng)[codes]
    else:
        codes = np.zeros(n, dtype=np.int64) if stratify is None else read_classes(stratify, n, "k_folds")
        order = rng.permutation(n)
        order = order[np.argsort(codes[order], kind="stable")]  # class after class, each in random order
        fold_of[order] = np.arange(n) % k
    everything = np.arange(n, dtype=np.int64)
    return [(everything[fold_of != fold], everything[fold_of == fold]) for fold in range(k)]


def _deal_groups(codes: Indices, k: int, rng: np.random.Generator) -> Indices:
    """The fold of each group."""
    sizes = np.bincount(codes)
    if sizes.size < k:
        raise DataError(f"k_folds: there are {sizes.size} groups for {k} folds. Give more groups, or fewer folds.")
    order = rng.permutation(sizes.size)
    order = order[np.argsort(-sizes[order], kind="stable")]
    totals = np.zeros(k, dtype=np.int64)
    fold_of_group = np.empty(sizes.size, dtype=np.int64)
    for group in order:
        fold = int(np.argmin(totals))
        fold_of_group[group] = fold
        totals[fold] += sizes[group]
    return fold_of_group


def _read_groups(groups: ArrayLike, who: str) -> Indices:
    """Groups or times as codes 0 … n − 1 in their order."""
    values = np.asarray(groups)
    if values.ndim != 1 or values.size == 0:
        raise ShapeError(f"{who}: the groups or times are {values.shape}. Give one for each example.")
    missing = np.zeros(values.shape, dtype=bool)
    if values.dtype.kind == "f":
        missing = np.isnan(values)
    elif values.dtype.kind in "mM":
        missing = np.isnat(values)
    elif values.dtype.kind == "O":
        missing = np.array([value is None or value != value for value in values])
    if missing.any():
        raise DataError(
            f"{who}: the group or time of example {int(missing.argmax())} is missing. Give each example one."
        )
    try:
        return np.unique(values, return_inverse=True)[1].reshape(len(values)).astype(np.int64)
    except TypeError:
        raise DataError(f"{who}: the groups or times differ in type. Give values of one type.") from None


def draw_of_text(text: str, seed: int) -> float:
    """A number in [0, 1) that follows from a text and a seed alone, on every machine.

    Example:
        >>> 0 <= draw_of_text("patient 7", 0) < 1
        True
    """
    digest = hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=8, salt=str(seed).encode()[:16]
    ).digest()
    return int.from_bytes(digest, "big") / 2**64
