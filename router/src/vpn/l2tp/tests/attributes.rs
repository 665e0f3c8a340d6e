//! Attribute-value pairs, hidden ones too.

use super::super::avp::{self, Writer, kind};
use super::super::hidden;
use super::super::message::{self, Fault, Kind};
use super::client::start_request;
use super::*;

/// Xl2tpd's first message, taken from the wire.
const XL2TPD: &[u8] = b"\x80\x08\x00\x00\x00\x00\x00\x01\x80\x08\x00\x00\x00\x02\x01\x00\
    \x80\x0a\x00\x00\x00\x03\x00\x00\x00\x03\x80\x0a\x00\x00\x00\x04\x00\x00\x00\x00\
    \x00\x08\x00\x00\x00\x06\x06\x90\x80\x0c\x00\x00\x00\x07laptop\x00\x13\x00\x00\x00\x08xelerance.com\
    \x80\x08\x00\x00\x00\x09\x7b\x5c\x80\x08\x00\x00\x00\x0a\x00\x04";

#[test]
fn a_real_request_is_read() {
    let message = message::read(XL2TPD, None).unwrap().unwrap();
    assert_eq!(message.kind, Kind::StartRequest);
    let fields = message.fields;
    assert_eq!(fields.version, Some([1, 0]));
    assert_eq!(fields.host.as_deref(), Some("laptop"));
    assert_eq!((fields.tunnel, fields.window), (Some(0x7b5c), Some(4)));
    assert_eq!(start_request(0x7b5c, None), XL2TPD);
}

#[test]
fn an_unknown_pair_matters_when_it_is_mandatory() {
    let hello = || Writer::message(Kind::Hello.number());
    assert!(message::read(&hello().optional(999, b"x").finish(), None).unwrap().is_some());
    let fault = message::read(&hello().pair(999, b"x").finish(), None).unwrap_err();
    assert_eq!(fault, Fault::Unknown { vendor: 0, kind: 999 });
    assert_eq!(fault.error(), ErrorCode::Unknown);
    // another vendor's, and one with reserved bits, are not known whatever their number
    let vendors = [&hello().finish()[..], b"\x80\x08\x00\x09\x00\x09\x00\x01"].concat();
    let fault = message::read(&vendors, None).unwrap_err();
    assert_eq!(fault, Fault::Unknown { vendor: 9, kind: 9 });
    let reserved = [&hello().finish()[..], b"\xa0\x08\x00\x00\x00\x09\x00\x01"].concat();
    let fault = message::read(&reserved, None).unwrap_err();
    assert_eq!(fault, Fault::Unknown { vendor: u16::MAX, kind: 9 });
}

#[test]
fn lengths_that_lie_are_faults() {
    let whole = Writer::message(Kind::Hello.number()).finish();
    for end in 1..whole.len() {
        assert_eq!(message::read(&whole[..end], None), Err(Fault::Cut), "{end}");
    }
    for length in [0, 1, 5] {
        let bytes = [&whole[..], &[0x80, length, 0, 0, 0, 9]].concat();
        assert_eq!(message::read(&bytes, None), Err(Fault::Cut));
    }
    let short = Writer::message(Kind::StartRequest.number()).pair(kind::ASSIGNED_TUNNEL, &[1]);
    let fault = Fault::Length { kind: kind::ASSIGNED_TUNNEL };
    assert_eq!(message::read(&short.finish(), None), Err(fault));
    assert_eq!(message::read(b"", None), Err(Fault::NoType));
    let no_type = Writer::default().pair(kind::ASSIGNED_TUNNEL, &[0, 1]).finish();
    assert_eq!(message::read(&no_type, None), Err(Fault::NoType));
    assert_eq!(message::read(&Writer::message(99).finish(), None), Err(Fault::Type(99)));
    let may = Writer::default().optional(kind::MESSAGE_TYPE, &99_u16.to_be_bytes());
    assert_eq!(message::read(&may.finish(), None), Ok(None));
}

/// A pair whose value is hidden, as a peer would send it.
fn hide(kind: u16, vector: &[u8], value: &[u8], padding: usize) -> Vec<u8> {
    let hidden = hidden::cover(kind, b"secret", vector, value, padding);
    let mut bytes = Writer::message(Kind::Hello.number())
        .pair(kind::RANDOM_VECTOR, vector)
        .pair(kind, &hidden)
        .finish();
    let place = bytes.len() - hidden.len() - 6;
    bytes[place] |= 0x40;
    bytes
}

#[test]
fn hidden_values_are_uncovered_with_the_secret_alone() {
    for padding in [0, 1, 7, 40] {
        let bytes = hide(kind::HOST_NAME, b"vector", b"a name of more than one block", padding);
        let avps = avp::read(&bytes, Some(b"secret")).unwrap();
        assert_eq!(avps[2].value, b"a name of more than one block");
        let fault = Fault::Hidden { kind: kind::HOST_NAME };
        assert_eq!(avp::read(&bytes, None), Err(fault));
    }
}

/// Worked out by hand with another implementation of MD5: type 9, secret "secret", vector "vector", value 0x0001.
#[test]
fn the_first_block_is_of_type_secret_and_vector() {
    use md5::{Digest, Md5};
    let key: [u8; 16] = Md5::digest(b"\x00\x09secretvector").into();
    let hidden = hidden::cover(9, b"secret", b"vector", &[0, 1], 0);
    let expected: Vec<u8> = [0, 2, 0, 1].iter().zip(key).map(|(clear, key)| clear ^ key).collect();
    assert_eq!(hidden, expected);
}
