/*
 * An optimistic transaction with a payment: an organisation is shown on its new plan at once, the database is written, the bank is asked.
 * The first payment goes through. The second is refused, and what was done before it is undone.
 *
 *     cargo build --release -p libwtcache
 *     gcc -pthread -I include examples/c/billing.c target/release/libwtcache.a -lm -o billing
 *     ./billing
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wtcache.h>

/* The database: the plan of the one organisation. */
struct database {
    pthread_mutex_t lock;
    char plan[32];
    int writes;
};

static void get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    struct database *database = user_data;
    (void)request;
    pthread_mutex_lock(&database->lock);
    wtcache_reply_value(reply, database->plan, strlen(database->plan), NULL, NULL);
    pthread_mutex_unlock(&database->lock);
}

static void put(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    struct database *database = user_data;
    pthread_mutex_lock(&database->lock);
    snprintf(database->plan, sizeof database->plan, "%.*s", (int)request->value_len, (const char *)request->value);
    database->writes++;
    wtcache_reply_value(reply, request->value, request->value_len, NULL, NULL);
    pthread_mutex_unlock(&database->lock);
}

/* The bank. It answers once the program has looked at what is shown meanwhile. */
struct bank {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int looked, refuses;
};

static void pay(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    struct bank *bank = user_data;
    (void)request; /* request->idempotency_key goes with the payment, so that it is made once. */
    pthread_mutex_lock(&bank->lock);
    while (!bank->looked) pthread_cond_wait(&bank->moved, &bank->lock);
    pthread_mutex_unlock(&bank->lock);
    if (bank->refuses) {
        /* Rejected only with proof: the bank said no. A broken line would be unknown, which is what zero says. */
        wtcache_failure failure = {.struct_size = sizeof failure, .verdict = WTCACHE_VERDICT_REJECTED, .code = 402};
        failure.message = "the card was declined";
        failure.message_len = strlen(failure.message);
        wtcache_reply_error(reply, &failure, NULL);
    } else {
        wtcache_reply_value(reply, "receipt 1", 9, NULL, NULL);
    }
}

static void show(const wtcache_cache *cache, const char *when)
{
    wtcache_entry *entry = NULL;
    size_t len = 0;
    if (wtcache_get(cache, "org:1", 5, NULL, &entry, NULL) != WTCACHE_OK) exit(1);
    const char *value = wtcache_entry_value(entry, &len);
    printf("%s: %.*s%s\n", when, (int)len, value, wtcache_entry_is_pending(entry) ? " (pending)" : "");
    wtcache_entry_free(entry);
}

static void upgrade(wtcache_cache *cache, struct bank *bank, const char *from, const char *to)
{
    wtcache_transaction *transaction;
    wtcache_started *started;
    wtcache_transacted *result;
    wtcache_error *error;
    /* First the database, which is taken back if the payment is refused. */
    wtcache_step write = {.struct_size = sizeof write, .does = WTCACHE_DO_PUT, .undo = WTCACHE_DO_PUT};
    write.key = write.undo_key = (wtcache_bytes){"org:1", 5};
    write.value = (wtcache_bytes){to, strlen(to)};
    write.undo_value = (wtcache_bytes){from, strlen(from)};
    wtcache_step payment = {.struct_size = sizeof payment, .does = WTCACHE_DO_CALL, .call = pay, .user_data = bank};
    if (wtcache_transaction_new(cache, &transaction, NULL) != WTCACHE_OK) exit(1);
    if (wtcache_transaction_step(transaction, &write, NULL) != WTCACHE_OK) exit(1);
    if (wtcache_transaction_step(transaction, &payment, NULL) != WTCACHE_OK) exit(1);
    if (wtcache_transaction_invalidate_prefix(transaction, "org:1:", 6, NULL) != WTCACHE_OK) exit(1);
    if (wtcache_transaction_start(transaction, &started, NULL) != WTCACHE_OK) exit(1);
    wtcache_transaction_free(transaction);
    show(cache, "at once");

    pthread_mutex_lock(&bank->lock);
    bank->looked = 1;
    pthread_cond_broadcast(&bank->moved);
    pthread_mutex_unlock(&bank->lock);
    int32_t status = wtcache_started_wait(started, 10000, &result, &error);
    if (status == WTCACHE_OK) {
        size_t len = 0;
        const char *receipt = wtcache_transacted_value(result, 1, &len);
        printf("committed: %.*s\n", (int)len, receipt);
    } else {
        printf("%s (code %d)\n", wtcache_error_message(error), (int)wtcache_error_source_code(error));
        if (wtcache_transacted_end(result) != WTCACHE_ROLLED_BACK) exit(1);
        if (wtcache_transacted_undo(result, 0) != WTCACHE_STEP_APPLIED) exit(1);
    }
    wtcache_error_free(error);
    wtcache_transacted_free(result);
    wtcache_started_free(started);
    bank->looked = 0;
    show(cache, "in the end");
}

int main(void)
{
    struct database database = {PTHREAD_MUTEX_INITIALIZER, "free", 0};
    struct bank bank = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    wtcache_source source = {.struct_size = sizeof source, .user_data = &database, .get = get, .put = put};
    wtcache_cache *cache;
    if (wtcache_open_with_source(NULL, &source, &cache, NULL) != WTCACHE_OK) return 1;
    show(cache, "before");
    upgrade(cache, &bank, "free", "team");
    bank.refuses = 1;
    upgrade(cache, &bank, "team", "enterprise");
    printf("the database was written %d times\n", database.writes);
    wtcache_cache_free(cache);
    return 0;
}
