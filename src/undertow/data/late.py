"""polars, imported when a table is first touched: it takes longer than all the rest of `import undertow`."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING


def import_late(name: str) -> ModuleType:
    """Return a module that is executed when an attribute of it is first asked for.

    Args:
        name: of the module.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import polars as pl
else:
    pl = import_late("polars")

__all__ = ["pl"]
