//! OVA: a tar of an OVF description, its disks and what else it lists (DMTF DSP0243 section 6).
//!
//! It is never unpacked to look at it: the disks are inspected where they lie.

use super::bytes::{Bytes, Part};
use super::layout::Block;
use super::ovf::Description;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};
use super::tar::{Member, members};
use super::{Format, Inspection, vmdk};

/// Longest description in bytes.
const OVF_MOST: u64 = 4 << 20;

pub(super) fn inspect(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    let disks = described(image)?;
    let mut virtual_size = 0_u64;
    for disk in &disks {
        virtual_size = virtual_size.saturating_add(disk_size(image, disk)?);
    }
    Ok(Inspection { format: Format::Ova, variant: format!("{}-disks", disks.len()), virtual_size })
}

/// Where the disks of an OVA lie in it, as `(offset, length)` in bytes.
///
/// Errors: as [`super::inspect`].
pub(crate) fn disks(image: &dyn Bytes) -> Result<Vec<(u64, u64)>, Judgement> {
    let place = |disk: Member| {
        disk_size(image, &disk)?;
        Ok((disk.at, disk.length))
    };
    described(image)?.into_iter().map(place).collect()
}

/// The members that the description names as disks.
fn described(image: &dyn Bytes) -> Result<Vec<Member>, Judgement> {
    let members = members(image)?;
    let Some(first) = members.first() else {
        return refuse(RefusalCode::Malformed, "the archive is empty");
    };
    let named_ovf = std::path::Path::new(&first.name).extension().is_some_and(|e| e == "ovf");
    ensure(named_ovf, "the first member of an OVA must be its .ovf description")?;
    ensure(first.length <= OVF_MOST, "the OVF description is longer than 4 MiB")?;
    let text = Block::read(image, first.at, first.length)?;
    let description = Description::parse(text.bytes())?;
    let member = |disk: &str| match members.iter().find(|member| member.name == disk) {
        Some(member) => Ok(member.clone()),
        None => {
            let detail = format!("the description names {disk:?}, which is not in the archive");
            refuse(RefusalCode::ArchivePath, detail)
        }
    };
    description.disks()?.into_iter().map(member).collect()
}

fn disk_size(image: &dyn Bytes, member: &Member) -> Result<u64, Judgement> {
    let part = Part { of: image, at: member.at, length: member.length };
    match vmdk::inspect(&part) {
        Ok(found) => Ok(found.virtual_size),
        Err(Judgement::Refused(refusal)) => {
            refuse(refusal.code, format!("{}: {}", member.name, refusal.detail))
        }
        Err(other) => Err(other),
    }
}
