/* Weights, tags and values in indexes, which callables of the program's say of entries. */
#include "check.hpp"

#include <algorithm>

namespace {

/** Adds the words of a value; one that is broken throws after the first. */
void words(std::string_view, std::string_view value, wtcache::extract &to)
{
    while (!value.empty()) {
        const std::size_t end = std::min(value.find(' '), value.size());
        to.add(value.substr(0, end));
        value.remove_prefix(std::min(end + 1, value.size()));
        if (begins(value, "failing")) to.fail();
        if (begins(value, "broken")) throw std::runtime_error("a broken word");
    }
}

std::size_t count(const wtcache::cache &cache, std::string_view index, std::string_view value)
{
    auto found = cache.find(index, value);
    CHECK(found);
    return found->entries.size();
}

void records_are_found_by_their_indexes()
{
    const auto kept = std::make_shared<int>(0);
    wtcache::config config;
    config.index("words", [kept](std::string_view key, std::string_view value, wtcache::extract &to) { words(key, value, to); });
    config.index("key", [](std::string_view key, std::string_view, wtcache::extract &to) { to.add(key); });
    CHECK(kept.use_count() == 2);
    {
        auto cache = opened(config, std::make_shared<truth>());
        config = wtcache::config();
        CHECK(cache.put("a", "red big") && cache.put("b", "red small") && cache.put("c", ""));
        CHECK(count(cache, "words", "red") == 2 && count(cache, "words", "") == 0 && count(cache, "words", "a") == 0);
        std::optional<wtcache::value> small;
        {
            auto found = cache.find("words", "small");
            CHECK(found && found->entries.size() == 1 && found->expired == 0);
            small = std::move(found->entries[0]);
        }
        // It outlives what was found.
        CHECK(small->key() == "b" && small->view() == "red small" && small->version() == "r1");
        CHECK(cache.put("b", "blue") && count(cache, "words", "red") == 1 && count(cache, "key", "b") == 1);
        CHECK(cache.find("colours", "red").status() == wtcache::status::argument);

        // What could not be told is written all the same, and not kept.
        CHECK(cache.put("b", "red broken") && shows_nothing(cache.peek("b")) && count(cache, "words", "red") == 1);
        CHECK(cache.put("b", "red failing") && shows_nothing(cache.peek("b")));
        CHECK(cache.stats()->extracts_failed == 2);
        CHECK(kept.use_count() == 2);
    }
    CHECK(kept.use_count() == 1);

    // What has expired is counted.
    config = wtcache::config();
    auto cache = opened(config.index("words", words), std::make_shared<truth>());
    CHECK(becomes([&] {
        auto found = cache.find("words", "red");
        // On a slow machine it may expire before it is kept.
        if (found->entries.empty() && found->expired == 0) CHECK(cache.put("short", "red"));
        return found->expired == 1;
    }));
    CHECK(count(cache, "words", "red") == 0);
    config.index("words", words);
    CHECK(wtcache::cache::open(config, std::make_unique<store>(std::make_shared<truth>())).status() == wtcache::status::config);
}

void entries_weigh_what_the_weigher_says()
{
    wtcache::config config;
    config.weigher([](std::string_view key, std::optional<std::string_view> value) -> std::uint64_t {
        if (key == "broken") throw std::runtime_error("not to be weighed");
        return value ? 4 : 1;
    });
    auto cache = opened(config.capacity_bytes(10).shards(1), std::make_shared<truth>());
    for (const auto key : {"a", "b", "c", "d"}) CHECK(cache.put(key, "v"));
    CHECK(cache.stats()->weight_bytes == 8 && cache.invalidate_prefix(""));
    CHECK(shows_nothing(cache.get("none")) && cache.stats()->weight_bytes == 1);
    CHECK(cache.put("broken", "v") && shows_nothing(cache.peek("broken")) && cache.stats()->extracts_failed == 1);
    CHECK(cache.put_optimistic("broken", "v").status() == wtcache::status::overloaded);
}

void tags_are_found_in_records()
{
    wtcache::config config;
    auto cache = opened(config.tags(words), std::make_shared<truth>());
    CHECK(cache.put("a", "red big") && cache.put("b", "red small") && cache.put("tagged", "red one"));
    auto forgotten = cache.invalidate_tag("big");
    CHECK(forgotten && forgotten->entries == 1 && shows_nothing(cache.peek("a")));
    // Beside those of the source.
    forgotten = cache.invalidate_tag("red one");
    CHECK(forgotten && forgotten->entries == 1 && shows_nothing(cache.peek("tagged")));
    forgotten = cache.invalidate_tag("red");
    CHECK(forgotten && forgotten->entries == 1 && shows_nothing(cache.peek("b")));
    CHECK(cache.put("b", "red broken") && shows_nothing(cache.peek("b")));
}

} // namespace

void weights_tags_and_indexes()
{
    records_are_found_by_their_indexes();
    entries_weigh_what_the_weigher_says();
    tags_are_found_in_records();
}
