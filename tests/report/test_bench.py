"""`undertow bench` measures the networks that it names."""

import itertools
import re

import pytest

from undertow.errors import ArgumentError
from undertow.report import bench


@pytest.mark.parametrize("name", ["S", "M", "L"])
def test_a_workload_is_the_network_that_its_line_names(name, monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 1e-3)
    monkeypatch.setattr(bench, "ROUNDS", 1)
    line, *table = bench.measure_step(name, profile=True).splitlines()
    sizes, rows = bench.WORKLOADS[name]
    assert line.startswith(f"{name:<3} {'-'.join(map(str, sizes))}") and f"batch {rows}" in line
    products = {tuple(map(int, found)) for found in re.findall(r"\((\d+) × (\d+) × (\d+)\)", "\n".join(table))}
    forward = {(rows, a, b) for a, b in itertools.pairwise(sizes)}
    gradients = {(a, rows, b) for a, b in itertools.pairwise(sizes)}
    assert forward | gradients <= products


def test_bench_prints_the_configuration_and_a_line_for_each_workload(monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 1e-3)
    said: list[str] = []
    bench.bench(["S"], False, said.append)
    assert said[0].startswith("Undertow, compiled programs") and said[1].startswith("S   4-16-3") and len(said) == 2
    with pytest.raises(ArgumentError, match="there is no workload 'T'"):
        bench.bench(["T"], False, said.append)
