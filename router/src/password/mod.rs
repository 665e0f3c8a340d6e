//! The password server: hands a guest the password that was set for it, once.
//!
//! The protocol is that of CloudStack's routers: port 8080, `GET /` with the header `DomU_Request: send_my_password`, then
//! `DomU_Request: saved_password` once the guest has it. Guarantees: a password goes to the guest that it was made for,
//! known by link, address and MAC address ([`crate::web`]), and to nobody else; it is in memory only, sealed under a key
//! that dies with this process, and wiped when the guest has it, when its time is over, or when it is replaced. That it is
//! over is written down, so that a process which was killed does not hand it out again. Why a process of its own: what reads user data and paths is not to hold passwords.

mod book;
pub mod desk;
pub mod process;
mod sealed;
pub mod seen;
mod site;
mod slice;

pub use book::{Given, RETRY};
pub use slice::{Password, PasswordGuest, PasswordNetwork, PasswordSlice, slice};
