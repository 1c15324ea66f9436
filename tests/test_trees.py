"""Trees of arrays: any nesting comes apart and goes together again, as the same types, in the same order."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow import trees


class Pair(NamedTuple):
    a: Any
    b: Any = None


@dataclass
class Layer:
    W: Any
    b: Any
    size: int = 3
    name: str = "layer"
    activation: Any = np.tanh
    scale: float = 1.0


@dataclass(frozen=True)
class Frozen:
    layers: Any
    rate: float


@dataclass
class Checked:
    """Refuses what is no array when it is made; trees may hold tracers all the same."""

    W: Any

    def __post_init__(self) -> None:
        if not isinstance(self.W, np.ndarray):
            raise TypeError("an array, please")


@dataclass(slots=True)
class Slotted:
    W: Any
    n: int = 2


@dataclass
class Child(Layer):
    extra: Any = field(default_factory=lambda: np.ones(2))


X = np.arange(3.0)

TREES: list[tuple[Any, list[str]]] = [
    (1.5, [""]),
    (X, [""]),
    ((), []),
    ([], []),
    ({}, []),
    (None, []),
    ((X, 2.0), ["[0]", "[1]"]),
    ([X, [2.0, (3.0,)]], ["[0]", "[1][0]", "[1][1][0]"]),
    ({"b": 1.0, "a": X}, ["['a']", "['b']"]),
    (OrderedDict(b=1.0, a=X), ["['b']", "['a']"]),
    (Pair(X, {"k": None, "j": 2.0}), [".a", ".b['j']"]),
    (Layer(X, 2.0), [".W", ".b", ".scale"]),
    (Frozen([Layer(X, 1.0), Layer(X, 2.0)], 0.1), [".layers[0].W", ".layers[0].b", ".layers[0].scale",
     ".layers[1].W", ".layers[1].b", ".layers[1].scale", ".rate"]),
    (Slotted(X), [".W"]),
    (Child(X, 1.0), [".W", ".b", ".scale", ".extra"]),
    ((None, X, None), ["[1]"]),
    ({1: X, 2: 3.0}, ["[1]", "[2]"]),
    (defaultdict(list, a=[1.0]), ["['a'][0]"]),
    (deque([1.0, 2.0]), ["[0]", "[1]"]),
]  # fmt: skip


def equal(a: Any, b: Any) -> bool:
    """Equal in type, structure and leaves, by Python's own means."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(map(equal, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return all(equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return bool(a == b) if a is not None else b is None


@pytest.mark.parametrize(("tree", "names"), TREES, ids=lambda x: type(x).__name__)
def test_apart_and_together_again(tree: Any, names: list[str]) -> None:
    """flatten and rebuild are inverse; types, order, None and what is no leaf are kept."""
    leaves, rebuild = trees.flatten(tree)
    assert len(leaves) == len(names)
    assert equal(rebuild(leaves), tree)
    assert all(isinstance(leaf, float | np.ndarray) for leaf in leaves)


@pytest.mark.parametrize(("tree", "names"), TREES, ids=lambda x: type(x).__name__)
def test_paths_are_how_python_reaches_the_leaves(tree: Any, names: list[str]) -> None:
    """Each path, written behind the tree's name, evaluates to the leaf."""
    assert trees.paths(tree) == names
    for path, leaf in zip(trees.paths(tree), trees.flatten(tree)[0], strict=True):
        assert eval(f"tree{path}") is leaf


@pytest.mark.parametrize(("tree", "names"), TREES, ids=lambda x: type(x).__name__)
def test_map_keeps_the_structure(tree: Any, names: list[str]) -> None:
    """A function of the leaves of one or two trees gives a tree like them, and changes neither."""
    before = trees.map(lambda x: np.array(x), tree)
    doubled = trees.map(lambda x, y: x + y, tree, tree)
    assert trees.same_structure(doubled, tree)
    for two, one in zip(trees.flatten(doubled)[0], trees.flatten(tree)[0], strict=True):
        np.testing.assert_array_equal(two, 2 * np.asarray(one))
    for now, kept in zip(trees.flatten(tree)[0], trees.flatten(before)[0], strict=True):
        np.testing.assert_array_equal(now, kept)


def test_leaves_of_another_tree_may_be_anything() -> None:
    """rebuild puts in what it is given: strings, None, tracers; a constructor that would refuse them is not called."""
    _, rebuild = trees.flatten([Checked(X), Layer(X, 1.0)])
    found = rebuild(["a", None, "c", "d"])
    assert found[0].W == "a"
    assert found[1].W is None
    assert found[1].name == "layer"
    np.testing.assert_array_equal(ut.grad(lambda p: np.sum(p.W**2))(Checked(X)).W, 2 * X)


def test_the_number_of_leaves_must_be_right() -> None:
    """Too few or too many leaves are an error, not a tree with holes."""
    _, rebuild = trees.flatten((X, {"a": 1.0}))
    for leaves in ([X], [X, 1.0, 2.0]):
        with pytest.raises(ValueError, match=r"[Ll]eaves|[Ee]xpected"):
            rebuild(leaves)


def test_mapping_over_trees_of_different_structure_is_an_error() -> None:
    """Gradients of another tree cannot be mixed up with parameters without notice."""
    for other in ((X,), (X, X, X)):
        with pytest.raises(ValueError, match=r"shorter|longer|[Ss]tructure"):
            trees.map(lambda a, b: a, (X, X), other)


@pytest.mark.parametrize("other", [{"a": X, "c": X}, OrderedDict(a=X, b=X), [X, X], Pair(X, X)], ids=str)
def test_mapping_over_trees_of_as_many_leaves_but_another_structure_is_an_error(other: Any) -> None:
    """Equal counts do not make two trees alike: keys and types must agree."""
    with pytest.raises((ValueError, TypeError), match=r"[Ss]tructure"):
        trees.map(lambda a, b: a, {"a": X, "b": X}, other)


def test_same_structure_looks_at_all_but_the_leaves() -> None:
    """Keys, types, lengths and the fields that are no arrays count; values and shapes of leaves do not."""
    same = trees.same_structure
    assert same((X, 1.0), (2.0, X))
    assert same({"a": X, "b": 1.0}, {"b": 2.0, "a": 3.0})
    assert same(Layer(X, 1.0), Layer(1.0, X))
    assert not same((X, X), [X, X])
    assert not same((X, X), (X,))
    assert not same({"a": X}, {"b": X})
    assert not same(Pair(X, X), (X, X))
    assert not same(Layer(X, X, name="a"), Layer(X, X, name="b"))
    assert not same(Layer(X, X, size=3), Layer(X, X, size=4))
    assert not same((X, None), (X, 1.0))
    assert not same(Layer(X, X), Child(X, X))


def test_a_fields_float_is_a_leaf_and_its_int_is_not() -> None:
    """A rate of 0.5 may be learnt; a size of 3 belongs to the structure."""
    gradient = ut.grad(lambda p: np.sum(p.W) * p.scale * p.size)(Layer(X, 1.0))
    assert gradient.scale == np.sum(X) * 3
    assert gradient.size == 3
    assert gradient.activation is np.tanh
    assert isinstance(gradient, Layer)


def test_frozen_and_slotted_classes() -> None:
    """A frozen or a slotted dataclass is taken apart like any other."""
    gradient = ut.grad(lambda p: np.sum(p.layers[0].W ** 2) * p.rate)(Frozen((Slotted(X),), 2.0))
    np.testing.assert_array_equal(gradient.layers[0].W, 4 * X)
    assert gradient.rate == np.sum(X**2)
    assert gradient.layers[0].n == 2


def test_shared_arrays_are_leaves_of_their_own() -> None:
    """One array at two places is two leaves: each gets the gradient of its place."""
    gradient = ut.grad(lambda p: np.sum(p["a"] * 2) + np.sum(p["b"] * 3))({"a": X, "b": X})
    np.testing.assert_array_equal(gradient["a"], [2, 2, 2])
    np.testing.assert_array_equal(gradient["b"], [3, 3, 3])


NESTED = st.recursive(
    st.floats(-5, 5) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.builds(Slotted, inner)
    ),
    max_leaves=12,
)


@given(NESTED)
def test_any_nesting_comes_back(tree: Any) -> None:
    """Random trees: apart and together again is the same tree, and the gradient of Σ x² is a tree of 2x."""
    leaves, rebuild = trees.flatten(tree)
    assert equal(rebuild(leaves), tree)
    assert len(trees.paths(tree)) == len(leaves)
    if leaves:
        gradient = ut.grad(lambda t: sum((x**2 for x in trees.flatten(t)[0]), start=0.0))(tree)
        assert trees.same_structure(gradient, tree)
        assert trees.flatten(gradient)[0] == [2 * x for x in leaves]
