//! Certificates for one copy from appliance to appliance.
//!
//! Guarantees: their authority is made for this copy and its key is forgotten at once, so nobody else can ever have a
//! certificate that either side believes.

use std::path::Path;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;

use super::{CaError, Subject, generate, one_key, signed};

/// How long a copy may take, restarts and outages included.
const LIFE: Duration = Duration::from_hours(24 * 30);

/// What either side is given: its certificate, the authority's, and its key, in PEM.
#[derive(Clone, Debug)]
pub struct CopyIdentities {
    /// Of the side that serves.
    pub giving: String,
    /// Of the side that fetches.
    pub taking: String,
    /// When both end, Unix seconds.
    pub until: i64,
}

/// Makes both for the copy `name`, which the serving side's certificate is for.
pub fn for_copy(name: &str) -> Result<CopyIdentities, CaError> {
    let text = generate(name)?;
    let authority = one_key(Path::new("a copy's authority"), &text)?;
    let side = |names, usage| {
        let (certificate, key, until) = signed(&authority, Subject { names, name, usage }, LIFE)?;
        let text = certificate.pem() + &authority.certificate + &key.serialize_pem();
        Ok::<_, CaError>((text, until))
    };
    let (giving, until) = side(vec![name.to_owned()], ExtendedKeyUsagePurpose::ServerAuth)?;
    let (taking, _) = side(Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok(CopyIdentities { giving, taking, until })
}
