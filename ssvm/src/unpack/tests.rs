use super::*;
use async_compression::Level;
use async_compression::tokio::write::{
    BzEncoder, DeflateEncoder, GzipEncoder, XzEncoder, ZstdEncoder,
};
use async_compression::zstd::CParameter;
use tokio::io::AsyncWriteExt;

const MEMORY: u64 = 160 << 20;

/// Text that compresses, longer than a block and of no round length.
fn plain() -> Vec<u8> {
    let line = |number| format!("{number} bottles of beer on the wall\n").into_bytes();
    (0..32_000).flat_map(line).collect()
}

macro_rules! packed {
    ($encoder:expr, $bytes:expr) => {{
        let mut encoder = $encoder;
        encoder.write_all($bytes).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }};
}

async fn packed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => packed!(GzipEncoder::new(Vec::new()), bytes),
        Compression::Bzip2 => packed!(BzEncoder::new(Vec::new()), bytes),
        Compression::Xz => packed!(XzEncoder::new(Vec::new()), bytes),
        Compression::Zstd => packed!(ZstdEncoder::new(Vec::new()), bytes),
        Compression::Zip => {
            let body = packed!(DeflateEncoder::new(Vec::new()), bytes);
            zipped("disk.img", 8, bytes, &body)
        }
    }
}

/// An archive of one member.
fn zipped(name: &str, method: u16, plain: &[u8], body: &[u8]) -> Vec<u8> {
    let crc = crc32fast::hash(plain);
    let mut fields = Vec::new();
    fields.extend(20_u16.to_le_bytes());
    fields.extend(0_u16.to_le_bytes());
    fields.extend(method.to_le_bytes());
    fields.extend([0; 4]);
    fields.extend(crc.to_le_bytes());
    fields.extend((body.len() as u32).to_le_bytes());
    fields.extend((plain.len() as u32).to_le_bytes());
    fields.extend((name.len() as u16).to_le_bytes());
    fields.extend(0_u16.to_le_bytes());
    let local = [b"PK\x03\x04", &fields[..], name.as_bytes()].concat();
    let central = [b"PK\x01\x02\x14\0", &fields[..], &[0; 14], name.as_bytes()].concat();
    let end = [b"PK\x05\x06", &[0; 18][..]].concat();
    [local, body.to_vec(), central, end].concat()
}

fn unpacked_in(bytes: &[u8], step: usize, memory: u64) -> Result<Vec<u8>, UnpackError> {
    let compression = sniff(bytes).expect("it is compressed");
    let head = bytes.get(..HEAD.min(bytes.len())).unwrap();
    let mut unpacker = Unpacker::new(compression, head, memory)?;
    let mut whole = Vec::new();
    let mut out = |block: Bytes| {
        assert!(block.len() <= BLOCK);
        whole.extend_from_slice(&block);
        Ok::<(), UnpackError>(())
    };
    for piece in bytes.chunks(step) {
        unpacker.push(piece, &mut out)?;
    }
    unpacker.finish(&mut out)?;
    Ok(whole)
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, UnpackError> {
    unpacked_in(bytes, 10_000, MEMORY)
}

const ALL: [Compression; 5] =
    [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd, Compression::Zip];

#[tokio::test]
async fn what_was_packed_comes_out_whatever_the_pieces() {
    let plain = plain();
    for compression in ALL {
        let bytes = packed(compression, &plain).await;
        assert_eq!(sniff(&bytes), Some(compression));
        for step in [1 << 20, 4096, 7, 1] {
            let whole = unpacked_in(&bytes, step, MEMORY).unwrap();
            assert!(whole == plain, "{compression} in pieces of {step}");
        }
    }
}

#[tokio::test]
async fn concatenated_members_are_one_source() {
    let plain = plain();
    let (first, second) = plain.split_at(700_000);
    for compression in ALL.into_iter().filter(|c| *c != Compression::Zip) {
        let both = [packed(compression, first).await, packed(compression, second).await].concat();
        assert!(unpacked(&both).unwrap() == plain, "{compression}");
    }
    let gzip = [packed(Compression::Gzip, &plain).await, vec![0; 1000]].concat();
    assert!(unpacked(&gzip).unwrap() == plain, "padding of zeros behind gzip");
    let xz = packed(Compression::Xz, first).await;
    let padded = [xz, vec![0; 8], packed(Compression::Xz, second).await].concat();
    assert!(unpacked(&padded).unwrap() == plain, "padding between xz streams");
    let skippable =
        [b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), packed(Compression::Zstd, &plain).await];
    assert!(unpacked(&skippable.concat()).unwrap() == plain, "a skippable frame of zstd");
}

#[tokio::test]
async fn what_is_cut_off_or_followed_by_something_is_refused() {
    let plain = plain();
    for compression in ALL {
        let bytes = packed(compression, &plain).await;
        // what stands behind a zip archive's member is not needed to unpack it
        let end = if compression == Compression::Zip { bytes.len() / 2 } else { 30 };
        let cut = bytes.get(..bytes.len() - end).unwrap();
        assert!(unpacked(cut).is_err(), "{compression} cut off");
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        assert!(unpacked(&flipped).map_or(true, |whole| whole != plain), "{compression} flipped");
        // a zstd frame has a checksum only where the writer asked for one (RFC 8878 3.1.1)
        if compression != Compression::Zstd {
            assert!(unpacked(&flipped).is_err(), "{compression} flipped");
        }
        if compression != Compression::Zip {
            assert!(
                unpacked(&[bytes, b"more".to_vec()].concat()).is_err(),
                "{compression} and more"
            );
        }
    }
}

#[tokio::test]
async fn memory_is_bounded_before_anything_is_unpacked() {
    let plain = plain();
    let xz = packed!(XzEncoder::with_quality(Vec::new(), Level::Best), &plain);
    assert!(unpacked(&xz).unwrap() == plain, "64 MiB fit into 160");
    let error = unpacked_in(&xz, 100, 8 << 20).unwrap_err().to_string();
    assert_eq!(error, "xz needs 64 MiB of memory, limit 8 MiB");
    let long = [CParameter::window_log(27)];
    let zstd =
        packed!(ZstdEncoder::with_quality_and_params(Vec::new(), Level::Default, &long), &plain);
    assert!(unpacked(&zstd).unwrap() == plain, "128 MiB fit into 160");
    let error = unpacked_in(&zstd, 100, 8 << 20).unwrap_err().to_string();
    assert_eq!(error, "zstd needs 128 MiB of memory, limit 8 MiB");
    // a later frame cannot ask for more than the first
    let later = [packed(Compression::Zstd, &plain).await, zstd].concat();
    assert!(unpacked_in(&later, 4096, 8 << 20).is_err());
}

#[test]
fn zip_archives_of_anything_but_one_plain_member_are_refused() {
    let plain = vec![7; 100_000];
    let stored = zipped("disk.img", 0, &plain, &plain);
    assert!(unpacked(&stored).unwrap() == plain);
    let mut encrypted = stored.clone();
    encrypted[6] |= 1;
    let mut method = stored.clone();
    method[8] = 12;
    let mut crc = stored.clone();
    let at = crc.len() - 22 - 8 - 46 + 16;
    crc[at] ^= 1;
    let member = stored.get(..30 + 8 + plain.len()).unwrap();
    let two = [member, &stored].concat();
    for (bytes, expected) in [
        (encrypted, "encrypted"),
        (method, "neither"),
        (crc, "checksum"),
        (two, "more than one member"),
    ] {
        let error = unpacked(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_needs_a_dictionary_is_refused() {
    let head = b"\x28\xb5\x2f\xfd\x01\x58\x07\x00\x00";
    let error = Unpacker::new(Compression::Zstd, head, MEMORY).err().unwrap();
    assert!(error.to_string().contains("dictionary"), "{error}");
}
