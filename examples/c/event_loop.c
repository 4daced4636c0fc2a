/*
 * One thread and poll(2): calls that do not wait complete in a queue, beside whatever else the loop polls.
 *
 *     cargo build --release -p libwtcache
 *     gcc -pthread -I include examples/c/event_loop.c target/release/libwtcache.a -lm -o event_loop
 *     ./event_loop
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wtcache.h>

/* An origin of which each answer takes 200 ms. */
static void get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    char value[64];
    (void)user_data;
    usleep(200 * 1000);
    int len = snprintf(value, sizeof value, "hello %.*s", (int)request->key_len, (const char *)request->key);
    wtcache_reply_value(reply, value, (size_t)len, NULL, NULL);
}

static void put(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    (void)user_data;
    usleep(200 * 1000);
    wtcache_reply_value(reply, request->value, request->value_len, NULL, NULL);
}

int main(void)
{
    wtcache_source source = {.struct_size = sizeof source, .get = get, .put = put};
    wtcache_cache *cache;
    wtcache_queue *queue;
    char *names[] = {"ann", "bob", "eve", "joe"};
    if (wtcache_open_with_source(NULL, &source, &cache, NULL) != WTCACHE_OK) return 1;
    if (wtcache_queue_new(4, 100, &queue, NULL) != WTCACHE_OK) return 1;

    /* All are asked for at once. The token says which is which when they complete. */
    int asked = 0, ticks = 0;
    for (; asked < 4; asked++) {
        if (wtcache_get_async(queue, cache, names[asked], 3, NULL, names[asked], NULL, NULL) != WTCACHE_OK) return 1;
    }
    /* Writes of one key go out in the order in which they are given. */
    for (int i = 0; i < 2; i++, asked++) {
        const char *value = i == 0 ? "first" : "second";
        if (wtcache_put_async(queue, cache, "zoe", 3, value, strlen(value), NULL, NULL, "zoe", NULL, NULL) != WTCACHE_OK) return 1;
    }
    struct pollfd polled[] = {{wtcache_queue_descriptor(queue), POLLIN, 0} /* , sockets, timers … */};
    while (asked > 0) {
        if (poll(polled, 1, 10) == 0) {
            ticks++; /* Nothing of the cache's: the loop is free for other work. */
            continue;
        }
        wtcache_completion *completion;
        while (wtcache_queue_next(queue, &completion, NULL) == WTCACHE_OK) {
            size_t len = 0;
            const char *name = wtcache_completion_token(completion);
            const char *value = wtcache_entry_value(wtcache_completion_entry(completion), &len);
            if (value == NULL) return 1;
            printf("%s: %.*s\n", name, (int)len, value);
            wtcache_completion_free(completion);
            asked--;
        }
    }
    printf("the loop was free %s\n", ticks > 5 ? "meanwhile" : "never");
    /* A hit completes at once: no thread is asked. */
    if (wtcache_get_async(queue, cache, "ann", 3, NULL, NULL, NULL, NULL) != WTCACHE_OK) return 1;
    printf("a hit is there %s\n", poll(polled, 1, 0) == 1 ? "at once" : "later");
    wtcache_queue_free(queue);
    wtcache_cache_free(cache);
    return 0;
}
