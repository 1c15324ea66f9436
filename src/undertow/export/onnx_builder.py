"""An ONNX graph under construction: values by name, each with its dtype, constants and casts made where needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UnsupportedError
from undertow.graph import Dim, Size

OPSET, ML_OPSET = 24, 5  # every operator used here has been the same in the newer ones; runtimes of 2025 read these
ML_DOMAIN = "ai.onnx.ml"
INT64_MAX = 2**63 - 1
MISSING = "writing ONNX needs the library onnx, which is not installed. Install it with: pip install onnx"


def import_onnx() -> Any:
    """Import onnx.

    Returns:
        The module.

    Raises:
        UnsupportedError: ``writing ONNX needs the library onnx, which is not installed. …``

    Source: derived here.

    Example:
        >>> import_onnx().__name__
        'onnx'
    """
    try:
        import onnx
    except ImportError:
        raise UnsupportedError(MISSING) from None
    return onnx


class Builder:
    """Collects the nodes and constants of one ONNX graph.

    Args:
        onnx: the module.

    Attributes:
        nodes: the operations so far, in order.
        constants: the constant tensors so far.
        dtypes: of each value, by its name.
        sizes: of each symbolic size, the value that holds it (int64, no axes); None until it is asked for.
    """

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.sizes: dict[str, tuple[str, int, int]] = {}
        self._sized: dict[str, str] = {}
        self._known: dict[Any, str] = {}
        self._values: dict[str, NDArray[Any]] = {}
        self._count = 0

    def name(self, wish: str = "") -> str:
        """Return a name that nothing else has, like the one wished for."""
        if wish and wish not in self.dtypes:
            return wish
        while True:
            self._count += 1
            name = f"{wish or 't'}_{self._count}"
            if name not in self.dtypes:
                return name

    def add(
        self, kind: str, *inputs: str, dtype: Any = None, wish: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add an operation of one output.

        Args:
            kind: the ONNX operator.
            inputs: the values it reads.
            dtype: of the result; that of the first input unless told.
            wish: the name of the result.
            domain: ``"ai.onnx.ml"`` or nothing.
            attributes: its attributes.

        Returns:
            The name of the result.
        """
        name = self.name(wish)
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        self.dtypes[name] = np.dtype(dtype if dtype is not None else self.dtypes[inputs[0]])
        return name

    def add_two(self, kind: str, inputs: Sequence[str], dtypes: Sequence[Any], **attributes: Any) -> tuple[str, str]:
        """Add an operation of two outputs, whose dtypes are given, and return their names."""
        names = []
        for dtype in dtypes:
            names.append(self.name())
            self.dtypes[names[-1]] = np.dtype(dtype)
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0], names[1]

    def constant(self, value: Any, dtype: Any = None, wish: str = "") -> str:
        """Add a constant; equal ones without a name of their own are shared."""
        array = np.asarray(value, dtype=dtype)
        texts = array.dtype.kind in "OU"
        key = (str(array.tolist()) if texts else array.tobytes(), array.dtype, array.shape)
        if not wish and key in self._known:
            return self._known[key]
        name = self.name(wish or "c")
        self.constants.append(self._tensor(array, name, texts))
        self.dtypes[name] = np.dtype(object) if texts else array.dtype
        if not wish:
            self._known[key], self._values[name] = name, array
        return name

    def _tensor(self, array: NDArray[Any], name: str, texts: bool) -> Any:
        if texts:
            flat = [str(text).encode() for text in array.ravel()]
            return self.onnx.helper.make_tensor(name, self.onnx.TensorProto.STRING, array.shape, flat)
        return self.onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)

    def type_of(self, dtype: Any) -> int:
        """Return the number that ONNX has for a dtype."""
        if np.dtype(dtype).kind in "OU":
            return int(self.onnx.TensorProto.STRING)
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def cast(self, name: str, dtype: Any) -> str:
        """Return a value with this dtype."""
        dtype = np.dtype(dtype)
        if self.dtypes[name] == dtype:
            return name
        if name in self._values:
            with np.errstate(over="ignore"):
                return self.constant(self._values[name].astype(dtype))
        key = ("cast", name, dtype)
        if key not in self._known:
            self._known[key] = self.add("Cast", name, dtype=dtype, to=self.type_of(dtype))
        return self._known[key]

    def size(self, size: Size) -> str:
        """Return a size as a value: int64 without axes."""
        if not isinstance(size, Dim):
            return self.constant(size, np.int64)
        key = str(size)
        if key not in self._sized:
            source, axis, count = self.sizes[size.symbol]
            shape = self.add("Shape", source, dtype=np.int64)
            value = self.add("Gather", shape, self.constant(axis, np.int64), axis=0)
            if count != 1:
                value = self.add("Div", value, self.constant(count, np.int64))
            if size.count != 1:
                value = self.add("Mul", value, self.constant(size.count, np.int64))
            self._sized[key] = value
        return self._sized[key]

    def shape(self, sizes: Sequence[Size]) -> str:
        """Return a shape as a value: int64 with an element an axis."""
        if not any(isinstance(size, Dim) for size in sizes):
            return self.constant(list(sizes), np.int64)
        axes = self.axes((0,))
        return self.add("Concat", *[self.add("Unsqueeze", self.size(s), axes) for s in sizes], axis=0)

    def axes(self, axes: Sequence[int]) -> str:
        """Return axes as a value."""
        return self.constant(list(axes), np.int64)
