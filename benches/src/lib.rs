//! Benches of wtcache.
