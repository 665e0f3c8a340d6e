//! The two streams of a session, and the pings beside them.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

use super::pace::Pace;
use super::{End, notes};
use crate::backend::{self, STALLED};
use crate::grants::{Seat, Stats};
use crate::rfb::{ClientStream, Rule};
use crate::slice::Grant;

/// Most bytes of screen carried in one WebSocket message.
const CHUNK: usize = 64 * 1024;
/// Fewest bytes of screen read at once, however narrow the bound.
const LEAST: usize = 256;

thread_local! {
    /// Where screens are read into, one for all sessions of a thread: an idle session holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Bytes of screen and of input so far.
pub(super) fn bytes(stats: &Stats) -> (u64, u64) {
    (stats.to_browser.load(Ordering::Relaxed), stats.from_browser.load(Ordering::Relaxed))
}

/// Carries both ways until one side ends. `first` came from the browser already.
pub(super) async fn run(
    socket: &mut WebSocket,
    screen: Box<dyn backend::Stream>,
    seat: &Seat,
    sender: &mpsc::Sender<Message>,
    notes: mpsc::Receiver<Message>,
    first: Vec<u8>,
) -> End {
    let pulse = Pulse::new();
    let (sink, stream) = socket.split();
    let (reader, writer) = tokio::io::split(screen);
    let input = Input { seat, sender, pulse: &pulse, client: ClientStream::default(), writer };
    tokio::select! {
        end = to_browser(sink, reader, notes, seat, &pulse) => end,
        end = input.carry(stream, first) => end,
        end = heartbeat(sender, seat, &pulse) => end,
    }
}

/// When the browser last showed that it is there.
struct Pulse {
    start: Instant,
    last: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        self.last.store(self.millis(), Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.millis().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}

/// Pings the browser, and gives it up when it was silent for two intervals.
async fn heartbeat(sender: &mpsc::Sender<Message>, seat: &Seat, pulse: &Pulse) -> End {
    let every = Duration::from_secs(seat.settings.ping_seconds.get().into());
    // a quarter of slack: the answer to a ping comes a little after it
    let most = (every * 2).saturating_sub(every / 4);
    loop {
        let payload = pulse.millis().to_be_bytes().to_vec();
        // when the channel is full, the browser takes nothing at all, and its silence will tell
        let _full = sender.try_send(Message::Ping(payload.into()));
        sleep(every).await;
        if pulse.silence() >= most {
            return End::BrowserSilent;
        }
    }
}

/// The screen to the browser, and the notes between.
async fn to_browser(
    mut sink: impl Sink<Message, Error = axum::Error> + Unpin,
    mut reader: impl AsyncRead + Unpin,
    mut notes: mpsc::Receiver<Message>,
    seat: &Seat,
    pulse: &Pulse,
) -> End {
    let mut pace = None;
    let mut ready: Option<tokio::time::Instant> = None;
    loop {
        let next = async {
            if let Some(ready) = ready {
                sleep_until(ready).await;
            }
            chunk(&mut reader, most(bound(seat))).await
        };
        let message = tokio::select! {
            biased;
            Some(note) = notes.recv() => {
                if sink.send(note).await.is_err() { return End::BrowserLeft }
                continue;
            }
            bytes = next => match bytes {
                Ok(bytes) if !bytes.is_empty() => bytes,
                _ => return End::ScreenClosed,
            },
        };
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if sink.send(Message::Binary(message)).await.is_err() {
            return End::BrowserLeft;
        }
        pulse.beat();
        seat.stats.to_browser.fetch_add(length.into(), Ordering::Relaxed);
        let wait = paced(&mut pace, bound(seat), length);
        ready = (!wait.is_zero()).then(|| tokio::time::Instant::now() + wait);
    }
}

/// Most bytes to read at once: a quarter of a second's worth, so that the picture moves, and the screen's end is seen soon.
fn most(bound: Option<NonZeroU32>) -> usize {
    let bound = bound.map_or(CHUNK, |it| usize::try_from(it.get() / 4).unwrap_or(CHUNK));
    bound.clamp(LEAST, CHUNK)
}

fn bound(seat: &Seat) -> Option<NonZeroU32> {
    seat.changes.borrow().as_ref().and_then(|grant| grant.limits.screen_bytes_per_second)
}

/// How long to wait after `amount`, by a bound that may come, change and go.
fn paced(pace: &mut Option<Pace>, bound: Option<NonZeroU32>, amount: u32) -> Duration {
    let Some(bound) = bound else {
        *pace = None;
        return Duration::ZERO;
    };
    let now = Instant::now();
    let pace = pace.get_or_insert_with(|| Pace::new(bound.get(), now));
    pace.set(bound.get());
    pace.take(amount, now)
}

/// The next bytes of the screen, `most` of them; none at its end. Takes nothing when it is given up before it is done.
async fn chunk(reader: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Bytes> {
    std::future::poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
            ready!(Pin::new(&mut *reader).poll_read(context, &mut buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
    })
    .await
}

/// The browser's side of a session.
struct Input<'a, W> {
    seat: &'a Seat,
    sender: &'a mpsc::Sender<Message>,
    pulse: &'a Pulse,
    client: ClientStream,
    writer: W,
}

impl<W: AsyncWrite + Unpin> Input<'_, W> {
    async fn carry(
        mut self,
        mut stream: impl Stream<Item = Result<Message, axum::Error>> + Unpin,
        first: Vec<u8>,
    ) -> End {
        let mut pace = None;
        let mut message = Some(Ok(Message::binary(first)));
        while let Some(next) = message {
            self.pulse.beat();
            let taken = match next {
                Ok(Message::Binary(bytes)) => self.pass(&bytes).await,
                Ok(Message::Pong(payload)) => self.pong(&payload),
                Ok(Message::Ping(_)) => Ok(1),
                Ok(Message::Text(_)) => Err(text()),
                Ok(Message::Close(_)) => Err(End::BrowserLeft),
                Err(error) => Err(broken(&error)),
            };
            let messages = match taken {
                Ok(messages) => messages,
                Err(end) => return end,
            };
            let wait =
                paced(&mut pace, self.grant().map(|it| it.limits.messages_per_second), messages);
            if !wait.is_zero() {
                sleep(wait).await;
            }
            message = stream.next().await;
        }
        End::BrowserLeft
    }

    /// The grant as it is now; none while it is being taken away.
    fn grant(&self) -> Option<std::sync::Arc<Grant>> {
        self.seat.changes.borrow().clone()
    }

    /// Passes on what the grant allows; answers how many messages there were.
    async fn pass(&mut self, bytes: &[u8]) -> Result<u32, End> {
        let grant = self.grant().ok_or(End::Revoked)?;
        let clipboard_bytes = grant.limits.clipboard_bytes;
        let rule = Rule { view_only: grant.view_only, clipboard_bytes };
        let mut out = Vec::with_capacity(bytes.len());
        let seen = self.client.feed(bytes, rule, &mut out)?;
        let stats = &self.seat.stats;
        if seen.inputs > 0 {
            stats.input();
        }
        stats.left_out.fetch_add(seen.left_out.into(), Ordering::Relaxed);
        if out.is_empty() {
            return Ok(seen.messages);
        }
        let written = async {
            self.writer.write_all(&out).await?;
            self.writer.flush().await
        };
        match timeout(STALLED, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::ScreenClosed),
            Err(_) => return Err(End::ScreenStalled),
        }
        let length = u64::try_from(out.len()).unwrap_or(u64::MAX);
        self.seat.stats.from_browser.fetch_add(length, Ordering::Relaxed);
        Ok(seen.messages)
    }

    /// The answer to a ping carries the time at which it was sent.
    fn pong(&self, payload: &[u8]) -> Result<u32, End> {
        if let Some(sent) = payload.first_chunk() {
            let took = self.pulse.millis().saturating_sub(u64::from_be_bytes(*sent));
            let took = u32::try_from(took).unwrap_or(u32::MAX).max(1);
            self.seat.stats.round_trip.store(took, Ordering::Relaxed);
            let _full = self.sender.try_send(notes::pulse(self.seat));
        }
        Ok(1)
    }
}

/// The page has nothing to say in text.
pub(super) fn text() -> End {
    End::BrowserBroke("text instead of RFB".into())
}

/// A connection that broke away, or a browser that broke WebSocket's rules.
pub(super) fn broken(error: &axum::Error) -> End {
    let text = error.to_string();
    // the type behind it is not ours to name; what it says begins so when a peer or a limit broke a rule
    let rule = ["WebSocket protocol error: ", "Space limit exceeded: "];
    let kept = rule.iter().find_map(|start| text.strip_prefix(start));
    match kept {
        Some(rule) if !rule.contains("without closing handshake") => End::BrowserBroke(rule.into()),
        _ => End::BrowserLeft,
    }
}
