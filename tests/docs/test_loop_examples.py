"""Tests of `examples/loops`: there is one program per loop, and all of them print the same."""

import importlib.util
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from helpers import PATIENCE, screen

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "loops").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_of_a_loop_prints_four_squares(path):
    for name in re.findall(r"^(?:import|from) (\w+)", path.read_text("utf-8"), re.MULTILINE):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    with screen() if path.stem == "on_tk" else nullcontext("") as display:
        arguments = [["asyncio"], ["trio"]] if path.stem == "on_anyio" else [[]]
        for more in arguments:
            done = subprocess.run(
                [sys.executable, str(path), *more],
                env={**os.environ, "DISPLAY": display},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            assert (done.returncode, done.stderr, done.stdout) == (0, "", "0\n1\n4\n9\n")


def test_there_is_an_example_for_each_adapter():
    names = {path.stem for path in EXAMPLES}
    assert names >= {f"on_{loop}" for loop in ("asyncio", "trio", "gevent", "twisted", "qt", "tk")}
