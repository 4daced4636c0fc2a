/* Many keys in one call. */

#include "check.h"

static wtcache_error *error = NULL;

static void many_are_read_each_for_itself(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_results *results = NULL;
    SUCCEEDS(wtcache_put(cache, BYTES("bolts"), BYTES("seven"), NULL, NULL, &error));
    wtcache_bytes keys[] = {{BYTES("bolts")}, {BYTES("none")}, {BYTES("refused")}, {BYTES("bolts")}};
    SUCCEEDS(wtcache_get_many(cache, keys, 4, NULL, &results, &error));
    CHECK(wtcache_results_count(results) == 4);
    CHECK(wtcache_results_status(results, 0) == WTCACHE_OK && wtcache_results_status(results, 3) == WTCACHE_OK);
    CHECK(wtcache_results_status(results, 1) == WTCACHE_NOT_FOUND && wtcache_results_entry(results, 1) == NULL);
    CHECK(wtcache_results_status(results, 2) == WTCACHE_ERR_SOURCE && wtcache_results_entry(results, 2) == NULL);
    CHECK(wtcache_results_status(results, 4) == WTCACHE_ERR_ARGUMENT && wtcache_results_entry(results, 4) == NULL);
    CHECK(wtcache_results_error(results, 0) == NULL && wtcache_results_error(results, 4) == NULL);
    CHECK(strstr(wtcache_error_message(wtcache_results_error(results, 2)), "refused here") != NULL);
    check_value(wtcache_results_entry(results, 0), "seven");
    check_value(wtcache_results_entry(results, 3), "seven");
    /* A handle of its own outlives the results. */
    wtcache_entry *own = wtcache_entry_clone(wtcache_results_entry(results, 0));
    wtcache_results_free(results);
    check_value(own, "seven");
    wtcache_entry_free(own);
    SUCCEEDS(wtcache_get_many(cache, NULL, 0, NULL, &results, &error));
    CHECK(wtcache_results_count(results) == 0);
    wtcache_results_free(results);
    free_shelf(cache, &self);
}

static void many_are_written_each_for_itself(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_results *results = NULL;
    wtcache_bytes keys[] = {{BYTES("bolts")}, {BYTES("refused")}, {BYTES("unknown")}, {BYTES("unseen")}, {BYTES("bolts")}};
    wtcache_bytes values[] = {{BYTES("one")}, {BYTES("x")}, {BYTES("y")}, {NULL, 0}, {BYTES("two")}};
    SUCCEEDS(wtcache_put_many(cache, keys, values, 5, NULL, &results, &error));
    CHECK(wtcache_results_count(results) == 5 && self.puts == 5);
    check_value(wtcache_results_entry(results, 0), "one");
    CHECK(wtcache_results_status(results, 1) == WTCACHE_ERR_REJECTED);
    CHECK(wtcache_results_status(results, 2) == WTCACHE_ERR_IN_DOUBT);
    CHECK(wtcache_error_outcome(wtcache_results_error(results, 2)) == WTCACHE_OUTCOME_IN_DOUBT);
    /* Applied, and its record was not seen. */
    CHECK(wtcache_results_status(results, 3) == WTCACHE_OK && wtcache_results_entry(results, 3) == NULL);
    check_value(wtcache_results_entry(results, 4), "two");
    wtcache_results_free(results);
    check_read(cache, "bolts", WTCACHE_MODE_CACHED, "two");
    free_shelf(cache, &self);
}

static void nulls_of_many(void)
{
    shelf self;
    wtcache_cache *cache = open_shelf(&self);
    wtcache_results *results = (wtcache_results *)&self;
    wtcache_bytes one = {"k", 1}, broken = {NULL, 1};
    wtcache_call confirmed = {.struct_size = sizeof confirmed, .mode = WTCACHE_MODE_CONFIRMED};
    NULL_IS_REFUSED(wtcache_get_many(NULL, &one, 1, NULL, &results, &error));
    CHECK(results == NULL);
    NULL_IS_REFUSED(wtcache_get_many(cache, NULL, 1, NULL, &results, &error));
    NULL_IS_REFUSED(wtcache_get_many(cache, &broken, 1, NULL, &results, &error));
    NULL_IS_REFUSED(wtcache_get_many(cache, &one, 1, NULL, NULL, &error));
    FAILS(wtcache_get_many(cache, &one, (size_t)-1 / 8, NULL, &results, &error), WTCACHE_ERR_ARGUMENT, "length");
    FAILS(wtcache_get_many(cache, (wtcache_bytes *)((char *)&one + 1), 1, NULL, &results, &error), WTCACHE_ERR_ARGUMENT, "aligned");
    FAILS(wtcache_get_many(cache, &one, 1, &confirmed, &results, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    NULL_IS_REFUSED(wtcache_put_many(NULL, &one, &one, 1, NULL, &results, &error));
    NULL_IS_REFUSED(wtcache_put_many(cache, NULL, &one, 1, NULL, &results, &error));
    NULL_IS_REFUSED(wtcache_put_many(cache, &one, NULL, 1, NULL, &results, &error));
    NULL_IS_REFUSED(wtcache_put_many(cache, &one, &one, 1, NULL, NULL, &error));
    CHECK(wtcache_results_count(NULL) == 0 && wtcache_results_status(NULL, 0) == WTCACHE_ERR_ARGUMENT);
    CHECK(wtcache_results_entry(NULL, 0) == NULL && wtcache_results_error(NULL, 0) == NULL);
    wtcache_results_free(NULL);
    CHECK(self.gets + self.puts == 0);
    free_shelf(cache, &self);
}

const test_case many_cases[] = {
    {"many_are_read_each_for_itself", many_are_read_each_for_itself},
    {"many_are_written_each_for_itself", many_are_written_each_for_itself},
    {"nulls_of_many", nulls_of_many},
    {NULL, NULL},
};
