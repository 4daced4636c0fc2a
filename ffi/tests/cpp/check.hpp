/* What the files of the C++ suite share: a check, and a source in memory whose keys say what it does. */
#ifndef CHECK_HPP
#define CHECK_HPP

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <wtcache.hpp>

#define CHECK(is)                                                                                                      \
    do {                                                                                                               \
        if (!(is)) {                                                                                                   \
            std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #is);                                               \
            std::exit(1);                                                                                              \
        }                                                                                                              \
    } while (0)

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

/* The files of the suite; the same one twice, compiled otherwise, gives the line that is not as it should be. */
int surface_of_cpp20();
int surface_without_exceptions();
void handles_and_the_source();
void configuration();
void weights_tags_and_indexes();
void writes_of_all_kinds();
void what_goes_on_in_the_background();
void transactions();
void event_loops();
void lifetimes_and_windows();

/** What an origin has, and what it was asked. */
struct truth {
    struct item {
        std::string value;
        int revision;
    };

    std::mutex lock;
    std::condition_variable moved;
    std::map<std::string, item> items;
    int gets = 0, puts = 0, removes = 0;
    /** Calls that wait, and whether they may go on. */
    int at_gate = 0;
    bool open = false;
    /** Reads fail. */
    bool failing = false;
    int flaky = 0;
    /** The condition of the last write. */
    std::string condition;
    std::string idempotency_key;

    void wait_at_gate(int calls)
    {
        std::unique_lock<std::mutex> held(lock);
        moved.wait(held, [&] { return at_gate >= calls; });
    }
    void open_gate()
    {
        const std::lock_guard<std::mutex> held(lock);
        open = true;
        moved.notify_all();
    }
};

inline bool begins(std::string_view key, std::string_view with) { return key.substr(0, with.size()) == with; }

/**
 * Versions are r1, r2 …; what is tagged or slow has its value for a tag; what is short lives 50 ms. Writes of what is gated wait at the
 * gate, and reads of what is slow.
 */
class store : public wtcache::source {
public:
    explicit store(std::shared_ptr<truth> of) : truth_(std::move(of)) {}

    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        std::unique_lock<std::mutex> held(truth_->lock);
        truth_->gets++;
        if (begins(asked.key(), "slow")) wait_at_gate(held);
        const auto found = truth_->items.find(std::string(asked.key()));
        if (truth_->failing) CHECK(fail(answer, wtcache::verdict::unknown));
        else if (begins(asked.key(), "refused")) CHECK(fail(answer, wtcache::verdict::rejected));
        else if (found == truth_->items.end()) CHECK(answer.absent());
        else CHECK(tell(asked.key(), found->second, answer));
    }

    void put(const wtcache::request &asked, wtcache::reply answer) override
    {
        std::unique_lock<std::mutex> held(truth_->lock);
        truth_->puts++;
        note(asked);
        if (begins(asked.key(), "gated")) wait_at_gate(held);
        const bool lost = begins(asked.key(), "flaky") && truth_->flaky++ == 0;
        if (lost || begins(asked.key(), "unknown")) CHECK(fail(answer, wtcache::verdict::unknown));
        else if (begins(asked.key(), "refused")) CHECK(fail(answer, wtcache::verdict::rejected));
        else {
            truth::item &item = truth_->items[std::string(asked.key())];
            item.value = std::string(asked.value());
            item.revision++;
            CHECK(tell(asked.key(), item, answer));
        }
    }

    void remove(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> held(truth_->lock);
        truth_->removes++;
        note(asked);
        truth_->items.erase(std::string(asked.key()));
        CHECK(answer.applied());
    }

    wtcache::declared declares() const override
    {
        wtcache::declared declared;
        declared.settle_window = 10min;
        declared.honours_preconditions = true;
        declared.honours_idempotency = true;
        return declared;
    }

private:
    void wait_at_gate(std::unique_lock<std::mutex> &held)
    {
        truth_->at_gate++;
        truth_->moved.notify_all();
        truth_->moved.wait(held, [&] { return truth_->open; });
    }

    static wtcache::result<void> fail(wtcache::reply answer, wtcache::verdict verdict)
    {
        wtcache::failure why;
        why.message = verdict == wtcache::verdict::unknown ? "the answer was lost" : "refused here";
        why.verdict = verdict;
        return answer.fail(why);
    }

    static wtcache::result<void> tell(std::string_view key, const truth::item &item, wtcache::reply answer)
    {
        const std::string version = "r" + std::to_string(item.revision);
        wtcache::record about;
        about.version = version;
        if (begins(key, "tagged") || begins(key, "slow")) about.tags = {item.value, "all"};
        if (begins(key, "short")) about.lifetime = 50ms;
        return answer.owned_value(item.value, about);
    }

    void note(const wtcache::request &asked)
    {
        truth_->idempotency_key = std::string(asked.idempotency_key());
        if (asked.if_absent()) truth_->condition = "absent";
        else if (asked.if_exists()) truth_->condition = "exists";
        else if (auto version = asked.if_version()) truth_->condition = "version " + std::string(*version);
        else truth_->condition = "none";
    }

    std::shared_ptr<truth> truth_;
};

inline wtcache::cache opened(const wtcache::config &config, const std::shared_ptr<truth> &truth)
{
    auto cache = wtcache::cache::open(config, std::make_unique<store>(truth));
    CHECK(cache);
    return std::move(*cache);
}

/** A read that shows a value. */
inline bool shows(const wtcache::result<std::optional<wtcache::value>> &found, std::string_view bytes)
{
    return found && *found && (*found)->view() == bytes;
}

/** A read that shows that there is nothing. */
inline bool shows_nothing(const wtcache::result<std::optional<wtcache::value>> &found) { return found && !*found; }

inline wtcache::call_options reading(wtcache::mode mode)
{
    wtcache::call_options options;
    options.mode = mode;
    return options;
}

inline wtcache::call_options within(wtcache::milliseconds deadline)
{
    wtcache::call_options options;
    options.deadline = deadline;
    return options;
}

/** Asks until it is so; what takes longer than that is not so. */
template <class Is> bool becomes(Is is)
{
    const auto end = std::chrono::steady_clock::now() + 60s;
    do {
        if (is()) return true;
        std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

#endif
