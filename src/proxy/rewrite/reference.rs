//! References in responses (RFC 3986 §4): where the service sends its callers.

use super::names::OwnNames;
use super::prefix::Prefix;

/// What turns a service's places into those of its caller.
pub(super) struct Back<'a> {
    pub(super) names: &'a OwnNames,
    pub(super) prefix: &'a Prefix,
    /// The scheme that the caller used.
    pub(super) scheme: &'a str,
    /// The host that the caller asked for, as it wrote it.
    pub(super) asked: &'a str,
}

impl Back<'_> {
    /// The reference as the caller can follow it; `None`: it stays as it is,
    /// since it is relative, or leads elsewhere.
    pub(super) fn reference(&self, reference: &str) -> Option<String> {
        // Browsers read on as if it were not there: what is left without its
        // prefix could be two slashes, and so a host.
        if reference.contains('\t') {
            return None;
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return self.at_host(rest).map(|rest| format!("//{rest}"));
        }
        if reference.starts_with('/') {
            return self.path(reference);
        }
        let (scheme, rest) = reference.split_once("://")?;
        let is_http = ["http", "https"]
            .iter()
            .any(|it| scheme.eq_ignore_ascii_case(it));
        let rest = is_http.then(|| self.at_host(rest))??;
        Some(format!("{}://{rest}", self.scheme))
    }

    /// The value of `Refresh`, a pause and perhaps a reference:
    /// `5; url=/login`, with quotes or without.
    pub(super) fn refresh(&self, value: &str) -> Option<String> {
        let after = value.find([';', ','])?;
        let (pause, rest) = value.split_at(after + 1);
        let equals = rest.find('=')?;
        let (key, reference) = rest.split_at(equals + 1);
        let is_url = key.trim_end_matches('=').trim().eq_ignore_ascii_case("url");
        let bare = reference.trim();
        let quote = bare.chars().next().filter(|first| "\"'".contains(*first));
        let bare = match quote {
            Some(quote) => bare.strip_prefix(quote)?.strip_suffix(quote)?,
            None => bare,
        };
        let back = is_url.then(|| self.reference(bare))??;
        let quote = quote.map(String::from).unwrap_or_default();
        Some(format!("{pause}{key}{quote}{back}{quote}"))
    }

    /// What follows two slashes: an authority, and perhaps a path and more.
    fn at_host(&self, rest: &str) -> Option<String> {
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !self.names.has(authority, self.asked) {
            return None;
        }
        let path = match path.starts_with('/') {
            true => self.path(path)?,
            false => self.path(&format!("/{path}"))?,
        };
        Some(format!("{}{path}", self.asked))
    }

    /// A path with its query and fragment.
    fn path(&self, path: &str) -> Option<String> {
        let end = path.find(['?', '#']).unwrap_or(path.len());
        let (path, more) = path.split_at(end);
        self.prefix.down(path).map(|path| format!("{path}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::rewrite::testing::{names, prefix};

    /// What a caller of `https://public.example:8443/api` gets of what a service
    /// says that sees `/app` in place of `/api`.
    fn back<T>(read: impl Fn(&Back<'_>) -> T) -> T {
        read(&Back {
            names: &names(),
            prefix: &prefix("/api", "/app"),
            scheme: "https",
            asked: "public.example:8443",
        })
    }

    #[test]
    fn what_leads_to_the_service_leads_to_it_through_countersign() {
        let here = "https://public.example:8443";
        for (sent, got) in [
            (
                "/app/login?next=/app#top",
                "/api/login?next=/app#top".to_owned(),
            ),
            ("/app", "/api".to_owned()),
            ("/app?x", "/api?x".to_owned()),
            ("http://orders.internal:8080/app/x", format!("{here}/api/x")),
            (
                "HTTPS://Orders.Internal.:8080/app?x",
                format!("{here}/api?x"),
            ),
            ("http://public.example:8443/app/x", format!("{here}/api/x")),
            ("http://billing.internal:80/app", format!("{here}/api")),
            ("https://billing.internal:443/app", format!("{here}/api")),
            ("http://[fd00::5]/app/", format!("{here}/api/")),
            (
                "//orders.internal:8080/app/x",
                "//public.example:8443/api/x".to_owned(),
            ),
        ] {
            assert_eq!(back(|it| it.reference(sent)), Some(got), "{sent}");
        }
    }

    #[test]
    fn what_is_relative_or_leads_elsewhere_stays() {
        for sent in [
            "",
            "login",
            "../x",
            "?x",
            "#x",
            ".",
            "/other",
            "/apple",
            "/APP/x",
            "/app/\t/evil.example",
            "http://orders.internal:8080/app/\tx",
            "*",
            "http://orders.internal/app",
            "http://orders.internal:8081/app",
            "http://elsewhere.example/app",
            "http://user@orders.internal:8080/app",
            "http://orders.internal:8080.evil.example/app",
            "http://public.example/app",
            "http://orders.internal:8080/other",
            "http://orders.internal:8080",
            "http://orders.internal:8080\\@evil.example/app",
            "ftp://orders.internal:8080/app",
            "mailto:x@orders.internal",
            "http:/app",
            "//",
            "http://",
            "http://:8080/app",
            "https://[fd00::5/app",
            "//elsewhere.example/app",
        ] {
            assert_eq!(back(|it| it.reference(sent)), None, "{sent}");
        }
    }

    #[test]
    fn an_authority_alone_is_the_root_of_the_service() {
        let back = |sent: &str| {
            let back = Back {
                names: &names(),
                prefix: &prefix("/api", ""),
                scheme: "http",
                asked: "public.example",
            };
            back.reference(sent)
        };
        let root = Some("http://public.example/api/".to_owned());
        assert_eq!(back("https://orders.internal:8080"), root);
        let query = Some("http://public.example/api/?x".to_owned());
        assert_eq!(back("http://orders.internal:8080?x"), query);
        assert_eq!(back("/"), Some("/api/".to_owned()));
    }

    #[test]
    fn the_reference_in_refresh_is_rewritten_and_the_rest_stays() {
        for (sent, got) in [
            ("5; url=/app/x", Some("5; url=/api/x")),
            ("0;URL='/app/x'", Some("0;URL='/api/x'")),
            ("0, url = \"/app\"", Some("0, url =\"/api\"")),
            ("5", None),
            ("5; /app", None),
            ("5; url=x", None),
            ("5; url=\"/app", None),
            ("5; uri=/app", None),
        ] {
            let found = back(|it| it.refresh(sent));
            assert_eq!(found.as_deref(), got, "{sent}");
        }
    }
}
