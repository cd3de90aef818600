//! Secrets in the clouds' own stores: each calls with the identity of a provider, or with its own.

use super::{alibaba_settings, alibaba_source, nonces, now, tencent_settings, tencent_source};
use crate::config::{self, Config, Credentials, Identity, Store, StoreSink};
use crate::fault::{Fault, Kind};
use crate::provider::alibaba::{self, AlibabaSettings};
use crate::provider::tencent::{self, TencentSettings};
use crate::sink::Sink;
use crate::sink::alibaba_kms::{AlibabaKms, AlibabaKmsSettings};
use crate::sink::tencent_ssm::{TencentSsm, TencentSsmSettings};
use std::sync::Arc;

/// The sink.
pub(super) fn sink(config: &Config, sink: &StoreSink) -> Result<Arc<dyn Sink>, Fault> {
    match &sink.store {
        Store::TencentSsm { version, site } => {
            let (reach, credentials) = tencent(config, sink)?;
            let site = site.unwrap_or(reach.site);
            let settings = TencentSettings {
                site,
                endpoint: sink.endpoint.clone(),
                timeout: sink.timeout,
                ca_file: sink.ca_file.clone().or_else(|| reach.ca_file.clone()),
                ..reach
            };
            let region = settings.region.clone();
            let source = tencent_source(credentials, &settings)?;
            let settings_of_sink = TencentSsmSettings {
                secret: sink.secret.clone(),
                version: version.clone(),
                region,
                create: sink.create,
                kms_key: sink.kms_key.clone(),
            };
            Ok(Arc::new(TencentSsm::new(settings_of_sink, tencent::store(settings, source, now())?)))
        }
        Store::AlibabaKms { network, kms_instance } => {
            let (reach, credentials) = alibaba(config, sink)?;
            let settings = AlibabaSettings {
                network: network.unwrap_or(reach.network),
                endpoint: sink.endpoint.clone(),
                timeout: sink.timeout,
                ca_file: sink.ca_file.clone().or_else(|| reach.ca_file.clone()),
                ..reach
            };
            let settings_of_sink = AlibabaKmsSettings {
                secret: sink.secret.clone(),
                region: settings.region.clone(),
                create: sink.create,
                kms_key: sink.kms_key.clone(),
                kms_instance: kms_instance.clone(),
            };
            let source = alibaba_source(credentials, &settings)?;
            Ok(Arc::new(AlibabaKms::new(settings_of_sink, alibaba::store(settings, source, now(), nonces())?)))
        }
    }
}

fn tencent<'a>(config: &'a Config, sink: &'a StoreSink) -> Result<(TencentSettings, &'a Credentials), Fault> {
    match &sink.identity {
        Identity::Own { region, credentials } => Ok((TencentSettings::of(region.clone()), credentials)),
        Identity::Provider(name) => match config.providers.get(name) {
            Some(config::Provider::Tencent(provider)) => Ok((tencent_settings(provider), &provider.credentials)),
            Some(config::Provider::Alibaba(_) | config::Provider::Redis(_)) | None => Err(elsewhere()),
        },
    }
}

fn alibaba<'a>(config: &'a Config, sink: &'a StoreSink) -> Result<(AlibabaSettings, &'a Credentials), Fault> {
    match &sink.identity {
        Identity::Own { region, credentials } => Ok((AlibabaSettings::of(region.clone()), credentials)),
        Identity::Provider(name) => match config.providers.get(name) {
            Some(config::Provider::Alibaba(provider)) => Ok((alibaba_settings(provider), &provider.credentials)),
            Some(config::Provider::Tencent(_) | config::Provider::Redis(_)) | None => Err(elsewhere()),
        },
    }
}

/// The configuration was read with a provider of the other kind.
fn elsewhere() -> Fault {
    Fault::new(Kind::Bug, "a secret's provider is of another cloud")
}
