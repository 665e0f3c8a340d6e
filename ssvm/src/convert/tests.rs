use super::*;
use std::path::Path;

fn layer(folder: &Path, name: &str, format: Format) -> Layer {
    Layer { path: folder.join(name), format }
}

/// Reads all of a view in pieces of an odd size.
async fn all(layers: Vec<Layer>, format: Format) -> Vec<u8> {
    let read = tokio::task::spawn_blocking(move || {
        let file = view(&layers, format).unwrap();
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 70_001]);
        loop {
            let read = file.read_at(bytes.len() as u64, &mut piece).unwrap();
            bytes.extend(&piece[..read]);
            if read == 0 {
                assert_eq!(bytes.len() as u64, file.length().unwrap());
                return bytes;
            }
        }
    });
    read.await.unwrap()
}

/// A disk of 3 MiB and a bit: data, a hole, data.
fn disk() -> Vec<u8> {
    let mut bytes = vec![0; (3 << 20) + 1024];
    for (at, byte) in bytes.iter_mut().enumerate() {
        if !(1 << 20..2 << 20).contains(&at) {
            *byte = (at / 512 + at % 251) as u8;
        }
    }
    bytes
}

#[tokio::test]
async fn each_format_becomes_each_other_and_the_disk_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let disk = disk();
    std::fs::write(path.join("0.raw"), &disk).unwrap();
    let formats = [Format::Raw, Format::Qcow2, Format::Vhd];
    for (number, format) in formats.into_iter().enumerate() {
        let made = all(vec![layer(path, "0.raw", Format::Raw)], format).await;
        let name = format!("1.{number}");
        std::fs::write(path.join(&name), &made).unwrap();
        for back in formats {
            let again = all(vec![layer(path, &name, format)], back).await;
            let straight = all(vec![layer(path, "0.raw", Format::Raw)], back).await;
            // a hole of a qcow2 image stays one, which a plain file cannot say
            if back != Format::Qcow2 {
                assert!(again == straight, "{format} to {back}");
            }
            std::fs::write(path.join("2"), &again).unwrap();
            let raw = all(vec![layer(path, "2", back)], Format::Raw).await;
            assert!(raw == disk, "{format} to {back} and back");
        }
    }
}

/// An image that names another file, which inspection would not let in, shows nothing of it.
#[tokio::test]
async fn what_an_image_names_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let hostile = crate::image::samples::hostile();
    let backed = hostile.into_iter().find(|sample| sample.name == "qcow2-backing-file").unwrap();
    std::fs::write(path.join("hostile"), backed.bytes).unwrap();
    let disk = all(vec![layer(path, "hostile", Format::Qcow2)], Format::Raw).await;
    assert!(disk.iter().all(|byte| *byte == 0));
}
