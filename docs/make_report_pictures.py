"""Draws the pictures of reports in README.md: takes screenshots of real reports in Chromium, light and dark.

Needs Chromium (`apt-get install chromium`), and Playwright and Pillow (`pip install playwright pillow`).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
WIDTH, ROOM = 1040, 10  # CSS pixels: of the page, and around what is shown of it
SCALE = 1.25
COLOURS = 128  # of a picture
DEMO = ("#summary", "#curves", "#map")  # parts of the demo's report, from the first to the last of them
FLOW = ("#findings .finding", "#map")
HIDDEN = "#curves details, #map details, .finding li:nth-of-type(n + 2) { display: none !important }"


def main() -> None:
    """Make both reports, and take the pictures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        reports = {"report-demo": (train_demo(Path(folder)), DEMO), "report-flow": (run_readme(Path(folder)), FLOW)}
        browser = started.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        for name, (report, parts) in reports.items():
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, color_scheme=scheme
                )
                page = context.new_page()
                page.goto(report.as_uri())
                take(page, parts, HERE / f"{name}-{scheme}.png")
                context.close()
        browser.close()


def train_demo(folder: Path) -> Path:
    """Train as `make demo` does; the path of its report."""
    line = re.search(r"undertow (train --dataset digits .*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert line is not None
    arguments = shlex.split(line[1].replace("runs/digits", str(folder / "digits")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-m", "undertow", *arguments, "--quiet"], check=True, env=environment)
    return folder / "digits" / "report.html"


def run_readme(folder: Path) -> Path:
    """Run the examples of README.md; the path of the report that they write."""
    folder = folder / "readme"
    folder.mkdir()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    page = types.ModuleType("page")
    sys.modules["page"] = page
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            exec(compile(block, "page.py", "exec"), page.__dict__)
            if "report.html" in block:
                break
    return folder / "report.html"


def find_chromium() -> str:
    """Find the system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        sys.exit("There is no Chromium. Install it, or name it: CHROMIUM=/path/to/chromium.")
    return path


def take(page: Any, parts: tuple[str, ...], path: Path) -> None:
    """Take a picture of some parts of a page, one below the other, without what lies between them."""
    from PIL import Image

    page.add_style_tag(content=HIDDEN)
    shots = []
    for part in parts:
        box = page.locator(part).first.bounding_box()
        clip = {
            "x": max(box["x"] - ROOM, 0), "y": max(box["y"] - ROOM, 0),
            "width": min(box["width"] + 2 * ROOM, WIDTH), "height": box["height"] + 2 * ROOM,
        }  # fmt: skip
        shots.append(Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))).convert("RGB"))
    width, height = max(shot.width for shot in shots), sum(shot.height for shot in shots)
    whole = Image.new("RGB", (width, height), shots[0].getpixel((0, 0)))
    top = 0
    for shot in shots:
        whole.paste(shot, (0, top))
        top += shot.height
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
