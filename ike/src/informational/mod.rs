//! Informational exchanges (RFC 2409 §5.7): messages of one datagram, under the protection of an ISAKMP SA.

pub(crate) mod exchange;
