//! Our transport under the vendor's chain of credentials: the token service over TLS, and the services that answer on the machine's own link.

use crate::http::{self, Client, Effect, Method, SendError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use url::Url;
use zeroize::Zeroizing;

/// How requests for a credential reach whoever gives one.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Certificates, and how long a request may take at most.
    pub reach: http::Settings,
    /// What stands in for the token service. What is asked of it carries its own proof and no signature.
    pub sts: Option<Url>,
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let wanted = settings.read_timeout().unwrap_or(self.reach.timeout);
        let reach = http::Settings { timeout: wanted.min(self.reach.timeout), ..self.reach.clone() };
        SharedHttpConnector::new(Self { reach, sts: self.sts.clone() })
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let transport = self.clone();
        HttpConnectorFuture::new(async move { transport.send(&request).await })
    }
}

impl Transport {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let refuse = |why: &str| ConnectorError::user(why.to_owned().into());
        let mut url = Url::parse(request.uri()).map_err(|_| refuse("the address is none"))?;
        if let Some(sts) = self.sts.as_ref().filter(|_| url.domain().is_some_and(|host| host.starts_with("sts."))) {
            let mut instead = sts.clone();
            instead.set_path(url.path());
            instead.set_query(url.query());
            url = instead;
        }
        let mut endpoint = url.clone();
        endpoint.set_path("/");
        endpoint.set_query(None);
        // Made anew: a credential is asked for a few times an hour, and the certificates may have changed since.
        let client = match http::is_on_link(&endpoint) {
            true => Client::on_link(endpoint, &self.reach),
            false => Client::new(endpoint, &self.reach),
        };
        let client = client.map_err(|fault| ConnectorError::user(fault.what.into()))?;
        let method = Method::from_bytes(request.method().as_bytes()).map_err(|_| refuse("the method is none"))?;
        // The client writes these two itself.
        let headers = request.headers().iter().filter(|(name, _)| !["host", "content-length"].contains(name));
        let headers: Vec<(String, String)> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let body = request.body().bytes().ok_or_else(|| refuse("the body is a stream"))?;
        let reply = client.send(method, url, &headers, Zeroizing::new(body.to_vec()), Effect::Write).await;
        let reply = reply.map_err(|error| {
            let (SendError::NotSent(fault) | SendError::Unanswered(fault)) = error;
            ConnectorError::io(fault.what.into())
        })?;
        let status = reply.status.try_into().map_err(|_| refuse("the status is none"))?;
        let names: Vec<(String, String)> = reply.texts().collect();
        let mut response = HttpResponse::new(status, SdkBody::from(Bytes::from_owner(reply.body)));
        for (name, value) in names {
            response.headers_mut().try_append(name, value).map_err(|_| refuse("a header of the answer is none"))?;
        }
        Ok(response)
    }
}
