//! What each area adds to a configuration: a call of its `add`, which reads the area's objects and hands them to a pure
//! function that writes them into the configuration.
//!
//! The order is that of the calls. An area may also add to the head (routes, policy rules).

use sluice_api::config::{ProxyDocument, RouterDocument, SsvmDocument};

use super::{ApplianceModel, balancer, proxy, public, ssvm, vpc, vpn};
use crate::error::Error;
use crate::store::Conn;

/// Areas of a router.
pub(super) async fn router(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut RouterDocument,
) -> Result<(), Error> {
    vpc::add(conn, model, config).await?;
    public::add(conn, model, config).await?;
    balancer::add(conn, model, config).await?;
    vpn::add(conn, model, config).await?;
    public::addresses(model, config);
    Ok(())
}

/// Areas of a console proxy.
pub(super) async fn proxy(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut ProxyDocument,
) -> Result<(), Error> {
    proxy::add(conn, model, config).await
}

/// Areas of a secondary storage VM.
pub(super) async fn ssvm(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut SsvmDocument,
) -> Result<(), Error> {
    ssvm::add(conn, model, config).await
}
