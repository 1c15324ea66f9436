"""Every example in the documents runs, prints what the document says, and every command works.

In README.md, CONTRIBUTING.md and docs/:

- ```python blocks of one document run in order and share their names.
- An ```output block holds what the block before it prints, exactly; `...` stands for anything.
- ```console blocks: every line that begins with `$ ` is a command and must exit with 0, or with the
  number in a comment at its end: `# exit 2`. Lines without `$ ` show output and are not compared.
  In ```sh blocks without `$ `, every line is a command.
- `<!-- not executed: reason -->` directly before a block leaves it out.
- All examples of a document share one temporary folder. Commands that set up a checkout (`make`,
  `git clone`, …) are not run, but the targets that they give to make must exist.
"""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

COMMAND_SECONDS = 300
SET_UP = ("make", "git clone", "cd ", "python3 -m venv", "pip install")
EXECUTED = {"python", "output", "console", "sh"}
MISNAMED = {"py": "python", "python3": "python", "pycon": "python", "bash": "sh", "shell": "sh", "zsh": "sh"}


class DocumentError(AssertionError):
    """An example that does not do what its document says."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the document on which the text begins."""

    language: str
    text: str
    line: int
    comment: str  # the HTML comment directly before it


def blocks(document: str) -> Iterator[Block]:
    lines = iter(enumerate(document.splitlines(), 1))
    comment = ""
    for number, line in lines:
        fence = re.match(r"( *)(`{3,}|~{3,})\s*([\w-]*)", line)
        if not fence:
            if line.strip():
                comment = found[1] if (found := re.fullmatch(r"\s*<!--\s*(.*?)\s*-->\s*", line)) else ""
            continue
        indent, marks, language = fence.groups()
        body = []
        for _, inner in lines:
            if inner.strip().startswith(marks) and not inner.strip(marks[0] + " "):
                break
            body.append(inner.removeprefix(indent))
        else:
            raise DocumentError(f"line {number}: this block is never closed")
        yield Block(language.lower(), "\n".join(body), number + 1, comment)
        comment = ""


def is_executed(block: Block) -> bool:
    if block.language in MISNAMED:
        raise DocumentError(f"line {block.line}: write ```{MISNAMED[block.language]}, not ```{block.language}")
    if not block.comment.startswith("not executed"):
        return block.language in EXECUTED
    if not re.match(r"not executed: *\w", block.comment):
        raise DocumentError(f"line {block.line}: say why: <!-- not executed: reason -->")
    return False


def commands(block: Block) -> Iterator[tuple[int, str, int]]:
    """(line, command, expected exit code) of each command in a block; `\\` continues a line."""
    prompted = block.language == "console" or re.search(r"^\$ ", block.text, re.MULTILINE)
    lines = iter(enumerate(block.text.splitlines(), block.line))
    for number, line in lines:
        if prompted and not line.startswith("$ "):
            continue
        command = line.removeprefix("$ ").strip()
        while command.endswith("\\"):
            command = command[:-1] + next(lines, (0, ""))[1].removeprefix("> ").strip()
        if command and not command.startswith("#"):
            exit_code = re.search(r"#\s*exit (\d+)\s*$", command)
            yield number, command, int(exit_code[1]) if exit_code else 0


def run_command(line: int, command: str, exit_code: int, folder: Path) -> str:
    if command.startswith(SET_UP):
        check_make_targets(line, command)
        return ""
    search_path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": search_path, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}
    try:
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise DocumentError(f"line {line}: `{command}` ran longer than {COMMAND_SECONDS} s") from None
    if result.returncode != exit_code:
        found = f"exit {result.returncode}, expected {exit_code}\n{result.stdout}"
        raise DocumentError(f"line {line}: `{command}`: {found}")
    return result.stdout


def check_make_targets(line: int, command: str) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for arguments in re.findall(r"\bmake\b([^&;|#]*)", command):
        named = {word for word in arguments.split() if not word.startswith("-") and "=" not in word}
        if unknown := named - set(phony.split()):
            raise DocumentError(f"line {line}: there is no target {', '.join(unknown)} in the Makefile")


def run_python(block: Block, example: types.ModuleType) -> str:
    """Run a block; its line numbers, in errors and in what Undertow reports, are those of the document."""
    printed = io.StringIO()
    program = compile("\n" * (block.line - 1) + block.text, str(example.__file__), "exec")
    try:
        with contextlib.redirect_stdout(printed):
            exec(program, example.__dict__)
    except Exception as error:
        raise DocumentError(f"line {block.line}: {type(error).__name__}: {error}") from error
    return printed.getvalue()


def compare(block: Block, printed: str) -> None:
    def plain(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

    pattern = re.escape(plain(block.text)).replace(r"\.\.\.", ".*")
    if not re.fullmatch(pattern, plain(printed), re.DOTALL):
        expected = f"expected:\n{block.text}\nprinted:\n{printed}"
        raise DocumentError(f"line {block.line}: the output differs\n{expected}")


def run_document(document: str, folder: Path) -> int:
    """Run the examples of one document in `folder`; the number of blocks that were executed."""
    found = [block for block in blocks(document) if is_executed(block)]
    source = [""] * (document.count("\n") + 1)
    for block in found:
        if block.language == "python":
            lines = block.text.splitlines()
            source[block.line - 1 : block.line - 1 + len(lines)] = lines
    example = types.ModuleType("example")
    example.__file__ = str(folder / "example.py")  # a real file, so that source code can be looked up
    Path(example.__file__).write_text("\n".join(source) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(sys.modules, "example", example)
        patch.setenv("COLUMNS", "100")
        patch.setenv("NO_COLOR", "1")
        printed = None
        for block in found:
            if block.language == "python":
                printed = run_python(block, example)
            elif block.language == "output":
                if printed is None:
                    raise DocumentError(f"line {block.line}: no example stands before this output")
                compare(block, printed)
                printed = None
            else:
                printed = "".join([run_command(*command, folder) for command in commands(block)])
    return len(found)


def broken_links(path: Path) -> list[str]:
    """Links to files of the project that are not there."""
    links = re.findall(r"\]\((?!\w+:|#)([^)\s#]+)[^)]*\)", path.read_text())
    return [link for link in links if not (path.parent / link).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_runs(path, tmp_path):
    assert path.is_file(), f"{path.name} is missing"
    run_document(path.read_text(), tmp_path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert path.is_file(), f"{path.name} is missing"
    assert not broken_links(path)


# The harness itself: what must pass passes, and what must fail is reported with its line.


def document(*parts: str) -> str:
    """A document of blocks, written `language|text`, with `comment` lines left as they are."""
    fenced = (part if "|" not in part else "```{}\n{}\n```".format(*part.split("|", 1)) for part in parts)
    return "# Title\n\n" + "\n\n".join(fenced) + "\n"


@pytest.mark.parametrize(
    "parts",
    [
        ("python|x = 1", "python|print(x + 1)", "output|2"),
        ("python|print('a   ')\nprint(0.123)", "Prose between.", "output|a\n0.1..."),
        ("python|print('a\\nb\\nc\\nd')", "output|a\n...\nd"),
        (
            "python|from pathlib import Path\nPath('made').touch()",
            "console|$ ls made",
        ),
        (
            "console|$ echo made > file\nany output",
            "python|from pathlib import Path\nprint(Path('file').read_text())",
            "output|made",
        ),
        ("console|$ echo one \\\n>  two", "output|one two"),
        ("console|$ exit 2  # exit 2",),
        ("sh|# a comment\ntrue\ntest -z ''",),
        ("sh|make test\nmake setup PYTHON=python3.12\ngit clone x && cd x && make demo",),
        ("<!-- not executed: needs a terminal -->", "python|1 / 0"),
        (
            "python|import inspect\ndef f(): return 1",
            "python|print(inspect.getsource(f))",
            "output|def f(): return 1",
        ),
        (
            "python|from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int' = 1\nprint(A())",
            "output|A(x=1)",
        ),
        ("text|anything", "json|{"),
    ],
)
def test_a_right_example_passes(parts, tmp_path):
    run_document(document(*parts), tmp_path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("python|x = 1\n1 / 0",), "line 4: ZeroDivisionError"),
        (("python|x = 1", "python|print(y)"), "line 8: NameError"),
        (("python|print(2)", "output|3"), "line 8: the output differs"),
        (("python|print(2)\nprint(3)", "output|2"), "the output differs"),
        (("python|print('1.5')", "output|1.6..."), "the output differs"),
        (("output|3",), "line 4: no example stands before this output"),
        (("console|$ false",), "line 4: `false`: exit 1, expected 0"),
        (("console|$ true  # exit 2",), "exit 0, expected 2"),
        (("console|$ echo the reason; exit 3",), "the reason"),
        (("sh|true\nfalse",), "line 5: `false`: exit 1"),
        (("console|$ undertow-no-such-command",), "exit 127"),
        (("console|$ make nonsense",), "there is no target nonsense in the Makefile"),
        (("sh|git clone x && cd x && make nonsense",), "there is no target nonsense in the Makefile"),
        (("<!-- not executed -->", "python|1 / 0"), "line 6: say why"),
        (("<!-- not executed: slow -->", "Prose between.", "python|1 / 0"), "ZeroDivisionError"),
        (("bash|true",), "line 4: write ```sh, not ```bash"),
        (("```python\nx = 1",), "line 3: this block is never closed"),
    ],
)
def test_a_wrong_example_is_reported(parts, message, tmp_path):
    with pytest.raises(DocumentError, match=re.escape(message)):
        run_document(document(*parts), tmp_path)


def test_a_command_that_hangs_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "COMMAND_SECONDS", 0.2)
    with pytest.raises(DocumentError, match=r"`sleep 60` ran longer than 0.2 s"):
        run_document(document("console|$ sleep 60"), tmp_path)


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[here](page.md#top) [web](https://numpy.org) [part](#part) [gone](docs/gone.md)")
    assert broken_links(page) == ["docs/gone.md"]


def test_the_pages_made_from_the_records_are_up_to_date():
    """docs/numpy.md and docs/special-points.md are what docs/make_pages.py writes now."""
    pytest.importorskip("scipy")
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "docs" / "make_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    for name, make in pages.PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == make(), f"run: python docs/make_pages.py ({name})"
