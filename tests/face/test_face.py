"""The package exports and shows all its names, and its import loads few modules.

The programs here stay strings: `run_child` imports wakefd and asyncio before it calls a function.
"""

import pickle

import pytest

import wakefd
from helpers import program
from wakefd import compat

# Modules of the standard library that no notify needs. They took most of the time of an import.
HEAVY = ["asyncio", "concurrent.futures", "inspect", "logging", "pathlib", "typing"]


def test_an_import_and_the_first_notify_load_no_heavy_module():
    """The import took 30 ms, of which modules of the standard library took 25."""
    loaded = program(
        f"""
        import sys
        before = set(sys.modules)  # `site` may have loaded some of the modules
        import wakefd
        event = wakefd.IoEvent()
        event.notify()
        assert event.wait(0) and event.clear()
        print(*sorted((set(sys.modules) - before) & set({HEAVY})))
        """
    )
    assert loaded.split() == []


def test_a_fresh_interpreter_shows_all_names_before_their_first_use():
    """Names that are loaded late were missing from dir(), and so from tab completion."""
    program(
        """
        import wakefd
        import rlcompleter

        lazy = set(wakefd.__all__) - set(vars(wakefd))
        assert {"Queue", "Portal", "SelectorEventLoop", "wait_any"} <= lazy
        assert set(wakefd.__all__) <= set(dir(wakefd)) and dir(wakefd) == sorted(dir(wakefd))

        def completions(text):
            complete = rlcompleter.Completer({"wakefd": wakefd}).complete
            found = []
            while (word := complete(text, len(found))) is not None:
                found.append(word.rstrip("()"))
            return found

        names = {name for name in wakefd.__all__ if not name.startswith("_")}
        assert {f"wakefd.{name}" for name in names} == set(completions("wakefd."))
        assert completions("wakefd.Sel") == ["wakefd.SelectorEventLoop"]
        import wakefd.compat
        assert wakefd.compat.__all__ == dir(wakefd.compat)
        assert "wakefd.compat" in completions("wakefd.")
        """
    )


def test_a_star_import_brings_every_name_of_all():
    for module in (wakefd, compat):
        names = {}
        exec(f"from {module.__name__} import *", names)
        assert {*module.__all__} == names.keys() - {"__builtins__"}
        assert [*module.__all__] == sorted(module.__all__)
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no .*'no_such'"):
            _ = module.no_such


def test_wakefd_offers_no_name_of_janus_and_culsans():
    for name in set(compat.__all__) - {"Queue", "LifoQueue", "PriorityQueue"}:
        assert name not in wakefd.__all__
        with pytest.raises(AttributeError):
            getattr(wakefd, name)


def test_the_queues_of_compat_are_those_of_wakefd():
    for name in ("Queue", "LifoQueue", "PriorityQueue"):
        assert getattr(compat, name) is getattr(wakefd, name)


@pytest.mark.parametrize("name", ["AsyncQueue", "BaseQueue", "SyncQueue"])
def test_a_class_of_compat_has_the_module_in_its_name_and_its_repr(name):
    kind = getattr(compat, name)
    assert (kind.__module__, kind.__qualname__) == ("wakefd.compat", name)
    assert pickle.loads(pickle.dumps(kind)) is kind
    q = compat.Queue()
    assert repr(q.sync_q).startswith("<wakefd.compat.SyncQueue of <wakefd.Queue ")
    assert repr(q.async_q).startswith("<wakefd.compat.AsyncQueue of <wakefd.Queue ")


def test_compat_loads_asyncio_only_for_the_exceptions_of_asyncio():
    program(
        """
        import sys
        import wakefd.compat
        q = wakefd.compat.Queue()
        q.sync_q.put(1)
        assert q.async_q.get_nowait() == 1
        assert "asyncio" not in sys.modules
        from wakefd.compat import AsyncQueueEmpty
        import asyncio
        assert AsyncQueueEmpty is asyncio.QueueEmpty
        """
    )


def test_threads_that_use_a_name_first_at_the_same_time_get_the_same_object():
    program(
        """
        import sys, threading
        import wakefd

        def use(name, start, found):
            start.wait(20)
            found.append(getattr(wakefd, name))

        sys.setswitchinterval(1e-6)
        for name in wakefd.__all__:
            start, found = threading.Barrier(4), []
            arguments = (name, start, found)
            threads = [threading.Thread(target=use, args=arguments) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert len(found) == 4 and all(each is found[0] for each in found), (name, found)
        """
    )
