//! libwtcache: the functions of `wtcache-ffi`, linked into a shared and a static library.
//!
//! They are named here so that the linker takes the crate in; rustc then exports each `no_mangle` function of it.

pub use wtcache_ffi::*;
