//! Console proxies that cannot ask whether a screen is still its VM's: what is wanted of them follows from what they can do.

use sluice_api::types::ApplianceId;

use super::settle::{Now, settle};
use crate::access::Caller;
use crate::error::Error;
use crate::kinds::Context;
use crate::store::{Store, wanted};

/// Notes whether the machine of a console proxy can ask, and compiles its configuration accordingly. One that was put on an
/// older content stays there until the next change.
pub async fn note_asking(
    store: &Store,
    appliance: &ApplianceId,
    cannot: bool,
) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    let manager = Caller::manager();
    let mut context = Context::new(&mut transaction, &manager, None);
    wanted::set_cannot_ask(context.conn, appliance.as_str(), cannot).await?;
    if !wanted::is_pinned(context.conn, appliance.as_str()).await? {
        context.touch(appliance);
        let can = if cannot { "cannot" } else { "can" };
        let reason = format!("the machine {can} ask whether a screen is still its VM's");
        settle(&mut context, reason, Now::All).await?;
    }
    transaction.commit().await?;
    Ok(())
}
