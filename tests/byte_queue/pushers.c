/*
 * Native threads that push numbered messages into byte queues, each through an argument of its own, without Python.
 *
 * A message begins with two uint32_t: the number of its producer, and its own number. Each further byte is the lowest
 * byte of their sum, so that a torn message shows.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "wakefd.h"

struct pusher {
    const wakefd_api *api;
    void *argument;
    uint32_t number, count;
    size_t least, most; /* bytes of a message */
    pthread_t thread;
    uint64_t full; /* pushes that found no room */
    int error;     /* the negative errno that ended the thread early, or 0 */
};

static void *
push_all(void *of)
{
    struct pusher *my = of;
    unsigned char *message = malloc(my->most);
    const struct timespec moment = {0, 20000};
    for (uint32_t which = 0; message != NULL && which < my->count; which++) {
        size_t length = my->least + (my->most > my->least ? which * 2654435761u % (my->most - my->least + 1) : 0);
        for (size_t at = 8; at < length; at++) {
            message[at] = (unsigned char)(my->number + which);
        }
        ((uint32_t *)message)[0] = my->number;
        ((uint32_t *)message)[1] = which;
        int answer;
        while ((answer = my->api->push(my->argument, message, length)) == 0) {
            my->full++;
            nanosleep(&moment, NULL);
        }
        if (answer < 0) {
            my->error = answer;
            break;
        }
    }
    free(message);
    return NULL;
}

/* Starts `threads` threads, which pushers_join() joins. Returns NULL if memory or a thread cannot be had. */
struct pusher *
pushers_start(const wakefd_api *api, void *const *arguments, uint32_t threads, uint32_t count, size_t least, size_t most)
{
    struct pusher *all = calloc(threads, sizeof *all);
    for (uint32_t number = 0; all != NULL && number < threads; number++) {
        all[number] = (struct pusher){.api = api, .argument = arguments[number], .number = number, .count = count, .least = least, .most = most};
        if (pthread_create(&all[number].thread, NULL, push_all, &all[number]) != 0) {
            return NULL;
        }
    }
    return all;
}

/* Joins the threads. Returns the number of pushes that found no room, or the negative errno that ended one early. */
int64_t
pushers_join(struct pusher *all, uint32_t threads)
{
    int64_t full = 0;
    int error = 0;
    for (uint32_t number = 0; number < threads; number++) {
        pthread_join(all[number].thread, NULL);
        full += (int64_t)all[number].full;
        if (all[number].error != 0) {
            error = all[number].error;
        }
    }
    free(all);
    return error != 0 ? error : full;
}
