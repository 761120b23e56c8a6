//! Reads `[admin]`: where countersign tells of itself, and to whom.

use super::model::{Admin, Bind, Located};
use super::problem::Problem;
use super::section::{Read, Section};
use super::units::quoted;
use super::values::host_name;

pub(super) fn admin(section: &mut Section<'_>) -> Read<Admin> {
    let bind = section.required("bind", |field| field.bind());
    let hosts = section.defaulted("hosts", Vec::new(), |field| {
        field.list(|member| member.parsed(host))
    });
    let allow_changes = section.defaulted("allow_changes", false, |field| field.boolean());
    let (bind, allow_changes) = (bind?, allow_changes?);
    if allow_changes {
        is_not_for_everybody(section, &bind)?;
    }
    Ok(Admin {
        bind,
        hosts: hosts?,
        allow_changes,
    })
}

fn host(text: &str) -> Result<String, Problem> {
    host_name(text).ok_or_else(|| {
        Problem::new(format!("{} is not the name of a host", quoted(text)))
            .remedy("write a name alone, such as \"status.example.com\"")
    })
}

/// Sees that whoever may have something changed is on this machine.
fn is_not_for_everybody(section: &mut Section<'_>, bind: &Located<Bind>) -> Read<()> {
    match &bind.value {
        Bind::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            let problem = Problem::new(format!("true, on {address}, which others can reach"))
                .causes("whoever reaches the status page could reload, drain and end this process")
                .remedy("bind to 127.0.0.1 or a unix socket, or remove allow_changes");
            let place = section
                .field("allow_changes")
                .map_or(bind.place, |field| field.place());
            let path = section.shown("allow_changes");
            Err(section.reader.report(problem.of_key(place, &path)))
        }
        Bind::Tcp(_) | Bind::Unix(_) => Ok(()),
    }
}
