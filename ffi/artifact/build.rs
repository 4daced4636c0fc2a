//! How the shared library is linked: its soname carries the number of the ABI, and it is never unloaded.

use std::path::Path;

fn main() {
    let abi = Path::new("../src/abi.rs");
    println!("cargo::rerun-if-changed={}", abi.display());
    let text = std::fs::read_to_string(abi).expect("the ABI's number stands in ffi/src/abi.rs");
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix("pub const WTCACHE_ABI_VERSION: u32 = ")?.strip_suffix(';'))
        .expect("ffi/src/abi.rs has a line with WTCACHE_ABI_VERSION");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libwtcache.so.{number}");
        // Threads of the program may still run destructors of ours after a dlclose.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
