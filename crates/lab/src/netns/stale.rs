//! Taking away what a killed process could not: namespaces named after a pid that is gone.

use std::path::Path;

/// Every namespace of the harness starts with this.
pub(super) const PREFIX: &str = "slt";
const FOLDER: &str = "/run/netns";

/// Deletes namespaces of processes that no longer run. Without rights it does nothing: only a
/// process with rights made any.
pub fn sweep() {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| is_orphan(name)) {
        tracing::info!(namespace = name, "stale namespace deleted");
        delete(&name);
    }
}

/// Deletes one namespace with all that is in it, and its folder under `/etc/netns`.
pub(super) fn delete(name: &str) {
    end_processes(name);
    // nothing can be done about a failure here; the next sweep tries again
    let _deleted =
        sluice_programs::command("ip").map(|mut ip| ip.args(["netns", "del", name]).output());
    let _removed = std::fs::remove_dir_all(settings_folder(name));
}

/// What outlives those who started it, as services of a killed agent do.
fn end_processes(name: &str) {
    use nix::sys::signal::{Signal, kill};
    let Ok(mut ip) = sluice_programs::command("ip") else { return };
    let Ok(pids) = ip.args(["netns", "pids", name]).output() else { return };
    let pids = String::from_utf8_lossy(&pids.stdout).into_owned();
    for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
        // it may have ended meanwhile
        let _gone = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Where `ip netns exec` finds files that replace those of `/etc`.
pub(super) fn settings_folder(name: &str) -> std::path::PathBuf {
    Path::new("/etc/netns").join(name)
}

fn is_orphan(name: &str) -> bool {
    let mut parts = name.splitn(3, '-');
    let ours = parts.next() == Some(PREFIX);
    let pid: Option<u32> = parts.next().and_then(|part| part.parse().ok());
    ours && pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::is_orphan;

    #[test]
    fn only_namespaces_of_dead_processes_are_orphans() {
        // pid_max is at most 2^22, so this one cannot run
        assert!(is_orphan("slt-4194305-guest"));
        assert!(!is_orphan(&format!("slt-{}-guest", std::process::id())));
        for other in ["slt", "slt-x-guest", "mine", "4194305", "other-4194305-x"] {
            assert!(!is_orphan(other), "{other}");
        }
    }
}
