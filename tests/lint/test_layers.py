"""The check of the layers finds arrows that run upward, circles, and files without a floor."""

import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = Path(__file__).with_name("layers.py")

TREE = {
    "CONTRIBUTING.md": """
```floors
python/wakefd/__init__.py  the face
python/wakefd/  the rest
src/lib.rs  the crate
src/upper/  knows lower
src/lower/  knows
  nothing
```
""",
    "src/lib.rs": "mod lower;\nmod upper;\npub use upper::Upper;\n",
    "src/upper/mod.rs": """
mod part;
pub use part::Upper;
use crate::lower::{Lower, tools::{Hammer, Saw as Blade}};
""",
    "src/upper/part.rs": "pub struct Upper;\n",
    "src/lower/mod.rs": "pub mod tools;\npub use tools::Lower;\n",
    "src/lower/tools.rs": "pub struct Lower;\npub struct Hammer;\npub struct Saw;\n",
    "python/wakefd/__init__.py": "from wakefd import _wakefd\nfrom wakefd._event import IoEvent\n",
    "python/wakefd/_event.py": "from wakefd._errors import Closed\n",
    "python/wakefd/_errors.py": "",
}


def faults(tmp_path, **changes):
    for name, text in (TREE | changes).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = subprocess.run(
        [sys.executable, LAYERS, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert not done.stderr
    assert done.returncode == bool(done.stdout)
    return done.stdout.splitlines()


def test_arrows_that_run_downward_are_no_fault(tmp_path):
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    "code",
    [
        "use crate::upper::Upper;",
        "use crate::{lower::tools, upper::{self, Upper}};",
        "fn f() { crate::upper::part::g() }",
        "use super::super::upper::Upper;",
        "mod inner {\n    use super::super::super::upper::Upper;\n}",
    ],
)
def test_an_arrow_upward_in_rust_is_a_fault(tmp_path, code):
    text = TREE["src/lower/tools.rs"] + code
    found = faults(tmp_path, **{"src/lower/tools.rs": text})
    upward = [line for line in found if line.endswith("which stands on a higher floor")]
    assert upward
    assert all(line.startswith("src/lower/tools.rs knows src/upper/") for line in upward)


@pytest.mark.parametrize(
    "code",
    [
        "// use crate::upper::Upper;",
        'const A: &str = "crate::upper::Upper";',
        "#[cfg(test)]\nmod tests {\n    fn f() { {} }\n    use crate::upper::Upper;\n}",
    ],
)
def test_comments_strings_and_tests_are_no_arrows(tmp_path, code):
    assert faults(tmp_path, **{"src/lower/tools.rs": TREE["src/lower/tools.rs"] + code}) == []


@pytest.mark.parametrize(
    "code",
    [
        "import wakefd",
        "def f():\n    from wakefd import IoEvent",
        "if False:\n    import wakefd as w",
    ],
)
def test_an_arrow_upward_in_python_is_a_fault(tmp_path, code):
    found = faults(tmp_path, **{"python/wakefd/_errors.py": code})
    expected = (
        "python/wakefd/_errors.py knows python/wakefd/__init__.py, which stands on a higher floor"
    )
    assert expected in found


def test_a_module_that_is_named_in_a_string_is_an_arrow(tmp_path):
    (only,) = faults(tmp_path, **{"python/wakefd/_errors.py": 'LATER = "wakefd._event"\n'})
    assert only.startswith("a circle: ")


@pytest.mark.parametrize(("condition", "circles"), [("TYPE_CHECKING", 0), ("True", 1)])
def test_a_view_may_name_its_queue_for_type_checkers_only(tmp_path, condition, circles):
    views = f"if {condition}:\n    from wakefd._queue import Queue\n"
    queue = "from wakefd._views import SyncQueue\n"
    found = faults(tmp_path, **{"python/wakefd/_views.py": views, "python/wakefd/_queue.py": queue})
    assert len(found) == circles, found


def test_a_circle_inside_a_room_is_a_fault(tmp_path):
    changes = {
        "src/lower/mod.rs": "mod a;\nmod tools;\npub use tools::Lower;\n",
        "src/lower/a.rs": "use super::tools::Hammer;\npub struct A;\n",
        "src/lower/tools.rs": TREE["src/lower/tools.rs"] + "use super::a::A;\n",
    }
    (only,) = faults(tmp_path, **changes)
    assert only == "a circle: src/lower/a.rs -> src/lower/tools.rs -> src/lower/a.rs"


def test_a_mod_file_and_a_file_of_its_room_that_use_each_other_are_a_fault(tmp_path):
    code = "mod tools;\npub struct Lower;\nfn f() { tools::g() }\n"
    tools = TREE["src/lower/tools.rs"] + "use super::Lower as It;\n"
    found = faults(tmp_path, **{"src/lower/mod.rs": code, "src/lower/tools.rs": tools})
    assert found == ["a circle: src/lower/mod.rs -> src/lower/tools.rs -> src/lower/mod.rs"]


def test_a_file_without_a_floor_and_a_floor_without_a_file_are_faults(tmp_path):
    text = TREE["CONTRIBUTING.md"].replace("src/upper/ ", "src/gone/ ")
    found = faults(tmp_path, **{"CONTRIBUTING.md": text})
    assert "src/upper/mod.rs: no floor in CONTRIBUTING.md names this file" in found
    assert "CONTRIBUTING.md: no file stands on the floor src/gone/" in found
