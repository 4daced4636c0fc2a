//! A scripted source, whose records are kept here: it may fail, keep silent and answer twice, but what it says is so.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use wtcache_ffi::*;

use crate::checks::{self, Ended, Out, Sized, Ticket, Tickets, check_entry, give_back, slice};
use crate::input::{Answer, Inside, KEYS, Lives, Says, Size, StepInput, Tells};

/// What all threads of a run know.
#[derive(Default)]
pub(crate) struct Shared {
    tickets: Mutex<Tickets>,
    handles: Mutex<Vec<Handle>>,
    values: AtomicU32,
}

#[derive(Clone, Copy)]
pub(crate) struct Handle {
    pub(crate) cache: *mut wtcache_cache,
    pub(crate) origin: usize,
}

// SAFETY: a cache's handle may be used from any thread.
unsafe impl Send for Handle {}

impl Shared {
    pub(crate) fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().expect("no panic with it held")
    }

    pub(crate) fn handles(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.handles.lock().expect("no panic with it held")
    }

    /// A value that nobody had before.
    pub(crate) fn value(&self, key: usize) -> Vec<u8> {
        let number = self.values.fetch_add(1, Ordering::SeqCst);
        let mut value = vec![u8::try_from(key).expect("a few keys")];
        value.extend(number.to_le_bytes());
        value.resize(5 + number as usize % 9, b'.');
        value
    }

    fn ticket(&self) -> *mut c_void {
        let ticket = Arc::new(Ticket::new());
        let pointer = Arc::as_ptr(&ticket).cast_mut().cast();
        self.tickets().keep(ticket, true);
        pointer
    }

    /// A failure with a cause of its own.
    pub(crate) fn failure(&self, verdict: i32) -> wtcache_failure {
        wtcache_failure { cause: self.ticket(), release_cause: Some(give_back), ..plain_failure(verdict) }
    }
}

/// A failure without a cause.
pub(crate) fn plain_failure(verdict: i32) -> wtcache_failure {
    wtcache_failure {
        struct_size: size_of::<wtcache_failure>(),
        verdict,
        retryable: 1,
        code: 7,
        reserved: 0,
        retry_after_ms: 1,
        message: c"as the script says".as_ptr(),
        message_len: 18,
        cause: ptr::null_mut(),
        release_cause: None,
    }
}

/// What `user_data` of a source points to.
#[repr(C)]
pub(crate) struct Origin {
    ticket: Ticket,
    number: usize,
    shared: Arc<Shared>,
    versions: bool,
    honours_preconditions: bool,
    honours_idempotency: bool,
    tells: Tells,
    state: Mutex<State>,
}

impl AsRef<Ticket> for Origin {
    fn as_ref(&self) -> &Ticket {
        &self.ticket
    }
}

#[derive(Default)]
struct State {
    loads: VecDeque<Says>,
    writes: VecDeque<Says>,
    records: [Option<Vec<u8>>; KEYS.len()],
    applied: HashSet<Vec<u8>>,
    judged: [Judged; KEYS.len()],
    /// Replies that nobody gave yet.
    left: VecDeque<usize>,
}

/// What a read of a key has to give, where that is known.
#[derive(Default)]
struct Judged {
    /// How many writes and the like are under way.
    touching: u32,
    epoch: u64,
    expected: Option<Option<Vec<u8>>>,
}

impl Origin {
    pub(crate) fn new(number: usize, shared: &Arc<Shared>, declares: u8, tells: Tells) -> Arc<Self> {
        Arc::new(Self {
            ticket: Ticket::new(),
            number,
            shared: Arc::clone(shared),
            versions: declares & 1 != 0,
            honours_preconditions: declares & 2 != 0,
            honours_idempotency: declares & 4 != 0,
            tells,
            state: Mutex::default(),
        })
    }

    fn at(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic with it held")
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// What is said of the entries of its cache.
    pub(crate) fn tells(&self) -> Tells {
        self.tells
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn next_load(&self, says: Says) {
        self.at().loads.push_back(says);
    }

    pub(crate) fn next_write(&self, says: Says) {
        self.at().writes.push_back(says);
    }

    pub(crate) fn record(&self, key: usize) -> Option<Vec<u8>> {
        self.at().records[key].clone()
    }

    /// The program applied a write of its own.
    pub(crate) fn apply(&self, key: usize, record: Option<Vec<u8>>) {
        self.at().records[key] = record;
    }

    pub(crate) fn begin(&self, key: usize) {
        let judged = &mut self.at().judged[key];
        judged.touching += 1;
        judged.epoch += 1;
        judged.expected = None;
    }

    pub(crate) fn end(&self, key: usize) {
        let judged = &mut self.at().judged[key];
        judged.touching -= 1;
        judged.epoch += 1;
        judged.expected = None;
    }

    /// A write that was begun alone has been applied.
    pub(crate) fn applied(&self, key: usize, record: Option<Vec<u8>>) {
        self.end(key);
        let judged = &mut self.at().judged[key];
        if judged.touching == 0 {
            judged.expected = Some(record);
        }
    }

    pub(crate) fn epoch(&self, key: usize) -> u64 {
        self.at().judged[key].epoch
    }

    /// A read that began at that epoch gave this.
    pub(crate) fn judge(&self, key: usize, since: u64, read: Option<&[u8]>) {
        let judged = &self.at().judged[key];
        if let Some(expected) = &judged.expected
            && judged.epoch == since
        {
            assert_eq!(expected.as_deref(), read, "not what was applied last to key {key}");
        }
    }

    /// Gives an answer to a call that has probably ended.
    pub(crate) fn answer_late(&self, how: u8) {
        let Some(reply) = self.at().left.pop_front() else { return };
        let reply = ptr::without_provenance_mut(reply);
        let ended = checks::call(true, |err| match how % 3 {
            0 => answer_error(&self.shared, reply, WTCACHE_VERDICT_UNKNOWN, err),
            // SAFETY: a reply may be answered at any time.
            1 => unsafe { wtcache_reply_leaves_stray(reply, err) },
            // SAFETY: the same.
            _ => unsafe { wtcache_reply_stored(reply, ptr::null(), err) },
        });
        let status = ended.status();
        assert!([WTCACHE_OK, WTCACHE_ERR_ANSWERED, WTCACHE_ERR_ARGUMENT].contains(&status), "a late answer: {status}");
    }

    /// Calls the cache from within a callback.
    pub(crate) fn calls_from_inside(&self, inside: Inside, reply: *const wtcache_reply) {
        let handles = self.shared.handles();
        let Some(handle) = handles.iter().find(|handle| handle.origin == self.number) else { return };
        // SAFETY: it is freed by nobody while it is in the list, and the clone is ours.
        let cache = unsafe { wtcache_cache_clone(handle.cache) };
        drop(handles);
        // SAFETY: all that is handed in lives, and what is given is freed once.
        unsafe {
            match inside {
                Inside::Nothing => {}
                Inside::Get(key) => {
                    let key = key.number();
                    let (at, len) = bytes(KEYS[key]);
                    let mut entry = Out::new(true);
                    let ended = checks::call(true, |err| wtcache_get(cache, at, len, ptr::null(), entry.place(), err));
                    let entry = entry.given(ended.is_ok());
                    check_entry(entry, Some(key));
                    wtcache_entry_free(entry);
                    ended.status();
                }
                Inside::Peek(key) => {
                    let (at, len) = bytes(KEYS[key.number()]);
                    let mut entry = Out::new(true);
                    let status = checks::call(false, |err| wtcache_peek(cache, at, len, entry.place(), err)).status();
                    let entry = entry.given(status == WTCACHE_OK);
                    check_entry(entry, Some(key.number()));
                    wtcache_entry_free(entry);
                }
                Inside::Put(key) => {
                    let key = key.number();
                    let (at, len) = bytes(KEYS[key]);
                    let value = self.shared.value(key);
                    let (there, length) = bytes(&value);
                    self.begin(key);
                    let none = ptr::null_mut();
                    let put = |err| wtcache_put(cache, at, len, there, length, ptr::null(), none, err);
                    checks::call(true, put).status();
                    self.end(key);
                }
                Inside::Existing => {
                    let mut entry = Out::new(true);
                    let ended = checks::call(true, |err| wtcache_reply_existing(reply, entry.place(), err));
                    let entry = entry.given(ended.is_ok());
                    check_entry(entry, None);
                    wtcache_entry_free(entry);
                    ended.status();
                }
                Inside::Invalidate(key) => {
                    let (at, len) = bytes(KEYS[key.number()]);
                    checks::call(true, |err| wtcache_invalidate(cache, at, len, err)).status();
                }
                Inside::Stats => {
                    let mut stats =
                        wtcache_stats { struct_size: size_of::<wtcache_stats>(), ..wtcache_stats::default() };
                    let ended = checks::call(true, |err| wtcache_get_stats(cache, &raw mut stats, err));
                    assert!(ended.is_ok());
                }
                Inside::Close => {
                    let ended = checks::call(true, |err| wtcache_close(cache, 0, ptr::null_mut(), err));
                    assert!(ended.is_ok());
                }
            }
            wtcache_cache_free(cache);
        }
    }

    /// What is to be told of a record.
    fn told<'a>(
        &self,
        record: Option<&'a [u8]>,
        says: &Says,
        lifetime: Lives,
        tag: &'a wtcache_bytes,
    ) -> wtcache_record {
        let (version, version_len) = match record {
            Some(record) if self.versions => bytes(record),
            _ => (ptr::null(), 0),
        };
        wtcache_record {
            struct_size: size_of::<wtcache_record>(),
            version,
            version_len,
            lifetime_ms: lifetime.ms(),
            tags: if says.tag { ptr::from_ref(tag) } else { ptr::null() },
            tag_count: usize::from(says.tag),
            while_revalidate_ms: window(says.size >> 4),
            if_error_ms: window(says.size >> 6),
            age_ms: 0,
        }
    }

    /// Answers with a record, by one of the functions that take one; what is wrong with it is refused first.
    fn with_record(
        &self,
        record: Option<&[u8]>,
        says: &Says,
        mut answers: impl FnMut(*const wtcache_record, *mut *mut wtcache_error) -> i32,
    ) {
        let tag = wtcache_bytes { data: b"t".as_ptr().cast(), len: 1 };
        let size = size_of_struct(says.size);
        // SAFETY: a record begins with its size.
        let told = unsafe { Sized::new(self.told(record, says, says.lifetime, &tag), size) };
        let status = checks::call(says.size & 8 == 0, |err| answers(told.place(), err)).status();
        let has_window = says.size >> 4 != 0;
        let makes_sense = match says.lifetime {
            Lives::Default | Lives::For(_) => true,
            Lives::NotKept => !has_window,
            Lives::NoSuch => false,
        };
        if matches!(size, Size::Right | Size::Longer) && makes_sense {
            assert_eq!(status, WTCACHE_OK);
        } else {
            assert_eq!(status, WTCACHE_ERR_ARGUMENT);
            let told = self.told(record, &Says { size: 0, ..*says }, Lives::Default, &tag);
            assert!(checks::call(true, |err| answers(&raw const told, err)).is_ok());
        }
    }

    fn with_value(&self, reply: *mut wtcache_reply, value: &[u8], says: &Says) {
        let (at, len) = bytes(value);
        self.with_record(Some(value), says, |record, err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                if says.owned {
                    wtcache_reply_value_owned(reply, at, len, Some(give_back), self.shared.ticket(), record, err)
                } else {
                    wtcache_reply_value(reply, at, len, record, err)
                }
            }
        });
    }

    fn with_error(&self, reply: *mut wtcache_reply, verdict: i32) {
        assert!(checks::call(true, |err| answer_error(&self.shared, reply, verdict, err)).is_ok());
    }

    /// After an answer there is no other.
    fn answered(&self, reply: *mut wtcache_reply, says: &Says) {
        if says.twice {
            let again = checks::call(true, |err| answer_error(&self.shared, reply, WTCACHE_VERDICT_REJECTED, err));
            assert_eq!(again.status(), WTCACHE_ERR_ANSWERED);
        }
    }

    fn load(&self, request: &wtcache_request, reply: *mut wtcache_reply) {
        let key = number(request);
        // SAFETY: the request lives.
        let offered = unsafe { slice(request.version, request.version_len) };
        assert!(request.value.is_null() && request.condition == WTCACHE_CONDITION_NONE);
        let Some(says) = self.at().loads.pop_front() else { return self.plainly(reply, key) };
        self.calls_from_inside(says.inside, reply);
        let record = self.record(key);
        match says.answer {
            Answer::Never(_) => {
                self.at().left.push_back(reply.addr());
                return;
            }
            Answer::Rejected => self.with_error(reply, WTCACHE_VERDICT_REJECTED),
            Answer::Conflict => self.with_error(reply, WTCACHE_VERDICT_CONFLICT),
            Answer::Unknown(_) => self.with_error(reply, WTCACHE_VERDICT_UNKNOWN),
            Answer::Same if !request.version.is_null() && record.as_deref() == Some(offered) => {
                // SAFETY: all that is handed in lives.
                self.with_record(None, &says, |told, err| unsafe { wtcache_reply_unchanged(reply, told, err) });
            }
            Answer::Unsuitable => {
                // SAFETY: the reply is not answered yet.
                let ended = checks::call(true, |err| unsafe { wtcache_reply_applied(reply, err) });
                assert_eq!(ended.status(), WTCACHE_ERR_ARGUMENT);
                self.plainly(reply, key);
            }
            Answer::Record | Answer::Same | Answer::Applied => match record {
                Some(record) => self.with_value(reply, &record, &says),
                None => self.plainly(reply, key),
            },
        }
        self.answered(reply, &says);
    }

    fn plainly(&self, reply: *mut wtcache_reply, key: usize) {
        let record = self.record(key);
        let tag = wtcache_bytes { data: ptr::null(), len: 0 };
        let ended = checks::call(true, |err| match &record {
            Some(record) => {
                let (at, len) = bytes(record);
                let told = self.told(Some(record), &PLAIN, Lives::Default, &tag);
                // SAFETY: all that is handed in lives.
                unsafe { wtcache_reply_value(reply, at, len, &raw const told, err) }
            }
            // SAFETY: the reply is not answered yet.
            None => unsafe { wtcache_reply_absent(reply, err) },
        });
        assert!(ended.is_ok());
    }

    fn write(&self, request: &wtcache_request, reply: *mut wtcache_reply, puts: bool) {
        let key = number(request);
        // SAFETY: the request lives.
        let value = unsafe { slice(request.value, request.value_len) };
        let record = puts.then(|| value.to_vec());
        assert!(record.as_ref().is_none_or(|record| usize::from(record[0]) == key), "a write of another key");
        // SAFETY: it has a NUL at its end.
        let resent_by = unsafe { CStr::from_ptr(request.idempotency_key) }.to_bytes().to_vec();
        assert_eq!(resent_by.len(), 32);
        let says = self.at().writes.pop_front().unwrap_or(PLAIN);
        self.calls_from_inside(says.inside, reply);
        if says.stray {
            // SAFETY: the reply is not answered yet.
            assert!(checks::call(true, |err| unsafe { wtcache_reply_leaves_stray(reply, err) }).is_ok());
        }
        let mut state = self.at();
        let again = self.honours_idempotency && state.applied.contains(&resent_by);
        let holds = again || self.holds(request, state.records[key].as_deref());
        let lands =
            !matches!(says.answer, Answer::Rejected | Answer::Conflict | Answer::Unknown(false) | Answer::Never(false));
        if lands && holds && !again {
            state.records[key].clone_from(&record);
            state.applied.insert(resent_by);
        }
        drop(state);
        match says.answer {
            Answer::Never(_) => {
                self.at().left.push_back(reply.addr());
                return;
            }
            Answer::Unknown(_) => self.with_error(reply, WTCACHE_VERDICT_UNKNOWN),
            _ if !holds => self.with_error(reply, WTCACHE_VERDICT_CONFLICT),
            // What was applied by an earlier send is not refused now.
            Answer::Rejected if !again => self.with_error(reply, WTCACHE_VERDICT_REJECTED),
            Answer::Conflict if !again => self.with_error(reply, WTCACHE_VERDICT_CONFLICT),
            Answer::Record if puts && !again => self.with_value(reply, value, &says),
            Answer::Same if puts && !again => {
                // SAFETY: all that is handed in lives.
                self.with_record(Some(value), &says, |told, err| unsafe { wtcache_reply_stored(reply, told, err) });
            }
            answer => {
                if answer == Answer::Unsuitable {
                    // SAFETY: the reply is not answered yet.
                    let ended = checks::call(true, |err| unsafe { wtcache_reply_absent(reply, err) });
                    assert_eq!(ended.status(), WTCACHE_ERR_ARGUMENT);
                }
                // SAFETY: the reply is not answered yet.
                assert!(checks::call(true, |err| unsafe { wtcache_reply_applied(reply, err) }).is_ok());
            }
        }
        self.answered(reply, &says);
    }

    /// Whether the condition of a write holds.
    fn holds(&self, request: &wtcache_request, record: Option<&[u8]>) -> bool {
        assert!(self.honours_preconditions || request.condition == WTCACHE_CONDITION_NONE);
        match request.condition {
            WTCACHE_CONDITION_NONE => true,
            WTCACHE_CONDITION_ABSENT => record.is_none(),
            WTCACHE_CONDITION_EXISTS => record.is_some(),
            WTCACHE_CONDITION_VERSION => {
                // SAFETY: the request lives.
                let version = unsafe { slice(request.condition_version, request.condition_version_len) };
                self.versions && record == Some(version)
            }
            other => panic!("condition {other}"),
        }
    }
}

const PLAIN: Says = Says {
    answer: Answer::Same,
    twice: false,
    stray: false,
    owned: false,
    size: 0,
    lifetime: Lives::Default,
    tag: false,
    inside: Inside::Nothing,
};

/// One of a record's windows, by two bits.
fn window(number: u8) -> i64 {
    match number & 3 {
        0 => 0,
        1 => WTCACHE_WINDOW_NONE,
        other => i64::from(other),
    }
}

pub(crate) fn size_of_struct(number: u8) -> Size {
    match number % 8 {
        1 => Size::Zero,
        2 => Size::Longer,
        3 => Size::Beyond,
        _ => Size::Right,
    }
}

pub(crate) fn bytes(bytes: &[u8]) -> (*const c_void, usize) {
    (bytes.as_ptr().cast(), bytes.len())
}

fn answer_error(shared: &Shared, reply: *mut wtcache_reply, verdict: i32, err: *mut *mut wtcache_error) -> i32 {
    let failure = shared.failure(verdict);
    // SAFETY: all that is handed in lives.
    unsafe { wtcache_reply_error(reply, &raw const failure, err) }
}

fn number(request: &wtcache_request) -> usize {
    // SAFETY: the request lives.
    let asked = unsafe { slice(request.key, request.key_len) };
    KEYS.iter().position(|key| *key == asked).expect("a key that was asked for")
}

pub(crate) unsafe extern "C" fn get(
    user_data: *mut c_void,
    request: *const wtcache_request,
    reply: *mut wtcache_reply,
) {
    // SAFETY: both live.
    let (origin, request) = unsafe { (&*user_data.cast::<Origin>(), &*request) };
    let _inside = origin.ticket.enter();
    origin.load(request, reply);
}

pub(crate) unsafe extern "C" fn put(
    user_data: *mut c_void,
    request: *const wtcache_request,
    reply: *mut wtcache_reply,
) {
    // SAFETY: both live.
    let (origin, request) = unsafe { (&*user_data.cast::<Origin>(), &*request) };
    let _inside = origin.ticket.enter();
    origin.write(request, reply, true);
}

pub(crate) unsafe extern "C" fn remove(
    user_data: *mut c_void,
    request: *const wtcache_request,
    reply: *mut wtcache_reply,
) {
    // SAFETY: both live.
    let (origin, request) = unsafe { (&*user_data.cast::<Origin>(), &*request) };
    let _inside = origin.ticket.enter();
    origin.write(request, reply, false);
}

/// What a listener is told with.
#[repr(C)]
pub(crate) struct Listens {
    ticket: Ticket,
    origin: Arc<Origin>,
    inside: Inside,
    told: AtomicU32,
}

impl AsRef<Ticket> for Listens {
    fn as_ref(&self) -> &Ticket {
        &self.ticket
    }
}

impl Listens {
    pub(crate) fn new(origin: &Arc<Origin>, inside: Inside) -> Arc<Self> {
        Arc::new(Self { ticket: Ticket::new(), origin: Arc::clone(origin), inside, told: AtomicU32::new(0) })
    }
}

/// More calls from inside listeners would be most of what a run does.
const MOST_CALLS_OF_A_LISTENER: u32 = 4;

pub(crate) unsafe extern "C" fn listen(user_data: *mut c_void, event: *const wtcache_event) {
    // SAFETY: both live.
    let (listens, event) = unsafe { (&*user_data.cast::<Listens>(), &*event) };
    let _inside = listens.ticket.enter();
    assert!((WTCACHE_EVENT_RETAINED..=WTCACHE_EVENT_DIFFERS).contains(&event.kind), "event {}", event.kind);
    // SAFETY: the event lives.
    assert!(KEYS.contains(&unsafe { slice(event.key, event.key_len) }), "an event of no key");
    if listens.told.fetch_add(1, Ordering::SeqCst) < MOST_CALLS_OF_A_LISTENER {
        listens.origin.calls_from_inside(listens.inside, ptr::null());
    }
}

/// What the callbacks of a step are given.
#[repr(C)]
pub(crate) struct StepUser {
    ticket: Ticket,
    origin: Arc<Origin>,
    step: StepInput,
}

impl AsRef<Ticket> for StepUser {
    fn as_ref(&self) -> &Ticket {
        &self.ticket
    }
}

impl StepUser {
    pub(crate) fn new(origin: &Arc<Origin>, step: StepInput) -> Arc<Self> {
        Arc::new(Self { ticket: Ticket::new(), origin: Arc::clone(origin), step })
    }
}

pub(crate) unsafe extern "C" fn step(
    user_data: *mut c_void,
    request: *const wtcache_request,
    reply: *mut wtcache_reply,
) {
    // SAFETY: both live.
    let (user, request) = unsafe { (&*user_data.cast::<StepUser>(), &*request) };
    let _inside = user.ticket.enter();
    assert!(request.key.is_null() && request.value.is_null());
    let (origin, says, key) = (&user.origin, &user.step.says, user.step.key.number());
    origin.calls_from_inside(says.inside, reply);
    let wrote = i32::from(user.step.wrote % 6) - 1;
    let value = if wrote == WTCACHE_WROTE_VALUE { origin.shared.value(key) } else { Vec::new() };
    if wrote >= 0 {
        let ((at, len), (there, length)) = (bytes(KEYS[key]), bytes(&value));
        match wrote {
            WTCACHE_WROTE_VALUE => origin.apply(key, Some(value.clone())),
            WTCACHE_WROTE_DELETED => origin.apply(key, None),
            _ => {}
        }
        let status = checks::call(true, |err| {
            // SAFETY: all that is handed in lives.
            unsafe { wtcache_reply_wrote(reply, at, len, wrote, there, length, ptr::null(), err) }
        })
        .status();
        assert_eq!(status, if wrote == 4 { WTCACHE_ERR_ARGUMENT } else { WTCACHE_OK });
    }
    match says.answer {
        Answer::Never(_) => {
            origin.at().left.push_back(reply.addr());
            return;
        }
        Answer::Rejected => origin.with_error(reply, WTCACHE_VERDICT_REJECTED),
        Answer::Conflict => origin.with_error(reply, WTCACHE_VERDICT_CONFLICT),
        Answer::Unknown(_) => origin.with_error(reply, WTCACHE_VERDICT_UNKNOWN),
        Answer::Record => origin.with_value(reply, &origin.shared.value(key), says),
        Answer::Same | Answer::Applied | Answer::Unsuitable => {
            // SAFETY: the reply is not answered yet.
            let ended: Ended = checks::call(true, |err| unsafe { wtcache_reply_applied(reply, err) });
            assert!(ended.is_ok());
        }
    }
    origin.answered(reply, says);
}
