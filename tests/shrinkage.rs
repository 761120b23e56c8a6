//! Trust bundles that would become much smaller, and what cannot be an anchor.
