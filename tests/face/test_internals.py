"""The private names of asyncio: where they stand, and what happens when one is missing."""

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
# The class that is made of asyncio's inner parts, and the libraries, whose table imports none.
ALLOWED = {TABLE, Path("_selector_loop.py"), Path("_loops/__init__.py")}


def hide(monkeypatch, name):
    """Take an attribute of each loop away from wakefd; asyncio itself still finds it."""
    find = asyncio.BaseEventLoop.__getattribute__

    def found(loop, wanted):
        asks = sys._getframe(1).f_code.co_filename
        if wanted == name and Path(asks).is_relative_to(PACKAGE):
            raise AttributeError(f"{wanted} was taken away")
        return find(loop, wanted)

    monkeypatch.setattr(asyncio.BaseEventLoop, "__getattribute__", found, raising=False)


def test_no_other_file_names_a_private_name_of_asyncio():
    private = re.compile(
        r"asyncio\.(?:\w+\.)*_\w+|[\"'.]_(?:get_running_loop|thread_id|ThreadSafeHandle)\b"
    )
    named = {
        file.relative_to(PACKAGE)
        for file in PACKAGE.rglob("*.py")
        if private.search(file.read_text("utf-8"))
    }
    assert named <= ALLOWED and TABLE in named


def test_without_get_running_loop_the_public_function_is_asked():
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
def test_without_a_slot_of_handles_asyncio_makes_them(monkeypatch, name):
    monkeypatch.setattr(asyncio.Handle, "__slots__", {*asyncio_internals.HANDLE} - {name})
    assert not asyncio_internals.handles_are_known()


def test_with_more_to_a_handle_asyncio_makes_them(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "__slots__", {*asyncio_internals.HANDLE, "_more"})
        assert not asyncio_internals.handles_are_known()
    monkeypatch.setattr(asyncio.events, "_ThreadSafeHandle", object, raising=False)
    assert not asyncio_internals.handles_are_known()


@pytest.mark.parametrize("name", asyncio_internals.SELECTOR_LOOP)
def test_a_selector_loop_says_at_once_which_method_is_missing(monkeypatch, name):
    owner = next(kind for kind in asyncio.SelectorEventLoop.__mro__ if name in vars(kind))
    before = fds()
    with monkeypatch.context() as patch:
        patch.delattr(owner, name)
        if owner is not asyncio.BaseEventLoop:  # which declares some, to no effect
            patch.delattr(asyncio.BaseEventLoop, name, raising=False)
        complains(name)
    assert fds() == before
    wakefd.SelectorEventLoop().close()


@pytest.mark.parametrize("name", asyncio_internals.EACH_SELECTOR_LOOP)
def test_a_selector_loop_says_at_once_which_attribute_is_missing(monkeypatch, name):
    before = fds()
    with monkeypatch.context() as patch:
        hide(patch, name)
        complains(name)
    assert fds() == before


def complains(name):
    with pytest.raises(RuntimeError, match=rf"SelectorEventLoop does not know .*\b{name}\b"):
        wakefd.SelectorEventLoop()
    gc.collect()  # and __del__ raises nothing


def test_the_names_are_those_that_are_used():
    """A name in the table that nothing uses would be refused for nothing."""
    code = (PACKAGE / "_selector_loop.py").read_text("utf-8")
    for name in asyncio_internals.SELECTOR_LOOP + asyncio_internals.EACH_SELECTOR_LOOP:
        assert f"self.{name}" in code or f"super().{name}" in code
    stub = code.split("\nelse:\n")[0]
    declared = {*re.findall(r"^        (?:def )?(_\w+)[:(]", stub, re.MULTILINE)}
    assert declared == {*asyncio_internals.SELECTOR_LOOP, *asyncio_internals.EACH_SELECTOR_LOOP}
