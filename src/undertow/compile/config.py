"""What compiled programs run on."""

from __future__ import annotations

import platform

import numpy as np


def show_config() -> str:
    """Describe what compiled programs run on: processor, vectors, matrix products, threads, cache, versions.

    Returns:
        A few lines of text.

    Source: derived here.

    Example:
        >>> print(show_config().splitlines()[0])
        Undertow, compiled programs
    """
    import llvmlite
    import llvmlite.binding

    from undertow.compile.blas import find_blas
    from undertow.compile.cache import entries, folder
    from undertow.compile.processor import lanes_of
    from undertow.compile.threads import get_threads, usable_processors
    from undertow.emit.text import Text

    blas = find_blas(folder())
    kept = [size for _, size, _ in entries(folder())]
    rows = {
        "versions": f"NumPy {np.__version__}, llvmlite {llvmlite.__version__}, Python {platform.python_version()}",
        "processor": f"{llvmlite.binding.get_host_cpu_name()} ({platform.machine()})",
        "vectors": f"{lanes_of('f32')} float32 or {lanes_of('f64')} float64",
        "products": "our own kernels"
        if blas is None
        else f"our own kernels; large ones {blas.name}, kernels for {blas.core}",
        "threads": f"{get_threads()} of {usable_processors()} that this process may use",
        "cache": f"{folder()}: {len(kept)} kernels, {sum(kept) / 1e6:.1f} MB",
    }
    return Text("\n".join(["Undertow, compiled programs", *(f"{name:<10} {text}" for name, text in rows.items())]))
