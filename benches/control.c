/* The control of busy.py: the same wake-up between two threads that know nothing of Python. What it takes is the machine's. */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static int bell, back;
static _Atomic(double) began;

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void
pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

struct job {
    double busy;
    int turns, core;
};

static void *
notify_and_compute(void *argument)
{
    struct job *job = argument;
    uint64_t one = 1, got;
    pin(job->core);
    for (int i = 0; i < job->turns; i++) {
        struct timespec pause = {0, 2000000};
        nanosleep(&pause, NULL);
        double end = now();
        began = end;
        if (write(bell, &one, 8) != 8)
            break;
        for (end += job->busy; now() < end;)
            ;
        if (read(back, &got, 8) != 8)
            break;
    }
    return NULL;
}

/* The seconds from before each write to behind the other thread's poll; 0 if all went well. */
int
one_way(double *ways, int turns, double busy, int mine, int its)
{
    struct job job = {busy, turns, its};
    struct epoll_event event = {.events = EPOLLIN};
    uint64_t one = 1, got;
    pthread_t thread;
    int poll = epoll_create1(0), failed = 0;
    bell = eventfd(0, EFD_NONBLOCK);
    back = eventfd(0, 0);
    epoll_ctl(poll, EPOLL_CTL_ADD, bell, &event);
    pin(mine);
    if (pthread_create(&thread, NULL, notify_and_compute, &job))
        return -1;
    for (int i = 0; i < turns && !failed; i++) {
        failed = epoll_wait(poll, &event, 1, 10000) != 1;
        ways[i] = now() - began;
        failed |= read(bell, &got, 8) != 8;
        failed |= write(back, &one, 8) != 8;
    }
    pthread_join(thread, NULL);
    close(poll);
    close(bell);
    close(back);
    return -failed;
}
