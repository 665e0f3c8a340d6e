//! OVA.

use super::{DISK, RefusalCode, Sample, bad, cut, descriptor, put, vmdk};

/// A member of a tar archive.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its name, as it is written.
    pub name: &'a str,
    /// Its type: `0` is a plain file.
    pub kind: u8,
    /// Its content.
    pub bytes: &'a [u8],
}

/// A plain file.
fn file<'a>(name: &'a str, bytes: &'a [u8]) -> Member<'a> {
    Member { name, kind: b'0', bytes }
}

/// An archive of `members`.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for member in members {
        let mut header = vec![0; 512];
        put(&mut header, 0, member.name.as_bytes());
        put(&mut header, 100, b"0000644\0");
        put(&mut header, 124, format!("{:011o}\0", member.bytes.len()).as_bytes());
        put(&mut header, 156, &[member.kind]);
        put(&mut header, 257, b"ustar\x0000");
        sum_up(&mut header);
        archive.extend(header);
        archive.extend(member.bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The headers of an archive, as far as one follows the other.
pub(super) fn sum_up(archive: &mut [u8]) {
    for header in
        archive.chunks_exact_mut(512).filter(|block| block.get(257..262) == Some(b"ustar"))
    {
        put(header, 148, b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(header, 148, format!("{sum:06o}\0 ").as_bytes());
    }
}

fn ovf(href: &str, extra: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<ovf:Envelope xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\
         <ovf:References><ovf:File ovf:id=\"file1\" ovf:href=\"{href}\" {extra}/></ovf:References>\
         <ovf:DiskSection><ovf:Disk ovf:diskId=\"d1\" ovf:fileRef=\"file1\" ovf:capacity=\"{DISK}\"/>\
         </ovf:DiskSection></ovf:Envelope>"
    )
}

fn disk() -> Vec<u8> {
    vmdk(&descriptor("monolithicSparse", "disk.vmdk"))
}

/// A description that names `href`, and a disk of that name.
pub fn ova(href: &str) -> Vec<u8> {
    tar(&[file("vm.ovf", ovf(href, "").as_bytes()), file(href, &disk())])
}

fn described(ovf: &str) -> Vec<u8> {
    tar(&[file("vm.ovf", ovf.as_bytes()), file("disk.vmdk", &disk())])
}

fn besides(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let (ovf, disk) = (ovf("disk.vmdk", ""), disk());
    tar(&[file("vm.ovf", ovf.as_bytes()), file("disk.vmdk", &disk), Member { name, kind, bytes }])
}

pub(super) fn hostile() -> Vec<Sample> {
    use RefusalCode as Code;
    let parent = vmdk(&descriptor("monolithicSparse", "disk.vmdk").replace("ffffffff", "00000001"));
    let plain = ovf("disk.vmdk", "");
    let hostile_disk = tar(&[file("vm.ovf", plain.as_bytes()), file("disk.vmdk", &parent)]);
    let backed = super::with(super::qcow2(3), 8, &200_u64.to_be_bytes());
    let not_vmdk = tar(&[file("vm.ovf", plain.as_bytes()), file("disk.vmdk", &backed)]);
    let entity = plain
        .replace("<ovf:Envelope", "<!DOCTYPE x [<!ENTITY a SYSTEM \"/etc/shadow\">]><ovf:Envelope");
    let parent_ref = plain.replace("ovf:diskId", "ovf:parentRef=\"d0\" ovf:diskId");
    let disk_first = tar(&[file("disk.vmdk", &disk()), file("vm.ovf", plain.as_bytes())]);
    let sum = super::with(ova("disk.vmdk"), 150, b"7");
    vec![
        bad("ova-member-absolute", Code::ArchivePath, besides("/etc/passwd", b'0', b"x")),
        bad("ova-member-above", Code::ArchivePath, besides("../x", b'0', b"x")),
        bad("ova-member-link", Code::ArchivePath, besides("link", b'2', b"")),
        bad("ova-member-hard-link", Code::ArchivePath, besides("link", b'1', b"")),
        bad("ova-member-device", Code::ArchivePath, besides("dev", b'4', b"")),
        bad("ova-member-long-name", Code::ArchivePath, besides("x", b'L', b"../../x")),
        bad("ova-extended-path", Code::ArchivePath, besides("x", b'x', b"14 path=../x\n")),
        bad("ova-member-twice", Code::Malformed, besides("disk.vmdk", b'0', b"x")),
        bad("ova-names-a-file-outside", Code::ArchivePath, described(&ovf("/etc/shadow", ""))),
        bad("ova-names-a-url", Code::ArchivePath, described(&ovf("http://10.0.0.1/x", ""))),
        bad("ova-names-what-is-not-there", Code::ArchivePath, described(&ovf("other.vmdk", ""))),
        bad(
            "ova-compressed-disk",
            Code::Compressed,
            described(&ovf("disk.vmdk", "ovf:compression=\"gzip\"")),
        ),
        bad("ova-document-type", Code::ArchivePath, described(&entity)),
        bad("ova-parent", Code::Parent, described(&parent_ref)),
        bad("ova-no-xml", Code::Malformed, described("<a><b></a>")),
        bad("ova-disk-with-parent", Code::Parent, hostile_disk),
        bad("ova-disk-no-vmdk", Code::Malformed, not_vmdk),
        bad("ova-description-not-first", Code::Malformed, disk_first),
        bad("ova-cut-off", Code::Truncated, cut(ova("disk.vmdk"), 3000)),
        bad("ova-header-sum", Code::TooSmall, sum),
    ]
}
