//! Another static library in Rust, which a program may have beside libwtcache: it has a standard library of its own, and panics.

/// 5, by way of an allocation and of a panic that is caught.
#[unsafe(no_mangle)]
pub extern "C" fn beside() -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| std::hint::black_box(Vec::<i32>::new())[0]);
    caught.map_or_else(|_| std::hint::black_box(vec![2, 3]).iter().sum(), |_| 0)
}
