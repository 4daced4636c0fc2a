/* A cache that follows what its origin tells of its changes: from its opening until it is closed, or gone. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"

static wtcache_error *error = NULL;

/* An origin with one record, whose version is r1, and a feed that says what the test has it say. */
typedef struct teller {
    int listening, port;
    pthread_t thread;
    int feed;     /* the latest connection of the feed; -1: there is none yet */
    int followed; /* how many there were */
} teller;

static void send_all(int to, const char *text)
{
    CHECK(send(to, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static void *answer_all(void *argument)
{
    teller *self = argument;
    for (;;) {
        int connection = accept(self->listening, NULL, NULL);
        if (connection < 0) return NULL;
        char head[4096];
        size_t len = 0;
        do {
            ssize_t got = recv(connection, head + len, sizeof head - 1 - len, 0);
            CHECK(got > 0);
            head[len += (size_t)got] = '\0';
        } while (strstr(head, "\r\n\r\n") == NULL);
        if (strncmp(head, "GET /items/_changes ", 20) == 0) {
            send_all(connection, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            __atomic_store_n(&self->feed, connection, __ATOMIC_SEQ_CST);
            __atomic_add_fetch(&self->followed, 1, __ATOMIC_SEQ_CST);
        } else {
            send_all(connection, "HTTP/1.1 200 OK\r\nETag: \"r1\"\r\nContent-Length: 3\r\nConnection: close\r\n\r\none");
            close(connection);
        }
    }
}

static void begin(teller *self)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    self->feed = -1;
    self->followed = 0;
    self->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(self->listening, (struct sockaddr *)&address, len) == 0 && listen(self->listening, 16) == 0);
    CHECK(getsockname(self->listening, (struct sockaddr *)&address, &len) == 0);
    self->port = ntohs(address.sin_port);
    CHECK(pthread_create(&self->thread, NULL, answer_all, self) == 0);
}

static void end(teller *self)
{
    CHECK(shutdown(self->listening, SHUT_RDWR) == 0 && pthread_join(self->thread, NULL) == 0);
    close(self->listening);
}

/* Nobody follows the feed any more: the other end has closed. */
static void is_left(teller *self)
{
    char more;
    struct timeval patience = {.tv_sec = 60};
    CHECK(setsockopt(self->feed, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(recv(self->feed, &more, 1, 0) == 0);
    close(self->feed);
}

/* What a listener was told of a feed. */
typedef struct hearing {
    int pushed, marks, destroyed;
    wtcache_cache *closes; /* is closed where the key "close" is told */
    int closed;
} hearing;

static void hear(void *user_data, const wtcache_event *event)
{
    hearing *self = user_data;
    if (event->kind == WTCACHE_EVENT_PUSHED) {
        CHECK(event->key_len == 1 && event->absent == 0);
        __atomic_add_fetch(&self->pushed, 1, __ATOMIC_SEQ_CST);
    }
    if (event->kind == WTCACHE_EVENT_INVALIDATED && event->key_len == 4) __atomic_add_fetch(&self->marks, 1, __ATOMIC_SEQ_CST);
    if (event->kind == WTCACHE_EVENT_INVALIDATED && event->key_len == 5) {
        CHECK(wtcache_close(self->closes, 120000, NULL, NULL) == WTCACHE_OK);
        __atomic_add_fetch(&self->closed, 1, __ATOMIC_SEQ_CST);
    }
}

static void heard_all(void *user_data)
{
    __atomic_add_fetch(&((hearing *)user_data)->destroyed, 1, __ATOMIC_SEQ_CST);
}

/* A cache that follows the feed, and has forgotten what was before. */
static wtcache_cache *follow(teller *origin, hearing *hearing)
{
    char json[512];
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    memset(hearing, 0, sizeof *hearing);
    origin->followed = 0;
    snprintf(
        json, sizeof json,
        "{\"clean_start\": true, \"http\": {\"url\": \"http://127.0.0.1:%d/items/{id}\", \"timeout_ms\": 60000, \"versions\": \"number\", \"subscribe\": {"
        "\"url\": \"/items/_changes\", \"silence_ms\": 3600000, \"while_cut_off\": {\"forget_after_ms\": 3600000}, \"max_event_bytes\": 4096,"
        " \"form\": {\"version\": \"rev\", \"version_as\": \"\\\"r{version}\\\"\"}}}}",
        origin->port);
    SUCCEEDS(wtcache_config_load_json(config, json, strlen(json), &error));
    SUCCEEDS(wtcache_config_set_listener(config, hear, hearing, heard_all, &error));
    SUCCEEDS(wtcache_open(config, &cache, &error));
    wtcache_config_free(config);
    wait_for(&origin->followed, 1);
    send_all(origin->feed, "data: {\"op\": \"invalidate\", \"key\": \"mark\"}\n\n");
    wait_for(&hearing->marks, 1);
    return cache;
}

/* What is told is held; and nothing is any more once the cache is closed. */
static void a_feed_is_followed_until_the_cache_is_closed(void)
{
    teller origin;
    hearing hearing;
    begin(&origin);
    wtcache_cache *cache = follow(&origin, &hearing);
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "one");
    send_all(origin.feed, "data: {\"op\": \"put\", \"key\": \"k\", \"record\": 2, \"rev\": 2}\n\n");
    wait_for(&hearing.pushed, 1);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "2");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        FAILS(wtcache_close(cache, 60000, NULL, &error), WTCACHE_ERR_FORKED, "after the fork");
        wtcache_cache_free(cache);
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    send_all(origin.feed, "data: {\"op\": \"put\", \"key\": \"k\", \"record\": 3, \"rev\": 3}\n\n");
    wait_for(&hearing.pushed, 2);
    wtcache_cache *other = wtcache_cache_clone(cache);
    SUCCEEDS(wtcache_close(other, 3600000, NULL, &error));
    is_left(&origin);
    /* Its thread has ended: the handles are the last that keep the listener. */
    wtcache_cache_free(cache);
    CHECK(__atomic_load_n(&hearing.destroyed, __ATOMIC_SEQ_CST) == 0);
    wtcache_cache_free(other);
    CHECK(__atomic_load_n(&hearing.destroyed, __ATOMIC_SEQ_CST) == 1 && hearing.pushed == 2);
    end(&origin);
}

static void a_feed_ends_with_the_last_handle(void)
{
    teller origin;
    hearing hearing;
    begin(&origin);
    wtcache_cache *cache = follow(&origin, &hearing);
    wtcache_cache *other = wtcache_cache_clone(cache);
    wtcache_cache_free(cache);
    send_all(origin.feed, "data: {\"op\": \"invalidate\", \"key\": \"mark\"}\n\n");
    wait_for(&hearing.marks, 2);
    wtcache_cache_free(other);
    is_left(&origin);
    wait_for(&hearing.destroyed, 1);
    end(&origin);
}

/* A callback that the feed's own thread is in does not wait for that thread. */
static void a_listener_closes_the_cache_that_tells_it(void)
{
    teller origin;
    hearing hearing;
    begin(&origin);
    wtcache_cache *cache = follow(&origin, &hearing);
    hearing.closes = cache;
    send_all(origin.feed, "data: {\"op\": \"invalidate\", \"key\": \"close\"}\n\n");
    wait_for(&hearing.closed, 1);
    is_left(&origin);
    wtcache_cache_free(cache);
    wait_for(&hearing.destroyed, 1);
    end(&origin);
}

const test_case feed_cases[] = {
    {"a_feed_is_followed_until_the_cache_is_closed", a_feed_is_followed_until_the_cache_is_closed},
    {"a_feed_ends_with_the_last_handle", a_feed_ends_with_the_last_handle},
    {"a_listener_closes_the_cache_that_tells_it", a_listener_closes_the_cache_that_tells_it},
    {NULL, NULL},
};
