//! Which features a secondary storage VM's part uses that appliances of earlier builds do not have.

use std::collections::BTreeSet;

use super::{Source, SsvmConfig, What};

/// Objects given to other secondary storage VMs, or taken from them.
pub const IMAGE_PEERS: &str = "image-peers";
/// Copies in a layout that is asked for.
pub const IMAGE_LAYOUTS: &str = "image-layouts";
/// A proxy for sources, whose blob begins with a line of random text.
pub const IMAGE_PROXY: &str = "image-proxy";

impl SsvmConfig {
    /// The features that it needs, by the names that a status has them under.
    pub(crate) fn needs(&self) -> BTreeSet<&'static str> {
        let imports = || {
            self.jobs.iter().filter_map(|job| match &job.what {
                What::Import { source, layout, .. } => Some((source, layout)),
                What::Delete { .. } => None,
            })
        };
        let takes = imports().any(|(source, _)| matches!(source, Source::Peer(_)));
        let lays_out = imports().any(|(_, layout)| layout.is_some());
        let features = [
            (IMAGE_PEERS, takes || !self.peers.is_empty()),
            (IMAGE_LAYOUTS, lays_out),
            (IMAGE_PROXY, self.fetch.proxy.is_some()),
        ];
        features.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn needs(part: Value) -> Vec<&'static str> {
        let part: SsvmConfig = serde_json::from_value(part).unwrap();
        part.needs().into_iter().collect()
    }

    fn import(source: &Value, layout: Option<&str>) -> Value {
        json!({ "jobs": [{ "id": "im-1", "what": { "import": { "source": source, "layout": layout, "store": "is-1",
            "place": { "template": { "account": 1, "id": 7, "name": "web" } } } } }] })
    }

    #[test]
    fn only_what_is_used_is_needed() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(needs(json!({ "fetch": { "proxy": digest } })), [IMAGE_PROXY]);
        let peer = json!({ "gift": "im-9", "address": "10.4.0.20:8443", "identity": digest });
        assert_eq!(needs(json!({})), Vec::<&str>::new());
        assert_eq!(needs(import(&json!("upload"), None)), Vec::<&str>::new());
        assert_eq!(needs(import(&json!({ "peer": peer }), None)), [IMAGE_PEERS]);
        let gives =
            json!({ "peers": [{ "link": "storage", "address": "10.4.0.20", "gifts": [] }] });
        assert_eq!(needs(gives), [IMAGE_PEERS]);
        let place = json!({ "template": { "account": 1, "id": 6, "name": "web" } });
        let object = json!({ "object": { "store": "is-1", "place": place } });
        assert_eq!(needs(import(&object, Some("dynamic"))), [IMAGE_LAYOUTS]);
    }
}
