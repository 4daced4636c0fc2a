/* Every option by its setter and in JSON, and what each is good for; and the listener. */

#include "check.h"

static wtcache_error *error = NULL;

/* What is wrong with an option is told when the cache is opened, by its name. */
static void refused(wtcache_config *config, const char *message)
{
    shelf self;
    wtcache_source source = shelf_source(&self);
    wtcache_cache *cache = NULL;
    FAILS(wtcache_open_with_source(config, &source, &cache, &error), WTCACHE_ERR_CONFIG, message);
    CHECK(cache == NULL && self.destroyed == 1);
    wtcache_config_free(config);
}

static void options_that_make_no_sense(void)
{
    NULL_IS_REFUSED(wtcache_config_set_stale_while_revalidate_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_stale_if_error_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_refresh_ahead(NULL, 0.5, &error));
    NULL_IS_REFUSED(wtcache_config_set_refresh_threads(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_refresh_queue(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_jitter(NULL, 0.5, &error));
    NULL_IS_REFUSED(wtcache_config_set_in_doubt_writes_wait(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_absent_after_delete(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_clean_start(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_keep_expired_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_stray_window_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_most_doubts(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_turn_queue(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_load_queue(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_longest_key_bytes(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_shards(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_key_index(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_separator(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_tag_memory(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_optimistic_threads(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_optimistic_most(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_optimistic_weight_bytes(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_optimistic_deadline_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_audit_every_ms(NULL, 1, &error));
    wtcache_config *config;
#define WRONG(option, value, message)                                      \
    config = wtcache_config_new();                                         \
    SUCCEEDS(wtcache_config_set_##option(config, value, &error));          \
    refused(config, message)
    WRONG(refresh_ahead, 1.0, "refresh_ahead: ");
    WRONG(refresh_threads, 0, "refreshers: ");
    WRONG(refresh_queue, 0, "refreshers: ");
    WRONG(jitter, 1.5, "jitter: ");
    WRONG(most_doubts, 0, "most_doubts: ");
    WRONG(turn_queue, 0, "turn_queue: ");
    WRONG(longest_key_bytes, 0, "longest_key_bytes: ");
    WRONG(shards, 1025, "shards: ");
    WRONG(separator, '*', "separator: ");
    WRONG(optimistic_threads, 0, "optimistic: ");
    WRONG(optimistic_most, 0, "optimistic: ");
    WRONG(optimistic_weight_bytes, 0, "optimistic: ");
    WRONG(optimistic_deadline_ms, 0, "optimistic: ");
    WRONG(audit_every_ms, 0, "audit_every_ms: ");
    config = wtcache_config_new();
    FAILS(wtcache_config_set_in_doubt_writes_wait(config, 2, &error), WTCACHE_ERR_ARGUMENT, "0 or 1");
    FAILS(wtcache_config_set_absent_after_delete(config, -1, &error), WTCACHE_ERR_ARGUMENT, "0 or 1");
    FAILS(wtcache_config_set_clean_start(config, 2, &error), WTCACHE_ERR_ARGUMENT, "0 or 1");
    FAILS(wtcache_config_set_key_index(config, 2, &error), WTCACHE_ERR_ARGUMENT, "0 or 1");
    struct {
        const char *json, *message;
    } wrong[] = {
        {"{\"jitter\": true}", "jitter: is true or false, not a number"},
        {"{\"separator\": \"::\"}", "separator: is not one ASCII character"},
        {"{\"separator\": 5}", "separator: is a number, not one ASCII character"},
        {"{\"key_index\": 1}", "key_index: is a number, not true or false"},
        {"{\"turn_queue\": 0.5}", "turn_queue: is a number, not a whole number"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FAILS(wtcache_config_load_json(config, BYTES(wrong[i].json), &error), WTCACHE_ERR_CONFIG, wrong[i].message);
    }
    wtcache_config_free(config);
}

/* Each option is set by its setter, or by JSON, and does what it says. */
static void options_do_what_they_say(void)
{
    for (int by_json = 0; by_json <= 1; by_json++) {
        shelf self;
        wtcache_config *config = wtcache_config_new();
        if (by_json) {
            const char *json =
                "{\"stale_while_revalidate_ms\": 1, \"stale_if_error_ms\": 2, \"refresh_ahead\": 0.5, \"refresh_threads\": 1,"
                " \"refresh_queue\": 8, \"jitter\": 0.25, \"in_doubt_writes_wait\": true, \"absent_after_delete\": true,"
                " \"clean_start\": true, \"most_doubts\": 2, \"turn_queue\": 3, \"load_queue\": 4, \"longest_key_bytes\": 16,"
                " \"shards\": 2, \"key_index\": true, \"separator\": \"/\", \"tag_memory\": 5, \"optimistic_threads\": 1,"
                " \"optimistic_most\": 7, \"optimistic_weight_bytes\": 4096, \"optimistic_deadline_ms\": 1000,"
                " \"audit_every_ms\": 86400000}";
            SUCCEEDS(wtcache_config_load_json(config, BYTES(json), &error));
        } else {
            SUCCEEDS(wtcache_config_set_stale_while_revalidate_ms(config, 1, &error));
            SUCCEEDS(wtcache_config_set_stale_if_error_ms(config, 2, &error));
            SUCCEEDS(wtcache_config_set_refresh_ahead(config, 0.5, &error));
            SUCCEEDS(wtcache_config_set_refresh_threads(config, 1, &error));
            SUCCEEDS(wtcache_config_set_refresh_queue(config, 8, &error));
            SUCCEEDS(wtcache_config_set_jitter(config, 0.25, &error));
            SUCCEEDS(wtcache_config_set_in_doubt_writes_wait(config, 1, &error));
            SUCCEEDS(wtcache_config_set_absent_after_delete(config, 1, &error));
            SUCCEEDS(wtcache_config_set_clean_start(config, 1, &error));
            SUCCEEDS(wtcache_config_set_most_doubts(config, 2, &error));
            SUCCEEDS(wtcache_config_set_turn_queue(config, 3, &error));
            SUCCEEDS(wtcache_config_set_load_queue(config, 4, &error));
            SUCCEEDS(wtcache_config_set_longest_key_bytes(config, 16, &error));
            SUCCEEDS(wtcache_config_set_shards(config, 2, &error));
            SUCCEEDS(wtcache_config_set_key_index(config, 1, &error));
            SUCCEEDS(wtcache_config_set_separator(config, '/', &error));
            SUCCEEDS(wtcache_config_set_tag_memory(config, 5, &error));
            SUCCEEDS(wtcache_config_set_optimistic_threads(config, 1, &error));
            SUCCEEDS(wtcache_config_set_optimistic_most(config, 7, &error));
            SUCCEEDS(wtcache_config_set_optimistic_weight_bytes(config, 4096, &error));
            SUCCEEDS(wtcache_config_set_optimistic_deadline_ms(config, 1000, &error));
            SUCCEEDS(wtcache_config_set_audit_every_ms(config, 86400000, &error));
        }
        wtcache_cache *cache = open_with(config, &self);
        wtcache_config_free(config);

        FAILS(wtcache_put(cache, BYTES("a key of 17 bytes"), "v", 1, NULL, NULL, &error), WTCACHE_ERR_TOO_LARGE, "17");
        SUCCEEDS(wtcache_put(cache, BYTES("a:b/c"), "v", 1, NULL, NULL, &error));
        SUCCEEDS(wtcache_put(cache, BYTES("a/b/c"), "v", 1, NULL, NULL, &error));
        wtcache_forgotten forgotten = {sizeof forgotten, 0, 0, 0};
        SUCCEEDS(wtcache_invalidate_pattern(cache, BYTES("*/c"), &forgotten, &error));
        CHECK(forgotten.entries == 1);
        SUCCEEDS(wtcache_invalidate_prefix(cache, BYTES("a/"), &forgotten, &error));
        CHECK(forgotten.entries == 1 && forgotten.scanned == 0);

        int gets = self.gets;
        SUCCEEDS(wtcache_delete(cache, BYTES("gone"), NULL, &error));
        check_read(cache, "gone", WTCACHE_MODE_DEFAULT, NULL);
        CHECK(self.gets == gets);

        FAILS(wtcache_put(cache, BYTES("unknown"), "v", 1, NULL, NULL, &error), WTCACHE_ERR_IN_DOUBT, "nobody knows");
        wtcache_call soon = {.struct_size = sizeof soon, .deadline_ms = 50};
        FAILS(wtcache_put(cache, BYTES("unknown"), "v", 1, &soon, NULL, &error), WTCACHE_ERR_HELD_BACK, "in doubt");
        FAILS(wtcache_put(cache, BYTES("unknown:2"), "v", 1, NULL, NULL, &error), WTCACHE_ERR_IN_DOUBT, "nobody knows");
        FAILS(wtcache_put(cache, BYTES("full"), "v", 1, NULL, NULL, &error), WTCACHE_ERR_OVERLOADED, "in doubt already");
        free_shelf(cache, &self);
    }
}

static void c0_writes_of_an_earlier_cache_have_a_window_of_their_own(void)
{
    for (int by_json = 0; by_json <= 1; by_json++) {
        shelf self;
        wtcache_config *config = wtcache_config_new();
        wtcache_entry *entry = NULL;
        if (by_json) SUCCEEDS(wtcache_config_load_json(config, BYTES("{\"stray_window_ms\": 3600000}"), &error));
        else SUCCEEDS(wtcache_config_set_stray_window_ms(config, 3600000, &error));
        wtcache_cache *cache = open_with(config, &self);
        wtcache_config_free(config);
        SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, NULL, &entry, &error));
        uint64_t left = wtcache_entry_remaining_ms(entry, cache);
        CHECK(left > 1800000 && left <= 3600000);
        wtcache_entry_free(entry);
        free_shelf(cache, &self);
    }
}

/* What a listener was told, in letters. */
typedef struct diary {
    pthread_mutex_t lock;
    char told[64];
    uint64_t last;
    int destroyed;
    int absent, kept;
} diary;

static void note(void *user_data, const wtcache_event *event)
{
    static const char letters[] = "?RPDpbsidveHWSXN";
    diary *self = user_data;
    CHECK(event->struct_size >= sizeof *event && event->kind >= 0 && event->kind <= WTCACHE_EVENT_PUSHED);
    pthread_mutex_lock(&self->lock);
    if (event->key_len == 1 && memcmp(event->key, "k", 1) == 0) {
        CHECK(event->sequence > self->last);
        self->last = event->sequence;
    }
    size_t len = strlen(self->told);
    CHECK(len + 1 < sizeof self->told);
    self->told[len] = letters[event->kind];
    self->absent += event->absent;
    self->kept += event->kept;
    pthread_mutex_unlock(&self->lock);
}

static void close_diary(void *user_data)
{
    ((diary *)user_data)->destroyed++;
}

static void a_listener_is_told(void)
{
    shelf self;
    diary diary;
    memset(&diary, 0, sizeof diary);
    pthread_mutex_init(&diary.lock, NULL);
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_listener(config, note, &diary, close_diary, &error));
    /* One that takes its place: the first is given back. */
    SUCCEEDS(wtcache_config_set_listener(config, note, &diary, close_diary, &error));
    CHECK(diary.destroyed == 1);
    NULL_IS_REFUSED(wtcache_config_set_listener(NULL, note, &diary, close_diary, &error));
    CHECK(diary.destroyed == 2);
    NULL_IS_REFUSED(wtcache_config_set_listener(config, NULL, &diary, close_diary, &error));
    CHECK(diary.destroyed == 3);
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, NULL);
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_invalidate(cache, "k", 1, &error));
    SUCCEEDS(wtcache_delete(cache, "k", 1, NULL, &error));
    FAILS(wtcache_put(cache, BYTES("unknown"), "v", 1, NULL, NULL, &error), WTCACHE_ERR_IN_DOUBT, "nobody knows");
    SUCCEEDS(wtcache_settle(cache, BYTES("unknown"), WTCACHE_SETTLEMENT_OVER, &error));
    FAILS(wtcache_put(cache, BYTES("conflict"), "v", 1, NULL, NULL, &error), WTCACHE_ERR_CONFLICT, "changed");
    CHECK(strncmp(diary.told, "RPiDWS", 6) == 0 && diary.absent == 1 && diary.kept == 1);
    CHECK(diary.destroyed == 3);
    wtcache_cache_free(cache);
    CHECK(diary.destroyed == 4);
}

const test_case config_cases[] = {
    {"options_that_make_no_sense", options_that_make_no_sense},
    {"options_do_what_they_say", options_do_what_they_say},
    {"c0_writes_of_an_earlier_cache_have_a_window_of_their_own", c0_writes_of_an_earlier_cache_have_a_window_of_their_own},
    {"a_listener_is_told", a_listener_is_told},
    {NULL, NULL},
};
