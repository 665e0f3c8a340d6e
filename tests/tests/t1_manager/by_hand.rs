//! The page that a reader copies block by block, run as it stands. QEMU alone is a stand-in: a program that keeps its command
//! line and the boot document, in front of a simulated agent; on a real machine the same is tested with the demonstration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use sluice_api::boot::BootDocument;

use super::agent::Agent;
use super::wait::until;

/// The blocks that are meant to be copied, in their order.
fn blocks() -> Vec<String> {
    let page = include_str!("../../../docs/by-hand.md");
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.any(|line| line.trim() == "```sh") {
        let block = lines.by_ref().take_while(|line| line.trim() != "```").map(str::trim);
        blocks.push(block.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What the page gives network and guest is what the router has at its end, and what is shown once is in files.
fn guests_are_told(agent: &Agent, folder: &Path) {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(agent.committed(), Some(6), "each change of the page but the keys alone");
    let network = &agent.config().role.networks[0];
    assert_eq!(network.dhcp.options[0].code.get(), 42);
    assert_eq!(network.dns.records[0].name.as_str(), "www.net1.zone1.internal");
    let guest = network.guests.iter().find(|guest| guest.hostname.as_str() == "vm1").unwrap();
    assert!(guest.metadata.public_keys[0].as_str().starts_with("ssh-ed25519 "));
    assert!(read("k1.pem").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    let blob = |digest| String::from_utf8(agent.blob(digest).unwrap()).unwrap();
    assert_eq!(blob(guest.metadata.user_data.as_ref().unwrap()), "echo hello\n");
    let password = blob(&guest.metadata.password.as_ref().unwrap().blob);
    let (_, password) = password.split_once('\n').unwrap();
    assert_eq!((password, password.len()), (read("password").trim_end(), 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_can_be_followed_by_whoever_copies_it() {
    let tree = tempfile::tempdir().unwrap();
    let programs = tree.path().join("target/release");
    fs::create_dir_all(&programs).unwrap();
    fs::create_dir_all(tree.path().join("examples")).unwrap();
    for name in ["sluice", "sluice-manager"] {
        std::os::unix::fs::symlink(sluice_tests::bin(name), programs.join(name)).unwrap();
    }
    fs::copy(super::first_network(), tree.path().join("examples/first-network.toml")).unwrap();
    program(&programs, "qemu-img", "for last; do :; done; echo disk > \"$last\"");
    program(&programs, "qemu-system-x86_64", "echo \"$@\" > machine; exec sleep 600");
    let blocks = blocks();
    assert_eq!(blocks.len(), 7, "{blocks:#?}");
    let script = blocks.join("\n").replace("kill %2 %1", "kill %2 %1; wait");
    let shell = sluice_programs::command("bash")
        .unwrap()
        .args(["-e", "-m", "-c", &script])
        .current_dir(tree.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = tree.path().join("target/by-hand");
    until("the machine is started", || folder.join("machine").exists()).await;
    let document = fs::read(folder.join("boot.json")).unwrap();
    let document = BootDocument::decode(&document).unwrap();
    let address = document.control.address.ip();
    let agent = Agent::start(document.clone()).await;
    // what QEMU's forwarding would do
    let forwarded = tokio::net::TcpListener::bind("127.0.0.1:3922").await.unwrap();
    let to = agent.address;
    let forwarding = tokio::spawn(async move {
        while let Ok((mut from, _)) = forwarded.accept().await {
            let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let told = shell.wait_with_output();
    forwarding.abort();
    let told = told.unwrap();
    let log = fs::read_to_string(folder.join("manager.log")).unwrap();
    assert!(told.status.success(), "{}\n{log}", String::from_utf8_lossy(&told.stderr));
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("r-1 generation 2: in force"), "{text}");
    guests_are_told(&agent, &folder);
    let machine = fs::read_to_string(folder.join("machine")).unwrap();
    for expected in [
        "file=r-1.qcow2,if=virtio".to_owned(),
        "name=opt/sluice/boot,file=boot.json".to_owned(),
        format!("net=169.254.0.0/20,hostfwd=tcp:127.0.0.1:3922-{address}:3922"),
        format!("netdev=control,mac={}", document.control.mac),
        "-qmp unix:r-1.qmp,server=on,wait=off".to_owned(),
    ] {
        assert!(machine.contains(&expected), "{expected}: {machine}");
    }
    assert_eq!(machine.matches("hubport").count(), 2, "public and trunk: {machine}");
}
