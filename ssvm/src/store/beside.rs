//! Whose a folder on a store is: `CloudStack`'s record in it (`template.properties`) can be of one image alone.

use super::manifest::is_record;
use super::properties;
use crate::image::Format;
use crate::slice::Place;

/// What is in the folder of a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beside {
    /// A file of another image.
    stranger: Option<String>,
    /// The object's file or our record of it.
    own: bool,
    /// Our record of the object.
    record: bool,
    /// Name of `CloudStack`'s record, if it is there.
    properties: Option<&'static str>,
}

impl Beside {
    /// By the names in the folder. Snapshots of one volume share theirs; what begins with a dot and is no record is a file
    /// server's, or on its way.
    pub(super) fn of(place: &Place, there: &[String]) -> Self {
        let Some(properties) = properties::name(place) else {
            return Self { stranger: None, own: true, record: true, properties: None };
        };
        let has = |name: &str| there.iter().any(|other| other == name);
        let files: Vec<String> = Format::ALL.into_iter().map(|f| place.file(f)).collect();
        let record = place.manifest();
        let another = |name: &&String| {
            let counts = !name.starts_with('.') || is_record(name);
            counts && **name != record && *name != properties && !files.contains(name)
        };
        Self {
            stranger: there.iter().find(another).cloned(),
            own: has(&record) || files.iter().any(|file| has(file)),
            record: has(&record),
            properties: Some(properties).filter(|name| has(name)),
        }
    }

    /// A file that shows that the folder is another image's. Of one without a record of ours the properties are whoever's.
    pub(super) fn occupant(self) -> Option<String> {
        let whose = self.properties.filter(|_| !self.record).map(str::to_owned);
        self.stranger.or(whose)
    }

    /// The properties that go with the object: in a folder that earlier builds gave to two images they may be the other's.
    pub(super) fn own_properties(self) -> Option<String> {
        self.properties.filter(|_| self.own && self.stranger.is_none()).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(names: &[&str]) -> Beside {
        let there: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Beside::of(&"template/tmpl/1/3/new".parse().unwrap(), &there)
    }

    #[test]
    fn a_folder_is_of_the_image_whose_record_is_in_it() {
        let properties = "template.properties";
        for free in [
            &[][..],
            &[".nfs0001", ".template.properties.7.new"],
            &[".new.sluice.json"],
            &[".new.sluice.json", "new.qcow2", properties],
            &["new.qcow2"],
        ] {
            assert_eq!(beside(free).occupant(), None, "{free:?}");
        }
        for (taken, by) in [
            (&[properties][..], properties),
            (&[properties, "9d0c.qcow2"], "9d0c.qcow2"),
            (&[".old.sluice.json", "old.raw", properties], ".old.sluice.json"),
            (&[".new.sluice.json", "new.qcow2", "old.raw", properties], "old.raw"),
        ] {
            assert_eq!(beside(taken).occupant().as_deref(), Some(by), "{taken:?}");
        }
    }

    #[test]
    fn properties_go_with_the_object_that_they_are_of() {
        let properties = "template.properties";
        for own in [&[".new.sluice.json", properties][..], &["new.qcow2", properties]] {
            assert_eq!(beside(own).own_properties().as_deref(), Some(properties), "{own:?}");
        }
        for others in [
            &[properties][..],
            &[properties, "9d0c.qcow2"],
            &["new.qcow2", "old.raw", properties],
            &["new.qcow2"],
        ] {
            assert_eq!(beside(others).own_properties(), None, "{others:?}");
        }
    }

    #[test]
    fn snapshots_of_a_volume_share_a_folder() {
        let there = ["s-1", ".s-1.sluice.json", "s-2"].map(str::to_owned);
        let place: Place = "snapshots/2/7/s-2".parse().unwrap();
        assert_eq!(Beside::of(&place, &there).occupant(), None);
    }
}
