//! Packets of CHAP (RFC 1994 4, RFC 2759 4 to 6).

use md5::{Digest, Md5};

use super::Method;
use super::mschap::{CHALLENGE, Exchange, RESPONSE, without_domain};
use super::packet::Packet;
use crate::vpn::same_bytes;
use crate::vpn::wire::Reader;

/// Codes of RFC 1994 4.
pub(super) mod code {
    pub(crate) const CHALLENGE: u8 = 1;
    pub(crate) const RESPONSE: u8 = 2;
    pub(crate) const SUCCESS: u8 = 3;
    pub(crate) const FAILURE: u8 = 4;
}

/// What the peer answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    value: &'a [u8],
    /// The name as the peer wrote it.
    pub(super) name: &'a str,
}

/// A challenge in the form of its packet's data.
pub(super) fn challenge(value: &[u8; CHALLENGE], name: &str) -> Vec<u8> {
    let mut data = vec![u8::try_from(CHALLENGE).unwrap_or(0)];
    data.extend(value);
    data.extend(name.as_bytes());
    data
}

/// Reads a response; `None` when it is none, or its name is no text.
pub(super) fn response<'a>(packet: &Packet<'a>) -> Option<Response<'a>> {
    let mut reader = Reader::new(packet.data);
    let size = reader.u8()?;
    let value = reader.take(usize::from(size))?;
    let name = std::str::from_utf8(reader.rest()).ok()?;
    Some(Response { value, name })
}

/// What a success says, or `None` when `password` is not what the response was made with.
pub(super) fn verify(
    method: Method,
    id: u8,
    challenge: &[u8; CHALLENGE],
    response: &Response<'_>,
    password: &str,
) -> Option<String> {
    if method == Method::MsChapV2 {
        return verify_ms(challenge, response, password);
    }
    let expected =
        Md5::new().chain_update([id]).chain_update(password).chain_update(challenge).finalize();
    same_bytes(&expected, response.value).then(String::new)
}

fn verify_ms(ours: &[u8; CHALLENGE], response: &Response<'_>, password: &str) -> Option<String> {
    let mut reader = Reader::new(response.value);
    let peers: [u8; CHALLENGE] = reader.array()?;
    let _reserved: [u8; 8] = reader.array()?;
    let given: [u8; RESPONSE] = reader.array()?;
    let user = without_domain(response.name);
    let exchange = Exchange { ours, peers: &peers, user, password };
    same_bytes(&exchange.response(), &given)
        .then(|| format!("S={} M=welcome", hexadecimal(&exchange.proof(&given))))
}

/// What a failure says: of MS-CHAPv2 the code of a wrong name or password, without another try (RFC 2759 6).
pub(super) fn failure(method: Method, challenge: &[u8; CHALLENGE]) -> String {
    match method {
        Method::MsChapV2 => {
            format!("E=691 R=0 C={} V=3 M=wrong name or password", hexadecimal(challenge))
        }
        _ => "wrong name or password".to_owned(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1994 4.1: the MD5 of id, secret and challenge, in this order; the digest is that of another program (md5sum).
    #[test]
    fn rfc_1994_4_1() {
        let challenge: [u8; CHALLENGE] = std::array::from_fn(|place| u8::try_from(place).unwrap());
        let digest = [
            0x69, 0x6f, 0xb4, 0x75, 0xb0, 0x52, 0x53, 0xa3, 0x3a, 0x6d, 0xf5, 0x04, 0x3b, 0xcb,
            0xdc, 0x64,
        ];
        let mut data = vec![16];
        data.extend(digest);
        data.extend(b"anna");
        let packet = Packet { code: code::RESPONSE, id: 7, data: &data };
        let response = response(&packet).unwrap();
        assert_eq!(response.name, "anna");
        let proved =
            |id, password| verify(Method::ChapMd5, id, &challenge, &response, password).is_some();
        assert!(proved(7, "a secret"));
        assert!(!proved(8, "a secret") && !proved(7, "a secre"));
    }
}
