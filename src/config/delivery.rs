//! Reads the keys of `[upstreams.NAME]` that say how requests are handed to the
//! service, and its responses taken from it.

use std::num::{NonZeroU32, NonZeroUsize};

use super::defaults;
use super::model::{Buffering, Capacity, Delivery, Protocol, Retries, RetryOn};
use super::problem::Problem;
use super::section::{Field, Read, Section};

/// More than a service takes, and than this machine has ports for.
const MOST_AT_ONE_TIME: usize = 1_000_000;
/// The least and the most of a message that is held.
const BUFFER: (&str, &str) = ("1KiB", "1GiB");
/// The least and the most that all messages together may take.
const MEMORY: (&str, &str) = ("1MiB", "1024GiB");
/// A service that failed so often does not get better by asking it again.
const MOST_RETRIES: usize = 5;

/// What a request may be sent again after.
const RETRY_ON: [(&str, RetryOn); 4] = [
    ("lost", RetryOn::Lost),
    ("502", RetryOn::Status(502)),
    ("503", RetryOn::Status(503)),
    ("504", RetryOn::Status(504)),
];

pub(super) fn delivery(section: &mut Section<'_>, protocol: Read<Protocol>) -> Read<Delivery> {
    let capacity = capacity(section, protocol);
    let buffering = buffering(section, protocol);
    let retries = retries(section);
    Ok(Delivery {
        capacity: capacity?,
        buffering: buffering?,
        retries: retries?,
    })
}

fn capacity(section: &mut Section<'_>, protocol: Read<Protocol>) -> Read<Capacity> {
    let connections = section.field("max_connections");
    let most_connections = connections
        .as_ref()
        .map(|field| field.count(MOST_AT_ONE_TIME).map(to_u32));
    let requests = section.optional("max_requests", |field| {
        field.count(MOST_AT_ONE_TIME).map(to_u32)
    });
    let max_queue = section.defaulted("max_queue", defaults::MAX_QUEUE, |field| {
        field.count(MOST_AT_ONE_TIME).map(nonzero)
    });
    let queue_timeout = section.defaulted("queue_timeout", defaults::QUEUE_TIMEOUT, |field| {
        field.duration()
    });
    if let (Some(field), Ok(Protocol::Http2)) = (&connections, protocol) {
        let problem = Problem::new("has no meaning with protocol = \"h2\"")
            .causes("there is one connection for each worker, and many requests go over it")
            .remedy("write max_requests, or remove it");
        return Err(field.refuse(problem));
    }
    let connections = most_connections.transpose()?;
    let (per_endpoint, key) = match (protocol?, connections, requests?) {
        (Protocol::Http2, _, requests) => (requests, "max_requests"),
        // Over HTTP/1.1 each request has a connection.
        (Protocol::Http1, connections, Some(requests))
            if requests < connections.unwrap_or(defaults::MAX_UPSTREAM_CONNECTIONS) =>
        {
            (Some(requests), "max_requests")
        }
        (Protocol::Http1, connections, _) => {
            let most = connections.unwrap_or(defaults::MAX_UPSTREAM_CONNECTIONS);
            (Some(most), "max_connections")
        }
    };
    Ok(Capacity {
        per_endpoint,
        key,
        max_queue: max_queue?,
        queue_timeout: queue_timeout?,
    })
}

fn buffering(section: &mut Section<'_>, protocol: Read<Protocol>) -> Read<Buffering> {
    let mut buffer = |key| section.optional(key, |field| held(field, BUFFER));
    let request = buffer("buffer_request");
    let response = buffer("buffer_response");
    let memory = section.field("buffer_memory");
    let most = memory.as_ref().map(|field| held(field, MEMORY));
    let require_length = section.field("require_length");
    let required = require_length
        .as_ref()
        .map_or(Ok(false), |field| field.boolean());
    if let (Some(field), Ok(true), Ok(Protocol::Http2)) = (&require_length, required, protocol) {
        let problem = Problem::new("has no meaning with protocol = \"h2\"")
            .causes("bodies without a length would be refused that the service understands")
            .remedy("remove it");
        return Err(field.refuse(problem));
    }
    let (request, response) = (request?, response?);
    if let (Some(field), None, None) = (&memory, request, response) {
        let problem = Problem::new("has no meaning without buffer_request or buffer_response")
            .causes("nothing would be held, and bodies would pass as they come")
            .remedy("write buffer_request = \"1MiB\", or remove it");
        return Err(field.refuse(problem));
    }
    let memory = most.transpose()?.unwrap_or(defaults::BUFFER_MEMORY);
    if let Some(least) = [request, response].into_iter().flatten().max()
        && memory < least
    {
        let problem = Problem::new("less than one message may hold")
            .causes("a single large message would find no room")
            .remedy("write a larger size, such as \"64MiB\"");
        return Err(section.refuse_key("buffer_memory", problem));
    }
    Ok(Buffering {
        request,
        response,
        memory,
        require_length: required?,
    })
}

fn held(field: &Field<'_>, (least, most): (&str, &str)) -> Read<NonZeroUsize> {
    let bytes = field.size(least, most)?;
    Ok(nonzero(usize::try_from(bytes).unwrap_or(usize::MAX)))
}

fn retries(section: &mut Section<'_>) -> Read<Option<Retries>> {
    let on = section.optional("retry_on", |field| {
        field.list(|member| member.choice(&RETRY_ON))
    });
    let most = section.field("retries");
    let budget = section.field("retry_budget");
    if let Ok(None) = on {
        let mut read = Ok(());
        for field in [&most, &budget].into_iter().flatten() {
            let problem = Problem::new("has no meaning without retry_on")
                .causes("no request would be sent again for what the service answers")
                .remedy("write retry_on = [\"503\"], or remove it");
            read = Err(field.refuse(problem));
        }
        read?;
    }
    let most = most.map_or(Ok(NonZeroU32::MIN), |field| {
        field.count(MOST_RETRIES).map(to_u32)
    });
    let budget = budget.map_or(Ok(defaults::RETRY_BUDGET), |field| field.share());
    let (most, budget) = (most?, budget?);
    Ok(on?.map(|on| Retries { on, most, budget }))
}

fn nonzero(value: usize) -> NonZeroUsize {
    NonZeroUsize::new(value).unwrap_or(NonZeroUsize::MIN)
}

fn to_u32(value: usize) -> NonZeroU32 {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN)
}
