//! A stand-in cloud, a clock moved by hand, a folder, and an environment of this test's own.

use async_trait::async_trait;
use keywheel::clock::{Clock, SystemClock};
use keywheel::fault::Fault;
use keywheel::moment::Moment;
use keywheel::provider::alibaba::credentials::AlibabaSources;
use keywheel::provider::alibaba::{Alibaba, AlibabaSettings, Network};
use keywheel::provider::credential::endpoint::Reach;
use keywheel::provider::credential::settings::RoleSettings as AssumeSettings;
use keywheel::provider::credential::{Credential, Source, Sources, Surroundings};
use keywheel::provider::tencent::credentials::TencentSources;
use keywheel::provider::tencent::{Site, Tencent, TencentSettings};
use keywheel::provider::{Address, Mode, Provider};
use keywheel::secret::Secret;
use keywheel::simulator::{
    self, Change, InstanceSettings, MetadataSettings, Quota, RoleSettings, Server, Settings, Simulator,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use url::Url;

pub const KEY: (&str, &str) = ("AKIDpermanentpermanentpermanent00000", "permanent+Secret/Key");
pub const ROLE: &str = "rotator";
pub const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.e30.signature";
/// The variable that names a service of the owner's own.
pub const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";
/// How long the machine's credentials live.
pub const LIFE: Duration = Duration::from_secs(6 * 3_600);

/// Which cloud a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    Tencent,
    Alibaba,
}

pub const VENDORS: [Vendor; 2] = [Vendor::Tencent, Vendor::Alibaba];

impl Vendor {
    pub fn role_arn(self) -> &'static str {
        match self {
            Self::Tencent => "qcs::cam::uin/100000000001:roleName/rotator",
            Self::Alibaba => "acs:ram::100000000001:role/rotator",
        }
    }

    pub fn identity_provider(self) -> &'static str {
        match self {
            Self::Tencent => "cls-stage001",
            Self::Alibaba => "acs:ram::100000000001:oidc-provider/ack-stage001",
        }
    }

    pub fn identity_action(self) -> &'static str {
        match self {
            Self::Tencent => "AssumeRoleWithWebIdentity",
            Self::Alibaba => "AssumeRoleWithOIDC",
        }
    }

    /// Names and values: id, key.
    pub fn key_variables(self) -> [(&'static str, &'static str); 2] {
        let (id, key) = match self {
            Self::Tencent => ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"),
            Self::Alibaba => ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        };
        [(id, KEY.0), (key, KEY.1)]
    }

    /// Names of the variables of a pod: provider, role, token file.
    pub fn identity_variables(self) -> [&'static str; 3] {
        match self {
            Self::Tencent => ["TKE_PROVIDER_ID", "TKE_ROLE_ARN", "TKE_WEB_IDENTITY_TOKEN_FILE"],
            Self::Alibaba => {
                ["ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"]
            }
        }
    }
}

/// A clock that a test moves by hand; whoever sleeps wakes when it has moved far enough.
pub struct HandClock {
    millis: AtomicI64,
    moved: watch::Sender<()>,
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Moment {
        Moment::from_millis(self.millis.load(Ordering::SeqCst))
    }

    async fn sleep(&self, span: Duration) {
        let until = self.now() + span;
        let mut moved = self.moved.subscribe();
        while self.now() < until {
            moved.changed().await.unwrap();
        }
    }
}

pub struct Stage {
    pub cloud: Simulator,
    clock: Arc<HandClock>,
    folder: tempfile::TempDir,
    variables: Arc<Mutex<BTreeMap<String, String>>>,
    drawn: Arc<AtomicU64>,
    ahead: AtomicI64,
}

/// A role for each cloud, which both callers with a key and the cluster's pods may take on.
pub fn roles() -> Vec<RoleSettings> {
    let role = |vendor: Vendor| RoleSettings {
        arn: vendor.role_arn().to_owned(),
        identity_provider: Some(vendor.identity_provider().to_owned()),
        identity_token: Some(Secret::new(TOKEN.to_owned())),
        ..RoleSettings::default()
    };
    VENDORS.map(role).to_vec()
}

impl Stage {
    pub async fn set() -> Self {
        let instance = |made: InstanceSettings| InstanceSettings { server: Server::Nothing, ..made };
        let settings = Settings {
            credentials: vec![simulator::Credential {
                secret_id: KEY.0.to_owned(),
                secret_key: Secret::new(KEY.1.to_owned()),
                token: None,
            }],
            instances: vec![
                instance(InstanceSettings::new("crs-stage001", "OldPassw0rd-1")),
                instance(InstanceSettings::alibaba("r-stage001", "OldPassw0rd-1")),
            ],
            quota: Quota { per_second: 0.0, burst: 0.0 },
            roles: roles(),
            metadata: MetadataSettings { role: Some(ROLE.to_owned()), life: LIFE, ..MetadataSettings::default() },
            ..Settings::default()
        };
        let clock = HandClock { millis: AtomicI64::new(SystemClock.now().millis()), moved: watch::Sender::new(()) };
        Self {
            cloud: Simulator::start(settings).await.unwrap(),
            clock: Arc::new(clock),
            folder: tempfile::tempdir().unwrap(),
            variables: Arc::default(),
            drawn: Arc::default(),
            ahead: AtomicI64::new(0),
        }
    }

    pub fn surroundings(&self) -> Surroundings {
        let (variables, drawn) = (Arc::clone(&self.variables), Arc::clone(&self.drawn));
        Surroundings {
            variables: Arc::new(move |name| variables.lock().unwrap().get(name).cloned()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            bits: Arc::new(move || u128::from(drawn.fetch_add(1, Ordering::SeqCst))),
        }
    }

    pub fn endpoint(&self) -> Url {
        Url::parse(&self.cloud.endpoint()).unwrap()
    }

    pub fn reach(&self) -> Reach {
        Reach { sts: Some(self.endpoint()), metadata: Some(self.endpoint()), ..Reach::default() }
    }

    pub fn sources(&self, vendor: Vendor) -> Box<dyn Sources + Send + Sync> {
        self.sources_reaching(vendor, self.reach())
    }

    pub fn sources_reaching(&self, vendor: Vendor, reach: Reach) -> Box<dyn Sources + Send + Sync> {
        let surroundings = self.surroundings();
        match vendor {
            Vendor::Tencent => {
                Box::new(TencentSources::new(surroundings, reach, "ap-guangzhou".to_owned(), Site::China))
            }
            Vendor::Alibaba => {
                Box::new(AlibabaSources::new(surroundings, reach, "cn-hangzhou".to_owned(), Network::Public))
            }
        }
    }

    /// A provider that signs with this source.
    pub fn provider(&self, vendor: Vendor, source: Source) -> Arc<dyn Provider> {
        let clock = Arc::clone(&self.clock);
        let now = Arc::new(move || clock.now());
        let timeout = Duration::from_secs(20);
        match vendor {
            Vendor::Tencent => {
                let settings = TencentSettings {
                    endpoint: Some(self.endpoint()),
                    quota: 10_000.0,
                    timeout,
                    ..TencentSettings::of("ap-guangzhou".to_owned())
                };
                Arc::new(Tencent::new(settings, source, now).ok().unwrap())
            }
            Vendor::Alibaba => {
                let settings = AlibabaSettings {
                    endpoint: Some(self.endpoint()),
                    quota: 10_000.0,
                    timeout,
                    ..AlibabaSettings::of("cn-hangzhou".to_owned())
                };
                Arc::new(Alibaba::new(settings, source, now, self.surroundings().bits).ok().unwrap())
            }
        }
    }

    /// Whether the cloud's Redis API lets whoever signs with this source in.
    pub async fn opens(&self, vendor: Vendor, source: Source) -> Result<(), Fault> {
        self.provider(vendor, source).inspect(&address(vendor)).await.map(drop)
    }

    /// Lets time pass, here and in the cloud.
    pub async fn advance(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap();
        let ahead = self.ahead.fetch_add(millis, Ordering::SeqCst) + millis;
        self.cloud.change(Change { clock_offset_millis: Some(ahead), ..Change::default() }).await.unwrap();
        self.clock.millis.fetch_add(millis, Ordering::SeqCst);
        self.clock.moved.send_replace(());
    }

    /// How often the cloud was asked for this.
    pub fn asked(&self, action: &str) -> usize {
        self.cloud.calls().get(action).map_or(0, |calls| calls.accepted.len())
    }

    /// Waits until it was asked so often. Nothing here takes long.
    pub async fn until_asked(&self, action: &str, times: usize) {
        let come = async {
            while self.asked(action) < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), come)
            .await
            .unwrap_or_else(|_| panic!("{action}: asked {} times, not {times}", self.asked(action)));
    }

    pub fn set_variables<'a>(&self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let owned = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.variables.lock().unwrap().extend(owned);
    }

    pub fn unset(&self, name: &str) {
        self.variables.lock().unwrap().remove(name);
    }

    /// Writes a file that only its owner can read, with its folders.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes this the inside of a pod with an identity.
    pub fn in_a_pod(&self, vendor: Vendor) {
        let token = self.write("token", &format!("{TOKEN}\n"));
        let [provider, role, file] = vendor.identity_variables();
        self.set_variables([
            (provider, vendor.identity_provider()),
            (role, vendor.role_arn()),
            (file, token.to_str().unwrap()),
        ]);
    }

    /// Names the stand-in's service of the owner's own.
    pub fn with_uri(&self) {
        let uri = self.endpoint().join("/latest/credentials-uri?for=keywheel").unwrap();
        self.set_variables([(URI, uri.as_str())]);
    }

    pub async fn change_roles(&self, change: impl Fn(&mut RoleSettings)) {
        let mut roles = roles();
        roles.iter_mut().for_each(change);
        self.cloud.change(Change { roles: Some(roles), ..Change::default() }).await.unwrap();
    }

    pub async fn change_metadata(&self, metadata: MetadataSettings) {
        self.cloud.change(Change { metadata: Some(metadata), ..Change::default() }).await.unwrap();
    }
}

pub fn address(vendor: Vendor) -> Address {
    let (instance, account) = match vendor {
        Vendor::Tencent => ("crs-stage001", "root"),
        Vendor::Alibaba => ("r-stage001", "r-stage001"),
    };
    Address { instance: instance.to_owned(), account: account.to_owned(), mode: Mode::OldPassword }
}

/// The role of this vendor, with nothing special about it.
pub fn assume(vendor: Vendor) -> AssumeSettings {
    AssumeSettings {
        role: vendor.role_arn().to_owned(),
        session: None,
        duration: None,
        external_id: None,
        policy: None,
    }
}

/// The id of the credential that a source gives now.
pub async fn id(source: &Source) -> Result<String, Fault> {
    source.credential().await.map(|credential| credential.id)
}

pub async fn credential(source: &Source) -> Credential {
    source.credential().await.unwrap_or_else(|fault| panic!("{fault}"))
}
