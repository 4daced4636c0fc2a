/*
 * The tutorial in C: an inventory behind HTTP, through the cache.
 *
 *     cargo run --release -- demo &               # the sample origin, at 127.0.0.1:9925
 *     cargo build --release -p libwtcache
 *     gcc -I include examples/c/tutorial.c target/release/libwtcache.a -lm -o tutorial
 *     ./tutorial http://127.0.0.1:9925
 */
#include <stdio.h>
#include <string.h>
#include <wtcache.h>

static const char *KEY = "item-001";

static void say(const char *what, const wtcache_entry *entry)
{
    size_t len;
    const char *value = wtcache_entry_value(entry, &len);
    printf("%s: %.*s\n", what, (int)len, value);
}

/* Says what went wrong, and what is true now. */
static int failed(wtcache_error *error)
{
    const char *now = wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT ? "nobody knows" : "not applied";
    fprintf(stderr, "%s (%s)\n", wtcache_error_message(error), now);
    wtcache_error_free(error);
    return 1;
}

static int inventory(wtcache_cache *cache)
{
    const char *five = "{\"sku\":\"WB-100\",\"name\":\"Widget\",\"quantity\":5}";
    const char *much = "{\"sku\":\"WB-100\",\"name\":\"Widget\",\"quantity\":2000000}";
    wtcache_entry *entry = NULL;
    wtcache_error *error = NULL;

    /* A write goes to the origin first; what it confirmed, with its id and revision, is handed back and kept. */
    if (wtcache_put(cache, KEY, strlen(KEY), five, strlen(five), NULL, &entry, &error) != WTCACHE_OK) return failed(error);
    say("put", entry);
    wtcache_entry_free(entry);

    /* It can be read at once: the origin is not asked. The value is valid until the entry is freed. */
    if (wtcache_get(cache, KEY, strlen(KEY), NULL, &entry, &error) != WTCACHE_OK) return failed(error);
    say("get", entry);
    wtcache_entry_free(entry);

    /* What the origin refuses was not applied, and changes nothing here. */
    if (wtcache_put(cache, KEY, strlen(KEY), much, strlen(much), NULL, NULL, &error) != WTCACHE_ERR_REJECTED) return failed(error);
    printf("refused, %s\n", wtcache_error_message(error));
    wtcache_error_free(error);

    if (wtcache_delete(cache, KEY, strlen(KEY), NULL, &error) != WTCACHE_OK) return failed(error);
    int32_t status = wtcache_get(cache, KEY, strlen(KEY), NULL, &entry, &error);
    if (status < 0) return failed(error);
    printf("deleted, then: %s\n", status == WTCACHE_NOT_FOUND ? "no such item" : "still there");
    wtcache_entry_free(entry);

    wtcache_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    if (wtcache_get_stats(cache, &stats, &error) != WTCACHE_OK) return failed(error);
    printf("hits %d, loads %d, writes %d, refused %d\n", (int)stats.hits, (int)stats.loads, (int)stats.writes_applied,
           (int)stats.writes_rejected);
    return 0;
}

int main(int argc, char **argv)
{
    char json[512];
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    wtcache_error *error = NULL;
    snprintf(json, sizeof json,
             "{\"lifetime_ms\": 300000,"
             " \"http\": {\"url\": \"%s/items/{id}\", \"headers\": {\"Authorization\": \"Bearer sample-key\"}}}",
             argc > 1 ? argv[1] : "http://127.0.0.1:9925");
    int32_t status = wtcache_config_load_json(config, json, strlen(json), &error);
    if (status == WTCACHE_OK) status = wtcache_open(config, &cache, &error);
    wtcache_config_free(config);
    if (status != WTCACHE_OK) return failed(error);
    int ended = inventory(cache);
    wtcache_cache_free(cache);
    return ended;
}
