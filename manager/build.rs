//! Puts the migrations into the program. sqlx has a macro for it, which costs a second build of sqlx, of SQLite and of a hundred
//! crates below them, for the machine that builds.

#![allow(clippy::print_stdout)] // how a build script speaks to cargo

use std::error::Error;
use std::fmt::Write as _;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=migrations");
    let folder = env::current_dir()?.join("migrations");
    let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut list = String::from("&[\n");
    for file in files {
        let name = file.file_name().into_string().map_err(|_| "a migration's name is no text")?;
        let (number, rest) = name.split_once('_').ok_or("a migration is called NUMBER_NAME.sql")?;
        let number: i64 = number.parse()?;
        let about = rest.strip_suffix(".sql").ok_or("a migration ends in .sql")?.replace('_', " ");
        let path = file.path().into_os_string().into_string().map_err(|_| "a path is no text")?;
        writeln!(list, "    ({number}, {about:?}, include_str!({path:?})),")?;
    }
    list.push_str("]\n");
    fs::write(std::path::Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), list)?;
    Ok(())
}
