//! Client connections that wait for their next request, by thread: without a task, and without anything of HTTP.
//!
//! Guarantees: a connection here costs little more than its socket; its first byte, its end and the end of its time bring
//! it back. Connections that wait in a task of their own (warm, which saves work when the next request comes soon) are
//! bounded, so that a wave of clients does not leave the memory behind that each needed for a moment.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::client_io::ClientIo;
use super::connect::Ends;
use super::http;
use super::session::Session;

/// Warm connections of one thread, at some 16 KiB each.
const MOST_WARM: usize = 256;

thread_local! {
    static YARD: RefCell<Yard> = RefCell::new(Yard::default());
    static WARM: Cell<usize> = const { Cell::new(0) };
}

/// Counts as one warm connection of this thread until it is dropped.
pub(super) struct Warm(());

impl Warm {
    /// One more.
    pub(super) fn new() -> Self {
        WARM.set(WARM.get() + 1);
        Self(())
    }

    /// Whether there are so many that who waits had better wait here.
    pub(super) fn crowded() -> bool {
        WARM.get() > MOST_WARM
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        WARM.set(WARM.get().saturating_sub(1));
    }
}

/// The connections of one thread.
#[derive(Default)]
struct Yard {
    places: Vec<Option<Box<Parked>>>,
    free: Vec<usize>,
    calls: Arc<Calls>,
}

struct Parked {
    io: ClientIo,
    ends: Ends,
    session: Arc<Session>,
}

/// Places whose connection has something to read.
#[derive(Default)]
struct Calls {
    places: Mutex<Vec<usize>>,
    waker: AtomicWaker,
}

/// What the event loop knows of a parked connection.
struct Bell {
    place: usize,
    calls: Arc<Calls>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.calls.add(self.place);
    }
}

impl Calls {
    fn add(&self, place: usize) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        self.waker.wake();
    }

    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Yard {
    fn take_in(&mut self, parked: Box<Parked>) {
        let place = self.free.pop().unwrap_or(self.places.len());
        let bell = Waker::from(Arc::new(Bell { place, calls: Arc::clone(&self.calls) }));
        // an error is for whoever reads next
        if parked.io.tcp().poll_read_ready(&mut Context::from_waker(&bell)).is_ready() {
            self.calls.add(place);
        }
        match self.places.get_mut(place) {
            Some(free) => *free = Some(parked),
            None => self.places.push(Some(parked)),
        }
    }

    /// A place may call late, when its connection is another already: that one wakes for nothing.
    fn take_out(&mut self, place: usize) -> Option<Box<Parked>> {
        let parked = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(parked)
    }

    fn over(&self) -> Vec<usize> {
        let over = |parked: &Parked| parked.session.end().is_some();
        let places = self.places.iter().enumerate();
        places.filter(|(_, it)| it.as_deref().is_some_and(over)).map(|(place, _)| place).collect()
    }
}

/// Takes in a connection between two requests, of which nothing is read or to be sent.
pub(super) fn rest(io: ClientIo, ends: Ends, session: Arc<Session>) {
    // the task that had it until now is not kept for the sake of its waker
    session.leave_alone();
    YARD.with_borrow_mut(|yard| yard.take_in(Box::new(Parked { io, ends, session })));
}

/// Waits for connections of this thread that have something to read.
pub(super) async fn called() -> Vec<usize> {
    let calls = YARD.with_borrow(|yard| Arc::clone(&yard.calls));
    std::future::poll_fn(|cx| {
        calls.waker.register(cx.waker());
        let places = calls.take();
        if places.is_empty() { Poll::Pending } else { Poll::Ready(places) }
    })
    .await
}

/// The connections at `places` go on in tasks of their own.
pub(super) fn wake(places: Vec<usize>) {
    for place in places {
        if let Some(parked) = YARD.with_borrow_mut(|yard| yard.take_out(place)) {
            let Parked { io, ends, session } = *parked;
            tokio::spawn(http::serve(io, ends, session));
        }
    }
}

/// Those whose time is over go on, to their end.
pub(super) fn sweep() {
    wake(YARD.with_borrow(Yard::over));
}
