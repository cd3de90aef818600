//! Alibaba Cloud's secret store (KMS, API version 2016-01-20), for the sink of that name: the calls alone. What they do to a secret is the sink's.

use super::call::Caller;
use super::wire::Request;
use super::{AlibabaSettings, Nonces, ParametersIn, endpoint};
use crate::fault::Fault;
use crate::http::Client;
use crate::pacer::Pacers;
use crate::provider::Now;
use crate::provider::credential::CredentialSource;
use crate::sink::{StoreApi, StoreCall, StoreFailure};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

struct Kms(Caller);

/// The store in the region of these settings.
///
/// # Errors
/// `ConfigInvalid` where no endpoint or TLS client can be made of the settings.
pub fn store(
    settings: AlibabaSettings,
    credentials: Arc<dyn CredentialSource>,
    now: Now,
    nonces: Nonces,
) -> Result<Arc<dyn StoreApi>, Fault> {
    let AlibabaSettings { region, network, endpoint, parameters_in: _, quota, timeout, ca_file } = settings;
    let endpoint = endpoint::of_store(&region, network, endpoint.as_ref())?;
    Ok(Arc::new(Kms(Caller {
        client: Client::new(endpoint, &crate::http::Settings { timeout, ca_file })?,
        pacers: Pacers::new(quota),
        // What stands where is the vendor's own choice there.
        parameters_in: ParametersIn::Body,
        credentials,
        now,
        nonces,
        query_works: AtomicBool::new(false),
        clock_gap: Mutex::new(None),
    })))
}

#[async_trait]
impl StoreApi for Kms {
    async fn call(&self, call: StoreCall<'_>) -> Result<Value, StoreFailure> {
        let StoreCall { action, parameters, secrets, writes } = call;
        let request = Request::OfStore { action, parameters, writes };
        let fields: Map<String, Value> = self.0.ask(request, None, secrets).await?;
        Ok(Value::Object(fields))
    }
}
