/* Writes on a condition, and updates by a callback. */

#include "check.h"

static wtcache_error *error = NULL;

static wtcache_expect expecting(int32_t kind)
{
    wtcache_expect expect = {sizeof expect, kind, 0, NULL, 0};
    return expect;
}

static void writes_on_a_condition(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    wtcache_expect absent = expecting(WTCACHE_EXPECT_ABSENT), exists = expecting(WTCACHE_EXPECT_EXISTS);
    wtcache_expect version = expecting(WTCACHE_EXPECT_VERSION);
    wtcache_bytes first = {BYTES("r1")}, either[] = {{BYTES("r9")}, {BYTES("r2")}};
    int32_t status = wtcache_put_if(cache, BYTES("bolts"), "0", 1, &exists, NULL, &entry, &error);
    CHECK(wtcache_error_existing(error) == NULL && wtcache_error_outcome(error) == WTCACHE_OUTCOME_NOT_APPLIED);
    FAILS(status, WTCACHE_ERR_UNMET, "there is no record");
    CHECK(self.puts == 0);
    SUCCEEDS(wtcache_put_if(cache, BYTES("bolts"), "1", 1, &absent, NULL, &entry, &error));
    check_value(entry, "1");
    wtcache_entry_free(entry);
    status = wtcache_put_if(cache, BYTES("bolts"), "2", 1, &absent, NULL, &entry, &error);
    wtcache_entry *there = wtcache_error_existing(error);
    FAILS(status, WTCACHE_ERR_UNMET, "version r1");
    /* It outlives the error that it came with. */
    check_value(there, "1");
    wtcache_entry_free(there);
    version.versions = &first;
    version.version_count = 1;
    SUCCEEDS(wtcache_put_if(cache, BYTES("bolts"), "3", 1, &version, NULL, NULL, &error));
    FAILS(wtcache_delete_if(cache, BYTES("bolts"), &version, NULL, &error), WTCACHE_ERR_UNMET, "version r2");
    version.versions = either;
    version.version_count = 2;
    SUCCEEDS(wtcache_delete_if(cache, BYTES("bolts"), &version, NULL, &error));
    CHECK(self.puts == 2 && self.removes == 1);
    free_shelf(cache, &self);
}

static void conditions_that_make_no_sense(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = (wtcache_entry *)&self;
    wtcache_bytes first = {BYTES("r1")}, broken = {NULL, 2}, too_long = {NULL, 65536};
    wtcache_expect expect = expecting(0);
    /* Nothing expected is not taken for a write without condition. */
    FAILS(wtcache_put_if(cache, "k", 1, "v", 1, &expect, NULL, &entry, &error), WTCACHE_ERR_ARGUMENT, "expect.kind is 0");
    CHECK(entry == NULL);
    expect.kind = 4;
    FAILS(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error), WTCACHE_ERR_ARGUMENT, "expect.kind is 4");
    expect.kind = WTCACHE_EXPECT_VERSION;
    FAILS(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error), WTCACHE_ERR_ARGUMENT, "there are none");
    expect.version_count = 1;
    NULL_IS_REFUSED(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error));
    expect.versions = &broken;
    NULL_IS_REFUSED(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error));
    too_long.data = calloc(1, 65536);
    expect.versions = &too_long;
    FAILS(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error), WTCACHE_ERR_ARGUMENT, "65535");
    free((void *)too_long.data);
    expect.versions = &first;
    expect.kind = WTCACHE_EXPECT_EXISTS;
    FAILS(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error), WTCACHE_ERR_ARGUMENT, "WTCACHE_EXPECT_VERSION only");
    expect = expecting(WTCACHE_EXPECT_EXISTS);
    NULL_IS_REFUSED(wtcache_put_if(NULL, "k", 1, "v", 1, &expect, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put_if(cache, NULL, 1, "v", 1, &expect, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put_if(cache, "k", 1, NULL, 1, &expect, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put_if(cache, "k", 1, "v", 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete_if(NULL, "k", 1, &expect, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete_if(cache, NULL, 1, &expect, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete_if(cache, "k", 1, NULL, NULL, &error));
    CHECK(wtcache_error_existing(NULL) == NULL);
    /* Neither a part of the struct, nor what this library does not know. */
    expect.struct_size = offsetof(wtcache_expect, versions);
    FAILS(wtcache_delete_if(cache, "k", 1, &expect, NULL, &error), WTCACHE_ERR_ARGUMENT, "expect.struct_size");
    struct {
        wtcache_expect known;
        size_t unknown;
    } newer = {expecting(WTCACHE_EXPECT_EXISTS), 1};
    newer.known.struct_size = sizeof newer;
    FAILS(wtcache_delete_if(cache, "k", 1, &newer.known, NULL, &error), WTCACHE_ERR_ARGUMENT, "does not know");
    CHECK(self.gets + self.puts + self.removes == 0);
    free_shelf(cache, &self);
}

/* An origin that checks conditions itself, and takes its record from what it was told of them. */
static void told_get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    (void)user_data;
    wtcache_record record = {.struct_size = sizeof record, .version = "v7", .version_len = 2};
    if (request->key_len == 4) CHECK(wtcache_reply_absent(reply, NULL) == WTCACHE_OK);
    else CHECK(wtcache_reply_value(reply, "old", 3, &record, NULL) == WTCACHE_OK);
}

static void told_put(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    (void)user_data;
    char told[32];
    int len = snprintf(told, sizeof told, "%d %.*s", (int)request->condition, (int)request->condition_version_len,
                       request->condition_version == NULL ? "" : (const char *)request->condition_version);
    CHECK(wtcache_reply_value(reply, told, (size_t)len, NULL, NULL) == WTCACHE_OK);
}

static void conditions_go_on_to_an_origin_that_honours_them(void)
{
    wtcache_source source;
    wtcache_cache *cache = NULL;
    wtcache_entry *entry = NULL;
    memset(&source, 0, sizeof source);
    source.struct_size = sizeof source;
    source.get = told_get;
    source.put = told_put;
    source.honours_preconditions = 1;
    SUCCEEDS(wtcache_open_with_source(NULL, &source, &cache, &error));
    wtcache_bytes seven = {BYTES("v7")};
    wtcache_expect absent = expecting(WTCACHE_EXPECT_ABSENT), exists = expecting(WTCACHE_EXPECT_EXISTS);
    wtcache_expect version = expecting(WTCACHE_EXPECT_VERSION);
    version.versions = &seven;
    version.version_count = 1;
    SUCCEEDS(wtcache_put_if(cache, BYTES("none"), "x", 1, &absent, NULL, &entry, &error));
    check_value(entry, "1 ");
    wtcache_entry_free(entry);
    SUCCEEDS(wtcache_put_if(cache, BYTES("first"), "x", 1, &version, NULL, &entry, &error));
    check_value(entry, "2 v7");
    wtcache_entry_free(entry);
    SUCCEEDS(wtcache_put_if(cache, BYTES("other"), "x", 1, &exists, NULL, &entry, &error));
    check_value(entry, "3 ");
    wtcache_entry_free(entry);
    wtcache_cache_free(cache);
}

/* What an update is told to do. */
typedef struct plan {
    const char *does;
    const wtcache_cache *cache;
    int calls;
    int released;
    wtcache_entry *seen;
} plan;

static void release_plan(void *cause)
{
    ((plan *)cause)->released++;
}

static void follow(void *user_data, const wtcache_entry *existing, wtcache_change *change)
{
    plan *self = user_data;
    self->calls++;
    self->seen = wtcache_entry_clone(existing);
    wtcache_failure failure;
    memset(&failure, 0, sizeof failure);
    failure.struct_size = sizeof failure;
    failure.code = 7;
    failure.message = "not so";
    failure.message_len = 6;
    failure.cause = self;
    failure.release_cause = release_plan;
    if (strcmp(self->does, "put") == 0) {
        /* A write of the same key would wait for itself; a read never waits. */
        wtcache_entry *entry = NULL;
        CHECK(wtcache_put(self->cache, "k", 1, "x", 1, NULL, NULL, NULL) == WTCACHE_ERR_REENTRANT);
        CHECK(wtcache_get(self->cache, "k", 1, NULL, &entry, NULL) >= 0);
        wtcache_entry_free(entry);
        NULL_IS_REFUSED(wtcache_change_put(change, NULL, 1, &error));
        SUCCEEDS(wtcache_change_put(change, "new", 3, &error));
        FAILS(wtcache_change_put(change, "newer", 5, &error), WTCACHE_ERR_ANSWERED, "said before");
        FAILS(wtcache_change_delete(change, &error), WTCACHE_ERR_ANSWERED, "said before");
        FAILS(wtcache_change_keep(change, &error), WTCACHE_ERR_ANSWERED, "said before");
        FAILS(wtcache_change_refuse(change, &failure, &error), WTCACHE_ERR_ANSWERED, "said before");
        CHECK(self->released == 1);
    } else if (strcmp(self->does, "delete") == 0) {
        SUCCEEDS(wtcache_change_delete(change, &error));
    } else if (strcmp(self->does, "keep") == 0) {
        SUCCEEDS(wtcache_change_keep(change, &error));
    } else if (strcmp(self->does, "refuse") == 0) {
        NULL_IS_REFUSED(wtcache_change_refuse(change, NULL, &error));
        SUCCEEDS(wtcache_change_refuse(change, &failure, &error));
    }
}

static void updates(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    plan plan = {"put", cache, 0, 0, NULL};
    SUCCEEDS(wtcache_update(cache, "k", 1, follow, &plan, NULL, &entry, &error));
    check_value(entry, "new");
    wtcache_entry_free(entry);
    CHECK(plan.seen == NULL && plan.calls == 1);
    plan.does = "keep";
    SUCCEEDS(wtcache_update(cache, "k", 1, follow, &plan, NULL, &entry, &error));
    check_value(entry, "new");
    check_value(plan.seen, "new");
    wtcache_entry_free(plan.seen);
    wtcache_entry_free(entry);
    CHECK(self.puts == 1);
    plan.does = "refuse";
    plan.released = 0;
    int32_t status = wtcache_update(cache, "k", 1, follow, &plan, NULL, &entry, &error);
    wtcache_entry_free(plan.seen);
    CHECK(entry == NULL && wtcache_error_source_code(error) == 7 && wtcache_error_cause(error) == &plan);
    FAILS(status, WTCACHE_ERR_REJECTED, "not so");
    CHECK(plan.released == 1);
    /* Silence is no success, and changes nothing. */
    plan.does = "nothing";
    FAILS(wtcache_update(cache, "k", 1, follow, &plan, NULL, NULL, &error), WTCACHE_ERR_REJECTED, "did not say");
    wtcache_entry_free(plan.seen);
    CHECK(self.puts == 1 && self.removes == 0);
    plan.does = "delete";
    SUCCEEDS(wtcache_update(cache, "k", 1, follow, &plan, NULL, &entry, &error));
    wtcache_entry_free(plan.seen);
    CHECK(entry == NULL && self.removes == 1 && plan.calls == 5);

    NULL_IS_REFUSED(wtcache_update(NULL, "k", 1, follow, &plan, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_update(cache, NULL, 1, follow, &plan, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_update(cache, "k", 1, NULL, &plan, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_change_put(NULL, "v", 1, &error));
    NULL_IS_REFUSED(wtcache_change_delete(NULL, &error));
    NULL_IS_REFUSED(wtcache_change_keep(NULL, &error));
    NULL_IS_REFUSED(wtcache_change_refuse(NULL, NULL, &error));
    CHECK(plan.calls == 5);
    free_shelf(cache, &self);
}

const test_case write_cases[] = {
    {"writes_on_a_condition", writes_on_a_condition},
    {"conditions_that_make_no_sense", conditions_that_make_no_sense},
    {"conditions_go_on_to_an_origin_that_honours_them", conditions_go_on_to_an_origin_that_honours_them},
    {"updates", updates},
    {NULL, NULL},
};
