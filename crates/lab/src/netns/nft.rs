//! The nft of tests and benchmarks: the template's own, out of the image's cache, since versions differ in what they echo
//! and in what they cost; the machine's own where no image has been built, which is then said. Shells of the tests find the
//! same one: an older nft may crash over tables that a newer one has made.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Of the machine, by the package that the table of programs names.
const MACHINES: &str = "/usr/sbin/nft";

/// Where it is: `$SLUICE_NFT`, else the template's, else the machine's.
pub fn nft() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(named) = std::env::var_os("SLUICE_NFT") {
            return named.into();
        }
        target().and_then(|target| of_template(&target)).unwrap_or_else(|| {
            tracing::info!("nft is this machine's own; `cargo xtask image` brings the template's");
            MACHINES.into()
        })
    })
}

/// The folder that the running program was built in: `target/PROFILE/deps/test` or `target/PROFILE/bin`.
fn target() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let mut folders = program.ancestors().skip(1).filter(|folder| !folder.ends_with("deps"));
    folders.nth(1).map(Path::to_owned)
}

/// A program that runs the nft of the newest tree of packages in the image's cache, with that tree's loader and libraries.
fn of_template(target: &Path) -> Option<PathBuf> {
    let cache = std::fs::read_dir(target.join("image-cache")).ok()?;
    let trees = cache.flatten().map(|entry| entry.path().join("root"));
    let trees = trees.filter(|root| root.join("usr/sbin/nft").exists() && loader(root).exists());
    let root =
        trees.max_by_key(|root| std::fs::metadata(root).and_then(|is| is.modified()).ok())?;
    write(target, &root).ok()
}

fn loader(root: &Path) -> PathBuf {
    root.join(LIBRARIES).join("ld-linux-x86-64.so.2")
}

/// Many tests run at the same time, so the file appears whole.
fn write(target: &Path, root: &Path) -> std::io::Result<PathBuf> {
    let folder = target.join("tmp");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("nft");
    let script = format!(
        "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
        loader(root).display(),
        root.join(LIBRARIES).display(),
        root.join("usr/sbin/nft").display()
    );
    if std::fs::read_to_string(&program).is_ok_and(|is| is == script) {
        return Ok(program);
    }
    let mut file = tempfile::NamedTempFile::new_in(&folder)?;
    std::io::Write::write_all(&mut file, script.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o755))?;
    // an open file that is written cannot be executed (ETXTBSY)
    file.into_temp_path().persist(&program)?;
    Ok(program)
}
