"""Plans on disk: the bits of a plan made anew; another program, a damaged one, one of a single process is not used.

Each program here runs in a process of its own, which tells how many plans it made and what the training came to.
"""

import json
import marshal
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from undertow import primitives as P
from undertow.compile import kept
from undertow.compile.cache import keep, read
from undertow.compile.expand import expand
from undertow.compile.plan import Place
from undertow.compile.planner import make_plan
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, Spec
from undertow.trace import trace_function

PROGRAM = """
import hashlib, json, sys
import numpy as np
import undertow as ut
from undertow.compile import kept, planner, threads
from undertow.nn import mean_squared_error
from undertow.train.step import make_step

given = {"rate": 1e-3, "width": 16, "rows": 20, "scale": 1.0, "clip": 1.0, "threads": 1, "own": 0, "keep": True}
given |= json.loads(sys.argv[1])
made, plan = [], planner.make_plan
planner.make_plan = lambda *args, **options: made.append(1) or plan(*args, **options)
threads.usable_processors = lambda: 4  # however many there are here
ut.set_threads(given["threads"])
if not given["keep"]:
    kept.FEWEST = sys.maxsize

@ut.custom_vjp
def times(x):
    return given["own"] * x

@times.rule
def times_rule(ct, out, x):
    return given["own"] * ct

width, rng = given["width"], np.random.default_rng(0)
weights = np.linspace(0.5, given["scale"], width).astype(np.float32)  # an array from outside
layers = []
for _ in range(4):
    layers.append(ut.nn.Residual(ut.nn.LayerNorm(width), ut.nn.Dense(width, width), "tanh"))
model = ut.nn.initialize(ut.nn.Sequential(*layers, ut.nn.Dense(width, 3)), seed=0, dtype=np.float32)

def loss(model, X, y):
    p = model(X * weights)
    return mean_squared_error(times(p) if given["own"] else p, y)

X, y = rng.normal(size=(64, width)).astype(np.float32), rng.normal(size=(64, 3)).astype(np.float32)
step = make_step(loss, ut.optim.adam(given["rate"]), ut.optim.clip_by_global_norm(given["clip"]))
session = step.open(model, step.init(model), X, y, given["rows"])
losses = session.run(np.arange(60) % 64, given["rows"])
last = session.run(np.arange(7), 7)
digest = hashlib.sha256()
for leaf in ut.trees.flatten(session.values())[0]:
    if isinstance(leaf, np.ndarray):
        digest.update(leaf.tobytes())
program = session.resident.prepare(given["rows"])
profile = str([(x.what, float(x.flops), float(x.moved), x.kind) for x in program.calls])
print(json.dumps([len(made), np.asarray(losses).tobytes().hex(), np.asarray(last).tobytes().hex(), digest.hexdigest(),
                  list(program.memory), profile]))
"""


def start(folder, **given):
    source = str(Path(__file__).parents[2] / "src")
    env = {**os.environ, "UNDERTOW_CACHE_DIR": str(folder), "PYTHONPATH": source}
    command = [sys.executable, "-c", PROGRAM, json.dumps(given)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    n_made, *rest = json.loads(out)
    return n_made, rest


def run(folder, **given):
    """How many plans a process made, and all that its training came to."""
    return end(start(folder, **given))


def entries(folder):
    """The plans in a folder: what is no machine code."""
    return [x for x in sorted(folder.glob("??/*")) if read(folder, x.name) is not None
            and not read(folder, x.name).startswith((b"image ", b"\x7fELF"))]  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A folder with the plans of the program as it is, and what a process without plans on disk comes to."""
    folder = tmp_path_factory.mktemp("kept")
    n_made, found = run(folder, keep=False)
    assert n_made == 2 and not entries(folder)
    assert run(folder) == (2, found) and len(entries(folder)) == 2
    return folder, found


def copy(folder, target):
    for path in folder.glob("??/*"):
        (target / path.parent.name).mkdir(exist_ok=True)
        (target / path.parent.name / path.name).write_bytes(path.read_bytes())
    return target


def test_a_second_process_plans_nothing_and_gives_the_same_bits(full):
    folder, found = full
    assert run(folder) == (0, found)


@pytest.mark.parametrize(
    "other",
    [
        {"rate": 2e-3}, {"scale": 2.0}, {"width": 24}, {"rows": 30}, {"clip": 0.5}, {"threads": 2},
    ],
    ids=str,
)  # fmt: skip
def test_another_program_is_planned(full, tmp_path, other):
    folder, found = full
    copied = copy(folder, tmp_path)
    n_made, result = run(copied, **other)
    assert n_made == 2 - ("rows" in other)  # of batches of 7 rows is known
    assert result == run(tmp_path / "empty", keep=False, **other)[1]
    assert run(copied, **other) == (0, result)
    assert run(copied) == (0, found)


def test_what_a_function_with_a_derivative_of_its_own_reads_counts(tmp_path):
    two, three = (run(tmp_path / "empty", own=own, keep=False)[1] for own in (2, 3))
    assert two != three
    assert run(tmp_path, own=2)[1] == two
    assert run(tmp_path, own=3)[1] == three
    assert run(tmp_path, own=2) == (0, two)


def test_damaged_entries_are_made_again(full, tmp_path):
    folder, found = full
    copied = copy(folder, tmp_path)
    good = {path: path.read_bytes() for path in entries(copied)}
    for number, path in enumerate(good):
        path.write_bytes([b"rubbish" * 100, good[path][:-9]][number % 2])
    assert run(copied) == (2, found)
    assert {path: path.read_bytes() for path in entries(copied)} == good
    for path in good:
        path.write_bytes(good[path][:200] + b"!" + good[path][201:])
    assert run(copied) == (2, found)
    assert run(copied) == (0, found)


def test_kernels_that_are_lost_are_written_by_planning_anew(full, tmp_path):
    folder, found = full
    copied = copy(folder, tmp_path)
    plans = entries(copied)
    for path in copied.glob("??/*"):
        if path not in plans:
            path.unlink()
    n_made, result = run(copied)
    assert result == found and n_made == 2
    assert run(copied) == (0, found)


def test_processes_plan_the_same_at_once(full, tmp_path):
    _, found = full
    processes = [start(tmp_path) for _ in range(3)]
    assert [end(process)[1] for process in processes] == [found] * 3
    assert len(entries(tmp_path)) == 2 and not list(tmp_path.glob("??/tmp*"))
    assert run(tmp_path) == (0, found)


def test_a_folder_that_cannot_be_used_costs_time_alone(full, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert run(tmp_path / "file") == (2, full[1])


# ---- in one process ------------------------------------------------------------------------------


def graph_of(value=1.0, params=None, op=P.sum_, shape=(4, 3), dtype=np.float32, name="x", line="a.py:1"):
    x = Node(INPUT, (), {}, Spec(shape, np.dtype(dtype)))
    x.name = name
    spec = Spec((), np.dtype(np.float64), True) if isinstance(value, float | int) else P.spec_of(value)
    c = Node(CONSTANT, (), {}, spec, value)
    product = Node(P.multiply, (x, c), {}, x.spec)
    out = Node(op, (product,), params or {"axis": (0,), "keepdims": False}, Spec(shape[1:], np.dtype(dtype)))
    out.line = line
    return Graph((x,), (out,))


OTHERS = [
    {"value": 0.0}, {"value": -0.0}, {"value": 1}, {"value": True}, {"value": np.float32(1)}, {"value": np.float64(1)},
    {"value": float("nan")}, {"value": np.ones(3, np.float32)}, {"value": np.ones(3)}, {"value": np.zeros(3)},
    {"value": -np.zeros(3)}, {"value": np.ones((1, 3))}, {"params": {"axis": (0,), "keepdims": 0}},
    {"params": {"axis": (0.0,), "keepdims": False}}, {"op": P.max_}, {"shape": (Dim("m"), 3)}, {"shape": (3, 4)},
    {"dtype": np.float64}, {"name": "z"}, {"line": "a.py:2"},
]  # fmt: skip


def test_graphs_that_differ_in_anything_have_other_texts():
    texts = [repr(kept.tell_graph(graph_of(**other))) for other in [{}, *OTHERS]]
    assert len(set(texts)) == len(texts)
    assert texts == [repr(kept.tell_graph(graph_of(**other))) for other in [{}, *OTHERS]]  # nodes made anew


class Shape(tuple):
    """A kind of tuple that we know nothing of."""


@pytest.mark.parametrize(
    "other",
    [
        {"value": np.array([None])}, {"value": np.ones(3, "f4,f4")}, {"value": np.zeros(kept.LARGEST + 1, np.int8)},
        {"params": {"axis": Shape((0,)), "keepdims": False}}, {"params": {"axis": len, "keepdims": False}},
    ],
    ids=str,
)  # fmt: skip
def test_what_has_no_text_of_its_own_is_not_told(other):
    with pytest.raises(kept.NotTold):
        kept.tell_graph(graph_of(**other))


def test_an_operation_that_is_not_registered_is_not_told():
    class Own:
        name = "sum"

    with pytest.raises(kept.NotTold):
        kept.tell_graph(graph_of(op=Own()))


def plan_of(f, *args, threads=1, fallback=None):
    return make_plan(expand(trace_function(f, args).graph, {}), threads, fallback=fallback)


def many_kinds(x):
    table, index = np.linspace(0, 1, 40).astype(np.float32), np.array([[0, 2], [1, 0]])
    return np.tanh(x @ x.T), np.sum(x * table, axis=0)[index], x[:0], np.sort(x, axis=1)


def finished_product(x, w):
    return np.tanh(x @ w + w[0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("f", "shapes"), [(many_kinds, [(300, 40)]), (finished_product, [(1024, 512), (512, 1024)])])
def test_what_is_read_is_what_was_written(f, shapes, threads):
    plan = plan_of(f, *[np.ones(shape, np.float32) for shape in shapes], threads=threads)
    assert any(call.finish for call in plan.calls) == (f is finished_product)
    again = kept.from_bytes(kept.to_bytes(plan), plan.kernels.__getitem__)

    def place(x):
        return (
            None
            if x is None
            else (x.size, x.role, x.number, x.offset, x.array if x.array is None else x.array.tolist())
        )

    def told(call):
        args = [(place(x.buffer), x.offset) if isinstance(x, Place) else x for x in call.args]
        touches = [(place(t.buffer), t.writes, t.part) for t in call.touches or ()]
        return {**vars(call), "args": args, "touches": touches, "target": place(call.target)}

    assert [told(call) for call in again.calls] == [told(call) for call in plan.calls]
    for field in ("threads", "arena", "scratch_at", "least", "n_told", "told_by", "calls_scipy", "inputs", "results"):
        assert getattr(again, field) == getattr(plan, field)
    assert list(again.kernels) == list(plan.kernels)
    numbers = {id(b): i for i, b in enumerate(plan.buffers)}
    anew = {id(b): i for i, b in enumerate(again.buffers)}
    assert [numbers.get(id(b)) for b in plan.outputs] == [anew.get(id(b)) for b in again.outputs]
    assert plan.portable or f is finished_product  # which OpenBLAS may be asked to do


def deep(x):
    for _ in range(60):
        x = np.tanh(x) + x
    return x


@pytest.mark.parametrize("change", ["cut", "number", "text", "role", "array", "buffer"])
def test_a_plan_whose_content_is_wrong_is_made_again(tmp_path, monkeypatch, change):
    monkeypatch.setenv("UNDERTOW_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kept, "FEWEST", 100)
    graph = trace_function(deep, (np.ones((3, 4)),)).graph
    plan = kept.plan_for(graph, {}, 1)
    ((name, data),) = [(path.name, read(tmp_path, path.name)) for path in entries(tmp_path)]
    parts = list(marshal.loads(data))

    def with_memory(*memory):
        return marshal.dumps((*parts[:4], list(memory), *parts[5:]))

    wrong = {
        "cut": data[:-9],
        "number": marshal.dumps(5),
        "text": b"rubbish",
        "role": with_memory((8, [], 0, None, 0, 0, 0)),
        "array": with_memory((8, "constant", 0, ("<f8", (3,), b"12345678"), 0, 0, 0)),
        "buffer": with_memory(parts[4][0]),
    }[change]
    with pytest.raises(kept.NotAPlan):
        kept.from_bytes(wrong, plan.kernels.__getitem__)
    keep(tmp_path, name, wrong)
    again = kept.plan_for(graph, {}, 1)
    assert again.graph is not None and [x.kernel for x in again.calls] == [x.kernel for x in plan.calls]
    assert read(tmp_path, name) == data
    assert kept.plan_for(graph, {}, 1).graph is None


def test_what_holds_in_one_process_alone_is_not_portable():
    special = pytest.importorskip("scipy.special")
    square = np.eye(4) + 1.0
    assert not plan_of(lambda x: special.gammaln(x), np.ones(3) + 1).portable
    assert not plan_of(lambda x: np.linalg.solve(x, x), square, fallback="numpy").portable
    assert not plan_of(lambda x: x**x, np.arange(3), fallback="numpy").portable


def test_numbers_that_differ_in_sign_or_kind_alone_are_told_apart():
    values = [float("nan"), -float("nan"), 0.0, -0.0, 1, 1.0, True]
    assert len({repr(kept.tell(x)) for x in values}) == len({repr(kept.tell_value(x)) for x in values}) == len(values)
