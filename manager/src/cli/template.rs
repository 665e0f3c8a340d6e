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
use sluice_api::types::{Checksum, SourceUrl};

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

    /// What a newer one is called until it has the number.
    fn newer(&self) -> String {
        format!("{}-for-{}", self.hypervisor.name(), self.number())
    }

    /// Whether `image` comes from the same address, but for what is secret in it, with the same checksum.
    fn asks_for(&self, image: &Value) -> bool {
        let same =
            |pointer: &str, asked: Option<String>| image[pointer].as_str() == asked.as_deref();
        let checksum = self.checksum.as_ref();
        let url = self.url.parse::<SourceUrl>().map(|url| url.to_string());
        let checksum = checksum.map(|text| {
            text.parse::<Checksum>().map_or_else(|_| text.clone(), |checksum| checksum.to_string())
        });
        same("from", Some(url.unwrap_or_else(|_| self.url.clone()))) && same("checksum", checksum)
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
    let mut seeding = Seeding { client, store: text(&store, "/id"), images, wanted };
    let image = match seeding.broken_off(args).await? {
        Some(image) => image,
        None => match seeding.standing(args.number()) {
            None => seeding.bring_in(args, Some(args.number())).await?,
            Some(one) => seeding.beside(args, one).await?,
        },
    };
    object::show(json, &image);
    Ok(ExitCode::SUCCESS)
}

const IMAGES: &str = "/v1/images";

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_erased(image: &Value) -> bool {
    image.get("erased") == Some(&Value::Bool(true))
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
        self.images
            .iter()
            .find(|image| self.has(image, number) && text(image, "/observed/state") != "erased")
    }

    /// Whether the image has, or had, the number on the store.
    fn has(&self, image: &Value, number: u64) -> bool {
        text(image, "/image_store") == self.store
            && text(image, "/kind") == "template"
            && image["account"] == 1
            && image["number"] == number
    }

    /// A newer one that a run which was broken off brought in, or was about to.
    fn left_over(&self, args: &SeedArgs) -> Option<&Value> {
        let newer = args.newer();
        let numbered = |rest: &str| {
            let number = rest.strip_prefix('-').map(str::parse::<u32>);
            rest.is_empty() || matches!(number, Some(Ok(_)))
        };
        self.images.iter().find(|image| {
            text(image, "/image_store") == self.store
                && text(image, "/name").strip_prefix(&newer).is_some_and(numbered)
        })
    }

    /// Finishes what a run of the same command left undone, and answers with what stands there then. What is left of a run
    /// for another template is taken away.
    async fn broken_off(&mut self, args: &SeedArgs) -> Result<Option<Value>, Failure> {
        let Some(newer) = self.left_over(args).cloned() else { return Ok(None) };
        let copied = self.copied(args, &newer);
        let outcome = if is_erased(&newer) {
            // it was copied before
            copied.filter(|copied| text(copied, "/observed/state") == "done")
        } else if args.asks_for(&newer) {
            match follow(self.client, &path(&newer), "done").await {
                Ok(newer) => return self.put_in_place(args, &newer).await.map(Some),
                Err(Failure::Image { .. }) => None,
                Err(other) => return Err(other),
            }
        } else {
            if let Some(copied) = copied {
                // nothing is erased while a copy of it is on its way
                self.end_of(&copied).await?;
            }
            None
        };
        self.erase(&newer).await?;
        self.images = self.client.get(IMAGES).await?;
        Ok(outcome)
    }

    /// The copy of `newer` that has the number.
    fn copied(&self, args: &SeedArgs, newer: &Value) -> Option<Value> {
        let of = |one: &&Value| text(one, "/copy_of") == text(newer, "/id");
        self.standing(args.number()).filter(of).cloned()
    }

    /// Waits until an image is there, or failed.
    async fn end_of(&self, image: &Value) -> Result<bool, Failure> {
        match follow(self.client, &path(image), "done").await {
            Ok(_) => Ok(true),
            Err(Failure::Image { .. }) => Ok(false),
            Err(other) => Err(other),
        }
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
            "done" => self.replace(args).await,
            // of an earlier run that was given up
            "failed" => {
                self.client.change::<Value>(Method::DELETE, &path(one), None::<&Value>).await?;
                self.bring_in(args, Some(args.number())).await
            }
            _ => follow(self.client, &path(one), "done").await,
        }
    }

    /// The new one comes in under another number; only when it is there the old one goes, and it is copied to its place.
    async fn replace(&self, args: &SeedArgs) -> Result<Value, Failure> {
        let name = self.free_name(&args.newer());
        let new = match self.make(self.wanted.clone(), name, None).await {
            Err(Failure::Image { name, reason }) => {
                let failed = format!("{IMAGES}/{}", object::segment(&name));
                self.client.change::<Value>(Method::DELETE, &failed, None::<&Value>).await?;
                return Err(Failure::Image { name, reason });
            }
            outcome => outcome?,
        };
        self.put_in_place(args, &new).await
    }

    /// Gives `new`, which is there, the number; whatever of that was done before is not done again.
    async fn put_in_place(&self, args: &SeedArgs, new: &Value) -> Result<Value, Failure> {
        let copied = match self.copied(args, new) {
            Some(copied) if self.end_of(&copied).await? => copied,
            _ => self.copy(args, new).await?,
        };
        self.erase(new).await?;
        Ok(copied)
    }

    /// Copies `new` to the number, from which whatever has it goes.
    async fn copy(&self, args: &SeedArgs, new: &Value) -> Result<Value, Failure> {
        let mut name = None;
        for old in self.images.iter().filter(|image| self.has(image, args.number())) {
            self.erase(old).await?;
            name.get_or_insert_with(|| text(old, "/name").to_owned());
        }
        let name = name.unwrap_or_else(|| self.free_name(args.hypervisor.name()));
        let copy = json!({ "image_store": self.store, "kind": "template", "account": 1,
            "copy_of": text(new, "/id") });
        self.make(copy, name, Some(args.number())).await
    }

    /// From its store, then from the manager. One that failed is not there.
    async fn erase(&self, image: &Value) -> Result<(), Failure> {
        let path = path(image);
        let now: Value = self.client.get(&path).await?;
        if text(&now, "/observed/state") != "failed" || is_erased(&now) {
            if !is_erased(&now) {
                let erasing = format!("{path}/erase");
                self.client.change::<Value>(Method::POST, &erasing, Some(&json!({}))).await?;
            }
            follow(self.client, &path, "erased").await?;
        }
        self.client.change::<Value>(Method::DELETE, &path, None::<&Value>).await.map(drop)
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
