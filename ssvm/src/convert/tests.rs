use super::*;
use std::path::Path;

fn layer(folder: &Path, name: &str, format: Format) -> Layer {
    Layer { path: folder.join(name), format }
}

/// Reads all of a view in pieces of an odd size.
async fn all(layers: Vec<Layer>, format: Format) -> Vec<u8> {
    laid_out(layers, format, None).await
}

async fn laid_out(layers: Vec<Layer>, format: Format, layout: Option<ImageLayout>) -> Vec<u8> {
    let read = tokio::task::spawn_blocking(move || {
        let file = view(&layers, format, layout).unwrap();
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

/// Formats in pieces, written and read; what has no room in the image is a hole of it again.
#[tokio::test]
async fn formats_in_pieces_keep_the_disk_and_leave_out_what_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // beyond one table of a VMDK (32 MiB), with an end inside of a piece
    let mut disk = vec![0; (70 << 20) + 1536];
    for (at, byte) in disk.iter_mut().enumerate() {
        if !(100_000..=69 << 20).contains(&at) || (33 << 20..34 << 20).contains(&at) {
            *byte = (at / 512 + at % 251) as u8;
        }
    }
    std::fs::write(path.join("0.raw"), &disk).unwrap();
    let made = [
        (Format::Vhd, Some(ImageLayout::Dynamic), "dynamic"),
        (Format::Vhdx, None, "dynamic"),
        (Format::Vmdk, Some(ImageLayout::Sparse), "monolithicSparse"),
        (Format::Vmdk, None, "streamOptimized"),
        (Format::Vmdk, Some(ImageLayout::StreamOptimized), "streamOptimized"),
    ];
    for (format, layout, variant) in made {
        let raw = || vec![layer(path, "0.raw", Format::Raw)];
        let image = laid_out(raw(), format, layout).await;
        assert!(image.len() < 16 << 20, "{format} {layout:?}: {} bytes", image.len());
        assert!(image == laid_out(raw(), format, layout).await, "the same every time");
        let wanted = crate::image::Wanted { format: Some(format), ..Default::default() };
        let found = crate::image::inspect(&image, &wanted).unwrap();
        assert_eq!((found.variant.as_str(), found.virtual_size), (variant, disk.len() as u64));
        std::fs::write(path.join("1"), &image).unwrap();
        let back = all(vec![layer(path, "1", format)], Format::Raw).await;
        assert!(back == disk, "{format} {layout:?}");
        let again = laid_out(vec![layer(path, "1", format)], format, layout).await;
        assert!(again == image, "{format} {layout:?}: empty pieces stay empty");
    }
}

/// Tables that lead nowhere are an error of the image.
#[tokio::test]
async fn a_table_that_leads_out_of_its_image_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("0.raw"), disk()).unwrap();
    for (format, layout) in [
        (Format::Vhd, Some(ImageLayout::Dynamic)),
        (Format::Vhdx, None),
        (Format::Vmdk, Some(ImageLayout::Sparse)),
        (Format::Vmdk, None),
    ] {
        let mut image = laid_out(vec![layer(path, "0.raw", Format::Raw)], format, layout).await;
        image.truncate(image.len() / 2);
        std::fs::write(path.join("1"), &image).unwrap();
        let layers = vec![layer(path, "1", format)];
        let read = tokio::task::spawn_blocking(move || {
            let file = view(&layers, Format::Raw, None)?;
            let mut bytes = vec![0; usize::try_from(file.length()?).unwrap()];
            file.read_at(0, &mut bytes)
        });
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{format} {layout:?}: {error}");
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
