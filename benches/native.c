/* The native side of native.py: threads that know nothing of Python, and threads that attach to it for each call. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wakefd.h"

static double
clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double
now(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

/* Of this thread, for what never sleeps: others may have the processor meanwhile. */
static double
used(void)
{
    return clock_of(CLOCK_THREAD_CPUTIME_ID);
}

/* Seconds for n notifies of an event that is up. */
double
raised(const wakefd_api *api, void *argument, long n)
{
    double begin = used();
    for (long i = 0; i < n; i++)
        api->notify(argument);
    return used() - begin;
}

/* Seconds for n times what a correct one needs at least: a fence, so that the caller's data comes first, and a load. */
double
floor_of_raised(long n)
{
    static _Atomic(uint64_t) word = 1;
    uint64_t sum = 0;
    double begin = used();
    for (long i = 0; i < n; i++) {
        atomic_thread_fence(memory_order_seq_cst);
        sum += atomic_load_explicit(&word, memory_order_relaxed);
    }
    double took = used() - begin;
    return sum == (uint64_t)n ? took : -1;
}

static pthread_t threads[16];
static int running;
static atomic_bool stop;
static _Atomic(long) calls;

static const wakefd_api *the_api;
static void *the_argument;
static PyObject *the_method, *the_callback;
static long the_count;

static void
start(void *(*work)(void *), int n)
{
    stop = false;
    calls = 0;
    running = n;
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, work, NULL);
}

/* Ends the threads; how many calls they made. Without the GIL. */
long
finish(void)
{
    stop = true;
    for (int i = 0; i < running; i++)
        pthread_join(threads[i], NULL);
    return calls;
}

static void *
notifies(void *unused)
{
    long n = 0;
    while (!stop) {
        the_api->notify(the_argument);
        n++;
    }
    calls += n;
    return unused;
}

void
start_notifying(const wakefd_api *api, void *argument)
{
    the_api = api;
    the_argument = argument;
    start(notifies, 1);
}

static void *
attaches(void *unused)
{
    long n = 0;
    while (!stop) {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *handle = PyObject_CallFunctionObjArgs(the_method, the_callback, NULL);
        if (handle == NULL)
            PyErr_Clear();
        Py_XDECREF(handle);
        PyGILState_Release(state);
        n++;
    }
    calls += n;
    return unused;
}

/* With the GIL, as all that takes objects. */
void
start_attaching(PyObject *method, PyObject *callback)
{
    the_method = method;
    the_callback = callback;
    start(attaches, 1);
}

/* Keeps the GIL. */
void
hold(double seconds)
{
    double end = now() + seconds;
    while (now() < end)
        ;
}

static double *the_delays;

static void *
measures(void *unused)
{
    const struct timespec pause = {0, 100000};
    for (long i = 0; i < the_count; i++) {
        double begin = now();
        the_api->notify(the_argument);
        the_delays[i] = now() - begin;
        the_api->clear(the_argument);
        if (i % 10 == 0)
            nanosleep(&pause, NULL);
    }
    calls += the_count;
    return unused;
}

/* n notifies that each raise the flag; how long each took. */
void
start_measuring(const wakefd_api *api, void *argument, double *delays, long n)
{
    the_api = api;
    the_argument = argument;
    the_delays = delays;
    the_count = n;
    start(measures, 1);
}

#define MESSAGE 64

static void *
pushes(void *unused)
{
    char message[MESSAGE];
    memset(message, 'x', sizeof message);
    for (long i = 0; i < the_count; i++)
        while (the_api->push(the_argument, message, sizeof message) == 0)
            sched_yield(); /* full */
    calls += the_count;
    return unused;
}

/* n threads, each pushes so many messages of 64 bytes. */
void
start_pushing(const wakefd_api *api, void *argument, int n, long each)
{
    the_api = api;
    the_argument = argument;
    the_count = each;
    start(pushes, n);
}

static void *
attaches_and_hands_over(void *unused)
{
    char message[MESSAGE];
    memset(message, 'x', sizeof message);
    for (long i = 0; i < the_count; i++) {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *bytes = PyBytes_FromStringAndSize(message, sizeof message);
        PyObject *handle = PyObject_CallFunctionObjArgs(the_method, the_callback, bytes, NULL);
        Py_XDECREF(handle);
        Py_XDECREF(bytes);
        PyGILState_Release(state);
    }
    calls += the_count;
    return unused;
}

void
start_handing_over(PyObject *method, PyObject *callback, int n, long each)
{
    the_method = method;
    the_callback = callback;
    the_count = each;
    start(attaches_and_hands_over, n);
}
