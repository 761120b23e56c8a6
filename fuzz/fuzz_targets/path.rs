//! The one form of a path is the form of itself, has nothing left to resolve,
//! and is told from every other reading.
#![no_main]

use countersign::config::PathForm;
use countersign::inside;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    if let Some(once) = inside::path(PathForm::Normalize, path) {
        assert_eq!(
            inside::path(PathForm::Normalize, &once),
            Some(once.clone())
        );
        let target = once.split('?').next().unwrap_or_default();
        assert!(!target.contains("//") && !target.contains('\\'), "{once}");
        let mut segments = target.split('/');
        assert!(!segments.any(|one| one == "." || one == ".."), "{once}");
    }
    for form in [PathForm::Reject, PathForm::Raw] {
        // What is sent as it came is not changed.
        if let Some(settled) = inside::path(form, path) {
            assert_eq!(inside::path(form, &settled), Some(settled.clone()));
            assert!(
                !settled
                    .split('?')
                    .next()
                    .unwrap_or_default()
                    .contains("/../")
            );
        }
    }
});
