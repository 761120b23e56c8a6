//! `countersign explain`: what would become of a request, and why.

mod agreement;
