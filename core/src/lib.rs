//! A write-through cache with a two-phase write contract.
