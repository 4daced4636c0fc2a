/* Calls that complete in a queue whose descriptor is polled. */

#include "check.h"

static wtcache_error *error = NULL;

static wtcache_queue *queue_of(size_t threads, size_t most)
{
    wtcache_queue *queue = NULL;
    SUCCEEDS(wtcache_queue_new(threads, most, &queue, &error));
    return queue;
}

static void calls_complete_in_a_queue(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_queue *queue = queue_of(2, 100);
    wtcache_completion *completion = (wtcache_completion *)&self;
    uint64_t id = 0, last = 0;
    int token;
    CHECK(!readable(queue, 0));
    CHECK(wtcache_queue_next(queue, &completion, &error) == WTCACHE_NOT_FOUND && completion == NULL && error == NULL);

    SUCCEEDS(wtcache_put_async(queue, cache, "k", 1, "seven", 5, NULL, NULL, &token, &id, &error));
    completion = next_of(queue);
    CHECK(id != 0 && wtcache_completion_id(completion) == id && wtcache_completion_token(completion) == &token);
    CHECK(wtcache_completion_status(completion) == WTCACHE_OK && wtcache_completion_error(completion) == NULL);
    check_value(wtcache_completion_entry(completion), "seven");
    CHECK(wtcache_completion_results(completion) == NULL && wtcache_completion_transacted(completion) == NULL);
    wtcache_completion_free(completion);
    CHECK(!readable(queue, 0));

    /* A hit is there at once. */
    last = id;
    SUCCEEDS(wtcache_get_async(queue, cache, "k", 1, NULL, NULL, &id, &error));
    CHECK(readable(queue, 0) && id > last);
    completion = next_of(queue);
    check_value(wtcache_completion_entry(completion), "seven");
    CHECK(wtcache_completion_token(completion) == NULL);
    wtcache_completion_free(completion);

    wtcache_call confirmed = {.struct_size = sizeof confirmed, .deadline_ms = 60000, .mode = WTCACHE_MODE_CONFIRMED};
    SUCCEEDS(wtcache_get_async(queue, cache, "none", 4, &confirmed, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_NOT_FOUND && wtcache_completion_entry(completion) == NULL);
    wtcache_completion_free(completion);
    SUCCEEDS(wtcache_get_async(queue, cache, BYTES("refused"), NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_SOURCE);
    CHECK(strstr(wtcache_error_message(wtcache_completion_error(completion)), "refused here") != NULL);
    wtcache_completion_free(completion);

    wtcache_bytes keys[] = {{"k", 1}, {"none", 4}};
    SUCCEEDS(wtcache_get_many_async(queue, cache, keys, 2, NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_OK && wtcache_completion_entry(completion) == NULL);
    const wtcache_results *results = wtcache_completion_results(completion);
    check_value(wtcache_results_entry(results, 0), "seven");
    CHECK(wtcache_results_count(results) == 2 && wtcache_results_status(results, 1) == WTCACHE_NOT_FOUND);
    wtcache_completion_free(completion);

    wtcache_expect absent = {sizeof absent, WTCACHE_EXPECT_ABSENT, 0, NULL, 0};
    SUCCEEDS(wtcache_put_async(queue, cache, "k", 1, "x", 1, &absent, NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_UNMET);
    wtcache_completion_free(completion);
    SUCCEEDS(wtcache_delete_async(queue, cache, "k", 1, &absent, NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_UNMET && self.removes == 0);
    wtcache_completion_free(completion);
    SUCCEEDS(wtcache_delete_async(queue, cache, "k", 1, NULL, NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_OK && self.removes == 1);
    wtcache_completion_free(completion);

    wtcache_transaction *transaction = NULL;
    SUCCEEDS(wtcache_transaction_new(cache, &transaction, &error));
    SUCCEEDS(wtcache_transaction_update(transaction, BYTES("beside"), "b", 1, 0, &error));
    SUCCEEDS(wtcache_transaction_async(queue, transaction, NULL, &id, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_id(completion) == id && wtcache_completion_status(completion) == WTCACHE_OK);
    CHECK(wtcache_transacted_end(wtcache_completion_transacted(completion)) == WTCACHE_COMMITTED);
    wtcache_completion_free(completion);
    FAILS(wtcache_transaction_async(queue, transaction, NULL, &id, &error), WTCACHE_ERR_STATE, "run before");
    CHECK(id == 0);
    wtcache_transaction_free(transaction);
    wtcache_queue_free(queue);
    free_shelf(cache, &self);
}

/* Writes of one key go out in the order in which they were given, and take one thread. */
static void writes_of_a_key_keep_their_order(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_queue *queue = queue_of(4, 100);
    wtcache_call patient = {.struct_size = sizeof patient, .deadline_ms = 60000};
    uint64_t ids[20];
    for (int i = 0; i < 20; i++) {
        char value[8];
        size_t len = (size_t)snprintf(value, sizeof value, "v%d", i);
        SUCCEEDS(wtcache_put_async(queue, cache, BYTES("gated"), value, len, NULL, &patient, NULL, &ids[i], &error));
    }
    wait_at_gate(&self, 1);
    /* Another key is not kept waiting by them. */
    SUCCEEDS(wtcache_put_async(queue, cache, "k", 1, "x", 1, NULL, NULL, &self, NULL, &error));
    wtcache_completion *completion = next_of(queue);
    CHECK(wtcache_completion_token(completion) == &self);
    wtcache_completion_free(completion);
    CHECK(self.at_gate == 1);
    /* One that has not begun is taken back; one that has is not. */
    SUCCEEDS(wtcache_queue_cancel(queue, ids[7], &error));
    CHECK(wtcache_queue_cancel(queue, ids[7], &error) == WTCACHE_TOO_LATE && error == NULL);
    CHECK(wtcache_queue_cancel(queue, ids[0], &error) == WTCACHE_TOO_LATE && error == NULL);
    completion = next_of(queue);
    CHECK(wtcache_completion_id(completion) == ids[7]);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_CANCELLED);
    CHECK(wtcache_error_outcome(wtcache_completion_error(completion)) == WTCACHE_OUTCOME_NOT_APPLIED);
    wtcache_completion_free(completion);
    open_gate(&self);
    for (int i = 0; i < 20; i++) {
        if (i == 7) continue;
        completion = next_of(queue);
        CHECK(wtcache_completion_id(completion) == ids[i] && wtcache_completion_status(completion) == WTCACHE_OK);
        wtcache_completion_free(completion);
    }
    CHECK(self.puts == 20);
    check_read(cache, "gated", WTCACHE_MODE_DEFAULT, "v19");
    wtcache_queue_free(queue);
    free_shelf(cache, &self);
}

static void a_queue_has_bounds(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_queue *queue = queue_of(1, 3);
    wtcache_completion *completion = NULL;
    uint64_t first = 0, second = 0, none = 9;
    SUCCEEDS(wtcache_put_async(queue, cache, BYTES("gated"), "x", 1, NULL, NULL, NULL, &first, &error));
    wait_at_gate(&self, 1);
    /* One thread, which is busy: the time that a call waits for it counts. */
    wtcache_call soon = {.struct_size = sizeof soon, .deadline_ms = 1};
    SUCCEEDS(wtcache_put_async(queue, cache, BYTES("other"), "x", 1, NULL, &soon, NULL, &second, &error));
    usleep(5000);
    SUCCEEDS(wtcache_get_async(queue, cache, BYTES("third"), NULL, NULL, NULL, &error));
    FAILS(wtcache_get_async(queue, cache, "k", 1, NULL, NULL, &none, &error), WTCACHE_ERR_OVERLOADED, "outstanding");
    CHECK(none == 0);
    open_gate(&self);
    completion = next_of(queue);
    CHECK(wtcache_completion_id(completion) == first && wtcache_completion_status(completion) == WTCACHE_OK);
    wtcache_completion_free(completion);
    completion = next_of(queue);
    CHECK(wtcache_completion_id(completion) == second && wtcache_completion_status(completion) == WTCACHE_ERR_DEADLINE);
    wtcache_completion_free(completion);
    CHECK(self.puts == 1);
    wtcache_completion_free(next_of(queue));

    /* Freed with calls under way: they run to their end, and the cache goes with the last of them. */
    pthread_mutex_lock(&self.lock);
    self.gate = 0;
    pthread_mutex_unlock(&self.lock);
    SUCCEEDS(wtcache_put_async(queue, cache, BYTES("gated"), "y", 1, NULL, NULL, NULL, NULL, &error));
    SUCCEEDS(wtcache_put_async(queue, cache, BYTES("gated"), "z", 1, NULL, NULL, NULL, NULL, &error));
    wait_at_gate(&self, 2);
    wtcache_queue_free(queue);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 0);
    open_gate(&self);
    wait_for(&self.destroyed, 1);
    CHECK(self.puts == 2);
}

static void a_pending_write_completes_in_a_queue(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_queue *queue = queue_of(1, 10);
    wtcache_pending *first = NULL, *second = NULL;
    wtcache_completion *completion = NULL;
    uint64_t id = 0;
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "1", 1, NULL, &first, &error));
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "2", 1, NULL, &second, &error));
    SUCCEEDS(wtcache_pending_async(queue, first, &first, &id, &error));
    SUCCEEDS(wtcache_pending_async(queue, second, &second, NULL, &error));
    CHECK(!readable(queue, 0) && wtcache_queue_cancel(queue, id, &error) == WTCACHE_TOO_LATE);
    wait_at_gate(&self, 1);
    SUCCEEDS(wtcache_pending_cancel(second, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_token(completion) == &second);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_CANCELLED);
    wtcache_completion_free(completion);
    open_gate(&self);
    completion = next_of(queue);
    CHECK(wtcache_completion_token(completion) == &first && wtcache_completion_id(completion) == id);
    check_value(wtcache_completion_entry(completion), "1");
    wtcache_completion_free(completion);
    /* Asked for once more, it completes at once. */
    wtcache_pending_free(second);
    SUCCEEDS(wtcache_pending_async(queue, first, NULL, NULL, &error));
    CHECK(readable(queue, 0));
    wtcache_pending_free(first);
    wtcache_completion_free(next_of(queue));
    wtcache_queue_free(queue);
    free_shelf(cache, &self);
}

static void nulls_of_queues(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_queue *queue = (wtcache_queue *)&self;
    wtcache_completion *completion = NULL;
    wtcache_pending *pending = NULL;
    wtcache_bytes key = {"k", 1};
    wtcache_expect nothing = {sizeof nothing, 0, 0, NULL, 0};
    wtcache_call cached = {.struct_size = sizeof cached, .mode = WTCACHE_MODE_CACHED}, sizeless = {.struct_size = 0};
    uint64_t read = 7, many = 7, put = 7, removal = 7;
    FAILS(wtcache_queue_new(0, 1, &queue, &error), WTCACHE_ERR_ARGUMENT, "1 at the least");
    CHECK(queue == NULL);
    FAILS(wtcache_queue_new(1, 0, &queue, &error), WTCACHE_ERR_ARGUMENT, "1 at the least");
    NULL_IS_REFUSED(wtcache_queue_new(1, 1, NULL, &error));
    queue = queue_of(1, 10);
    CHECK(wtcache_queue_descriptor(NULL) == -1);
    NULL_IS_REFUSED(wtcache_queue_next(NULL, &completion, &error));
    NULL_IS_REFUSED(wtcache_queue_next(queue, NULL, &error));
    NULL_IS_REFUSED(wtcache_queue_cancel(NULL, 1, &error));
    CHECK(wtcache_queue_cancel(queue, 12345, &error) == WTCACHE_TOO_LATE);
    NULL_IS_REFUSED(wtcache_get_async(NULL, cache, "k", 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_async(queue, NULL, "k", 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_async(queue, cache, NULL, 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_many_async(NULL, cache, &key, 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_many_async(queue, NULL, &key, 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_many_async(queue, cache, NULL, 1, NULL, NULL, NULL, &error));
    FAILS(wtcache_get_many_async(queue, cache, &key, 1, &cached, NULL, &many, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    FAILS(wtcache_get_async(queue, cache, "k", 1, &sizeless, NULL, &read, &error), WTCACHE_ERR_ARGUMENT, "struct_size");
    FAILS(wtcache_put_async(queue, cache, "k", 1, "v", 1, NULL, &sizeless, NULL, &put, &error), WTCACHE_ERR_ARGUMENT, "struct_size");
    FAILS(wtcache_delete_async(queue, cache, "k", 1, NULL, &sizeless, NULL, &removal, &error), WTCACHE_ERR_ARGUMENT, "struct_size");
    CHECK(read == 0 && many == 0 && put == 0 && removal == 0);
    NULL_IS_REFUSED(wtcache_put_async(NULL, cache, "k", 1, "v", 1, NULL, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put_async(queue, NULL, "k", 1, "v", 1, NULL, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put_async(queue, cache, NULL, 1, "v", 1, NULL, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put_async(queue, cache, "k", 1, NULL, 1, NULL, NULL, NULL, NULL, &error));
    FAILS(wtcache_put_async(queue, cache, "k", 1, "v", 1, &nothing, NULL, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "expect.kind");
    NULL_IS_REFUSED(wtcache_delete_async(NULL, cache, "k", 1, NULL, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete_async(queue, NULL, "k", 1, NULL, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete_async(queue, cache, NULL, 1, NULL, NULL, NULL, NULL, &error));
    FAILS(wtcache_delete_async(queue, cache, "k", 1, &nothing, NULL, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "expect.kind");
    wtcache_transaction *transaction = NULL;
    SUCCEEDS(wtcache_transaction_new(cache, &transaction, &error));
    NULL_IS_REFUSED(wtcache_transaction_async(NULL, transaction, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_transaction_async(queue, NULL, NULL, NULL, &error));
    wtcache_transaction_free(transaction);
    SUCCEEDS(wtcache_put_optimistic(cache, "k", 1, "v", 1, NULL, &pending, &error));
    NULL_IS_REFUSED(wtcache_pending_async(NULL, pending, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_pending_async(queue, NULL, NULL, NULL, &error));
    SUCCEEDS(wtcache_pending_wait(pending, 60000, NULL, &error));
    wtcache_pending_free(pending);
    CHECK(wtcache_completion_id(NULL) == 0 && wtcache_completion_token(NULL) == NULL);
    CHECK(wtcache_completion_status(NULL) == WTCACHE_OK && wtcache_completion_entry(NULL) == NULL);
    CHECK(wtcache_completion_error(NULL) == NULL && wtcache_completion_results(NULL) == NULL);
    CHECK(wtcache_completion_transacted(NULL) == NULL);
    CHECK(!readable(queue, 0));
    wtcache_completion_free(NULL);
    wtcache_queue_free(NULL);
    wtcache_queue_free(queue);
    free_shelf(cache, &self);
}

const test_case queue_cases[] = {
    {"calls_complete_in_a_queue", calls_complete_in_a_queue},
    {"writes_of_a_key_keep_their_order", writes_of_a_key_keep_their_order},
    {"a_queue_has_bounds", a_queue_has_bounds},
    {"a_pending_write_completes_in_a_queue", a_pending_write_completes_in_a_queue},
    {"nulls_of_queues", nulls_of_queues},
    {NULL, NULL},
};
