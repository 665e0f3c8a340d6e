//! What administrators do: back-ups, tokens, the list of changes, the authority.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::client::{Client, Failure};
use super::object::{self, segment};
use super::output;
use super::table::Column;
use crate::access::Role;
use crate::store::backup::Line;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write.
    file: PathBuf,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Only changes before this number.
    #[arg(long)]
    before: Option<i64>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make one, and write it into a file that only you can read.
    Create {
        /// Who gets it; stands in the list of changes.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
        /// Its life in days, 1 to 3650. Default: it does not end.
        #[arg(long)]
        days: Option<i64>,
        /// The file to write; `-` for standard output.
        #[arg(long, short)]
        output: PathBuf,
    },
    /// List all; what they are themselves is not kept.
    List,
    /// End one.
    Delete {
        /// Its name or id.
        token: String,
    },
}

/// What can be done with the authority.
#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Which authorities there are, and which appliances do not know the newest yet.
    Show,
    /// Begin a new authority; the older one stays trusted until `retire`.
    Rotate,
    /// Give the older authorities up; refused while an appliance may know no newer one.
    Retire {
        /// Also give up appliances that know no newer one: each needs a new boot document.
        #[arg(long)]
        force: bool,
    },
}

const TOKENS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("CREATED", "/created"),
    ("EXPIRES", "/expires"),
];

const CHANGES: &[Column] = &[
    ("NUMBER", "/number"),
    ("AT", "/at"),
    ("BY", "/actor"),
    ("FROM", "/origin"),
    ("WHAT", "/what"),
    ("EFFECTS", "/effects"),
];

pub(super) async fn audit(client: &Client, json: bool, args: &AuditArgs) -> Result<(), Failure> {
    let before = args.before.map(|number| format!("&before={number}")).unwrap_or_default();
    let path = format!("/v1/audit?limit={}{before}", args.limit);
    object::list(json, &client.get(&path).await?, CHANGES);
    Ok(())
}

pub(super) async fn token(
    client: &Client,
    json: bool,
    command: TokenCommand,
) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { name, role, days, output: file } => {
            let body = json!({ "name": name, "role": role, "days": days });
            let made: Value = client.change(Method::POST, "/v1/tokens", Some(&body)).await?;
            let token = made.get("token").and_then(Value::as_str).unwrap_or_default();
            if file == Path::new("-") {
                output::line(token);
                return Ok(());
            }
            let text = format!("{token}\n");
            write_private(&file, &text).map_err(|error| failed(&file, &error))?;
            object::show(json, made.get("about").unwrap_or(&Value::Null));
        }
        TokenCommand::List => object::list(json, &client.get("/v1/tokens").await?, TOKENS),
        TokenCommand::Delete { token } => {
            let path = format!("/v1/tokens/{}", segment(&token));
            let gone = client.change(Method::DELETE, &path, None::<&Value>).await?;
            object::deleted(json, "token", &gone);
        }
    }
    Ok(())
}

pub(super) async fn authority(
    client: &Client,
    json: bool,
    command: CaCommand,
) -> Result<(), Failure> {
    let status: Value = match command {
        CaCommand::Show => client.get("/v1/authority").await?,
        CaCommand::Rotate => {
            client.change(Method::POST, "/v1/authority/rotate", None::<&Value>).await?
        }
        CaCommand::Retire { force } => {
            let path = format!("/v1/authority/retire?force={force}");
            client.change(Method::POST, &path, None::<&Value>).await?
        }
    };
    object::show(json, &status);
    Ok(())
}

/// Writes the back-up, whole or not at all.
pub(super) async fn backup(client: &Client, args: &BackupArgs) -> Result<(), Failure> {
    let response = client.stream("/v1/backup").await?;
    let draft = draft(&args.file);
    let written = copy(response, &draft).await;
    let placed = match written {
        Ok(rows) => fs::rename(&draft, &args.file)
            .map(|()| rows)
            .map_err(|error| failed(&args.file, &error)),
        Err(failure) => Err(failure),
    };
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    output::line(&format!("{} rows: {}", placed?, args.file.display()));
    Ok(())
}

fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    draft.into()
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::File { path: path.display().to_string(), reason: error.to_string() }
}

fn create(path: &Path) -> std::io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// A file that others never can read, not even while it is written.
pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = draft(path);
    let written = create(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&draft, path));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}

/// Copies the answer; says how many rows it has, or that its end is missing.
async fn copy(mut response: Response, path: &Path) -> Result<u64, Failure> {
    let broken = |error: reqwest::Error| {
        Failure::Answer(format!("the back-up broke off: {}", crate::push::chain(&error)))
    };
    let mut file = create(path).map_err(|error| failed(path, &error))?;
    let mut last = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        file.write_all(&chunk).map_err(|error| failed(path, &error))?;
        last.extend_from_slice(&chunk);
        last.drain(..last.len().saturating_sub(LAST));
    }
    file.sync_all().map_err(|error| failed(path, &error))?;
    let line = last.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    match line.map(serde_json::from_slice::<Line>) {
        Some(Ok(Line::End(rows))) => Ok(rows),
        _ => Err(Failure::Answer("the back-up broke off before its end".to_owned())),
    }
}

/// As much as the last line may have.
const LAST: usize = 100;
