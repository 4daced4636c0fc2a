//! A fast hit for Python: a type, made in the running interpreter, whose instances answer `get` and `[]` themselves where that is a hit.
//!
//! The library links to no Python: it is handed the addresses of the functions of Python's stable ABI that it uses, by the package that
//! loaded it, and the package calls this while it is attached to the interpreter. From then on the interpreter calls the type's methods.
//!
//! Invariants: what runs attached here neither waits nor runs the program's code, for others may wait for the interpreter: a hit is a
//! `glance`, and the memory of a record is all that is dropped. All else is handed over to the instance's methods in Python, `_get` and
//! `_item`, as it was called. A cache is used only while the instance holds the object that keeps it open.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use crate::arguments::{Growing, growing};
use crate::border;
use crate::cache::wtcache_cache;

/// What the Python package hands over: the addresses of functions of Python's stable ABI, by their names there. Set `struct_size` to its
/// `sizeof`.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs, non_snake_case, reason = "they are what they are called in Python")]
pub struct wtcache_python {
    /// `sizeof(wtcache_python)`.
    pub struct_size: usize,
    /// `object.__basicsize__`.
    pub object_size: usize,
    pub Py_IncRef: *const c_void,
    pub Py_DecRef: *const c_void,
    pub PyBytes_AsStringAndSize: *const c_void,
    pub PyBytes_FromStringAndSize: *const c_void,
    pub PyDict_New: *const c_void,
    pub PyDict_SetItem: *const c_void,
    pub PyErr_Clear: *const c_void,
    pub PyLong_AsVoidPtr: *const c_void,
    pub PyObject_Call: *const c_void,
    pub PyObject_GetAttrString: *const c_void,
    pub PyObject_Type: *const c_void,
    pub PyTuple_GetItem: *const c_void,
    pub PyTuple_New: *const c_void,
    pub PyTuple_SetItem: *const c_void,
    pub PyTuple_Size: *const c_void,
    pub PyType_FromSpec: *const c_void,
    pub PyType_GetSlot: *const c_void,
    pub PyUnicode_AsUTF8AndSize: *const c_void,
}

// SAFETY: `repr(C)`, begins with its size, and integers and pointers may be zero.
unsafe impl Growing for wtcache_python {
    const NAME: &'static str = "python";
    const LEAST: usize = size_of::<Self>();
}

/// For the Python package, which calls it attached to the main interpreter of a CPython with a global lock: a new type there, as a new
/// reference, to be the base of a class of caches. NULL where something in `python` is missing, or with Python's own error set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_python_hits(python: *const wtcache_python) -> *mut c_void {
    border::quietly(ptr::null_mut(), || {
        // SAFETY: the caller keeps the rules at the header's top.
        let Ok(Ok(symbols)) = unsafe { growing(python) }.map(|known| known.all()) else { return ptr::null_mut() };
        // SAFETY: the package looked the functions up by these names.
        let Some(python) = (unsafe { Python::of(&symbols) }) else { return ptr::null_mut() };
        // There is one main interpreter in a process, so that those of an earlier call are the same.
        let python = PYTHON.get_or_init(|| python);
        let Ok(size) = c_int::try_from(python.object_size + size_of::<Body>()) else { return ptr::null_mut() };
        let mut slots = [
            Slot { slot: MP_SUBSCRIPT, function: subscript as *const c_void },
            Slot { slot: TP_DEALLOC, function: dealloc as *const c_void },
            Slot { slot: TP_METHODS, function: METHODS.0.as_ptr().cast() },
            Slot { slot: 0, function: ptr::null() },
        ];
        let (name, flags) = (c"wtcache.Hits".as_ptr(), TPFLAGS_DEFAULT | TPFLAGS_BASETYPE);
        let mut spec = Spec { name, basic_size: size, item_size: 0, flags, slots: slots.as_mut_ptr() };
        // SAFETY: the caller is attached. Slots and spec are as the stable ABI has them; what outlives the call in the type, name and
        // methods, is static.
        unsafe { (python.type_from_spec)(&raw mut spec) }.cast()
    })
}

/// An object of Python's, of which we know its address only.
#[repr(C)]
struct Object {
    _opaque: [u8; 0],
}

/// `Py_ssize_t`.
type Size = isize;

/// The functions that are used, by their types.
struct Python {
    object_size: usize,
    inc_ref: unsafe extern "C" fn(*mut Object),
    dec_ref: unsafe extern "C" fn(*mut Object),
    bytes_parts: unsafe extern "C" fn(*mut Object, *mut *mut c_char, *mut Size) -> c_int,
    bytes_new: unsafe extern "C" fn(*const c_char, Size) -> *mut Object,
    dict_new: unsafe extern "C" fn() -> *mut Object,
    dict_set: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object) -> c_int,
    clear_error: unsafe extern "C" fn(),
    as_pointer: unsafe extern "C" fn(*mut Object) -> *mut c_void,
    call: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object) -> *mut Object,
    attribute: unsafe extern "C" fn(*mut Object, *const c_char) -> *mut Object,
    type_of: unsafe extern "C" fn(*mut Object) -> *mut Object,
    tuple_get: unsafe extern "C" fn(*mut Object, Size) -> *mut Object,
    tuple_new: unsafe extern "C" fn(Size) -> *mut Object,
    tuple_set: unsafe extern "C" fn(*mut Object, Size, *mut Object) -> c_int,
    tuple_size: unsafe extern "C" fn(*mut Object) -> Size,
    type_from_spec: unsafe extern "C" fn(*mut Spec) -> *mut Object,
    type_slot: unsafe extern "C" fn(*mut Object, c_int) -> *mut c_void,
    str_parts: unsafe extern "C" fn(*mut Object, *mut Size) -> *const c_char,
}

static PYTHON: OnceLock<Python> = OnceLock::new();

impl Python {
    /// `None` where one is missing.
    ///
    /// # Safety
    /// Each address is NULL or that of the function of its name.
    unsafe fn of(symbols: &wtcache_python) -> Option<Self> {
        /// # Safety
        /// `F` is a function's type, and the address NULL or that of such a function.
        unsafe fn function<F>(address: *const c_void) -> Option<F> {
            const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
            // SAFETY: the caller's promise; a function's pointer is as large as any, and not NULL.
            (!address.is_null()).then(|| unsafe { std::mem::transmute_copy(&address) })
        }

        // What the body is put behind has to leave it aligned.
        if symbols.object_size == 0 || !symbols.object_size.is_multiple_of(align_of::<Body>()) {
            return None;
        }
        // SAFETY: the types are those of the stable ABI, and the addresses the caller's promise.
        unsafe {
            Some(Self {
                object_size: symbols.object_size,
                inc_ref: function(symbols.Py_IncRef)?,
                dec_ref: function(symbols.Py_DecRef)?,
                bytes_parts: function(symbols.PyBytes_AsStringAndSize)?,
                bytes_new: function(symbols.PyBytes_FromStringAndSize)?,
                dict_new: function(symbols.PyDict_New)?,
                dict_set: function(symbols.PyDict_SetItem)?,
                clear_error: function(symbols.PyErr_Clear)?,
                as_pointer: function(symbols.PyLong_AsVoidPtr)?,
                call: function(symbols.PyObject_Call)?,
                attribute: function(symbols.PyObject_GetAttrString)?,
                type_of: function(symbols.PyObject_Type)?,
                tuple_get: function(symbols.PyTuple_GetItem)?,
                tuple_new: function(symbols.PyTuple_New)?,
                tuple_set: function(symbols.PyTuple_SetItem)?,
                tuple_size: function(symbols.PyTuple_Size)?,
                type_from_spec: function(symbols.PyType_FromSpec)?,
                type_slot: function(symbols.PyType_GetSlot)?,
                str_parts: function(symbols.PyUnicode_AsUTF8AndSize)?,
            })
        }
    }

    /// What an instance has of ours, behind what every object has.
    ///
    /// # Safety
    /// `this` is an instance of the type.
    unsafe fn body(&self, this: *mut Object) -> *mut Body {
        // SAFETY: the type was made with room for it there.
        unsafe { this.byte_add(self.object_size).cast() }
    }

    /// The bytes of a key, for as long as the key lives; `None` if it is of another type.
    ///
    /// # Safety
    /// The thread is attached; the key outlives `'a`.
    unsafe fn key<'a>(&self, key: *mut Object, keys: Keys) -> Option<&'a [u8]> {
        let (mut start, mut len) = (ptr::null_mut(), 0);
        // SAFETY: attached; outputs are ours. Both refuse what is not of their type.
        unsafe {
            match keys {
                Keys::Str => start = (self.str_parts)(key, &raw mut len).cast_mut(),
                Keys::Bytes => _ = (self.bytes_parts)(key, &raw mut start, &raw mut len),
            }
        }
        let Some(len) = usize::try_from(len).ok().filter(|_| !start.is_null()) else {
            // The method in Python says what is wrong with it.
            // SAFETY: attached.
            unsafe { (self.clear_error)() };
            return None;
        };
        // SAFETY: not NULL, so these are the object's own bytes, which do not change.
        Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }

    /// The value of a key as a new reference, if that is a hit; NULL with Python's error set if there is no memory for it.
    ///
    /// # Safety
    /// The thread is attached; `this` is an instance of the type.
    unsafe fn hit(&self, this: *mut Object, key: *mut Object) -> Option<*mut Object> {
        // SAFETY: the caller's promise. Only `bind` changes a body, and no two threads are attached at once.
        let body = unsafe { self.body(this).read() };
        // SAFETY: NULL before `bind`; from then on the instance holds what keeps it open.
        let cache = unsafe { wtcache_cache::of(body.cache) }.ok()?;
        // SAFETY: attached, and the caller of a method keeps its arguments.
        let key = unsafe { self.key(key, body.keys) }?;
        border::quietly(None, || {
            let entry = cache.glance(key)?;
            let value = entry.value();
            // SAFETY: attached. It copies the bytes; a value's length is bounded far below.
            Some(unsafe { (self.bytes_new)(value.as_ptr().cast(), value.len() as Size) })
        })
    }

    /// Calls the instance's method of that name; gives what it gives.
    ///
    /// # Safety
    /// The thread is attached; `args` are `count` arguments, and then one for each name in `names`, a tuple or NULL.
    unsafe fn hand_over(
        &self,
        (this, method): (*mut Object, &CStr),
        args: *const *mut Object,
        count: usize,
        names: *mut Object,
    ) -> *mut Object {
        // SAFETY: attached, and the caller's promise about the arguments. What is new here is given back; a tuple takes what is put into it,
        // a dictionary does not. After a failure Python's error is set, which is what NULL says.
        unsafe {
            let function = (self.attribute)(this, method.as_ptr());
            let tuple = (self.tuple_new)(count as Size);
            let mut ready = !function.is_null() && !tuple.is_null();
            for at in 0..if ready { count } else { 0 } {
                (self.inc_ref)(*args.add(at));
                ready &= (self.tuple_set)(tuple, at as Size, *args.add(at)) == 0;
            }
            let mut named = ptr::null_mut();
            if ready && !names.is_null() {
                named = (self.dict_new)();
                ready = !named.is_null();
                for at in 0..if ready { (self.tuple_size)(names) } else { 0 } {
                    let name = (self.tuple_get)(names, at);
                    ready &= (self.dict_set)(named, name, *args.add(count + at as usize)) == 0;
                }
            }
            let given = if ready { (self.call)(function, tuple, named) } else { ptr::null_mut() };
            for made in [function, tuple, named] {
                (self.dec_ref)(made);
            }
            given
        }
    }

    /// Has an instance answer hits of a cache; `handle` is an int, its address, which keeps it open. Gives `handle`.
    ///
    /// # Safety
    /// The thread is attached; `this` is an instance of the type, and `handle` is what is said above.
    unsafe fn bind(&self, this: *mut Object, handle: *mut Object, keys: Keys) -> *mut Object {
        // SAFETY: attached. It refuses what is no int, with Python's error set.
        let cache = unsafe { (self.as_pointer)(handle) };
        if cache.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise. One reference is the instance's, the other the caller's.
        unsafe {
            (self.inc_ref)(handle);
            (self.inc_ref)(handle);
            let before = self.body(this).replace(Body { handle, cache: cache.cast(), keys });
            (self.dec_ref)(before.handle);
        }
        handle
    }
}

/// What an instance has of ours. All zero before `bind`.
#[repr(C)]
struct Body {
    /// Keeps the cache open; NULL or a reference of the instance's own.
    handle: *mut Object,
    cache: *const wtcache_cache,
    keys: Keys,
}

/// The type of a cache's keys in Python.
#[repr(usize)]
#[derive(Clone, Copy)]
enum Keys {
    Str = 0,
    Bytes = 1,
}

/// `this[key]`.
unsafe extern "C" fn subscript(this: *mut Object, key: *mut Object) -> *mut Object {
    let Some(python) = PYTHON.get() else { return ptr::null_mut() };
    // SAFETY: Python calls this attached, on an instance of the type.
    unsafe {
        let hit = python.hit(this, key);
        hit.unwrap_or_else(|| python.hand_over((this, c"_item"), &raw const key, 1, ptr::null_mut()))
    }
}

/// `this.get(key, default=None, *, …)`. What names any of the latter is handed over.
unsafe extern "C" fn get(this: *mut Object, args: *const *mut Object, count: Size, names: *mut Object) -> *mut Object {
    let Some(python) = PYTHON.get() else { return ptr::null_mut() };
    let count = count.unsigned_abs();
    // SAFETY: as in `subscript`; there are so many arguments, and those that are named come after them.
    unsafe {
        let plain = matches!(count, 1 | 2) && names.is_null();
        let hit = if plain { python.hit(this, *args) } else { None };
        hit.unwrap_or_else(|| python.hand_over((this, c"_get"), args, count, names))
    }
}

unsafe extern "C" fn bind_str(this: *mut Object, handle: *mut Object) -> *mut Object {
    let Some(python) = PYTHON.get() else { return ptr::null_mut() };
    // SAFETY: Python calls this attached, on an instance; the package hands it a handle.
    unsafe { python.bind(this, handle, Keys::Str) }
}

unsafe extern "C" fn bind_bytes(this: *mut Object, handle: *mut Object) -> *mut Object {
    let Some(python) = PYTHON.get() else { return ptr::null_mut() };
    // SAFETY: as in `bind_str`.
    unsafe { python.bind(this, handle, Keys::Bytes) }
}

/// The end of an instance. That of its handle is a method in Python, which frees the cache detached.
unsafe extern "C" fn dealloc(this: *mut Object) {
    let Some(python) = PYTHON.get() else { return };
    // SAFETY: Python calls this attached, once, for an instance that nobody refers to. `tp_free` is what every type has. An instance of a type
    // that was made holds a reference on it.
    unsafe {
        (python.dec_ref)((*python.body(this)).handle);
        let kind = (python.type_of)(this);
        let free = (python.type_slot)(kind, TP_FREE);
        let free = std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut Object)>(free);
        free(this);
        // The one that `type_of` made, and the instance's.
        (python.dec_ref)(kind);
        (python.dec_ref)(kind);
    }
}

// What follows is as the headers of the stable ABI have it: typeslots.h, object.h, methodobject.h.

const MP_SUBSCRIPT: c_int = 5;
const TP_DEALLOC: c_int = 52;
const TP_METHODS: c_int = 64;
const TP_FREE: c_int = 74;

/// `Py_TPFLAGS_HAVE_VERSION_TAG`: its methods are found by way of Python's cache.
const TPFLAGS_DEFAULT: c_uint = 1 << 18;
const TPFLAGS_BASETYPE: c_uint = 1 << 10;

const METH_KEYWORDS: c_int = 2;
const METH_O: c_int = 8;
const METH_FASTCALL: c_int = 128;

/// `PyType_Slot`.
#[repr(C)]
struct Slot {
    slot: c_int,
    function: *const c_void,
}

/// `PyType_Spec`.
#[repr(C)]
struct Spec {
    name: *const c_char,
    basic_size: c_int,
    item_size: c_int,
    flags: c_uint,
    slots: *mut Slot,
}

/// `PyMethodDef`.
#[repr(C)]
struct Method {
    name: *const c_char,
    function: *const c_void,
    flags: c_int,
    doc: *const c_char,
}

struct Methods([Method; 4]);

// SAFETY: it never changes, and points to what is static.
unsafe impl Sync for Methods {}

static METHODS: Methods = Methods([
    Method {
        name: c"get".as_ptr(),
        function: get as *const c_void,
        flags: METH_FASTCALL | METH_KEYWORDS,
        doc: c"get($self, key, default=None, *, timeout=None, confirmed=False, **wants)\n--\n\n\
            The record of `key`: from the cache, else from the origin; `default` where the origin has none."
            .as_ptr(),
    },
    Method { name: c"_bind_str".as_ptr(), function: bind_str as *const c_void, flags: METH_O, doc: ptr::null() },
    Method { name: c"_bind_bytes".as_ptr(), function: bind_bytes as *const c_void, flags: METH_O, doc: ptr::null() },
    Method { name: ptr::null(), function: ptr::null(), flags: 0, doc: ptr::null() },
]);
