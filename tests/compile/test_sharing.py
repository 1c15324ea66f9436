"""Threads that share a step: the same numbers whoever does it, few meetings, and the way that is faster just now."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.compile import function, layout, pace, profile, program, threads
from undertow.compile.driver import WAIT
from undertow.compile.pace import Pace
from undertow.compile.split import split_products
from undertow.train.step import make_step

CLIP = optim.clip_by_global_norm(0.5)


class Always(Pace):
    """Runs in one way only."""

    def note(self, steps, seconds):
        pass


@pytest.fixture
def four_threads(monkeypatch):
    """As many threads as there were on a larger machine."""
    monkeypatch.setattr(threads, "usable_processors", lambda: 4)


def layers(norm, depth=3):
    made = []
    for _ in range(depth):
        made += [nn.Dense(32, 32), *([nn.LayerNorm(32)] if norm else []), "tanh"]
    return nn.Sequential(nn.Dense(20, 32), *made, nn.Dense(32, 5))


def train(count, alone, monkeypatch, dtype=np.float32, rows=64, clip=None, norm=True, depth=3):
    """Twelve steps, with one thread for all parts or all together; what they lead to, and the program."""

    class Way(Always):
        def __init__(self, guess):
            super().__init__(guess)
            self.alone = alone

    monkeypatch.setattr(program, "Pace", Way)
    ut.set_threads(count)
    try:
        model = nn.initialize(layers(norm, depth), 0, dtype)
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(256, 20)).astype(dtype), rng.integers(0, 5, 256)
        step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.adam(0.01), clip)
        session = step.open(model, step.init(model), X, y, rows)
        losses = [session.run(rng.permutation(256)[: rows * 3], rows) for _ in range(4)]
        leaves = [x for x in trees.flatten(session.values())[0] if not callable(x)]
        return [np.concatenate(losses), *leaves], session.resident.prepare(rows)
    finally:
        ut.set_threads(None)


@pytest.mark.parametrize(
    ("count", "rows", "dtype", "clip"),
    [
        (2, 64, np.float32, None), (3, 50, np.float32, CLIP), (4, 7, np.float32, None), (3, 64, np.float64, CLIP),
        (4, 50, np.float64, None), (2, 7, np.float64, CLIP), (2, 50, np.float64, None), (4, 64, np.float32, CLIP),
    ],
)  # fmt: skip
def test_one_thread_that_does_the_parts_of_all_finds_the_same_bits(four_threads, monkeypatch, count, dtype, rows, clip):
    together, made = train(count, False, monkeypatch, dtype, rows, clip)
    alone, _ = train(count, True, monkeypatch, dtype, rows, clip)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)
    assert made.plan.threads == count
    bound = 1e-3 if dtype == np.float32 else 1e-10
    for a, b in zip(together, train(1, True, monkeypatch, dtype, rows, clip)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


def test_threads_meet_a_few_times_a_step_however_deep_the_network_where_memory_may_be_taken(four_threads, monkeypatch):
    monkeypatch.setattr(layout, "MORE", 100)
    meetings = {}
    for depth in (3, 15):
        _, made = train(2, True, monkeypatch, norm=False, depth=depth)
        meetings[depth] = int((made.table[:, 2] & WAIT > 0).sum())
    assert len(made.calls) > 120 and meetings[15] <= meetings[3] <= 6, meetings


@pytest.mark.parametrize("count", [2, 3])
def test_runs_that_are_stopped_go_on_in_either_way(four_threads, monkeypatch, count):
    rng, found = np.random.default_rng(count), {}

    class Turns(Always):
        def steps(self, wanted):
            self.alone = way or bool(rng.integers(2))
            stopped = not way and not rng.integers(3)
            session.resident.prepare(32).stop[0] = stopped
            return wanted if way else int(rng.integers(1, wanted + 1))

    monkeypatch.setattr(program, "Pace", Turns)
    ut.set_threads(count)
    try:
        X, y = rng.normal(size=(256, 20)).astype(np.float32), rng.integers(0, 5, 256)
        order = rng.permutation(256)
        for way in (True, False):
            model = nn.initialize(layers(True), 0, np.float32)
            step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.adam(0.01))
            session, losses = step.open(model, step.init(model), X, y, 32), np.empty(0)
            while len(losses) < 8:
                losses = np.concatenate([losses, session.run(order[32 * len(losses) :], 32)])
            found[way] = [losses, *[x for x in trees.flatten(session.values())[0] if not callable(x)]]
    finally:
        ut.set_threads(None)
    for a, b in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("count", [2, 4])
def test_threads_take_more_memory_only_while_that_is_little(four_threads, monkeypatch, count):
    _, tight = train(count, True, monkeypatch, norm=False, depth=15)
    monkeypatch.setattr(layout, "MORE", 100)
    _, roomy = train(count, True, monkeypatch, norm=False, depth=15)
    assert tight.memory.least == roomy.memory.least  # of the values, however long they are kept
    assert tight.memory.arena <= 1.2 * tight.memory.least < roomy.memory.arena
    assert np.sum(roomy.table[:, 2] & WAIT > 0) < np.sum(tight.table[:, 2] & WAIT > 0)


def graph_of(f, *shapes, dtype=np.float32):
    """The graph as it is planned for one thread."""
    ut.set_threads(1)
    try:
        compiled = ut.compile(f, fallback="numpy")
        compiled(*[np.ones(shape, dtype) for shape in shapes])
        return compiled.program.plan.graph
    finally:
        ut.set_threads(None)


def products(graph):
    return [node for node in graph.nodes if getattr(node.op, "name", "") == "matmul"]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_gradient_of_weights_is_added_up_from_the_parts_of_the_threads(count):
    before = graph_of(lambda x, dz: x.T @ dz * 2.0, (64, 24), (64, 16))
    after = split_products(before, count)
    (product,) = products(after)
    assert product.spec.shape == (count, 24, 16)
    assert [node.spec.shape for node in after.outputs] == [(24, 16)]
    assert [x.spec for x in after.inputs] == [x.spec for x in before.inputs]
    assert (product.line, product.name) == (products(before)[0].line, products(before)[0].name)


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lambda a, b: a @ b, [(64, 24), (24, 16)]),  # examples are rows of the result
        (lambda a, b: a.T @ b, [(63, 24), (63, 16)]),  # no equal parts
        (lambda a, b: a.T @ b, [(64, 500), (64, 500)]),  # parts larger than what is read
        (lambda a, b: a.T @ b, [(8, 4), (8, 4)]),  # too small
        (lambda a, b: a.T @ b + (2 * a).T @ b, [(64, 24), (64, 16)]),  # products added up in one place
    ],
)
def test_other_products_stay_whole(f, shapes):
    graph = graph_of(f, *shapes)
    assert split_products(graph, 2) is graph


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool])
def test_products_that_numpy_does_stay_whole(dtype):
    graph = graph_of(lambda a, b: a.T @ b, (64, 24), (64, 16), dtype=dtype)
    assert split_products(graph, 2) is graph


class Machine:
    """A machine of simulated time: a step takes so long alone, and so long together."""

    def __init__(self, guess=0.0):
        self.pace, self.now = Pace(guess), 0.0
        self.alone, self.together = 60e-6, 40e-6
        self.rng = np.random.default_rng(0)
        self.disturbed, self.lost = 0.0, None  # the share of steps that take longer; so long, or twice as long

    def work(self, seconds, portion=10**9):
        """Run for so long; return the share of time in which one thread did it all."""
        begun, by_one = self.now, 0.0
        while self.now - begun < seconds:
            alone = self.pace.alone
            steps = self.pace.steps(portion)
            assert 1 <= steps <= portion
            step = self.alone if alone else self.together
            taken = steps * step + self.rng.binomial(steps, self.disturbed) * (self.lost or step)
            self.now += taken
            by_one += taken * alone
            self.pace.note(steps, taken)
        return by_one / (self.now - begun)


@pytest.mark.parametrize("portion", [1, 3, 28, 10**6])
def test_the_faster_way_is_taken_and_found_again_when_it_changes(portion):
    machine = Machine()
    machine.work(0.1, portion)
    assert machine.work(2.0, portion) < 0.02  # threads pay
    machine.together = 150e-6  # their processors are far apart now
    began = machine.now
    while not machine.pace.alone:
        machine.work(1e-3, portion)
    assert machine.now - began < 0.05  # what was begun is finished first
    machine.work(0.2, portion)
    assert machine.work(2.0, portion) > 0.98
    machine.together = 40e-6
    machine.work(2 * pace.LATE, portion)
    assert machine.work(2.0, portion) < 0.02


@pytest.mark.parametrize("portion", [1, 4, 10**6])
def test_single_steps_that_take_twice_as_long_mean_nothing(portion):
    machine = Machine()
    machine.disturbed = 0.1
    machine.together = 25e-6
    machine.work(0.5, portion)
    assert machine.work(3.0, portion) < 0.02
    machine.together = 150e-6
    machine.work(0.5, portion)
    assert machine.work(3.0, portion) > 0.98


def test_threads_that_wait_for_a_processor_from_the_first_step_on_are_not_taken_for_long_work():
    machine = Machine()
    machine.together = 12e-3
    machine.work(0.5, 64)
    assert machine.work(3.0, 64) > 0.9


@pytest.mark.parametrize("portion", [1, 28, 10**6])
def test_what_looks_in_vain_cost_is_little_where_others_take_the_processors(portion):
    machine = Machine()
    machine.alone, machine.together = 0.3e-3, 8e-3
    machine.disturbed, machine.lost = 0.02, 4e-3
    machine.work(0.5, portion)
    assert machine.work(10.0, portion) > 0.9


def test_a_long_step_is_always_shared():
    machine = Machine(guess=5e-3)
    machine.alone, machine.together = 10e-3, 5.2e-3
    assert machine.work(20.0) == 0.0
    machine = Machine()  # what looks short is tried
    machine.alone, machine.together = 10e-3, 5.2e-3
    machine.work(1.0)
    assert machine.work(20.0) == 0.0


@pytest.mark.parametrize(("kind", "dtype"), [("f32", np.float32), ("f64", np.float64)])
def test_a_profile_measures_float64_by_the_limit_of_float64(monkeypatch, kind, dtype):
    limits = {"f32": 2e11, "f64": 1e11}
    with monkeypatch.context() as patch:
        patch.setattr(profile, "_product_flops", limits.__getitem__)
        made = ut.compile(lambda a, b: a @ b).profile(np.ones((256, 256), dtype), np.ones((256, 256), dtype), rounds=3)
    assert made.product_flops == {kind: limits[kind]} and made.kernels[0].kind == kind
    assert f"{limits[kind] / 1e9:.0f} GFlop/s a thread in {np.dtype(dtype)}" in str(made)
    seen = []

    class Noted:
        def __init__(self, f):
            self.compiled = ut.compile(f)

        def __call__(self, *arguments):
            seen.extend(x.dtype for x in arguments)
            return self.compiled(*arguments)

        @property
        def program(self):
            return self.compiled.program

    monkeypatch.setattr(function, "compile", Noted)
    assert profile._product_flops.__wrapped__(kind) > 0
    assert seen == [dtype, dtype]  # what it is measured by
