//! Reads the single values of a config: words, numbers, quantities, paths, addresses.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use toml::de::DeValue;

use super::model::{Bind, Endpoint, EndpointAddress, Located, Share};
use super::nearest::nearest;
use super::problem::Problem;
use super::section::{Field, Read, Reader, Reported};
use super::units::{self, quoted};
use crate::identity::canonical_dns;

/// The longest path that fits in a unix socket's address, without its final NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// The longest name of a descriptor (systemd.socket(5)).
const LONGEST_DESCRIPTOR_NAME: usize = 255;

impl<'r> Field<'r> {
    pub(super) fn text(&self) -> Read<&'r str> {
        match self.value().as_str() {
            Some(text) => Ok(text),
            None => Err(self.mismatch("a string", self.as_text())),
        }
    }

    /// The proposal to put a lone number into quotes.
    fn as_text(&self) -> Option<String> {
        let number = self.value().as_integer()?;
        let known = super::options::find(self.pattern()).is_some();
        (!known).then(|| format!("write \"{number}\""))
    }

    /// Reads a string with a parser that knows nothing of files.
    pub(super) fn parsed<T>(&self, parse: impl Fn(&str) -> Result<T, Problem>) -> Read<T> {
        parse(self.text()?).map_err(|problem| self.refuse(problem))
    }

    pub(super) fn boolean(&self) -> Read<bool> {
        match self.value() {
            DeValue::Boolean(flag) => Ok(*flag),
            other => {
                let word = other
                    .as_str()
                    .filter(|word| ["true", "false"].contains(word));
                let remedy = word.map(|word| format!("write {word}, without quotes"));
                Err(self.mismatch("true or false", remedy))
            }
        }
    }

    /// A whole number from 1 to `most`.
    pub(super) fn count(&self, most: usize) -> Read<usize> {
        self.count_within(1, most)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count_within(&self, least: usize, most: usize) -> Read<usize> {
        let DeValue::Integer(number) = self.value() else {
            let text = self.value().as_str().unwrap_or("");
            let bare = text.parse::<usize>().ok();
            let remedy = bare.map(|number| format!("write {number}, without quotes"));
            return Err(self.mismatch("a whole number", remedy));
        };
        let value = usize::from_str_radix(number.as_str(), number.radix()).ok();
        match value {
            Some(value) if (least..=most).contains(&value) => Ok(value),
            _ => Err(self.refuse(
                Problem::new(format!("{number} is not possible"))
                    .remedy(format!("write a whole number from {least} to {most}")),
            )),
        }
    }

    pub(super) fn duration(&self) -> Read<Duration> {
        self.has_a_unit("a duration", "s")?;
        self.parsed(units::duration)
    }

    /// A duration from `least` to `most`, both written with units.
    pub(super) fn duration_within(&self, least: &str, most: &str) -> Read<Duration> {
        let duration = self.duration()?;
        let bound = |text: &str| units::duration(text).unwrap_or(duration);
        if duration < bound(least) || duration > bound(most) {
            return Err(self.out_of_bounds("a duration", least, most));
        }
        Ok(duration)
    }

    /// A share of a whole, in percent.
    pub(super) fn share(&self) -> Read<Share> {
        self.has_a_unit("a share of a whole", "%")?;
        self.parsed(units::share)
    }

    /// A size in bytes from `least` to `most`, both written with units.
    pub(super) fn size(&self, least: &str, most: &str) -> Read<u64> {
        self.has_a_unit("a size", "B")?;
        let bytes = self.parsed(units::size)?;
        let bound = |text: &str| units::size(text).unwrap_or(bytes);
        if bytes < bound(least) || bytes > bound(most) {
            return Err(self.out_of_bounds("a size", least, most));
        }
        Ok(bytes)
    }

    /// A rate in bytes a second from `least` to `most`, both written with units.
    pub(super) fn rate(&self, least: &str, most: &str) -> Read<u64> {
        self.has_a_unit("a rate", "B/s")?;
        let rate = self.parsed(units::rate)?;
        let bound = |text: &str| units::rate(text).unwrap_or(rate);
        if rate < bound(least) || rate > bound(most) {
            return Err(self.out_of_bounds("a rate", least, most));
        }
        Ok(rate)
    }

    fn out_of_bounds(&self, wanted: &str, least: &str, most: &str) -> Reported {
        let text = quoted(self.value().as_str().unwrap_or_default());
        let problem = Problem::new(format!("{text} is not possible"));
        self.refuse(problem.remedy(format!("write {wanted} from \"{least}\" to \"{most}\"")))
    }

    fn has_a_unit(&self, wanted: &str, unit: &str) -> Read<()> {
        match self.value() {
            DeValue::Integer(number) => {
                let remedy = format!("write \"{}{unit}\"", number.as_str());
                Err(self.mismatch(wanted, Some(remedy)))
            }
            DeValue::String(_) => Ok(()),
            _ => Err(self.mismatch(wanted, None)),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let problem = Problem::new(format!("{} is not known here", quoted(text)));
        Err(self.refuse(match nearest(text, known.iter().copied()) {
            Some(near) => problem.remedy(format!("did you mean \"{near}\"?")),
            None => problem.remedy(format!("write {}", one_of(&known))),
        }))
    }

    /// A list of different members, at least one.
    pub(super) fn list<T>(&self, read: impl Fn(&Self) -> Read<T>) -> Read<Vec<T>> {
        let list = self.list_or_empty(read)?;
        if list.is_empty() {
            let problem = Problem::new("the list is empty");
            let option = super::options::find(self.pattern());
            return Err(self.refuse(match option {
                Some(option) if option.is_required() => problem
                    .causes(format!("without a member {}", option.without))
                    .remedy(format!("write {} = {}", option.key(), option.example)),
                Some(option) => problem.remedy(format!(
                    "write {} = {}, or remove it: then {}",
                    option.shown_key(),
                    option.example,
                    option.without
                )),
                None => problem,
            }));
        }
        Ok(list)
    }

    /// A list of different members, or none.
    pub(super) fn list_or_empty<T>(&self, read: impl Fn(&Self) -> Read<T>) -> Read<Vec<T>> {
        let members = self.members()?;
        let mut seen = std::collections::HashSet::new();
        for member in &members {
            if let Some(text) = member.value().as_str()
                && !seen.insert(text)
            {
                member.refuse(
                    Problem::new(format!("{} stands here twice", quoted(text)))
                        .remedy("remove one of the two"),
                );
            }
        }
        let read: Vec<Read<T>> = members.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// A path, relative to the directory of the config file.
    pub(super) fn path(&self) -> Read<Located<PathBuf>> {
        let path = self.parsed(|text| self.reader.resolve(text))?;
        Ok(self.located(path))
    }

    /// The path of a unix socket.
    pub(super) fn socket_path(&self) -> Read<Located<PathBuf>> {
        let path = self.parsed(|text| self.reader.socket(text))?;
        Ok(self.located(path))
    }

    /// The address of a listener or of the admin server.
    pub(super) fn bind(&self) -> Read<Located<Bind>> {
        let bind = self.parsed(|text| match text.split_once(':') {
            Some(("unix", path)) => self.reader.socket(path).map(Bind::Unix),
            Some(("systemd", name)) => descriptor_name(text, name).map(Bind::Systemd),
            _ => socket_address(text).map(Bind::Tcp),
        })?;
        Ok(self.located(bind))
    }

    /// Where an upstream runs.
    pub(super) fn endpoint(&self) -> Read<Endpoint> {
        let (address, tls) = self.parsed(|text| match text.split_once("://") {
            Some(("http", rest)) => Ok((authority(text, rest, 80)?, false)),
            Some(("https", rest)) => Ok((authority(text, rest, 443)?, true)),
            _ => match text.strip_prefix("unix:") {
                Some(path) => Ok((EndpointAddress::Unix(self.reader.socket(path)?), false)),
                None => Err(
                    Problem::new(format!("{} has no scheme that is known", quoted(text)))
                        .remedy("write http://HOST:PORT, https://HOST:PORT or unix:PATH"),
                ),
            },
        })?;
        Ok(Endpoint {
            text: self.text()?.to_owned(),
            place: self.place(),
            address,
            tls,
        })
    }
}

impl Reader<'_> {
    /// Expands `${NAME}` and makes the path start from the file's directory.
    fn resolve(&self, text: &str) -> Result<PathBuf, Problem> {
        if text.is_empty() || text.contains('\0') {
            let problem = Problem::new(format!("{} is not a path", quoted(text)));
            return Err(problem.remedy("write the path of a file"));
        }
        let mut path = OsString::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            path.push(before);
            let Some((name, behind)) = after.split_once('}') else {
                return Err(Problem::new(format!(
                    "{} has a \"${{\" without its \"}}\"",
                    quoted(text)
                ))
                .remedy("write ${NAME}"));
            };
            path.push(self.variable(name)?);
            rest = behind;
        }
        path.push(rest);
        Ok(self.directory.join(path))
    }

    fn variable(&self, name: &str) -> Result<OsString, Problem> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            return Err(
                Problem::new(format!("{} is not the name of a variable", quoted(name)))
                    .remedy("write ${NAME}, with letters, digits and `_`"),
            );
        }
        let value = (self.environment)(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| {
            let problem = Problem::new(format!("the environment variable {name} is not set"));
            match name {
                "CREDENTIALS_DIRECTORY" => problem.remedy(
                    "start countersign as a systemd service with LoadCredential=, or write the path itself",
                ),
                _ => problem.remedy(format!("set {name}, or write the path itself")),
            }
        })
    }

    fn socket(&self, text: &str) -> Result<PathBuf, Problem> {
        let path = self.resolve(text)?;
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            let problem =
                format!("the path of a unix socket has at most {LONGEST_SOCKET_PATH} bytes");
            return Err(Problem::new(problem).remedy("choose a shorter path, such as one in /run"));
        }
        Ok(path)
    }
}

/// The words, as a choice: `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Why a text cannot be meant as it stands, if it cannot.
pub(super) fn not_literal(text: &str) -> Option<&'static str> {
    if text.contains("${") {
        Some("has a variable, which only paths can have")
    } else if text.chars().any(char::is_control) {
        Some("has a control character")
    } else {
        None
    }
}

/// The name that systemd passes a socket under: that of `FileDescriptorName=`.
fn descriptor_name(text: &str, name: &str) -> Result<String, Problem> {
    // Of systemd's own rules (systemd.socket(5)); a colon would be two names.
    let legal = |c: char| c.is_ascii_graphic() && c != ':';
    if name.is_empty() || name.len() > LONGEST_DESCRIPTOR_NAME || !name.chars().all(legal) {
        let problem = Problem::new(format!("{} names no socket of systemd", quoted(text)));
        return Err(problem.remedy(
            "write \"systemd:\" and what FileDescriptorName= of the socket unit says, such as \"systemd:https\"",
        ));
    }
    Ok(name.to_owned())
}

fn socket_address(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        let problem = Problem::new(format!("{} is not an address with a port", quoted(text)));
        let (host, port) = text.rsplit_once(':').unwrap_or(match text.parse::<u16>() {
            Ok(_) => ("", text),
            Err(_) => (text, "8443"),
        });
        let port = port
            .parse::<u16>()
            .map_or("8443".to_owned(), |port| port.to_string());
        let host = match host.trim_matches(['[', ']']) {
            "localhost" => "127.0.0.1".to_owned(),
            host => match host.parse() {
                Ok(IpAddr::V4(ip)) => ip.to_string(),
                Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
                Err(_) => "0.0.0.0".to_owned(),
            },
        };
        problem.remedy(format!(
            "write \"{host}:{port}\", \"unix:PATH\" or \"systemd:NAME\""
        ))
    })
}

/// Reads `HOST[:PORT]` with at most a `/` behind it.
fn authority(text: &str, rest: &str, default_port: u16) -> Result<EndpointAddress, Problem> {
    let refuse = |why: &str| Problem::new(format!("{} {why}", quoted(text)));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        // Not quoted: it holds a password.
        return Err(Problem::new("the address carries a user")
            .remedy("write the credential in [upstreams.NAME.outbound.credential]"));
    }
    if rest.contains(['/', '?', '#']) {
        return Err(refuse("has a path")
            .causes("an endpoint takes the path of the request")
            .remedy("write only the scheme, the host and the port; what goes before every path is add_prefix of the route"));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port =
        match port {
            None => default_port,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                refuse("has no legal port").remedy("write a port from 1 to 65535")
            })?,
        };
    let host = host_name(host)
        .ok_or_else(|| refuse("has no legal host").remedy("write a name or an address, such as \"https://10.0.0.5:8443\" or \"https://[::1]:8443\""))?;
    Ok(EndpointAddress::Tcp { host, port })
}

/// A host name in lower case without a final dot, or an address; IPv6 comes in
/// brackets and leaves without.
pub(super) fn host_name(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[') {
        let ip: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(ip.to_string());
    }
    if let Ok(ip) = text.parse::<std::net::Ipv4Addr>() {
        return Some(ip.to_string());
    }
    let name = canonical_dns(text).into_owned();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits is an address that was mistyped, never a name (WHATWG URL, "ends in a number").
    let number = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    (name.len() <= 253 && name.split('.').all(label) && !number).then_some(name)
}

/// A network such as `10.0.0.0/8`, or one address. IPv4 in the form of IPv6 is
/// held as IPv4, which is how sources are compared.
pub(super) fn network(text: &str) -> Result<IpNet, Problem> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        Problem::new(format!("{} is not a network", quoted(text)))
            .remedy("write an address and its prefix, such as \"10.0.0.0/8\" or \"fd00::/8\"")
    })?;
    if network.trunc() != network {
        let problem = Problem::new(format!("{} is an address within a network", quoted(text)));
        return Err(problem.remedy(format!(
            "write \"{}\" for the network or \"{}\" for the address",
            network.trunc(),
            network.addr()
        )));
    }
    if let (IpAddr::V6(address), prefix @ 96..) = (network.addr(), network.prefix_len())
        && let Some(address) = address.to_ipv4_mapped()
        && let Ok(network) = Ipv4Net::new(address, prefix.saturating_sub(96))
    {
        return Ok(network.into());
    }
    Ok(network)
}
