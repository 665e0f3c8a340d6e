//! One session: a browser's WebSocket on one side, a VM's screen on the other.
//!
//! Guarantees: either side's end is the other's within a second, with the reason in the close frame; a change of the
//! grant counts at once; nothing is collected without bound (whoever is slow slows the other side down); a browser that
//! answers no ping for two intervals is gone and its place free.

mod asked;
mod end;
mod notes;
mod pace;
mod relay;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use sluice_agent::service::Asking;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::backend::{self, BackendError, Screen};
use crate::grants::{Seat, Stats};
use crate::rfb::{BrowserHandshake, ServerInit};
use crate::slice::Grant;

pub(crate) use end::End;

/// Longest WebSocket message, and frame, taken from a browser; noVNC sends 10 KiB at most.
pub(crate) const MAX_MESSAGE: usize = 128 * 1024;
/// Time for the closing handshake.
const FAREWELL: Duration = Duration::from_secs(1);
/// Notes to the page that may wait; more are left out.
const NOTES: usize = 8;

/// Runs the session of `seat` on `socket` to its end.
pub(crate) async fn run(mut socket: WebSocket, seat: Seat, manager: mpsc::Sender<Asking>) {
    let (stats, grant) = (Arc::clone(&seat.stats), Arc::clone(&seat.grant));
    let end = until_end(&mut socket, &seat, &manager).await;
    // the place is free before the browser has said goodbye
    let news = seat.leave(&end);
    if stats.security.get().is_some() {
        log_closed(&stats, &end);
    } else if news {
        log_not_shown(&stats, &grant, &end);
    }
    farewell(&mut socket, &end).await;
}

fn log_opened(stats: &Stats) {
    let (session, grant, vm, from) = (stats.id, &stats.grant, &stats.vm, stats.from);
    let user = stats.user.as_deref().unwrap_or_default();
    let view_only = stats.view_only.load(Ordering::Relaxed);
    info!(session, %grant, %vm, user, %from, view_only, "console opened");
}

fn log_closed(stats: &Stats, end: &End) {
    let (session, grant, vm, from) = (stats.id, &stats.grant, &stats.vm, stats.from);
    let user = stats.user.as_deref().unwrap_or_default();
    let (sent, received) = relay::bytes(stats);
    info!(session, %grant, %vm, user, %from, reason = end.name(), sent, received, "console closed");
}

/// Once for each reason: a page that waits tries again every second.
fn log_not_shown(stats: &Stats, grant: &Grant, end: &End) {
    let (session, vm, from, reason) = (stats.id, &stats.vm, stats.from, end.name());
    let user = stats.user.as_deref().unwrap_or_default();
    let id = &grant.id;
    if let End::NoScreen(error) = end {
        let (address, port) = (grant.backend.address, grant.backend.port);
        warn!(session, grant = %id, %vm, user, %from, reason, %address, %port, %error, "console not shown");
    } else {
        info!(session, grant = %id, %vm, user, %from, reason, "console not shown");
    }
}

async fn until_end(socket: &mut WebSocket, seat: &Seat, manager: &mpsc::Sender<Asking>) -> End {
    let (sender, notes) = mpsc::channel(NOTES);
    tokio::select! {
        end = watch::over(seat, &sender) => end,
        end = show(socket, seat, manager, &sender, notes) => end,
    }
}

/// Opens the screen, then carries it to the browser.
async fn show(
    socket: &mut WebSocket,
    seat: &Seat,
    manager: &mpsc::Sender<Asking>,
    sender: &mpsc::Sender<Message>,
    notes: mpsc::Receiver<Message>,
) -> End {
    if !seat.grant.state.is_there() {
        return End::Away(seat.grant.state);
    }
    let screen = tokio::select! {
        screen = open(seat, manager) => screen,
        end = left(socket) => return end,
    };
    let screen = match screen {
        Ok(screen) => screen,
        Err(error) => return End::NoScreen(error),
    };
    let security = screen.tls.as_deref().map(|tls| format!("{tls} ")).unwrap_or_default();
    let _once = seat.stats.security.set(format!("{security}{}", screen.security.name()));
    log_opened(&seat.stats);
    let patience = Duration::from_secs(seat.settings.handshake_seconds.get().into());
    match timeout(patience, greet(socket, notes::session(seat, &screen), &screen.init)).await {
        Ok(Ok(first)) => relay::run(socket, screen.stream, seat, sender, notes, first).await,
        Ok(Err(end)) => end,
        Err(_) => End::BrowserSilent,
    }
}

/// Asks whether the VM's screen is still there, and connects to it.
async fn open(seat: &Seat, manager: &mpsc::Sender<Asking>) -> Result<Screen, BackendError> {
    if seat.settings.ask_manager {
        asked::still_there(&seat.grant, manager).await?;
    }
    backend::open(&seat.grant.backend, &seat.settings).await
}

/// Resolves when the browser goes; it has nothing to say before the screen is there.
async fn left(socket: &mut WebSocket) -> End {
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => break,
            Message::Binary(_) | Message::Text(_) => {
                return End::BrowserBroke("it spoke before it was greeted".into());
            }
        }
    }
    End::BrowserLeft
}

/// Tells the page what it shows, and speaks RFB with it up to the screen's description; returns what came after.
async fn greet(socket: &mut WebSocket, note: Message, init: &ServerInit) -> Result<Vec<u8>, End> {
    send(socket, note).await?;
    send(socket, Message::binary(BrowserHandshake::greeting().to_vec())).await?;
    let mut handshake = BrowserHandshake::default();
    let mut rest = Vec::new();
    while !handshake.is_done() {
        let bytes = match socket.recv().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Text(_))) => return Err(relay::text()),
            Some(Err(error)) => return Err(relay::broken(&error)),
            Some(Ok(Message::Close(_))) | None => return Err(End::BrowserLeft),
        };
        let mut answer = Vec::new();
        rest.extend_from_slice(handshake.feed(&bytes, &mut answer)?);
        if !answer.is_empty() {
            send(socket, Message::binary(answer)).await?;
        }
    }
    send(socket, Message::binary(init.bytes().to_vec())).await?;
    Ok(rest)
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    socket.send(message).await.map_err(|_| End::BrowserLeft)
}

/// Says why, and waits for the browser to have read it: a connection that is dropped with bytes unread is reset, and the
/// reason with it.
async fn farewell(socket: &mut WebSocket, end: &End) {
    let frame = CloseFrame { code: end.code(), reason: end.reason().into() };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
        let _closed = socket.close().await;
    };
    let _late = timeout(FAREWELL, goodbye).await;
}
