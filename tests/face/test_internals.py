"""wakefd keeps the private names of asyncio in one table, and tells when one is missing."""

import asyncio
import gc
import re
import sys
from pathlib import Path

import pytest

import wakefd
from helpers import Thread, fds, program
from wakefd._loops import asyncio_internals

PACKAGE = Path(wakefd.__file__).parent
TABLE = Path("_loops/asyncio_internals.py")
# Beside the table: the loop that is made of private parts, and the list of libraries, which must
# not import asyncio.
ALLOWED = {TABLE, Path("_selector_loop.py"), Path("_loops/__init__.py")}


def hide(monkeypatch, name):
    """Hide an attribute of every loop from wakefd; asyncio itself still finds it."""
    find = asyncio.BaseEventLoop.__getattribute__

    def found(loop, wanted):
        caller = sys._getframe(1).f_code.co_filename
        if wanted == name and Path(caller).is_relative_to(PACKAGE):
            raise AttributeError(f"{wanted} was taken away")
        return find(loop, wanted)

    monkeypatch.setattr(asyncio.BaseEventLoop, "__getattribute__", found, raising=False)


def test_only_the_allowed_files_use_private_names_of_asyncio():
    private = re.compile(
        r"asyncio\.(?:\w+\.)*_\w+|[\"'.]_(?:get_running_loop|thread_id|ThreadSafeHandle)\b"
    )
    named = {
        file.relative_to(PACKAGE)
        for file in PACKAGE.rglob("*.py")
        if private.search(file.read_text("utf-8"))
    }
    assert named <= ALLOWED and TABLE in named


def test_without_get_running_loop_wakefd_calls_the_public_function():
    # A program in a string, because wakefd looks for the function when `helpers` imports it.
    program(
        """
        import asyncio, threading
        del asyncio._get_running_loop
        import wakefd

        async def main():
            event = wakefd.IoEvent()
            threading.Timer(0.01, event.notify).start()
            await asyncio.wait_for(event.notified(), 20)
            q = wakefd.Queue()
            q.put_many([1, 2, 3])
            q.shutdown()
            assert [item async for item in q] == [1, 2, 3]
            async with wakefd.Portal() as portal:
                assert await wakefd.wrap_future(portal.submit(lambda: 7)) == 7
                try:
                    portal.run(print)
                except RuntimeError as error:
                    assert "wait for itself" in str(error)

        asyncio.run(main())
        for _ in range(2):
            try:
                wakefd.IoEvent().notified().send(None)
            except RuntimeError as error:
                assert "no event loop that wakefd knows runs here" in str(error)
            else:
                raise AssertionError
        """
    )


def test_without_thread_id_a_portal_still_knows_its_own_loop(monkeypatch):
    hide(monkeypatch, "_thread_id")

    async def main():
        loop = asyncio.get_running_loop()
        assert asyncio_internals.runs_in_this_thread(loop) is None
        async with wakefd.Portal() as portal:
            with pytest.raises(RuntimeError, match="wait for itself"):
                portal.run(print)
            thread = Thread(portal.run, lambda: 7)
            while thread.is_alive():
                await asyncio.sleep(0.001)
            assert thread.finish() == 7

    asyncio.run(main())


@pytest.mark.parametrize("name", sorted(asyncio_internals.HANDLE))
def test_asyncio_makes_the_handles_if_a_slot_of_handle_is_missing(monkeypatch, name):
    monkeypatch.setattr(asyncio.Handle, "__slots__", {*asyncio_internals.HANDLE} - {name})
    assert not asyncio_internals.handles_are_known()


def test_asyncio_makes_the_handles_if_handle_has_unknown_parts(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "__slots__", {*asyncio_internals.HANDLE, "_more"})
        assert not asyncio_internals.handles_are_known()
    monkeypatch.setattr(asyncio.events, "_ThreadSafeHandle", object, raising=False)
    assert not asyncio_internals.handles_are_known()


@pytest.mark.parametrize("name", asyncio_internals.SELECTOR_LOOP)
def test_a_selector_loop_names_a_missing_method_when_it_is_made(monkeypatch, name):
    owner = next(kind for kind in asyncio.SelectorEventLoop.__mro__ if name in vars(kind))
    before = fds()
    with monkeypatch.context() as patch:
        patch.delattr(owner, name)
        if owner is not asyncio.BaseEventLoop:  # BaseEventLoop only declares some methods
            patch.delattr(asyncio.BaseEventLoop, name, raising=False)
        assert_named_as_missing(name)
    assert fds() == before
    wakefd.SelectorEventLoop().close()


@pytest.mark.parametrize("name", asyncio_internals.EACH_SELECTOR_LOOP)
def test_a_selector_loop_names_a_missing_attribute_when_it_is_made(monkeypatch, name):
    before = fds()
    with monkeypatch.context() as patch:
        hide(patch, name)
        assert_named_as_missing(name)
    assert fds() == before


def assert_named_as_missing(name):
    with pytest.raises(RuntimeError, match=rf"SelectorEventLoop does not know .*\b{name}\b"):
        wakefd.SelectorEventLoop()
    gc.collect()  # the destructor of the unfinished loop must not raise


def test_the_table_has_exactly_the_names_that_the_selector_loop_uses():
    """A name in the table that the loop does not use would be demanded for nothing."""
    code = (PACKAGE / "_selector_loop.py").read_text("utf-8")
    for name in asyncio_internals.SELECTOR_LOOP + asyncio_internals.EACH_SELECTOR_LOOP:
        assert f"self.{name}" in code or f"super().{name}" in code
    stub = code.split("\nelse:\n")[0]
    declared = {*re.findall(r"^        (?:def )?(_\w+)[:(]", stub, re.MULTILINE)}
    assert declared == {*asyncio_internals.SELECTOR_LOOP, *asyncio_internals.EACH_SELECTOR_LOOP}
