/* A program of two static libraries in Rust. */
#include <stdio.h>
#include <wtcache.h>

int beside(void);

int main(void)
{
    wtcache_error *error = NULL;
    int32_t status = wtcache_open(NULL, NULL, &error);
    printf("%d %d\n", (int)status, beside());
    wtcache_error_free(error);
    return status == WTCACHE_ERR_ARGUMENT && beside() == 5 ? 0 : 1;
}
