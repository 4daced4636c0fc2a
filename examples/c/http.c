/*
 * The tutorial in C: an inventory behind HTTP, through the cache. The source is the built-in one, by configuration alone.
 *
 *     cargo run --release -- demo &               # the sample origin, at 127.0.0.1:9925
 *     cargo build --release -p libwtcache
 *     gcc -I include examples/c/http.c target/release/libwtcache.a -lm -o http
 *     ./http http://127.0.0.1:9925
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wtcache.h>

/* Else ends with what went wrong, and what is true now. */
static void must(int went_well, wtcache_error **error)
{
    if (went_well) return;
    const char *now = wtcache_error_outcome(*error) == WTCACHE_OUTCOME_IN_DOUBT ? "nobody knows" : "not applied";
    fprintf(stderr, "%s (%s)\n", wtcache_error_message(*error), now);
    exit(1);
}

static void say(const char *what, wtcache_entry *entry)
{
    size_t len;
    const char *value = wtcache_entry_value(entry, &len);
    printf("%s: %.*s\n", what, (int)len, value);
    wtcache_entry_free(entry); /* The value was valid until here. */
}

int main(int argc, char **argv)
{
    const char *key = "item-001", *five = "{\"sku\":\"WB-100\",\"name\":\"Widget\",\"quantity\":5}";
    const char *much = "{\"sku\":\"WB-100\",\"name\":\"Widget\",\"quantity\":2000000}";
    char json[512];
    snprintf(json, sizeof json, "{\"lifetime_ms\": 300000, \"http\": {\"url\": \"%s/items/{id}\", "
             "\"headers\": {\"Authorization\": \"Bearer sample-key\"}}}", argc > 1 ? argv[1] : "http://127.0.0.1:9925");
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache;
    wtcache_entry *entry;
    wtcache_error *error;
    must(wtcache_config_load_json(config, json, strlen(json), &error) == WTCACHE_OK, &error);
    must(wtcache_open(config, &cache, &error) == WTCACHE_OK, &error);
    wtcache_config_free(config);

    /* A write goes to the origin first; what it confirmed, with its id and revision, is handed back and kept. */
    must(wtcache_put(cache, key, strlen(key), five, strlen(five), NULL, &entry, &error) == WTCACHE_OK, &error);
    say("put", entry);
    /* It can be read at once: the origin is not asked. */
    must(wtcache_get(cache, key, strlen(key), NULL, &entry, &error) == WTCACHE_OK, &error);
    say("get", entry);
    /* What the origin refuses was not applied, and changes nothing here. */
    must(wtcache_put(cache, key, strlen(key), much, strlen(much), NULL, NULL, &error) == WTCACHE_ERR_REJECTED, &error);
    printf("refused, %s\n", wtcache_error_message(error));
    wtcache_error_free(error);
    must(wtcache_delete(cache, key, strlen(key), NULL, &error) == WTCACHE_OK, &error);
    int32_t status = wtcache_get(cache, key, strlen(key), NULL, &entry, &error);
    must(status >= 0, &error);
    printf("deleted, then: %s\n", status == WTCACHE_NOT_FOUND ? "no such item" : "still there");

    wtcache_stats stats = {.struct_size = sizeof stats};
    must(wtcache_get_stats(cache, &stats, &error) == WTCACHE_OK, &error);
    printf("hits %d, loads %d, writes %d, refused %d\n", (int)stats.hits, (int)stats.loads, (int)stats.writes_applied,
           (int)stats.writes_rejected);
    wtcache_cache_free(cache);
    return 0;
}
