//! Decides what a caller may do, and names the rule that said so.
