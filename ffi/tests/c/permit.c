/* The two phases of a write as calls of their own. */

#include "check.h"

static wtcache_error *error = NULL;

static wtcache_permit *prepared(wtcache_cache *cache, const char *key)
{
    wtcache_permit *permit = NULL;
    SUCCEEDS(wtcache_prepare(cache, BYTES(key), NULL, &permit, &error));
    return permit;
}

static wtcache_permit *sent(wtcache_cache *cache, const char *key)
{
    wtcache_permit *permit = prepared(cache, key);
    SUCCEEDS(wtcache_permit_send(permit, &error));
    return permit;
}

static wtcache_failure failure(void)
{
    wtcache_failure failure;
    memset(&failure, 0, sizeof failure);
    failure.struct_size = sizeof failure;
    failure.code = 77;
    failure.message = "the line broke";
    failure.message_len = 14;
    return failure;
}

static void a_permit_goes_the_whole_way(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    wtcache_record record = {.struct_size = sizeof record, .version = "v9", .version_len = 2};
    size_t len;
    SUCCEEDS(wtcache_put(cache, "k", 1, "old", 3, NULL, NULL, &error));
    wtcache_permit *permit = prepared(cache, "k");
    CHECK(strlen(wtcache_permit_idempotency_key(permit)) == 32);
    CHECK(wtcache_permit_remaining_ms(permit) > 1000 && wtcache_permit_remaining_ms(permit) <= 5000);
    SUCCEEDS(wtcache_permit_existing(permit, &entry, &error));
    check_value(entry, "old");
    wtcache_entry_free(entry);
    /* The turn is held: no other write of the key goes out. */
    wtcache_call soon = {.struct_size = sizeof soon, .deadline_ms = 20};
    FAILS(wtcache_put(cache, "k", 1, "x", 1, &soon, NULL, &error), WTCACHE_ERR_DEADLINE, "deadline");
    check_read(cache, "k", WTCACHE_MODE_CACHED, "old");
    SUCCEEDS(wtcache_permit_send(permit, &error));
    CHECK(stats_of(cache).writes_open == 1 && wtcache_permit_remaining_ms(permit) == 0);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "old");
    SUCCEEDS(wtcache_permit_commit(permit, "new", 3, &record, &entry, &error));
    check_value(entry, "new");
    CHECK(memcmp(wtcache_entry_version(entry, &len), "v9", 2) == 0 && len == 2);
    wtcache_entry_free(entry);
    wtcache_permit_free(permit);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "new");
    CHECK(self.puts == 1 && stats_of(cache).writes_open == 0);

    permit = sent(cache, "k");
    SUCCEEDS(wtcache_permit_commit_unseen(permit, &error));
    wtcache_permit_free(permit);
    check_read(cache, "k", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "old");
    permit = sent(cache, "k");
    SUCCEEDS(wtcache_permit_commit_deleted(permit, &error));
    wtcache_permit_free(permit);
    check_read(cache, "k", WTCACHE_MODE_CACHED, NULL);
    free_shelf(cache, &self);
}

static void the_other_exits_of_a_permit(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_failure cause = failure();
    wtcache_doubt *doubt = NULL;
    SUCCEEDS(wtcache_put(cache, "k", 1, "old", 3, NULL, NULL, &error));
    wtcache_permit *permit = prepared(cache, "k");
    SUCCEEDS(wtcache_permit_abort(permit, &error));
    FAILS(wtcache_permit_send(permit, &error), WTCACHE_ERR_STATE, "has ended");
    wtcache_permit_free(permit);
    /* Freed before the send, it is aborted, too. */
    wtcache_permit_free(prepared(cache, "k"));
    permit = sent(cache, "k");
    SUCCEEDS(wtcache_permit_reject(permit, 0, &error));
    wtcache_permit_free(permit);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "old");
    permit = sent(cache, "k");
    FAILS(wtcache_permit_reject(permit, 2, &error), WTCACHE_ERR_ARGUMENT, "0 or 1");
    SUCCEEDS(wtcache_permit_reject(permit, 1, &error));
    wtcache_permit_free(permit);
    check_read(cache, "k", WTCACHE_MODE_CACHED, NULL);
    CHECK(stats_of(cache).in_doubt == 0);

    permit = sent(cache, "k");
    SUCCEEDS(wtcache_permit_in_doubt(permit, &cause, &doubt, &error));
    CHECK(strcmp(wtcache_doubt_idempotency_key(doubt), wtcache_permit_idempotency_key(permit)) == 0);
    wtcache_permit_free(permit);
    CHECK(stats_of(cache).in_doubt == 1);
    /* Only the program can send it again. */
    int32_t status = wtcache_doubt_replay(doubt, NULL, NULL, &error);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT);
    FAILS(status, WTCACHE_ERR_STATE, "the program sent");
    SUCCEEDS(wtcache_doubt_settle(doubt, WTCACHE_SETTLEMENT_NOT_APPLIED, &error));
    wtcache_doubt_free(doubt);
    /* Freed after the send and before the end, it is in doubt. */
    wtcache_permit_free(sent(cache, "k"));
    CHECK(stats_of(cache).in_doubt == 1);
    permit = prepared(cache, "other");
    SUCCEEDS(wtcache_close(cache, 0, NULL, &error));
    FAILS(wtcache_permit_send(permit, &error), WTCACHE_ERR_CLOSED, "closed");
    FAILS(wtcache_permit_abort(permit, &error), WTCACHE_ERR_STATE, "has ended");
    wtcache_permit_free(permit);
    free_shelf(cache, &self);
}

static void a_permit_is_used_in_order(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_failure cause = failure();
    wtcache_entry *entry = (wtcache_entry *)&self;
    wtcache_doubt *doubt = (wtcache_doubt *)&self;
    wtcache_permit *permit = prepared(cache, "k");
    FAILS(wtcache_permit_commit(permit, "v", 1, NULL, &entry, &error), WTCACHE_ERR_STATE, "not sent yet");
    CHECK(entry == NULL);
    FAILS(wtcache_permit_commit_unseen(permit, &error), WTCACHE_ERR_STATE, "not sent yet");
    FAILS(wtcache_permit_commit_deleted(permit, &error), WTCACHE_ERR_STATE, "not sent yet");
    FAILS(wtcache_permit_reject(permit, 0, &error), WTCACHE_ERR_STATE, "not sent yet");
    FAILS(wtcache_permit_in_doubt(permit, &cause, &doubt, &error), WTCACHE_ERR_STATE, "not sent yet");
    CHECK(doubt == NULL);
    /* None of that did anything. */
    SUCCEEDS(wtcache_permit_send(permit, &error));
    FAILS(wtcache_permit_send(permit, &error), WTCACHE_ERR_STATE, "sent already");
    FAILS(wtcache_permit_abort(permit, &error), WTCACHE_ERR_STATE, "sent already");
    FAILS(wtcache_permit_existing(permit, &entry, &error), WTCACHE_ERR_STATE, "sent already");
    NULL_IS_REFUSED(wtcache_permit_commit(permit, NULL, 1, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_permit_in_doubt(permit, NULL, NULL, &error));
    SUCCEEDS(wtcache_permit_commit(permit, "v", 1, NULL, NULL, &error));
    FAILS(wtcache_permit_commit_unseen(permit, &error), WTCACHE_ERR_STATE, "has ended");
    wtcache_permit_free(permit);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "v");

    permit = (wtcache_permit *)&self;
    NULL_IS_REFUSED(wtcache_prepare(NULL, "k", 1, NULL, &permit, &error));
    CHECK(permit == NULL);
    NULL_IS_REFUSED(wtcache_prepare(cache, NULL, 1, NULL, &permit, &error));
    NULL_IS_REFUSED(wtcache_prepare(cache, "k", 1, NULL, NULL, &error));
    permit = prepared(cache, "k");
    NULL_IS_REFUSED(wtcache_permit_existing(NULL, &entry, &error));
    NULL_IS_REFUSED(wtcache_permit_existing(permit, NULL, &error));
    CHECK(wtcache_permit_remaining_ms(NULL) == 0 && wtcache_permit_idempotency_key(NULL) == NULL);
    NULL_IS_REFUSED(wtcache_permit_abort(NULL, &error));
    NULL_IS_REFUSED(wtcache_permit_send(NULL, &error));
    NULL_IS_REFUSED(wtcache_permit_commit(NULL, "v", 1, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_permit_commit_unseen(NULL, &error));
    NULL_IS_REFUSED(wtcache_permit_commit_deleted(NULL, &error));
    NULL_IS_REFUSED(wtcache_permit_reject(NULL, 0, &error));
    NULL_IS_REFUSED(wtcache_permit_in_doubt(NULL, &cause, NULL, &error));
    wtcache_permit_free(permit);
    wtcache_permit_free(NULL);
    free_shelf(cache, &self);
}

const test_case permit_cases[] = {
    {"a_permit_goes_the_whole_way", a_permit_goes_the_whole_way},
    {"the_other_exits_of_a_permit", the_other_exits_of_a_permit},
    {"a_permit_is_used_in_order", a_permit_is_used_in_order},
    {NULL, NULL},
};
