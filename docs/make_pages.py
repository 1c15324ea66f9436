"""Write the pages of functions, special points, errors and findings from the records: ``python docs/make_pages.py``.

A test compares the pages with what this writes, so they cannot fall behind.
"""

from __future__ import annotations

import importlib.util
import json
import linecache
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import undertow as ut
from undertow.primitives import FUNCTIONS, NO_GRADIENT, REGISTRY, UFUNCS, ZERO, Answer, Kink, Primitive, name_of
from undertow.trace import Tracer

DOCS = Path(__file__).parent
MEASURED = DOCS / "special-points.json"


def derivative_of(primitive: Primitive) -> str:
    """Say what derivative an operation has."""
    rules = primitive.vjps if isinstance(primitive.vjps, tuple) else ()
    if not isinstance(primitive.vjps, tuple):
        return "yes"
    if not rules or all(rule is NO_GRADIENT for rule in rules):
        return "none: an index or a truth value"
    if all(rule is ZERO or rule is NO_GRADIENT for rule in rules):
        return "zero"
    return "yes"


def ufunc_rows() -> list[tuple[str, str]]:
    """List the ufuncs, each with its derivative."""
    rows = []
    for ufunc, primitive in UFUNCS.items():
        if getattr(np, ufunc.__name__, None) is ufunc:
            rows.append((f"np.{ufunc.__name__}", derivative_of(primitive)))
    return sorted(rows)


def function_rows() -> list[tuple[str, str]]:
    """List the other functions, each with its derivative."""
    return sorted({(answer.name, differentiable(answer)) for answer in FUNCTIONS.values() if answer.name[:3] == "np."})


def differentiable(answer: Answer) -> str:
    """Say whether a sample of a function has a float result to differentiate."""
    from undertow import trees

    for sample in answer.samples():
        with np.errstate(all="ignore"):
            result = answer.function(*sample.args, **sample.params)
            results = trees.flatten(result)[0]
        floats = [x for x in trees.flatten(sample.args)[0] if is_float(x)]
        if floats and any(map(is_float, results)):
            return "yes"
    return "none: an index, a truth value or a shape"


def is_float(x: Any) -> bool:
    """Tell whether a value is of floats."""
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f"


def methods() -> list[str]:
    """Return the methods of arrays that traced values have."""
    public = [name for name in dir(np.ndarray) if not name.startswith("_")]
    return [name for name in public if name in dir(Tracer)]


def columns(names: list[str], width: int = 110) -> str:
    """Set names in lines."""
    lines, line = [], ""
    for name in names:
        if line and len(line) + len(name) + 4 > width:
            lines.append(line)
            line = ""
        line += f"{' ' if line else ''}`{name}`"
    return "\n".join([*lines, line])


def numpy_page() -> str:
    """The page of supported functions."""
    scipy = scipy_names()  # first: it loads their records, which count
    rows = [*ufunc_rows(), *function_rows()]
    by = {kind: sorted({name for name, d in rows if d.startswith(kind)}) for kind in ("yes", "zero", "none")}
    known = {name for name, _ in rows}
    parts = [
        "# The NumPy functions that Undertow differentiates",
        "",
        "Written from the records by `docs/make_pages.py`. You call NumPy as always; a traced array answers.",
        f"{len(known)} NumPy functions and ufunc methods are answered, by {len(REGISTRY)} operations.",
        "Operators, indexing, `x[i] = v`, `x += v` and the methods below work too.",
        "",
        "## With a derivative",
        "",
        columns(by["yes"]),
        "",
        "## Whose derivative is zero",
        "",
        columns(by["zero"]),
        "",
        "## Without one: positions, truth values, shapes",
        "",
        columns(by["none"]),
        "",
        "## Methods and attributes of arrays",
        "",
        columns([f"x.{name}" for name in methods()]),
        "",
        "## SciPy",
        "",
        "The ufuncs of `scipy.special` arrive by the same protocol, if SciPy is installed (the extra `scipy`).",
        "`ut.softmax`, `ut.log_softmax`, `ut.logsumexp` and `ut.polygamma` stand for SciPy's functions of these names,",
        "which let nobody else answer.",
        "",
        columns(scipy),
        "",
        "Products of a sparse matrix of `scipy.sparse` and a traced array, `A @ x` and `x @ A`, have derivatives of",
        "any order, and compile. The entries of `A` are constants.",
        "",
        "## What is not there",
        "",
        "A function that is not in these lists gives an error that names it and your line. Complex numbers are out of",
        "scope for now, and with them Fourier transforms; `where=` of ufuncs is refused, and so is `out=` of other",
        "functions where its dtype is not the result's, or where it is given without its name.",
        "What calls other libraries is given [a derivative of its own](gradients.md#a-derivative-of-your-own).",
        "",
    ]
    return "\n".join(parts)


def scipy_names() -> list[str]:
    """List the ufuncs of SciPy."""
    if importlib.util.find_spec("scipy") is None:
        raise SystemExit("docs/make_pages.py needs SciPy: pip install scipy")
    import scipy.special

    from undertow.primitives import load_scipy, scipy_special  # noqa: F401

    load_scipy()
    ours = [*UFUNCS, *(f for f in FUNCTIONS if isinstance(f, np.ufunc))]
    return sorted(
        {f"scipy.special.{u.__name__}" for u in ours if getattr(scipy.special, u.__name__, None) is u and
         getattr(np, u.__name__, None) is not u}
    )  # fmt: skip


def number(x: Any) -> str:
    """Write a number, or nested lists of numbers."""
    x = x.tolist() if isinstance(x, np.ndarray) else x
    if isinstance(x, list | tuple):
        return "[" + ", ".join(map(number, x)) + "]"
    if x is None:
        return "–"
    value = float(x)
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:g}".replace("-", "−") if not np.isnan(value) else "NaN"


def special_points() -> list[tuple[str, Kink]]:
    """Every special point, with the name that people write."""
    scipy_names()
    points = [(answer.name, kink) for answer in FUNCTIONS.values() for kink in answer.kinks]
    written = {name for name, _ in points}
    people = {answer.name.rsplit(".", 1)[-1]: answer.name for answer in FUNCTIONS.values()}
    for primitive in REGISTRY.values():
        names = [name_of(u) for u in primitive.numpy] or [people.get(primitive.name, "")]
        if names[0] and names[0] not in written:  # others are the inside of a function that has its own points
            points += [(names[0], kink) for kink in primitive.kinks]
    return sorted(points, key=lambda point: point[0])


def key_of(name: str, kink: Kink) -> str:
    """Identify a special point in the file of measurements."""
    params = ", ".join(f"{key}={value}" for key, value in kink.params.items())
    places = ["·" if g is None else "d" for g in kink.gradient]
    return f"{name}({', '.join(map(str, kink.args))}; {params}) by {''.join(places)}"


def special_page() -> str:
    """The page of special points."""
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {"versions": {}, "points": {}}
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    lines = [
        "# Special points",
        "",
        "Where a function has a corner, a jump or a vertical tangent there is no derivative, and a library has to",
        "choose. Undertow takes the subgradient of least norm; infinite slopes stay infinite. Every value is tested",
        "in float32 and float64. The table is written from the records by `docs/make_pages.py`; the values of",
        f"PyTorch and JAX are measured by `benchmarks/special_points.py` ({versions or 'not measured yet'}).",
        "“–” means that an argument is a constant, or that the library has no such function.",
        "",
        "`np.where` never lets a NaN or an infinity of the branch not taken into the gradient.",
        "",
        "| function | at | gradient | why | PyTorch | JAX |",
        "|---|---|---|---|---|---|",
    ]
    for name, kink in special_points():
        params = "".join(f", {key}={value}" for key, value in kink.params.items())
        at = ", ".join(number(x) for x in kink.args) + params
        gradient = ", ".join(number(g) for g in kink.gradient)
        found = measured["points"].get(key_of(name, kink), {})
        others = [", ".join(map(number, found[lib])) if found.get(lib) else "–" for lib in ("torch", "jax")]
        cells = [f"`{name}`", at, gradient, kink.why, *others]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """The gallery of errors: each call, and what it says."""
    lines = [
        "# What the errors say",
        "",
        "Where, both shapes, and the remedy. Every message is printed by running the lines above it; the page is",
        "written by `docs/make_pages.py`. All errors of Undertow are `ut.UndertowError`; each is also the Python error",
        "that people expect: a `ShapeError` is a `ValueError`, a `DTypeError` a `TypeError`. At the command line the",
        "message stands alone, and the exit code is 2.",
        "",
    ]
    for family, calls in load("error_gallery").GALLERY:
        lines += [f"## {family}", ""]
        for title, code in calls:
            kind, message = run_until_error(code)
            shown = "\n".join(textwrap.fill(line, 116, subsequent_indent="  ") for line in message.split("\n"))
            lines += [f"**{title}**", "", "<!-- not executed: it ends in an error, which the page is made from -->"]
            lines += ["```python", code, "```", "", "```text", f"{kind}: {shown}", "```", ""]
    return "\n".join(lines)


def load(name: str) -> Any:
    """Import a file that lies beside this one."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_until_error(code: str) -> tuple[str, str]:
    """Run lines as a file of a person's; the kind of the error that they end in, and its message."""
    head = "import numpy as np\nimport undertow as ut\n\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.py"
        file.write_text(head + code + "\n", encoding="utf-8")
        linecache.clearcache()
        try:
            exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), {"__name__": "model"})
        except ut.UndertowError as error:
            return type(error).__name__, str(error)
    raise AssertionError(f"no error:\n{code}")


def findings_page() -> str:
    """Write the page of all findings, from the rules that make them."""
    from undertow.flow.diagnose import FOLLOWS, ORDER
    from undertow.flow.rules import RULES

    lines = [
        "# What can be found in a training",
        "",
        "`run.findings` and `undertow diagnose run/` say what is wrong with a training, most severe first. Each",
        "finding has a kind, a severity (*error*: it cannot learn so; *warning*: it learns badly; *note*), the layers",
        "with the cause first, the step at which it showed, the numbers beside what is expected, the cause in a",
        "sentence, remedies as Python and as an option of `undertow train`, and a source. A training that is well has",
        "none.",
        "",
        "The rules judge by ratios between layers, by the trend over steps and against what is expected of this",
        "beginning; the numbers below are where they draw the line. What follows from another finding is no finding of",
        "its own but a line of evidence there. `docs/make_pages.py` writes this page from the rules in",
        "`src/undertow/flow/rules/`.",
        "",
        "| finding | in short |",
        "|---|---|",
        *(f"| [{kind}](#{kind}) | {RULES[kind].text.splitlines()[0]} |" for kind in ORDER),
    ]
    for kind in ORDER:
        rule = RULES[kind]
        lines += ["", f"## {kind}", "", rule.text, ""]
        if rule.limits:
            lines += ["| number | is |", "|---|---|"]
            lines += [f"| {value:g} | {meaning} |" for value, meaning in rule.limits.values()]
            lines += [""]
        if kind in FOLLOWS:
            lines += [f"Told as a consequence where it comes with: {', '.join(FOLLOWS[kind])}.", ""]
        lines += [f"Source: {rule.source}"]
    return "\n".join(lines) + "\n"


PAGES = {
    "errors.md": errors_page,
    "findings.md": findings_page,
    "numpy.md": numpy_page,
    "special-points.md": special_page,
}

if __name__ == "__main__":
    for file, make in PAGES.items():
        (DOCS / file).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{file}")
