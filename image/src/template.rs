//! Builds the template: one disk for all roles, and its kernel and initrd for direct boot.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::debian::Debian;
use crate::disk::{self, Contents};
use crate::error::{Result, file, make_dir, read, write};
use crate::lists::{self, entries};
use crate::manifest::Manifest;
use crate::modules::Kernel;
use crate::root::{self, Parts};
use crate::stamp::Stamp;
use crate::tree::Tree;
use crate::{Flavour, Ike, Options, golden, initrd, squashfs, tool};

/// The serial line last, so that it is the one PID 1's own output would go to if all else failed. No trial of the timer: on
/// a busy host the kernel may take a late tick for a broken timer and stop.
pub const KERNEL_OPTIONS: &str =
    "console=tty0 console=ttyS0,115200n8 quiet loglevel=4 panic=10 no_timer_check";

/// The files of a built template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    /// The bootable disk, compressed.
    pub qcow2: PathBuf,
    /// The kernel for direct boot.
    pub kernel: PathBuf,
    /// The initrd for direct boot; it finds its root on the same disk, attached as any kind of drive.
    pub initrd: PathBuf,
    /// What is in them.
    pub manifest: PathBuf,
}

impl Artifacts {
    /// Where a flavour's files are below the output directory.
    pub fn below(out: &Path, flavour: Flavour, ike: Ike) -> Self {
        let name = match flavour {
            Flavour::Standard => "sluice",
            Flavour::Debug => "sluice-debug",
        };
        let path = |kind: &str| out.join(format!("{name}{}.{kind}", ike.suffix()));
        Self {
            qcow2: path("qcow2"),
            kernel: path("vmlinuz"),
            initrd: path("initrd"),
            manifest: path("manifest.json"),
        }
    }

    fn paths(&self) -> [&Path; 4] {
        [&self.qcow2, &self.kernel, &self.initrd, &self.manifest]
    }
}

/// Builds the template, or finds it up to date. `progress` hears the name of each step.
pub fn build(options: &Options, progress: &dyn Fn(&str)) -> Result<Artifacts> {
    let artifacts = Artifacts::below(&options.out, options.flavour, options.ike);
    tool::check_host()?;
    make_dir(&options.out)?;
    let stamp = stamp(options, &artifacts)?;
    if !options.bless && stamp.is_fresh(&artifacts.paths()) {
        progress("up to date");
        return Ok(artifacts);
    }
    stamp.void()?;
    let scratch = tempfile::tempdir_in(&options.out).map_err(file("create", &options.out))?;
    make(options, &artifacts, scratch.path(), progress)?;
    stamp.keep()?;
    Ok(artifacts)
}

fn stamp(options: &Options, artifacts: &Artifacts) -> Result<Stamp> {
    let programs = ["sluice-init", "sluice-router", "sluice-proxy", "sluice-ssvm"];
    let inputs = programs.map(|name| options.binaries.join(name));
    Stamp::new(artifacts.manifest.with_extension("stamp"), &inputs, &tool::epoch().to_string())
}

fn make(
    options: &Options,
    artifacts: &Artifacts,
    scratch: &Path,
    progress: &dyn Fn(&str),
) -> Result<()> {
    progress("fetching Debian packages");
    let debian = Debian::fetch(&packages(options), &options.cache)?;
    progress("choosing kernel modules");
    let kernel = Kernel::find(&debian.root)?;
    let (modules, first) = (kernel.choose(lists::MODULES)?, kernel.choose(lists::MODULES_INITRD)?);
    progress("putting the root together");
    let (debian, kernel) = (&debian, &kernel);
    let binaries = options.binaries.as_path();
    let tree = root::build(&Parts {
        debian,
        kernel,
        modules: &modules,
        binaries,
        flavour: options.flavour,
        ike: options.ike,
    })?;
    let mut manifest = Manifest::new(&tree, debian, &kernel.release, options.flavour);
    if options.flavour == Flavour::Standard {
        check_golden(&tree, &manifest, options)?;
    }
    let squashed = scratch.join("root.squashfs");
    squashfs::pack(&tree, scratch, &squashed, squashfs::SMALL)?;
    progress("packing the initrd");
    write(&artifacts.initrd, &initrd::build(debian, kernel, &first, binaries)?)?;
    write(
        &artifacts.kernel,
        &read(&debian.root.join(format!("boot/vmlinuz-{}", kernel.release)))?,
    )?;
    progress("writing the disk");
    write_disk(artifacts, &squashed, scratch)?;
    artifacts.paths().iter().take(3).try_for_each(|path| manifest.image(path))?;
    manifest.write(&artifacts.manifest)
}

/// Fetches the Debian packages of the template into the cache, for a caller who has something to wait for meanwhile.
pub fn fetch(options: &Options) -> Result<()> {
    tool::check_host()?;
    Debian::fetch(&packages(options), &options.cache).map(drop)
}

fn packages(options: &Options) -> BTreeSet<&'static str> {
    let debug = if options.flavour == Flavour::Debug { lists::PACKAGES_DEBUG } else { "" };
    entries(lists::PACKAGES).chain(entries(options.ike.packages())).chain(entries(debug)).collect()
}

fn check_golden(tree: &Tree, manifest: &Manifest, options: &Options) -> Result<()> {
    let (suffix, bless) = (options.ike.suffix(), options.bless);
    let packages = manifest.package_names().map(golden::package_name).collect();
    golden::check(&format!("packages{suffix}.txt"), &packages, bless)?;
    let is_library = |path: &&str| path.contains(".so") && path.starts_with("usr/lib");
    let libraries =
        tree.iter().map(|(path, _)| path).filter(is_library).map(str::to_owned).collect();
    golden::check(&format!("libraries{suffix}.txt"), &libraries, bless)
}

fn write_disk(artifacts: &Artifacts, root: &Path, scratch: &Path) -> Result<()> {
    let raw = scratch.join("disk.raw");
    let contents = Contents {
        kernel: &read(&artifacts.kernel)?,
        initrd: &read(&artifacts.initrd)?,
        root,
        kernel_options: KERNEL_OPTIONS,
    };
    disk::template(&contents, scratch, &raw)?;
    disk::qcow2(&raw, &artifacts.qcow2)
}
