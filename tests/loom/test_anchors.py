"""An anchor holds on to its function, however the source around it is laid out and moved."""

import re
import subprocess
import sys

import pytest

import anchors
from helpers import ROOT

BEFORE = """
impl Drop for Pipe {
    fn close(&self) { self.word.swap(CLOSED, SeqCst); }
}
impl Pipe {
    /// Raises the flag.
    pub(crate) fn notify(&self, word: impl Fn(u8)) -> Raised {
        fence(SeqCst); // before the look
        self.update(|word| word.with(FLAG), "a { in a string", 'b', '\\'');
        self.word.swap(FLAG, SeqCst)
    }
    fn close(&self) { self.word.swap(CLOSED, SeqCst); }
}
"""
AFTER = """
impl Pipe {
    pub fn notify(
        &self,
    ) -> Raised {
        /* another comment */
        fence(
            SeqCst,
        );
        self.update(
            |word| word.with(FLAG),
            "a { in a string",
            'b',
            '\\'',
        );
    }
}
"""
NO_FENCE = {"fn": "notify", "old": "fence(SeqCst);", "new": ""}
UPDATE = {"fn": "notify", "old": '|word| word.with(FLAG), "a { in a string"', "new": "f"}


def mutated(edit, **files):
    sources = {f"src/{name}.rs": text for name, text in files.items()}
    return anchors.mutated(sources, edit)


@pytest.mark.parametrize(("edit", "gone"), [(NO_FENCE, "fence"), (UPDATE, "with")])
def test_an_edit_finds_its_place_after_reformatting_and_moving(edit, gone):
    for text in (BEFORE, AFTER):
        for name in ("pipe", "moved"):
            changed = mutated(edit, **{name: text, "other": "fn other() { fence(SeqCst); }"})
            assert [*changed] == [f"src/{name}.rs"]
            assert gone in text and gone not in changed[f"src/{name}.rs"]


def test_a_change_of_a_token_orphans_the_anchor():
    with pytest.raises(anchors.DriftError, match="0 places in the 1 functions `notify`"):
        mutated(NO_FENCE, pipe=BEFORE.replace("fence(SeqCst)", "fence(AcqRel)"))
    with pytest.raises(anchors.DriftError, match="0 places in the 0 functions `notify`"):
        mutated(NO_FENCE, pipe=BEFORE.replace("fn notify", "fn tell"))


def test_a_snippet_in_two_places_is_refused_until_the_impl_is_named():
    close = {"fn": "close", "old": "CLOSED", "new": "0"}
    with pytest.raises(anchors.DriftError, match="2 places"):
        mutated(close, pipe=BEFORE)
    (text,) = mutated(close | {"impl": "Drop for Pipe"}, pipe=BEFORE).values()
    assert text.index("CLOSED") > BEFORE.index("impl Pipe")
    with pytest.raises(anchors.DriftError, match="2 places"):
        mutated(NO_FENCE, pipe=BEFORE, copy=BEFORE)


def test_a_second_edit_sees_what_the_first_has_left():
    edit = NO_FENCE | {"also": [{"old": "self.word.swap(FLAG, SeqCst)", "new": "Raised"}]}
    (text,) = mutated(edit, pipe=BEFORE).values()
    assert "fence" not in text and "swap(FLAG" not in text
    edit["also"].append({"fn": "close", "impl": "Drop for Pipe", "old": "CLOSED", "new": "0"})
    assert mutated(edit, pipe=BEFORE)["src/pipe.rs"].count("CLOSED") == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"old": "gone"}, "0 places"),
        ({"new": "fence( SeqCst ); // with a comment"}, "it changes nothing"),
        ({"models": ["pipe::another"]}, "no such model: pipe::another"),
        ({"symptoms": []}, "needs"),
        ({"file": "src/pipe.rs"}, r"unknown: \['file'\]"),
    ],
)
def test_the_check_complains_about_what_no_run_could_reject(change, complaint):
    mutant = {"name": "it", "models": ["pipe::one"], "symptoms": ["LOST"], **NO_FENCE, **change}
    sources = {"src/pipe.rs": BEFORE}
    said = list(anchors.complaints(sources, [mutant], {"pipe::one"}))
    if complaint is None:
        assert said == []
        assert list(anchors.complaints(sources, [mutant, mutant], {"pipe::one"})) != []
    else:
        (line,) = said
        assert re.search(complaint, line)


def test_each_mutant_of_this_crate_has_its_place():
    run = [sys.executable, ROOT / "tests" / "loom" / "run", "--check"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(anchors.load(ROOT / "tests" / "loom" / "mutants")) >= 100
