//! Hears the ACPI power button on the kernel's input devices.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

use super::power::{EVENT_SIZE, power_pressed};

/// Events taken in one read.
const BATCH: usize = 16;

/// Watches all input devices there are; those that come later are for [`watch`].
pub(crate) fn watch_all(presses: &Sender<()>) {
    let Ok(entries) = fs::read_dir("/dev/input") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if name.starts_with("event") {
            watch(&format!("input/{name}"), presses);
        }
    }
}

/// Watches one input device, named below `/dev`. A device that cannot be read is none of ours.
pub(crate) fn watch(node: &str, presses: &Sender<()>) {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(Path::new("/dev").join(node));
    #[expect(
        deprecated,
        reason = "the other constructor is unsafe and asks what a `File` promises: it owns its descriptor"
    )]
    let Some(device) = file.ok().and_then(|file| AsyncFd::new(file).ok()) else { return };
    tokio::spawn(listen(device, presses.clone()));
}

/// Ends with the device.
async fn listen(device: AsyncFd<File>, presses: Sender<()>) {
    let mut buffer = [0; EVENT_SIZE * BATCH];
    loop {
        let read = |mut file: &File| file.read(&mut buffer);
        let Ok(count) = device.async_io(Interest::READABLE, read).await else { return };
        if power_pressed(buffer.get(..count).unwrap_or_default()) {
            // a press that finds one waiting says nothing new
            let _ = presses.try_send(());
        }
    }
}
