//! The names of a certificate are read, or it is refused.
#![no_main]

use countersign::identity::CertificateNames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Ok(names) = CertificateNames::read(der) {
        let texts = [names.dns(), names.uri(), names.email(), names.upn()];
        for text in texts.into_iter().flatten() {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        let again = CertificateNames::read(der).map(|again| again.subject().to_owned());
        assert_eq!(again.ok().as_deref(), Some(names.subject()));
    }
});
