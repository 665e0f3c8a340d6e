//! A file that stands at its place already: read once, hashed and judged where it is.

use std::sync::Arc;

use bytes::Bytes;

use super::lanes::Lanes;
use super::{Partial, PassError};
use crate::checksum::{Checksum, HashFunction};
use crate::disk::File;
use crate::image::{self, Inspection, Wanted};

/// Bytes read at once.
const BLOCK: u64 = 1 << 20;

/// What the file has to be.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the image must be.
    pub wanted: Wanted,
    /// What its bytes must hash to.
    pub checksum: Option<Checksum>,
    /// Most bytes of it.
    pub most: u64,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The image.
    pub image: Inspection,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: String,
    /// Its digest.
    pub sha512: String,
    /// The same by the function that a checksum was given in, else SHA-256.
    pub digest: Checksum,
}

/// Reads all of `file`; `read` is told how many bytes, and asked whether to go on.
///
/// Errors: it is not let in, it is not what was meant, or it cannot be read.
pub fn judge(
    file: &Arc<dyn File>,
    terms: &Terms,
    read: &dyn Fn(u64) -> bool,
) -> Result<Standing, PassError> {
    let size = file.length().map_err(PassError::disk("reading the image"))?;
    if size > terms.most {
        return Err(PassError::TooLarge { limit: terms.most });
    }
    // its header first: what is not let in is not read to its end
    let whole = Partial { file: &**file, length: size, complete: true };
    let image = image::inspect(&whole, &terms.wanted)?;
    let function = terms.checksum.as_ref().map_or(HashFunction::Sha256, Checksum::function);
    let mut functions = vec![HashFunction::Sha256, HashFunction::Sha512, function];
    functions.sort_unstable();
    functions.dedup();
    let mut lanes = Lanes::new(&functions);
    let mut at = 0;
    while at < size {
        let block = block(&**file, at, (size - at).min(BLOCK))?;
        lanes.update(&block);
        at += u64::try_from(block.len()).unwrap_or(BLOCK);
        if !read(at) {
            return Err(PassError::Abandoned);
        }
    }
    let digests = lanes.finish();
    let digest = digests.checksum(function);
    match &terms.checksum {
        Some(wanted) if *wanted != digest => {
            return Err(PassError::Checksum { wanted: wanted.clone(), found: digest });
        }
        _ => {}
    }
    let hex = |function| digests.checksum(function).hex().to_owned();
    let (sha256, sha512) = (hex(HashFunction::Sha256), hex(HashFunction::Sha512));
    Ok(Standing { image, size, sha256, sha512, digest })
}

fn block(file: &dyn File, at: u64, length: u64) -> Result<Bytes, PassError> {
    let failed = || PassError::disk("reading the image");
    let length = usize::try_from(length).map_err(std::io::Error::other).map_err(failed())?;
    let mut block = vec![0; length];
    if file.read_at(at, &mut block).map_err(failed())? < length {
        return Err(failed()(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(block.into())
}
