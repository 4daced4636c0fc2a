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
 * - Nothing here throws but `or_throw`, and what allocations in it throw. It compiles with -fno-exceptions and -fno-rtti; `or_throw` is
 *   missing then, and its types are others, so that files of both kinds may be in one program, and cannot pass them to each other.
 * - A call that fails gives an error. Its status says why: see `status`. Its outcome says what is now true at the origin. `not_applied`: this
 *   call changed nothing there, and never will. `in_doubt`: a write may have been applied, or may still be; until that is settled reads ask
 *   the origin, and `error::doubt` is the handle on it. `partial`: some steps of a transaction stand; `transacted` tells which. After a read
 *   that failed nothing has changed.
 * - Any call may fail with `argument`, `forked` or `panic`, and those on a cache with `closed`; what else, its comment says.
 * - Bytes (keys, values, versions) are std::string_view, and may be any. What a temporary shows goes with it: keep the handle.
 * - A handle is moved, not copied; where there is `clone`, it gives another on the same thing. It is made of one of the library's, which it
 *   takes over, and lends that as `native`. One that was moved from may be assigned and destroyed; a call on it is refused with
 *   `status::argument`, and what cannot fail gives nothing, or zero.
 * - Callbacks are callables of the program's. Those that are kept (a listener, a weigher, a merge, a step) are moved in, and destroyed from any thread
 *   after their last call. No exception goes past this header: each says what becomes of one that leaves it.
 * - What is const may be called from many threads at once; the rest, as assignment and the end of a handle, belongs to one at a time. Of each
 *   function wtcache.h says more: the names are the same.
 */

#ifndef WTCACHE_HPP
#define WTCACHE_HPP

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <wtcache.h>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#include <stdexcept>
#define WTCACHE_HPP_EXCEPTIONS 1
#else
#define WTCACHE_HPP_EXCEPTIONS 0
#endif

namespace wtcache {

// With exceptions and without, types are not the same: the linker keeps one of the functions of one name, and would take that for both.
#if WTCACHE_HPP_EXCEPTIONS
inline namespace with_exceptions {
#else
inline namespace without_exceptions {
#endif

/** What a call answers. */
enum class status : std::int32_t {
    /** It was done. */
    ok = WTCACHE_OK,
    /** Not an error: there is no such record. */
    not_found = WTCACHE_NOT_FOUND,
    /** Not an error: the value is longer than the buffer. */
    too_small = WTCACHE_TOO_SMALL,
    /** Not an error: what was waited for has not ended yet. */
    pending = WTCACHE_PENDING,
    /** Not an error: it could not be taken back any more. */
    too_late = WTCACHE_TOO_LATE,
    /** An argument has no such value, or does not fit with another, or a handle was moved from. Nothing was done. */
    argument = WTCACHE_ERR_ARGUMENT,
    /** The configuration makes no sense; the message names the member. Nothing was opened. */
    config = WTCACHE_ERR_CONFIG,
    /** Header and library have different ABIs. */
    abi = WTCACHE_ERR_ABI,
    /** The cache is closed. Nothing was sent. */
    closed = WTCACHE_ERR_CLOSED,
    /** The deadline passed; a write was not sent. */
    deadline = WTCACHE_ERR_DEADLINE,
    /** A read: the source gave no record, and no answer that there is none. */
    source = WTCACHE_ERR_SOURCE,
    /** A write: it was refused, was not applied and never will be. */
    rejected = WTCACHE_ERR_REJECTED,
    /** As `rejected`, and what was cached is not the origin's record any more: it was dropped. */
    conflict = WTCACHE_ERR_CONFLICT,
    /** A write: nobody can know whether it was applied, or still will be. */
    in_doubt = WTCACHE_ERR_IN_DOUBT,
    /** A write: the key is in doubt, and writes are configured to wait for the end of that. It was not sent. */
    held_back = WTCACHE_ERR_HELD_BACK,
    /** A bound was met: too many wait, or are in doubt. A write was not sent. */
    overloaded = WTCACHE_ERR_OVERLOADED,
    /** From inside a callback: the call would wait for itself. Nothing was sent. */
    reentrant = WTCACHE_ERR_REENTRANT,
    /** From inside a callback: the turn of the key is taken; a write was not sent. Or a read of many keys met ever new transactions. */
    busy = WTCACHE_ERR_BUSY,
    /** The key or the value is longer than the cache takes. Nothing was sent. */
    too_large = WTCACHE_ERR_TOO_LARGE,
    /** A reply came too late: its call was answered before, or is over. It was not used. */
    answered = WTCACHE_ERR_ANSWERED,
    /** The handle was made before a `fork`, by the parent. */
    forked = WTCACHE_ERR_FORKED,
    /** A fault of the library, or of a merge, was contained. The outcome says what may have happened. */
    panic = WTCACHE_ERR_PANIC,
    /** A write was taken back by the program before it was sent. */
    cancelled = WTCACHE_ERR_CANCELLED,
    /** What the write expected of the existing record does not hold. It was not sent; `error::existing` is what is there. */
    unmet = WTCACHE_ERR_UNMET,
    /** A handle was used out of its order. Nothing was done. */
    state = WTCACHE_ERR_STATE,
    /** A transaction: a step was refused after others had been applied that are not all undone. */
    partial = WTCACHE_ERR_PARTIAL,
};

/** What is now true at the origin, after an error. */
enum class outcome : std::int32_t {
    /** Nothing was applied for this call, and nothing will be. */
    not_applied = WTCACHE_OUTCOME_NOT_APPLIED,
    /** The write may have been applied, or may still be. */
    in_doubt = WTCACHE_OUTCOME_IN_DOUBT,
    /** Of a transaction: some of its steps were applied and stand, others were not. */
    partial = WTCACHE_OUTCOME_PARTIAL,
};

using milliseconds = std::chrono::milliseconds;

/**
 * A lifetime: the record has expired from the start. It is kept only where it has a version, to be offered to the origin, or a window in which
 * it may be served all the same.
 */
inline constexpr milliseconds expired_from_start = milliseconds::min();

namespace detail {

/** A handle of the library's, and the function that frees it. */
template <class T, void (*Free)(T *)> class owned {
public:
    explicit owned(T *handle) noexcept : handle_(handle) {}
    owned(owned &&from) noexcept : handle_(std::exchange(from.handle_, nullptr)) {}
    owned &operator=(owned &&from) noexcept
    {
        // What this had goes, unless it is the same.
        const owned before(std::exchange(handle_, std::exchange(from.handle_, nullptr)));
        return *this;
    }
    ~owned() { Free(handle_); }
    T *get() const noexcept { return handle_; }

private:
    T *handle_;
};

inline std::string_view bytes(const void *start, std::size_t len) noexcept
{
    return start == nullptr ? std::string_view() : std::string_view(static_cast<const char *>(start), len);
}

inline wtcache_bytes native(std::string_view bytes) noexcept { return {bytes.data(), bytes.size()}; }

template <class Texts> std::vector<wtcache_bytes> native_list(const Texts &texts)
{
    std::vector<wtcache_bytes> list;
    list.reserve(texts.size());
    for (const std::string_view text : texts) list.push_back(native(text));
    return list;
}

/** A time that is not before now. */
inline std::uint64_t count(milliseconds time) noexcept
{
    return time.count() < 0 ? 0 : static_cast<std::uint64_t>(time.count());
}

/** A time of the library's. What is longer than 292 years is that, so that it can be compared with nanoseconds. */
inline milliseconds time(std::uint64_t count) noexcept
{
    constexpr auto longest = std::chrono::duration_cast<milliseconds>(std::chrono::nanoseconds::max());
    return count < static_cast<std::uint64_t>(longest.count()) ? milliseconds(static_cast<std::int64_t>(count)) : longest;
}

/** How long a call may take, as the library has it: nothing is zero, and what has passed already is the shortest time there is. */
inline std::uint64_t deadline(std::optional<milliseconds> of) noexcept
{
    if (!of) return 0;
    return *of < milliseconds(1) ? 1 : count(*of);
}

/** A lifetime as the library has it: nothing is the configured one, zero is none. */
inline std::int64_t lifetime(std::optional<milliseconds> of) noexcept
{
    if (!of) return WTCACHE_LIFETIME_DEFAULT;
    if (*of == expired_from_start) return WTCACHE_LIFETIME_EXPIRED;
    const auto time = static_cast<std::int64_t>(count(*of));
    return time == 0 ? WTCACHE_LIFETIME_NOT_KEPT : time;
}

/** A window as the library has it: nothing is the configured one, zero is none. */
inline std::int64_t window(std::optional<milliseconds> of) noexcept
{
    if (!of) return 0;
    const auto time = static_cast<std::int64_t>(count(*of));
    return time == 0 ? WTCACHE_WINDOW_NONE : time;
}

} // namespace detail

class cache;
class doubt;
class value;

/** What an HTTP origin answered in place of what was asked for. It shows bytes of the error that it is of, and is valid as long as that. */
struct origin_answer {
    /** Decoded; of at most 64 KiB. Of `status::conflict` the record as it stands there, where the origin sends that. */
    std::string_view body;
    std::optional<std::string_view> content_type;
    /** The ETag. */
    std::optional<std::string_view> version;
    /** The body is longer than this, or ended early, or could not be decoded. */
    bool truncated = false;
};

/** Why a call failed, and what is now true. Copies are of the same error. */
class error {
public:
    /** No error: its status is `ok`. One that was moved from is so, too. */
    error() noexcept = default;
    /** Takes the error over. */
    explicit error(wtcache_error *handle) : handle_(handle, wtcache_error_free) {}
    /** An error that something else owns, which lives as long as this. */
    error(std::shared_ptr<const void> owner, const wtcache_error *handle) noexcept : handle_(std::move(owner), handle) {}

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
    milliseconds retry_after() const noexcept { return detail::time(wtcache_error_retry_after_ms(handle_.get())); }
    /** The source's own code, over HTTP the status of the answer; 0 where it gave none. */
    std::int32_t source_code() const noexcept { return wtcache_error_source_code(handle_.get()); }
    /**
     * The exception that left a source's method, a step or an update, or was given as `failure::thrown`; else NULL. Of a cache with a source
     * that is in C this is undefined where that gave a cause: `native` has it.
     */
    std::exception_ptr thrown() const noexcept
    {
        const void *cause = wtcache_error_cause(handle_.get());
        return cause == nullptr ? nullptr : *static_cast<const std::exception_ptr *>(cause);
    }
    /** Of a write in doubt: the handle on it. */
    std::optional<wtcache::doubt> doubt() const noexcept;
    /** Of `status::unmet`: the record that is there. */
    std::optional<wtcache::value> existing() const noexcept;
    /** What the HTTP origin answered, where it did; its status is the `source_code`. */
    std::optional<origin_answer> answer() const noexcept
    {
        const auto part = [this](const void *(*get)(const wtcache_error *, std::size_t *)) -> std::optional<std::string_view> {
            std::size_t len = 0;
            const void *start = get(handle_.get(), &len);
            if (start == nullptr) return std::nullopt;
            return detail::bytes(start, len);
        };
        const auto body = part(wtcache_error_answer);
        if (!body) return std::nullopt;
        const bool truncated = wtcache_error_answer_truncated(handle_.get()) != 0;
        return origin_answer{*body, part(wtcache_error_answer_type), part(wtcache_error_answer_version), truncated};
    }
    const wtcache_error *native() const noexcept { return handle_.get(); }

private:
    std::shared_ptr<const wtcache_error> handle_;
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

/**
 * A value, or why there is none. To look at the value of a result that has none is undefined. The error of one that has a value is none: its
 * status is `ok`.
 */
template <class T> class [[nodiscard]] result {
public:
    result(T value) : value_(std::move(value)) {}
    result(wtcache::error error) : error_(std::move(error)) {}

    bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    T &operator*() & noexcept { return *value_; }
    const T &operator*() const & noexcept { return *value_; }
    T &&operator*() && noexcept { return std::move(*value_); }
    T *operator->() noexcept { return &*value_; }
    const T *operator->() const noexcept { return &*value_; }

    const wtcache::error &error() const noexcept { return error_; }

    /** The status of the error, or `status::ok`. */
    wtcache::status status() const noexcept { return error_.status(); }

#if WTCACHE_HPP_EXCEPTIONS
    /** The value; throws `wtcache::exception` where there is none. */
    T or_throw() &&
    {
        if (!has_value()) throw wtcache::exception(error());
        return std::move(**this);
    }
#endif

private:
    std::optional<T> value_;
    wtcache::error error_;
};

/** That it was done, or why not. */
template <> class [[nodiscard]] result<void> {
public:
    result() noexcept = default;
    result(wtcache::error error) noexcept : done_(false), error_(std::move(error)) {}

    bool has_value() const noexcept { return done_; }
    explicit operator bool() const noexcept { return has_value(); }
    const wtcache::error &error() const noexcept { return error_; }
    /** The status of the error, or `status::ok`. */
    wtcache::status status() const noexcept { return error_.status(); }

#if WTCACHE_HPP_EXCEPTIONS
    /** Throws `wtcache::exception` if it was not done. */
    void or_throw() &&
    {
        if (!has_value()) throw wtcache::exception(error());
    }
#endif

private:
    bool done_ = true;
    wtcache::error error_;
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
    /** Pending writes have a part in it: the origin has not confirmed it. */
    bool pending() const noexcept { return wtcache_entry_is_pending(handle_.get()) != 0; }
    /** How long it may still be served as fresh; nothing: without end. `from` is the cache that gave it. */
    std::optional<milliseconds> remaining(const cache &from) const noexcept;
    /** For how long it has been expired: it was served stale, or has expired since it was given. */
    milliseconds stale(const cache &from) const noexcept;
    /** How long ago the request began that brought it, or confirmed it last; of a pending one, how long ago its oldest write was admitted. */
    milliseconds age(const cache &from) const noexcept;
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

inline std::optional<wtcache::value> error::existing() const noexcept
{
    wtcache_entry *entry = wtcache_error_existing(handle_.get());
    if (entry == nullptr) return std::nullopt;
    return wtcache::value(entry);
}

namespace detail {

template <class Call, class... With> result<void> done(Call call, With... with)
{
    wtcache_error *err = nullptr;
    if (call(with..., &err) < 0) return error(err);
    return {};
}

/** Of a call whose status says more than that it was done. */
template <class Call, class... With> result<wtcache::status> told(Call call, With... with)
{
    wtcache_error *err = nullptr;
    const std::int32_t status = call(with..., &err);
    if (status < 0) return error(err);
    return wtcache::status(status);
}

template <class Call, class... With> result<std::optional<value>> found(Call call, With... with)
{
    wtcache_entry *entry = nullptr;
    wtcache_error *err = nullptr;
    if (call(with..., &entry, &err) < 0) return error(err);
    if (entry == nullptr) return std::optional<value>();
    return std::optional<value>(value(entry));
}

/** Of a call that gives a handle, which `T` is made of. */
template <class T, class Native, class Call, class... With> result<T> made(Call call, With... with)
{
    Native *handle = nullptr;
    wtcache_error *err = nullptr;
    if (call(with..., &handle, &err) < 0) return error(err);
    return T(handle);
}

/** A handle of its own on a record that something else owns. */
inline std::optional<value> shared(const wtcache_entry *entry) noexcept
{
    if (entry == nullptr) return std::nullopt;
    return value(wtcache_entry_clone(entry));
}

/** An error that something else owns. */
template <class Owner>
std::optional<error> shared(const std::shared_ptr<Owner> &owner, const wtcache_error *err) noexcept
{
    if (err == nullptr) return std::nullopt;
    return error(owner, err);
}

} // namespace detail

/** An answer for each of many keys, in their order, as the call for one of them would have given it. */
using answers = std::vector<result<std::optional<value>>>;

namespace detail {

/** `owner` has the results. */
inline answers answers_of(const std::shared_ptr<const void> &owner, const wtcache_results *results)
{
    answers all;
    const std::size_t count = wtcache_results_count(results);
    all.reserve(count);
    for (std::size_t at = 0; at < count; at++) {
        if (auto failed = shared(owner, wtcache_results_error(results, at))) all.emplace_back(std::move(*failed));
        else all.emplace_back(shared(wtcache_results_entry(results, at)));
    }
    return all;
}

template <class Call, class... With> result<answers> many(Call call, With... with)
{
    wtcache_results *results = nullptr;
    wtcache_error *err = nullptr;
    if (call(with..., &results, &err) < 0) return error(err);
    const std::shared_ptr<const wtcache_results> owner(results, wtcache_results_free);
    return answers_of(owner, results);
}

} // namespace detail

/** What a read shows. */
enum class mode : std::int32_t {
    /** From the cache, else from the origin. What is pending is shown. */
    standard = WTCACHE_MODE_DEFAULT,
    /** What is resident and will do for the call, or pending, and nothing else: never waits. */
    cached = WTCACHE_MODE_CACHED,
    /** What the origin confirmed, whatever is pending above it. */
    confirmed = WTCACHE_MODE_CONFIRMED,
};

/** Options of one call. */
struct call_options {
    /** How long the call may take, the source's work included; nothing: as the cache is configured. One that has passed is the shortest. */
    std::optional<milliseconds> deadline{};
    /** Of a write: what it goes out under to an origin that recognises resends. */
    std::optional<std::array<std::uint8_t, 16>> idempotency_key{};
    /** Of a read of one key. Any other call refuses a mode. */
    wtcache::mode mode = wtcache::mode::standard;
    /** Of a write: how long its record may be served where the source says nothing of that. Zero: it is not kept. */
    std::optional<milliseconds> lifetime{};
    /**
     * Of a read, as all from here on; other calls refuse it. The origin confirmed the record no longer than this before the call, else it is
     * asked. Zero: it is asked in any case, and may say that the record is unchanged.
     */
    std::optional<milliseconds> max_age{};
    /** The record can be served as fresh for so long yet, or it is loaded. */
    std::optional<milliseconds> min_fresh{};
    /** For how long after its end a record is taken without waiting for the origin; zero: not at all. Nothing: as its source or the cache says. */
    std::optional<milliseconds> max_stale{};
    /** The same, in place of an error; also of a record that is too old for `max_age` or `min_fresh`. */
    std::optional<milliseconds> stale_if_error{};
    /** What the load brings is not kept, nor is what was there before. */
    bool not_kept = false;
};

/** What a write expects of the existing record. It refers to the versions that it was made of. */
class expect {
public:
    /** There is no record. */
    static expect absent() noexcept { return expect(WTCACHE_EXPECT_ABSENT); }
    /** There is a record, whatever its version. */
    static expect exists() noexcept { return expect(WTCACHE_EXPECT_EXISTS); }
    /** The record has this version. */
    static expect version(std::string_view version) { return versions({version}); }
    /** The record has one of these versions. */
    static expect versions(const std::vector<std::string_view> &versions)
    {
        expect expected(WTCACHE_EXPECT_VERSION);
        expected.versions_ = detail::native_list(versions);
        return expected;
    }
    /** As the library has it, valid as long as this is and stays as it is. */
    wtcache_expect native() const noexcept
    {
        wtcache_expect expected{};
        expected.struct_size = sizeof expected;
        expected.kind = kind_;
        expected.versions = versions_.data();
        expected.version_count = versions_.size();
        return expected;
    }

private:
    explicit expect(std::int32_t kind) noexcept : kind_(kind) {}

    std::int32_t kind_;
    std::vector<wtcache_bytes> versions_;
};

namespace detail {

/** The options of a call as the library has them. They refer to what they were made of. */
struct native_call {
    explicit native_call(const call_options &from) noexcept
    {
        options.struct_size = sizeof options;
        options.deadline_ms = detail::deadline(from.deadline);
        options.idempotency_key = from.idempotency_key ? from.idempotency_key->data() : nullptr;
        options.mode = static_cast<std::int32_t>(from.mode);
        options.lifetime_ms = lifetime(from.lifetime);
        if (from.max_age) {
            options.max_age_ms = count(*from.max_age);
            if (options.max_age_ms == 0) options.flags |= WTCACHE_CALL_ANEW;
        }
        options.min_fresh_ms = count(from.min_fresh.value_or(milliseconds(0)));
        options.max_stale_ms = window(from.max_stale);
        options.stale_if_error_ms = window(from.stale_if_error);
        if (from.not_kept) options.flags |= WTCACHE_CALL_NOT_KEPT;
    }
    wtcache_call options{};
};

} // namespace detail

/** What happened to a key; see WTCACHE_EVENT_RETAINED and its kin. */
enum class event_kind : std::int32_t {
    other = WTCACHE_EVENT_OTHER,
    retained = WTCACHE_EVENT_RETAINED,
    put = WTCACHE_EVENT_PUT,
    deleted = WTCACHE_EVENT_DELETED,
    pending = WTCACHE_EVENT_PENDING,
    rolled_back = WTCACHE_EVENT_ROLLED_BACK,
    refused_stale = WTCACHE_EVENT_REFUSED_STALE,
    invalidated = WTCACHE_EVENT_INVALIDATED,
    dropped = WTCACHE_EVENT_DROPPED,
    evicted = WTCACHE_EVENT_EVICTED,
    expired = WTCACHE_EVENT_EXPIRED,
    too_heavy = WTCACHE_EVENT_TOO_HEAVY,
    in_doubt = WTCACHE_EVENT_IN_DOUBT,
    settled = WTCACHE_EVENT_SETTLED,
    differs = WTCACHE_EVENT_DIFFERS,
    pushed = WTCACHE_EVENT_PUSHED,
};

/** What a listener is told. Valid until the listener returns. */
class event {
public:
    explicit event(const wtcache_event *told) noexcept : told_(told) {}

    event_kind kind() const noexcept { return event_kind(told_->kind); }
    std::string_view key() const noexcept { return detail::bytes(told_->key, told_->key_len); }
    /** Grows along the events of one key: of two that different threads tell, the one with the larger number is the later. */
    std::uint64_t sequence() const noexcept { return told_->sequence; }
    /** Of `retained`: it is the absence of a record. */
    bool absent() const noexcept { return told_->absent != 0; }
    /** Of `put` and `deleted`: what was confirmed is resident now. */
    bool kept() const noexcept { return told_->kept != 0; }
    /** Of `differs`: for longer than this. */
    milliseconds differs() const noexcept { return detail::time(told_->differs_ms); }
    const wtcache_event *native() const noexcept { return told_; }

private:
    const wtcache_event *told_;
};

namespace detail {

/** Destroys what was moved in. */
template <class T> void destroy(void *user_data) noexcept { delete static_cast<T *>(user_data); }

/** Of calls whose errors are told later: the first one stays. */
template <class Call, class... With> void note(error &first, Call call, With... with)
{
    const auto noted = done(call, with...);
    if (!noted && first.native() == nullptr) first = noted.error();
}

/** What the library calls in place of a listener. There is nobody whom an exception could be told. */
template <class F> void listen(void *user_data, const wtcache_event *told) noexcept
{
    const F &called = *static_cast<const F *>(user_data);
#if WTCACHE_HPP_EXCEPTIONS
    try {
        called(event(told));
    } catch (...) {
    }
#else
    called(event(told));
#endif
}

/** What the library calls in place of a weigher. One that throws could not weigh. */
template <class F>
void weigh(void *user_data, const void *key, std::size_t key_len, const void *value, std::size_t value_len,
           std::uint64_t *weight) noexcept
{
    const F &called = *static_cast<const F *>(user_data);
    const std::optional<std::string_view> there = value == nullptr ? std::nullopt : std::optional(bytes(value, value_len));
#if WTCACHE_HPP_EXCEPTIONS
    try {
        *weight = called(bytes(key, key_len), there);
    } catch (...) {
    }
#else
    *weight = called(bytes(key, key_len), there);
#endif
}

} // namespace detail

/** Takes the tags of a record, or its values in an index. Valid until the callable returns. */
class extract {
public:
    explicit extract(wtcache_extract *handle) noexcept : handle_(handle) {}

    /** The record has this tag, or this value; the same twice counts once. It is copied. */
    void add(std::string_view value) noexcept
    {
        // Without it, the record could not be found by it: then it is not kept.
        if (wtcache_extract_add(handle_, value.data(), value.size(), nullptr) < 0) fail();
    }
    /** They could not be found: the record is not kept. */
    void fail() noexcept { failed_ = true; }
    wtcache_extract *native() const noexcept { return handle_; }

    /** For the header: the callable has returned. */
    void done() const noexcept
    {
        if (!failed_) wtcache_extract_done(handle_, nullptr);
    }

private:
    wtcache_extract *handle_;
    bool failed_ = false;
};

namespace detail {

/** What the library calls in place of what finds tags or values. One that throws could not find them. */
template <class F>
void find(void *user_data, const void *key, std::size_t key_len, const void *value, std::size_t value_len,
          wtcache_extract *handle) noexcept
{
    const F &called = *static_cast<const F *>(user_data);
    extract to(handle);
#if WTCACHE_HPP_EXCEPTIONS
    try {
        called(bytes(key, key_len), bytes(value, value_len), to);
        to.done();
    } catch (...) {
    }
#else
    called(bytes(key, key_len), bytes(value, value_len), to);
    to.done();
#endif
}

} // namespace detail

/** What a cache is to be opened with. What is wrong with it, `cache::open` says. */
class config {
public:
    config() noexcept : handle_(wtcache_config_new()) {}

    /** Sets what a JSON object names: see wtcache_config_load_json. */
    config &json(std::string_view text)
    {
        return note(wtcache_config_load_json, text.data(), text.size());
    }
    /** The most that the cache holds. */
    config &capacity_bytes(std::uint64_t bytes) { return set(wtcache_config_set_capacity_bytes, bytes); }
    /** How long a record is served that says nothing else itself. */
    config &lifetime(milliseconds time) { return set(wtcache_config_set_lifetime_ms, detail::count(time)); }
    /** How long the absence of a record is remembered; zero: not at all. */
    config &negative_lifetime(milliseconds time)
    {
        return set(wtcache_config_set_negative_lifetime_ms, detail::count(time));
    }
    /** How long a call may take that says nothing else. */
    config &deadline(milliseconds time) { return set(wtcache_config_set_deadline_ms, detail::count(time)); }
    /** For this long after it expired, a record is served stale while it is refreshed in the background. */
    config &stale_while_revalidate(milliseconds window)
    {
        return set(wtcache_config_set_stale_while_revalidate_ms, detail::count(window));
    }
    /** For this long after it expired, a record is served stale where its load fails. */
    config &stale_if_error(milliseconds window) { return set(wtcache_config_set_stale_if_error_ms, detail::count(window)); }
    /** For this long after it expired, a record is kept at most. */
    config &keep_expired(milliseconds time) { return set(wtcache_config_set_keep_expired_ms, detail::count(time)); }
    /** In this last share of its lifetime, 0 to less than 1, a record that is read is refreshed in the background. */
    config &refresh_ahead(double share) { return set(wtcache_config_set_refresh_ahead, share); }
    /** How many threads refresh records. */
    config &refresh_threads(std::size_t threads) { return set(wtcache_config_set_refresh_threads, threads); }
    /** How many refreshes may wait for a thread. */
    config &refresh_queue(std::size_t waiting) { return set(wtcache_config_set_refresh_queue, waiting); }
    /** Shortens each lifetime at random by up to this share, 0 to 1. */
    config &jitter(double share) { return set(wtcache_config_set_jitter, share); }
    /** Whether an unconditional write of a key in doubt waits for the end of the doubt. */
    config &in_doubt_writes_wait(bool yes) { return set(wtcache_config_set_in_doubt_writes_wait, yes ? 1 : 0); }
    /** Whether the absence is remembered at once after an applied delete. */
    config &absent_after_delete(bool yes) { return set(wtcache_config_set_absent_after_delete, yes ? 1 : 0); }
    /** Asserts that no write of an earlier process can still be under way at the origin. */
    config &clean_start(bool yes) { return set(wtcache_config_set_clean_start, yes ? 1 : 0); }
    /** How long after the opening writes of an earlier cache may still land, where that is longer than the settle window. */
    config &stray_window(milliseconds window) { return set(wtcache_config_set_stray_window_ms, detail::count(window)); }
    /** How many keys in doubt and writes on their way there may be at once. */
    config &most_doubts(std::size_t keys) { return set(wtcache_config_set_most_doubts, keys); }
    /** How many writes of one key may wait for their turn. */
    config &turn_queue(std::size_t writes) { return set(wtcache_config_set_turn_queue, writes); }
    /** How many reads may wait for one load. */
    config &load_queue(std::size_t reads) { return set(wtcache_config_set_load_queue, reads); }
    /** The longest key. */
    config &longest_key_bytes(std::size_t bytes) { return set(wtcache_config_set_longest_key_bytes, bytes); }
    /** Into how many parts the cache is divided, each with a lock of its own. */
    config &shards(std::size_t shards) { return set(wtcache_config_set_shards, shards); }
    /** Whether the entries are kept in the order of their keys too, so that forgetting a prefix costs what it matches. */
    config &key_index(bool yes) { return set(wtcache_config_set_key_index, yes ? 1 : 0); }
    /** What parts the sections of a key: a star in a pattern does not match it. */
    config &separator(char separator)
    {
        return set(wtcache_config_set_separator, static_cast<std::uint8_t>(separator));
    }
    /** How many of the latest invalidations of tags are remembered. */
    config &tag_memory(std::size_t invalidations) { return set(wtcache_config_set_tag_memory, invalidations); }
    /** How many threads settle pending writes. */
    config &optimistic_threads(std::size_t threads) { return set(wtcache_config_set_optimistic_threads, threads); }
    /** How many writes may be pending at once. */
    config &optimistic_most(std::size_t writes) { return set(wtcache_config_set_optimistic_most, writes); }
    /** How much all pending writes may weigh together, in bytes. */
    config &optimistic_weight_bytes(std::uint64_t bytes) { return set(wtcache_config_set_optimistic_weight_bytes, bytes); }
    /** How long a pending write may take that says nothing itself. */
    config &optimistic_deadline(milliseconds time)
    {
        return set(wtcache_config_set_optimistic_deadline_ms, detail::count(time));
    }
    /** Turns the auditor on: one entry, picked at random, is asked for again in each interval of this length. */
    config &audit_every(milliseconds interval)
    {
        return set(wtcache_config_set_audit_every_ms, detail::count(interval));
    }
    /**
     * The caches that are opened with this tell `listener`, a callable that takes a `const event &`, what happens to their keys; it takes the
     * place of one that was set before. It is called from any thread, from many at once, so it has to be callable as const. It may call the
     * cache: see wtcache_listener_call. What it throws is lost.
     */
    template <class F> config &listener(F listener)
    {
        auto kept = std::make_unique<F>(std::move(listener));
        return note(wtcache_config_set_listener, detail::listen<F>, kept.release(), detail::destroy<F>);
    }
    /**
     * The caches that are opened with this ask `weigh` what an entry weighs, in place of its bytes: a callable that takes the key and a
     * `std::optional<std::string_view>`, which is nothing for a remembered absence, and gives a `std::uint64_t`. It takes the place of one
     * that was set before. It is called once an entry, from any thread, from many at once, so it has to be callable as const, and must not
     * call the cache. One that throws, or gives 2^32 or more, has the entry not kept.
     */
    template <class F> config &weigher(F weigh)
    {
        auto kept = std::make_unique<F>(std::move(weigh));
        return note(wtcache_config_set_weigher, detail::weigh<F>, kept.release(), detail::destroy<F>);
    }
    /**
     * The caches that are opened with this ask `extract` which tags a record has, beside those of its source: a callable that takes key and value,
     * and an `extract &`, to which it adds them. Otherwise as `weigher`.
     */
    template <class F> config &tags(F extract)
    {
        auto kept = std::make_unique<F>(std::move(extract));
        return note(wtcache_config_set_tags, detail::find<F>, kept.release(), detail::destroy<F>);
    }
    /**
     * The caches that are opened with this have an index of this name: `cache::find` finds their records by the values that `extract` adds, a
     * callable as that of `tags`. A name that is given twice is wrong.
     */
    template <class F> config &index(std::string_view name, F extract)
    {
        auto kept = std::make_unique<F>(std::move(extract));
        return note(wtcache_config_add_index, name.data(), name.size(), detail::find<F>, kept.release(), detail::destroy<F>);
    }
    /** The URL of an HTTP origin's records, with `{id}` where the key goes. */
    config &http_url(std::string_view url)
    {
        return note(wtcache_config_set_http_url, url.data(), url.size());
    }
    /** Adds a header to every request to the HTTP origin. */
    config &http_header(std::string_view name, std::string_view value)
    {
        return note(wtcache_config_add_http_header, name.data(), name.size(), value.data(), value.size());
    }
    wtcache_config *native() const noexcept { return handle_.get(); }

private:
    friend class cache;

    /** What is wrong with it so far. */
    result<void> check() const
    {
        if (failed_.native() != nullptr) return failed_;
        // Without a handle the library would take the defaults. An empty object sets nothing, but of that it is refused.
        if (handle_.get() == nullptr) return detail::done(wtcache_config_load_json, handle_.get(), "{}", std::size_t{2});
        return {};
    }

    template <class Call, class... With> config &note(Call call, With... with)
    {
        detail::note(failed_, call, handle_.get(), with...);
        return *this;
    }

    template <class Setter, class Member> config &set(Setter setter, Member member)
    {
        return note(setter, member);
    }

    detail::owned<wtcache_config, wtcache_config_free> handle_;
    error failed_;
};

/**
 * What a source, or a step of a transaction, is asked. A step has no key. Valid until the method or the callable returns: what is needed
 * later is to be copied.
 */
class request {
public:
    explicit request(const wtcache_request *asked) noexcept : asked_(asked) {}

    std::string_view key() const noexcept { return detail::bytes(asked_->key, asked_->key_len); }
    /** Of a put: the value. */
    std::string_view value() const noexcept { return detail::bytes(asked_->value, asked_->value_len); }
    /** How long the source may still take. After that nothing may be sent to the origin any more. */
    milliseconds remaining() const noexcept { return detail::time(asked_->remaining_ms); }
    /** Of a read: the version of the record that is here, expired or not good enough. If it is still the origin's, answer `unchanged`. */
    std::optional<std::string_view> version() const noexcept
    {
        if (asked_->version == nullptr) return std::nullopt;
        return detail::bytes(asked_->version, asked_->version_len);
    }
    /** Of a write or a step: the key under which every send of it is to go out, 32 hexadecimal digits. */
    std::string_view idempotency_key() const noexcept
    {
        return asked_->idempotency_key == nullptr ? std::string_view() : std::string_view(asked_->idempotency_key);
    }
    /** Of a write: to be applied only if the origin has no such record. */
    bool if_absent() const noexcept { return asked_->condition == WTCACHE_CONDITION_ABSENT; }
    /** Of a write: to be applied only if the origin has a record. */
    bool if_exists() const noexcept { return asked_->condition == WTCACHE_CONDITION_EXISTS; }
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
    /** How long it may be served, or `expired_from_start`; nothing: as the cache is configured. Zero: it is not kept. */
    std::optional<milliseconds> lifetime{};
    /** By what it is forgotten together with others: see `cache::invalidate_tag`. */
    std::vector<std::string_view> tags{};
    /** For how long after its lifetime it may be served while it is refreshed; nothing: as the cache is configured. Zero: not at all. */
    std::optional<milliseconds> while_revalidate{};
    /** The same: for how long it may be served in place of an error. */
    std::optional<milliseconds> if_error{};
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
    /** The exception that it comes of, if any: `error::thrown` gives it to whoever called the cache. */
    std::exception_ptr thrown{};
};

namespace detail {

/** A record as the library has it. It refers to what it was made of. */
class native_record {
public:
    explicit native_record(const record &about) : tags_(native_list(about.tags))
    {
        said.struct_size = sizeof said;
        if (about.version) {
            // A version may be empty, and still is one.
            said.version = about.version->empty() ? "" : about.version->data();
            said.version_len = about.version->size();
        }
        said.lifetime_ms = lifetime(about.lifetime);
        said.tags = tags_.data();
        said.tag_count = tags_.size();
        said.while_revalidate_ms = window(about.while_revalidate);
        said.if_error_ms = window(about.if_error);
    }
    native_record(const native_record &) = delete;
    native_record &operator=(const native_record &) = delete;

    wtcache_record said{};

private:
    std::vector<wtcache_bytes> tags_;
};

/** A failure as the library has it, to be handed over once. It refers to what it was made of. */
inline wtcache_failure native(const failure &why) noexcept
{
    wtcache_failure said{};
    said.struct_size = sizeof said;
    said.verdict = static_cast<std::int32_t>(why.verdict);
    said.retryable = why.retryable ? 1 : 0;
    said.code = why.code;
    said.retry_after_ms = count(why.retry_after);
    said.message = why.message.data();
    said.message_len = why.message.size();
    if (why.thrown) {
        // Without memory the failure is told without it.
        said.cause = new (std::nothrow) std::exception_ptr(why.thrown);
        said.release_cause = destroy<std::exception_ptr>;
    }
    return said;
}

#if WTCACHE_HPP_EXCEPTIONS
/** Within a handler of an exception: the failure that it comes to. `unnamed` is the message where it has none. */
inline failure caught(std::string_view unnamed) noexcept
{
    failure why;
    why.thrown = std::current_exception();
    try {
        throw;
    } catch (const std::exception &thrown) {
        // It lives as long as the pointer to it.
        why.message = thrown.what();
    } catch (...) {
        why.message = unnamed;
    }
    return why;
}

/** Within a handler of an exception: that is the answer. One that was given before it was thrown stands. */
inline void fail(wtcache_reply *answer, std::string_view unnamed) noexcept
{
    const wtcache_failure said = native(caught(unnamed));
    wtcache_reply_error(answer, &said, nullptr);
}
#endif

} // namespace detail

/**
 * One call of a source that waits for its answer. It is to be answered once, from any thread, inside the source's method or later; it may be
 * copied, and need not be freed. A second or a late answer is refused with `status::answered`.
 */
class reply {
public:
    explicit reply(wtcache_reply *handle) noexcept : handle_(handle) {}

    /**
     * A read: this is the record. A put: it was applied, and this is what stands at the origin now. A step: it was applied, and this is for
     * `transacted::answer`. The bytes are copied.
     */
    result<void> value(std::string_view bytes, const record &about = {}) const
    {
        const detail::native_record said(about);
        return detail::done(wtcache_reply_value, handle_, bytes.data(), bytes.size(), &said.said);
    }
    /** The same, of bytes that need not be copied: the string is kept as long as they are needed. */
    result<void> owned_value(std::string bytes, const record &about = {}) const
    {
        const detail::native_record said(about);
        auto kept = std::make_unique<std::string>(std::move(bytes));
        const std::string_view shown = *kept;
        return detail::done(wtcache_reply_value_owned, handle_, shown.data(), shown.size(),
                            detail::destroy<std::string>, kept.release(), &said.said);
    }
    /** A read: the origin says that there is no such record. */
    result<void> absent() const
    {
        return detail::done(wtcache_reply_absent, handle_);
    }
    /** The same, and for how long that holds; it is remembered for no longer than the configuration says. Zero: not at all. */
    result<void> absent_for(milliseconds lifetime) const
    {
        return detail::done(wtcache_reply_absent_for, handle_, detail::lifetime(lifetime));
    }
    /** A read whose request has a version: that is still the origin's. Of `about` only the lifetime and the windows count. */
    result<void> unchanged(const record &about = {}) const
    {
        const detail::native_record said(about);
        return detail::done(wtcache_reply_unchanged, handle_, &said.said);
    }
    /**
     * The same, and it lives as long as it was given last time, less the age of the origin's answer, with the windows that it was given. Where
     * the configuration said how long, it says so again.
     */
    result<void> unchanged_as_before(milliseconds age = milliseconds(0)) const
    {
        wtcache_record said{};
        said.struct_size = sizeof said;
        said.lifetime_ms = WTCACHE_LIFETIME_AS_BEFORE;
        said.age_ms = detail::count(age);
        return detail::done(wtcache_reply_unchanged, handle_, &said);
    }
    /** A put, a remove or a step: it was applied. What a put's record is now, the next read asks. */
    result<void> applied() const
    {
        return detail::done(wtcache_reply_applied, handle_);
    }
    /** A put: it was applied, and the origin keeps exactly what it was sent. Believed of a source that declares that. */
    result<void> stored(const record &about = {}) const
    {
        const detail::native_record said(about);
        return detail::done(wtcache_reply_stored, handle_, &said.said);
    }
    /** Any call: it failed. */
    result<void> fail(const failure &why) const
    {
        const wtcache_failure said = detail::native(why);
        return detail::done(wtcache_reply_error, handle_, &said);
    }
    /** Within `put` or `remove`, and in its thread: the existing record, the resident one, else asked of the source now. */
    result<std::optional<wtcache::value>> existing() const
    {
        return detail::found(wtcache_reply_existing, handle_);
    }
    /** A write: an earlier send of it ended without a definite answer, so that it may still land. */
    result<void> leaves_stray() const
    {
        return detail::done(wtcache_reply_leaves_stray, handle_);
    }
    /** A step, before its answer: this now stands at the origin as the record of a key. It counts if the step is applied. */
    result<void> wrote(std::string_view key, std::string_view bytes, const record &about = {}) const
    {
        return wrote(key, WTCACHE_WROTE_VALUE, bytes, about);
    }
    /** The same: exactly what the transaction shows of the key. */
    result<void> wrote_as_sent(std::string_view key) const { return wrote(key, WTCACHE_WROTE_AS_SENT, {}, {}); }
    /** The same: no record. */
    result<void> wrote_removed(std::string_view key) const { return wrote(key, WTCACHE_WROTE_DELETED, {}, {}); }
    /** The same: something that is not known; the next read asks. */
    result<void> wrote_unseen(std::string_view key) const { return wrote(key, WTCACHE_WROTE_UNSEEN, {}, {}); }
    wtcache_reply *native() const noexcept { return handle_; }

private:
    result<void> wrote(std::string_view key, std::int32_t what, std::string_view bytes, const record &about) const
    {
        const detail::native_record said(about);
        const wtcache_record *record = what == WTCACHE_WROTE_VALUE ? &said.said : nullptr;
        return detail::done(wtcache_reply_wrote, handle_, key.data(), key.size(), what, bytes.data(), bytes.size(),
                            record);
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
 * fails, a write is in doubt, with `what()` in the message, and `error::thrown` is the exception itself.
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
    try {
        (called.*Method)(request(asked), answer);
    } catch (...) {
        fail(handle, "the source threw");
    }
#else
    (called.*Method)(request(asked), answer);
#endif
}

} // namespace detail

/** What becomes of a record: what an update or a merge says. */
class change {
public:
    /** This becomes the record. */
    static change put(std::string value)
    {
        change said(what::put);
        said.text_ = std::move(value);
        return said;
    }
    /** The record goes. */
    static change remove() { return change(what::remove); }
    /** Everything stays as it is; nothing is sent. */
    static change keep() { return change(what::keep); }
    /** The update is not to be made: its call fails with `status::rejected` and this. The verdict says nothing. A merge cannot refuse. */
    static change refuse(const failure &why)
    {
        change said(what::refuse);
        said.text_ = std::string(why.message);
        said.why_ = why;
        return said;
    }

    /** Says it to the library, within a callback. */
    void say(wtcache_change *to) const noexcept
    {
        if (what_ == what::put) wtcache_change_put(to, text_.data(), text_.size(), nullptr);
        else if (what_ == what::remove) wtcache_change_delete(to, nullptr);
        else if (what_ == what::keep) wtcache_change_keep(to, nullptr);
        else refuse(to, why_, text_);
    }

private:
    enum class what { put, remove, keep, refuse };

    explicit change(what said) noexcept : what_(said) {}

    static void refuse(wtcache_change *to, const failure &why, std::string_view message) noexcept
    {
        wtcache_failure said = detail::native(why);
        said.message = message.data();
        said.message_len = message.size();
        wtcache_change_refuse(to, &said, nullptr);
    }

    what what_;
    std::string text_;
    failure why_;
};

namespace detail {

/** What the library calls in place of an update. */
template <class F> void update(void *user_data, const wtcache_entry *existing, wtcache_change *said) noexcept
{
    F &called = *static_cast<F *>(user_data);
    const std::optional<value> there = shared(existing);
#if WTCACHE_HPP_EXCEPTIONS
    try {
        const change wanted = called(there);
        wanted.say(said);
    } catch (...) {
        const wtcache_failure why = native(caught("the update threw"));
        wtcache_change_refuse(said, &why, nullptr);
    }
#else
    const change wanted = called(there);
    wanted.say(said);
#endif
}

/** What the library calls in place of a merge. One that throws says nothing. */
template <class F> void merge(void *user_data, const void *start, std::size_t len, wtcache_change *said) noexcept
{
    const F &called = *static_cast<const F *>(user_data);
    const std::optional<std::string_view> there = start == nullptr ? std::nullopt : std::optional(bytes(start, len));
#if WTCACHE_HPP_EXCEPTIONS
    try {
        const change wanted = called(there);
        wanted.say(said);
    } catch (...) {
    }
#else
    const change wanted = called(there);
    wanted.say(said);
#endif
}

} // namespace detail

/** What is known of a write in doubt. */
enum class settlement : std::int32_t {
    /** Nothing yet: it may still be under way. */
    none = WTCACHE_SETTLEMENT_NONE,
    /** It was applied, and nothing of it is under way any more. */
    applied = WTCACHE_SETTLEMENT_APPLIED,
    /** It was not applied, and never will be. */
    not_applied = WTCACHE_SETTLEMENT_NOT_APPLIED,
    /** Nothing of it is under way any more. Whether it was applied is not known. */
    over = WTCACHE_SETTLEMENT_OVER,
};

/** A write in doubt. It keeps the value that was to be written, but not the cache. It may be used from any thread. */
class doubt {
public:
    explicit doubt(wtcache_doubt *handle) noexcept : handle_(handle) {}

    /** The key of the write. Valid as long as this; so below. */
    std::string_view key() const noexcept
    {
        std::size_t len = 0;
        const void *start = wtcache_doubt_key(handle_.get(), &len);
        return detail::bytes(start, len);
    }
    /** The key under which every send of the write goes out: 32 hexadecimal digits. */
    std::string_view idempotency_key() const noexcept
    {
        const char *text = wtcache_doubt_idempotency_key(handle_.get());
        return text == nullptr ? std::string_view() : std::string_view(text);
    }
    /** When the doubt of the key ends by itself; zero where it has ended. */
    milliseconds remaining() const noexcept { return detail::time(wtcache_doubt_remaining_ms(handle_.get())); }
    /** What became of the write. Never waits. */
    settlement outcome() const noexcept { return settlement(wtcache_doubt_outcome(handle_.get())); }
    /** Waits until the doubt of the key has ended: `ok` where it has, else `pending`. */
    result<wtcache::status> wait(milliseconds timeout) const
    {
        return detail::told(wtcache_doubt_wait, handle_.get(), detail::count(timeout));
    }
    /**
     * Sends the very same write again, in a turn of its key. Where the source declares `honours_idempotency` the answer settles the doubt;
     * elsewhere it is one more send, which may be applied on top of the first, and the doubt goes on. `rejected`: the write was not applied.
     * After any other error it is in doubt as before; `state` says that the program sent the write itself.
     */
    result<std::optional<value>> replay(const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::found(wtcache_doubt_replay, handle_.get(), &call.options);
    }
    /**
     * Says what became of this write, on the word of a program that knows. `ok` where the key is in doubt no more, `pending` where other
     * writes of it still are.
     */
    result<wtcache::status> settle(settlement as) const
    {
        return detail::told(wtcache_doubt_settle, handle_.get(), static_cast<std::int32_t>(as));
    }
    const wtcache_doubt *native() const noexcept { return handle_.get(); }

private:
    detail::owned<wtcache_doubt, wtcache_doubt_free> handle_;
};

inline std::optional<wtcache::doubt> error::doubt() const noexcept
{
    wtcache_doubt *handle = wtcache_error_doubt(handle_.get());
    if (handle == nullptr) return std::nullopt;
    return wtcache::doubt(handle);
}

/** A key in doubt, as it stood when it was listed. */
struct key_in_doubt {
    std::string key;
    /** For how long it had been in doubt. */
    milliseconds since;
    /** When the doubt ends by itself, unless another write of the key ends in doubt. */
    milliseconds remaining;
    /** How many sends may still land. */
    std::uint64_t unsettled;
};

/** What forgetting many keys came to. */
struct forgotten {
    /** How many resident entries went, expired ones and remembered absences included. */
    std::uint64_t entries;
    /** It had to look at entries that it did not mean. */
    bool scanned;
};

/**
 * A key's turn, held by a program that writes to the origin itself: `send`, then one of `commit`, `commit_unseen`, `commit_removed`, `reject`
 * and `in_doubt`; before the send, `abort`. It belongs to one thread at a time. Until its end or its deadline no other write of the key goes
 * out. One that goes before it was sent is aborted; one that was sent and has not ended leaves the key in doubt.
 *
 * A call out of this order is refused with `status::state`, and nothing was done. After its deadline a permit that was sent is in doubt; what
 * `commit` and its like, or `reject`, say then counts as the late answer.
 */
class permit {
public:
    explicit permit(wtcache_permit *handle) noexcept : handle_(handle) {}

    /** Before the send: the existing record, the resident one, else asked of the source now. The turn is held on, whatever this gives. */
    result<std::optional<value>> existing()
    {
        return detail::found(wtcache_permit_existing, handle_.get());
    }
    /** Before the send: how long the permit still holds; else zero. */
    milliseconds remaining() { return detail::time(wtcache_permit_remaining_ms(handle_.get())); }
    /** The key under which every send of the write should go out: 32 hexadecimal digits. Valid as long as the permit. */
    std::string_view idempotency_key()
    {
        const char *text = wtcache_permit_idempotency_key(handle_.get());
        return text == nullptr ? std::string_view() : std::string_view(text);
    }
    /** Gives the turn back before the send. Nothing has happened. */
    result<void> abort()
    {
        return detail::done(wtcache_permit_abort, handle_.get());
    }
    /**
     * Says that the write leaves now: before its first byte does. After an error nothing may be sent: after `deadline` and `closed` the
     * permit has ended, and nothing has happened.
     */
    result<void> send()
    {
        return detail::done(wtcache_permit_send, handle_.get());
    }
    /** The origin applied a put, and this is the record as it now stands there. */
    result<std::optional<value>> commit(std::string_view bytes, const record &about = {})
    {
        const detail::native_record said(about);
        return detail::found(wtcache_permit_commit, handle_.get(), bytes.data(), bytes.size(), &said.said);
    }
    /** The origin applied a put, and its record is not known. */
    result<void> commit_unseen()
    {
        return detail::done(wtcache_permit_commit_unseen, handle_.get());
    }
    /** The origin applied a delete. */
    result<void> commit_removed()
    {
        return detail::done(wtcache_permit_commit_deleted, handle_.get());
    }
    /** The origin certainly did not apply the write. `stale_base`: that proves that what is cached is not its record any more. */
    result<void> reject(bool stale_base = false)
    {
        return detail::done(wtcache_permit_reject, handle_.get(), stale_base ? 1 : 0);
    }
    /** Nobody can know whether the origin applied the write. Only the program can send it again. The verdict of `why` says nothing. */
    result<doubt> in_doubt(const failure &why)
    {
        const wtcache_failure said = detail::native(why);
        return detail::made<doubt, wtcache_doubt>(wtcache_permit_in_doubt, handle_.get(), &said);
    }
    wtcache_permit *native() const noexcept { return handle_.get(); }

private:
    detail::owned<wtcache_permit, wtcache_permit_free> handle_;
};

/** How a pending write stands. */
struct waited {
    /** `ok`: it was applied. `pending`: it has not ended. */
    wtcache::status status;
    /** The record that the origin confirmed, where it was seen. */
    std::optional<wtcache::value> value;
};

/** A pending write: shown, and not settled yet, or how it ended. It may be used from any thread; the write goes on without it. */
class pending {
public:
    explicit pending(wtcache_pending *handle) noexcept : handle_(handle) {}

    /** Waits for the outcome: an error says why it was not applied, whoever asks and how often. */
    result<waited> wait(milliseconds timeout) const
    {
        wtcache_entry *entry = nullptr;
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_pending_wait(handle_.get(), detail::count(timeout), &entry, &err);
        if (status < 0) return error(err);
        waited so{wtcache::status(status), std::nullopt};
        if (entry != nullptr) so.value.emplace(entry);
        return so;
    }
    /** Whether its outcome is there. Never waits. */
    bool has_ended() const noexcept { return wtcache_pending_has_ended(handle_.get()) != 0; }
    /** Takes it back while it waits for its turn: `ok`, and it ends with `status::cancelled`. Else `too_late`. */
    result<wtcache::status> cancel() const
    {
        return detail::told(wtcache_pending_cancel, handle_.get());
    }
    const wtcache_pending *native() const noexcept { return handle_.get(); }

private:
    detail::owned<wtcache_pending, wtcache_pending_free> handle_;
};

namespace detail {

/** What a step does. Of one that was moved from it is 0, which the library refuses. */
class doing {
public:
    explicit doing(std::int32_t what) noexcept : what_(what) {}
    doing(doing &&from) noexcept : what_(std::exchange(from.what_, 0)) {}
    doing &operator=(doing &&from) noexcept
    {
        what_ = std::exchange(from.what_, 0);
        return *this;
    }
    ~doing() = default;
    operator std::int32_t() const noexcept { return what_; }

private:
    std::int32_t what_;
};

/** A callable that a step calls. */
struct action {
    action() = default;
    action(const action &) = delete;
    action &operator=(const action &) = delete;
    virtual ~action() = default;
    virtual void run(const request &asked, reply answer) = 0;
};

template <class F> struct action_of final : action {
    explicit action_of(F does) : does_(std::move(does)) {}
    void run(const request &asked, reply answer) override { does_(asked, answer); }
    F does_;
};

/** What a step calls, and what undoes it. */
struct actions {
    std::unique_ptr<action> does, undoes;
};

/** What the library calls in place of one of them. */
template <std::unique_ptr<action> actions::*Which>
void act(void *user_data, const wtcache_request *asked, wtcache_reply *handle) noexcept
{
    const reply answer(handle);
    action &called = *(static_cast<actions *>(user_data)->*Which);
#if WTCACHE_HPP_EXCEPTIONS
    try {
        called.run(request(asked), answer);
    } catch (...) {
        fail(handle, "the step threw");
    }
#else
    called.run(request(asked), answer);
#endif
}

} // namespace detail

/**
 * A step of a transaction, and how it is undone where a later one is refused. What a step calls takes a `const request &` and a `reply`, and
 * answers as a source does: with applied or a value, after `wrote` and its like, or with a failure, at once or later. An exception that
 * leaves it says that nobody can know.
 */
class step {
public:
    /** The cache's source puts a value. */
    static step put(std::string key, std::string value)
    {
        step made(WTCACHE_DO_PUT);
        made.key_ = std::move(key);
        made.value_ = std::move(value);
        return made;
    }
    /** The cache's source removes a record. */
    static step remove(std::string key)
    {
        step made(WTCACHE_DO_DELETE);
        made.key_ = std::move(key);
        return made;
    }
    /** A callable of the program's. */
    template <class F> static step call(F does)
    {
        step made(WTCACHE_DO_CALL);
        made.actions_ = std::make_unique<detail::actions>();
        made.actions_->does = std::make_unique<detail::action_of<F>>(std::move(does));
        return made;
    }

    /** Of a callable: the keys that it writes, or undoing it does. */
    step writes(std::vector<std::string> keys) &&
    {
        writes_ = std::move(keys);
        return std::move(*this);
    }
    /** It is undone by a put of the cache's source. */
    step undo_put(std::string key, std::string value) &&
    {
        undo_ = WTCACHE_DO_PUT;
        undo_key_ = std::move(key);
        undo_value_ = std::move(value);
        return std::move(*this);
    }
    /** It is undone by a remove of the cache's source. */
    step undo_remove(std::string key) &&
    {
        undo_ = WTCACHE_DO_DELETE;
        undo_key_ = std::move(key);
        return std::move(*this);
    }
    /** It is undone by a callable, as above. */
    template <class F> step undo_call(F undoes) &&
    {
        undo_ = WTCACHE_DO_CALL;
        if (actions_ == nullptr) actions_ = std::make_unique<detail::actions>();
        actions_->undoes = std::make_unique<detail::action_of<F>>(std::move(undoes));
        return std::move(*this);
    }
    /** It leaves nothing that would have to be undone. */
    step undo_nothing() &&
    {
        undo_ = WTCACHE_DO_NOTHING;
        return std::move(*this);
    }
    /** How long it may take; the transaction's deadline holds as well. */
    step deadline(milliseconds time) &&
    {
        deadline_ = time;
        return std::move(*this);
    }
    /** It is undone also where the outcome of a step, this one or a later one, is not known. */
    step undo_if_unknown() &&
    {
        undo_if_unknown_ = true;
        return std::move(*this);
    }

private:
    friend class transaction;

    explicit step(std::int32_t does) noexcept : does_(does) {}

    result<void> add_to(wtcache_transaction *transaction) &&
    {
        const std::vector<wtcache_bytes> writes = detail::native_list(writes_);
        wtcache_step said{};
        said.struct_size = sizeof said;
        said.does = does_;
        said.undo = undo_;
        said.key = detail::native(key_);
        said.value = detail::native(value_);
        said.writes = writes.data();
        said.write_count = writes.size();
        said.undo_key = detail::native(undo_key_);
        said.undo_value = detail::native(undo_value_);
        if (does_ == WTCACHE_DO_CALL) said.call = detail::act<&detail::actions::does>;
        if (undo_ == WTCACHE_DO_CALL) said.undo_call = detail::act<&detail::actions::undoes>;
        said.deadline_ms = detail::deadline(deadline_);
        said.undo_if_unknown = undo_if_unknown_ ? 1 : 0;
        said.destroy = detail::destroy<detail::actions>;
        said.user_data = actions_.release();
        return detail::done(wtcache_transaction_step, transaction, &said);
    }

    detail::doing does_;
    std::int32_t undo_ = WTCACHE_DO_UNDECLARED;
    std::string key_, value_, undo_key_, undo_value_;
    std::vector<std::string> writes_;
    std::unique_ptr<detail::actions> actions_;
    std::optional<milliseconds> deadline_;
    bool undo_if_unknown_ = false;
};

/** How a transaction ended. */
enum class ending : std::int32_t {
    /** All steps were applied. */
    committed = WTCACHE_COMMITTED,
    /** Nothing of it stands. */
    rolled_back = WTCACHE_ROLLED_BACK,
    /** A step was refused after others had been applied that are not all undone. */
    partial = WTCACHE_PARTIAL,
    /** The outcome of a step is not known. */
    in_doubt = WTCACHE_IN_DOUBT,
};

/** What came of a step, or of undoing it. */
enum class step_end : std::int32_t {
    not_run = WTCACHE_STEP_NOT_RUN,
    applied = WTCACHE_STEP_APPLIED,
    /** It certainly was not applied, and will not be. */
    rejected = WTCACHE_STEP_REJECTED,
    /** It was not begun: the error says why. */
    not_sent = WTCACHE_STEP_NOT_SENT,
    unknown = WTCACHE_STEP_UNKNOWN,
};

/**
 * What came of a transaction: true where it committed. Else there is an error, which to look at is undefined in one that committed. Steps
 * count from zero. What it shows is valid as long as one of its copies.
 */
class [[nodiscard]] transacted {
public:
    /** The handle is not NULL. */
    explicit transacted(std::shared_ptr<const wtcache_transacted> handle)
        : handle_(std::move(handle)), error_(detail::shared(handle_, wtcache_transacted_error(handle_.get())))
    {
    }
    /** Of one that was not run. */
    explicit transacted(wtcache::error why) : error_(std::move(why)) {}

    explicit operator bool() const noexcept { return !error_.has_value(); }
    wtcache::status status() const noexcept { return error_ ? error_->status() : wtcache::status::ok; }
    /** Why it did not commit. */
    const wtcache::error &error() const noexcept { return *error_; }
    /** How it ended; `rolled_back`, too, where it was not run. */
    ending end() const noexcept { return handle_ ? ending(wtcache_transacted_end(handle_.get())) : ending::rolled_back; }
    /** How many steps it tells of; none where it was not run. */
    std::size_t steps() const noexcept { return wtcache_transacted_step_count(handle_.get()); }
    step_end step(std::size_t at) const noexcept { return step_end(wtcache_transacted_step(handle_.get(), at)); }
    /** Why a step was not applied, or is not known to be. */
    std::optional<wtcache::error> step_error(std::size_t at) const noexcept
    {
        return detail::shared(handle_, wtcache_transacted_step_error(handle_.get(), at));
    }
    /** What came of undoing a step. */
    step_end undo(std::size_t at) const noexcept { return step_end(wtcache_transacted_undo(handle_.get(), at)); }
    std::optional<wtcache::error> undo_error(std::size_t at) const noexcept
    {
        return detail::shared(handle_, wtcache_transacted_undo_error(handle_.get(), at));
    }
    /** Of a put by the source that was applied: the record of its key, as it was confirmed last. */
    std::optional<value> confirmed(std::size_t at) const noexcept
    {
        return detail::shared(wtcache_transacted_entry(handle_.get(), at));
    }
    /** Of a callable that answered with a value: that. */
    std::optional<std::string_view> answer(std::size_t at) const noexcept
    {
        std::size_t len = 0;
        const void *start = wtcache_transacted_value(handle_.get(), at, &len);
        if (start == nullptr) return std::nullopt;
        return detail::bytes(start, len);
    }
    /** The keys that it left in doubt. */
    std::vector<doubt> doubts() const
    {
        std::vector<doubt> all;
        const std::size_t count = wtcache_transacted_doubt_count(handle_.get());
        for (std::size_t at = 0; at < count; at++) all.emplace_back(wtcache_transacted_doubt(handle_.get(), at));
        return all;
    }

#if WTCACHE_HPP_EXCEPTIONS
    /** Throws `wtcache::exception` if it did not commit. */
    void or_throw() const
    {
        if (error_) throw wtcache::exception(*error_);
    }
#endif

private:
    std::shared_ptr<const wtcache_transacted> handle_;
    std::optional<wtcache::error> error_;
};

/** A transaction that runs in the background, or how it ended. It may be used from any thread; the transaction runs on without it. */
class started {
public:
    explicit started(wtcache_started *handle) noexcept : handle_(handle) {}

    /** Waits for the end; nothing where it has not ended by then. An error says that it could not be waited for. */
    result<std::optional<transacted>> wait(milliseconds timeout) const
    {
        wtcache_transacted *ended = nullptr;
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_started_wait(handle_.get(), detail::count(timeout), &ended, &err);
        if (status < 0 && ended == nullptr) return error(err);
        wtcache_error_free(err); // The result has it, too.
        if (ended == nullptr) return std::optional<transacted>();
        return std::optional(transacted(std::shared_ptr<const wtcache_transacted>(ended, wtcache_transacted_free)));
    }
    /** Whether it has ended. Never waits. */
    bool has_ended() const noexcept { return wtcache_started_has_ended(handle_.get()) != 0; }
    const wtcache_started *native() const noexcept { return handle_.get(); }

private:
    detail::owned<wtcache_started, wtcache_started_free> handle_;
};

/**
 * A transaction that is described, until it is run or started, once. It belongs to one thread at a time. What is wrong with the description,
 * `run` and its like say; then it was not run.
 */
class transaction {
public:
    explicit transaction(wtcache_transaction *handle) noexcept : handle_(handle) {}

    /** A value is to be shown as the record of a key. Where no step writes the key, it is kept as it is once all steps were applied. */
    transaction &update(std::string_view key, std::string_view bytes, std::optional<milliseconds> lifetime = std::nullopt)
    {
        return note(wtcache_transaction_update, key.data(), key.size(), bytes.data(), bytes.size(),
                    detail::lifetime(lifetime));
    }
    /** There is to be no record of a key: as `update`. */
    transaction &remove(std::string_view key)
    {
        return note(wtcache_transaction_remove, key.data(), key.size());
    }
    /** Adds a step: they are run in the order in which they were added. */
    transaction &step(wtcache::step adds)
    {
        auto added = std::move(adds).add_to(handle_.get());
        if (!added && failed_.native() == nullptr) failed_ = added.error();
        return *this;
    }
    /** Once the steps have been applied, or may have been, all keys that begin with `prefix` are forgotten. */
    transaction &invalidate_prefix(std::string_view prefix)
    {
        return note(wtcache_transaction_invalidate_prefix, prefix.data(), prefix.size());
    }
    /** The same for all keys that match `pattern`. */
    transaction &invalidate_pattern(std::string_view pattern)
    {
        return note(wtcache_transaction_invalidate_pattern, pattern.data(), pattern.size());
    }
    /** The same for all records that have `tag`. */
    transaction &invalidate_tag(std::string_view tag)
    {
        return note(wtcache_transaction_invalidate_tag, tag.data(), tag.size());
    }
    /** How long it may take, the wait for the turns of its keys included. */
    transaction &deadline(milliseconds time)
    {
        return note(wtcache_transaction_set_deadline_ms, detail::count(time));
    }
    /** How long undoing may take beyond the deadline. */
    transaction &undo_deadline(milliseconds time)
    {
        return note(wtcache_transaction_set_undo_deadline_ms, detail::count(time));
    }

    /**
     * Runs it in this thread. Where a step is refused, those before it are undone, the last one first, as far as they say how. An error says
     * how it ended: `partial`, `in_doubt`, or else that nothing of it stands.
     */
    transacted run()
    {
        if (failed_.native() != nullptr) return transacted(failed_);
        wtcache_transacted *ended = nullptr;
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_transaction_run(handle_.get(), &ended, &err);
        if (status < 0 && ended == nullptr) return transacted(error(err));
        wtcache_error_free(err); // The result has it, too.
        return transacted(std::shared_ptr<const wtcache_transacted>(ended, wtcache_transacted_free));
    }
    /** Shows its updates at once, all in one step, and runs it in the background. After an error nothing has changed. */
    result<started> start()
    {
        if (failed_.native() != nullptr) return failed_;
        return detail::made<started, wtcache_started>(wtcache_transaction_start, handle_.get());
    }
    wtcache_transaction *native() const noexcept { return handle_.get(); }

private:
    friend class queue;

    template <class Call, class... With> transaction &note(Call call, With... with)
    {
        detail::note(failed_, call, handle_.get(), with...);
        return *this;
    }

    detail::owned<wtcache_transaction, wtcache_transaction_free> handle_;
    error failed_;
};

/** What came of a record that the origin made; see wtcache_create. What it gives views of is valid until it goes. */
class created {
public:
    explicit created(wtcache_created *handle) : handle_(handle, wtcache_created_free) {}
    explicit created(std::shared_ptr<const wtcache_created> handle) noexcept : handle_(std::move(handle)) {}

    /** The key that the origin gave it; nothing: it was made, and its key could not be told from the answer. */
    std::optional<std::string_view> key() const noexcept
    {
        std::size_t len = 0;
        const void *start = wtcache_created_key(handle_.get(), &len);
        if (start == nullptr) return std::nullopt;
        return detail::bytes(start, len);
    }
    /** The record that the origin confirmed; nothing where it was not seen. */
    std::optional<value> entry() const noexcept { return detail::shared(wtcache_created_entry(handle_.get())); }
    /** Whether the cache serves it now; else the next read asks the origin. */
    bool is_kept() const noexcept { return wtcache_created_is_kept(handle_.get()) != 0; }

private:
    std::shared_ptr<const wtcache_created> handle_;
};

/** What closing a cache left unfinished, by key. */
class close_report {
public:
    explicit close_report(wtcache_close_report *handle) noexcept : handle_(handle) {}

    /** Keys with writes that were sent and had not ended. */
    std::vector<std::string> unfinished() const { return keys(WTCACHE_CLOSE_UNFINISHED); }
    /** Keys of which nobody knows whether their last writes were, or will be, applied. */
    std::vector<std::string> in_doubt() const { return keys(WTCACHE_CLOSE_IN_DOUBT); }
    /** Keys of pending writes that were not sent and were rolled back. */
    std::vector<std::string> rolled_back() const { return keys(WTCACHE_CLOSE_ROLLED_BACK); }

private:
    std::vector<std::string> keys(std::int32_t which) const
    {
        std::vector<std::string> keys(wtcache_close_report_count(handle_.get(), which));
        for (std::size_t at = 0; at < keys.size(); at++) {
            std::size_t len = 0;
            const void *key = wtcache_close_report_key(handle_.get(), which, at, &len);
            keys[at] = std::string(detail::bytes(key, len));
        }
        return keys;
    }

    detail::owned<wtcache_close_report, wtcache_close_report_free> handle_;
};

/** What an index knows of a value. */
struct found {
    /** The resident records that have it, in no order. */
    std::vector<value> entries;
    /** How many resident records have it that may no longer be served. */
    std::size_t expired;
};

/** What an origin's list has for a query. */
struct listed {
    /** The records, in the origin's order. */
    std::vector<value> entries;
    /** How many members of the answer are not among them: see wtcache_list. */
    std::size_t wrong;
    /** The answer is one page of several, and not the last. */
    bool has_next_page;
    /** Whether the entries are all that the origin has for the query. */
    bool is_complete() const noexcept { return wrong == 0 && !has_next_page; }
};

namespace detail {

/** The entries of a list's results, which stay. */
inline std::vector<value> entries_of(const wtcache_results *results)
{
    std::vector<value> entries;
    const std::size_t count = wtcache_results_count(results);
    entries.reserve(count);
    for (std::size_t at = 0; at < count; at++) {
        if (auto entry = shared(wtcache_results_entry(results, at))) entries.push_back(std::move(*entry));
    }
    return entries;
}

} // namespace detail

/** How many bytes `cache::get_into` found. */
struct copied {
    /** `ok`: they were copied. `not_found`: there is no such record. `too_small`: nothing was copied. */
    wtcache::status status;
    /** The value's length. */
    std::size_t len;
};

/**
 * A cache. All but its assignment and its end may be called from many threads at once. When the last handle goes, the cache does, once the
 * calls on it have ended; nobody waits for them.
 *
 * Reads fail with `source`, where the origin gave no record and did not say that there is none; `deadline`; `overloaded`, where too many
 * wait; `too_large`; from inside a callback `reentrant`. Nothing has changed then.
 *
 * Writes fail with `rejected` or `conflict`, where source or origin refused them; before they were sent, with `deadline`, `overloaded`,
 * `held_back`, `too_large`, and from inside a callback `reentrant` or `busy`. All of that says that it was not applied, and never will be.
 * After `in_doubt` nobody can know.
 */
class cache {
public:
    explicit cache(wtcache_cache *handle) noexcept : handle_(handle) {}

    /** Opens a cache over the HTTP origin that `config` names. After `config`, the message names the member. */
    static result<cache> open(const config &config)
    {
        if (auto fine = config.check(); !fine) return fine.error();
        wtcache_cache *handle = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_open(config.native(), &handle, &err) < 0) return error(err);
        return cache(handle);
    }
    /**
     * Opens a cache over a source of the program's own, which goes after its last call ended, in whichever thread that was; at once if
     * opening fails. What `source::declares` throws goes through.
     */
    static result<cache> open(const config &config, std::unique_ptr<source> source)
    {
        if (auto fine = config.check(); !fine) return fine.error();
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
            described.destroy = detail::destroy<wtcache::source>;
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
        const detail::native_call call(options);
        return detail::found(wtcache_get, handle_.get(), key.data(), key.size(), &call.options);
    }
    /** The same, copied into a buffer, if it is long enough; else the buffer is as it was. */
    result<copied> get_into(std::string_view key, void *buffer, std::size_t buffer_len,
                            const call_options &options = {}) const
    {
        const detail::native_call call(options);
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
        return detail::found(wtcache_peek, handle_.get(), key.data(), key.size());
    }
    /**
     * The records of many keys, an answer for each. What is resident is taken in one step. The deadline is that of the whole call. An error
     * of the call itself says that none was read; what became of each key, its answer says.
     */
    result<answers> get_many(const std::vector<std::string_view> &keys, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        const std::vector<wtcache_bytes> list = detail::native_list(keys);
        return detail::many(wtcache_get_many, handle_.get(), list.data(), list.size(), &call.options);
    }
    /** Writes many records, one after the other, an answer for each. It is no transaction: one that fails stops none of the others. */
    result<answers> put_many(const std::vector<std::pair<std::string_view, std::string_view>> &records,
                             const call_options &options = {}) const
    {
        const detail::native_call call(options);
        std::vector<wtcache_bytes> keys, values;
        keys.reserve(records.size());
        values.reserve(records.size());
        for (const auto &[key, bytes] : records) {
            keys.push_back(detail::native(key));
            values.push_back(detail::native(bytes));
        }
        return detail::many(wtcache_put_many, handle_.get(), keys.data(), values.data(), keys.size(), &call.options);
    }
    /** Writes to the origin, and keeps what it confirmed, which is given; nothing: applied, and not seen. Errors: see above. */
    result<std::optional<value>> put(std::string_view key, std::string_view bytes,
                                     const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::found(wtcache_put, handle_.get(), key.data(), key.size(), bytes.data(), bytes.size(),
                             &call.options);
    }
    /**
     * Has the origin make a record whose key it names itself, and keeps it under that key. Errors: as `put`; but of one in doubt no key is known, and
     * `error::doubt` gives nothing.
     */
    result<created> create(std::string_view bytes, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::made<created, wtcache_created>(wtcache_create, handle_.get(), bytes.data(), bytes.size(),
                                                      &call.options);
    }
    /**
     * Sends a JSON merge patch (RFC 7396) to the HTTP origin, which merges it, and keeps the record that it answers with, which is given; nothing:
     * applied, and not seen. See wtcache_patch. Errors: as `put`; `status::argument` over a source of the program's own. One in doubt cannot be
     * sent again, only settled or waited for.
     */
    result<std::optional<value>> patch(std::string_view key, std::string_view merge_patch,
                                       const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::found(wtcache_patch, handle_.get(), key.data(), key.size(), merge_patch.data(), merge_patch.size(),
                             &call.options);
    }
    /** Removes the record at the origin and here. What the origin does not have counts as removed. Errors: as `put`. */
    result<void> remove(std::string_view key, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::done(wtcache_delete, handle_.get(), key.data(), key.size(), &call.options);
    }
    /**
     * As `put`, if what is expected holds of the existing record; else `status::unmet`, with `error::existing`, and it was not sent. Where
     * none is resident, the origin is asked first. It is checked at the origin, too, if the source declares `honours_preconditions`.
     */
    result<std::optional<value>> put_if(std::string_view key, std::string_view bytes, const expect &expected,
                                        const call_options &options = {}) const
    {
        const detail::native_call call(options);
        const wtcache_expect native = expected.native();
        return detail::found(wtcache_put_if, handle_.get(), key.data(), key.size(), bytes.data(), bytes.size(),
                             &native, &call.options);
    }
    /** As `remove`, if what is expected holds of the existing record: see `put_if`. */
    result<void> remove_if(std::string_view key, const expect &expected, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        const wtcache_expect native = expected.native();
        return detail::done(wtcache_delete_if, handle_.get(), key.data(), key.size(), &native, &call.options);
    }
    /**
     * Reads the record of a key, has `update` say what becomes of it, and writes that, all in one turn: between writers of this process no
     * update is lost. `update` takes a `const std::optional<value> &` and gives a `change`; it is called once at most, in this thread. An
     * exception that leaves it refuses: nothing was sent, and `error::thrown` has it. Gives what `put` gives, or the record that is kept.
     */
    template <class F>
    result<std::optional<value>> update(std::string_view key, F update, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::found(wtcache_update, handle_.get(), key.data(), key.size(), detail::update<F>, &update,
                             &call.options);
    }
    /** Forgets what is held of a key; the origin is not asked. */
    result<void> invalidate(std::string_view key) const
    {
        return detail::done(wtcache_invalidate, handle_.get(), key.data(), key.size());
    }
    /**
     * The resident records that have a value in the index of that name: see wtcache_find. It is no list of what the origin has. Never waits;
     * `argument` where no index has that name.
     */
    result<found> find(std::string_view index, std::string_view bytes) const
    {
        found there{};
        wtcache_results *results = nullptr;
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_find(handle_.get(), index.data(), index.size(), bytes.data(), bytes.size(),
                                                 &results, &there.expired, &err);
        if (status < 0) return error(err);
        const detail::owned<wtcache_results, wtcache_results_free> freed(results);
        const std::size_t count = wtcache_results_count(results);
        there.entries.reserve(count);
        for (std::size_t at = 0; at < count; at++) {
            if (auto entry = detail::shared(wtcache_results_entry(results, at))) there.entries.push_back(std::move(*entry));
        }
        return there;
    }
    /**
     * The records of the HTTP origin's list for a query, as it stands in a URL, which are kept as what loads bring: see wtcache_list. Of the options,
     * only the deadline counts. `argument` where the cache has a source of the program's own or no `http.list`.
     */
    result<listed> list(std::string_view query, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        listed there{};
        wtcache_results *results = nullptr;
        std::int32_t has_next_page = 0;
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_list(handle_.get(), query.data(), query.size(), &call.options, &results,
                                                 &there.wrong, &has_next_page, &err);
        if (status < 0) return error(err);
        const detail::owned<wtcache_results, wtcache_results_free> freed(results);
        there.has_next_page = has_next_page != 0;
        there.entries = detail::entries_of(results);
        return there;
    }
    /** Forgets all keys that begin with `prefix`; with an empty one, all there are. */
    result<forgotten> invalidate_prefix(std::string_view prefix) const
    {
        return forgets(wtcache_invalidate_prefix, prefix);
    }
    /** Forgets all keys that match `pattern`: see wtcache_invalidate_pattern. */
    result<forgotten> invalidate_pattern(std::string_view pattern) const
    {
        return forgets(wtcache_invalidate_pattern, pattern);
    }
    /** Forgets all records that have `tag`: see `record::tags`. */
    result<forgotten> invalidate_tag(std::string_view tag) const { return forgets(wtcache_invalidate_tag, tag); }
    /**
     * Ends the doubt of a key, on the word of a program that knows that none of its writes in doubt can land any more: `as` says what became
     * of them all. `ok`, or `not_found` where the key is not in doubt.
     */
    result<wtcache::status> settle(std::string_view key, settlement as) const
    {
        return detail::told(wtcache_settle, handle_.get(), key.data(), key.size(), static_cast<std::int32_t>(as));
    }
    /** Lists the keys in doubt, `most` of them at most, in no order. */
    result<std::vector<key_in_doubt>> list_doubts(std::size_t most = SIZE_MAX) const
    {
        wtcache_doubt_list *list = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_list_doubts(handle_.get(), most, &list, &err) < 0) return error(err);
        const detail::owned<wtcache_doubt_list, wtcache_doubt_list_free> freed(list);
        std::vector<key_in_doubt> keys;
        const std::size_t count = wtcache_doubt_list_count(list);
        keys.reserve(count);
        for (std::size_t at = 0; at < count; at++) {
            wtcache_key_in_doubt one{};
            one.struct_size = sizeof one;
            if (wtcache_doubt_list_get(list, at, &one, &err) < 0) return error(err);
            keys.push_back({std::string(detail::bytes(one.key, one.key_len)), detail::time(one.since_ms),
                            detail::time(one.remaining_ms), one.unsettled});
        }
        return keys;
    }
    /**
     * Takes the turn of a key, for a program that writes to the origin itself. The deadline of the call is the permit's. After an error, as
     * of a write that was not sent, nothing has happened.
     */
    result<permit> prepare(std::string_view key, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::made<permit, wtcache_permit>(wtcache_prepare, handle_.get(), key.data(), key.size(),
                                                    &call.options);
    }
    /**
     * Shows a value as the record of a key at once, marked pending, and writes it to the origin in the background. Never waits. After an
     * error it was not admitted, and nothing has changed: `overloaded` says that too much is pending. How it ends, `pending::wait` says; if it
     * is refused, it is as if it had never been.
     */
    result<pending> put_optimistic(std::string_view key, std::string_view bytes, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::made<pending, wtcache_pending>(wtcache_put_optimistic, handle_.get(), key.data(), key.size(),
                                                      bytes.data(), bytes.size(), &call.options);
    }
    /** Shows at once that there is no record of a key, and removes it at the origin in the background: as `put_optimistic`. */
    result<pending> remove_optimistic(std::string_view key, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        return detail::made<pending, wtcache_pending>(wtcache_delete_optimistic, handle_.get(), key.data(),
                                                      key.size(), &call.options);
    }
    /**
     * Shows at once what `merge` makes of the record of a key, and writes in the background what it makes of what the origin confirmed. It
     * takes a `std::optional<std::string_view>` and gives a `change` that does not refuse. It has to be pure, and callable as const: it is
     * called again whenever what is beneath it has changed, from any thread. One that throws counts for nothing in a read, and ends its write
     * unsent, with `status::panic`; what it threw is lost.
     */
    template <class F>
    result<pending> merge_optimistic(std::string_view key, F merge, const call_options &options = {}) const
    {
        const detail::native_call call(options);
        auto kept = std::make_unique<F>(std::move(merge));
        return detail::made<pending, wtcache_pending>(wtcache_merge_optimistic, handle_.get(), key.data(), key.size(),
                                                      detail::merge<F>, kept.release(), detail::destroy<F>, &call.options);
    }
    /** Begins to describe a transaction. Nothing happens before it is run or started. */
    result<wtcache::transaction> transaction() const
    {
        return detail::made<wtcache::transaction, wtcache_transaction>(wtcache_transaction_new, handle_.get());
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
    /** What the HTTP origin was asked, and how it fared, as a JSON object: see wtcache_get_origin_json. */
    result<std::string> origin_json() const
    {
        char *text = nullptr;
        std::size_t len = 0;
        wtcache_error *err = nullptr;
        if (wtcache_get_origin_json(handle_.get(), &text, &len, &err) < 0) return error(err);
        const detail::owned<char, wtcache_string_free> freed(text);
        return std::string(text, len);
    }
    /** Where the feed that the cache follows stands, and what it did; nothing where it follows none. */
    result<std::optional<wtcache_feed>> feed() const
    {
        wtcache_feed told{};
        told.struct_size = sizeof told;
        wtcache_error *err = nullptr;
        const std::int32_t status = wtcache_get_feed(handle_.get(), &told, &err);
        if (status < 0) return error(err);
        if (status == WTCACHE_NOT_FOUND) return std::optional<wtcache_feed>();
        return std::optional(told);
    }
    /** The same as a JSON object, with why it was cut off last; nothing where it follows none. */
    result<std::optional<std::string>> feed_json() const
    {
        char *json = nullptr;
        std::size_t len = 0;
        wtcache_error *err = nullptr;
        if (wtcache_get_feed_json(handle_.get(), &json, &len, &err) < 0) return error(err);
        const detail::owned<char, wtcache_string_free> freed(json);
        if (json == nullptr) return std::optional<std::string>();
        return std::optional(std::string(json, len));
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
    /** Waits until no write is out or pending: `ok` where that is so, else `pending`. Calls go on as before. */
    result<wtcache::status> drain(milliseconds timeout) const
    {
        return detail::told(wtcache_drain, handle_.get(), detail::count(timeout));
    }
    /**
     * Ends the cache, also for its other handles: no call begins any more, those who wait are told `closed`, and writes that were sent get up
     * to `timeout` to end. What was handed out stays valid.
     */
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
    using forgetter = std::int32_t (*)(const wtcache_cache *, const void *, std::size_t, wtcache_forgotten *, wtcache_error **);

    result<forgotten> forgets(forgetter forget, std::string_view which) const
    {
        wtcache_forgotten told{};
        told.struct_size = sizeof told;
        wtcache_error *err = nullptr;
        if (forget(handle_.get(), which.data(), which.size(), &told, &err) < 0) return error(err);
        return forgotten{told.entries, told.scanned != 0};
    }

    detail::owned<wtcache_cache, wtcache_cache_free> handle_;
};

inline std::optional<milliseconds> value::remaining(const cache &from) const noexcept
{
    const std::uint64_t time = wtcache_entry_remaining_ms(handle_.get(), from.native());
    if (time == UINT64_MAX) return std::nullopt;
    return detail::time(time);
}

inline milliseconds value::stale(const cache &from) const noexcept
{
    return detail::time(wtcache_entry_stale_ms(handle_.get(), from.native()));
}

inline milliseconds value::age(const cache &from) const noexcept
{
    return detail::time(wtcache_entry_age_ms(handle_.get(), from.native()));
}

/** What became of a call that completed in a queue. What it gives may outlive it. */
class completion {
public:
    explicit completion(wtcache_completion *handle) : handle_(handle, wtcache_completion_free) {}

    /** The number that the call was given. */
    std::uint64_t id() const noexcept { return wtcache_completion_id(handle_.get()); }
    /** The token that was given with the call. */
    void *token() const noexcept { return wtcache_completion_token(handle_.get()); }
    /** The status that the call which waits would have given. */
    wtcache::status status() const noexcept { return wtcache::status(wtcache_completion_status(handle_.get())); }
    /** Of a call for one key: the record that was read or written, or why the call failed. */
    result<std::optional<value>> answer() const noexcept
    {
        if (auto failed = failure()) return std::move(*failed);
        return detail::shared(wtcache_completion_entry(handle_.get()));
    }
    /** Of a call for many keys: its answers, or why the call failed. */
    result<wtcache::answers> answers() const
    {
        if (auto failed = failure()) return std::move(*failed);
        return detail::answers_of(handle_, wtcache_completion_results(handle_.get()));
    }
    /** Of a create: what came of it, or why no record was made. Nothing where the call was none. */
    result<std::optional<wtcache::created>> created() const
    {
        if (auto failed = failure()) return std::move(*failed);
        const wtcache_created *made = wtcache_completion_created(handle_.get());
        if (made == nullptr) return std::optional<wtcache::created>();
        return std::optional(wtcache::created(std::shared_ptr<const wtcache_created>(handle_, made)));
    }
    /** Of a list: its records, or why there are none. Empty where the call was none. */
    result<wtcache::listed> listed() const
    {
        if (auto failed = failure()) return std::move(*failed);
        wtcache::listed there{};
        std::int32_t has_next_page = 0;
        there.entries = detail::entries_of(wtcache_completion_listed(handle_.get(), &there.wrong, &has_next_page));
        there.has_next_page = has_next_page != 0;
        return there;
    }
    /** Of a transaction: what came of it. Nothing where the call was none. */
    std::optional<wtcache::transacted> transacted() const
    {
        const wtcache_transacted *ended = wtcache_completion_transacted(handle_.get());
        if (ended != nullptr) return wtcache::transacted(std::shared_ptr<const wtcache_transacted>(handle_, ended));
        if (auto failed = failure()) return wtcache::transacted(std::move(*failed));
        return std::nullopt;
    }
    const wtcache_completion *native() const noexcept { return handle_.get(); }

private:
    std::optional<error> failure() const noexcept
    {
        return detail::shared(handle_, wtcache_completion_error(handle_.get()));
    }

    std::shared_ptr<const wtcache_completion> handle_;
};

/**
 * A queue of completions, for programs with an event loop, with a few threads of its own. It may be used from any thread.
 *
 * The calls are those of `cache`, but that they never wait: each gives its number, which is never zero, and completes here, a hit at once.
 * Everything that is handed in is copied. `token` is anything of the program's, found again in the completion. After an error nothing
 * completes. Writes of one key go out in the order in which they were given.
 */
class queue {
public:
    explicit queue(wtcache_queue *handle) noexcept : handle_(handle) {}

    /** Makes a queue: `threads` calls that are no hits are under way at once; `most` may be under way or complete and not taken out. */
    static result<queue> open(std::size_t threads, std::size_t most)
    {
        return detail::made<queue, wtcache_queue>(wtcache_queue_new, threads, most);
    }

    /** The descriptor to poll: it can be read exactly while there are completions to take out. It is the queue's. */
    int descriptor() const noexcept { return wtcache_queue_descriptor(handle_.get()); }
    /** Takes a completion out; nothing where there is none now. Never waits. */
    result<std::optional<completion>> next() const
    {
        wtcache_completion *handle = nullptr;
        wtcache_error *err = nullptr;
        if (wtcache_queue_next(handle_.get(), &handle, &err) < 0) return error(err);
        if (handle == nullptr) return std::optional<completion>();
        return std::optional(completion(handle));
    }
    /** Takes a call back that has not begun: `ok`, and it completes with `status::cancelled`. Else `too_late`. */
    result<wtcache::status> cancel(std::uint64_t id) const
    {
        return detail::told(wtcache_queue_cancel, handle_.get(), id);
    }

    result<std::uint64_t> get(const cache &from, std::string_view key, const call_options &options = {},
                              void *token = nullptr) const
    {
        const detail::native_call call(options);
        return given(wtcache_get_async, handle_.get(), from.native(), key.data(), key.size(), &call.options, token);
    }
    result<std::uint64_t> get_many(const cache &from, const std::vector<std::string_view> &keys,
                                   const call_options &options = {}, void *token = nullptr) const
    {
        const detail::native_call call(options);
        const std::vector<wtcache_bytes> list = detail::native_list(keys);
        return given(wtcache_get_many_async, handle_.get(), from.native(), list.data(), list.size(), &call.options,
                     token);
    }
    result<std::uint64_t> put(const cache &to, std::string_view key, std::string_view bytes,
                              const call_options &options = {}, void *token = nullptr) const
    {
        return put(to, key, bytes, nullptr, options, token);
    }
    result<std::uint64_t> put_if(const cache &to, std::string_view key, std::string_view bytes, const expect &expected,
                                 const call_options &options = {}, void *token = nullptr) const
    {
        const wtcache_expect native = expected.native();
        return put(to, key, bytes, &native, options, token);
    }
    result<std::uint64_t> create(const cache &at, std::string_view bytes, const call_options &options = {},
                                 void *token = nullptr) const
    {
        const detail::native_call call(options);
        return given(wtcache_create_async, handle_.get(), at.native(), bytes.data(), bytes.size(), &call.options, token);
    }
    result<std::uint64_t> patch(const cache &to, std::string_view key, std::string_view merge_patch,
                                const call_options &options = {}, void *token = nullptr) const
    {
        const detail::native_call call(options);
        return given(wtcache_patch_async, handle_.get(), to.native(), key.data(), key.size(), merge_patch.data(),
                     merge_patch.size(), &call.options, token);
    }
    result<std::uint64_t> list(const cache &from, std::string_view query, const call_options &options = {},
                               void *token = nullptr) const
    {
        const detail::native_call call(options);
        return given(wtcache_list_async, handle_.get(), from.native(), query.data(), query.size(), &call.options, token);
    }
    result<std::uint64_t> remove(const cache &from, std::string_view key, const call_options &options = {},
                                 void *token = nullptr) const
    {
        return remove(from, key, nullptr, options, token);
    }
    result<std::uint64_t> remove_if(const cache &from, std::string_view key, const expect &expected,
                                    const call_options &options = {}, void *token = nullptr) const
    {
        const wtcache_expect native = expected.native();
        return remove(from, key, &native, options, token);
    }
    /** Runs a transaction, once; what it calls is called by a thread of the queue's. */
    result<std::uint64_t> run(transaction &runs, void *token = nullptr) const
    {
        if (runs.failed_.native() != nullptr) return runs.failed_;
        return given(wtcache_transaction_async, handle_.get(), runs.native(), token);
    }
    /** Completes once a pending write has ended. `pending::cancel` takes that back; `cancel` does not. */
    result<std::uint64_t> wait(const pending &write, void *token = nullptr) const
    {
        return given(wtcache_pending_async, handle_.get(), write.native(), token);
    }
    const wtcache_queue *native() const noexcept { return handle_.get(); }

private:
    result<std::uint64_t> put(const cache &to, std::string_view key, std::string_view bytes,
                              const wtcache_expect *expected, const call_options &options, void *token) const
    {
        const detail::native_call call(options);
        return given(wtcache_put_async, handle_.get(), to.native(), key.data(), key.size(), bytes.data(),
                     bytes.size(), expected, &call.options, token);
    }
    result<std::uint64_t> remove(const cache &from, std::string_view key, const wtcache_expect *expected,
                                 const call_options &options, void *token) const
    {
        const detail::native_call call(options);
        return given(wtcache_delete_async, handle_.get(), from.native(), key.data(), key.size(), expected,
                     &call.options, token);
    }

    template <class Call, class... With> static result<std::uint64_t> given(Call call, With... with)
    {
        std::uint64_t id = 0;
        wtcache_error *err = nullptr;
        if (call(with..., &id, &err) < 0) return error(err);
        return id;
    }

    detail::owned<wtcache_queue, wtcache_queue_free> handle_;
};

/** Whether the loaded library serves a program that was compiled with this header. */
inline result<void> check_abi()
{
    wtcache_error *err = nullptr;
    if (wtcache_check_abi(WTCACHE_ABI_VERSION, &err) < 0) return error(err);
    return {};
}

} // namespace with_exceptions, or without_exceptions
} // namespace wtcache

#endif // WTCACHE_HPP
