//! `[sinks.NAME]`: who receives a password.

mod azure;
mod file;
mod gcp;
mod http;
mod kubernetes;
mod vault;

pub use azure::{AzureIdentity, AzureSink};
pub use file::{FileSink, Format};
use file::{fields, lacks_password};
pub(super) use file::{file, format};
pub use gcp::{GcpIdentity, GcpSink};
pub use http::HttpSink;
pub use kubernetes::KubernetesSink;
pub use vault::{VaultAuth, VaultSink};

use super::aws::{self, AwsSink};
use super::etcd::{self, EtcdSink};
use super::program::{argv, program};
use super::reading::{Refusal, Section, refusal};
use super::sealed::{self, AgeSink, CredentialSink};
use super::store::{self, StoreSink};
use crate::http::is_loopback;
use crate::name::SinkName;
use crate::sink::command::{self, Input as SinkInput};
use crate::sink::file::Format as FileFormat;
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// How long a delivery by a program may take unless said otherwise.
const SINK_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time one request to a store may be given.
const REQUEST_TIMEOUT_LIMIT: Duration = Duration::from_secs(100);

/// A place that receives passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A file that always holds one target's current password.
    File(FileSink),
    /// A program that stores passwords.
    Command(CommandSink),
    /// A secret in a cloud's own store.
    Store(Box<StoreSink>),
    /// A secret or a parameter in an account of AWS.
    Aws(Box<AwsSink>),
    /// A key of etcd.
    Etcd(EtcdSink),
    /// A file for the holders of a key.
    Age(AgeSink),
    /// A file for `LoadCredentialEncrypted=`.
    SystemdCredential(CredentialSink),
    /// A receiver behind a URL.
    Http(HttpSink),
    /// A secret in Vault or OpenBao.
    Vault(VaultSink),
    /// A secret in Google's Secret Manager.
    Gcp(Box<GcpSink>),
    /// A secret in an Azure Key Vault.
    Azure(Box<AzureSink>),
    /// A Secret of Kubernetes.
    Kubernetes(Box<KubernetesSink>),
}

/// Where a sink writes, as it was written.
pub struct Spot<'a> {
    /// The key it stands at.
    pub key: &'static str,
    /// The text there, perhaps a template.
    pub text: &'a str,
    /// The rest of the place: the same text elsewhere is another spot.
    pub within: String,
}

impl Spot<'_> {
    /// The text after a space; nothing of a URL, as a token may stand in it.
    pub fn shown(&self) -> String {
        if self.key == "url" { String::new() } else { format!(" {}", self.text) }
    }

    /// All of it: two sinks with the same one would overwrite each other.
    pub fn whole(&self) -> String {
        format!("{} {}", self.within, self.text)
    }
}

impl Sink {
    /// Its file, where it is one.
    fn file(&self) -> Option<&FileSink> {
        match self {
            Self::File(file) => Some(file),
            Self::Age(age) => Some(&age.file),
            Self::SystemdCredential(credential) => Some(&credential.file),
            Self::Gcp(_)
            | Self::Azure(_)
            | Self::Command(_)
            | Self::Kubernetes(_)
            | Self::Store(_)
            | Self::Aws(_)
            | Self::Etcd(_)
            | Self::Http(_)
            | Self::Vault(_) => None,
        }
    }

    /// Where it writes, if that is for one target alone; it needs a template there to serve several. `None` for a program, which is told
    /// the target and stores where it likes.
    pub fn spot(&self) -> Option<Spot<'_>> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => {
                Some(Spot { key: "path", text: self.file()?.path.to_str()?, within: "file".to_owned() })
            }
            Self::Store(store) => Some(Spot { key: "secret", text: &store.secret, within: store.within() }),
            Self::Aws(aws) => Some(Spot { key: aws.key(), text: &aws.name, within: aws.within() }),
            Self::Command(_) => None,
            Self::Etcd(etcd) => Some(Spot { key: "key", text: &etcd.key, within: etcd.store() }),
            Self::Http(http) => Some(Spot { key: "url", text: &http.url, within: "http".to_owned() }),
            Self::Vault(vault) => {
                let VaultSink { address, mount, path, namespace, .. } = vault;
                let within = format!("vault {address} {} {mount}", namespace.as_deref().unwrap_or_default());
                Some(Spot { key: "path", text: path, within })
            }
            Self::Gcp(gcp) => Some(Spot { key: "secret", text: &gcp.secret, within: gcp.within() }),
            Self::Azure(azure) => {
                Some(Spot { key: "secret", text: &azure.secret, within: format!("azure {}", azure.vault) })
            }
            Self::Kubernetes(sink) => Some(Spot { key: "secret", text: &sink.secret, within: sink.access.within() }),
        }
    }

    /// The form of its documents, where that is one of a file's.
    pub(super) fn form(&self) -> Option<FileFormat> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => self.file().map(|file| file.format),
            Self::Command(_) => None,
            Self::Aws(aws) => Some(aws.format.form),
            Self::Etcd(etcd) => Some(etcd.format.form),
            Self::Gcp(gcp) => Some(gcp.format.form),
            Self::Azure(azure) => Some(azure.format.form),
            Self::Store(_) | Self::Http(_) | Self::Vault(_) | Self::Kubernetes(_) => None,
        }
    }

    /// Which parts of a document were chosen, where it has such a form.
    pub(super) fn fields(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => self.file()?.fields.as_ref(),
            Self::Aws(aws) => aws.format.fields.as_ref(),
            Self::Etcd(etcd) => etcd.format.fields.as_ref(),
            Self::Gcp(gcp) => gcp.format.fields.as_ref(),
            Self::Azure(azure) => azure.format.fields.as_ref(),
            Self::Kubernetes(sink) => sink.fields.as_ref(),
            Self::Command(_) | Self::Store(_) | Self::Http(_) | Self::Vault(_) => None,
        }
    }

    /// The text that its documents are made by, where it has one.
    pub(super) fn template(&self) -> Option<&str> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => self.file()?.template.as_deref(),
            Self::Aws(aws) => aws.format.template.as_deref(),
            Self::Etcd(etcd) => etcd.format.template.as_deref(),
            Self::Gcp(gcp) => gcp.format.template.as_deref(),
            Self::Azure(azure) => azure.format.template.as_deref(),
            Self::Kubernetes(_) | Self::Command(_) | Self::Store(_) | Self::Http(_) | Self::Vault(_) => None,
        }
    }

    /// What is at its spot, in a word.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => "file",
            Self::Store(_) => "secret",
            Self::Aws(aws) => aws.key(),
            Self::Command(_) => "place",
            Self::Etcd(_) => "key",
            Self::Http(_) => "URL",
            Self::Vault(_) | Self::Gcp(_) | Self::Azure(_) => "secret",
            Self::Kubernetes(_) => "Secret",
        }
    }

    /// The same sink at another spot.
    ///
    /// # Errors
    /// Why that is none, as a sentence without its full stop.
    pub(super) fn at(&self, text: String) -> Result<Self, String> {
        match self {
            Self::File(file) => file.at(&text).map(Self::File),
            Self::Age(age) => Ok(Self::Age(AgeSink { file: age.file.at(&text)?, ..age.clone() })),
            Self::SystemdCredential(credential) => {
                Ok(Self::SystemdCredential(CredentialSink { file: credential.file.at(&text)?, ..credential.clone() }))
            }
            Self::Store(store) => store.at(text).map(|store| Self::Store(Box::new(store))),
            Self::Aws(aws) => aws.at(text).map(|aws| Self::Aws(Box::new(aws))),
            Self::Command(_) => Ok(self.clone()),
            Self::Etcd(sink) => Ok(Self::Etcd(EtcdSink { key: etcd::key(text)?, ..sink.clone() })),
            Self::Http(sink) => {
                let url = http::url(&text).map_err(|refusal| refusal.0)?;
                Ok(Self::Http(HttpSink { url, ..sink.clone() }))
            }
            Self::Vault(sink) => {
                let path = vault::path(&text).map_err(|refusal| refusal.0)?;
                Ok(Self::Vault(VaultSink { path, ..sink.clone() }))
            }
            Self::Gcp(sink) => {
                let secret = gcp::name(&text).map_err(|refusal| refusal.0)?;
                Ok(Self::Gcp(Box::new(GcpSink { secret, ..(**sink).clone() })))
            }
            Self::Azure(sink) => {
                let secret = azure::name(&text).map_err(|refusal| refusal.0)?;
                Ok(Self::Azure(Box::new(AzureSink { secret, ..(**sink).clone() })))
            }
            Self::Kubernetes(sink) => sink.at(&text).map(|sink| Self::Kubernetes(Box::new(sink))),
        }
    }

    /// Why no password can be read back from it and what to do, where that is so.
    pub(super) fn obstacle_to_reading(&self) -> Option<(&'static str, &'static str)> {
        if self.form() == Some(FileFormat::Template) {
            return Some(("a template has no reverse", "name a sink with another format"));
        }
        if lacks_password(self.fields()) {
            return Some(("its fields do not have the password by itself", "add password = \"NAME\" to its fields"));
        }
        match self {
            Self::File(_) | Self::Etcd(_) | Self::SystemdCredential(_) | Self::Gcp(_) | Self::Azure(_) => None,
            Self::Age(age) => match age.identity {
                Some(_) => None,
                None => Some((
                    "it is encrypted for others",
                    "add identity = { file = \"/path\" } to the sink, the secret key of one of its recipients",
                )),
            },
            Self::Store(_) | Self::Aws(_) => None,
            Self::Command(command) => match command.read {
                Some(_) => None,
                None => Some((
                    "it has no program that does so",
                    "add read = [\"/path/to/program\"] to the sink, which prints what argv was given",
                )),
            },
            Self::Vault(_) | Self::Kubernetes(_) => None,
            Self::Http(http) => match http.read {
                true => None,
                false => Some((
                    "its receiver does not give back what it stored",
                    "add read = true to the sink, if its receiver answers a GET with what it stored",
                )),
            },
        }
    }
}

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSink {
    /// The program's absolute path, then its arguments.
    pub argv: Vec<String>,
    /// What it reads on its standard input.
    pub stdin: SinkInput,
    /// Whether it understands the question "could you take a password?".
    pub check: bool,
    /// Which parts of the document it reads, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// The program that prints what is stored, and its arguments.
    pub read: Option<Vec<String>>,
    /// The daemon's variables that it inherits.
    pub environment: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
}

pub(super) fn sink(section: &Section<'_>) -> Option<Sink> {
    match section.text("kind")? {
        "file" => file(section).map(Sink::File),
        kind @ ("tencent-ssm" | "alibaba-kms") => store::parse(section, kind).map(|store| Sink::Store(Box::new(store))),
        kind @ ("aws-secrets-manager" | "aws-parameter-store") => {
            aws::parse(section, kind).map(|aws| Sink::Aws(Box::new(aws)))
        }
        "http" => http::parse(section).map(Sink::Http),
        "vault" => vault::parse(section).map(Sink::Vault),
        "kubernetes" => kubernetes::parse(section).map(|sink| Sink::Kubernetes(Box::new(sink))),
        "command" => {
            let stdins = [("json", SinkInput::Json), ("password", SinkInput::Password)];
            let stdin = section.choice("stdin", &stdins).unwrap_or_default();
            let check = section.flag("check").unwrap_or(false);
            if check && stdin == SinkInput::Password {
                let what = "A bare password cannot ask the program whether it could take one";
                section.refuse("check", refusal(what, "write stdin = \"json\" or remove check"));
            }
            let program = program(section, SINK_TIMEOUT);
            let read = section.has("read").then(|| argv(section, "read"));
            let fields = fields(section, |fields| command::names(fields).map(drop));
            if fields.is_some() && stdin == SinkInput::Password {
                let what = "A bare password has no fields";
                section.refuse("fields", refusal(what, "write stdin = \"json\" or remove fields"));
            }
            if read.is_some() && lacks_password(fields.as_ref()) {
                let what = "What is read back is the bare password, which fields leaves out";
                section.refuse("fields", refusal(what, "add password = \"NAME\" or remove read"));
            }
            Some(Sink::Command(CommandSink {
                argv: program.argv,
                stdin,
                check,
                fields,
                read,
                environment: program.environment,
                timeout: program.timeout,
            }))
        }
        "etcd" => etcd::parse(section).map(Sink::Etcd),
        "azure-key-vault" => azure::parse(section).map(|sink| Sink::Azure(Box::new(sink))),
        "gcp-secret-manager" => gcp::parse(section).map(|sink| Sink::Gcp(Box::new(sink))),
        "age" => sealed::age(section).map(Sink::Age),
        "systemd-credential" => sealed::credential(section).map(Sink::SystemdCredential),
        _ => None,
    }
}

/// The address of something that is spoken to: https, or plain http to this machine. Nothing of it is repeated, as a token may stand in it.
pub(super) fn web_address(text: &str) -> Result<Url, Refusal> {
    let whole = "write https://HOST/PATH, or http://127.0.0.1:PORT/PATH for a service on this machine";
    let url = Url::parse(text).map_err(|_| refusal("This is not a URL", whole))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(refusal("Only https is spoken, and http to this machine", whole));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let next_step = "use keys of their own for credentials, and replace the password if it was real";
        return Err(refusal("There is a user or a password in this URL", next_step));
    }
    if url.fragment().is_some() {
        return Err(refusal("What stands after # is never sent", "leave it out"));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(refusal("Over plain http anybody on the way could read what is sent", "write https://"));
    }
    Ok(url)
}

/// One spot has one sink: two would overwrite each other, each in its own form.
pub(super) fn refuse_shared_spots(section: &Section<'_>, sinks: &BTreeMap<SinkName, Option<Sink>>) {
    let mut taken: BTreeMap<String, (&SinkName, &Sink)> = BTreeMap::new();
    for (name, entry) in section.entries_as_written() {
        let known = name.parse().ok().and_then(|name: SinkName| sinks.get_key_value(&name));
        let Some((name, Some(sink))) = known else { continue };
        let Some(spot) = sink.spot() else { continue };
        match taken.get(&spot.whole()) {
            Some((other, first)) => {
                let noun = sink.noun();
                let formats = if sink.form() == first.form() { "" } else { ", in another format" };
                let what = format!("The sink {other} writes the same {noun}{formats}");
                entry.refuse(
                    spot.key,
                    refusal(what, format!("give each sink a {noun} of its own, or keep one of them")),
                );
            }
            None => {
                taken.insert(spot.whole(), (name, sink));
            }
        }
    }
}
