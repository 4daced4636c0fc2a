//! The number of the ABI, and the check of it. The artifact's build script reads the number from this file for the soname.

use crate::arguments::Refused;
use crate::border;
use crate::error::wtcache_error;
use crate::status::{WTCACHE_ERR_ABI, WTCACHE_OK};

/// The number of this ABI. It changes when a program compiled against an older header could no longer run; what is
/// only added leaves it as it is. It is also the number in the library's soname.
pub const WTCACHE_ABI_VERSION: u32 = 1;

/// The ABI of the library that is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn wtcache_abi_version() -> u32 {
    WTCACHE_ABI_VERSION
}

/// Whether the loaded library serves a program that was compiled with `compiled`: pass `WTCACHE_ABI_VERSION`.
///
/// Gives `WTCACHE_OK` or `WTCACHE_ERR_ABI`; then nothing else of the library may be called but `wtcache_error_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_check_abi(compiled: u32, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            if compiled == WTCACHE_ABI_VERSION {
                return Ok(WTCACHE_OK);
            }
            let message =
                format!("compiled for ABI {compiled} of wtcache, and the library has ABI {WTCACHE_ABI_VERSION}");
            Err(Refused::new(WTCACHE_ERR_ABI, message).into())
        })
    }
}
