"""Tests that each promise of docs/lifecycle.md names the tests that hold it, which must exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "lifecycle.md").read_text("utf-8")

PROMISES = re.findall(r"^\| (?!what happens|---)(.*?) \| .* \|$", PAGE, re.MULTILINE)
HELD = {
    promise: re.findall(r"`(\S+)::(\w+)`", tests)
    for promise, tests in re.findall(r"^- (.*):\n((?:  - .*\n)+)", PAGE, re.MULTILINE)
}


def functions(file):
    if file.endswith(".rs"):
        return re.findall(r"#\[test\]\s*fn (\w+)", (TESTS / file).read_text("utf-8"))
    (path,) = TESTS.glob(f"*/test_{file}.py")
    module = ast.parse(path.read_text("utf-8"))
    return [
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_every_promise_has_tests_and_every_list_of_tests_a_promise():
    assert len(PROMISES) >= 20
    assert list(HELD) == PROMISES
    assert all(HELD.values())


@pytest.mark.parametrize("promise", HELD)
def test_the_tests_of_a_promise_exist(promise):
    for file, name in HELD[promise]:
        assert name in functions(file), f"{file}::{name}"
        assert name.startswith("test_") or file.endswith(".rs")
