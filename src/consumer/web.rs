//! A consumer that tells the generation it uses at a URL.

use super::{Consumer, STATEMENT_LIMIT, silent, understood};
use crate::fault::Fault;
use crate::http::{Client, Effect, Method, SendError, Settings};
use crate::name::Generation;
use crate::secret::Credential;
use async_trait::async_trait;
use url::Url;
use zeroize::Zeroizing;

/// The URL.
pub struct ConsumerUrl {
    url: Url,
    token: Option<Credential>,
    client: Client,
}

impl ConsumerUrl {
    /// The consumer behind this URL, asked with a bearer token where there is one.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(url: Url, token: Option<Credential>, reach: &Settings) -> Result<Self, Fault> {
        let client = Client::new(url.clone(), reach)?;
        Ok(Self { url, token, client })
    }
}

#[async_trait]
impl Consumer for ConsumerUrl {
    async fn uses(&self) -> Result<Generation, Fault> {
        let mut headers = vec![("accept".to_owned(), "application/json, text/plain".to_owned())];
        if let Some(token) = &self.token {
            let token = token.get().map_err(|fault| {
                silent(format!("the token for {}: {}", self.place(), fault.what)).advise(fault.next_step)
            })?;
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        let asked = self.client.send(Method::GET, self.url.clone(), &headers, Zeroizing::default(), Effect::Read).await;
        match asked {
            Ok(reply) if reply.status == 200 && reply.body.len() <= STATEMENT_LIMIT => {
                understood(&reply.body, &self.place())
            }
            Ok(reply) if reply.status == 200 => Err(silent(format!("{} answers with too much", self.place()))),
            Ok(reply) => Err(silent(format!("{} answers with HTTP status {}", self.place(), reply.status))),
            Err(SendError::NotSent(fault) | SendError::Unanswered(fault)) => Err(silent(fault.what)),
        }
    }

    fn place(&self) -> String {
        self.client.authority()
    }
}
