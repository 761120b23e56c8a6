//! Reads `[server.confinement]`.

use super::model::Confinement;
use super::problem::Problem;
use super::section::{Read, Section};

pub(super) fn confinement(section: &mut Section<'_>) -> Read<Confinement> {
    let also_readable = section.optional("also_readable", |field| field.list(|one| one.path()));
    let no_landlock = section.defaulted("unsafe_no_landlock", false, |field| field.boolean());
    let no_seccomp = section.defaulted("unsafe_no_seccomp", false, |field| field.boolean());
    let new_privileges = section.defaulted("unsafe_new_privileges", false, |f| f.boolean());
    let core_dumps = section.defaulted("unsafe_core_dumps", false, |field| field.boolean());
    let (also_readable, no_landlock) = (also_readable?, no_landlock?);
    let (no_seccomp, new_privileges) = (no_seccomp?, new_privileges?);
    if no_landlock && also_readable.is_some() {
        let problem = Problem::new("has no meaning with unsafe_no_landlock = true")
            .causes("every file is within reach already")
            .remedy("remove one of the two");
        return Err(section.refuse_key("also_readable", problem));
    }
    if new_privileges && !(no_landlock && no_seccomp) {
        let problem = Problem::new("goes only with unsafe_no_landlock and unsafe_no_seccomp")
            .causes("the system lets nobody confine itself who may gain privileges")
            .remedy("remove it, or write those two as well");
        return Err(section.refuse_key("unsafe_new_privileges", problem));
    }
    Ok(Confinement {
        landlock: !no_landlock,
        seccomp: !no_seccomp,
        new_privileges,
        core_dumps: core_dumps?,
        also_readable: also_readable.unwrap_or_default(),
    })
}
