"""Check that every arrow between the files of this project runs downward.

An arrow is a `use` or a path in Rust, and an import in Python. Imports in functions, imports for
types only, and modules that are named in a string count as well. A `pub use` by which a `mod.rs`
hands on an item of its own room is no arrow. The floors stand in CONTRIBUTING.md, in the block that
begins with ```floors. A file may know the files of lower floors, and those of its own floor as long
as they make no circle. A file that no floor names is a fault, and so is a floor that names no file.

    python tests/lint/layers.py [ROOT]     exit status 1, and one line per fault
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

# The one circle that is allowed: a queue has views, and a view names its queue's type. Only type
# checkers see that arrow; nothing is imported for it at run time.
TYPES_ONLY = (Path("python/wakefd/_views.py"), Path("python/wakefd/_queue.py"))

_TEST_ONLY = re.compile(
    r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub\S* )?mod \w+ \{"
)
_COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?c?"(?:\\.|[^"\\])*"|\br#"(?:.|\n)*?"#', re.DOTALL
)
_USE = re.compile(r"^\s*(pub(?:\([^)]*\))? )?use ([^;]+);", re.MULTILINE)
_PATH = re.compile(r"(?<![\w:])\w+(?:::\w+)+")


def floors(root: Path) -> list[tuple[list[str], str]]:
    """Return the patterns and the explanation of each floor, the highest first."""
    text = (root / "CONTRIBUTING.md").read_text()
    block = re.search(r"^```floors\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if block is None:
        sys.exit("CONTRIBUTING.md has no block that begins with ```floors")
    found: list[tuple[list[str], str]] = []
    for line in block[1].splitlines():
        names, _, explanation = line.partition("  ")
        if names:
            found.append((names.split(), explanation.strip()))
        elif line.strip():  # the explanation goes on
            found[-1] = found[-1][0], f"{found[-1][1]} {line.strip()}"
    return found


def files(root: Path) -> list[Path]:
    """Return the paths of the shipped source files."""
    rust, python = (root / "src").rglob("*.rs"), (root / "python/wakefd").rglob("*.py")
    return sorted(path.relative_to(root) for path in [*rust, *python])


def _is_in(path: Path, pattern: str) -> bool:
    name = path.as_posix()
    return name.startswith(pattern) if pattern.endswith("/") else fnmatch(name, pattern)


# ---- Rust


def _end_of(text: str, at: int) -> int:
    """Return the end of the block whose opening brace stands just before `at`."""
    depth = 1
    while depth and at < len(text):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return at


def _without_tests(text: str) -> str:
    while begin := _TEST_ONLY.search(text):
        text = text[: begin.start()] + text[_end_of(text, begin.end()) :]
    return text


def _branches(tree: str) -> Iterator[str]:
    """Yield each path of a `use` tree: `a::{b, c::{d}}` gives `a::b` and `a::c::d`."""
    tree = re.sub(r"\s+as \w+", "", tree).strip()
    stem, brace, rest = tree.partition("{")
    if not brace:
        yield tree
        return
    depth, part = 0, ""
    for char in rest.rpartition("}")[0]:
        if char == "," and depth == 0:
            yield from _branches(stem + part.strip())
            part = ""
        else:
            depth += {"{": 1, "}": -1}.get(char, 0)
            part += char
    if part.strip():
        yield from _branches(stem + part.strip())


def _module(path: Path) -> list[str]:
    parts = list(path.with_suffix("").parts[1:])
    return parts[:-1] if parts[-1] in {"mod", "lib"} else parts


def _file_of(module: list[str], root: Path) -> Path | None:
    """Return the file of the module, or of the longest beginning of its path that is a module."""
    for length in range(len(module), -1, -1):
        stem = Path("src", *module[:length])
        candidates = [stem / "mod.rs", stem.with_suffix(".rs")] if length else [stem / "lib.rs"]
        for candidate in candidates:
            if (root / candidate).exists():
                return candidate
    return None


def _reexport(file: Path, name: str, root: Path) -> Path:
    """Return the file that defines the item, which a `mod.rs` may only hand on from its room."""
    if file.name not in {"mod.rs", "lib.rs"}:
        return file
    text = _without_tests(_COMMENT_OR_STRING.sub("", (root / file).read_text()))
    for use in _USE.finditer(text):
        for branch in _branches(use[2]) if use[1] else []:
            *module, item = branch.split("::")
            if item == name and module:
                if module[0] in {"self", "crate"}:
                    module = (_module(file) if module[0] == "self" else []) + module[1:]
                else:
                    module = _module(file) + module
                return _file_of(module, root) or file
    return file


def rust_arrows(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files that this Rust file names."""
    text = _without_tests(_COMMENT_OR_STRING.sub("", (root / path).read_text()))
    children = set(re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?mod (\w+);", text, re.MULTILINE))
    inline = [(m[1], m.end(), _end_of(text, m.end())) for m in re.finditer(r"\bmod (\w+) \{", text)]
    uses = list(_USE.finditer(text))
    # A public `use` of an item in this room only hands the item on: no arrow.
    names = [
        (use.start(2), branch)
        for use in uses
        for branch in _branches(use[2])
        if not (use[1] and re.split("::", branch.removeprefix("self::"))[0] in children)
    ]
    names += [
        (path.start(), path[0])
        for path in _PATH.finditer(text)
        if not any(use.start() <= path.start() < use.end() for use in uses)
    ]
    for at, name in names:
        here = _module(path) + [module for module, begin, end in inline if begin <= at < end]
        first, *rest = name.split("::")
        if first == "crate":
            module = rest
        elif first == "super":
            here.pop()
            while rest and rest[0] == "super":
                here, rest = here[:-1], rest[1:]
            module = here + rest
        elif first == "self":
            module = here + rest
        elif first in children:
            module = [*here, first, *rest]
        else:
            continue  # another crate, or a name that a `use` has brought
        module = [part for part in module if part not in {"self", "*"}]
        file = _file_of(module, root)
        if file is None:
            continue
        beyond = module[len(_module(file)) :]
        target = _reexport(file, beyond[0], root) if beyond else file
        if target != path:
            yield target


# ---- Python


def python_arrows(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files that this Python file imports, or names in a string."""
    tree = ast.parse((root / path).read_text())
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if re.fullmatch(r"wakefd(\.\w+)+", node.value) else []
        for name in names:
            parts = name.split(".")
            if parts[0] != "wakefd" or parts[1:2] == ["_wakefd"]:
                continue  # another project, or the compiled module, which is below all of these
            for length in range(len(parts), 0, -1):
                stem = Path("python", *parts[:length])
                candidates = [stem.with_suffix(".py"), stem / "__init__.py"]
                target = next((each for each in candidates if (root / each).exists()), None)
                if target is not None:
                    break
            if target is None or target == path:
                continue
            if (path, target) != TYPES_ONLY or node not in for_types:
                yield target


# ---- the check


def circles(arrows: dict[Path, set[Path]]) -> Iterator[list[Path]]:
    """Yield circles: one for each arrow that closes one in a walk from the top."""
    done: set[Path] = set()
    way: list[Path] = []

    def walk(path: Path) -> Iterator[list[Path]]:
        way.append(path)
        for target in sorted(arrows.get(path, ())):
            if target in way:
                yield [*way[way.index(target) :], target]
            elif target not in done:
                yield from walk(target)
        way.pop()
        done.add(path)

    for path in sorted(arrows):
        if path not in done:
            yield from walk(path)


def faults(root: Path) -> Iterable[str]:
    """Yield a line for each arrow upward, each circle, and each file without a floor."""
    plan = floors(root)
    height: dict[Path, int] = {}
    used: set[str] = set()
    for path in files(root):
        # The longest pattern decides: a file can stand on another floor than its folder.
        found = [
            (len(p), -number, p)
            for number, (ps, _) in enumerate(plan)
            for p in ps
            if _is_in(path, p)
        ]
        if not found:
            yield f"{path}: no floor in CONTRIBUTING.md names this file"
            continue
        _, floor, pattern = max(found)
        height[path] = floor
        used.add(pattern)
    for patterns, _ in plan:
        for pattern in patterns:
            if pattern not in used:
                yield f"CONTRIBUTING.md: no file stands on the floor {pattern}"
    arrows: dict[Path, set[Path]] = {}
    for path, own in height.items():
        reader = rust_arrows if path.suffix == ".rs" else python_arrows
        arrows[path] = {target for target in reader(path, root) if target in height}
        for target in sorted(arrows[path]):
            if height[target] > own:
                yield f"{path} knows {target}, which stands on a higher floor"
    for circle in circles(arrows):
        yield "a circle: " + " -> ".join(map(str, circle))


def main() -> int:
    """Print the faults; return 1 if there are any."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    found = list(faults(root))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
