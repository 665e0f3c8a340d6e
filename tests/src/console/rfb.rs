//! A VNC server that notes what its viewers press and click: every message of theirs, in order.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_lab::Wait;

use super::BOUND;

/// Pseudo-encoding by which a server says that it takes places of keys (QEMU's extended key event).
const PLACES: i32 = -258;

/// What a viewer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key by its symbol alone (RFC 6143 7.5.4).
    Symbol {
        /// Pressed, or released.
        down: bool,
        /// The symbol, as X11 counts them.
        keysym: u32,
    },
    /// A key by its place as well: QEMU's extended key event.
    Place {
        /// Pressed, or released.
        down: bool,
        /// The symbol.
        keysym: u32,
        /// The place: set 1, with the highest bit for those that begin with e0.
        scancode: u32,
    },
    /// The pointer, with a button down.
    Click(u16, u16),
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = |down: bool| if down { '+' } else { '-' };
        match self {
            Self::Symbol { down, keysym } => write!(f, "{}{keysym:x}", sign(*down)),
            Self::Place { down, keysym, scancode } => {
                write!(f, "{}{scancode:x}/{keysym:x}", sign(*down))
            }
            Self::Click(x, y) => write!(f, "({x},{y})"),
        }
    }
}

/// The server; its connections end when dropped.
#[derive(Debug)]
pub struct Rfb {
    /// Where it is.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    events: Vec<Event>,
    /// How often the present viewer asked for a picture: the second time it has looked at the first.
    asked: u32,
    connections: Vec<TcpStream>,
}

impl Rfb {
    /// One with a screen of this size, that takes `places` of keys or symbols alone.
    pub fn start(size: (u16, u16), places: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let book = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), book) = (stream, Arc::clone(&book)) else { continue };
                let mut now = lock(&book);
                now.asked = 0;
                now.connections.push(stream.try_clone().unwrap());
                drop(now);
                // ends with the connection, whichever way that does
                std::thread::spawn(move || serve(&mut stream, size, places, &book));
            }
        });
        Self { address, seen }
    }

    /// Waits until the viewer has looked at the first picture, and so knows how keys are to be said.
    pub fn looked_at(&self) {
        Wait::until(BOUND, "a viewer that has looked", || lock(&self.seen).asked > 1).unwrap();
    }

    /// How many came so far.
    pub fn connections(&self) -> usize {
        lock(&self.seen).connections.len()
    }

    /// Waits until exactly this was done since the last time, such as `+1e/61 -1e/61`.
    ///
    /// # Panics
    ///
    /// When something else was.
    pub fn expect(&self, what: &str) {
        let come = Wait::until(BOUND, what, || {
            let said = self.said();
            said.len() >= what.len() || !what.starts_with(&said)
        });
        let said = self.said();
        assert_eq!(said, what, "{come:?}");
        lock(&self.seen).events.clear();
    }

    /// What was done since the last time.
    pub fn said(&self) -> String {
        let events = lock(&self.seen).events.iter().map(ToString::to_string).collect::<Vec<_>>();
        events.join(" ")
    }

    /// Ends all connections, as a guest does that is switched off.
    pub fn hang_up(&self) {
        for stream in &lock(&self.seen).connections {
            // an error means that it has ended already
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Rfb {
    fn drop(&mut self) {
        self.hang_up();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    stream: &mut TcpStream,
    size: (u16, u16),
    places: bool,
    seen: &Mutex<Seen>,
) -> io::Result<()> {
    handshake(stream, size)?;
    loop {
        match take::<1>(stream)? {
            // the format of pixels
            [0] => take::<19>(stream).map(drop)?,
            // encodings
            [2] => {
                let [_, high, low] = take::<3>(stream)?;
                skip(stream, 4 * u64::from(u16::from_be_bytes([high, low])))?;
            }
            [3] => {
                take::<9>(stream)?;
                lock(seen).asked += 1;
                if lock(seen).asked == 1 {
                    picture(stream, size, places)?;
                }
            }
            [4] => {
                let [down, _, _, keysym @ ..] = take::<7>(stream)?;
                let keysym = u32::from_be_bytes(keysym);
                note(seen, Event::Symbol { down: down != 0, keysym });
            }
            [5] => {
                let [buttons, x0, x1, y0, y1] = take::<5>(stream)?;
                if buttons != 0 {
                    let [x, y] = [[x0, x1], [y0, y1]].map(u16::from_be_bytes);
                    note(seen, Event::Click(x, y));
                }
            }
            // the clipboard
            [6] => {
                let [_, _, _, length @ ..] = take::<7>(stream)?;
                skip(stream, i32::from_be_bytes(length).unsigned_abs().into())?;
            }
            // continuous updates
            [150] => take::<9>(stream).map(drop)?,
            [255] => {
                let [_, _, down, s0, s1, s2, s3, code @ ..] = take::<11>(stream)?;
                let (keysym, scancode) =
                    (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes(code));
                note(seen, Event::Place { down: down != 0, keysym, scancode });
            }
            [other] => return Err(io::Error::other(format!("message {other} is not known here"))),
        }
    }
}

fn note(seen: &Mutex<Seen>, event: Event) {
    lock(seen).events.push(event);
}

/// RFB 3.8 without authentication, up to the screen's description.
fn handshake(stream: &mut TcpStream, (width, height): (u16, u16)) -> io::Result<()> {
    stream.write_all(b"RFB 003.008\n")?;
    take::<12>(stream)?;
    stream.write_all(&[1, 1])?;
    take::<1>(stream)?;
    stream.write_all(&[0; 4])?;
    take::<1>(stream)?;
    let mut init = [width.to_be_bytes(), height.to_be_bytes()].concat();
    init.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    init.extend([0, 0, 0, 3]);
    init.extend(b"Rfb");
    stream.write_all(&init)
}

/// A black picture, and whether places of keys are taken.
fn picture(stream: &mut TcpStream, (width, height): (u16, u16), places: bool) -> io::Result<()> {
    let rectangle = |width: u16, height: u16, encoding: i32| {
        let place = [[0; 2], [0; 2], width.to_be_bytes(), height.to_be_bytes()].concat();
        [place, encoding.to_be_bytes().to_vec()].concat()
    };
    let mut update = vec![0, 0, 0, if places { 2 } else { 1 }];
    if places {
        update.extend(rectangle(0, 0, PLACES));
    }
    update.extend(rectangle(width, height, 0));
    update.resize(update.len() + 4 * usize::from(width) * usize::from(height), 0);
    stream.write_all(&update)
}

fn take<const LENGTH: usize>(stream: &mut TcpStream) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    io::copy(&mut stream.take(length), &mut io::sink()).map(drop)
}
