/*
 * Hits of one hot key through the C ABI. Prints nanoseconds an operation: of a pinned get with its release, and of a get into a buffer.
 *
 *     hit OPERATIONS
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wtcache.h>

enum { VALUE = 256 };
static const char KEY[] = "item:0000000000000000001";
static const char CONFIG[] = "{\"capacity_bytes\": 1048576, \"lifetime_ms\": 300000}";

static void get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    char value[VALUE];
    (void)user_data;
    (void)request;
    memset(value, 7, sizeof value);
    wtcache_reply_value(reply, value, sizeof value, NULL, NULL);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void check(int holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "hit: %s\n", what);
    exit(1);
}

int main(int argc, char **argv)
{
    long operations = argc == 2 ? atol(argv[1]) : 0;
    check(operations > 0, "it wants a number of operations");
    wtcache_source source = {.struct_size = sizeof source, .get = get};
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    check(wtcache_config_load_json(config, CONFIG, strlen(CONFIG), NULL) == WTCACHE_OK, "the configuration");
    check(wtcache_open_with_source(config, &source, &cache, NULL) == WTCACHE_OK, "opening");
    wtcache_config_free(config);

    unsigned long sum = 0;
    double pinned = 0, copied = 0;
    /* The first time round, the record is loaded and the processor warms up. */
    for (int timed = 0; timed < 2; timed++) {
        double begun = now();
        for (long i = 0; i < operations; i++) {
            wtcache_entry *entry;
            size_t len;
            check(wtcache_get(cache, KEY, sizeof KEY - 1, NULL, &entry, NULL) == WTCACHE_OK, "a get");
            sum += ((const unsigned char *)wtcache_entry_value(entry, &len))[i % VALUE];
            wtcache_entry_free(entry);
        }
        pinned = now() - begun;
        begun = now();
        for (long i = 0; i < operations; i++) {
            unsigned char buffer[VALUE];
            size_t len;
            int32_t status = wtcache_get_into(cache, KEY, sizeof KEY - 1, NULL, buffer, sizeof buffer, &len, NULL);
            check(status == WTCACHE_OK && len == VALUE, "a get into a buffer");
            sum += buffer[i % VALUE];
        }
        copied = now() - begun;
    }
    check(sum == 4ul * 7 * (unsigned long)operations, "the values");
    printf("%.3f %.3f\n", pinned / (double)operations, copied / (double)operations);
    wtcache_cache_free(cache);
    return 0;
}
