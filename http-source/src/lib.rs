//! The HTTP origin adapter of wtcache.
