//! Whether KVM works here, found out by running a guest.
//!
//! Guarantees: `Kvm` only after a guest printed through its serial port with it, asked once per boot
//! of this host. A device that exists and hangs (some clouds' nested virtualisation) costs the
//! probe's bound once, never a test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::spawner::on_spawner;

/// What runs the guest's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU's software emulation.
    Tcg,
}

const PROBE_BOUND: Duration = Duration::from_secs(8);
const WORD: &[u8] = b"sluice-probe";
/// Set to `kvm` or `tcg` to decide without a probe.
const OVERRIDE: &str = "SLUICE_LAB_ACCEL";

impl Accelerator {
    /// The words for QEMU's command line.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // five-level paging only makes emulated page walks longer
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"],
        }
    }

    /// Its name in QEMU and in `SLUICE_LAB_ACCEL`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The one to use: `SLUICE_LAB_ACCEL`, else what a probe found since this host booted, else a
    /// probe now, remembered in the folder `cache` when there is one.
    pub async fn choose(cache: Option<&Path>) -> Self {
        let wish = std::env::var(OVERRIDE).unwrap_or_default();
        if let Some(wished) = Self::from_name(&wish) {
            return wished;
        }
        if !kvm_can_be_opened() {
            return Self::Tcg;
        }
        let file = cache.map(|cache| cache.join(format!("accel-{}", boot_id())));
        let answer = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        if let Some(known) = answer.and_then(|answer| Self::from_name(&answer)) {
            return known;
        }
        let found = if Self::Kvm.runs_a_guest(PROBE_BOUND).await { Self::Kvm } else { Self::Tcg };
        tracing::info!(accelerator = found.as_str(), "accelerator probed");
        if let Some(file) = file {
            remember(&file, found);
        }
        found
    }

    /// Boots a guest of one sector and waits for its word on the serial port.
    pub async fn runs_a_guest(self, bound: Duration) -> bool {
        let Ok(disk) = probe_disk() else { return false };
        let path: PathBuf = disk.path().to_owned();
        let started = on_spawner(move || self.start_probe(&path));
        let Some(Ok(mut child)) = started else { return false };
        let heard = tokio::time::timeout(bound, hears_word(&mut child)).await.unwrap_or(false);
        // a guest stuck in the kernel may not die at once: it is told to, and not waited for
        let _already_ended = child.start_kill();
        heard
    }

    fn start_probe(self, disk: &Path) -> std::io::Result<Child> {
        let setpriv = sluice_programs::command("setpriv").map_err(std::io::Error::other)?;
        let qemu = sluice_programs::find("qemu-system-x86_64").map_err(std::io::Error::other)?;
        let mut command = Command::from(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(qemu).arg("-nodefaults");
        command.args(["-no-user-config", "-display", "none", "-machine", "pc", "-m", "16"]);
        command.args(self.arguments()).args(["-serial", "stdio", "-drive"]);
        command.arg(format!("file={},format=raw,if=ide,snapshot=on", disk.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.kill_on_drop(true).spawn()
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Kvm, Self::Tcg].into_iter().find(|known| known.as_str() == name.trim())
    }
}

fn kvm_can_be_opened() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

fn remember(path: &Path, found: Accelerator) {
    if let Err(error) = std::fs::write(path, found.as_str()) {
        tracing::debug!(path = %path.display(), %error, "probe's answer not kept");
    }
}

async fn hears_word(child: &mut Child) -> bool {
    let Some(mut output) = child.stdout.take() else { return false };
    let mut heard = Vec::new();
    while !heard.windows(WORD.len()).any(|window| window == WORD) {
        if output.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

fn probe_disk() -> std::io::Result<tempfile::NamedTempFile> {
    let mut disk = tempfile::NamedTempFile::new()?;
    disk.write_all(&boot_sector())?;
    disk.flush()?;
    Ok(disk)
}

/// Real-mode code that sends [`WORD`] to the first serial port and halts.
fn boot_sector() -> Vec<u8> {
    let mut code = vec![0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    for letter in WORD {
        code.extend([0xb0, *letter, 0xee]); // mov al, letter; out dx, al
    }
    code.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp to it
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code.resize(64 * 1024, 0); // the smallest disk that QEMU takes without a complaint
    code
}
