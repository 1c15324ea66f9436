"""Machine code placed without LLVM: it computes what LLVM's own loader makes of the same object file."""

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import undertow as ut
from undertow.compile import cache, image
from undertow.compile.llvm import Library, assemble
from undertow.compile.processor import has
from undertow.errors import UnsupportedError

made_here = pytest.mark.skipif(not image.are_made_here(), reason="images are made of ELF files of x86-64")

# Constants of several sizes, a jump between functions, and functions of C.
TEXT = """
declare double @fmod(double, double)
declare double @cos(double)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
@steps = internal constant [4 x double] [double 1.5, double 2.5, double -3.5, double 0x7FF0000000000000]
define internal double @step(i64 %i) noinline {
  %at = getelementptr [4 x double], ptr @steps, i64 0, i64 %i
  %x = load double, ptr %at
  ret double %x
}
define double @f(double %x, i64 %i, ptr %place, i64 %n) nounwind {
  call void @llvm.memset.p0.i64(ptr %place, i8 7, i64 %n, i1 false)
  %step = call double @step(i64 %i)
  %rest = call double @fmod(double %x, double %step)
  %wave = call double @cos(double %rest)
  %scaled = fmul double %wave, 3.25
  %sum = fadd double %scaled, %rest
  ret double %sum
}
"""


def call(address: int, x: float, i: int) -> tuple[float, bytes]:
    place = ctypes.create_string_buffer(100)
    f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)
    return f(x, i, ctypes.addressof(place), 99), place.raw


@made_here
def test_an_image_computes_what_its_object_file_does():
    code = assemble(TEXT)
    linked = image.link(code, "f")
    assert linked is not None and linked.startswith(image.MAGIC)
    first, second = image.load([linked, linked])  # twice, elsewhere
    assert first != second and first % 16 == second % 16 == 0
    library = Library([code])
    for address in (first, second, library.address("f")):
        for i, step in enumerate((1.5, 2.5, -3.5, math.inf)):
            rest = math.fmod(7.25, step)
            value, place = call(address, 7.25, i)
            assert value == pytest.approx(math.cos(rest) * 3.25 + rest, rel=1e-15)
            assert place == b"\7" * 99 + b"\0"


@made_here
def test_what_names_addresses_stays_an_object_file(tmp_path, monkeypatch):
    addresses = """
    @table = constant [1 x ptr] [ptr @f]
    define ptr @f() { ret ptr @table }
    """
    assert image.link(assemble(addresses), "f") is None
    # Such files are loaded by LLVM, with the same result.
    monkeypatch.setenv("UNDERTOW_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "link", lambda code, function: None)
    monkeypatch.setattr(cache, "_addresses", {})
    x = np.linspace(-2, 2, 37)
    np.testing.assert_allclose(ut.compile(lambda x: np.tanh(x) * x)(x), np.tanh(x) * x, rtol=4e-16)
    kept = [path.read_bytes()[32:] for path in tmp_path.glob("??/*")]
    assert kept and all(code.startswith(b"\x7fELF") for code in kept)


@made_here
def test_kernels_on_disk_run_without_llvm(tmp_path):
    program = """
import sys
import numpy as np, undertow as ut
x = np.arange(12.0).reshape(3, 4) / 7
assert np.allclose(ut.compile(lambda x: np.sum(np.exp(x) * x, axis=1))(x), (np.exp(x) * x).sum(axis=1))
print("llvmlite" in sys.modules)
"""
    source = str(Path(__file__).parents[2] / "src")
    env = {**os.environ, "UNDERTOW_CACHE_DIR": str(tmp_path), "PYTHONPATH": source}
    for loads_llvm in (True, False):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
        assert done.stdout == f"{loads_llvm}\n", done.stderr


@made_here
def test_memory_that_may_not_be_run_is_told(monkeypatch):
    linked = image.link(assemble(TEXT), "f")
    monkeypatch.setattr(image.mmap, "PROT_EXEC", 1 << 20)  # mprotect refuses what it does not know
    with pytest.raises(UnsupportedError, match=r"memory for machine code.*without compile=True"):
        image.load([linked])


def test_a_function_that_c_does_not_have_is_named():
    with pytest.raises(UnsupportedError, match="need C's function no_such_function"):
        image._address("no_such_function")


def test_the_processors_features_are_those_that_llvm_finds():
    import llvmlite.binding as llvm

    found = llvm.get_host_cpu_features()
    for feature in ("avx2", "avx512f", "fma"):
        assert has(feature) == bool(found.get(feature)), feature
