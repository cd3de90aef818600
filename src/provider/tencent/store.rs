//! Tencent Cloud's Secrets Manager (SSM, API version 2019-09-23), for the sink of that name: the calls alone. What they do to a secret is the sink's.

use super::call::{Caller, Outgoing, Product};
use super::{TencentSettings, endpoint};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Effect};
use crate::pacer::Pacers;
use crate::provider::Now;
use crate::provider::credential::CredentialSource;
use crate::sink::{StoreApi, StoreCall, StoreFailure};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex};

const PRODUCT: Product = Product { service: "ssm", version: "2019-09-23" };

struct Ssm(Caller);

/// The store in the region of these settings; of them only what says how the cloud is reached is looked at.
///
/// # Errors
/// `ConfigInvalid` where no endpoint or TLS client can be made of the settings.
pub fn store(
    settings: TencentSettings,
    credentials: Arc<dyn CredentialSource>,
    now: Now,
) -> Result<Arc<dyn StoreApi>, Fault> {
    let TencentSettings { region, site, regional, endpoint, quota, timeout, ca_file, .. } = settings;
    let endpoint = endpoint::endpoint(PRODUCT.service, &region, site, regional, endpoint.as_ref())?;
    Ok(Arc::new(Ssm(Caller {
        product: PRODUCT,
        client: Client::new(endpoint, &crate::http::Settings { timeout, ca_file })?,
        region,
        pacers: Pacers::new(quota),
        credentials,
        now,
        clock_gap: Mutex::new(None),
    })))
}

#[async_trait]
impl StoreApi for Ssm {
    async fn call(&self, call: StoreCall<'_>) -> Result<Value, StoreFailure> {
        let StoreCall { action, parameters, secrets, writes } = call;
        let request = Parameters(parameters);
        let effect = if writes { Effect::Write } else { Effect::Read };
        let outgoing = Outgoing { action, request: &request, effect, rotation: None, secrets };
        let fields: Map<String, Value> = self.0.ask(&outgoing).await.map_err(|coded| {
            let mut failure = StoreFailure::from(coded);
            if failure.fault.kind == Kind::Denied {
                failure.fault = failure.fault.advise(format!("grant ssm:{action} on the secret to this identity"));
            }
            failure
        })?;
        Ok(Value::Object(fields))
    }
}

/// Parameters as one JSON object, written straight into the buffer that is wiped.
struct Parameters<'a>(&'a [(&'static str, &'a str)]);

impl serde::Serialize for Parameters<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}
