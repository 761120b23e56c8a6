//! Reads `[server.confinement]`.

use super::model::Confinement;
use super::problem::Problem;
use super::section::{Read, Section};

pub(super) fn confinement(section: &mut Section<'_>) -> Read<Confinement> {
    let also_readable = section.optional("also_readable", |field| field.list(|one| one.path()));
    let no_landlock = section.defaulted("unsafe_no_landlock", false, |field| field.boolean());
    let no_seccomp = section.defaulted("unsafe_no_seccomp", false, |field| field.boolean());
    let core_dumps = section.defaulted("unsafe_core_dumps", false, |field| field.boolean());
    let (also_readable, no_landlock) = (also_readable?, no_landlock?);
    if no_landlock && also_readable.is_some() {
        let problem = Problem::new("has no meaning with unsafe_no_landlock = true")
            .causes("every file is within reach already")
            .remedy("remove one of the two");
        return Err(section.refuse_key("also_readable", problem));
    }
    Ok(Confinement {
        landlock: !no_landlock,
        seccomp: !no_seccomp?,
        core_dumps: core_dumps?,
        also_readable: also_readable.unwrap_or_default(),
    })
}
