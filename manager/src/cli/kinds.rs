//! Commands of every kind of object, made from the list of kinds and the fields of their specs.
//!
//! Guarantees: a field is a flag of the same name (`guest_cidr` is `--guest-cidr`), `name` is the first argument; a value
//! that the kind does not understand ends with exit code 2 before anything is sent. A secret is read from a file, so that
//! it never stands on a command line. `--unset FIELD` takes a value away, and an empty text is the empty list.

use std::fs;
use std::io::Read as _;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand};
use serde_json::{Map, Value};
use sluice_api::Finding;

use crate::kinds::fields::{Field, Fields, Form};
use crate::kinds::{Action, AnyKind, KINDS};
use crate::model::UserData;

/// The kind whose commands stand among those of `sluice appliance`.
const WITH_MORE: &str = "appliance";

/// A command about an object of some kind.
#[derive(Clone)]
pub(super) struct KindCommand {
    pub(super) kind: &'static dyn AnyKind,
    pub(super) verb: Verb,
}

/// What to do with an object.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    Create(Value),
    List(Vec<(String, String)>),
    Show(String),
    Update(String, Value),
    Delete(String),
    Act(String, &'static str, Value),
    /// Of one, or of all.
    State(Option<String>),
}

impl std::fmt::Debug for KindCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind.names().word, self.verb)
    }
}

/// Command `sluice KIND …` of every kind but that of appliances.
#[derive(Clone, Debug)]
pub(super) struct Kinds(pub(super) KindCommand);

/// Commands of `sluice appliance` that every kind has.
#[derive(Clone, Debug)]
pub(super) struct Appliances(pub(super) KindCommand);

fn others() -> impl Iterator<Item = &'static dyn AnyKind> {
    KINDS.iter().copied().filter(|kind| kind.names().word != WITH_MORE)
}

/// A text for clap, which keeps borrowed ones alone: made once in a process, from the list of kinds.
fn kept(text: impl Into<String>) -> &'static str {
    text.into().leak()
}

fn kind_command(kind: &dyn AnyKind) -> Command {
    verbs(kind, Command::new(kept(kind.names().command())).about(kind.names().about))
        .subcommand_required(true)
        .arg_required_else_help(true)
}

/// Adds the verbs of a kind to `command`.
fn verbs(kind: &dyn AnyKind, command: Command) -> Command {
    let word = kind.names().word;
    let object = || Arg::new("object").required(true).help("Its name or id");
    let mut command = command
        .subcommand(fields(Command::new("create").about("Create one"), &kind.spec_fields(), true))
        .subcommand(filters(
            kind,
            Command::new("list").about("List all, or those that are asked for"),
        ))
        .subcommand(Command::new("show").about("Show one").arg(object()))
        .subcommand(
            Command::new("delete").about("Delete one that nothing depends on").arg(object()),
        );
    let changeable = kind.patch_fields();
    if !changeable.0.is_empty() {
        let update = Command::new("update").about("Change one").arg(object());
        let update = unset(fields(update, &changeable, false), &changeable);
        // who names a field that stays what it is hears from the kind what to do
        let fixed = kind.fixed_fields();
        let update =
            fixed.0.iter().fold(update, |update, it| update.arg(arg(it, false).hide(true)));
        command = command.subcommand(update);
    }
    if let Some(state) = kind.state() {
        let object = Arg::new("object").help("Its name or id; default: all");
        command = command.subcommand(Command::new("state").about(state.about).arg(object));
    }
    for Action { name, about, body } in kind.actions() {
        let act = Command::new(*name).about(format!("{about} ({word})")).arg(object());
        command = command.subcommand(fields(act, &body(), false));
    }
    command
}

/// Adds a flag for each field; the name of what is created is the first argument.
fn fields(command: Command, fields: &Fields, creating: bool) -> Command {
    fields.0.iter().fold(command, |command, field| command.arg(arg(field, creating)))
}

/// Adds the flag that takes values away, for the fields where that can be.
fn unset(command: Command, fields: &Fields) -> Command {
    let removable = fields.0.iter().filter(|field| field.removable);
    let words: Vec<_> = removable.map(|field| kept(flag(field))).collect();
    if words.is_empty() {
        return command;
    }
    let arg = Arg::new(UNSET)
        .long(UNSET)
        .value_name("FIELD")
        .help("Take the value of this field away; may be given more than once")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .value_parser(PossibleValuesParser::new(words))
        .display_order(0);
    command.arg(arg)
}

/// The flag that takes values away.
const UNSET: &str = "unset";

/// How a field is called on a command line.
fn flag(field: &Field) -> String {
    field.name.replace('_', "-")
}

fn arg(field: &Field, creating: bool) -> Arg {
    let mut arg = Arg::new(kept(field.name.as_str()))
        .help(help(field))
        .required(field.required)
        .value_name(kept(field.name.to_uppercase()))
        // before the options that every command has
        .display_order(0);
    if creating && field.name == "name" {
        return arg;
    }
    let flag = flag(field);
    if field.list {
        arg = arg.action(ArgAction::Append);
        if let Some(one) = flag.strip_suffix('s').filter(|one| *one != "manager") {
            arg = arg.alias(kept(one));
        }
    }
    match &field.form {
        // of a list it is looked at piece by piece, by the type
        Form::Word(_) if field.list => {}
        Form::Word(words) => {
            let words = words.iter().map(|word| kept(word.as_str()));
            arg = arg.value_parser(PossibleValuesParser::new(words));
        }
        Form::Switch => {
            arg = arg.value_parser(["true", "false"]).num_args(0..=1).default_missing_value("true");
        }
        Form::Secret | Form::Bytes => {
            return arg.long(kept(format!("{flag}-file"))).value_name("FILE");
        }
        Form::Json => arg = arg.value_name("JSON"),
        Form::Text | Form::Number => {}
    }
    arg.long(kept(flag))
}

fn help(field: &Field) -> String {
    let text = field.about.trim_end_matches('.').to_owned();
    match field.form {
        Form::Secret | Form::Bytes => {
            format!("{text}; read from this file, `-` for standard input")
        }
        _ if field.list => {
            format!("{text}; may be given more than once, and '' is the empty list")
        }
        _ => text,
    }
}

fn filters(kind: &dyn AnyKind, command: Command) -> Command {
    kind.keys().iter().filter(|key| key.column.is_some()).fold(command, |command, key| {
        let help = match key.refers {
            Some(word) => format!("Only those of this {word}, by name or id"),
            None => "Only those with this value".to_owned(),
        };
        let flag = kept(key.field.replace('_', "-"));
        let name = kept(key.field.to_uppercase());
        command.arg(Arg::new(key.field).long(flag).value_name(name).help(help).display_order(0))
    })
}

type Parsed<T> = Result<T, clap::Error>;

fn wrong(reason: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{reason}\n"))
}

/// The body that the flags state.
fn body(fields: &Fields, matches: &ArgMatches) -> Parsed<Value> {
    let mut body = Map::new();
    for field in &fields.0 {
        let Some(values) = matches.get_many::<String>(&field.name) else { continue };
        let value = if field.list {
            let parts: Vec<Vec<Value>> =
                values.map(|text| several(field, text)).collect::<Parsed<_>>()?;
            Some(parts.concat().into())
        } else {
            values.map(|text| value(field, text)).next().transpose()?
        };
        body.extend(value.map(|value| (field.name.clone(), value)));
    }
    Ok(Value::Object(body))
}

/// The fields that are to be taken away, as nulls beside what `body` states.
fn without(fields: &Fields, body: Value, matches: &ArgMatches) -> Parsed<Value> {
    let Value::Object(mut body) = body else { return Ok(body) };
    let gone = matches.try_get_many::<String>(UNSET).ok().flatten().into_iter().flatten();
    for word in gone {
        let Some(field) = fields.0.iter().find(|field| flag(field) == *word) else { continue };
        if body.insert(field.name.clone(), Value::Null).is_some_and(|stated| !stated.is_null()) {
            return Err(wrong(format!("--{word} is given, and taken away by --{UNSET}")));
        }
    }
    Ok(Value::Object(body))
}

/// What one text says of a list: a JSON array is its parts, an empty text is none, and words stand between commas.
fn several(field: &Field, text: &str) -> Parsed<Vec<Value>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    // where files are named, nothing stands for itself
    let array = serde_json::from_str(text).ok().filter(|_| field.form != Form::Secret);
    if let Some(Value::Array(parts)) = array {
        return Ok(parts);
    }
    // objects have commas of their own
    if field.form == Form::Json {
        return value(field, text).map(|one| vec![one]);
    }
    text.split(',').map(|one| value(field, one)).collect()
}

fn value(field: &Field, text: &str) -> Parsed<Value> {
    match field.form {
        // what is no number is refused by the type, in its own words
        Form::Number => Ok(text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from)),
        Form::Switch => Ok(Value::from(text == "true")),
        // a word such as `none` needs no quotes within quotes
        Form::Json if is_word(text) => Ok(Value::from(text)),
        Form::Json => serde_json::from_str(text)
            .map_err(|error| wrong(format!("{}: not valid JSON: {error}", field.name))),
        Form::Secret => secret(text).map(Value::from),
        Form::Bytes => bytes(text).map(|bytes| Value::from(UserData::written(bytes))),
        Form::Text | Form::Word(_) => Ok(Value::from(text)),
    }
}

fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
    !matches!(text, "" | "true" | "false" | "null") && text.bytes().all(plain)
}

fn secret(path: &str) -> Parsed<String> {
    let text = String::from_utf8(bytes(path)?).map_err(|_| wrong(format!("{path}: no text")))?;
    // an editor's last line end is not part of it
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn bytes(path: &str) -> Parsed<Vec<u8>> {
    let failed = |error: std::io::Error| wrong(format!("{path}: {error}"));
    if path != "-" {
        return fs::read(path).map_err(failed);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn understood(read: Result<Value, Vec<Finding>>, stated: Value) -> Parsed<Value> {
    match read {
        // what was stated travels, so that what was left out stays left out
        Ok(_) => Ok(stated),
        Err(findings) => {
            // the whole is told as an error already
            let told = |it: &Finding| it.to_string().trim_start_matches("error: ").to_owned();
            let all: Vec<_> = findings.iter().map(told).collect();
            Err(wrong(all.join("\n")))
        }
    }
}

fn parsed(kind: &'static dyn AnyKind, matches: &ArgMatches) -> Parsed<KindCommand> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(clap::Error::new(ErrorKind::MissingSubcommand));
    };
    let object = || matches.get_one::<String>("object").cloned().unwrap_or_default();
    let verb = match verb {
        "create" => {
            let spec = body(&kind.spec_fields(), matches)?;
            Verb::Create(understood(kind.read_spec(&spec), spec)?)
        }
        "list" => Verb::List(asked(kind, matches)),
        "show" => Verb::Show(object()),
        "update" => {
            let fields = kind.patch_fields();
            let all = Fields([fields.0.clone(), kind.fixed_fields().0].concat());
            let patch = without(&fields, body(&all, matches)?, matches)?;
            if patch.as_object().is_none_or(Map::is_empty) {
                return Err(wrong("say what is to change".to_owned()));
            }
            Verb::Update(object(), understood(kind.read_patch(&patch), patch)?)
        }
        "delete" => Verb::Delete(object()),
        "state" => Verb::State(matches.get_one::<String>("object").cloned()),
        other => {
            let action = kind.actions().iter().find(|action| action.name == other);
            let action = action.ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))?;
            Verb::Act(object(), action.name, body(&(action.body)(), matches)?)
        }
    };
    Ok(KindCommand { kind, verb })
}

fn asked(kind: &dyn AnyKind, matches: &ArgMatches) -> Vec<(String, String)> {
    let columns = kind.keys().iter().filter(|key| key.column.is_some());
    let stated = columns.filter_map(|key| {
        let value = matches.get_one::<String>(key.field)?;
        Some((key.field.to_owned(), value.clone()))
    });
    stated.collect()
}

impl FromArgMatches for Kinds {
    fn from_arg_matches(matches: &ArgMatches) -> Parsed<Self> {
        let Some((command, matches)) = matches.subcommand() else {
            return Err(clap::Error::new(ErrorKind::MissingSubcommand));
        };
        let kind = others().find(|kind| kind.names().command() == command);
        let kind = kind.ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))?;
        parsed(kind, matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Parsed<()> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Kinds {
    fn augment_subcommands(command: Command) -> Command {
        others().fold(command, |command, kind| command.subcommand(kind_command(kind)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        others().any(|kind| kind.names().command() == name)
    }
}

fn appliances() -> Option<&'static dyn AnyKind> {
    crate::kinds::by_word(WITH_MORE)
}

impl FromArgMatches for Appliances {
    fn from_arg_matches(matches: &ArgMatches) -> Parsed<Self> {
        let kind = appliances().ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))?;
        parsed(kind, matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Parsed<()> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Appliances {
    fn augment_subcommands(command: Command) -> Command {
        match appliances() {
            Some(kind) => verbs(kind, command),
            None => command,
        }
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        ["create", "list", "show", "update", "delete"].contains(&name)
    }
}
