//! On what terms resolvers are asked: over TLS, proved.
//!
//! Guarantees: made of a slice before anything is changed, so that terms that cannot be kept are refused whole.

use std::net::SocketAddr;
use std::sync::Arc;

use sluice_api::config::UpstreamTls;

use super::carry::Tls;
use super::proof::Prover;
use super::slice::{DnsSlice, TLS_PORT};

/// The terms of one slice.
#[derive(Clone, Default)]
pub(super) struct Terms {
    /// What they were made of.
    stated: (Option<UpstreamTls>, bool, String),
    tls: Option<Arc<Tls>>,
    prover: Option<Arc<Prover>>,
    /// Resolvers that know names of the operator's own, of which nobody outside can prove anything (RFC 7646).
    private: Vec<Vec<SocketAddr>>,
}

impl Terms {
    /// Errors: a certificate or a key that cannot be read.
    pub(super) fn of(slice: &DnsSlice) -> Result<Self, String> {
        let tls = slice.tls.as_ref().map(Tls::new).transpose()?.map(Arc::new);
        let prover = slice.validate.then(|| Prover::new(&slice.settings.trust_anchors));
        let prover = prover.transpose()?.map(Arc::new);
        let own = slice.networks.iter().map(|network| &network.upstreams);
        let public: Vec<_> = own.chain([&slice.upstreams]).collect();
        let private = slice.forward.iter().map(|zone| &zone.upstreams);
        let private = private.filter(|group| !public.contains(group)).cloned().collect();
        let stated = (slice.tls.clone(), slice.validate, slice.settings.trust_anchors.clone());
        Ok(Self { stated, tls, prover, private })
    }

    /// Whether resolvers are asked and believed on the same terms.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.stated == other.stated && self.private == other.private
    }

    /// How the resolver at `address` is asked, if over TLS.
    pub(super) fn tls_of(&self, address: SocketAddr) -> Option<Arc<Tls>> {
        self.tls.clone().filter(|_| address.port() == TLS_PORT)
    }

    /// Who proves what the resolvers at `addresses` say.
    pub(super) fn prover_of(&self, addresses: &[SocketAddr]) -> Option<Arc<Prover>> {
        let is_private = self.private.iter().any(|group| group == addresses);
        self.prover.clone().filter(|_| !is_private)
    }
}
