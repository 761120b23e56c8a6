//! Reads `[listeners.NAME.tls.names."NAME"]`: what is demanded of clients by the
//! name that they ask for.

use std::collections::HashMap;

use super::listeners::{client_auth, client_trust};
use super::model::{
    ClientAuth, ClientPolicy, HostPattern, ListenerTls, Located, NamedPolicy, Place, UnknownSni,
};
use super::names::Names;
use super::problem::Problem;
use super::section::{Read, Reported, Section};
use super::units::quoted;
use super::values::host_name;

/// Reads the policies of all names of a listener whose own policy is `own`.
pub(super) fn named_policies(
    section: &mut Section<'_>,
    own: &Read<ClientPolicy>,
    bundles: &Names,
) -> Read<Vec<NamedPolicy>> {
    let entries = section.optional("names", |field| field.entries("SNI"))?;
    let mut named: Vec<NamedPolicy> = Vec::new();
    let mut lines = HashMap::new();
    let mut legal = true;
    for (written, place, field) in entries.unwrap_or_default() {
        let name = new_name(&written, place, &lines)
            .map_err(|problem| field.reader.report(problem.of_key(place, field.shown())));
        let policy = field.section(|section| policy(section, own, bundles));
        match (name, policy) {
            (Ok(name), Ok(policy)) => {
                lines.insert(name.value.clone(), place.line);
                named.push(NamedPolicy { name, policy });
            }
            _ => legal = false,
        }
    }
    if legal { Ok(named) } else { Err(Reported) }
}

/// Reads `unknown_sni`.
pub(super) fn unknown_sni(section: &mut Section<'_>) -> Read<UnknownSni> {
    section.defaulted("unknown_sni", UnknownSni::Refuse, |field| {
        field.choice(&[
            ("refuse", UnknownSni::Refuse),
            ("strictest", UnknownSni::Strictest),
        ])
    })
}

/// Sees that there is a strictest policy where there must be one.
pub(super) fn has_a_strictest(section: &Section<'_>, tls: &ListenerTls) -> Read<()> {
    if tls.unknown_sni == UnknownSni::Refuse || tls.strictest_policy().is_some() {
        return Ok(());
    }
    let most = tls.policies().map(|policy| policy.client_auth).max();
    let own = (Some(tls.client_auth) == most).then(|| "the listener itself".to_owned());
    let named = tls.names.iter();
    let named = named.filter(|named| Some(named.policy.client_auth) == most);
    let named = named.map(|named| quoted(&named.name.value.to_string()));
    let which: Vec<_> = own.into_iter().chain(named).collect();
    let problem = Problem::new(format!(
        "no policy is the strictest: {} demand as much, with different bundles",
        which.join(" and ")
    ))
    .causes("it would be chance which certificates an unknown client may show")
    .remedy("write unknown_sni = \"refuse\", or have one policy demand more than all others");
    Err(section.refuse_key("unknown_sni", problem))
}

fn policy(
    section: &mut Section<'_>,
    own: &Read<ClientPolicy>,
    bundles: &Names,
) -> Read<ClientPolicy> {
    let asked = client_auth(section);
    let field = section.field("trust");
    // Who asks nobody has no use for the listener's bundle either.
    let inherits = field.is_none() && asked.is_ok_and(|asked| asked != ClientAuth::None);
    let trust = match own {
        Ok(own) if inherits && own.trust.is_some() => Ok(own.trust),
        Err(reported) if inherits => Err(*reported),
        _ => client_trust(section, asked, field, bundles),
    };
    Ok(ClientPolicy {
        client_auth: asked?,
        trust: trust?,
    })
}

/// A name that no earlier entry has; `earlier`: the line of each.
fn new_name(
    written: &str,
    place: Place,
    earlier: &HashMap<HostPattern, u32>,
) -> Result<Located<HostPattern>, Problem> {
    let value = server_name(written)?;
    match earlier.get(&value) {
        None => Ok(Located { value, place }),
        Some(line) => Err(Problem::new(format!(
            "this is the name of line {line} in another spelling"
        ))
        .causes("two policies would hold for one name")
        .remedy("remove one of the two")),
    }
}

/// A name as clients ask for it (RFC 6066 §3), or `*.` and a name.
fn server_name(text: &str) -> Result<HostPattern, Problem> {
    let not_a_name = |remedy: &str| {
        Problem::new(format!("{} is not a name to ask for", quoted(text)))
            .causes("no client could ever ask for it, so the policy would hold for nobody")
            .remedy(remedy)
    };
    if !text.is_ascii() {
        return Err(not_a_name(
            "write each label in its ASCII form, as certificates and clients do: \"xn--bcher-kva.example\"",
        ));
    }
    let is_named = |name: &String| name.contains(|c: char| c.is_ascii_alphabetic());
    let name = |text| host_name(text).filter(|name| is_named(name) && !name.contains(':'));
    let is_address = text.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[');
    if is_address {
        return Err(not_a_name(
            "clients that connect to an address ask for no name: see unknown_sni",
        ));
    }
    let read = match text.strip_prefix("*.") {
        Some(suffix) => name(suffix).map(HostPattern::Wildcard),
        None => name(text).map(HostPattern::Exact),
    };
    read.ok_or_else(|| not_a_name("write \"www.example.com\" or \"*.example.com\""))
}
