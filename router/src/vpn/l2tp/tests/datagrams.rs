//! Headers.

use super::super::datagram::encode_control;
use super::*;

#[test]
fn a_control_message_is_read_as_it_is_written() {
    let control = Control { tunnel: 1, session: 2, ns: 3, nr: 4, body: b"body" };
    let bytes = encode_control(&control);
    assert_eq!(bytes, b"\xc8\x02\x00\x10\x00\x01\x00\x02\x00\x03\x00\x04body");
    assert_eq!(decode(&bytes), Ok(Datagram::Control(control)));
    // padding that a link added
    let padded = [&bytes[..], &[0; 9]].concat();
    assert_eq!(decode(&padded), Ok(Datagram::Control(control)));
}

#[test]
fn data_is_read_with_every_optional_field() {
    let expected = Datagram::Data(Data { tunnel: 1, session: 2, payload: b"\xff\x03\xc0\x21" });
    for bytes in [
        &b"\x00\x02\x00\x01\x00\x02\xff\x03\xc0\x21"[..],
        b"\x40\x02\x00\x0c\x00\x01\x00\x02\xff\x03\xc0\x21padding",
        b"\x08\x02\x00\x01\x00\x02\x00\x07\x00\x08\xff\x03\xc0\x21",
        b"\x02\x02\x00\x01\x00\x02\x00\x03xyz\xff\x03\xc0\x21",
        b"\x4b\x02\x00\x13\x00\x01\x00\x02\x00\x07\x00\x08\x00\x01x\xff\x03\xc0\x21",
    ] {
        assert_eq!(decode(bytes), Ok(expected), "{bytes:02x?}");
    }
    for ns in [None, Some(7)] {
        let bytes = encode_data(1, 2, ns, b"\xff\x03\xc0\x21");
        assert_eq!(decode(&bytes), Ok(expected));
    }
}

#[test]
fn what_is_no_datagram_is_named() {
    let cases: [(&[u8], Malformed); 9] = [
        (b"", Malformed::Short),
        (b"\xc8", Malformed::Short),
        (b"\xc8\x02\x00\x0b\x00\x01\x00\x02\x00\x03\x00", Malformed::Short),
        // version 3, of RFC 3931
        (b"\xc8\x03\x00\x0c\x00\x01\x00\x02\x00\x03\x00\x04", Malformed::Version(3)),
        // without sequence numbers; with an offset
        (b"\xc0\x02\x00\x08\x00\x01\x00\x02", Malformed::Flags(0xc002)),
        (b"\xca\x02\x00\x0c\x00\x01\x00\x02\x00\x03\x00\x04", Malformed::Flags(0xca02)),
        (b"\xc8\x02\xff\xff\x00\x01\x00\x02\x00\x03\x00\x04", Malformed::Length(0xffff)),
        (b"\xc8\x02\x00\x00\x00\x01\x00\x02\x00\x03\x00\x04", Malformed::Short),
        (b"\x02\x02\x00\x01\x00\x02\xff\xff", Malformed::Offset(0xffff)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(bytes), Err(expected), "{bytes:02x?}");
    }
    let mut long = vec![0; 5000];
    long[..4].copy_from_slice(b"\xc8\x02\x13\x88");
    assert_eq!(decode(&long), Err(Malformed::Length(5000)));
}
