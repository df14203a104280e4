"""Tests of Tk on an X server without a screen. Each test runs in a fresh interpreter."""

import gc
import importlib.util
import os
import sys
import threading
import time

import pytest

from helpers import Thread, fds, later, readable, run_child, screen, waiting, without
from wakefd import ClosedResourceError, IoEvent

if importlib.util.find_spec("_tkinter") is None:
    pytest.skip("this Python has no tkinter", allow_module_level=True)

import tkinter as tk

import wakefd.tk
from wakefd.tk import watch

event, seen, kept = IoEvent(), [], []
root = None


@pytest.fixture(scope="module")
def display():
    with screen() as number:
        yield number


def on_tk(test):
    """The test runs in a fresh interpreter, in which `root` is a new application."""

    def run(display):
        run_child("test_tk", "child", test.__name__, strict=True, DISPLAY=display)

    run.test, run.__doc__ = test, test.__doc__
    return run


def child(name):
    globals()["root"] = tk.Tk()
    root.after(30000, os._exit, 3)
    globals()[name].test()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        root.update()
        time.sleep(0.001)


def turn(seconds=0.03):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        root.update()


def flag():
    seen.append(event.is_set())


@on_tk
def test_the_callback_runs_once_per_rise_with_the_flag_up():
    _watcher = watch(root, event, flag)
    turn()
    assert seen == []
    thread = later(event.notify)
    until(lambda: seen)
    thread.finish()
    turn()
    assert seen == [True] and event.is_set()  # one call, although the flag is still up
    event.notify()
    turn()
    assert seen == [True]
    event.clear()
    event.notify()
    event.clear()
    event.notify()  # two rises before a dispatch: one call
    until(lambda: len(seen) == 2)
    turn()
    assert seen == [True] * 2


@on_tk
def test_a_callback_runs_in_mainloop():
    label = tk.Label(root)
    label.pack()

    def callback():
        label["text"] = "done"
        root.destroy()

    watch(label, event, callback)
    thread = later(event.notify)
    root.mainloop()
    thread.finish()


@on_tk
def test_a_flag_that_is_up_at_the_beginning_counts_as_a_rise():
    event.notify()
    _watcher = watch(root, event, flag)
    assert seen == []
    until(lambda: seen)
    turn()
    assert seen == [True]


@on_tk
def test_a_close_of_the_event_ends_the_watch():
    before = fds()
    watcher = watch(root, event, flag)
    thread = Thread(event.close)
    until(lambda: fds() == before or not waiting(event))
    thread.finish()
    turn()
    assert seen == [] and waiting(event) == 0
    watcher.close()
    with pytest.raises(ClosedResourceError):
        watch(root, event, flag)
    assert wakefd.tk._loops == {}
    other = IoEvent()
    watcher = watch(root, other, lambda: seen.append(other.closed))
    other.notify()
    other.close()  # the rise before the close still calls the callback
    until(lambda: seen)
    turn()
    assert seen == [True]


@on_tk
def test_a_watch_can_be_closed_twice_and_after_its_widget_is_destroyed():
    watcher = watch(root, event, flag)
    event.notify()
    watcher.close()
    watcher.close()
    turn()
    assert seen == [] and waiting(event) == 0 and wakefd.tk._loops == {}
    event.clear()
    frame = tk.Frame(root)
    label = tk.Label(frame)
    watchers = [watch(widget, event, flag) for widget in (frame, label, label)]
    assert waiting(event) == 3
    label.destroy()
    assert waiting(event) == 1
    frame.destroy()
    assert waiting(event) == 0 and wakefd.tk._loops == {}
    for watcher in watchers:
        watcher.close()
    watcher = watch(root, event, flag)
    root.destroy()
    assert waiting(event) == 0 and wakefd.tk._loops == {}
    watcher.close()
    event.notify()
    globals()["root"] = tk.Tk()  # a second application can have watches, too
    watcher = watch(root, event, flag)
    until(lambda: seen)


@on_tk
def test_a_watch_survives_the_end_of_a_child_of_its_widget():
    top = tk.Toplevel(root)
    _watcher = watch(top, event, flag)
    tk.Label(top).destroy()
    assert waiting(event) == 1
    top.destroy()
    assert waiting(event) == 0


@on_tk
def test_an_exception_in_the_callback_goes_where_tkinter_sends_it():
    said = []
    root.report_callback_exception = lambda kind, *_: said.append(kind)

    def callback():
        event.clear()
        seen.append(1)
        raise ZeroDivisionError

    frame = tk.Frame(root)
    _watcher = watch(frame, event, callback)
    for n in range(1, 4):
        event.notify()
        until(lambda n=n: len(seen) == n)
    turn()
    assert said == [ZeroDivisionError] * 3

    other = IoEvent()
    _watcher = watch(root, other, sys.exit)
    thread = later(other.notify)
    with pytest.raises(SystemExit):
        root.mainloop()
    thread.finish()


@on_tk
def test_a_watch_can_be_closed_in_its_own_callback():
    def callback():
        seen.append(1)
        for watcher in watchers:
            watcher.close()
        again.append(watch(root, other, lambda: seen.append(2)))

    other, again = IoEvent(), []
    watchers = [watch(root, event, callback) for _ in range(3)]
    event.notify()
    until(lambda: seen)
    turn()
    assert seen == [1]
    other.notify()
    until(lambda: seen == [1, 2])
    again[0].close()

    def end():
        seen.append(3)
        root.destroy()

    watchers = [watch(root, event, end) for _ in range(3)]
    root.mainloop()
    assert seen == [1, 2, 3]


@on_tk
def test_a_callback_that_runs_a_nested_loop_is_called_there():
    def callback():
        event.clear()
        seen.append(1)
        if len(seen) == 1:
            thread = later(event.notify)
            dialog = tk.Toplevel(root)
            dialogs.append(dialog)
            dialog.wait_window()
            thread.finish()
            seen.append(3)
            root.quit()
        else:
            seen.append(2)
            dialogs[0].destroy()

    dialogs = []
    _watcher = watch(root, event, callback)
    event.notify()
    root.mainloop()
    assert seen == [1, 1, 2, 3]


@on_tk
def test_a_rise_is_seen_in_the_dialog_that_another_callback_opened():
    """The second watch was not called until the dialog had ended."""

    def first():
        dialog = tk.Toplevel(root)
        dialogs.append(dialog)
        dialog.wait_window()
        seen.append("first")
        if len(seen) == 4:
            root.quit()

    def second():
        seen.append("second")
        dialogs.pop().destroy()

    dialogs, other = [], IoEvent()
    _watchers = [
        watch(root, event, first),
        watch(root, other, second),
        watch(root, event, first),
        watch(root, other, second),
    ]
    thread = Thread(lambda: (event.notify(), other.notify()))
    thread.finish()
    root.mainloop()
    assert seen == ["second", "second", "first", "first"], seen
    hub = wakefd.tk._loops[id(root.tk)].hub
    turn()
    assert not readable(hub.fileno())  # or else Tk would dispatch for ever


@on_tk
def test_watches_and_event_can_be_closed_in_a_dialog_that_a_callback_opened():
    def first():
        dialog = tk.Toplevel(root)
        root.after(20, event.close)
        root.after(50, dialog.destroy)
        watchers[1].close()
        dialog.wait_window()
        seen.append("first")
        root.destroy()

    watchers = [watch(root, event, callback) for callback in (first, flag, flag)]
    event.notify()
    root.mainloop()
    assert seen == [True, "first"], seen


@on_tk
def test_no_item_is_lost_when_threads_flood_an_event():
    items, got = [], []

    def callback():
        event.clear()
        while items:
            got.append(items.pop())

    _watcher = watch(root, event, callback)

    def work():
        for n in range(2000):
            items.append(n)
            event.notify()

    threads = [Thread(work) for _ in range(3)]
    until(lambda: len(got) == 6000)
    for thread in threads:
        thread.finish()


@on_tk
def test_widgets_and_applications_leave_no_descriptor_and_no_command():
    watch(root, event, flag).close()
    before = fds()
    for _ in range(1000):
        watch(tk.Frame(root), event, flag)
        for child in root.winfo_children():
            child.destroy()
    assert fds() == before and waiting(event) == 0
    commands = len(root.tk.call("info", "commands"))
    for _ in range(100):
        watch(root, event, flag).close()
    assert len(root.tk.call("info", "commands")) == commands
    for _ in range(10):
        other = tk.Tk()
        watch(other, event, flag)
        other.destroy()
    gc.collect()
    assert waiting(event) == 0 and event._listeners() <= 2


@on_tk
def test_two_applications_can_watch_one_event():
    other = tk.Tk()
    _watchers = [watch(root, event, flag), watch(other, event, flag)]
    event.notify()
    until(lambda: len(seen) == 2)
    other.destroy()
    event.clear()
    event.notify()
    until(lambda: len(seen) == 3)


@pytest.mark.parametrize("_", range(3))
def test_the_interpreter_can_exit_while_threads_notify(_, display):
    run_child("test_tk", "child", "exit_while_threads_notify", strict=True, DISPLAY=display)


@on_tk
def exit_while_threads_notify():
    def work():
        while True:
            event.notify()

    threading.Thread(target=work, daemon=True).start()

    def look():
        event.clear()
        seen.append(1)
        if len(seen) > 10:
            root.quit()  # update() would not return before the flood ends

    kept.append(watch(root, event, look))
    root.mainloop()


def test_an_import_without_tkinter_says_what_to_install():
    assert "python3-tk" in without("wakefd.tk", ["_tkinter", "tkinter"])
