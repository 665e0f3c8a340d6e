//! Columns that follow from an object ([`Kind::DERIVED`](super::Kind::DERIVED)), of objects that were there before the column.

use super::KINDS;
use crate::error::Error;
use crate::store::Store;
use crate::store::facts::{self, Fact};

/// Fills in the columns that a store of an earlier build has not, once.
pub async fn fill(store: &Store) -> Result<(), Error> {
    let columns: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| {
            let table = kind.table().name;
            kind.derived().into_iter().map(move |column| format!("{table}.{column}"))
        })
        .collect();
    let columns = columns.join(" ");
    if facts::get(&mut *store.read().await?, Fact::Derived).await?.as_ref() == Some(&columns) {
        return Ok(());
    }
    for kind in KINDS {
        let mut after = None;
        loop {
            let mut transaction = store.begin().await?;
            after = kind.derive(&mut transaction, after).await?;
            transaction.commit().await?;
            if after.is_none() {
                break;
            }
        }
    }
    let mut transaction = store.begin().await?;
    facts::set(&mut transaction, Fact::Derived, &columns).await?;
    Ok(transaction.commit().await?)
}
