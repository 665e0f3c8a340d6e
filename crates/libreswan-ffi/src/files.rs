//! The folder that pluto reads: one file for each connection, one for each key.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::conf::{self, Conn};
use crate::name::Name;
use crate::secrets::Psk;

/// A folder, which belongs on a file system in RAM: keys are in it.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Makes the folder and what pluto needs to start: its own settings, and a secrets file that takes in all others.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let this = Self { folder: folder.to_owned() };
        for folder in [this.folder.clone(), this.keys(), this.nss()] {
            let mut make = fs::DirBuilder::new();
            make.recursive(true).mode(0o700).create(folder)?;
        }
        write(&this.setup(), conf::setup())?;
        write(&this.secrets(), &format!("include {}/*.key\n", this.keys().display()))?;
        Ok(this)
    }

    /// The folder, which is pluto's `--rundir` too.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// pluto's `--nssdir`.
    pub fn nss(&self) -> PathBuf {
        self.folder.join("nss")
    }

    /// pluto's `--config`.
    pub fn setup(&self) -> PathBuf {
        self.folder.join("setup.conf")
    }

    /// pluto's `--secretsfile`.
    pub fn secrets(&self) -> PathBuf {
        self.folder.join("secrets")
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }

    /// The file of a connection.
    pub fn conn(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("{name}.conn"))
    }

    fn key(&self, name: &Name) -> PathBuf {
        self.keys().join(format!("{name}.key"))
    }

    /// Writes a connection.
    pub fn put_conn(&self, conn: &Conn) -> io::Result<PathBuf> {
        let path = self.conn(&conn.name);
        write(&path, &conn.render())?;
        Ok(path)
    }

    /// Writes a key under the name of what it is for.
    pub fn put_key(&self, name: &Name, key: &Psk<'_>) -> io::Result<()> {
        write(&self.key(name), &key.render())
    }

    /// Removes a connection. None is no error.
    pub fn remove_conn(&self, name: &Name) -> io::Result<()> {
        remove(&self.conn(name))
    }

    /// Removes a key. None is no error.
    pub fn remove_key(&self, name: &Name) -> io::Result<()> {
        remove(&self.key(name))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whole or not at all: pluto may read at any time.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    remove(&fresh)?;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path)
}
