//! Reads `run_as`: whose identity an upstream is told.

use super::model::{LayerMode, Outbound, RunAs};
use super::outbound::Target;
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::units::quoted;
use crate::identity::{Identity, MalformedStatement, StatedNames};

/// Reads `run_as` and the table `identity`, which is there exactly if its
/// identity is asserted.
pub(super) fn run_as(section: &mut Section<'_>) -> Read<RunAs> {
    let word = section.defaulted("run_as", Word::Client, |field| {
        field.choice(&[
            ("client", Word::Client),
            ("system", Word::System),
            ("specified", Word::Specified),
        ])
    });
    let field = section.field("identity");
    let identity = field.as_ref().map(specified).transpose();
    match (word?, field) {
        (Word::Client, None) => Ok(RunAs::Client),
        (Word::System, None) => Ok(RunAs::System),
        (Word::Specified, Some(field)) => match identity? {
            Some(identity) => Ok(RunAs::Specified(Box::new(field.located(identity)))),
            None => Ok(RunAs::Client),
        },
        (Word::Specified, None) => {
            let problem = Problem::new("missing")
                .causes("without it there would be no identity to assert")
                .remedy(format!(
                    "write a table [{}] with uri = \"spiffe://prod.example/gateway\", or subject, dns, email",
                    section.shown("identity")
                ));
            Err(section.lack_with("identity", problem))
        }
        (Word::Client | Word::System, Some(field)) => {
            let problem = Problem::new("has no meaning without run_as = \"specified\"")
                .causes("this identity would never be asserted")
                .remedy("write run_as = \"specified\", or remove the table");
            Err(field.refuse(problem))
        }
    }
}

/// Sees that the identity can be asserted in every form that is wanted.
pub(super) fn can_be_asserted(
    section: &Section<'_>,
    outbound: &Outbound,
    target: &Target<'_>,
) -> Read<()> {
    if outbound.assertion == LayerMode::Never {
        return Ok(());
    }
    let refuse = |what: String, remedy: String| {
        let problem = Problem::new(what).causes("no request could ever be sent");
        Err(section.refuse_key("run_as", problem.remedy(remedy)))
    };
    match &outbound.run_as {
        RunAs::Client => Ok(()),
        RunAs::System => {
            let presents = outbound.client_certificate != LayerMode::Never;
            if presents && target.has_certificate != Some(false) {
                return Ok(());
            }
            let what =
                "\"system\", but there is no certificate that countersign presents to the service";
            let remedy = format!(
                "write certificate = {{ chain = \"tls/proxy.pem\", key = \"tls/proxy.key\" }} in [upstreams.{}.tls], or run_as = \"specified\"",
                target.name
            );
            refuse(what.to_owned(), remedy)
        }
        RunAs::Specified(identity) => match outbound.inexpressible(&identity.value, None) {
            None => Ok(()),
            Some(why) => refuse(
                format!("\"specified\", and the identity cannot be asserted: {why}"),
                "state what is needed in the table `identity`, or take the encoding out of assertion.encode".to_owned(),
            ),
        },
    }
}

/// The word that decides whether there is a table `identity`.
#[derive(Clone, Copy)]
enum Word {
    Client,
    Specified,
    System,
}

fn specified(field: &Field<'_>) -> Read<Identity> {
    let names = field.section(|section| {
        let mut names = StatedNames::default();
        let mut read = Ok(());
        for (key, state) in KINDS {
            let stated = section.optional(key, |field| {
                field.parsed(|text| {
                    let problem = |cause: MalformedStatement| {
                        Problem::new(format!("{}: {cause}", quoted(text)))
                            .remedy("write it as it would stand in a certificate")
                    };
                    let mut more = names.clone();
                    state(&mut more, text).map_err(problem)?;
                    Ok(more)
                })
            });
            match stated {
                Ok(more) => names = more.unwrap_or(names),
                Err(reported) => read = Err(reported),
            }
        }
        read.map(|()| names)
    })?;
    Identity::stated(names).map_err(|cause| {
        let problem = Problem::new(cause.to_string()).causes("nobody would be asserted");
        field.refuse(
            problem.remedy("write uri = \"spiffe://prod.example/gateway\", or subject, dns, email"),
        )
    })
}

/// States a name of one kind.
type State = fn(&mut StatedNames, &str) -> Result<(), MalformedStatement>;

const KINDS: [(&str, State); 4] = [
    ("subject", |names, text| names.subject(text).map(|_| ())),
    ("uri", |names, text| names.uri(text).map(|_| ())),
    ("dns", |names, text| names.dns(text).map(|_| ())),
    ("email", |names, text| names.email(text).map(|_| ())),
];
