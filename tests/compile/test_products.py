"""Matrix products: our own kernels and OpenBLAS, against NumPy in float64."""

import ctypes
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

from undertow.compile import blas as blas_module
from undertow.compile import ways
from undertow.compile.blas import Blas, find_blas, write_blas
from undertow.compile.interleaved import interleaved_bytes, write_interleaved
from undertow.compile.ir import Module
from undertow.compile.llvm import Library, assemble
from undertow.compile.packed import block_rows, packed_bytes, write_packed
from undertow.compile.processor import lanes_of
from undertow.compile.product import DEPTH, scratch_bytes, write_product
from undertow.compile.product_args import SIZES
from undertow.compile.ways import choose_kernel

DTYPES = {"f32": np.float32, "f64": np.float64}
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@cache
def kernel(writer, kind, size):
    """A kernel's Python function: our own for a number of lanes, OpenBLAS's for a size of integers."""
    module = Module()
    name = writer(module, kind, size)
    library = Library([assemble(str(module))])
    function = KERNEL(library.address(name))
    function.library = library
    return function


def bits(value, dtype):
    return int.from_bytes(np.array(value, dtype).tobytes(), "little", signed=True)


def multiply(a, b, c, *, alpha=1.0, beta=0.0, threads=1, split=0, lanes=None, blas=None, way="own"):
    """Change c to alpha a @ b + beta c, one thread's part after the other."""
    kind = "f32" if c.dtype == np.float32 else "f64"
    size = SIZES[kind]

    def strides(x):
        return [step // size for step in x.strides[-2:]]

    count = c.shape[0] if c.ndim == 3 else 1
    batch = [x.strides[0] // size if x.ndim == 3 else 0 for x in (a, b, c)]
    sizes = [c.shape[-2], c.shape[-1], a.shape[-1]]
    without_masks = lanes is not None and lanes * size < 32  # needs scratch memory for other products, too
    if way == "own":
        scratch = scratch_bytes(kind, *sizes, strides(b)[1] != 1 or without_masks)
    else:
        scratch = {"packed": packed_bytes, "interleaved": interleaved_bytes}[way](kind)
    memory = np.full(threads * scratch + 64, 170, np.uint8)
    table = [x.ctypes.data for x in (a, b, c)]
    table += [*sizes, *strides(a), *strides(b), strides(c)[0], bits(alpha, c.dtype), bits(beta, c.dtype)]
    table += [count, *batch, split, memory.ctypes.data, scratch]
    if blas:
        table.append(blas.sgemm if kind == "f32" else blas.dgemm)
        function = kernel(write_blas, kind, blas.integers)
    else:
        writers = {"own": write_product, "packed": write_packed, "interleaved": write_interleaved}
        function = kernel(writers[way], kind, lanes or lanes_of(kind))
    args = np.array(table, np.int64)
    for thread in range(threads):
        function(args.ctypes.data, thread, threads)
    assert np.all(memory[threads * scratch :] == 170), "written behind the scratch memory"


def lay_out(rng, rows, columns, layout, dtype):
    """A matrix that lies in memory in one of several ways."""

    def fill(*shape):
        return rng.standard_normal(shape).astype(dtype)

    return {
        "rows": lambda: fill(rows, columns),
        "columns": lambda: fill(columns, rows).T,
        "part": lambda: fill(rows + 1, columns + 3)[1:, 2 : 2 + columns],
        "part of columns": lambda: fill(columns + 2, rows + 5)[:columns, 3 : 3 + rows].T,
        "apart": lambda: fill(2 * rows, 3 * columns)[::2, ::3],
        "one column": lambda: np.broadcast_to(fill(rows, 1), (rows, columns)),
        "one row": lambda: np.broadcast_to(fill(1, columns), (rows, columns)),
    }[layout]()


LAYOUTS = ("rows", "columns", "part", "part of columns", "apart", "one column", "one row")


def check(a, b, c, *, alpha=1.0, beta=0.0, **options):
    """Multiply, and compare with float64 to what rounding every term allows."""
    before = c.astype(np.float64)
    if beta == 0.0:
        c[...] = np.nan
    multiply(a, b, c, alpha=alpha, beta=beta, **options)
    wide = [x.astype(np.float64) for x in (a, b)]
    expected = np.float64(c.dtype.type(alpha)) * (wide[0] @ wide[1])
    if beta != 0.0:
        expected = expected + np.float64(c.dtype.type(beta)) * before
    terms = np.abs(wide[0]) @ np.abs(wide[1]) * (min(a.shape[-1], DEPTH) + 8)
    bound = (terms + 4 * np.abs(before)) * np.finfo(c.dtype).eps
    assert np.all(np.abs(c - expected) <= bound)


def random_case(rng, kind, layouts=LAYOUTS):
    dtype = DTYPES[kind]
    m, n, k = (int(x) for x in rng.integers(1, 71, 3))
    if rng.random() < 0.3:
        n = int(rng.integers(1, 14))
    if rng.random() < 0.3:
        m, n, k = (rng.choice([size, size, 0, 1, 2]) for size in (m, n, k))
    if rng.random() < 0.05:
        k = int(rng.integers(200, 900))
    a, b = (lay_out(rng, *shape, rng.choice(layouts), dtype) for shape in ((m, k), (k, n)))
    room = rng.standard_normal((m, n + int(rng.integers(0, 3)))).astype(dtype)
    options = {"threads": int(rng.integers(1, 4)), "split": int(rng.integers(0, 3))}
    options |= {"alpha": float(rng.choice([1, 1, 0, -0.5])), "beta": float(rng.choice([0, 0, 1, 0.7]))}
    return a, b, room, n, options


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("bytes_", [64, 32, 16])
@pytest.mark.parametrize("way", ["own", "packed", "interleaved"])
def test_own_products_of_any_shape_and_strides(kind, bytes_, way):
    lanes = bytes_ // SIZES[kind]
    if lanes > lanes_of(kind):
        pytest.skip("this processor has no such vectors")
    rng = np.random.default_rng(bytes_)
    for _ in range(500):
        a, b, room, n, options = random_case(rng, kind)
        edge = room[:, n:].copy()
        check(a, b, room[:, :n], lanes=lanes, way=way, **options)
        assert np.array_equal(room[:, n:], edge), "written beside C"


@pytest.mark.parametrize("split", [0, 1, 2])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_batches_of_products(kind, split):
    rng = np.random.default_rng(1)
    for shape in ((5, 7, 9), (20, 3, 40), (1, 30, 8), (9, 1, 17)):
        m, n, k = shape
        a, shared = (rng.standard_normal(s).astype(DTYPES[kind]) for s in ((4, m, k), (k, n)))
        turned = rng.standard_normal((4, n, k)).astype(DTYPES[kind]).transpose(0, 2, 1)
        for b in (shared, turned):
            check(a, b, np.ones((4, m, n), DTYPES[kind]), beta=0.5, split=split, threads=3)


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_products_wider_and_deeper_than_one_panel(kind):
    rng = np.random.default_rng(2)
    for m, n, k in ((3, 300, 520), (40, 5, 700), (1, 200, 9000), (200, 1, 9000), (2, 33, 5000)):
        for layout in LAYOUTS[:2]:
            a, b = (lay_out(rng, *shape, layout, DTYPES[kind]) for shape in ((m, k), (k, n)))
            check(a, b, np.ones((m, n), DTYPES[kind]), beta=1.0, threads=2, split=1)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("way", ["packed", "interleaved"])
def test_large_products_of_several_blocks(kind, way):
    rng = np.random.default_rng(5)
    height = block_rows(kind)
    for m, n, k in ((height + 7, 70, 300), (2 * height, 35, 513), (height - 1, 161, 256), (50, 1100, 270)):
        for layouts in itertools.product(("rows", "columns", "part", "apart"), repeat=2):
            a, b = (lay_out(rng, *s, x, DTYPES[kind]) for s, x in zip(((m, k), (k, n)), layouts, strict=True))
            check(a, b, np.ones((m, n), DTYPES[kind]), beta=-1.0, threads=2, split=1, way=way)
    shape = (3, height + 1, 40)
    a, b = (rng.standard_normal(s).astype(DTYPES[kind]) for s in (shape, (3, 40, 20)))
    check(a, b, np.ones((3, height + 1, 20), DTYPES[kind]), threads=2, way=way)


def test_long_sums_of_float32_stay_exact():
    """Ones and thirds add up as well as NumPy's pairwise sums do, within four times their error."""
    k = 60_000
    a = np.full((8, k), np.float32(1 / 3))
    for b in (np.ones((k, 24), np.float32), np.ones((24, k), np.float32).T):
        for rows in (8, 1):
            c = np.empty((rows, 24), np.float32)
            multiply(a[:rows], b, c)
            exact = np.float64(a[0, 0]) * k
            assert np.max(np.abs(c - exact)) <= 4 * 16 * np.finfo(np.float32).eps * exact


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("shape", [(9, 20, 12), (40, 3, 64), (1, 20, 40), (40, 1, 33)])
@pytest.mark.parametrize("way", ["own", "packed", "interleaved"])
def test_nan_and_inf_come_through_as_in_numpy(kind, shape, way):
    m, n, k = shape
    for layout in LAYOUTS[:2]:
        rng = np.random.default_rng(3)
        a, b = (lay_out(rng, *s, layout, DTYPES[kind]) for s in ((m, k), (k, n)))
        a[0, 0], a[m // 2, k - 1], b[k // 2, n - 1] = np.nan, np.inf, -np.inf
        c = np.empty((m, n), DTYPES[kind])
        multiply(a, b, c, way=way)
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


# ---- OpenBLAS -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blas(tmp_path_factory):
    before = os.environ.get("OPENBLAS_CORETYPE"), os.environ.get("OPENBLAS_NUM_THREADS")
    found = find_blas(tmp_path_factory.mktemp("cache"))
    assert before == (os.environ.get("OPENBLAS_CORETYPE"), os.environ.get("OPENBLAS_NUM_THREADS"))
    if found is None:
        pytest.skip("no OpenBLAS")
    return found


@pytest.fixture
def forget(monkeypatch):
    """Let find_blas search anew, and forget what it finds."""
    monkeypatch.setattr(blas_module, "_found", [])


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_openblas_does_the_same(blas, kind):
    rng = np.random.default_rng(4)
    for _ in range(400):
        a, b, room, n, options = random_case(rng, kind, LAYOUTS[:4])
        check(a, b, room[:, :n], blas=blas, **options)
    a, b = rng.standard_normal((3, 4, 6)).astype(DTYPES[kind]), rng.standard_normal((3, 6, 5)).astype(DTYPES[kind])
    check(a, b, np.ones((3, 4, 5), DTYPES[kind]), beta=1.0, blas=blas, split=2, threads=2)


def test_openblas_is_called_by_several_threads_at_once(blas):
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 200, 200)).astype(np.float32)
    expected = np.empty((200, 200), np.float32)
    multiply(a, b, expected, blas=blas)

    def work(_):
        c = np.empty((200, 200), np.float32)
        multiply(a, b, c, blas=blas)
        return np.array_equal(c, expected)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(60)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_openblas_works_after_a_fork(blas):
    program = f"""
import os, sys
sys.path[:0] = [{os.path.dirname(__file__)!r}]
import numpy as np
from test_products import find_blas, multiply
blas = find_blas(None)
a = np.random.default_rng(0).standard_normal((300, 300))
c, d = np.empty_like(a), np.empty_like(a)
multiply(a, a, c, blas=blas)
child = os.fork()
multiply(a, a, d, blas=blas)
if child == 0:
    os._exit(0 if np.array_equal(c, d) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=600).returncode == 0


def test_numpys_openblas_stays_as_it_was(forget):
    """Threads, kernels and results of NumPy's own are the same before and after ours is loaded."""
    numpys = next((place for place in blas_module._candidates() if place[0] == "numpy"), None)
    if numpys is None:
        pytest.skip("this NumPy brings no OpenBLAS")
    library = ctypes.CDLL(str(numpys[1]))
    threads, core = (getattr(library, f"scipy_openblas_get_{x}64_") for x in ("num_threads", "corename"))
    core.restype = ctypes.c_char_p
    a = np.random.default_rng(6).standard_normal((300, 300))
    before = threads(), core(), (a @ a).tobytes()
    assert find_blas(None) is not None
    assert before == (threads(), core(), (a @ a).tobytes())


def test_numpys_openblas_serves_where_ours_is_missing(forget, monkeypatch):
    places = [place for place in blas_module._candidates() if place[0] == "numpy"]
    monkeypatch.setattr(blas_module, "_candidates", lambda: iter(places))
    found = find_blas(None)
    if not places:
        assert found is None
        return
    assert isinstance(found, Blas) and found.integers == 64
    rng = np.random.default_rng(7)
    for dtype in DTYPES.values():
        a, b = lay_out(rng, 30, 40, "rows", dtype), lay_out(rng, 40, 20, "columns", dtype)
        check(a, b, np.ones((30, 20), dtype), beta=1.0, blas=found, threads=2)


def test_without_openblas_there_is_none(forget, monkeypatch, tmp_path):
    monkeypatch.setattr(blas_module, "_candidates", lambda: iter([("scipy_openblas32", tmp_path / "no.so", "", 32)]))
    assert find_blas(None) is None
    assert find_blas(None) is None  # and that is remembered


def test_the_kind_of_processor_can_be_asked_for(forget, monkeypatch, tmp_path):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setenv("UNDERTOW_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    found = find_blas(tmp_path)
    if found is None or "+avx2" not in blas_module.processor():
        pytest.skip("no such kernels here")
    assert found.core == "Haswell"
    assert not list(tmp_path.iterdir()), "measured though it was told"
    assert (os.environ["UNDERTOW_CORETYPE"], os.environ["OPENBLAS_CORETYPE"]) == ("Haswell", "Nehalem")


def test_what_other_copies_of_openblas_are_told_does_not_count(forget, monkeypatch, tmp_path):
    """Some systems set it for all programs, to the oldest kind of processor that they have."""
    monkeypatch.delenv("UNDERTOW_CORETYPE", raising=False)
    cores = []
    for told in ("Nehalem", None):
        if told is None:
            monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
        else:
            monkeypatch.setenv("OPENBLAS_CORETYPE", told)
        blas_module._found.clear()
        found = find_blas(tmp_path)
        if found is None:
            pytest.skip("no OpenBLAS")
        cores.append(found.core)
        assert os.environ.get("OPENBLAS_CORETYPE") == told
    assert cores[0] == cores[1] != "Nehalem"


def test_kernels_are_measured_once(monkeypatch, tmp_path):
    monkeypatch.delenv("UNDERTOW_CORETYPE", raising=False)
    monkeypatch.setattr(blas_module, "processor", lambda: "some")
    monkeypatch.setattr(blas_module, "has", "avx512f".__eq__)
    times = {"SkylakeX": [0.2, 0.3], "Haswell": [0.1]}
    monkeypatch.setattr(blas_module, "_time_core", lambda path, gemm, core: times[core].pop(0))
    library = tmp_path / "library.so"
    library.write_bytes(b"")
    assert blas_module._choose_core(library, "gemm", None) == "SkylakeX"  # nothing measured
    for _ in range(2):
        assert blas_module._choose_core(library, "gemm", tmp_path) == "Haswell"
    assert times == {"SkylakeX": [0.3], "Haswell": []}
    (tmp_path / "openblas.json").write_text("damaged")
    times["Haswell"] = [float("inf")]
    assert blas_module._choose_core(library, "gemm", tmp_path) == "SkylakeX"


@pytest.mark.parametrize(("family", "expected"), [("GenuineIntel 6", "SkylakeX"), ("AuthenticAMD 25", "Haswell")])
def test_noise_never_chooses_kernels(monkeypatch, tmp_path, family, expected):
    """Their results differ in the last bits: processes that cannot read each other's note must choose the same ones."""
    monkeypatch.delenv("UNDERTOW_CORETYPE", raising=False)
    monkeypatch.setattr(blas_module, "processor", lambda: f"{family} 1")
    monkeypatch.setattr(blas_module, "has", "avx512f".__eq__)
    monkeypatch.setattr(blas_module, "_time_core", lambda path, gemm, core: seconds[core])
    library, folder, seconds = tmp_path / "library.so", tmp_path / "folder", {}
    library.write_bytes(b"")
    for first, second in ((0.11, 0.1), (0.1, 0.11)):
        seconds.update({"SkylakeX": first, "Haswell": second})
        assert blas_module._choose_core(library, "gemm", folder) == expected
        (folder / "openblas.json").unlink()
    other = ({"SkylakeX", "Haswell"} - {expected}).pop()
    seconds.update({expected: 1.0, other: 0.1})
    assert blas_module._choose_core(library, "gemm", folder) == other
    assert blas_module._choose_core(library, "gemm", library) == expected  # a file, where no note can be kept


def test_a_busy_machine_never_chooses_kernels(monkeypatch, tmp_path):
    """A process that comes to no end tells nothing; of two that measure at once the first to be done decides."""
    monkeypatch.delenv("UNDERTOW_CORETYPE", raising=False)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(blas_module, "processor", lambda: "some")
    monkeypatch.setattr(blas_module, "has", "avx512f".__eq__)
    library, note = tmp_path / "library.so", tmp_path / "openblas.json"
    library.write_bytes(b"")
    late = set()

    def run(command, env, **_):
        if env["OPENBLAS_CORETYPE"] in late:
            raise subprocess.TimeoutExpired(command, 5)
        return subprocess.CompletedProcess(command, 0, "0.1\n" if env["OPENBLAS_CORETYPE"] == "Haswell" else "0.3\n")

    monkeypatch.setattr(subprocess, "run", run)
    for cores in (["SkylakeX"], ["Haswell"], ["SkylakeX", "Haswell"]):
        late.update(cores)
        assert blas_module._choose_core(library, "gemm", tmp_path) == "SkylakeX" and not note.exists()
        late.clear()
    assert blas_module._choose_core(library, "gemm", tmp_path) == "Haswell"
    other = note.read_text().replace('"core": "Haswell"', '"core": "SkylakeX"')
    note.unlink()
    monkeypatch.setattr(blas_module, "_time_core", lambda path, gemm, core: note.write_text(other) and 0.1)
    assert blas_module._choose_core(library, "gemm", tmp_path) == "SkylakeX"


def test_the_rule_keeps_from_openblas_what_it_cannot_read(monkeypatch):
    monkeypatch.setattr(ways, "processor", lambda: "AuthenticAMD 26 2 1 +avx512f")
    near, broadcast, apart = (64, 1), (0, 1), (64, 2)
    for a, b in ((broadcast, near), (near, broadcast), (apart, near), (near, apart)):
        assert choose_kernel("f32", 4096, 64, 64, (*a, *b), 4096) == "own"
        assert choose_kernel("f32", 4096, 4096, 4096, (*a, *b), 4096) == "packed"
    assert choose_kernel("f32", 4096, 4096, 4096, (4096, 1, 4096, 1), 4096) == "OpenBLAS"
    assert choose_kernel("f32", 64, 64, 64, (*near, *near), 64) == "own"


def test_an_intel_processor_copies_what_lies_far_apart(monkeypatch):
    monkeypatch.setattr(ways, "lanes_of", lambda kind: 64 // SIZES[kind])
    chosen = []
    for told in ("GenuineIntel 6 143 8 +avx512f", "AuthenticAMD 26 2 1 +avx512f"):
        monkeypatch.setattr(ways, "processor", lambda told=told: told)
        sizes = [(512, 512, 512), (512, 64, 10_000), (32, 512, 512), (64, 100, 100)]
        chosen.append([choose_kernel("f32", m, n, k, (k, 1, n, 1), m) for m, n, k in sizes])
        chosen[-1].append(choose_kernel("f32", 40, 400, 100, (1, 40, 400, 1), 40))  # transposed
        chosen[-1].append(choose_kernel("f32", 200, 400, 100, (100, 1, 1, 100), 200))  # by a transposed one, few rows
        chosen[-1].append(choose_kernel("f32", 300, 400, 100, (100, 1, 1, 100), 300))  # many rows
    assert chosen == [
        ["interleaved", "own", "interleaved", "own", "interleaved", "own", "interleaved"],
        ["own"] * 7,
    ]
