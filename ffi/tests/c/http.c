/* A cache over an origin behind HTTP: that tells of its changes, that makes records and names them, that merges patches, and that lists records. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"

static wtcache_error *error = NULL;

/* An origin with one record, whose version is r1, and a feed that says what the test has it say. What is sent to it is answered as the value says. */
typedef struct teller {
    int listening, port;
    pthread_t thread;
    int feed;     /* the latest connection of the feed; -1: there is none yet */
    int followed; /* how many there were */
    int gets;     /* of records */
    int patches;
    int lists;
} teller;

static void send_all(int to, const char *text)
{
    CHECK(send(to, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* To a POST, whose value is an object with a member that says how it is answered. */
static const char *made(const char *value)
{
    if (strstr(value, "named") != NULL)
        return "HTTP/1.1 201 Created\r\nETag: \"r1\"\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{\"id\": 7}";
    if (strstr(value, "located") != NULL)
        return "HTTP/1.1 201 Created\r\nLocation: /items/a%20b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (strstr(value, "secret") != NULL) return "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (strstr(value, "wrong") != NULL) return "HTTP/1.1 422 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    return "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

/* To a PATCH, the same. */
static const char *merged(const char *patch)
{
    if (strcmp(patch, "{\"merged\": null}") == 0)
        return "HTTP/1.1 200 OK\r\nETag: \"r2\"\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{\"n\": 2}";
    if (strstr(patch, "unseen") != NULL) return "HTTP/1.1 204 Done\r\nConnection: close\r\n\r\n";
    if (strstr(patch, "wrong") != NULL) return "HTTP/1.1 422 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (strstr(patch, "gone") != NULL) return "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    return "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

/* To a PUT: another wrote the record, and it is told or not. */
static const char *refused(char key)
{
    if (key == 'k')
        return "HTTP/1.1 412 Not that\r\nETag: \"r2\"\r\nContent-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{\"n\": 2}";
    if (key == 'l') return "HTTP/1.1 409 Not that\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort";
    return "HTTP/1.1 412 Not that\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

/* To a query of its list. */
static const char *listed(const char *query)
{
    if (strncmp(query, "all=1 ", 6) == 0 || strncmp(query, "only=name ", 10) == 0)
        return "HTTP/1.1 200 OK\r\nContent-Length: 56\r\nConnection: close\r\n\r\n"
               "{\"data\": [{\"name\": \"b\", \"r\": 1}, {\"name\": \"a\", \"r\": 2}]}";
    if (strncmp(query, "page=1 ", 7) == 0)
        return "HTTP/1.1 200 OK\r\nLink: </items?page=2>; rel=\"next\"\r\nContent-Length: 32\r\nConnection: close\r\n\r\n"
               "{\"data\": [{\"name\": \"c\"}, {}, 1]}";
    return "HTTP/1.1 503 Not now\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

/* The body of a request, an object, of which the first part was received already. */
static const char *body_of(int connection, char *head, size_t size, size_t len)
{
    const char *body = strstr(head, "\r\n\r\n") + 4;
    while (strchr(body, '}') == NULL) {
        ssize_t got = recv(connection, head + len, size - 1 - len, 0);
        CHECK(got > 0);
        head[len += (size_t)got] = '\0';
    }
    return body;
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
        } else if (strncmp(head, "POST /items ", 12) == 0) {
            send_all(connection, made(body_of(connection, head, sizeof head, len)));
            close(connection);
        } else if (strncmp(head, "GET /items?", 11) == 0) {
            __atomic_add_fetch(&self->lists, 1, __ATOMIC_SEQ_CST);
            send_all(connection, listed(head + 11));
            close(connection);
        } else if (strncmp(head, "PUT /items/", 11) == 0) {
            body_of(connection, head, sizeof head, len);
            send_all(connection, refused(head[11]));
            close(connection);
        } else if (strncmp(head, "PATCH /items/k ", 15) == 0) {
            CHECK(strstr(head, ": application/merge-patch+json\r\n") != NULL);
            __atomic_add_fetch(&self->patches, 1, __ATOMIC_SEQ_CST);
            send_all(connection, merged(body_of(connection, head, sizeof head, len)));
            close(connection);
        } else {
            __atomic_add_fetch(&self->gets, 1, __ATOMIC_SEQ_CST);
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
    self->followed = self->gets = self->patches = self->lists = 0;
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
    wtcache_feed feed = {.struct_size = sizeof feed};
    SUCCEEDS(wtcache_get_feed(cache, &feed, &error));
    CHECK(feed.state == WTCACHE_FEED_LIVE && feed.connections == 1 && feed.gaps == 1 && feed.reserved == 0);
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
    SUCCEEDS(wtcache_get_feed(cache, &feed, &error));
    CHECK(feed.state == WTCACHE_FEED_STOPPED && feed.connections == 1 && feed.gaps == 1 && feed.panics == 0);
    /* Its thread has ended: the handles are the last that keep the listener. */
    wtcache_cache_free(cache);
    CHECK(__atomic_load_n(&hearing.destroyed, __ATOMIC_SEQ_CST) == 0);
    wtcache_cache_free(other);
    CHECK(__atomic_load_n(&hearing.destroyed, __ATOMIC_SEQ_CST) == 1 && hearing.pushed == 2);
    end(&origin);
}

/* The origin ends the stream: so it is until it lets the cache connect again. */
static void where_a_feed_stands_is_told(void)
{
    teller origin;
    hearing hearing;
    begin(&origin);
    wtcache_cache *cache = follow(&origin, &hearing);
    wtcache_feed feed = {.struct_size = sizeof feed};
    char *json = NULL;
    size_t len = 0;
    CHECK(shutdown(origin.listening, SHUT_RDWR) == 0 && shutdown(origin.feed, SHUT_RDWR) == 0);
    for (int i = 0; feed.state != WTCACHE_FEED_CUT_OFF || feed.state_for_ms == 0; i++) {
        CHECK(i < 60000);
        usleep(1000);
        SUCCEEDS(wtcache_get_feed(cache, &feed, &error));
    }
    SUCCEEDS(wtcache_get_feed_json(cache, &json, &len, &error));
    CHECK(strlen(json) == len && strstr(json, "\"state\":\"cut-off\",\"state_for_ms\":") != NULL);
    CHECK(strstr(json, "\"connections\":1,") != NULL && strstr(json, "\"gaps\":1,") != NULL);
    CHECK(strstr(json, "\"changes\":1,") != NULL && strstr(json, "\"last_error\":\"") != NULL);
    wtcache_string_free(json);
    /* Of a program that was compiled when there was less to tell. */
    memset(&feed, 7, sizeof feed);
    feed.struct_size = offsetof(wtcache_feed, connections);
    SUCCEEDS(wtcache_get_feed(cache, &feed, &error));
    CHECK(feed.state == WTCACHE_FEED_CUT_OFF && feed.connections == 0x0707070707070707);
    NULL_IS_REFUSED(wtcache_get_feed(NULL, &feed, &error));
    NULL_IS_REFUSED(wtcache_get_feed(cache, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_feed_json(NULL, &json, NULL, &error));
    NULL_IS_REFUSED(wtcache_get_feed_json(cache, NULL, NULL, &error));
    CHECK(json == NULL);
    wtcache_cache_free(cache);
    /* Its thread does not hold that up, and may end later. */
    wait_for(&hearing.destroyed, 1);
    CHECK(pthread_join(origin.thread, NULL) == 0);
    close(origin.feed);
    close(origin.listening);

    shelf self;
    cache = open_shelf(&self);
    feed = (wtcache_feed){.struct_size = sizeof feed, .state = 9};
    CHECK(wtcache_get_feed(cache, &feed, &error) == WTCACHE_NOT_FOUND && feed.state == 0);
    CHECK(wtcache_get_feed_json(cache, &json, &len, &error) == WTCACHE_NOT_FOUND && json == NULL && len == 0);
    free_shelf(cache, &self);
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

static wtcache_cache *open_makes(teller *origin)
{
    char json[256];
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    snprintf(
        json, sizeof json,
        "{\"clean_start\": true, \"http\": {\"url\": \"http://127.0.0.1:%d/items/{id}\", \"timeout_ms\": 60000, \"create\": {"
        "\"url\": \"http://127.0.0.1:%d/items\", \"key_at\": \"/id\"}}}",
        origin->port, origin->port);
    SUCCEEDS(wtcache_config_load_json(config, json, strlen(json), &error));
    SUCCEEDS(wtcache_open(config, &cache, &error));
    wtcache_config_free(config);
    return cache;
}

static void the_origin_names_the_records_that_it_makes(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_makes(&origin);
    wtcache_created *created = NULL;
    size_t len = 9;
    SUCCEEDS(wtcache_create(cache, BYTES("{\"named\": 1}"), NULL, &created, &error));
    const char *key = wtcache_created_key(created, &len);
    CHECK(len == 1 && key[0] == '7' && wtcache_created_is_kept(created) == 1);
    check_value(wtcache_created_entry(created), "{\"id\": 7}");
    wtcache_entry *kept = wtcache_entry_clone(wtcache_created_entry(created));
    wtcache_created_free(created);
    check_value(kept, "{\"id\": 7}");
    wtcache_entry_free(kept);
    check_read(cache, "7", WTCACHE_MODE_DEFAULT, "{\"id\": 7}");
    CHECK(origin.gets == 0);

    SUCCEEDS(wtcache_create(cache, BYTES("{\"located\": 1}"), NULL, &created, &error));
    key = wtcache_created_key(created, &len);
    CHECK(len == 3 && memcmp(key, "a b", 3) == 0);
    CHECK(wtcache_created_key(created, NULL) == key);
    CHECK(wtcache_created_entry(created) == NULL && wtcache_created_is_kept(created) == 0);
    wtcache_created_free(created);

    SUCCEEDS(wtcache_create(cache, BYTES("{\"secret\": 1}"), NULL, &created, &error));
    CHECK(wtcache_created_key(created, &len) == NULL && len == 0 && wtcache_created_entry(created) == NULL);
    wtcache_created_free(created);
    SUCCEEDS(wtcache_create(cache, BYTES("{\"secret\": 1}"), NULL, NULL, &error));
    wtcache_cache_free(cache);
    end(&origin);
}

static int is(const void *part, size_t len, const char *wanted)
{
    return part != NULL && len == strlen(wanted) && memcmp(part, wanted, len) == 0;
}

static void p2_a_conflict_gives_the_record_that_the_origin_answers_with(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_makes(&origin);
    size_t len = 9;
    int32_t status = wtcache_put(cache, "k", 1, "{}", 2, NULL, NULL, &error);
    const void *part = wtcache_error_answer(error, &len);
    CHECK(is(part, len, "{\"n\": 2}") && wtcache_error_answer(error, NULL) == part && wtcache_error_answer_truncated(error) == 0);
    part = wtcache_error_answer_type(error, &len);
    CHECK(is(part, len, "application/json"));
    part = wtcache_error_answer_version(error, &len);
    CHECK(is(part, len, "\"r2\"") && wtcache_error_source_code(error) == 412);
    FAILS(status, WTCACHE_ERR_CONFLICT, "412");
    status = wtcache_put(cache, "l", 1, "{}", 2, NULL, NULL, &error);
    part = wtcache_error_answer(error, &len);
    CHECK(is(part, len, "short") && wtcache_error_answer_truncated(error) == 1);
    CHECK(wtcache_error_answer_type(error, &len) == NULL && len == 0 && wtcache_error_answer_version(error, NULL) == NULL);
    FAILS(status, WTCACHE_ERR_CONFLICT, "409");
    status = wtcache_put(cache, "m", 1, "{}", 2, NULL, NULL, &error);
    CHECK(wtcache_error_answer(error, &len) != NULL && len == 0);
    FAILS(status, WTCACHE_ERR_CONFLICT, "412");
    wtcache_cache_free(cache);
    end(&origin);
    /* Nobody answered, and nobody is over HTTP. */
    cache = open_makes(&origin);
    len = 9;
    status = wtcache_put(cache, "k", 1, "{}", 2, NULL, NULL, &error);
    CHECK(wtcache_error_answer(error, &len) == NULL && len == 0 && wtcache_error_answer_truncated(error) == 0);
    FAILS(status, WTCACHE_ERR_REJECTED, "nothing was sent");
    char *json = NULL;
    SUCCEEDS(wtcache_get_origin_json(cache, &json, &len, &error));
    CHECK(strlen(json) == len && strstr(json, "\"attempts\":1,") != NULL && strstr(json, "\"unreachable\":1") != NULL);
    CHECK(strstr(json, "\"state\":\"closed\"") != NULL);
    wtcache_string_free(json);
    NULL_IS_REFUSED(wtcache_get_origin_json(NULL, &json, &len, &error));
    NULL_IS_REFUSED(wtcache_get_origin_json(cache, NULL, &len, &error));
    wtcache_cache_free(cache);
    shelf self;
    cache = open_shelf(&self);
    FAILS(wtcache_get_origin_json(cache, &json, &len, &error), WTCACHE_ERR_ARGUMENT, "a source of the program's own");
    CHECK(json == NULL && len == 0);
    free_shelf(cache, &self);
    CHECK(wtcache_error_answer(NULL, &len) == NULL && wtcache_error_answer_type(NULL, NULL) == NULL);
    CHECK(wtcache_error_answer_version(NULL, NULL) == NULL && wtcache_error_answer_truncated(NULL) == 0);
}

static void a_record_that_is_not_made(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_makes(&origin);
    wtcache_created *created = (wtcache_created *)&origin;
    FAILS(wtcache_create(cache, BYTES("{\"wrong\": 1}"), NULL, &created, &error), WTCACHE_ERR_REJECTED, "422");
    CHECK(created == NULL);
    CHECK(wtcache_create(cache, BYTES("{\"fails\": 1}"), NULL, &created, &error) == WTCACHE_ERR_IN_DOUBT);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT && wtcache_error_doubt(error) == NULL);
    CHECK(wtcache_error_source_code(error) == 500);
    FAILS(WTCACHE_ERR_IN_DOUBT, WTCACHE_ERR_IN_DOUBT, "no key is in doubt");
    wtcache_call cached = {.struct_size = sizeof cached, .mode = WTCACHE_MODE_CACHED};
    FAILS(wtcache_create(cache, "{}", 2, &cached, &created, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    NULL_IS_REFUSED(wtcache_create(cache, NULL, 1, NULL, &created, &error));
    NULL_IS_REFUSED(wtcache_create(NULL, "{}", 2, NULL, &created, &error));
    CHECK(wtcache_created_key(NULL, NULL) == NULL && wtcache_created_entry(NULL) == NULL && wtcache_created_is_kept(NULL) == 0);
    wtcache_created_free(NULL);
    SUCCEEDS(wtcache_close(cache, 0, NULL, &error));
    FAILS(wtcache_create(cache, "{}", 2, NULL, &created, &error), WTCACHE_ERR_CLOSED, "");
    wtcache_cache_free(cache);
    end(&origin);

    shelf self;
    cache = open_shelf(&self);
    FAILS(wtcache_create(cache, "v", 1, NULL, &created, &error), WTCACHE_ERR_REJECTED, "");
    free_shelf(cache, &self);
}

static void the_origin_merges_a_patch_and_its_record_is_kept(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_makes(&origin);
    wtcache_entry *entry = NULL;
    SUCCEEDS(wtcache_patch(cache, "k", 1, BYTES("{\"merged\": null}"), NULL, &entry, &error));
    check_value(entry, "{\"n\": 2}");
    wtcache_entry_free(entry);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "{\"n\": 2}");
    CHECK(origin.gets == 0 && origin.patches == 1);

    entry = (wtcache_entry *)&origin;
    SUCCEEDS(wtcache_patch(cache, "k", 1, BYTES("{\"unseen\": 1}"), NULL, &entry, &error));
    CHECK(entry == NULL);
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "one");
    CHECK(origin.gets == 1);

    wtcache_call brief = {.struct_size = sizeof brief, .lifetime_ms = WTCACHE_LIFETIME_NOT_KEPT};
    SUCCEEDS(wtcache_patch(cache, "k", 1, BYTES("{\"merged\": null}"), &brief, NULL, &error));
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "one");
    CHECK(origin.gets == 2 && origin.patches == 3);
    wtcache_cache_free(cache);
    end(&origin);
}

static void a_patch_that_is_not_merged(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_makes(&origin);
    wtcache_entry *entry = (wtcache_entry *)&origin;
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "one");
    FAILS(wtcache_patch(cache, "k", 1, BYTES("{\"wrong\": 1}"), NULL, &entry, &error), WTCACHE_ERR_REJECTED, "422");
    CHECK(entry == NULL);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "one");
    FAILS(wtcache_patch(cache, "k", 1, BYTES("{\"gone\": 1}"), NULL, &entry, &error), WTCACHE_ERR_CONFLICT, "404");
    check_read(cache, "k", WTCACHE_MODE_CACHED, NULL);
    check_read(cache, "k", WTCACHE_MODE_DEFAULT, "one");
    CHECK(origin.gets == 2);

    CHECK(wtcache_patch(cache, "k", 1, BYTES("{\"fails\": 1}"), NULL, &entry, &error) == WTCACHE_ERR_IN_DOUBT);
    CHECK(wtcache_error_outcome(error) == WTCACHE_OUTCOME_IN_DOUBT && wtcache_error_source_code(error) == 500);
    wtcache_doubt *doubt = wtcache_error_doubt(error);
    wtcache_error_free(error);
    CHECK(stats_of(cache).in_doubt == 1);
    CHECK(wtcache_doubt_replay(doubt, NULL, NULL, &error) != WTCACHE_OK && origin.patches == 3);
    wtcache_error_free(error);
    SUCCEEDS(wtcache_doubt_settle(doubt, WTCACHE_SETTLEMENT_NOT_APPLIED, &error));
    wtcache_doubt_free(doubt);
    CHECK(stats_of(cache).in_doubt == 0);

    FAILS(wtcache_patch(cache, "k", 1, BYTES("{\"n\": 1"), NULL, &entry, &error), WTCACHE_ERR_ARGUMENT, "patch is no JSON: ");
    FAILS(wtcache_patch(cache, "k", 1, NULL, 0, NULL, &entry, &error), WTCACHE_ERR_ARGUMENT, "patch is no JSON: ");
    wtcache_call cached = {.struct_size = sizeof cached, .mode = WTCACHE_MODE_CACHED};
    FAILS(wtcache_patch(cache, "k", 1, "{}", 2, &cached, &entry, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    NULL_IS_REFUSED(wtcache_patch(cache, "k", 1, NULL, 1, NULL, &entry, &error));
    NULL_IS_REFUSED(wtcache_patch(cache, NULL, 1, "{}", 2, NULL, &entry, &error));
    NULL_IS_REFUSED(wtcache_patch(NULL, "k", 1, "{}", 2, NULL, &entry, &error));
    SUCCEEDS(wtcache_close(cache, 0, NULL, &error));
    FAILS(wtcache_patch(cache, "k", 1, "{}", 2, NULL, &entry, &error), WTCACHE_ERR_CLOSED, "");
    CHECK(origin.patches == 3);
    wtcache_cache_free(cache);
    end(&origin);

    shelf self;
    cache = open_shelf(&self);
    FAILS(wtcache_patch(cache, "k", 1, "{}", 2, NULL, &entry, &error), WTCACHE_ERR_ARGUMENT, "a source of the program's own");
    free_shelf(cache, &self);
}

static wtcache_cache *open_lists(teller *origin)
{
    char json[512];
    wtcache_config *config = wtcache_config_new();
    wtcache_cache *cache = NULL;
    snprintf(
        json, sizeof json,
        "{\"clean_start\": true, \"http\": {\"url\": \"http://127.0.0.1:%d/items/{id}\", \"timeout_ms\": 60000, \"retries\": {\"loads\": 0}, \"list\": {"
        "\"url\": \"http://127.0.0.1:%d/items\", \"records_at\": \"/data\", \"key_at\": \"/name\", \"version_at\": \"/r\", \"body_limit_bytes\": 60,"
        " \"parts_by\": [\"only\"]}}}",
        origin->port, origin->port);
    SUCCEEDS(wtcache_config_load_json(config, json, strlen(json), &error));
    SUCCEEDS(wtcache_open(config, &cache, &error));
    wtcache_config_free(config);
    return cache;
}

static void what_the_origin_lists_is_kept(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_lists(&origin);
    wtcache_results *results = NULL;
    size_t wrong = 9, len = 9;
    int32_t more = 9;
    SUCCEEDS(wtcache_list(cache, BYTES("only=name"), NULL, &results, &wrong, &more, &error));
    CHECK(wtcache_results_count(results) == 2);
    wtcache_results_free(results);
    check_read(cache, "a", WTCACHE_MODE_CACHED, NULL);

    wtcache_call call = {.struct_size = sizeof call, .deadline_ms = 60000};
    SUCCEEDS(wtcache_list(cache, BYTES("all=1"), &call, &results, &wrong, &more, &error));
    CHECK(wtcache_results_count(results) == 2 && wrong == 0 && more == 0);
    const wtcache_entry *entry = wtcache_results_entry(results, 0);
    check_value(entry, "{\"name\": \"b\", \"r\": 1}");
    CHECK(*(const char *)wtcache_entry_key(entry, &len) == 'b' && len == 1);
    entry = wtcache_results_entry(results, 1);
    const char *version = wtcache_entry_version(entry, &len);
    CHECK(len == 3 && memcmp(version, "\"2\"", 3) == 0 && wtcache_results_status(results, 1) == WTCACHE_OK);
    wtcache_results_free(results);
    check_read(cache, "a", WTCACHE_MODE_DEFAULT, "{\"name\": \"a\", \"r\": 2}");
    check_read(cache, "b", WTCACHE_MODE_CACHED, "{\"name\": \"b\", \"r\": 1}");

    SUCCEEDS(wtcache_list(cache, BYTES("page=1"), NULL, &results, &wrong, &more, &error));
    CHECK(wtcache_results_count(results) == 1 && wrong == 2 && more == 1);
    wtcache_results_free(results);
    SUCCEEDS(wtcache_list(cache, BYTES("page=1"), NULL, &results, NULL, NULL, &error));
    wtcache_results_free(results);
    CHECK(origin.gets == 0 && origin.lists == 4);
    wtcache_cache_free(cache);
    end(&origin);
}

static void a_list_that_is_refused(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_lists(&origin);
    wtcache_results *results = (wtcache_results *)&origin;
    size_t wrong = 9;
    int32_t more = 9;
    FAILS(wtcache_list(cache, BYTES("later"), NULL, &results, &wrong, &more, &error), WTCACHE_ERR_SOURCE, "503");
    CHECK(results == NULL && wrong == 0 && more == 0);
    FAILS(wtcache_list(cache, BYTES("a b"), NULL, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "query: ' ' at byte 1");
    FAILS(wtcache_list(cache, "\xff", 1, NULL, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "query");
    wtcache_call call = {.struct_size = sizeof call, .mode = WTCACHE_MODE_CACHED};
    FAILS(wtcache_list(cache, "", 0, &call, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    call = (wtcache_call){.struct_size = sizeof call, .lifetime_ms = 1};
    FAILS(wtcache_list(cache, "", 0, &call, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "call.lifetime_ms");
    call = (wtcache_call){.struct_size = sizeof call, .max_age_ms = 1};
    FAILS(wtcache_list(cache, "", 0, &call, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "call.max_age_ms");
    NULL_IS_REFUSED(wtcache_list(cache, NULL, 1, NULL, &results, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_list(cache, "", 0, NULL, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_list(NULL, "", 0, NULL, &results, NULL, NULL, &error));
    SUCCEEDS(wtcache_close(cache, 0, NULL, &error));
    FAILS(wtcache_list(cache, "all=1", 5, NULL, &results, NULL, NULL, &error), WTCACHE_ERR_CLOSED, "");
    wtcache_cache_free(cache);
    CHECK(origin.lists == 1);
    cache = open_makes(&origin);
    FAILS(wtcache_list(cache, "", 0, NULL, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "no list");
    wtcache_cache_free(cache);
    end(&origin);

    shelf self;
    cache = open_shelf(&self);
    FAILS(wtcache_list(cache, "", 0, NULL, &results, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "a source of the program's own");
    free_shelf(cache, &self);
}

/* The same for event loops: creates, patches and lists complete in a queue. */
static void creates_patches_and_lists_complete_in_a_queue(void)
{
    teller origin;
    begin(&origin);
    wtcache_cache *cache = open_makes(&origin);
    wtcache_queue *queue = NULL;
    uint64_t id = 0;
    size_t len = 9, wrong = 9;
    int32_t more = 9;
    SUCCEEDS(wtcache_queue_new(2, 10, &queue, &error));
    SUCCEEDS(wtcache_create_async(queue, cache, BYTES("{\"named\": 1}"), NULL, &origin, &id, &error));
    wtcache_completion *completion = next_of(queue);
    CHECK(id != 0 && wtcache_completion_id(completion) == id && wtcache_completion_token(completion) == &origin);
    CHECK(wtcache_completion_status(completion) == WTCACHE_OK && wtcache_completion_error(completion) == NULL);
    const wtcache_created *created = wtcache_completion_created(completion);
    CHECK(*(const char *)wtcache_created_key(created, &len) == '7' && len == 1 && wtcache_created_is_kept(created) == 1);
    check_value(wtcache_created_entry(created), "{\"id\": 7}");
    CHECK(wtcache_completion_entry(completion) == NULL && wtcache_completion_results(completion) == NULL);
    CHECK(wtcache_completion_listed(completion, &wrong, &more) == NULL && wrong == 0 && more == 0);
    wtcache_completion_free(completion);
    check_read(cache, "7", WTCACHE_MODE_CACHED, "{\"id\": 7}");
    SUCCEEDS(wtcache_create_async(queue, cache, BYTES("{\"fails\": 1}"), NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_IN_DOUBT && wtcache_completion_created(completion) == NULL);
    wtcache_completion_free(completion);

    SUCCEEDS(wtcache_patch_async(queue, cache, "k", 1, BYTES("{\"merged\": null}"), NULL, NULL, &id, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_id(completion) == id && wtcache_completion_status(completion) == WTCACHE_OK);
    check_value(wtcache_completion_entry(completion), "{\"n\": 2}");
    CHECK(wtcache_completion_created(completion) == NULL);
    wtcache_completion_free(completion);
    check_read(cache, "k", WTCACHE_MODE_CACHED, "{\"n\": 2}");
    SUCCEEDS(wtcache_patch_async(queue, cache, "k", 1, BYTES("{\"gone\": 1}"), NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_CONFLICT);
    wtcache_completion_free(completion);
    wtcache_cache_free(cache);

    cache = open_lists(&origin);
    SUCCEEDS(wtcache_list_async(queue, cache, BYTES("all=1"), NULL, NULL, &id, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_id(completion) == id && wtcache_completion_status(completion) == WTCACHE_OK);
    const wtcache_results *results = wtcache_completion_listed(completion, NULL, NULL);
    CHECK(wtcache_results_count(results) == 2 && wtcache_completion_results(completion) == NULL);
    check_value(wtcache_results_entry(results, 0), "{\"name\": \"b\", \"r\": 1}");
    wtcache_completion_free(completion);
    check_read(cache, "a", WTCACHE_MODE_CACHED, "{\"name\": \"a\", \"r\": 2}");
    SUCCEEDS(wtcache_list_async(queue, cache, BYTES("page=1"), NULL, NULL, NULL, &error));
    completion = next_of(queue);
    results = wtcache_completion_listed(completion, &wrong, &more);
    CHECK(wtcache_results_count(results) == 1 && wrong == 2 && more == 1);
    wtcache_completion_free(completion);
    SUCCEEDS(wtcache_list_async(queue, cache, BYTES("later"), NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_SOURCE);
    CHECK(wtcache_completion_listed(completion, &wrong, &more) == NULL && wrong == 0 && more == 0);
    wtcache_completion_free(completion);
    SUCCEEDS(wtcache_list_async(queue, cache, BYTES("a b"), NULL, NULL, NULL, &error));
    completion = next_of(queue);
    CHECK(wtcache_completion_status(completion) == WTCACHE_ERR_ARGUMENT);
    wtcache_completion_free(completion);
    CHECK(wtcache_completion_created(NULL) == NULL && wtcache_completion_listed(NULL, NULL, NULL) == NULL);

    /* Refused at once: nothing completes. */
    wtcache_call cached = {.struct_size = sizeof cached, .mode = WTCACHE_MODE_CACHED};
    uint64_t ids[3] = {7, 7, 7};
    FAILS(wtcache_create_async(queue, cache, "{}", 2, &cached, NULL, &ids[0], &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    FAILS(wtcache_patch_async(queue, cache, "k", 1, "{}", 2, &cached, NULL, &ids[1], &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    FAILS(wtcache_list_async(queue, cache, "", 0, &cached, NULL, &ids[2], &error), WTCACHE_ERR_ARGUMENT, "call.mode");
    CHECK(ids[0] == 0 && ids[1] == 0 && ids[2] == 0);
    FAILS(wtcache_patch_async(queue, cache, "k", 1, "{", 1, NULL, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "patch is no JSON");
    NULL_IS_REFUSED(wtcache_create_async(NULL, cache, "{}", 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_create_async(queue, NULL, "{}", 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_create_async(queue, cache, NULL, 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_patch_async(NULL, cache, "k", 1, "{}", 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_patch_async(queue, NULL, "k", 1, "{}", 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_patch_async(queue, cache, NULL, 1, "{}", 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_patch_async(queue, cache, "k", 1, NULL, 2, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_list_async(NULL, cache, "", 0, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_list_async(queue, NULL, "", 0, NULL, NULL, NULL, &error));
    NULL_IS_REFUSED(wtcache_list_async(queue, cache, NULL, 1, NULL, NULL, NULL, &error));
    wtcache_cache_free(cache);
    shelf self;
    cache = open_shelf(&self);
    FAILS(wtcache_patch_async(queue, cache, "k", 1, "{}", 2, NULL, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "a source of the program's own");
    FAILS(wtcache_list_async(queue, cache, "", 0, NULL, NULL, NULL, &error), WTCACHE_ERR_ARGUMENT, "a source of the program's own");
    CHECK(!readable(queue, 0));
    free_shelf(cache, &self);
    wtcache_queue_free(queue);
    end(&origin);
}

const test_case http_cases[] = {
    {"a_feed_is_followed_until_the_cache_is_closed", a_feed_is_followed_until_the_cache_is_closed},
    {"where_a_feed_stands_is_told", where_a_feed_stands_is_told},
    {"creates_patches_and_lists_complete_in_a_queue", creates_patches_and_lists_complete_in_a_queue},
    {"a_feed_ends_with_the_last_handle", a_feed_ends_with_the_last_handle},
    {"a_listener_closes_the_cache_that_tells_it", a_listener_closes_the_cache_that_tells_it},
    {"the_origin_names_the_records_that_it_makes", the_origin_names_the_records_that_it_makes},
    {"p2_a_conflict_gives_the_record_that_the_origin_answers_with", p2_a_conflict_gives_the_record_that_the_origin_answers_with},
    {"a_record_that_is_not_made", a_record_that_is_not_made},
    {"the_origin_merges_a_patch_and_its_record_is_kept", the_origin_merges_a_patch_and_its_record_is_kept},
    {"a_patch_that_is_not_merged", a_patch_that_is_not_merged},
    {"what_the_origin_lists_is_kept", what_the_origin_lists_is_kept},
    {"a_list_that_is_refused", a_list_that_is_refused},
    {NULL, NULL},
};
