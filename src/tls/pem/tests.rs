use std::fs;
use std::os::unix::fs::PermissionsExt;

use data_encoding::BASE64;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use tempfile::TempDir;

use super::*;

#[test]
fn certificates_are_read_whatever_stands_around_them() {
    let (first, second) = (certificate(), certificate());
    let both = first.clone() + &second;
    let forms = [
        ("as written", both.clone()),
        ("CRLF", both.replace('\n', "\r\n")),
        ("no last line end", both.trim_end().to_owned()),
        ("byte order mark", format!("\u{feff}{both}")),
        ("text before", format!("0 s:CN=test\nsubject=/CN=x\n{both}")),
        ("text between", format!("{first}\n issuer: x\n{second}")),
        (
            "parameters",
            format!("{}{both}", block("DH PARAMETERS", b"x")),
        ),
    ];
    for (what, text) in forms {
        let file = TestFile::new(text);
        for found in [
            chain(&Files::new(), &file.path),
            certificates(&Files::new(), &file.path),
        ] {
            assert_eq!(found.unwrap(), [der(&first), der(&second)], "{what}");
        }
    }
}

#[test]
fn certificate_that_the_decoder_would_pass_over_refuses_the_file() {
    let (first, second) = (certificate(), certificate());
    let forms = [
        format!("{first}  {second}"),
        format!("{first}# {second}"),
        format!(
            "{}{second}",
            first.replace("CERTIFICATE", "TRUSTED CERTIFICATE")
        ),
        format!(
            "{first}{}",
            second.replace("CERTIFICATE", "X509 CERTIFICATE")
        ),
        first.clone() + &second.replace("CERTIFICATE-", "CERTIFICATE -"),
    ];
    for text in forms {
        let file = TestFile::new(text.clone());
        for found in [
            chain(&Files::new(), &file.path),
            certificates(&Files::new(), &file.path),
        ] {
            let cause = file.cause(found);
            assert!(
                cause.contains("of its 2 certificates 1 can be read"),
                "{cause}\n{text}"
            );
        }
    }
}

#[test]
fn part_of_a_file_is_refused_unless_it_ends_between_two_blocks() {
    let (first, second) = (certificate(), certificate());
    let both = first.clone() + &second;
    // Without the line end it is whole.
    for length in first.len() + 1..both.len() - 1 {
        let file = TestFile::new(&both[..length]);
        for found in [
            chain(&Files::new(), &file.path),
            certificates(&Files::new(), &file.path),
        ] {
            let part = &both[first.len()..length];
            assert!(found.is_err(), "{part}");
        }
    }
    let file = TestFile::new(&first);
    assert_eq!(chain(&Files::new(), &file.path).unwrap(), [der(&first)]);
}

#[test]
fn private_key_of_any_kind_among_certificates_is_refused() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let labels = [
        "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
    ];
    for label in labels {
        for indent in ["", " "] {
            let text = certificate() + indent + &key.replace("PRIVATE KEY", label);
            let file = TestFile::new(text);
            let cause = file.cause(certificates(&Files::new(), &file.path));
            assert!(cause.contains("holds a private key"), "{label}: {cause}");
        }
    }
    // In a chain's file it is common.
    let file = TestFile::new(key.clone() + &certificate());
    chain(&Files::new(), &file.path).unwrap();
    private_key(&Files::new(), &file.path).unwrap();
}

#[test]
fn private_keys_are_read_in_all_their_forms() {
    let (ec, rsa) = (
        KeyPair::generate().unwrap(),
        KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
    );
    // What PKCS #8 wraps.
    let sec1 = ec.serialized_der().get(29..).unwrap();
    let pkcs1 = rsa.serialized_der().get(26..).unwrap();
    let forms = [
        ec.serialize_pem(),
        ec.serialize_pem().replace('\n', "\r\n"),
        format!("\u{feff}{}", ec.serialize_pem()),
        block("EC PRIVATE KEY", sec1),
        block("EC PARAMETERS", b"x") + &block("EC PRIVATE KEY", sec1),
        rsa.serialize_pem(),
        block("RSA PRIVATE KEY", pkcs1),
    ];
    for text in forms {
        let file = TestFile::new(text.clone());
        let key = private_key(&Files::new(), &file.path).unwrap();
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .unwrap_or_else(|e| panic!("{e}: {text}"));
    }
}

#[test]
fn encrypted_key_is_refused_with_the_command_that_decrypts_it() {
    let body = BASE64.encode(b"not to be had without a password");
    let forms = [
        format!(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n"
        ),
        format!(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{body}\n-----END RSA PRIVATE KEY-----\n"
        ),
    ];
    for text in forms {
        let file = TestFile::new(text);
        let cause = file.cause(private_key(&Files::new(), &file.path));
        for word in ["encrypted", "openssl pkey -in"] {
            assert!(cause.contains(word), "{cause}");
        }
    }
}

#[test]
fn binary_file_is_refused_with_the_command_that_converts_it() {
    let ec = KeyPair::generate().unwrap();
    let short = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let file = TestFile::new(&*der(&certificate()));
    for found in [
        chain(&Files::new(), &file.path),
        certificates(&Files::new(), &file.path),
    ] {
        let cause = file.cause(found);
        assert!(cause.contains("is DER"), "{cause}");
        assert!(cause.contains("openssl x509 -inform der -in "), "{cause}");
    }
    for key in [ec, short] {
        let file = TestFile::new(key.serialized_der());
        let cause = file.cause(private_key(&Files::new(), &file.path));
        assert!(cause.contains("openssl pkey -inform der -in "), "{cause}");
    }
}

#[test]
fn file_that_cannot_be_what_it_should_says_what_it_is() {
    let nothing = TestFile::new("");
    let text = TestFile::new("hello, world\n");
    let folder = TempDir::new().unwrap();
    let cases = [
        (nothing.path.as_path(), "is an empty file"),
        (&text.path, "holds no PEM"),
        (folder.path(), "is a directory; write the path of a file"),
        (
            Path::new("/nonexistent/x.pem"),
            "cannot be read: No such file",
        ),
    ];
    for (path, word) in cases {
        let causes = [
            chain(&Files::new(), path).unwrap_err(),
            private_key(&Files::new(), path).unwrap_err(),
        ];
        for cause in causes.map(|cause| cause.to_string()) {
            assert!(cause.contains(word), "{cause}");
            assert!(cause.starts_with(&*path.to_string_lossy()), "{cause}");
        }
    }
}

#[test]
fn file_that_this_user_may_not_read_is_refused() {
    let file = TestFile::new(certificate());
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o000)).unwrap();
    // Nothing is closed to root.
    if !rustix::process::geteuid().is_root() {
        let cause = file.cause(chain(&Files::new(), &file.path));
        assert!(
            cause.contains("cannot be read: Permission denied"),
            "{cause}"
        );
    }
}

#[test]
fn errors_never_quote_what_may_be_a_key() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let secret: String = key.lines().nth(1).unwrap().to_owned();
    let forms = [
        key.replace('\n', ""),
        key.replace('\n', " "),
        key.replace("-----END", "-----"),
        key.replace("KEY-----\n", "KEY---\n"),
        key.replace(&secret, &format!("{secret}!")),
    ];
    for text in forms {
        let file = TestFile::new(text.clone());
        let cause = file.cause(private_key(&Files::new(), &file.path));
        let numbers = format!("{:?}", secret.as_bytes());
        let numbers = numbers.trim_matches(['[', ']']);
        assert!(
            !cause.contains(&secret) && !cause.contains(numbers),
            "{cause}\n{text}"
        );
    }
}

#[test]
fn revocation_list_is_read_as_pem_and_as_der() {
    let list = [&[0x30, 0x82, 0x01, 0x00][..], &[0; 256]].concat();
    let pem = block("X509 CRL", &list);
    for content in [
        list.clone(),
        pem.clone().into_bytes(),
        format!("0 text\n{pem}").into_bytes(),
    ] {
        let file = TestFile::new(content);
        assert_eq!(
            revocation_lists(&Files::new(), &file.path).unwrap(),
            [list.clone().into()]
        );
    }
}

#[test]
fn revocation_list_that_the_decoder_would_pass_over_refuses_the_file() {
    let pem = block("X509 CRL", &[7; 99]);
    let both = format!("{pem}{pem}");
    let good = TestFile::new(format!("\u{feff}{both}"));
    let found = revocation_lists(&Files::new(), &good.path).unwrap();
    assert_eq!(found.len(), 2);
    for text in [format!("{pem}  {pem}"), format!(" {both}")] {
        let file = TestFile::new(text);
        let cause = file.cause(revocation_lists(&Files::new(), &file.path));
        assert!(cause.contains("of its 2 lists 1 can be read"), "{cause}");
    }
    for length in pem.len() + 1..both.len() - 1 {
        let file = TestFile::new(&both[..length]);
        let found = revocation_lists(&Files::new(), &file.path);
        assert!(found.is_err(), "{}", &both[pem.len()..length]);
    }
}

struct TestFile {
    path: PathBuf,
    _folder: TempDir,
}

impl TestFile {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("test.pem");
        fs::write(&path, content).unwrap();
        Self {
            path,
            _folder: folder,
        }
    }

    /// The text of an error, which names the file.
    fn cause<T: std::fmt::Debug>(&self, outcome: Result<T, PemError>) -> String {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(&*self.path.to_string_lossy()), "{text}");
        text
    }
}

fn certificate() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn block(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn device_is_refused_before_it_is_opened() {
    let path = Path::new("/dev/zero");
    let cause = certificates(&Files::new(), path).unwrap_err().to_string();
    assert!(cause.contains("no regular file"), "{cause}");
}
