"""Tests of the documents: the tests run their programs and check their links.

A ```python block is a program of its own. A ```text block right after it is the program's output.
"""

import ast
import doctest
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest

import wakefd
from helpers import STRICT, screen

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LIMIT = 30  # seconds for one block
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n+```text\n(?P<output>.*?)^```$)?", re.MULTILINE | re.DOTALL
)


def blocks():
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            yield pytest.param(
                path, line, match["code"], match["output"], id=f"{path.relative_to(ROOT)}:{line}"
            )


@pytest.mark.parametrize(("path", "line", "code", "output"), list(blocks()))
def test_a_block_runs_and_prints_what_the_document_shows(path, line, code, output):
    for name in re.findall(r"^ *(?:import|from) (\w+)", code, re.MULTILINE):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    if "os.fork" in code and not hasattr(os, "fork"):
        pytest.skip("no fork")
    with screen() if "tkinter" in code else nullcontext("") as display:
        done = subprocess.run(
            [sys.executable, *STRICT, "-c", "\n" * (line - 1) + code],
            env={**os.environ, "DISPLAY": display},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    assert (done.returncode, done.stderr) == (0, ""), f"{path}:{line}\n{done.stderr}"
    if output is not None:
        assert done.stdout == output


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_names_its_language(path):
    fences = re.findall(r"^(```\w*)$", path.read_text("utf-8"), re.MULTILINE)
    compiled = {"```c", "```cpp", "```cython"}  # test_native_examples.py compiles these
    assert set(fences[::2]) <= {"```python", "```text", "```sh", "```rust", *compiled}
    assert set(fences[1::2]) <= {"```"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_has_a_target(path):
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


def anchors(text):
    """The anchors that GitHub makes of the headings of a text."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_that_documents_name_exist():
    for path in DOCUMENTS:
        for name in re.findall(r"`((?:tests|examples|docs|src)/[\w/.]+)`", path.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 160


def test_the_changelog_has_a_section_for_this_version():
    assert re.search(
        rf"^## \[(Unreleased|{re.escape(wakefd.__version__)})\]",
        (ROOT / "CHANGELOG.md").read_text("utf-8"),
        re.MULTILINE,
    )


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=str)
def test_pictures_are_well_formed(path):
    assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_examples_in_the_package_docstring_work():
    assert doctest.testmod(wakefd).attempted >= 3
    assert doctest.testmod(wakefd).failed == 0


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.py")), ids=lambda p: p.name)
def test_every_example_has_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
