"""Measure what PyTorch and JAX give at the special points of docs/special-points.md.

Run from the repository root, with the extra ``bench``: ``python benchmarks/special_points.py``. It writes
docs/special-points.json, from which docs/make_pages.py makes the page.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
TORCH_NAMES = {"np.power": "pow", "np.absolute": "abs", "np.fabs": "abs", "np.arcsin": "asin", "np.max": "amax",
               "np.min": "amin", "np.float_power": "float_power", "np.divide": "div", "np.remainder": "remainder",
               "np.concatenate": "cat"}  # fmt: skip


def load_pages() -> Any:
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "docs" / "make_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_pages"] = module
    spec.loader.exec_module(module)
    return module


def find(module: Any, name: str, prefixes: tuple[str, ...]) -> Any:
    for prefix in prefixes:
        if name.startswith(prefix):
            target = module
            for part in name.removeprefix(prefix).split("."):
                target = getattr(target, part, None)
            return target
    return None


def by_jax(jax: Any, name: str, kink: Any) -> list[Any] | None:
    f = find(jax.numpy, name, ("np.",)) or find(jax.scipy.special, name, ("scipy.special.",))
    if f is None:
        return None
    places = tuple(i for i, g in enumerate(kink.gradient) if g is not None)
    args = [jax.numpy.asarray(x, float) if g is not None else x for x, g in zip(kink.args, kink.gradient, strict=True)]
    found = jax.grad(lambda *xs: jax.numpy.sum(f(*xs, **kink.params)), places)(*args)
    return fill(places, [np.asarray(g).tolist() for g in found], kink)


def by_torch(torch: Any, name: str, kink: Any) -> list[Any] | None:
    f = getattr(torch, TORCH_NAMES.get(name, ""), None) or find(torch, name, ("np.",))
    f = f or find(torch.special, name, ("scipy.special.",))
    if f is None:
        return None
    places = tuple(i for i, g in enumerate(kink.gradient) if g is not None)
    args = [torch.tensor(x, dtype=torch.float64, requires_grad=i in places) for i, x in enumerate(kink.args)]
    params = {{"axis": "dim", "keepdims": "keepdim"}.get(key, key): value for key, value in kink.params.items()}
    torch.sum(f(*args, **params)).backward()
    return fill(places, [args[i].grad.tolist() for i in places], kink)


def fill(places: tuple[int, ...], found: list[Any], kink: Any) -> list[Any]:
    values: list[Any] = [None] * len(kink.gradient)
    for i, g in zip(places, found, strict=True):
        values[i] = g
    return values


def main() -> None:
    import jax
    import torch

    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    pages = load_pages()
    points: dict[str, dict[str, Any]] = {}
    for name, kink in pages.special_points():
        row: dict[str, Any] = {}
        for library, module, measure in (("torch", torch, by_torch), ("jax", jax, by_jax)):
            try:
                row[library] = measure(module, name, kink)
            except Exception as error:  # another signature, or no such option: no value to compare with
                print(f"{library}: {name}: {type(error).__name__}")
        points[pages.key_of(name, kink)] = {key: value for key, value in row.items() if value is not None}
    versions = {"PyTorch": torch.__version__.split("+")[0], "JAX": jax.__version__}
    text = json.dumps({"versions": versions, "points": points}, indent=1, ensure_ascii=False)
    pages.MEASURED.write_text(text + "\n", encoding="utf-8")
    print(f"{sum(map(bool, points.values()))} of {len(points)} special points measured")


if __name__ == "__main__":
    main()
