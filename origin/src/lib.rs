//! The sample inventory origin of wtcache, and its faults.
