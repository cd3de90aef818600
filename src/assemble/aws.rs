//! Secrets and parameters in an account of AWS.

use crate::config;
use crate::fault::Fault;
use crate::sink::Sink;
use std::sync::Arc;

#[cfg(feature = "aws")]
pub(super) fn sink(sink: &config::AwsSink) -> Result<Arc<dyn Sink>, Fault> {
    use crate::config::{AwsStore, AwsTier};
    use crate::sink::aws::{
        ParameterStore, ParameterStoreSettings, Reach, SecretsManager, SecretsManagerSettings, Tier,
    };

    let reach = Reach {
        region: sink.region.clone(),
        endpoint: sink.endpoint.clone(),
        source: source(&sink.credentials.source),
        sts_endpoint: sink.credentials.sts_endpoint.clone(),
        metadata_endpoint: sink.credentials.metadata_endpoint.clone(),
        timeout: sink.timeout,
        ca_file: sink.ca_file.clone(),
        now: super::now(),
    };
    let (format, name) = (sink.format.clone(), sink.name.clone());
    match sink.store {
        AwsStore::SecretsManager => {
            let settings = SecretsManagerSettings {
                reach,
                secret: name,
                create: sink.create,
                kms_key: sink.kms_key.clone(),
                format: format.form,
                prefix: format.prefix,
                template: format.template,
                fields: format.fields,
            };
            SecretsManager::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(super::first)
        }
        AwsStore::ParameterStore { tier } => {
            let tier = tier.map(|tier| match tier {
                AwsTier::Standard => Tier::Standard,
                AwsTier::Advanced => Tier::Advanced,
                AwsTier::Intelligent => Tier::Intelligent,
            });
            let settings = ParameterStoreSettings {
                reach,
                parameter: name,
                create: sink.create,
                kms_key: sink.kms_key.clone(),
                tier,
                format: format.form,
                prefix: format.prefix,
                template: format.template,
                fields: format.fields,
            };
            ParameterStore::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(super::first)
        }
    }
}

#[cfg(feature = "aws")]
fn source(source: &config::AwsSource) -> crate::sink::aws::Source {
    use super::stores::read_anew;
    use crate::config::AwsSource;
    use crate::sink::aws::Source;

    match source.clone() {
        AwsSource::Static { id, key, token } => {
            Source::Static { id: read_anew(&id), key: read_anew(&key), token: token.as_ref().map(read_anew) }
        }
        AwsSource::Environment => Source::Environment,
        AwsSource::Profile { path, name } => Source::Profile { path, name },
        AwsSource::WebIdentity { role, session } => Source::WebIdentity { role, session },
        AwsSource::Container => Source::Container,
        AwsSource::InstanceRole { role } => Source::InstanceRole { role },
        AwsSource::Chain => Source::Chain,
    }
}

#[cfg(not(feature = "aws"))]
pub(super) fn sink(_sink: &config::AwsSink) -> Result<Arc<dyn Sink>, Fault> {
    let what = "This keywheel was built without the sinks aws-secrets-manager and aws-parameter-store";
    Err(Fault::new(crate::fault::Kind::ConfigInvalid, what).advise("build it with `--features aws`"))
}
