//! Certificates and requests for them (RFC 2408 §3.9, §3.10).

use super::error::WireError;
use super::number::CertEncoding;
use super::reader::Reader;

/// A certificate payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertPayload {
    /// How the data is to be read.
    pub encoding: CertEncoding,
    /// The certificate, the bundle or the list.
    pub data: Vec<u8>,
}

/// A certificate request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertRequest {
    /// What is asked for.
    pub encoding: CertEncoding,
    /// DER of the authority's name; empty for any.
    pub authority: Vec<u8>,
}

impl CertPayload {
    /// Reads the body of a CERT payload.
    ///
    /// # Errors
    /// [`WireError`] for a body without encoding or without data.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let (encoding, data) = split(body)?;
        if data.is_empty() {
            return Err(WireError::Missing { what: "certificate data", offset: 1 });
        }
        Ok(Self { encoding, data })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        join(self.encoding, &self.data)
    }
}

impl CertRequest {
    /// Reads the body of a CERTREQ payload.
    ///
    /// # Errors
    /// [`WireError::Truncated`] for a body without encoding.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let (encoding, authority) = split(body)?;
        Ok(Self { encoding, authority })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        join(self.encoding, &self.authority)
    }
}

fn split(body: &[u8]) -> Result<(CertEncoding, Vec<u8>), WireError> {
    let mut reader = Reader::new(body);
    Ok((CertEncoding(reader.u8("certificate encoding")?), reader.rest().to_vec()))
}

fn join(encoding: CertEncoding, data: &[u8]) -> Vec<u8> {
    [&[encoding.0], data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_be_empty_and_a_certificate_may_not() {
        let request = CertRequest { encoding: CertEncoding::X509_SIGNATURE, authority: vec![] };
        assert_eq!(CertRequest::decode(&request.encode()), Ok(request));
        assert_eq!(CertPayload::decode(&[4]), Err(WireError::Missing { what: "certificate data", offset: 1 }));
        assert!(CertPayload::decode(&[]).is_err());
        assert!(CertRequest::decode(&[]).is_err());
        let certificate = CertPayload { encoding: CertEncoding::PKCS7, data: vec![0x30, 0] };
        assert_eq!(certificate.encode(), [1, 0x30, 0]);
        assert_eq!(CertPayload::decode(&[1, 0x30, 0]), Ok(certificate));
    }
}
