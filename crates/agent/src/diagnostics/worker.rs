//! The process that reads packets for the agent: bytes from outside are taken apart here and nowhere else.
//!
//! Guarantees: it has no rights, no files and no way to send anything but its answers to the agent ([`PacketReader`]);
//! any bytes may come in; it ends with the agent, or when its task is done.
//!
//! [`PacketReader`]: sluice_sys::process::Profile::PacketReader

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sluice_sys::packet::{receive_frame, receive_message};
use sluice_sys::process::take_handed;

use super::echo::Family;
use super::neighbour::{advertisement, arp_reply};
use super::pcap;
use super::task::{Said, Take, Task};

/// The name of the socket that it is given.
pub(super) const HEARD: &str = "heard";
/// No task is longer.
const MAX_TASK: usize = 16 << 10;
/// Longer than any message and any frame that is read whole; of others the beginning says enough.
const BUFFER: usize = 2048;

/// Does what the line on standard input asks for, with the socket that this process was given, and answers there.
///
/// Errors: this process was started by somebody else than the agent; the socket's, such as that of a link that went away.
pub fn read_packets() -> io::Result<()> {
    let task: Task = serde_json::from_slice(&line()?)?;
    let socket = take_handed(HEARD).pop().ok_or(io::ErrorKind::NotFound)?;
    answer(&Said::Ready)?;
    match task {
        Task::Echo { peer, id } => {
            let family = if peer.is_ipv4() { Family::V4 } else { Family::V6 };
            let mut buffer = vec![0; BUFFER];
            loop {
                let (length, from) = next(&socket, None, || receive_message(&socket, &mut buffer))?
                    .ok_or(io::ErrorKind::TimedOut)?;
                let packet = buffer.get(..length).unwrap_or_default();
                if let Some(heard) = family.read(packet, id) {
                    let reason = heard.reason.map(str::to_owned);
                    let (sequence, outcome) = (heard.sequence, heard.outcome);
                    answer(&Said::Echo { sequence, outcome, reason, from })?;
                }
            }
        }
        Task::Arp(target) => holders(&socket, |frame| arp_reply(frame, target)),
        Task::Neighbour(target) => holders(&socket, |frame| advertisement(frame, target)),
        Task::Capture(take) => capture(&socket, take),
    }
}

/// Says of every frame whom `read` finds in it.
fn holders(
    socket: &OwnedFd,
    read: impl Fn(&[u8]) -> Option<sluice_api::types::MacAddr>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let seen = next(socket, None, || receive_frame(socket.as_fd(), &mut buffer))?
            .ok_or(io::ErrorKind::TimedOut)?;
        // on a trunk, a tagged answer is another network's
        let frame = buffer.get(..seen.taken).filter(|_| seen.tag.is_none()).unwrap_or_default();
        if let Some(mac) = read(frame) {
            answer(&Said::Holder(mac))?;
        }
    }
}

/// The file, up to the first of its limits. An agent that is slow to read loses packets, not memory.
fn capture(socket: &OwnedFd, mut take: Take) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(take.seconds.into());
    let mut buffer = vec![0; pcap::SNAP];
    write(&pcap::header())?;
    take.bytes = take.bytes.saturating_sub(pcap::FILE_HEADER);
    while take.packets > 0 {
        let received = next(socket, Some(deadline), || receive_frame(socket.as_fd(), &mut buffer))?;
        let Some(seen) = received else { return Ok(()) };
        let frame = pcap::tagged(buffer.get(..seen.taken).unwrap_or_default(), seen.tag);
        if take.filter.keeps(&frame) {
            let added = frame.len() - seen.taken;
            let record = pcap::record(seen.at, seen.length + added, &frame);
            let Some(left) = take.bytes.checked_sub(record.len()) else { return Ok(()) };
            take.bytes = left;
            take.packets -= 1;
            write(&record)?;
        }
    }
    Ok(())
}

/// What `receive` gets from a socket that does not block; `None` at `deadline`.
fn next<T>(
    socket: &OwnedFd,
    deadline: Option<Instant>,
    mut receive: impl FnMut() -> io::Result<T>,
) -> io::Result<Option<T>> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        match receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(Some),
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The line on standard input.
fn line() -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_TASK {
        if rustix::io::read(io::stdin(), &mut byte)? == 0 || byte == *b"\n" {
            return Ok(line);
        }
        line.extend(byte);
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn answer(said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    write(&line)
}

/// To the very descriptor that is the agent's: it may write to no other.
fn write(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(io::stdin(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
