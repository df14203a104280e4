/*
 * Threads that push numbered messages into a wakefd.ByteQueue, each through an argument of its own. No Python in it.
 *
 * A message begins with who and which: two uint32_t. The rest repeats their lowest bytes, so that a torn one is seen.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "wakefd.h"

struct pusher {
    const wakefd_api *api;
    void *argument;
    uint32_t who, count;
    size_t least, most; /* bytes of a message */
    pthread_t thread;
    uint64_t full; /* so often there was no room */
    int error;     /* what ended it before its time, negative */
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
            message[at] = (unsigned char)(my->who + which);
        }
        ((uint32_t *)message)[0] = my->who;
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

/* Starts so many threads; they are to be joined. NULL: there was no memory, or no thread. */
struct pusher *
pushers_start(const wakefd_api *api, void *const *arguments, uint32_t threads, uint32_t count, size_t least, size_t most)
{
    struct pusher *all = calloc(threads, sizeof *all);
    for (uint32_t who = 0; all != NULL && who < threads; who++) {
        all[who] = (struct pusher){.api = api, .argument = arguments[who], .who = who, .count = count, .least = least, .most = most};
        if (pthread_create(&all[who].thread, NULL, push_all, &all[who]) != 0) {
            return NULL;
        }
    }
    return all;
}

/* How often they met a full queue; or negative, what ended one before its time. */
int64_t
pushers_join(struct pusher *all, uint32_t threads)
{
    int64_t full = 0;
    int error = 0;
    for (uint32_t who = 0; who < threads; who++) {
        pthread_join(all[who].thread, NULL);
        full += (int64_t)all[who].full;
        if (all[who].error != 0) {
            error = all[who].error;
        }
    }
    free(all);
    return error != 0 ? error : full;
}
