//! Reads TLS versions, cipher suites and key exchange groups, and sees that they go together.

use super::model::{CipherSuite, KeyExchange, Located, TlsVersion, TlsVersions};
use super::problem::Problem;
use super::section::{Field, Read, Section};

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

const SUITES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", CipherSuite::Tls13Aes256GcmSha384),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::Tls13Aes128GcmSha256),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::Tls13Chacha20Poly1305Sha256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::EcdheEcdsaAes256GcmSha384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::EcdheEcdsaAes128GcmSha256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::EcdheRsaAes256GcmSha384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::EcdheRsaAes128GcmSha256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::EcdheRsaChacha20Poly1305Sha256,
    ),
];

/// Other names of the same suites, which say the version.
const SUITE_ALIASES: [(&str, CipherSuite); 3] = [
    (
        "TLS13_AES_256_GCM_SHA384",
        CipherSuite::Tls13Aes256GcmSha384,
    ),
    (
        "TLS13_AES_128_GCM_SHA256",
        CipherSuite::Tls13Aes128GcmSha256,
    ),
    (
        "TLS13_CHACHA20_POLY1305_SHA256",
        CipherSuite::Tls13Chacha20Poly1305Sha256,
    ),
];

const GROUPS: [(&str, KeyExchange); 6] = [
    ("X25519MLKEM768", KeyExchange::X25519MlKem768),
    ("SECP256R1MLKEM768", KeyExchange::Secp256r1MlKem768),
    ("MLKEM768", KeyExchange::MlKem768),
    ("X25519", KeyExchange::X25519),
    ("secp256r1", KeyExchange::Secp256r1),
    ("secp384r1", KeyExchange::Secp384r1),
];

/// Something that works with some TLS versions only.
pub(super) trait Algorithm: Copy + PartialEq + 'static {
    /// The IANA names.
    const NAMES: &'static [(&'static str, Self)];

    /// Other names that are accepted.
    const ALIASES: &'static [(&'static str, Self)];

    /// Whether it can be used with `version`.
    fn works_with(self, version: TlsVersion) -> bool;

    /// One that can be used with `version`.
    fn for_version(version: TlsVersion) -> Self;
}

impl Algorithm for CipherSuite {
    const NAMES: &'static [(&'static str, Self)] = &SUITES;
    const ALIASES: &'static [(&'static str, Self)] = &SUITE_ALIASES;

    fn works_with(self, version: TlsVersion) -> bool {
        self.version() == version
    }

    fn for_version(version: TlsVersion) -> Self {
        match version {
            TlsVersion::Tls12 => Self::EcdheEcdsaAes128GcmSha256,
            TlsVersion::Tls13 => Self::Tls13Aes128GcmSha256,
        }
    }
}

impl Algorithm for KeyExchange {
    const NAMES: &'static [(&'static str, Self)] = &GROUPS;
    const ALIASES: &'static [(&'static str, Self)] = &[];

    fn works_with(self, version: TlsVersion) -> bool {
        version == TlsVersion::Tls13 || !self.is_post_quantum()
    }

    fn for_version(_: TlsVersion) -> Self {
        Self::X25519
    }
}

impl TlsVersion {
    /// The number, such as `1.3`.
    pub fn number(self) -> &'static str {
        name_of(self, &VERSIONS)
    }
}

impl CipherSuite {
    /// Its IANA name.
    pub fn name(self) -> &'static str {
        name_of(self, &SUITES)
    }

    /// The one TLS version that it belongs to.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Tls13Aes256GcmSha384
            | Self::Tls13Aes128GcmSha256
            | Self::Tls13Chacha20Poly1305Sha256 => TlsVersion::Tls13,
            Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheEcdsaAes128GcmSha256
            | Self::EcdheEcdsaChacha20Poly1305Sha256
            | Self::EcdheRsaAes256GcmSha384
            | Self::EcdheRsaAes128GcmSha256
            | Self::EcdheRsaChacha20Poly1305Sha256 => TlsVersion::Tls12,
        }
    }
}

impl KeyExchange {
    /// Its IANA name.
    pub fn name(self) -> &'static str {
        name_of(self, &GROUPS)
    }

    /// Whether it has an ML-KEM part, which only TLS 1.3 can carry.
    pub fn is_post_quantum(self) -> bool {
        match self {
            Self::X25519MlKem768 | Self::Secp256r1MlKem768 | Self::MlKem768 => true,
            Self::X25519 | Self::Secp256r1 | Self::Secp384r1 => false,
        }
    }
}

impl TlsVersions {
    /// The versions in the range.
    fn each(self) -> impl Iterator<Item = TlsVersion> {
        let known = VERSIONS.into_iter().map(|(_, version)| version);
        known.filter(move |version| (self.min..=self.max).contains(version))
    }
}

/// Reads `min_version` alone, up to TLS 1.3.
pub(super) fn versions_from(section: &mut Section<'_>) -> Read<TlsVersions> {
    let min = section.defaulted("min_version", TlsVersion::Tls12, version);
    Ok(TlsVersions {
        min: min?,
        max: TlsVersion::Tls13,
    })
}

/// Reads `min_version` and `max_version`.
pub(super) fn versions(section: &mut Section<'_>) -> Read<TlsVersions> {
    let min = section.defaulted("min_version", TlsVersion::Tls12, version);
    let field = section.field("max_version");
    let max = field.as_ref().map_or(Ok(TlsVersion::Tls13), version);
    let (min, max) = (min?, max?);
    match field {
        Some(field) if min > max => Err(field.refuse(
            Problem::new(format!(
                "\"{}\" is below min_version, which is \"{}\"",
                max.number(),
                min.number()
            ))
            .causes("every handshake would fail")
            .remedy(format!("write max_version = \"{}\"", min.number())),
        )),
        _ => Ok(TlsVersions { min, max }),
    }
}

fn version(field: &Field<'_>) -> Read<TlsVersion> {
    if let Some(number) = field.value().as_float() {
        return Err(field.mismatch("a string", Some(format!("write \"{}\"", number.as_str()))));
    }
    let text = field.text()?;
    if ["1.0", "1.1", "SSLv3"].contains(&text) {
        let problem = Problem::new(format!("\"{text}\" is not supported"))
            .causes("TLS 1.0 and 1.1 are broken (RFC 8996)")
            .remedy("write \"1.2\"");
        return Err(field.refuse(problem));
    }
    field.choice(&VERSIONS)
}

/// Reads a list of algorithms that must fit `versions`; none if the key is not there.
pub(super) fn algorithms<A: Algorithm>(
    section: &mut Section<'_>,
    key: &'static str,
    versions: Read<TlsVersions>,
) -> Read<Vec<Located<A>>> {
    let Some(field) = section.field(key) else {
        return Ok(Vec::new());
    };
    let list = field.list(|member| Ok((member.clone(), algorithm::<A>(member)?)))?;
    fit(&field, &list, versions?)?;
    Ok(list
        .into_iter()
        .map(|(field, algorithm)| field.located(algorithm))
        .collect())
}

fn algorithm<A: Algorithm>(field: &Field<'_>) -> Read<A> {
    let text = field.value().as_str();
    let alias = A::ALIASES.iter().find(|(alias, _)| Some(*alias) == text);
    alias.map_or_else(|| field.choice(A::NAMES), |(_, algorithm)| Ok(*algorithm))
}

fn fit<A: Algorithm>(
    field: &Field<'_>,
    list: &[(Field<'_>, A)],
    versions: TlsVersions,
) -> Read<()> {
    let useless = |algorithm: A| !versions.each().any(|version| algorithm.works_with(version));
    let mut fits = Ok(());
    for (member, algorithm) in list.iter().filter(|(_, algorithm)| useless(*algorithm)) {
        fits = Err(member.refuse(never_used(*algorithm)));
    }
    fits?;
    for version in versions.each() {
        if !list
            .iter()
            .any(|(_, algorithm)| algorithm.works_with(version))
        {
            fits = Err(field.refuse(nothing_for::<A>(version)));
        }
    }
    fits
}

fn never_used<A: Algorithm>(algorithm: A) -> Problem {
    let needed = if algorithm.works_with(TlsVersion::Tls13) {
        ("1.3", "max_version = \"1.3\"")
    } else {
        ("1.2", "min_version = \"1.2\"")
    };
    let name = name_of(algorithm, A::NAMES);
    Problem::new(format!(
        "{name} needs TLS {}, which is not allowed here",
        needed.0
    ))
    .causes("it would never be used")
    .remedy(format!("remove it, or write {}", needed.1))
}

fn nothing_for<A: Algorithm>(version: TlsVersion) -> Problem {
    let instead = match version {
        TlsVersion::Tls12 => "min_version = \"1.3\"",
        TlsVersion::Tls13 => "max_version = \"1.2\"",
    };
    let number = version.number();
    Problem::new(format!(
        "nothing in the list works with TLS {number}, which is allowed"
    ))
    .causes(format!("every handshake with TLS {number} would fail"))
    .remedy(format!(
        "write {instead}, or add one such as \"{}\"",
        name_of(A::for_version(version), A::NAMES)
    ))
}

fn name_of<T: Copy + PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    let named = names.iter().find(|(_, named)| *named == value);
    named.map_or("unknown", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_a_name_that_reads_back_as_itself() {
        for (name, suite) in SUITES {
            assert_eq!(suite.name(), name);
            assert!(suite.works_with(suite.version()));
        }
        for (alias, suite) in SUITE_ALIASES {
            assert_eq!(alias.replace("TLS13_", "TLS_"), suite.name());
        }
        for (name, group) in GROUPS {
            assert_eq!(group.name(), name);
        }
    }

    #[test]
    fn only_the_classical_groups_work_with_tls_1_2() {
        let classical: Vec<&str> = GROUPS
            .iter()
            .filter(|(_, group)| group.works_with(TlsVersion::Tls12))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(classical, ["X25519", "secp256r1", "secp384r1"]);
    }
}
