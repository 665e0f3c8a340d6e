//! `sluice template seed`: brings the system VMs' own template onto an image store, where hypervisor hosts look for it
//! (guide 4.5.7).
//!
//! Guarantees: a newer one takes the place of one that is there only once it came in and was judged; the same command again
//! goes on with what is under way.

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
    /// Bring one in, in place of one that is there, and wait until it is
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
    /// Number that management servers look for. Default: the hypervisor's, 3, 1 or 8
    #[arg(long)]
    number: Option<u64>,
    /// What the bytes as fetched must hash to
    #[arg(long)]
    checksum: Option<String>,
}

impl SeedArgs {
    fn number(&self) -> u64 {
        self.number.unwrap_or(self.hypervisor.template().0)
    }
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
    let store: Value =
        client.get(&format!("/v1/image-stores/{}", object::segment(&args.image_store))).await?;
    let images: Vec<Value> = client.get(IMAGES).await?;
    let wanted = wanted(args);
    let seeding = Seeding { client, store: text(&store, "/id"), images, wanted };
    let image = match seeding.standing(args.number()) {
        None => seeding.bring_in(args, Some(args.number())).await?,
        Some(one) => seeding.beside(args, one).await?,
    };
    object::show(json, &image);
    Ok(ExitCode::SUCCESS)
}

const IMAGES: &str = "/v1/images";

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn path(image: &Value) -> String {
    format!("{IMAGES}/{}", object::segment(text(image, "/id")))
}

/// The image but its name and number; the account is the system's own.
fn wanted(args: &SeedArgs) -> Value {
    let mut spec = json!({ "image_store": args.image_store, "kind": "template", "account": 1,
        "url": args.url, "format": args.hypervisor.template().1 });
    if let (Some(fields), Some(checksum)) = (spec.as_object_mut(), &args.checksum) {
        fields.insert("checksum".to_owned(), checksum.as_str().into());
    }
    spec
}

/// One run of the command.
struct Seeding<'c> {
    client: &'c Client,
    /// Id of the store.
    store: &'c str,
    /// All images as they were at first.
    images: Vec<Value>,
    /// What comes in.
    wanted: Value,
}

impl Seeding<'_> {
    /// The image that has the number on the store.
    fn standing(&self, number: u64) -> Option<&Value> {
        self.images.iter().find(|image| {
            let own = text(image, "/image_store") == self.store
                && text(image, "/kind") == "template"
                && image["account"] == 1;
            own && image["number"] == number && text(image, "/observed/state") != "erased"
        })
    }

    /// `name`, or the first of `name-2`, `name-3` and so on that no image has.
    fn free_name(&self, name: &str) -> String {
        let is_free = |name: &String| self.images.iter().all(|image| text(image, "/name") != name);
        let more = (2_u32..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.to_owned())
            .chain(more)
            .find(is_free)
            .unwrap_or_else(|| name.to_owned())
    }

    /// Makes an image of `spec` and waits until it is there.
    async fn make(
        &self,
        mut spec: Value,
        name: String,
        number: Option<u64>,
    ) -> Result<Value, Failure> {
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("name".to_owned(), name.into());
            fields.extend(number.map(|number| ("number".to_owned(), number.into())));
        }
        let made: Value = self.client.change(Method::POST, IMAGES, Some(&spec)).await?;
        follow(self.client, &path(&made), "done").await
    }

    async fn bring_in(&self, args: &SeedArgs, number: Option<u64>) -> Result<Value, Failure> {
        let name = self.free_name(args.hypervisor.name());
        self.make(self.wanted.clone(), name, number).await
    }

    /// What to do when `one` has the number already.
    async fn beside(&self, args: &SeedArgs, one: &Value) -> Result<Value, Failure> {
        match text(one, "/observed/state") {
            "done" => self.replace(args, one).await,
            // of an earlier run that was given up
            "failed" => {
                self.client.change::<Value>(Method::DELETE, &path(one), None::<&Value>).await?;
                self.bring_in(args, Some(args.number())).await
            }
            _ => follow(self.client, &path(one), "done").await,
        }
    }

    /// The new one comes in under another number; only when it is there the old one goes, and it is copied to its place.
    async fn replace(&self, args: &SeedArgs, old: &Value) -> Result<Value, Failure> {
        let new = match self.bring_in(args, None).await {
            Err(Failure::Image { name, reason }) => {
                let failed = format!("{IMAGES}/{}", object::segment(&name));
                self.client.change::<Value>(Method::DELETE, &failed, None::<&Value>).await?;
                return Err(Failure::Image { name, reason });
            }
            outcome => outcome?,
        };
        self.erase(old).await?;
        let copy = json!({ "image_store": self.store, "kind": "template", "account": 1,
            "copy_of": text(&new, "/id") });
        let name = text(old, "/name").to_owned();
        let copied = self.make(copy, name, Some(args.number())).await?;
        self.erase(&new).await?;
        Ok(copied)
    }

    /// From its store, then from the manager.
    async fn erase(&self, image: &Value) -> Result<(), Failure> {
        let erasing = format!("{}/erase", path(image));
        self.client.change::<Value>(Method::POST, &erasing, Some(&json!({}))).await?;
        follow(self.client, &path(image), "erased").await?;
        self.client.change::<Value>(Method::DELETE, &path(image), None::<&Value>).await.map(drop)
    }
}

/// Waits until the image is in this state, showing a person how far it is.
async fn follow(client: &Client, path: &str, end: &str) -> Result<Value, Failure> {
    loop {
        let image: Value = client.get(path).await?;
        tell(&image);
        match text(&image, "/observed/state") {
            state if state == end => return Ok(image),
            "failed" => {
                let (name, reason) = (text(&image, "/name"), text(&image, "/observed/failure"));
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
    let ended = matches!(state, "done" | "erased" | "failed");
    // a terminal that went away is no reason to stop
    let _ = write!(stderr, "\r\x1b[K{state}{percent}{}", if ended { "\n" } else { "" });
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(hypervisor: Hypervisor) -> SeedArgs {
        SeedArgs {
            url: "https://images.example.com/systemvm".to_owned(),
            image_store: "nfs1".to_owned(),
            hypervisor,
            number: None,
            checksum: None,
        }
    }

    #[test]
    fn each_hypervisors_template_has_the_number_that_is_looked_for() {
        for (hypervisor, number, format) in [
            (Hypervisor::Kvm, 3, "qcow2"),
            (Hypervisor::Xenserver, 1, "vhd"),
            (Hypervisor::Vmware, 8, "ova"),
        ] {
            let args = args(hypervisor);
            let spec = wanted(&args);
            assert_eq!((args.number(), spec["format"].as_str()), (number, Some(format)));
            assert_eq!(spec["account"], 1);
            assert_eq!(SeedArgs { number: Some(210), ..args }.number(), 210);
        }
    }
}
