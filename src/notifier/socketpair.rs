//! A Unix stream pair: what Unixes without eventfd have, and Linux where eventfd is refused.

use socket2::{Domain, Socket, Type};
use std::io;

pub(crate) const NAME: &str = "socketpair";

pub(crate) fn pair() -> io::Result<(Socket, Socket)> {
    let (reader, writer) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    for end in [&reader, &writer] {
        end.set_nonblocking(true)?;
    }
    // Full after a few tokens: there is never a reason to queue more (Linux takes 6, its minimum).
    reader.set_recv_buffer_size(1)?;
    writer.set_send_buffer_size(1)?;
    Ok((reader, writer))
}
