//! Several sources in the order in which a vendor's own tools try them, `source = "chain"`.
//!
//! A link that is not set up here is passed over. One that is set up and does not work ends the search: to go on would mean to act as
//! somebody else than the owner set up. The link that worked once is kept.

use super::{Credential, CredentialSource, IdentityNames, Source, VariableNames, Variables};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Whether a link is set up here.
pub(in crate::provider) enum Presence {
    /// It is.
    Here,
    /// It is not, and this clause says what is missing.
    Absent(String),
}

impl Presence {
    pub(in crate::provider) fn of(here: bool, missing: &str) -> Self {
        if here { Self::Here } else { Self::Absent(missing.to_owned()) }
    }
}

/// One source of a chain.
pub(in crate::provider) struct Link {
    /// Such as "instance role".
    pub(in crate::provider) name: &'static str,
    /// Looks whether it is set up; asks nobody outside this machine.
    pub(in crate::provider) present: Box<dyn Fn() -> Presence + Send + Sync>,
    /// The source itself.
    pub(in crate::provider) source: Source,
}

impl Link {
    /// Variables with a credential in them. Half of one is set up, and wrong.
    pub(in crate::provider) fn environment(source: Source, names: VariableNames, variables: Variables) -> Self {
        let present = move || {
            let set = [names.id, names.key].iter().any(|name| variable_set(&variables, name).is_some());
            Presence::of(set, &format!("{} and {} are not set", names.id, names.key))
        };
        Self { name: "environment", present: Box::new(present), source }
    }

    /// A pod's identity; it is there once its three variables are.
    pub(in crate::provider) fn identity(source: Source, names: IdentityNames, variables: Variables) -> Self {
        let present = move || {
            let three = [names.provider, names.role, names.token_file];
            match three.iter().find(|name| variable_set(&variables, name).is_none()) {
                Some(name) => Presence::Absent(format!("{name} is not set")),
                None => Presence::Here,
            }
        };
        Self { name: "oidc", present: Box::new(present), source }
    }
}

/// The links, and which one worked.
pub struct Chain {
    vendor: &'static str,
    links: Vec<Link>,
    kept: OnceLock<usize>,
}

impl Chain {
    pub(in crate::provider) fn new(vendor: &'static str, links: Vec<Link>) -> Self {
        Self { vendor, links, kept: OnceLock::new() }
    }

    /// The link that worked, or the first that is set up.
    fn chosen(&self) -> Result<(usize, Vec<String>), Fault> {
        if let Some(&kept) = self.kept.get() {
            return Ok((kept, Vec::new()));
        }
        let mut said = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            match (link.present)() {
                Presence::Here => return Ok((index, said)),
                Presence::Absent(why) => said.push(format!("{}: {why}", link.name)),
            }
        }
        let what = format!("No source of the chain has a {} credential: {}", self.vendor, said.join("; "));
        Err(Fault::new(Kind::SecretUnreadable, what).advise("set one of them up, or choose another credentials source"))
    }

    /// What the link said, after what the ones before it said.
    fn told(&self, index: usize, mut said: Vec<String>, fault: Fault) -> Fault {
        if self.kept.get().is_some() {
            return fault;
        }
        said.push(format!("{}: {}", self.links[index].name, fault.what));
        let what = format!("The chain gave no {} credential: {}", self.vendor, said.join("; "));
        Fault { what: Fault::new(fault.kind, what).what, ..fault }
    }
}

#[async_trait]
impl CredentialSource for Chain {
    async fn credential(&self) -> Result<Credential, Fault> {
        let (index, said) = self.chosen()?;
        let credential = self.links[index].source.credential().await.map_err(|fault| self.told(index, said, fault))?;
        if self.kept.set(index).is_ok() {
            tracing::info!(
                vendor = self.vendor,
                source = self.links[index].name,
                "the chain's credential comes from here"
            );
        }
        Ok(credential)
    }

    async fn renewed(&self, refused: &Credential) -> Result<Credential, Fault> {
        let (index, said) = self.chosen()?;
        self.links[index].source.renewed(refused).await.map_err(|fault| self.told(index, said, fault))
    }

    fn ends(&self) -> Option<Moment> {
        self.kept.get().and_then(|&kept| self.links[kept].source.ends())
    }
}

/// A variable with something in it.
pub(in crate::provider) fn variable_set(variables: &Variables, name: &str) -> Option<String> {
    variables(name).filter(|text| !text.is_empty())
}

/// A file below the home folder.
pub(in crate::provider) fn home(variables: &Variables, below: &str) -> Option<PathBuf> {
    let home = PathBuf::from(variable_set(variables, "HOME")?);
    home.is_absolute().then(|| home.join(below))
}
