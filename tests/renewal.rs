//! Upstream connections obey what changes on disk, too.
