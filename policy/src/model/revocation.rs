//! Ways in for revocations beside the operator's own (racoon.conf: `revocation`, an extension).

use std::time::Duration;

/// How often `crl_url`s are asked unless `crl_interval` says otherwise.
pub const DEFAULT_CRL_INTERVAL: Duration = Duration::from_secs(600);

/// `revocation {}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationConfig {
    /// Users who may revoke over the control socket; they may do nothing else there.
    pub allowed_users: Vec<String>,
    /// CRL files to be watched, beside the hashed ones of `path certificate`.
    pub crl_files: Vec<String>,
    /// Where CRLs are fetched.
    pub crl_urls: Vec<CrlUrl>,
    /// How often.
    pub crl_interval: Duration,
    /// Publishers of keylime's notices, each HOST:PORT.
    pub subscriptions: Vec<String>,
    /// Certificate of the one who signs the notices.
    pub notifier_certificate: Option<String>,
    /// Where notices are taken in over HTTP.
    pub webhooks: Vec<Webhook>,
    /// What becomes of SAs whose peer's certificate ends.
    pub expired_certificate: ExpiredCertificate,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            allowed_users: Vec::new(),
            crl_files: Vec::new(),
            crl_urls: Vec::new(),
            crl_interval: DEFAULT_CRL_INTERVAL,
            subscriptions: Vec::new(),
            notifier_certificate: None,
            webhooks: Vec::new(),
            expired_certificate: ExpiredCertificate::default(),
        }
    }
}

/// A place to fetch a CRL from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlUrl {
    /// `http://…` or `https://…`.
    pub url: String,
    /// File with the CAs that its server's certificate may be of, PEM; the system's CAs without it.
    pub ca: Option<String>,
}

/// A place to take notices in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// ADDRESS:PORT to listen on.
    pub listen: String,
    /// Path of the URL, `/…`.
    pub path: String,
    /// With TLS; without it the address is a loopback one.
    pub tls: Option<WebhookTls>,
}

/// Files of a TLS webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTls {
    /// Our certificate (chain), PEM.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// CA of the clients, who must show a certificate.
    pub client_ca: String,
}

/// What becomes of SAs whose peer's certificate ends before they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiredCertificate {
    /// They live to their own end, as racoon's did.
    #[default]
    Keep,
    /// They are deleted.
    Cut,
}
