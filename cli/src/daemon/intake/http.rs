//! One GET: for CRLs, with a bound on the answer. No redirects: the configuration says where the list is.

use std::path::Path;
use std::pin::Pin;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::pki::load;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Of the configuration.
    #[error("not a URL that can be fetched")]
    Url,
    /// TCP.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The file with the server's CA.
    #[error("{0}")]
    Ca(String),
    /// HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The server has none.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// Too long, or broken off.
    #[error("the answer cannot be read whole: {0}")]
    Body(String),
}

/// The body of the answer to a GET, of at most `limit` octets. The caller bounds the time. An https server has to show a
/// certificate for the URL's host, of a CA in the file `ca`, or of one that the system trusts where no file is named.
///
/// # Errors
/// [`HttpError`].
pub async fn get(url: &str, ca: Option<&Path>, limit: usize) -> Result<Bytes, HttpError> {
    let uri: Uri = url.parse().map_err(|_| HttpError::Url)?;
    let host = uri.host().ok_or(HttpError::Url)?;
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await?;
    if is_secure {
        exchange(secured(stream, bare, ca).await?, &uri, limit).await
    } else {
        exchange(stream, &uri, limit).await
    }
}

async fn secured(stream: TcpStream, host: &str, ca: Option<&Path>) -> Result<SslStream<TcpStream>, HttpError> {
    let failed = |error: openssl::error::ErrorStack| HttpError::Tls(error.to_string());
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
    if let Some(ca) = ca {
        builder.set_cert_store(only(ca)?.build());
    }
    let ssl = builder.build().configure().and_then(|configured| configured.into_ssl(host)).map_err(failed)?;
    let mut stream = SslStream::new(ssl, stream).map_err(failed)?;
    if let Err(error) = Pin::new(&mut stream).connect().await {
        return Err(HttpError::Tls(match stream.ssl().verify_result() {
            X509VerifyResult::OK => error.to_string(),
            verdict => format!("the server's certificate is refused: {verdict}"),
        }));
    }
    Ok(stream)
}

/// The CAs of one file, and no others. It is read for each connection: keylime's payload folder is deleted and made again.
fn only(ca: &Path) -> Result<X509StoreBuilder, HttpError> {
    let octets = load::read_public("CA of the CRL's server", ca).map_err(|error| HttpError::Ca(error.to_string()))?;
    let unusable = |error: openssl::error::ErrorStack| HttpError::Ca(format!("{}: {error}", ca.display()));
    let certificates = X509::stack_from_pem(&octets).map_err(unusable)?;
    if certificates.is_empty() {
        return Err(HttpError::Ca(format!("{} holds no certificate in PEM", ca.display())));
    }
    let mut store = X509StoreBuilder::new().map_err(unusable)?;
    for certificate in certificates {
        store.add_cert(certificate).map_err(unusable)?;
    }
    Ok(store)
}

async fn exchange<S>(stream: S, uri: &Uri, limit: usize) -> Result<Bytes, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let request = Request::get(path).header(HOST, authority).header(CONNECTION, "close").body(Empty::<Bytes>::new());
    let request = request.map_err(|_| HttpError::Url)?;
    // The connection is driven beside the request, and dropped with it.
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), limit).collect().await;
        Ok(body.map_err(|error| HttpError::Body(error.to_string()))?.to_bytes())
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests;
