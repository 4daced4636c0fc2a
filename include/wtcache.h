/*
 * libwtcache: a write-through cache for C. Reads come from the cache; a miss is loaded from the origin, once. A write goes to the
 * origin first; what the origin confirms can be read at once, if it refuses nothing changes, and if nobody can know whether it was
 * applied, the cache says so and asks the origin from then on.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from ffi/src by cbindgen: change the documentation there. Linking, and a first program step by step: docs/c.md.
 *
 *     #include <stdio.h>
 *     #include <string.h>
 *     #include <wtcache.h>
 *
 *     int main(void) {
 *         const char *json = "{\"lifetime_ms\": 60000, \"http\": {\"url\": \"http://127.0.0.1:9925/items/{id}\"}}";
 *         wtcache_config *config = wtcache_config_new();
 *         wtcache_cache *cache = NULL;
 *         wtcache_entry *entry = NULL;
 *         wtcache_error *error = NULL;
 *         int32_t status = wtcache_config_load_json(config, json, strlen(json), &error);
 *         if (status == WTCACHE_OK) status = wtcache_open(config, &cache, &error);
 *         if (status == WTCACHE_OK) status = wtcache_get(cache, "item-001", 8, NULL, &entry, &error);
 *         if (status == WTCACHE_OK) {
 *             size_t len;
 *             const char *value = wtcache_entry_value(entry, &len);
 *             printf("%.*s\n", (int)len, value);
 *         } else if (status == WTCACHE_NOT_FOUND) {
 *             puts("there is no such item");
 *         } else {
 *             fprintf(stderr, "%s\n", wtcache_error_message(error));
 *         }
 *         wtcache_error_free(error);
 *         wtcache_entry_free(entry);
 *         wtcache_cache_free(cache);
 *         wtcache_config_free(config);
 *         return status < 0;
 *     }
 *
 * What holds for every function:
 *
 * - It gives a status: 0 is WTCACHE_OK, positive is no error, negative is one. Codes are only ever added.
 * - `err` may be NULL. Else `*err` is overwritten: with NULL, or with an error that is the caller's, to be freed with
 *   wtcache_error_free. Overwritten is what it was before: free that first.
 * - Outputs are NULL or 0 unless the call gave one. What a call hands out is the caller's, and has a function that frees it.
 * - A pointer that is not NULL points to what its type says, and what is handed in stays as it is until the call returned. NULL
 *   where something is needed is refused with WTCACHE_ERR_ARGUMENT. Bytes come as pointer and length; NULL only with length 0.
 * - Keys are bytes, 1,024 at most. Texts are UTF-8. Times are milliseconds.
 * - A struct begins with `struct_size`, to be set to its sizeof. Set it to all zeros first, so that what is added to it later is
 *   zero in a program that is compiled again.
 * - A handle that is taken as `const` may be used from any thread at once; one that is not belongs to one thread at a time. A handle is
 *   freed once, when no other thread uses it. A function that frees takes NULL, and does nothing then.
 * - After a fork, in the child, handles of the parent's give WTCACHE_ERR_FORKED. Open a cache after the fork.
 * - No C++ exception may come out of a callback, and none comes out of the library.
 */

#ifndef WTCACHE_H
#define WTCACHE_H

#include <stddef.h>
#include <stdint.h>

/**
 * The number of this ABI. It changes when a program compiled against an older header could no longer run; what is
 * only added leaves it as it is. It is also the number in the library's soname.
 */
#define WTCACHE_ABI_VERSION 1

/**
 * It was done.
 */
#define WTCACHE_OK 0

/**
 * Not an error: there is no such record. From a peek: nothing is resident that may be served.
 */
#define WTCACHE_NOT_FOUND 1

/**
 * Not an error: the value is longer than the buffer. The buffer is as it was, and the length is told.
 */
#define WTCACHE_TOO_SMALL 2

/**
 * An argument is NULL, has no such value, or does not fit with another. Nothing was done.
 */
#define WTCACHE_ERR_ARGUMENT -1

/**
 * The configuration makes no sense; the message names the member. Nothing was opened.
 */
#define WTCACHE_ERR_CONFIG -2

/**
 * Header and library have different ABIs.
 */
#define WTCACHE_ERR_ABI -3

/**
 * The cache is closed. Nothing was sent.
 */
#define WTCACHE_ERR_CLOSED -4

/**
 * The deadline passed; a write was not sent.
 */
#define WTCACHE_ERR_DEADLINE -5

/**
 * A read: the source gave no record, and no answer that there is none.
 */
#define WTCACHE_ERR_SOURCE -6

/**
 * A write: the source or the origin refused it. It was not applied and never will be.
 */
#define WTCACHE_ERR_REJECTED -7

/**
 * As `WTCACHE_ERR_REJECTED`, and the refusal proves that what was cached is not the origin's record any more (HTTP:
 * 404 on put, 409, 410, 412): it was dropped.
 */
#define WTCACHE_ERR_CONFLICT -8

/**
 * A write: nobody can know whether it was applied, or still will be. Until that is settled, reads ask the origin.
 */
#define WTCACHE_ERR_IN_DOUBT -9

/**
 * A write: the key is in doubt, and the configuration says that writes wait for the end of it. It was not sent.
 */
#define WTCACHE_ERR_HELD_BACK -10

/**
 * A bound was met: too many calls wait, or too many keys are in doubt. A write was not sent.
 */
#define WTCACHE_ERR_OVERLOADED -11

/**
 * A call from inside a source's callback would wait for itself. Nothing was sent.
 */
#define WTCACHE_ERR_REENTRANT -12

/**
 * A write from inside a source's callback found the turn of its key taken; such a write never waits. It was not sent.
 * Or a read of many keys: transactions changed them whenever they had been loaded.
 */
#define WTCACHE_ERR_BUSY -13

/**
 * The key or the value is longer than the cache takes. Nothing was sent.
 */
#define WTCACHE_ERR_TOO_LARGE -14

/**
 * A reply came too late: its call was answered before, or is over. What it carried was not used.
 */
#define WTCACHE_ERR_ANSWERED -15

/**
 * The handle was made before a `fork`, by the parent. Open a cache after the fork instead.
 */
#define WTCACHE_ERR_FORKED -16

/**
 * A fault of this library was contained. For a write the outcome of the error says what may have happened.
 */
#define WTCACHE_ERR_PANIC -17

/**
 * The origin did not apply anything for this call, and will not.
 */
#define WTCACHE_OUTCOME_NOT_APPLIED 0

/**
 * The origin may have applied the write, or may still.
 */
#define WTCACHE_OUTCOME_IN_DOUBT 1

/**
 * Keys with writes that were sent and had not ended: they run on, and nobody shows their result.
 */
#define WTCACHE_CLOSE_UNFINISHED 0

/**
 * Keys of which nobody knows whether their last writes were, or will be, applied.
 */
#define WTCACHE_CLOSE_IN_DOUBT 1

/**
 * Keys of pending writes that were not sent and were rolled back: nobody will send them.
 */
#define WTCACHE_CLOSE_ROLLED_BACK 2

/**
 * A write without condition.
 */
#define WTCACHE_CONDITION_NONE 0

/**
 * A write that is to be applied only if the origin has no such record (HTTP: If-None-Match: *).
 */
#define WTCACHE_CONDITION_ABSENT 1

/**
 * A write that is to be applied only if the origin's record has the version in `condition_version` (HTTP: If-Match).
 */
#define WTCACHE_CONDITION_VERSION 2

/**
 * The lifetime of a record: that of the cache's configuration.
 */
#define WTCACHE_LIFETIME_DEFAULT 0

/**
 * The lifetime of a record: it is given to whoever asked, and not kept.
 */
#define WTCACHE_LIFETIME_NOT_KEPT -1

/**
 * Of a write: nobody can know whether the origin applied it, or still will. When in doubt, this. For a read the verdict says
 * nothing.
 */
#define WTCACHE_VERDICT_UNKNOWN 0

/**
 * Of a write: the origin certainly did not apply it, and never will: nothing was sent, or it answered that it refuses.
 */
#define WTCACHE_VERDICT_REJECTED 1

/**
 * As `WTCACHE_VERDICT_REJECTED`, and the refusal proves that what is cached is not the origin's record any more.
 */
#define WTCACHE_VERDICT_CONFLICT 2

/**
 * A cache. Every function that takes it as `const` may be called from any thread at once.
 */
typedef struct wtcache_cache wtcache_cache;

/**
 * What closing a cache left unfinished, by key. It never changes, and may be read from any thread.
 */
typedef struct wtcache_close_report wtcache_close_report;

/**
 * What a cache is to be opened with. It belongs to one thread at a time.
 */
typedef struct wtcache_config wtcache_config;

/**
 * A record that the cache handed out: key, value and version, which stay valid and unchanged until it is freed, also
 * after the cache dropped it or is gone. It may be read from any thread.
 */
typedef struct wtcache_entry wtcache_entry;

/**
 * Why a call failed. It belongs to whoever was given it: free it with `wtcache_error_free`. It never changes, and may be
 * read from any thread.
 */
typedef struct wtcache_error wtcache_error;

/**
 * One call of a source that waits for its answer. Answer it once, with one of the `wtcache_reply_*` functions that suits the call, from
 * any thread, inside the callback or later. There is nothing to free, and it may be used at any time: once it was answered, or its deadline has
 * passed, a further answer is refused with `WTCACHE_ERR_ANSWERED`. A call that has no answer by its deadline ends: a read
 * with an error, a write in doubt.
 */
typedef struct wtcache_reply wtcache_reply;

/**
 * What a source is asked. It is the library's, with all that it points to, and valid until the callback returns: what
 * is needed later is to be copied. Members may be added at its end.
 */
typedef struct wtcache_request {
    /**
     * How many bytes of this struct there are.
     */
    size_t struct_size;
    /**
     * The key.
     */
    const void *key;
    /**
     * The bytes of `key`.
     */
    size_t key_len;
    /**
     * Of a put: the value. Else NULL.
     */
    const void *value;
    /**
     * The bytes of `value`.
     */
    size_t value_len;
    /**
     * How long the source may still take, in milliseconds. After that nothing may be sent to the origin any more.
     */
    uint64_t remaining_ms;
    /**
     * Of a read: the version of the expired record that this one replaces, to be offered to the origin. If it is still
     * the origin's, answer `wtcache_reply_unchanged`. NULL where there is none.
     */
    const void *version;
    /**
     * The bytes of `version`.
     */
    size_t version_len;
    /**
     * Of a write: the key under which every send of it is to go out, 32 hexadecimal digits and a NUL. Else NULL.
     */
    const char *idempotency_key;
    /**
     * Of a write: one of `WTCACHE_CONDITION_*`. Set only for a source that declares `honours_preconditions`.
     */
    int32_t condition;
    /**
     * Zero.
     */
    int32_t reserved;
    /**
     * The version of `WTCACHE_CONDITION_VERSION`, else NULL.
     */
    const void *condition_version;
    /**
     * The bytes of `condition_version`.
     */
    size_t condition_version_len;
} wtcache_request;

/**
 * One of a source's callbacks: does what `request` asks, and answers through `reply`, exactly once, from any thread, now or later.
 *
 * It is called from many threads at once; of one key at most one write is under way, and reads may overlap it. It may
 * read the cache; what would wait for itself is refused with `WTCACHE_ERR_REENTRANT`. That is known by the thread: a call of the
 * cache from another thread, on behalf of this one, may wait to its deadline. No exception may leave it.
 */
typedef void (*wtcache_source_call)(void *user_data,
                                    const struct wtcache_request *request,
                                    struct wtcache_reply *reply);

/**
 * A source of the program's own. Set `struct_size` to its `sizeof`, and to zero what is not used.
 */
typedef struct wtcache_source {
    /**
     * `sizeof(wtcache_source)`.
     */
    size_t struct_size;
    /**
     * Handed to every callback. It is used from any thread.
     */
    void *user_data;
    /**
     * Called exactly once with `user_data`, after the last callback returned, also if opening failed. May be NULL.
     */
    void (*destroy)(void *user_data);
    /**
     * Asks the origin for the record of `request->key`. Answer with a value, absent, unchanged or an error. Required.
     */
    wtcache_source_call get;
    /**
     * Writes `request->value` to the origin as the record of `request->key`. Answer with the record as it now stands there,
     * applied, stored or an error. NULL: every put is refused.
     */
    wtcache_source_call put;
    /**
     * Removes the record of `request->key` at the origin; what is not there counts as removed. Answer with applied or an error.
     * NULL: every delete is refused.
     */
    wtcache_source_call remove;
    /**
     * How long after its send a write may still take effect at the origin, in milliseconds. Zero: 10,000.
     */
    uint64_t settle_window_ms;
    /**
     * 1: the origin keeps exactly what it was sent, so that `wtcache_reply_stored` may be believed.
     */
    int32_t stores_verbatim;
    /**
     * 1: the origin checks the condition of a write in one step with applying it.
     */
    int32_t honours_preconditions;
    /**
     * 1: the origin applies two sends with one idempotency key at most once, and answers both alike.
     */
    int32_t honours_idempotency;
    /**
     * 1: the origin never gives a version twice to one key, also not after a delete.
     */
    int32_t versions_never_reused;
} wtcache_source;

/**
 * Options of one call; NULL stands for none. Set `struct_size` to its `sizeof`, and to zero what is not used.
 */
typedef struct wtcache_call {
    /**
     * `sizeof(wtcache_call)`.
     */
    size_t struct_size;
    /**
     * How long the call may take in milliseconds, the source's work included; a day at most. Zero: as the cache is
     * configured.
     */
    uint64_t deadline_ms;
    /**
     * Of a write: 16 bytes under which it goes out to an origin that recognises resends. NULL: a random one.
     */
    const void *idempotency_key;
} wtcache_call;

/**
 * The counts of a cache since it was opened, and what it holds now. Set `struct_size` to its `sizeof`.
 */
typedef struct wtcache_stats {
    /**
     * `sizeof(wtcache_stats)`.
     */
    size_t struct_size;
    /**
     * Reads answered from a resident record.
     */
    uint64_t hits;
    /**
     * Reads answered from a remembered absence.
     */
    uint64_t absent_hits;
    /**
     * Calls of the source's `get`.
     */
    uint64_t loads;
    /**
     * Those that gave no answer.
     */
    uint64_t loads_failed;
    /**
     * Reads that waited for another's load.
     */
    uint64_t joined;
    /**
     * Loads whose result was not kept, since the key was written or invalidated meanwhile.
     */
    uint64_t loads_detached;
    /**
     * Loads that a waiter took over from a late leader.
     */
    uint64_t loads_taken_over;
    /**
     * Writes that were applied.
     */
    uint64_t writes_applied;
    /**
     * Writes that the source or the origin refused.
     */
    uint64_t writes_rejected;
    /**
     * Writes that ended in doubt.
     */
    uint64_t writes_unknown;
    /**
     * Writes that the cache did not send.
     */
    uint64_t writes_not_sent;
    /**
     * Entries that went for room.
     */
    uint64_t evicted;
    /**
     * Calls of `wtcache_invalidate`.
     */
    uint64_t invalidated;
    /**
     * Entries resident now, expired ones and remembered absences included.
     */
    uint64_t entries;
    /**
     * Their weight in bytes.
     */
    uint64_t weight_bytes;
    /**
     * Keys in doubt now.
     */
    uint64_t in_doubt;
    /**
     * Writes sent and not ended now.
     */
    uint64_t writes_open;
} wtcache_stats;

/**
 * What the origin said about a record. Set `struct_size` to its `sizeof`, and the rest to zero where nothing is known.
 */
typedef struct wtcache_record {
    /**
     * `sizeof(wtcache_record)`.
     */
    size_t struct_size;
    /**
     * The origin's version of it (HTTP: the ETag), 65,535 bytes at most; NULL where it has none.
     */
    const void *version;
    /**
     * The bytes of `version`.
     */
    size_t version_len;
    /**
     * How long it may be served, in milliseconds, or one of `WTCACHE_LIFETIME_*`.
     */
    int64_t lifetime_ms;
} wtcache_record;

/**
 * Why a source could not do what it was asked. Set `struct_size` to its `sizeof`, and the rest to zero where there is
 * nothing to say.
 */
typedef struct wtcache_failure {
    /**
     * `sizeof(wtcache_failure)`.
     */
    size_t struct_size;
    /**
     * One of `WTCACHE_VERDICT_*`.
     */
    int32_t verdict;
    /**
     * 1 if the same call may succeed later with nothing changed, else 0.
     */
    int32_t retryable;
    /**
     * The source's own code; 0 for none.
     */
    int32_t code;
    /**
     * Zero.
     */
    int32_t reserved;
    /**
     * When the origin may be asked again, in milliseconds; 0 where nobody said.
     */
    uint64_t retry_after_ms;
    /**
     * What happened, in words, UTF-8; NULL for none. It is copied.
     */
    const char *message;
    /**
     * The bytes of `message`.
     */
    size_t message_len;
    /**
     * Anything of the program's, found again with `wtcache_error_cause` in every error that comes of this failure.
     */
    void *cause;
    /**
     * Called once with `cause`, from any thread, when no error has it any more, or at once if this reply is refused. May be
     * NULL.
     */
    void (*release_cause)(void *cause);
} wtcache_failure;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI of the library that is loaded.
 */
uint32_t wtcache_abi_version(void);

/**
 * Whether the loaded library serves a program that was compiled with `compiled`: pass `WTCACHE_ABI_VERSION`.
 *
 * Gives `WTCACHE_OK` or `WTCACHE_ERR_ABI`; then nothing else of the library may be called but `wtcache_error_*`.
 */
int32_t wtcache_check_abi(uint32_t compiled,
                          struct wtcache_error **err);

/**
 * The status that the call gave, or 0 for NULL.
 */
int32_t wtcache_error_status(const struct wtcache_error *error);

/**
 * What is now true at the origin: one of `WTCACHE_OUTCOME_*`.
 */
int32_t wtcache_error_outcome(const struct wtcache_error *error);

/**
 * What happened, in words for a log: UTF-8 with a NUL at its end. Never NULL. It lives as long as the error.
 */
const char *wtcache_error_message(const struct wtcache_error *error);

/**
 * The length of the message in bytes, without the NUL.
 */
size_t wtcache_error_message_len(const struct wtcache_error *error);

/**
 * 1 if the same call may succeed later with nothing changed, else 0. Of a write in doubt it says that the origin may
 * answer again, not that it is safe to write twice.
 */
int32_t wtcache_error_retryable(const struct wtcache_error *error);

/**
 * When to try again, in milliseconds from when the error was made; 0 where nobody said. For a write in doubt: when the
 * doubt ends by itself.
 */
uint64_t wtcache_error_retry_after_ms(const struct wtcache_error *error);

/**
 * The source's own code, for the HTTP source the status of the answer; 0 where it gave none.
 */
int32_t wtcache_error_source_code(const struct wtcache_error *error);

/**
 * What the program's own source put into `wtcache_failure.cause`, else NULL. It is not released before the error is
 * freed.
 */
void *wtcache_error_cause(const struct wtcache_error *error);

/**
 * Frees an error, and releases its cause if no other error has it. NULL is fine.
 */
void wtcache_error_free(struct wtcache_error *error);

/**
 * A configuration with all defaults, to be freed with `wtcache_config_free`. Never NULL.
 */
struct wtcache_config *wtcache_config_new(void);

/**
 * Frees a configuration. NULL is fine.
 */
void wtcache_config_free(struct wtcache_config *config);

/**
 * Sets what a JSON object names, and leaves the rest as it is:
 *
 * ```json
 * {
 *   "capacity_bytes": 67108864,
 *   "lifetime_ms": 300000,
 *   "negative_lifetime_ms": 5000,
 *   "deadline_ms": 5000,
 *   "http": {
 *     "url": "http://inventory.internal:8080/items/{id}",
 *     "headers": { "Authorization": "Bearer secret" },
 *     "timeout_ms": 5000,
 *     "connect_timeout_ms": 1000,
 *     "max_in_flight": 64,
 *     "max_queued": 1024,
 *     "max_idle_connections": 16,
 *     "body_limit_bytes": 1048576,
 *     "freshness": "table",
 *     "settle_window_ms": 10000,
 *     "stores_verbatim": false,
 *     "honours_preconditions": false,
 *     "honours_idempotency": false,
 *     "versions_never_reused": false,
 *     "idempotency_header": "Idempotency-Key",
 *     "retries": {
 *       "loads": 2,
 *       "writes": 0,
 *       "base_ms": 50,
 *       "cap_ms": 1000,
 *       "budget_percent": 20,
 *       "burst": 10
 *     },
 *     "breaker": {
 *       "enabled": true,
 *       "window_ms": 10000,
 *       "calls": 20,
 *       "failures_percent": 50,
 *       "open_for_ms": 5000
 *     }
 *   }
 * }
 * ```
 *
 * These are the defaults, but for `lifetime_ms`, which is without end, and url and headers, which have none. `retries` may have
 * `attempt_timeout_ms` too, the longest that an attempt may take which is not the last one; without it, an attempt has all that is left. A member that is not
 * known, or of another type, or given twice, is an error whose message names it; then nothing was set.
 */
int32_t wtcache_config_load_json(struct wtcache_config *config,
                                 const void *json,
                                 size_t json_len,
                                 struct wtcache_error **err);

/**
 * The most that the cache holds, in bytes of keys, values and their headers. Default 64 MiB.
 */
int32_t wtcache_config_set_capacity_bytes(struct wtcache_config *config,
                                          uint64_t capacity_bytes,
                                          struct wtcache_error **err);

/**
 * How long a record is served that says nothing else itself. Default: without end.
 */
int32_t wtcache_config_set_lifetime_ms(struct wtcache_config *config,
                                       uint64_t lifetime_ms,
                                       struct wtcache_error **err);

/**
 * How long the absence of a record is remembered; 0: not at all. Default 5,000.
 */
int32_t wtcache_config_set_negative_lifetime_ms(struct wtcache_config *config,
                                                uint64_t lifetime_ms,
                                                struct wtcache_error **err);

/**
 * How long a call may take that says nothing else, the source's work included; a day at most. Default 5,000.
 */
int32_t wtcache_config_set_deadline_ms(struct wtcache_config *config,
                                       uint64_t deadline_ms,
                                       struct wtcache_error **err);

/**
 * The URL of the HTTP origin's records: absolute, http or https, with `{id}` once in its path, where the key is put, percent-encoded. It
 * is checked when the cache is opened.
 */
int32_t wtcache_config_set_http_url(struct wtcache_config *config,
                                    const void *url,
                                    size_t url_len,
                                    struct wtcache_error **err);

/**
 * Adds a header to every request to the HTTP origin. A name that is given twice is sent twice. The value is shown in no
 * error. It is checked when the cache is opened.
 */
int32_t wtcache_config_add_http_header(struct wtcache_config *config,
                                       const void *name,
                                       size_t name_len,
                                       const void *value,
                                       size_t value_len,
                                       struct wtcache_error **err);

/**
 * Opens a cache over the HTTP origin that `config` names. The origin is not asked yet.
 *
 * `*cache` is the cache, to be freed with `wtcache_cache_free`, or NULL. `config` can be freed or used again.
 */
int32_t wtcache_open(const struct wtcache_config *config,
                     struct wtcache_cache **cache,
                     struct wtcache_error **err);

/**
 * Opens a cache over a source of the program's own. `config` may be NULL, which is all defaults; it must name no HTTP origin.
 *
 * `*cache` is the cache, to be freed with `wtcache_cache_free`, or NULL. `source` is copied; `source->destroy` is called once, whatever this
 * gives: here if it fails, unless `source` is NULL or its `struct_size` wrong.
 */
int32_t wtcache_open_with_source(const struct wtcache_config *config,
                                 const struct wtcache_source *source,
                                 struct wtcache_cache **cache,
                                 struct wtcache_error **err);

/**
 * Another handle on the same cache, to be freed like the first. NULL for NULL.
 */
struct wtcache_cache *wtcache_cache_clone(const struct wtcache_cache *cache);

/**
 * Frees a handle; with the last one the cache goes, once the calls on it have ended, without waiting for them. Entries that were handed out
 * stay valid. NULL is fine. In the child of a fork, a handle of the parent's is left as it is, and no destructor runs.
 */
void wtcache_cache_free(struct wtcache_cache *cache);

/**
 * Ends the cache: no call begins any more, those who wait are told `WTCACHE_ERR_CLOSED`, and writes that were sent get up to
 * `timeout_ms` to end. Entries that were handed out stay valid. The handle is still to be freed. From inside a callback of a write,
 * let the timeout be 0: that write cannot end before.
 *
 * `report` may be NULL; else `*report` says what was left unfinished, to be freed with `wtcache_close_report_free`.
 */
int32_t wtcache_close(const struct wtcache_cache *cache,
                      uint64_t timeout_ms,
                      struct wtcache_close_report **report,
                      struct wtcache_error **err);

/**
 * How many keys the report has of one kind, `WTCACHE_CLOSE_*`; 0 for any other, and for NULL.
 */
size_t wtcache_close_report_count(const struct wtcache_close_report *report, int32_t which);

/**
 * One of these keys, and its length in `*len`, which may be NULL. Valid until the report is freed. NULL where there is none of that
 * index.
 */
const void *wtcache_close_report_key(const struct wtcache_close_report *report,
                                     int32_t which,
                                     size_t index,
                                     size_t *len);

/**
 * Frees a report. NULL is fine.
 */
void wtcache_close_report_free(struct wtcache_close_report *report);

/**
 * Reads the record of a key: from the cache, else from the origin. Waits to the deadline at most; a hit never waits.
 *
 * `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. `call` may be NULL. Gives `WTCACHE_OK`,
 * `WTCACHE_NOT_FOUND` where the origin has none, or why it could not be read; then nothing was changed.
 */
int32_t wtcache_get(const struct wtcache_cache *cache,
                    const void *key,
                    size_t key_len,
                    const struct wtcache_call *call,
                    struct wtcache_entry **entry,
                    struct wtcache_error **err);

/**
 * As `wtcache_get`, with the value copied into `buffer` of `buffer_len` bytes. `*value_len` is the value's length.
 *
 * Where the buffer is too small, nothing is copied, `*value_len` is told, and the status is `WTCACHE_TOO_SMALL`.
 */
int32_t wtcache_get_into(const struct wtcache_cache *cache,
                         const void *key,
                         size_t key_len,
                         const struct wtcache_call *call,
                         void *buffer,
                         size_t buffer_len,
                         size_t *value_len,
                         struct wtcache_error **err);

/**
 * Reads the record of a key if it is resident and fresh. Never waits, and never calls the source.
 *
 * `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. Gives `WTCACHE_OK` or `WTCACHE_NOT_FOUND`, also where the
 * absence is known, and once the cache is closed.
 */
int32_t wtcache_peek(const struct wtcache_cache *cache,
                     const void *key,
                     size_t key_len,
                     struct wtcache_entry **entry,
                     struct wtcache_error **err);

/**
 * The value, and its length in `*len`, which may be NULL. Valid until the entry is freed. NULL only for no entry.
 */
const void *wtcache_entry_value(const struct wtcache_entry *entry,
                                size_t *len);

/**
 * The key, and its length in `*len`, which may be NULL. Valid until the entry is freed. NULL only for no entry.
 */
const void *wtcache_entry_key(const struct wtcache_entry *entry,
                              size_t *len);

/**
 * The origin's version, and its length in `*len`, which may be NULL. Valid until the entry is freed. NULL where the
 * origin gave none.
 */
const void *wtcache_entry_version(const struct wtcache_entry *entry,
                                  size_t *len);

/**
 * Another handle on the same record, to be freed like the first. NULL for NULL.
 */
struct wtcache_entry *wtcache_entry_clone(const struct wtcache_entry *entry);

/**
 * Frees an entry, and with it what it gave pointers to. NULL is fine.
 */
void wtcache_entry_free(struct wtcache_entry *entry);

/**
 * Writes a value to the origin as the record of a key, and keeps what the origin confirmed. Waits for its turn among the writers
 * of the key, and for the origin, to the deadline at most.
 *
 * `entry` may be NULL; else `*entry` is the record that the origin confirmed, to be freed with `wtcache_entry_free`, or NULL where the
 * write was applied and its record was not seen. `call` may be NULL. Gives `WTCACHE_OK` once it was applied. Any error but
 * `WTCACHE_ERR_IN_DOUBT` and `WTCACHE_ERR_PANIC` says that it was not, and never will be.
 */
int32_t wtcache_put(const struct wtcache_cache *cache,
                    const void *key,
                    size_t key_len,
                    const void *value,
                    size_t value_len,
                    const struct wtcache_call *call,
                    struct wtcache_entry **entry,
                    struct wtcache_error **err);

/**
 * Removes the record of a key at the origin and here. What the origin does not have counts as removed. `call` may be NULL.
 *
 * Gives `WTCACHE_OK` once it was applied, and errors as `wtcache_put`.
 */
int32_t wtcache_delete(const struct wtcache_cache *cache,
                       const void *key,
                       size_t key_len,
                       const struct wtcache_call *call,
                       struct wtcache_error **err);

/**
 * Forgets what is held of a key; the origin is not asked. No read that starts after this returned gives what was cached
 * before it, and nothing that is under way now is kept. It never waits.
 */
int32_t wtcache_invalidate(const struct wtcache_cache *cache,
                           const void *key,
                           size_t key_len,
                           struct wtcache_error **err);

/**
 * Writes the counts into `stats`, as far as its `struct_size` says. Never waits.
 */
int32_t wtcache_get_stats(const struct wtcache_cache *cache,
                          struct wtcache_stats *stats,
                          struct wtcache_error **err);

/**
 * The same as a JSON object, its members named as those of `wtcache_stats`. `*json` ends with a NUL and is to be freed with
 * `wtcache_string_free`; `*json_len`, which may be NULL, is its length without the NUL.
 */
int32_t wtcache_get_stats_json(const struct wtcache_cache *cache,
                               char **json,
                               size_t *json_len,
                               struct wtcache_error **err);

/**
 * Frees a string of this library. NULL is fine.
 */
void wtcache_string_free(char *string);

/**
 * Within a callback of a put or a remove, and in its thread: the existing record of the key, the resident one, else asked of the
 * source now, within the write's turn and deadline.
 *
 * `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. Gives `WTCACHE_OK`, `WTCACHE_NOT_FOUND`, or why it could
 * not be read. The write is not answered by this.
 */
int32_t wtcache_reply_existing(const struct wtcache_reply *reply,
                               struct wtcache_entry **entry,
                               struct wtcache_error **err);

/**
 * Answers a read: this is the record. Answers a put: it was applied, and this is the record as it now stands at the origin.
 *
 * `value`, of `value_len` bytes, is copied. `record` says what is known about it, and may be NULL.
 */
int32_t wtcache_reply_value(struct wtcache_reply *reply,
                            const void *value,
                            size_t value_len,
                            const struct wtcache_record *record,
                            struct wtcache_error **err);

/**
 * As `wtcache_reply_value`, for a value that the program made for this: `release` is called once with `owner`, when the value
 * is not needed any more, and also if this reply is refused. `release` may be NULL.
 */
int32_t wtcache_reply_value_owned(struct wtcache_reply *reply,
                                  const void *value,
                                  size_t value_len,
                                  void (*release)(void *owner),
                                  void *owner,
                                  const struct wtcache_record *record,
                                  struct wtcache_error **err);

/**
 * Answers a read: the origin says that there is no such record.
 */
int32_t wtcache_reply_absent(struct wtcache_reply *reply, struct wtcache_error **err);

/**
 * Answers a read whose request has a `version`: the record with that version is still the origin's, and lives anew. Of `record`, which may
 * be NULL, only the lifetime counts.
 */
int32_t wtcache_reply_unchanged(struct wtcache_reply *reply,
                                const struct wtcache_record *record,
                                struct wtcache_error **err);

/**
 * Answers a put or a remove: it was applied. What the record is now, the next read asks.
 */
int32_t wtcache_reply_applied(struct wtcache_reply *reply, struct wtcache_error **err);

/**
 * Answers a put: it was applied, and the origin keeps exactly what it was sent. Believed only of a source that declares
 * `stores_verbatim`; else as `wtcache_reply_applied`. `record` says what is known about it, and may be NULL.
 */
int32_t wtcache_reply_stored(struct wtcache_reply *reply,
                             const struct wtcache_record *record,
                             struct wtcache_error **err);

/**
 * Answers any call: it failed. Of a write, `failure->verdict` says whether it may have been applied.
 *
 * If the call is refused, `release_cause` was called, unless `failure` is NULL or its `struct_size` wrong.
 */
int32_t wtcache_reply_error(struct wtcache_reply *reply,
                            const struct wtcache_failure *failure,
                            struct wtcache_error **err);

/**
 * Says of a write that an earlier send of it ended without a definite answer, so that it may still land: for a source that
 * sends again. Whatever is answered then, the key stays in doubt for the settle window, unless the source declares
 * `honours_idempotency` and sends with the request's key.
 */
int32_t wtcache_reply_leaves_stray(struct wtcache_reply *reply,
                                   struct wtcache_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WTCACHE_H */
