/*
 * libwtcache for C++17 and later: wtcache.h with handles that free themselves, and results that say what is true.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *     #include <iostream>
 *     #include <wtcache.hpp>
 *
 *     int main() {
 *         wtcache::config config;
 *         config.http_url("http://127.0.0.1:9925/items/{id}").lifetime(std::chrono::minutes(5));
 *         auto cache = wtcache::cache::open(config);
 *         if (!cache) {
 *             std::cerr << cache.error().message() << '\n';
 *             return 1;
 *         }
 *         auto item = cache->get("item-001");
 *         if (!item) std::cerr << item.error().message() << '\n';
 *         else if (!*item) std::cout << "there is no such item\n";
 *         else std::cout << (*item)->view() << '\n';
 *     }
 *
 * What holds for all of it:
 *
 * - Nothing here throws but `result::or_throw`, and what the program's own allocations throw. It compiles with -fno-exceptions
 *   and -fno-rtti; `or_throw` is missing then.
 * - Bytes (keys, values, versions) are std::string_view, and may be any. What a temporary shows goes with it: keep the handle.
 * - A handle is moved, not copied; `clone` gives another on the same thing. One that was moved from may be assigned and destroyed; a call on
 *   it is refused with `status::argument`.
 * - Which functions may be called from many threads at once, and what an error says is true, wtcache.h says of each: the names are the
 *   same.
 */

#ifndef WTCACHE_HPP
#define WTCACHE_HPP

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <wtcache.h>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#include <exception>
#include <stdexcept>
#define WTCACHE_HPP_EXCEPTIONS 1
#else
#define WTCACHE_HPP_EXCEPTIONS 0
#endif

namespace wtcache {

/** What a call answers; see WTCACHE_OK and its kin. */
enum class status : std::int32_t {
    ok = WTCACHE_OK,
    not_found = WTCACHE_NOT_FOUND,
    too_small = WTCACHE_TOO_SMALL,
    argument = WTCACHE_ERR_ARGUMENT,
    config = WTCACHE_ERR_CONFIG,
    abi = WTCACHE_ERR_ABI,
    closed = WTCACHE_ERR_CLOSED,
    deadline = WTCACHE_ERR_DEADLINE,
    source = WTCACHE_ERR_SOURCE,
    rejected = WTCACHE_ERR_REJECTED,
    conflict = WTCACHE_ERR_CONFLICT,
    in_doubt = WTCACHE_ERR_IN_DOUBT,
    held_back = WTCACHE_ERR_HELD_BACK,
    overloaded = WTCACHE_ERR_OVERLOADED,
    reentrant = WTCACHE_ERR_REENTRANT,
    busy = WTCACHE_ERR_BUSY,
    too_large = WTCACHE_ERR_TOO_LARGE,
    answered = WTCACHE_ERR_ANSWERED,
    forked = WTCACHE_ERR_FORKED,
    panic = WTCACHE_ERR_PANIC,
};

/** What is now true at the origin, after an error. */
enum class outcome : std::int32_t {
    not_applied = WTCACHE_OUTCOME_NOT_APPLIED,
    in_doubt = WTCACHE_OUTCOME_IN_DOUBT,
};

using milliseconds = std::chrono::milliseconds;

namespace detail {

/** Frees what a unique_ptr holds by a function of the library's. */
template <auto Free> struct freed {
    template <class T> void operator()(T *handle) const noexcept { Free(handle); }
};

template <class T, auto Free> using owned = std::unique_ptr<T, freed<Free>>;

inline std::string_view bytes(const void *start, std::size_t len) noexcept
{
    return start == nullptr ? std::string_view() : std::string_view(static_cast<const char *>(start), len);
}

/** A time that is not before now. */
inline std::uint64_t count(milliseconds time) noexcept
{
    return time.count() < 0 ? 0 : static_cast<std::uint64_t>(time.count());
}

} // namespace detail

/** Why a call failed, and what is now true. Copies are of the same error. */
class error {
public:
    explicit error(wtcache_error *handle) : handle_(handle, wtcache_error_free) {}

    wtcache::status status() const noexcept { return wtcache::status(wtcache_error_status(handle_.get())); }
    wtcache::outcome outcome() const noexcept { return wtcache::outcome(wtcache_error_outcome(handle_.get())); }
    /** In words for a log. Valid as long as the error. */
    std::string_view message() const noexcept
    {
        return {wtcache_error_message(handle_.get()), wtcache_error_message_len(handle_.get())};
    }
    /** The same call may succeed later with nothing changed. */
    bool retryable() const noexcept { return wtcache_error_retryable(handle_.get()) != 0; }
    /** When to try again; zero where nobody said. */
    milliseconds retry_after() const noexcept
    {
        return milliseconds(static_cast<std::int64_t>(wtcache_error_retry_after_ms(handle_.get())));
    }
    /** The source's own code, over HTTP the status of the answer; 0 where it gave none. */
    std::int32_t source_code() const noexcept { return wtcache_error_source_code(handle_.get()); }
    /** What the source gave as the cause, or NULL. Valid as long as the error. */
    void *cause() const noexcept { return wtcache_error_cause(handle_.get()); }
    const wtcache_error *native() const noexcept { return handle_.get(); }

private:
    std::shared_ptr<wtcache_error> handle_;
};

#if WTCACHE_HPP_EXCEPTIONS
/** What `or_throw` throws. */
class exception : public std::runtime_error {
public:
    explicit exception(const wtcache::error &error) : std::runtime_error(std::string(error.message())), error_(error) {}

    const wtcache::error &error() const noexcept { return error_; }

private:
    wtcache::error error_;
};
#endif

/** A value, or why there is none. To look at the value of a result that has none, or at the error of one that has none, is undefined. */
template <class T> class [[nodiscard]] result {
public:
    result(T value) : is_(std::in_place_index<0>, std::move(value)) {}
    result(wtcache::error error) : is_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return is_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T &operator*() & noexcept { return *std::get_if<0>(&is_); }
    const T &operator*() const & noexcept { return *std::get_if<0>(&is_); }
    T &&operator*() && noexcept { return std::move(*std::get_if<0>(&is_)); }
    T *operator->() noexcept { return std::get_if<0>(&is_); }
    const T *operator->() const noexcept { return std::get_if<0>(&is_); }

    const wtcache::error &error() const noexcept { return *std::get_if<1>(&is_); }

    /** The status of the error, or `status::ok`. */
    wtcache::status status() const noexcept { return has_value() ? wtcache::status::ok : error().status(); }

#if WTCACHE_HPP_EXCEPTIONS
    /** The value; throws `wtcache::exception` where there is none. */
    T or_throw() &&
    {
        if (!has_value()) throw wtcache::exception(error());
        return std::move(**this);
    }
#endif

private:
    std::variant<T, wtcache::error> is_;
};

/** That it was done, or why not. */
template <> class [[nodiscard]] result<void> {
public:
    result() noexcept = default;
    result(wtcache::error error) : error_(std::move(error)) {}

    bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    const wtcache::error &error() const noexcept { return *error_; }
    wtcache::status status() const noexcept { return has_value() ? wtcache::status::ok : error_->status(); }

#if WTCACHE_HPP_EXCEPTIONS
    /** Throws `wtcache::exception` if it was not done. */
    void or_throw() &&
    {
        if (!has_value()) throw wtcache::exception(error());
    }
#endif

private:
    std::optional<wtcache::error> error_;
};

/** A record that the cache handed out. What it shows stays valid and unchanged as long as it lives, also after the cache is gone. */
class value {
public:
    explicit value(wtcache_entry *handle) noexcept : handle_(handle) {}

    /** The value's bytes, where they lie in the cache: nothing is copied. */
    std::string_view view() const noexcept { return part(wtcache_entry_value); }
    operator std::string_view() const noexcept { return view(); }
    std::string_view key() const noexcept { return part(wtcache_entry_key); }
    /** The origin's version, where it gave one. */
    std::optional<std::string_view> version() const noexcept
    {
        std::size_t len = 0;
        const void *start = wtcache_entry_version(handle_.get(), &len);
        if (start == nullptr) return std::nullopt;
        return detail::bytes(start, len);
    }
    /** A copy of the value's bytes. */
    std::string str() const { return std::string(view()); }
    /** Another handle on the same record. */
    value clone() const noexcept { return value(wtcache_entry_clone(handle_.get())); }
    const wtcache_entry *native() const noexcept { return handle_.get(); }

private:
    std::string_view part(const void *(*get)(const wtcache_entry *, std::size_t *)) const noexcept
    {
        std::size_t len = 0;
        const void *start = get(handle_.get(), &len);
        return detail::bytes(start, len);
    }

    detail::owned<wtcache_entry, wtcache_entry_free> handle_;
};

/** Options of one call. */
struct call_options {
    /** How long the call may take, the source's work included; zero: as the cache is configured. */
    milliseconds deadline{0};
    /** Of a write: what it goes out under to an origin that recognises resends. */
    std::optional<std::array<std::uint8_t, 16>> idempotency_key{};
};

/** What a cache is to be opened with. What is wrong with it, `cache::open` says. */
class config {
public:
    config() noexcept : handle_(wtcache_config_new()) {}

    /** Sets what a JSON object names: see wtcache_config_load_json. */
    config &json(std::string_view text)
    {
        return note([&](auto *err) { return wtcache_config_load_json(handle_.get(), text.data(), text.size(), err); });
    }
    /** The most that the cache holds. */
    config &capacity_bytes(std::uint64_t bytes)
    {
        return note([&](auto *err) { return wtcache_config_set_capacity_bytes(handle_.get(), bytes, err); });
    }
    /** How long a record is served that says nothing else itself. */
    config &lifetime(milliseconds time)
    {
        return note([&](auto *err) { return wtcache_config_set_lifetime_ms(handle_.get(), detail::count(time), err); });
    }
    /** How long the absence of a record is remembered; zero: not at all. */
    config &negative_lifetime(milliseconds time)
    {
        return note([&](auto *err) {
            return wtcache_config_set_negative_lifetime_ms(handle_.get(), detail::count(time), err);
        });
    }
    /** How long a call may take that says nothing else. */
    config &deadline(milliseconds time)
    {
        return note([&](auto *err) { return wtcache_config_set_deadline_ms(handle_.get(), detail::count(time), err); });
    }
    /** The URL of an HTTP origin's records, with `{id}` where the key goes. */
    config &http_url(std::string_view url)
    {
        return note([&](auto *err) { return wtcache_config_set_http_url(handle_.get(), url.data(), url.size(), err); });
    }
    /** Adds a header to every request to the HTTP origin. */
    config &http_header(std::string_view name, std::string_view value)
    {
        return note([&](auto *err) {
            return wtcache_config_add_http_header(handle_.get(), name.data(), name.size(), value.data(), value.size(),
                                                  err);
        });
    }
    wtcache_config *native() const noexcept { return handle_.get(); }

private:
    friend class cache;

    /* The first error stays. */
    template <class Set> config &note(Set set)
    {
        wtcache_error *err = nullptr;
        set(&err);
        if (err != nullptr) {
            error failed(err);
            if (!failed_) failed_ = std::move(failed);
        }
        return *this;
    }

    detail::owned<wtcache_config, wtcache_config_free> handle_;
    std::optional<error> failed_;
};

/** What a source is asked. Valid until the source's method returns: what is needed later is to be copied. */
class request {
public:
    explicit request(const wtcache_request *asked) noexcept : asked_(asked) {}

    std::string_view key() const noexcept { return detail::bytes(asked_->key, asked_->key_len); }
    /** Of a put: the value. */
    std::string_view value() const noexcept { return detail::bytes(asked_->value, asked_->value_len); }
    /** How long the source may still take. After that nothing may be sent to the origin any more. */
    milliseconds remaining() const noexcept
    {
        constexpr std::uint64_t most = INT64_MAX;
        return milliseconds(static_cast<std::int64_t>(asked_->remaining_ms < most ? asked_->remaining_ms : most));
    }
    /** Of a read: the version of the expired record that this one replaces. If it is still the origin's, answer `unchanged`. */
    std::optional<std::string_view> version() const noexcept
    {
        if (asked_->version == nullptr) return std::nullopt;
        return detail::bytes(asked_->version, asked_->version_len);
    }
    /** Of a write: the key under which every send of it is to go out, 32 hexadecimal digits. */
    std::string_view idempotency_key() const noexcept
    {
        return asked_->idempotency_key == nullptr ? std::string_view() : std::string_view(asked_->idempotency_key);
    }
    /** Of a write: to be applied only if the origin has no such record. */
    bool if_absent() const noexcept { return asked_->condition == WTCACHE_CONDITION_ABSENT; }
    /** Of a write: to be applied only if the origin's record has this version. */
    std::optional<std::string_view> if_version() const noexcept
    {
        if (asked_->condition != WTCACHE_CONDITION_VERSION) return std::nullopt;
        return detail::bytes(asked_->condition_version, asked_->condition_version_len);
    }
    const wtcache_request *native() const noexcept { return asked_; }

private:
    const wtcache_request *asked_;
};

/** What the origin said about a record. */
struct record {
    /** The origin's version of it. */
    std::optional<std::string_view> version{};
    /** How long it may be served; nothing: as the cache is configured. Zero: it is not kept. */
    std::optional<milliseconds> lifetime{};
};

/** Of a write: whether the origin may have applied it. When in doubt, `unknown`. */
enum class verdict : std::int32_t {
    unknown = WTCACHE_VERDICT_UNKNOWN,
    rejected = WTCACHE_VERDICT_REJECTED,
    conflict = WTCACHE_VERDICT_CONFLICT,
};

/** Why a source could not do what it was asked. */
struct failure {
    std::string_view message{};
    wtcache::verdict verdict = wtcache::verdict::unknown;
    bool retryable = false;
    std::int32_t code = 0;
    milliseconds retry_after{0};
};

/**
 * One call of a source that waits for its answer. It is to be answered once, from any thread, inside the source's method or later; it may be
 * copied, and need not be freed. A second or a late answer is refused with `status::answered`.
 */
class reply {
public:
    explicit reply(wtcache_reply *handle) noexcept : handle_(handle) {}

    /** A read: this is the record. A put: it was applied, and this is what stands at the origin now. The bytes are copied. */
    result<void> value(std::string_view bytes, const record &about = {}) const
    {
        const wtcache_record said = native(about);
        return done([&](auto *err) { return wtcache_reply_value(handle_, bytes.data(), bytes.size(), &said, err); });
    }
    /** A read: the origin says that there is no such record. */
    result<void> absent() const
    {
        return done([&](auto *err) { return wtcache_reply_absent(handle_, err); });
    }
    /** A read whose request has a version: that is still the origin's. Of `about` only the lifetime counts. */
    result<void> unchanged(const record &about = {}) const
    {
        const wtcache_record said = native(about);
        return done([&](auto *err) { return wtcache_reply_unchanged(handle_, &said, err); });
    }
    /** A put or a remove: it was applied. What the record is now, the next read asks. */
    result<void> applied() const
    {
        return done([&](auto *err) { return wtcache_reply_applied(handle_, err); });
    }
    /** A put: it was applied, and the origin keeps exactly what it was sent. Believed of a source that declares that. */
    result<void> stored(const record &about = {}) const
    {
        const wtcache_record said = native(about);
        return done([&](auto *err) { return wtcache_reply_stored(handle_, &said, err); });
    }
    /** Any call: it failed. */
    result<void> fail(const failure &why) const
    {
        wtcache_failure said{};
        said.struct_size = sizeof said;
        said.verdict = static_cast<std::int32_t>(why.verdict);
        said.retryable = why.retryable ? 1 : 0;
        said.code = why.code;
        said.retry_after_ms = detail::count(why.retry_after);
        said.message = why.message.data();
        said.message_len = why.message.size();
        return done([&](auto *err) { return wtcache_reply_error(handle_, &said, err); });
    }
    /** Within `put` or `remove`, and in its thread: the existing record, the resident one, else asked of the source now. */
    result<std::optional<wtcache::value>> existing() const
    {
        wtcache_entry *entry = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_reply_existing(handle_, &entry, &err) < 0) return error(err);
        if (entry == nullptr) return std::optional<wtcache::value>();
        return std::optional<wtcache::value>(wtcache::value(entry));
    }
    /** A write: an earlier send of it ended without a definite answer, so that it may still land. */
    result<void> leaves_stray() const
    {
        return done([&](auto *err) { return wtcache_reply_leaves_stray(handle_, err); });
    }
    wtcache_reply *native() const noexcept { return handle_; }

private:
    static wtcache_record native(const record &about) noexcept
    {
        wtcache_record said{};
        said.struct_size = sizeof said;
        if (about.version) {
            // A version may be empty, and still is one.
            said.version = about.version->empty() ? "" : about.version->data();
            said.version_len = about.version->size();
        }
        if (about.lifetime) {
            const auto time = static_cast<std::int64_t>(detail::count(*about.lifetime));
            said.lifetime_ms = time == 0 ? WTCACHE_LIFETIME_NOT_KEPT : time;
        }
        return said;
    }

    template <class Answer> static result<void> done(Answer answer)
    {
        wtcache_error *err = nullptr;
        if (answer(&err) < 0) return error(err);
        return {};
    }

    wtcache_reply *handle_;
};

/** What the origin behind a source can be relied on for. */
struct declared {
    /** How long after its send a write may still take effect at the origin. */
    milliseconds settle_window{10'000};
    /** It keeps exactly what it was sent, so that `reply::stored` may be believed. */
    bool stores_verbatim = false;
    /** It checks the condition of a write in one step with applying it. */
    bool honours_preconditions = false;
    /** It applies two sends with one idempotency key at most once, and answers both alike. */
    bool honours_idempotency = false;
    /** It never gives a version twice to one key, also not after a delete. */
    bool versions_never_reused = false;
};

/**
 * The adapter to a system of the program's own. Derive from it; each method answers through `reply`, at once or later.
 *
 * Its methods are called from the threads that use the cache, many at once; of one key at most one write is under way. They may read the
 * cache; what would wait for itself is refused with `status::reentrant`. An exception that leaves one says that nobody can know: a read
 * fails, a write is in doubt, with `what()` in the message.
 */
class source {
public:
    source() = default;
    source(const source &) = delete;
    source &operator=(const source &) = delete;
    virtual ~source() = default;

    /** The origin's record: answer with a value, absent, unchanged or a failure. */
    virtual void get(const request &asked, reply answer) = 0;
    /** Writes a record: answer with a value, applied, stored or a failure. As it is here, it refuses. */
    virtual void put(const request &asked, reply answer)
    {
        (void)asked;
        refuse(answer, "this source has no put");
    }
    /** Removes a record; what is not there counts as removed. Answer with applied or a failure. As it is here, it refuses. */
    virtual void remove(const request &asked, reply answer)
    {
        (void)asked;
        refuse(answer, "this source has no remove");
    }
    /** Asked once, when the cache is opened. */
    virtual declared declares() const { return {}; }

private:
    static void refuse(reply answer, std::string_view message)
    {
        failure why;
        why.message = message;
        why.verdict = verdict::rejected;
        (void)answer.fail(why);
    }
};

namespace detail {

/** What the library calls in place of a source's method. Nothing may leave it. */
template <void (source::*Method)(const request &, reply)>
void call(void *user_data, const wtcache_request *asked, wtcache_reply *handle) noexcept
{
    const reply answer(handle);
    source &called = *static_cast<source *>(user_data);
#if WTCACHE_HPP_EXCEPTIONS
    failure why;
    try {
        (called.*Method)(request(asked), answer);
        return;
    } catch (const std::exception &thrown) {
        // Said while the exception lives. If it was answered before it threw, the answer stands.
        why.message = thrown.what();
        (void)answer.fail(why);
    } catch (...) {
        why.message = "the source threw";
        (void)answer.fail(why);
    }
#else
    (called.*Method)(request(asked), answer);
#endif
}

inline void destroy(void *user_data) noexcept { delete static_cast<source *>(user_data); }

} // namespace detail

/** What closing a cache left unfinished, by key. */
class close_report {
public:
    explicit close_report(wtcache_close_report *handle) noexcept : handle_(handle) {}

    /** Keys with writes that were sent and had not ended. Valid as long as the report; so below. */
    std::vector<std::string_view> unfinished() const { return keys(WTCACHE_CLOSE_UNFINISHED); }
    /** Keys of which nobody knows whether their last writes were, or will be, applied. */
    std::vector<std::string_view> in_doubt() const { return keys(WTCACHE_CLOSE_IN_DOUBT); }
    /** Keys of pending writes that were not sent and were rolled back. */
    std::vector<std::string_view> rolled_back() const { return keys(WTCACHE_CLOSE_ROLLED_BACK); }

private:
    std::vector<std::string_view> keys(std::int32_t which) const
    {
        std::vector<std::string_view> keys(wtcache_close_report_count(handle_.get(), which));
        for (std::size_t at = 0; at < keys.size(); at++) {
            std::size_t len = 0;
            const void *key = wtcache_close_report_key(handle_.get(), which, at, &len);
            keys[at] = detail::bytes(key, len);
        }
        return keys;
    }

    detail::owned<wtcache_close_report, wtcache_close_report_free> handle_;
};

/** How many bytes `cache::get_into` found. */
struct copied {
    /** `ok`: they were copied. `not_found`: there is no such record. `too_small`: nothing was copied. */
    wtcache::status status;
    /** The value's length. */
    std::size_t len;
};

/** A cache. All but its assignment and its end may be called from many threads at once. */
class cache {
public:
    explicit cache(wtcache_cache *handle) noexcept : handle_(handle) {}

    /** Opens a cache over the HTTP origin that `config` names. */
    static result<cache> open(const config &config)
    {
        if (config.failed_) return *config.failed_;
        wtcache_cache *handle = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_open(config.native(), &handle, &err) < 0) return error(err);
        return cache(handle);
    }
    /** Opens a cache over a source of the program's own, which goes after its last call ended, also if opening fails. */
    static result<cache> open(const config &config, std::unique_ptr<source> source)
    {
        if (config.failed_) return *config.failed_;
        wtcache_source described{};
        described.struct_size = sizeof described;
        if (source != nullptr) {
            const declared said = source->declares();
            // Zero would be the library's own; the shortest window there is comes closest to none.
            described.settle_window_ms = said.settle_window.count() < 1 ? 1 : detail::count(said.settle_window);
            described.stores_verbatim = said.stores_verbatim;
            described.honours_preconditions = said.honours_preconditions;
            described.honours_idempotency = said.honours_idempotency;
            described.versions_never_reused = said.versions_never_reused;
            described.get = detail::call<&wtcache::source::get>;
            described.put = detail::call<&wtcache::source::put>;
            described.remove = detail::call<&wtcache::source::remove>;
            described.destroy = detail::destroy;
            described.user_data = source.release();
        }
        wtcache_cache *handle = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_open_with_source(config.native(), &described, &handle, &err) < 0) return error(err);
        return cache(handle);
    }

    /** The record of a key: from the cache, else from the origin. Nothing where the origin has none. */
    result<std::optional<value>> get(std::string_view key, const call_options &options = {}) const
    {
        const native_call call(options);
        return found([&](auto *entry, auto *err) {
            return wtcache_get(handle_.get(), key.data(), key.size(), &call.options, entry, err);
        });
    }
    /** The same, copied into a buffer. */
    result<copied> get_into(std::string_view key, void *buffer, std::size_t buffer_len,
                            const call_options &options = {}) const
    {
        const native_call call(options);
        copied into{};
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_get_into(handle_.get(), key.data(), key.size(), &call.options, buffer,
                                                     buffer_len, &into.len, &err);
        if (status < 0) return error(err);
        into.status = wtcache::status(status);
        return into;
    }
    /** The record if it is here and may be served. Never waits, and never asks the source. */
    result<std::optional<value>> peek(std::string_view key) const
    {
        return found([&](auto *entry, auto *err) {
            return wtcache_peek(handle_.get(), key.data(), key.size(), entry, err);
        });
    }
    /** Writes to the origin, and keeps what it confirmed, which is given; nothing: applied, and not seen. */
    result<std::optional<value>> put(std::string_view key, std::string_view bytes,
                                     const call_options &options = {}) const
    {
        const native_call call(options);
        return found([&](auto *entry, auto *err) {
            return wtcache_put(handle_.get(), key.data(), key.size(), bytes.data(), bytes.size(), &call.options, entry,
                               err);
        });
    }
    /** Removes the record at the origin and here. What the origin does not have counts as removed. */
    result<void> remove(std::string_view key, const call_options &options = {}) const
    {
        const native_call call(options);
        return done([&](auto *err) {
            return wtcache_delete(handle_.get(), key.data(), key.size(), &call.options, err);
        });
    }
    /** Forgets what is held of a key; the origin is not asked. */
    result<void> invalidate(std::string_view key) const
    {
        return done([&](auto *err) { return wtcache_invalidate(handle_.get(), key.data(), key.size(), err); });
    }
    /** What was counted since the cache was opened, and what it holds now. */
    result<wtcache_stats> stats() const
    {
        wtcache_stats counts{};
        counts.struct_size = sizeof counts;
        wtcache_error *err = nullptr;
        if (wtcache_get_stats(handle_.get(), &counts, &err) < 0) return error(err);
        return counts;
    }
    /** The same as a JSON object. */
    result<std::string> stats_json() const
    {
        char *text = nullptr;
        std::size_t len = 0;
        wtcache_error *err = nullptr;
        if (wtcache_get_stats_json(handle_.get(), &text, &len, &err) < 0) return error(err);
        const detail::owned<char, wtcache_string_free> freed(text);
        return std::string(text, len);
    }
    /** Ends the cache: no call begins any more, and writes that were sent get up to `timeout` to end. */
    result<close_report> close(milliseconds timeout) const
    {
        wtcache_close_report *report = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_close(handle_.get(), detail::count(timeout), &report, &err) < 0) return error(err);
        return close_report(report);
    }
    /** Another handle on the same cache. */
    cache clone() const noexcept { return cache(wtcache_cache_clone(handle_.get())); }
    const wtcache_cache *native() const noexcept { return handle_.get(); }

private:
    /* The options of a call as the library has them. They refer to what they were made of. */
    struct native_call {
        explicit native_call(const call_options &from) noexcept
        {
            options.struct_size = sizeof options;
            options.deadline_ms = detail::count(from.deadline);
            options.idempotency_key = from.idempotency_key ? from.idempotency_key->data() : nullptr;
        }
        wtcache_call options{};
    };

    template <class Call> static result<std::optional<value>> found(Call call)
    {
        wtcache_entry *entry = nullptr;
        wtcache_error *err = nullptr;
        if (call(&entry, &err) < 0) return error(err);
        if (entry == nullptr) return std::optional<value>();
        return std::optional<value>(value(entry));
    }

    template <class Call> static result<void> done(Call call)
    {
        wtcache_error *err = nullptr;
        if (call(&err) < 0) return error(err);
        return {};
    }

    detail::owned<wtcache_cache, wtcache_cache_free> handle_;
};

/** Whether the loaded library serves a program that was compiled with this header. */
inline result<void> check_abi()
{
    wtcache_error *err = nullptr;
    if (wtcache_check_abi(WTCACHE_ABI_VERSION, &err) < 0) return error(err);
    return {};
}

} // namespace wtcache

#endif // WTCACHE_HPP
