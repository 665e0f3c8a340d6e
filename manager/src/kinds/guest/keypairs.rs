//! Which guests have a pair of keys, for whoever deletes it.

use sqlx::Row as _;

use super::Guest;
use crate::error::Error;
use crate::kinds::keypair::Keypair;
use crate::kinds::{Context, dynamic};
use crate::store::objects::ALL;

impl Guest {
    /// Notes that it has its pairs of keys, and no others.
    pub(super) async fn note_keypairs(&self, context: &mut Context<'_>) -> Result<(), Error> {
        sqlx::query("DELETE FROM guest_keypairs WHERE guest = $1")
            .bind(self.id.as_str())
            .execute(&mut *context.conn)
            .await?;
        for name in &self.keypairs {
            let pair: Keypair = context.find(None, name).await?;
            sqlx::query(
                "INSERT INTO guest_keypairs (keypair, guest) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            )
            .bind(pair.id.as_str())
            .bind(self.id.as_str())
            .execute(&mut *context.conn)
            .await?;
        }
        Ok(())
    }

    /// One that has `pair`, if there is one.
    pub(in crate::kinds) async fn with_keypair(
        context: &mut Context<'_>,
        pair: &Keypair,
    ) -> Result<Option<Self>, Error> {
        let rows = sqlx::query("SELECT guest FROM guest_keypairs WHERE keypair = $1")
            .bind(pair.id.as_str())
            .fetch_all(&mut *context.conn)
            .await?;
        for row in rows {
            let id: String = row.try_get("guest")?;
            let found = dynamic::load::<Self>(context.conn, &[("id", &id)], ALL).await?.pop();
            if let Some(guest) = found.filter(|guest| guest.keypairs.contains(&pair.name)) {
                return Ok(Some(guest));
            }
        }
        Ok(None)
    }
}
