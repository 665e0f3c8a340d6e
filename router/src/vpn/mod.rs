//! Virtual private networks: site-to-site IPsec, and L2TP over IPsec for road warriors.
//!
//! [`l2tp`] and [`ppp`] are pure: bytes and time in, actions out. [`lns`] is the server that they make together.
//! Keys, encryption and negotiation are an IKE daemon's, which [`ike`] drives.

pub mod daemon;
pub mod explain;
pub mod ike;
pub mod l2tp;
pub mod lns;
pub mod ppp;
mod wire;

/// A source of random bytes that fills the buffer it is given; a test gives a predictable one.
pub struct Random(Box<dyn FnMut(&mut [u8]) + Send>);

impl Random {
    /// Takes bytes from `fill`.
    pub fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Box::new(fill))
    }

    /// The operating system's generator.
    pub fn system() -> Self {
        Self::new(|bytes| rand::Rng::fill_bytes(&mut rand::rng(), bytes))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A source of its own, seeded by this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::from_seed(self.bytes());
        Self::new(move |bytes| rand::Rng::fill_bytes(&mut rng, bytes))
    }

    /// A random number that is not 0.
    pub fn nonzero(&mut self) -> u16 {
        // a generator that gives nothing but zeros must not hang the router
        (0..64).map(|_| u16::from_be_bytes(self.bytes())).find(|number| *number != 0).unwrap_or(1)
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

/// Equality in a time that does not depend on where the difference is.
pub(crate) fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |bits, (a, b)| bits | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}
