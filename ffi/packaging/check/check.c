/* What `cargo xtask install` compiles against what it installed: a cache over a source that knows every key by its own name. */
#include <stdio.h>
#include <string.h>
#include <wtcache.h>

static void get(void *user_data, const wtcache_request *request, wtcache_reply *reply)
{
    (void)user_data;
    wtcache_reply_value(reply, request->key, request->key_len, NULL, NULL);
}

int main(void)
{
    wtcache_source source = {.struct_size = sizeof source, .get = get};
    wtcache_cache *cache;
    char value[16];
    size_t len = 0;
    if (wtcache_check_abi(WTCACHE_ABI_VERSION, NULL) != WTCACHE_OK) return 1;
    if (wtcache_open_with_source(NULL, &source, &cache, NULL) != WTCACHE_OK) return 2;
    int32_t status = wtcache_get_into(cache, "bolts", 5, NULL, value, sizeof value, &len, NULL);
    wtcache_cache_free(cache);
    printf("%.*s\n", (int)len, value);
    return status == WTCACHE_OK && len == 5 && memcmp(value, "bolts", 5) == 0 ? 0 : 3;
}
