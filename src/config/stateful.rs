//! Reads what keeps a service's sessions, and what sends a request again.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::model::{SessionLost, SessionPer, StatefulSessions};
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::units::quoted;

/// The shortest and the longest time that an unused session is kept.
const LIFETIME: (&str, &str) = ("1s", "24h");
/// The least and the most of a body that is kept to be sent again.
const REPLAY: (&str, &str) = ("1B", "16MiB");
/// More sessions than this on one worker are no help to anybody.
const MOST_SESSIONS: usize = 1_000_000;

/// The keys of `[upstreams.NAME.outbound]` about sessions; `None`: none are kept.
pub(super) fn sessions(section: &mut Section<'_>) -> Read<Option<StatefulSessions>> {
    let wanted = section.defaulted("stateful_sessions", true, |field| field.boolean());
    let cookies = section.field("session_cookies");
    let names = cookies.as_ref().map(|field| field.list(cookie)).transpose();
    let lost = section.field("session_lost");
    let lifetime = section.field("session_lifetime");
    let most = section.field("max_sessions");
    let per = section.field("session_per");
    if cookies.is_none() {
        nothing_beside([&lost, &lifetime, &most, &per])?;
    }
    let lost = lost.map_or(Ok(vec![UNAUTHORIZED]), |field| field.list(self::lost));
    let lifetime = lifetime.map_or(Ok(DEFAULT_LIFETIME), |field| {
        let (least, most) = LIFETIME;
        field.duration_within(least, most)
    });
    let most = most.map_or(Ok(DEFAULT_MOST), |field| field.count(MOST_SESSIONS));
    let per = per.map_or(Ok(SessionPer::Certificate), |field| {
        field.choice(&[
            ("certificate", SessionPer::Certificate),
            ("name", SessionPer::Name),
        ])
    });
    let (wanted, names) = (wanted?, names?);
    let (lost, lifetime, most, per) = (lost?, lifetime?, most?, per?);
    if let (Some(field), false) = (&cookies, wanted) {
        let problem = Problem::new("has no meaning with stateful_sessions = false")
            .causes("every request would carry its full authentication")
            .remedy("write stateful_sessions = true, or remove it");
        return Err(field.refuse(problem));
    }
    let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
    Ok(names.map(|cookies| StatefulSessions {
        cookies,
        lost,
        lifetime,
        most,
        per,
    }))
}

/// Refuses keys that say something of sessions where there are none.
fn nothing_beside(fields: [&Option<Field<'_>>; 4]) -> Read<()> {
    let mut read = Ok(());
    for field in fields.into_iter().flatten() {
        let problem = Problem::new("has no meaning without session_cookies")
            .causes("every request would carry its full authentication")
            .remedy("write session_cookies = [\"JSESSIONID\"], or remove it");
        read = Err(field.refuse(problem));
    }
    read
}

/// The most bytes of a body that are kept to be sent again.
pub(super) fn replay_limit(section: &mut Section<'_>) -> Read<usize> {
    section.defaulted("replay_limit", DEFAULT_REPLAY, |field| {
        let (least, most) = REPLAY;
        let bytes = field.size(least, most)?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    })
}

/// The name of a cookie: a token (RFC 6265 §4.1.1).
fn cookie(field: &Field<'_>) -> Read<String> {
    field.parsed(|text| {
        let is_token =
            |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            let problem = Problem::new(format!("{} is no name of a cookie", quoted(text)));
            return Err(problem.remedy("write the name alone, such as \"JSESSIONID\""));
        }
        Ok(text.to_owned())
    })
}

/// A status, and perhaps the beginning of a path that is redirected to.
fn lost(field: &Field<'_>) -> Read<SessionLost> {
    field.parsed(|text| {
        let (status, location) = match text.split_once(' ') {
            Some((status, location)) => (status, Some(location.trim())),
            None => (text, None),
        };
        let problem = |why: &str| {
            Problem::new(format!("{} {why}", quoted(text)))
                .remedy("write a status such as \"401\", or a redirect such as \"302 /login\"")
        };
        let status: u16 = status.parse().map_err(|_| problem("is no status"))?;
        if !(300..600).contains(&status) {
            return Err(problem(
                "is no status by which a service refuses or redirects",
            ));
        }
        match location {
            Some(path) if !path.starts_with('/') => Err(problem("does not name a path")),
            Some(_) if !(300..400).contains(&status) => {
                Err(problem("names a path, but is no redirect"))
            }
            location => Ok(SessionLost {
                status,
                location: location.map(str::to_owned),
            }),
        }
    })
}

const UNAUTHORIZED: SessionLost = SessionLost {
    status: 401,
    location: None,
};
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);
const DEFAULT_MOST: usize = 10_000;
const DEFAULT_REPLAY: usize = 64 * 1024;
