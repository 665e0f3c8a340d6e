//! What a process sees of the file system: an empty root with the files that it was given, and nothing else.
//!
//! Guarantees: every other path is absent, not merely forbidden, `/proc` and `/sys` included; what may be read cannot be
//! written, what may be written cannot be executed or be a device or give rights. Mounts that come later below a writable
//! folder show up in it when that folder is on a shared mount. Everything that needs memory is prepared before the fork.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::check;

/// Where the new root is put together, in the child's own mount namespace.
const STAGE: &str = "/run/sluice/root";
/// Room for mount points; nothing else is ever written there.
const STAGE_OPTIONS: &std::ffi::CStr = c"size=1m,mode=0755";

/// Files and folders that a process sees, at the paths that they have outside. The program itself is always among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// To be read, executed or, for devices, used.
    pub read: Vec<PathBuf>,
    /// To be written as well, as far as their owners and modes allow. Folders bring the mounts below them along.
    pub write: Vec<PathBuf>,
}

impl View {
    /// The shared libraries of the system, whole: for programs of others, which load what they like.
    pub fn libraries() -> Self {
        let places = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/null"];
        let read = places.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
        Self { read, write: Vec::new() }
    }

    /// The shared libraries that the running program has loaded, and no other: for its own services.
    ///
    /// Errors: the kernel does not say which they are.
    pub fn own_libraries() -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let mut read: BTreeSet<PathBuf> = loaded(&maps).flat_map(names_of).collect();
        // the name by which programs ask for the loader (x86-64 psABI), wherever it really is
        let loader = ["/lib64/ld-linux-x86-64.so.2", "/dev/null"].map(PathBuf::from);
        read.extend(loader.into_iter().filter(|path| path.exists()));
        Ok(Self { read: read.into_iter().collect(), write: Vec::new() })
    }

    /// With further files and folders to be read.
    #[must_use]
    pub fn reading(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.read.extend(paths.into_iter().map(Into::into));
        self
    }

    /// With further files and folders to be written.
    #[must_use]
    pub fn writing(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.write.extend(paths.into_iter().map(Into::into));
        self
    }
}

/// Files of which code is mapped.
fn loaded(maps: &str) -> impl Iterator<Item = &Path> {
    maps.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (rights, path) = (words.nth(1)?, words.nth(3)?);
        (rights.contains('x') && path.starts_with('/')).then(|| Path::new(path))
    })
}

/// A library and the links to it in its folder: programs ask for it by one of those (its soname).
fn names_of(file: &Path) -> Vec<PathBuf> {
    let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok());
    let links = entries.into_iter().flatten().flatten().filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_symlink())
            && fs::canonicalize(entry.path()).is_ok_and(|target| target == file)
    });
    links.map(|entry| entry.path()).chain([file.to_owned()]).collect()
}

/// A view as system calls to come.
#[derive(Debug)]
pub(super) struct Stage {
    stage: CString,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Folder(CString),
    File(CString),
    Bind { from: CString, to: CString, nested: libc::c_ulong, flags: libc::c_ulong },
}

impl Stage {
    /// Looks at what is to be seen. Errors: something of it does not exist.
    pub(super) fn prepare(view: &View, program: &Path) -> io::Result<Self> {
        fs::create_dir_all(STAGE)?;
        let mut made = BTreeSet::new();
        let mut steps = Vec::new();
        let read = view.read.iter().map(PathBuf::as_path).chain([program]);
        let write = view.write.iter().map(PathBuf::as_path);
        for (path, writable) in read.map(|path| (path, false)).chain(write.map(|path| (path, true)))
        {
            show(path, writable, &mut made, &mut steps)?;
        }
        Ok(Self { stage: text(Path::new(STAGE))?, steps })
    }

    /// Moves the calling process into its own root. Runs between fork and exec: system calls only.
    pub(super) fn enter(&self) -> io::Result<()> {
        // SAFETY: plain numbers and strings that outlive the calls; a null source or kind is what mount(2) asks for.
        #[allow(unsafe_code)]
        unsafe {
            check(libc::unshare(libc::CLONE_NEWNS))?;
        }
        // what is mounted outside later may come in, nothing goes out
        mount(None, c"/", None, libc::MS_REC | libc::MS_SLAVE, None)?;
        let plain = libc::MS_NOSUID | libc::MS_NODEV;
        mount(Some(c"tmpfs"), &self.stage, Some(c"tmpfs"), plain, Some(STAGE_OPTIONS))?;
        self.steps.iter().try_for_each(Step::take)?;
        let sealed = libc::MS_REMOUNT | libc::MS_RDONLY | libc::MS_NOEXEC | plain;
        mount(None, &self.stage, None, sealed, None)?;
        // SAFETY: as above. With both names the same, the old root is stacked on the new one and then let go
        // (pivot_root(2), "pivot_root(".", ".")").
        #[allow(unsafe_code)]
        unsafe {
            check(libc::chdir(self.stage.as_ptr()))?;
            let dot = c".".as_ptr();
            let pivoted = libc::syscall(libc::SYS_pivot_root, dot, dot);
            check(i32::try_from(pivoted).unwrap_or(-1))?;
            check(libc::umount2(dot, libc::MNT_DETACH))?;
            check(libc::chdir(c"/".as_ptr()))
        }
    }
}

/// The steps that make `path` visible.
fn show(
    path: &Path,
    writable: bool,
    made: &mut BTreeSet<PathBuf>,
    steps: &mut Vec<Step>,
) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let inside = path.strip_prefix("/").map_err(|_| named(io::ErrorKind::InvalidInput.into()))?;
    let kind = fs::metadata(path).map_err(named)?.file_type();
    let to = Path::new(STAGE).join(inside);
    let above: Vec<&Path> = inside.ancestors().skip(1).collect();
    for folder in above.into_iter().rev().filter(|folder| *folder != Path::new("")) {
        if made.insert(folder.to_owned()) {
            steps.push(Step::Folder(text(&Path::new(STAGE).join(folder))?));
        }
    }
    if made.insert(inside.to_owned()) {
        let place = text(&to)?;
        steps.push(if kind.is_dir() { Step::Folder(place) } else { Step::File(place) });
    }
    let device = kind.is_char_device() || kind.is_block_device();
    let nested = if writable && kind.is_dir() { libc::MS_REC } else { 0 };
    let flags = libc::MS_NOSUID
        | if writable || device { libc::MS_NOEXEC } else { 0 }
        | if writable { 0 } else { libc::MS_RDONLY }
        | if device { 0 } else { libc::MS_NODEV };
    steps.push(Step::Bind { from: text(path)?, to: text(&to)?, nested, flags });
    Ok(())
}

impl Step {
    fn take(&self) -> io::Result<()> {
        match self {
            Self::Folder(path) => exists(folder(path)),
            Self::File(path) => exists(file(path)),
            Self::Bind { from, to, nested, flags } => {
                mount(Some(from), to, None, libc::MS_BIND | nested, None)?;
                // the flags of a bind mount count only from the second call on (mount(2))
                mount(None, to, None, libc::MS_REMOUNT | libc::MS_BIND | flags, None)
            }
        }
    }
}

/// What one view shows may stand within what it shows already.
fn exists(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EROFS)) => Ok(()),
        other => other,
    }
}

fn folder(path: &CString) -> io::Result<()> {
    // SAFETY: a string that outlives the call.
    #[allow(unsafe_code)]
    check(unsafe { libc::mkdir(path.as_ptr(), 0o755) })
}

fn file(path: &CString) -> io::Result<()> {
    // SAFETY: a string that outlives the call; the descriptor is closed here and known nowhere else.
    #[allow(unsafe_code)]
    unsafe {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
        let made = libc::open(path.as_ptr(), flags, 0o644);
        check(made)?;
        check(libc::close(made))
    }
}

fn mount(
    from: Option<&std::ffi::CStr>,
    to: &std::ffi::CStr,
    kind: Option<&std::ffi::CStr>,
    flags: libc::c_ulong,
    options: Option<&std::ffi::CStr>,
) -> io::Result<()> {
    let pointer =
        |text: Option<&std::ffi::CStr>| text.map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
    // SAFETY: the strings outlive the call, and mount(2) takes null for those that an operation does not use.
    #[allow(unsafe_code)]
    check(unsafe {
        libc::mount(pointer(from), to.as_ptr(), pointer(kind), flags, pointer(options).cast())
    })
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_code_in_memory() {
        let maps = "\
55d0-55d1 r--p 00000000 08:01 1 /usr/bin/x\n\
55d1-55d2 r-xp 00001000 08:01 1 /usr/bin/x\n\
7f00-7f01 r-xp 00001000 08:01 2 /usr/lib/libc.so.6\n\
7f01-7f02 rw-p 00000000 00:00 0\n\
7ffd-7ffe r-xp 00000000 00:00 0 [vdso]\n";
        let found: Vec<_> = loaded(maps).collect();
        assert_eq!(found, [Path::new("/usr/bin/x"), Path::new("/usr/lib/libc.so.6")]);
    }

    #[test]
    fn this_test_has_libraries_under_the_names_that_programs_ask_for() {
        let view = View::own_libraries().unwrap();
        let has = |name: &str| view.read.iter().any(|path| path.ends_with(name));
        assert!(has("libc.so.6") && has("ld-linux-x86-64.so.2"), "{view:?}");
    }

    #[test]
    fn what_is_not_there_cannot_be_shown() {
        let view = View::default().reading(["/nowhere/at/all"]);
        let error = Stage::prepare(&view, Path::new("/bin/true")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
