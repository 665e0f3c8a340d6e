//! A large script in parts: what nft needs of memory grows with the script that it is given.
//!
//! For a table that judges nothing, whose parts need not come into force together.

use std::mem;

use super::{Change, Script};
use crate::TableId;

impl Script {
    /// Itself; or, when it makes or removes more than `most` objects, elements and rules of `table`, what it does besides, and
    /// then that in parts of no more than `most` each. In this order they lead where it does.
    pub fn parts(self, table: &TableId, most: usize) -> Vec<Self> {
        let sizes = self.changes.iter().filter(|(id, _)| id == table);
        if sizes.map(|(_, change)| change.size()).sum::<usize>() <= most {
            return vec![self];
        }
        let (apart, changes) = self.changes.into_iter().partition(|(id, _)| id == table);
        let apart: Vec<(TableId, Change)> = apart;
        let mut scripts = vec![Self { changes, unchanged: self.unchanged }];
        let mut part = Self::default();
        for change in apart.into_iter().flat_map(|(_, change)| change.parts(most.max(1))) {
            if !part.is_empty() && part.size() + change.size() > most {
                scripts.push(mem::take(&mut part));
            }
            part.push(table, change);
        }
        scripts.push(part);
        scripts.retain(|script| !script.is_empty());
        scripts
    }
}

impl Change {
    /// Elements come and go in any number of pieces.
    fn parts(self, most: usize) -> Vec<Self> {
        match self {
            Self::AddElements { name, mut elements } => {
                let mut parts = Vec::new();
                while let Some(next) = elements.keys().nth(most).cloned() {
                    let rest = elements.split_off(&next);
                    let elements = mem::replace(&mut elements, rest);
                    parts.push(Self::AddElements { name: name.clone(), elements });
                }
                parts.push(Self::AddElements { name, elements });
                parts
            }
            Self::RemoveElements { name, keys } => {
                let parts = keys.chunks(most);
                let part =
                    |keys: &[_]| Self::RemoveElements { name: name.clone(), keys: keys.to_vec() };
                parts.map(part).collect()
            }
            other => vec![other],
        }
    }
}
