/* Calls that complete in a queue whose descriptor is polled. */
#include <poll.h>

#include "check.hpp"

namespace {

bool readable(const wtcache::queue &queue, int timeout_ms)
{
    pollfd polled{queue.descriptor(), POLLIN, 0};
    CHECK(polled.fd >= 0);
    return poll(&polled, 1, timeout_ms) == 1 && (polled.revents & POLLIN) != 0;
}

wtcache::completion next(const wtcache::queue &queue)
{
    CHECK(readable(queue, 60000));
    auto completion = queue.next();
    CHECK(completion && *completion);
    return std::move(**completion);
}

void calls_complete_in_a_queue()
{
    auto cache = opened(wtcache::config().deadline(60s), std::make_shared<truth>());
    CHECK(wtcache::queue::open(0, 1).status() == wtcache::status::argument);
    auto queue = wtcache::queue::open(2, 100);
    CHECK(queue && !readable(*queue, 0));
    auto none = queue->next();
    CHECK(none && !*none);

    int token = 0;
    auto id = queue->put(cache, "k", "seven", {}, &token);
    auto completion = next(*queue);
    CHECK(id && *id != 0 && completion.id() == *id && completion.token() == &token);
    CHECK(completion.status() == wtcache::status::ok && shows(completion.answer(), "seven"));
    CHECK(!completion.transacted() && completion.answers() && completion.answers()->empty() && !readable(*queue, 0));

    // A hit is there at once, and outlives its completion.
    auto second = queue->get(cache, "k");
    CHECK(second && *second > *id && readable(*queue, 0));
    auto seven = next(*queue).answer();
    CHECK(shows(seven, "seven"));
    CHECK(queue->get(cache, "none", reading(wtcache::mode::confirmed), &token));
    completion = next(*queue);
    CHECK(completion.status() == wtcache::status::not_found && shows_nothing(completion.answer()));
    CHECK(completion.token() == &token);
    CHECK(queue->get(cache, "refused"));
    const wtcache::error error = next(*queue).answer().error();
    CHECK(error.status() == wtcache::status::source && error.message().find("refused here") != std::string_view::npos);

    CHECK(queue->get_many(cache, {"k", "none", "refused"}, {}, &token));
    completion = next(*queue);
    auto answers = completion.answers();
    CHECK(completion.token() == &token && answers && answers->size() == 3 && shows((*answers)[0], "seven"));
    CHECK(shows_nothing((*answers)[1]) && (*answers)[2].status() == wtcache::status::source);

    // What only an HTTP origin does, this source refuses.
    CHECK(queue->create(cache, "v"));
    completion = next(*queue);
    CHECK(completion.status() == wtcache::status::rejected && completion.created().status() == wtcache::status::rejected);
    CHECK(queue->patch(cache, "k", "{}").status() == wtcache::status::argument);
    CHECK(queue->list(cache, "").status() == wtcache::status::argument);
    CHECK(queue->get(cache, "k"));
    completion = next(*queue);
    CHECK(completion.created() && !*completion.created() && completion.listed() && completion.listed()->entries.empty());

    const auto absent = wtcache::expect::absent();
    CHECK(queue->put_if(cache, "k", "x", absent));
    CHECK(next(*queue).answer().status() == wtcache::status::unmet);
    CHECK(queue->remove_if(cache, "k", absent));
    CHECK(next(*queue).answer().status() == wtcache::status::unmet && shows(cache.peek("k"), "seven"));
    CHECK(queue->remove(cache, "k"));
    CHECK(shows_nothing(next(*queue).answer()) && shows_nothing(cache.get("k")));
    CHECK(queue->put_if(cache, "k", "x", absent, {}, &token));
    completion = next(*queue);
    CHECK(shows(completion.answer(), "x") && completion.token() == &token);
    // A read has no lifetime to give.
    wtcache::call_options options;
    options.lifetime = 1h;
    CHECK(queue->get(cache, "k", options).status() == wtcache::status::argument && !readable(*queue, 0));
    const wtcache::queue moved = std::move(*queue);
    CHECK(queue->get(cache, "k").status() == wtcache::status::argument && queue->descriptor() == -1);
}

void transactions_and_pending_writes_complete()
{
    const auto origin = std::make_shared<truth>();
    auto cache = opened(wtcache::config().deadline(60s), origin);
    auto queue = wtcache::queue::open(1, 100);
    int token = 0;
    auto transaction = cache.transaction();
    transaction->step(wtcache::step::put("org", "team"));
    auto id = queue->run(*transaction, &token);
    CHECK(id);
    auto completion = next(*queue);
    auto done = completion.transacted();
    CHECK(completion.id() == *id && completion.token() == &token && done && *done && done->steps() == 1);
    // What it tells outlives the completion.
    completion = wtcache::completion(nullptr);
    CHECK(done->confirmed(0)->view() == "team" && done->end() == wtcache::ending::committed);
    CHECK(queue->run(*transaction).status() == wtcache::status::state);
    transaction = cache.transaction();
    transaction->step(wtcache::step::put("refused", "team"));
    CHECK(queue->run(*transaction));
    done = next(*queue).transacted();
    CHECK(done && !*done && done->status() == wtcache::status::rejected && done->steps() == 1);
    transaction = cache.transaction();
    transaction->invalidate_pattern("a\\b");
    CHECK(queue->run(*transaction).status() == wtcache::status::argument && !readable(*queue, 0));

    auto pending = cache.put_optimistic("gated", "v");
    CHECK(queue->wait(*pending, &token) && !readable(*queue, 0));
    origin->wait_at_gate(1);
    // The one thread is taken; what waits behind it can be taken back.
    CHECK(queue->put(cache, "gated:2", "v"));
    origin->wait_at_gate(2);
    auto waits = queue->put(cache, "other", "v");
    auto cancelled = queue->cancel(*waits);
    CHECK(cancelled && *cancelled == wtcache::status::ok);
    completion = next(*queue);
    CHECK(completion.id() == *waits && completion.answer().status() == wtcache::status::cancelled);
    cancelled = queue->cancel(*waits);
    CHECK(cancelled && *cancelled == wtcache::status::too_late);
    origin->open_gate();
    bool told = false;
    for (int two = 0; two < 2; two++) {
        completion = next(*queue);
        CHECK(shows(completion.answer(), "v"));
        told = told || completion.token() == &token;
    }
    CHECK(told && pending->has_ended());
}

static_assert(!std::is_copy_constructible_v<wtcache::queue> && std::is_nothrow_move_constructible_v<wtcache::queue>);

} // namespace

void event_loops()
{
    calls_complete_in_a_queue();
    transactions_and_pending_writes_complete();
}
