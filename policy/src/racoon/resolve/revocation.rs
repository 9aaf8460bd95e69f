//! `revocation {}`, an extension: who else may revoke, where CRLs and keylime's notices come from.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::args::Args;
use super::super::ast::Arg;
use super::super::directives::Block;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;
use crate::model::revocation::{CrlUrl, ExpiredCertificate, Webhook, WebhookTls};

/// Shorter intervals ask a CA more often than it can have something new.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

impl Resolver<'_> {
    /// ```text
    /// revocation := `revocation` `{` directive* `}`; several blocks add up
    /// directive  := `allow_user` STRING | `crl_file` STRING | `crl_url` STRING [ `ca` STRING ] | `crl_interval` TIME
    ///             | `subscribe` STRING | `notifier_certificate` STRING
    ///             | `webhook` STRING [ `certificate` STRING STRING `client_ca` STRING ]
    ///             | `expired_certificate` ( `keep` | `cut` )
    /// ```
    pub(super) fn revocation(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        if !self.known(Block::Revocation, args) {
            return;
        }
        match args.name() {
            "allow_user" => {
                let Some(user) = args.string("a user's name in quotes", self.diagnostics) else { return };
                add(&mut self.config.revocation.allowed_users, user.text.clone());
            }
            "crl_file" => {
                let Some(file) = args.string("a file's name in quotes", self.diagnostics) else { return };
                let path = self.certificate_path(file);
                add(&mut self.config.revocation.crl_files, path);
            }
            "crl_url" => self.crl_url(args),
            "crl_interval" => self.crl_interval(args),
            "subscribe" => {
                const WHAT: &str = "where keylime's verifier publishes, \"tcp://HOST:PORT\"";
                let Some(at) = args.string(WHAT, self.diagnostics) else { return };
                match at.text.strip_prefix("tcp://").filter(|rest| has_host_and_port(rest)) {
                    Some(rest) => add(&mut self.config.revocation.subscriptions, rest.to_owned()),
                    None => return self.unusable(args, at, WHAT),
                }
                self.notices_from.get_or_insert(args.name_span());
            }
            "notifier_certificate" => {
                let Some(file) = args.string("a file's name in quotes", self.diagnostics) else { return };
                let path = self.certificate_path(file);
                self.config.revocation.notifier_certificate = Some(path);
            }
            "webhook" => self.webhook(args),
            "expired_certificate" => {
                const WORDS: &[(&str, ExpiredCertificate)] =
                    &[("keep", ExpiredCertificate::Keep), ("cut", ExpiredCertificate::Cut)];
                if let Some(word) = args.choice(WORDS, self.diagnostics) {
                    self.config.revocation.expired_certificate = word;
                }
            }
            _ => {}
        }
    }

    fn crl_url(&mut self, args: &mut Args<'_>) {
        const WHAT: &str = "a URL in quotes, \"http://HOST[:PORT]/PATH\"";
        let Some(url) = args.string(WHAT, self.diagnostics) else { return };
        if !["http://", "https://"].iter().any(|scheme| url.text.strip_prefix(scheme).is_some_and(has_host)) {
            return self.unusable(args, url, WHAT);
        }
        let ca = if args.bump_word("ca") {
            let Some(file) = args.string("the file of the server's CA in quotes", self.diagnostics) else { return };
            if url.text.starts_with("http://") {
                return self.diagnostics.push(
                    Diagnostic::error(file.span, "a server's CA is for an https URL, this one is http")
                        .hint("a CRL is signed: over http nobody can change it, only withhold it"),
                );
            }
            Some(self.certificate_path(file))
        } else {
            None
        };
        add(&mut self.config.revocation.crl_urls, CrlUrl { url: url.text.clone(), ca });
    }

    fn crl_interval(&mut self, args: &mut Args<'_>) {
        let Some((time, span)) = args.time(self.diagnostics) else { return };
        if time < SHORTEST_INTERVAL {
            self.diagnostics.push(Diagnostic::error(span, "`crl_interval` is too short").expected("at least 5 sec"));
            return;
        }
        self.config.revocation.crl_interval = time;
    }

    fn webhook(&mut self, args: &mut Args<'_>) {
        const WHAT: &str = "\"http://LOOPBACK:PORT/PATH\", or \"https://ADDRESS:PORT/PATH\" with its files";
        let Some(url) = args.string(WHAT, self.diagnostics) else { return };
        let (secure, rest) = match (url.text.strip_prefix("https://"), url.text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return self.unusable(args, url, WHAT),
        };
        let (listen, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let Ok(address) = listen.parse::<SocketAddr>() else { return self.unusable(args, url, WHAT) };
        let tls = if args.bump_word("certificate") {
            match self.webhook_files(args) {
                Some(files) => Some(files),
                None => return,
            }
        } else {
            None
        };
        match (secure, &tls) {
            (true, None) => {
                return self.diagnostics.push(
                    Diagnostic::error(
                        url.span,
                        "an https webhook needs its certificate, key, and the CA of its clients",
                    )
                    .hint("webhook \"https://…\" certificate \"CERT\" \"KEY\" client_ca \"CA\";"),
                );
            }
            (false, Some(_)) => {
                return self.diagnostics.error(url.span, "certificates are for an https webhook, this one is http");
            }
            (false, None) if !is_loopback(address.ip()) => {
                return self.diagnostics.push(
                    Diagnostic::error(url.span, "without TLS a webhook is for the loopback address only")
                        .hint("write 127.0.0.1 or [::1], or https with certificates"),
                );
            }
            _ => {}
        }
        self.notices_from.get_or_insert(args.name_span());
        let webhook = Webhook { listen: listen.to_owned(), path: path.to_owned(), tls };
        add(&mut self.config.revocation.webhooks, webhook);
    }

    fn webhook_files(&mut self, args: &mut Args<'_>) -> Option<WebhookTls> {
        let certificate = args.string("the certificate's file in quotes", self.diagnostics)?;
        let key = args.string("the private key's file in quotes", self.diagnostics)?;
        if !args.bump_word("client_ca") {
            args.wrong("`client_ca` and a file's name in quotes", self.diagnostics);
            return None;
        }
        let client_ca = args.string("the file of the clients' CA in quotes", self.diagnostics)?;
        Some(WebhookTls {
            certificate: self.certificate_path(certificate),
            key: self.certificate_path(key),
            client_ca: self.certificate_path(client_ca),
        })
    }

    /// Notices without a key to check them are worth nothing.
    pub(super) fn check_revocation(&mut self) {
        if let (Some(span), None) = (self.notices_from, &self.config.revocation.notifier_certificate) {
            self.diagnostics.push(
                Diagnostic::error(span, "notices need the certificate of the one who signs them")
                    .hint("add `notifier_certificate \"RevocationNotifier-cert.crt\";`"),
            );
        }
    }

    fn unusable(&mut self, args: &mut Args<'_>, value: &Arg, what: &str) {
        let text = format!("`{}` takes {what}", args.name());
        self.diagnostics.push(Diagnostic::error(value.span, text).found(&value.text));
        args.give_up();
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

fn has_host(rest: &str) -> bool {
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    !host.is_empty() && !host.contains('@') && rest.bytes().all(|octet| octet.is_ascii_graphic())
}

fn has_host_and_port(rest: &str) -> bool {
    let Some((host, port)) = rest.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet)),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}
