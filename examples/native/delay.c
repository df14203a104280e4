/*
 * An extension module in C: delay.start(handle, seconds) notifies later, from a thread of its own, without the GIL.
 *
 *     cc -std=c99 -shared -fPIC $(python3-config --includes) -I"$(python -c 'import wakefd; print(wakefd.get_include())')" \
 *         delay.c -o delay.so -lpthread
 *     python use_delay.py
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <wakefd.h> /* after Python.h: then it has wakefd_import and wakefd_argument */

#include <pthread.h>
#include <time.h>

static const wakefd_api *wakefd; /* valid for ever */

typedef struct delay {
    void *argument;
    struct timespec pause;
} delay;

static void *
sleep_and_notify(void *arg)
{
    delay *self = (delay *)arg;
    nanosleep(&self->pause, NULL);
    wakefd->notify(self->argument);
    wakefd->release(self->argument);
    PyMem_RawFree(self); /* needs no GIL */
    return NULL;
}

static PyObject *
start(PyObject *module, PyObject *args)
{
    PyObject *handle;
    double seconds;
    delay *self;
    pthread_t thread;
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "Od:start", &handle, &seconds)) {
        return NULL;
    }
    if (!(seconds >= 0 && seconds < 1e6)) {
        PyErr_SetString(PyExc_ValueError, "seconds: 0 to a million");
        return NULL;
    }
    self = (delay *)PyMem_RawMalloc(sizeof *self);
    if (self == NULL) {
        return PyErr_NoMemory();
    }
    self->pause.tv_sec = (time_t)seconds;
    self->pause.tv_nsec = (long)((seconds - (double)self->pause.tv_sec) * 1e9);
    self->argument = wakefd_argument(handle);
    if (self->argument == NULL) {
        PyMem_RawFree(self);
        return NULL; /* no handle, or a closed one: the exception is set */
    }
    error = -wakefd->retain(self->argument); /* for the thread */
    if (error == 0) {
        error = pthread_create(&thread, NULL, sleep_and_notify, self);
        if (error == 0) {
            pthread_detach(thread);
            Py_RETURN_NONE;
        }
        wakefd->release(self->argument);
    }
    PyMem_RawFree(self);
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef methods[] = {
    {"start", start, METH_VARARGS, "start(handle, seconds): notify later."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "delay", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit_delay(void)
{
    PyObject *self;
    wakefd = wakefd_import();
    if (wakefd == NULL) {
        return NULL;
    }
    self = PyModule_Create(&module);
#ifdef Py_GIL_DISABLED /* a free-threaded Python: without this, the import would switch the GIL on */
    if (self != NULL) {
        PyUnstable_Module_SetGIL(self, Py_MOD_GIL_NOT_USED);
    }
#endif
    return self;
}
