//! The OVF description of an OVA (DMTF DSP0243): which files and disks it has.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::refusal::{Judgement, RefusalCode, ensure, refuse};

/// Deepest nesting; descriptions have about eight levels.
const DEEPEST: usize = 64;
/// Most files and disks.
const MOST: usize = 256;

/// Files and disks of a description.
#[derive(Debug, Default)]
pub(super) struct Description {
    /// `(id, href)` of each file.
    files: Vec<(String, String)>,
    /// `fileRef` of each disk that has one.
    disks: Vec<String>,
}

impl Description {
    /// Reads the XML. A document type declaration is refused: it can name other files and grow without end.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Judgement> {
        let mut reader = Reader::from_reader(bytes);
        let (mut found, mut depth) = (Self::default(), 0_usize);
        loop {
            match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(Event::Start(element)) => {
                    depth += 1;
                    found.element(&element)?;
                }
                Ok(Event::Empty(element)) => found.element(&element)?,
                Ok(Event::End(_)) => depth = depth.saturating_sub(1),
                Ok(Event::DocType(_)) => {
                    let detail = "the OVF description has a document type declaration";
                    return refuse(RefusalCode::ArchivePath, detail);
                }
                Ok(_) => {}
                Err(error) => {
                    let detail = format!("the OVF description is no XML: {error}");
                    return refuse(RefusalCode::Malformed, detail);
                }
            }
            ensure(depth <= DEEPEST, "the OVF description is nested too deep")?;
            let many = found.files.len() > MOST || found.disks.len() > MOST;
            ensure(!many, "the OVF description has more than 256 files or disks")?;
        }
        Ok(found)
    }

    fn element(&mut self, element: &BytesStart<'_>) -> Result<(), Judgement> {
        let of = |name: &str| attribute(element, name);
        match element.local_name().as_ref() {
            "File" => {
                let href = of("href")?.unwrap_or_default();
                plain(&href)?;
                if of("compression")?.is_some_and(|how| how != "identity") {
                    let detail = format!("{href:?} is compressed inside the archive");
                    return refuse(RefusalCode::Compressed, detail);
                }
                if of("chunkSize")?.is_some() {
                    let detail = format!("{href:?} is cut into chunks, which is not let in");
                    return refuse(RefusalCode::Unsupported, detail);
                }
                self.files.push((of("id")?.unwrap_or_default(), href));
            }
            "Disk" => {
                if of("parentRef")?.is_some() {
                    return refuse(RefusalCode::Parent, "a disk of the OVA needs a parent");
                }
                self.disks.extend(of("fileRef")?);
            }
            _ => {}
        }
        Ok(())
    }

    /// The file name of each disk that has a file.
    pub(super) fn disks(&self) -> Result<Vec<&str>, Judgement> {
        ensure(!self.disks.is_empty(), "the OVF description has no disk with a file")?;
        let href = |id: &String| {
            let file = self.files.iter().find(|(other, _)| other == id);
            let Some((_, href)) = file else {
                return refuse(RefusalCode::Malformed, "a disk of the OVF names no listed file");
            };
            Ok(href.as_str())
        };
        self.disks.iter().map(href).collect()
    }
}

/// The value of the attribute `name`, whatever its prefix.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, Judgement> {
    for attribute in element.attributes() {
        let Ok(attribute) = attribute else {
            return refuse(RefusalCode::Malformed, "an attribute of the OVF cannot be read");
        };
        if attribute.key.local_name().as_ref() == name {
            let text = attribute.value.clone().into_owned();
            // a name or number has no need of entities, and what they hide is not looked into
            ensure(!text.contains('&'), "an attribute of the OVF has an entity in it")?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// A file of the archive itself: no path, no URL.
fn plain(href: &str) -> Result<(), Judgement> {
    if href.is_empty() || href.contains(['/', '\\', ':']) || href.starts_with('.') {
        let detail = format!("the description names {href:?}, which is outside the archive");
        return refuse(RefusalCode::ArchivePath, detail);
    }
    Ok(())
}
