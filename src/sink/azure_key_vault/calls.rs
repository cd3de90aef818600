//! The vendor's client, made anew where a token or a login is refused, and what its errors mean.

use super::carrier::{Carrier, NoLogin, theirs};
use super::{AzureKeyVault, Identity};
use crate::fault::{Fault, Kind};
use crate::http::SendError;
use crate::sink::Sink;
use crate::sink::vault::read_file;
use crate::sink::web::no_answer;
use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{Secret as TheirSecret, TokenCredential};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::HeaderName;
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};
use azure_security_keyvault_secrets::models::{
    Secret, SecretClientGetSecretOptions, SecretClientUpdateSecretPropertiesOptions, SetSecretParameters,
    UpdateSecretPropertiesParameters,
};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures_util::TryStreamExt;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The most versions of a secret that are looked at.
const VERSIONS_LIMIT: usize = 5000;

/// The longest "retry after" that is believed.
const RETRY_AFTER_LIMIT: u64 = 600;

/// Tags of a version.
pub(super) type Tags = HashMap<String, String>;

/// One question to the vault about the secret.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// What is in a version; in the current one where none is named.
    Get(Option<&'a str>),
    /// A new version.
    Set(&'a SetSecretParameters),
    /// The tags of a version, as they are.
    Touch(&'a str, &'a Tags),
    /// Whether the secret was deleted and can be recovered.
    Deleted,
}

/// Why a question brought nothing.
pub(super) enum Refusal {
    /// The vault said no: with this status and these words for machines.
    Said(Said),
    /// There is no answer, or no token.
    Fault(Fault),
}

/// What the other side said in an answer that is no success: its words for machines alone, since the others may repeat what was sent.
#[derive(Debug, Default)]
pub(in crate::sink::azure_key_vault) struct Said {
    pub(super) status: u16,
    /// Such as `Forbidden`.
    pub(super) code: String,
    /// Such as `ForbiddenByRbac`, or `AADSTS7000215`.
    pub(super) inner: String,
    retry_after: Option<Duration>,
}

impl Said {
    /// Reads the complaint of a vault or of Entra.
    pub(super) fn read(status: u16, body: &[u8], retry_after: Option<&str>) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Complaint {
            error: serde_json::Value,
            error_codes: Vec<u32>,
        }
        let complaint: Complaint = serde_json::from_slice(body).unwrap_or_default();
        let word = |value: &serde_json::Value| {
            let text = value.as_str().unwrap_or_default();
            let plain = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if plain { text.to_owned() } else { String::new() }
        };
        let error = &complaint.error;
        let code = word(if error.is_string() { error } else { &error["code"] });
        let inner = match complaint.error_codes.first() {
            Some(number) => format!("AADSTS{number}"),
            None => word(&error["innererror"]["code"]),
        };
        let after = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
        let after = after.filter(|seconds| *seconds <= RETRY_AFTER_LIMIT).map(Duration::from_secs);
        Self { status, code, inner, retry_after: after }
    }

    fn words(&self) -> String {
        let words = [&self.code, &self.inner].into_iter().filter(|word| !word.is_empty());
        words.map(|word| format!(", {word}")).collect()
    }
}

/// A pod's token, as it is when it is asked for.
#[derive(Debug)]
struct TokenFile(PathBuf);

#[async_trait]
impl ClientAssertion for TokenFile {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let failed = |fault| Error::with_error(ErrorKind::Credential, SendError::NotSent(fault), "no token");
        let read = read_file(&self.0, "token-file").map_err(failed)?;
        match std::str::from_utf8(&read).map(str::trim) {
            Ok(token) if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
            Ok(_) | Err(_) => {
                let what = format!("The file {} holds no identity token", self.0.display());
                Err(failed(
                    Fault::new(Kind::SinkDenied, what).advise("check that the cluster projects the token there"),
                ))
            }
        }
    }
}

impl AzureKeyVault {
    /// The client that is kept, or a new one.
    async fn client(&self) -> Result<Arc<SecretClient>, Fault> {
        let mut kept = self.kept.lock().await;
        if let Some(client) = kept.as_ref() {
            return Ok(client.clone());
        }
        let client = Arc::new(self.made()?);
        *kept = Some(client.clone());
        Ok(client)
    }

    /// A client whose secrets are read now.
    fn made(&self) -> Result<SecretClient, Fault> {
        let unusable = |error: Error| {
            // What it says is about the settings, and holds no secret: none is checked there.
            let what = format!("Azure's client cannot be made for {}: {}", self.place(), error.kind());
            Fault::new(Kind::SinkDenied, what).advise("check the sink's tenant, client and addresses")
        };
        let carrier = Carrier {
            vault: self.client.clone(),
            authority: self.authority.clone(),
            metadata: self.settings.metadata.clone(),
            reach: self.settings.reach.clone(),
        };
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = theirs(self.authority.endpoint()).to_string();
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(carrier))),
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        let options = client_options.clone();
        let credential: Arc<dyn TokenCredential> = match &self.settings.identity {
            Identity::ClientSecret { tenant, client, secret } => {
                let secret = TheirSecret::new(secret.read("client secret")?.expose().to_owned());
                let options = Some(ClientSecretCredentialOptions { client_options: options });
                ClientSecretCredential::new(tenant, client.clone(), secret, options).map_err(unusable)?
            }
            Identity::Workload { tenant, client, token_file } => {
                let options = Some(ClientAssertionCredentialOptions { client_options: options });
                let token = TokenFile(token_file.clone());
                ClientAssertionCredential::new(tenant.clone(), client.clone(), token, options).map_err(unusable)?
            }
            Identity::Managed { client } => {
                let user_assigned_id = client.clone().map(UserAssignedId::ClientId);
                let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options: options };
                ManagedIdentityCredential::new(Some(options)).map_err(unusable)?
            }
        };
        let options = SecretClientOptions {
            client_options,
            // A challenge from this machine cannot name an audience of its own.
            verify_challenge_resource: Some(!crate::http::is_loopback(self.client.endpoint())),
            ..SecretClientOptions::default()
        };
        SecretClient::new(theirs(self.client.endpoint()).as_str(), credential, Some(options)).map_err(unusable)
    }

    /// Asks; once more with another token where that is turned away.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Secret, Refusal> {
        let client = self.client().await.map_err(Refusal::Fault)?;
        match self.once(&client, ask).await {
            // Nothing was done for that one.
            Err(Refusal::Said(Said { status: 401, .. })) => {
                self.forget(&client).await;
                let client = self.client().await.map_err(Refusal::Fault)?;
                self.once(&client, ask).await
            }
            outcome => outcome,
        }
    }

    /// From now on another client is made: its secrets may have been replaced.
    async fn forget(&self, refused: &Arc<SecretClient>) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|client| Arc::ptr_eq(client, refused)) {
            *kept = None;
        }
    }

    async fn once(&self, client: &Arc<SecretClient>, ask: Ask<'_>) -> Result<Secret, Refusal> {
        let name = &self.settings.secret;
        let asked = async {
            match ask {
                Ask::Get(version) => {
                    let secret_version = version.map(str::to_owned);
                    let options = SecretClientGetSecretOptions { secret_version, ..Default::default() };
                    client.get_secret(name, Some(options)).await?.into_model()
                }
                Ask::Set(parameters) => {
                    client.set_secret(name, parameters.clone().try_into()?, None).await?.into_model()
                }
                Ask::Touch(version, tags) => {
                    let secret_version = Some(version.to_owned());
                    let options = SecretClientUpdateSecretPropertiesOptions { secret_version, ..Default::default() };
                    let parameters =
                        UpdateSecretPropertiesParameters { tags: Some(tags.clone()), ..Default::default() };
                    client.update_secret_properties(name, parameters.try_into()?, Some(options)).await?.into_model()
                }
                Ask::Deleted => client.get_deleted_secret(name, None).await.map(|_| Secret::default()),
            }
        };
        self.bounded(client, asked).await
    }

    /// Each version's number and tags.
    pub(super) async fn versions(&self) -> Result<Vec<(String, Tags)>, Refusal> {
        let client = self.client().await.map_err(Refusal::Fault)?;
        let asked = async {
            let mut pager = client.list_secret_properties_versions(&self.settings.secret, None)?;
            let mut all = Vec::new();
            while let Some(version) = pager.try_next().await? {
                if all.len() == VERSIONS_LIMIT {
                    return Ok(None);
                }
                all.extend(version.id.as_deref().and_then(number).map(|id| (id, version.tags.unwrap_or_default())));
            }
            Ok(Some(all))
        };
        // They come in no order: the newest generation may be among those that were not shown.
        self.bounded(&client, asked).await?.ok_or_else(|| {
            let what = format!("{} has more than {VERSIONS_LIMIT} versions, too many to look at", self.place());
            let fault = Fault::new(Kind::SinkDenied, what);
            Refusal::Fault(
                fault.advise("give the sink another secret: versions of one cannot be deleted by themselves"),
            )
        })
    }

    /// The vendor's clients set no time of their own, and ask the metadata service several times.
    async fn bounded<T>(
        &self,
        client: &Arc<SecretClient>,
        asked: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<T, Refusal> {
        let error = match tokio::time::timeout(self.settings.reach.timeout * 2, asked).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => {
                let what = format!("{} gave no answer in time", self.place());
                return Err(Refusal::Fault(Fault::new(Kind::SinkUnavailable, what)));
            }
        };
        let refusal = self.meant(&error);
        if matches!(error.kind(), ErrorKind::Credential) {
            self.forget(client).await;
        }
        Err(refusal)
    }

    fn meant(&self, error: &Error) -> Refusal {
        let mut said = None;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if let Some(SendError::NotSent(fault) | SendError::Unanswered(fault)) = inner.downcast_ref() {
                let fault = fault.clone();
                let is_meant = fault.kind == Kind::SinkDenied;
                return Refusal::Fault(if is_meant { fault } else { no_answer(SendError::Unanswered(fault)) });
            }
            if let Some(NoLogin(said)) = inner.downcast_ref() {
                return Refusal::Fault(self.no_login(said));
            }
            said = said.or_else(|| inner.downcast_ref::<Error>().and_then(self::said));
            cause = inner.source();
        }
        let is_login = matches!(error.kind(), ErrorKind::Credential);
        match said {
            Some(said) if is_login => Refusal::Fault(self.no_login(&said)),
            Some(said) => Refusal::Said(said),
            None => {
                let what = format!("{} gave an answer that Key Vault does not give ({})", self.place(), error.kind());
                let advice = "check the sink's vault and authority; keywheel tries again";
                Refusal::Fault(Fault::new(Kind::SinkUnavailable, what).advise(advice))
            }
        }
    }

    fn no_login(&self, said: &Said) -> Fault {
        let whom = match self.settings.identity {
            Identity::Managed { .. } => "the metadata service".to_owned(),
            Identity::ClientSecret { .. } | Identity::Workload { .. } => self.authority.authority(),
        };
        let what = format!("{whom} gives no token for {} (HTTP status {}{})", self.place(), said.status, said.words());
        match said.status {
            408 | 429 | 500..=599 => later(said, what),
            _ => Fault::new(Kind::SinkDenied, what).advise(match self.settings.identity {
                Identity::ClientSecret { .. } => "renew the application's client secret, and check tenant and client",
                Identity::Workload { .. } => {
                    "check tenant and client, and that the application has a federated credential for this workload's issuer and subject"
                }
                Identity::Managed { .. } => "assign the identity to this machine, and check client",
            }),
        }
    }

    /// What a refusal means.
    pub(super) fn trouble(&self, what: &str, refusal: Refusal) -> Fault {
        let said = match refusal {
            Refusal::Fault(fault) => return fault,
            Refusal::Said(said) => said,
        };
        let what = format!("{what} at {} was answered with HTTP status {}{}", self.place(), said.status, said.words());
        let denied = |advice: String| Fault::new(Kind::SinkDenied, what.as_str()).advise(advice);
        let name = &self.settings.secret;
        match (said.status, said.inner.as_str()) {
            (401, _) => denied("check the sink's tenant, and that the vault is of it".to_owned()),
            (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => {
                denied("let this machine's network through the vault's firewall, or reach it by its private endpoint".to_owned())
            }
            (403, _) => denied(
                "give keywheel's identity the role Key Vault Secrets Officer on the secret or the vault; with access policies: get, list and set"
                    .to_owned(),
            ),
            (404, _) => denied("check the sink's vault and secret".to_owned()),
            (409, "ObjectIsDeletedButRecoverable") => self.soft_deleted(),
            (409, _) => later(&said, what).advise("nothing; the secret is being deleted or recovered, and keywheel tries again"),
            (300..=399, _) => denied("a redirect is not followed: write the vault's own address".to_owned()),
            (408 | 425 | 429 | 500..=599, _) => later(&said, what),
            _ => denied(format!("check the sink's settings and the secret {name}")),
        }
    }

    pub(super) fn soft_deleted(&self) -> Fault {
        let (name, vault) = (&self.settings.secret, self.client.endpoint().host_str().unwrap_or_default());
        let vault = vault.split('.').next().unwrap_or_default();
        let what = format!("{} was deleted and can be recovered: until then its name cannot be used", self.place());
        Fault::new(Kind::SinkDenied, what)
            .advise(format!("run az keyvault secret recover --vault-name {vault} --name {name}, or purge it"))
    }
}

fn later(said: &Said, what: String) -> Fault {
    let fault = Fault::new(Kind::SinkUnavailable, what);
    said.retry_after.map_or(fault.clone(), |span| fault.after(span))
}

/// A version's number, out of its address.
pub(super) fn number(id: &str) -> Option<String> {
    let mut parts = id.trim_end_matches('/').rsplit('/');
    let (version, _name, secrets) = (parts.next()?, parts.next()?, parts.next()?);
    (secrets == "secrets").then(|| version.to_owned())
}

/// What the other side said, where it did.
fn said(error: &Error) -> Option<Said> {
    let ErrorKind::HttpResponse { status, raw_response, .. } = error.kind() else { return None };
    let body = raw_response.as_ref().map(|raw| raw.body().as_ref()).unwrap_or_default();
    let after = raw_response.as_ref().map(|raw| raw.headers());
    let after = after.and_then(|headers| headers.get_optional_str(&HeaderName::from_static("retry-after")));
    Some(Said::read(u16::from(*status), body, after))
}
