//! Scripted source, manual clock and history checker for tests of wtcache.
