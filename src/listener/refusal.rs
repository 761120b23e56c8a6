//! What becomes of a client whose handshake was refused, or would have been: one
//! line, one count, and an explanation where it can read one.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::strike;
use super::worker::Current;
use crate::config::{Listener, ListenerId, Outcome};
use crate::proxy::{NotServed, Source};
use crate::telemetry::{ReferenceId, Refused, events, rfc3339};
use crate::tls::{
    self, Diagnosis, Evidence, Handshaken, LetIn, NotAccepted, Presented, Refusal, RefusedHandshake,
};

/// What plain HTTP on a TLS port is answered with.
const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: 68\r\n\r\n400 Bad Request\nThis port speaks TLS: use https:// in place of http\n";

/// Where a client has come to.
pub(super) struct Post<'a> {
    pub(super) current: &'a Current,
    pub(super) listener: (ListenerId, &'a Listener),
    pub(super) source: Source,
}

/// What was found about a client that is not accepted.
struct Finding<'a> {
    reference: ReferenceId,
    reason: Refusal,
    outcome: Outcome,
    server_name: Option<&'a str>,
    cause: String,
    remedy: String,
    certificate: Option<Presented>,
    /// What is wrong with its chain, if that is it.
    diagnosis: Option<Diagnosis>,
}

impl Post<'_> {
    /// Counts a refusal, and says in one line who was refused and why.
    pub(super) fn refused(&self, refused: &RefusedHandshake) {
        let metrics = self.current.site().metrics().listener(self.listener.0.0);
        match refused.reason {
            Refusal::HttpOnTlsPort | Refusal::NotTls | Refusal::Probe | Refusal::ProxyProtocol => {
                metrics.not_tls(refused.reason.code());
            }
            reason => metrics.handshake_refused(reason.code()),
        }
        let limit = match refused.reason {
            Refusal::Timeout => Some("handshake_timeout"),
            _ => refused.evidence.limit(),
        };
        if let Some(limit) = limit {
            strike::count(self.current.site(), self.listener.0, limit);
        }
        if refused.reason.is_noteworthy() && self.is_told(refused.reason) {
            let finding = self.find(
                (refused.reason, Outcome::Alert, &refused.cause),
                &refused.evidence,
                refused.server_name.as_deref(),
            );
            // Whoever reads the line asks for more by its reference.
            self.keep(&finding);
            self.tell(&finding);
        }
    }

    /// The same for a client that was let in although it is not accepted.
    /// Returns why nothing is served to it, if that is so.
    pub(super) fn let_in(&self, client: NotAccepted, done: &Handshaken) -> Option<NotServed> {
        let NotAccepted {
            let_in: LetIn { reason, outcome },
            evidence,
        } = client;
        let metrics = self.current.site().metrics().listener(self.listener.0.0);
        let is_answered = outcome == Outcome::Http;
        if is_answered {
            metrics.handshake_answered(reason.code());
        } else {
            metrics.handshake_anonymous(reason.code());
        }
        let is_told = self.is_told(reason);
        if !is_told && !is_answered {
            return None;
        }
        let cause = "the client presented no certificate";
        let finding = self.find(
            (reason, outcome, cause),
            &evidence,
            done.server_name.as_deref(),
        );
        self.keep(&finding);
        if is_told {
            self.tell(&finding);
        }
        is_answered.then(|| self.not_served(&finding))
    }

    fn is_told(&self, reason: Refusal) -> bool {
        let site = self.current.site();
        let per_minute = site.config().log().refusals_per_minute;
        let address = self.source.address().map(|address| address.ip());
        site.refusals().is_told(address, reason.code(), per_minute)
    }

    fn find<'f>(
        &self,
        (reason, outcome, cause): (Refusal, Outcome, &str),
        evidence: &Evidence,
        server_name: Option<&'f str>,
    ) -> Finding<'f> {
        let diagnosis = evidence.diagnose();
        let certificate = match &diagnosis {
            Some(diagnosis) => Some(diagnosis.certificate.clone()),
            None => evidence.certificate(),
        };
        let found = diagnosis.as_ref();
        Finding {
            reference: self.current.proxy().next_reference(),
            reason,
            outcome,
            server_name,
            cause: found.map_or(cause, |found| &found.cause).to_owned(),
            remedy: found
                .map_or(reason.remedy(), |found| &found.remedy)
                .to_owned(),
            certificate,
            diagnosis,
        }
    }

    fn tell(&self, finding: &Finding<'_>) {
        let (_, listener) = self.listener;
        let diagnosis = finding.diagnosis.as_ref();
        let certificate = finding.certificate.as_ref();
        tracing::info!(
            event = events::HANDSHAKE_REFUSED,
            listener = listener.name,
            client = self.source.address().map(tracing::field::display),
            via = self.source.via().map(tracing::field::display),
            reason = finding.reason.code(),
            outcome = word(finding.outcome),
            cause = finding.cause,
            nearest_miss = diagnosis.and_then(|found| found.nearest_miss.as_deref()),
            remedy = finding.remedy,
            step = diagnosis.map(|found| found.step.code()),
            sni = finding.server_name,
            subject = certificate.and_then(|known| known.subject.as_deref()),
            names = certificate.map(names),
            issuer = certificate.and_then(|known| known.issuer.as_deref()),
            serial = certificate.and_then(|known| known.serial.as_deref()),
            fingerprint = certificate.map(|known| tracing::field::display(known.fingerprint)),
            not_before = certificate.and_then(|known| known.not_before).map(date),
            not_after = certificate.and_then(|known| known.not_after).map(date),
            sent = diagnosis.map(|found| found.sent),
            bundle = diagnosis.map(|found| found.bundle.as_str()),
            list = diagnosis.and_then(|found| found.list.as_deref()),
            generation = self.current.site().generation(),
            reference = %finding.reference,
        );
    }

    fn keep(&self, finding: &Finding<'_>) {
        let (_, listener) = self.listener;
        let diagnosis = finding.diagnosis.as_ref();
        let known = json!({
            "listener": listener.name,
            "client": self.source.address().map(|address| address.to_string()),
            "via": self.source.via().map(|via| via.to_string()),
            "sni": finding.server_name,
            "reason": finding.reason.code(),
            "outcome": word(finding.outcome),
            "step": diagnosis.map(|found| found.step.code()),
            "cause": finding.cause,
            "nearest_miss": diagnosis.and_then(|found| found.nearest_miss.as_deref()),
            "remedy": finding.remedy,
            "certificate": finding.certificate.as_ref().map(describe),
            "sent": diagnosis.map(|found| found.sent),
            "bundle": diagnosis.map(|found| found.bundle.as_str()),
            "list": diagnosis.and_then(|found| found.list.as_deref()),
            "generation": self.current.site().generation(),
        });
        let address = self.source.address().map(|address| address.ip());
        let key = (address, finding.reason.code());
        let refusals = self.current.site().refusals();
        refusals.keep(Refused::Handshake, key, finding.reference, known);
    }

    fn not_served(&self, finding: &Finding<'_>) -> NotServed {
        let (_, listener) = self.listener;
        let reason = finding.reason;
        let tells = listener
            .tls
            .as_ref()
            .is_some_and(|tls| tls.outcomes.tell_client);
        let explanation = tells.then(|| {
            let miss = finding.diagnosis.as_ref();
            let miss = miss.and_then(|found| found.nearest_miss.as_deref());
            let miss = miss.map(|miss| format!("nearest miss: {miss}\n"));
            format!(
                "reason: {reason}\ncause: {}\n{}remedy: {}\n",
                finding.cause,
                miss.unwrap_or_default(),
                finding.remedy
            )
        });
        NotServed::new(finding.reference, reason, explanation)
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Alert => "alert",
        Outcome::Anonymous => "anonymous",
        Outcome::Http => "http",
    }
}

fn names(certificate: &Presented) -> String {
    let more = match certificate.more_names {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", certificate.names.join(", "))
}

fn describe(certificate: &Presented) -> Value {
    json!({
        "subject": certificate.subject,
        "names": certificate.names,
        "more_names": certificate.more_names,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint.to_string(),
        "not_before": certificate.not_before.map(date),
        "not_after": certificate.not_after.map(date),
    })
}

/// In RFC 3339, of seconds since 1970.
fn date(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let since = std::time::Duration::from_secs(seconds);
    let at = std::time::SystemTime::UNIX_EPOCH.checked_add(since);
    rfc3339(at.unwrap_or(std::time::SystemTime::UNIX_EPOCH))
}

/// Lets the client read why: the alert that was sent, or, where it speaks plain
/// HTTP, an answer in its own language.
pub(super) async fn explain(refused: RefusedHandshake, deadline: Instant) {
    let Some(mut socket) = refused.socket else {
        return;
    };
    let farewell = async {
        let plain = refused.reason == Refusal::HttpOnTlsPort;
        if !plain || socket.write_all(USE_HTTPS.as_bytes()).await.is_ok() {
            tls::linger(&mut socket).await;
        }
    };
    if tokio::time::timeout_at(deadline, farewell).await.is_err() {
        tracing::trace!("a refused client did not take its answer");
    }
}

#[cfg(test)]
mod tests {
    use super::USE_HTTPS;

    #[test]
    fn answer_to_plain_http_has_the_length_it_says() {
        let (head, body) = USE_HTTPS.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
