//! Listeners that serve nothing and lead to where something is.

/// `redirect_to_https`: where a plaintext listener leads every request to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// The host, whatever was asked for; `None`: the one that was, if it is one
    /// of this config.
    pub host: Option<String>,
    /// The port; 443 is not written.
    pub port: u16,
    /// 301, 302, 307 or 308.
    pub status: u16,
}
