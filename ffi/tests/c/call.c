/* Options of a call, and what an entry says of itself. */

#include "check.h"

static wtcache_error *error = NULL;

static void modes_of_a_read(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    SUCCEEDS(wtcache_put(cache, BYTES("bolts"), BYTES("seven"), NULL, NULL, &error));
    SUCCEEDS(wtcache_invalidate(cache, BYTES("bolts"), &error));
    int gets = self.gets;
    check_read(cache, "bolts", WTCACHE_MODE_CACHED, NULL);
    CHECK(self.gets == gets);
    check_read(cache, "bolts", WTCACHE_MODE_CONFIRMED, "seven");
    CHECK(self.gets == gets + 1);
    check_read(cache, "bolts", WTCACHE_MODE_CACHED, "seven");
    check_read(cache, "bolts", WTCACHE_MODE_DEFAULT, "seven");
    CHECK(self.gets == gets + 1);

    /* The same for a read into a buffer. */
    char buffer[8];
    size_t len;
    wtcache_call call = {.struct_size = sizeof call, .mode = WTCACHE_MODE_CACHED};
    SUCCEEDS(wtcache_get_into(cache, BYTES("bolts"), &call, buffer, sizeof buffer, &len, &error));
    CHECK(wtcache_get_into(cache, BYTES("nuts"), &call, buffer, sizeof buffer, &len, &error) == WTCACHE_NOT_FOUND);
    CHECK(self.gets == gets + 1);
    free_shelf(cache, &self);
}

static void a_write_has_a_lifetime_of_its_own(void)
{
    shelf self;
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_clean_start(config, 1, &error));
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    wtcache_entry *entry = NULL;
    wtcache_call call = {.struct_size = sizeof call, .lifetime_ms = 60000};
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, &call, &entry, &error));
    CHECK(wtcache_entry_remaining_ms(entry, cache) > 20000 && wtcache_entry_remaining_ms(entry, cache) <= 60000);
    wtcache_entry_free(entry);
    /* The source knows better. */
    SUCCEEDS(wtcache_put(cache, BYTES("kept"), "v", 1, &call, &entry, &error));
    CHECK(wtcache_entry_remaining_ms(entry, cache) > 60000);
    wtcache_entry_free(entry);
    FAILS(wtcache_get(cache, "k", 1, &call, &entry, &error), WTCACHE_ERR_ARGUMENT, "call.lifetime_ms is of a write");
    call.lifetime_ms = WTCACHE_LIFETIME_NOT_KEPT;
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, &call, NULL, &error));
    check_read(cache, "k", WTCACHE_MODE_CACHED, NULL);
    call.lifetime_ms = -4;
    FAILS(wtcache_put(cache, "k", 1, "v", 1, &call, NULL, &error), WTCACHE_ERR_ARGUMENT, "call.lifetime_ms is -4");
    free_shelf(cache, &self);
}

static void options_that_no_call_has(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    wtcache_call call = {.struct_size = sizeof call, .mode = 3};
    FAILS(wtcache_get(cache, "k", 1, &call, &entry, &error), WTCACHE_ERR_ARGUMENT, "call.mode is 3");
    call.mode = -1;
    FAILS(wtcache_get(cache, "k", 1, &call, &entry, &error), WTCACHE_ERR_ARGUMENT, "call.mode is -1");
    call.mode = WTCACHE_MODE_CACHED;
    FAILS(wtcache_put(cache, "k", 1, "v", 1, &call, NULL, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    FAILS(wtcache_delete(cache, "k", 1, &call, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    CHECK(self.gets + self.puts + self.removes == 0);
    /* A newer program's options count on what this library does not do. */
    struct {
        wtcache_call known;
        uint64_t unknown;
    } newer = {{.struct_size = sizeof newer}, 0};
    CHECK(wtcache_get(cache, "k", 1, &newer.known, &entry, &error) == WTCACHE_NOT_FOUND);
    newer.unknown = 1;
    FAILS(wtcache_get(cache, "k", 1, &newer.known, &entry, &error), WTCACHE_ERR_ARGUMENT, "does not know");
    free_shelf(cache, &self);
}

static void an_entry_knows_its_times(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    SUCCEEDS(wtcache_put(cache, BYTES("kept"), "v", 1, NULL, &entry, &error));
    CHECK(wtcache_entry_is_pending(entry) == 0 && wtcache_entry_stale_ms(entry, cache) == 0);
    CHECK(wtcache_entry_remaining_ms(entry, cache) > 5000 && wtcache_entry_remaining_ms(entry, cache) <= 3600000);
    wtcache_entry_free(entry);
    SUCCEEDS(wtcache_put(cache, BYTES("unkept"), "v", 1, NULL, &entry, &error));
    CHECK(wtcache_entry_remaining_ms(entry, cache) == 0);
    wtcache_entry_free(entry);
    CHECK(wtcache_entry_is_pending(NULL) == 0 && wtcache_entry_stale_ms(NULL, cache) == 0);
    CHECK(wtcache_entry_remaining_ms(NULL, cache) == 0 && wtcache_entry_remaining_ms(NULL, NULL) == 0);
    CHECK(wtcache_entry_stale_ms(NULL, NULL) == 0);
    free_shelf(cache, &self);

    /* Served stale, and marked so; asked for once more in the background. */
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_lifetime_ms(config, 200, &error));
    SUCCEEDS(wtcache_config_set_clean_start(config, 1, &error));
    SUCCEEDS(wtcache_config_set_stale_if_error_ms(config, 3600000, &error));
    cache = open_with(config, &self);
    /* Its origin had it, and fails from then on. */
    shelf_set(&self, BYTES("late"), BYTES("old"));
    SUCCEEDS(wtcache_get(cache, BYTES("late"), NULL, &entry, &error));
    self.failing = 1;
    while (stats_of(cache).stale == 0) {
        usleep(1000);
        wtcache_entry_free(entry);
        SUCCEEDS(wtcache_get(cache, BYTES("late"), NULL, &entry, &error));
        check_value(entry, "old");
    }
    CHECK(wtcache_entry_remaining_ms(entry, cache) == 0 && wtcache_entry_stale_ms(entry, cache) > 0);
    wtcache_entry_free(entry);
    free_shelf(cache, &self);
    wtcache_config_free(config);
}

const test_case call_cases[] = {
    {"modes_of_a_read", modes_of_a_read},
    {"a_write_has_a_lifetime_of_its_own", a_write_has_a_lifetime_of_its_own},
    {"options_that_no_call_has", options_that_no_call_has},
    {"an_entry_knows_its_times", an_entry_knows_its_times},
    {NULL, NULL},
};
