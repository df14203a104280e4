/*
 * wakefd.h: native code wakes coroutines, without the GIL.
 *
 * All functions take the `argument` of a `wakefd.NativeHandle` (in Python: `handle = event.native()`, then `handle.argument`;
 * `event` may be a `wakefd.ByteQueue`, whose flag is up while there is a message to take, or it is shut down).
 * It is a number in the clothes of a pointer: never dereference it. It may be used from any thread, at any time: once it is
 * stale (its handle was closed, and nobody retained it) every call answers -EBADF and does nothing more.
 *
 * No function needs the GIL, none waits for Python, none calls Python. All of them may be called while the interpreter exits.
 *
 * After a fork the argument reaches the child's own event. (A signal handler that has interrupted one of these functions, and
 * forks, must not return in the child: exec, or _exit.)
 *
 * Answers are 1 or 0 where it says so, and a negative errno else:
 *   -EINVAL   the argument is NULL
 *   -EBADF    the argument is stale, or was never one
 *   others    the operating system has refused (the flag of a refused notify is up all the same; the next one tries again)
 *
 * C99 or later, or C++. Needs no Python.h; with Python.h included before it, it offers wakefd_import() and wakefd_argument().
 */
#ifndef WAKEFD_H
#define WAKEFD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the table that this header describes. A table of a later version begins with the same functions. */
#define WAKEFD_API_VERSION 1

/* The name of the capsule that holds it. */
#define WAKEFD_CAPSULE "wakefd._C_API"

/* The table. Append-only: a function keeps its place and its meaning for ever. */
typedef struct wakefd_api {
    uint32_t version; /* at least WAKEFD_API_VERSION, or this header is too new */
    uint32_t size;    /* of the whole table, in bytes */

    /*
     * Raises the flag and wakes whoever waits: 1. If it was up already, or the event is closed: 0.
     * Async-signal-safe: takes no lock, allocates and frees nothing, and leaves errno alone. (A handler that interrupts a notify
     * may be told 0, and the wake-up goes out when that call resumes: do not wait for it in the handler.)
     */
    int (*notify)(void *argument);

    /*
     * Lowers the flag: 1 if it was up, else 0. Clear first, and look at your data afterwards. That of a ByteQueue is its
     * consumers' to lower: it rises again at once while something is in there.
     */
    int (*clear)(void *argument);

    /* 1 if the flag is up, else 0. */
    int (*is_set)(void *argument);

    /*
     * One hold more on the argument: 0. It stays valid, and its event alive, until as many release() calls and the close of its
     * handle. -EOVERFLOW: there are 65,535 holds.
     */
    int (*retain)(void *argument);

    /* Gives a hold back: 0. Only what was retained: the handle's own hold is given back by its close. Async-signal-safe. */
    int (*release)(void *argument);

    /*
     * A descriptor (on Windows a SOCKET) that is readable while the flag is up; -EBADF if the event is closed. Made at the first
     * call; the event keeps it and closes it. Poll it, and clear(): never read it.
     */
    intptr_t (*fileno)(void *argument);

    /*
     * Copies a message into a wakefd.ByteQueue: 1. No room for it now: 0, and what to do then is up to you. `length` may be 0.
     *   -EMSGSIZE the message is longer than the queue's max_message
     *   -EPIPE    the queue is shut down, or nobody has it any more
     *   -EINVAL   the argument is NULL, or of an event which is no ByteQueue; or `data` is NULL, and `length` is not 0
     * It never waits, and a message that was taken stays so if a wake-up is refused: the next push tries again.
     * Async-signal-safe, as notify. (Messages come out in the order in which they were begun: one that is pushed in a handler
     * comes after the one whose push it interrupts, and is not seen before that resumes: do not wait for it in the handler.)
     */
    int (*push)(void *argument, const void *data, size_t length);
} wakefd_api;

#ifdef Py_PYTHON_H

/*
 * The table; or NULL with an exception set, an ImportError if the installed wakefd is older than this header. Imports wakefd.
 * Needs the GIL; the answer does not, and is valid for ever.
 */
static inline const wakefd_api *
wakefd_import(void)
{
    const wakefd_api *api = (const wakefd_api *)PyCapsule_Import(WAKEFD_CAPSULE, 0);
    if (api != NULL && (api->version < WAKEFD_API_VERSION || api->size < sizeof(wakefd_api))) {
        PyErr_Format(PyExc_ImportError,
                     "the installed wakefd has version %u of its C API, and this was compiled for version %d: upgrade wakefd",
                     (unsigned int)api->version, WAKEFD_API_VERSION);
        return NULL;
    }
    return api;
}

/* The argument of a wakefd.NativeHandle; or NULL with an exception set (a ClosedResourceError if it is closed). Needs the GIL. */
static inline void *
wakefd_argument(PyObject *handle)
{
    PyObject *number = PyObject_GetAttrString(handle, "argument");
    void *argument = number != NULL ? PyLong_AsVoidPtr(number) : NULL;
    Py_XDECREF(number);
    return argument;
}

#endif /* Py_PYTHON_H */

#ifdef __cplusplus
}
#endif

#endif /* WAKEFD_H */
