//! The EFI system partition: a FAT file system with fixed serial number and times.

use std::io::{self, Cursor, Write};

use fatfs::{Date, DateTime, Dir, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use crate::layout::{ESP, ESP_SERIAL};

/// Always the same moment; FAT's calendar starts in 1980 and nobody reads these times.
#[derive(Debug)]
struct Fixed;

static FIXED: Fixed = Fixed;

impl TimeProvider for Fixed {
    fn get_current_date(&self) -> Date {
        Date { year: 2026, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time { hour: 0, min: 0, sec: 0, millis: 0 },
        }
    }
}

/// A file system with these files, `/`-separated paths; an error when they do not fit.
pub(crate) fn build(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let size = usize::try_from(ESP.capacity()).map_err(io::Error::other)?;
    let mut image = Cursor::new(vec![0; size]);
    let options = FormatVolumeOptions::new().volume_id(ESP_SERIAL).volume_label(*b"SLUICE-ESP ");
    fatfs::format_volume(&mut image, options)?;
    {
        let fs = FileSystem::new(&mut image, FsOptions::new().time_provider(&FIXED))?;
        files.iter().try_for_each(|(path, content)| add(fs.root_dir(), path, content))?;
        fs.unmount()?;
    }
    Ok(image.into_inner())
}

fn add<T: fatfs::ReadWriteSeek>(root: Dir<'_, T>, path: &str, content: &[u8]) -> io::Result<()> {
    let (dirs, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = dirs
        .split('/')
        .filter(|name| !name.is_empty())
        .try_fold(root, |dir, name| dir.create_dir(name))?;
    let mut file = dir.create_file(name)?;
    file.write_all(content)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn files_are_read_back_and_images_are_equal() {
        let files: [(&str, &[u8]); 2] =
            [("EFI/BOOT/BOOTX64.EFI", b"efi"), ("grub/grub.cfg", b"boot\n")];
        let image = build(&files).unwrap();
        assert!(image == build(&files).unwrap(), "two images differ");
        let fs = FileSystem::new(Cursor::new(image), FsOptions::new()).unwrap();
        assert_eq!(fs.volume_id(), ESP_SERIAL);
        let mut text = String::new();
        fs.root_dir().open_file("grub/grub.cfg").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "boot\n");
    }

    #[test]
    fn too_much_is_an_error() {
        let large = vec![0; usize::try_from(ESP.capacity()).unwrap()];
        assert!(build(&[("x", &large)]).is_err());
    }
}
