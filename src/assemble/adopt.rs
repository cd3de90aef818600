//! Reading the password that works today from where the configuration or a person says. Nothing is changed there.

use crate::config::{self, Config, PasswordRef, SecretRef};
use crate::driver::{AdoptFrom, Adoptable};
use crate::fault::{Fault, Kind};
use crate::moment::show_span;
use crate::name::{SinkName, TargetName};
use crate::probe::redis::{LoginForm, bare_password};
use crate::secret::Secret;
use crate::sink::{Held, Sink};
use std::sync::Arc;
use std::time::Duration;

/// How long a sink may take to be read, whatever its own limits say.
const READ_LIMIT: Duration = Duration::from_secs(120);

/// How the driver comes by the password that a target begins with.
pub(super) fn adopt_from(
    name: &TargetName,
    target: &config::Target,
    forms: Vec<LoginForm>,
    sink: impl Fn(&SinkName) -> Option<Arc<dyn Sink>>,
) -> AdoptFrom {
    match &target.adopt {
        None => secret(None),
        Some(PasswordRef::Secret(reference)) => secret(Some(reference.clone())),
        Some(PasswordRef::Sink(named)) => {
            let sink = sink(named).map(|sink| Readable { target: name.clone(), name: named.clone(), sink, forms });
            let missing = Fault::new(Kind::Bug, format!("sink {named} has no hand"));
            Arc::new(move || {
                let (sink, missing) = (sink.clone(), missing.clone());
                Box::pin(async move {
                    match sink {
                        Some(sink) => Some(sink.adoptable().await),
                        None => Some(Err(missing)),
                    }
                })
            })
        }
    }
}

/// What may stand in front of the target's password: a pair's may be either account's.
pub(super) fn forms(config: &Config, target: &config::Target) -> Vec<LoginForm> {
    target.addresses().iter().flat_map(|address| super::forms(config, target, address)).collect()
}

/// The same where it can only stand at a reference of its own.
pub(super) fn secret(reference: Option<SecretRef>) -> AdoptFrom {
    Arc::new(move || {
        let read = reference.as_ref().map(|reference| reference.read(&super::variable).map(Adoptable::from));
        Box::pin(async { read })
    })
}

/// The password at a reference that a person gave for this target.
///
/// # Errors
/// `Usage` where there is no such target or sink; `SecretUnreadable` or `Unsupported` where no password is there or can be read; what else
/// kept it from being read.
pub async fn password_from(config: &Config, target: &TargetName, reference: &PasswordRef) -> Result<Secret, Fault> {
    let name = match reference {
        PasswordRef::Secret(reference) => return reference.read(&super::variable),
        PasswordRef::Sink(name) => name,
    };
    let own = config.targets.get(target).and_then(|target| target.own_sinks.get(name));
    let Some(settings) = own.or_else(|| config.sinks.get(name)) else {
        let names: Vec<&str> = config.sinks.keys().map(SinkName::as_str).take(10).collect();
        return Err(Fault::new(Kind::Usage, format!("there is no sink {name}")).advise(match names[..] {
            [] => "the configuration has no sinks; give the password in another way".to_owned(),
            _ => format!("name one of the configured sinks, such as {}", names.join(", ")),
        }));
    };
    let forms = match config.targets.get(target) {
        Some(settings) => forms(config, settings),
        None => return Err(Fault::new(Kind::Usage, format!("there is no target {target}"))),
    };
    let sink = super::sink(config, settings).map_err(|fault| super::at("sinks", name, fault))?;
    Readable { target: target.clone(), name: name.clone(), sink, forms }.password().await
}

/// A sink to read one target's password from.
#[derive(Clone)]
struct Readable {
    target: TargetName,
    name: SinkName,
    sink: Arc<dyn Sink>,
    /// What may stand in front of the password there.
    forms: Vec<LoginForm>,
}

impl Readable {
    /// The password and which one it is, where the sink says so.
    async fn adoptable(&self) -> Result<Adoptable, Fault> {
        let password = self.password().await?;
        let copy = tokio::time::timeout(READ_LIMIT, self.sink.copy(&self.target)).await;
        let generation = copy.ok().and_then(Result::ok).flatten().map(|document| document.generation);
        Ok(Adoptable { password, generation })
    }

    async fn password(&self) -> Result<Secret, Fault> {
        let Self { target, name, sink, forms } = self;
        let held = tokio::time::timeout(READ_LIMIT, sink.read_back(target)).await.unwrap_or_else(|_elapsed| {
            let what = format!("{} gave no answer in {}", sink.place(), show_span(READ_LIMIT));
            Err(Fault::new(Kind::SinkUnavailable, what).advise("repair the sink, or give the password in another way"))
        });
        match held {
            Ok(Some(Held::Bare(password))) => Ok(password),
            Ok(Some(Held::AsSent(sent))) => {
                Ok(forms.iter().find_map(|form| bare_password(form, &sent)).unwrap_or(sent))
            }
            Ok(None) => {
                let what = format!("the sink {name} ({}) holds no password of {target}", sink.place());
                Err(Fault::new(Kind::SecretUnreadable, what)
                    .advise("put today's password there, or give it in another way: `keywheel adopt TARGET`"))
            }
            Err(fault) => Err(Fault { what: format!("the sink {name}: {}", fault.what), ..fault }),
        }
    }
}
