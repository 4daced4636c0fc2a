/*
 * What of wtcache.hpp is a template, made once: for a compiler without exceptions and type information, and for a later standard. The
 * function has the name that SURFACE gives it. It shares nothing with the suite, which is compiled otherwise and is in the same program.
 */
#include <atomic>
#include <map>
#include <mutex>

#include <wtcache.hpp>

// All members of the results.
template class wtcache::result<bool>;
template class wtcache::result<wtcache::answers>;
template class wtcache::result<wtcache::cache>;
template class wtcache::result<wtcache::close_report>;
template class wtcache::result<wtcache::created>;
template class wtcache::result<wtcache::found>;
template class wtcache::result<wtcache::listed>;
template class wtcache::result<wtcache::permit>;
template class wtcache::result<wtcache::started>;
template class wtcache::result<wtcache::status>;
template class wtcache::result<std::optional<wtcache::completion>>;
template class wtcache::result<std::optional<wtcache::transacted>>;
template class wtcache::result<std::optional<wtcache::value>>;
template class wtcache::result<std::vector<wtcache::key_in_doubt>>;

int SURFACE();

namespace {

using namespace std::chrono_literals;

/** Keeps what it is told. */
class memory : public wtcache::source {
public:
    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> held(lock_);
        const auto found = records_.find(std::string(asked.key()));
        (void)(found == records_.end() ? answer.absent() : answer.value(found->second));
    }

    void put(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> held(lock_);
        std::string &record = records_[std::string(asked.key())];
        record = std::string(asked.value());
        (void)answer.owned_value(record);
    }

private:
    std::mutex lock_;
    std::map<std::string, std::string> records_;
};

bool shows(const wtcache::result<std::optional<wtcache::value>> &found, std::string_view bytes)
{
    return found && *found && (*found)->view() == bytes;
}

void pays(const wtcache::request &, wtcache::reply answer) { (void)answer.applied(); }

} // namespace

/** The line where something is not as it should be, else 0. */
#define SO(is)                                                                                                         \
    do {                                                                                                               \
        if (!(is)) return __LINE__;                                                                                    \
    } while (0)

int SURFACE()
{
    static_assert(WTCACHE_HPP_EXCEPTIONS == (SURFACE_THROWS));
    const auto events = std::make_shared<std::atomic<int>>(0);
    wtcache::config config;
    config.deadline(60s).listener([events](const wtcache::event &) { ++*events; });
    config.weigher([](std::string_view key, std::optional<std::string_view> value) -> std::uint64_t {
        return key.size() + value.value_or("").size();
    });
    config.tags([](std::string_view key, std::string_view, wtcache::extract &to) { to.add(key); });
    config.index("value", [](std::string_view, std::string_view value, wtcache::extract &to) { to.add(value); });
    auto cache = wtcache::cache::open(config, std::make_unique<memory>());
    SO(cache && shows(cache->put("k", "1"), "1") && shows(cache->get("k"), "1") && *events > 0);
    const auto found = cache->find("value", "1");
    SO(found && found->entries.size() == 1 && found->expired == 0 && cache->stats()->weight_bytes == 2);
    const auto forgotten = cache->invalidate_tag("k");
    SO(forgotten && forgotten->entries == 1);

    const auto updated = cache->update("k", [](const std::optional<wtcache::value> &there) {
        return wtcache::change::put(there ? there->str() + "2" : "none");
    });
    SO(shows(updated, "12"));
    const auto merged = cache->merge_optimistic("k", [](std::optional<std::string_view> there) {
        return wtcache::change::put(std::string(there.value_or("none")) + "3");
    });
    SO(merged && merged->wait(60s) && shows(cache->get("k"), "123"));

    auto transaction = cache->transaction();
    transaction->step(wtcache::step::put("k", "team").undo_call(pays));
    transaction->step(wtcache::step::call([](const wtcache::request &, wtcache::reply answer) {
        wtcache::failure why;
        why.verdict = wtcache::verdict::rejected;
        (void)answer.fail(why);
    }));
    const wtcache::transacted ended = transaction->run();
    SO(!ended && ended.end() == wtcache::ending::rolled_back && ended.undo(0) == wtcache::step_end::applied);

    auto queue = wtcache::queue::open(1, 8);
    SO(queue && queue->get(*cache, "k"));
    wtcache::result<std::optional<wtcache::completion>> completion = queue->next();
    while (completion && !*completion) completion = queue->next();
    SO(completion && (*completion)->status() == wtcache::status::ok);
    SO(cache->remove("k").status() == wtcache::status::rejected && cache->close(60s));
    return 0;
}
