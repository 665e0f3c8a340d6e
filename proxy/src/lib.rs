//! The console proxy: a VM's screen in a browser, through a link that carries no secret of the VM's.
//!
//! Browser side: the page, noVNC unmodified, and a WebSocket, all on one name and port. VM side: RFB, with the strongest
//! security that the VM's VNC server offers and the grant allows. What a grant does not allow is left out between the two,
//! whatever the page does.

pub mod appliance;
pub mod backend;
pub mod desk;
pub mod grants;
mod http;
pub mod report;
pub mod rfb;
pub mod service;
mod session;
pub mod slice;
pub mod values;
