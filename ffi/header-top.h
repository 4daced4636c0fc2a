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
