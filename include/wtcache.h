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
 * What is here, in this order; first the numbers, then the structs, then the functions:
 *
 *   open            wtcache_config_*, wtcache_open, wtcache_open_with_source, wtcache_close
 *   read            wtcache_get, wtcache_get_into, wtcache_peek, wtcache_get_many
 *   write through   wtcache_put, wtcache_delete, wtcache_put_if, wtcache_delete_if, wtcache_update, wtcache_put_many
 *   find            wtcache_config_add_index, wtcache_find
 *   forget          wtcache_invalidate, _prefix, _pattern, _tag
 *   doubts          wtcache_error_doubt, wtcache_doubt_*, wtcache_settle, wtcache_list_doubts
 *   two phases      wtcache_prepare, wtcache_permit_*
 *   optimistic      wtcache_put_optimistic, wtcache_delete_optimistic, wtcache_merge_optimistic, wtcache_pending_*
 *   transactions    wtcache_transaction_*, wtcache_transacted_*, wtcache_started_*
 *   event loops     wtcache_queue_*, wtcache_get_async and its like, wtcache_completion_*
 *   a source        wtcache_source, wtcache_request, wtcache_reply_*
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
 *   freed once, when no other thread uses it. A function that frees takes NULL, and does nothing then. Handles that have a function to
 *   clone them are counted; what they stand for goes with the last.
 * - Callbacks are called by the thread that makes the call which needs them. But for what goes on in the background, by threads of
 *   the library's: pending writes, transactions that were started, refreshes, the auditor, and the calls of a queue. What is handed over
 *   with a callback is used from any thread then. A destructor that comes with it is called once, after the last callback returned.
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
 * Not an error: what was waited for has not ended yet.
 */
#define WTCACHE_PENDING 3

/**
 * Not an error: it could not be taken back, since it is under way already, or has ended.
 */
#define WTCACHE_TOO_LATE 4

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
 * A write was taken back by the program before it was sent.
 */
#define WTCACHE_ERR_CANCELLED -18

/**
 * What the write expected of the existing record does not hold. It was not sent; `wtcache_error_existing` gives the record that is there.
 */
#define WTCACHE_ERR_UNMET -19

/**
 * A handle was used out of its order: a permit that was not sent yet, or has ended; a transaction that was run before. Nothing was done.
 */
#define WTCACHE_ERR_STATE -20

/**
 * A transaction: a step was refused after others had been applied that are not all undone. Its result says what came of each.
 */
#define WTCACHE_ERR_PARTIAL -21

/**
 * The origin did not apply anything for this call, and will not.
 */
#define WTCACHE_OUTCOME_NOT_APPLIED 0

/**
 * The origin may have applied the write, or may still.
 */
#define WTCACHE_OUTCOME_IN_DOUBT 1

/**
 * Of a transaction: some of its steps were applied and stand, others were not.
 */
#define WTCACHE_OUTCOME_PARTIAL 2

/**
 * Something that this header does not know yet.
 */
#define WTCACHE_EVENT_OTHER 0

/**
 * What a load brought is resident now; `absent`: it is the absence of a record.
 */
#define WTCACHE_EVENT_RETAINED 1

/**
 * The origin applied a put; `kept`: its record is resident now.
 */
#define WTCACHE_EVENT_PUT 2

/**
 * The origin applied a delete; `kept`: the absence is resident now.
 */
#define WTCACHE_EVENT_DELETED 3

/**
 * A pending write was admitted. It ends with PUT, DELETED, `ROLLED_BACK` or `IN_DOUBT`.
 */
#define WTCACHE_EVENT_PENDING 4

/**
 * A pending write left without having been applied.
 */
#define WTCACHE_EVENT_ROLLED_BACK 5

/**
 * The origin refused a write, which proved out of date what was held of the key.
 */
#define WTCACHE_EVENT_REFUSED_STALE 6

/**
 * The key was invalidated, alone or with others.
 */
#define WTCACHE_EVENT_INVALIDATED 7

/**
 * What was resident went, since a reader was given a later answer that is not kept.
 */
#define WTCACHE_EVENT_DROPPED 8

/**
 * What was resident went for room.
 */
#define WTCACHE_EVENT_EVICTED 9

/**
 * What is resident has passed its lifetime; noticed by the next call of the key that is more than a hit.
 */
#define WTCACHE_EVENT_EXPIRED 10

/**
 * A record is too heavy to be resident; the older one is not either.
 */
#define WTCACHE_EVENT_TOO_HEAVY 11

/**
 * Nobody can know whether a write of the key was applied. Nothing is held until it is settled.
 */
#define WTCACHE_EVENT_IN_DOUBT 12

/**
 * The key is in doubt no more.
 */
#define WTCACHE_EVENT_SETTLED 13

/**
 * The auditor finds that what is resident has differed from the origin's record for longer than `differs_ms`.
 */
#define WTCACHE_EVENT_DIFFERS 14

/**
 * What the origin told of its own accord is resident now, and is newer than what was; `absent`: it is the absence of a record.
 */
#define WTCACHE_EVENT_PUSHED 15

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
 * Reads from the cache, else from the origin. What is pending is shown.
 */
#define WTCACHE_MODE_DEFAULT 0

/**
 * Reads what is resident and will do for this call, or pending, and nothing else: it never waits, and never calls the source. Where the
 * refresh of a record that is still fresh is due, it is asked for in the background.
 */
#define WTCACHE_MODE_CACHED 1

/**
 * Reads what the origin confirmed, from the cache or else from the origin, whatever is pending above it.
 */
#define WTCACHE_MODE_CONFIRMED 2

/**
 * A flag of a read: the origin is asked after the call began, whatever is resident; it may say that this is its record still. What is
 * resident stays, and others are served it, until the load has ended.
 */
#define WTCACHE_CALL_ANEW 1

/**
 * A flag of a read: what its load brings is not kept, nor is what was there before. A load of another's that it joins may be.
 */
#define WTCACHE_CALL_NOT_KEPT 2

/**
 * There is no record.
 */
#define WTCACHE_EXPECT_ABSENT 1

/**
 * There is a record, whatever its version.
 */
#define WTCACHE_EXPECT_EXISTS 2

/**
 * The record has one of `versions`. A record without a version has none of them.
 */
#define WTCACHE_EXPECT_VERSION 3

/**
 * Nothing is known yet of a write in doubt: it may still be under way.
 */
#define WTCACHE_SETTLEMENT_NONE 0

/**
 * It was applied, and nothing of it is under way any more.
 */
#define WTCACHE_SETTLEMENT_APPLIED 1

/**
 * It was not applied, and never will be.
 */
#define WTCACHE_SETTLEMENT_NOT_APPLIED 2

/**
 * Nothing of it is under way any more. Whether it was applied is not known: a read shows what is there.
 */
#define WTCACHE_SETTLEMENT_OVER 3

/**
 * Of undoing a step: nothing was declared. Where a later step is refused, one that was applied and cannot be undone makes the transaction
 * end in part.
 */
#define WTCACHE_DO_UNDECLARED 0

/**
 * The cache's source puts a value.
 */
#define WTCACHE_DO_PUT 1

/**
 * The cache's source removes a record.
 */
#define WTCACHE_DO_DELETE 2

/**
 * A callback of the program's does it.
 */
#define WTCACHE_DO_CALL 3

/**
 * Of undoing a step: it leaves nothing that would have to be undone.
 */
#define WTCACHE_DO_NOTHING 4

/**
 * All steps were applied: the keys show what they confirmed.
 */
#define WTCACHE_COMMITTED 0

/**
 * Nothing of it stands: no step was applied, or all that were are undone. Keys that nothing wrote are as they were.
 */
#define WTCACHE_ROLLED_BACK 1

/**
 * A step was refused after others had been applied that are not all undone. Written keys show what was confirmed of them last, or are asked
 * for; never what the cache held before.
 */
#define WTCACHE_PARTIAL 2

/**
 * The outcome of a step is not known. The keys that it writes are in doubt.
 */
#define WTCACHE_IN_DOUBT 3

/**
 * A step, or undoing it, was not run.
 */
#define WTCACHE_STEP_NOT_RUN 0

/**
 * It was applied.
 */
#define WTCACHE_STEP_APPLIED 1

/**
 * It certainly was not applied, and will not be.
 */
#define WTCACHE_STEP_REJECTED 2

/**
 * It was not begun: the error says why.
 */
#define WTCACHE_STEP_NOT_SENT 3

/**
 * Nobody can know.
 */
#define WTCACHE_STEP_UNKNOWN 4

/**
 * It has not been connected yet.
 */
#define WTCACHE_FEED_CONNECTING 1

/**
 * The origin tells of its changes.
 */
#define WTCACHE_FEED_LIVE 2

/**
 * It does not: what is held may be out of date.
 */
#define WTCACHE_FEED_CUT_OFF 3

/**
 * The cache was closed: nobody reads it any more.
 */
#define WTCACHE_FEED_STOPPED 4

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
 * A write that is to be applied only if the origin has a record, whatever its version (HTTP: If-Match: *).
 */
#define WTCACHE_CONDITION_EXISTS 3

/**
 * The lifetime of a record: that of the cache's configuration.
 */
#define WTCACHE_LIFETIME_DEFAULT 0

/**
 * The lifetime of a record: it is given to whoever asked, and not kept.
 */
#define WTCACHE_LIFETIME_NOT_KEPT -1

/**
 * The lifetime of a record that is unchanged, and of no other: as long as it was given last time, less `age_ms`, with the windows that it
 * was given. Where the configuration said how long, it says so again.
 */
#define WTCACHE_LIFETIME_AS_BEFORE -2

/**
 * The lifetime of a record: it has expired from the start. It is kept only where it has a version, to be offered to the origin, or a window.
 */
#define WTCACHE_LIFETIME_EXPIRED -3

/**
 * The length of a window in which an expired record may be served: there is no such window.
 */
#define WTCACHE_WINDOW_NONE -1

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
 * Of a key that a step writes: something that is not known; the next read asks. So it is of keys that a step declares and says nothing of.
 */
#define WTCACHE_WROTE_UNSEEN 0

/**
 * The value that is given with it, as it now stands at the origin.
 */
#define WTCACHE_WROTE_VALUE 1

/**
 * Exactly what the transaction shows of the key.
 */
#define WTCACHE_WROTE_AS_SENT 2

/**
 * No record.
 */
#define WTCACHE_WROTE_DELETED 3

/**
 * A cache. Every function that takes it as `const` may be called from any thread at once.
 */
typedef struct wtcache_cache wtcache_cache;

/**
 * Where a callback says what is to become of a record. It is valid until the callback returns, in its thread. One of the
 * `wtcache_change_*` functions is called on it, once; a further one is refused with `WTCACHE_ERR_ANSWERED`.
 */
typedef struct wtcache_change wtcache_change;

/**
 * What closing a cache left unfinished, by key. It never changes, and may be read from any thread.
 */
typedef struct wtcache_close_report wtcache_close_report;

/**
 * What became of a call. It never changes, and may be read from any thread. What it gives pointers to is valid until it is freed.
 */
typedef struct wtcache_completion wtcache_completion;

/**
 * What a cache is to be opened with. It belongs to one thread at a time.
 */
typedef struct wtcache_config wtcache_config;

/**
 * What came of a record that the origin made. It never changes, and may be read from any thread.
 */
typedef struct wtcache_created wtcache_created;

/**
 * A write in doubt, from `wtcache_error_doubt` and its like. It keeps the value that was to be written, but not the cache: once that is
 * gone, nothing is sent again. It may be used from any thread.
 */
typedef struct wtcache_doubt wtcache_doubt;

/**
 * Keys in doubt as they stood when they were listed. It never changes, and may be read from any thread.
 */
typedef struct wtcache_doubt_list wtcache_doubt_list;

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
 * Takes what is extracted of one record. It is the library's, belongs to the thread of the callback, and is valid until that returns.
 */
typedef struct wtcache_extract wtcache_extract;

/**
 * A pending write: shown, and not settled yet, or how it ended. It may be used from any thread. The write is settled though nobody holds
 * its handle.
 */
typedef struct wtcache_pending wtcache_pending;

/**
 * A key's turn, held by a program that writes to the origin itself: prepare → send → commit, reject or in doubt; before the send, abort.
 * It belongs to one thread at a time. Until its end or its deadline no other write of the key goes out.
 *
 * A call that does not fit its state gives `WTCACHE_ERR_STATE`, and nothing was done.
 */
typedef struct wtcache_permit wtcache_permit;

/**
 * A queue of completions, with a few threads of its own. It may be used from any thread.
 */
typedef struct wtcache_queue wtcache_queue;

/**
 * One call of a source that waits for its answer. Answer it once, with one of the `wtcache_reply_*` functions that suits the call, from
 * any thread, inside the callback or later. There is nothing to free, and it may be used at any time: once it was answered, or its deadline has
 * passed, a further answer is refused with `WTCACHE_ERR_ANSWERED`. A call that has no answer by its deadline ends: a read
 * with an error, a write in doubt.
 */
typedef struct wtcache_reply wtcache_reply;

/**
 * The answers of a call for many keys, in the order of the keys; or what `wtcache_find` or `wtcache_list` found. It never changes, and may be read from any thread. What it gives
 * pointers to is valid until it is freed.
 */
typedef struct wtcache_results wtcache_results;

/**
 * A transaction that runs in the background, or how it ended. It may be used from any thread. It runs on though nobody holds its handle.
 */
typedef struct wtcache_started wtcache_started;

/**
 * What came of a transaction. It never changes, and may be read from any thread. What it gives pointers to is valid until it is freed.
 */
typedef struct wtcache_transacted wtcache_transacted;

/**
 * A transaction that is described, until it is run or started. It belongs to one thread at a time.
 */
typedef struct wtcache_transaction wtcache_transaction;

/**
 * What happened to a key. It is the library's, and valid until the callback returns. Members may be added at its end.
 */
typedef struct wtcache_event {
    /**
     * How many bytes of this struct there are.
     */
    size_t struct_size;
    /**
     * One of `WTCACHE_EVENT_*`.
     */
    int32_t kind;
    /**
     * See `WTCACHE_EVENT_RETAINED` and `WTCACHE_EVENT_PUSHED`; else 0.
     */
    int32_t absent;
    /**
     * See `WTCACHE_EVENT_PUT` and `WTCACHE_EVENT_DELETED`; else 0.
     */
    int32_t kept;
    /**
     * Zero.
     */
    int32_t reserved;
    /**
     * The key.
     */
    const void *key;
    /**
     * The bytes of `key`.
     */
    size_t key_len;
    /**
     * Grows along the events of one key: of two that different threads tell, the one with the larger number is the later.
     */
    uint64_t sequence;
    /**
     * See `WTCACHE_EVENT_DIFFERS`; else 0.
     */
    uint64_t differs_ms;
} wtcache_event;

/**
 * Is told what happened to a key. It is called from any thread, from many at once, by the one that caused the event, before its own call
 * returns; of pending writes, refreshes, the auditor and the origin's feed that is a thread of the cache's. It may call the cache: a read never waits then,
 * and a write of the same key is refused with `WTCACHE_ERR_REENTRANT`. No exception may leave it.
 */
typedef void (*wtcache_listener_call)(void *user_data, const struct wtcache_event *event);

/**
 * Says in `*weight` what an entry weighs; `value` is NULL for a remembered absence, and else never. It is called once an entry, before that is
 * kept, and for a pending write; for threads and the rest see `wtcache_extract_call`.
 *
 * One that weighs zero takes no room; one of 2^32 or more is not kept. `*weight` is `UINT64_MAX` before: where it stays so, the entry could
 * not be weighed. It is not kept then, and counted in `extracts_failed`; a pending write is refused with `WTCACHE_ERR_OVERLOADED`.
 */
typedef void (*wtcache_weigh_call)(void *user_data,
                                   const void *key,
                                   size_t key_len,
                                   const void *value,
                                   size_t value_len,
                                   uint64_t *weight);

/**
 * Says with `wtcache_extract_add` which tags a record has, or its values in an index: none, one or several; the same twice counts once.
 * Then it says with `wtcache_extract_done` that this was all. Without that they could not be found: the record is not kept then, and counted
 * in `extracts_failed`; whoever reads or writes it is given it all the same. It is called once an entry, before that is kept, never for
 * an absence. `value` is never NULL.
 *
 * It is called from any thread, from many at once: by the one that loads or writes the record, and where that is in the background, by
 * one of the library's. No lock is held, but others wait for the same load, or for the turn of the key: it must not call the
 * cache, which could wait for itself. Key, value and `to` are valid until it returns. No exception may leave it.
 */
typedef void (*wtcache_extract_call)(void *user_data,
                                     const void *key,
                                     size_t key_len,
                                     const void *value,
                                     size_t value_len,
                                     struct wtcache_extract *to);

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
     * The key; of a step of a transaction NULL.
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
     * Of a read: the version of the record that is here, which has expired, or does not do for whoever asks, to be offered to the origin. If it
     * is still the origin's, answer `wtcache_reply_unchanged`. NULL where there is none.
     */
    const void *version;
    /**
     * The bytes of `version`.
     */
    size_t version_len;
    /**
     * Of a write or a step: the key under which every send of it is to go out, 32 hexadecimal digits and a NUL. Else NULL.
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
     * Of a write: 16 bytes under which it goes out to an origin that recognises resends. NULL: random ones. A call that writes many
     * records, or none, has no use for it.
     */
    const void *idempotency_key;
    /**
     * Of a read of one key: one of `WTCACHE_MODE_*`. Any other call refuses a mode.
     */
    int32_t mode;
    /**
     * Of a read: any of `WTCACHE_CALL_*`, or zero. All from here on but `lifetime_ms` is of a read, also of many keys; any other call refuses it.
     */
    int32_t flags;
    /**
     * Of a write: how long its record may be served where the source says nothing of that, in milliseconds, or one of `WTCACHE_LIFETIME_*`. A
     * delete has no record, and a read refuses a lifetime.
     */
    int64_t lifetime_ms;
    /**
     * The origin confirmed the record, or that there is none, no longer than so many milliseconds before the call; else it is asked. Zero: any
     * time ago. `WTCACHE_CALL_ANEW` is an age of none at all, and goes without this. What pending writes show has no age.
     */
    uint64_t max_age_ms;
    /**
     * The record can be served as fresh for so many milliseconds yet, or it is loaded. What a load brings is taken as it is.
     */
    uint64_t min_fresh_ms;
    /**
     * For how many milliseconds after its end a record is taken without waiting for the origin; `WTCACHE_WINDOW_NONE`: not at all. Zero: as the
     * record's source says, or the cache is configured. It has nothing refreshed where these do not.
     */
    int64_t max_stale_ms;
    /**
     * The same, in place of an error; counted from where the record became too old for `max_age_ms` or `min_fresh_ms`, if that was earlier.
     */
    int64_t stale_if_error_ms;
} wtcache_call;

/**
 * Bytes in a list: a key, a value, a version or a tag.
 */
typedef struct wtcache_bytes {
    /**
     * Where they are; NULL only with length 0.
     */
    const void *data;
    /**
     * How many they are.
     */
    size_t len;
} wtcache_bytes;

/**
 * What a write expects of the existing record. Set `struct_size` to its `sizeof`, and to zero what is not used.
 */
typedef struct wtcache_expect {
    /**
     * `sizeof(wtcache_expect)`.
     */
    size_t struct_size;
    /**
     * One of `WTCACHE_EXPECT_*`. Zero is none of them: a write that expects nothing is a `wtcache_put`.
     */
    int32_t kind;
    /**
     * Zero.
     */
    int32_t reserved;
    /**
     * Of `WTCACHE_EXPECT_VERSION`: the versions, each 65,535 bytes at most.
     */
    const struct wtcache_bytes *versions;
    /**
     * How many they are.
     */
    size_t version_count;
} wtcache_expect;

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

/**
 * Says through `change` what is to become of the record that is there: `existing`, or NULL where there is none. It is the library's and
 * valid until the callback returns. Reads of the cache from here never wait, and a write of the same key is refused with
 * `WTCACHE_ERR_REENTRANT`. No exception may leave it.
 */
typedef void (*wtcache_update_call)(void *user_data,
                                    const struct wtcache_entry *existing,
                                    struct wtcache_change *change);

/**
 * What forgetting many keys came to. Set `struct_size` to its `sizeof`.
 */
typedef struct wtcache_forgotten {
    /**
     * `sizeof(wtcache_forgotten)`.
     */
    size_t struct_size;
    /**
     * How many resident entries went, expired ones and remembered absences included.
     */
    uint64_t entries;
    /**
     * 1 if it had to look at entries that it did not mean, so that its cost grows with what is resident; else 0.
     */
    int32_t scanned;
    /**
     * Zero.
     */
    int32_t reserved;
} wtcache_forgotten;

/**
 * A key in doubt. Set `struct_size` to its `sizeof`.
 */
typedef struct wtcache_key_in_doubt {
    /**
     * `sizeof(wtcache_key_in_doubt)`.
     */
    size_t struct_size;
    /**
     * The key. Valid until the list is freed.
     */
    const void *key;
    /**
     * The bytes of `key`.
     */
    size_t key_len;
    /**
     * For how long it had been in doubt, in milliseconds, when it was listed.
     */
    uint64_t since_ms;
    /**
     * In how many milliseconds from then the doubt ends by itself, unless another write of the key ends in doubt.
     */
    uint64_t remaining_ms;
    /**
     * How many sends may still land.
     */
    uint64_t unsettled;
} wtcache_key_in_doubt;

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
    /**
     * Of a record: by what it is forgotten together with others, see `wtcache_invalidate_tag`; NULL for nothing.
     */
    const struct wtcache_bytes *tags;
    /**
     * How many tags there are.
     */
    size_t tag_count;
    /**
     * For how long after its lifetime it may be served while it is refreshed, in milliseconds. Zero: as the cache is configured;
     * `WTCACHE_WINDOW_NONE`: not at all, whatever a call says.
     */
    int64_t while_revalidate_ms;
    /**
     * The same: for how long it may be served in place of an error.
     */
    int64_t if_error_ms;
    /**
     * Of `WTCACHE_LIFETIME_AS_BEFORE` only: how old the origin's answer is, in milliseconds.
     */
    uint64_t age_ms;
} wtcache_record;

/**
 * Says through `change` what becomes of a value: `value`, of `value_len` bytes, valid until the callback returns, or NULL where there is
 * no record. It has to be pure: it is called again whenever what is beneath it has changed, from any thread. `wtcache_change_refuse` is
 * not for it. One that says nothing counts for nothing in a read, and ends its write unsent, with `WTCACHE_ERR_PANIC`. No exception may
 * leave it.
 */
typedef void (*wtcache_merge_call)(void *user_data,
                                   const void *value,
                                   size_t value_len,
                                   struct wtcache_change *change);

/**
 * A step of a transaction, and how it is undone where a later one is refused. Set `struct_size` to its `sizeof`, and to zero what
 * is not used.
 *
 * `call` and `undo_call` answer through their reply as a source does: `wtcache_reply_applied`, or `wtcache_reply_value` with a value for
 * `wtcache_transacted_value`, after `wtcache_reply_wrote` for what they wrote; or `wtcache_reply_error`, whose verdict says whether
 * anything of it was done, or may still be. No answer by the deadline is unknown. Their request has no key; what it has is the
 * time that remains and an idempotency key, one for the step and another for undoing it.
 */
typedef struct wtcache_step {
    /**
     * `sizeof(wtcache_step)`.
     */
    size_t struct_size;
    /**
     * `WTCACHE_DO_PUT`, `WTCACHE_DO_DELETE` or `WTCACHE_DO_CALL`.
     */
    int32_t does;
    /**
     * How it is undone: one of `WTCACHE_DO_*`.
     */
    int32_t undo;
    /**
     * Of PUT and DELETE: the key.
     */
    struct wtcache_bytes key;
    /**
     * Of PUT: the value.
     */
    struct wtcache_bytes value;
    /**
     * Of CALL: what it does.
     */
    wtcache_source_call call;
    /**
     * Of CALL: the keys that it writes, or undoing it does.
     */
    const struct wtcache_bytes *writes;
    /**
     * How many they are.
     */
    size_t write_count;
    /**
     * Where `undo` is PUT or DELETE: the key.
     */
    struct wtcache_bytes undo_key;
    /**
     * Where `undo` is PUT: the value.
     */
    struct wtcache_bytes undo_value;
    /**
     * Where `undo` is CALL: what it does.
     */
    wtcache_source_call undo_call;
    /**
     * Handed to `call` and `undo_call`. They are called by the thread that runs the transaction, or by one of the cache's where it is
     * started.
     */
    void *user_data;
    /**
     * Called exactly once with `user_data`, from any thread: when neither can be called any more, or here if the step is refused. May be
     * NULL.
     */
    void (*destroy)(void *user_data);
    /**
     * How long it may take in milliseconds; the transaction's deadline holds as well. Zero: that alone.
     */
    uint64_t deadline_ms;
    /**
     * 1: it is undone also where the outcome of a step, this one or a later one, is not known.
     */
    int32_t undo_if_unknown;
    /**
     * Zero.
     */
    int32_t reserved;
} wtcache_step;

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
     * Their weight in bytes, or in the unit of the weigher.
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
    /**
     * Reads answered with an expired record, within the windows that were declared.
     */
    uint64_t stale;
    /**
     * Loads that refreshed a record in the background, or tried to.
     */
    uint64_t refreshes;
    /**
     * Refreshes that were not begun, since as many waited already as may.
     */
    uint64_t refreshes_refused;
    /**
     * Events that no listener was told, since they came about in calls of listeners nested too deeply.
     */
    uint64_t events_untold;
    /**
     * Calls of the source's `get` by the auditor; they are not counted as loads.
     */
    uint64_t audits;
    /**
     * Those that gave no answer in time.
     */
    uint64_t audits_failed;
    /**
     * Differences that the auditor did not follow up, since it follows as many as it can already.
     */
    uint64_t audits_unfollowed;
    /**
     * Resident entries of which the auditor found that they differ from the origin for longer than 1 s.
     */
    uint64_t differs_1s;
    /**
     * Of these, those for longer than 10 s.
     */
    uint64_t differs_10s;
    /**
     * Of these, those for longer than 60 s.
     */
    uint64_t differs_60s;
    /**
     * Pending writes that left without having been applied.
     */
    uint64_t rolled_back;
    /**
     * Merge callbacks that said nothing in a read: what was shown was as if their write were not pending.
     */
    uint64_t merges_failed;
    /**
     * Writes pending now.
     */
    uint64_t pending;
    /**
     * Entries that were not kept, and pending writes that were refused, since a weigher or extractor could not say what it was asked.
     */
    uint64_t extracts_failed;
    /**
     * Doubts of keys that are over.
     */
    uint64_t doubts_settled;
    /**
     * How long these lasted, added up, in milliseconds.
     */
    uint64_t doubt_millis;
} wtcache_stats;

/**
 * What the origin's feed, `http.subscribe`, did so far. Set `struct_size` to its `sizeof`.
 */
typedef struct wtcache_feed {
    /**
     * `sizeof(wtcache_feed)`.
     */
    size_t struct_size;
    /**
     * One of `WTCACHE_FEED_*`.
     */
    int32_t state;
    /**
     * Zero.
     */
    int32_t reserved;
    /**
     * For how long it has been that.
     */
    uint64_t state_for_ms;
    /**
     * Connections that were made; of a poll, answers.
     */
    uint64_t connections;
    /**
     * How often all was forgotten, since something may have been missed.
     */
    uint64_t gaps;
    /**
     * Changes that were read.
     */
    uint64_t changes;
    /**
     * Of these, records and absences that became resident.
     */
    uint64_t taken;
    /**
     * Those that were not news.
     */
    uint64_t passed_over;
    /**
     * Those that made a key or more be forgotten.
     */
    uint64_t invalidated;
    /**
     * Events and changes that could not be read. Each is a gap.
     */
    uint64_t unreadable;
    /**
     * Panics while it was read or a change applied. Each is a gap.
     */
    uint64_t panics;
} wtcache_feed;

/**
 * What the Python package hands over: the addresses of functions of Python's stable ABI, by their names there. Set `struct_size` to its
 * `sizeof`.
 */
typedef struct wtcache_python {
    /**
     * `sizeof(wtcache_python)`.
     */
    size_t struct_size;
    /**
     * `object.__basicsize__`.
     */
    size_t object_size;
    const void *Py_IncRef;
    const void *Py_DecRef;
    const void *PyBytes_AsStringAndSize;
    const void *PyBytes_FromStringAndSize;
    const void *PyDict_New;
    const void *PyDict_SetItem;
    const void *PyErr_Clear;
    const void *PyLong_AsVoidPtr;
    const void *PyObject_Call;
    const void *PyObject_GetAttrString;
    const void *PyObject_Type;
    const void *PyTuple_GetItem;
    const void *PyTuple_New;
    const void *PyTuple_SetItem;
    const void *PyTuple_Size;
    const void *PyType_FromSpec;
    const void *PyType_GetSlot;
    const void *PyUnicode_AsUTF8AndSize;
} wtcache_python;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- The number of the ABI ---- */

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

/* ---- Errors ---- */

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
 * Of a write in doubt: the handle to wait for the end of the doubt, send the write again or say what became of it; to be freed with
 * `wtcache_doubt_free`. It outlives the error. NULL where no write is in doubt.
 */
struct wtcache_doubt *wtcache_error_doubt(const struct wtcache_error *error);

/**
 * Of `WTCACHE_ERR_UNMET`: the record that is there, to be freed with `wtcache_entry_free`. It outlives the error. NULL where there is
 * none.
 */
struct wtcache_entry *wtcache_error_existing(const struct wtcache_error *error);

/**
 * What the HTTP origin answered in place of what was asked for: the body, decoded, of at most 64 KiB, and its length in `*len`, which may be NULL.
 * `wtcache_error_source_code` is its status. Of `WTCACHE_ERR_CONFLICT` it is the record as it stands there, where the origin sends that. Valid as
 * long as the error. NULL where the origin answered nothing; not NULL where its answer has no body.
 */
const void *wtcache_error_answer(const struct wtcache_error *error,
                                 size_t *len);

/**
 * The content type of that answer, as `wtcache_error_answer` gives its body. NULL where the origin named none.
 */
const void *wtcache_error_answer_type(const struct wtcache_error *error,
                                      size_t *len);

/**
 * The ETag of that answer, the same way: of `WTCACHE_ERR_CONFLICT` the version that the record has now, where the origin says so, for another
 * `wtcache_put_if`. NULL where it gave none.
 */
const void *wtcache_error_answer_version(const struct wtcache_error *error,
                                         size_t *len);

/**
 * 1 if the body of that answer is longer than what is kept of it, or ended early, or could not be decoded; else 0.
 */
int32_t wtcache_error_answer_truncated(const struct wtcache_error *error);

/**
 * Frees an error, and releases its cause if no other error has it. NULL is fine.
 */
void wtcache_error_free(struct wtcache_error *error);

/* ---- Configuration ---- */

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
 *   "stale_while_revalidate_ms": 0,
 *   "stale_if_error_ms": 0,
 *   "keep_expired_ms": 86400000,
 *   "refresh_ahead": 0.0,
 *   "refresh_threads": 2,
 *   "refresh_queue": 1024,
 *   "jitter": 0.0,
 *   "in_doubt_writes_wait": false,
 *   "absent_after_delete": false,
 *   "clean_start": false,
 *   "stray_window_ms": 0,
 *   "most_doubts": 65536,
 *   "turn_queue": 1024,
 *   "load_queue": 65536,
 *   "longest_key_bytes": 1024,
 *   "shards": 8,
 *   "key_index": false,
 *   "separator": ":",
 *   "tag_memory": 1024,
 *   "optimistic_threads": 4,
 *   "optimistic_most": 16384,
 *   "optimistic_weight_bytes": 67108864,
 *   "optimistic_deadline_ms": 5000,
 *   "audit_every_ms": 1000,
 *   "http": {
 *     "url": "http://inventory.internal:8080/items/{id}",
 *     "headers": { "Authorization": "Bearer secret" },
 *     "timeout_ms": 5000,
 *     "connect_timeout_ms": 1000,
 *     "name_ttl_ms": 30000,
 *     "max_in_flight": 64,
 *     "max_queued": 1024,
 *     "max_idle_connections": 16,
 *     "max_idle_age_ms": 15000,
 *     "write_max_idle_age_ms": 2000,
 *     "body_limit_bytes": 1048576,
 *     "freshness": "table",
 *     "heuristic_share": 0.0,
 *     "heuristic_longest_ms": 86400000,
 *     "last_modified": false,
 *     "record_at": "",
 *     "record_in_array": false,
 *     "put_at": "",
 *     "settle_window_ms": 10000,
 *     "stores_verbatim": false,
 *     "honours_preconditions": false,
 *     "honours_idempotency": false,
 *     "versions_never_reused": false,
 *     "versions": "opaque",
 *     "idempotency_header": "Idempotency-Key",
 *     "compression": true,
 *     "proxy": "none",
 *     "tls": { "system_roots": false },
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
 * These are the defaults, but for `lifetime_ms`, which is without end, `keep_expired_ms`, which is not set, `shards`, which depend on the machine, `audit_every_ms`, which is off,
 * and url and headers, which have none. What a member means, its setter says; of those that have none:
 *
 * - `heuristic_share`, from 0 to 1: with `freshness` of the origin, an answer that says when its record was last modified, and nothing of how
 *   long it is fresh, is so for this share of the time that it had then been as it is, `heuristic_longest_ms` at most. 0: no guess is made.
 * - `last_modified`: an answer without an ETag has its Last-Modified for a version. Not together with `honours_preconditions`.
 * - `record_at`: where in the body of an answer the record is, a JSON pointer such as `/data`. `record_in_array`: there is an array with the
 *   record as its one member; an empty one says that there is none. `put_at`: where in the body of a put the record stands.
 * - `batch`, which is not there by default: the origin gives several records with one request, whose URL has `{ids}` once, of the same host as `url`. Its
 *   members, with their defaults: `separator` `","`, `most_keys` 100, `records_at` `""` (where in the answer the array of records is), `key_at` `"/id"`
 *   (where in a record its key is), `version_at` (where its version is; without, it has none), `body_limit_bytes` 16 MiB, and
 *   `window_ms` 0: loads of single records that begin within so long go out together. Then `wtcache_get_many` asks once for many keys. What an
 *   answer lacks is absent; so it must never be one page of several.
 * - `create`, which is not there by default: where `wtcache_create` sends a record, with `POST`. Its members: `url`, of the same host as `url`, and `key_at`, by
 *   default `"/id"`: where in the record that is answered its key is. Without one there, it is taken from `Location`.
 * - `list`, which is not there by default: where the origin lists records by queries of its own, for `wtcache_list`. Its members: `url`, of the same host as `url`, which
 *   the query is added to; `records_at`, `key_at`, `version_at` and `body_limit_bytes`, as of `batch`; and `parts_by` `["select", "fields"]`: what in a
 *   query may have the origin answer with parts of records, which are not kept then.
 * - `versions`: how the ETags of a record stand to each other: `opaque`; `number`, each has one number in it, which grows; or `bytes`, the later one is greater
 *   byte by byte.
 * - `subscribe`, which is not there by default: the origin tells of its changes, and a thread of the cache's own does to it what they say, from
 *   `wtcache_open` until the cache is closed, or gone with its last handle. Its members, with their defaults: `url`, a path or a whole URL of the origin's own host; `kind`
 *   `"sse"`, a stream of Server-Sent Events, or `"poll"`, asked again and again; `resumes` false: whether the stream goes on after a `Last-Event-ID` or says
 *   reset; `silence_ms` 30,000: if it says nothing for so long, it is cut off; `while_cut_off` `"serve"`: what is held is served for its lifetime, or
 *   `{"forget_after_ms": 5000}`: all is forgotten once it is cut off for so long; `max_event_bytes` 1 MiB; of a poll, `cursor` `"cursor"`, the name that
 *   it has in the query, and `poll_every_ms` 1,000, from one to the next after an answer without changes; and `form`, how a change is written, the names of its members: `op`,
 *   `key`, `record`, `version`, and `version_as` `"{version}"`, how an ETag is made of that. A record that is told is taken where one is held and `versions` says that it is
 *   newer; else its key is forgotten. Whenever something may have been missed, all is.
 * - `name_ttl_ms`: how long the addresses of the origin's name are kept. `max_idle_connections` are kept, each for `max_idle_age_ms` without a request;
 *   one that had none for `write_max_idle_age_ms` is not used for a write, which would be in doubt where the origin closes it just then. Have both
 *   below the time after which the origin closes what is idle.
 * - `max_in_flight` requests are at the origin at once, and `max_queued` calls wait for one of them to end; what is more is refused.
 * - `retries`: a load is attempted so many times more, a write only where that is safe. `attempt_timeout_ms`, which is not set by default, is the
 *   longest that an attempt may take which is not the last one; without it, an attempt has all the time that is left.
 * - `breaker`: where so much of at least so many calls within the window failed, the origin is left alone for a while.
 * - `headers`: a value is a text, or `{"file": "/run/secrets/key"}`, or `{"environment": "KEY"}`.
 * - `auth`: `{"bearer": VALUE}` or `{"basic": {"user": "me", "password": VALUE}}`, with such values; not set by default. What stands in a file is read when the
 *   cache is opened, and again where the origin answers 401: if it is another value then, the request is sent again with that, once.
 * - `compression`: answers are asked for compressed. With `honours_preconditions`, the default is false.
 * - `tls`: `roots` is a file in PEM with the certificates that an https origin's is checked against, instead of the public ones built in;
 *   `system_roots`: those of the system, beside these or alone; `certificate` and `key`: files in PEM, shown to an origin that asks for them.
 * - `proxy`: `none`; `environment`, for what `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say when this is called; or the URL of an http one.
 *
 * A member that is not
 * known, or of another type, or given twice, is an error whose message names it; then nothing was set.
 */
int32_t wtcache_config_load_json(struct wtcache_config *config,
                                 const void *json,
                                 size_t json_len,
                                 struct wtcache_error **err);

/**
 * The most that the cache holds, in bytes of keys, values and their headers, or in the unit of `wtcache_config_set_weigher`. Default 64 MiB.
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
 * For this long after it expired, a record is served stale while it is refreshed in the background: `wtcache_entry_stale_ms` says so. Never
 * an absence, and never what was invalidated, written or is in doubt. Default 0: not at all.
 */
int32_t wtcache_config_set_stale_while_revalidate_ms(struct wtcache_config *config,
                                                     uint64_t window_ms,
                                                     struct wtcache_error **err);

/**
 * For this long after it expired, a record is served stale where its load fails or is late; not where the origin answered that it
 * refuses. Otherwise as `wtcache_config_set_stale_while_revalidate_ms`. Default 0: not at all.
 */
int32_t wtcache_config_set_stale_if_error_ms(struct wtcache_config *config,
                                             uint64_t window_ms,
                                             struct wtcache_error **err);

/**
 * For this long after it expired, a record is kept at most: to be offered to the origin, and to be served stale, whatever the windows and calls
 * say. After that it is as if it were not there; the room that it takes is given back at the next call of its key, or where room is wanted.
 * Default: until room is wanted.
 */
int32_t wtcache_config_set_keep_expired_ms(struct wtcache_config *config,
                                           uint64_t time_ms,
                                           struct wtcache_error **err);

/**
 * In this last share of its lifetime, from 0 to less than 1, a record that is read is refreshed in the background before it expires. Default
 * 0: not at all.
 */
int32_t wtcache_config_set_refresh_ahead(struct wtcache_config *config,
                                         double share,
                                         struct wtcache_error **err);

/**
 * How many threads of the cache's own refresh records. They begin with the first refresh and end with the cache. Default 2.
 */
int32_t wtcache_config_set_refresh_threads(struct wtcache_config *config,
                                           size_t threads,
                                           struct wtcache_error **err);

/**
 * How many refreshes may wait for a thread; what is more is counted and not done. Default 1,024.
 */
int32_t wtcache_config_set_refresh_queue(struct wtcache_config *config,
                                         size_t waiting,
                                         struct wtcache_error **err);

/**
 * Shortens each lifetime at random by up to this share, 0 to 1, so that what was loaded together does not expire together. Default 0.
 */
int32_t wtcache_config_set_jitter(struct wtcache_config *config,
                                  double share,
                                  struct wtcache_error **err);

/**
 * 1: an unconditional write of a key in doubt waits for the end of the doubt if that comes within its deadline, and is refused with
 * `WTCACHE_ERR_HELD_BACK` else. 0, the default: it goes out in its turn.
 */
int32_t wtcache_config_set_in_doubt_writes_wait(struct wtcache_config *config,
                                                int32_t wait,
                                                struct wtcache_error **err);

/**
 * 1: after an applied delete, the absence is remembered at once. 0, the default: the next read asks.
 */
int32_t wtcache_config_set_absent_after_delete(struct wtcache_config *config,
                                               int32_t yes,
                                               struct wtcache_error **err);

/**
 * 1 asserts that no write of an earlier process can still be under way at the origin. 0, the default: what is read or written within the
 * first settle window is served no longer than to its end.
 */
int32_t wtcache_config_set_clean_start(struct wtcache_config *config,
                                       int32_t yes,
                                       struct wtcache_error **err);

/**
 * How long after the opening writes of an earlier cache of the same origin may still land, where that is longer than the source's settle
 * window: the earlier one had a longer one, say. What is read or written in that time is served no longer than to its end. Without a meaning with
 * `wtcache_config_set_clean_start`. Default 0: the settle window.
 */
int32_t wtcache_config_set_stray_window_ms(struct wtcache_config *config,
                                           uint64_t window_ms,
                                           struct wtcache_error **err);

/**
 * How many keys in doubt and writes on their way there may be at once; when it is met, writes are refused. Default 65,536.
 */
int32_t wtcache_config_set_most_doubts(struct wtcache_config *config,
                                       size_t keys,
                                       struct wtcache_error **err);

/**
 * How many writes of one key may wait for their turn. Default 1,024.
 */
int32_t wtcache_config_set_turn_queue(struct wtcache_config *config,
                                      size_t writes,
                                      struct wtcache_error **err);

/**
 * How many reads may wait for one load. Default 65,536.
 */
int32_t wtcache_config_set_load_queue(struct wtcache_config *config,
                                      size_t reads,
                                      struct wtcache_error **err);

/**
 * The longest key, in bytes; 1 MiB at most. Default 1,024.
 */
int32_t wtcache_config_set_longest_key_bytes(struct wtcache_config *config,
                                             size_t bytes,
                                             struct wtcache_error **err);

/**
 * Into how many parts the cache is divided, each with a lock of its own: 1 to 1,024, rounded up to a power of two. Default: four a core,
 * fewer where there is room for few entries.
 */
int32_t wtcache_config_set_shards(struct wtcache_config *config,
                                  size_t shards,
                                  struct wtcache_error **err);

/**
 * 1: the entries are kept in the order of their keys too, so that `wtcache_invalidate_prefix` costs what it matches. It takes some 40 bytes
 * an entry. Default 0.
 */
int32_t wtcache_config_set_key_index(struct wtcache_config *config,
                                     int32_t yes,
                                     struct wtcache_error **err);

/**
 * What parts the sections of a key: a star in a pattern does not match it. No star and no backslash. Default `:`.
 */
int32_t wtcache_config_set_separator(struct wtcache_config *config,
                                     uint8_t separator,
                                     struct wtcache_error **err);

/**
 * How many of the latest invalidations of tags are remembered; where more come while a load or write runs, nothing with a tag that it brings
 * is kept. Default 1,024.
 */
int32_t wtcache_config_set_tag_memory(struct wtcache_config *config,
                                      size_t invalidations,
                                      struct wtcache_error **err);

/**
 * How many threads of the cache's own settle pending writes: so many are at the origin at once. They begin with the first pending write and
 * end with the cache. Default 4.
 */
int32_t wtcache_config_set_optimistic_threads(struct wtcache_config *config,
                                              size_t threads,
                                              struct wtcache_error **err);

/**
 * How many writes may be pending at once; what is more is refused with `WTCACHE_ERR_OVERLOADED`. Default 16,384.
 */
int32_t wtcache_config_set_optimistic_most(struct wtcache_config *config,
                                           size_t writes,
                                           struct wtcache_error **err);

/**
 * How much all pending writes may weigh together, in bytes of keys, values and headers, or in the unit of
 * `wtcache_config_set_weigher`. Default 64 MiB.
 */
int32_t wtcache_config_set_optimistic_weight_bytes(struct wtcache_config *config,
                                                   uint64_t weight_bytes,
                                                   struct wtcache_error **err);

/**
 * How long a pending write may take that says nothing itself, the wait for its turn included; a day at most. Default: the deadline of
 * calls.
 */
int32_t wtcache_config_set_optimistic_deadline_ms(struct wtcache_config *config,
                                                  uint64_t deadline_ms,
                                                  struct wtcache_error **err);

/**
 * Turns the auditor on, for an origin that others write to without telling this cache: a thread of the cache's own that asks the source
 * again about entries picked at random, one call in each interval of this length; 1 ms to a day. What differs for longer than 1, 10 and
 * 60 s is counted and told to the listener; nothing is changed. Default: off.
 */
int32_t wtcache_config_set_audit_every_ms(struct wtcache_config *config,
                                          uint64_t interval_ms,
                                          struct wtcache_error **err);

/**
 * The URL of the HTTP origin's records: absolute, http or https, with `{id}` once in its path or query, where the key is put, percent-encoded. It
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

/* ---- A listener ---- */

/**
 * The caches that are opened with this configuration tell `listener` what happens to their keys; it takes the place of one that was
 * set before.
 *
 * `destroy`, which may be NULL, is called exactly once with `user_data`: after the last callback returned, when configuration and caches
 * are gone, or here if this is refused.
 */
int32_t wtcache_config_set_listener(struct wtcache_config *config,
                                    wtcache_listener_call listener,
                                    void *user_data,
                                    void (*destroy)(void *user_data),
                                    struct wtcache_error **err);

/* ---- Weights, tags and indexes ---- */

/**
 * Adds a tag, or a value in the index, of `len` bytes, which are copied.
 */
int32_t wtcache_extract_add(struct wtcache_extract *to,
                            const void *value,
                            size_t len,
                            struct wtcache_error **err);

/**
 * Says that what was added is all there is.
 */
int32_t wtcache_extract_done(struct wtcache_extract *to, struct wtcache_error **err);

/**
 * The caches that are opened with this configuration ask `weigh` what an entry weighs, in place of the bytes of key, value and header; it
 * takes the place of one that was set before. The capacity (`wtcache_config_set_capacity_bytes`) and
 * `wtcache_config_set_optimistic_weight_bytes` are in its unit then.
 *
 * `destroy`, which may be NULL, is called exactly once with `user_data`: after the last callback returned, when configuration and caches
 * are gone, or here if this is refused.
 */
int32_t wtcache_config_set_weigher(struct wtcache_config *config,
                                   wtcache_weigh_call weigh,
                                   void *user_data,
                                   void (*destroy)(void *user_data),
                                   struct wtcache_error **err);

/**
 * The caches that are opened with this configuration ask `tags` which tags a record has, beside those that the source gives it: by a tag,
 * `wtcache_invalidate_tag` forgets all records that have it. It takes the place of one that was set before.
 *
 * `destroy` as of `wtcache_config_set_weigher`.
 */
int32_t wtcache_config_set_tags(struct wtcache_config *config,
                                wtcache_extract_call tags,
                                void *user_data,
                                void (*destroy)(void *user_data),
                                struct wtcache_error **err);

/**
 * The caches that are opened with this configuration have an index of this name, a text: `wtcache_find` finds their records in it by the
 * values that `extract` says. There are 65,535 at most. A name that is given twice is refused when the cache is opened.
 *
 * `destroy` as of `wtcache_config_set_weigher`.
 */
int32_t wtcache_config_add_index(struct wtcache_config *config,
                                 const void *name,
                                 size_t name_len,
                                 wtcache_extract_call extract,
                                 void *user_data,
                                 void (*destroy)(void *user_data),
                                 struct wtcache_error **err);

/**
 * Finds the resident records that have a value in the index of that name. It is no list of what the origin has: what was never loaded,
 * has expired or is in doubt is not there. Of a key with pending writes, it is what the origin confirmed last. Never waits, and calls no
 * source.
 *
 * `*results` has an answer for each record, in no order, each with an entry that has the key, to be freed with `wtcache_results_free`, or is
 * NULL. `expired` may be NULL; else `*expired` is how many resident records have the value and may no longer be served. Gives
 * `WTCACHE_OK` also where there is none, and on a closed cache; `WTCACHE_ERR_ARGUMENT` where no index has that name.
 */
int32_t wtcache_find(const struct wtcache_cache *cache,
                     const void *index,
                     size_t index_len,
                     const void *value,
                     size_t value_len,
                     struct wtcache_results **results,
                     size_t *expired,
                     struct wtcache_error **err);

/* ---- Open, share, close ---- */

/**
 * Opens a cache over the HTTP origin that `config` names. The origin is not asked yet; but where the configuration has `http.subscribe`, a thread of
 * the cache's own begins to, until the cache is closed or gone.
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
 * Another handle on the same cache, to be freed like the first. NULL for NULL, and in the child of a fork for a handle of the
 * parent's.
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
 * let the timeout be 0: that write cannot end before. A thread that follows the origin's feed ends too, in a tenth of a second, or once it
 * has connected or given that up; what is left of the timeout is waited for that.
 *
 * `report` may be NULL; else `*report` says what was left unfinished, to be freed with `wtcache_close_report_free`.
 */
int32_t wtcache_close(const struct wtcache_cache *cache,
                      uint64_t timeout_ms,
                      struct wtcache_close_report **report,
                      struct wtcache_error **err);

/**
 * Waits until no write of the cache is out or pending, for `timeout_ms` at most: each that was sent has its outcome, or is in doubt. Gives
 * `WTCACHE_PENDING` if that is not so by then. Calls go on as before; whoever calls this sees to it that nobody writes meanwhile. So a program
 * puts another cache in the place of one: it drains the first, opens the second, and closes the first. Within a function of a source that writes, it
 * waits for that write too, and so for itself, until `timeout_ms` is over.
 */
int32_t wtcache_drain(const struct wtcache_cache *cache,
                      uint64_t timeout_ms,
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

/* ---- Read ---- */

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
 * 1 if pending writes have a part in it, so that the origin has not confirmed it; else 0, also for NULL.
 */
int32_t wtcache_entry_is_pending(const struct wtcache_entry *entry);

/**
 * How long it may still be served as fresh, in milliseconds; `UINT64_MAX` without end, 0 where it has expired. `cache` is the one that
 * gave it. 0 for NULL, and in the child of a fork.
 */
uint64_t wtcache_entry_remaining_ms(const struct wtcache_entry *entry,
                                    const struct wtcache_cache *cache);

/**
 * For how long it has been expired, in milliseconds: more than 0 only for what was served stale, in a window that its source, the
 * configuration or the call declares, or has expired since it was given. Otherwise as `wtcache_entry_remaining_ms`.
 */
uint64_t wtcache_entry_stale_ms(const struct wtcache_entry *entry,
                                const struct wtcache_cache *cache);

/**
 * How long ago the request began that brought it, or confirmed it last, in milliseconds, rounded up; of a pending one, how long ago the oldest
 * of the writes was admitted that it shows. Otherwise as `wtcache_entry_remaining_ms`.
 */
uint64_t wtcache_entry_age_ms(const struct wtcache_entry *entry,
                              const struct wtcache_cache *cache);

/**
 * Another handle on the same record, to be freed like the first. NULL for NULL.
 */
struct wtcache_entry *wtcache_entry_clone(const struct wtcache_entry *entry);

/**
 * Frees an entry, and with it what it gave pointers to. NULL is fine.
 */
void wtcache_entry_free(struct wtcache_entry *entry);

/* ---- Many keys in one call ---- */

/**
 * Reads the records of many keys: an answer for each, as `wtcache_get` gives it. What is resident is taken in one step, so that no part
 * of a transaction is seen. Waits to the deadline at most, which is that of the whole call.
 *
 * `keys` are `count` keys, of which some may be alike. `*results` has an answer for each, to be freed with `wtcache_results_free`, or is
 * NULL. `call` may be NULL. Gives `WTCACHE_OK` also where some keys could not be read: `wtcache_results_status` says so of each.
 */
int32_t wtcache_get_many(const struct wtcache_cache *cache,
                         const struct wtcache_bytes *keys,
                         size_t count,
                         const struct wtcache_call *call,
                         struct wtcache_results **results,
                         struct wtcache_error **err);

/**
 * Writes many records, one after the other in the order given, each as `wtcache_put` does. It is no transaction: a write that fails stops
 * none of the others. Waits to the deadline at most, which is that of the whole call; what was not sent by then is not sent.
 *
 * `keys` and `values` are `count` each. `*results` has an answer for each, to be freed with `wtcache_results_free`, or is NULL. `call` may be
 * NULL. Gives `WTCACHE_OK` also where some were not applied: `wtcache_results_status` says so of each.
 */
int32_t wtcache_put_many(const struct wtcache_cache *cache,
                         const struct wtcache_bytes *keys,
                         const struct wtcache_bytes *values,
                         size_t count,
                         const struct wtcache_call *call,
                         struct wtcache_results **results,
                         struct wtcache_error **err);

/**
 * How many answers there are; 0 for NULL.
 */
size_t wtcache_results_count(const struct wtcache_results *results);

/**
 * The status of one answer, as `wtcache_get` or `wtcache_put` would have given it. `WTCACHE_ERR_ARGUMENT` where there is no answer of that
 * index.
 */
int32_t wtcache_results_status(const struct wtcache_results *results,
                               size_t index);

/**
 * The record of one answer, which is the results': not to be freed; `wtcache_entry_clone` makes a handle that outlives them. NULL where
 * there is none.
 */
const struct wtcache_entry *wtcache_results_entry(const struct wtcache_results *results,
                                                  size_t index);

/**
 * The error of one answer, which is the results': not to be freed. NULL where there is none.
 */
const struct wtcache_error *wtcache_results_error(const struct wtcache_results *results,
                                                  size_t index);

/**
 * Frees results, with all entries and errors in them. NULL is fine.
 */
void wtcache_results_free(struct wtcache_results *results);

/* ---- The origin's lists ---- */

/**
 * Asks the HTTP origin for its list, `http.list`, with this query as it stands in a URL, percent-encoded and without a question mark, and keeps the
 * records as what loads bring. One whose key moved meanwhile, or is being written or in doubt, is given and not kept; and so are all
 * where the query has one of `parts_by`. What is pending is not in them.
 *
 * The cache must be one of `wtcache_open`. Of `call`, which may be NULL, only the deadline counts; the rest is refused. `*results` has an answer for
 * each record, in the origin's order, each with an entry that has the key, to be freed with `wtcache_results_free`, or is NULL. It is all that
 * the origin has for the query only if `*wrong` and `*has_next_page` are 0; either pointer may be NULL. `*wrong`: how many members of the answer are
 * not among the records: they are none, tell no key, are there more than once or are larger than an entry can be. `*has_next_page`: 1 if the answer
 * says in a `Link` that it is one page of several, and not the last.
 *
 * Gives `WTCACHE_ERR_ARGUMENT` where there is no `http.list`, or no URL can hold the query, and other errors as `wtcache_get`; nothing was kept then.
 */
int32_t wtcache_list(const struct wtcache_cache *cache,
                     const void *query,
                     size_t query_len,
                     const struct wtcache_call *call,
                     struct wtcache_results **results,
                     size_t *wrong,
                     int32_t *has_next_page,
                     struct wtcache_error **err);

/**
 * As `wtcache_list`, otherwise as `wtcache_get_async`: it completes in `queue`, with `wtcache_completion_listed`.
 */
int32_t wtcache_list_async(const struct wtcache_queue *queue,
                           const struct wtcache_cache *cache,
                           const void *query,
                           size_t query_len,
                           const struct wtcache_call *call,
                           void *token,
                           uint64_t *id,
                           struct wtcache_error **err);

/* ---- Write through, also on a condition ---- */

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
 * As `wtcache_put`, if what is expected holds of the existing record: the resident one, else the origin's, asked now. It is checked in
 * the write's turn, so that no other writer of this process comes between, and goes on to an origin that is declared to honour
 * preconditions; else it is checked here only, and a writer elsewhere may come between.
 *
 * Gives `WTCACHE_ERR_UNMET` where it does not hold: nothing was sent, nothing has changed, and `wtcache_error_existing` is the record
 * that is there. `WTCACHE_ERR_CONFLICT` where the origin found so: what was cached was dropped.
 */
int32_t wtcache_put_if(const struct wtcache_cache *cache,
                       const void *key,
                       size_t key_len,
                       const void *value,
                       size_t value_len,
                       const struct wtcache_expect *expect,
                       const struct wtcache_call *call,
                       struct wtcache_entry **entry,
                       struct wtcache_error **err);

/**
 * As `wtcache_delete`, if what is expected holds of the existing record: see `wtcache_put_if`. What the origin no longer has is a
 * conflict here.
 */
int32_t wtcache_delete_if(const struct wtcache_cache *cache,
                          const void *key,
                          size_t key_len,
                          const struct wtcache_expect *expect,
                          const struct wtcache_call *call,
                          struct wtcache_error **err);

/* ---- Records whose keys the origin names ---- */

/**
 * Has the origin make a record whose key it names itself, and keeps it under that key. It takes no turn, for there is no key before the
 * answer. Over HTTP it needs `http.create`; a source of the program's own refuses it.
 *
 * `created` may be NULL; else `*created` says what came of it, to be freed with `wtcache_created_free`, or is NULL. `call` may be NULL. Gives
 * `WTCACHE_OK` once the record was made. After `WTCACHE_ERR_IN_DOUBT` nobody knows whether it was, or still will be: no key is in doubt, since none is
 * known, and `wtcache_error_doubt` gives NULL. After any other error but `WTCACHE_ERR_PANIC` it was not made, and never will be.
 */
int32_t wtcache_create(const struct wtcache_cache *cache,
                       const void *value,
                       size_t value_len,
                       const struct wtcache_call *call,
                       struct wtcache_created **created,
                       struct wtcache_error **err);

/**
 * As `wtcache_create`, otherwise as `wtcache_get_async`: it completes in `queue`, with `wtcache_completion_created`.
 */
int32_t wtcache_create_async(const struct wtcache_queue *queue,
                             const struct wtcache_cache *cache,
                             const void *value,
                             size_t value_len,
                             const struct wtcache_call *call,
                             void *token,
                             uint64_t *id,
                             struct wtcache_error **err);

/**
 * The key that the origin gave the record, and its length in `*len`, which may be NULL. Valid until it is freed. NULL where the record was made and
 * its key could not be told from the answer; then nothing is kept.
 */
const void *wtcache_created_key(const struct wtcache_created *created,
                                size_t *len);

/**
 * The record that the origin confirmed. It is lent, and not to be freed: `wtcache_entry_clone` makes a handle that outlives `created`. NULL
 * where it was not seen: the next read of the key asks for it.
 */
const struct wtcache_entry *wtcache_created_entry(const struct wtcache_created *created);

/**
 * 1 if the cache serves the record now. 0 where the next read asks the origin: it is too heavy, has no lifetime, or something that may be newer
 * came by its key since it was sent.
 */
int32_t wtcache_created_is_kept(const struct wtcache_created *created);

/**
 * Frees what came of it. NULL is fine.
 */
void wtcache_created_free(struct wtcache_created *created);

/* ---- Patches that the origin merges ---- */

/**
 * Sends a JSON merge patch (RFC 7396) of a key's record to the HTTP origin, which merges it, and keeps the record that it answers with. It is a
 * write of the key: it waits for its turn, as `wtcache_put` does. The record is not loaded for it. The origin has to take `PATCH`.
 *
 * The cache must be one of `wtcache_open`; one over a source of the program's own gives `WTCACHE_ERR_ARGUMENT`, as what is no JSON does. Nothing
 * else of the patch is checked here. `call`, `entry` and what is given are as of `wtcache_put`. `*entry` is NULL too where the origin answered
 * without the record: the next read asks for it. A patch in doubt cannot be sent again by `wtcache_error_doubt`, only settled or waited for.
 */
int32_t wtcache_patch(const struct wtcache_cache *cache,
                      const void *key,
                      size_t key_len,
                      const void *patch,
                      size_t patch_len,
                      const struct wtcache_call *call,
                      struct wtcache_entry **entry,
                      struct wtcache_error **err);

/**
 * As `wtcache_patch`, otherwise as `wtcache_put_async`.
 */
int32_t wtcache_patch_async(const struct wtcache_queue *queue,
                            const struct wtcache_cache *cache,
                            const void *key,
                            size_t key_len,
                            const void *patch,
                            size_t patch_len,
                            const struct wtcache_call *call,
                            void *token,
                            uint64_t *id,
                            struct wtcache_error **err);

/* ---- Update: read, change and write in one turn ---- */

/**
 * This becomes the record. `value`, of `value_len` bytes, is copied.
 */
int32_t wtcache_change_put(struct wtcache_change *change,
                           const void *value,
                           size_t value_len,
                           struct wtcache_error **err);

/**
 * The record goes.
 */
int32_t wtcache_change_delete(struct wtcache_change *change, struct wtcache_error **err);

/**
 * Everything stays as it is; nothing is sent.
 */
int32_t wtcache_change_keep(struct wtcache_change *change, struct wtcache_error **err);

/**
 * The update is not to be made: the call that asked for it fails with `WTCACHE_ERR_REJECTED` and this failure, whose verdict says nothing, for
 * nothing is sent. Of a merge it is refused. If this is refused, `release_cause` was called, as by `wtcache_reply_error`.
 */
int32_t wtcache_change_refuse(struct wtcache_change *change,
                              const struct wtcache_failure *failure,
                              struct wtcache_error **err);

/**
 * Reads the record of a key, has `update` say what becomes of it, and writes that, all in one turn: between writers of this process no
 * update is lost. `update` is called once at most, in this thread, before this returns. What is pending is not shown to it.
 *
 * `entry` and `call` may be NULL. Gives `WTCACHE_OK` once it was applied, with `*entry` as by `wtcache_put`, or kept, with the record
 * that is there; and errors as `wtcache_put`. A callback that says nothing is `WTCACHE_ERR_REJECTED`: nothing was sent.
 */
int32_t wtcache_update(const struct wtcache_cache *cache,
                       const void *key,
                       size_t key_len,
                       wtcache_update_call update,
                       void *user_data,
                       const struct wtcache_call *call,
                       struct wtcache_entry **entry,
                       struct wtcache_error **err);

/* ---- Forget ---- */

/**
 * Forgets what is held of a key; the origin is not asked. No read that starts after this returned gives what was cached
 * before it, and nothing that is under way now is kept. It never waits.
 */
int32_t wtcache_invalidate(const struct wtcache_cache *cache,
                           const void *key,
                           size_t key_len,
                           struct wtcache_error **err);

/**
 * Forgets all keys that begin with `prefix`, as `wtcache_invalidate` forgets one; with an empty one, all there are. Costs what it
 * matches where `wtcache_config_set_key_index` is on; else it looks at all entries. It never waits for the source.
 *
 * `forgotten` may be NULL; else it is told what it came to.
 */
int32_t wtcache_invalidate_prefix(const struct wtcache_cache *cache,
                                  const void *prefix,
                                  size_t prefix_len,
                                  struct wtcache_forgotten *forgotten,
                                  struct wtcache_error **err);

/**
 * Forgets all keys that match `pattern`: in it, `*` is anything but a separator (`:`, unless configured otherwise), a `*` at the end
 * is the whole rest, and `\*` is a star. Otherwise as `wtcache_invalidate_prefix`; the key index helps with what comes before the
 * first star.
 *
 * A backslash before something else than a star is refused with `WTCACHE_ERR_ARGUMENT`; nothing was forgotten then.
 */
int32_t wtcache_invalidate_pattern(const struct wtcache_cache *cache,
                                   const void *pattern,
                                   size_t pattern_len,
                                   struct wtcache_forgotten *forgotten,
                                   struct wtcache_error **err);

/**
 * Forgets all records that have `tag`; a source gives tags with `wtcache_record.tags`. What is under way now is not kept if it has it.
 * A remembered absence has no tags. Costs what it matches.
 *
 * `forgotten` may be NULL; else it is told what it came to.
 */
int32_t wtcache_invalidate_tag(const struct wtcache_cache *cache,
                               const void *tag,
                               size_t tag_len,
                               struct wtcache_forgotten *forgotten,
                               struct wtcache_error **err);

/* ---- Writes in doubt ---- */

/**
 * The key of the write, and its length in `*len`, which may be NULL. Valid until the handle is freed. NULL for NULL, and in the child of
 * a fork.
 */
const void *wtcache_doubt_key(const struct wtcache_doubt *doubt,
                              size_t *len);

/**
 * The key under which every send of the write goes out: 32 hexadecimal digits and a NUL. Valid until the handle is freed. NULL for NULL,
 * and in the child of a fork.
 */
const char *wtcache_doubt_idempotency_key(const struct wtcache_doubt *doubt);

/**
 * In how many milliseconds the doubt of the key ends by itself, unless a later write prolongs it; 0 where it has ended, for NULL, and in
 * the child of a fork.
 */
uint64_t wtcache_doubt_remaining_ms(const struct wtcache_doubt *doubt);

/**
 * What became of the write, one of `WTCACHE_SETTLEMENT_*`. Never waits. `WTCACHE_SETTLEMENT_NONE` for NULL, and in the child of a
 * fork.
 */
int32_t wtcache_doubt_outcome(const struct wtcache_doubt *doubt);

/**
 * Waits until the doubt of the key has ended, for `timeout_ms` at most. Gives `WTCACHE_OK` where it has, and `wtcache_doubt_outcome` says
 * what is known; else `WTCACHE_PENDING`.
 */
int32_t wtcache_doubt_wait(const struct wtcache_doubt *doubt,
                           uint64_t timeout_ms,
                           struct wtcache_error **err);

/**
 * Sends the very same write again, with its idempotency key and its condition, in a turn of its key; the idempotency key of `call`, which
 * may be NULL, does not count. Where the source declares `honours_idempotency`, the answer settles the doubt; elsewhere it is
 * one more send, which may be applied on top of the first and on what was written since, and the doubt goes on.
 *
 * `entry` as by `wtcache_put`. Gives `WTCACHE_OK` once it was applied. `WTCACHE_ERR_REJECTED`: the write was not applied, and will not be.
 * `WTCACHE_ERR_IN_DOUBT`: as before. Other errors say why nothing was sent; their outcome says that the write is in doubt as before:
 * `WTCACHE_ERR_CLOSED` also where the cache is gone, `WTCACHE_ERR_STATE` where the program sent the write itself, with a permit or in a
 * step.
 */
int32_t wtcache_doubt_replay(const struct wtcache_doubt *doubt,
                             const struct wtcache_call *call,
                             struct wtcache_entry **entry,
                             struct wtcache_error **err);

/**
 * Says what became of this write, on the word of a program that knows: `settlement` is one of `WTCACHE_SETTLEMENT_*` but NONE. A word that is
 * not true makes the cache serve what is not so. Never waits, and calls no source.
 *
 * Gives `WTCACHE_OK` where the key is no longer in doubt, or its cache is gone; `WTCACHE_PENDING` where other writes of it still are.
 */
int32_t wtcache_doubt_settle(const struct wtcache_doubt *doubt,
                             int32_t settlement,
                             struct wtcache_error **err);

/**
 * Frees a handle; the doubt goes on. NULL is fine.
 */
void wtcache_doubt_free(struct wtcache_doubt *doubt);

/**
 * Ends the doubt of a key, on the word of a program that knows that none of its writes in doubt can land any more: `settlement`, as by
 * `wtcache_doubt_settle`, says what became of them all. Gives `WTCACHE_NOT_FOUND` where the key is not in doubt; nothing has changed then.
 * Never waits, and calls no source.
 */
int32_t wtcache_settle(const struct wtcache_cache *cache,
                       const void *key,
                       size_t key_len,
                       int32_t settlement,
                       struct wtcache_error **err);

/**
 * Lists the keys of which nobody knows whether their last writes were, or will be, applied: `most` of them at most, in no order. The
 * member `in_doubt` of `wtcache_stats` counts them all. Never waits, and calls no source.
 *
 * `*list` is to be freed with `wtcache_doubt_list_free`, or NULL.
 */
int32_t wtcache_list_doubts(const struct wtcache_cache *cache,
                            size_t most,
                            struct wtcache_doubt_list **list,
                            struct wtcache_error **err);

/**
 * How many keys a list has; 0 for NULL.
 */
size_t wtcache_doubt_list_count(const struct wtcache_doubt_list *list);

/**
 * Tells of one of these keys, as far as `doubt->struct_size` says. `WTCACHE_NOT_FOUND` where there is none of that index.
 */
int32_t wtcache_doubt_list_get(const struct wtcache_doubt_list *list,
                               size_t index,
                               struct wtcache_key_in_doubt *doubt,
                               struct wtcache_error **err);

/**
 * Frees a list. NULL is fine.
 */
void wtcache_doubt_list_free(struct wtcache_doubt_list *list);

/* ---- Two phases, for programs that do their own I/O ---- */

/**
 * Takes the turn of a key. Waits for it to the deadline of the call, which is also the permit's: a permit that was not sent by then is
 * aborted, one that was is in doubt, and a later commit or reject counts as its late answer.
 *
 * `*permit` is to be freed with `wtcache_permit_free`, or NULL. `call` may be NULL. After an error nothing has happened.
 */
int32_t wtcache_prepare(const struct wtcache_cache *cache,
                        const void *key,
                        size_t key_len,
                        const struct wtcache_call *call,
                        struct wtcache_permit **permit,
                        struct wtcache_error **err);

/**
 * Before the send: the existing record, the resident one or else asked of the source now. The turn is held on, whatever this gives.
 *
 * `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. Gives `WTCACHE_OK`, `WTCACHE_NOT_FOUND`, or why it could not be
 * read.
 */
int32_t wtcache_permit_existing(struct wtcache_permit *permit,
                                struct wtcache_entry **entry,
                                struct wtcache_error **err);

/**
 * Before the send: how long the permit still holds, in milliseconds. 0 once it was sent or has ended, for NULL, and in the child of a
 * fork.
 */
uint64_t wtcache_permit_remaining_ms(struct wtcache_permit *permit);

/**
 * The key under which every send of the write should go out: 32 hexadecimal digits and a NUL. Valid until the permit is freed. NULL for
 * NULL, and in the child of a fork.
 */
const char *wtcache_permit_idempotency_key(struct wtcache_permit *permit);

/**
 * Gives the turn back before the send. Nothing has happened.
 */
int32_t wtcache_permit_abort(struct wtcache_permit *permit, struct wtcache_error **err);

/**
 * Says that the write leaves now: to be called before its first byte does. From here on, only a definite answer makes it certain.
 *
 * After `WTCACHE_ERR_DEADLINE` or `WTCACHE_ERR_CLOSED` nothing may be sent: the permit has ended, and nothing has happened.
 */
int32_t wtcache_permit_send(struct wtcache_permit *permit,
                            struct wtcache_error **err);

/**
 * The origin applied a put, and this is the record as it now stands there: reads are given it from now on. `record` says what is known
 * about it, and may be NULL. `entry` as by `wtcache_put`.
 */
int32_t wtcache_permit_commit(struct wtcache_permit *permit,
                              const void *value,
                              size_t value_len,
                              const struct wtcache_record *record,
                              struct wtcache_entry **entry,
                              struct wtcache_error **err);

/**
 * The origin applied a put, and its record is not known: the next read asks for it.
 */
int32_t wtcache_permit_commit_unseen(struct wtcache_permit *permit, struct wtcache_error **err);

/**
 * The origin applied a delete.
 */
int32_t wtcache_permit_commit_deleted(struct wtcache_permit *permit, struct wtcache_error **err);

/**
 * The origin certainly did not apply the write, and never will. `stale_base`, 0 or 1: its refusal proves that what is cached is not the
 * origin's record any more.
 */
int32_t wtcache_permit_reject(struct wtcache_permit *permit,
                              int32_t stale_base,
                              struct wtcache_error **err);

/**
 * Nobody can know whether the origin applied the write, for the reason in `failure`, whose verdict does not count: the key is in doubt.
 *
 * `doubt` may be NULL; else `*doubt` is the handle on it, to be freed with `wtcache_doubt_free`: only the program can send that write again,
 * and tells with `wtcache_doubt_settle` what came of it.
 */
int32_t wtcache_permit_in_doubt(struct wtcache_permit *permit,
                                const struct wtcache_failure *failure,
                                struct wtcache_doubt **doubt,
                                struct wtcache_error **err);

/**
 * Frees a permit: one that was not sent is aborted, one that was sent and has not ended leaves the key in doubt. NULL is fine.
 */
void wtcache_permit_free(struct wtcache_permit *permit);

/* ---- Optimistic writes: shown before they are confirmed ---- */

/**
 * Shows a value as the record of a key at once, marked pending, and writes it to the origin in the background, in its turn among all
 * writes of the key. If the origin refuses it, it is as if it had never been, and later writes of anyone stay. Never waits, and calls
 * no source in this thread.
 *
 * `pending` may be NULL; else `*pending` tells how it ended, to be freed with `wtcache_pending_free`, or is NULL. The deadline of `call`,
 * which may be NULL, is that of the write: its wait for the turn, and the source's work. After an error it was not admitted, and nothing
 * has changed; `WTCACHE_ERR_OVERLOADED` says that too much is pending.
 */
int32_t wtcache_put_optimistic(const struct wtcache_cache *cache,
                               const void *key,
                               size_t key_len,
                               const void *value,
                               size_t value_len,
                               const struct wtcache_call *call,
                               struct wtcache_pending **pending,
                               struct wtcache_error **err);

/**
 * Shows at once that there is no record of a key, and deletes it at the origin in the background: otherwise as `wtcache_put_optimistic`.
 */
int32_t wtcache_delete_optimistic(const struct wtcache_cache *cache,
                                  const void *key,
                                  size_t key_len,
                                  const struct wtcache_call *call,
                                  struct wtcache_pending **pending,
                                  struct wtcache_error **err);

/**
 * Shows at once what `merge` makes of the record of a key; in the background, in the write's turn, `merge` is given what the origin
 * confirmed, and what it makes of that is sent. Otherwise as `wtcache_put_optimistic`.
 *
 * `destroy`, which may be NULL, is called exactly once with `user_data`, from any thread, after the last call of `merge` returned, also
 * after an error.
 */
int32_t wtcache_merge_optimistic(const struct wtcache_cache *cache,
                                 const void *key,
                                 size_t key_len,
                                 wtcache_merge_call merge,
                                 void *user_data,
                                 void (*destroy)(void *user_data),
                                 const struct wtcache_call *call,
                                 struct wtcache_pending **pending,
                                 struct wtcache_error **err);

/**
 * Waits for the outcome, for `timeout_ms` at most. Gives `WTCACHE_PENDING` if it has not ended by then; else the same as `wtcache_put` or
 * `wtcache_delete` would have: `WTCACHE_OK` where it was applied, or why it was not, whoever asks and how often.
 *
 * `entry` may be NULL; else as by `wtcache_put`. From inside a callback that the write waits for, let the timeout be 0.
 */
int32_t wtcache_pending_wait(const struct wtcache_pending *pending,
                             uint64_t timeout_ms,
                             struct wtcache_entry **entry,
                             struct wtcache_error **err);

/**
 * 1 if its outcome is there, else 0, also for NULL and in the child of a fork. Never waits.
 */
int32_t wtcache_pending_has_ended(const struct wtcache_pending *pending);

/**
 * Takes it back while it waits for its turn, so that it is as if it had never been: its outcome is `WTCACHE_ERR_CANCELLED`. Gives
 * `WTCACHE_TOO_LATE` where it has its turn already, or has ended, and goes on as it would. Never waits.
 */
int32_t wtcache_pending_cancel(const struct wtcache_pending *pending,
                               struct wtcache_error **err);

/**
 * Frees a handle; the write goes on. NULL is fine.
 */
void wtcache_pending_free(struct wtcache_pending *pending);

/* ---- Transactions: describe and run ---- */

/**
 * Begins to describe a transaction on a cache. Nothing happens before it is run or started.
 *
 * `*transaction` is to be freed with `wtcache_transaction_free`, or NULL. It keeps the cache until it is run or freed.
 */
int32_t wtcache_transaction_new(const struct wtcache_cache *cache,
                                struct wtcache_transaction **transaction,
                                struct wtcache_error **err);

/**
 * A value is to be shown as the record of a key, for `lifetime_ms` or one of `WTCACHE_LIFETIME_*`. Where no step writes the key, it is
 * kept as it is once all steps have been applied; where a step has the source put it, its record has this lifetime if the source says none.
 */
int32_t wtcache_transaction_update(struct wtcache_transaction *transaction,
                                   const void *key,
                                   size_t key_len,
                                   const void *value,
                                   size_t value_len,
                                   int64_t lifetime_ms,
                                   struct wtcache_error **err);

/**
 * There is to be no record of a key: as `wtcache_transaction_update`.
 */
int32_t wtcache_transaction_remove(struct wtcache_transaction *transaction,
                                   const void *key,
                                   size_t key_len,
                                   struct wtcache_error **err);

/**
 * Adds a step: they are run in the order in which they were added. What a put or delete by the source writes is an update, too.
 *
 * `step` is copied, with what it points to; its `destroy` is called once, whatever this gives, unless `step` is NULL or its
 * `struct_size` wrong.
 */
int32_t wtcache_transaction_step(struct wtcache_transaction *transaction,
                                 const struct wtcache_step *step,
                                 struct wtcache_error **err);

/**
 * Once the steps have been applied, or may have been, all keys that begin with `prefix` are forgotten. If nothing was, they stay.
 */
int32_t wtcache_transaction_invalidate_prefix(struct wtcache_transaction *transaction,
                                              const void *prefix,
                                              size_t prefix_len,
                                              struct wtcache_error **err);

/**
 * The same for all keys that match `pattern`: see `wtcache_invalidate_pattern`. What is no pattern is refused with
 * `WTCACHE_ERR_ARGUMENT`, and the transaction is as it was.
 */
int32_t wtcache_transaction_invalidate_pattern(struct wtcache_transaction *transaction,
                                               const void *pattern,
                                               size_t pattern_len,
                                               struct wtcache_error **err);

/**
 * The same for all records that have `tag`.
 */
int32_t wtcache_transaction_invalidate_tag(struct wtcache_transaction *transaction,
                                           const void *tag,
                                           size_t tag_len,
                                           struct wtcache_error **err);

/**
 * How long it may take in milliseconds, the wait for the turns of its keys included; a day at most. Undoing has a time of its own. Default:
 * that of a write.
 */
int32_t wtcache_transaction_set_deadline_ms(struct wtcache_transaction *transaction,
                                            uint64_t deadline_ms,
                                            struct wtcache_error **err);

/**
 * How long undoing may take beyond the deadline, in milliseconds: for so long the turns are held. Default: the deadline of the cache's
 * calls where a step says how it is undone, else nothing.
 */
int32_t wtcache_transaction_set_undo_deadline_ms(struct wtcache_transaction *transaction,
                                                 uint64_t deadline_ms,
                                                 struct wtcache_error **err);

/**
 * Runs it in this thread: takes the turns of all its keys at once, runs its steps one after the other, and shows its updates, all in one
 * step, once all were applied. Where a step is refused, those before it are undone, the last one first, as far as they say how.
 *
 * It is run once: then it is only to be freed, and other calls give `WTCACHE_ERR_STATE`. `result` may be NULL; else `*result` is what came of
 * each step, also after an error, to be freed with `wtcache_transacted_free`; NULL where it was not run. Gives `WTCACHE_OK` where it is
 * committed: all steps were applied. `WTCACHE_ERR_PARTIAL` and `WTCACHE_ERR_IN_DOUBT`: see there. Any other error is that of the step which
 * was refused, and says that nothing of the transaction stands: no step was applied, or all that were are undone.
 */
int32_t wtcache_transaction_run(struct wtcache_transaction *transaction,
                                struct wtcache_transacted **result,
                                struct wtcache_error **err);

/**
 * Shows its updates at once, all in one step, and runs it in the background: what it shows leaves as it came. A step that only declares a
 * key shows nothing of it. Never waits, and calls nothing of the program's in this thread. Otherwise as `wtcache_transaction_run`.
 *
 * `started` may be NULL; else `*started` tells how it ended, to be freed with `wtcache_started_free`, or is NULL. After an error it was not
 * admitted, nothing has changed, and it is only to be freed.
 */
int32_t wtcache_transaction_start(struct wtcache_transaction *transaction,
                                  struct wtcache_started **started,
                                  struct wtcache_error **err);

/**
 * Frees a transaction; one that was started runs on. NULL is fine.
 */
void wtcache_transaction_free(struct wtcache_transaction *transaction);

/* ---- Transactions: what came of them ---- */

/**
 * How it ended: `WTCACHE_COMMITTED`, `WTCACHE_ROLLED_BACK`, `WTCACHE_PARTIAL` or `WTCACHE_IN_DOUBT`; that for NULL, too.
 */
int32_t wtcache_transacted_end(const struct wtcache_transacted *result);

/**
 * Why it did not commit: the error that the call gave which ran it. It is the result's, and not to be freed. NULL where it did.
 */
const struct wtcache_error *wtcache_transacted_error(const struct wtcache_transacted *result);

/**
 * How many steps it tells of: all, unless the transaction was lost half-way by a fault of this library. 0 for NULL.
 */
size_t wtcache_transacted_step_count(const struct wtcache_transacted *result);

/**
 * What came of a step, by its place from zero on: one of `WTCACHE_STEP_*`; `WTCACHE_STEP_NOT_RUN` where there is none.
 */
int32_t wtcache_transacted_step(const struct wtcache_transacted *result,
                                size_t index);

/**
 * Why a step was not applied, or is not known to be. It is the result's, and not to be freed. NULL where there is nothing to say.
 */
const struct wtcache_error *wtcache_transacted_step_error(const struct wtcache_transacted *result,
                                                          size_t index);

/**
 * What came of undoing a step: one of `WTCACHE_STEP_*`; `WTCACHE_STEP_NOT_RUN` also where nothing was declared, or there was no need.
 */
int32_t wtcache_transacted_undo(const struct wtcache_transacted *result,
                                size_t index);

/**
 * Why a step was not undone, or is not known to be. It is the result's, and not to be freed. NULL where there is nothing to say.
 */
const struct wtcache_error *wtcache_transacted_undo_error(const struct wtcache_transacted *result,
                                                          size_t index);

/**
 * Of a put by the source that was applied: the record of its key, as it was confirmed last in the transaction. It is the result's, and not to
 * be freed. NULL where there is none.
 */
const struct wtcache_entry *wtcache_transacted_entry(const struct wtcache_transacted *result,
                                                     size_t index);

/**
 * Of a callback that answered with `wtcache_reply_value`: that value, and its length in `*len`, which may be NULL. NULL where there is
 * none.
 */
const void *wtcache_transacted_value(const struct wtcache_transacted *result,
                                     size_t index,
                                     size_t *len);

/**
 * How many keys it left in doubt; 0 for NULL.
 */
size_t wtcache_transacted_doubt_count(const struct wtcache_transacted *result);

/**
 * The handle on one of them, to be freed with `wtcache_doubt_free`. It outlives the result. NULL where there is none of that index.
 */
struct wtcache_doubt *wtcache_transacted_doubt(const struct wtcache_transacted *result,
                                               size_t index);

/**
 * Frees a result, with all errors and entries in it. NULL is fine.
 */
void wtcache_transacted_free(struct wtcache_transacted *result);

/**
 * Waits for the end, for `timeout_ms` at most. Gives `WTCACHE_PENDING` if it has not ended by then; else status, error and `*result` as by
 * `wtcache_transaction_run`, whoever asks and how often. From inside a callback of it, let the timeout be 0.
 */
int32_t wtcache_started_wait(const struct wtcache_started *started,
                             uint64_t timeout_ms,
                             struct wtcache_transacted **result,
                             struct wtcache_error **err);

/**
 * 1 if it has ended, else 0, also for NULL and in the child of a fork. Never waits.
 */
int32_t wtcache_started_has_ended(const struct wtcache_started *started);

/**
 * Frees a handle; the transaction runs on. NULL is fine.
 */
void wtcache_started_free(struct wtcache_started *started);

/* ---- Event loops: calls that complete in a queue ---- */

/**
 * Makes a queue. `threads`, 1 at the least, is how many calls that are no hits are under way at once; the threads begin with the first, and
 * end after the queue is freed. `most`, 1 at the least, is how many calls may be under way or complete and not taken out; further ones
 * are refused with `WTCACHE_ERR_OVERLOADED`.
 *
 * `*queue` is to be freed with `wtcache_queue_free`, or NULL.
 */
int32_t wtcache_queue_new(size_t threads,
                          size_t most,
                          struct wtcache_queue **queue,
                          struct wtcache_error **err);

/**
 * The descriptor to poll: it can be read (POLLIN) exactly while there are completions to take out. It is the queue's: neither to be read nor
 * closed. -1 for NULL, and in the child of a fork.
 */
int32_t wtcache_queue_descriptor(const struct wtcache_queue *queue);

/**
 * Takes a completion out. Never waits. `*completion` is to be freed with `wtcache_completion_free`, or NULL. Gives `WTCACHE_OK`, or
 * `WTCACHE_NOT_FOUND` where there is none now.
 */
int32_t wtcache_queue_next(const struct wtcache_queue *queue,
                           struct wtcache_completion **completion,
                           struct wtcache_error **err);

/**
 * Takes a call back that has not begun: it completes with `WTCACHE_ERR_CANCELLED`, and nothing was done for it. Gives `WTCACHE_TOO_LATE`
 * where it is under way, and completes with its own outcome, or has completed. Never waits.
 */
int32_t wtcache_queue_cancel(const struct wtcache_queue *queue,
                             uint64_t id,
                             struct wtcache_error **err);

/**
 * Frees a queue, without waiting: calls that have not begun never do, those under way run to their end, and nobody learns it. No
 * other thread may use the queue then. NULL is fine.
 */
void wtcache_queue_free(struct wtcache_queue *queue);

/**
 * The number that the call was given; 0 for NULL.
 */
uint64_t wtcache_completion_id(const struct wtcache_completion *completion);

/**
 * The token that was given with the call; NULL for NULL.
 */
void *wtcache_completion_token(const struct wtcache_completion *completion);

/**
 * The status that the call which waits would have given; `WTCACHE_OK` for NULL.
 */
int32_t wtcache_completion_status(const struct wtcache_completion *completion);

/**
 * The record that was read or written. It is the completion's, and not to be freed: `wtcache_entry_clone` makes a handle that outlives
 * it. NULL where there is none.
 */
const struct wtcache_entry *wtcache_completion_entry(const struct wtcache_completion *completion);

/**
 * Why the call failed. It is the completion's, and not to be freed. NULL where it did not.
 */
const struct wtcache_error *wtcache_completion_error(const struct wtcache_completion *completion);

/**
 * Of a call for many keys: the answers. They are the completion's, and not to be freed. Else NULL.
 */
const struct wtcache_results *wtcache_completion_results(const struct wtcache_completion *completion);

/**
 * Of a create: what came of it. It is the completion's, and not to be freed. Else NULL, also where no record was made.
 */
const struct wtcache_created *wtcache_completion_created(const struct wtcache_completion *completion);

/**
 * Of a list: its records, with `*wrong` and `*has_next_page` as of `wtcache_list`; either pointer may be NULL. They are the completion's, and not to
 * be freed. Else NULL, and both are 0.
 */
const struct wtcache_results *wtcache_completion_listed(const struct wtcache_completion *completion,
                                                        size_t *wrong,
                                                        int32_t *has_next_page);

/**
 * Of a transaction: what came of it. It is the completion's, and not to be freed. Else NULL, also where it was not run.
 */
const struct wtcache_transacted *wtcache_completion_transacted(const struct wtcache_completion *completion);

/**
 * Frees a completion, with all that it gave pointers to. NULL is fine.
 */
void wtcache_completion_free(struct wtcache_completion *completion);

/**
 * As `wtcache_get`, but that it never waits: it completes in `queue`, a hit at once. Everything that is handed in is copied; the cache lives
 * on until it has completed. The deadline counts from now.
 *
 * `token` is anything of the program's, found again with `wtcache_completion_token`. `id` may be NULL; else `*id` is the number of the call,
 * for `wtcache_queue_cancel`, and never 0. After an error nothing completes.
 */
int32_t wtcache_get_async(const struct wtcache_queue *queue,
                          const struct wtcache_cache *cache,
                          const void *key,
                          size_t key_len,
                          const struct wtcache_call *call,
                          void *token,
                          uint64_t *id,
                          struct wtcache_error **err);

/**
 * As `wtcache_get_many`, otherwise as `wtcache_get_async`.
 */
int32_t wtcache_get_many_async(const struct wtcache_queue *queue,
                               const struct wtcache_cache *cache,
                               const struct wtcache_bytes *keys,
                               size_t count,
                               const struct wtcache_call *call,
                               void *token,
                               uint64_t *id,
                               struct wtcache_error **err);

/**
 * As `wtcache_put`, otherwise as `wtcache_get_async`. Writes of one key that are given to one queue go out in the order in which they were
 * given. `expect` may be NULL; else as by `wtcache_put_if`.
 */
int32_t wtcache_put_async(const struct wtcache_queue *queue,
                          const struct wtcache_cache *cache,
                          const void *key,
                          size_t key_len,
                          const void *value,
                          size_t value_len,
                          const struct wtcache_expect *expect,
                          const struct wtcache_call *call,
                          void *token,
                          uint64_t *id,
                          struct wtcache_error **err);

/**
 * As `wtcache_delete`, otherwise as `wtcache_put_async`. `expect` may be NULL; else as by `wtcache_delete_if`.
 */
int32_t wtcache_delete_async(const struct wtcache_queue *queue,
                             const struct wtcache_cache *cache,
                             const void *key,
                             size_t key_len,
                             const struct wtcache_expect *expect,
                             const struct wtcache_call *call,
                             void *token,
                             uint64_t *id,
                             struct wtcache_error **err);

/**
 * As `wtcache_transaction_run`, but that it completes in `queue`, with `wtcache_completion_transacted`; its callbacks are called by a thread of
 * the queue's. Otherwise as `wtcache_get_async`; its deadline counts from when it begins. After an
 * error it is only to be freed.
 */
int32_t wtcache_transaction_async(const struct wtcache_queue *queue,
                                  struct wtcache_transaction *transaction,
                                  void *token,
                                  uint64_t *id,
                                  struct wtcache_error **err);

/**
 * Completes in `queue` once a pending write has ended, as by `wtcache_pending_wait`. It cannot be cancelled as a call: `wtcache_pending_cancel`
 * takes the write back, which then completes. Otherwise as `wtcache_get_async`.
 */
int32_t wtcache_pending_async(const struct wtcache_queue *queue,
                              const struct wtcache_pending *pending,
                              void *token,
                              uint64_t *id,
                              struct wtcache_error **err);

/* ---- Counts ---- */

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

/* ---- What an HTTP origin was asked ---- */

/**
 * What the HTTP origin was asked so far, and how it fared, as a JSON object; `*json` and `*json_len` are as of `wtcache_get_stats_json`. Never waits.
 * Over a source of the program's own it is `WTCACHE_ERR_ARGUMENT`.
 *
 * Its members: `attempts`, requests that were begun, and of these `retries`; `retries_over_budget`, which were not made; `outcomes` of attempts, how
 * many by `2xx`, `3xx`, `4xx`, `5xx`, `broken`, `timed_out` and `unreachable`; `in_flight` and `queued`, how many now; `queue_refused`, calls that
 * were refused where the queue was `full`, or `timed_out` there; `connections` that are open now, and `connections_made`; `credentials_renewed`, times that those in files
 * were others after a 401; `attempt_seconds` with `count`, `sum` and `up_to`, pairs of a time in seconds and how many attempts took no longer;
 * and `breaker`, null where there is none: its `state`, `"closed"`, `"open"` or `"half-open"`, its `openings`, the `probes` that it let
 * through, and the calls that it `refused`.
 */
int32_t wtcache_get_origin_json(const struct wtcache_cache *cache,
                                char **json,
                                size_t *json_len,
                                struct wtcache_error **err);

/* ---- The origin's feed ---- */

/**
 * Writes into `feed`, as far as its `struct_size` says, where the feed that the cache follows stands, and what it did. Gives `WTCACHE_NOT_FOUND`, and
 * zeros, where it follows none. Never waits. Also after `wtcache_close`.
 */
int32_t wtcache_get_feed(const struct wtcache_cache *cache,
                         struct wtcache_feed *feed,
                         struct wtcache_error **err);

/**
 * The same as a JSON object, its members named as those of `wtcache_feed`, but that `state` is `"connecting"`, `"live"`, `"cut-off"` or `"stopped"`, and with
 * `last_error`: why it was cut off last, or null. `*json` and `*json_len` are as of `wtcache_get_stats_json`. Gives `WTCACHE_NOT_FOUND`, and NULL, where
 * the cache follows no feed.
 */
int32_t wtcache_get_feed_json(const struct wtcache_cache *cache,
                              char **json,
                              size_t *json_len,
                              struct wtcache_error **err);

/* ---- A source of the program's own ---- */

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

/* ---- Its answers ---- */

/**
 * Answers a read: this is the record. Answers a put: it was applied, and this is the record as it now stands at the origin. Answers a
 * step of a transaction: it was applied, and this is its value, which is no key's, and of which `record` says nothing.
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
 * As `wtcache_reply_absent`, and for how long that holds, in milliseconds, or one of `WTCACHE_LIFETIME_*`. It is remembered for no longer than
 * the configuration says (`negative_lifetime_ms`); `WTCACHE_LIFETIME_NOT_KEPT`: not at all.
 */
int32_t wtcache_reply_absent_for(struct wtcache_reply *reply,
                                 int64_t lifetime_ms,
                                 struct wtcache_error **err);

/**
 * Answers a read whose request has a `version`: the record with that version is still the origin's, and lives anew. Of `record`, which may
 * be NULL, only the lifetime and the windows count; `WTCACHE_LIFETIME_AS_BEFORE` gives it those that it had.
 */
int32_t wtcache_reply_unchanged(struct wtcache_reply *reply,
                                const struct wtcache_record *record,
                                struct wtcache_error **err);

/**
 * Answers a put, a remove or a step of a transaction: it was applied. Of a put, what the record is now, the next read asks.
 */
int32_t wtcache_reply_applied(struct wtcache_reply *reply,
                              struct wtcache_error **err);

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

/**
 * Says of a step of a transaction what it has left of a key, before its answer, once a key: `wrote` is one of `WTCACHE_WROTE_*`. `value`, of
 * `value_len` bytes, and `record`, which may be NULL, are those of `WTCACHE_WROTE_VALUE`. It counts only if the step is answered as
 * applied; a key that the step did not declare is invalidated.
 */
int32_t wtcache_reply_wrote(struct wtcache_reply *reply,
                            const void *key,
                            size_t key_len,
                            int32_t wrote,
                            const void *value,
                            size_t value_len,
                            const struct wtcache_record *record,
                            struct wtcache_error **err);

/* ---- For the Python package ---- */

/**
 * For the Python package, which calls it attached to the main interpreter of a CPython with a global lock: a new type there, as a new
 * reference, to be the base of a class of caches. NULL where something in `python` is missing, or with Python's own error set.
 */
void *wtcache_python_hits(const struct wtcache_python *python);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WTCACHE_H */
