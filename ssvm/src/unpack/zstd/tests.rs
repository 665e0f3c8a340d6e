use super::*;
use crate::unpack::{BLOCK, HEAD, UnpackError, Unpacker};
use async_compression::Level;
use async_compression::tokio::write::ZstdEncoder;
use async_compression::zstd::CParameter;
use bytes::Bytes;
use fse::{Distribution, Kind};
use tokio::io::AsyncWriteExt;

const MEMORY: u64 = 160 << 20;

/// Bytes of several kinds: text that repeats near and far, noise, zeros, long runs.
fn plain(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 4096);
    while bytes.len() < length {
        match random() % 6 {
            0 => bytes.extend((0..300).flat_map(|_| random().to_le_bytes())),
            1 => bytes.extend(vec![0; 2000]),
            2 => bytes.extend(vec![random().to_le_bytes()[0]; 700]),
            3 if bytes.len() > 50_000 => {
                let mut below = |most: usize| usize::try_from(random()).unwrap() % most;
                let from = below(bytes.len() - 9000);
                bytes.extend_from_within(from..from + 3 + below(9000));
            }
            _ => {
                for _ in 0..40 {
                    let word = random() % 900;
                    bytes.extend(format!("word {word} of a text, ").as_bytes());
                }
            }
        }
    }
    bytes.truncate(length);
    bytes
}

async fn packed(bytes: &[u8], level: i32, parameters: &[CParameter]) -> Vec<u8> {
    let level = Level::Precise(level);
    let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), level, parameters);
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// Every place in `bytes`, with the offset of what follows it and how much was unpacked before.
fn places(bytes: &[u8], step: usize) -> Vec<(usize, usize, Place)> {
    let head = bytes.get(..HEAD.min(bytes.len())).unwrap();
    let mut unpacker = Unpacker::new(crate::unpack::Compression::Zstd, head, MEMORY).unwrap();
    let mut scanner = Scanner::default();
    scanner.want();
    let (mut found, mut offset, mut unpacked) = (Vec::new(), 0, 0);
    for piece in bytes.chunks(step) {
        let mut piece = piece;
        while !piece.is_empty() {
            let (length, place) = scanner.scan(piece);
            let (before, after) = piece.split_at(length);
            let mut out = |block: Bytes| {
                assert!(block.len() <= BLOCK);
                unpacked += block.len();
                Ok::<(), UnpackError>(())
            };
            unpacker.push(before, &mut out).unwrap();
            unpacker.drain(&mut out).unwrap();
            offset += length;
            if let Some(place) = place {
                found.push((offset, unpacked, place));
                scanner.want();
            }
            piece = after;
        }
    }
    found
}

fn resumed(bytes: &[u8], place: &Place, window: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut unpacker = Unpacker::resume(place, window, MEMORY)?;
    let mut rest = Vec::new();
    let mut out = |block: Bytes| {
        rest.extend_from_slice(&block);
        Ok::<(), UnpackError>(())
    };
    for piece in bytes.chunks(70_001) {
        unpacker.push(piece, &mut out)?;
    }
    unpacker.finish(&mut out)?;
    Ok(rest)
}

fn check(plain: &[u8], packed: &[u8], least: usize) {
    let found = places(packed, 10_007);
    assert!(found.len() >= least, "{} places", found.len());
    // all of them would take long; each kind comes early, and the last has the most behind it
    let chosen = found.iter().take(12).chain(found.last());
    for (offset, unpacked, place) in chosen {
        let window = usize::try_from(place.window()).unwrap();
        let window = &plain[unpacked.saturating_sub(window)..*unpacked];
        // what the journal keeps of it is enough
        let text = serde_json::to_string(place).unwrap();
        let place: Place = serde_json::from_str(&text).unwrap();
        let rest = resumed(&packed[*offset..], &place, window);
        let rest = rest.unwrap_or_else(|error| panic!("at {offset}: {error:?}"));
        assert!(rest == plain[*unpacked..], "at {offset}, {unpacked} unpacked");
    }
}

#[tokio::test]
async fn decoding_begins_anew_at_every_place_of_every_level() {
    let plain = plain(3_000_000);
    for level in [-5, 1, 3, 7, 13, 19] {
        let bytes = packed(&plain, level, &[]).await;
        check(&plain, &bytes, 5);
    }
}

#[tokio::test]
async fn a_checksum_and_what_follows_a_frame_are_no_obstacle() {
    let plain = plain(1_500_000);
    let frame = packed(&plain, 3, &[CParameter::checksum_flag(true)]).await;
    let twice = [frame.clone(), frame].concat();
    let both = [plain.clone(), plain].concat();
    check(&both, &twice, 5);
}

#[tokio::test]
async fn a_window_smaller_than_the_content_is_all_that_is_needed() {
    let plain = plain(2_500_000);
    let bytes = packed(&plain, 9, &[CParameter::window_log(17)]).await;
    let found = places(&bytes, 1 << 20);
    assert!(found.iter().all(|(_, _, place)| place.window() == 1 << 17));
    check(&plain, &bytes, 5);
}

#[tokio::test]
async fn places_are_the_same_whatever_the_pieces() {
    let plain = plain(700_000);
    let bytes = packed(&plain, 3, &[]).await;
    let whole = places(&bytes, bytes.len());
    for step in [1, 3, 1000] {
        assert!(places(&bytes, step) == whole, "in pieces of {step}");
    }
}

#[tokio::test]
async fn a_scanner_that_begins_at_a_place_finds_the_same_ones_after_it() {
    let plain = plain(2_000_000);
    let bytes = packed(&plain, 3, &[]).await;
    let found = places(&bytes, 1 << 20);
    let (offset, _, place) = &found[1];
    let mut scanner = Scanner::at(place);
    scanner.want();
    let (length, next) = scanner.scan(&bytes[*offset..]);
    let (expected, _, expected_place) = &found[2];
    assert_eq!(offset + length, *expected);
    assert_eq!(next.as_ref(), Some(expected_place));
}

#[test]
fn what_is_no_stream_has_no_places() {
    for bytes in [&b"not zstd at all"[..], &[0x28, 0xb5, 0x2f, 0xfd, 0x01, 0, 0, 0], &[0; 50]] {
        let mut scanner = Scanner::default();
        scanner.want();
        assert_eq!(scanner.scan(bytes), (bytes.len(), None));
    }
}

#[test]
fn distributions_are_written_as_they_are_read() {
    for kind in [Kind::LiteralsLength, Kind::Offset, Kind::MatchLength] {
        let spread = kind.default_distribution();
        let bytes = spread.write();
        assert_eq!(
            Distribution::read(&[&bytes[..], &[0xff; 4]].concat(), kind),
            Some((spread, bytes.len()))
        );
    }
    let gaps = Distribution { log: 5, counts: vec![16, 0, 0, 0, 0, 0, 0, 8, 0, 4, 0, 0, 3, -1] };
    let bytes = gaps.write();
    let read = Distribution::read(&[&bytes[..], &[0; 4]].concat(), Kind::MatchLength);
    assert_eq!(read, Some((gaps, bytes.len())));
}
