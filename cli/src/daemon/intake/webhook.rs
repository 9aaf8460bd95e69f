//! Takes notices in over HTTP: with TLS and client certificates, or in clear on the loopback address.
//!
//! A connection has one request and a few seconds; a client that dawdles holds one of many places until then.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode};
use policy::model::revocation::{Webhook, WebhookTls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_openssl::SslStream;

use super::Common;
use super::notices::{self, NoticeError, Notifier, Outcome};
use crate::logging;
use crate::logging::limit::RateLimit;
use crate::pki::load;
use crate::revocation::keylime::message::{MAX_NOTICE, MessageError};

const KIND: &str = "webhook";
/// Connections at once; more of them wait in the kernel.
const MAX_CONNECTIONS: usize = 64;
/// For a connection from begin to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts to listen.
const PAUSE: Duration = Duration::from_secs(5);
/// Lines in a second about notices that count for nothing.
const COMPLAINTS: u32 = 2;

/// What the source is called.
pub fn name(hook: &Webhook) -> String {
    let scheme = if hook.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}{}", hook.listen, hook.path)
}

/// What a connection needs.
struct Shared {
    hook: Webhook,
    name: String,
    notifier: Notifier,
    common: Common,
    limit: Mutex<RateLimit>,
    acceptor: Option<SslAcceptor>,
}

/// Listens for ever.
pub async fn serve(hook: Webhook, notifier: Notifier, common: Common) {
    let name = name(&hook);
    loop {
        match open(&hook, &name, &notifier, &common).await {
            Ok((listener, shared)) => {
                match notifier.check() {
                    Ok(()) => common.health.good(KIND, &name),
                    Err(why) => common.health.bad(KIND, &name, &why),
                }
                accept(listener, shared).await;
            }
            Err(why) => common.health.bad(KIND, &name, &why),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(
    hook: &Webhook,
    name: &str,
    notifier: &Notifier,
    common: &Common,
) -> Result<(TcpListener, Arc<Shared>), String> {
    let acceptor = hook.tls.as_ref().map(acceptor).transpose()?;
    let listener = TcpListener::bind(&hook.listen).await.map_err(|error| error.to_string())?;
    let (hook, name, notifier, common) = (hook.clone(), name.to_owned(), notifier.clone(), common.clone());
    let limit = Mutex::new(RateLimit::new(COMPLAINTS));
    Ok((listener, Arc::new(Shared { hook, name, notifier, common, limit, acceptor })))
}

/// TLS 1.2 or later; who has no certificate of the CA does not get as far as a request.
fn acceptor(tls: &WebhookTls) -> Result<SslAcceptor, String> {
    let WebhookTls { certificate, key, client_ca } = tls;
    let key = load::read_private("webhook's private key", Path::new(key)).map_err(|error| error.to_string())?;
    let build = || {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_certificate_chain_file(certificate)?;
        let key = PKey::private_key_from_pem(&key)?;
        builder.set_private_key(&key)?;
        builder.check_private_key()?;
        builder.set_ca_file(client_ca)?;
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        Ok::<_, openssl::error::ErrorStack>(builder.build())
    };
    build().map_err(|error| format!("its certificate, key or client_ca cannot be used: {error}"))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Whoever is too slow is left.
                    let _elapsed = timeout(PATIENCE, converse(stream, shared)).await;
                    drop(place);
                });
            }
            // Out of descriptors, or a client that left: the next one may fare better.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let Some(acceptor) = &shared.acceptor else { return one_request(stream, shared).await };
    let secured = Ssl::new(acceptor.context()).and_then(|ssl| SslStream::new(ssl, stream));
    let Ok(mut secured) = secured else { return };
    match Pin::new(&mut secured).accept().await {
        Ok(()) => one_request(secured, shared).await,
        Err(error) => shared.complain(&format!("TLS: {error}")),
    }
}

async fn one_request<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    // The client's end of it: nothing to be said that it would hear.
    let _broken =
        server.keep_alive(false).max_buf_size(16 * 1024).serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != self.hook.path {
            return text(StatusCode::NOT_FOUND, "no such place");
        }
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "notices are posted");
        }
        let Ok(body) = Limited::new(request.into_body(), MAX_NOTICE).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "the notice is too long, or was broken off");
        };
        match notices::take(&body.to_bytes(), KIND, &self.notifier, &self.common).await {
            Ok(outcome) => {
                self.common.health.heard(KIND, &self.name);
                match outcome {
                    Outcome::Revoked(report) => text(StatusCode::OK, &report.summary()),
                    Outcome::Nothing(kind) => text(StatusCode::OK, &format!("{kind}: nothing to do")),
                }
            }
            Err(error) => {
                self.complain(&error.to_string());
                text(status(&error), &error.to_string())
            }
        }
    }

    fn complain(&self, why: &str) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if limit.admit(crate::daemon::clock::boottime()) {
            logging::warning(format_args!("revocation: a notice by webhook {} is refused: {why}", self.name));
        }
    }
}

fn status(error: &NoticeError) -> StatusCode {
    match error {
        NoticeError::Message(MessageError::Unsigned | MessageError::Signature) => StatusCode::FORBIDDEN,
        NoticeError::Message(MessageError::Certificate(_)) | NoticeError::Notifier(_) | NoticeError::Undone(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        NoticeError::Message(_) => StatusCode::BAD_REQUEST,
    }
}

fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
