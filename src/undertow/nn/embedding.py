"""Embeddings: a row of trained numbers for each code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError, DataError
from undertow.nn.initialisers import normal
from undertow.nn.layer import LayerShapeError, check_columns, check_count, check_filled
from undertow.nn.registry import register_layer
from undertow.primitives import Traced, dtype_of, index

_DEVIATION = 0.01
_LIKE = "columns must be like {3: (12, 4)}: a number of codes and a size by the column."
MOST_IN_FLOAT32 = 2**24  # up to here float32 holds every whole number


@register_layer
@dataclass(eq=False, repr=False)
class Embedding:
    """An embedding: each code k of x becomes the row ``W[k]``.

    Args:
        n: how many codes there are: 0 … n − 1.
        size: how many numbers stand for a code.
        W: the rows, (n, size), or None until `initialize` fills them with normal numbers of deviation 1/√size.

    Raises:
        ArgumentError: ``Embedding(0, 3): n and size must be whole numbers of 1 or more.``
        DataError: called outside of a compiled step with another number:
            ``Embedding(5, 3): x holds 7.0, but the codes are 0 to 4. …``

    Source: Bengio et al., A neural probabilistic language model, JMLR 3, 2003, section 2.

    Example:
        >>> Embedding(3, 2, W=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))(np.array([2.0, 0.0]))
        array([[5., 6.],
               [1., 2.]])
    """

    n: int
    size: int
    W: Any = None

    def __post_init__(self) -> None:
        check_count(self, n=self.n, size=self.size)

    def __repr__(self) -> str:
        return f"Embedding({self.n}, {self.size})"

    @property
    def fan_out(self) -> int:
        """How many columns it gives."""
        return self.size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of the rows."""
        return {"W": (self.n, self.size)}

    def initial(self, rng: np.random.Generator, dtype: DTypeLike, follows: str | None) -> Embedding:
        """Return the layer with its rows filled."""
        if self.W is not None:
            return self
        W = (rng.standard_normal((self.n, self.size)) / np.sqrt(self.size)).astype(dtype)
        return dataclasses.replace(self, W=W)

    def __call__(self, x: Any) -> Any:
        """Look up the rows of the codes x (m, …), whole numbers in any dtype: (m, …, size)."""
        check_filled(self, W=self.W)
        codes = self.read_codes(x)
        fixed = isinstance(codes, Traced) and not isinstance(self.W, Traced)
        h = index(self.W, codes) if fixed else self.W[codes]  # a plain array would ask for the values of the codes
        return h

    def read_codes(self, x: Any, where: str = "x") -> Any:
        """Make integers of codes; their values are checked where they are known."""
        if dtype_of(x) == np.float32 and self.n > MOST_IN_FLOAT32:
            raise ArgumentError(
                f"{self!r}: {where} is float32, which does not hold every whole number above {MOST_IN_FLOAT32:,}. "
                "Give codes in float64 or int64."
            )
        if isinstance(x, np.ndarray | np.generic):
            x = np.asarray(x)
            wrong = ~((x >= 0) & (x < self.n) & (x == np.floor(x)))
            if np.any(wrong):
                found = x[wrong].reshape(-1)[0]
                raise DataError(
                    f"{self!r}: {where} holds {found}, but the codes are 0 to {self.n - 1}. Number the categories "
                    "from 0, or give the embedding more rows."
                )
        return x if dtype_of(x).kind in "iu" else x.astype(np.int64)


@register_layer
@dataclass(eq=False, repr=False)
class EmbedColumns:
    """Embeddings for some columns of a table; the others pass, and stand first.

    Args:
        fan_in: how many columns the table has.
        columns: (number of codes, size) by the column, counted from 0: ``{3: (12, 4)}``.
        embeddings: the `Embedding` of each of these columns; made unless given, with normal numbers of deviation 0.01.
            So a code that training did not have, and whose row nothing changes, counts about as the mean of the others.

    Raises:
        ArgumentError: ``EmbedColumns(3, …): column 3 is not one of 0 to 2.``
        DataError: as `Embedding`, with the column.
        ShapeError: ``layer 1, EmbedColumns(3, {2: (5, 4)}): x is (m, 6). Give x 3 columns, or use …``

    Source: Guo and Berkhahn, Entity embeddings of categorical variables, 2016, section III; the deviation is that
        of fastai's embeddings (Howard and Gugger, fastai: a layered API for deep learning, Information 11, 2020).

    Example:
        >>> from undertow.nn import initialize
        >>> layer = initialize(EmbedColumns(3, columns={1: (5, 4)}))
        >>> layer.fan_out, layer(np.array([[0.5, 2.0, 0.25]], np.float32)).shape
        (6, (1, 6))
    """

    fan_in: int
    columns: Any
    embeddings: Any = None

    static = ("columns",)

    def __post_init__(self) -> None:
        check_count(self, fan_in=self.fan_in)
        self.columns = _read_columns(self, self.columns)
        if self.embeddings is None:
            self.embeddings = tuple(Embedding(n, size) for _, n, size in self.columns)
        found = [(x.n, x.size) if isinstance(x, Embedding) else None for x in self.embeddings]
        if found != [(n, size) for _, n, size in self.columns]:
            raise ArgumentError(f"{self!r}: its embeddings are not those of its columns. Leave embeddings out.")

    def __repr__(self) -> str:
        columns = self.columns
        if isinstance(columns, tuple) and all(isinstance(x, tuple) and len(x) == 3 for x in columns):
            columns = {column: (n, size) for column, n, size in columns}
        return f"EmbedColumns({self.fan_in}, {str(columns)[:80]})"

    @property
    def fan_out(self) -> int:
        """How many columns it gives."""
        return self.fan_in - len(self.columns) + sum(size for _, _, size in self.columns)

    def describe(self) -> dict[str, Any]:
        """Return what the layer is, without its parameters, as plain data."""
        return {"fan_in": self.fan_in, "columns": [list(column) for column in self.columns]}

    def initial(self, rng: np.random.Generator, dtype: DTypeLike, follows: str | None) -> EmbedColumns:
        """Return the layer with the rows of its embeddings filled."""
        filled = tuple(
            x if x.W is not None else dataclasses.replace(x, W=normal((x.n, x.size), rng, dtype, deviation=_DEVIATION))
            for x in self.embeddings
        )
        return dataclasses.replace(self, embeddings=filled)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return no shapes: all parameters are those of the embeddings."""
        return {}

    def __call__(self, x: Any) -> Any:
        """Compute (m, fan_out) of a table x (m, fan_in)."""
        shape = check_columns(self, x, self.fan_in, "EmbedColumns({0}, …)")
        if len(shape) < 2:
            raise LayerShapeError(self, f"x is {shape}. Give x a batch axis: x[None] for one example.")
        ends = [column for column, _, _ in self.columns]
        starts = [0, *(column + 1 for column in ends)]
        parts = [x[..., a:b] for a, b in zip(starts, [*ends, self.fan_in], strict=True) if a < b]
        for (column, _, _), embedding in zip(self.columns, self.embeddings, strict=True):
            codes = embedding.read_codes(x[..., column], f"column {column} of x")
            parts.append(embedding(codes))
        h = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        return h


def _read_columns(layer: EmbedColumns, columns: Any) -> tuple[tuple[int, int, int], ...]:
    """Columns as triples (column, n, size), the first column first."""
    if isinstance(columns, Mapping):
        columns = [(column, *(sizes if isinstance(sizes, tuple | list) else ())) for column, sizes in columns.items()]
    if not isinstance(columns, tuple | list) or not columns:
        raise ArgumentError(f"{layer!r}: {_LIKE}")
    found: list[tuple[int, int, int]] = []
    for entry in columns:
        whole = isinstance(entry, tuple | list) and all(isinstance(x, int) and not isinstance(x, bool) for x in entry)
        if not whole or len(entry) != 3:
            raise ArgumentError(f"{layer!r}: {_LIKE}")
        column, n, size = entry
        if not 0 <= column < layer.fan_in or column in [before for before, _, _ in found]:
            raise ArgumentError(
                f"{layer!r}: column {column} is not one of 0 to {layer.fan_in - 1}, or stands there twice."
            )
        Embedding(n, size)  # which refuses sizes that are no sizes
        found.append((column, n, size))
    return tuple(sorted(found))
