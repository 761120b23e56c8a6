//! What the fuzz targets in `fuzz/` call beside the library's own items. It is
//! no part of what the library promises.

pub use crate::proxy::fuzzing::{fields, path};
