//! Reads `proxy_protocol_from`: senders that say whose connections theirs are.

use super::model::{Announcers, Bind};
use super::problem::Problem;
use super::section::{Read, Section};
use super::values::network;

const KEY: &str = "proxy_protocol_from";

/// Reads the senders of a listener.
pub(super) fn announcers(section: &mut Section<'_>) -> Read<Announcers> {
    let mut announcers = Announcers::default();
    let members = section.defaulted(KEY, Vec::new(), |field| {
        field.list_or_empty(|member| {
            if member.value().as_str() == Some("unix") {
                return Ok(None);
            }
            member.parsed(network).map(Some)
        })
    })?;
    for member in members {
        match member {
            Some(network) => announcers.networks.push(network),
            None => announcers.unix = true,
        }
    }
    Ok(announcers)
}

/// Sees that those who are listed can connect to what the listener is bound to.
pub(super) fn can_connect(section: &Section<'_>, announcers: &Announcers, bind: &Bind) -> Read<()> {
    let (what, remedy) = match bind {
        Bind::Tcp(_) if announcers.unix => (
            "\"unix\", and the listener is no unix socket",
            "write networks, such as [\"10.0.0.0/8\"]",
        ),
        Bind::Unix(_) if !announcers.networks.is_empty() => (
            "networks, and the listener is a unix socket, where nobody has an address",
            "write [\"unix\"]: whoever connects writes the header",
        ),
        // Which of the two it is, only systemd knows.
        Bind::Tcp(_) | Bind::Unix(_) | Bind::Systemd(_) => return Ok(()),
    };
    let problem = Problem::new(what).causes("nobody would ever be asked for the header");
    Err(section.refuse_key(KEY, problem.remedy(remedy)))
}
