/* Transactions: steps, how they are undone, and what came of each. */
#include "check.hpp"

namespace {

wtcache::failure declined(wtcache::verdict verdict)
{
    wtcache::failure why;
    why.message = "the card was declined";
    why.verdict = verdict;
    why.code = 402;
    return why;
}

void pays(const wtcache::request &asked, wtcache::reply answer)
{
    CHECK(asked.key().empty() && asked.idempotency_key().size() == 32 && asked.remaining() > 0ms);
    CHECK(answer.value("receipt"));
}

void a_transaction_commits()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().clean_start(true), origin);
    for (const auto key : {"org:1:x", "usr:1", "tagged", "gone"}) CHECK(cache.put(key, "old"));
    auto transaction = cache.transaction();
    CHECK(transaction);
    transaction->update("beside", "b", 1h).update("short-lived", "s", 0ms).update("endless", "e").remove("removed");
    transaction->step(wtcache::step::put("org", "team"));
    transaction->step(wtcache::step::remove("gone"));
    // What cannot be copied can be moved in.
    transaction->step(wtcache::step::call([owned = std::make_unique<int>(7)](const wtcache::request &asked, wtcache::reply answer) {
        CHECK(*owned == 7);
        pays(asked, answer);
    }));
    transaction->invalidate_pattern("org:*").invalidate_prefix("usr").invalidate_tag("old");
    transaction->deadline(60s).undo_deadline(60s);
    const wtcache::transacted done = transaction->run();
    CHECK(done && done.status() == wtcache::status::ok && done.end() == wtcache::ending::committed);
    CHECK(done.steps() == 3 && done.doubts().empty());
    for (std::size_t at = 0; at < 3; at++) {
        CHECK(done.step(at) == wtcache::step_end::applied && done.undo(at) == wtcache::step_end::not_run);
        CHECK(!done.step_error(at) && !done.undo_error(at));
    }
    CHECK(done.confirmed(0) && done.confirmed(0)->view() == "team" && !done.confirmed(1) && !done.confirmed(2));
    CHECK(done.answer(2) == "receipt"sv && !done.answer(0));
    CHECK(shows(cache.peek("org"), "team") && shows(cache.peek("endless"), "e") && shows_nothing(cache.peek("short-lived")));
    auto beside = cache.peek("beside");
    CHECK(shows(beside, "b") && (*beside)->remaining(cache) > 59min && (*beside)->remaining(cache) <= 1h);
    for (const auto key : {"org:1:x", "usr:1", "tagged"}) CHECK(shows_nothing(cache.peek(key)));
    CHECK(shows_nothing(cache.get("gone")) && origin->puts == 5 && origin->removes == 1);
    // Once is all.
    const wtcache::transacted again = transaction->run();
    CHECK(!again && again.status() == wtcache::status::state && again.steps() == 0);
    CHECK(again.end() == wtcache::ending::rolled_back && transaction->start().status() == wtcache::status::state);
}

void a_step_says_what_it_wrote()
{
    auto cache = opened(wtcache::config(), std::make_shared<truth>());
    for (const auto key : {"a", "b", "c", "d", "e"}) CHECK(cache.put(key, "old"));
    auto transaction = cache.transaction();
    transaction->update("b", "sent");
    transaction->step(wtcache::step::call([](const wtcache::request &, wtcache::reply answer) {
                          CHECK(answer.wrote("a", "written", {"v5"sv, std::nullopt}));
                          CHECK(answer.wrote_as_sent("b") && answer.wrote_removed("c") && answer.wrote_unseen("d"));
                          CHECK(answer.applied());
                          CHECK(answer.wrote("a", "x").status() == wtcache::status::answered);
                      })
                          .writes({"a", "b", "c", "d", "e"})
                          .undo_nothing()
                          .deadline(60s));
    CHECK(transaction->run());
    auto written = cache.peek("a");
    CHECK(shows(written, "written") && (*written)->version() == "v5"sv && shows(cache.peek("b"), "sent"));
    for (const auto key : {"c", "d", "e"}) CHECK(shows_nothing(cache.peek(key)));
}

/** A put that is undone as it is told, and after it a payment that does not go well. */
wtcache::transacted put_then_fail(const wtcache::cache &cache, wtcache::step put, wtcache::verdict verdict)
{
    auto transaction = cache.transaction();
    transaction->step(std::move(put));
    transaction->step(wtcache::step::call([=](const wtcache::request &, wtcache::reply answer) {
        CHECK(answer.fail(declined(verdict)));
    }));
    return transaction->run();
}

void what_is_refused_is_undone()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    CHECK(cache.put("org", "free"));
    const auto rejected = wtcache::verdict::rejected;
    auto done = put_then_fail(cache, wtcache::step::put("org", "team").undo_put("org", "free"), rejected);
    CHECK(!done && done.status() == wtcache::status::rejected && done.end() == wtcache::ending::rolled_back);
    CHECK(done.error().source_code() == 402 && done.error().outcome() == wtcache::outcome::not_applied);
    CHECK(done.step(0) == wtcache::step_end::applied && done.undo(0) == wtcache::step_end::applied);
    CHECK(done.step(1) == wtcache::step_end::rejected && done.step_error(1)->source_code() == 402);
    CHECK(shows(cache.get("org"), "free") && origin->puts == 3);

    done = put_then_fail(cache, wtcache::step::put("new", "team").undo_remove("new"), rejected);
    CHECK(done.end() == wtcache::ending::rolled_back && origin->removes == 1 && shows_nothing(cache.get("new")));

    int undone = 0;
    const auto undo = [&](const wtcache::request &asked, wtcache::reply answer) {
        undone++;
        CHECK(asked.idempotency_key().size() == 32 && answer.applied());
    };
    done = put_then_fail(cache, wtcache::step::put("a", "1").undo_call(undo), rejected);
    CHECK(done.end() == wtcache::ending::rolled_back && undone == 1);

    // Where it is not known, only what says so is undone.
    done = put_then_fail(cache, wtcache::step::put("a", "1").undo_call(undo), wtcache::verdict::unknown);
    CHECK(done.status() == wtcache::status::in_doubt && done.end() == wtcache::ending::in_doubt && undone == 1);
    done = put_then_fail(cache, wtcache::step::put("a", "1").undo_call(undo).undo_if_unknown(), wtcache::verdict::unknown);
    CHECK(done.status() == wtcache::status::in_doubt && undone == 2);

    // One that cannot be undone, and one whose undoing fails.
    done = put_then_fail(cache, wtcache::step::put("b", "1"), rejected);
    CHECK(done.status() == wtcache::status::partial && done.end() == wtcache::ending::partial);
    CHECK(done.error().outcome() == wtcache::outcome::partial && done.undo(0) == wtcache::step_end::not_run);
    CHECK(shows(cache.get("b"), "1"));
    done = put_then_fail(cache, wtcache::step::put("c", "1").undo_put("refused", "x"), rejected);
    CHECK(done.end() == wtcache::ending::partial && done.undo(0) == wtcache::step_end::rejected && done.undo_error(0));
    // Errors outlive the result that they were in.
    const wtcache::error error = *done.undo_error(0);
    done = put_then_fail(cache, wtcache::step::put("unknown", "1"), rejected);
    CHECK(error.message().find("refused here") != std::string_view::npos);
    CHECK(done.end() == wtcache::ending::in_doubt && done.step(0) == wtcache::step_end::unknown);
    CHECK(done.step(1) == wtcache::step_end::not_run && done.doubts().size() == 1);
    CHECK(done.doubts()[0].key() == "unknown" && done.doubts()[0].settle(wtcache::settlement::not_applied));
    CHECK(cache.list_doubts()->empty());
}

void steps_and_undoing_have_times_of_their_own()
{
    auto cache = opened(wtcache::config().deadline(1min), std::make_shared<truth>());
    std::vector<wtcache::milliseconds> remained;
    const auto notes = [&](const wtcache::request &asked, wtcache::reply answer) {
        remained.push_back(asked.remaining());
        CHECK(answer.applied());
    };
    auto transaction = cache.transaction();
    transaction->deadline(1h).undo_deadline(3h);
    transaction->step(wtcache::step::call(notes).undo_call(notes));
    transaction->step(wtcache::step::call(notes).undo_nothing().deadline(30min));
    transaction->step(wtcache::step::call([](const wtcache::request &, wtcache::reply answer) {
        CHECK(answer.fail(declined(wtcache::verdict::rejected)));
    }));
    CHECK(transaction->run().end() == wtcache::ending::rolled_back && remained.size() == 3);
    CHECK(remained[0] > 59min && remained[0] <= 1h);
    CHECK(remained[1] > 29min && remained[1] <= 30min);
    // Beyond the deadline.
    CHECK(remained[2] > 179min && remained[2] <= 4h);
}

void what_is_wrong_is_told_at_the_end()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config(), origin);
    const auto used = std::make_shared<int>();
    const auto does = [used](const wtcache::request &, wtcache::reply answer) { CHECK(answer.applied()); };
    for (int way = 0; way < 2; way++) {
        auto transaction = cache.transaction();
        transaction->invalidate_pattern("a\\b").step(wtcache::step::put("k", "v")).step(wtcache::step::call(does));
        if (way == 0) {
            const auto done = transaction->run();
            CHECK(!done && done.status() == wtcache::status::argument && done.end() == wtcache::ending::rolled_back);
        } else {
            CHECK(transaction->start().status() == wtcache::status::argument);
        }
    }
    // A step that is refused is destroyed, too.
    auto transaction = cache.transaction();
    transaction->step(wtcache::step::put("k", "v").undo_call(does).writes({"k"}));
    const auto refused = transaction->run();
    CHECK(refused.status() == wtcache::status::argument && used.use_count() == 2);
    CHECK(refused.error().message().find("step.writes") != std::string_view::npos);
    *transaction = std::move(*cache.transaction());
    // One that was moved from does nothing, least of all to a key without a name.
    auto step = wtcache::step::call(does);
    const wtcache::step taken = std::move(step);
    CHECK(transaction->step(std::move(step)).run().status() == wtcache::status::argument);
    *transaction = std::move(*cache.transaction());
    auto put = wtcache::step::put("k", "v");
    const wtcache::step taken_put = std::move(put);
    CHECK(transaction->step(std::move(put)).run().status() == wtcache::status::argument);
    *transaction = std::move(*cache.transaction());
    CHECK(origin->puts == 0 && used.use_count() == 3);
    auto moved = std::move(*transaction);
    CHECK(transaction->run().status() == wtcache::status::argument);
    CHECK(moved.update("k", "v").run());
}

void a_started_transaction_is_shown_at_once()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().deadline(60s), origin);
    auto transaction = cache.transaction();
    transaction->step(wtcache::step::put("gated", "team").undo_remove("gated"));
    auto started = transaction->start();
    CHECK(started);
    origin->wait_at_gate(1);
    auto found = cache.get("gated");
    CHECK(shows(found, "team") && (*found)->pending() && !started->has_ended());
    auto ended = started->wait(1ms);
    CHECK(ended && !*ended);
    origin->open_gate();
    for (int twice = 0; twice < 2; twice++) {
        ended = started->wait(60s);
        CHECK(ended && *ended && **ended && (*ended)->confirmed(0)->view() == "team");
    }
    CHECK(started->has_ended());

    auto refused = cache.transaction();
    refused->update("shown", "x").step(wtcache::step::put("refused", "x"));
    ended = refused->start()->wait(60s);
    CHECK(ended && *ended && !**ended && (*ended)->status() == wtcache::status::rejected);
    CHECK((*ended)->end() == wtcache::ending::rolled_back && shows_nothing(cache.get("shown")));
    const wtcache::started moved = std::move(*started);
    CHECK(started->wait(0ms).status() == wtcache::status::argument && moved.has_ended());
}

void a_step_that_throws_is_in_doubt()
{
    auto cache = opened(wtcache::config(), std::make_shared<truth>());
    auto transaction = cache.transaction();
    transaction->step(wtcache::step::call([](const wtcache::request &, wtcache::reply) {
                          throw std::runtime_error("the bank fell");
                      }).writes({"k"}));
    const auto done = transaction->run();
    CHECK(done.end() == wtcache::ending::in_doubt && done.doubts().size() == 1 && done.doubts()[0].key() == "k");
    CHECK(done.step_error(0)->message().find("the bank fell") != std::string_view::npos);
    bool same = false;
    try {
        std::rethrow_exception(done.step_error(0)->thrown());
    } catch (const std::runtime_error &is) {
        same = is.what() == "the bank fell"sv;
    }
    CHECK(same);
    bool thrown = false;
    try {
        done.or_throw();
    } catch (const wtcache::exception &is) {
        thrown = is.error().status() == wtcache::status::in_doubt;
    }
    CHECK(thrown);
    auto other = cache.transaction();
    other->update("k2", "v").run().or_throw();
}

static_assert(!std::is_copy_constructible_v<wtcache::step> && std::is_nothrow_move_constructible_v<wtcache::step>);
static_assert(!std::is_copy_constructible_v<wtcache::transaction>);

} // namespace

void transactions()
{
    a_transaction_commits();
    a_step_says_what_it_wrote();
    what_is_refused_is_undone();
    steps_and_undoing_have_times_of_their_own();
    what_is_wrong_is_told_at_the_end();
    a_started_transaction_is_shown_at_once();
    a_step_that_throws_is_in_doubt();
}
