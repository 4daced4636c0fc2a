/* What a read asks of its record, and for how long a source says that one may be served. */
#include <atomic>

#include "check.hpp"

namespace {

/** What an origin of one value says of it. */
struct script {
    std::atomic<int> gets{0};
    bool failing = false;
    wtcache::record about{};
    /** Of what is offered by its version: the age of the answer. */
    std::optional<wtcache::milliseconds> as_before{};
    /** There is no record. */
    std::optional<wtcache::milliseconds> absent_for{};
};

class teller : public wtcache::source {
public:
    explicit teller(script &of) : script_(of) {}

    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        script_.gets++;
        if (script_.failing) CHECK(answer.fail({}));
        else if (script_.absent_for) CHECK(answer.absent_for(*script_.absent_for));
        else if (script_.as_before && asked.version()) CHECK(answer.unchanged_as_before(*script_.as_before));
        else CHECK(answer.value("v", script_.about));
    }

private:
    script &script_;
};

wtcache::cache opened(script &of)
{
    wtcache::config config;
    config.clean_start(true).negative_lifetime(1h).deadline(60s);
    auto cache = wtcache::cache::open(config, std::make_unique<teller>(of));
    CHECK(cache);
    return std::move(*cache);
}

void a_read_asks_for_more_than_that_its_record_be_fresh()
{
    script origin;
    auto cache = opened(origin);
    wtcache::call_options aged, anew, alone, fresh, stale, in_place;
    aged.max_age = 1h;
    anew.max_age = 0ms;
    alone.not_kept = true;
    fresh.min_fresh = 1h;
    stale.max_stale = 1h;
    in_place.stale_if_error = 0ms;
    CHECK(shows(cache.get("k", alone), "v") && shows(cache.get("k"), "v") && origin.gets == 2);
    CHECK(shows(cache.get("k", aged), "v") && shows(cache.get("k", fresh), "v") && origin.gets == 2);
    origin.about.lifetime = 30min;
    CHECK(shows(cache.get("k", anew), "v") && origin.gets == 3);
    CHECK(shows(cache.get("k", fresh), "v") && origin.gets == 4);
    CHECK(cache.get_many({"k"}, anew) && origin.gets == 5);

    const auto found = cache.get("k");
    CHECK(shows(found, "v") && becomes([&] { return (*found)->age(cache) > 2ms; }));
    aged.max_age = 1ms;
    CHECK(shows(cache.get("k", aged), "v") && origin.gets == 6);

    for (const auto &options : {aged, anew, alone, fresh, stale, in_place}) {
        const auto refused = cache.put("k", "v", options);
        CHECK(refused.status() == wtcache::status::argument);
        CHECK(refused.error().message().find("is of a read only") != std::string_view::npos);
    }
}

void windows_of_a_call_and_of_a_record()
{
    script origin;
    auto cache = opened(origin);
    wtcache::call_options stale = reading(wtcache::mode::cached);
    stale.max_stale = 1h;
    wtcache::call_options fresh = stale;
    fresh.max_stale = 0ms;
    wtcache::call_options in_place;
    in_place.stale_if_error = 1h;
    origin.about.version = "r1";
    origin.about.lifetime = wtcache::expired_from_start;
    CHECK(shows(cache.get("k"), "v") && shows_nothing(cache.get("k", fresh)));
    const auto found = cache.get("k", stale);
    CHECK(shows(found, "v") && (*found)->stale(cache) > 0ms && origin.gets == 1);
    origin.failing = true;
    CHECK(cache.get("k").status() == wtcache::status::source && shows(cache.get("k", in_place), "v"));

    origin.failing = false;
    origin.about.if_error = 1h;
    CHECK(shows(cache.get("k"), "v"));
    origin.failing = true;
    in_place.stale_if_error = 0ms;
    CHECK(shows(cache.get("k"), "v") && cache.get("k", in_place).status() == wtcache::status::source);

    origin.failing = false;
    origin.about.while_revalidate = 0ms;
    CHECK(shows(cache.get("k"), "v") && shows_nothing(cache.get("k", stale)));
}

void unchanged_and_absent_for_as_long_as_the_source_says()
{
    script origin;
    auto cache = opened(origin);
    wtcache::call_options anew, fresh;
    anew.max_age = 0ms;
    fresh.min_fresh = 45min;
    origin.about.version = "r1";
    origin.about.lifetime = 1h;
    CHECK(shows(cache.get("k"), "v"));
    origin.as_before = 15min;
    const auto found = cache.get("k", anew);
    CHECK(shows(found, "v") && origin.gets == 2);
    const auto remaining = (*found)->remaining(cache);
    CHECK(remaining && *remaining <= 45min && *remaining > 30min);

    origin.absent_for = 0ms;
    CHECK(shows_nothing(cache.get("none")) && shows_nothing(cache.get("none")) && origin.gets == 4);
    origin.absent_for = 30min;
    CHECK(shows_nothing(cache.get("none")) && shows_nothing(cache.get("none")) && origin.gets == 5);
    CHECK(shows_nothing(cache.get("none", fresh)) && origin.gets == 6);
}

} // namespace

void lifetimes_and_windows()
{
    a_read_asks_for_more_than_that_its_record_be_fresh();
    windows_of_a_call_and_of_a_record();
    unchanged_and_absent_for_as_long_as_the_source_says();
}
