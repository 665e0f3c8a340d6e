//! `sluice template seed`: brings the system VMs' own template onto an image store, where hypervisor hosts look for it
//! (guide 4.5.7).

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Failure};
use super::object;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// What to do with templates of system VMs.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum TemplateCommand {
    /// Bring one in and wait until it is there
    Seed(SeedArgs),
}

/// Arguments of `sluice template seed`.
#[derive(Clone, Debug, Args)]
pub(super) struct SeedArgs {
    /// Where it is: http or https, packed or not
    url: String,
    /// Image store, by name or id
    #[arg(long)]
    image_store: String,
    /// What hosts run it: gives its number, its format and its name
    #[arg(long, value_enum, default_value = "kvm")]
    hypervisor: Hypervisor,
    /// What the bytes as fetched must hash to
    #[arg(long)]
    checksum: Option<String>,
}

/// Hypervisors, by what their system VM template is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hypervisor {
    /// Template 3, qcow2
    Kvm,
    /// Template 1, vhd
    Xenserver,
    /// Template 8, ova
    Vmware,
}

impl Hypervisor {
    /// Number and format that management servers look for.
    const fn template(self) -> (u64, &'static str) {
        match self {
            Self::Kvm => (3, "qcow2"),
            Self::Xenserver => (1, "vhd"),
            Self::Vmware => (8, "ova"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "systemvm-kvm",
            Self::Xenserver => "systemvm-xenserver",
            Self::Vmware => "systemvm-vmware",
        }
    }
}

/// Does what `command` says.
pub(super) async fn run(
    client: &Client,
    json: bool,
    command: &TemplateCommand,
) -> Result<ExitCode, Failure> {
    let TemplateCommand::Seed(args) = command;
    let spec = spec(args);
    let made: Value = client.change(Method::POST, "/v1/images", Some(&spec)).await?;
    let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
    let image = follow(client, &format!("/v1/images/{}", object::segment(id))).await?;
    object::show(json, &image);
    Ok(ExitCode::SUCCESS)
}

/// The account is the system's own.
fn spec(args: &SeedArgs) -> Value {
    let (number, format) = args.hypervisor.template();
    let mut spec = json!({ "image_store": args.image_store, "name": args.hypervisor.name(),
        "kind": "template", "account": 1, "number": number, "url": args.url, "format": format });
    if let (Some(fields), Some(checksum)) = (spec.as_object_mut(), &args.checksum) {
        fields.insert("checksum".to_owned(), checksum.as_str().into());
    }
    spec
}

/// Waits until the image is in, showing a person how far it is.
async fn follow(client: &Client, path: &str) -> Result<Value, Failure> {
    loop {
        let image: Value = client.get(path).await?;
        let text = |pointer| image.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        tell(&image);
        match text("/observed/state") {
            "done" => return Ok(image),
            "failed" => {
                let (name, reason) = (text("/name"), text("/observed/failure"));
                return Err(Failure::Image { name: name.to_owned(), reason: reason.to_owned() });
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// One line that is written over, for people alone.
fn tell(image: &Value) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let state = image.pointer("/observed/state").and_then(Value::as_str).unwrap_or("waiting");
    let percent = image.pointer("/observed/percent").and_then(Value::as_u64);
    let percent = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
    let ended = matches!(state, "done" | "failed");
    // a terminal that went away is no reason to stop
    let _ = write!(stderr, "\r\x1b[K{state}{percent}{}", if ended { "\n" } else { "" });
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hypervisors_template_has_the_number_that_is_looked_for() {
        let args = |hypervisor| SeedArgs {
            url: "https://images.example.com/systemvm".to_owned(),
            image_store: "nfs1".to_owned(),
            hypervisor,
            checksum: None,
        };
        for (hypervisor, number, format) in [
            (Hypervisor::Kvm, 3, "qcow2"),
            (Hypervisor::Xenserver, 1, "vhd"),
            (Hypervisor::Vmware, 8, "ova"),
        ] {
            let spec = spec(&args(hypervisor));
            assert_eq!(
                (spec["number"].as_u64(), spec["format"].as_str()),
                (Some(number), Some(format))
            );
            assert_eq!(spec["account"], 1);
        }
    }
}
