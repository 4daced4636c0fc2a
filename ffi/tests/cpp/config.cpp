/* The setters of a configuration, and the listener. */
#include "check.hpp"

namespace {

void wrong(const wtcache::config &config, std::string_view member)
{
    auto cache = wtcache::cache::open(config, std::make_unique<store>(std::make_shared<truth>()));
    CHECK(cache.status() == wtcache::status::config);
    CHECK(cache.error().message().find(member) != std::string_view::npos);
}

void options_that_make_no_sense()
{
    wrong(wtcache::config().refresh_ahead(1.0), "refresh_ahead: ");
    wrong(wtcache::config().refresh_threads(0), "refreshers: ");
    wrong(wtcache::config().refresh_queue(0), "refreshers: ");
    wrong(wtcache::config().jitter(1.5), "jitter: ");
    wrong(wtcache::config().most_doubts(0), "most_doubts: ");
    wrong(wtcache::config().turn_queue(0), "turn_queue: ");
    wrong(wtcache::config().longest_key_bytes(0), "longest_key_bytes: ");
    wrong(wtcache::config().shards(1025), "shards: ");
    wrong(wtcache::config().separator('*'), "separator: ");
    wrong(wtcache::config().optimistic_threads(0), "optimistic: ");
    wrong(wtcache::config().optimistic_most(0), "optimistic: ");
    wrong(wtcache::config().optimistic_weight_bytes(0), "optimistic: ");
    wrong(wtcache::config().optimistic_deadline(0ms), "optimistic: ");
    wrong(wtcache::config().audit_every(0ms), "audit_every_ms: ");
}

void a_configuration_that_was_moved_from_is_refused()
{
    for (const bool right : {true, false}) {
        wtcache::config config;
        if (!right) config.json("{\"colour\": 1}");
        const wtcache::config moved = std::move(config);
        const auto opening = [](const wtcache::config &with) {
            return wtcache::cache::open(with, std::make_unique<store>(std::make_shared<truth>())).status();
        };
        CHECK(opening(moved) == (right ? wtcache::status::ok : wtcache::status::config));
        // It does not stand for the defaults.
        CHECK(opening(config) == wtcache::status::argument);
        CHECK(wtcache::cache::open(config).status() == wtcache::status::argument);
    }
}

void options_do_what_they_say()
{
    const auto origin = std::make_shared<truth>();
    wtcache::config config;
    config.refresh_ahead(0.5).refresh_threads(1).refresh_queue(8).jitter(0.25).in_doubt_writes_wait(true);
    config.absent_after_delete(true).clean_start(true).most_doubts(2).turn_queue(3).load_queue(4).longest_key_bytes(16);
    config.shards(2).key_index(true).separator('/').tag_memory(5).optimistic_threads(1).optimistic_most(1);
    config.optimistic_weight_bytes(4096).optimistic_deadline(60s).audit_every(24h).deadline(60s);
    auto cache = opened(config, origin);
    CHECK(cache.put("a key of 17 bytes", "v").status() == wtcache::status::too_large);
    // Nothing limits it: no lifetime, and no settle window from the start on.
    auto put = cache.put("a:b/c", "v");
    CHECK(put && *put && !(*put)->remaining(cache));
    CHECK(cache.put("a/b/c", "v"));
    auto forgotten = cache.invalidate_pattern("*/c");
    CHECK(forgotten && forgotten->entries == 1);
    forgotten = cache.invalidate_prefix("a/");
    CHECK(forgotten && forgotten->entries == 1 && !forgotten->scanned);
    CHECK(cache.remove("gone") && shows_nothing(cache.get("gone")) && origin->gets == 0);
    CHECK(cache.put("unknown", "v").status() == wtcache::status::in_doubt);
    CHECK(cache.put("unknown", "v", within(50ms)).status() == wtcache::status::held_back);
    CHECK(cache.settle("unknown", wtcache::settlement::over));
    // As many pending writes as may be.
    auto pending = cache.put_optimistic("gated", "v");
    CHECK(pending && cache.put_optimistic("other", "v").status() == wtcache::status::overloaded);
    origin->open_gate();
    CHECK(pending->wait(60s));
    CHECK(cache.put("unknown", "v").status() == wtcache::status::in_doubt);
    CHECK(cache.put("unknown:2", "v").status() == wtcache::status::in_doubt);
    CHECK(cache.put("full", "v").status() == wtcache::status::overloaded);

    // What an earlier cache left behind may land for as long as is said.
    auto after = opened(wtcache::config().stray_window(1h).keep_expired(1h), origin);
    put = after.put("k", "v");
    CHECK(put && *put && (*put)->remaining(after) > 30min && (*put)->remaining(after) <= 1h);

    // By default it is otherwise.
    auto plain = opened(wtcache::config(), origin);
    put = plain.put("a/b:c", "v");
    CHECK(put && *put && (*put)->remaining(plain) > 9min && (*put)->remaining(plain) <= 10min);
    forgotten = plain.invalidate_prefix("none");
    CHECK(forgotten && forgotten->entries == 0 && forgotten->scanned);
}

void times_and_bounds_of_reads()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().lifetime(1h).clean_start(true).negative_lifetime(0ms).deadline(30min), origin);
    auto put = cache.put("k", "v");
    CHECK(put && *put && (*put)->remaining(cache) > 59min && (*put)->remaining(cache) <= 1h);
    // An absence is not remembered.
    CHECK(shows_nothing(cache.get("none")) && shows_nothing(cache.get("none")) && origin->gets == 2);
    CHECK(cache.prepare("k")->remaining() > 29min);

    // Nobody may wait for another's load; of invalidated tags, one is remembered.
    for (const bool bounded : {false, true}) {
        const auto there = std::make_shared<truth>();
        there->items["slow"] = {"v", 1};
        wtcache::config config;
        if (bounded) config.load_queue(0).tag_memory(1);
        auto slow = opened(config.deadline(60s), there);
        std::thread reads([&] { CHECK(shows(slow.get("slow"), "v")); });
        there->wait_at_gate(1);
        const auto joined = slow.get("slow", within(20ms));
        CHECK(joined.status() == (bounded ? wtcache::status::overloaded : wtcache::status::deadline));
        CHECK(slow.invalidate_tag("one") && slow.invalidate_tag("two"));
        there->open_gate();
        reads.join();
        // What its load brought may have had a tag that is forgotten: it is not kept, and asked for again.
        CHECK(slow.stats()->loads_detached == (bounded ? 1 : 0) && there->gets == (bounded ? 2 : 1));
    }
}

void records_are_served_stale_where_that_is_declared()
{
    for (const bool if_error : {false, true}) {
        const auto origin = std::make_shared<truth>();
        wtcache::config config;
        // Else the first settle window would end it.
        config.clean_start(true);
        if (if_error) config.stale_if_error(1h);
        else config.stale_while_revalidate(1h);
        auto cache = opened(config, origin);
        origin->items["short"] = {"v", 1};
        // On a slow machine a record may expire before it is kept.
        CHECK(becomes([&] { return shows(cache.get("short"), "v") && shows(cache.peek("short"), "v"); }));
        {
            const std::lock_guard<std::mutex> held(origin->lock);
            origin->failing = true;
        }
        CHECK(becomes([&] {
            auto found = cache.get("short");
            CHECK(shows(found, "v") && (*found)->remaining(cache) <= 50ms);
            return cache.stats()->stale > 0 && (*found)->stale(cache) > 0ms && (*found)->remaining(cache) == 0ms;
        }));
        // The one asked in this call, the other asks in the background.
        if (if_error) CHECK(cache.stats()->loads_failed > 0 && cache.stats()->refreshes == 0);
        else CHECK(becomes([&] { return cache.stats()->refreshes > 0; }));
    }
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    auto put = cache.put("short", "v");
    CHECK(put && *put && becomes([&] { return (*put)->stale(cache) > 0ms; }));
    origin->failing = true;
    CHECK(cache.get("short").status() == wtcache::status::source);
}

/** What a listener was told. */
struct diary {
    std::mutex lock;
    std::vector<wtcache::event_kind> kinds;
    std::string keys;
    std::uint64_t last = 0;
    bool grew = true;
    int absent = 0, kept = 0;
};

void a_listener_is_told()
{
    using kind = wtcache::event_kind;
    const auto told = std::make_shared<diary>();
    wtcache::config config;
    config.listener([told](const wtcache::event &event) {
        const std::lock_guard<std::mutex> held(told->lock);
        told->kinds.push_back(event.kind());
        told->keys += event.key();
        if (event.key() == "k") {
            told->grew = told->grew && event.sequence() > told->last;
            told->last = event.sequence();
        }
        told->absent += event.absent() ? 1 : 0;
        told->kept += event.kept() ? 1 : 0;
        CHECK(event.differs() == 0ms);
    });
    CHECK(told.use_count() == 2);
    {
        auto cache = opened(config, std::make_shared<truth>());
        config = wtcache::config();
        CHECK(shows_nothing(cache.get("k")) && cache.put("k", "v") && cache.invalidate("k") && cache.remove("k"));
        CHECK(cache.put("unknown", "v").status() == wtcache::status::in_doubt);
        CHECK(cache.settle("unknown", wtcache::settlement::over));
        CHECK(told.use_count() == 2);
    }
    const std::vector<kind> wanted{kind::retained, kind::put, kind::invalidated, kind::deleted, kind::in_doubt, kind::settled};
    CHECK(told->kinds == wanted && told->keys == "kkkkunknownunknown" && told->grew);
    CHECK(told->absent == 1 && told->kept == 1);
    // It went with the last that had it.
    CHECK(told.use_count() == 1);
}

void what_a_listener_throws_is_lost()
{
    wtcache::config config;
    config.listener([](const wtcache::event &) { throw std::runtime_error("nobody listens"); });
    auto cache = opened(config, std::make_shared<truth>());
    CHECK(cache.put("k", "v") && shows(cache.get("k"), "v"));
}

} // namespace

void configuration()
{
    options_that_make_no_sense();
    a_configuration_that_was_moved_from_is_refused();
    options_do_what_they_say();
    times_and_bounds_of_reads();
    records_are_served_stale_where_that_is_declared();
    a_listener_is_told();
    what_a_listener_throws_is_lost();
}
