/* The C ABI, through the header and the library alone: `suite` runs every case, `suite NAME` one. */

#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static wtcache_error *error = NULL;

static void abi(void)
{
    CHECK(wtcache_abi_version() == WTCACHE_ABI_VERSION);
    SUCCEEDS(wtcache_check_abi(WTCACHE_ABI_VERSION, &error));
    FAILS(wtcache_check_abi(WTCACHE_ABI_VERSION + 1, &error), WTCACHE_ERR_ABI, "ABI");
    CHECK(wtcache_check_abi(0, NULL) == WTCACHE_ERR_ABI);
    wtcache_python nothing = {.struct_size = sizeof nothing};
    CHECK(wtcache_python_hits(NULL) == NULL && wtcache_python_hits(&nothing) == NULL);
}

static void read_and_write(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = (wtcache_entry *)&self;
    CHECK(wtcache_get(cache, "bolts", 5, NULL, &entry, &error) == WTCACHE_NOT_FOUND && entry == NULL && error == NULL);
    SUCCEEDS(wtcache_put(cache, "bolts", 5, "seven", 5, NULL, &entry, &error));
    check_value(entry, "seven");
    wtcache_entry_free(entry);
    int gets = self.gets;
    SUCCEEDS(wtcache_get(cache, "bolts", 5, NULL, &entry, &error));
    check_value(entry, "seven");
    size_t len;
    CHECK(memcmp(wtcache_entry_key(entry, &len), "bolts", 5) == 0 && len == 5);
    CHECK(memcmp(wtcache_entry_version(entry, &len), "r1", 2) == 0 && len == 2);
    CHECK(self.gets == gets);

    char buffer[8] = "........";
    SUCCEEDS(wtcache_get_into(cache, "bolts", 5, NULL, buffer, sizeof buffer, &len, &error));
    CHECK(len == 5 && memcmp(buffer, "seven...", 8) == 0);
    memset(buffer, '.', sizeof buffer);
    CHECK(wtcache_get_into(cache, "bolts", 5, NULL, buffer, 4, &len, &error) == WTCACHE_TOO_SMALL && error == NULL);
    CHECK(len == 5 && memcmp(buffer, "........", 8) == 0);
    CHECK(wtcache_get_into(cache, "bolts", 5, NULL, NULL, 0, &len, &error) == WTCACHE_TOO_SMALL && len == 5);
    CHECK(wtcache_get_into(cache, "nuts", 4, NULL, buffer, 8, &len, &error) == WTCACHE_NOT_FOUND && len == 0);

    /* An empty value is a value. */
    wtcache_entry *empty = NULL;
    SUCCEEDS(wtcache_put(cache, "empty", 5, NULL, 0, NULL, NULL, &error));
    SUCCEEDS(wtcache_get(cache, "empty", 5, NULL, &empty, &error));
    check_value(empty, "");
    wtcache_entry_free(empty);
    SUCCEEDS(wtcache_get_into(cache, "empty", 5, NULL, NULL, 0, &len, &error));

    /* Forgotten here, not there. */
    SUCCEEDS(wtcache_invalidate(cache, "bolts", 5, &error));
    wtcache_entry *peeked = (wtcache_entry *)&self;
    CHECK(wtcache_peek(cache, "bolts", 5, &peeked, &error) == WTCACHE_NOT_FOUND && peeked == NULL);
    SUCCEEDS(wtcache_get(cache, "bolts", 5, NULL, &peeked, &error));
    wtcache_entry_free(peeked);
    SUCCEEDS(wtcache_peek(cache, "bolts", 5, &peeked, &error));
    check_value(peeked, "seven");
    wtcache_entry_free(peeked);

    SUCCEEDS(wtcache_delete(cache, "bolts", 5, NULL, &error));
    CHECK(self.removes == 1);
    CHECK(wtcache_get(cache, "bolts", 5, NULL, &peeked, &error) == WTCACHE_NOT_FOUND);

    /* A pinned value outlives all of it. */
    wtcache_entry *twin = wtcache_entry_clone(entry);
    wtcache_entry_free(entry);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);
    check_value(twin, "seven");
    wtcache_entry_free(twin);
}

static void writes_that_fail(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = (wtcache_entry *)&self;
    int32_t status = wtcache_put(cache, BYTES("refused"), "x", 1, NULL, &entry, &error);
    CHECK(entry == NULL);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_NOT_APPLIED && wtcache_error_source_code(error) == 418);
    CHECK(wtcache_error_retryable(error) == 1 && wtcache_error_retry_after_ms(error) == 250);
    CHECK(wtcache_error_cause(error) == &self && self.released == 0);
    FAILS(status, WTCACHE_ERR_REJECTED, "refused here");
    CHECK(self.released == 1);
    FAILS(wtcache_delete(cache, BYTES("conflict"), NULL, &error), WTCACHE_ERR_CONFLICT, "changed there");
    CHECK(self.released == 2);

    status = wtcache_put(cache, BYTES("unknown"), "x", 1, NULL, NULL, &error);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT);
    CHECK(wtcache_error_retry_after_ms(error) > 5000 && wtcache_error_retry_after_ms(error) <= 10000);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "nobody knows");
    wtcache_stats stats = stats_of(cache);
    CHECK(stats.in_doubt == 1 && stats.writes_rejected == 2 && stats.writes_unknown == 1 && stats.writes_open == 0);

    FAILS(wtcache_get(cache, BYTES("refused"), NULL, &entry, &error), WTCACHE_ERR_SOURCE, "refused here");
    CHECK(self.released == 4);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);
}

static void replies(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    size_t len;

    /* From another thread, after the callback returned. */
    SUCCEEDS(wtcache_put(cache, BYTES("later"), "a", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_invalidate(cache, BYTES("later"), &error));
    SUCCEEDS(wtcache_get(cache, BYTES("later"), NULL, &entry, &error));
    check_value(entry, "a");
    wtcache_entry_free(entry);
    CHECK(self.has_later && pthread_join(self.later, NULL) == 0);

    /* A second answer is refused, and what it carried is given back. */
    CHECK(wtcache_get(cache, BYTES("twice"), NULL, &entry, &error) == WTCACHE_NOT_FOUND);
    CHECK(self.second == WTCACHE_ERR_ANSWERED && self.released == 1);

    /* An owned value is given back once. */
    SUCCEEDS(wtcache_put(cache, BYTES("owned"), "b", 1, NULL, NULL, &error));
    CHECK(self.released == 2);

    /* No answer: a read ends with its deadline, a write in doubt; and the answer that comes then is refused. */
    wtcache_call call = {.struct_size = sizeof call, .deadline_ms = 20};
    int32_t status;
    do {
        /* On a busy machine the deadline may pass before the source is asked; so below. */
        status = wtcache_get(cache, BYTES("never"), &call, &entry, NULL);
        CHECK(entry == NULL && (status == WTCACHE_ERR_SOURCE || status == WTCACHE_ERR_DEADLINE));
    } while (self.kept == NULL);
    FAILS(wtcache_reply_value(self.kept, "x", 1, NULL, &error), WTCACHE_ERR_ANSWERED, "is over");
    int puts = self.puts;
    do {
        wtcache_error_free(error);
        status = wtcache_put(cache, BYTES("never"), "x", 1, &call, NULL, &error);
        CHECK(self.puts > puts || status == WTCACHE_ERR_DEADLINE);
    } while (self.puts == puts);
    FAILS(status, WTCACHE_ERR_IN_DOUBT, "no answer");
    FAILS(wtcache_reply_applied(self.kept, &error), WTCACHE_ERR_ANSWERED, "is over");
    FAILS(wtcache_reply_leaves_stray(self.kept, &error), WTCACHE_ERR_ANSWERED, "is over");
    CHECK(reply_failure(&self, self.kept, WTCACHE_VERDICT_REJECTED, "late") == WTCACHE_ERR_ANSWERED && self.released == 3);

    /* Applied and not seen: the next read asks. Stored is believed only where it is declared. */
    int gets = self.gets;
    SUCCEEDS(wtcache_put(cache, BYTES("unseen"), "c", 1, NULL, &entry, &error));
    CHECK(entry == NULL);
    SUCCEEDS(wtcache_put(cache, BYTES("stored"), "d", 1, NULL, &entry, &error));
    CHECK(entry == NULL);
    SUCCEEDS(wtcache_get_into(cache, BYTES("unseen"), NULL, (char[1]){0}, 1, &len, &error));
    SUCCEEDS(wtcache_get_into(cache, BYTES("stored"), NULL, (char[1]){0}, 1, &len, &error));
    CHECK(self.gets == gets + 2);

    /* An earlier send may still land: applied, and in doubt. */
    SUCCEEDS(wtcache_put(cache, BYTES("stray"), "e", 1, NULL, NULL, &error));
    wtcache_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    SUCCEEDS(wtcache_get_stats(cache, &stats, &error));
    CHECK(stats.in_doubt == 2);

    /* The program's own idempotency key goes out with the write. */
    call.deadline_ms = 0;
    call.idempotency_key = "0123456789abcdef";
    SUCCEEDS(wtcache_put(cache, BYTES("keyed"), "f", 1, &call, NULL, &error));
    CHECK(strcmp(self.idempotency_key, "30313233343536373839616263646566") == 0);

    /* From inside the source. */
    self.cache = cache;
    SUCCEEDS(wtcache_put(cache, BYTES("nested"), "g", 1, NULL, NULL, &error));
    CHECK(self.nested == WTCACHE_ERR_REENTRANT);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);
}

static void stored_is_believed_where_it_is_declared(void)
{
    shelf self;
    wtcache_source source = shelf_source(&self);
    source.stores_verbatim = 1;
    source.settle_window_ms = 1;
    wtcache_cache *cache = NULL;
    wtcache_entry *entry = NULL;
    SUCCEEDS(wtcache_open_with_source(NULL, &source, &cache, &error));
    SUCCEEDS(wtcache_put(cache, BYTES("stored"), "d", 1, NULL, &entry, &error));
    check_value(entry, "d");
    wtcache_entry_free(entry);
    free_shelf(cache, &self);
}

static void opening_fails(void)
{
    shelf self;
    wtcache_cache *cache = (wtcache_cache *)&self;
    wtcache_source source = shelf_source(&self);
    source.get = NULL;
    FAILS(wtcache_open_with_source(NULL, &source, &cache, &error), WTCACHE_ERR_ARGUMENT, "source.get");
    CHECK(cache == NULL && self.destroyed == 1);
    source = shelf_source(&self);
    source.stores_verbatim = 2;
    FAILS(wtcache_open_with_source(NULL, &source, &cache, &error), WTCACHE_ERR_ARGUMENT, "source.stores_verbatim");
    CHECK(self.destroyed == 1);
    source = shelf_source(&self);
    FAILS(wtcache_open_with_source(NULL, &source, NULL, &error), WTCACHE_ERR_ARGUMENT, "cache is NULL");
    CHECK(self.destroyed == 1);

    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_capacity_bytes(config, 0, &error));
    source = shelf_source(&self);
    FAILS(wtcache_open_with_source(config, &source, &cache, &error), WTCACHE_ERR_CONFIG, "capacity_bytes");
    CHECK(self.destroyed == 1);
    SUCCEEDS(wtcache_config_set_capacity_bytes(config, 1 << 20, &error));
    SUCCEEDS(wtcache_config_set_http_url(config, BYTES("http://127.0.0.1:1/{id}"), &error));
    source = shelf_source(&self);
    FAILS(wtcache_open_with_source(config, &source, &cache, &error), WTCACHE_ERR_CONFIG, "http");
    CHECK(self.destroyed == 1);
    wtcache_config_free(config);
}

static void sizes_of_structs(void)
{
    shelf self;
    wtcache_cache *cache = NULL;

    /* An older program knows no put: it is refused, not skipped. */
    wtcache_source source = shelf_source(&self);
    source.struct_size = offsetof(wtcache_source, put);
    SUCCEEDS(wtcache_open_with_source(NULL, &source, &cache, &error));
    FAILS(wtcache_put(cache, "k", 1, "v", 1, NULL, NULL, &error), WTCACHE_ERR_REJECTED, "no callback for a put");
    FAILS(wtcache_delete(cache, "k", 1, NULL, &error), WTCACHE_ERR_REJECTED, "no callback for a delete");
    CHECK(self.puts == 0);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);

    /* A newer program sends more; what it does not use is fine. */
    struct {
        wtcache_source known;
        size_t unknown;
    } newer = {shelf_source(&self), 0};
    newer.known.struct_size = sizeof newer;
    SUCCEEDS(wtcache_open_with_source(NULL, &newer.known, &cache, &error));
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);
    newer.unknown = 1;
    self.destroyed = 0;
    FAILS(wtcache_open_with_source(NULL, &newer.known, &cache, &error), WTCACHE_ERR_ARGUMENT, "does not know");
    CHECK(self.destroyed == 1);

    /* Sizes that no version has. */
    size_t sizes[] = {0, 3, sizeof(size_t), offsetof(wtcache_source, put) + 1, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        source.struct_size = sizes[i];
        FAILS(wtcache_open_with_source(NULL, &source, &cache, &error), WTCACHE_ERR_ARGUMENT, "struct_size");
    }

    /* Counts are written as far as the struct goes, and no farther. */
    cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    CHECK(wtcache_get(cache, "k", 1, NULL, &entry, &error) == WTCACHE_NOT_FOUND);
    struct {
        wtcache_stats known;
        uint64_t unknown;
        uint64_t beyond;
    } stats;
    memset(&stats, 0xee, sizeof stats);
    stats.known.struct_size = sizeof stats.known + sizeof stats.unknown;
    SUCCEEDS(wtcache_get_stats(cache, &stats.known, &error));
    CHECK(stats.known.loads == 1 && stats.unknown == 0 && stats.beyond == 0xeeeeeeeeeeeeeeee);
    CHECK(stats.known.struct_size == sizeof stats.known + sizeof stats.unknown);
    memset(&stats, 0xee, sizeof stats);
    stats.known.struct_size = offsetof(wtcache_stats, loads);
    SUCCEEDS(wtcache_get_stats(cache, &stats.known, &error));
    CHECK(stats.known.hits == 0 && stats.known.loads == 0xeeeeeeeeeeeeeeee);
    /* An older program's options end before the idempotency key, a newer one's have more. */
    wtcache_call call = {.struct_size = sizeof(size_t) * 2, .deadline_ms = 1000, .idempotency_key = (const void *)1, .mode = 99};
    CHECK(wtcache_get(cache, "k", 1, &call, &entry, &error) == WTCACHE_NOT_FOUND);
    free_shelf(cache, &self);
}

static void nulls_and_wrong_numbers(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_config *config = wtcache_config_new();
    wtcache_entry *entry = NULL;
    wtcache_stats stats;
    char *json = NULL;
    char buffer[4];
    size_t len = 9;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    NULL_IS_REFUSED(wtcache_get(NULL, "k", 1, NULL, &entry, &error));
    NULL_IS_REFUSED(wtcache_get(cache, NULL, 1, NULL, &entry, &error));
    NULL_IS_REFUSED(wtcache_get(cache, "k", 1, NULL, NULL, &error));
    CHECK(wtcache_get(NULL, NULL, 7, NULL, NULL, NULL) == WTCACHE_ERR_ARGUMENT);
    FAILS(wtcache_get(cache, "k", (size_t)-1, NULL, &entry, &error), WTCACHE_ERR_ARGUMENT, "length");
    NULL_IS_REFUSED(wtcache_get_into(NULL, "k", 1, NULL, buffer, 4, &len, &error));
    CHECK(len == 0);
    NULL_IS_REFUSED(wtcache_get_into(cache, NULL, 1, NULL, buffer, 4, &len, &error));
    NULL_IS_REFUSED(wtcache_get_into(cache, "k", 1, NULL, NULL, 4, &len, &error));
    NULL_IS_REFUSED(wtcache_get_into(cache, "k", 1, NULL, buffer, 4, NULL, &error));
    NULL_IS_REFUSED(wtcache_peek(NULL, "k", 1, &entry, &error));
    NULL_IS_REFUSED(wtcache_peek(cache, NULL, 1, &entry, &error));
    NULL_IS_REFUSED(wtcache_peek(cache, "k", 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_put(NULL, "k", 1, "v", 1, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put(cache, NULL, 1, "v", 1, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_put(cache, "k", 1, NULL, 1, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete(NULL, "k", 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_delete(cache, NULL, 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_invalidate(NULL, "k", 1, &error));
    NULL_IS_REFUSED(wtcache_invalidate(cache, NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_get_stats(NULL, &stats, &error));
    NULL_IS_REFUSED(wtcache_get_stats(cache, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_stats_json(NULL, &json, &len, &error));
    NULL_IS_REFUSED(wtcache_get_stats_json(cache, NULL, &len, &error));
    NULL_IS_REFUSED(wtcache_close(NULL, 0, NULL, &error));
    wtcache_cache *none = cache;
    NULL_IS_REFUSED(wtcache_open(NULL, &none, &error));
    CHECK(none == NULL);
    NULL_IS_REFUSED(wtcache_open(config, NULL, &error));
    NULL_IS_REFUSED(wtcache_open_with_source(config, NULL, &none, &error));
    NULL_IS_REFUSED(wtcache_config_load_json(NULL, "{}", 2, &error));
    NULL_IS_REFUSED(wtcache_config_load_json(config, NULL, 2, &error));
    NULL_IS_REFUSED(wtcache_config_set_capacity_bytes(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_lifetime_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_negative_lifetime_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_deadline_ms(NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_http_url(NULL, "u", 1, &error));
    NULL_IS_REFUSED(wtcache_config_set_http_url(config, NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_config_add_http_header(NULL, "n", 1, "v", 1, &error));
    NULL_IS_REFUSED(wtcache_config_add_http_header(config, NULL, 1, "v", 1, &error));
    NULL_IS_REFUSED(wtcache_config_add_http_header(config, "n", 1, NULL, 1, &error));
    NULL_IS_REFUSED(wtcache_reply_value(NULL, "v", 1, NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_value_owned(NULL, "v", 1, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_absent(NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_unchanged(NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_applied(NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_stored(NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_leaves_stray(NULL, &error));
    NULL_IS_REFUSED(wtcache_reply_existing(NULL, &entry, &error));
    NULL_IS_REFUSED(wtcache_reply_error(NULL, NULL, &error));
    CHECK(wtcache_entry_value(NULL, &len) == NULL && len == 0 && wtcache_entry_key(NULL, NULL) == NULL);
    CHECK(wtcache_entry_version(NULL, NULL) == NULL && wtcache_entry_clone(NULL) == NULL);
    CHECK(wtcache_cache_clone(NULL) == NULL && wtcache_close_report_count(NULL, 0) == 0);
    CHECK(wtcache_close_report_key(NULL, 0, 0, &len) == NULL);
    CHECK(wtcache_error_status(NULL) == WTCACHE_OK && wtcache_error_outcome(NULL) == 0);
    CHECK(wtcache_error_cause(NULL) == NULL && wtcache_error_source_code(NULL) == 0);
    CHECK(wtcache_error_retryable(NULL) == 0 && wtcache_error_retry_after_ms(NULL) == 0);
    wtcache_entry_free(NULL);
    wtcache_error_free(NULL);
    wtcache_config_free(NULL);
    wtcache_cache_free(NULL);
    wtcache_string_free(NULL);
    wtcache_close_report_free(NULL);

    /* Numbers that stand for nothing. A reply that nobody waits for is one too. */
    wtcache_reply *stranger = (wtcache_reply *)&self;
    FAILS(wtcache_reply_absent(stranger, &error), WTCACHE_ERR_ANSWERED, "");
    wtcache_record record = {.struct_size = sizeof record, .lifetime_ms = -4};
    FAILS(wtcache_reply_value(stranger, "v", 1, &record, &error), WTCACHE_ERR_ARGUMENT, "lifetime_ms");
    record.lifetime_ms = 0;
    record.version = "v";
    record.version_len = 65536;
    char *long_version = calloc(1, 65536);
    record.version = long_version;
    FAILS(wtcache_reply_stored(stranger, &record, &error), WTCACHE_ERR_ARGUMENT, "record.version");
    free(long_version);
    CHECK(reply_failure(&self, stranger, 3, "m") == WTCACHE_ERR_ARGUMENT && self.released == 1);
    wtcache_config_free(config);
    free_shelf(cache, &self);
}

static void configurations(void)
{
    struct {
        const char *json, *message;
    } wrong[] = {
        {"", "EOF"},
        {"[]", "an array, not an object"},
        {"{\"capacity\": 1}", "capacity: is no member"},
        {"{\"capacity_bytes\": \"1\"}", "capacity_bytes: is a string, not a whole number"},
        {"{\"capacity_bytes\": -1}", "capacity_bytes: is a number, not a whole number"},
        {"{\"deadline_ms\": 1.5}", "deadline_ms: is a number, not a whole number"},
        {"{\"deadline_ms\": 1, \"deadline_ms\": 2}", "deadline_ms: is given twice"},
        {"{\"http\": 1}", "http: is a number, not an object"},
        {"{\"http\": {\"uri\": \"\"}}", "http.uri: is no member"},
        {"{\"http\": {\"url\": true}}", "http.url: is true or false, not a string"},
        {"{\"http\": {\"headers\": {\"A\": [\"secret\"]}}}", "http.headers.A: is an array, not a string"},
        {"{\"http\": {\"headers\": {\"A\": \"1\", \"A\": \"2\"}}}", "http.headers.A: is given twice"},
        {"{\"http\": {\"freshness\": \"maybe\"}}", "http.freshness: is not \"table\" or \"origin\""},
        {"{\"http\": {\"heuristic_share\": \"10%\"}}", "http.heuristic_share: is a string, not a number"},
        {"{\"http\": {\"heuristic_longest_ms\": 0.5}}", "http.heuristic_longest_ms: is a number, not a whole number"},
        {"{\"http\": {\"last_modified\": 1}}", "http.last_modified: is a number, not true or false"},
        {"{\"http\": {\"record_at\": []}}", "http.record_at: is an array, not a string"},
        {"{\"http\": {\"record_in_array\": \"no\"}}", "http.record_in_array: is a string, not true or false"},
        {"{\"http\": {\"put_at\": 1}}", "http.put_at: is a number, not a string"},
        {"{\"http\": {\"stores_verbatim\": null}}", "http.stores_verbatim: is null, not true or false"},
        {"{\"http\": {\"batch\": 2}}", "http.batch: is a number, not an object"},
        {"{\"http\": {\"batch\": {\"urls\": 2}}}", "http.batch.urls: is no member"},
        {"{\"http\": {\"list\": []}}", "http.list: is an array, not an object"},
        {"{\"http\": {\"list\": {\"parts\": []}}}", "http.list.parts: is no member"},
        {"{\"http\": {\"list\": {\"parts_by\": \"select\"}}}", "http.list.parts_by: is a string, not an array of strings"},
        {"{\"http\": {\"list\": {\"parts_by\": [1]}}}", "http.list.parts_by: is not an array of strings"},
        {"{\"http\": {\"create\": \"/items\"}}", "http.create: is a string, not an object"},
        {"{\"http\": {\"create\": {\"key\": \"/id\"}}}", "http.create.key: is no member"},
        {"{\"http\": {\"versions\": \"growing\"}}", "http.versions: is not \"opaque\", \"number\" or \"bytes\""},
        {"{\"http\": {\"versions\": 1}}", "http.versions: is a number, not \"opaque\", \"number\" or \"bytes\""},
        {"{\"http\": {\"subscribe\": \"/c\"}}", "http.subscribe: is a string, not an object"},
        {"{\"http\": {\"subscribe\": {\"silence\": 1}}}", "http.subscribe.silence: is no member"},
        {"{\"http\": {\"subscribe\": {\"kind\": \"push\"}}}", "http.subscribe.kind: is not \"sse\" or \"poll\""},
        {"{\"http\": {\"subscribe\": {\"while_cut_off\": \"forget\"}}}", "http.subscribe.while_cut_off: is not \"serve\", or {"},
        {"{\"http\": {\"subscribe\": {\"while_cut_off\": 5}}}", "http.subscribe.while_cut_off: is a number, not \"serve\", or {"},
        {"{\"http\": {\"subscribe\": {\"while_cut_off\": {}}}}", "http.subscribe.while_cut_off: is not \"serve\", or {"},
        {"{\"http\": {\"subscribe\": {\"while_cut_off\": {\"after\": 1}}}}", "http.subscribe.while_cut_off.after: is no member"},
        {"{\"http\": {\"subscribe\": {\"form\": {\"prefix\": \"p\"}}}}", "http.subscribe.form.prefix: is no member"},
        {"{\"http\": {\"subscribe\": {\"cursor\": 1}}}", "http.subscribe.cursor: is a number, not a string"},
        {"{\"http\": {\"max_idle_age_ms\": \"15s\"}}", "http.max_idle_age_ms: is a string, not a whole number"},
        {"{\"http\": {\"retries\": 2}}", "http.retries: is a number, not an object"},
        {"{\"http\": {\"retries\": {\"reads\": 2}}}", "http.retries.reads: is no member"},
        {"{\"http\": {\"retries\": {\"cap_ms\": \"1s\"}}}", "http.retries.cap_ms: is a string, not a whole number"},
        {"{\"http\": {\"breaker\": false}}", "http.breaker: is true or false, not an object"},
        {"{\"http\": {\"breaker\": {\"window\": 1}}}", "http.breaker.window: is no member"},
        {"{\"http\": {\"compression\": \"gzip\"}}", "http.compression: is a string, not true or false"},
        {"{\"http\": {\"tls\": {\"ca\": \"x\"}}}", "http.tls.ca: is no member"},
        {"{\"http\": {\"tls\": {\"roots\": [\"x\"]}}}", "http.tls.roots: is an array, not a string"},
        {"{\"http\": {\"proxy\": \"maybe\"}}", "http.proxy: is neither \"none\", nor \"environment\", nor a URL"},
        {"{\"http\": {\"auth\": {}}}", "http.auth: holds neither bearer nor basic"},
        {"{\"http\": {\"auth\": {\"token\": \"secret\"}}}", "http.auth.token: is no member"},
        {"{\"http\": {\"auth\": {\"bearer\": \"a\", \"basic\": {\"user\": \"me\", \"password\": \"secret\"}}}}", "http.auth: holds bearer and basic"},
        {"{\"http\": {\"auth\": {\"basic\": {\"user\": \"me\"}}}}", "http.auth.basic: lacks user or password"},
        {"{\"http\": {\"auth\": {\"bearer\": {\"path\": \"x\"}}}}", "http.auth.bearer.path: is no member"},
        {"{\"http\": {\"headers\": {\"A\": {\"file\": \"x\", \"environment\": \"Y\"}}}}", "http.headers.A: is an object without one member"},
        {"{\"http\": {\"max_in_flight\": -1}}", "http.max_in_flight: is a number, not a whole number"},
        {"{\"http\": {}", "EOF"},
        {"{} x", "trailing"},
        {"{\"http\": {\"url\": \"\xff\"}}", "UTF-8"},
    };
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int32_t wanted = strcmp(wrong[i].message, "UTF-8") == 0 ? WTCACHE_ERR_ARGUMENT : WTCACHE_ERR_CONFIG;
        FAILS(wtcache_config_load_json(config, BYTES(wrong[i].json), &error), wanted, wrong[i].message);
    }
    /* What failed left nothing behind: there is no origin yet. */
    FAILS(wtcache_config_load_json(config, BYTES("{\"http\": {\"url\": \"http://h/{id}\", \"x\": 1}}"), &error), WTCACHE_ERR_CONFIG, "http.x");
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "http.url: is missing");
    SUCCEEDS(wtcache_config_set_http_url(config, BYTES("inventory"), &error));
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "http.url: ");
    SUCCEEDS(wtcache_config_set_http_url(config, BYTES("http://127.0.0.1:1/{id}"), &error));
    SUCCEEDS(wtcache_config_load_json(config, BYTES("{\"http\": {\"timeout_ms\": 0}}"), &error));
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "http.timeout_ms: ");
    SUCCEEDS(wtcache_config_load_json(config, BYTES("{\"http\": {\"timeout_ms\": 9, \"max_in_flight\": 0}}"), &error));
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "http.max_in_flight: ");
    SUCCEEDS(wtcache_config_load_json(
        config,
        BYTES("{\"http\": {\"max_in_flight\": 1, \"max_queued\": 0, \"max_idle_connections\": 2, \"idempotency_header\": \"X-Key\","
              " \"retries\": {\"loads\": 0, \"writes\": 1, \"base_ms\": 9, \"cap_ms\": 8, \"budget_percent\": 1, \"burst\": 2,"
              " \"attempt_timeout_ms\": 3}, \"breaker\": {\"window_ms\": 0, \"calls\": 5, \"failures_percent\": 9, \"open_for_ms\": 7}}}"),
        &error));
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "http.retries.cap_ms: ");
    SUCCEEDS(wtcache_config_load_json(config, BYTES("{\"http\": {\"retries\": {\"cap_ms\": 9}}}"), &error));
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "http.breaker.window_ms: ");
    static const struct {
        const char *json;
        const char *message;
    } refused[] = {
        {"{\"http\": {\"breaker\": {\"enabled\": false}, \"heuristic_share\": 1.5, \"heuristic_longest_ms\": 1}}", "http.heuristic_share: 1.5"},
        {"{\"http\": {\"heuristic_share\": 0, \"record_at\": \"data\"}}", "http.record_at: \"data\""},
        {"{\"http\": {\"record_at\": \"/data\", \"put_at\": \"/~2\"}}", "http.put_at: \"/~2\""},
        {"{\"http\": {\"put_at\": \"\", \"batch\": {\"window_ms\": 2000}}}", "http.batch.url: is missing"},
        {"{\"http\": {\"batch\": {\"url\": \"http://127.0.0.1:1/?i={ids}\"}}}", "http.batch.window_ms: 2s"},
        {"{\"http\": {\"batch\": {\"window_ms\": 2, \"body_limit_bytes\": 0}}}", "http.batch.body_limit_bytes: "},
        {"{\"http\": {\"batch\": {\"body_limit_bytes\": 9, \"separator\": \"&i=\", \"most_keys\": 0}}}", "http.batch.most_keys: 0"},
        {"{\"http\": {\"batch\": {\"most_keys\": 9, \"records_at\": \"/d\", \"key_at\": \"k\"}}}", "http.batch.key_at: \"k\""},
        {"{\"http\": {\"batch\": {\"key_at\": \"/k\", \"version_at\": \"v\"}}}", "http.batch.version_at: \"v\""},
        {"{\"http\": {\"batch\": {\"version_at\": \"/v\"}, \"put_at\": \"\", \"last_modified\": true, \"honours_preconditions\": true}}", "http.last_modified: "},
        {"{\"http\": {\"honours_preconditions\": false, \"create\": {\"key_at\": \"id\"}}}", "http.create.url: is missing"},
        {"{\"http\": {\"create\": {\"url\": \"http://h/items\"}}}", "http.create.url: it is of another"},
        {"{\"http\": {\"create\": {\"url\": \"http://127.0.0.1:1/items\"}}}", "http.create.key_at: "},
        {"{\"http\": {\"create\": {\"key_at\": \"/n/id\"}, \"list\": {\"key_at\": \"\"}}}", "http.list.url: is missing"},
        {"{\"http\": {\"list\": {\"url\": \"http://h/items\"}}}", "http.list.url: it is of another"},
        {"{\"http\": {\"list\": {\"url\": \"http://127.0.0.1:1/items\", \"body_limit_bytes\": 0}}}", "http.list.body_limit_bytes: "},
        {"{\"http\": {\"list\": {\"body_limit_bytes\": 9}}}", "http.list.key_at: "},
        {"{\"http\": {\"list\": {\"key_at\": \"/id\"}, \"subscribe\": {\"silence_ms\": 9}}}", "http.subscribe.url: is missing"},
        {"{\"http\": {\"subscribe\": {\"url\": \"http://h/c\"}}}", "http.subscribe.url: "},
        {"{\"http\": {\"subscribe\": {\"url\": \"/c\", \"resumes\": true, \"kind\": \"poll\"}}}", "http.subscribe.resumes: a poll"},
        {"{\"http\": {\"subscribe\": {\"kind\": \"sse\", \"silence_ms\": 0}}}", "http.subscribe.silence_ms: 0ns"},
        {"{\"http\": {\"subscribe\": {\"silence_ms\": 9, \"while_cut_off\": {\"forget_after_ms\": 0}}}}", "http.subscribe.while_cut_off.forget_after_ms: 0ns"},
        {"{\"http\": {\"subscribe\": {\"while_cut_off\": \"serve\", \"max_event_bytes\": 1}}}", "http.subscribe.max_event_bytes: "},
        {"{\"http\": {\"subscribe\": {\"max_event_bytes\": 2048, \"cursor\": \"since\"}}}", "http.subscribe.cursor: a stream has none"},
        {"{\"http\": {\"subscribe\": {\"kind\": \"poll\", \"resumes\": false, \"cursor\": \"a&b\"}}}", "http.subscribe.cursor: letters"},
        {"{\"http\": {\"subscribe\": {\"cursor\": \"since\", \"poll_every_ms\": 0}}}", "http.subscribe.poll_every_ms: 0ns"},
        {"{\"http\": {\"subscribe\": {\"poll_every_ms\": 9}, \"name_ttl_ms\": 86400001}}", "http.name_ttl_ms: "},
        {"{\"http\": {\"name_ttl_ms\": 0, \"max_idle_age_ms\": 86400001}}", "http.max_idle_age_ms: "},
        {"{\"http\": {\"max_idle_age_ms\": 0, \"write_max_idle_age_ms\": 86400001}}", "http.write_max_idle_age_ms: "},
        {"{\"http\": {\"write_max_idle_age_ms\": 0, \"subscribe\": {\"form\": {\"version_as\": \"\"}}}}", "http.subscribe.form.version_as: "},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        SUCCEEDS(wtcache_config_load_json(config, refused[i].json, strlen(refused[i].json), &error));
        FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, refused[i].message);
    }
    SUCCEEDS(wtcache_config_load_json(
        config, BYTES("{\"http\": {\"last_modified\": false, \"record_in_array\": true, \"subscribe\": {\"form\": {\"version_as\": \"{version}\"}}}}"), &error));
    SUCCEEDS(wtcache_config_load_json(config, BYTES("{\"http\": {\"breaker\": {\"enabled\": false}}}"), &error));
    SUCCEEDS(wtcache_config_load_json(config, BYTES("{\"http\": {\"timeout_ms\": 9}, \"deadline_ms\": 0}"), &error));
    FAILS(wtcache_open(config, &cache, &error), WTCACHE_ERR_CONFIG, "deadline_ms: ");
    SUCCEEDS(wtcache_config_set_deadline_ms(config, 500, &error));
    SUCCEEDS(wtcache_config_add_http_header(config, BYTES("Bad Name"), BYTES("secret"), &error));
    int32_t status = wtcache_open(config, &cache, &error);
    CHECK(strstr(wtcache_error_message(error), "secret") == NULL);
    FAILS(status, WTCACHE_ERR_CONFIG, "http.headers.Bad Name: ");
    CHECK(cache == NULL);
    wtcache_config_free(config);
}

/* How an origin is reached: what is wrong there is told by its member's name when the cache is opened. */
static void reached(void)
{
    static const struct {
        const char *members, *message;
    } refused[] = {
        {"\"tls\": {\"certificate\": \"/no/such/file\"}", "http.tls.key: is missing"},
        {"\"tls\": {\"key\": \"/no/such/file\"}", "http.tls.certificate: is missing"},
        {"\"tls\": {\"certificate\": \"/no/such/file\", \"key\": \"/no/such/key\"}", "http.tls.certificate: /no/such/file cannot be read"},
        {"\"tls\": {\"roots\": \"/no/such/file\"}", "http.tls.roots: /no/such/file cannot be read"},
        {"\"proxy\": \"socks5://me:secret@h\"", "http.proxy: its URL is of a proxy by socks5"},
        {"\"auth\": {\"bearer\": {\"file\": \"/no/such/file\"}}", "http.auth: /no/such/file cannot be read"},
        {"\"auth\": {\"bearer\": \"secret\\n\"}", "http.auth: the value has a line break"},
        {"\"auth\": {\"basic\": {\"user\": \"m:e\", \"password\": \"secret\"}}", "http.auth: the user has a colon"},
        {"\"headers\": {\"X\": {\"environment\": \"WTCACHE_NO_SUCH_VARIABLE\"}}", "http.headers.X: the environment has no variable"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"http\": {\"url\": \"https://127.0.0.1:1/{id}\", %s}}", refused[i].members);
        wtcache_config *config = wtcache_config_new();
        wtcache_cache *cache = NULL;
        SUCCEEDS(wtcache_config_load_json(config, json, strlen(json), &error));
        int32_t status = wtcache_open(config, &cache, &error);
        CHECK(strstr(wtcache_error_message(error), "secret") == NULL);
        FAILS(status, WTCACHE_ERR_CONFIG, refused[i].message);
        CHECK(cache == NULL);
        wtcache_config_free(config);
    }
}

static void lifetimes(void)
{
    shelf self;
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_lifetime_ms(config, 0, &error));
    SUCCEEDS(wtcache_config_set_negative_lifetime_ms(config, 0, &error));
    wtcache_source source = shelf_source(&self);
    wtcache_cache *cache = NULL;
    wtcache_entry *entry = NULL;
    SUCCEEDS(wtcache_open_with_source(config, &source, &cache, &error));
    wtcache_config_free(config);
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, NULL, NULL, &error));
    for (int i = 1; i <= 2; i++) {
        SUCCEEDS(wtcache_get(cache, "k", 1, NULL, &entry, &error));
        wtcache_entry_free(entry);
        CHECK(wtcache_get(cache, "none", 4, NULL, &entry, &error) == WTCACHE_NOT_FOUND);
        CHECK(self.gets == 2 * i);
    }

    /* What the origin says of a record counts more than the configuration. */
    int gets = self.gets;
    SUCCEEDS(wtcache_put(cache, BYTES("kept"), "v", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_get(cache, BYTES("kept"), NULL, &entry, &error));
    wtcache_entry_free(entry);
    CHECK(self.gets == gets);
    free_shelf(cache, &self);

    cache = open_shelf(&self);
    SUCCEEDS(wtcache_put(cache, BYTES("unkept"), "v", 1, NULL, NULL, &error));
    SUCCEEDS(wtcache_get(cache, BYTES("unkept"), NULL, &entry, &error));
    wtcache_entry_free(entry);
    CHECK(self.gets == 1);
    free_shelf(cache, &self);
}

static void closing(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_cache *twin = wtcache_cache_clone(cache);
    wtcache_entry *entry = NULL;
    wtcache_close_report *report = NULL;
    size_t len = 0;
    FAILS(wtcache_put(cache, BYTES("unknown"), "x", 1, NULL, NULL, &error), WTCACHE_ERR_IN_DOUBT, "nobody knows");
    SUCCEEDS(wtcache_close(cache, 1000, &report, &error));
    CHECK(wtcache_close_report_count(report, WTCACHE_CLOSE_UNFINISHED) == 0);
    CHECK(wtcache_close_report_count(report, WTCACHE_CLOSE_IN_DOUBT) == 1 && wtcache_close_report_count(report, WTCACHE_CLOSE_ROLLED_BACK) == 0);
    CHECK(wtcache_close_report_count(report, 3) == 0 && wtcache_close_report_count(report, -1) == 0);
    CHECK(memcmp(wtcache_close_report_key(report, WTCACHE_CLOSE_IN_DOUBT, 0, &len), "unknown", 7) == 0 && len == 7);
    CHECK(wtcache_close_report_key(report, WTCACHE_CLOSE_IN_DOUBT, 1, &len) == NULL && len == 0);
    wtcache_close_report_free(report);
    FAILS(wtcache_get(twin, "k", 1, NULL, &entry, &error), WTCACHE_ERR_CLOSED, "closed");
    FAILS(wtcache_put(twin, "k", 1, "v", 1, NULL, NULL, &error), WTCACHE_ERR_CLOSED, "closed");
    FAILS(wtcache_delete(twin, "k", 1, NULL, &error), WTCACHE_ERR_CLOSED, "closed");
    CHECK(wtcache_peek(twin, "k", 1, &entry, &error) == WTCACHE_NOT_FOUND);
    SUCCEEDS(wtcache_invalidate(twin, "k", 1, &error));
    SUCCEEDS(wtcache_close(twin, 0, NULL, &error));
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 0);
    wtcache_cache_free(twin);
    CHECK(self.destroyed == 1);
}

static void statistics(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, NULL, NULL, &error));
    char *json = NULL;
    size_t len = 0;
    SUCCEEDS(wtcache_get_stats_json(cache, &json, &len, &error));
    CHECK(strlen(json) == len && strstr(json, "\"writes_applied\":1") != NULL && strstr(json, "\"entries\":1") != NULL);
    wtcache_string_free(json);
    free_shelf(cache, &self);
}

static void *hammer(void *argument)
{
    wtcache_cache *cache = argument;
    for (int i = 0; i < 200; i++) {
        char key[16];
        size_t len = (size_t)snprintf(key, sizeof key, "k%d", i % 7);
        wtcache_entry *entry = NULL;
        CHECK(wtcache_get(cache, key, len, NULL, &entry, NULL) >= 0);
        wtcache_entry_free(entry);
        if (i % 10 == 0) CHECK(wtcache_put(cache, key, len, "v", 1, NULL, NULL, NULL) == WTCACHE_OK);
        if (i % 17 == 0) CHECK(wtcache_invalidate(cache, key, len, NULL) == WTCACHE_OK);
    }
    wtcache_cache_free(cache);
    return NULL;
}

static void many_threads(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, hammer, wtcache_cache_clone(cache)) == 0);
    free_shelf(cache, &self);
    for (int i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(self.destroyed == 1);
}

static void forks(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_entry *entry = NULL;
    SUCCEEDS(wtcache_put(cache, "k", 1, "v", 1, NULL, &entry, &error));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        wtcache_entry *none = NULL;
        FAILS(wtcache_get(cache, "k", 1, NULL, &none, &error), WTCACHE_ERR_FORKED, "after the fork");
        FAILS(wtcache_put(cache, "k", 1, "v", 1, NULL, NULL, &error), WTCACHE_ERR_FORKED, "after the fork");
        FAILS(wtcache_invalidate(cache, "k", 1, &error), WTCACHE_ERR_FORKED, "after the fork");
        FAILS(wtcache_close(cache, 0, NULL, &error), WTCACHE_ERR_FORKED, "after the fork");
        check_value(entry, "v");
        wtcache_cache_free(cache);
        CHECK(self.destroyed == 0);
        shelf mine;
        cache = open_shelf(&mine);
        SUCCEEDS(wtcache_put(cache, BYTES("later"), "w", 1, NULL, NULL, &error));
        wtcache_cache_free(cache);
        CHECK(mine.destroyed == 1);
        /* Not exit: a checker of leaks would count what is the parent's, and was left as it is. */
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    wtcache_entry_free(entry);
    SUCCEEDS(wtcache_get(cache, "k", 1, NULL, &entry, &error));
    wtcache_entry_free(entry);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);
}

/* In the child, a handle of the parent's is neither used nor waited for, and freeing it leaves what it holds. */
static void forks_with_every_handle(void)
{
    shelf self;
    wtcache_config *config = wtcache_config_new();
    SUCCEEDS(wtcache_config_set_deadline_ms(config, 60000, &error));
    wtcache_cache *cache = open_with(config, &self);
    wtcache_config_free(config);
    wtcache_permit *permit = NULL;
    wtcache_pending *pending = NULL;
    wtcache_queue *queue = NULL;
    wtcache_transaction *transaction = NULL, *shown = NULL;
    wtcache_started *started = NULL;
    CHECK(wtcache_put(cache, BYTES("unknown"), "v", 1, NULL, NULL, &error) == WTCACHE_ERR_IN_DOUBT);
    wtcache_doubt *doubt = wtcache_error_doubt(error);
    wtcache_error_free(error);
    error = NULL;
    SUCCEEDS(wtcache_prepare(cache, "p", 1, NULL, &permit, &error));
    SUCCEEDS(wtcache_put_optimistic(cache, BYTES("gated"), "v", 1, NULL, &pending, &error));
    SUCCEEDS(wtcache_queue_new(1, 10, &queue, &error));
    SUCCEEDS(wtcache_transaction_new(cache, &transaction, &error));
    SUCCEEDS(wtcache_transaction_new(cache, &shown, &error));
    SUCCEEDS(wtcache_transaction_update(shown, BYTES("gated"), "t", 1, 0, &error));
    SUCCEEDS(wtcache_transaction_start(shown, &started, &error));
    wtcache_transaction_free(shown);
    wait_at_gate(&self, 1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
#define FORKED(call) FAILS(call, WTCACHE_ERR_FORKED, "after the fork")
        wtcache_completion *completion = NULL;
        FORKED(wtcache_doubt_wait(doubt, 60000, &error));
        FORKED(wtcache_doubt_replay(doubt, NULL, NULL, &error));
        CHECK(wtcache_doubt_key(doubt, NULL) == NULL && wtcache_doubt_idempotency_key(doubt) == NULL);
        CHECK(wtcache_doubt_outcome(doubt) == 0 && wtcache_doubt_remaining_ms(doubt) == 0);
        FORKED(wtcache_permit_send(permit, &error));
        CHECK(wtcache_permit_remaining_ms(permit) == 0 && wtcache_permit_idempotency_key(permit) == NULL);
        FORKED(wtcache_pending_wait(pending, 60000, NULL, &error));
        FORKED(wtcache_pending_cancel(pending, &error));
        FORKED(wtcache_queue_next(queue, &completion, &error));
        FORKED(wtcache_get_async(queue, cache, "k", 1, NULL, NULL, NULL, &error));
        CHECK(wtcache_queue_descriptor(queue) == -1 && wtcache_pending_has_ended(pending) == 0);
        FORKED(wtcache_transaction_run(transaction, NULL, &error));
        FORKED(wtcache_started_wait(started, 60000, NULL, &error));
        CHECK(wtcache_started_has_ended(started) == 0 && wtcache_cache_clone(cache) == NULL);
        wtcache_doubt_free(doubt);
        wtcache_permit_free(permit);
        wtcache_pending_free(pending);
        wtcache_queue_free(queue);
        wtcache_transaction_free(transaction);
        wtcache_started_free(started);
        wtcache_cache_free(cache);
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    open_gate(&self);
    SUCCEEDS(wtcache_pending_wait(pending, 60000, NULL, &error));
    SUCCEEDS(wtcache_started_wait(started, 60000, NULL, &error));
    wtcache_doubt_free(doubt);
    wtcache_permit_free(permit);
    wtcache_pending_free(pending);
    wtcache_queue_free(queue);
    wtcache_transaction_free(transaction);
    wtcache_started_free(started);
    free_shelf(cache, &self);
}

static int stop;

static void *load_until_stopped(void *argument)
{
    for (uint32_t i = 0; !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); i++) {
        wtcache_entry *entry = NULL;
        int32_t status = wtcache_get(argument, &i, sizeof i, NULL, &entry, NULL);
        /* On a busy machine it may be late; but it is never told to be in a child. */
        CHECK(status != WTCACHE_OK && status != WTCACHE_ERR_FORKED);
    }
    return NULL;
}

/* A fork may catch other threads anywhere in the library. The child must wait for none of them. */
static void forks_while_others_are_busy(void)
{
#ifdef __SANITIZE_ADDRESS__
    /* AddressSanitizer's own allocator may be locked by another thread then, and the child waits for it for ever. */
    puts("SKIPPED under AddressSanitizer");
    return;
#endif
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, load_until_stopped, cache) == 0);
    for (int round = 0; round < 60; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(20);
            shelf mine;
            wtcache_cache *own = open_shelf(&mine);
            for (uint32_t i = 0; i < 32; i++) SUCCEEDS(wtcache_put(own, &i, sizeof i, "v", 1, NULL, NULL, &error));
            wtcache_cache_free(own);
            execlp("true", "true", (char *)NULL);
            _exit(1);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    wtcache_cache_free(cache);
    CHECK(self.destroyed == 1);
}

static const test_case cases[] = {
    {"abi", abi},
    {"read_and_write", read_and_write},
    {"writes_that_fail", writes_that_fail},
    {"replies", replies},
    {"stored_is_believed_where_it_is_declared", stored_is_believed_where_it_is_declared},
    {"opening_fails", opening_fails},
    {"sizes_of_structs", sizes_of_structs},
    {"nulls_and_wrong_numbers", nulls_and_wrong_numbers},
    {"configurations", configurations},
    {"reached", reached},
    {"lifetimes", lifetimes},
    {"closing", closing},
    {"statistics", statistics},
    {"many_threads", many_threads},
    {"forks", forks},
    {"forks_with_every_handle", forks_with_every_handle},
    {"forks_while_others_are_busy", forks_while_others_are_busy},
    {NULL, NULL},
};

/* One table a file. */
extern const test_case call_cases[], many_cases[], write_cases[], invalidate_cases[], doubt_cases[], config_cases[];
extern const test_case extract_cases[], permit_cases[], optimistic_cases[], transaction_cases[], queue_cases[], windows_cases[];
extern const test_case http_cases[];

int main(int argc, char **argv)
{
    const test_case *tables[] = {
        cases, call_cases, many_cases, write_cases, invalidate_cases, doubt_cases, config_cases,
        extract_cases, permit_cases, optimistic_cases, transaction_cases, queue_cases, windows_cases,
        http_cases,
    };
    int ran = 0;
    for (size_t table = 0; table < sizeof tables / sizeof *tables; table++) {
        for (const test_case *one = tables[table]; one->name != NULL; one++) {
            if (argc > 1 && strcmp(argv[1], one->name) != 0) continue;
            printf("%s\n", one->name);
            fflush(stdout);
            one->run();
            ran++;
        }
    }
    printf("%d cases\n", ran);
    return ran > 0 ? 0 : 2;
}
