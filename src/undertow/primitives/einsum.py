"""Einstein summation: every form of ``np.einsum``, to derivatives of any order."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Size, Spec, show_shape
from undertow.primitives.record import Code, Primitive, Sample, Traced, answers, dtype_of, refuse, shape_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to, expand_dims, transpose

_LETTERS = string.ascii_lowercase + string.ascii_uppercase


def split(subscripts: str) -> tuple[list[str], str]:
    """Take ``"ij,jk->ik"`` apart: the letters of each operand, and those of the result."""
    inputs, output = subscripts.split("->")
    return inputs.split(","), output


def distinct(letters: str) -> str:
    """Return the letters without repetitions, in order."""
    return "".join(dict.fromkeys(letters))


def measure(inputs: Sequence[str], shapes: Sequence[Shape]) -> dict[str, Size]:
    """Return the size that each letter stands for; a size 1 broadcasts.

    Raises:
        ShapeError: a letter stands for two sizes, or an operand has another number of axes than letters.
    """
    sizes: dict[str, Size] = {}
    for position, (letters, shape) in enumerate(zip(inputs, shapes, strict=True)):
        if len(letters) != len(shape):
            raise ShapeError(
                f"operand {position + 1} of np.einsum has the {len(letters)} subscripts {letters!r} "
                f"and the {len(shape)} axes {show_shape(shape)}. Name every axis, or write ... for the rest."
            )
        own: dict[str, Size] = {}
        for letter, size in zip(letters, shape, strict=True):
            known = own.setdefault(letter, size)
            if known == size != 1 and sizes.get(letter, 1) != 1:
                known = sizes[letter]
            if known != size:
                raise ShapeError(f"the subscript {letter!r} of np.einsum stands for sizes {known} and {size}.")
            if sizes.get(letter, 1) == 1:
                sizes[letter] = size
    return sizes


def _infer(*xs: Spec, subscripts: str, optimize: Any = False) -> Spec:
    inputs, output = split(subscripts)
    sizes = measure(inputs, [x.shape for x in xs])
    return Spec(tuple(sizes[letter] for letter in output), np.result_type(*[x.dtype for x in xs]))


def _back(position: int, ct: Any, out: Any, *xs: Any, subscripts: str, optimize: Any = False) -> Any:
    """Swap the operand with the result: the cotangent takes its place in the same sum."""
    inputs, output = split(subscripts)
    mine, shape = inputs[position], shape_of(xs[position])
    sizes = measure(inputs, [shape_of(x) for x in xs])
    terms = [(output, ct), *((inputs[i], x) for i, x in enumerate(xs) if i != position)]
    reached = {  # the letters along which the result varies; along the others it is the same everywhere
        letter
        for letters, x in terms
        for letter, size in zip(letters, shape_of(x), strict=True)
        if size == sizes[letter]
    }
    grown = {letter for letter, size in zip(mine, shape, strict=True) if size != sizes[letter]}
    each = distinct(mine)
    kept = "".join(letter for letter in each if letter in reached and letter not in grown)
    summed = set("".join(letters for letters, _ in terms)) - set(kept)
    wanted = f"{','.join(letters for letters, _ in terms)}->{kept}"
    found = ct
    if wanted != f"{output}->{output}":
        found = einsum(*[x for _, x in terms], subscripts=wanted, optimize=len(terms) > 1 and bool(summed))
    if kept != each:
        own = dict(zip(mine, shape, strict=True))
        found = expand_dims(found, axis=tuple(i for i, letter in enumerate(each) if letter not in kept))
        found = broadcast_to(found, shape=tuple(own[letter] for letter in each))
    return found if each == mine else spread(found, subscripts=mine, shape=shape)


def _spell(*xs: Code, subscripts: str, optimize: Any = False, **_: Any) -> Code:
    option = f", optimize={optimize!r}" if optimize is not False else ""
    return Code(f"np.einsum({subscripts!r}, {', '.join(x.text for x in xs)}{option})")


_FORMS = (
    ("ij,jk->ik", (2, 3), (3, 4)), ("i,i->", (3,), (3,)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij->i", (2, 3)),
    ("ii->", (3, 3)), ("iij->j", (2, 2, 3)), ("ii,i->i", (3, 3), (3,)), ("i,j->ij", (2,), (3,)),
    ("bij,bjk->bik", (2, 3, 2), (2, 2, 3)), ("ij,ij->ij", (2, 3), (2, 3)), ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
    ("i,ij,j->", (2,), (2, 3), (3,)), ("ij,k->k", (2, 3), (2,)), ("i,ij->j", (1,), (2, 3)),
    ("ij,ij->i", (1, 3), (2, 1)),
    (",ij->ij", (), (2, 3)), (",->", (), ()), ("ij,jk->ik", (0, 3), (3, 2)), ("iji,j->ij", (2, 3, 2), (3,)),
    ("i,i->", (1,), (3,)), ("ijk,jil->kl", (2, 3, 2), (3, 2, 2)),
)  # fmt: skip


def _samples(view: bool) -> list[Sample]:
    forms = (("ii->i", (3, 3)), ("iji->ji", (2, 3, 2)), ("iijj->ij", (2, 2, 2, 2)), ("ii->i", (0, 0)))
    return [
        Sample(tuple(draw(s, i) for i, s in enumerate(shapes)), {"subscripts": form, "optimize": False}, form)
        for form, *shapes in (forms if view else _FORMS)
    ]


def _forward(*xs: Any, subscripts: str, optimize: Any = False) -> Any:
    return np.asarray(np.einsum(subscripts, *xs, optimize=optimize))[()]


def _record(name: str, view: bool) -> Primitive:
    return Primitive(
        name=name,
        forward=_forward,
        infer=_infer,
        vjps=_back,
        spell=_spell,
        text="einsum({0}, {1}, …)" if not view else "the diagonal of {0}",
        latex=r"\operatorname{{einsum}}({0}, {1}, \ldots)" if not view else r"\operatorname{{diagonal}}({0})",
        flow=("the same sum with {ct} in its place",),
        latex_flow=(r"\operatorname{{einsum}}({ct}, \ldots)",),
        samples=lambda: _samples(view),
        view=view,
        source="derived here: the sum is linear in each operand",
    )


einsum = _record("einsum", False)
einsum_diagonal = _record("einsum_diagonal", True)  # "ii->i" shares its operand's memory in NumPy


def _spread(x: Any, subscripts: str, shape: tuple[int, ...]) -> Any:
    result = np.zeros(shape, np.asarray(x).dtype)
    np.einsum(f"{subscripts}->{distinct(subscripts)}", result)[...] = x
    return result


spread = Primitive(
    name="spread",
    forward=_spread,
    infer=lambda x, subscripts, shape: Spec(shape, x.dtype),
    vjps=(
        lambda ct, out, x, subscripts, shape: einsum_diagonal(
            ct, subscripts=f"{subscripts}->{distinct(subscripts)}", optimize=False
        ),
    ),
    spell=lambda x, *, subscripts, shape, **_: Code(f"spread({x.text}, {subscripts!r}, {show_shape(shape)})"),
    text="zeros with {0} on the diagonal",
    latex=r"\operatorname{{diag}}({0})",
    flow=("the diagonal of {ct}",),
    latex_flow=(r"\operatorname{{diagonal}}({ct})",),
    helper='''def spread(x, subscripts, shape):
    """Zeros with x on the diagonal that repeated subscripts name: "ii", "iij"."""
    result = np.zeros(shape, np.asarray(x).dtype)
    np.einsum(f"{subscripts}->{''.join(dict.fromkeys(subscripts))}", result)[...] = x
    return result''',
    samples=lambda: [
        Sample((draw(a, 1),), {"subscripts": form, "shape": b}, form)
        for form, a, b in (("ii", (3,), (3, 3)), ("iji", (2, 3), (2, 3, 2)), ("ii", (1,), (1, 1)), ("ii", (0,), (0, 0)))
    ],
)


# ---- the forms of the call -----------------------------------------------------------------------


def _as_text(operands: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """Bring ``einsum(a, [0, 1], b, [1, 2], [0, 2])`` to the form with a string; its numbers become letters."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    arrays, lists = list(operands[:-1:2]), list(operands[1::2])
    last = operands[-1] if len(operands) % 2 else None

    def letters(entries: Any) -> str:
        return "".join("..." if entry is Ellipsis else _LETTERS[int(entry)] for entry in entries)

    text = ",".join(letters(entries) for entries in lists)
    if last is not None:
        return f"{text}->{letters(last)}", arrays
    if "..." not in text:  # numbers sort as numbers, where letters sort upper case first
        return f"{text}->{''.join(c for c in _LETTERS if text.count(c) == 1)}", arrays
    return text, arrays


def normalize(operands: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """Return explicit subscripts without an ellipsis, and the arrays.

    Raises:
        ShapeError: another number of operands than of terms, or a result with unknown or repeated letters.
    """
    text, arrays = _as_text(operands)
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(arrays):
        raise ShapeError(f"np.einsum({text!r}) names {len(inputs)} operands and got {len(arrays)}.")
    free = [letter for letter in _LETTERS if letter not in text]
    counts = [len(shape_of(x)) - len(term.replace("...", "")) if "..." in term else 0
              for term, x in zip(inputs, arrays, strict=True)]  # fmt: skip
    if min(counts) < 0 or max(counts) > len(free):
        raise ShapeError(f"np.einsum({text!r}): an operand has fewer axes than subscripts.")
    rest = "".join(free[: max(counts)])  # the letters of the axes behind the ellipsis, the last ones shared
    if not arrow:
        single = sorted(letter for letter in set(left) - {",", "."} if left.count(letter) == 1)
        output = f"{'...' if '...' in left else ''}{''.join(single)}"
    elif rest and "..." not in output:
        raise ShapeError(f"np.einsum({text!r}): the result needs the ... that the operands have.")
    inputs = [term.replace("...", rest[len(rest) - n :]) for term, n in zip(inputs, counts, strict=True)]
    output = output.replace("...", rest)
    if len(set(output)) < len(output) or not set(output) <= set("".join(inputs)):
        raise ShapeError(f"np.einsum({text!r}): each subscript of the result must stand once there and in an operand.")
    return f"{','.join(inputs)}->{output}", arrays


def _calls() -> list[Sample]:
    a, b, c, v = draw((2, 3), 1), draw((3, 4), 2), draw((4, 2), 3), draw((3,), 4)
    stack, square = draw((2, 2, 3), 5), draw((3, 3), 6)
    return [
        *(
            Sample((form, *[draw(s, i) for i, s in enumerate(shapes)]), note=form)
            for form, *shapes in (*_FORMS, ("ii->i", (3, 3)), ("iji->ji", (2, 3, 2)))
        ),
        Sample(("ij,jk", a, b), note="implicit"),
        Sample(("ba", a), note="implicit: a transpose"),
        Sample(("ii", square), note="implicit: the trace"),
        Sample((" i j , j k -> i k ", a, b), note="spaces"),
        Sample(("...ij,jk->...ik", stack, b), note="an ellipsis in one operand"),
        Sample(("...j,...j->...", stack, v), note="an ellipsis of two lengths"),
        Sample(("i...,i...", stack, draw((2, 1, 3), 7)), note="an implicit ellipsis that broadcasts"),
        Sample(("...ii->...i", draw((2, 3, 3), 8)), note="the diagonals of a stack"),
        Sample(("...,...", a, v), note="only ellipses"),
        Sample((a, [0, 1], b, [1, 2]), note="lists, implicit"),
        Sample((a, [0, 1], b, [1, 2], [2, 0]), note="lists, explicit"),
        Sample((stack, [Ellipsis, 5], v, [5], [Ellipsis]), note="lists with an ellipsis"),
        Sample(("ij,jk,kl->il", a, b, c), {"optimize": True}, "optimized"),
        Sample(("ij,jk,ki", a, b, c), {"optimize": "optimal"}, "optimized, to a number"),
        Sample(("ij,jk,kl,lm->im", a, b, c, draw((2, 2), 9)), {"optimize": "greedy"}, "four operands"),
        Sample(("ij,jk,kl->il", a, b, c), {"optimize": ["einsum_path", (1, 2), (0, 1)]}, "a path given"),
        Sample(("ij,jk->ik", a, b), {"optimize": False, "order": "C", "casting": "safe"}, "options without effect"),
        Sample(("i,ij,ijk,jk->k", draw((2,), 10), a, draw((2, 3, 2), 11), draw((3, 2), 12)), note="many operands"),
        Sample(("ij,j->i", a, np.array([1, 2, 3])), note="integers beside floats"),
        Sample(("ij->j", a), {"dtype": np.float64}, "dtype"),
    ]


@answers(np.einsum, samples=_calls)
def _einsum(*operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: Any = "K",
            casting: Any = "safe") -> Any:  # fmt: skip
    refuse("np.einsum", out=out)
    subscripts, arrays = normalize(operands)
    if dtype is not None:
        arrays = [x if dtype_of(x) == dtype else astype(x, dtype=np.dtype(dtype)) for x in arrays]
    inputs, output = split(subscripts)
    if len(arrays) == 1 and set(inputs[0]) == set(output):
        measure(inputs, [shape_of(arrays[0])])
        if len(inputs[0]) > len(output):
            return einsum_diagonal(arrays[0], subscripts=subscripts, optimize=False)
        return transpose(arrays[0], axes=tuple(inputs[0].index(letter) for letter in output))
    how = (
        tuple(tuple(step) if isinstance(step, list) else step for step in optimize)
        if isinstance(optimize, list)
        else optimize
    )
    return einsum(*arrays, subscripts=subscripts, optimize=how)


@answers(
    np.einsum_path,
    samples=lambda: [Sample(("ij,jk,kl->il", np.ones((2, 3), int), np.ones((3, 4), int), np.ones((4, 2), int)))],
)
def _einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: Any = False) -> Any:
    """The path depends on the shapes alone."""
    shaped = []
    for x in operands:
        if isinstance(x, Traced):
            if any(isinstance(size, Dim) for size in shape_of(x)):
                raise NeedsConcreteSize("np.einsum_path compares sizes")
            x = np.empty(shape_of(x), dtype_of(x))
        shaped.append(x)
    if einsum_call:
        raise UnsupportedError("np.einsum_path(…, einsum_call=True) is NumPy's own and cannot be traced.")
    return np.einsum_path(*shaped, optimize=optimize)
