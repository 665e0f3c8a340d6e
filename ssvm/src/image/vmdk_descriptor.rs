//! The description inside a VMDK: text lines that say what kind it is and where its data are.

use super::refusal::{Judgement, RefusalCode, ensure, refuse};

/// Kinds that are one file.
const SINGLE: [&str; 2] = ["monolithicSparse", "streamOptimized"];
/// `parentCID` of a disk without a parent.
const NO_PARENT: &str = "ffffffff";

/// What a description says.
#[derive(Debug, Default)]
pub(super) struct Descriptor {
    /// `createType`.
    pub(super) kind: String,
    /// Sum of the extents, in sectors of 512 bytes.
    pub(super) sectors: u64,
    /// `(type, file name)` of each extent.
    extents: Vec<(String, String)>,
}

impl Descriptor {
    /// Reads the text, which ends at the first zero byte.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Judgement> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        // names may be in any encoding; what matters here is ASCII
        let text = String::from_utf8_lossy(text);
        ensure(text.starts_with("# Disk DescriptorFile"), "the VMDK has no description")?;
        let mut found = Self::default();
        for line in text.lines().map(str::trim) {
            found.line(line)?;
        }
        Ok(found)
    }

    fn line(&mut self, line: &str) -> Result<(), Judgement> {
        if line.starts_with('#') || line.is_empty() {
            return Ok(());
        }
        let access = line.split([' ', '\t']).next().unwrap_or_default();
        if matches!(access, "RW" | "RDONLY" | "NOACCESS") {
            return self.extent(line);
        }
        let Some((key, value)) = line.split_once('=') else {
            return refuse(RefusalCode::Malformed, "a line of the VMDK description is no setting");
        };
        self.setting(key.trim(), value.trim().trim_matches('"'))
    }

    fn setting(&mut self, key: &str, value: &str) -> Result<(), Judgement> {
        match key.to_ascii_lowercase().as_str() {
            "createtype" => value.clone_into(&mut self.kind),
            "parentcid" if !value.eq_ignore_ascii_case(NO_PARENT) => {
                return refuse(RefusalCode::Parent, "a VMDK that needs its parent");
            }
            "parentfilenamehint" => {
                return refuse(RefusalCode::Parent, "a VMDK that names a parent");
            }
            "changetrackpath" => {
                let detail = "a VMDK that names a change tracking file";
                return refuse(RefusalCode::ExternalExtent, detail);
            }
            _ => {}
        }
        Ok(())
    }

    /// `ACCESS SECTORS TYPE "NAME" [OFFSET]`.
    fn extent(&mut self, line: &str) -> Result<(), Judgement> {
        let mut words = line.split_whitespace().skip(1);
        let sectors = words.next().and_then(|word| word.parse::<u64>().ok());
        let kind = words.next();
        let name = line.split('"').nth(1);
        let (Some(sectors), Some(kind)) = (sectors, kind) else {
            return refuse(RefusalCode::Malformed, "an extent of the VMDK cannot be read");
        };
        self.sectors = self.sectors.saturating_add(sectors);
        self.extents.push((kind.to_owned(), name.unwrap_or_default().to_owned()));
        Ok(())
    }

    /// Refuses unless all data are in the file with the description.
    pub(super) fn single_file(&self) -> Result<(), Judgement> {
        if !SINGLE.contains(&self.kind.as_str()) {
            let detail = format!("a VMDK of type {:?}, whose data are in other files", self.kind);
            return refuse(RefusalCode::ExternalExtent, detail);
        }
        let [(kind, name)] = self.extents.as_slice() else {
            let detail = format!("a VMDK with {} extents instead of one", self.extents.len());
            return refuse(RefusalCode::ExternalExtent, detail);
        };
        if kind != "SPARSE" || name.contains(['/', '\\', ':']) || name.starts_with('.') {
            let detail = format!("a VMDK whose extent is {kind} {name:?}, another file");
            return refuse(RefusalCode::ExternalExtent, detail);
        }
        Ok(())
    }
}
