"""OpenBLAS for large matrix products: a copy of our own, with the kernels and the number of threads that we choose.

OpenBLAS reads the environment once, while it is loaded. So ours is loaded with the variables set that it looks for, and
NumPy's and SciPy's, which are other files, stay as they are. It runs on one thread: programs share out work themselves,
and several of their threads call it at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.processor import has, processor
from undertow.compile.product_args import SIZES, begin_kernel, read_args, share

ADDRESS = 20  # the place in a product's table where the address of OpenBLAS's function is
CORES = ("SkylakeX", "Haswell")  # for processors with AVX-512; the first is taken unless the other is much faster
ZEN_4 = "AuthenticAMD 25 "  # vendor and family of a processor where the second is, by a few hundredths
MARGIN = 0.85  # of the first one's time, that noise does not choose: the two differ in the last bits of their results
_TIMING = """
import ctypes, sys, time
m, n, k = 512, 768, 512
f = getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])
a, b, c = ((ctypes.c_float * (i * j))() for i, j in ((m, k), (k, n), (m, n)))
one, best = ctypes.c_float(1), 1e9
for _ in range(8):
    start = time.perf_counter()
    f(101, 111, 111, m, n, k, one, a, k, b, n, one, c, n)
    best = min(best, time.perf_counter() - start)
print(best)
"""


class Blas(NamedTuple):
    """A library of matrix products.

    Args:
        name: what it is, for people.
        path: the file it came from.
        core: the processor that its kernels are made for, as it says itself.
        integers: bits of its whole numbers, 32 or 64.
        sgemm: the address of the product of float32.
        dgemm: the address of the product of float64.
        library: where its functions are.
        suffix: the ending of their names.
    """

    name: str
    path: Path
    core: str
    integers: int
    sgemm: int
    dgemm: int
    library: ctypes.CDLL
    suffix: str

    def routine(self, name: str) -> int:
        """The address of a routine of LAPACK's, such as ``dgetrf``."""
        return _address(self.library, f"scipy_{name}_{self.suffix}")

    def has_lapack(self) -> bool:
        """Whether the library was built with LAPACK."""
        return all(hasattr(self.library, f"scipy_{name}_{self.suffix}") for name in ("sgetrf", "dgesdd"))


_found: list[Blas | None] = []
_libraries: list[ctypes.CDLL] = []  # never let go: programs hold bare addresses
_lock = Lock()


def find_blas(cache: Path | None) -> Blas | None:
    """Return OpenBLAS, loaded at the first call; None where there is none, and our own kernels do everything.

    Args:
        cache: a folder where it may be noted which kernels are the fastest here; None measures nothing.
    """
    with _lock:
        if not _found:
            _found.append(next((blas for place in _candidates() if (blas := _open(*place, cache))), None))
        return _found[0]


def _candidates() -> Iterator[tuple[str, Path, str, int]]:
    """Name, file, ending of symbols and size of integers: the package made for us, then NumPy's own."""
    for package, folders, suffix, integers in (
        ("scipy_openblas32", ("lib",), "", 32),
        ("numpy", ("../numpy.libs", ".dylibs"), "64_", 64),
    ):
        spec = importlib.util.find_spec(package)
        for home in (spec.submodule_search_locations or ()) if spec else ():
            for folder in folders:
                for path in sorted(Path(home, folder).glob("*openblas*")):
                    if path.suffix in (".so", ".dylib", ".dll"):
                        yield package, path.resolve(), suffix, integers


def _open(package: str, path: Path, suffix: str, integers: int, cache: Path | None) -> Blas | None:
    """Load a library; None if that fails or it is another one than it seems."""
    gemm = f"scipy_cblas_sgemm{suffix}"
    try:
        core = _choose_core(path, gemm, cache) if integers == 32 else _asked_core()
        library = _load(path, core)
        name = getattr(library, f"scipy_openblas_get_corename{suffix}")
        name.restype = ctypes.c_char_p
        getattr(library, f"scipy_openblas_set_num_threads{suffix}")(1)
        sgemm, dgemm = (_address(library, f"scipy_cblas_{x}gemm{suffix}") for x in "sd")
    except (OSError, AttributeError):
        return None
    _libraries.append(library)
    label = "OpenBLAS" if package != "numpy" else "NumPy's OpenBLAS"
    return Blas(label, path, name().decode(), integers, sgemm, dgemm, library, suffix)


def _address(library: ctypes.CDLL, name: str) -> int:
    """Where a function is."""
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


# ---- loading a copy that is ours alone --------------------------------------------------------


def _load(path: Path, core: str | None) -> ctypes.CDLL:
    """Load a library for a kind of processor; None leaves the choice to it.

    ``OPENBLAS_CORETYPE``, which some systems set for every copy of OpenBLAS, to the oldest kind that all of their
    machines are, does not count: the copy is ours, and ``UNDERTOW_CORETYPE`` is its variable.

    A file that is in use in this process already would be the same library again, with its kernels and its threads: of
    that a copy is loaded.
    """
    import shutil  # here and below: what few programs need takes long to import
    import tempfile

    with _environment(OPENBLAS_NUM_THREADS="1", OPENBLAS_CORETYPE=core):
        if not _in_use(path):
            return ctypes.CDLL(str(path))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return ctypes.CDLL(shutil.copy(path, folder))  # stays in memory without its file


def _in_use(path: Path) -> bool:
    """Has this process loaded the file?"""
    if not hasattr(os, "RTLD_NOLOAD"):
        return True
    try:
        ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _environment(**changes: str | None) -> Iterator[None]:
    """Set variables for a while, for C's getenv too; None takes one away."""
    before = {name: os.environ.get(name) for name in changes}
    _set_all(changes)
    try:
        yield
    finally:
        _set_all(before)


def _set_all(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


# ---- which kernels ----------------------------------------------------------------------------


def _asked_core() -> str | None:
    """The kind of processor that the user asks for."""
    return os.environ.get("UNDERTOW_CORETYPE") or None


def _choose_core(path: Path, gemm: str, cache: Path | None) -> str | None:
    """Return the kind of processor whose kernels are the fastest here; None leaves the choice to OpenBLAS.

    OpenBLAS itself takes AVX2 kernels for processors newer than it knows, which halves the speed of some; and on others
    (Zen 4, whose 512-bit units are two of 256 bits) these are the faster ones. So the processor's family decides, and
    it is measured, once, whether the other ones are much faster. Where that cannot be noted, processes might choose
    differently, and results would differ in their last bits: there the family alone decides.
    """
    if asked := _asked_core():
        return asked
    if not has("avx512f"):
        return None
    first, other = reversed(CORES) if processor().startswith(ZEN_4) else CORES
    if cache is None:
        return first
    note = cache / "openblas.json"
    state = path.stat()
    key = f"{processor()} {path} {state.st_size} {state.st_mtime_ns}"
    if known := _read_note(note, key):
        return known
    times = {core: _time_core(path, gemm, core) for core in CORES}
    if known := _read_note(note, key):  # of a process that began to measure at the same time: both must choose the same
        return known
    best = other if times[other] < MARGIN * times[first] else first
    told = math.isfinite(times[best]) and not any(map(math.isnan, times.values()))
    return best if told and _keep_note(note, {"key": key, "core": best, "seconds": times}) else first


def _read_note(note: Path, key: str) -> str | None:
    """The kind of processor that was chosen before, here and with this library."""
    import json

    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if known["key"] == key and known["core"] in CORES:
            return str(known["core"])
    return None


def _time_core(path: Path, gemm: str, core: str) -> float:
    """Time a product in a process of its own, for this one keeps the first kernels that it loads.

    Infinity where it cannot be done, NaN where it took too long to tell anything: then the machine is busy.
    """
    import subprocess  # for once on each machine

    variables = {**os.environ, "OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-I", "-S", "-c", _TIMING, str(path), gemm]
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=5, check=True)
        return float(done.stdout)
    except subprocess.TimeoutExpired:
        return math.nan
    except (OSError, ValueError, subprocess.SubprocessError):
        return math.inf


def _keep_note(note: Path, content: dict[str, object]) -> bool:
    """Write a small file whole or not at all; tell whether it is there."""
    import json
    import tempfile

    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=note.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        os.replace(temporary, note)
    except OSError:
        return False
    return True


# ---- calling it -------------------------------------------------------------------------------


def write_blas(module: Module, kind: str, integers: int) -> str:
    """Write a function that has OpenBLAS do a product; its table is that of ``product``, and OpenBLAS's address.

    Of A's strides one must be 1, and of B's, except where there is one row or column only.

    Args:
        module: where it goes.
        kind: ``f32`` or ``f64``.
        integers: bits of OpenBLAS's whole numbers.

    Returns:
        The function's name.
    """
    e = begin_kernel(module, f"blas_{kind}_{integers}")
    x = read_args(e, kind)
    function = e.load(e.address(e.args["args"], ADDRESS, "i64"), "ptr")
    top, bottom = share(e, x, "m", 0)
    left, right = share(e, x, "n", 1, 64 // SIZES[kind])
    begin, end = share(e, x, "count", 2)
    # Whether rows or columns are neighbours, and how far the others are apart.
    near_a, near_b = ((x[f"col_{s}"] == 1) | (x[columns] == 1) for s, columns in (("a", "k"), ("b", "n")))
    ahead_a = _larger(e, e.select(near_a, x["row_a"], x["col_a"]), e.select(near_a, x["k"], x["m"]))
    ahead_b = _larger(e, e.select(near_b, x["row_b"], x["col_b"]), e.select(near_b, x["n"], x["k"]))
    ahead_c = _larger(e, x["row_c"], x["n"])
    turn_a, turn_b = (e.select(near, e.const(111, "i32"), 112) for near in (near_a, near_b))
    rows, columns = bottom - top, right - left
    sizes = [rows, columns, x["k"], ahead_a, ahead_b, ahead_c]
    m, n, k, ahead_a, ahead_b, ahead_c = (e.convert(size, f"i{integers}") for size in sizes)
    with e.when((rows > 0) & (columns > 0)), e.loop(begin, end) as i:
        a = e.address(x["a"], i * x["batch_a"] + top * x["row_a"], kind)
        b = e.address(x["b"], i * x["batch_b"] + left * x["col_b"], kind)
        c = e.address(x["c"], i * x["batch_c"] + top * x["row_c"] + left, kind)
        order = e.const(101, "i32")  # row by row
        given = [order, turn_a, turn_b, m, n, k, x["alpha"], a, ahead_a, b, ahead_b, x["beta"], c, ahead_c]
        e.line(f"call void {function.text}({', '.join(f'{value.type} {value.text}' for value in given)})")
    e.finish()
    return e.name


def _larger(e: Emitter, a: Value, b: Value) -> Value:
    """The larger of two whole numbers."""
    return e.select(a > b, a, b)
