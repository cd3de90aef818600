//! Where the API server is, and who keywheel is there: a pod's service account, or a context of a kubeconfig.

use super::exec;
use crate::fault::{Fault, Kind};
use crate::http::{Client, Settings};
use crate::moment::Moment;
use crate::secret::{Credential, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use secrecy::ExposeSecret;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// Where a cluster puts what a pod needs to speak to it ("Accessing the Kubernetes API from a Pod").
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The largest file with a token, a certificate or a key, in bytes.
const FILE_LIMIT: usize = 256 * 1024;

/// How long address and credentials are used before they are read anew: a cluster replaces a token some time before it ends, and wants it noticed
/// within a minute.
const KEPT: Duration = Duration::from_secs(60);

/// Where the server's address and the credentials are.
#[derive(Clone)]
pub enum Access {
    /// The pod that this runs in.
    Pod(Pod),
    /// A kubeconfig.
    Kubeconfig {
        /// Reads it.
        text: Credential,
        /// Which of its contexts; absent means the current one.
        context: Option<String>,
        /// Names of the daemon's variables that a program for credentials inherits beside PATH.
        environment: Vec<String>,
    },
}

/// What a cluster tells a pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// The folder with token, namespace and certificates.
    pub folder: PathBuf,
    /// `KUBERNETES_SERVICE_HOST`.
    pub host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`.
    pub port: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Access({})", self.words())
    }
}

/// An open way to the server.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) token: Option<Secret>,
    /// The pod's or the context's own.
    pub(super) namespace: String,
    /// When it is to be opened anew.
    pub(super) until: Moment,
    /// Another one for each.
    pub(super) number: u64,
}

/// What a user of a kubeconfig shows.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) token: Option<Secret>,
    /// Certificate and key (PEM).
    pub(super) certificate: Option<Zeroizing<Vec<u8>>>,
    /// When it is of no use any more, where that is known.
    pub(super) ends: Option<Moment>,
}

pub(super) fn fault(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Misconfigured, what)
}

impl Access {
    /// In words for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Pod(_) => "the cluster that keywheel runs in".to_owned(),
            Self::Kubeconfig { context: Some(context), .. } => format!("the cluster of the context {context}"),
            Self::Kubeconfig { context: None, .. } => "the cluster of the kubeconfig's current context".to_owned(),
        }
    }

    pub(super) async fn open(&self, reach: &Settings, now: Moment, number: u64) -> Result<Session, Fault> {
        match self {
            Self::Pod(pod) => pod.open(reach, now, number),
            Self::Kubeconfig { text, context, environment } => {
                let config = read_config(&text.get()?, context.clone()).await?;
                let url = Url::parse(&config.cluster_url.to_string())
                    .map_err(|_| fault("The kubeconfig's server is no URL"))?;
                let shown = shown(&config.auth_info, environment, reach.timeout, now).await?;
                let roots = config.root_cert.as_deref();
                let client = Client::trusting(url, reach, roots, shown.certificate.as_ref())?;
                let until = shown.ends.unwrap_or(now + KEPT);
                Ok(Session { client, token: shown.token, namespace: config.default_namespace, until, number })
            }
        }
    }
}

impl Pod {
    fn open(&self, reach: &Settings, now: Moment, number: u64) -> Result<Session, Fault> {
        let (Some(host), Some(port)) = (&self.host, &self.port) else {
            return Err(fault(
                "keywheel runs in no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set",
            )
            .advise("name a kubeconfig, or run keywheel in the cluster"));
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let url = Url::parse(&format!("https://{host}:{port}/"))
            .map_err(|_| fault("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no address"))?;
        let token = token(&self.folder.join("token"))?;
        let namespace = String::from_utf8_lossy(&read(&self.folder.join("namespace"))?).trim().to_owned();
        let ca_file = reach.ca_file.clone().unwrap_or_else(|| self.folder.join("ca.crt"));
        let client = Client::new(url, &Settings { ca_file: Some(ca_file), ..reach.clone() })?;
        Ok(Session { client, token: Some(token), namespace, until: now + KEPT, number })
    }
}

/// The kubeconfig's chosen context, with everything refused that would be left out without a word otherwise.
async fn read_config(text: &Secret, context: Option<String>) -> Result<Config, Fault> {
    // What the parser says may show lines of the text.
    let whole = Kubeconfig::from_yaml(text.expose()).map_err(|_| {
        fault("The kubeconfig is none").advise("write it by `kubectl config view --flatten --minify --raw`")
    })?;
    let chosen = context.as_ref().or(whole.current_context.as_ref());
    let named = whole.contexts.iter().find(|named| Some(&named.name) == chosen);
    let cluster = named.and_then(|named| named.context.as_ref()).map(|context| context.cluster.clone());
    let cluster = whole.clusters.iter().find(|named| Some(&named.name) == cluster.as_ref());
    let has_proxy = cluster.and_then(|named| named.cluster.as_ref()).is_some_and(|cluster| cluster.proxy_url.is_some());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(whole, &options).await.map_err(|error| unusable(&error))?;
    let refusals = [
        (has_proxy, "has a proxy-url", "set HTTPS_PROXY for keywheel instead"),
        (
            config.accept_invalid_certs,
            "has insecure-skip-tls-verify, and a password would go to whoever answers",
            "give it certificate-authority-data",
        ),
        (
            config.tls_server_name.is_some(),
            "has a tls-server-name",
            "name the server by a name that its certificate has",
        ),
        (config.auth_info.impersonate.is_some(), "acts as somebody else (as)", "give keywheel a user of its own"),
        (
            config.auth_info.auth_provider.is_some(),
            "has an auth-provider, which Kubernetes itself has given up",
            "use exec, a token or a certificate",
        ),
        (
            config.auth_info.username.is_some(),
            "has a user name and password, which Kubernetes itself has given up",
            "use exec, a token or a certificate",
        ),
    ];
    match refusals.into_iter().find(|(is, ..)| *is) {
        Some((_, what, next)) => Err(fault(format!("The kubeconfig's context {what}")).advise(next)),
        None => Ok(config),
    }
}

/// Names of contexts, clusters and files may be shown; what the parsers of what lies in them say may not.
fn unusable(error: &KubeconfigError) -> Fault {
    let known = |what: String| fault(what).advise("compare with `kubectl config get-contexts`");
    match error {
        KubeconfigError::CurrentContextNotSet => known("The kubeconfig has no current-context".to_owned()),
        KubeconfigError::LoadContext(name) => known(format!("The kubeconfig has no context {name:?}")),
        KubeconfigError::LoadClusterOfContext(name) => known(format!("The kubeconfig has no cluster {name:?}")),
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            known("The kubeconfig's cluster has no server that is a URL".to_owned())
        }
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            fault("The kubeconfig's certificate-authority cannot be read")
                .advise("write it by `kubectl config view --flatten --minify --raw`, which takes files in")
        }
        KubeconfigError::KindMismatch
        | KubeconfigError::ApiVersionMismatch
        | KubeconfigError::FindPath
        | KubeconfigError::ReadConfig(..)
        | KubeconfigError::Parse(_)
        | KubeconfigError::ParseProxyUrl(_)
        | KubeconfigError::LoadClientCertificate(_)
        | KubeconfigError::LoadClientKey(_) => {
            fault("The kubeconfig cannot be used").advise("write it by `kubectl config view --flatten --minify --raw`")
        }
    }
}

async fn shown(user: &AuthInfo, environment: &[String], timeout: Duration, now: Moment) -> Result<Shown, Fault> {
    let certificate = certificate(user)?;
    if let Some(text) = &user.token {
        let token = as_token(text.expose_secret())
            .ok_or_else(|| fault("The kubeconfig's token holds characters that no token has"))?;
        return Ok(Shown { token: Some(token), certificate, ends: None });
    }
    if let Some(file) = &user.token_file {
        return Ok(Shown { token: Some(token(absolute(file)?)?), certificate, ends: None });
    }
    match &user.exec {
        Some(program) => exec::shown(program, environment, timeout, now).await,
        None if certificate.is_none() => Err(fault("The kubeconfig's context has a user without credentials")
            .advise("give it a token, a tokenFile, a client certificate or exec")),
        None => Ok(Shown { token: None, certificate, ends: None }),
    }
}

/// Certificate and key, where the user has them.
fn certificate(user: &AuthInfo) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    let key = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    let parts = [
        part("client-certificate", user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?,
        part("client-key", key, user.client_key.as_deref())?,
    ];
    match parts {
        [None, None] => Ok(None),
        [Some(mut pem), Some(key)] => {
            pem.push(b'\n');
            pem.extend_from_slice(&key);
            Ok(Some(pem))
        }
        _ => Err(fault("The kubeconfig's user has one of client certificate and client key, and not the other")),
    }
}

fn part(key: &str, data: Option<&str>, file: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    match (data, file) {
        (Some(data), _) => {
            let bytes =
                STANDARD.decode(data).map_err(|_| fault(format!("The kubeconfig's {key}-data is no base64")))?;
            Ok(Some(Zeroizing::new(bytes)))
        }
        (None, Some(file)) => read(absolute(file)?).map(Some),
        (None, None) => Ok(None),
    }
}

/// A kubeconfig is read as a text, so that where it lies is not known.
pub(super) fn absolute(path: &str) -> Result<&Path, Fault> {
    let path = Path::new(path);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(fault(format!("The kubeconfig names {} without saying where that is", path.display()))
            .advise("write absolute paths, or `kubectl config view --flatten --minify --raw`, which takes files in")),
    }
}

/// A token that can stand in a header.
pub(super) fn as_token(text: &str) -> Option<Secret> {
    let text = text.trim();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| Secret::new(text.to_owned()))
}

fn token(path: &Path) -> Result<Secret, Fault> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(as_token).ok_or_else(|| {
        fault(format!("The file {} holds no token", path.display()))
            .advise("check that the cluster projects the service account's token there")
    })
}

/// A file that others write and replace.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let unreadable = |why: String| {
        fault(format!("The file {} {why}", path.display()))
            .advise("check the path, and that keywheel's user may read it")
    };
    let told = |error: std::io::Error| unreadable(format!("cannot be read: {}", error.kind()));
    // Looked at before it is opened: opening a pipe would wait for its writer. Links are followed, as clusters mount secrets by links.
    if !std::fs::metadata(path).map_err(told)?.is_file() {
        return Err(unreadable("is not a file".to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LIMIT + 1));
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(told)?;
    match bytes.len() > FILE_LIMIT {
        true => Err(unreadable("is too large".to_owned())),
        false => Ok(bytes),
    }
}
