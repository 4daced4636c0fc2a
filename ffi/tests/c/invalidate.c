/* Forgetting many keys. */

#include "check.h"

static wtcache_error *error = NULL;

static void put_all(wtcache_cache *cache)
{
    const char *keys[] = {"shop:1:bolts", "shop:1:nuts", "shop:2:nuts"};
    for (int i = 0; i < 3; i++) SUCCEEDS(wtcache_put(cache, BYTES(keys[i]), "v", 1, NULL, NULL, &error));
}

static void by_prefix_and_pattern(void)
{
    for (int32_t indexed = 0; indexed <= 1; indexed++) {
        shelf self;
        wtcache_config *config = wtcache_config_new();
        SUCCEEDS(wtcache_config_set_key_index(config, indexed, &error));
        wtcache_cache *cache = open_with(config, &self);
        wtcache_config_free(config);
        wtcache_forgotten forgotten = {sizeof forgotten, 99, 99, 0};
        put_all(cache);
        SUCCEEDS(wtcache_invalidate_prefix(cache, BYTES("shop:1:"), &forgotten, &error));
        CHECK(forgotten.entries == 2 && forgotten.scanned == !indexed);
        check_read(cache, "shop:2:nuts", WTCACHE_MODE_CACHED, "v");
        check_read(cache, "shop:1:nuts", WTCACHE_MODE_CACHED, NULL);
        put_all(cache);
        SUCCEEDS(wtcache_invalidate_pattern(cache, BYTES("shop:*:nuts"), &forgotten, &error));
        CHECK(forgotten.entries == 2 && forgotten.scanned == 1);
        check_read(cache, "shop:1:bolts", WTCACHE_MODE_CACHED, "v");
        SUCCEEDS(wtcache_invalidate_pattern(cache, BYTES("*"), NULL, &error));
        SUCCEEDS(wtcache_invalidate_prefix(cache, NULL, 0, NULL, &error));
        CHECK(stats_of(cache).entries == 0);
        FAILS(wtcache_invalidate_pattern(cache, BYTES("a\\b"), &forgotten, &error), WTCACHE_ERR_ARGUMENT, "byte 1");
        CHECK(forgotten.entries == 0 && forgotten.scanned == 0);
        free_shelf(cache, &self);
    }
}

static void by_tag(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_forgotten forgotten = {sizeof forgotten, 99, 99, 0};
    SUCCEEDS(wtcache_put(cache, BYTES("tagged:1"), BYTES("cheap"), NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("tagged:2"), BYTES("dear"), NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("other"), BYTES("cheap"), NULL, NULL, &error));
    SUCCEEDS(wtcache_invalidate_tag(cache, BYTES("cheap"), &forgotten, &error));
    CHECK(forgotten.entries == 1 && forgotten.scanned == 0);
    check_read(cache, "tagged:1", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "tagged:2", WTCACHE_MODE_CACHED, "dear");
    check_read(cache, "other", WTCACHE_MODE_CACHED, "cheap");

    /* As far as an older program's struct goes. */
    memset(&forgotten, 0xee, sizeof forgotten);
    forgotten.struct_size = offsetof(wtcache_forgotten, scanned);
    SUCCEEDS(wtcache_invalidate_tag(cache, BYTES("dear"), &forgotten, &error));
    CHECK(forgotten.entries == 1 && (uint32_t)forgotten.scanned == 0xeeeeeeee);
    forgotten.struct_size = 3;
    FAILS(wtcache_invalidate_tag(cache, BYTES("dear"), &forgotten, &error), WTCACHE_ERR_ARGUMENT, "struct_size");

    forgotten.struct_size = sizeof forgotten;
    NULL_IS_REFUSED(wtcache_invalidate_prefix(NULL, "p", 1, &forgotten, &error));
    NULL_IS_REFUSED(wtcache_invalidate_prefix(cache, NULL, 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_invalidate_pattern(NULL, "p", 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_invalidate_pattern(cache, NULL, 1, &forgotten, &error));
    NULL_IS_REFUSED(wtcache_invalidate_tag(NULL, "t", 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_invalidate_tag(cache, NULL, 1, NULL, &error));
    wtcache_bytes broken = {NULL, 1};
    wtcache_record record = {.struct_size = sizeof record, .tags = &broken, .tag_count = 1};
    NULL_IS_REFUSED(wtcache_reply_value((wtcache_reply *)&self, "v", 1, &record, &error));
    record.tags = NULL;
    NULL_IS_REFUSED(wtcache_reply_value((wtcache_reply *)&self, "v", 1, &record, &error));
    free_shelf(cache, &self);
}

const test_case invalidate_cases[] = {
    {"by_prefix_and_pattern", by_prefix_and_pattern},
    {"by_tag", by_tag},
    {NULL, NULL},
};
