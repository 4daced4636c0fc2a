//! The `wtcache` command.

fn main() {}
