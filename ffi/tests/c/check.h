/* What the C suite is written with: checks, and a source in memory whose keys say how it behaves. */
#ifndef CHECK_H
#define CHECK_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wtcache.h>

#define CHECK(holds)                                                                \
    do {                                                                            \
        if (!(holds)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #holds);     \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

#define BYTES(text) (text), strlen(text)

/* A status, and that the error, if there is one, has the same status and a message with this in it. Frees the error. */
static inline void check_error(int line, int32_t status, wtcache_error **error, int32_t wanted, const char *message)
{
    const char *told = wtcache_error_message(*error);
    if (status != wanted || wtcache_error_status(*error) != wanted || strstr(told, message) == NULL
        || strlen(told) != wtcache_error_message_len(*error)) {
        fprintf(stderr, "line %d: status %d (wanted %d), message \"%s\" (wanted \"%s\")\n", line, (int)status,
                (int)wanted, told, message);
        exit(1);
    }
    wtcache_error_free(*error);
    *error = NULL;
}

#define FAILS(call, wanted, message) check_error(__LINE__, (call), &error, (wanted), (message))
#define SUCCEEDS(call)                                                                                      \
    do {                                                                                                    \
        int32_t status_ = (call);                                                                           \
        if (status_ != WTCACHE_OK || error != NULL) {                                                       \
            fprintf(stderr, "line %d: status %d: %s\n", __LINE__, (int)status_, wtcache_error_message(error)); \
            exit(1);                                                                                        \
        }                                                                                                   \
    } while (0)

/* Waits until another thread, which is about to, has brought a count to `wanted`; it never gets beyond. */
static inline void wait_for(int *count, int wanted)
{
    for (int i = 0; __atomic_load_n(count, __ATOMIC_SEQ_CST) < wanted; i++) {
        CHECK(i < 60000);
        usleep(1000);
    }
    CHECK(__atomic_load_n(count, __ATOMIC_SEQ_CST) == wanted);
}

static inline int readable(const wtcache_queue *queue, int timeout_ms)
{
    struct pollfd polled = {wtcache_queue_descriptor(queue), POLLIN, 0};
    CHECK(polled.fd >= 0);
    return poll(&polled, 1, timeout_ms) == 1 && (polled.revents & POLLIN) != 0;
}

/* The next completion, which is waited for. */
static inline wtcache_completion *next_of(const wtcache_queue *queue)
{
    wtcache_completion *completion = NULL;
    CHECK(readable(queue, 60000));
    CHECK(wtcache_queue_next(queue, &completion, NULL) == WTCACHE_OK);
    return completion;
}

/* A case of the suite. The cases of a file end with one that has no name. */
typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

#define NULL_IS_REFUSED(call) FAILS(call, WTCACHE_ERR_ARGUMENT, "NULL")

#define RECORDS 32

/* A source in memory. What a key begins with says what is done about it; see `answer`. */
typedef struct shelf {
    pthread_mutex_t lock;
    struct {
        char key[32];
        size_t key_len;
        char value[64];
        int revision;
    } records[RECORDS];
    int gets, puts, removes;
    int destroyed;
    int released;           /* owned values and causes given back */
    int32_t second;         /* what a second reply was told */
    wtcache_reply *kept;    /* of a call that was not answered */
    wtcache_cache *cache;   /* for a source that uses its own cache */
    int32_t nested;         /* what a nested call was told */
    char idempotency_key[40];
    pthread_t later;
    int has_later;
    int failing;            /* reads fail */
    int flaky;              /* answers of writes of flaky keys that were lost */
    int gate;               /* gated writes may go on */
    int at_gate;            /* gated writes that came to the gate */
    pthread_cond_t moved;
} shelf;

static inline int starts(const wtcache_request *request, const char *prefix)
{
    return request->key_len >= strlen(prefix) && memcmp(request->key, prefix, strlen(prefix)) == 0;
}

static inline void release(void *owner)
{
    shelf *self = owner;
    __atomic_add_fetch(&self->released, 1, __ATOMIC_SEQ_CST);
}

static inline void shelf_destroy(void *user_data)
{
    __atomic_add_fetch(&((shelf *)user_data)->destroyed, 1, __ATOMIC_SEQ_CST);
}

static inline int shelf_find(shelf *self, const void *key, size_t len)
{
    for (int i = 0; i < RECORDS; i++) {
        if (self->records[i].revision > 0 && self->records[i].key_len == len
            && memcmp(self->records[i].key, key, len) == 0) {
            return i;
        }
    }
    return -1;
}

static inline void shelf_set(shelf *self, const void *key, size_t key_len, const void *value, size_t value_len)
{
    int at = shelf_find(self, key, key_len);
    for (int i = 0; at < 0 && i < RECORDS; i++) {
        if (self->records[i].revision == 0) at = i;
    }
    CHECK(at >= 0 && key_len < 32 && value_len < 64);
    memset(self->records[at].key, 0, 32);
    memcpy(self->records[at].key, key, key_len);
    self->records[at].key_len = key_len;
    memset(self->records[at].value, 0, 64);
    if (value_len > 0) memcpy(self->records[at].value, value, value_len);
    self->records[at].revision++;
}

static inline int32_t reply_failure(shelf *self, wtcache_reply *reply, int32_t verdict, const char *message)
{
    wtcache_failure failure;
    memset(&failure, 0, sizeof failure);
    failure.struct_size = sizeof failure;
    failure.verdict = verdict;
    failure.code = 418;
    failure.retryable = 1;
    failure.retry_after_ms = 250;
    failure.message = message;
    failure.message_len = strlen(message);
    failure.cause = self;
    failure.release_cause = release;
    return wtcache_reply_error(reply, &failure, NULL);
}

/* What keys do that begin so; 0 for all others. */
static inline int behaves(shelf *self, const wtcache_request *request, wtcache_reply *reply)
{
    if (starts(request, "never")) {
        self->kept = reply;
        return 1;
    }
    if (starts(request, "unknown")) return reply_failure(self, reply, WTCACHE_VERDICT_UNKNOWN, "nobody knows") == WTCACHE_OK;
    if (starts(request, "refused")) return reply_failure(self, reply, WTCACHE_VERDICT_REJECTED, "refused here") == WTCACHE_OK;
    if (starts(request, "conflict")) return reply_failure(self, reply, WTCACHE_VERDICT_CONFLICT, "changed there") == WTCACHE_OK;
    return 0;
}

static inline void reply_record(shelf *self, int at, wtcache_reply *reply, int owned)
{
    char version[16];
    wtcache_record record;
    memset(&record, 0, sizeof record);
    record.struct_size = sizeof record;
    record.version = version;
    record.version_len = (size_t)snprintf(version, sizeof version, "r%d", self->records[at].revision);
    if (strncmp(self->records[at].key, "unkept", 6) == 0) record.lifetime_ms = WTCACHE_LIFETIME_NOT_KEPT;
    if (strncmp(self->records[at].key, "kept", 4) == 0) record.lifetime_ms = 3600000;
    /* Tagged records have their value for a tag. */
    wtcache_bytes tag = {BYTES(self->records[at].value)};
    if (strncmp(self->records[at].key, "tagged", 6) == 0) {
        record.tags = &tag;
        record.tag_count = 1;
    }
    if (owned) {
        CHECK(wtcache_reply_value_owned(reply, BYTES(self->records[at].value), release, self, &record, NULL) == WTCACHE_OK);
    } else {
        CHECK(wtcache_reply_value(reply, BYTES(self->records[at].value), &record, NULL) == WTCACHE_OK);
    }
}

typedef struct late {
    shelf *self;
    wtcache_reply *reply;
    char key[32];
} late;

static inline void *reply_later(void *argument)
{
    late *call = argument;
    pthread_mutex_lock(&call->self->lock);
    int at = shelf_find(call->self, call->key, strlen(call->key));
    if (at < 0) {
        CHECK(wtcache_reply_absent(call->reply, NULL) == WTCACHE_OK);
    } else {
        reply_record(call->self, at, call->reply, 0);
    }
    pthread_mutex_unlock(&call->self->lock);
    free(call);
    return NULL;
}

static inline void shelf_get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    shelf *self = user_data;
    pthread_mutex_lock(&self->lock);
    self->gets++;
    CHECK(request->struct_size >= sizeof *request && request->value == NULL && request->idempotency_key == NULL);
    int at = shelf_find(self, request->key, request->key_len);
    if (starts(request, "later") || starts(request, "put-later")) {
        late *call = calloc(1, sizeof *call);
        call->self = self;
        call->reply = reply;
        memcpy(call->key, request->key, request->key_len);
        CHECK(pthread_create(&self->later, NULL, reply_later, call) == 0);
        self->has_later = 1;
    } else if (self->failing) {
        CHECK(reply_failure(self, reply, WTCACHE_VERDICT_UNKNOWN, "the origin is away") == WTCACHE_OK);
    } else if (!behaves(self, request, reply)) {
        if (at >= 0) {
            reply_record(self, at, reply, starts(request, "owned"));
        } else {
            CHECK(wtcache_reply_absent(reply, NULL) == WTCACHE_OK);
        }
        if (starts(request, "twice")) {
            /* A second answer is refused, and what it carried is given back. */
            self->second = wtcache_reply_value_owned(reply, "x", 1, release, self, NULL, NULL);
        }
    }
    pthread_mutex_unlock(&self->lock);
}

static inline void shelf_put(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    shelf *self = user_data;
    if (starts(request, "nested")) {
        /* A write of the same key from inside its own write would wait for itself. */
        wtcache_entry *entry = NULL;
        self->nested = wtcache_put(self->cache, request->key, request->key_len, "x", 1, NULL, NULL, NULL);
        CHECK(wtcache_get(self->cache, request->key, request->key_len, NULL, &entry, NULL) == WTCACHE_NOT_FOUND);
        CHECK(wtcache_reply_existing(reply, &entry, NULL) == WTCACHE_NOT_FOUND && entry == NULL);
    }
    pthread_mutex_lock(&self->lock);
    self->puts++;
    CHECK(request->value != NULL && request->remaining_ms > 0 && request->condition == WTCACHE_CONDITION_NONE);
    CHECK(strlen(request->idempotency_key) == 32);
    strcpy(self->idempotency_key, request->idempotency_key);
    if (starts(request, "gated")) {
        self->at_gate++;
        pthread_cond_broadcast(&self->moved);
        while (!self->gate) pthread_cond_wait(&self->moved, &self->lock);
    }
    if (starts(request, "flaky") && self->flaky++ == 0) {
        shelf_set(self, request->key, request->key_len, request->value, request->value_len);
        CHECK(reply_failure(self, reply, WTCACHE_VERDICT_UNKNOWN, "the answer was lost") == WTCACHE_OK);
    } else if (!behaves(self, request, reply)) {
        /* An answer that suits another kind of call is refused, and the call still waits. */
        CHECK(wtcache_reply_absent(reply, NULL) == WTCACHE_ERR_ARGUMENT);
        shelf_set(self, request->key, request->key_len, request->value, request->value_len);
        if (starts(request, "unseen")) {
            CHECK(wtcache_reply_applied(reply, NULL) == WTCACHE_OK);
        } else if (starts(request, "stored")) {
            CHECK(wtcache_reply_stored(reply, NULL, NULL) == WTCACHE_OK);
        } else if (starts(request, "stray")) {
            CHECK(wtcache_reply_leaves_stray(reply, NULL) == WTCACHE_OK);
            CHECK(wtcache_reply_applied(reply, NULL) == WTCACHE_OK);
        } else {
            reply_record(self, shelf_find(self, request->key, request->key_len), reply, starts(request, "owned"));
        }
    }
    pthread_mutex_unlock(&self->lock);
}

static inline void shelf_remove(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    shelf *self = user_data;
    pthread_mutex_lock(&self->lock);
    self->removes++;
    if (!behaves(self, request, reply)) {
        CHECK(wtcache_reply_value(reply, "x", 1, NULL, NULL) == WTCACHE_ERR_ARGUMENT);
        int at = shelf_find(self, request->key, request->key_len);
        if (at >= 0) self->records[at].revision = 0;
        CHECK(wtcache_reply_applied(reply, NULL) == WTCACHE_OK);
    }
    pthread_mutex_unlock(&self->lock);
}

static inline wtcache_source shelf_source(shelf *self)
{
    wtcache_source source;
    memset(self, 0, sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->moved, NULL);
    memset(&source, 0, sizeof source);
    source.struct_size = sizeof source;
    source.user_data = self;
    source.destroy = shelf_destroy;
    source.get = shelf_get;
    source.put = shelf_put;
    source.remove = shelf_remove;
    return source;
}

static inline wtcache_cache *open_with(const wtcache_config *config, shelf *self)
{
    wtcache_source source = shelf_source(self);
    wtcache_cache *cache = NULL;
    CHECK(wtcache_open_with_source(config, &source, &cache, NULL) == WTCACHE_OK);
    CHECK(cache != NULL && self->destroyed == 0);
    return cache;
}

static inline wtcache_cache *open_shelf(shelf *self)
{
    return open_with(NULL, self);
}

/*
 * Frees the last handle on a cache, and waits until its source has gone too: a thread of the cache's that settled a write, or of a queue's,
 * may hold it for a moment longer. Only then may the shelf go.
 */
static inline void free_shelf(wtcache_cache *cache, shelf *self)
{
    wtcache_cache_free(cache);
    wait_for(&self->destroyed, 1);
}

static inline void check_value(const wtcache_entry *entry, const char *wanted)
{
    size_t len = 99;
    const void *value = wtcache_entry_value(entry, &len);
    CHECK(value != NULL && len == strlen(wanted) && memcmp(value, wanted, len) == 0);
}

/* What a read of a key gives, as it is asked for; NULL: nothing. */
static inline void check_read(const wtcache_cache *cache, const char *key, int32_t mode, const char *wanted)
{
    wtcache_call call;
    wtcache_entry *entry = NULL;
    memset(&call, 0, sizeof call);
    call.struct_size = sizeof call;
    call.mode = mode;
    int32_t status = wtcache_get(cache, key, strlen(key), &call, &entry, NULL);
    CHECK(status == (wanted == NULL ? WTCACHE_NOT_FOUND : WTCACHE_OK));
    if (wanted != NULL) check_value(entry, wanted);
    wtcache_entry_free(entry);
}

static inline wtcache_stats stats_of(const wtcache_cache *cache)
{
    wtcache_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK(wtcache_get_stats(cache, &stats, NULL) == WTCACHE_OK);
    return stats;
}

/* Waits until a gated write is at the origin; lets it, and those after it, through. */
static inline void wait_at_gate(shelf *self, int writes)
{
    pthread_mutex_lock(&self->lock);
    while (self->at_gate < writes) pthread_cond_wait(&self->moved, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static inline void open_gate(shelf *self)
{
    pthread_mutex_lock(&self->lock);
    self->gate = 1;
    pthread_cond_broadcast(&self->moved);
    pthread_mutex_unlock(&self->lock);
}

#endif
