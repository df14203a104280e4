"""Mutants and where they apply: an anchor is a snippet of Rust inside a function with a name.

An anchor names a function (`fn`, and `impl` where two types have a method of that name) and a
snippet of it (`old`). The snippet is compared token by token: neither whitespace, nor comments, nor
a comma before a closing bracket count, so reformatting does not orphan a mutant. The function is
looked for in the whole crate, so moving it, or renaming its file, does not either.
"""

import re
import textwrap
import tomllib
from bisect import bisect_left
from functools import cache
from itertools import zip_longest

TOKEN = re.compile(
    r"""
      (?P<skip>\s+|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)
    | (?P<token>
        b?r(?P<hashes>\#*)".*?"(?P=hashes)      # a raw string
      | [bc]?"(?:\\.|[^"\\])*"                  # a string
      | b?'(?:\\.[^']*|[^'\\])'                 # a character
      | '?[A-Za-z_]\w*                          # a word or a lifetime
      | \d[\w]*(?:\.\d[\w]*)?                   # a number
      | ::|->|=>|==|!=|<=|&&|\|\||\.\.=|\.\.|[-+*/%^&|]=
      | .
    )
    """,
    re.VERBOSE | re.DOTALL,
)

KEYS = {"name", "fn", "impl", "old", "new", "also", "cfg", "models", "symptoms"}
EDIT_KEYS = {"fn", "impl", "old", "new"}
QUALIFIERS = {"pub", "const", "unsafe", "async", "extern"}


class DriftError(Exception):
    """An anchor that the source does not have, or has twice."""


def lexed(text):
    """A match for each token that counts."""
    found = [m for m in TOKEN.finditer(text) if m["token"] is not None]
    return [
        m
        for m, following in zip_longest(found, found[1:])
        if not (m["token"] == "," and following and following["token"] in ")]}")
    ]


class Source:
    """A Rust file as tokens, with the places of its functions."""

    def __init__(self, text):
        self.text = text
        found = lexed(text)
        self.tokens = [m["token"] for m in found]
        self.spans = [m.span() for m in found]
        self._closing = self._pairs()
        self._impls = list(self._find_impls())
        self.functions = list(self._find_functions())

    def _pairs(self):
        """The number of the token that closes each bracket."""
        closing, open_ = {}, []
        for number, token in enumerate(self.tokens):
            if token in {"(", "[", "{"}:
                open_.append(number)
            elif token in {")", "]", "}"} and open_:
                closing[open_.pop()] = number
        return closing

    def _body(self, number):
        """The number of the `{` that ends the header beginning here; None: a `;` ends it."""
        while number < len(self.tokens):
            token = self.tokens[number]
            if token == "{":
                return number
            if token == ";":
                return None
            number = self._closing.get(number, number) + 1
        return None

    def _find_impls(self):
        for number, token in enumerate(self.tokens):
            before = self.tokens[number - 1] if number else ";"
            if token == "impl" and before in {"}", "{", ";", "]", "unsafe"}:
                body = self._body(number)
                if body is not None:
                    yield self.tokens[number + 1 : body], body, self._closing[body]

    def _find_functions(self):
        """Name, headers of the impl blocks around, first and last token of each function."""
        for number, token in enumerate(self.tokens[:-1]):
            name = self.tokens[number + 1]
            if token != "fn" or not name.isidentifier():
                continue
            body = self._body(number)
            if body is None:
                continue
            around = [header for header, first, last in self._impls if first < number < last]
            yield name, around, self._start(number), self._closing[body]

    def _start(self, number):
        """The first token of a function, its visibility and the like included."""
        while number:
            before = self.tokens[number - 1]
            if before in QUALIFIERS or (
                before.startswith('"') and self.tokens[number - 2] == "extern"
            ):
                number -= 1
            elif before == ")" and self.tokens[number - 4 : number - 2] == ["pub", "("]:
                number -= 4
            else:
                break
        return number

    def places(self, snippet, first, last):
        """First and last token of each occurrence of the snippet between two tokens."""
        size = len(snippet)
        return [
            (at, at + size - 1)
            for at in range(first, last - size + 2)
            if self.tokens[at] == snippet[0] and self.tokens[at : at + size] == snippet
        ]

    def within(self, function, impl=None):
        """First and last token of each function of that name."""
        wanted = tokens(impl or "")
        return [
            (first, last)
            for name, around, first, last in self.functions
            if name == function and (not impl or any(contains(each, wanted) for each in around))
        ]

    def enclosing(self, first, last):
        """Name and first header of the innermost function around two tokens."""
        around = [each for each in self.functions if each[2] <= first and last <= each[3]]
        return max(around, key=lambda each: each[2], default=None)

    def token_at(self, offset):
        """The number of the first token that begins at the offset or behind it."""
        return bisect_left(self.spans, (offset, offset))

    def replaced(self, place, new):
        (start, _), (_, end) = self.spans[place[0]], self.spans[place[1]]
        return f"{self.text[:start]} {new} {self.text[end:]}"


parsed = cache(Source)


def tokens(text):
    """The tokens of a snippet, whose brackets need not match."""
    return [m["token"] for m in lexed(text)]


def contains(these, those):
    return any(these[at : at + len(those)] == those for at in range(len(these) - len(those) + 1))


def edits(mutant):
    """Each edit with the function that it is in: the mutant's, if the edit names none."""
    for edit in [mutant, *mutant.get("also", [])]:
        yield (
            edit
            if "fn" in edit
            else edit | {key: mutant[key] for key in ("fn", "impl") if key in mutant}
        )


def locate(sources, edit):
    """The only place for an edit: the path of its file, and the tokens there.

    `sources` maps paths to texts. DriftError: there is none, or more than one.
    """
    snippet, found, named = tokens(edit["old"]), set(), 0
    for path, text in sources.items():
        source = parsed(text)
        for first, last in source.within(edit["fn"], edit.get("impl")):
            named += 1
            found |= {(path, place) for place in source.places(snippet, first, last)}
    if len(found) != 1:
        impl = f" of impl {edit['impl']}" if "impl" in edit else ""
        raise DriftError(
            f"{len(found)} places in the {named} functions `{edit['fn']}`{impl} for\n"
            + textwrap.indent(textwrap.dedent(edit["old"]).strip(), "    ")
        )
    return found.pop()


def mutated(sources, mutant):
    """The texts of the files that a mutant changes, by path."""
    changed = {}
    for edit in edits(mutant):
        path, place = locate(sources | changed, edit)
        text = (sources | changed)[path]
        changed[path] = parsed(text).replaced(place, edit["new"])
    return changed


def crate(root):
    """The texts of the crate's files, but for those of the Python extension: no model has them."""
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in sorted((root / "src").rglob("*.rs"))
        if "python" not in path.relative_to(root).parts
    }


def load(folder):
    """The mutants of all files of a folder."""
    return [
        mutant
        for path in sorted(folder.glob("*.toml"))
        for mutant in tomllib.loads(path.read_text("utf-8"))["mutant"]
    ]


def models(folder):
    """The names of all models: file and function, as in `hub::events_resume_in_order`."""
    return {
        f"{path.stem}::{name}"
        for path in folder.glob("*.rs")
        for name, *_ in parsed(path.read_text("utf-8")).functions
    }


def complaints(sources, mutants, models):
    """Whatever is wrong with the mutants, without a run: one line for each."""
    names = set()
    for mutant in mutants:
        name = mutant["name"]
        if name in names:
            yield f"{name}: there are two of that name"
        names.add(name)
        unknown = {*mutant} - KEYS | {
            key for edit in mutant.get("also", []) for key in {*edit} - EDIT_KEYS
        }
        if unknown or not mutant["models"] or not mutant["symptoms"]:
            yield f"{name}: needs fn, old, new, models and symptoms; unknown: {sorted(unknown)}"
            continue
        for missing in {*mutant["models"]} - models:
            yield f"{name}: no such model: {missing}"
        try:
            changed = mutated(sources, mutant)
        except DriftError as drift:
            yield f"{name}: {drift}"
            continue
        if all(tokens(text) == parsed(sources[path]).tokens for path, text in changed.items()):
            yield f"{name}: it changes nothing"
