//! Whose requests these are. A credential that is kept in secrets of ours is read anew each time; everything else is found by the vendor's own chain, and
//! kept until it is about to end or the store refuses it.

use super::transport::Transport;
use super::{Now, Reach, process};
use crate::fault::{Fault, Kind, Retry};
use crate::http;
use crate::moment::Moment;
use crate::sink::web::Credential;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use url::Url;

/// A credential that ends sooner than this is renewed before it is used.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// How long the search for a credential may take in all, in requests: some sources ask twice, and the machine's service several times.
const SEARCH: u32 = 4;

/// How much of the vendor's own words is shown, in characters.
const SHOWN_LIMIT: usize = 300;

/// What a session is called whose name nobody chose.
const SESSION: &str = "keywheel";

/// Where the credential is.
#[derive(Debug, Clone)]
pub enum Source {
    /// Each part at its own place.
    Static {
        /// The public half.
        id: Credential,
        /// The secret half.
        key: Credential,
        /// The session token of temporary credentials.
        token: Option<Credential>,
    },
    /// `AWS_ACCESS_KEY_ID` and so on.
    Environment,
    /// A profile in a file of the vendor's own tools.
    Profile {
        /// The file; absent means those of the tools.
        path: Option<PathBuf>,
        /// The profile.
        name: Option<String>,
    },
    /// A role for a pod's own identity: as the cluster's variables say, or as it is written here.
    WebIdentity {
        /// The role, and where the pod's token is.
        role: Option<(String, PathBuf)>,
        /// What the session is called.
        session: Option<String>,
    },
    /// The service that a container's variables name.
    Container,
    /// The role of the machine this runs on.
    InstanceRole {
        /// Its name; absent means as the machine says.
        role: Option<String>,
    },
    /// Whatever the vendor's own tools would find.
    Chain,
}

/// Finds a credential and keeps it.
pub struct Identity {
    source: Source,
    region: Region,
    transport: Transport,
    metadata: Option<Url>,
    now: Now,
    kept: Mutex<Option<Credentials>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Identity {
    pub fn new(reach: &Reach) -> Self {
        let settings = http::Settings { timeout: reach.timeout, ca_file: reach.ca_file.clone() };
        Self {
            source: reach.source.clone(),
            region: Region::new(reach.region.clone()),
            transport: Transport { reach: settings, sts: reach.sts_endpoint.clone() },
            metadata: reach.metadata_endpoint.clone(),
            now: reach.now.clone(),
            kept: Mutex::default(),
        }
    }

    /// A credential that is good for a while, and another one than the one that was refused if there is another.
    ///
    /// # Errors
    /// `SinkDenied` where a secret cannot be read, `SinkUnavailable` where the source gives none: it is asked again.
    pub async fn credentials(&self, refused: Option<&Credentials>) -> Result<Credentials, Fault> {
        if let Source::Static { id, key, token } = &self.source {
            let token = token.as_ref().map(|token| token.read("session-token")).transpose()?;
            let (id, key) = (id.read("access-key-id")?, key.read("secret-access-key")?);
            let token = token.map(|token| token.expose().to_owned());
            return Ok(Credentials::new(id.expose(), key.expose(), token, None, "keywheel"));
        }
        let mut kept = self.kept.lock().await;
        let usable = |credentials: &Credentials, at: Moment| {
            let ends = credentials.expiry().map(moment);
            ends.is_none_or(|ends| at < ends) && refused.is_none_or(|refused| !is_same(refused, credentials))
        };
        let now = (self.now)();
        if let Some(kept) = kept.as_ref().filter(|kept| usable(kept, now + RENEW_BEFORE)) {
            return Ok(kept.clone());
        }
        let patience = self.transport.reach.timeout * SEARCH;
        // The vendor's code shows what it sends and gets to whoever logs at trace.
        let search = self.found().with_subscriber(Dispatch::none());
        let found = tokio::time::timeout(patience, search).await.unwrap_or_else(|_| Err("it timed out".to_owned()));
        match (found, kept.as_ref()) {
            (Ok(found), _) => Ok(kept.insert(found).clone()),
            (Err(_), Some(old)) if usable(old, now) => Ok(old.clone()),
            (Err(why), _) => Err(self.none(&why)),
        }
    }

    async fn found(&self) -> Result<Credentials, String> {
        // Made anew each time, since it keeps what it once read of the files.
        let config = ProviderConfig::without_region()
            .with_region(Some(self.region.clone()))
            .with_http_client(self.transport.clone())
            .with_retry_config(RetryConfig::disabled());
        let provider: Box<dyn ProvideCredentials> = match &self.source {
            Source::Static { .. } => return Err("its parts are read one by one".to_owned()),
            Source::Environment => Box::new(EnvironmentVariableCredentialsProvider::new()),
            Source::Profile { path, name } => {
                let files = match path {
                    Some(path) => EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, path).build(),
                    None => EnvConfigFiles::default(),
                };
                if let Some(line) = process::named(&files, name.as_deref()).await? {
                    return process::asked(&line, self.transport.reach.timeout).await;
                }
                let builder = ProfileFileCredentialsProvider::builder().configure(&config).profile_files(files);
                match name {
                    Some(name) => Box::new(builder.profile_name(name).build()),
                    None => Box::new(builder.build()),
                }
            }
            Source::WebIdentity { role, session } => {
                let builder = WebIdentityTokenCredentialsProvider::builder().configure(&config);
                match role {
                    Some((role, token)) => Box::new(
                        builder
                            .static_configuration(StaticConfiguration {
                                web_identity_token_file: token.clone(),
                                role_arn: role.clone(),
                                session_name: session.clone().unwrap_or_else(|| SESSION.to_owned()),
                            })
                            .build(),
                    ),
                    None => Box::new(builder.build()),
                }
            }
            Source::Container => Box::new(EcsCredentialsProvider::builder().configure(&config).build()),
            Source::InstanceRole { role } => {
                let builder =
                    ImdsCredentialsProvider::builder().configure(&config).imds_client(self.metadata(&config)?);
                match role {
                    Some(role) => Box::new(builder.profile(role).build()),
                    None => Box::new(builder.build()),
                }
            }
            Source::Chain => {
                let builder = DefaultCredentialsChain::builder()
                    .region(self.region.clone())
                    .imds_client(self.metadata(&config)?)
                    .configure(config);
                Box::new(builder.build().await)
            }
        };
        provider.provide_credentials().await.map_err(|error| match sentence(&error) {
            // The vendor's words for it are about its crate.
            why if why.contains("credentials-process") => {
                "a profile has a credential_process, which keywheel runs for source = \"profile\" alone, and not for a role's source_profile".to_owned()
            }
            why => why,
        })
    }

    fn metadata(&self, config: &ProviderConfig) -> Result<imds::Client, String> {
        let builder = imds::Client::builder().configure(config);
        let builder = match &self.metadata {
            Some(endpoint) => builder.endpoint(endpoint.as_str()).map_err(|error| error.to_string())?,
            None => builder,
        };
        Ok(builder.build())
    }

    fn none(&self, why: &str) -> Fault {
        let (what, next_step) = match &self.source {
            Source::Static { .. } => ("parts", "check them"),
            Source::Environment => ("environment", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the daemon"),
            Source::Profile { .. } => ("profile", "check the profile and its file; keywheel takes no SSO sessions"),
            Source::WebIdentity { .. } => (
                "pod's identity",
                "annotate the pod's service account with eks.amazonaws.com/role-arn, and let the role trust it",
            ),
            Source::Container => ("container", "give the task a role, or the pod an EKS Pod Identity association"),
            Source::InstanceRole { .. } => (
                "machine's role",
                "give the machine a role, and its metadata service a hop limit that reaches keywheel",
            ),
            Source::Chain => ("chain", "set up one of the sources that the AWS command line would find"),
        };
        let what = format!("The sink's credentials source ({what}) gives none: {why}");
        Fault { retry: Retry::Later, ..Fault::new(Kind::SinkUnavailable, what) }.advise(next_step)
    }
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    let parts = |credentials: &Credentials| {
        let token = credentials.session_token().map(str::to_owned);
        (credentials.access_key_id().to_owned(), credentials.secret_access_key().to_owned(), token)
    };
    parts(one) == parts(other)
}

fn moment(time: SystemTime) -> Moment {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The error with its causes, innermost last. The vendor keeps credentials out of them.
fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !sentence.contains(&words) {
            sentence = format!("{sentence}: {words}");
        }
        cause = inner.source();
    }
    sentence.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_LIMIT).collect()
}
