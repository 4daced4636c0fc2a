/*
 * A source written in C: an inventory in a table of this program, through the cache.
 *
 *     cargo build --release -p libwtcache
 *     gcc -pthread -I include examples/c/inventory.c target/release/libwtcache.a -lm -o inventory
 *     ./inventory
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wtcache.h>

/* The origin: what it knows of each item, and how often it was asked. Its callbacks are called from many threads. */
struct item {
    char sku[16];
    int quantity, revision;
};
struct table {
    pthread_mutex_t lock;
    struct item items[8];
    int asked;
};

static struct item *find(struct table *table, const wtcache_request *request)
{
    for (int i = 0; i < 8; i++) {
        struct item *item = &table->items[i];
        if (strlen(item->sku) == request->key_len && memcmp(item->sku, request->key, request->key_len) == 0) return item;
    }
    return NULL;
}

/* Answers with the record as it stands in the table: its value, and its revision as the version. */
static void reply_item(const struct item *item, wtcache_reply *reply)
{
    char value[16], version[16];
    wtcache_record record = {.struct_size = sizeof record, .version = version};
    record.version_len = (size_t)snprintf(version, sizeof version, "r%d", item->revision);
    wtcache_reply_value(reply, value, (size_t)snprintf(value, sizeof value, "%d", item->quantity), &record, NULL);
}

static void get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    struct table *table = user_data;
    pthread_mutex_lock(&table->lock);
    table->asked++;
    struct item *item = find(table, request);
    if (item == NULL) wtcache_reply_absent(reply, NULL);
    else reply_item(item, reply);
    pthread_mutex_unlock(&table->lock);
}

static void put(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    struct table *table = user_data;
    char number[16] = "";
    if (request->value_len < sizeof number) memcpy(number, request->value, request->value_len);
    pthread_mutex_lock(&table->lock);
    struct item *item = find(table, request);
    if (item == NULL || atoi(number) < 0) {
        /* Rejected is a promise: nothing of this was done, or ever will be. */
        wtcache_failure failure = {.struct_size = sizeof failure, .verdict = WTCACHE_VERDICT_REJECTED};
        failure.message = item == NULL ? "no such item" : "a quantity is not negative";
        failure.message_len = strlen(failure.message);
        wtcache_reply_error(reply, &failure, NULL);
    } else {
        item->quantity = atoi(number);
        item->revision++;
        reply_item(item, reply);
    }
    pthread_mutex_unlock(&table->lock);
}

/* One more: read, changed and written in one turn, so that no update between threads is lost. */
static void one_more(void *user_data, const wtcache_entry *existing, wtcache_change *change)
{
    size_t len = 0;
    char number[16] = "";
    const void *value = wtcache_entry_value(existing, &len);
    (void)user_data;
    if (value != NULL && len < sizeof number) memcpy(number, value, len);
    wtcache_change_put(change, number, (size_t)snprintf(number, sizeof number, "%d", atoi(number) + 1), NULL);
}

static void *deliver(void *cache)
{
    for (int i = 0; i < 100; i++) {
        if (wtcache_update(cache, "bolts", 5, one_more, NULL, NULL, NULL, NULL) != WTCACHE_OK) exit(1);
    }
    return NULL;
}

static void say(const char *what, const wtcache_entry *entry)
{
    size_t value_len = 0, version_len = 0;
    const char *value = wtcache_entry_value(entry, &value_len);
    const char *version = wtcache_entry_version(entry, &version_len);
    printf("%s: %.*s bolts (%.*s)\n", what, (int)value_len, value, (int)version_len, version);
}

int main(void)
{
    struct table table = {PTHREAD_MUTEX_INITIALIZER, {{"bolts", 7, 1}, {"nuts", 9, 1}}, 0};
    wtcache_source source = {.struct_size = sizeof source, .user_data = &table, .get = get, .put = put};
    wtcache_cache *cache;
    wtcache_entry *entry;
    wtcache_error *error;
    if (wtcache_open_with_source(NULL, &source, &cache, &error) != WTCACHE_OK) {
        fprintf(stderr, "%s\n", wtcache_error_message(error));
        return 1;
    }
    /* Asked once: the second read is a hit. */
    for (int i = 0; i < 2; i++) {
        if (wtcache_get(cache, "bolts", 5, NULL, &entry, NULL) != WTCACHE_OK) return 1;
        say("read", entry);
        wtcache_entry_free(entry);
    }
    printf("the origin was asked %d time(s)\n", table.asked);
    /* What the origin refuses changes nothing. */
    if (wtcache_put(cache, "bolts", 5, "-1", 2, NULL, NULL, &error) != WTCACHE_ERR_REJECTED) return 1;
    printf("%s\n", wtcache_error_message(error));
    wtcache_error_free(error);
    /* Two threads, a hundred deliveries each. */
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, deliver, cache);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    if (wtcache_get(cache, "bolts", 5, NULL, &entry, NULL) != WTCACHE_OK) return 1;
    say("after two hundred deliveries", entry);
    /* On the condition that nobody changed it since: the version that was read. */
    wtcache_bytes seen = {"r1", 2};
    wtcache_expect expect = {.struct_size = sizeof expect, .kind = WTCACHE_EXPECT_VERSION, .versions = &seen, .version_count = 1};
    if (wtcache_put_if(cache, "bolts", 5, "0", 1, &expect, NULL, NULL, &error) != WTCACHE_ERR_UNMET) return 1;
    printf("%s\n", wtcache_error_message(error));
    wtcache_error_free(error);
    wtcache_entry_free(entry);
    wtcache_cache_free(cache);
    return 0;
}
