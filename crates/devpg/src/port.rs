//! Which port the server tries.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

/// Below the range from which systems take the ports of outgoing connections (Linux from 32768, others from 49152).
/// In that range a client may hold the port just when the server restarts; worse, a client that keeps trying a port on
/// which nobody listens can be given the same port as its own end, and then it is connected to itself.
const RANGE: RangeInclusive<u16> = 20_000..=32_000;

/// How many ports are tried before giving up.
pub(crate) const TRIES: usize = 50;

/// No child inherits the socket: from its birth where the system can do that.
#[cfg(target_os = "linux")]
const AT_ONCE: SocketFlags = SocketFlags::CLOEXEC;
#[cfg(not(target_os = "linux"))]
const AT_ONCE: SocketFlags = SocketFlags::empty();

/// The ports to try: the one of last time, then free ones at random. A port here was free a moment ago; the server may
/// still lose it to somebody, which is why there are several.
pub(crate) fn candidates(last_time: Option<u16>) -> impl Iterator<Item = u16> {
    let at_random = std::iter::repeat_with(random_port).flatten();
    last_time.into_iter().chain(at_random).take(TRIES).filter(|&port| is_free(port))
}

/// Can a server listen on this port of 127.0.0.1 just now?
pub(crate) fn is_free(port: u16) -> bool {
    port != 0 && bound(port).is_ok()
}

/// A socket that is bound and doesn't listen: a child that another thread is just forking has a copy of it for a moment,
/// and if it listened, the server would find its port taken by ourselves.
fn bound(port: u16) -> rustix::io::Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, AT_ONCE, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(socket)
}

fn random_port() -> Option<u16> {
    let span = u32::from(RANGE.end() - RANGE.start()) + 1;
    let offset = u16::try_from(getrandom::u32().ok()? % span).ok()?;
    Some(RANGE.start() + offset)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_port_of_last_time_comes_first_unless_it_is_taken() {
        let free = candidates(None).next().unwrap();
        assert!(RANGE.contains(&free));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free)).unwrap();
        assert_ne!(candidates(Some(free)).next(), Some(free));
        drop(taken);
        // In time: the listener may live on for a moment in a child that another test is just forking.
        let first_again = || candidates(Some(free)).next() == Some(free);
        assert!(crate::orphans::wait_until(Duration::from_secs(5), first_again));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_port_being_checked_can_be_listened_on() {
        let free = candidates(None).next().unwrap();
        let _checking = bound(free).unwrap();
        TcpListener::bind((Ipv4Addr::LOCALHOST, free)).unwrap();
    }
}
