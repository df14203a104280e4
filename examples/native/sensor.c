/*
 * A C library whose thread takes readings, and wakes whoever wants them. It knows wakefd.h, and nothing of Python.
 *
 *     cc -std=c99 -shared -fPIC -I"$(python -c 'import wakefd; print(wakefd.get_include())')" sensor.c -o libsensor.so -lpthread
 *     python sensor.py ./libsensor.so
 */
#define _POSIX_C_SOURCE 200809L

#include <wakefd.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define CAPACITY 64 /* readings; a new one overwrites the oldest */

typedef struct sensor {
    const wakefd_api *wakefd;
    void *argument;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    unsigned long taken, given;
    int stop;
    double readings[CAPACITY];
} sensor;

static void *
measure(void *arg)
{
    sensor *self = (sensor *)arg;
    const struct timespec pause = {0, 1000000};
    for (;;) {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&self->mutex);
        if (self->stop) {
            pthread_mutex_unlock(&self->mutex);
            return NULL;
        }
        self->readings[self->taken % CAPACITY] = (double)self->taken / 10.0;
        self->taken += 1;
        if (self->taken - self->given > CAPACITY) {
            self->given = self->taken - CAPACITY;
        }
        pthread_mutex_unlock(&self->mutex);
        self->wakefd->notify(self->argument); /* first the data, then the notification */
    }
}

/* Begins to measure. NULL, and errno: it can't. */
sensor *
sensor_open(const wakefd_api *wakefd, void *argument)
{
    sensor *self;
    int error;
    if (wakefd->version < WAKEFD_API_VERSION || wakefd->size < sizeof(wakefd_api)) {
        errno = ENOSYS; /* the installed wakefd is older than the header */
        return NULL;
    }
    self = (sensor *)calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    error = -wakefd->retain(argument); /* the caller may close its handle at once */
    if (error == 0) {
        self->wakefd = wakefd;
        self->argument = argument;
        pthread_mutex_init(&self->mutex, NULL);
        error = pthread_create(&self->thread, NULL, measure, self);
        if (error != 0) {
            pthread_mutex_destroy(&self->mutex);
            wakefd->release(argument);
        }
    }
    if (error != 0) {
        free(self);
        errno = error;
        return NULL;
    }
    return self;
}

/* Takes up to `size` readings: how many. To be called after a clear of the event. */
size_t
sensor_take(sensor *self, double *readings, size_t size)
{
    size_t count = 0;
    pthread_mutex_lock(&self->mutex);
    while (count < size && self->given < self->taken) {
        readings[count++] = self->readings[self->given++ % CAPACITY];
    }
    pthread_mutex_unlock(&self->mutex);
    return count;
}

void
sensor_close(sensor *self)
{
    pthread_mutex_lock(&self->mutex);
    self->stop = 1;
    pthread_mutex_unlock(&self->mutex);
    pthread_join(self->thread, NULL);
    pthread_mutex_destroy(&self->mutex);
    self->wakefd->release(self->argument);
    free(self);
}
