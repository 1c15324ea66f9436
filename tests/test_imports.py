"""Imports run one way through the package, and `undertow/__init__.py` holds names only.

The order below is the pipeline of docs/architecture.md. A module may import its own group and any group
on an earlier line; two groups on one line do not know each other.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import undertow

SOURCE = Path(__file__).parents[1] / "src" / "undertow"

ORDER = """
    errors allocation spelling
    habits
    keywords
    lazy
    trees
    graph
    primitives
    trace
    blocked
    differentiate
    nan_gradient
    derivatives
    custom bridges
    simplify
    mistakes
    emit check
    compile
    api
    compiled_gradient written_sizes
    public_gradient
    per_example
    nn optim
    data
    train
    export
    flow
    report
    sklearn
    __init__
    cli __main__
"""
RANK = {group: rank for rank, line in enumerate(ORDER.split("\n")) for group in line.split()}
MAY_IMPORT_EACH_OTHER = {
    ("__main__", "cli"),
    ("train", "export"),  # Run.export(path), when it is called
    ("train", "flow"),  # Trainer, when it begins to record; Run.flow, Run.findings, when they are asked for
    ("train", "report"),  # Run.report(path), when it is called
    ("flow", "report"),  # OwnRecorder.report(path), when it is called
    ("api", "report"),  # Backprop.walk(path), when it is called
    ("api", "written_sizes"),  # Backprop.source, when it is asked for
}


def group_of(path: Path, root: Path) -> str:
    """The module or package directly below undertow to which a file belongs."""
    return path.relative_to(root).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a file, at any depth, also under TYPE_CHECKING.

    `from a import b` gives both `a` and `a.b`: b may be a module. `package` resolves relative imports. A table of
    names by module, which `undertow.lazy.attach` takes, is an import of each of these modules.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and re.search(r"(import_module|__import__)$", ast.unparse(node.func)):
            yield from ((node.lineno, name.value) for name in node.args[:1] if isinstance(name, ast.Constant))
        elif isinstance(node, ast.Call) and re.search(r"\battach$", ast.unparse(node.func)):
            for table in node.args[1:]:
                assert isinstance(table, ast.Dict), f"line {node.lineno}: write the table of names where it is used"
                yield from ((name.lineno, ast.literal_eval(name)) for name in table.keys)


def wrong_imports(root: Path) -> list[str]:
    """One line for every import below `root` that runs against ORDER."""
    groups = {group_of(path, root) for path in root.rglob("*.py")}
    wrong = [f"{group}: give it a place in ORDER" for group in sorted(groups - RANK.keys())]
    for path in sorted(root.rglob("*.py")):
        here = group_of(path, root)
        package = ".".join(("undertow", *path.relative_to(root).parts[:-1]))
        for line, name in imported_modules(ast.parse(path.read_text()), package):
            top, _, rest = name.partition(".")
            there = rest.split(".")[0]
            there = there if there in groups | RANK.keys() else "__init__"
            if top != "undertow" or there == here or (here, there) in MAY_IMPORT_EACH_OTHER:
                continue
            if {here, there} <= RANK.keys() and RANK[there] >= RANK[here]:
                wrong.append(f"{path.relative_to(root)}:{line}: {here} must not import {there}")
    return wrong


def test_imports_run_one_way():
    assert not wrong_imports(SOURCE)


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("graph/node.py", "from undertow.primitives import add", "graph must not import primitives"),
        ("graph/node.py", "from undertow import trace", "graph must not import trace"),
        ("graph/node.py", "from ..trace import Tracer", "graph must not import trace"),
        ("graph/node.py", "import undertow.trace as t", "graph must not import trace"),
        ("graph/node.py", "import undertow", "graph must not import __init__"),
        (
            "graph/node.py",
            "def f():\n    from undertow import trace",
            "node.py:2: graph must not import trace",
        ),
        ("graph/node.py", "if TYPE_CHECKING:\n    from undertow import trace", "must not import trace"),
        ("graph/node.py", "importlib.import_module('undertow.trace')", "graph must not import trace"),
        ("graph/__init__.py", "attach(__name__, {'undertow.trace': 'Tracer'})", "graph must not import trace"),
        ("check.py", "from undertow.emit import source", "check must not import emit"),
        ("emit/__init__.py", "from undertow import check", "emit must not import check"),
        ("__init__.py", "from undertow import cli", "__init__ must not import cli"),
        ("helpers.py", "", "helpers: give it a place in ORDER"),
    ],
)
def test_an_import_against_the_order_is_found(tmp_path, path, code, message):
    names = "__init__", "graph/__init__", "graph/node", "primitives/__init__", "trace", "emit/__init__", "check", "cli"
    for name in names:
        module = tmp_path / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.touch()
    assert not wrong_imports(tmp_path)
    (tmp_path / path).write_text(code)
    (found,) = wrong_imports(tmp_path)
    assert message in found


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("trace.py", "from undertow.graph import Node\nimport undertow.graph.node"),
        ("graph/show.py", "from undertow.graph.node import Node\nfrom .node import Node\nfrom . import node"),
        ("cli.py", "from undertow import __version__, trace, emit, check\nimport undertow"),
        ("__main__.py", "from undertow.cli import main"),
    ],
)
def test_an_import_along_the_order_passes(tmp_path, path, code):
    for name in ("__init__", "graph/node", "trace", "emit/__init__", "check", "cli"):
        module = tmp_path / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.touch()
    (tmp_path / path).write_text(code)
    assert not wrong_imports(tmp_path)


def test_the_package_file_holds_names_only():
    """Imports, a lazy table, `__all__`, `__version__`, a docstring: logic is in a module that says what it does."""
    docstring, *statements = ast.parse((SOURCE / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            assert ast.unparse(target) in {"__all__", "__version__"}
        elif isinstance(statement, ast.If):
            assert ast.unparse(statement.test) == "TYPE_CHECKING" and not statement.orelse
            assert all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in statement.body)
        elif isinstance(statement, ast.Expr):
            assert ast.unparse(statement).startswith("attach(__name__, {")
        else:
            assert isinstance(statement, ast.Import | ast.ImportFrom), ast.unparse(statement)


def test_every_public_name_exists_once_and_is_documented():
    assert len(set(undertow.__all__)) == len(undertow.__all__)
    for name in undertow.__all__:
        value = getattr(undertow, name)
        assert name.startswith("__") or value.__doc__, f"undertow.{name} has no docstring"


def test_importing_undertow_loads_no_optional_library():
    """`import undertow` works, and starts fast, where only the core dependencies are installed."""
    code = "import sys, undertow; print(*sorted({'autograd', 'jax', 'sklearn', 'torch'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=SOURCE.parent, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stdout + result.stderr
