//! What is in force is known from nft's echo, where it has one, and is what a listing says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sluice_sys::kernel::{Kernel, NftProgram, RealKernel};
use sluice_sys::model::{Keys, Step};
use sluice_sys::nft::{self, Entry, Ident, Table};

use crate::everything::everything;
use crate::world::{World, link, one, ours, program};

/// An nft that writes down with which words it was called, and its place in the order for want of memory, which it waits
/// for: it is given by whoever started it.
fn listening(dir: &Path) -> NftProgram {
    let path = dir.join("nft");
    let found = sluice_programs::command("sh")
        .unwrap()
        .args(["-c", &format!("command -v {}", program())])
        .output()
        .unwrap();
    let real = String::from_utf8(found.stdout).unwrap();
    let log = dir.join("log");
    let script = format!(
        "#!/bin/sh\nscore() {{ cat /proc/$$/oom_score_adj; }}\n\
         for _ in $(seq 200); do [ $(score) = 300 ] && break; sleep 0.05; done\n\
         echo \"score $(score)\" >> {log}\necho \"$@\" >> {log}\nexec {} \"$@\"\n",
        real.trim(),
        log = log.display(),
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    NftProgram(path)
}

/// Whether this nft says what the kernel made of a script: 1.1.3, the template's, and later ones do.
fn echoes(version: &str) -> bool {
    let numbers = version.split_whitespace().nth(1).unwrap().trim_start_matches('v');
    let numbers: Vec<u32> = numbers.split('.').map(|part| part.parse().unwrap()).collect();
    numbers >= vec![1, 1, 3]
}

fn keys() -> Keys {
    Keys { tables: BTreeSet::from([ours()]), ..Keys::default() }
}

async fn reach(kernel: &RealKernel, table: &Table) -> nft::Script {
    let desired = BTreeMap::from([(ours(), table.clone())]);
    let seen = kernel.observe(&keys()).await.unwrap();
    let script = nft::diff(&seen.tables, &desired);
    kernel.apply(&Step::Rules(script.clone())).await.unwrap();
    let rest = nft::diff(&kernel.observe(&keys()).await.unwrap().tables, &desired);
    assert!(rest.is_empty(), "{}", rest.render());
    script
}

/// Tables that differ from each other in every way in which scripts differ.
fn history() -> Vec<Table> {
    let mut all = vec![everything()];
    let mut change = |edit: &dyn Fn(&mut Table)| {
        let mut next = all.last().unwrap().clone();
        edit(&mut next);
        all.push(next);
    };
    let name = Ident::fixed;
    change(&|table| {
        let guests = &mut table.sets.get_mut(&name("guest-links")).unwrap().elements;
        guests.insert(one(link("guest7")), Entry::default());
    });
    change(&|table| table.chains.get_mut(&name("every-match")).unwrap().rules.swap(3, 7));
    change(&|table| drop(table.chains.get_mut(&name("every-match")).unwrap().rules.drain(2..5)));
    change(&|table| table.chains.get_mut(&name("nat-out")).unwrap().rules.clear());
    change(&|table| {
        drop(table.chains.remove(&name("in-company")));
        table.sets.remove(&name("by-service"));
        table.counters.remove(&name("count-two"));
        table.helpers.clear();
    });
    change(&|table| *table = everything());
    change(&|table| table.sets.get_mut(&name("v4-nets")).unwrap().counter = false);
    all
}

#[test]
fn what_is_remembered_after_each_script_is_what_is_there() {
    let world = World::new("echo");
    let dir = tempfile::tempdir().unwrap();
    let said = world.ns.command([program().as_str(), "--version"]).check().unwrap();
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    let lists = || log().lines().filter(|line| line.contains("list")).count();
    world
        .ns
        .enter_async(async || {
            let kernel = RealKernel::with_nft(listening(dir.path())).unwrap();
            for table in history() {
                let script = reach(&kernel, &table).await;
                let seen = kernel.observe(&keys()).await.unwrap();
                let fresh = RealKernel::with_nft(NftProgram(program().into())).unwrap();
                let listed = fresh.observe(&keys()).await.unwrap();
                assert_eq!(seen, listed, "{}", script.render());
                let handles = |seen: &sluice_sys::model::Observed| {
                    let chains = seen.tables[&ours()].chains.values();
                    chains
                        .flat_map(|chain| &chain.rules)
                        .map(|rule| rule.handle)
                        .collect::<Vec<_>>()
                };
                assert_eq!(handles(&seen), handles(&listed), "{}", script.render());
            }
            let echoed = log().lines().any(|line| line.contains("-e"));
            assert_eq!(echoed, echoes(&said), "{said}\n{}", log());
            if echoed {
                // with an echo nothing is listed at all: the first look found no table
                assert_eq!(lists(), 0, "{said}\n{}", log());
            }
            // an audit lists, and finds what is remembered
            let audit = Keys { anew: true, ..keys() };
            let remembered = kernel.observe(&keys()).await.unwrap();
            let before = lists();
            assert_eq!(kernel.observe(&audit).await.unwrap(), remembered);
            assert!(lists() > before, "nothing was listed");
            let before = lists();
            world.load("add element inet sluice guest-links { \"guest9\" }");
            let wanted = history().pop().unwrap();
            let script = reach(&kernel, &wanted).await.render();
            assert!(
                script.contains("delete element inet sluice guest-links { \"guest9\" }"),
                "{script}"
            );
            assert!(lists() > before, "a foreign change went unseen");
            let scores: BTreeSet<String> =
                log().lines().filter(|line| line.starts_with("score")).map(str::to_owned).collect();
            assert_eq!(scores, BTreeSet::from(["score 300".to_owned()]), "nft gives way");
        })
        .unwrap();
}
