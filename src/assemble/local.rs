//! Sinks that no vendor stands behind: the configured kind in, a sink out.

use super::{first, variable};
use crate::config;
use crate::fault::Fault;
use crate::sink::Sink;
use crate::sink::etcd::{Certificate, EtcdSettings, EtcdSink, Password};
use std::sync::Arc;

pub(super) fn etcd(etcd: &config::EtcdSink) -> Result<Arc<dyn Sink>, Fault> {
    let user = etcd.user.clone().map(|(name, password)| {
        let read: Password = Arc::new(move || password.read(&variable));
        (name, read)
    });
    let certificate = etcd.certificate.clone().map(|(certificate, key)| Certificate { certificate, key });
    let settings = EtcdSettings {
        endpoints: etcd.endpoints.clone(),
        key: etcd.key.clone(),
        format: etcd.format.form,
        prefix: etcd.format.prefix.clone(),
        template: etcd.format.template.clone(),
        user,
        ca_file: etcd.ca_file.clone(),
        certificate,
        timeout: etcd.timeout,
    };
    EtcdSink::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
}
