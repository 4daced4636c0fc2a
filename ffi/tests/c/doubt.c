/* Writes in doubt: handles, lists, and settling by hand. */

#include "check.h"

static wtcache_error *error = NULL;

/* A put of this key that ended in doubt. */
static wtcache_doubt *in_doubt(wtcache_cache *cache, const char *key)
{
    int32_t status = wtcache_put(cache, BYTES(key), "x", 1, NULL, NULL, &error);
    wtcache_doubt *doubt = wtcache_error_doubt(error);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "in doubt");
    CHECK(doubt != NULL);
    return doubt;
}

static void a_doubt_is_settled_by_hand(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_doubt *doubt = in_doubt(cache, "unknown:1"), *second = in_doubt(cache, "unknown:1");
    size_t len;
    CHECK(memcmp(wtcache_doubt_key(doubt, &len), "unknown:1", 9) == 0 && len == 9);
    CHECK(strlen(wtcache_doubt_idempotency_key(doubt)) == 32);
    CHECK(strcmp(wtcache_doubt_idempotency_key(second), self.idempotency_key) == 0);
    CHECK(strcmp(wtcache_doubt_idempotency_key(second), wtcache_doubt_idempotency_key(doubt)) != 0);
    CHECK(wtcache_doubt_remaining_ms(doubt) > 5000 && wtcache_doubt_remaining_ms(doubt) <= 10000);
    CHECK(wtcache_doubt_outcome(doubt) == WTCACHE_SETTLEMENT_NONE);
    CHECK(wtcache_doubt_wait(doubt, 1, &error) == WTCACHE_PENDING && error == NULL);

    wtcache_doubt_list *list = NULL;
    wtcache_key_in_doubt listed = {sizeof listed, NULL, 0, 0, 0, 0};
    SUCCEEDS(wtcache_list_doubts(cache, 10, &list, &error));
    CHECK(wtcache_doubt_list_count(list) == 1);
    SUCCEEDS(wtcache_doubt_list_get(list, 0, &listed, &error));
    CHECK(listed.key_len == 9 && memcmp(listed.key, "unknown:1", 9) == 0 && listed.unsettled == 2);
    CHECK(listed.since_ms < 10000 && listed.remaining_ms > 5000 && listed.remaining_ms <= 10000);
    CHECK(wtcache_doubt_list_get(list, 1, &listed, &error) == WTCACHE_NOT_FOUND && listed.key == NULL);
    listed.struct_size = 0;
    FAILS(wtcache_doubt_list_get(list, 0, &listed, &error), WTCACHE_ERR_ARGUMENT, "struct_size");
    wtcache_doubt_list_free(list);
    SUCCEEDS(wtcache_list_doubts(cache, 0, &list, &error));
    CHECK(wtcache_doubt_list_count(list) == 0);
    wtcache_doubt_list_free(list);

    /* One write of two, then the other. */
    CHECK(wtcache_doubt_settle(doubt, WTCACHE_SETTLEMENT_APPLIED, &error) == WTCACHE_PENDING && error == NULL);
    CHECK(wtcache_doubt_outcome(doubt) == WTCACHE_SETTLEMENT_APPLIED && stats_of(cache).in_doubt == 1);
    SUCCEEDS(wtcache_doubt_settle(second, WTCACHE_SETTLEMENT_NOT_APPLIED, &error));
    CHECK(wtcache_doubt_outcome(second) == WTCACHE_SETTLEMENT_NOT_APPLIED && stats_of(cache).in_doubt == 0);
    CHECK(stats_of(cache).doubts_settled == 1 && stats_of(cache).doubt_millis < 120000);
    SUCCEEDS(wtcache_doubt_wait(second, 0, &error));
    CHECK(wtcache_doubt_remaining_ms(second) == 0);
    wtcache_doubt_free(doubt);
    wtcache_doubt_free(second);

    /* All writes of a key at once. */
    doubt = in_doubt(cache, "unknown:2");
    SUCCEEDS(wtcache_settle(cache, BYTES("unknown:2"), WTCACHE_SETTLEMENT_OVER, &error));
    CHECK(wtcache_doubt_outcome(doubt) == WTCACHE_SETTLEMENT_OVER);
    CHECK(wtcache_settle(cache, BYTES("unknown:2"), WTCACHE_SETTLEMENT_OVER, &error) == WTCACHE_NOT_FOUND && error == NULL);
    free_shelf(cache, &self);
    /* It outlives its cache, to which nothing is sent any more. */
    int32_t status = wtcache_doubt_replay(doubt, NULL, NULL, &error);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT);
    FAILS(status, WTCACHE_ERR_CLOSED, "closed");
    wtcache_doubt_free(doubt);
}

static void a_write_is_sent_again(void)
{
    shelf self;
    wtcache_source source = shelf_source(&self);
    wtcache_cache *cache = NULL;
    wtcache_entry *entry = NULL;
    source.honours_idempotency = 1;
    SUCCEEDS(wtcache_open_with_source(NULL, &source, &cache, &error));
    wtcache_doubt *doubt = in_doubt(cache, "flaky");
    char key[40];
    strcpy(key, self.idempotency_key);
    SUCCEEDS(wtcache_doubt_replay(doubt, NULL, &entry, &error));
    check_value(entry, "x");
    wtcache_entry_free(entry);
    CHECK(self.puts == 2 && strcmp(key, self.idempotency_key) == 0);
    CHECK(wtcache_doubt_outcome(doubt) == WTCACHE_SETTLEMENT_APPLIED && stats_of(cache).in_doubt == 0);
    wtcache_doubt_free(doubt);

    /* As before, where that ends unknown, too. */
    doubt = in_doubt(cache, "unknown");
    int32_t status = wtcache_doubt_replay(doubt, NULL, &entry, &error);
    wtcache_doubt *again = wtcache_error_doubt(error);
    CHECK(entry == NULL && again != NULL);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "nobody knows");
    wtcache_doubt_free(again);
    wtcache_call late = {.struct_size = sizeof late, .mode = WTCACHE_MODE_CACHED};
    FAILS(wtcache_doubt_replay(doubt, &late, NULL, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    wtcache_doubt_free(doubt);
    free_shelf(cache, &self);
}

static void nulls_of_doubts(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_doubt *doubt = in_doubt(cache, "unknown");
    wtcache_doubt_list *list = (wtcache_doubt_list *)&self;
    wtcache_key_in_doubt listed = {sizeof listed, NULL, 0, 0, 0, 0};
    size_t len = 9;
    CHECK(wtcache_error_doubt(NULL) == NULL);
    CHECK(wtcache_doubt_key(NULL, &len) == NULL && len == 0 && wtcache_doubt_idempotency_key(NULL) == NULL);
    CHECK(wtcache_doubt_remaining_ms(NULL) == 0 && wtcache_doubt_outcome(NULL) == WTCACHE_SETTLEMENT_NONE);
    NULL_IS_REFUSED(wtcache_doubt_wait(NULL, 0, &error));
    NULL_IS_REFUSED(wtcache_doubt_replay(NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_doubt_settle(NULL, WTCACHE_SETTLEMENT_OVER, &error));
    FAILS(wtcache_doubt_settle(doubt, WTCACHE_SETTLEMENT_NONE, &error), WTCACHE_ERR_ARGUMENT, "settlement is 0");
    FAILS(wtcache_doubt_settle(doubt, 4, &error), WTCACHE_ERR_ARGUMENT, "settlement is 4");
    NULL_IS_REFUSED(wtcache_settle(NULL, "k", 1, WTCACHE_SETTLEMENT_OVER, &error));
    NULL_IS_REFUSED(wtcache_settle(cache, NULL, 1, WTCACHE_SETTLEMENT_OVER, &error));
    FAILS(wtcache_settle(cache, BYTES("unknown"), -1, &error), WTCACHE_ERR_ARGUMENT, "settlement is -1");
    CHECK(stats_of(cache).in_doubt == 1);
    NULL_IS_REFUSED(wtcache_list_doubts(NULL, 1, &list, &error));
    CHECK(list == NULL);
    NULL_IS_REFUSED(wtcache_list_doubts(cache, 1, NULL, &error));
    CHECK(wtcache_doubt_list_count(NULL) == 0);
    NULL_IS_REFUSED(wtcache_doubt_list_get(NULL, 0, &listed, &error));
    SUCCEEDS(wtcache_list_doubts(cache, 1, &list, &error));
    NULL_IS_REFUSED(wtcache_doubt_list_get(list, 0, NULL, &error));
    wtcache_doubt_list_free(list);
    wtcache_doubt_list_free(NULL);
    wtcache_doubt_free(doubt);
    wtcache_doubt_free(NULL);
    free_shelf(cache, &self);
}

const test_case doubt_cases[] = {
    {"a_doubt_is_settled_by_hand", a_doubt_is_settled_by_hand},
    {"a_write_is_sent_again", a_write_is_sent_again},
    {"nulls_of_doubts", nulls_of_doubts},
    {NULL, NULL},
};
