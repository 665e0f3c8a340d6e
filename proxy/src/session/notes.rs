//! What the proxy tells the page besides the screen: text messages of JSON on the same WebSocket, which noVNC never sees.

use std::sync::atomic::Ordering;

use axum::extract::ws::Message;
use serde::Serialize;

use crate::backend::Screen;
use crate::grants::Seat;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Note<'a> {
    /// The session begins.
    Session {
        vm: &'a str,
        view_only: bool,
        encrypted: bool,
        security: &'a str,
        viewers: usize,
        ping_seconds: u16,
    },
    /// The browser answered a ping; the page takes it as a sign of life.
    Pulse { round_trip_ms: u32, viewers: usize },
    /// What the grant allows changed.
    Grant { view_only: bool },
}

pub(super) fn session(seat: &Seat, screen: &Screen) -> Message {
    text(&Note::Session {
        vm: &seat.grant.vm.name,
        view_only: seat.stats.view_only.load(Ordering::Relaxed),
        encrypted: screen.security.is_encrypted(),
        security: seat.stats.security.get().map_or("", String::as_str),
        viewers: seat.viewers(),
        ping_seconds: seat.settings.ping_seconds.get(),
    })
}

pub(super) fn pulse(seat: &Seat) -> Message {
    let round_trip_ms = seat.stats.round_trip.load(Ordering::Relaxed);
    text(&Note::Pulse { round_trip_ms, viewers: seat.viewers() })
}

pub(super) fn grant(view_only: bool) -> Message {
    text(&Note::Grant { view_only })
}

fn text(note: &Note<'_>) -> Message {
    Message::text(serde_json::to_string(note).unwrap_or_default())
}
