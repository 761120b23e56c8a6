//! What the fuzz targets in `fuzz/` and the benchmarks in `benches/parts` call
//! beside the library's own items. It is no part of what the library promises.

pub use crate::listener::inside::FrameWatch;
pub use crate::proxy::inside::{
    fields, other_readings, path, request_head, response_head, route, settled,
};
