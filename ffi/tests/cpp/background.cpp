/* Optimistic writes: shown at once, written in the background. */
#include "check.hpp"

namespace {

void what_is_pending_is_shown_and_settles()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().deadline(60s), origin);
    auto pending = cache.put_optimistic("gated", "new");
    CHECK(pending);
    origin->wait_at_gate(1);
    auto found = cache.get("gated");
    CHECK(shows(found, "new") && (*found)->pending());
    CHECK(shows_nothing(cache.get("gated", reading(wtcache::mode::confirmed))));
    CHECK(!pending->has_ended());
    auto waited = pending->wait(1ms);
    CHECK(waited && waited->status == wtcache::status::pending && !waited->value);
    auto drained = cache.drain(0ms);
    CHECK(drained && *drained == wtcache::status::pending);
    // It has its turn; those behind it wait for theirs.
    auto late = pending->cancel();
    CHECK(late && *late == wtcache::status::too_late);
    auto second = cache.put_optimistic("gated", "2");
    auto gone = cache.remove_optimistic("gated");
    CHECK(second && gone && shows_nothing(cache.get("gated")));
    auto cancelled = gone->cancel();
    CHECK(cancelled && *cancelled == wtcache::status::ok && shows(cache.get("gated"), "2"));
    CHECK(second->cancel() && second->wait(60s).status() == wtcache::status::cancelled);
    CHECK(gone->has_ended() && gone->wait(0ms).status() == wtcache::status::cancelled);
    origin->open_gate();
    for (int twice = 0; twice < 2; twice++) {
        waited = pending->wait(60s);
        CHECK(waited && waited->status == wtcache::status::ok && waited->value && waited->value->view() == "new");
        CHECK(!waited->value->pending());
    }
    CHECK(pending->has_ended() && origin->puts == 1 && origin->removes == 0);
    drained = cache.drain(60s);
    CHECK(drained && *drained == wtcache::status::ok);
    auto removed = cache.remove_optimistic("gated", within(60s));
    CHECK(removed && removed->wait(60s) && origin->removes == 1);
    CHECK(cache.remove_optimistic("k", reading(wtcache::mode::cached)).status() == wtcache::status::argument);
    CHECK(cache.put_optimistic("k", "v", reading(wtcache::mode::cached)).status() == wtcache::status::argument);
}

void what_is_refused_leaves_no_trace()
{
    auto cache = opened(wtcache::config().deadline(60s), std::make_shared<truth>());
    auto failed = cache.put_optimistic("refused", "x")->wait(60s);
    CHECK(failed.status() == wtcache::status::rejected && shows_nothing(cache.peek("refused")));
    failed = cache.put_optimistic("unknown", "x")->wait(60s);
    CHECK(failed.status() == wtcache::status::in_doubt && failed.error().doubt());
    // Nobody has to hold the handle.
    CHECK(cache.put_optimistic("k", "v") && cache.close(60s) && cache.stats()->writes_applied == 1);
    CHECK(cache.put_optimistic("k", "v").status() == wtcache::status::closed);
}

void merges()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().deadline(60s), origin);
    const auto used = std::make_shared<int>();
    const auto append = [used](std::optional<std::string_view> there) {
        return wtcache::change::put(there ? std::string(*there) + "+" : "new");
    };
    auto first = cache.merge_optimistic("k", append);
    auto second = cache.merge_optimistic("k", append, within(60s));
    // Not read in between: a load while they settle may lack one of them.
    CHECK(first && second && first->wait(60s) && second->wait(60s) && origin->puts == 2);
    CHECK(shows(cache.get("k"), "new+"));
    CHECK(shows(cache.get("k", reading(wtcache::mode::confirmed)), "new+"));
    CHECK(cache.merge_optimistic("k", append, reading(wtcache::mode::cached)).status() == wtcache::status::argument);
    auto kept = cache.merge_optimistic("k", [](std::optional<std::string_view>) { return wtcache::change::keep(); });
    CHECK(kept && kept->wait(60s) && shows(cache.get("k"), "new+"));
    auto gone = cache.merge_optimistic("k", [](std::optional<std::string_view>) { return wtcache::change::remove(); });
    CHECK(gone && shows_nothing(cache.get("k")) && gone->wait(60s) && origin->removes == 1);
    // An empty record is one.
    CHECK(cache.put("empty", ""));
    auto filled = cache.merge_optimistic("empty", [](std::optional<std::string_view> there) {
        return wtcache::change::put(there && there->empty() ? "was empty" : "was not there");
    });
    CHECK(filled && shows(cache.get("empty"), "was empty") && filled->wait(60s));
    // It cannot refuse: that says nothing.
    const int puts = origin->puts;
    auto refused = cache.merge_optimistic("k", [](std::optional<std::string_view>) { return wtcache::change::refuse({}); });
    auto ended = refused->wait(60s);
    CHECK(ended.status() == wtcache::status::panic && ended.error().outcome() == wtcache::outcome::not_applied);
    auto thrown = cache.merge_optimistic("k", [](std::optional<std::string_view>) -> wtcache::change { throw 7; });
    CHECK(thrown->wait(60s).status() == wtcache::status::panic);
    CHECK(origin->puts == puts);
    // What was moved in goes after its last call, wherever that was.
    CHECK(becomes([&] { return used.use_count() == 2; }));
}

static_assert(!std::is_copy_constructible_v<wtcache::pending> && std::is_nothrow_move_constructible_v<wtcache::pending>);

} // namespace

void what_goes_on_in_the_background()
{
    what_is_pending_is_shown_and_settles();
    what_is_refused_leaves_no_trace();
    merges();
}
