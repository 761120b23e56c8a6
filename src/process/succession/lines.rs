//! Lines over a unix socket, some with a descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The longest line, with its end.
const LONGEST: usize = 4096;

/// One end of a conversation in which each side waits for the other's line before
/// it says the next, so that a line comes in one piece, with its descriptor.
#[derive(Debug)]
pub(super) struct Lines(UnixStream);

impl Lines {
    /// Each word waits for `patience` at most.
    pub(super) fn of(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self(stream))
    }

    /// From now on the other side may take this long for a line.
    pub(super) fn wait_for(&self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))
    }

    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        self.send(line, None)
    }

    pub(super) fn say_with(&mut self, line: &str, passed: BorrowedFd<'_>) -> io::Result<()> {
        self.send(line, Some(passed))
    }

    fn send(&mut self, line: &str, passed: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let line = format!("{line}\n");
        if line.len() > LONGEST {
            return Err(io::Error::other("a line is too long to be passed on"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut extra = SendAncillaryBuffer::new(&mut space);
        let passed = passed.as_slice();
        if !passed.is_empty() && !extra.push(SendAncillaryMessage::ScmRights(passed)) {
            return Err(io::Error::other("a descriptor does not fit"));
        }
        let pieces = [IoSlice::new(line.as_bytes())];
        let sent = sendmsg(self.0.as_fd(), &pieces, &mut extra, SendFlags::NOSIGNAL)?;
        if sent == line.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// The next line, and what came with it.
    pub(super) fn hear(&mut self) -> io::Result<(String, Option<OwnedFd>)> {
        let mut buffer = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut extra = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut buffer)];
        // A process that was stopped and goes on has not heard anything else for that.
        let got = rustix::io::retry_on_intr(|| {
            recvmsg(
                self.0.as_fd(),
                &mut pieces,
                &mut extra,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        let passed = extra.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut all) => all.next(),
            _ => None,
        });
        let heard = buffer.get(..got.bytes).unwrap_or_default();
        if heard.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = std::str::from_utf8(heard).map_err(io::Error::other)?;
        match line.strip_suffix('\n') {
            Some(line) if !line.contains('\n') => Ok((line.to_owned(), passed)),
            _ => Err(io::Error::other("what was heard is not one line")),
        }
    }

    /// Hears this line and no other.
    pub(super) fn expect(&mut self, wanted: &str) -> io::Result<()> {
        let (line, _) = self.hear()?;
        if line == wanted {
            Ok(())
        } else {
            Err(io::Error::other(format!("\"{wanted}\" was expected")))
        }
    }
}
