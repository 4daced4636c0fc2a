/*
 * An inventory in memory, through the cache, in C++17.
 *
 *     cargo xtask install --prefix /usr/local
 *     g++ -std=c++17 examples/cpp/inventory.cpp $(pkg-config --cflags --libs wtcache) -o inventory && ./inventory
 */
#include <iostream>
#include <map>
#include <mutex>
#include <string>

#include <wtcache.hpp>

/** The system that owns the truth. Its source is what the cache asks. */
class inventory : public wtcache::source {
public:
    void get(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        std::cout << "  asked for " << asked.key() << '\n';
        const auto item = items_.find(std::string(asked.key()));
        // What an answer gives is whether it still counted; a call that has gone asks no more.
        if (item == items_.end()) (void)answer.absent();
        else (void)answer.value(item->second);
    }

    void put(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        if (asked.value().empty()) {
            wtcache::failure why;
            why.message = "an item says what it is";
            why.verdict = wtcache::verdict::rejected; // Certainly not applied. Without proof: leave it at unknown.
            (void)answer.fail(why);
            return;
        }
        auto &item = items_[std::string(asked.key())];
        item = std::string(asked.value()) + ", counted";
        (void)answer.value(item); // The record as it now stands here.
    }

    void remove(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        items_.erase(std::string(asked.key()));
        (void)answer.applied();
    }

private:
    std::mutex lock_; // Many threads may call at once.
    std::map<std::string, std::string> items_;
};

int main()
{
    auto opened = wtcache::cache::open(wtcache::config().lifetime(std::chrono::minutes(5)), std::make_unique<inventory>());
    if (!opened) {
        std::cerr << opened.error().message() << '\n';
        return 1;
    }
    const wtcache::cache &cache = *opened;

    // A write goes to the inventory first; what it confirmed is handed back and kept.
    if (auto put = cache.put("bolts", "M6, 40 of them"); put && *put) std::cout << "put: " << (*put)->view() << '\n';

    // So it can be read at once: the inventory is not asked. The view is of the cache's own bytes.
    if (auto bolts = cache.get("bolts"); bolts && *bolts) std::cout << "get: " << (*bolts)->view() << '\n';

    // What is refused was not applied, and changes nothing here.
    if (auto put = cache.put("bolts", ""); !put) {
        const bool unknown = put.error().outcome() == wtcache::outcome::in_doubt;
        std::cout << put.error().message() << (unknown ? " (nobody knows)" : " (nothing changed)") << '\n';
    }

    // With exceptions, if you like.
    cache.remove("bolts").or_throw();
    const auto removed = cache.get("bolts").or_throw();
    std::cout << "removed, then: " << (removed ? "still there" : "no such item") << '\n';
}
