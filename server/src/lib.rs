//! The REST front of wtcache and its command line.
