//! Small helps for writing nft text.

use std::fmt::{Display, Write as _};

/// Writes `items` with `separator` between them.
pub(crate) fn joined<T: Display>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut text = String::new();
    for (position, item) in items.into_iter().enumerate() {
        let gap = if position == 0 { "" } else { separator };
        // writing to a String cannot fail
        let _ = write!(text, "{gap}{item}");
    }
    text
}
