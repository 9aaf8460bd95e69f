//! Options of a UDP socket: a policy of its own that lets IKE pass every policy of the SPD in clear, and ESP in UDP.
//! The one file of this crate that calls the C library itself.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::Emitable;
use netlink_packet_xfrm::UserPolicyInfo;
use netlink_packet_xfrm::constants::{
    AF_INET, AF_INET6, UDP_ENCAP_ESPINUDP, XFRM_POLICY_ALLOW, XFRM_POLICY_IN, XFRM_POLICY_OUT,
};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

/// `IP_XFRM_POLICY` of `linux/in.h`.
const IP_XFRM_POLICY: libc::c_int = 17;
/// `IPV6_XFRM_POLICY` of `linux/in6.h`.
const IPV6_XFRM_POLICY: libc::c_int = 35;
/// `UDP_ENCAP` of `linux/udp.h`.
const UDP_ENCAP: libc::c_int = 100;

/// Lets everything sent and received on `socket` pass in clear, whatever the SPD says. Needs CAP_NET_ADMIN.
pub fn bypass(socket: impl AsFd) -> io::Result<()> {
    let (level, option, family) = match socket_domain(&socket)? {
        AddressFamily::INET => (libc::IPPROTO_IP, IP_XFRM_POLICY, AF_INET),
        AddressFamily::INET6 => (libc::IPPROTO_IPV6, IPV6_XFRM_POLICY, AF_INET6),
        _ => return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    };
    for direction in [XFRM_POLICY_IN, XFRM_POLICY_OUT] {
        let mut policy = UserPolicyInfo { direction, action: XFRM_POLICY_ALLOW, ..UserPolicyInfo::default() };
        policy.selector.family = family;
        let mut octets = vec![0; policy.buffer_len()];
        policy.emit(&mut octets);
        set_option(&socket, level, option, &octets)?;
    }
    Ok(())
}

/// Makes the kernel take ESP out of the datagrams that arrive on `socket` (RFC 3948).
pub fn take_esp_in_udp(socket: impl AsFd) -> io::Result<()> {
    let kind = libc::c_int::from(UDP_ENCAP_ESPINUDP as u8);
    set_option(&socket, libc::IPPROTO_UDP, UDP_ENCAP, &kind.to_ne_bytes())
}

fn set_option(socket: impl AsFd, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the descriptor is borrowed for the whole call, and `value` is valid for reads of `len` octets; the
    // kernel copies them and keeps no pointer.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value.as_ptr().cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
