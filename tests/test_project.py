"""The project keeps its own rules: sizes, names, dependencies, and the files that start it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import undertow

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "undertow"
FOLDERS = ("src", "tests", "benchmarks")
PYTHON_FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

FILE_LINES_WANTED, FILE_LINES_AT_MOST = 400, 450
FUNCTION_LINES_AT_MOST = 60
HEART_LINES_AT_MOST = 45

LOADED_AS_LIBRARY = {"scipy-openblas32"}  # not as a module, which would load it with the wrong kernels
IMPORTED_AS = {"scikit-learn": "sklearn", "pillow": "PIL", "python-calamine": "python_calamine"}
FORBIDDEN_TEXT = {
    "a path of one machine": r"(?<![\w.~:/-])/(?:work|root|home|Users|opt)/\w",
    "a package registry": r"https?://\S*(?:/simple\b|pythonhosted|npmjs)|--(?:extra-)?index-url|--find-lin[k]s",
}


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, list[str]]]:
    """Every function of a file with its lines, without its docstring and the functions inside it."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left_out: set[int] = set()
            if ast.get_docstring(node) is not None:
                left_out.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner is not node:
                    left_out.update(range(inner.lineno, inner.end_lineno + 1))
            numbers = range(node.lineno, node.end_lineno + 1)
            yield node, [lines[n - 1] for n in numbers if n not in left_out]


def code(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip() and not line.strip().startswith("#")]


def shared_files() -> list[Path]:
    """The files that belong to the project: what git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode == 0:
        paths = [ROOT / name for name in result.stdout.split("\0") if name]
    else:  # an unpacked source distribution
        paths = [*PYTHON_FILES, *ROOT.iterdir(), *(ROOT / "docs").rglob("*.md")]
    return [path for path in paths if path.is_file()]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a fresh shell, also when these tests were started by make."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


# Sizes and names


def test_files_can_be_read_in_one_sitting():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in PYTHON_FILES}
    assert not {str(path): n for path, n in lengths.items() if n > FILE_LINES_AT_MOST}
    for path, n in lengths.items():
        if n > FILE_LINES_WANTED:
            warnings.warn(f"{path} has {n} lines; {FILE_LINES_WANTED} are wanted", stacklevel=1)


def test_functions_fit_on_a_screen():
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {len(code(lines))} lines of code"
        for path in PYTHON_FILES
        for node, lines in functions(path)
        if len(code(lines)) > FUNCTION_LINES_AT_MOST
    ]


def test_the_reverse_pass_stands_on_one_screen():
    found = {
        node.name: len(lines)
        for node, lines in functions(SOURCE / "differentiate.py")
        if re.fullmatch(r"_?(backward|reverse)(_pass)?", node.name)
    }
    assert found, "differentiate.py has no function named backward or reverse"
    assert max(found.values()) <= HEART_LINES_AT_MOST, found


def test_names_say_what_things_are():
    assert not [path for path in PYTHON_FILES if path.stem in {"util", "utils", "helpers", "misc"}]
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in PYTHON_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and "Manager" in node.name
    ]


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_no_file_depends_on_one_machine(what):
    found = []
    for path in shared_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # data, not text
        places = (n for n, line in enumerate(lines, 1) if re.search(FORBIDDEN_TEXT[what], line))
        found += [f"{path.relative_to(ROOT)}:{n}" for n in places]
    assert not found, f"{what} in {found}"


@pytest.mark.parametrize(
    ("what", "text", "forbidden"),
    [
        ("a path of one machine", "open('" + "/home" + "/ada/x.csv')", True),
        ("a path of one machine", "open('runs/home/x.csv') or ~/work/x", False),
        ("a package registry", "pip install " + "--index" + "-url x", True),
        ("a package registry", "https://host" + "/simple/numpy", True),
        ("a package registry", "https://numpy.org/doc/stable", False),
    ],
)
def test_forbidden_text_is_found(what, text, forbidden):
    assert bool(re.search(FORBIDDEN_TEXT[what], text)) is forbidden


# The package


def test_one_version_everywhere():
    assert undertow.__version__ == PROJECT["version"]
    assert f"[{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_dependencies_are_those_imported():
    """Every library that is imported is declared, and every core dependency is used."""

    def names(requirements: list[str]) -> set[str]:
        plain = [re.match(r"[\w-]+", requirement)[0] for requirement in requirements]
        return {IMPORTED_AS.get(name, name) for name in plain}

    imported = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "compression", "undertow"}  # compression: from Python 3.14 on
    core = names(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"].items()
    optional = set().union(*(names(needs) for extra, needs in extras if extra not in {"dev", "bench"}))
    assert imported - optional == core - LOADED_AS_LIBRARY


def test_the_package_is_typed():
    assert (SOURCE / "py.typed").is_file()


# The files that start everything


def test_continuous_integration_runs_make_test():
    """One door: what the automatic check runs is what everybody runs."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines() == [
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        'cd "$(dirname "${BASH_SOURCE[0]}")/.."',
        "make test",
    ]


def test_make_alone_explains_every_target():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = re.findall(r"^  make (\w+) +\w", make().stdout, re.MULTILINE)
    assert shown == phony.split()


@pytest.mark.parametrize(
    ("python", "message"),
    [
        (None, "there is no no-such-python here"),
        ('[ "$1" = --version ] && echo Python 3.9.1; exit 1', "is Python 3.9.1"),
        ('case "$2" in *venv*) exit 1;; esac', "has no venv module"),
    ],
)
def test_set_up_says_what_is_missing(tmp_path, python, message):
    name = "no-such-python"
    if python is not None:
        name = str(tmp_path / "python3")
        Path(name).write_text(f"#!/bin/sh\n{python}\n")
        Path(name).chmod(0o755)
    result = make("setup", f"PYTHON={name}", f"VENV={tmp_path / 'environment'}")
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "environment").exists()


def test_the_oldest_numpy_has_every_function_that_is_answered() -> None:
    """Importing fails where one is missing, and np.unstack came with NumPy 2.1."""
    assert "numpy>=2.1" in PROJECT["dependencies"]
