/* Transactions: steps, how they are undone, and what came of each. */

#include "check.h"

static wtcache_error *error = NULL;

/* Steps that do what they are told, and a diary of what was done. */
typedef struct diary {
    const char *does, *undoes;
    char told[32];
    char idempotency_key[2][40];
    int destroyed;
} diary;

static void act(const char *does, const wtcache_request *request, wtcache_reply *reply)
{
    wtcache_failure failure;
    memset(&failure, 0, sizeof failure);
    failure.struct_size = sizeof failure;
    failure.message = "the bank refused";
    failure.message_len = 16;
    CHECK(request->key == NULL && request->value == NULL && request->remaining_ms > 0);
    CHECK(strlen(request->idempotency_key) == 32);
    if (strcmp(does, "apply") == 0) {
        SUCCEEDS(wtcache_reply_applied(reply, &error));
    } else if (strcmp(does, "value") == 0) {
        SUCCEEDS(wtcache_reply_value(reply, "receipt", 7, NULL, &error));
    } else if (strcmp(does, "write") == 0) {
        wtcache_record record = {.struct_size = sizeof record, .version = "v5", .version_len = 2};
        SUCCEEDS(wtcache_reply_wrote(reply, "a", 1, WTCACHE_WROTE_VALUE, "written", 7, &record, &error));
        SUCCEEDS(wtcache_reply_wrote(reply, "b", 1, WTCACHE_WROTE_AS_SENT, NULL, 0, NULL, &error));
        SUCCEEDS(wtcache_reply_wrote(reply, "c", 1, WTCACHE_WROTE_DELETED, NULL, 0, NULL, &error));
        SUCCEEDS(wtcache_reply_wrote(reply, "d", 1, WTCACHE_WROTE_UNSEEN, NULL, 0, NULL, &error));
        /* One that was not declared. */
        SUCCEEDS(wtcache_reply_wrote(reply, "other", 5, WTCACHE_WROTE_VALUE, "x", 1, NULL, &error));
        FAILS(wtcache_reply_wrote(reply, "a", 1, 4, NULL, 0, NULL, &error), WTCACHE_ERR_ARGUMENT, "wrote is 4");
        FAILS(wtcache_reply_wrote(reply, "a", 1, WTCACHE_WROTE_DELETED, "x", 1, NULL, &error), WTCACHE_ERR_ARGUMENT, "only");
        NULL_IS_REFUSED(wtcache_reply_wrote(reply, NULL, 1, WTCACHE_WROTE_UNSEEN, NULL, 0, NULL, &error));
        NULL_IS_REFUSED(wtcache_reply_wrote(reply, "a", 1, WTCACHE_WROTE_VALUE, NULL, 1, NULL, &error));
        FAILS(wtcache_reply_leaves_stray(reply, &error), WTCACHE_ERR_ARGUMENT, "unknown");
        FAILS(wtcache_reply_absent(reply, &error), WTCACHE_ERR_ARGUMENT, "cannot be answered so");
        FAILS(wtcache_reply_stored(reply, NULL, &error), WTCACHE_ERR_ARGUMENT, "cannot be answered so");
        SUCCEEDS(wtcache_reply_applied(reply, &error));
        FAILS(wtcache_reply_wrote(reply, "a", 1, WTCACHE_WROTE_UNSEEN, NULL, 0, NULL, &error), WTCACHE_ERR_ANSWERED, "over");
    } else if (strcmp(does, "refuse") == 0) {
        failure.verdict = WTCACHE_VERDICT_REJECTED;
        SUCCEEDS(wtcache_reply_error(reply, &failure, &error));
    } else if (strcmp(does, "lose") == 0) {
        SUCCEEDS(wtcache_reply_error(reply, &failure, &error));
    }
}

static void note(diary *self, char what, const wtcache_request *request)
{
    size_t len = strlen(self->told);
    self->told[len] = what;
    strcpy(self->idempotency_key[what == '-'], request->idempotency_key);
}

static void call(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    diary *self = user_data;
    note(self, '+', request);
    act(self->does, request, reply);
}

static void undo(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    diary *self = user_data;
    note(self, '-', request);
    act(self->undoes, request, reply);
}

static void destroy(void *user_data)
{
    __atomic_add_fetch(&((diary *)user_data)->destroyed, 1, __ATOMIC_SEQ_CST);
}

static wtcache_step calling(diary *diary, int32_t undoing)
{
    wtcache_step step;
    memset(&step, 0, sizeof step);
    step.struct_size = sizeof step;
    step.does = WTCACHE_DO_CALL;
    step.undo = undoing;
    step.call = call;
    if (undoing == WTCACHE_DO_CALL) step.undo_call = undo;
    step.user_data = diary;
    step.destroy = destroy;
    return step;
}

static wtcache_step writing(int32_t does, const char *key, const char *value)
{
    wtcache_step step;
    memset(&step, 0, sizeof step);
    step.struct_size = sizeof step;
    step.does = does;
    step.key.data = key;
    step.key.len = strlen(key);
    if (value != NULL) {
        step.value.data = value;
        step.value.len = strlen(value);
    }
    return step;
}

static wtcache_transaction *begun(wtcache_cache *cache)
{
    wtcache_transaction *transaction = NULL;
    SUCCEEDS(wtcache_transaction_new(cache, &transaction, &error));
    return transaction;
}

static void a_transaction_commits(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_transacted *result = NULL;
    diary diary = {"value", "apply", "", {"", ""}, 0};
    SUCCEEDS(wtcache_put(cache, BYTES("org:1:x"), "old", 3, NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("usr:1"), "old", 3, NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("tagged"), "t", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("gone"), "old", 3, NULL, NULL, &error));
    wtcache_transaction *transaction = begun(cache);
    wtcache_step put = writing(WTCACHE_DO_PUT, "org", "team"), gone = writing(WTCACHE_DO_DELETE, "gone", NULL);
    wtcache_step pay = calling(&diary, WTCACHE_DO_NOTHING);
    SUCCEEDS(wtcache_transaction_update(transaction, BYTES("beside"), "b", 1, 3600000, &error));
    SUCCEEDS(wtcache_transaction_update(transaction, BYTES("short"), "s", 1, WTCACHE_LIFETIME_NOT_KEPT, &error));
    SUCCEEDS(wtcache_transaction_remove(transaction, BYTES("removed"), &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &put, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &gone, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &pay, &error));
    SUCCEEDS(wtcache_transaction_invalidate_pattern(transaction, BYTES("org:*"), &error));
    SUCCEEDS(wtcache_transaction_invalidate_prefix(transaction, BYTES("usr"), &error));
    SUCCEEDS(wtcache_transaction_invalidate_tag(transaction, BYTES("t"), &error));
    SUCCEEDS(wtcache_transaction_set_deadline_ms(transaction, 60000, &error));
    SUCCEEDS(wtcache_transaction_set_undo_deadline_ms(transaction, 60000, &error));
    SUCCEEDS(wtcache_transaction_run(transaction, &result, &error));
    CHECK(wtcache_transacted_end(result) == WTCACHE_COMMITTED && wtcache_transacted_error(result) == NULL);
    CHECK(wtcache_transacted_step_count(result) == 3 && wtcache_transacted_doubt_count(result) == 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK(wtcache_transacted_step(result, i) == WTCACHE_STEP_APPLIED);
        CHECK(wtcache_transacted_undo(result, i) == WTCACHE_STEP_NOT_RUN);
        CHECK(wtcache_transacted_step_error(result, i) == NULL && wtcache_transacted_undo_error(result, i) == NULL);
    }
    size_t len = 9;
    check_value(wtcache_transacted_entry(result, 0), "team");
    CHECK(wtcache_transacted_entry(result, 1) == NULL && wtcache_transacted_entry(result, 2) == NULL);
    CHECK(wtcache_transacted_value(result, 0, &len) == NULL && len == 0);
    CHECK(memcmp(wtcache_transacted_value(result, 2, &len), "receipt", 7) == 0 && len == 7);
    wtcache_transacted_free(result);
    check_read(cache, "org", WTCACHE_MODE_CACHED, "team");
    check_read(cache, "beside", WTCACHE_MODE_CACHED, "b");
    check_read(cache, "short", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "org:1:x", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "usr:1", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "tagged", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "gone", WTCACHE_MODE_DEFAULT, NULL);
    CHECK(self.puts == 5 && self.removes == 1 && strcmp(diary.told, "+") == 0 && diary.destroyed == 1);
    /* Once is all. */
    FAILS(wtcache_transaction_run(transaction, &result, &error), WTCACHE_ERR_STATE, "run before");
    CHECK(result == NULL);
    FAILS(wtcache_transaction_start(transaction, NULL, &error), WTCACHE_ERR_STATE, "run before");
    FAILS(wtcache_transaction_remove(transaction, "k", 1, &error), WTCACHE_ERR_STATE, "run before");
    wtcache_transaction_free(transaction);
    free_shelf(cache, &self);
}

static void a_step_says_what_it_wrote(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    diary diary = {"write", "apply", "", {"", ""}, 0};
    const char *keys[] = {"a", "b", "c", "d", "other"};
    for (int i = 0; i < 5; i++) SUCCEEDS(wtcache_put(cache, BYTES(keys[i]), "old", 3, NULL, NULL, &error));
    wtcache_transaction *transaction = begun(cache);
    wtcache_bytes declared[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}};
    wtcache_step step = calling(&diary, WTCACHE_DO_UNDECLARED);
    step.writes = declared;
    step.write_count = 5;
    step.deadline_ms = 60000;
    SUCCEEDS(wtcache_transaction_update(transaction, "b", 1, "sent", 4, WTCACHE_LIFETIME_DEFAULT, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &step, &error));
    SUCCEEDS(wtcache_transaction_run(transaction, NULL, &error));
    wtcache_transaction_free(transaction);
    check_read(cache, "a", WTCACHE_MODE_CACHED, "written");
    check_read(cache, "b", WTCACHE_MODE_CACHED, "sent");
    check_read(cache, "c", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "d", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "other", WTCACHE_MODE_CACHED, NULL);
    free_shelf(cache, &self);
}

/* A put, then a call that does not go well; `undoing`: how the put is undone. */
static int32_t put_then(wtcache_cache *cache, diary *diary, wtcache_step *put, wtcache_transacted **result)
{
    wtcache_transaction *transaction = begun(cache);
    wtcache_step pay = calling(diary, WTCACHE_DO_NOTHING);
    SUCCEEDS(wtcache_transaction_step(transaction, put, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &pay, &error));
    int32_t status = wtcache_transaction_run(transaction, result, &error);
    wtcache_transaction_free(transaction);
    CHECK(diary->destroyed == 1);
    diary->destroyed = 0;
    return status;
}

static void what_was_applied_is_undone(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_transacted *result = NULL;
    diary bank = {"refuse", "apply", "", {"", ""}, 0};
    SUCCEEDS(wtcache_put(cache, BYTES("org"), "free", 4, NULL, NULL, &error));
    wtcache_step put = writing(WTCACHE_DO_PUT, "org", "team");
    put.undo = WTCACHE_DO_PUT;
    put.undo_key = put.key;
    put.undo_value.data = "free";
    put.undo_value.len = 4;
    int32_t status = put_then(cache, &bank, &put, &result);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_NOT_APPLIED);
    FAILS(status, WTCACHE_ERR_REJECTED, "the bank refused");
    CHECK(wtcache_transacted_end(result) == WTCACHE_ROLLED_BACK);
    CHECK(wtcache_error_status(wtcache_transacted_error(result)) == WTCACHE_ERR_REJECTED);
    CHECK(wtcache_transacted_step(result, 0) == WTCACHE_STEP_APPLIED && wtcache_transacted_undo(result, 0) == WTCACHE_STEP_APPLIED);
    CHECK(wtcache_transacted_step(result, 1) == WTCACHE_STEP_REJECTED);
    CHECK(wtcache_error_status(wtcache_transacted_step_error(result, 1)) == WTCACHE_ERR_REJECTED);
    wtcache_transacted_free(result);
    CHECK(self.puts == 3);
    check_read(cache, "org", WTCACHE_MODE_DEFAULT, "free");

    /* Undone by a delete. */
    put.undo = WTCACHE_DO_DELETE;
    FAILS(put_then(cache, &bank, &put, NULL), WTCACHE_ERR_REJECTED, "the bank refused");
    check_read(cache, "org", WTCACHE_MODE_DEFAULT, NULL);

    /* Not undone: in part. */
    put.undo = WTCACHE_DO_UNDECLARED;
    status = put_then(cache, &bank, &put, &result);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_PARTIAL);
    FAILS(status, WTCACHE_ERR_PARTIAL, "the bank refused");
    CHECK(wtcache_transacted_end(result) == WTCACHE_PARTIAL && wtcache_transacted_undo(result, 0) == WTCACHE_STEP_NOT_RUN);
    wtcache_transacted_free(result);
    check_read(cache, "org", WTCACHE_MODE_DEFAULT, "team");
    /* Unless there is nothing to undo. */
    put.undo = WTCACHE_DO_NOTHING;
    FAILS(put_then(cache, &bank, &put, NULL), WTCACHE_ERR_REJECTED, "the bank refused");

    /* Nobody knows: nothing is undone. */
    bank.does = "lose";
    put.undo = WTCACHE_DO_PUT;
    status = put_then(cache, &bank, &put, &result);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "the bank refused");
    CHECK(wtcache_transacted_end(result) == WTCACHE_IN_DOUBT && wtcache_transacted_step(result, 1) == WTCACHE_STEP_UNKNOWN);
    CHECK(wtcache_error_outcome(wtcache_transacted_step_error(result, 1)) == WTCACHE_OUTCOME_IN_DOUBT);
    CHECK(wtcache_transacted_undo(result, 0) == WTCACHE_STEP_NOT_RUN);
    wtcache_transacted_free(result);
    check_read(cache, "org", WTCACHE_MODE_DEFAULT, "team");
    /* Unless that is declared. A step that gives no answer by its deadline is unknown, too. */
    bank.does = "nothing";
    put.undo_if_unknown = 1;
    wtcache_transaction *transaction = begun(cache);
    wtcache_step pay = calling(&bank, WTCACHE_DO_NOTHING);
    pay.deadline_ms = 20;
    SUCCEEDS(wtcache_transaction_step(transaction, &put, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &pay, &error));
    FAILS(wtcache_transaction_run(transaction, &result, &error), WTCACHE_ERR_IN_DOUBT, "no answer");
    wtcache_transaction_free(transaction);
    CHECK(wtcache_transacted_undo(result, 0) == WTCACHE_STEP_APPLIED);
    wtcache_transacted_free(result);
    check_read(cache, "org", WTCACHE_MODE_DEFAULT, "free");

    /* By a callback, which fails in its turn; and the key of a step that is unknown is in doubt. */
    diary first = {"apply", "refuse", "", {"", ""}, 0};
    bank.does = "lose";
    wtcache_bytes writes = {BYTES("org")};
    transaction = begun(cache);
    wtcache_step reserve = calling(&first, WTCACHE_DO_CALL);
    reserve.undo_if_unknown = 1;
    pay = calling(&bank, WTCACHE_DO_UNDECLARED);
    pay.writes = &writes;
    pay.write_count = 1;
    SUCCEEDS(wtcache_transaction_step(transaction, &reserve, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &pay, &error));
    status = wtcache_transaction_run(transaction, &result, &error);
    wtcache_doubt *doubt = wtcache_error_doubt(error), *same = wtcache_transacted_doubt(result, 0);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "the bank refused");
    wtcache_transaction_free(transaction);
    CHECK(strcmp(first.told, "+-") == 0 && strcmp(first.idempotency_key[0], first.idempotency_key[1]) != 0);
    CHECK(wtcache_transacted_undo(result, 0) == WTCACHE_STEP_REJECTED);
    CHECK(strstr(wtcache_error_message(wtcache_transacted_undo_error(result, 0)), "the bank refused") != NULL);
    CHECK(wtcache_transacted_doubt_count(result) == 1 && wtcache_transacted_doubt(result, 1) == NULL);
    CHECK(strcmp(wtcache_doubt_idempotency_key(doubt), bank.idempotency_key[0]) == 0);
    CHECK(strcmp(wtcache_doubt_idempotency_key(same), bank.idempotency_key[0]) == 0);
    wtcache_transacted_free(result);
    SUCCEEDS(wtcache_doubt_settle(doubt, WTCACHE_SETTLEMENT_NOT_APPLIED, &error));
    wtcache_doubt_free(doubt);
    wtcache_doubt_free(same);
    free_shelf(cache, &self);
}

static void a_transaction_is_shown_at_once(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_started *started = NULL;
    wtcache_transacted *result = NULL;
    wtcache_transaction *transaction = begun(cache);
    wtcache_step put = writing(WTCACHE_DO_PUT, "gated", "new");
    SUCCEEDS(wtcache_transaction_update(transaction, BYTES("beside"), "b", 1, WTCACHE_LIFETIME_DEFAULT, &error));
    SUCCEEDS(wtcache_transaction_step(transaction, &put, &error));
    SUCCEEDS(wtcache_transaction_start(transaction, &started, &error));
    wtcache_transaction_free(transaction);
    check_read(cache, "gated", WTCACHE_MODE_DEFAULT, "new");
    check_read(cache, "beside", WTCACHE_MODE_DEFAULT, "b");
    CHECK(wtcache_started_has_ended(started) == 0);
    CHECK(wtcache_started_wait(started, 1, &result, &error) == WTCACHE_PENDING && result == NULL && error == NULL);
    open_gate(&self);
    for (int again = 0; again < 2; again++) {
        SUCCEEDS(wtcache_started_wait(started, 60000, &result, &error));
        CHECK(wtcache_transacted_end(result) == WTCACHE_COMMITTED && wtcache_transacted_step_count(result) == 1);
        wtcache_transacted_free(result);
    }
    CHECK(wtcache_started_has_ended(started) == 1);
    wtcache_started_free(started);
    check_read(cache, "gated", WTCACHE_MODE_CONFIRMED, "new");

    /* What is refused leaves as it came. */
    put = writing(WTCACHE_DO_PUT, "refused", "new");
    transaction = begun(cache);
    SUCCEEDS(wtcache_transaction_step(transaction, &put, &error));
    SUCCEEDS(wtcache_transaction_start(transaction, &started, &error));
    wtcache_transaction_free(transaction);
    FAILS(wtcache_started_wait(started, 60000, NULL, &error), WTCACHE_ERR_REJECTED, "refused here");
    wtcache_started_free(started);
    SUCCEEDS(wtcache_close(cache, 0, NULL, &error));
    transaction = begun(cache);
    SUCCEEDS(wtcache_transaction_update(transaction, "k", 1, "v", 1, 0, &error));
    FAILS(wtcache_transaction_start(transaction, &started, &error), WTCACHE_ERR_CLOSED, "closed");
    CHECK(started == NULL);
    wtcache_transaction_free(transaction);
    free_shelf(cache, &self);
}

static void nulls_of_transactions(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_transaction *transaction = (wtcache_transaction *)&self;
    diary diary = {"apply", "apply", "", {"", ""}, 0};
    wtcache_bytes broken = {NULL, 1};
    NULL_IS_REFUSED(wtcache_transaction_new(NULL, &transaction, &error));
    CHECK(transaction == NULL);
    NULL_IS_REFUSED(wtcache_transaction_new(cache, NULL, &error));
    transaction = begun(cache);
    NULL_IS_REFUSED(wtcache_transaction_update(NULL, "k", 1, "v", 1, 0, &error));
    NULL_IS_REFUSED(wtcache_transaction_update(transaction, NULL, 1, "v", 1, 0, &error));
    NULL_IS_REFUSED(wtcache_transaction_update(transaction, "k", 1, NULL, 1, 0, &error));
    FAILS(wtcache_transaction_update(transaction, "k", 1, "v", 1, -4, &error), WTCACHE_ERR_ARGUMENT, "lifetime_ms is -4");
    FAILS(wtcache_transaction_update(transaction, "k", 1, "v", 1, WTCACHE_LIFETIME_AS_BEFORE, &error), WTCACHE_ERR_ARGUMENT, "unchanged only");
    NULL_IS_REFUSED(wtcache_transaction_remove(NULL, "k", 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_remove(transaction, NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_invalidate_prefix(NULL, "p", 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_invalidate_prefix(transaction, NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_invalidate_pattern(NULL, "p", 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_invalidate_pattern(transaction, NULL, 1, &error));
    FAILS(wtcache_transaction_invalidate_pattern(transaction, BYTES("a\\b"), &error), WTCACHE_ERR_ARGUMENT, "byte 1");
    NULL_IS_REFUSED(wtcache_transaction_invalidate_tag(NULL, "t", 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_invalidate_tag(transaction, NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_set_deadline_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_set_undo_deadline_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_transaction_run(NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_transaction_start(NULL, NULL, &error));

    /* A step that is refused is given back. */
    int given = 0;
    wtcache_step step = calling(&diary, 0);
    NULL_IS_REFUSED(wtcache_transaction_step(NULL, &step, &error));
    CHECK(diary.destroyed == ++given);
    NULL_IS_REFUSED(wtcache_transaction_step(transaction, NULL, &error));
#define STEP_IS_REFUSED(change, message)                                                       \
    step = calling(&diary, 0);                                                                 \
    change;                                                                                    \
    FAILS(wtcache_transaction_step(transaction, &step, &error), WTCACHE_ERR_ARGUMENT, message); \
    CHECK(diary.destroyed == ++given)
    STEP_IS_REFUSED(step.call = NULL, "step.call is NULL");
    STEP_IS_REFUSED(step.undo = WTCACHE_DO_CALL, "step.undo_call is NULL");
    STEP_IS_REFUSED(step.does = WTCACHE_DO_NOTHING, "step.does is 4");
    STEP_IS_REFUSED(step.does = 0, "step.does is 0");
    STEP_IS_REFUSED(step.undo = 5, "step.undo is 5");
    STEP_IS_REFUSED(step.undo = -1, "step.undo is -1");
    STEP_IS_REFUSED(step.undo_if_unknown = 2, "0 or 1");
    STEP_IS_REFUSED(step.write_count = 1, "step.writes is NULL");
    STEP_IS_REFUSED((step.writes = &broken, step.write_count = 1), "step.writes is NULL");
    STEP_IS_REFUSED((step.does = WTCACHE_DO_PUT, step.key = broken), "step.key is NULL");
    STEP_IS_REFUSED((step.does = WTCACHE_DO_PUT, step.value = broken), "step.value is NULL");
    STEP_IS_REFUSED((step.undo = WTCACHE_DO_PUT, step.undo_key = broken), "step.undo_key is NULL");
    STEP_IS_REFUSED((step.undo = WTCACHE_DO_PUT, step.undo_value = broken), "step.undo_value is NULL");
    wtcache_bytes key = {"k", 1};
    STEP_IS_REFUSED((step.does = WTCACHE_DO_PUT, step.writes = &key, step.write_count = 1), "WTCACHE_DO_CALL only");
    step = calling(&diary, 0);
    step.struct_size = 8;
    FAILS(wtcache_transaction_step(transaction, &step, &error), WTCACHE_ERR_ARGUMENT, "struct_size");
    CHECK(diary.destroyed == given);
    /* An older program's step ends before the deadline. */
    step.struct_size = offsetof(wtcache_step, deadline_ms);
    SUCCEEDS(wtcache_transaction_step(transaction, &step, &error));
    wtcache_transaction_free(transaction);
    CHECK(diary.destroyed == ++given && diary.told[0] == 0);

    CHECK(wtcache_transacted_end(NULL) == WTCACHE_IN_DOUBT && wtcache_transacted_error(NULL) == NULL);
    CHECK(wtcache_transacted_step_count(NULL) == 0 && wtcache_transacted_step(NULL, 0) == WTCACHE_STEP_NOT_RUN);
    CHECK(wtcache_transacted_step_error(NULL, 0) == NULL && wtcache_transacted_undo_error(NULL, 0) == NULL);
    CHECK(wtcache_transacted_undo(NULL, 0) == WTCACHE_STEP_NOT_RUN && wtcache_transacted_entry(NULL, 0) == NULL);
    CHECK(wtcache_transacted_value(NULL, 0, NULL) == NULL && wtcache_transacted_doubt_count(NULL) == 0);
    CHECK(wtcache_transacted_doubt(NULL, 0) == NULL);
    NULL_IS_REFUSED(wtcache_started_wait(NULL, 0, NULL, &error));
    CHECK(wtcache_started_has_ended(NULL) == 0);
    NULL_IS_REFUSED(wtcache_reply_wrote(NULL, "k", 1, 0, NULL, 0, NULL, &error));
    wtcache_transaction_free(NULL);
    wtcache_transacted_free(NULL);
    wtcache_started_free(NULL);
    free_shelf(cache, &self);
}

const test_case transaction_cases[] = {
    {"a_transaction_commits", a_transaction_commits},
    {"a_step_says_what_it_wrote", a_step_says_what_it_wrote},
    {"what_was_applied_is_undone", what_was_applied_is_undone},
    {"a_transaction_is_shown_at_once", a_transaction_is_shown_at_once},
    {"nulls_of_transactions", nulls_of_transactions},
    {NULL, NULL},
};
