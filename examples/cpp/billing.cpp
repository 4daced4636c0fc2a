/*
 * An optimistic transaction with a payment, in C++17: an organisation is shown on its new plan at once, the database is written, the bank is
 * asked. The first payment goes through. The second is refused, and what was done before it is undone.
 *
 *     cargo xtask install --prefix /usr/local
 *     g++ -std=c++17 examples/cpp/billing.cpp $(pkg-config --cflags --libs wtcache) -pthread -o billing && ./billing
 */
#include <atomic>
#include <future>
#include <iostream>
#include <mutex>
#include <string>

#include <wtcache.hpp>

using namespace std::chrono_literals;

/** The database: the plan of the one organisation. */
class database : public wtcache::source {
public:
    explicit database(std::atomic<int> &writes) : writes_(writes) {}

    void get(const wtcache::request &, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        (void)answer.value(plan_);
    }

    void put(const wtcache::request &asked, wtcache::reply answer) override
    {
        const std::lock_guard<std::mutex> guard(lock_);
        writes_++;
        plan_ = std::string(asked.value());
        (void)answer.value(plan_); // The record as it now stands here.
    }

private:
    std::mutex lock_;
    std::string plan_ = "free";
    std::atomic<int> &writes_;
};

/** What the bank says to a payment. */
enum class bank { pays, declines };

void show(const wtcache::cache &cache, std::string_view when)
{
    const auto plan = cache.get("org:1").or_throw();
    std::cout << when << ": " << plan->view() << (plan->pending() ? " (pending)" : "") << '\n';
}

void upgrade(const wtcache::cache &cache, const std::string &from, const std::string &to, bank says)
{
    // The bank answers once the program has looked at what is shown meanwhile.
    std::promise<void> looked;
    auto payment = [says, waits = looked.get_future()](const wtcache::request &, wtcache::reply answer) {
        waits.wait();
        // The request's idempotency key would go with the payment, so that it is made once.
        if (says == bank::pays) {
            (void)answer.value("receipt 1");
            return;
        }
        wtcache::failure declined;
        declined.message = "the card was declined";
        declined.code = 402;
        // Rejected only with proof: the bank said no. A broken line, or an exception, is unknown.
        declined.verdict = wtcache::verdict::rejected;
        (void)answer.fail(declined);
    };
    auto transaction = cache.transaction().or_throw();
    // First the database, which is taken back if the payment is refused.
    transaction.step(wtcache::step::put("org:1", to).undo_put("org:1", from));
    transaction.step(wtcache::step::call(std::move(payment)));
    transaction.invalidate_prefix("org:1:");
    const auto started = transaction.start().or_throw();
    show(cache, "at once");
    looked.set_value();

    const auto ended = started.wait(10s).or_throw();
    if (!ended) {
        std::cout << "it takes long\n";
    } else if (*ended) {
        std::cout << "committed: " << ended->answer(1).value_or("no receipt") << '\n';
    } else {
        const bool undone = ended->end() == wtcache::ending::rolled_back && ended->undo(0) == wtcache::step_end::applied;
        std::cout << ended->error().message() << " (code " << ended->error().source_code() << ", "
                  << (undone ? "undone" : "not undone") << ")\n";
    }
    show(cache, "in the end");
}

int main()
{
    std::atomic<int> writes{0};
    const auto cache = wtcache::cache::open(wtcache::config(), std::make_unique<database>(writes)).or_throw();
    show(cache, "before");
    upgrade(cache, "free", "team", bank::pays);
    upgrade(cache, "team", "enterprise", bank::declines);
    std::cout << "the database was written " << writes << " times\n";
}
