//! Every text is a config or a list of problems, and each problem says something.
#![no_main]

use std::path::Path;

use countersign::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let draft = config::parse(text, Path::new("/etc/countersign/config.toml"));
    if let Err(problems) = draft.finish(Vec::new()) {
        assert!(problems.to_string().contains("config.toml"), "{problems}");
    }
});
