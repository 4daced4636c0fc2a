/*
 * What a read asks of its record, and for how long a source says that one may be served. No case waits for a lifetime to pass: what is to be
 * expired has expired from the start.
 */

#include <poll.h>
#include <time.h>

#include "check.h"

static wtcache_error *error = NULL;

enum { HOUR = 3600000 };

/* An origin of one value, which says of it what it is told to say. */
typedef struct teller {
    pthread_mutex_t lock;
    int gets, offered, destroyed;
    int failing, absent, unchanged;
    wtcache_record record;
    int64_t absent_ms;
} teller;

static void teller_get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    teller *self = user_data;
    pthread_mutex_lock(&self->lock);
    if (request->version != NULL) self->offered++;
    if (self->failing) {
        wtcache_failure failure = {.struct_size = sizeof failure, .verdict = WTCACHE_VERDICT_UNKNOWN};
        CHECK(wtcache_reply_error(reply, &failure, NULL) == WTCACHE_OK);
    } else if (self->absent) {
        CHECK(wtcache_reply_absent_for(reply, self->absent_ms, NULL) == WTCACHE_OK);
    } else if (self->unchanged && request->version != NULL) {
        CHECK(wtcache_reply_unchanged(reply, &self->record, NULL) == WTCACHE_OK);
    } else {
        CHECK(wtcache_reply_value(reply, "v", 1, &self->record, NULL) == WTCACHE_OK);
    }
    pthread_mutex_unlock(&self->lock);
    __atomic_add_fetch(&self->gets, 1, __ATOMIC_SEQ_CST);
}

static void teller_destroy(void *user_data)
{
    __atomic_add_fetch(&((teller *)user_data)->destroyed, 1, __ATOMIC_SEQ_CST);
}

/* Its records have a version. */
static wtcache_cache *open_keeping(teller *self, const char *json, uint64_t keep_expired_ms)
{
    memset(self, 0, sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    self->record.struct_size = sizeof self->record;
    self->record.version = "r1";
    self->record.version_len = 2;
    wtcache_source source = {.struct_size = sizeof source, .user_data = self, .destroy = teller_destroy, .get = teller_get};
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    SUCCEEDS(wtcache_config_load_json(config, BYTES(json), &error));
    SUCCEEDS(wtcache_config_set_clean_start(config, 1, &error));
    SUCCEEDS(wtcache_config_set_deadline_ms(config, 60000, &error));
    if (keep_expired_ms != UINT64_MAX) SUCCEEDS(wtcache_config_set_keep_expired_ms(config, keep_expired_ms, &error));
    SUCCEEDS(wtcache_open_with_source(config, &source, &cache, &error));
    wtcache_config_free(config);
    return cache;
}

static wtcache_cache *open_teller(teller *self, const char *json)
{
    return open_keeping(self, json, UINT64_MAX);
}

static void free_teller(wtcache_cache *cache, teller *self)
{
    wtcache_cache_free(cache);
    wait_for(&self->destroyed, 1);
}

/* What a record has that is loaded from now on. */
static void tells(teller *self, int64_t lifetime_ms, int64_t while_revalidate_ms, int64_t if_error_ms)
{
    pthread_mutex_lock(&self->lock);
    self->record.lifetime_ms = lifetime_ms;
    self->record.while_revalidate_ms = while_revalidate_ms;
    self->record.if_error_ms = if_error_ms;
    pthread_mutex_unlock(&self->lock);
}

static int32_t read_by(const wtcache_cache *cache, wtcache_call call)
{
    wtcache_entry *entry = NULL;
    call.struct_size = sizeof call;
    int32_t status = wtcache_get(cache, "k", 1, &call, &entry, NULL);
    CHECK((entry != NULL) == (status == WTCACHE_OK));
    if (entry != NULL) check_value(entry, "v");
    wtcache_entry_free(entry);
    return status;
}

/* The status of a read with these options, which brings the loads that there were to `loads`. */
#define READS(wanted, loads, ...)                                                   \
    do {                                                                            \
        CHECK(read_by(cache, (wtcache_call){__VA_ARGS__}) == (wanted));              \
        CHECK(__atomic_load_n(&self.gets, __ATOMIC_SEQ_CST) == (loads));            \
    } while (0)

static wtcache_entry *got(const wtcache_cache *cache, int32_t flags)
{
    wtcache_entry *entry = NULL;
    wtcache_call call = {.struct_size = sizeof call, .flags = flags};
    SUCCEEDS(wtcache_get(cache, "k", 1, &call, &entry, &error));
    return entry;
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void f5_a_read_says_how_old_its_record_may_be(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_OK, 1, .max_age_ms = HOUR);
    READS(WTCACHE_OK, 2, .flags = WTCACHE_CALL_ANEW);
    READS(WTCACHE_OK, 3, .flags = WTCACHE_CALL_ANEW, .mode = WTCACHE_MODE_CONFIRMED);
    CHECK(self.offered == 2);
    READS(WTCACHE_OK, 3, .mode = WTCACHE_MODE_CACHED, .max_age_ms = HOUR);
    READS(WTCACHE_NOT_FOUND, 3, .mode = WTCACHE_MODE_CACHED, .flags = WTCACHE_CALL_ANEW);

    /* An entry knows its age; what confirms it makes it young. */
    wtcache_entry *entry = got(cache, 0);
    for (int i = 0; wtcache_entry_age_ms(entry, cache) < 20; i++) {
        CHECK(i < 60000);
        usleep(1000);
    }
    READS(WTCACHE_NOT_FOUND, 3, .mode = WTCACHE_MODE_CACHED, .max_age_ms = 10);
    self.unchanged = 1;
    uint64_t before = nanoseconds();
    READS(WTCACHE_OK, 4, .max_age_ms = 10);
    CHECK(wtcache_entry_age_ms(entry, cache) <= (nanoseconds() - before) / 1000000 + 1);
    wtcache_entry_free(entry);
    CHECK(wtcache_entry_age_ms(NULL, cache) == 0 && wtcache_entry_age_ms(NULL, NULL) == 0);
    free_teller(cache, &self);
}

static void f5_a_read_says_how_long_its_record_is_fresh(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    tells(&self, HOUR, 0, 0);
    READS(WTCACHE_OK, 1, .min_fresh_ms = 2 * HOUR);
    READS(WTCACHE_OK, 1, .min_fresh_ms = HOUR / 2);
    READS(WTCACHE_NOT_FOUND, 1, .mode = WTCACHE_MODE_CACHED, .min_fresh_ms = 2 * HOUR);
    READS(WTCACHE_OK, 2, .min_fresh_ms = 2 * HOUR);
    free_teller(cache, &self);
}

static void f5_what_a_read_loads_may_be_for_it_alone(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    READS(WTCACHE_OK, 1, .flags = WTCACHE_CALL_NOT_KEPT);
    READS(WTCACHE_OK, 2, .flags = WTCACHE_CALL_NOT_KEPT);
    READS(WTCACHE_OK, 3, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_OK, 3, .flags = WTCACHE_CALL_NOT_KEPT);
    READS(WTCACHE_OK, 4, .flags = WTCACHE_CALL_NOT_KEPT | WTCACHE_CALL_ANEW);
    READS(WTCACHE_NOT_FOUND, 4, .mode = WTCACHE_MODE_CACHED);
    free_teller(cache, &self);
}

static wtcache_completion *completed(wtcache_queue *queue)
{
    wtcache_completion *completion = NULL;
    struct pollfd polled = {.fd = wtcache_queue_descriptor(queue), .events = POLLIN};
    CHECK(poll(&polled, 1, 60000) == 1);
    SUCCEEDS(wtcache_queue_next(queue, &completion, &error));
    CHECK(wtcache_completion_status(completion) == WTCACHE_OK);
    return completion;
}

static void f5_every_kind_of_read_may_ask(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    wtcache_call anew = {.struct_size = sizeof anew, .flags = WTCACHE_CALL_ANEW};
    wtcache_bytes keys[] = {{"k", 1}, {"l", 1}};
    char buffer[4];
    size_t len;
    for (int i = 1; i <= 2; i++) {
        SUCCEEDS(wtcache_get_into(cache, "k", 1, &anew, buffer, sizeof buffer, &len, &error));
        CHECK(self.gets == i);
    }
    wtcache_results *results = NULL;
    for (int i = 1; i <= 2; i++) {
        SUCCEEDS(wtcache_get_many(cache, keys, 2, &anew, &results, &error));
        CHECK(wtcache_results_status(results, 0) == WTCACHE_OK && wtcache_results_status(results, 1) == WTCACHE_OK);
        CHECK(self.gets == 2 + 2 * i);
        wtcache_results_free(results);
    }
    wtcache_queue *queue = NULL;
    SUCCEEDS(wtcache_queue_new(1, 10, &queue, &error));
    SUCCEEDS(wtcache_get_async(queue, cache, "k", 1, &anew, NULL, NULL, &error));
    wtcache_completion_free(completed(queue));
    CHECK(self.gets == 7);
    SUCCEEDS(wtcache_get_many_async(queue, cache, keys, 2, &anew, NULL, NULL, &error));
    wtcache_completion_free(completed(queue));
    CHECK(self.gets == 9);
    wtcache_queue_free(queue);
    free_teller(cache, &self);
}

static void f2_a_read_says_how_stale_its_record_may_be(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, 0);
    READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_NOT_FOUND, 1, .mode = WTCACHE_MODE_CACHED);
    READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_CACHED, .max_stale_ms = HOUR);
    READS(WTCACHE_NOT_FOUND, 1, .mode = WTCACHE_MODE_CACHED, .max_stale_ms = WTCACHE_WINDOW_NONE);
    READS(WTCACHE_OK, 1, .max_stale_ms = HOUR);
    READS(WTCACHE_OK, 2, .max_stale_ms = WTCACHE_WINDOW_NONE);
    CHECK(self.offered == 1);

    /* One without a version is kept only for a window. */
    self.record.version = NULL;
    self.record.version_len = 0;
    READS(WTCACHE_OK, 3, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_NOT_FOUND, 3, .mode = WTCACHE_MODE_CACHED, .max_stale_ms = HOUR);
    tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, HOUR);
    READS(WTCACHE_OK, 4, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_OK, 4, .mode = WTCACHE_MODE_CACHED, .max_stale_ms = HOUR);
    free_teller(cache, &self);
}

static void f2_a_record_says_how_stale_it_may_be(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    tells(&self, WTCACHE_LIFETIME_EXPIRED, HOUR, 0);
    READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
    /* Served stale, and refreshed in the background. */
    wtcache_entry *entry = got(cache, 0);
    CHECK(wtcache_entry_remaining_ms(entry, cache) == 0);
    wtcache_entry_free(entry);
    wait_for(&self.gets, 2);
    /* So by a queue, whatever the call says of it. */
    wtcache_queue *queue = NULL;
    wtcache_call stale = {.struct_size = sizeof stale, .max_stale_ms = HOUR};
    SUCCEEDS(wtcache_queue_new(1, 10, &queue, &error));
    SUCCEEDS(wtcache_invalidate(cache, "k", 1, &error));
    READS(WTCACHE_OK, 3, .mode = WTCACHE_MODE_DEFAULT);
    SUCCEEDS(wtcache_get_async(queue, cache, "k", 1, &stale, NULL, NULL, &error));
    wtcache_completion *completion = completed(queue);
    CHECK(wtcache_entry_stale_ms(wtcache_completion_entry(completion), cache) > 0);
    wtcache_completion_free(completion);
    wait_for(&self.gets, 4);
    wtcache_queue_free(queue);
    SUCCEEDS(wtcache_invalidate(cache, "k", 1, &error));
    READS(WTCACHE_OK, 5, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_OK, 6, .max_stale_ms = WTCACHE_WINDOW_NONE);

    /* What it forbids, no call allows. */
    tells(&self, WTCACHE_LIFETIME_EXPIRED, WTCACHE_WINDOW_NONE, 0);
    READS(WTCACHE_OK, 7, .flags = WTCACHE_CALL_ANEW);
    READS(WTCACHE_OK, 8, .max_stale_ms = HOUR);
    free_teller(cache, &self);
}

/* By the setter, and in JSON: what has expired is offered to the origin, and stands in for an error, for so long. */
static void f2_what_has_expired_is_kept_for_as_long_as_the_options_say(void)
{
    for (int by_json = 0; by_json <= 1; by_json++) {
        teller self;
        wtcache_cache *cache = by_json ? open_teller(&self, "{\"keep_expired_ms\": 3600000}") : open_keeping(&self, "{}", HOUR);
        tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, HOUR);
        READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
        READS(WTCACHE_OK, 2, .mode = WTCACHE_MODE_DEFAULT);
        CHECK(self.offered == 1);
        self.failing = 1;
        READS(WTCACHE_OK, 3, .mode = WTCACHE_MODE_DEFAULT);
        free_teller(cache, &self);

        cache = by_json ? open_teller(&self, "{\"keep_expired_ms\": 0}") : open_keeping(&self, "{}", 0);
        tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, HOUR);
        READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
        READS(WTCACHE_OK, 2, .mode = WTCACHE_MODE_DEFAULT);
        CHECK(self.offered == 0);
        self.failing = 1;
        READS(WTCACHE_ERR_SOURCE, 3, .mode = WTCACHE_MODE_DEFAULT);
        free_teller(cache, &self);
    }
}

static void f2_a_record_may_stand_in_for_an_error(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, 0);
    READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
    self.failing = 1;
    READS(WTCACHE_ERR_SOURCE, 2, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_OK, 3, .stale_if_error_ms = HOUR);
    READS(WTCACHE_ERR_SOURCE, 4, .stale_if_error_ms = WTCACHE_WINDOW_NONE);

    self.failing = 0;
    tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, HOUR);
    READS(WTCACHE_OK, 5, .mode = WTCACHE_MODE_DEFAULT);
    self.failing = 1;
    READS(WTCACHE_OK, 6, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_ERR_SOURCE, 7, .stale_if_error_ms = WTCACHE_WINDOW_NONE);

    self.failing = 0;
    tells(&self, WTCACHE_LIFETIME_EXPIRED, 0, WTCACHE_WINDOW_NONE);
    READS(WTCACHE_OK, 8, .mode = WTCACHE_MODE_DEFAULT);
    self.failing = 1;
    READS(WTCACHE_ERR_SOURCE, 9, .stale_if_error_ms = HOUR);
    free_teller(cache, &self);
}

static void f1_what_is_unchanged_may_live_as_before(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    tells(&self, HOUR, 0, HOUR);
    READS(WTCACHE_OK, 1, .mode = WTCACHE_MODE_DEFAULT);
    self.unchanged = 1;
    self.record.age_ms = HOUR / 4;
    tells(&self, WTCACHE_LIFETIME_AS_BEFORE, 0, 0);
    wtcache_entry *entry = got(cache, WTCACHE_CALL_ANEW);
    CHECK(self.offered == 1);
    CHECK(wtcache_entry_remaining_ms(entry, cache) <= HOUR * 3 / 4 && wtcache_entry_remaining_ms(entry, cache) > HOUR / 2);
    /* It has its window still. */
    self.failing = 1;
    READS(WTCACHE_OK, 3, .min_fresh_ms = HOUR);
    self.failing = 0;
    self.record.age_ms = 0;
    tells(&self, HOUR, 0, 0);
    READS(WTCACHE_OK, 4, .flags = WTCACHE_CALL_ANEW);
    CHECK(wtcache_entry_remaining_ms(entry, cache) > HOUR * 3 / 4);
    self.failing = 1;
    READS(WTCACHE_ERR_SOURCE, 5, .min_fresh_ms = 2 * HOUR);
    self.failing = 0;
    tells(&self, WTCACHE_LIFETIME_DEFAULT, 0, 0);
    READS(WTCACHE_OK, 6, .flags = WTCACHE_CALL_ANEW);
    CHECK(wtcache_entry_remaining_ms(entry, cache) == UINT64_MAX);
    wtcache_entry_free(entry);
    free_teller(cache, &self);
}

static void f1_an_absence_holds_for_as_long_as_the_source_says(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{\"negative_lifetime_ms\": 3600000}");
    self.absent = 1;
    self.absent_ms = WTCACHE_LIFETIME_NOT_KEPT;
    READS(WTCACHE_NOT_FOUND, 1, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_NOT_FOUND, 2, .mode = WTCACHE_MODE_DEFAULT);
    self.absent_ms = HOUR / 2;
    READS(WTCACHE_NOT_FOUND, 3, .mode = WTCACHE_MODE_DEFAULT);
    READS(WTCACHE_NOT_FOUND, 3, .min_fresh_ms = HOUR / 4);
    READS(WTCACHE_NOT_FOUND, 4, .min_fresh_ms = HOUR / 4 * 3);
    self.absent_ms = WTCACHE_LIFETIME_DEFAULT;
    READS(WTCACHE_NOT_FOUND, 5, .flags = WTCACHE_CALL_ANEW);
    READS(WTCACHE_NOT_FOUND, 5, .min_fresh_ms = HOUR / 4 * 3);
    /* No longer than the configuration says. */
    self.absent_ms = 4 * HOUR;
    READS(WTCACHE_NOT_FOUND, 6, .flags = WTCACHE_CALL_ANEW);
    READS(WTCACHE_NOT_FOUND, 7, .min_fresh_ms = 2 * HOUR);
    free_teller(cache, &self);
}

static void calls_that_contradict_themselves(void)
{
    teller self;
    wtcache_cache *cache = open_teller(&self, "{}");
    wtcache_entry *entry = NULL;
    wtcache_permit *permit = NULL;
    wtcache_results *results = NULL;
    wtcache_bytes key = {"k", 1};
    struct {
        wtcache_call call;
        const char *message;
    } of_reads[] = {
        {{.flags = WTCACHE_CALL_ANEW}, "call.flags is of a read only"},
        {{.flags = WTCACHE_CALL_NOT_KEPT}, "call.flags is of a read only"},
        {{.max_age_ms = 1}, "call.max_age_ms is of a read only"},
        {{.min_fresh_ms = 1}, "call.min_fresh_ms is of a read only"},
        {{.max_stale_ms = 1}, "call.max_stale_ms is of a read only"},
        {{.stale_if_error_ms = WTCACHE_WINDOW_NONE}, "call.stale_if_error_ms is of a read only"},
    }, wrong[] = {
        {{.flags = 4}, "call.flags has 0x4"},
        {{.flags = WTCACHE_CALL_ANEW, .max_age_ms = 1}, "call.max_age_ms contradicts WTCACHE_CALL_ANEW"},
        {{.max_stale_ms = -2}, "call.max_stale_ms is -2"},
        {{.stale_if_error_ms = -2}, "call.stale_if_error_ms is -2"},
    };
    for (size_t i = 0; i < sizeof of_reads / sizeof *of_reads; i++) {
        wtcache_call *call = &of_reads[i].call;
        const char *message = of_reads[i].message;
        call->struct_size = sizeof *call;
        FAILS(wtcache_put(cache, "k", 1, "v", 1, call, NULL, &error), WTCACHE_ERR_ARGUMENT, message);
        FAILS(wtcache_delete(cache, "k", 1, call, &error), WTCACHE_ERR_ARGUMENT, message);
        FAILS(wtcache_put_many(cache, &key, &key, 1, call, &results, &error), WTCACHE_ERR_ARGUMENT, message);
        FAILS(wtcache_prepare(cache, "k", 1, call, &permit, &error), WTCACHE_ERR_ARGUMENT, message);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wtcache_call *call = &wrong[i].call;
        call->struct_size = sizeof *call;
        FAILS(wtcache_get(cache, "k", 1, call, &entry, &error), WTCACHE_ERR_ARGUMENT, wrong[i].message);
        FAILS(wtcache_get_many(cache, &key, 1, call, &results, &error), WTCACHE_ERR_ARGUMENT, wrong[i].message);
    }
    CHECK(self.gets == 0);
    free_teller(cache, &self);
}

static void records_that_contradict_themselves(void)
{
    /* Nobody waits for it; but what is wrong with the answer is told first. */
    wtcache_reply *stranger = (wtcache_reply *)&error;
    struct {
        wtcache_record record;
        const char *message;
    } wrong[] = {
        {{.lifetime_ms = WTCACHE_LIFETIME_AS_BEFORE, .while_revalidate_ms = 1}, "record.while_revalidate_ms contradicts record.lifetime_ms"},
        {{.lifetime_ms = WTCACHE_LIFETIME_AS_BEFORE, .if_error_ms = 1}, "record.if_error_ms contradicts record.lifetime_ms"},
        {{.lifetime_ms = WTCACHE_LIFETIME_NOT_KEPT, .if_error_ms = 1}, "record.if_error_ms contradicts record.lifetime_ms"},
        {{.age_ms = 1}, "record.age_ms is of WTCACHE_LIFETIME_AS_BEFORE only"},
        {{.while_revalidate_ms = -2}, "record.while_revalidate_ms is -2"},
        {{.if_error_ms = -2}, "record.if_error_ms is -2"},
        {{.lifetime_ms = -4}, "record.lifetime_ms is -4"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wtcache_record *record = &wrong[i].record;
        record->struct_size = sizeof *record;
        FAILS(wtcache_reply_unchanged(stranger, record, &error), WTCACHE_ERR_ARGUMENT, wrong[i].message);
        FAILS(wtcache_reply_value(stranger, "v", 1, record, &error), WTCACHE_ERR_ARGUMENT, wrong[i].message);
    }
    wtcache_record as_before = {.struct_size = sizeof as_before, .lifetime_ms = WTCACHE_LIFETIME_AS_BEFORE, .age_ms = 1};
    const char *only = "record.lifetime_ms is WTCACHE_LIFETIME_AS_BEFORE, which is of wtcache_reply_unchanged only";
    FAILS(wtcache_reply_unchanged(stranger, &as_before, &error), WTCACHE_ERR_ANSWERED, "");
    FAILS(wtcache_reply_value(stranger, "v", 1, &as_before, &error), WTCACHE_ERR_ARGUMENT, only);
    FAILS(wtcache_reply_stored(stranger, &as_before, &error), WTCACHE_ERR_ARGUMENT, only);
    FAILS(wtcache_reply_absent_for(stranger, WTCACHE_LIFETIME_AS_BEFORE, &error), WTCACHE_ERR_ARGUMENT, "unchanged only");
    FAILS(wtcache_reply_absent_for(stranger, -4, &error), WTCACHE_ERR_ARGUMENT, "lifetime_ms is -4");
    FAILS(wtcache_reply_absent_for(stranger, 1, &error), WTCACHE_ERR_ANSWERED, "");
    NULL_IS_REFUSED(wtcache_reply_absent_for(NULL, 1, &error));
}

const test_case windows_cases[] = {
    {"f5_a_read_says_how_old_its_record_may_be", f5_a_read_says_how_old_its_record_may_be},
    {"f5_a_read_says_how_long_its_record_is_fresh", f5_a_read_says_how_long_its_record_is_fresh},
    {"f5_what_a_read_loads_may_be_for_it_alone", f5_what_a_read_loads_may_be_for_it_alone},
    {"f5_every_kind_of_read_may_ask", f5_every_kind_of_read_may_ask},
    {"f2_a_read_says_how_stale_its_record_may_be", f2_a_read_says_how_stale_its_record_may_be},
    {"f2_a_record_says_how_stale_it_may_be", f2_a_record_says_how_stale_it_may_be},
    {"f2_what_has_expired_is_kept_for_as_long_as_the_options_say", f2_what_has_expired_is_kept_for_as_long_as_the_options_say},
    {"f2_a_record_may_stand_in_for_an_error", f2_a_record_may_stand_in_for_an_error},
    {"f1_what_is_unchanged_may_live_as_before", f1_what_is_unchanged_may_live_as_before},
    {"f1_an_absence_holds_for_as_long_as_the_source_says", f1_an_absence_holds_for_as_long_as_the_source_says},
    {"calls_that_contradict_themselves", calls_that_contradict_themselves},
    {"records_that_contradict_themselves", records_that_contradict_themselves},
    {NULL, NULL},
};
