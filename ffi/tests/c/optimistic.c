/* Writes that are shown before they are confirmed. */

#include "check.h"

static wtcache_error *error = NULL;

static void what_is_pending_is_shown_and_settles(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_pending *pending = NULL;
    wtcache_entry *entry = NULL;
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "new", 3, NULL, &pending, &error));
    wait_at_gate(&self, 1);
    SUCCEEDS(wtcache_get(cache, BYTES("gated"), NULL, &entry, &error));
    check_value(entry, "new");
    CHECK(wtcache_entry_is_pending(entry) == 1);
    wtcache_entry_free(entry);
    check_read(cache, "gated", WTCACHE_MODE_CACHED, "new");
    CHECK(wtcache_pending_has_ended(pending) == 0 && stats_of(cache).pending == 1);
    CHECK(wtcache_pending_wait(pending, 1, &entry, &error) == WTCACHE_PENDING && entry == NULL && error == NULL);
    check_read(cache, "gated", WTCACHE_MODE_CONFIRMED, NULL);
    /* It has its turn. */
    CHECK(wtcache_pending_cancel(pending, &error) == WTCACHE_TOO_LATE && error == NULL);
    open_gate(&self);
    for (int again = 0; again < 2; again++) {
        SUCCEEDS(wtcache_pending_wait(pending, 60000, &entry, &error));
        check_value(entry, "new");
        CHECK(wtcache_entry_is_pending(entry) == 0);
        wtcache_entry_free(entry);
    }
    CHECK(wtcache_pending_has_ended(pending) == 1 && wtcache_pending_cancel(pending, &error) == WTCACHE_TOO_LATE);
    wtcache_pending_free(pending);
    check_read(cache, "gated", WTCACHE_MODE_CONFIRMED, "new");
    free_shelf(cache, &self);
}

static void what_is_pending_can_be_taken_back(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_pending *first = NULL, *second = NULL, *third = NULL;
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "1", 1, NULL, &first, &error));
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "2", 1, NULL, &second, &error));
    SUCCEEDS(wtcache_delete_optimistic(cache, BYTES("gated"), NULL, &third, &error));
    wait_at_gate(&self, 1);
    check_read(cache, "gated", WTCACHE_MODE_DEFAULT, NULL);
    SUCCEEDS(wtcache_pending_cancel(third, &error));
    check_read(cache, "gated", WTCACHE_MODE_DEFAULT, "2");
    SUCCEEDS(wtcache_pending_cancel(second, &error));
    check_read(cache, "gated", WTCACHE_MODE_DEFAULT, "1");
    FAILS(wtcache_pending_wait(second, 0, NULL, &error), WTCACHE_ERR_CANCELLED, "taken back");
    FAILS(wtcache_pending_wait(third, 60000, NULL, &error), WTCACHE_ERR_CANCELLED, "taken back");
    open_gate(&self);
    SUCCEEDS(wtcache_pending_wait(first, 60000, NULL, &error));
    CHECK(self.puts == 1 && self.removes == 0 && stats_of(cache).rolled_back == 2);
    wtcache_pending_free(first);
    wtcache_pending_free(second);
    wtcache_pending_free(third);
    free_shelf(cache, &self);
}

static void what_is_refused_leaves_no_trace(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_pending *pending = NULL;
    wtcache_entry *entry = (wtcache_entry *)&self;
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("refused"), "x", 1, NULL, &pending, &error));
    int32_t status = wtcache_pending_wait(pending, 60000, &entry, &error);
    CHECK(entry == NULL && wtcache_error_source_code(error) == 418 && wtcache_error_cause(error) == &self);
    FAILS(status, WTCACHE_ERR_REJECTED, "refused here");
    wtcache_pending_free(pending);
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("unknown"), "x", 1, NULL, &pending, &error));
    status = wtcache_pending_wait(pending, 60000, NULL, &error);
    wtcache_doubt *doubt = wtcache_error_doubt(error);
    CHECK(doubt != NULL && wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "nobody knows");
    wtcache_doubt_free(doubt);
    wtcache_pending_free(pending);
    /* Nobody has to hold the handle. */
    SUCCEEDS(wtcache_put_optimistic(cache, "k", 1, "v", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_close(cache, 60000, NULL, &error));
    CHECK(stats_of(cache).writes_applied == 1);
    FAILS(wtcache_put_optimistic(cache, "k", 1, "v", 1, NULL, &pending, &error), WTCACHE_ERR_CLOSED, "closed");
    CHECK(pending == NULL);
    free_shelf(cache, &self);
}

static void a_cache_is_drained_once_no_write_is_out_or_pending(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    SUCCEEDS(wtcache_drain(cache, 0, &error));
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "v", 1, NULL, NULL, &error));
    CHECK(wtcache_drain(cache, 0, &error) == WTCACHE_PENDING && error == NULL);
    wait_at_gate(&self, 1);
    CHECK(wtcache_drain(cache, 1, &error) == WTCACHE_PENDING);
    open_gate(&self);
    SUCCEEDS(wtcache_drain(cache, 60000, &error));
    CHECK(stats_of(cache).writes_applied == 1);
    /* Calls go on. */
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_drain(NULL, 0, &error));
    free_shelf(cache, &self);
}

/* A merge that appends, and what it was given back. */
typedef struct merger {
    const char *does;
    int destroyed;
} merger;

static void append(void *user_data, const void *value, size_t len, wtcache_change *change)
{
    merger *self = user_data;
    char all[64];
    if (strcmp(self->does, "append") == 0) {
        if (len > 0) memcpy(all, value, len);
        all[len] = '+';
        CHECK(wtcache_change_refuse(change, NULL, NULL) == WTCACHE_ERR_ARGUMENT);
        CHECK(wtcache_change_put(change, all, len + 1, NULL) == WTCACHE_OK);
    } else if (strcmp(self->does, "delete") == 0) {
        CHECK(wtcache_change_delete(change, NULL) == WTCACHE_OK);
    } else if (strcmp(self->does, "keep") == 0) {
        CHECK(wtcache_change_keep(change, NULL) == WTCACHE_OK);
    }
}

static void destroy_merger(void *user_data)
{
    __atomic_add_fetch(&((merger *)user_data)->destroyed, 1, __ATOMIC_SEQ_CST);
}

static void merges(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_pending *first = NULL, *second = NULL;
    merger merger = {"append", 0};
    SUCCEEDS(wtcache_put(cache, "k", 1, "a", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_merge_optimistic(cache, "k", 1, append, &merger, destroy_merger, NULL, &first, &error));
    SUCCEEDS(wtcache_merge_optimistic(cache, "k", 1, append, &merger, destroy_merger, NULL, &second, &error));
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "a++");
    SUCCEEDS(wtcache_pending_wait(first, 60000, NULL, &error));
    SUCCEEDS(wtcache_pending_wait(second, 60000, NULL, &error));
    wtcache_pending_free(first);
    wtcache_pending_free(second);
    check_read(cache, "k", WTCACHE_MODE_CONFIRMED, "a++");
    merger.does = "keep";
    SUCCEEDS(wtcache_merge_optimistic(cache, "k", 1, append, &merger, destroy_merger, NULL, &first, &error));
    SUCCEEDS(wtcache_pending_wait(first, 60000, NULL, &error));
    wtcache_pending_free(first);
    merger.does = "delete";
    SUCCEEDS(wtcache_merge_optimistic(cache, "k", 1, append, &merger, destroy_merger, NULL, &first, &error));
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, NULL);
    SUCCEEDS(wtcache_pending_wait(first, 60000, NULL, &error));
    wtcache_pending_free(first);
    CHECK(self.removes == 1);
    /* Silence is no change: it ends unsent. */
    int puts = self.puts;
    merger.does = "nothing";
    SUCCEEDS(wtcache_merge_optimistic(cache, "k", 1, append, &merger, destroy_merger, NULL, &first, &error));
    int32_t status = wtcache_pending_wait(first, 60000, NULL, &error);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_NOT_APPLIED);
    FAILS(status, WTCACHE_ERR_PANIC, "said nothing");
    wtcache_pending_free(first);
    CHECK(self.puts == puts);

    NULL_IS_REFUSED(wtcache_put_optimistic(NULL, "k", 1, "v", 1, NULL, &first, &error));
    CHECK(first == NULL);
    NULL_IS_REFUSED(wtcache_put_optimistic(cache, NULL, 1, "v", 1, NULL, &first, &error));
    NULL_IS_REFUSED(wtcache_put_optimistic(cache, "k", 1, NULL, 1, NULL, &first, &error));
    NULL_IS_REFUSED(wtcache_delete_optimistic(NULL, "k", 1, NULL, &first, &error));
    NULL_IS_REFUSED(wtcache_delete_optimistic(cache, NULL, 1, NULL, &first, &error));
    struct merger other = {"append", 0};
    NULL_IS_REFUSED(wtcache_merge_optimistic(NULL, "k", 1, append, &other, destroy_merger, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_merge_optimistic(cache, NULL, 1, append, &other, destroy_merger, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_merge_optimistic(cache, "k", 1, NULL, &other, destroy_merger, NULL, NULL, &error));
    CHECK(other.destroyed == 3);
    NULL_IS_REFUSED(wtcache_pending_wait(NULL, 0, NULL, &error));
    NULL_IS_REFUSED(wtcache_pending_cancel(NULL, &error));
    CHECK(wtcache_pending_has_ended(NULL) == 0);
    wtcache_pending_free(NULL);
    SUCCEEDS(wtcache_close(cache, 60000, NULL, &error));
    free_shelf(cache, &self);
    wait_for(&merger.destroyed, 5);
}

const test_case optimistic_cases[] = {
    {"what_is_pending_is_shown_and_settles", what_is_pending_is_shown_and_settles},
    {"what_is_pending_can_be_taken_back", what_is_pending_can_be_taken_back},
    {"what_is_refused_leaves_no_trace", what_is_refused_leaves_no_trace},
    {"a_cache_is_drained_once_no_write_is_out_or_pending", a_cache_is_drained_once_no_write_is_out_or_pending},
    {"merges", merges},
    {NULL, NULL},
};
