//! On what terms resolvers are asked: over TLS, proved.
//!
//! Guarantees: made of a slice before anything is changed, so that terms that cannot be kept are refused whole.

use std::net::SocketAddr;
use std::sync::Arc;

use sluice_api::config::UpstreamTls;

use super::carry::{Tls, TlsTerms};
use super::proof::Prover;
use super::slice::{DnsForward, DnsNetwork, DnsSlice, Group};

/// The terms of one slice.
#[derive(Clone, Default)]
pub(super) struct Terms {
    /// What proofs begin with, if any are wanted.
    proof: Option<String>,
    tls: Vec<(UpstreamTls, TlsTerms)>,
    prover: Option<Arc<Prover>>,
    /// Resolvers that know names of the operator's own, of which nobody outside can prove anything (RFC 7646).
    private: Vec<Group>,
}

impl Terms {
    /// Errors: a certificate or a key that cannot be read.
    pub(super) fn of(slice: &DnsSlice) -> Result<Self, String> {
        let mut tls: Vec<(UpstreamTls, TlsTerms)> = Vec::new();
        let of_networks = slice.networks.iter().filter_map(|network| network.tls.as_ref());
        let of_zones = slice.forward.iter().filter_map(|zone| zone.tls.as_ref());
        for wanted in slice.tls.iter().chain(of_networks).chain(of_zones) {
            if !tls.iter().any(|(known, _)| known == wanted) {
                tls.push((wanted.clone(), TlsTerms::new(wanted)?));
            }
        }
        let proof = slice.validate.then(|| slice.settings.trust_anchors.clone());
        let prover = proof.as_deref().map(Prover::new).transpose()?.map(Arc::new);
        let public: Vec<_> =
            slice.networks.iter().map(DnsNetwork::group).chain([slice.group()]).collect();
        let private = slice.forward.iter().map(DnsForward::group);
        let private = private.filter(|group| !public.contains(group)).collect();
        Ok(Self { proof, tls, prover, private })
    }

    /// Whether what was proved stays so.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.proof == other.proof && self.private == other.private
    }

    /// How a resolver of `group` is asked, if over TLS.
    pub(super) fn tls_of(&self, group: &Group, resolver: SocketAddr) -> Option<Tls> {
        let wanted = group.tls.as_ref()?;
        let (_, terms) = self.tls.iter().find(|(known, _)| known == wanted)?;
        Some(terms.of(resolver.ip()))
    }

    /// Who proves what the resolvers of `group` say.
    pub(super) fn prover_of(&self, group: &Group) -> Option<Arc<Prover>> {
        self.prover.clone().filter(|_| !self.private.contains(group))
    }
}
