//! `countersign explain`.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, complain, print};
use crate::generation::prepare;

mod account;
mod case;
mod document;
mod fields;
mod instant;
mod reference;
mod steps;
mod text;
mod words;

use account::Account;
use case::Case;

/// What is asked.
#[derive(Args, Debug)]
pub(super) struct Question {
    /// The config file.
    #[arg(long, value_name = "FILE", required_unless_present = "admin")]
    config: Option<PathBuf>,
    /// The client's certificate and its intermediates, PEM; without it the
    /// client has none. A key beside it is not looked at.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The name that the client asks for in the handshake; "" for none.
    /// Default: the host.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The host of the request, with a port or without. Default: the SNI, else
    /// the first name of the listener's certificate.
    #[arg(long)]
    host: Option<String>,
    /// The method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The path, with a query or without.
    #[arg(long, default_value = "/")]
    path: String,
    /// A header field of the request, "NAME: VALUE"; may be given several times.
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// The version of HTTP. Default: 1.1, where the listener speaks it.
    #[arg(long, value_name = "VERSION", value_parser = ["1.1", "2"])]
    http: Option<String>,
    /// The listener. Default: the only one.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The address that the client comes from. Default: 127.0.0.1.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// When: 2026-12-31, 2026-12-31T23:59:00Z or seconds since 1970. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Find what a running countersign has refused, by the reference that the
    /// client was told or the log has, in place of all that. Exit code 0: it is
    /// known there; 1: it is not.
    #[arg(long, value_name = "REFERENCE", conflicts_with_all = ["cert", "sni", "host", "header", "http", "listener", "from", "at", "json"])]
    reference: Option<String>,
    /// Where the running countersign is asked for it, ADDRESS:PORT or unix:PATH,
    /// if not at the admin address of the config.
    #[arg(long, value_name = "ADDRESS", requires = "reference")]
    admin: Option<String>,
}

/// Says what would become of a request.
pub(super) fn explain(question: &Question) -> Exit {
    if let Some(reference) = &question.reference {
        let config = question.config.as_deref();
        return reference::find(reference, config, question.admin.as_deref());
    }
    let Some(config) = &question.config else {
        complain("give --config");
        return Exit::Usage;
    };
    let prepared = match prepare(config) {
        Ok(prepared) => prepared,
        Err(problems) => {
            complain(problems);
            return Exit::Usage;
        }
    };
    let loaded = prepared.loaded();
    let case = match Case::of(question, loaded) {
        Ok(case) => case,
        Err(cause) => {
            complain(cause);
            return Exit::Usage;
        }
    };
    let account = Account::of(case, loaded);
    let report = if question.json {
        document::of(&account)
    } else {
        text::of(&account)
    };
    match print(report.as_bytes()) {
        Exit::Ok if account.refusal().is_some() => Exit::Refused,
        exit => exit,
    }
}
