//! Questions by dnspython, a decoder that others wrote: what a server must make of each flag, option and version, as ISC's
//! genreport asks, and many questions whose answers are the upstream's.

use crate::bench::Bench;

/// What genreport asks of a server, of the zone that the router itself has: flags, opcodes, types, EDNS.
const FLAGS: &str = r#"
import dns.edns, dns.flags, dns.message, dns.opcode, dns.query, dns.rcode
from dns.flags import AA, AD, CD, RA, RD, TC
ZONE, Z = "cs1.cloud.internal.", 0x40
def ask(flags=0, edns=False, ednsflags=0, options=(), rdtype="SOA", tcp=False, opcode=0, payload=1232):
    question = dns.message.make_query(ZONE, rdtype)
    question.use_edns(edns, int(ednsflags), payload, options=list(options))
    question.flags = flags
    question.set_opcode(opcode)
    return (dns.query.tcp if tcp else dns.query.udp)(question, "10.1.1.1", timeout=10)
def option(code, data=b""):
    return dns.edns.GenericOption(code, data)
checks = 0
def check(what, said, rcode="NOERROR", found=True, flags=AA, edns=-1, ednsflags=0):
    global checks
    got = (dns.rcode.to_text(said.rcode()), bool(said.answer), said.flags & (AA | AD | TC | Z), said.edns, said.ednsflags & 0xffff, list(said.options))
    assert got == (rcode, found, flags, edns, ednsflags, []), f"{what}: {got}\n{said}"
    checks += 1
for name, flags in (("none", 0), ("aa", AA), ("ad", AD), ("cd", CD), ("ra", RA), ("rd", RD), ("tc", TC), ("z", Z)):
    check(name, ask(flags))
check("tcp", ask(tcp=True))
check("type666", ask(rdtype=666), found=False)
for name, flags in (("opcode", 0), ("opcodeflg", AA | AD | CD | RA | RD | TC | Z)):
    said = ask(flags, opcode=2)
    check(name, said, rcode="NOTIMP", found=False, flags=0)
    assert said.flags & (RD | CD | RA) == 0, said
check("edns", ask(edns=0), edns=0)
check("ednstcp", ask(edns=0, tcp=True), edns=0)
check("edns@512", ask(edns=0, payload=512), edns=0)
check("do", ask(edns=0, ednsflags=dns.flags.DO), edns=0, ednsflags=dns.flags.DO)
check("ednsflags", ask(edns=0, ednsflags=0x40), edns=0)
for name, asked in (("opt", 100), ("nsid", 3), ("expire", 9)):
    check("edns" + name, ask(edns=0, options=[option(asked)]), edns=0)
    check("edns1" + name, ask(edns=1, options=[option(asked)]), rcode="BADVERS", found=False, flags=0, edns=0)
check("ednscookie", ask(edns=0, options=[option(10, b"12345678")]), edns=0)
check("ednssubnet", ask(edns=0, options=[option(8, bytes([0, 1, 0, 0]))]), edns=0)
check("edns1", ask(edns=1), rcode="BADVERS", found=False, flags=0, edns=0)
check("edns1flags", ask(edns=1, ednsflags=0x40), rcode="BADVERS", found=False, flags=0, edns=0)
every = [option(3), option(10, b"12345678"), option(8, bytes([0, 1, 0, 0])), option(9), option(100)]
check("optlist", ask(edns=0, options=every), edns=0)
print("checks", checks)
"#;

#[test]
fn flags_opcodes_types_and_versions_of_edns_are_answered_as_genreport_asks() {
    let bench = Bench::new("dns-flags");
    assert_eq!(python(&bench, FLAGS), "checks 28\n");
}

/// The same questions to the upstream itself and by way of the router, which say the same.
const SAME: &str = r#"
import dns.flags, dns.message, dns.query, dns.rdatatype, random
dice = random.Random(7)
NAMES = ["example.test", "www.example.test", "big.example.test", "missing.example.test", "a.b.www.example.test"] + [f"n{n}.example.test" for n in range(60)]
TYPES = ["A", "AAAA", "TXT", "MX", "SRV", "CNAME", "NS", "SOA", "PTR", "HTTPS", "CAA", "NAPTR", "DS", "TLSA"]
def rdtype():
    return dice.choice(TYPES) if dice.random() < 0.8 else dns.rdatatype.RdataType.make(dice.randrange(260, 60000))
def cased(name):
    return "".join(dice.choice((letter.lower(), letter.upper())) for letter in name)
def told(question, where):
    said, _ = dns.query.udp_with_fallback(question, where, timeout=10)
    answer = sorted((str(rrset.name).lower(), rrset.rdtype, rdata.to_text()) for rrset in said.answer for rdata in rrset)
    denial = [rrset.rdtype for rrset in said.authority if rrset.rdtype == dns.rdatatype.SOA]
    return said.rcode(), answer, denial
for number in range(1500):
    edns = dice.choice((False, 0))
    question = dns.message.make_query(cased(dice.choice(NAMES)), rdtype(), use_edns=edns, payload=dice.choice((512, 1232, 4096)),
        want_dnssec=edns is not False and dice.random() < 0.5)
    question.flags |= dice.choice((0, dns.flags.CD, dns.flags.AD))
    direct, ours = told(question, "192.0.2.53"), told(question, "10.1.1.1")
    assert direct == ours, f"{number}: {question}\n{direct}\n{ours}"
print("the same")
"#;

#[test]
fn fifteen_hundred_answers_are_the_upstream_s() {
    let bench = Bench::new("dns-same");
    let _unbound = bench.unbound();
    // guests reach the resolver itself, too
    bench.router.sh("sysctl -qw net.ipv4.ip_forward=1").check().unwrap();
    assert_eq!(python(&bench, SAME), "the same\n");
}

fn python(bench: &Bench, text: &str) -> String {
    let file = bench.path("ask.py");
    std::fs::write(&file, text).unwrap();
    let words = ["/usr/bin/python3".as_ref(), file.as_os_str()];
    let output = bench.first.command(words).timeout(crate::bench::BOUND * 4).run().unwrap();
    assert!(output.ok(), "{}{}", output.stdout, output.stderr);
    output.stdout
}
