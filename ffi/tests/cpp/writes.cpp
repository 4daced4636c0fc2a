/* Calls with options, many keys, conditions, updates, forgetting, doubts and permits. */
#include "check.hpp"

namespace {

void options_of_a_call()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().clean_start(true), origin);
    origin->items["k"] = {"there", 1};
    CHECK(shows_nothing(cache.get("k", reading(wtcache::mode::cached))) && origin->gets == 0);
    CHECK(shows(cache.get("k", reading(wtcache::mode::confirmed)), "there") && origin->gets == 1);
    CHECK(shows(cache.get("k", reading(wtcache::mode::cached)), "there") && origin->gets == 1);
    CHECK(cache.put("k", "v", reading(wtcache::mode::cached)).status() == wtcache::status::argument);

    wtcache::call_options options;
    options.lifetime = 1h;
    auto put = cache.put("k", "v", options);
    CHECK(put && *put && (*put)->remaining(cache) > 59min && (*put)->remaining(cache) <= 1h);
    CHECK((*put)->stale(cache) == 0ms && !(*put)->pending());
    CHECK(cache.get("k", options).status() == wtcache::status::argument);
    options.lifetime = 0ms;
    CHECK(cache.put("k", "v", options) && shows_nothing(cache.peek("k")));
    options.lifetime.reset();
    put = cache.put("k", "v", options);
    CHECK(put && *put && !(*put)->remaining(cache));
}

void many_keys()
{
    auto cache = opened(wtcache::config(), std::make_shared<truth>());
    auto put = cache.put_many({{"a", "1"}, {"refused", "x"}, {"unknown", "y"}, {"a", "2"}, {"empty", ""}});
    CHECK(put && put->size() == 5);
    CHECK(shows((*put)[0], "1") && shows((*put)[3], "2") && shows((*put)[4], ""));
    CHECK((*put)[1].status() == wtcache::status::rejected && (*put)[2].status() == wtcache::status::in_doubt);
    // Errors outlive the answers that they were in.
    const wtcache::error error = (*put)[2].error();
    auto got = cache.get_many({"a", "none", "refused", "a"});
    CHECK(got && got->size() == 4 && shows((*got)[0], "2") && shows_nothing((*got)[1]) && shows((*got)[3], "2"));
    CHECK((*got)[2].status() == wtcache::status::source);
    auto kept = (**(*got)[0]).clone();
    got->clear();
    put->clear();
    CHECK(kept.view() == "2" && error.message().find("the answer was lost") != std::string_view::npos && error.doubt());
    got = cache.get_many({});
    CHECK(got && got->empty());
    CHECK(cache.get_many({"a"}, reading(wtcache::mode::confirmed)).status() == wtcache::status::argument);
    CHECK(cache.put_many({{"a", "3"}}, reading(wtcache::mode::cached)).status() == wtcache::status::argument);
}

void writes_on_a_condition()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    CHECK(shows(cache.put_if("k", "1", wtcache::expect::absent()), "1") && origin->condition == "absent");
    auto unmet = cache.put_if("k", "2", wtcache::expect::absent());
    CHECK(unmet.status() == wtcache::status::unmet && unmet.error().outcome() == wtcache::outcome::not_applied);
    CHECK(unmet.error().existing() && unmet.error().existing()->view() == "1" && !unmet.error().doubt());
    CHECK(cache.put_if("k", "2", wtcache::expect::version("r2")).status() == wtcache::status::unmet);
    CHECK(cache.put_if("k", "2", wtcache::expect::version("r1")) && origin->condition == "version r1");
    CHECK(cache.put_if("k", "3", wtcache::expect::versions({"r7", "r2"})) && origin->condition == "version r2");
    CHECK(cache.put_if("k", "4", wtcache::expect::exists()) && origin->condition != "none" && origin->puts == 4);
    CHECK(cache.put_if("k", "5", wtcache::expect::exists(), reading(wtcache::mode::cached)).status() ==
          wtcache::status::argument);
    CHECK(cache.remove_if("k", wtcache::expect::version("r1")).status() == wtcache::status::unmet && origin->removes == 0);
    CHECK(cache.remove_if("k", wtcache::expect::version("r4")) && origin->removes == 1);
    unmet = cache.put_if("k", "5", wtcache::expect::exists());
    CHECK(unmet.status() == wtcache::status::unmet && !unmet.error().existing());
}

void updates()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    const auto count = [](const std::optional<wtcache::value> &there) {
        return wtcache::change::put(there ? there->str() + "+" : "1");
    };
    CHECK(shows(cache.update("k", count), "1") && shows(cache.update("k", count), "1+") && origin->puts == 2);
    int calls = 0;
    auto kept = cache.update("k", [&](const std::optional<wtcache::value> &there) {
        calls++;
        CHECK(there && there->version() == "r2"sv && there->key() == "k");
        return wtcache::change::keep();
    });
    CHECK(shows(kept, "1+") && calls == 1 && origin->puts == 2);
    auto refused = cache.update("k", [](const std::optional<wtcache::value> &) {
        // The text is kept: what it was made of goes.
        const std::string message = "there are " + std::to_string(3) + " left, and no more than that";
        wtcache::failure why;
        why.message = message;
        why.code = 9;
        return wtcache::change::refuse(why);
    });
    CHECK(!refused.error().answer());
    CHECK(refused.status() == wtcache::status::rejected && refused.error().source_code() == 9 && origin->puts == 2);
    CHECK(refused.error().message().find("there are 3 left, and no more than that") != std::string_view::npos);
    CHECK(cache.update("k", count, reading(wtcache::mode::cached)).status() == wtcache::status::argument);
    const auto gone = cache.update("k", [](const std::optional<wtcache::value> &) { return wtcache::change::remove(); });
    CHECK(shows_nothing(gone) && origin->removes == 1 && shows_nothing(cache.get("k")));
    refused = cache.update("k", [](const std::optional<wtcache::value> &) -> wtcache::change {
        throw std::runtime_error("the sum is wrong");
    });
    CHECK(refused.status() == wtcache::status::rejected && refused.error().outcome() == wtcache::outcome::not_applied);
    CHECK(refused.error().message().find("the sum is wrong") != std::string_view::npos && refused.error().thrown());
    CHECK(origin->puts == 2);
}

void forgetting()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    for (const auto key : {"a:1", "a:2", "a:2:x", "b:1"}) CHECK(cache.put(key, "v"));
    CHECK(cache.put("tagged:1", "red") && cache.put("tagged:2", "blue"));
    auto gone = cache.invalidate_pattern("*:1");
    CHECK(gone && gone->entries == 3 && gone->scanned);
    CHECK(shows_nothing(cache.peek("b:1")) && shows(cache.peek("a:2"), "v"));
    gone = cache.invalidate_prefix("a:");
    CHECK(gone && gone->entries == 2 && shows_nothing(cache.peek("a:2:x")));
    gone = cache.invalidate_tag("red");
    CHECK(gone && gone->entries == 0 && shows(cache.peek("tagged:2"), "blue"));
    gone = cache.invalidate_tag("all");
    CHECK(gone && gone->entries == 1 && !gone->scanned && shows_nothing(cache.peek("tagged:2")));
    CHECK(cache.invalidate_pattern("a\\b").status() == wtcache::status::argument);
}

void doubts()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    auto failed = cache.put("unknown:1", "x");
    auto first = failed.error().doubt();
    const std::string sent = origin->idempotency_key;
    auto second = cache.put("unknown:1", "y").error().doubt();
    CHECK(first && second && first->key() == "unknown:1" && first->idempotency_key() == sent);
    CHECK(second->idempotency_key() == origin->idempotency_key && sent != origin->idempotency_key);
    CHECK(first->remaining() > 9min && first->remaining() <= 10min);
    CHECK(first->outcome() == wtcache::settlement::none);
    auto waited = first->wait(1ms);
    CHECK(waited && *waited == wtcache::status::pending);

    auto listed = cache.list_doubts();
    CHECK(listed && listed->size() == 1 && listed->front().key == "unknown:1" && listed->front().unsettled == 2);
    CHECK(listed->front().since < 1min && listed->front().remaining > 9min && listed->front().remaining <= 10min);
    CHECK(cache.put("unknown:2", "z").status() == wtcache::status::in_doubt && cache.list_doubts(1)->size() == 1);

    auto settled = first->settle(wtcache::settlement::applied);
    CHECK(settled && *settled == wtcache::status::pending && first->outcome() == wtcache::settlement::applied);
    settled = second->settle(wtcache::settlement::not_applied);
    CHECK(settled && *settled == wtcache::status::ok && second->outcome() == wtcache::settlement::not_applied);
    waited = second->wait(0ms);
    CHECK(waited && *waited == wtcache::status::ok && second->remaining() == 0ms);
    settled = cache.settle("unknown:2", wtcache::settlement::over);
    CHECK(settled && *settled == wtcache::status::ok && cache.list_doubts()->empty());
    settled = cache.settle("unknown:2", wtcache::settlement::over);
    CHECK(settled && *settled == wtcache::status::not_found);
    CHECK(cache.settle("unknown:2", wtcache::settlement::none).status() == wtcache::status::argument);

    // The very same write again, to an origin that recognises it.
    auto flaky = cache.put("flaky", "x").error().doubt();
    CHECK(flaky && shows(flaky->replay(), "x") && flaky->idempotency_key() == origin->idempotency_key);
    CHECK(flaky->outcome() == wtcache::settlement::applied && cache.list_doubts()->empty());
    CHECK(flaky->replay(reading(wtcache::mode::cached)).status() == wtcache::status::argument);
}

wtcache::permit sent(const wtcache::cache &cache)
{
    auto permit = cache.prepare("k");
    CHECK(permit && permit->send());
    return std::move(*permit);
}

void permits()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    CHECK(cache.put("k", "old"));
    {
        auto permit = cache.prepare("k", within(1min));
        CHECK(permit && permit->idempotency_key().size() == 32);
        CHECK(permit->remaining() > 30s && permit->remaining() <= 1min && shows(permit->existing(), "old"));
        // The turn is held.
        CHECK(cache.put("k", "x", within(20ms)).status() == wtcache::status::deadline);
        CHECK(permit->commit("x").status() == wtcache::status::state);
        CHECK(permit->send() && permit->remaining() == 0ms && cache.stats()->writes_open == 1);
        auto put = permit->commit("new", {"v9"sv, 1h, {"all"}});
        CHECK(shows(put, "new") && (*put)->version() == "v9"sv && shows(cache.peek("k"), "new"));
        CHECK(permit->abort().status() == wtcache::status::state && origin->puts == 1);
        CHECK(cache.invalidate_tag("all")->entries == 1);
    }
    // What was confirmed last goes: what stands there now is not known.
    CHECK(shows(cache.get("k"), "old") && sent(cache).commit_unseen() && shows_nothing(cache.peek("k")));
    CHECK(shows(cache.get("k"), "old") && cache.stats()->writes_applied == 3);
    CHECK(sent(cache).reject() && shows(cache.peek("k"), "old"));
    CHECK(sent(cache).reject(true) && shows_nothing(cache.peek("k")) && shows(cache.get("k"), "old"));
    CHECK(sent(cache).commit_removed() && shows_nothing(cache.peek("k")));
    CHECK(cache.prepare("k")->abort());
    // One that goes before its send is aborted; one that goes after it leaves a doubt.
    CHECK(cache.prepare("k") && cache.list_doubts()->empty());
    wtcache::failure why;
    why.message = "the line broke";
    const auto kept = std::make_shared<int>();
    why.thrown = std::make_exception_ptr(kept);
    // What comes with one that is refused is given back, and else with the doubt.
    CHECK(cache.prepare("k")->in_doubt(why).status() == wtcache::status::state);
    CHECK(sent(cache).in_doubt(why));
    why.thrown = nullptr;
    CHECK(kept.use_count() == 1);
    auto doubt = sent(cache).in_doubt(why);
    CHECK(doubt && doubt->key() == "k" && cache.list_doubts()->front().unsettled == 2);
    (void)sent(cache);
    CHECK(cache.list_doubts()->front().unsettled == 3 && origin->puts == 1);
    CHECK(doubt->replay().status() == wtcache::status::state);

    // What has passed already is the shortest time there is, not the configured one.
    auto late = cache.prepare("late", within(-1s));
    CHECK(late ? late->remaining() <= 1ms : late.status() == wtcache::status::deadline);

    auto held = std::move(*cache.prepare("a"));
    wtcache::permit &same = held;
    held = std::move(same);
    CHECK(held.remaining() > 0ms);
    // What is assigned to gives back what it had.
    held = std::move(*cache.prepare("b"));
    CHECK(cache.put("a", "v") && held.send() && held.reject());

    auto moved = std::move(*cache.prepare("other"));
    const wtcache::permit there = std::move(moved);
    CHECK(moved.send().status() == wtcache::status::argument && moved.remaining() == 0ms && moved.idempotency_key().empty());
}

static_assert(!std::is_copy_constructible_v<wtcache::permit> && std::is_nothrow_move_constructible_v<wtcache::permit>);
static_assert(!std::is_copy_constructible_v<wtcache::doubt> && std::is_nothrow_move_constructible_v<wtcache::doubt>);

} // namespace

void writes_of_all_kinds()
{
    options_of_a_call();
    many_keys();
    writes_on_a_condition();
    updates();
    forgetting();
    doubts();
    permits();
}
