//! Sinks that no vendor stands behind: the configured kind in, a sink out.

use super::stores::read_anew;
use super::{file_settings, first};
use crate::config;
use crate::fault::Fault;
use crate::sink::Sink;
use crate::sink::etcd::{Certificate, EtcdSettings, EtcdSink};
use crate::sink::systemd_credential::{self, CredentialSettings};
use std::sync::Arc;

pub(super) fn etcd(etcd: &config::EtcdSink) -> Result<Arc<dyn Sink>, Fault> {
    let user = etcd.user.as_ref().map(|(name, password)| (name.clone(), read_anew(password)));
    let certificate = etcd.certificate.clone().map(|(certificate, key)| Certificate { certificate, key });
    let settings = EtcdSettings {
        endpoints: etcd.endpoints.clone(),
        key: etcd.key.clone(),
        format: etcd.format.form,
        prefix: etcd.format.prefix.clone(),
        template: etcd.format.template.clone(),
        fields: etcd.format.fields.clone(),
        user,
        ca_file: etcd.ca_file.clone(),
        certificate,
        timeout: etcd.timeout,
    };
    EtcdSink::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
}

#[cfg(feature = "age")]
pub(super) fn age(age: &config::AgeSink) -> Result<Arc<dyn Sink>, Fault> {
    use crate::sink::age::AgeSettings;
    let identity = age.identity.as_ref().map(read_anew);
    let (file, recipients, armor) = (file_settings(&age.file), age.recipients.clone(), age.armor);
    let settings = AgeSettings { file, recipients, armor, identity };
    crate::sink::age::sink(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
}

#[cfg(not(feature = "age"))]
pub(super) fn age(_age: &config::AgeSink) -> Result<Arc<dyn Sink>, Fault> {
    Err(Fault::new(crate::fault::Kind::ConfigInvalid, "This keywheel was built without the sink age")
        .advise("build it with `--features age`"))
}

pub(super) fn systemd_credential(credential: &config::CredentialSink) -> Result<Arc<dyn Sink>, Fault> {
    let settings = CredentialSettings {
        file: file_settings(&credential.file),
        name: credential.name.clone(),
        with_key: credential.with_key,
        program: credential.program.clone(),
        timeout: credential.timeout,
    };
    systemd_credential::sink(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
}
