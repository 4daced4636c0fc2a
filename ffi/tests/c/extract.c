/* Weights, tags and values in indexes, which callbacks of the program's say of entries. */

#include "check.h"

static wtcache_error *error = NULL;

/* A callback's own: how often it was called and given back, and what it does. */
typedef struct teller {
    pthread_mutex_t lock;
    int calls, absences, destroyed, failing;
    uint64_t weight;
} teller;

static void destroy_teller(void *user_data)
{
    ((teller *)user_data)->destroyed++;
}

static int is_failing(teller *self)
{
    pthread_mutex_lock(&self->lock);
    self->calls++;
    int failing = self->failing;
    pthread_mutex_unlock(&self->lock);
    return failing;
}

static teller new_teller(void)
{
    teller self;
    memset(&self, 0, sizeof self);
    pthread_mutex_init(&self.lock, NULL);
    return self;
}

static void weigh(void *user_data, const void *key, size_t key_len, const void *value, size_t value_len, uint64_t *weight)
{
    teller *self = user_data;
    CHECK(key != NULL && key_len > 0);
    CHECK(*weight == UINT64_MAX);
    if (is_failing(self)) return;
    if (value == NULL) {
        CHECK(value_len == 0);
        self->absences++;
    }
    *weight = value == NULL ? 1 : self->weight;
}

/* The words of a value. */
static void words(void *user_data, const void *key, size_t key_len, const void *value, size_t value_len, wtcache_extract *to)
{
    const char *at = value, *end = at + value_len;
    CHECK(key != NULL && key_len > 0 && value != NULL);
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space == NULL ? end : space;
        CHECK(wtcache_extract_add(to, at, (size_t)(stop - at), NULL) == WTCACHE_OK);
        at = space == NULL ? end : space + 1;
    }
    if (!is_failing(user_data)) CHECK(wtcache_extract_done(to, NULL) == WTCACHE_OK);
}

/* The length of a key, as a digit; and what an extractor is refused. */
static void key_length(void *user_data, const void *key, size_t key_len, const void *value, size_t value_len, wtcache_extract *to)
{
    char digit = (char)('0' + key_len);
    wtcache_error *refused = NULL;
    (void)key, (void)value, (void)value_len;
    is_failing(user_data);
    CHECK(wtcache_extract_add(to, NULL, 1, &refused) == WTCACHE_ERR_ARGUMENT && refused != NULL);
    wtcache_error_free(refused);
    CHECK(wtcache_extract_add(to, &digit, 1, NULL) == WTCACHE_OK);
    CHECK(wtcache_extract_add(to, &digit, 1, NULL) == WTCACHE_OK);
    CHECK(wtcache_extract_done(to, NULL) == WTCACHE_OK);
}

/* How many records an index has of a value; one of them is the only one that is looked at. */
static size_t found(wtcache_cache *cache, const char *index, const char *value, const char *key, size_t *expired)
{
    wtcache_results *results = NULL;
    SUCCEEDS(wtcache_find(cache, BYTES(index), BYTES(value), &results, expired, &error));
    size_t count = wtcache_results_count(results);
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;
        const void *at = wtcache_entry_key(wtcache_results_entry(results, i), &len);
        CHECK(wtcache_results_status(results, i) == WTCACHE_OK && wtcache_results_error(results, i) == NULL);
        CHECK(at != NULL && len > 0);
        if (count == 1) CHECK(len == strlen(key) && memcmp(at, key, len) == 0);
    }
    wtcache_results_free(results);
    return count;
}

static void records_are_found_by_their_indexes(void)
{
    shelf self;
    teller of_words = new_teller(), of_length = new_teller();
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_add_index(config, BYTES("words"), words, &of_words, destroy_teller, &error));
    SUCCEEDS(wtcache_config_add_index(config, BYTES("length"), key_length, &of_length, destroy_teller, &error));
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    CHECK(of_words.destroyed == 0 && of_length.destroyed == 0);

    SUCCEEDS(wtcache_put(cache, BYTES("a"), BYTES("red big"), NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("b"), BYTES("red small"), NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("cc"), NULL, 0, NULL, NULL, &error));
    CHECK(of_words.calls == 3 && of_length.calls == 3);
    CHECK(found(cache, "words", "red", NULL, NULL) == 2 && found(cache, "words", "small", "b", NULL) == 1);
    CHECK(found(cache, "length", "1", NULL, NULL) == 2 && found(cache, "length", "2", "cc", NULL) == 1);
    CHECK(found(cache, "words", "1", NULL, NULL) == 0 && found(cache, "words", "re", NULL, NULL) == 0);

    /* A hit asks for nothing; a record that changes is found by its new values alone; one that goes is not found. */
    check_read(cache, "a", WTCACHE_MODE_DEFAULT, "red big");
    CHECK(of_words.calls == 3);
    SUCCEEDS(wtcache_put(cache, BYTES("a"), BYTES("blue"), NULL, NULL, &error));
    CHECK(found(cache, "words", "red", "b", NULL) == 1 && found(cache, "words", "blue", "a", NULL) == 1);
    SUCCEEDS(wtcache_invalidate(cache, BYTES("b"), &error));
    CHECK(found(cache, "words", "red", NULL, NULL) == 0);
    check_read(cache, "b", WTCACHE_MODE_DEFAULT, "red small");
    CHECK(found(cache, "words", "red", "b", NULL) == 1);
    check_read(cache, "none", WTCACHE_MODE_DEFAULT, NULL);
    CHECK(of_words.calls == 5 && found(cache, "length", "4", NULL, NULL) == 0);

    /* What could not be told is read all the same, and not kept. */
    of_words.failing = 1;
    SUCCEEDS(wtcache_invalidate(cache, BYTES("b"), &error));
    check_read(cache, "b", WTCACHE_MODE_DEFAULT, "red small");
    check_read(cache, "b", WTCACHE_MODE_CACHED, NULL);
    CHECK(found(cache, "words", "red", NULL, NULL) == 0);

    wtcache_results *results = NULL;
    FAILS(wtcache_find(cache, BYTES("colours"), BYTES("red"), &results, NULL, &error), WTCACHE_ERR_ARGUMENT, "colours");
    CHECK(results == NULL);
    SUCCEEDS(wtcache_close(cache, 0, NULL, &error));
    CHECK(found(cache, "words", "blue", NULL, NULL) == 0);
    free_shelf(cache, &self);
    CHECK(of_words.destroyed == 1 && of_length.destroyed == 1);
}

static void what_has_expired_is_counted(void)
{
    shelf self;
    teller teller = new_teller();
    size_t expired = 99;
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_lifetime_ms(config, 1, &error));
    SUCCEEDS(wtcache_config_add_index(config, BYTES("words"), words, &teller, NULL, &error));
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    /* This one has a lifetime of its own. */
    SUCCEEDS(wtcache_put(cache, BYTES("kept"), BYTES("blue"), NULL, NULL, &error));
    CHECK(found(cache, "words", "blue", "kept", &expired) == 1 && expired == 0);
    /* On a slow machine it may expire before it is kept. */
    for (int tries = 0; expired == 0; tries++) {
        CHECK(tries < 1000);
        SUCCEEDS(wtcache_put(cache, BYTES("a"), BYTES("red"), NULL, NULL, &error));
        while (found(cache, "words", "red", "a", &expired) > 0) CHECK(expired == 0);
    }
    CHECK(expired == 1);
    free_shelf(cache, &self);
}

static void entries_weigh_what_the_weigher_says(void)
{
    shelf self;
    teller teller = new_teller();
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_capacity_bytes(config, 10, &error));
    SUCCEEDS(wtcache_config_set_shards(config, 1, &error));
    SUCCEEDS(wtcache_config_set_weigher(config, weigh, &teller, destroy_teller, &error));
    /* One that takes its place: the first is given back. */
    SUCCEEDS(wtcache_config_set_weigher(config, weigh, &teller, destroy_teller, &error));
    CHECK(teller.destroyed == 1);
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    teller.weight = 4;
    for (char key = 'a'; key < 'e'; key++) SUCCEEDS(wtcache_put(cache, &key, 1, BYTES("v"), NULL, NULL, &error));
    CHECK(teller.calls == 4 && stats_of(cache).weight_bytes == 8 && stats_of(cache).entries == 2);
    SUCCEEDS(wtcache_invalidate_prefix(cache, NULL, 0, NULL, &error));
    check_read(cache, "none", WTCACHE_MODE_DEFAULT, NULL);
    CHECK(teller.absences == 1 && stats_of(cache).weight_bytes == 1);

    /* Too heavy for a header, and not weighed at all: neither is kept. */
    teller.weight = (uint64_t)1 << 32;
    SUCCEEDS(wtcache_put(cache, BYTES("heavy"), BYTES("v"), NULL, NULL, &error));
    check_read(cache, "heavy", WTCACHE_MODE_CACHED, NULL);
    teller.failing = 1;
    SUCCEEDS(wtcache_put(cache, BYTES("a"), BYTES("v"), NULL, NULL, &error));
    check_read(cache, "a", WTCACHE_MODE_CACHED, NULL);
    CHECK(stats_of(cache).extracts_failed == 1 && stats_of(cache).weight_bytes == 1);
    wtcache_pending *pending = NULL;
    CHECK(wtcache_put_optimistic(cache, BYTES("a"), BYTES("v"), NULL, &pending, NULL) < 0 && pending == NULL);
    free_shelf(cache, &self);
    CHECK(teller.destroyed == 2);
}

static void tags_are_found_in_records(void)
{
    shelf self;
    teller teller = new_teller();
    wtcache_forgotten forgotten = {sizeof forgotten, 0, 0, 0};
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_tags(config, words, &teller, destroy_teller, &error));
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    SUCCEEDS(wtcache_put(cache, BYTES("a"), BYTES("red big"), NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("b"), BYTES("red small"), NULL, NULL, &error));
    /* Beside those of the source, which has the whole value for a tag of what is tagged. */
    SUCCEEDS(wtcache_put(cache, BYTES("tagged"), BYTES("red one"), NULL, NULL, &error));
    SUCCEEDS(wtcache_invalidate_tag(cache, BYTES("big"), &forgotten, &error));
    CHECK(forgotten.entries == 1);
    SUCCEEDS(wtcache_invalidate_tag(cache, BYTES("red one"), &forgotten, &error));
    CHECK(forgotten.entries == 1);
    SUCCEEDS(wtcache_invalidate_tag(cache, BYTES("red"), &forgotten, &error));
    CHECK(forgotten.entries == 1);
    check_read(cache, "b", WTCACHE_MODE_CACHED, NULL);
    /* Nobody could forget it by a tag that could not be told: it is not kept. */
    teller.failing = 1;
    check_read(cache, "b", WTCACHE_MODE_DEFAULT, "red small");
    check_read(cache, "b", WTCACHE_MODE_CACHED, NULL);
    CHECK(stats_of(cache).extracts_failed == 1);
    free_shelf(cache, &self);
    CHECK(teller.destroyed == 1);
}

static void what_is_refused_is_given_back(void)
{
    shelf self;
    teller teller = new_teller();
    wtcache_results *results = (wtcache_results *)&self;
    wtcache_config *config = wtcache_config_new();
    NULL_IS_REFUSED(wtcache_config_set_weigher(NULL, weigh, &teller, destroy_teller, &error));
    NULL_IS_REFUSED(wtcache_config_set_weigher(config, NULL, &teller, destroy_teller, &error));
    NULL_IS_REFUSED(wtcache_config_set_tags(NULL, words, &teller, destroy_teller, &error));
    NULL_IS_REFUSED(wtcache_config_set_tags(config, NULL, &teller, destroy_teller, &error));
    NULL_IS_REFUSED(wtcache_config_add_index(NULL, BYTES("words"), words, &teller, destroy_teller, &error));
    NULL_IS_REFUSED(wtcache_config_add_index(config, NULL, 1, words, &teller, destroy_teller, &error));
    NULL_IS_REFUSED(wtcache_config_add_index(config, BYTES("words"), NULL, &teller, destroy_teller, &error));
    FAILS(wtcache_config_add_index(config, "\xff", 1, words, &teller, destroy_teller, &error), WTCACHE_ERR_ARGUMENT, "UTF-8");
    CHECK(teller.destroyed == 8);
    NULL_IS_REFUSED(wtcache_extract_add(NULL, "v", 1, &error));
    NULL_IS_REFUSED(wtcache_extract_done(NULL, &error));

    /* A name that is given twice is told when the cache is opened. */
    SUCCEEDS(wtcache_config_add_index(config, BYTES("words"), words, &teller, destroy_teller, &error));
    wtcache_cache *cache = open_with(config, &self);
    NULL_IS_REFUSED(wtcache_find(NULL, BYTES("words"), BYTES("red"), &results, NULL, &error));
    CHECK(results == NULL);
    NULL_IS_REFUSED(wtcache_find(cache, NULL, 1, BYTES("red"), &results, NULL, &error));
    NULL_IS_REFUSED(wtcache_find(cache, BYTES("words"), NULL, 1, &results, NULL, &error));
    NULL_IS_REFUSED(wtcache_find(cache, BYTES("words"), BYTES("red"), NULL, NULL, &error));
    free_shelf(cache, &self);
    SUCCEEDS(wtcache_config_add_index(config, BYTES("words"), words, &teller, destroy_teller, &error));
    wtcache_source source = shelf_source(&self);
    FAILS(wtcache_open_with_source(config, &source, &cache, &error), WTCACHE_ERR_CONFIG, "indexes: ");
    CHECK(teller.destroyed == 8);
    wtcache_config_free(config);
    CHECK(teller.destroyed == 10 && teller.calls == 0);
}

const test_case extract_cases[] = {
    {"records_are_found_by_their_indexes", records_are_found_by_their_indexes},
    {"what_has_expired_is_counted", what_has_expired_is_counted},
    {"entries_weigh_what_the_weigher_says", entries_weigh_what_the_weigher_says},
    {"tags_are_found_in_records", tags_are_found_in_records},
    {"what_is_refused_is_given_back", what_is_refused_is_given_back},
    {NULL, NULL},
};
