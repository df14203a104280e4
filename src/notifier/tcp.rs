//! A TCP pair on the loopback: what Windows has.
//!
//! Anybody on the machine may connect to a listening port first (CVE-2024-3219): a connection counts only if the two
//! ends name each other. An accept is bounded in time and in tries: a proxy or a firewall between the ends must not hang
//! the program.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

pub(crate) const NAME: &str = "tcp";

const TRIES: usize = 16;
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn pair() -> io::Result<(Socket, Socket)> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(windows)]
    exclusive_address_use(&listener)?;
    listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
    listener.listen(1)?;
    listener.set_nonblocking(true)?;

    let writer = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    writer.connect_timeout(&listener.local_addr()?, PATIENCE)?;
    let reader = accept_from(&listener, &writer)?;
    for end in [&reader, &writer] {
        end.set_nonblocking(true)?;
        end.set_tcp_nodelay(true)?;
    }
    Ok((reader, writer))
}

/// Without it another program of the same user could bind the same address beside us.
#[cfg(windows)]
fn exclusive_address_use(socket: &Socket) -> io::Result<()> {
    use std::os::windows::io::AsRawSocket as _;
    use windows_sys::Win32::Networking::WinSock::{SO_EXCLUSIVEADDRUSE, SOCKET_ERROR, SOL_SOCKET, setsockopt};

    let on = 1_i32.to_ne_bytes();
    // SAFETY: a live socket, and a pointer to as many bytes as are announced.
    let result = unsafe {
        setsockopt(
            socket.as_raw_socket() as usize,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            on.as_ptr(),
            on.len() as i32,
        )
    };
    if result == SOCKET_ERROR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The connection that is `peer`'s, among whatever else comes in.
fn accept_from(listener: &Socket, peer: &Socket) -> io::Result<Socket> {
    let deadline = Instant::now() + PATIENCE;
    let mut strangers = 0;
    while strangers < TRIES && Instant::now() < deadline {
        match listener.accept() {
            Ok((accepted, _)) => {
                if is_pair(&accepted, peer)? {
                    return Ok(accepted);
                }
                strangers += 1;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(
        ErrorKind::TimedOut,
        "wakefd: the loopback connection to ourselves did not arrive (a proxy or a firewall on 127.0.0.1?)",
    ))
}

/// Do both ends name each other?
fn is_pair(a: &Socket, b: &Socket) -> io::Result<bool> {
    let address = |end: io::Result<SockAddr>| end.map(|a| a.as_socket());
    Ok(address(a.local_addr())? == address(b.peer_addr())? && address(a.peer_addr())? == address(b.local_addr())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_stranger_who_connects_first_is_turned_away() -> io::Result<()> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
        listener.listen(4)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.as_socket().unwrap();
        let _stranger = TcpStream::connect(address)?;
        let writer = Socket::from(TcpStream::connect(address)?);
        let reader = accept_from(&listener, &writer)?;
        assert!(is_pair(&reader, &writer)?);
        Ok(())
    }

    #[test]
    fn too_many_strangers_are_an_error_and_no_hang() -> io::Result<()> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
        listener.listen(64)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.as_socket().unwrap();
        let strangers: Vec<_> = (0..TRIES).map(|_| TcpStream::connect(address)).collect();
        let elsewhere = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let peer = Socket::from(TcpStream::connect(elsewhere.local_addr()?)?);
        assert_eq!(accept_from(&listener, &peer).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(strangers);
        Ok(())
    }
}
