/* What wtcache.hpp adds to wtcache.h: handles, results, the source as a class. */
#include <atomic>
#include <array>

#include "check.hpp"

namespace {

/** What is left of sources. */
std::atomic<int> sources{0};

/** A source in memory. Some keys do something else. */
class shelf : public wtcache::source {
public:
    shelf() { sources++; }
    ~shelf() override { sources--; }

    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        loads_++;
        const auto found = records_.find(std::string(asked.key()));
        if (found == records_.end()) CHECK(answer.absent());
        else CHECK(answer.value(found->second, {"r1"sv, 1h}));
        // Once is enough.
        CHECK(answer.absent().status() == wtcache::status::answered);
    }

    void put(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::string key(asked.key()), value(asked.value());
        CHECK(asked.idempotency_key().size() == 32);
        CHECK(asked.remaining() > 0ms && asked.remaining() <= 5s);
        CHECK(!asked.if_absent() && !asked.if_version());
        wtcache::failure why;
        if (key == "refused") {
            why = {"no room", wtcache::verdict::rejected, true, 7, 90ms};
            CHECK(answer.fail(why));
        } else if (key == "never again") {
            why = {"no room", wtcache::verdict::rejected, true, 7, wtcache::milliseconds::max()};
            CHECK(answer.fail(why));
        } else if (key == "changed") {
            why.verdict = wtcache::verdict::conflict;
            CHECK(answer.fail(why));
        } else if (key == "unknown") {
            CHECK(answer.fail(why));
        } else if (key == "unseen") {
            CHECK(answer.applied());
        } else if (key == "verbatim") {
            CHECK(answer.stored({""sv, std::nullopt}));
        } else if (key == "told") {
            CHECK(asked.remaining() <= 2s);
            CHECK(answer.value(asked.idempotency_key()));
        } else if (key == "later") {
            std::thread([answer, value] { CHECK(answer.value(value + " later")); }).detach();
        } else if (!value.empty() && value[0] == '+') {
            auto existing = answer.existing();
            CHECK(existing);
            CHECK(answer.value((*existing ? (*existing)->str() : "none") + value));
        } else {
            const std::lock_guard<std::mutex> guard(lock_);
            records_[key] = value;
            CHECK(answer.value(value, {std::nullopt, value == "not kept" ? 0ms : 1h}));
        }
    }

    void remove(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        records_.erase(std::string(asked.key()));
        CHECK(answer.applied());
    }

    wtcache::declared declares() const override
    {
        wtcache::declared declared;
        // What is written within the first one is forgotten at its end: long enough for any test.
        declared.settle_window = 10min;
        declared.stores_verbatim = true;
        return declared;
    }

    int loads() const { return loads_; }

private:
    std::mutex lock_;
    std::map<std::string, std::string> records_;
    int loads_ = 0;
};

wtcache::cache opened(std::unique_ptr<wtcache::source> source)
{
    auto cache = wtcache::cache::open(wtcache::config().lifetime(1h).deadline(5s), std::move(source));
    CHECK(cache);
    return std::move(*cache);
}

void reads()
{
    auto source = std::make_unique<shelf>();
    shelf *kept = source.get();
    auto cache = opened(std::move(source));
    const auto key = "a\0b"s;
    CHECK(cache.put(key, "x\0y"sv));
    auto found = cache.get(key);
    CHECK(found && *found);
    wtcache::value value = std::move(**found);
    CHECK(value.view() == "x\0y"sv && value.key() == key && value.str().size() == 3);
    CHECK(!value.version());
    CHECK(kept->loads() == 0);
    // Zero-copy: another handle shows the same bytes, at the same place.
    auto again = cache.peek(key);
    CHECK(again && *again && (*again)->view().data() == value.view().data());
    CHECK(cache.invalidate(key));
    auto gone = cache.peek(key);
    CHECK(gone && !*gone);
    auto loaded = cache.get(key, {1s, std::nullopt});
    CHECK(loaded && *loaded && (*loaded)->version() == "r1"sv && kept->loads() == 1);

    char buffer[8];
    auto into = cache.get_into(key, buffer, sizeof buffer);
    CHECK(into && into->status == wtcache::status::ok && into->len == 3 && buffer[2] == 'y');
    into = cache.get_into(key, buffer, 2);
    CHECK(into && into->status == wtcache::status::too_small && into->len == 3);
    into = cache.get_into("none", buffer, 2);
    CHECK(into && into->status == wtcache::status::not_found);

    auto none = cache.get("none");
    CHECK(none && !*none);
    auto another = value.clone();
    {
        const wtcache::cache last = std::move(cache);
    }
    CHECK(sources == 0);
    CHECK(value.view() == "x\0y"sv && another.view().data() == value.view().data());
    CHECK(std::string_view(another) == value.view());
}

void writes()
{
    auto cache = opened(std::make_unique<shelf>());
    auto put = cache.put("unseen", "1");
    CHECK(put && !*put);
    put = cache.put("verbatim", "1");
    CHECK(put && *put && (*put)->view() == "1" && (*put)->version() == ""sv);
    put = cache.put("later", "1");
    CHECK(put && *put && (*put)->view() == "1 later");
    put = cache.put("told", "1", {2s, std::array<std::uint8_t, 16>{1, 255}});
    CHECK(put && *put && (*put)->view() == "01ff" + std::string(28, '0'));
    put = cache.put("new", "+1");
    CHECK(put && *put && (*put)->view() == "none+1");
    CHECK(cache.put("here", "1"));
    put = cache.put("here", "+1");
    CHECK(put && *put && (*put)->view() == "1+1");
    CHECK(cache.put("short", "not kept"));
    auto kept = cache.peek("short");
    CHECK(kept && !*kept);

    CHECK(put.status() == wtcache::status::ok && put.error().native() == nullptr);
    CHECK(cache.invalidate("none").status() == wtcache::status::ok && cache.invalidate("none").error().native() == nullptr);
    put = cache.put("refused", "1");
    CHECK(!put && put.status() == wtcache::status::rejected);
    wtcache::error first = put.error();
    const wtcache::error error = std::move(first);
    CHECK(first.status() == wtcache::status::ok && first.native() == nullptr);
    CHECK(error.outcome() == wtcache::outcome::not_applied && error.retryable() && error.source_code() == 7);
    CHECK(error.retry_after() > 0ms && error.retry_after() <= 90ms && error.thrown() == nullptr);
    CHECK(error.message().find("no room") != std::string_view::npos);
    // The longest time there is can be compared with the shortest.
    CHECK(cache.put("never again", "1").error().retry_after() > 1ns);
    CHECK(cache.put("changed", "1").status() == wtcache::status::conflict);
    put = cache.put("unknown", "1", {std::nullopt, std::array<std::uint8_t, 16>{1}});
    CHECK(put.status() == wtcache::status::in_doubt && put.error().outcome() == wtcache::outcome::in_doubt);
    CHECK(put.error().retry_after() > 9min && put.error().retry_after() <= 10min);

    CHECK(cache.put("k", "1") && cache.remove("k"));
    auto removed = cache.get("k");
    CHECK(removed && !*removed);
}

void stats_and_the_end()
{
    auto cache = opened(std::make_unique<shelf>());
    CHECK(cache.put("k", "1") && cache.get("k"));
    CHECK(cache.put("unknown", "1").status() == wtcache::status::in_doubt);
    auto stats = cache.stats();
    CHECK(stats && stats->hits == 1 && stats->writes_applied == 1);
    auto json = cache.stats_json();
    CHECK(json && json->front() == '{' && json->find("\"hits\":1") != std::string::npos);
    auto clone = cache.clone();
    auto report = clone.close(0ms);
    CHECK(report && report->unfinished().empty() && report->rolled_back().empty());
    const std::vector<std::string> in_doubt = report->in_doubt();
    report = clone.close(0ms);
    // What it told outlives it.
    CHECK(in_doubt.size() == 1 && in_doubt[0] == "unknown");
    CHECK(cache.get("k").status() == wtcache::status::closed);
    // What was moved from is refused, not undefined.
    const wtcache::cache moved = std::move(cache);
    CHECK(cache.get("k").status() == wtcache::status::argument);
    CHECK(cache.native() == nullptr && moved.native() != nullptr);
}

void opening_may_fail()
{
    wtcache::config config;
    config.json("{\"lifetime_ms\": \"long\"}").json("{\"colour\": 1}");
    for (int twice = 0; twice < 2; twice++) {
        auto cache = wtcache::cache::open(config, std::make_unique<shelf>());
        CHECK(cache.status() == wtcache::status::config);
        CHECK(cache.error().message().find("lifetime_ms") != std::string_view::npos);
        CHECK(wtcache::cache::open(config).status() == wtcache::status::config);
    }
    CHECK(wtcache::cache::open(wtcache::config().capacity_bytes(0), std::make_unique<shelf>()).status() ==
          wtcache::status::config);
    CHECK(wtcache::cache::open(wtcache::config(), nullptr).status() == wtcache::status::argument);
    CHECK(sources == 0);
    CHECK(wtcache::cache::open(wtcache::config()).status() == wtcache::status::config);
    CHECK(wtcache::cache::open(wtcache::config().http_url("\xff")).status() == wtcache::status::argument);
    wtcache::config http;
    http.http_url("http://127.0.0.1:1/{id}").http_header("X-Key", "1").negative_lifetime(0ms).lifetime(1s).capacity_bytes(0);
    CHECK(wtcache::cache::open(http).status() == wtcache::status::config);
    const auto nowhere = wtcache::cache::open(http.capacity_bytes(1 << 20));
    CHECK(nowhere && nowhere->origin_json() && nowhere->origin_json()->find("\"attempts\":0,") != std::string::npos);
    CHECK(wtcache::check_abi());
}

/** Has nothing but `get`. */
class fixed : public wtcache::source {
    void get(const wtcache::request &, wtcache::reply answer) override { CHECK(answer.value("fixed")); }
};

void a_source_refuses_what_it_has_not()
{
    auto cache = opened(std::make_unique<fixed>());
    CHECK(cache.put("k", "v").status() == wtcache::status::rejected);
    CHECK(cache.create("v").status() == wtcache::status::rejected);
    CHECK(cache.feed() && !*cache.feed() && cache.feed_json() && !*cache.feed_json());
    CHECK(cache.patch("k", "{}").status() == wtcache::status::argument);
    CHECK(cache.list("a=1").status() == wtcache::status::argument);
    CHECK(cache.remove("k").status() == wtcache::status::rejected);
    auto found = cache.get("k");
    CHECK(found && *found && (*found)->view() == "fixed");
}

/** Expired records are offered to it by their version. */
class renewed : public wtcache::source {
public:
    explicit renewed(std::atomic<bool> &was) : was_(was) {}

    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        if (asked.version() == "r1"sv) {
            was_ = true;
            CHECK(answer.unchanged({std::nullopt, 1h}));
        } else {
            CHECK(answer.value("v", {"r1"sv, 20ms}));
        }
    }

private:
    std::atomic<bool> &was_;
};

void an_unchanged_record_lives_anew()
{
    std::atomic<bool> was{false};
    auto cache = opened(std::make_unique<renewed>(was));
    // On a slow machine a record may expire before it is kept: then the next load brings another.
    CHECK(becomes([&] { return shows(cache.get("k"), "v") && was; }));
    const std::uint64_t loads = cache.stats()->loads;
    CHECK(shows(cache.get("k"), "v") && cache.stats()->loads == loads);
}

/** Throws what its key names. */
class throwing : public wtcache::source {
    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        if (asked.key() != "given") fall(asked.key());
        wtcache::failure why;
        why.thrown = std::make_exception_ptr(8);
        CHECK(answer.fail(why));
    }
    void put(const wtcache::request &asked, wtcache::reply answer) override
    {
        if (asked.key() == "after") CHECK(answer.value("answered"));
        fall(asked.key());
    }
    static void fall(std::string_view key)
    {
        if (key == "number") throw 7;
        throw std::runtime_error("the shelf fell");
    }
};

/** Throws before there is a cache. */
class undeclared final : public wtcache::source {
public:
    explicit undeclared(std::shared_ptr<int> kept) : kept_(std::move(kept)) {}
    void get(const wtcache::request &, wtcache::reply) override {}
    wtcache::declared declares() const override { throw 9; }

private:
    std::shared_ptr<int> kept_;
};

/** The number that an exception is. */
int number(const std::exception_ptr &thrown)
{
    CHECK(thrown);
    try {
        std::rethrow_exception(thrown);
    } catch (int is) {
        return is;
    }
}

void exceptions()
{
    auto cache = opened(std::make_unique<throwing>());
    auto failed = cache.get("text");
    CHECK(failed.status() == wtcache::status::source);
    CHECK(failed.error().message().find("the shelf fell") != std::string_view::npos);
    // The exception itself is there, too, as long as it is wanted.
    const std::exception_ptr fell = failed.error().thrown();
    CHECK(fell);
    bool same = false;
    try {
        std::rethrow_exception(fell);
    } catch (const std::runtime_error &is) {
        same = is.what() == "the shelf fell"sv;
    }
    CHECK(same);
    CHECK(number(cache.get("number").error().thrown()) == 7 && number(cache.get("given").error().thrown()) == 8);
    CHECK(cache.get("number").error().message().find("the source threw") != std::string_view::npos);
    CHECK(cache.put("text", "v").status() == wtcache::status::in_doubt);
    auto put = cache.put("after", "v");
    CHECK(put && *put && (*put)->view() == "answered");
    CHECK((*cache.get("after").or_throw()).view() == "answered");
    cache.invalidate("after").or_throw();
    std::optional<wtcache::exception> caught;
    try {
        (void)cache.put("text", "v").or_throw();
    } catch (const wtcache::exception &thrown) {
        caught = thrown;
    }
    CHECK(caught && caught->error().status() == wtcache::status::in_doubt);
    CHECK(caught->error().message() == caught->what());
    bool told = false;
    try {
        cache.remove("k").or_throw();
    } catch (const std::runtime_error &) {
        told = true;
    }
    CHECK(told);

    const auto kept = std::make_shared<int>();
    int declared = 0;
    try {
        (void)wtcache::cache::open(wtcache::config(), std::make_unique<undeclared>(kept));
    } catch (int is) {
        declared = is;
    }
    CHECK(declared == 9 && kept.use_count() == 1);
}

static_assert(!std::is_copy_constructible_v<wtcache::value> && std::is_nothrow_move_constructible_v<wtcache::value>);
static_assert(!std::is_copy_constructible_v<wtcache::cache> && std::is_nothrow_move_constructible_v<wtcache::cache>);

} // namespace

void handles_and_the_source()
{
    reads();
    writes();
    stats_and_the_end();
    opening_may_fail();
    a_source_refuses_what_it_has_not();
    an_unchanged_record_lives_anew();
    exceptions();
    CHECK(sources == 0);
}

int main()
{
    CHECK(surface_of_cpp20() == 0);
    CHECK(surface_without_exceptions() == 0);
    handles_and_the_source();
    configuration();
    weights_tags_and_indexes();
    writes_of_all_kinds();
    what_goes_on_in_the_background();
    transactions();
    event_loops();
    lifetimes_and_windows();
    std::puts("all well");
}
